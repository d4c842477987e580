"""What the cores of DYNAP-SE2 hold of a placed network: coarse and fine values of their biases, a mask and a sign for
every synapse; and what that is, as a network of the model's units and as one of DPI neurons.

The currents of a core are rounded to what its bias generator makes before weights are fitted to them, so the rounding
of a leak or a threshold is made up for by the weights; that of a time constant is not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from ...ir.analog.dpi import DpiNetwork, DpiPopulation, DpiProjection, linear_error
from ...ir.diagnostics import Diagnostics, UnsupportedError
from ...ir.network import Network, Population, Projection
from ...ir.nodes import Array
from ...passes.core_bases import fit_core_bases, hold_in_bases
from .bias import nearest_bias, reach
from .place import Placement, ends
from .units import Circuit, biases_of, circuit_of

__all__ = ["Held", "dpi_network", "effective_network", "hold", "hold_again", "hold_with", "nearest_weights",
           "same_currents", "weight_bounds"]

_LOST = 0.1
"""Of a core's weights, what is told of when it is lost."""
_BENT = 0.25
"""Of the threshold, a bound on how far from linear a membrane is that is told of."""
_ROOM = 0.02
"""What a current may be beyond the reach of a bias, as its rounding is more."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Held:
    """`biases`, `circuits`, `errors`: of each core, coarse and fine values by bias, what they make, and the norm of
    what is lost of its weights over their norm. `masks` uint8 and `signs` int8: by projection, of each weight, read row
    by row; 0 where there is no synapse."""

    placement: Placement
    biases: tuple[Mapping[str, tuple[int, int]], ...]
    circuits: tuple[Circuit, ...]
    errors: tuple[float, ...]
    masks: Mapping[str, Array]
    signs: Mapping[str, Array]


def hold(placement: Placement, *, seed: int = 0, diagnostics: Diagnostics | None = None) -> Held:
    """Biases and masks of a placed network.

    Args:
        placement: of the network.
        seed: of the starts of `fit_core_bases`.
        diagnostics: collects warnings (SC355).

    Raises:
        UnsupportedError: a current is out of its bias's reach (SC353), all at once.
    """
    faults, told = Diagnostics(), Diagnostics() if diagnostics is None else diagnostics
    biases, circuits = [], []
    for number in range(placement.cores):
        plain = _rounded(placement, number, np.zeros(4), faults)
        faults.raise_if_errors(UnsupportedError)
        wanted = np.concatenate([np.empty(0), *(part for *_, part in _wanted(placement, number, circuit_of(plain)))])
        levels = fit_core_bases(wanted, seed=seed).bases
        biases.append(_rounded(placement, number, levels, faults))
        circuits.append(circuit_of(biases[-1]))
    faults.raise_if_errors(UnsupportedError)
    held = _assigned(placement, tuple(biases), tuple(circuits))
    _tell(held, told)
    return held


def hold_again(held: Held, network: Network) -> Held:
    """The nearest masks for other weights of the same network, as training makes them, the cores' currents as they are.
    `network` has the projections of the placed one, and no synapse that the placed one has not."""
    placement = replace(held.placement, network=network)
    return _assigned(placement, held.biases, held.circuits)


def hold_with(placement: Placement, biases: tuple[Mapping[str, tuple[int, int]], ...]) -> Held:
    """What cores with these `biases` hold of a placed network."""
    return _assigned(placement, biases, tuple(circuit_of(each) for each in biases))


def same_currents(placement: Placement, biases: tuple[Mapping[str, tuple[int, int]], ...]) -> bool:
    """Whether the cores want all of these `biases`, but for those that weights are made of."""
    if len(biases) != placement.cores:
        return False
    plain = (_rounded(placement, number, np.zeros(4), Diagnostics()) for number in range(placement.cores))
    return all(mine.keys() == its.keys() and all(mine[name] == its[name] for name in mine if not _of_weights(name))
               for mine, its in zip(plain, biases, strict=True))


def _of_weights(bias: str) -> bool:
    return bias.startswith("SYAM_W")


def _rounded(placement: Placement, core: int, levels: Array, faults: Diagnostics) -> dict[str, tuple[int, int]]:
    name, neuron = placement.first[core]
    found = {}
    for bias, current in biases_of(placement.currents[name], neuron, levels, placement.operating).items():
        low, high = reach(bias)
        beyond = current > high * (1 + _ROOM) or (bias.startswith("SOIF") and current < low * (1 - _ROOM))
        if beyond:
            faults.add("SC353", f"{bias} of core {core} is out of the bias generator's reach", node=name,
                       value=f"{current:.3g} A", limit=f"{low:.3g}..{high:.3g} A",
                       remedy="Change the time constant or the refractory period, or the operating currents.")
        found[bias] = nearest_bias(bias, current)
    return found


def _units(placement: Placement, name: str, circuit: Circuit, excites: Array, rows: Array) -> Array:
    """What weight of the model an ampere of weight current is, for each target in `rows`."""
    wanted = placement.currents[name]
    scale = wanted.scale[rows] * circuit.threshold / wanted.threshold[rows]
    charge = np.where(excites, circuit.jump_exc * circuit.tau_exc, circuit.jump_inh * circuit.tau_inh)
    of_model = wanted.jump[rows] * wanted.tau_syn[rows] * wanted.gain[rows] / (wanted.scale[rows] * wanted.leak[rows])
    found: Array = circuit.gain * charge / (scale * circuit.leak * of_model)
    return found


def _wanted(placement: Placement, core: int, circuit: Circuit) -> list[tuple[Projection, Array, Array]]:
    """Of each projection onto a core: the places of its weights there, and those weights in amperes of weight current,
    signed by what they do to the target."""
    found = []
    for projection in placement.network.projections:
        rows, _ = ends(projection)
        here = np.flatnonzero(placement.core[projection.target][rows] == core)
        weights = np.asarray(projection.connection.weight, dtype=np.float64).reshape(-1)[here]
        direction = np.sign(placement.currents[projection.target].jump[rows[here]])
        units = np.abs(_units(placement, projection.target, circuit, weights * direction > 0, rows[here]))
        with np.errstate(divide="ignore", invalid="ignore"):
            found.append((projection, here, np.where(units > 0, weights * direction / units, 0.0)))
    return found


def _assigned(placement: Placement, biases: tuple[Mapping[str, tuple[int, int]], ...],
              circuits: tuple[Circuit, ...]) -> Held:
    masks = {each.name: np.zeros(np.asarray(each.connection.weight).size, np.uint8)
             for each in placement.network.projections}
    signs = {name: np.zeros(mask.shape, np.int8) for name, mask in masks.items()}
    errors = []
    for number, circuit in enumerate(circuits):
        parts = _wanted(placement, number, circuit)
        fit = hold_in_bases(np.concatenate([np.empty(0), *(part for *_, part in parts)]), np.array(circuit.levels))
        errors.append(fit.error)
        begin = 0
        for projection, here, part in parts:
            masks[projection.name][here] = fit.masks[begin:begin + len(part)]
            signs[projection.name][here] = fit.signs[begin:begin + len(part)]
            begin += len(part)
    return Held(placement=placement, biases=biases, circuits=circuits, errors=tuple(errors), masks=masks, signs=signs)


def _tell(held: Held, told: Diagnostics) -> None:
    for number, error in enumerate(held.errors):
        name, _ = held.placement.first[number]
        if error > _LOST:
            told.add("SC355", f"the weights of core {number} lose much in its 16 levels", node=name,
                     value=f"{error:.1%} of their norm", severity="warning",
                     remedy="Train with the chip in the loop, or give weights of one layer one size.")
        bent = float(linear_error(held.circuits[number].neurons(1))[0])
        if bent > _BENT:
            told.add("SC355", f"the membranes of core {number} are not linear", node=name,
                     value=f"a current is off by up to {bent:.0%} of the threshold", severity="warning",
                     remedy="Take shorter time constants, or train with the chip in the loop.")


def _levels(circuit: Circuit) -> Array:
    """The current of each mask."""
    found: Array = (np.arange(16)[:, None] >> np.arange(4) & 1) @ np.array(circuit.levels)
    return found


def _held_amperes(held: Held, projection: Projection) -> Array:
    """The weight current of each weight, read row by row, signed by what it does to the target."""
    rows, _ = ends(projection)
    core = held.placement.core[projection.target][rows]
    levels = np.array([_levels(circuit) for circuit in held.circuits]).reshape(-1, 16)
    found: Array = held.signs[projection.name] * levels[core, held.masks[projection.name]]
    return found


def effective_network(held: Held) -> Network:
    """What the cores hold, in the units of the model, as a network of linear membranes: weights, time constants,
    refractory periods and the resting value are those of the currents; thresholds and reset values are the model's. A
    `leaky` population is a `cuba` one, with its short synapse. The excitatory synapse's time constant stands for
    both."""
    network = held.placement.network
    projections = [replace(each, connection=replace(each.connection, weight=_in_model(
        held, each, _held_amperes(held, each)))) for each in network.projections]
    return replace(network, projections=tuple(projections), populations={
        name: _effective(held, name, each) for name, each in network.populations.items()})


def _in_model(held: Held, projection: Projection, amperes: Array) -> Array:
    """Weights of the model, in their shape, that weight currents are; those are signed by what they do to the
    target."""
    rows, _ = ends(projection)
    core, flat = held.placement.core[projection.target][rows], np.zeros(len(rows))
    for number in np.unique(core):
        here = core == number
        direction = np.sign(held.placement.currents[projection.target].jump[rows[here]])
        flat[here] = amperes[here] * direction * np.abs(_units(
            held.placement, projection.target, held.circuits[number], amperes[here] > 0, rows[here]))
    return flat.reshape(np.asarray(projection.connection.weight).shape)


def nearest_weights(held: Held, projection: Projection) -> Array:
    """The weights of the model that the cores can hold, nearest to those of `projection`, which is one of the placed
    network with other weights."""
    again = hold_again(held, replace(held.placement.network, projections=(projection,)))
    return _in_model(held, projection, _held_amperes(again, projection))


def weight_bounds(held: Held, projection: Projection) -> tuple[Array, Array]:
    """The least and the greatest weight of the model that there is for each of a projection's."""
    rows, _ = ends(projection)
    most = np.array([sum(each.levels) for each in held.circuits])[held.placement.core[projection.target][rows]]
    one, other = (_in_model(held, projection, sign * most) for sign in (-1.0, 1.0))
    return np.minimum(one, other), np.maximum(one, other)


