"""Network -> network for Xylo: weights of 8 bits with one shift a matrix, decays as shifts, thresholds of 16 bits.

`passes/xylo_law.py` says what a neuron computes in the form of the chip. Each neuron has a scale of its own, K: its
membrane on the chip is v = K V, so its threshold is K V_threshold and a weight w onto it is K gain w / 2^shift. Scales
and shifts are those of the least squared error, in thresholds: of weights, of the threshold, and of decays, whose
shifts lose up to one a column.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from ..ir.diagnostics import Diagnostics, UnsupportedError
from ..ir.grid import Discretization
from ..ir.integer.xylo import LARGEST_STATE, MOST_SHIFT, XyloNetwork, XyloNeurons
from ..ir.network import Network, Projection, Sparse
from ..ir.nodes import Array
from .algebra import as_sparse
from .schedule import Schedule
from .xylo_law import XyloLaw, xylo_law
from .xylo_layout import XyloLayout, xylo_layout

__all__ = ["QuantisedXylo", "XyloPlan", "XyloPopulation", "quantise_xylo"]

_WEIGHT = 127
"""Largest magnitude of a weight, alike for both signs."""
_ROOM = 8.0
"""Thresholds that a membrane has room for, of either sign, where no data say more."""
_SHARE = 0.25
"""Of columns, in which all sources that drive a current one way spike, where no data say more."""
_HEADROOM = 1.5
"""Of a range over what calibration data showed."""
_LEAST_ROOM = 2.0
"""Thresholds that a membrane has room for in any case: it fires where it reaches one."""
_STEPS, _OCTAVES = 8, 6
"""Scales that are tried: so many an octave, over so many octaves."""
_POOR = 15.0
"""Decibels of weights over their rounding, below which it is told."""


@dataclass(frozen=True, slots=True, eq=False)
class XyloPlan:
    """What a search chose: the shifts of the three matrices (in, rec, out), and K by block, (n,)."""

    shifts: tuple[int, int, int]
    hidden: Array
    outputs: Array


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class XyloPopulation:
    """`block`, `place`: where it lies. `scale` (n,): v of the chip for a unit of V. `factor` (n,): what arrives for a
    unit of weight. `by_bias` (n,): V that a unit of constant current brings a column. `misfit` (n,): of the response to
    a spike. `latency`: columns that it acts later than the model."""

    block: str
    place: slice
    scale: Array
    factor: Array
    by_bias: Array
    misfit: Array
    latency: int


@dataclass(frozen=True, eq=False, kw_only=True)
class QuantisedXylo:
    """The network for the chip, how its numbers came about, and the plan that makes it again. `sqnr`: by matrix,
    decibels of the weights over their rounding; `saturated`: share of them that are cut off."""

    network: XyloNetwork
    layout: XyloLayout
    populations: Mapping[str, XyloPopulation]
    plan: XyloPlan
    sqnr: Mapping[str, float] = field(default_factory=dict)
    saturated: Mapping[str, float] = field(default_factory=dict)


def quantise_xylo(network: Network, grids: Discretization | Mapping[str, Discretization], *,
                  plan: XyloPlan | None = None, peaks: Mapping[str, Array] | None = None,
                  diagnostics: Diagnostics | None = None) -> QuantisedXylo:
    """The network for Xylo of a lowered network, whose recurrent edges have their delays stated
    (`passes/state_delays.py`).

    Args:
        grids: of the network, or of each population by name, all of one dt.
        plan: scales that are known; without it they are searched for.
        peaks: by population, (n,), the largest magnitude that membrane or current came to on calibration data, in units
            of V.
        diagnostics: collects warnings (SC326, SC341, SC344 to SC346).

    Raises:
        UnsupportedError: what the chip cannot do (SC341 to SC344), all at once.
    """
    faults = Diagnostics() if diagnostics is None else diagnostics
    by_name = dict.fromkeys(network.populations, grids) if isinstance(grids, Discretization) else dict(grids)
    dt = next(iter(by_name.values())).dt if by_name else 1.0
    network = network if network.schedule else Schedule().run(network)
    found = {name: xylo_law(each, by_name[name], faults) for name, each in network.populations.items()}
    laws = {name: law for name, law in found.items() if law is not None}
    layout = xylo_layout(network, {each.name: _columns(each, dt) for each in network.projections},
                         {name: 0 if law is None else law.lag for name, law in found.items()}, faults)
    faults.raise_if_errors(UnsupportedError)
    _tell_early(layout, laws, faults)
    wanted = _matrices(network, layout, laws)
    blocks = {name: _block(network, places, laws) for name, places in (("hidden", layout.hidden),
                                                                       ("outputs", layout.outputs))}
    if plan is None:
        plan = _plan(network, layout, wanted, blocks, peaks)
    scales = {"hidden": plan.hidden, "outputs": plan.outputs}
    made = {name: _held(matrix, scales["outputs" if name == "out" else "hidden"], shift)
            for (name, matrix), shift in zip(wanted.items(), plan.shifts, strict=True)}
    neurons = {name: _neurons(each, scales[name], faults) for name, each in blocks.items()}
    faults.raise_if_errors(UnsupportedError)
    sqnr = {name: _sqnr(matrix, made[name], scales["outputs" if name == "out" else "hidden"], shift)
            for (name, matrix), shift in zip(wanted.items(), plan.shifts, strict=True)}
    for name, decibels in sqnr.items():
        if decibels < _POOR:
            faults.add("SC326", "weights of a matrix span more than 8 bits and one shift hold", node=f"w_{name}",
                       value=f"{decibels:.1f} dB over their rounding", limit=f"{_POOR:g} dB", severity="warning",
                       remedy="Train with weights of a like size, or normalise the layers.")
    populations = {name: _record(name, law, layout, scales) for name, law in laws.items()}
    shift_in, shift_rec, shift_out = plan.shifts
    return QuantisedXylo(
        network=XyloNetwork(w_in=made["in"], w_rec=made["rec"], w_out=made["out"], hidden=neurons["hidden"],
                            outputs=neurons["outputs"], shift_in=shift_in, shift_rec=shift_rec, shift_out=shift_out,
                            dt=dt),
        layout=layout, populations=populations, plan=plan, sqnr=sqnr,
        saturated={name: float((np.abs(each) == _WEIGHT).sum() / max(1, np.count_nonzero(each)))
                   for name, each in made.items()})


def _columns(projection: Projection, dt: float) -> Array:
    """Columns that the projection takes in the model."""
    if projection.delay is None:
        return np.zeros(1, dtype=np.int64)
    return np.rint(np.asarray(projection.delay) / dt).astype(np.int64)


def _tell_early(layout: XyloLayout, laws: Mapping[str, XyloLaw], faults: Diagnostics) -> None:
    for name, law in laws.items():
        early = np.abs(law.constant).max(initial=0) * layout.latency[name]
        if layout.latency[name] and (np.abs(law.constant) > 1e-6 * law.threshold).any():
            faults.add("SC345", "a constant current acts on the chip in the columns before the first input comes",
                       node=name, value=f"{layout.latency[name]} columns, {early:.2g} of the membrane",
                       severity="warning", remedy="Compare the outputs; it passes with the first time constants.")


def _matrices(network: Network, layout: XyloLayout, laws: Mapping[str, XyloLaw]) -> dict[str, Array]:
    """(sources, targets) by matrix: what arrives for each synapse, in units of V; projections between the same neurons
    are summed."""
    sizes = {name: sum(each.stop - each.start for each in places.values())
             for name, places in (("in", layout.inputs), ("hidden", layout.hidden), ("outputs", layout.outputs))}
    found = {"in": np.zeros((sizes["in"], sizes["hidden"])), "rec": np.zeros((sizes["hidden"], sizes["hidden"])),
             "out": np.zeros((sizes["hidden"], sizes["outputs"]))}
    for each in network.projections:
        block, columns = layout.place(each.target)
        rows = layout.inputs[each.source] if each.source in layout.inputs else layout.hidden[each.source]
        matrix = found["in" if each.source in layout.inputs else "rec" if block == "hidden" else "out"]
        matrix[rows, columns] += (_dense(each, network) * laws[each.target].gain[:, None]).T
    return found


def _dense(projection: Projection, network: Network) -> Array:
    """(n_target, n_source)."""
    sparse: Sparse = as_sparse(projection.connection, network.size(projection.source))
    matrix = np.zeros((network.size(projection.target), network.size(projection.source)))
    rows = np.repeat(np.arange(len(matrix)), np.diff(np.asarray(sparse.indptr)))
    matrix[rows, np.asarray(sparse.indices)] = np.asarray(sparse.weight)
    return matrix


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class _Block:
    """The laws of a block's neurons, side by side, and which of them spike."""

    dash_mem: Array
    dash_syn: Array
    constant: Array
    threshold: Array
    spiking: Array


