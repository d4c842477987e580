"""The figures of a report on a program for Loihi, by matplotlib: weights, spikes, cores, traffic, energy."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from ...ir.integer.network import IntegerProjection, IntegerSparse, held_weight
from ...ir.nodes import Array
from ...passes.quantise import Quantised
from .counts import Counts
from .report import LoihiReport

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["figures"]

# Of the palette of Okabe and Ito, which is told apart by everyone.
_MODEL, _CHIP, _NEUTRAL = "#0072B2", "#D55E00", "#999999"
_COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442")
_LINES = ("-", "--", ":", "-.")
_MOST_WEIGHTS = 1 << 20
_MOST_ROWS = 40


def figures(report: LoihiReport, quantised: Quantised) -> Iterator[tuple[str, Figure]]:
    """Titles and figures, those that the report has numbers for.

    Raises:
        ImportError: there is no matplotlib.
    """
    yield "Weights of the model and as they are held", _weights(quantised)
    if report.measurement is not None and report.measurement.drifts:
        yield "Spikes of each neuron on the chip and in the model, a sample", _drift(report)
    if report.counts is not None:
        yield "Rates: neurons by spikes a column", _rates(report.counts)
    yield "What cores hold, and what they send", _cores(report)
    if report.counts is not None:
        yield "Activity of the cores, a column", _activity(report)
    yield "Spikes from core to core, a column", _matrix(report)
    if report.energy is not None:
        yield "Dynamic energy a column", _energy(report)


def _figure(width: float, height: float) -> Figure:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height))
    figure.set_layout_engine("constrained", w_pad=0.1, h_pad=0.06)
    return figure


def plain(name: str) -> str:
    """A name as text: a dollar is no mathematics."""
    return name.replace("$", r"\$")


def _weights(quantised: Quantised) -> Figure:
    """Box plots of magnitudes, as hls4ml draws them, with the range that can be held."""
    network = quantised.network
    shown = [each for each in network.projections if each.connection.weight.size][:_MOST_ROWS]
    figure = _figure(min(3 + 0.9 * len(shown), 24), 4.2)
    axes: Any = figure.subplots()
    for place, each in enumerate(shown):
        wanted, held, largest = _both(quantised, each)
        axes.bar(place, largest, width=0.9, color=_NEUTRAL, alpha=0.25, linewidth=0)
        for values, shift, colour in ((wanted, -0.18, _MODEL), (held, 0.18, _CHIP)):
            magnitudes = np.abs(values)
            axes.boxplot(magnitudes[magnitudes > 0], positions=[place + shift], widths=0.28, whis=(0, 100),
                         showfliers=False, patch_artist=True, manage_ticks=False,
                         boxprops={"facecolor": colour, "alpha": 0.7}, medianprops={"color": "black"})
    axes.set_yscale("log")
    axes.set_ylim(bottom=max(axes.get_ylim()[0], 1e-4 * axes.get_ylim()[1]))
    axes.set_xticks(range(len(shown)), [plain(f"{each.source} → {each.target}") for each in shown], rotation=30,
                    ha="right")
    axes.set_ylabel("magnitude, in units of the model")
    handles = [axes.plot([], [], "s", color=colour, label=label)[0] for colour, label in (
        (_MODEL, "model"), (_CHIP, "chip"), (_NEUTRAL, "what can be held"))]
    figure.legend(handles=handles, loc="outside lower center", ncols=3, fontsize=8)
    return figure


def _both(quantised: Quantised, projection: IntegerProjection) -> tuple[Array, Array, float]:
    """Weights of the model and as they are held, in units of the model, flat, and the largest that can be held."""
    record = quantised.projections[projection.name]
    wanted = np.asarray(next(each for each in quantised.lowered.projections
                             if each.name == projection.name).connection.weight)
    factor = _spread(projection, np.asarray(record.factor))
    with np.errstate(divide="ignore", invalid="ignore"):
        held = np.where(factor != 0, held_weight(projection) * 2.0**projection.exponent / factor, 0.0)
    inverse = np.abs(1 / record.factor[record.factor != 0])
    largest = 255 * 2.0**projection.exponent * float(inverse.max(initial=0.0))
    step = max(1, wanted.size // _MOST_WEIGHTS)
    return wanted.reshape(-1)[::step], held.reshape(-1)[::step], largest


def _spread(projection: IntegerProjection, factor: Array) -> Array:
    """The factor of each weight."""
    connection = projection.connection
    if isinstance(connection, IntegerSparse):
        return np.repeat(factor, np.diff(connection.indptr))
    if connection.weight.ndim == 2:
        return np.broadcast_to(factor[:, None], connection.weight.shape)
    per_feature = factor.reshape(connection.weight.shape[0], -1)[:, 0]
    return np.broadcast_to(per_feature[:, None, None, None], connection.weight.shape)


def _drift(report: LoihiReport) -> Figure:
    drifts = () if report.measurement is None else report.measurement.drifts[:_MOST_ROWS]
    columns = min(len(drifts), 4)
    rows = -(-len(drifts) // columns)
    figure = _figure(2.6 * columns + 0.6, 2.8 * rows)
    grid = figure.subplots(rows, columns, squeeze=False).reshape(-1)
    for axes, each in zip(grid, drifts, strict=False):
        most = max(float(each.model.max(initial=0)), float(each.chip.max(initial=0))) or 1.0
        axes.plot([0, most], [0, most], color=_NEUTRAL, linewidth=1)
        axes.plot(each.model, each.chip, ".", color=_CHIP, markersize=4, alpha=0.6, rasterized=len(each.model) > 2000)
        axes.set_title(plain(each.name), fontsize=9)
        axes.set_xlabel("model")
        axes.set_ylabel("chip")
    for axes in grid[len(drifts):]:
        axes.set_axis_off()
    return figure


def _cores(report: LoihiReport) -> Figure:
    """The mesh of every chip, three times: neurons, synaptic memory, spikes to other cores."""
    cores = report.cores
    sent = report.flows.matrix(len(cores)).sum(axis=1)
    limits = report.chip.limits
    panels = (("neurons, % of a core", [100 * core.loads["neurons"] / limits["neurons"].value for core in cores]),
              ("synaptic memory, %", [100 * core.loads["synapse_bits"] / limits["synapse_bits"].value
                                      for core in cores]),
              ("spikes sent, a column", sent.tolist()))
    figure = _figure(10.5, 0.5 + 2.6 * report.chips_used)
    grid = figure.subplots(report.chips_used, len(panels), squeeze=False)
    for place, (title, values) in enumerate(panels):
        most = max(max(values, default=0.0), 1e-12)
        for chip in range(report.chips_used):
            axes, shown = grid[chip][place], _mesh(report, chip, values)
            image = axes.imshow(shown, vmin=0, vmax=most, cmap="viridis", aspect="equal", interpolation="nearest")
            axes.set_title(f"chip {chip}: {title}", fontsize=8)
            _router_lines(axes, report)
            figure.colorbar(image, ax=axes, location="bottom", fraction=0.08)
    return figure


def _rates(counts: Counts) -> Figure:
    """Of every population, the share of neurons below each rate: silent ones at the left, busy ones at the right."""
    figure = _figure(8, 3.4)
    axes: Any = figure.subplots()
    for number, name in enumerate([*counts.activity.spikes][:_MOST_ROWS]):
        rates = np.sort(counts.activity.spikes[name]) / max(counts.steps, 1)
        chosen = np.unique(np.linspace(0, len(rates) - 1, min(len(rates), 400)).astype(int))
        axes.step(rates[chosen], (chosen + 1) / len(rates), where="post", label=plain(name),
                  color=_COLOURS[number % len(_COLOURS)], linestyle=_LINES[number // len(_COLOURS) % len(_LINES)])
    axes.set_xlabel("spikes a column")
    axes.set_ylabel("share of neurons")
    axes.set_ylim(0, 1.03)
    figure.legend(loc="outside lower center", ncols=6, fontsize=8)
    return figure


def _activity(report: LoihiReport) -> Figure:
    """A bar a core, under the names of Lava's profiler."""
    figure = _figure(10, 5)
    grid: Any = figure.subplots(2, 2, sharex=True)
    for axes, name in zip(grid.reshape(-1), ("syn_ops", "dendrite_updates", "axon_out", "spikes_in"), strict=True):
        values = [0.0 if core.activity is None else core.activity[name] for core in report.cores]
        axes.bar(range(len(values)), values, width=1.0 if len(values) > 60 else 0.8, color=_MODEL)
        axes.set_title(name, fontsize=9)
    for axes in grid[1]:
        axes.set_xlabel("core, as numbered in the mapping")
    return figure


