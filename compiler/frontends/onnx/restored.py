"""The graph that an ONNX file of spikec says it computes, and the proof that it does.

A file can say anything. The model is built again from the graph that the metadata describe, as `to_onnx` builds it,
and compared with the one in the file: operations and functions as they are, stored parameters bit by bit, constants
that were computed from them up to the rounding of another machine.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from math import prod

import numpy as np
import onnx

from ....ir.checks import verify
from ....ir.diagnostics import BadInputError, Diagnostic, Diagnostics
from ....ir.graph import Graph
from ....ir.nodes import Array, Conv1d, Conv2d, Node, SumPool2d
from ....ir.shapes import infer_shapes, window
from ....ir.text import MAX_TEXT
from ....ir.text_parser import Document
from .emitter import DType
from .file import TensorReader
from .stored import ARRAY, DTYPE, FORMAT, GRAPH, SHOWS, VERSION
from .writer import build_model

__all__ = ["is_described", "restored"]

LARGEST = 1 << 27
"""Elements that the nodes of a described graph may take and give in all: constants are computed from them."""
REMEDY = "Use the file as to_onnx wrote it."


def is_described(model: onnx.ModelProto) -> bool:
    """Whether the file says which graph it computes."""
    return any(entry.key == GRAPH for entry in model.metadata_props)


def restored(model: onnx.ModelProto, reader: TensorReader, faults: Diagnostics) -> Graph:
    """The graph of a file that describes one. The model is used up.

    Raises:
        BadInputError: the description is malformed (SC120, SC121, SC240, or what the checks of a graph say), too
            large (SC204), or the model computes something else (SC242).
    """
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    if metadata.get(FORMAT) != VERSION:
        faults.add("SC241", "the description of the graph is of an unknown version", value=metadata.get(FORMAT),
                   limit=VERSION, remedy="Export the graph again.")
    constants = reader.initializers(model)
    del model.graph.initializer[:]
    faults.raise_if_errors()
    graph = _described(metadata, constants, faults)
    dtype: DType = "float32" if metadata.get(DTYPE) == "float32" else "float64"
    again, out = build_model(graph, dtype, metadata.get(SHOWS) == "membranes")
    for what, difference in (("the operations", _differ(model, again)),
                             ("the constants", _first_difference(constants, out.constants, out.parameters))):
        if difference:
            faults.add("SC242", f"{what} of the model are not those of the graph that its metadata describe",
                       value=difference, remedy=REMEDY)
    faults.raise_if_errors()
    return graph


def _described(metadata: Mapping[str, str], constants: Mapping[str, Array], faults: Diagnostics) -> Graph:
    text = metadata[GRAPH]
    if len(text) > MAX_TEXT:
        raise BadInputError(Diagnostic("SC204", "the description of the graph is too long",
                                       value=f"{len(text)} characters", limit=f"{MAX_TEXT} characters"))
    document = Document(text)
    document.faults.raise_if_errors()
    arrays = dict(constants)
    for reference in document.references:
        stored = metadata.get(ARRAY + reference.key)
        if reference.key in constants or stored is None:
            continue
        try:
            data = base64.b64decode(stored, validate=True)
        except (binascii.Error, ValueError):
            data = b""
        if len(data) != reference.nbytes:
            faults.add("SC240", "a stored array is damaged", node=reference.key, value=f"{len(data)} bytes",
                       limit=f"{reference.nbytes} bytes", remedy=REMEDY)
            continue
        little = np.dtype(reference.dtype).newbyteorder("<")
        arrays[reference.key] = np.frombuffer(data, little).astype(reference.dtype, copy=False).reshape(reference.shape)
    faults.raise_if_errors()
    graph = document.graph(arrays)
    shapes, misfits = infer_shapes(graph)
    faults.extend(misfits)
    faults.raise_if_errors()
    size = sum(prod(shape.output) + prod(shape.input) * _taps(graph.nodes[name]) for name, shape in shapes.items())
    stated = sum(value.size for node in graph.nodes.values() for value in _weights(node))
    held = sum(array.size for array in constants.values())
    if size > LARGEST or stated > held:
        raise BadInputError(Diagnostic("SC204", "the described graph is too large for its file",
                                       value=f"{size} elements, {stated} of weights",
                                       limit=f"{LARGEST} elements, {held} of constants"))
    return verify(graph)


def _taps(node: Node) -> int:
    """How often a window may see an element."""
    return prod(window(node).kernel) if isinstance(node, Conv1d | Conv2d | SumPool2d) else 1


def _weights(node: object) -> list[Array]:
    """Of a node without state, the arrays that a file holds in full."""
    found = [getattr(node, name, None) for name in ("weight", "scale", "threshold", "ceiling")]
    return [value for value in found if isinstance(value, np.ndarray)]


def _differ(model: onnx.ModelProto, again: onnx.ModelProto) -> str | None:
    """The first difference between what two models compute, constants apart."""
    for name, one, other in (
        ("version of the format", model.ir_version, again.ir_version),
        ("versions of the operators", _opsets(model), _opsets(again)),
        ("functions", [_plain(each) for each in model.functions], [_plain(each) for each in again.functions]),
        ("graph", _plain(model.graph), _plain(again.graph)),
    ):
        if one != other:
            return name
    return None


def _opsets(model: onnx.ModelProto) -> list[tuple[str, int]]:
    return [(entry.domain, entry.version) for entry in model.opset_import]


def _plain(message: onnx.GraphProto | onnx.FunctionProto) -> bytes:
    return bytes(message.SerializeToString(deterministic=True))


def _first_difference(constants: Mapping[str, Array], again: Mapping[str, Array], stored: set[str]) -> str | None:
    for name in dict.fromkeys((*again, *constants)):
        if name not in constants or name not in again:
            return name
        one, other = constants[name], again[name]
        if one is other:
            continue
        if one.dtype != other.dtype or one.shape != other.shape:
            return name
        if name in stored or one.dtype.kind != "f":
            same = bool((one == other).all())
        else:
            close = 1e-5 if one.dtype == np.float32 else 1e-9
            finite = np.abs(other[np.isfinite(other)]).max(initial=0)
            same = bool(np.isclose(one, other, rtol=close, atol=close * finite).all())
        if not same:
            return name
    return None
