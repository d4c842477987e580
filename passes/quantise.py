"""Network -> integer network: scales, decays, thresholds and weights in the numbers of a Loihi core.

`passes/chip_law.py` says what a neuron computes in the form of a core: v = K (V - offset), and a weight w onto it is
W = K gain w / 64 of what arrives. K is each neuron's own, 64 vth / (V_threshold - offset), so that thresholds cost no
precision; of a population only vth is chosen, and of its projections the exponents (`passes/scales.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..ir.diagnostics import Diagnostics, UnsupportedError
from ..ir.grid import Discretization
from ..ir.integer.checks import MAX_DELAY
from ..ir.integer.network import (
    IntegerConnection,
    IntegerConv,
    IntegerDense,
    IntegerNetwork,
    IntegerPopulation,
    IntegerProjection,
    IntegerSparse,
    held_weight,
)
from ..ir.network import Connection, Conv, Dense, Network, Population, Projection, Sparse
from ..ir.nodes import Array
from .algebra import as_sparse
from .chip_latency import chip_latencies
from .chip_law import ChipLaw, chip_law, decay_codes
from .chip_start import chip_start
from .scales import (
    HIGHEST,
    SMALLEST_EXPONENT,
    ScalePlan,
    ScaleSearch,
    Weights,
    choose_scale,
    cut_off,
    rounded,
)
from .stencils import input_channels

__all__ = ["Quantised", "QuantisedPopulation", "QuantisedProjection", "quantise"]

_BIAS = 4095
"""Largest mantissa of a bias."""
_READOUT = (1 << 17) - 1
"""Threshold of a readout: the highest there is."""
_RANGE = float(_READOUT)
"""What a membrane may come to, in thresholds of one: 2^23 / 64."""
_HEADROOM = 1.5
"""Of a range over what calibration data showed."""
_FEW = 512
"""A threshold below which sums of weights, whose low bits are cut off, lose too much."""
_LONG = 256
"""Columns on end in which all sources may spike, where no data say more."""
_COLUMNS = 32.0
"""Columns of full drive that a readout which forgets slowly has room for, where no data say more."""
_SILENT = 0.25
"""Of the mean rate, what a source is taken for beyond its own."""
_LONGEST = 20_000
"""Columns that the response of a readout is looked at for."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class QuantisedPopulation:
    """`scale` (n,): v of the core for a unit of V. `offset` (n,): V where v is zero. `by_bias` (n,): V that a unit of
    constant current brings a column. Decays a column as the model has them and as the core has them; `current` is None
    where there is none. `latency`: columns that it acts later than the model."""

    scale: Array
    offset: Array
    by_bias: Array
    membrane: tuple[float, float]
    current: tuple[float, float] | None
    latency: int


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class QuantisedProjection:
    """`factor` (n_target,): what a unit of weight is of what arrives. `sqnr`: decibels of the weights over their
    rounding; `saturated`: share of weights that are cut off."""

    factor: Array
    exponent: int
    sqnr: float
    saturated: float


@dataclass(frozen=True, eq=False, kw_only=True)
class Quantised:
    """The integer network, how its numbers came about, and the plan that makes it again. `lowered`: the network whose
    connections are laid out as those of the integer network."""

    network: IntegerNetwork
    lowered: Network
    populations: Mapping[str, QuantisedPopulation]
    projections: Mapping[str, QuantisedProjection]
    plan: ScalePlan