def _block(network: Network, places: Mapping[str, slice], laws: Mapping[str, XyloLaw]) -> _Block:
    def joined(name: str, kind: type[np.generic]) -> Array:
        return np.concatenate([np.empty(0), *(getattr(laws[each], name) for each in places)]).astype(kind)

    spiking = [np.full(network.populations[name].n, network.populations[name].spiking) for name in places]
    return _Block(dash_mem=joined("dash_mem", np.int64), dash_syn=joined("dash_syn", np.int64),
                  constant=joined("constant", np.float64), threshold=joined("threshold", np.float64),
                  spiking=np.concatenate([np.empty(0, dtype=bool), *spiking]))


def _plan(network: Network, layout: XyloLayout, wanted: Mapping[str, Array], blocks: Mapping[str, _Block],
          peaks: Mapping[str, Array] | None) -> XyloPlan:
    drives = {"hidden": np.concatenate([wanted["in"], wanted["rec"]]), "outputs": wanted["out"]}
    highest = {}
    for name, places in (("hidden", layout.hidden), ("outputs", layout.outputs)):
        reach = _reach(blocks[name], drives[name])
        if peaks is not None:
            for each, place in places.items():
                reach[place] = _measured(peaks[each], blocks[name], place)
        highest[name] = LARGEST_STATE / reach
    (shift_in, shift_rec), hidden = _searched(blocks["hidden"], [wanted["in"], wanted["rec"]], highest["hidden"])
    (shift_out,), outputs = _searched(blocks["outputs"], [wanted["out"]], highest["outputs"])
    return XyloPlan((shift_in, shift_rec, shift_out), hidden, outputs)


