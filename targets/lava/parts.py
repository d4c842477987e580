"""What programs for Lava are put together from: facts of inputs, populations and projections as their templates take
them, the arrays beside a program, and what describes a network.

No text of the user's is part of code: inputs, populations and projections are p0, p1, … in this order, and
`network.json` has their names. Convolutions are in (H, W, C) order in Lava, so what they touch is; everything else, and
every raster, is in the order of the network.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import networkx
import numpy as np

from ...ir.diagnostics import Diagnostics, UnsupportedError
from ...ir.integer.network import (
    IntegerConv,
    IntegerNetwork,
    IntegerPopulation,
    IntegerProjection,
    IntegerSparse,
    held_weight,
)
from ...ir.nodes import Array
from ...runtime.lava import host
from ...runtime.lava.environment import LAVA_VERSION

if TYPE_CHECKING:
    import jinja2

__all__ = [
    "LATENCY", "NETWORK", "PARAMETERS", "PROGRAM", "README", "arrays_of", "described_network", "described_projection",
    "facts_of_inputs", "facts_of_population", "facts_of_projection", "import_lines", "keys_of", "keys_of_projections",
    "model_lines", "orders_of", "parts_of", "rendered", "shared_facts", "wired",
]

PROGRAM, PARAMETERS, NETWORK, README = "program.py", "parameters.npz", "network.json", "README.md"
LATENCY = 1
"""Columns from a spike to its targets, of an input as of a population: measured with Lava 0.10.0."""
VERSION = 1
"""Of what `network.json` holds."""
_SIGN = {"mixed": "MIXED", "excitatory": "EXCITATORY", "inhibitory": "INHIBITORY"}
_PROCESSES = {"Dense": ("lava.proc.dense", "PyDenseModelBitAcc"),
              "DelayDense": ("lava.proc.dense", "PyDelayDenseModelBitAcc"),
              "Sparse": ("lava.proc.sparse", "PySparseModelBitAcc"),
              "DelaySparse": ("lava.proc.sparse", "PyDelaySparseModelBitAcc"),
              "LearningDense": ("lava.proc.dense", "PyLearningDenseModelBitApproximate"),
              "Conv": ("lava.proc.conv", "PyConvModelFixed"), "LIF": ("lava.proc.lif", "PyLifModelBitAcc")}
"""The package of each process, and its model under `fixed_pt`."""


def keys_of(network: IntegerNetwork) -> dict[str, str]:
    """p0, p1, … of inputs and populations by their names."""
    return {name: f"p{number}" for number, name in enumerate([*network.inputs, *network.populations])}


def keys_of_projections(network: IntegerNetwork, projections: Sequence[IntegerProjection]) -> dict[str, str]:
    """Those that follow, of all projections in order."""
    first = len(network.inputs) + len(network.populations)
    return {each.name: f"p{first + number}" for number, each in enumerate(projections)}


def wired(projections: Sequence[IntegerProjection]) -> list[IntegerProjection]:
    """Those that have weights: Lava has no empty matrix."""
    return [each for each in projections if each.connection.weight.size]


def shared_facts() -> dict[str, Any]:
    """What all templates of programs ask for."""
    return {"version": version("spikec"), "lava": LAVA_VERSION, "latency": LATENCY,
            "shim": inspect.getsource(host.import_lava).replace("() -> None", "()").replace(
                "  # type: ignore[no-untyped-def]", "").rstrip()}


def facts_of_inputs(network: IntegerNetwork, projections: Sequence[IntegerProjection],
                    keys: Mapping[str, str]) -> list[dict[str, Any]]:
    """Of each input, with the bits of its spikes."""
    return [{"key": keys[name], "n": network.size(name), "bits": max(
        (each.message_bits for each in projections if each.source == name), default=0)} for name in network.inputs]


def facts_of_population(population: IntegerPopulation, keys: Mapping[str, str],
                        orders: Mapping[str, int]) -> dict[str, Any]:
    """Of neurons without learning."""
    return {"key": keys[population.name], "process": "LIF", "settings": [], "wires": [], "n": population.n,
            "du": population.du, "dv": population.dv, "threshold": population.threshold,
            "bias": population.bias is not None, "bias_exponent": population.bias_exponent,
            "rows": _reordered(population.name, keys, orders, "[{}]"),
            "first": [each for each in ("u", "v") if getattr(population, f"{each}0") is not None]}


def facts_of_projection(network: IntegerNetwork, projection: IntegerProjection, key: str, keys: Mapping[str, str],
                        orders: Mapping[str, int]) -> dict[str, Any]:
    """Of synapses that stay as they are, onto somas."""
    connection, delayed = projection.connection, _is_delayed(projection)
    facts: dict[str, Any] = {
        "key": key, "rule": None, "wires": [], "arrives": f"{keys[projection.target]}.a_in",
        "port": f'inputs["{keys[projection.source]}"]' if projection.source in network.inputs
        else f"{keys[projection.source]}.s_out",
        "n_source": network.size(projection.source), "n_target": network.size(projection.target),
        "exponent": projection.exponent, "message_bits": projection.message_bits,
    }
    if isinstance(connection, IntegerConv):
        channels, height, width = connection.input_shape
        return {**facts, "process": "Conv", "input_shape": (height, width, channels), "stride": connection.stride,
                "padding": connection.padding, "dilation": connection.dilation, "groups": connection.groups}
    kind = "Sparse" if isinstance(connection, IntegerSparse) else "Dense"
    return {**facts, "process": f"Delay{kind}" if delayed else kind, "sparse": kind == "Sparse",
            "weight_bits": projection.weight_bits, "sign": _SIGN[projection.sign],
            "arrays": [("weights", "weight"), *([("delays", "delay")] if delayed else [])],
            "rows": _reordered(projection.target, keys, orders, "[{}]"),
            "columns": _reordered(projection.source, keys, orders, "[:, {}]")}


def _is_delayed(projection: IntegerProjection) -> bool:
    return projection.delay is not None and bool(projection.delay.any())


def _reordered(name: str, keys: Mapping[str, str], orders: Mapping[str, int], index: str) -> str:
    return index.format(f'ORDERS["{keys[name]}"]') if orders.get(name, 1) > 1 else ""


def orders_of(network: IntegerNetwork) -> dict[str, int]:
    """Of inputs and populations that convolutions touch, how many channels come last; 1: the order is the network's.

    Raises:
        UnsupportedError: convolutions look at one with different numbers of channels (SC559).
    """
    faults = Diagnostics()
    orders: dict[str, int] = {}
    for projection in network.projections:
        if isinstance(connection := projection.connection, IntegerConv):
            for name, shape in ((projection.source, connection.input_shape),
                                (projection.target, connection.output_shape)):
                channels = shape[0] if shape[0] < network.size(name) else 1
                if orders.setdefault(name, channels) != channels:
                    faults.add("SC559", "convolutions look at this with different numbers of channels",
                               node=name, value=channels, limit=orders[name],
                               remedy=f"Unroll the convolution '{projection.name}' into an IntegerSparse.")
    faults.raise_if_errors(UnsupportedError)
    return orders


def parts_of(network: IntegerNetwork, projections: Sequence[IntegerProjection],
             keys: Mapping[str, str]) -> list[tuple[str, str]]:
    """Each population, and the first one that it is connected with."""
    wires = networkx.Graph()
    wires.add_nodes_from(network.populations)
    wires.add_edges_from((each.source, each.target) for each in projections)
    first = {name: next(each for each in network.populations if each in part)
             for part in networkx.connected_components(wires) for name in part}
    return [(keys[name], keys[first[name]]) for name in network.populations]


def import_lines(processes: set[str]) -> list[str]:
    """The imports of processes of Lava, and of what they are made with."""
    by_package: dict[str, list[str]] = {}
    for process in sorted(processes):
        by_package.setdefault(_PROCESSES[process][0], []).append(process)
    lines = [f"from {package}.process import {', '.join(names)}" for package, names in sorted(by_package.items())]
    lines += ["from lava.utils.weightutils import SignMode"] * bool(processes - {"Conv", "LIF"})
    lines += ["from scipy.sparse import csr_matrix"] * bool(processes & {"Sparse", "DelaySparse"})
    return lines


def model_lines(processes: set[str], others: Sequence[str]) -> list[str]:
    """The imports of their models, and the `others`."""
    lines = [f"from {package}.models import {model}" for package, model in (_PROCESSES[each] for each in processes)]
    return sorted([*lines, *others])


def arrays_of(network: IntegerNetwork, projections: Sequence[IntegerProjection], keys: Mapping[str, str],
              synapses: Mapping[str, str]) -> dict[str, Array]:
    """Every array, in the smallest type that holds its field."""
    arrays: dict[str, Array] = {}
    for name, population in network.populations.items():
        if population.bias is not None:
            arrays[f"{keys[name]}_bias"] = population.bias.astype(np.int16)
        for field in ("u0", "v0"):
            if (first := getattr(population, field)) is not None:
                arrays[f"{keys[name]}_{field}"] = first.astype(np.int32)
    for projection in projections:
        key, connection = synapses[projection.name], projection.connection
        arrays[f"{key}_weight"] = held_weight(projection).astype(np.int16)
        if isinstance(connection, IntegerSparse):
            arrays[f"{key}_indices"] = connection.indices.astype(np.int32)
            arrays[f"{key}_indptr"] = connection.indptr.astype(np.int64)
        if _is_delayed(projection) and projection.delay is not None:
            arrays[f"{key}_delay"] = projection.delay.astype(np.int8)
    return arrays


def described_network(network: IntegerNetwork, keys: Mapping[str, str], synapses: Mapping[str, str], kind: str,
                      **facts: Any) -> dict[str, Any]:
    """What `network.json` holds: all of the network but its arrays. `kind`: the format; `facts` are added."""
    return {
        "format": kind, "version": VERSION, "spikec": version("spikec"), "lava": LAVA_VERSION,
        "dt": float(network.dt), "latency": LATENCY, **facts,
        "inputs": {keys[name]: {"name": name, "shape": list(shape)} for name, shape in network.inputs.items()},
        "populations": {keys[name]: {
            "name": name, "shape": list(each.shape), "du": int(each.du), "dv": int(each.dv),
            "threshold": int(each.threshold), "bias_exponent": int(each.bias_exponent),
        } for name, each in network.populations.items()},
        "projections": {synapses[each.name]: described_projection(each, keys) for each in network.projections},
        "outputs": {name: keys[population] for name, population in network.outputs.items()},
    }


def described_projection(projection: IntegerProjection, keys: Mapping[str, str]) -> dict[str, Any]:
    """A projection without its arrays."""
    facts: dict[str, Any] = {
        "name": projection.name, "source": keys[projection.source], "target": keys[projection.target],
        "exponent": int(projection.exponent), "weight_bits": int(projection.weight_bits), "sign": projection.sign,
        "message_bits": int(projection.message_bits),
    }
    connection = projection.connection
    if isinstance(connection, IntegerConv):
        pairs = {name: [int(each) for each in getattr(connection, name)]
                 for name in ("input_shape", "output_shape", "stride", "padding", "dilation")}
        return {**facts, "kind": "conv", **pairs, "groups": int(connection.groups)}
    return {**facts, "kind": "sparse" if isinstance(connection, IntegerSparse) else "dense"}


@cache
def _templates() -> jinja2.Environment:
    import jinja2

    return jinja2.Environment(loader=jinja2.FileSystemLoader(Path(__file__).parent), undefined=jinja2.StrictUndefined,
                              autoescape=False, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True)


def rendered(template: str, **variables: Any) -> str:
    """A template beside this file with its variables."""
    return _templates().get_template(template).render(**variables)