def quantise(network: Network, grids: Discretization | Mapping[str, Discretization], *,
             plan: ScalePlan | None = None, search: ScaleSearch | None = None,
             message_bits: Mapping[str, int] | None = None, weight_bits: int = 8, most_delay: float = MAX_DELAY,
             diagnostics: Diagnostics | None = None) -> Quantised:
    """The integer network of a lowered network, whose recurrent edges have their delays stated
    (`passes/state_delays.py`) and whose populations have one pair of decays each (`passes/split_populations.py`).

    Args:
        grids: of the network, or of each population by name, all of one dt.
        plan: scales that are known; without it they are searched for, as `search` says.
        message_bits: by input whose spikes carry values, their bits.
        weight_bits: of each weight, 1..8.
        most_delay: columns of a synapse at most.
        diagnostics: collects warnings (SC322, SC323, SC325, SC326).

    Raises:
        UnsupportedError: what a core cannot hold: refractory periods, several spikes a column, delays that are too
            long, constant currents beyond a bias, a cycle faster than the chip (SC320, SC321); all at
            once.
    """
    faults = Diagnostics() if diagnostics is None else diagnostics
    by_name = dict.fromkeys(network.populations, grids) if isinstance(grids, Discretization) else dict(grids)
    dt = next(iter(by_name.values())).dt if by_name else 1.0
    laws = {name: chip_law(each, by_name[name], faults) for name, each in network.populations.items()}
    delays = {each.name: _columns(each, dt, faults) for each in network.projections}
    faults.raise_if_errors(UnsupportedError)
    latency = chip_latencies(network, {name: int(each.min()) if each.size else 0 for name, each in delays.items()},
                             {name: law.lag for name, law in laws.items()}, faults)
    faults.raise_if_errors(UnsupportedError)
    late = {each.name: delays[each.name] + latency[each.target] + laws[each.target].lag - latency[each.source] - 1
            for each in network.projections}
    _check_delays(late, most_delay, faults)
    network = replace(network, projections=tuple(
        _as_held(each, network.size(each.source), laws[each.target], late[each.name]) for each in network.projections))
    relative = {each.name: _scaled(each.connection, laws[each.target].gain / laws[each.target].threshold)
                for each in network.projections}
    if plan is None:
        plan = _plan(network, laws, relative, search or ScaleSearch(), message_bits or {}, faults)
    populations, records = {}, {}
    for name, population in network.populations.items():
        populations[name], records[name] = _population(population, laws[name], by_name[name], plan.thresholds[name],
                                                       latency[name], faults)
    made = [_projection(each, relative[each.name], laws[each.target], plan, late[each.name],
                        (message_bits or {}).get(each.source, 0), weight_bits) for each in network.projections]
    _check_weights(made, weight_bits, faults)
    faults.raise_if_errors(UnsupportedError)
    return Quantised(network=IntegerNetwork(
        inputs=network.inputs, populations=populations, projections=tuple(each for each, _ in made),
        outputs=network.outputs, dt=dt), lowered=network, populations=records,
        projections={each.name: record for each, record in made}, plan=plan)


def _columns(projection: Projection, dt: float, faults: Diagnostics) -> Array:
    """Columns that the projection takes in the model: one number, or one a source or synapse."""
    if projection.delay is None:
        return np.zeros(1, dtype=np.int64)
    columns = np.asarray(projection.delay) / dt
    whole = np.rint(columns)
    if not np.allclose(columns, whole, atol=1e-6):
        worst = float(columns.reshape(-1)[np.abs(columns - whole).argmax()])
        faults.add("SC323", "a delay on the chip is a whole number of columns, and is rounded", node=projection.name,
                   value=f"{worst:g} columns", severity="warning", remedy="Round the delays to multiples of dt.")
    return whole.astype(np.int64)


def _check_delays(late: Mapping[str, Array], most: float, faults: Diagnostics) -> None:
    for name, each in late.items():
        if each.max(initial=0) > most:
            faults.add("SC321", "a delay is longer than synapses of the chip have", node=name,
                       value=f"{int(each.max())} columns", limit=f"{most:g} columns beyond the one of every synapse",
                       remedy="Shorten the delays, or take a longer dt.")


def _scaled(connection: Connection, gain: Array) -> Connection:
    """The weights times what each does to its target."""
    if isinstance(connection, Dense):
        return replace(connection, weight=np.asarray(connection.weight) * gain[:, None])
    if isinstance(connection, Sparse):
        rows = np.repeat(np.arange(len(gain)), np.diff(np.asarray(connection.indptr)))
        return replace(connection, weight=np.asarray(connection.weight) * gain[rows])
    return replace(connection, weight=np.asarray(connection.weight) * gain.reshape(
        connection.output_shape)[:, :1, :1, None])


def _as_held(projection: Projection, n_source: int, law: ChipLaw, late: Array) -> Projection:
    """A stencil stays one where Lava has it: alike for all neurons of a channel, padded alike on both sides, without
    delays. Others are unrolled."""
    conv = projection.connection
    if not isinstance(conv, Conv):
        return projection
    alike = not np.ptp((law.gain / law.threshold).reshape(conv.output_shape), axis=(1, 2)).any()
    sizes = [(given + 2 * pad - dilation * (kernel - 1) - 1) // stride + 1 for given, pad, dilation, kernel, stride
             in zip(conv.input_shape[1:], conv.padding, conv.dilation, conv.weight.shape[2:], conv.stride, strict=True)]
    if alike and not late.any() and tuple(sizes) == tuple(conv.output_shape[1:]):
        return projection
    return replace(projection, connection=as_sparse(conv, n_source))