def _reach(block: _Block, drive: Array) -> Array:
    """(n,) in units of V, what membranes and currents have room for: a current for all sources that drive it one way,
    in a share of all columns and in one at once; a membrane that spikes for some thresholds, a readout for what so
    great a current brings it to."""
    ways = np.maximum(np.maximum(drive, 0).sum(0), np.maximum(-drive, 0).sum(0))
    current = ways * np.maximum(1.0, _SHARE * 2.0**block.dash_syn)
    membrane = np.where(block.spiking, _ROOM * block.threshold,
                        current * np.maximum(1.0, _SHARE * 2.0**block.dash_mem) / 2)
    steady = np.abs(block.constant) * 2.0**block.dash_mem
    reach = np.maximum(np.maximum(current, membrane), np.where(block.spiking, 0.0, steady))
    return np.where(reach > 0, reach, 1.0)


def _measured(peaks: Array, block: _Block, place: slice) -> Array:
    """What a population's states come to on data, for all of its neurons alike, in their thresholds."""
    threshold = block.threshold[place]
    most = float((peaks / threshold).max(initial=0))
    least = _LEAST_ROOM if block.spiking[place].all() else 0.0
    return threshold * (max(_HEADROOM * most, least) or 1.0)


def _searched(block: _Block, matrices: list[Array], highest: Array) -> tuple[tuple[int, ...], Array]:
    """Shifts of the matrices onto a block, and K of each of its neurons, of the least error."""
    tried = highest[None] * 2.0 ** (-np.arange(_STEPS * _OCTAVES)[:, None] / _STEPS)
    own = _own_error(block, tried)
    errors = [_weight_errors(each, tried) for each in matrices]
    best: tuple[float, tuple[int, ...], Array] | None = None
    for shifts in np.ndindex(*(len(each) for each in errors)):
        total = own + sum(each[shift] for each, shift in zip(errors, shifts, strict=True))
        chosen = total.argmin(0)
        cost = float((total[chosen, np.arange(len(chosen))] / block.threshold**2).sum())
        if best is None or cost < best[0]:
            best = cost, shifts, tried[chosen, np.arange(len(chosen))]
    shifts, scale = (best[1], best[2]) if best is not None else ((0,) * len(matrices), highest)
    return tuple(int(each) for each in shifts), scale


