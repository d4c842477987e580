"""A program for BrainScaleS-2 as the scripts of its folder take it: names that are safe in code, numbers in the units
of the chip's software, and what stands against saying it in that software.

No text of the user's is part of code: inputs are i0, i1, …, populations p0, p1, … and projections w0, w1, … in the
order of the program, as in `configuration.npz`; `params.json` has their names.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import floor, log10
from types import MappingProxyType
from typing import Any

import networkx
import numpy as np

from ...ir.analog.chip import AnalogChip
from ...ir.analog.network import AnalogNetwork, AnalogPopulation, AnalogProjection
from ...ir.analog.schedule import Schedule
from ...ir.network import Network
from ...ir.nodes import Array
from .relays import Relay, relay_of

__all__ = ["LABEL", "RANGES", "TECHNICAL", "described", "faults_for_hxtorch", "faults_for_pynn", "in_order", "keys_of",
           "reachable", "weight_scale"]

LABEL = "generated, not run on silicon"
_CALIX = "calix (e573081), calix/spiking/neuron.py, check_target"
RANGES: Mapping[str, tuple[float, float, str, str]] = MappingProxyType({
    "leak": (50, 160, "LSB", _CALIX),
    "reset": (50, 160, "LSB", _CALIX),
    "threshold": (50, 220, "LSB", _CALIX),
    "tau_mem": (0.5e-6, 60e-6, "s", _CALIX),
    "tau_syn": (0.3e-6, 30e-6, "s", _CALIX),
    "refractory": (40e-9, 32e-6, "s", _CALIX),
})
"""What the calibration takes: least, most, unit, source. The description of a chip may be the user's; the scripts stay
within these."""
LEVELS = 63
"""The largest weight of a synapse: hxtorch (3bfc7aa), Synapse."""
TECHNICAL: Mapping[str, int] = MappingProxyType(
    {"i_synin_gm": 500, "synapse_dac_bias": 1000, "membrane_capacitance": 63})
"""Settings that a network says nothing of: those of hxtorch's example (3bfc7aa), examples/spiking/yinyang_model.py."""
_SLACK = 1e-9
_STEPS = 20
"""Steps of the grid in the shortest time constant."""


def keys_of(held: AnalogNetwork) -> dict[str, str]:
    """i0, i1, … of inputs and p0, p1, … of populations, by their names."""
    return {**{name: f"i{number}" for number, name in enumerate(held.inputs)},
            **{name: f"p{number}" for number, name in enumerate(held.populations)}}


def weight_scale(held: AnalogNetwork, chip: AnalogChip) -> float:
    """Steps of a weight of one distance from rest to threshold."""
    return chip.levels / held.full_scale


def in_order(held: AnalogNetwork) -> list[str] | None:
    """Populations, each after all that it takes spikes of; None where they form a loop."""
    wires = networkx.DiGraph()
    wires.add_nodes_from(held.populations)
    wires.add_edges_from((each.source, each.target) for each in held.projections if each.source in held.populations)
    if not networkx.is_directed_acyclic_graph(wires):
        return None
    place = {name: number for number, name in enumerate(held.populations)}
    return list(networkx.lexicographical_topological_sort(wires, key=place.__getitem__))


def reachable(held: AnalogNetwork, chip: AnalogChip) -> list[str]:
    """What of the program the chip's software would not take, whichever part of it; most of all where the description
    of the chip is the user's."""
    found, keys = [], keys_of(held)
    if held.schedule is not None:
        found.append(f"a network in {len(held.schedule.runs)} runs, with spikes of earlier ones replayed into later "
                     "ones; the file would be one for each run")
    if chip.levels > LEVELS:
        found.append(f"weights of {chip.levels} steps; a synapse has {LEVELS}")
    for each in held.populations.values():
        for name, (low, high, unit, _) in RANGES.items():
            values = getattr(each, name)
            least = 0.0 if name == "refractory" else low * (1 - _SLACK)  # what is shorter becomes the shortest
            if values is not None and values.size and not (
                    least <= values.min() and values.max() <= high * (1 + _SLACK)):
                found.append(f"{name} of {keys[each.name]} is {values.min():g}..{values.max():g} {unit}, and can be "
                             f"{low:g}..{high:g}")
    return found


def faults_for_hxtorch(held: AnalogNetwork) -> list[str]:
    """What hxtorch cannot say of the program."""
    found, keys = [], keys_of(held)
    delayed = [f"w{number}" for number, each in enumerate(held.projections) if each.delay is not None]
    if delayed:
        found.append(f"delays of {', '.join(delayed)}, which take neurons of their own: see `run_pynn.py`")
    if in_order(held) is None:
        found.append("recurrent connections")
    silent = held.populations.keys() - {each.target for each in held.projections}
    if silent:
        found.append(f"no synapses onto {', '.join(sorted(keys[name] for name in silent))}")
    return found