def _effective(held: Held, name: str, population: Population) -> Population:
    circuits = [held.circuits[number] for number in held.placement.core[name]]

    def each(field: str) -> Array:
        return np.array([getattr(circuit, field) for circuit in circuits], dtype=np.float64)

    wanted = held.placement.currents[name]
    scale = wanted.scale * each("threshold") / wanted.threshold
    reset = np.asarray(population.v_threshold) - wanted.threshold / wanted.scale
    rest = reset + each("gain") * (each("dc") / each("leak") - 1) / scale
    return replace(population, kind="cuba", tau_mem=each("tau_mem"), tau_syn=each("tau_exc"),
                   refractory=each("refractory"), v_leak=rest, v0=rest, v_reset=reset, reset="v_reset",
                   w_in=np.ones(population.n) if population.w_in is None else population.w_in)


def dpi_network(held: Held, *, feedback: bool = True) -> DpiNetwork:
    """What the cores hold, as the circuits themselves, without mismatch. `feedback`: theirs, as DynapSim has it."""
    network = held.placement.network
    neurons = [circuit.neurons(1, feedback=feedback) for circuit in held.circuits]
    numbers = {field: np.concatenate([np.empty(0), *(getattr(each, field) for each in neurons)])
               for field in DpiPopulation.__slots__}
    populations = {name: DpiPopulation(**{field: values[core] for field, values in numbers.items()})
                   for name, core in held.placement.core.items()}
    projections = []
    for projection in network.projections:
        amperes = _held_amperes(held, projection)
        jumps = np.array([(circuit.jump_inh, circuit.jump_exc) for circuit in held.circuits]).reshape(-1, 2)
        rows, columns = ends(projection)
        core = held.placement.core[projection.target][rows]
        weight = np.zeros((network.size(projection.target), network.size(projection.source)))
        np.add.at(weight, (rows, columns), amperes * jumps[core, (amperes > 0).astype(np.int64)])
        projections.append(DpiProjection(name=projection.name, source=projection.source, target=projection.target,
                                         weight=weight))
    return DpiNetwork(inputs=network.inputs, populations=populations, projections=tuple(projections))