def _own_error(block: _Block, tried: Array) -> Array:
    """(tried, n): squares, in units of V, of what rounding the threshold changes, of a constant, which membranes sum
    up, and of what shifts lose in a time constant, half of one a column; infinite where a number does not fit."""
    threshold, constant = tried * block.threshold, tried * block.constant
    lost = 0.5 * (2.0**block.dash_mem + 2.0**block.dash_syn) / tried
    error = np.where(block.spiking, ((np.rint(threshold) - threshold) / tried)**2, 0.0) + lost**2
    error = error + ((np.rint(constant) - constant) / tried * 2.0**block.dash_mem)**2
    fits = (~block.spiking | ((np.rint(threshold) >= 1) & (threshold <= LARGEST_STATE)))
    fits &= np.abs(constant) <= LARGEST_STATE
    return np.where(fits, error, np.float64(1e300))


def _weight_errors(matrix: Array, tried: Array) -> Array:
    """(shifts, tried, n): squares, in units of V, of what rounding the weights onto each neuron changes."""
    rows, columns = np.nonzero(matrix)
    if not len(rows):
        return np.zeros((1, *tried.shape))
    values, n = matrix[rows, columns], matrix.shape[1]
    found = np.empty((MOST_SHIFT + 1, *tried.shape))
    for step, scales in enumerate(tried):
        scale = scales[columns]
        for shift in range(MOST_SHIFT + 1):
            held = np.clip(np.rint(values * scale / 2**shift), -_WEIGHT, _WEIGHT) * 2.0**shift / scale
            found[shift, step] = np.bincount(columns, weights=(held - values)**2, minlength=n)
    return found


def _held(matrix: Array, scale: Array, shift: int) -> Array:
    return np.asarray(np.clip(np.rint(matrix * scale / 2**shift), -_WEIGHT, _WEIGHT)).astype(np.int8)


def _sqnr(wanted: Array, held: Array, scale: Array, shift: int) -> float:
    exact = wanted * scale
    noise = float(((held * 2.0**shift - exact)**2).sum())
    power = float((exact**2).sum())
    return float("inf") if not noise or not power else 10 * np.log10(power / noise)


def _neurons(block: _Block, scale: Array, faults: Diagnostics) -> XyloNeurons:
    threshold = np.where(block.spiking, np.rint(scale * block.threshold), LARGEST_STATE)
    bias = np.rint(scale * block.constant)
    for what, values, least, most in (("threshold", threshold, 1, LARGEST_STATE),
                                      ("bias", bias, -LARGEST_STATE - 1, LARGEST_STATE)):
        wrong = (values < least) | (values > most)
        if wrong.any():
            faults.add("SC342", f"a {what} does not fit 16 bits at a scale at which the weights do",
                       value=f"{values[wrong][0]:g}", limit=f"{least}..{most}",
                       remedy="Bring weights, thresholds and constant currents closer to each other.")
    return XyloNeurons(dash_mem=block.dash_mem.astype(np.int8), dash_syn=block.dash_syn.astype(np.int8),
                       threshold=threshold.astype(np.int16), bias=np.clip(bias, -2**15, 2**15 - 1).astype(np.int16))


def _record(name: str, law: XyloLaw, layout: XyloLayout, scales: Mapping[str, Array]) -> XyloPopulation:
    block, place = layout.place(name)
    scale = scales[block][place]
    return XyloPopulation(block=block, place=place, scale=scale, factor=scale * law.gain, by_bias=law.by_bias,
                          misfit=law.misfit, latency=layout.latency[name])
