"""The text form of a model graph: what `print(graph)` shows, what `--dump-ir` writes, what tests are written in.

    spikec-graph 1
    discretization dt=0.001 unit=s spike=delta integrator=decay reset=next delay=1
    metadata source = "snntorch"

    input = Input(shape=(784,))
    fc1 = Linear(weight=@fc1.weight f32[350, 784])
    lif1 = CubaLIF(shape=(350,), tau_mem=0.02, tau_syn=0.005, refractory=f32(0.001))
    output = Output(shape=(350,))

    input -> fc1 -> lif1 -> output

One statement a line, `#` starts a comment. Names that are no plain words stand in double quotes, with JSON's escapes.
What equals its default is left out. A plain number is a float64 scalar; `f32(0.5)` one of float32; `f64[2, 3](0.5)` an
array filled with one value, `f64[2](0.5, 1.0)` one with each; `@key f32[350, 784]` one that lies in the sidecar. A
neuron's arrays are spread over its shape. Numbers are written so that reading gives the same bits.

A file is the text `x.spk` and, where it refers to arrays, the sidecar `x.npz`, whose SHA-256 the text states.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, Field, fields
from pathlib import Path
from typing import Any

import numpy as np

from .diagnostics import BadInputError, Diagnostic
from .flow.statements import state_names
from .graph import Graph
from .nodes import Array, Equations, Neuron, Node
from .npz import pack_npz, read_npz, write_atomically
from .paths import path_of
from .text_lexer import VERSION
from .text_parser import Document
from .text_values import array_text, array_type, compact, is_array, literal, quoted, record_text

__all__ = ["parse", "read", "to_arrays", "to_text", "write"]

MAX_TEXT = 1 << 26
"""Bytes of a text file."""
SLACK = 1 << 16
"""Bytes of a sidecar beyond its arrays, per array and once: headers and directory."""


def to_text(graph: Graph) -> str:
    """The text form, without the arrays it refers to. Total: it shows illegal graphs too."""
    return _render(graph)


def to_arrays(graph: Graph) -> dict[str, Array]:
    """The arrays that the text form refers to, by the key it uses: '<node>.<parameter>'."""
    return {
        f"{name}.{field}": value
        for name, node in graph.nodes.items() if isinstance(node, Node)
        for field, value in _values(node) if is_array(value) and array_text(value) is None
    }


def parse(text: str, arrays: Mapping[str, Array] | None = None) -> Graph:
    """The graph that a text form, with its arrays, speaks of. It need not be legal: see `checks.verify`.

    Raises:
        BadInputError: naming every fault, with line and column (SC120, SC121).
    """
    return Document(text).graph(arrays or {})


def write(graph: Graph, path: str | Path) -> None:
    """Writes `path` (x.spk) and, where arrays are referred to, the sidecar x.npz beside it; each atomically, the
    sidecar first, so that a text never stands without it.

    Raises:
        BadInputError: no path (SC525), it is not named x.spk (SC122), or a file cannot be written (SC522).
    """
    path, sidecar = _paths(path)
    arrays = {key: np.ascontiguousarray(array) for key, array in to_arrays(graph).items()}
    digest = None
    if arrays:
        packed = pack_npz(arrays)
        digest = hashlib.sha256(packed).hexdigest()
        write_atomically(sidecar, packed)
    write_atomically(path, _render(graph, digest).encode())


def read(path: str | Path) -> Graph:
    """The graph in `path` and its sidecar. Sizes are compared with the text's before anything large is read.

    Raises:
        BadInputError: no path (SC525), a file is missing or too large (SC122), damaged (SC523) or malformed (SC120,
            SC121), or the sidecar is not the one written with the text (SC123); naming every fault.
    """
    path, sidecar = _paths(path)
    try:
        text = _bytes(path, MAX_TEXT).decode()
    except UnicodeDecodeError as error:
        raise BadInputError(Diagnostic("SC122", f"'{path}' is not UTF-8 text", value=str(error.reason))) from error
    document = Document(text)
    document.faults.raise_if_errors()
    if not document.references:
        return document.graph({})
    declared = sum(reference.nbytes for reference in document.references) + SLACK * (len(document.references) + 1)
    packed = _bytes(sidecar, declared)
    digest = hashlib.sha256(packed).hexdigest()
    if digest != document.digest:
        raise BadInputError(Diagnostic(
            "SC123", f"'{sidecar}' is not the file that was written with '{path}'", value=digest,
            limit=document.digest or "no 'arrays sha256=…' line", remedy="Restore the pair, or write it again.",
        ))
    return document.graph(read_npz(packed, str(sidecar), limit=declared))


def _paths(path: str | Path) -> tuple[Path, Path]:
    path = path_of(path, "a graph in text form")
    sidecar = path.with_suffix(".npz") if path.name else path
    if path == sidecar:
        raise BadInputError(Diagnostic("SC122", "the text form is named x.spk; x.npz is its sidecar", value=str(path)))
    return path, sidecar


def _bytes(path: Path, limit: int) -> bytes:
    try:
        size = path.stat().st_size
        if not path.is_file():
            raise BadInputError(Diagnostic("SC122", f"'{path}' is no file"))
        if size > limit:
            raise BadInputError(Diagnostic("SC122", f"'{path}' is too large", value=f"{size} bytes",
                                           limit=f"{limit} bytes"))
        with open(path, "rb") as stream:
            return stream.read(size)
    except OSError as error:
        raise BadInputError(Diagnostic("SC122", f"'{path}' cannot be read: {error.strerror or error}")) from error


def _render(graph: Graph, digest: str | None = None) -> str:
    head = [f"spikec-graph {VERSION}"]
    if digest is not None:
        head.append(f"arrays sha256={digest}")
    if graph.discretization is not None:
        head.append(record_text(graph.discretization))
    head += [f"metadata {quoted(key)} = {literal(value, words=False)}" for key, value in graph.metadata.items()]
    nodes = [f"{quoted(name)} = {_node(name, node)}" for name, node in graph.nodes.items()]
    return "\n".join("\n".join(part) + "\n" for part in (head, nodes, list(_chains(graph))) if part)


def _chains(graph: Graph) -> Iterator[str]:
    """The edges in order; one that starts where the last one ended continues its line."""
    line: list[str] = []
    for source, target in graph.edges:
        if line and line[-1] == quoted(source):
            line.append(quoted(target))
            continue
        if line:
            yield " -> ".join(line)
        line = [quoted(source), quoted(target)]
    if line:
        yield " -> ".join(line)


def _node(name: str, node: Any) -> str:
    if not isinstance(node, Node):
        return f"{type(node).__name__}({json.dumps(repr(node))})"
    facts = []
    for field, value in _values(node):
        if is_array(value):
            text = array_text(value) or f"@{quoted(f'{name}.{field}')} {array_type(value)}"
        else:
            text = literal(value)
        facts.append(f"{field}={text}")
    return f"{type(node).__name__}({', '.join(facts)})"


def _values(node: Node) -> Iterator[tuple[str, Any]]:
    """The fields that differ from their default; of a neuron's arrays, what its shape does not spread by itself."""
    for entry in fields(node):
        if entry.metadata.get("values"):
            continue
        value = getattr(node, entry.name)
        if isinstance(node, Neuron) and is_array(value):
            value = compact(value, node.shape)
        if not _is_default(entry, value):
            yield entry.name, value
    if isinstance(node, Equations):
        for name, given in node.values.items():
            value = compact(given, node.shape)
            if not (name in _starts(node) and _same_bits(value, 0.0)):
                yield name, value


def _starts(node: Equations) -> set[str]:
    return {f"{state}0" for state in state_names(node.equations)}


def _is_default(entry: Field[Any], value: Any) -> bool:
    if entry.default is MISSING:
        return False
    if isinstance(value, np.ndarray):
        return _same_bits(value, entry.default)
    return type(value) is type(entry.default) and value == entry.default


def _same_bits(value: Array, scalar: Any) -> bool:
    default = np.asarray(scalar)
    return value.shape == () and value.dtype == default.dtype and value.tobytes() == default.tobytes()
