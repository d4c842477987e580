"""Graph -> NIR file (1.0), one that `nir.read` and every reader of NIR understands.

NIR lacks refractory periods, reset by subtraction, delays of single connections, initial states, time grids, BatchNorm
and MaxPool2d. What would be lost is an error, unless `extensions` stores it in the metadata of the node, where
`from_nir` finds it again and other readers pass over it. Sparse weights are written dense.
"""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass, field
from dataclasses import fields as dataclass_fields
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ...ir.checks import verify
from ...ir.diagnostics import Diagnostics, SpikecWarning, UnsupportedError
from ...ir.graph import Graph
from ...ir.nodes import (
    IF,
    LIF,
    Array,
    BatchNorm,
    Conv1d,
    Conv2d,
    CubaLIF,
    Delay,
    Flatten,
    Linear,
    MaxPool2d,
    Neuron,
    Node,
    Scale,
    SparseLinear,
    Threshold,
    params,
    settings,
)
from ...ir.npz import write_atomically
from ...ir.shapes import Shapes, infer_shapes
from .nir_fields import NEURON_FIELDS
from .nir_file import EXTENSION

__all__ = ["to_nir"]

VERSION = "1.0.8"
DENSE_LIMIT = 1 << 32
"""Bytes that a sparse weight may take when written dense."""

Fields = dict[str, Any]


def to_nir(graph: Graph, path: str | Path, *, extensions: bool = False) -> None:
    """Writes the file, whole or not at all.

    `extensions`: keep what NIR lacks in metadata, for `from_nir`. Other readers then see the graph without it.

    Raises:
        UnsupportedError: with everything that the file could not say (SC209).
        BadInputError: the graph is not legal (SC101 to SC117), or the file cannot be written (SC522).
    """
    verify(graph)
    faults = Diagnostics()
    known, _ = infer_shapes(graph)
    written: dict[str, _Written] = {}
    for name, node in graph.nodes.items():
        if "/" in name:
            faults.add("SC209", "a name in an HDF5 file cannot hold '/'", node=name, remedy="Rename the node.")
        written[name] = _written(node, name, known[name], faults)
        if written[name].lost and not extensions:
            faults.add("SC209", "NIR has no field for this", node=name, value=", ".join(written[name].lost),
                       remedy="Pass extensions=True to keep it in metadata that other readers pass over.")
    of_graph, of_nodes = _metadata(graph, extensions, faults)
    faults.raise_if_errors(UnsupportedError)
    for found in faults.found:
        warnings.warn(str(found), SpikecWarning, stacklevel=2)
    stream = io.BytesIO()
    with h5py.File(stream, "w") as file:
        _put(file, "version", VERSION)
        root = file.create_group("node")
        _put(root, "type", "NIRGraph")
        _put_all(root, "metadata", of_graph)
        nodes = root.create_group("nodes", track_order=True)
        for name, entry in written.items():
            group = nodes.create_group(name)
            _put(group, "type", entry.kind)
            for key, value in entry.fields.items():
                _put(group, key, value)
            stored = {EXTENSION + key: value for key, value in {**entry.lost, **entry.spelling}.items()}
            _put_all(group, "metadata", {**of_nodes.get(name, {}), **(stored if extensions else {})})
        pairs = np.array(graph.edges, dtype=object).reshape(-1, 2)
        root.create_dataset("edges", data=pairs, dtype=h5py.string_dtype())
    write_atomically(path, stream.getvalue())


@dataclass(frozen=True, slots=True)
class _Written:
    """A node in NIR's terms: its `kind` and `fields`, what NIR has no field for (`lost`), and which of several
    spellings of the same meaning the node had (`spelling`)."""

    kind: str
    fields: Fields
    lost: Fields = field(default_factory=dict)
    spelling: Fields = field(default_factory=dict)


def _written(node: Node, name: str, shapes: Shapes, faults: Diagnostics) -> _Written:
    kind = type(node).__name__
    match node:
        case Neuron():
            return _neuron(node)
        case SparseLinear():
            return _sparse(node, name, faults)
        case Linear():
            values = {key: value for key, value in params(node).items() if key != "delay"}
            return _Written(kind, values, {} if node.delay is None else {"delay": node.delay})
        case Conv1d() | Conv2d():
            return _conv(node, shapes)
        case Flatten():
            return _Written(kind, {"input_type": np.array(shapes.input, dtype=np.int64), **settings(node)})
        case Scale() | Delay() | Threshold():
            return _Written(kind, {key: np.broadcast_to(value, shapes.input) for key, value in params(node).items()})
        case BatchNorm():
            faults.add("SC209", "NIR has no BatchNorm", node=name, remedy="Fold it into the layer before it.")
        case MaxPool2d():
            faults.add("SC209", "NIR has no MaxPool2d", node=name, remedy="Use SumPool2d or AvgPool2d.")
    return _Written(kind, {key: np.array(value, dtype=np.int64) for key, value in settings(node).items()})


def _neuron(node: Neuron) -> _Written:
    names = NEURON_FIELDS[type(node)]
    values: Fields = {key: value for key, value in params(node).items() if key in names}
    lost: Fields = {key: getattr(node, key) for key in ("v0", "refractory") if np.any(getattr(node, key, 0.0))}
    spelling: Fields = {}
    if isinstance(node, (IF, LIF, CubaLIF)):
        if node.reset == "subtract":
            lost["reset"] = node.reset
        elif node.reset == "zero":
            values["v_reset"] = np.zeros_like(node.v_reset)
            spelling = {"reset": node.reset, "v_reset": node.v_reset}
    return _Written(type(node).__name__, values, lost, spelling)


def _conv(node: Conv1d | Conv2d, shapes: Shapes) -> _Written:
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


def _dense(node: SparseLinear, values: Array) -> Array:
    dense = np.zeros(node.size, values.dtype)
    dense[np.repeat(np.arange(node.size[0]), np.diff(node.indptr)), node.indices] = values
    return dense


def _metadata(graph: Graph, extensions: bool, faults: Diagnostics) -> tuple[Fields, dict[str, Fields]]:
    """Metadata of the graph, and of each node: those under "node/key"."""
    of_graph: Fields = {}
    of_nodes: dict[str, Fields] = {}
    for key, value in graph.metadata.items():
        node, separator, inner = key.partition("/")
        if inner.startswith(EXTENSION) or key.startswith(EXTENSION):
            faults.add("SC209", f"keys of metadata that begin with '{EXTENSION}' are spikec's own", value=key)
        elif not separator:
            of_graph[key] = value
        elif node in graph.nodes and inner and "/" not in inner:
            of_nodes.setdefault(node, {})[inner] = value
        else:
            faults.add("SC209", "the key of metadata cannot hold '/', but between a node's name and its own key",
                       value=key)
    grid = graph.discretization
    if grid is not None and extensions:
        of_graph |= {f"{EXTENSION}discretization.{entry.name}": getattr(grid, entry.name)
                     for entry in dataclass_fields(grid)}
    elif grid is not None:
        faults.add("SC209", "NIR states no time grid; the discretisation was left out", value=grid, severity="warning",
                   remedy="Give it again to from_nir, or pass extensions=True.")
    return of_graph, of_nodes


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


