"""Graph -> NIR file (1.0), one that `nir.read` and every reader of NIR understands.

NIR lacks refractory periods, reset by subtraction, delays of single connections, initial states, lower bounds of the
membrane, BatchNorm, MaxPool2d, Relu and neurons stated on a grid. What would be lost is an error, unless `extensions`
stores it in the metadata of the node, where `from_nir` finds it again and other readers pass over it. Time grids are
always stored so. Sparse weights are written dense.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ....ir.checks import verify
from ....ir.diagnostics import Diagnostics, SpikecWarning, UnsupportedError
from ....ir.graph import Edge, Graph
from ....ir.nodes import (
    IF,
    LIF,
    Array,
    BatchNorm,
    Conv1d,
    Conv2d,
    CubaLIF,
    Delay,
    Flatten,
    FlowNeuron,
    Linear,
    MaxPool2d,
    Membrane,
    Node,
    Relu,
    Scale,
    SparseLinear,
    StepNeuron,
    Threshold,
    params,
    settings,
)
from ....ir.npz import write_atomically
from ....ir.paths import path_of
from ....ir.readouts import without_readouts
from ....ir.shapes import Shapes, infer_shapes
from .dialect import dialect
from .fields import NEURON_FIELDS
from .file import EXTENSION
from .metadata import CALL, DISCRETIZATION, GRID, READER, split_metadata, written_grid

__all__ = ["to_nir"]

VERSION = "1.0.8"
LOOP = (("input", "lif"), ("lif", "w_rec"), ("w_rec", "lif"), ("lif", "output"))
"""Edges of a neuron with its recurrent weights, as snnTorch nests them."""
DENSE_LIMIT = 1 << 32
"""Bytes that a sparse weight may take when written dense."""

Fields = dict[str, Any]


def to_nir(graph: Graph, path: str | Path, *, extensions: bool = False, reader: str | None = None) -> None:
    """Writes the file, whole or not at all.

    `extensions`: keep what NIR lacks in metadata, for `from_nir`. Other readers then see the graph without it, which is
    a warning.

    `reader`: "snntorch", "norse", "sinabs" or "spikingjelly": parameters from which that framework's importer makes the
    numbers of `simulate_step` on the graph's grid (`nir_importers` says how each of them computes). Weights and biases
    take what the importer's neurons have no field for; names, spikes and membranes stay. The file is in that importer's
    terms, and for no other reader. How it is called is in the file's metadata (`spikec.call`).

    Raises:
        UnsupportedError: with everything that the file could not say, or that the importer could not do (SC209).
        BadInputError: the graph is not legal (SC101 to SC117), no path (SC525), or the file cannot be written (SC522).
    """
    graph = without_readouts(verify(graph))
    path = path_of(path, "a NIR file")
    faults = Diagnostics()
    nested: Mapping[str, str] = {}
    of_graph, of_nodes = split_metadata(graph, faults)
    if reader is not None:
        found = dialect(graph, reader)
        graph, nested = found.graph, found.nested
        of_graph |= {READER: reader, CALL: found.call}
    known, _ = infer_shapes(graph)
    written: dict[str, _Written] = {}
    for name, node in graph.nodes.items():
        if "/" in name or name == ".":
            faults.add("SC209", "a name in an HDF5 file cannot be '.', or hold '/'", node=name,
                       remedy="Rename the node.")
        written[name] = _written(node, name, known[name], faults)
        if written[name].lost and not extensions:
            faults.add("SC209", "NIR has no field for this", node=name, value=", ".join(written[name].lost),
                       remedy="Pass extensions=True to keep it in metadata that other readers pass over."
                       if reader is None else "No importer has it either.")
    _tell_what_others_miss(graph, written, faults)
    faults.raise_if_errors(UnsupportedError)
    for fault in faults.found:
        warnings.warn(str(fault), SpikecWarning, stacklevel=2)
    of_graph |= written_grid(graph.discretization, DISCRETIZATION)
    metadata = {name: _own_metadata(entry, extensions) | of_nodes.get(name, {}) for name, entry in written.items()}
    stream = io.BytesIO()
    with h5py.File(stream, "w") as file:
        _put(file, "version", VERSION)
        inner = {name: {"input": _end("Input", known[name].input), "lif": written[name], "w_rec": written[recurrent],
                        "output": _end("Output", known[name].output)} for name, recurrent in nested.items()}
        apart = set(nested.values())
        nodes = _put_graph(file.create_group("node"), of_graph,
                           [edge for edge in graph.edges if not apart.intersection(edge)])
        for name, entry in written.items():
            if name in inner:
                group = _put_graph(nodes.create_group(name), {}, LOOP)
                for part, each in inner[name].items():
                    of_part = metadata[{"lif": name, "w_rec": nested[name]}[part]] if part in ("lif", "w_rec") else {}
                    _put_node(group.create_group(part), each, of_part)
            elif name not in apart:
                _put_node(nodes.create_group(name), entry, metadata[name])
    write_atomically(path, stream.getvalue())


@dataclass(frozen=True, slots=True)
class _Written:
    """A node in NIR's terms: its `kind` and `fields`, what NIR has no field for (`lost`), which of several spellings
    of the same meaning the node had (`spelling`), and its own `grid`."""

    kind: str
    fields: Fields
    lost: Fields = field(default_factory=dict)
    spelling: Fields = field(default_factory=dict)
    grid: Fields = field(default_factory=dict)


def _written(node: Node, name: str, shapes: Shapes, faults: Diagnostics) -> _Written:
    kind = type(node).__name__
    match node:
        case Membrane():
            return _neuron(node)
        case SparseLinear():
            return _sparse(node, name, faults)
        case Linear():
            values = {key: value for key, value in params(node).items() if key != "delay"}
            return _Written(kind, values, {} if node.delay is None else {"delay": node.delay})
        case Conv1d() | Conv2d():
            return _conv(node, name, shapes, faults)
        case Flatten():
            return _Written(kind, {"input_type": np.array(shapes.input, dtype=np.int64), **settings(node)})
        case Scale() | Delay() | Threshold():
            return _Written(kind, {key: np.broadcast_to(value, shapes.input) for key, value in params(node).items()})
        case BatchNorm():
            faults.add("SC209", "NIR has no BatchNorm", node=name, remedy="Fold it into the layer before it.")
        case MaxPool2d():
            faults.add("SC209", "NIR has no MaxPool2d", node=name, remedy="Use SumPool2d or AvgPool2d.")
        case Relu():
            faults.add("SC209", "NIR has no Relu", node=name, remedy="Convert the network to spiking neurons first.")
        case StepNeuron():
            faults.add("SC209", "NIR has no neuron that is stated on a grid", node=name,
                       remedy="Save the graph in the text form (.spk), or use LIF, CubaLIF or IF.")
            return _Written(kind, {})
        case FlowNeuron():
            faults.add("SC209", f"NIR has no {kind}", node=name,
                       remedy="Save the graph in the text form (.spk), or use LIF, CubaLIF or IF.")
            return _Written(kind, {})
    return _Written(kind, {key: np.array(value, dtype=np.int64) for key, value in settings(node).items()})


def _neuron(node: Membrane) -> _Written:
    names = NEURON_FIELDS[type(node)]
    values: Fields = {key: value for key, value in params(node).items() if key in names}
    lost: Fields = {key: getattr(node, key) for key in ("v0", "refractory") if np.any(getattr(node, key, 0.0))}
    if getattr(node, "v_min", None) is not None:
        lost["v_min"] = node.v_min  # type: ignore[attr-defined]
    spelling: Fields = {}
    if isinstance(node, (IF, LIF, CubaLIF)):
        if node.reset == "subtract":
            lost["reset"] = node.reset
        elif node.reset == "zero":
            values["v_reset"] = np.zeros_like(node.v_reset)
            spelling = {"reset": node.reset, "v_reset": node.v_reset}
    return _Written(type(node).__name__, values, lost, spelling, dict(written_grid(node.grid, GRID)))


def _conv(node: Conv1d | Conv2d, name: str, shapes: Shapes, faults: Diagnostics) -> _Written:
    if node.groups != 1 or len(set(node.weight.shape[2:])) != 1:
        faults.add("SC209", "the nir package (1.0.8) infers other shapes of a convolution with groups, or with a "
                   "kernel that is not square", node=name, severity="warning",
                   value=f"groups={node.groups}, kernel={node.weight.shape[2:]}",
                   remedy="Read the file with nir.read(path, type_check=False).")
    values: Fields = {key: value if isinstance(value, (int, str)) else np.array(value, dtype=np.int64)
                      for key, value in settings(node).items() if key != "input_shape"}
    image = shapes.input[1:]
    values["input_shape"] = image[0] if len(image) == 1 else np.array(image, dtype=np.int64)
    values["weight"] = node.weight
    values["bias"] = np.zeros(node.weight.shape[:1], node.weight.dtype) if node.bias is None else node.bias
    return _Written(type(node).__name__, values, spelling={"no_bias": True} if node.bias is None else {})


def _sparse(node: SparseLinear, name: str, faults: Diagnostics) -> _Written:
    size = node.size[0] * node.size[1] * node.weight.dtype.itemsize
    if size > DENSE_LIMIT:
        faults.add("SC209", "NIR has no sparse weights, and written dense this one is too large", node=name,
                   value=f"{size} bytes", limit=f"{DENSE_LIMIT} bytes")
        return _Written("Linear", {})
    values: Fields = {"weight": _dense(node, node.weight)}
    if node.bias is not None:
        values["bias"] = node.bias
    lost = {} if node.delay is None else {"delay": node.delay}
    return _Written("Linear" if node.bias is None else "Affine", values, lost,
                    {"indptr": node.indptr, "indices": node.indices})


def _tell_what_others_miss(graph: Graph, written: Mapping[str, _Written], faults: Diagnostics) -> None:
    """Warns of what lies in metadata that other readers pass over."""
    for name, entry in written.items():
        if entry.lost:
            faults.add("SC209", "this is in metadata that only spikec reads", node=name, value=", ".join(entry.lost),
                       severity="warning", remedy="Other readers see the node without it.")
    grids = [name for name, entry in written.items() if entry.grid]
    if graph.discretization is not None or grids:
        faults.add("SC209", "NIR states no time grid; it is in metadata that only spikec reads",
                   value=graph.discretization or ", ".join(grids), severity="warning",
                   remedy="For another importer's numbers on this grid, pass reader=.")


def _dense(node: SparseLinear, values: Array) -> Array:
    dense = np.zeros(node.size, values.dtype)
    dense[np.repeat(np.arange(node.size[0]), np.diff(node.indptr)), node.indices] = values
    return dense


def _own_metadata(entry: _Written, extensions: bool) -> Fields:
    stored = {**entry.grid, **({**entry.lost, **entry.spelling} if extensions else {})}
    return {EXTENSION + key: value for key, value in stored.items()}


def _end(kind: str, shape: tuple[int, ...]) -> _Written:
    return _Written(kind, {"shape": np.array(shape, dtype=np.int64)})


def _put_graph(group: h5py.Group, metadata: Fields, edges: Sequence[Edge]) -> h5py.Group:
    """Writes a graph without its nodes; gives the group that they go into."""
    _put(group, "type", "NIRGraph")
    _put_all(group, "metadata", metadata)
    group.create_dataset("edges", data=np.array(edges, dtype=object).reshape(-1, 2), dtype=h5py.string_dtype())
    return group.create_group("nodes", track_order=True)


def _put_node(group: h5py.Group, entry: _Written, metadata: Fields) -> None:
    _put(group, "type", entry.kind)
    for key, value in entry.fields.items():
        _put(group, key, value)
    _put_all(group, "metadata", metadata)


def _put_all(group: h5py.Group, name: str, values: Fields) -> None:
    if values:
        inner = group.create_group(name, track_order=True)
        for key, value in values.items():
            _put(inner, key, value)


def _put(group: h5py.Group, name: str, value: Any) -> None:
    if isinstance(value, str):
        group.create_dataset(name, data=value, dtype=h5py.string_dtype())
    elif isinstance(value, np.ndarray) and value.size > 1:
        group.create_dataset(name, data=value, compression="gzip")
    else:
        group.create_dataset(name, data=value)