def _plan(network: Network, laws: Mapping[str, ChipLaw], relative: Mapping[str, Connection],
          search: ScaleSearch, message_bits: Mapping[str, int], faults: Diagnostics) -> ScalePlan:
    thresholds: dict[str, float] = {}
    exponents: dict[str, int] = {}
    for name, population in network.populations.items():
        incoming = network.incoming[name]
        weights = [Weights(np.asarray(relative[each.name].weight), _often(each, search.rates.get(each.source)),
                           0 if isinstance(each.connection, Conv) else SMALLEST_EXPONENT) for each in incoming]
        arriving = [(relative[each.name], float((1 << message_bits.get(each.source, 0)) - 1) or 1.0)
                    for each in incoming]
        most = _most(population, laws[name], arriving, search, faults)
        thresholds[name], found = choose_scale(weights, search, most, population.spiking)
        exponents |= {each.name: exponent for each, exponent in zip(incoming, found, strict=True)}
    return ScalePlan(thresholds, exponents)


def _most(population: Population, law: ChipLaw, arriving: list[tuple[Connection, float]], search: ScaleSearch,
          faults: Diagnostics) -> float:
    """The largest threshold (of a readout: scale) that leaves room for what the states come to: by calibration data;
    without them a current may come to what all of its sources at once do for ever, a spiking membrane to 16 thresholds,
    and a readout to what all of its weights at once do in some columns. `arriving`: what comes in, and the largest
    value of its spikes."""
    peak = search.peaks.get(population.name)
    if population.spiking:
        # The constant current has to fit a bias, too.
        constant = float((np.abs(law.constant) / law.threshold).max(initial=0))
        fits = min(HIGHEST, _BIAS * 2**7 / 64 / constant if constant else HIGHEST)
        if peak:
            return max(1.0, min(fits, _RANGE / (_HEADROOM * peak)))
        reached = _current(population, law, arriving, np.inf if search.safe else _LONG)
        room = _RANGE / reached if reached else HIGHEST
        if not search.safe and (room < min(_FEW, fits) or _current(population, law, arriving, np.inf) > reached):
            faults.add("SC325", "a current has room for all of its sources at once, for up to "
                       f"{_LONG} columns, at the cost of precision", node=population.name,
                       value=f"{reached:.4g} thresholds", limit=f"{_RANGE / _FEW:.4g}", severity="warning",
                       remedy="Give calibration data, which say how far it goes.")
        return max(1.0, min(fits, room))
    if peak:
        return _RANGE / (_HEADROOM * peak)
    drive = float(sum((value * np.maximum(*_row_sums(each, population.n)) for each, value in arriving),
                      np.zeros(population.n)).max(initial=0))
    constant = float(np.abs(law.constant).max(initial=0)) / max(1 - law.beta, 1 / _COLUMNS)
    reached = drive * _reached_by(law) + constant
    return _RANGE / reached if reached else HIGHEST


def _current(population: Population, law: ChipLaw, arriving: list[tuple[Connection, float]],
             columns: float) -> float:
    """What a current can come to, in thresholds: all sources that drive it one way, in so many columns on end."""
    ways = np.zeros((2, population.n))
    for connection, value in arriving:
        one, other = _row_sums(connection, population.n)
        ways += value * np.stack([one, other] if value == 1 else [one + other] * 2)
    kept = min(law.alpha or 0.0, 4095 / 4096)
    begun = (np.abs(law.settled) / law.threshold).max(initial=0)
    return float(ways.max(initial=0) * min(1 / (1 - kept), columns) + begun)


def _reached_by(law: ChipLaw) -> float:
    """What a unit that arrives in each of `_COLUMNS` columns at once, or for ever, whichever is less, brings the
    membrane to: of one it is b^n + a b^(n-1) + ... after n columns, with the decays a, b of current and membrane."""
    column = np.arange(1, _LONGEST)
    slow, fast = max(law.beta, law.alpha or 0.0), min(law.beta, law.alpha or 0.0)
    if slow - fast < 1e-6:
        response = column * slow ** (column - 1)
    else:
        response = (slow**column - fast**column) / (slow - fast)
    return float(min(response.sum(), _COLUMNS * response.max()))


def _row_sums(connection: Connection, n: int) -> tuple[Array, Array]:
    """(n,) each: the positive weights onto each neuron, summed, and the magnitudes of the negative ones."""
    weight = np.asarray(connection.weight)
    parts = np.maximum(weight, 0), np.maximum(-weight, 0)
    if isinstance(connection, Dense):
        return parts[0].sum(1), parts[1].sum(1)
    if isinstance(connection, Sparse):
        rows = np.repeat(np.arange(n), np.diff(np.asarray(connection.indptr)))
        return np.bincount(rows, weights=parts[0], minlength=n), np.bincount(rows, weights=parts[1], minlength=n)
    some = n // len(weight)
    return np.repeat(parts[0].sum((1, 2, 3)), some), np.repeat(parts[1].sum((1, 2, 3)), some)