def _tile(report: LoihiReport) -> tuple[int, int]:
    """Columns and rows of the cores at a router, as nearly square as can be."""
    wide = int(np.ceil(np.sqrt(report.chip.at_router.value)))
    return wide, -(-report.chip.at_router.value // wide)


def _mesh(report: LoihiReport, chip: int, values: list[float]) -> Array:
    """A cell a core, NaN where nothing lies."""
    wide, high = _tile(report)
    cells = np.full((report.chip.height.value * high, report.chip.width.value * wide), np.nan)
    for core, value in zip(report.cores, values, strict=True):
        if core.chip == chip:
            cells[core.y * high + core.core // wide, core.x * wide + core.core % wide] = value
    return cells


def _router_lines(axes: Axes, report: LoihiReport) -> None:
    wide, high = _tile(report)
    axes.set_xticks(np.arange(report.chip.width.value + 1) * wide - 0.5, [])
    axes.set_yticks(np.arange(report.chip.height.value + 1) * high - 0.5, [])
    axes.grid(color=_NEUTRAL, linewidth=0.6)
    axes.tick_params(length=0)


def _matrix(report: LoihiReport) -> Figure:
    from matplotlib.colors import LogNorm

    flows = report.flows.matrix(len(report.cores))
    figure = _figure(6.5, 5.5)
    axes: Any = figure.subplots()
    some = flows[flows > 0]
    norm = LogNorm(some.min(), some.max()) if some.size and some.min() < some.max() else None
    image = axes.imshow(np.where(flows > 0, flows, np.nan), norm=norm, cmap="viridis", interpolation="nearest")
    axes.set_xlabel("to core, as numbered in the mapping")
    axes.set_ylabel("from core")
    figure.colorbar(image, ax=axes)
    return figure


def _energy(report: LoihiReport) -> Figure:
    energy = report.energy
    figure = _figure(8, 2.4)
    axes: Any = figure.subplots()
    if energy is None:
        return figure
    shares = [*energy.by_population.items(),
              *((part, joules) for part, joules in energy.dynamic.items() if part in ("spikes", "hops"))]
    start = 0.0
    for number, (name, joules) in enumerate(shares):
        axes.barh(0, 1e9 * joules, left=1e9 * start, color=_COLOURS[number % len(_COLOURS)], label=plain(name))
        start += joules
    axes.set_yticks([])
    axes.set_xlabel("nJ a column; of a population: synapses onto it, and its updates")
    figure.legend(loc="outside lower center", ncols=6, fontsize=8)
    return figure
