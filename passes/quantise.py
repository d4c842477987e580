"""Network -> integer network: scales, decays, thresholds and weights in the numbers of a Loihi core.

A neuron on its grid is V* = beta V + p I + b0 x + c, I* = alpha I + b1 x (`ir/step_form.py`). The core computes
v = (1 - dv/4096) v + u + bias and u = (1 - (du+1)/4096) u + 64 a (`ir/integer.py`), so with v = K (V - V_reset) and
u = K g I the weights of a neuron are W = K g b1 w / 64, where g = p / alpha if the membrane takes the new current and
g = p if it takes that of the column before, and W = K b0 w / 64, du = 4095 for a neuron without a current. K is each
neuron's own: 64 vth / (V_threshold - V_reset), so that thresholds cost no precision, and of a population only vth is
chosen: as the one at which the weights, at their exponents, are rounded least.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..ir.diagnostics import Diagnostics, UnsupportedError
from ..ir.grid import Discretization
from ..ir.integer import (
    IntegerConnection,
    IntegerConv,
    IntegerDense,
    IntegerNetwork,
    IntegerPopulation,
    IntegerProjection,
    IntegerSparse,
    Sign,
    held_weight,
)
from ..ir.network import Connection, Conv, Dense, Network, Population, Projection, Sparse
from ..ir.nodes import IF, LI, LIF, Array, CubaLI, CubaLIF, I, Membrane
from ..ir.step_form import step_form
from .chip_latency import chip_latencies

__all__ = ["Quantised", "QuantisedPopulation", "QuantisedProjection", "quantise"]

HIGHEST = 8192
"""Thresholds tried: a sixteenth of the membrane's range, so that it can go beyond on both sides."""
_CANDIDATES = 256
LARGEST_EXPONENT, SMALLEST_EXPONENT = 7, -8
_BIAS = 4095
"""Largest mantissa of a bias."""
_READOUT = (1 << 17) - 1
"""Threshold of a readout: the highest there is."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class QuantisedPopulation:
    """`scale` (n,): v of the core for a unit of V. `offset` (n,): V where v is zero. Decays a step as the model has
    them and as the core has them; `current` is None where there is none."""

    scale: Array
    offset: Array
    membrane: tuple[float, float]
    current: tuple[float, float] | None
    latency: int


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantisedProjection:
    """`sqnr`: decibels of the weights over their rounding; `saturated`: share of weights at the end of the range."""

    exponent: int
    sqnr: float
    saturated: float


@dataclass(frozen=True, eq=False, kw_only=True)
class Quantised:
    """The integer network, and how its numbers came about."""

    network: IntegerNetwork
    populations: Mapping[str, QuantisedPopulation]
    projections: Mapping[str, QuantisedProjection]


@dataclass(frozen=True, slots=True, eq=False)
class _Law:
    """A population on its grid: `beta`, `alpha` (None without a current), and, (n,), what a unit of weight adds to u
    and a constant current to v, both in units of V. `lag`: the membrane takes the current of the column before."""

    beta: float
    alpha: float | None
    gain: Array
    constant: Array
    threshold: Array
    offset: Array
    lag: int


def quantise(network: Network, grid: Discretization, diagnostics: Diagnostics | None = None) -> Quantised:
    """The integer network of a lowered network on a grid, whose recurrent edges have their delays stated
    (`passes/state_delays.py`).

    Raises:
        UnsupportedError: what a core cannot hold: decays that differ within a population, refractory periods, resets to
            another value than where the membrane starts, several spikes a column, delays that are no whole columns, a
            cycle faster than the chip (SC320, SC321); all at once.
    """
    faults = Diagnostics() if diagnostics is None else diagnostics
    laws = {name: _law(each, grid, faults) for name, each in network.populations.items()}
    delays = {each.name: _columns(each, grid, faults) for each in network.projections}
    faults.raise_if_errors(UnsupportedError)
    lags = {name: law.lag for name, law in laws.items()}
    latency = chip_latencies(network, {name: int(each.min()) for name, each in delays.items()}, lags, faults)
    faults.raise_if_errors(UnsupportedError)
    populations: dict[str, IntegerPopulation] = {}
    records: dict[str, QuantisedPopulation] = {}
    projections: list[IntegerProjection] = []
    rounded: dict[str, QuantisedProjection] = {}
    for name, population in network.populations.items():
        law, incoming = laws[name], network.incoming[name]
        relative = {each.name: _scaled(each.connection, law.gain / law.threshold) for each in incoming}
        threshold = _threshold([each.weight for each in relative.values()])
        scale = 64.0 * threshold / law.threshold
        populations[name] = _integer_population(population, law, threshold, scale, faults)
        records[name] = QuantisedPopulation(
            scale=scale, offset=law.offset, latency=latency[name],
            membrane=(law.beta, 1 - populations[name].dv / 4096),
            current=None if law.alpha is None else (law.alpha, 1 - (populations[name].du + 1) / 4096))
        for each in incoming:
            late = delays[each.name] + latency[name] + law.lag - latency[each.source] - 1
            made, record = _integer_projection(each, relative[each.name], threshold, late)
            projections.append(made)
            rounded[each.name] = record
    faults.raise_if_errors(UnsupportedError)
    return Quantised(network=IntegerNetwork(
        inputs=network.inputs, populations=populations, projections=tuple(projections), outputs=network.outputs,
        dt=grid.dt), populations=records, projections=rounded)


def _law(population: Population, grid: Discretization, faults: Diagnostics) -> _Law:
    name, n = population.name, population.n
    if grid.spikes == "many":
        faults.add("SC321", "a neuron of the chip fires at most once a column", node=name)
    form = step_form(_node(population), grid)

    def entry(value: Any) -> Array:
        return np.zeros(n) if value is None else np.broadcast_to(np.asarray(value, dtype=np.float64), (n,))

    beta = _common(entry(form.a[0][0]), "membrane decay", name, faults)
    constant = entry(form.d[0]) * population.bias + entry(form.c[0])
    alpha, lag = None, 0
    gain = entry(form.b[0])
    if form.states == 2:
        alpha = _common(entry(form.a[1][1]), "current decay", name, faults)
        passed, kick = entry(form.a[0][1]), entry(form.b[1])
        constant = constant + passed * entry(form.d[1]) * population.bias / (1 - alpha)
        if form.b[0] is None:
            gain, lag = passed * kick, 1
        else:
            gain = entry(form.b[0])
            if not np.allclose(gain * alpha, passed * kick, rtol=1e-9):
                faults.add("SC321", "spikes reach the membrane by another way than the current", node=name,
                           value=f"integrator '{grid.integrator}', spike '{grid.spike}'",
                           remedy="Take a grid with integrator 'decay', 'semi' or 'euler'.")
    if form.lag:
        lag += 1
    offset, threshold = np.zeros(n), np.ones(n)
    if population.spiking:
        if population.reset == "v_reset":
            offset = np.asarray(population.v_reset)
        elif population.reset == "subtract":
            faults.add("SC322", "the chip resets to one value; a reset by subtraction becomes one to zero", node=name,
                       severity="warning", remedy="Train with reset 'zero', or compare the outputs.")
        threshold = np.asarray(population.v_threshold) - offset
        if population.refractory is not None and np.rint(np.asarray(population.refractory) / grid.dt).any():
            faults.add("SC321", "a refractory period has no neuron in Lava's fixed-point models", node=name,
                       remedy="Set refractory=0.")
    constant = constant + (beta - 1) * offset
    if (np.abs(np.asarray(population.v0) - offset) > 1e-12).any():
        faults.add("SC321", "a membrane of the chip starts where its reset brings it", node=name,
                   remedy="Set v0 to the value of the reset.")
    return _Law(beta, alpha, gain, constant, threshold, offset, lag)


def _node(population: Population) -> Membrane:
    """The neuron node again, whose form on a grid is known."""
    kinds: Mapping[tuple[str, bool], type[Membrane]] = {
        ("cuba", True): CubaLIF, ("cuba", False): CubaLI, ("leaky", True): LIF, ("leaky", False): LI,
        ("integrator", True): IF, ("integrator", False): I}
    names = ("r", "v0", "tau_mem", "tau_syn", "v_leak", "w_in", "v_threshold", "v_reset", "refractory")
    values = {name: np.asarray(getattr(population, name)) for name in names if getattr(population, name) is not None}
    if population.kind == "leaky":
        values["tau"] = values.pop("tau_mem")
    kind: Any = kinds[population.kind, population.spiking]
    reset = {"reset": population.reset} if population.spiking else {}
    node: Membrane = kind(shape=(population.n,), **values, **reset)
    return node


def _common(values: Array, what: str, name: str, faults: Diagnostics) -> float:
    """The one value of a population, as the core rounds it."""
    rounded = np.unique(np.rint(values * 4096))
    if len(rounded) > 1:
        faults.add("SC321", f"the neurons of a population share one {what} on the chip", node=name,
                   value=f"{len(rounded)} different ones", remedy="Split the population by its time constants.")
    return float(values.mean()) if values.size else 0.0


def _columns(projection: Projection, grid: Discretization, faults: Diagnostics) -> Array:
    """Columns that the projection takes in the model: one number, or one a source or synapse."""
    if projection.delay is None:
        return np.zeros(1, dtype=np.int64)
    columns = np.asarray(projection.delay) / grid.dt
    whole = np.rint(columns)
    if not np.allclose(columns, whole, atol=1e-6):
        faults.add("SC321", "a delay on the chip is a whole number of columns", node=projection.name,
                   value=f"{columns.max():g} columns", remedy="Round the delays to multiples of dt.")
    return whole.astype(np.int64)


def _scaled(connection: Connection, gain: Array) -> Connection:
    """The weights times what each does to its target."""
    if isinstance(connection, Dense):
        return replace(connection, weight=np.asarray(connection.weight) * gain[:, None])
    if isinstance(connection, Sparse):
        rows = np.repeat(np.arange(len(gain)), np.diff(np.asarray(connection.indptr)))
        return replace(connection, weight=np.asarray(connection.weight) * gain[rows])
    each = gain.reshape(connection.output_shape)[:, :1, :1]
    return replace(connection, weight=np.asarray(connection.weight) * each[..., None])


def _threshold(weights: list[Array]) -> int:
    """The vth at which the weights, in units of the threshold, are rounded least."""
    tried = np.unique(np.rint(np.geomspace(HIGHEST / 2, HIGHEST, _CANDIDATES))).astype(int)
    errors = [sum(_error(weight, threshold) for weight in weights) for threshold in tried]
    return int(tried[int(np.argmin(errors))])


def _error(weight: Array, threshold: int) -> float:
    """Of the rounding, relative to the threshold."""
    wanted = weight * threshold
    held, exponent, _ = _rounded(wanted)
    return float(np.square(held * 2.0**exponent - wanted).sum()) / threshold**2


def _rounded(wanted: Array, least: int = SMALLEST_EXPONENT) -> tuple[Array, int, Sign]:
    """Mantissas, exponent (`least` or more) and sign mode for weights in units of what arrives."""
    sign: Sign = "excitatory" if (wanted >= 0).all() else "inhibitory" if (wanted <= 0).all() else "mixed"
    step, most = (2, 254) if sign == "mixed" else (1, 255)
    largest = float(np.abs(wanted).max(initial=0.0))
    exponent = int(np.clip(np.ceil(np.log2(largest / most)) if largest else 0, least, LARGEST_EXPONENT))
    mantissa = step * np.rint(wanted / (step * 2.0**exponent))
    return np.clip(mantissa, -most - (sign == "mixed") * 2, most).astype(np.int64), exponent, sign


def _integer_population(population: Population, law: _Law, threshold: int, scale: Array,
                        faults: Diagnostics) -> IntegerPopulation:
    constant = law.constant * scale
    exponent = 0
    while exponent < 7 and np.abs(np.rint(constant / 2**exponent)).max(initial=0) > _BIAS:
        exponent += 1
    bias = np.rint(constant / 2**exponent).astype(np.int64)
    if np.abs(bias).max(initial=0) > _BIAS:
        worst = int(np.abs(bias).argmax())
        faults.add("SC321", "a constant current is too large for its threshold", node=population.name,
                   value=f"{law.constant[worst] / law.threshold[worst]:g} thresholds a column, neuron {worst}",
                   limit=f"{_BIAS * 2**7 / (64 * threshold):g}", remedy="Scale the bias down, or take a shorter dt.")
    return IntegerPopulation(
        name=population.name, shape=population.shape,
        du=4095 if law.alpha is None else int(np.clip(np.rint((1 - law.alpha) * 4096) - 1, 0, 4095)),
        dv=int(np.clip(np.rint((1 - law.beta) * 4096), 0, 4095)),
        threshold=threshold if population.spiking else _READOUT,
        bias=np.clip(bias, -_BIAS, _BIAS) if bias.any() else None, bias_exponent=exponent)


def _integer_projection(projection: Projection, relative: Connection, threshold: int,
                        late: Array) -> tuple[IntegerProjection, QuantisedProjection]:
    """`relative`: with weights in units of the threshold. `late`: columns beyond the one that it always takes."""
    wanted = relative.weight * threshold
    mantissa, exponent, sign = _rounded(wanted, 0 if isinstance(relative, Conv) else SMALLEST_EXPONENT)
    connection: IntegerConnection
    if isinstance(relative, Dense):
        connection = IntegerDense(weight=mantissa)
    elif isinstance(relative, Sparse):
        connection = IntegerSparse(indptr=np.asarray(relative.indptr), indices=np.asarray(relative.indices),
                                   weight=mantissa)
    else:
        connection = IntegerConv(
            weight=mantissa, input_shape=relative.input_shape, output_shape=relative.output_shape,
            stride=relative.stride, padding=relative.padding, dilation=relative.dilation, groups=relative.groups)
    delay = None
    if late.any():
        per_source = late if late.size > 1 and projection.delay_per == "source" else None
        if isinstance(relative, Sparse):
            delay = late[relative.indices] if per_source is not None else np.broadcast_to(late, mantissa.shape)
        else:
            delay = np.broadcast_to(late, mantissa.shape)
    made = IntegerProjection(name=projection.name, source=projection.source, target=projection.target,
                             connection=connection, exponent=exponent, sign=sign, delay=delay)
    held = held_weight(made) * 2.0**exponent
    noise, signal = float(np.square(held - wanted).sum()), float(np.square(wanted).sum())
    return made, QuantisedProjection(
        exponent=exponent, sqnr=10 * np.log10(signal / noise) if noise and signal else np.inf,
        saturated=float((np.abs(mantissa) >= 254).mean()) if mantissa.size else 0.0)