def _often(projection: Projection, rate: Array | None) -> Array | None:
    """How often the source of each weight spikes; a source that is silent in the data counts, too."""
    if rate is None or not rate.any():
        return None
    rate = rate + _SILENT * rate.mean()
    connection = projection.connection
    if isinstance(connection, Dense):
        return np.broadcast_to(rate, connection.weight.shape)
    if isinstance(connection, Sparse):
        return np.asarray(rate[np.asarray(connection.indices)])
    by_channel = rate.reshape(connection.input_shape).mean((1, 2))
    channels = input_channels(connection)
    return np.broadcast_to(by_channel[channels][..., None, None], connection.weight.shape)


def _population(population: Population, law: ChipLaw, grid: Discretization, threshold: float, latency: int,
                faults: Diagnostics) -> tuple[IntegerPopulation, QuantisedPopulation]:
    scale = 64.0 * threshold / law.threshold
    constant, exponent = law.constant * scale, 0
    while exponent < 7 and np.abs(np.rint(constant / 2**exponent)).max(initial=0) > _BIAS:
        exponent += 1
    bias = np.rint(constant / 2**exponent).astype(np.int64)
    if np.abs(bias).max(initial=0) > _BIAS:
        worst = int(np.abs(bias).argmax())
        faults.add("SC321", "a constant current is too large for its threshold", node=population.name,
                   value=f"{law.constant[worst] / law.threshold[worst]:g} thresholds a column, neuron {worst}",
                   limit=f"{_BIAS * 2**7 / (64 * threshold):g}", remedy="Scale the bias down, or take a shorter dt.")
    du, dv = (int(np.rint(each)) for each in decay_codes(population, grid).mean(0)) if population.n else (4095, 0)
    made = IntegerPopulation(
        name=population.name, shape=population.shape, du=du, dv=dv,
        # A membrane that fires where it reaches the threshold is one that fires above what weights can say below it.
        threshold=max(int(threshold) - law.at, 0) if population.spiking else _READOUT,
        bias=np.clip(bias, -_BIAS, _BIAS) if bias.any() else None, bias_exponent=exponent)
    u0, v0 = chip_start(made, -law.settled * scale, law.start * scale, latency, population.spiking, faults)
    return replace(made, u0=u0, v0=v0), QuantisedPopulation(
        scale=scale, offset=law.offset, by_bias=law.by_bias, latency=latency, membrane=(law.beta, 1 - dv / 4096),
        current=None if law.alpha is None else (law.alpha, 1 - (du + 1) / 4096))


def _projection(projection: Projection, relative: Connection, law: ChipLaw, plan: ScalePlan, late: Array,
                message_bits: int, weight_bits: int) -> tuple[IntegerProjection, QuantisedProjection]:
    """`relative`: with weights in units of the threshold. `late`: columns beyond the one that it always takes."""
    threshold, exponent = plan.thresholds[projection.target], plan.exponents[projection.name]
    wanted = np.asarray(relative.weight) * threshold
    mantissa, sign = rounded(wanted, exponent, weight_bits)
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
    made = IntegerProjection(name=projection.name, source=projection.source, target=projection.target,
                             connection=connection, exponent=exponent, sign=sign, message_bits=message_bits,
                             weight_bits=weight_bits,
                             delay=_delay(projection, relative, late) if late.any() else None)
    held = held_weight(made) * 2.0**exponent
    with np.errstate(over="ignore", invalid="ignore"):
        noise, signal = float(np.square(held - wanted).sum()), float(np.square(wanted).sum())
    return made, QuantisedProjection(
        factor=law.gain / law.threshold * threshold, exponent=exponent,
        sqnr=10 * np.log10(signal / noise) if noise and signal else np.inf,
        saturated=float(cut_off(wanted, exponent, weight_bits).mean()) if mantissa.size else 0.0)


def _check_weights(made: list[tuple[IntegerProjection, QuantisedProjection]], bits: int, faults: Diagnostics) -> None:
    """Weights of so many bits have about 6 decibels a bit; far fewer tell that most of them are lost."""
    for projection, record in made:
        if not record.sqnr > 6 * bits - 30:
            faults.add("SC326", "the weights span more than a core holds", node=projection.name,
                       value=f"{record.sqnr:.1f} dB over their rounding, {record.saturated:.1%} cut off",
                       limit=f"{6 * bits - 30} dB", severity="warning",
                       remedy="Split the layer by the size of its weights, or scale the largest down.")


def _delay(projection: Projection, relative: Connection, late: Array) -> Any:
    """In the layout of the weights."""
    if late.size > 1 and projection.delay_per == "source" and isinstance(relative, Sparse):
        return late[np.asarray(relative.indices)]
    return np.broadcast_to(late, relative.weight.shape)
