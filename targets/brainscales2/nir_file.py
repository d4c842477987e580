"""A program for BrainScaleS-2 as the NIR file that hxtorch reads (`hxtorch.spiking.utils.from_nir`, 3bfc7aa).

That reader takes a chain of Linear, CubaLI and CubaLIF from one Input to one Output, each with the same parameters
throughout, and time constants **in milliseconds**: all times of this file are in this unit, which its metadata says. A
spike adds its weight to the synaptic current there; with w_in equal to tau_syn it does so in NIR's own terms as well.
Potentials are in distances from rest, at 0, to threshold, at 1; the reader puts them at 80 and 150 steps of the chip's
converter, and resets to 80.
"""

from __future__ import annotations

import io
from typing import Any

import h5py
import numpy as np

from ...ir.analog.chip import AnalogChip
from ...ir.analog.network import AnalogNetwork, AnalogPopulation
from ...ir.network import Network
from .settings import LABEL, keys_of, weight_scale

__all__ = ["faults_for_nir", "nir_file"]

VERSION = "1.0.8"
REST, TOP = 80.0, 150.0
"""What the reader sets rest and threshold to, in steps of the converter."""
MILLISECONDS = 1e3
_ALIKE = ("tau_mem", "tau_syn", "leak", "reset", "threshold")
"""What neurons of a layer have in common for the reader."""


def faults_for_nir(network: Network, held: AnalogNetwork, chip: AnalogChip) -> list[str]:
    """What that reader cannot be told of the program."""
    found, keys = [], keys_of(held)
    for what, names in (("input", held.inputs), ("output", network.outputs)):
        if len(names) != 1:
            found.append(f"{len(names)} {what}s; the reader takes one")
    for name, each in held.populations.items():
        into = [one for one in held.projections if one.target == name]
        if len(into) != 1:
            found.append(f"{len(into)} projections onto {keys[name]}; the reader takes one")
        if _chain(network, held) is None and any(one.source == name for one in into):
            found.append(f"{keys[name]} feeds itself")
        found += [f"{field} differs within {keys[name]}" for field in _ALIKE
                  if (values := getattr(each, field)) is not None and np.ptp(values) > 0]
        if each.reset is not None and np.abs(each.reset - REST).max(initial=0) > 1e-6:
            found.append(f"{keys[name]} is reset elsewhere than to rest")
        shortest = chip.spans["refractory"].low
        if each.refractory is not None and each.refractory.max(initial=0) > shortest * (1 + 1e-9):
            found.append(f"a refractory period of {keys[name]}")
        if each.circuits > 1:
            found.append(f"{each.circuits} circuits a neuron of {keys[name]}; the reader takes one")
    if (chip["readout.leak"], chip["readout.threshold"]) != (REST, TOP):
        found.append(f"rest and threshold elsewhere than at {REST:g} and {TOP:g} LSB")
    for number, one in enumerate(held.projections):
        if one.rows > 1:
            found.append(f"w{number} over {one.rows} rows")
        if one.delay is not None:
            found.append(f"delays of w{number}")
    if not found and _chain(network, held) is None:
        found.append("no chain from the input to the output")
    return found


def _chain(network: Network, held: AnalogNetwork) -> list[int] | None:
    """Projections from the input to the output, each after the one that it follows; None where they are no chain."""
    by_source = {each.source: number for number, each in enumerate(held.projections)}
    place = next(iter(held.inputs), None)
    chain: list[int] = []
    while place in by_source and len(chain) <= len(held.projections):
        chain.append(by_source[place])
        place = held.projections[chain[-1]].target
    whole = len(chain) == len(held.projections) and place in network.outputs.values()
    return chain if whole else None


def nir_file(network: Network, held: AnalogNetwork, chip: AnalogChip) -> bytes:
    """The file, always the same bytes for the same program, of which `faults_for_nir` finds nothing."""
    keys, scale = keys_of(held), weight_scale(held, chip)
    chain = _chain(network, held) or []
    (source, n), output = next(iter(held.inputs.items())), held.projections[chain[-1]].target
    stream = io.BytesIO()
    with h5py.File(stream, "w") as file:
        _put(file, version=VERSION)
        graph = file.create_group("node")
        _put(graph, type="NIRGraph")
        _put(graph.create_group("metadata"), time_unit="ms", reader="hxtorch.spiking.utils.from_nir",
             weight_scale=scale, speed_up=held.speed_up, label=LABEL)
        edges, nodes = [], graph.create_group("nodes", track_order=True)
        _put(nodes.create_group(keys[source]), type="Input", shape=np.array([n]))
        for number in chain:
            each = held.projections[number]
            _put(nodes.create_group(f"w{number}"), type="Linear", weight=each.codes / scale)
            _put(nodes.create_group(keys[each.target]), **_neurons(held.populations[each.target]))
            edges += [(keys[each.source], f"w{number}"), (f"w{number}", keys[each.target])]
        _put(nodes.create_group("output"), type="Output", shape=np.array([held.populations[output].n]))
        edges.append((keys[output], "output"))
        graph.create_dataset("edges", data=np.array(edges, dtype=object), dtype=h5py.string_dtype())
    return stream.getvalue()


def _neurons(each: AnalogPopulation) -> dict[str, Any]:
    tau_mem, tau_syn = each.tau_mem * MILLISECONDS, each.tau_syn * MILLISECONDS
    fields = {"tau_mem": tau_mem, "tau_syn": tau_syn, "r": np.ones(each.n), "v_leak": np.zeros(each.n), "w_in": tau_syn}
    if not each.spiking:
        return {"type": "CubaLI", **fields}
    return {"type": "CubaLIF", **fields, "v_threshold": np.ones(each.n), "v_reset": np.zeros(each.n)}


def _put(group: h5py.Group, **values: Any) -> None:
    for name, value in values.items():
        if isinstance(value, str):
            group.create_dataset(name, data=value, dtype=h5py.string_dtype())
        else:
            group.create_dataset(name, data=value)