def faults_for_pynn(held: AnalogNetwork, chip: AnalogChip) -> list[str]:
    """What the calibrated neurons of PyNN cannot say of the program."""
    keys = keys_of(held)
    found = [f"{each.circuits} circuits a neuron of {keys[each.name]}, where calibrated neurons of PyNN have one"
             for each in held.populations.values() if each.circuits > 1]
    for number, each in enumerate(held.projections):
        if each.delay is not None and any(relay is None for relay in _relays(held, chip, each)):
            found.append(f"delays of w{number} of {each.delay.min():g}..{each.delay.max():g} s, for which there is no "
                         "neuron")
    return found


def described(network: Network, held: AnalogNetwork, chip: AnalogChip, left_out: Mapping[str, list[str]]) -> Any:
    """What `params.json` holds: everything but the weights. Times are seconds on the chip, potentials steps of its
    converter."""
    keys = keys_of(held)
    rest, top = chip["readout.leak"], chip["readout.threshold"]
    return {
        "format": "spikec-brainscales2", "version": 1, "label": LABEL, "chip": chip.title,
        "speed_up": held.speed_up, "weight_scale": weight_scale(held, chip), "trace_scale": 1 / (top - rest),
        "rest": rest, "top": top, "dt": _grid(held), "technical": dict(TECHNICAL),
        "inputs": {keys[name]: {"name": name, "n": n} for name, n in held.inputs.items()},
        "populations": {keys[name]: _population(each) for name, each in held.populations.items()},
        "projections": {f"w{number}": _projection(held, chip, each, keys)
                        for number, each in enumerate(held.projections)},
        "outputs": {output: keys[name] for output, name in network.outputs.items()},
        "left_out": dict(left_out), **({} if held.schedule is None else {"runs": _runs(held.schedule, keys)}),
    }


def _runs(schedule: Schedule, keys: Mapping[str, str]) -> list[dict[str, Any]]:
    """Of each run, what is sent to the chip, and by population the neurons that are there."""
    return [{"sources": [keys[name] for name in run.sources],
             "populations": {keys[part.population]: part.neurons.tolist() for part in run.parts}}
            for run in schedule.runs]


def _population(each: AnalogPopulation) -> dict[str, Any]:
    held = {name: _kept(getattr(each, name), name) for name in RANGES if getattr(each, name) is not None}
    return {"name": each.name, "n": each.n, "circuits": each.circuits, "spiking": each.spiking, **held}


def _projection(held: AnalogNetwork, chip: AnalogChip, each: AnalogProjection,
                keys: Mapping[str, str]) -> dict[str, Any]:
    told: dict[str, Any] = {"name": each.name, "source": keys[each.source], "target": keys[each.target],
                            "rows": each.rows}
    if each.delay is not None:
        relays = _relays(held, chip, each)
        told["delay"] = _short(each.delay)
        told["relay"] = {"n": len(relays), "height": [None if relay is None else relay.height for relay in relays],
                         "tau": [None if relay is None else relay.tau for relay in relays]}
    return told


def _relays(held: AnalogNetwork, chip: AnalogChip, each: AnalogProjection) -> list[Relay | None]:
    delays = [] if each.delay is None else [float(delay) for delay in each.delay]
    shortest = max(RANGES["tau_mem"][0], RANGES["tau_syn"][0])
    longest = min(RANGES["tau_mem"][1], RANGES["tau_syn"][1])
    weight, span = held.full_scale * LEVELS / chip.levels, chip["readout.threshold"] - chip["readout.leak"]
    return [relay_of(delay, weight, span, shortest, longest) for delay in delays]


def _grid(held: AnalogNetwork) -> float:
    """Seconds on the chip: a power of ten well below all time constants, and no more than hxtorch's default of 1 us."""
    taus = [float(getattr(each, name).min()) for each in held.populations.values() for name in ("tau_mem", "tau_syn")
            if each.n]
    return float(f"1e{min(-6, floor(log10(min(taus, default=1.0) / _STEPS)))}")


def _kept(values: Array, name: str) -> Any:
    """Values within what can be set, where they differ from it by rounding alone; of the refractory period, which is
    never zero, the shortest."""
    low, high, _, _ = RANGES[name]
    within = np.clip(values, low, high)
    near = np.isclose(values, within, rtol=_SLACK, atol=0.0) | ((values < low) & (name == "refractory"))
    return _short(np.where(near, within, values))


def _short(values: Array) -> Any:
    """One number where all are the same."""
    return float(values[0]) if values.size and (values == values[0]).all() else values.tolist()
