"""The files of a program for Lava, made from an integer network: always the same bytes for the same network.

No text of the user's is part of code: inputs, populations and projections are p0, p1, … in this order, and
`network.json` has their names. Convolutions are in (H, W, C) order in Lava, so what they touch is; everything else, and
every raster, is in the order of the network.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import networkx
import numpy as np

from ...ir.diagnostics import Diagnostics, UnsupportedError
from ...ir.integer import IntegerConv, IntegerNetwork, IntegerPopulation, IntegerProjection, IntegerSparse, held_weight
from ...ir.nodes import Array
from ...ir.npz import pack_npz
from ...runtime.lava import host
from ...runtime.lava.environment import LAVA_VERSION

if TYPE_CHECKING:
    import jinja2

__all__ = ["LATENCY", "NETWORK", "PARAMETERS", "PROGRAM", "UNTESTED", "keys_of", "program_files"]

PROGRAM, PARAMETERS, NETWORK, README = "program.py", "parameters.npz", "network.json", "README.md"
LATENCY = 1
"""Columns from a spike to its targets, of an input as of a population: measured with Lava 0.10.0."""
FORMAT, VERSION = "spikec-integer-network", 1
UNTESTED = ["program.py --hardware loihi1", "program.py --hardware loihi2"]
"""What no test could run: there is no board."""
_SIGN = {"mixed": "MIXED", "excitatory": "EXCITATORY", "inhibitory": "INHIBITORY"}
_PROCESSES = {"Dense": ("lava.proc.dense", "PyDenseModelBitAcc"),
              "DelayDense": ("lava.proc.dense", "PyDelayDenseModelBitAcc"),
              "Sparse": ("lava.proc.sparse", "PySparseModelBitAcc"),
              "DelaySparse": ("lava.proc.sparse", "PyDelaySparseModelBitAcc"),
              "Conv": ("lava.proc.conv", "PyConvModelFixed"), "LIF": ("lava.proc.lif", "PyLifModelBitAcc")}
"""The package of each process, and its model under `fixed_pt`."""
_EDGE_MODELS = ["from lava.proc.io.reset import PyResetFixed", "from lava.proc.io.sink import PyReadFixed",
                "from lava.proc.io.sink import PyReceiveModelFixed", "from lava.proc.io.source import PySendModelFixed"]


def program_files(network: IntegerNetwork) -> dict[str, bytes]:
    """The files by name.

    Raises:
        UnsupportedError: Lava has no process for a part of it (SC559).
    """
    keys = keys_of(network)
    synapses, orders = _projection_keys(network), _orders(network)
    wired = [each for each in network.projections if each.connection.weight.size]  # Lava has no empty matrix
    inputs = [{"key": keys[name], "n": network.size(name), "bits": max(
        (each.message_bits for each in wired if each.source == name), default=0)} for name in network.inputs]
    outputs = list(dict.fromkeys(keys[population] for population in network.outputs.values()))
    projections = [_projection(network, each, synapses[each.name], keys, orders) for each in wired]
    processes = {"LIF", *(each["process"] for each in projections)}
    facts = {"version": version("spikec"), "lava": LAVA_VERSION, "inputs": inputs, "outputs": outputs}
    program = _render(
        "program.jinja", **facts, latency=LATENCY,
        shim=inspect.getsource(host.import_lava).replace("() -> None", "()").replace("  # type: ignore[no-untyped-def]",
                                                                                    "").rstrip(),
        reshapes="Conv" in processes, imports=_imports(processes), models=_models(processes),
        populations=[_population(each, keys, orders) for each in network.populations.values()], projections=projections,
        parts=_parts(network, wired, keys),
        state=[*((keys[name], variable) for name in network.populations for variable in ("u", "v")),
               *((each["key"], "a_buf" if each["process"] == "Conv" else "a_buff") for each in projections)],
        orders=[(keys[name], network.size(name), channels) for name, channels in orders.items() if channels > 1])
    readme = _render("readme.jinja", **facts | {"inputs": [each["key"] for each in inputs]},
                     neurons=sum(each.n for each in network.populations.values()),
                     synapses=sum(each.connection.weight.size for each in network.projections))
    described = json.dumps(_described(network, keys, synapses), indent=1)
    return {PROGRAM: program.encode(), PARAMETERS: pack_npz(_parameters(network, keys, synapses)),
            NETWORK: described.encode() + b"\n", README: readme.encode()}


def keys_of(network: IntegerNetwork) -> dict[str, str]:
    """p0, p1, … of inputs and populations by their names."""
    return {name: f"p{number}" for number, name in enumerate([*network.inputs, *network.populations])}


def _projection_keys(network: IntegerNetwork) -> dict[str, str]:
    first = len(network.inputs) + len(network.populations)
    return {each.name: f"p{first + number}" for number, each in enumerate(network.projections)}


def _population(population: IntegerPopulation, keys: Mapping[str, str], orders: Mapping[str, int]) -> dict[str, Any]:
    return {"key": keys[population.name], "n": population.n, "du": population.du, "dv": population.dv,
            "threshold": population.threshold, "bias": population.bias is not None,
            "bias_exponent": population.bias_exponent, "rows": _reordered(population.name, keys, orders, "[{}]"),
            "first": [each for each in ("u", "v") if getattr(population, f"{each}0") is not None]}


def _projection(network: IntegerNetwork, projection: IntegerProjection, key: str, keys: Mapping[str, str],
                orders: Mapping[str, int]) -> dict[str, Any]:
    connection, delayed = projection.connection, _is_delayed(projection)
    facts: dict[str, Any] = {
        "key": key, "source": keys[projection.source], "target": keys[projection.target],
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


def _orders(network: IntegerNetwork) -> dict[str, int]:
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


def _parts(network: IntegerNetwork, wired: Sequence[IntegerProjection],
           keys: Mapping[str, str]) -> list[tuple[str, str]]:
    """Each population, and the first one that it is connected with."""
    wires = networkx.Graph()
    wires.add_nodes_from(network.populations)
    wires.add_edges_from((each.source, each.target) for each in wired)
    first = {name: next(each for each in network.populations if each in part)
             for part in networkx.connected_components(wires) for name in part}
    return [(keys[name], keys[first[name]]) for name in network.populations]


def _imports(processes: set[str]) -> list[str]:
    by_package: dict[str, list[str]] = {}
    for process in sorted(processes):
        by_package.setdefault(_PROCESSES[process][0], []).append(process)
    lines = [f"from {package}.process import {', '.join(names)}" for package, names in sorted(by_package.items())]
    lines += ["from lava.utils.weightutils import SignMode"] * bool(processes - {"Conv", "LIF"})
    lines += ["from scipy.sparse import csr_matrix"] * bool(processes & {"Sparse", "DelaySparse"})
    return lines


def _models(processes: set[str]) -> list[str]:
    """The imports of their models and of those at the network's edge."""
    lines = [f"from {package}.models import {model}" for package, model in (_PROCESSES[each] for each in processes)]
    return sorted([*lines, *_EDGE_MODELS])


