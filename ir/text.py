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
from collections.abc import Iterator
from dataclasses import MISSING, Field, fields
from pathlib import Path
from typing import Any

import numpy as np

from .conform import stored
from .diagnostics import BadInputError, Diagnostic
from .graph import Discretization, Graph
from .nodes import Array, Neuron, Node
from .npz import pack_npz, read_npz, write_atomically
from .text_lexer import DTYPES, RESERVED, VERSION, WORD
from .text_parser import Document

__all__ = ["parse", "read", "to_arrays", "to_text", "write"]

INLINE = 8
"""Arrays of more distinct elements go to the sidecar."""
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
        for field, value in _values(node) if isinstance(value, np.ndarray) and _inline(node, value) is None
    }


def parse(text: str, arrays: dict[str, Array] | None = None) -> Graph:
    """The graph that a text form, with its arrays, speaks of. It need not be legal: see `checks.verify`.

    Raises:
        BadInputError: naming every fault, with line and column.
    """
    return Document(text).graph(arrays or {})


def write(graph: Graph, path: str | Path) -> None:
    """Writes `path` (x.spk) and, where arrays are referred to, the sidecar x.npz beside it; each atomically, the
    sidecar first, so that a text never stands without it.

    Raises:
        BadInputError: a file cannot be written.
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
        BadInputError: a file is missing, too large, damaged or malformed, or the sidecar is not the one written with
            the text; naming every fault.
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
    path = Path(path)
    sidecar = path.with_suffix(".npz")
    if path == sidecar:
        raise BadInputError(Diagnostic("SC122", "the text form is named x.spk; x.npz is its sidecar", value=str(path)))
    return path, sidecar


def _bytes(path: Path, limit: int) -> bytes:
    try:
        with open(path, "rb") as stream:
            data = stream.read(limit + 1)
    except (OSError, ValueError) as error:
        raise BadInputError(Diagnostic("SC122", f"'{path}' cannot be read: {error}")) from error
    if len(data) > limit:
        raise BadInputError(Diagnostic("SC122", f"'{path}' is too large", value=f"> {limit} bytes",
                                       limit=f"{limit} bytes"))
    return data


def _render(graph: Graph, digest: str | None = None) -> str:
    head = [f"spikec-graph {VERSION}"]
    if digest is not None:
        head.append(f"arrays sha256={digest}")
    if graph.discretization is not None:
        record = graph.discretization
        facts = (f"{entry.name}={literal(getattr(record, entry.name))}" for entry in fields(Discretization))
        head.append(f"discretization {' '.join(facts)}")
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
        if isinstance(value, np.ndarray):
            text = _inline(node, value) or f"@{quoted(f'{name}.{field}')} {_type(value)}"
        else:
            text = literal(value)
        facts.append(f"{field}={text}")
    return f"{type(node).__name__}({', '.join(facts)})"


def _values(node: Node) -> Iterator[tuple[str, Any]]:
    """The fields that differ from their default; of a neuron's arrays, what its shape does not spread by itself."""
    for entry in fields(node):
        value = getattr(node, entry.name)
        if isinstance(value, np.ndarray) and isinstance(node, Neuron):
            value = _unspread(node, value)
        if not _is_default(entry, value):
            yield entry.name, value


def _unspread(node: Neuron, value: Array) -> Array:
    if value.shape != node.shape:
        return value
    kept = stored(value)
    return kept.reshape(-1)[:1].reshape(()) if kept.size and _uniform(kept) else kept


def _is_default(entry: Field[Any], value: Any) -> bool:
    if entry.default is MISSING:
        return False
    if isinstance(value, np.ndarray):
        default = np.asarray(entry.default)
        return value.shape == () and value.dtype == default.dtype and value.tobytes() == default.tobytes()
    return type(value) is type(entry.default) and value == entry.default


def _inline(node: Node, value: Array) -> str | None:
    """An array as text, or None where it belongs into the sidecar."""
    if not _writable(value):
        return None
    if value.shape == () and value.dtype == np.float64:
        return _number(value[()])
    if value.dtype != np.int64 and value.size and _uniform(value):
        return f"{_type(value)}({_number(stored(value).reshape(-1)[0])})"
    if value.size <= INLINE:
        return f"{_type(value)}({', '.join(_number(item) for item in value.reshape(-1))})"
    return None


def _writable(value: Array) -> bool:
    """Whether text can say every element: a NaN has more bits than its name."""
    strange = np.isnan(stored(value)) if value.dtype.kind == "f" else np.zeros(0, bool)
    if not strange.any():
        return True
    plain = np.full(int(strange.sum()), np.nan, value.dtype)
    return plain.tobytes() == stored(value)[strange].tobytes()


def _uniform(value: Array) -> bool:
    kept = stored(value).reshape(-1)
    bits = kept.view(f"u{kept.dtype.itemsize}")
    return bool(bits[0] == bits[-1] and (bits == bits[0]).all())


def _type(value: Array) -> str:
    name = next(name for name, dtype in DTYPES.items() if value.dtype == dtype)
    return f"{name}[{', '.join(map(str, value.shape))}]" if value.shape else name


def _number(value: Any) -> str:
    """The shortest text that reads back as the same bits, through a float64."""
    if isinstance(value, np.float32):
        short = str(value)
        return short if np.float32(float(short)).tobytes() == value.tobytes() else repr(float(value))
    return str(int(value)) if isinstance(value, np.integer) else repr(float(value))


def quoted(name: Any) -> str:
    """A name as the text form writes it."""
    if isinstance(name, str) and WORD.fullmatch(name) and name not in RESERVED:
        return name
    name = str(name)
    return json.dumps(name, ensure_ascii=not name.isprintable())


def literal(value: Any, words: bool = True) -> str:
    """A setting as the text form writes it; `words`: plain text stands without quotes."""
    if value is None:
        return "none"
    if isinstance(value, bool | np.bool_):
        return "true" if value else "false"
    if isinstance(value, int | np.integer):
        return str(int(value))
    if isinstance(value, float | np.floating):
        return repr(float(value))
    if isinstance(value, tuple):
        items = [literal(item) for item in value]
        return f"({', '.join(items)}{',' if len(items) == 1 else ''})"
    if isinstance(value, str):
        return quoted(value) if words else json.dumps(value, ensure_ascii=not value.isprintable())
    return json.dumps(repr(value))