def _parameters(network: IntegerNetwork, keys: Mapping[str, str], synapses: Mapping[str, str]) -> dict[str, Array]:
    """Every array, in the smallest type that holds its field."""
    arrays: dict[str, Array] = {}
    for name, population in network.populations.items():
        if population.bias is not None:
            arrays[f"{keys[name]}_bias"] = population.bias.astype(np.int16)
        for field in ("u0", "v0"):
            if (first := getattr(population, field)) is not None:
                arrays[f"{keys[name]}_{field}"] = first.astype(np.int32)
    for projection in network.projections:
        key, connection = synapses[projection.name], projection.connection
        arrays[f"{key}_weight"] = held_weight(projection).astype(np.int16)
        if isinstance(connection, IntegerSparse):
            arrays[f"{key}_indices"] = connection.indices.astype(np.int32)
            arrays[f"{key}_indptr"] = connection.indptr.astype(np.int64)
        if _is_delayed(projection) and projection.delay is not None:
            arrays[f"{key}_delay"] = projection.delay.astype(np.int8)
    return arrays


def _described(network: IntegerNetwork, keys: Mapping[str, str], synapses: Mapping[str, str]) -> dict[str, Any]:
    """What `network.json` holds: all of the network but its arrays."""
    return {
        "format": FORMAT, "version": VERSION, "spikec": version("spikec"), "lava": LAVA_VERSION,
        "dt": float(network.dt), "latency": LATENCY, "untested": UNTESTED,
        "inputs": {keys[name]: {"name": name, "shape": list(shape)} for name, shape in network.inputs.items()},
        "populations": {keys[name]: {
            "name": name, "shape": list(each.shape), "du": int(each.du), "dv": int(each.dv),
            "threshold": int(each.threshold), "bias_exponent": int(each.bias_exponent),
        } for name, each in network.populations.items()},
        "projections": {synapses[each.name]: _described_projection(each, keys) for each in network.projections},
        "outputs": {name: keys[population] for name, population in network.outputs.items()},
    }


def _described_projection(projection: IntegerProjection, keys: Mapping[str, str]) -> dict[str, Any]:
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


def _render(template: str, **variables: Any) -> str:
    return _templates().get_template(template).render(**variables)
