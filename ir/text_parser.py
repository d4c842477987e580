"""Reads the text form that `text` writes: by hand, line by line, without evaluating anything.

A line with a fault is skipped and the next one is read, so that all faults come at once, each with line and column.
Nothing is allocated on the word of the text alone: filled arrays are views of one number, and arrays of the sidecar
exist already when they are compared with what the text declares.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import MISSING, fields
from difflib import get_close_matches
from itertools import pairwise
from typing import Any

import numpy as np

from .conform import conforms, expected, hints
from .diagnostics import Diagnostics
from .flow.statements import reserved
from .graph import Discretization, Edge, Graph
from .nodes import NODE_KINDS, Array, Equations, Node, made, param_names
from .text_lexer import DIRECTIVES, VERSION, Fault, Line, Reference

__all__ = ["Document"]

MAX_FAULTS = 50


class Document:
    """A parsed text. `faults`: of the text so far; `digest`: SHA-256 that it states for its sidecar; `references`: the
    arrays it needs; `graph(arrays)`: the graph."""

    def __init__(self, text: str) -> None:
        self.faults = Diagnostics()
        self.digest: str | None = None
        self.references: list[Reference] = []
        self._discretization: Discretization | None = None
        self._metadata: dict[str, Any] = {}
        self._nodes: dict[str, tuple[type[Node], dict[str, Any]]] = {}
        self._edges: list[Edge] = []
        self._seen_header = False
        for number, line in enumerate(text.split("\n"), start=1):
            if len(self.faults.found) >= MAX_FAULTS:
                self.faults.add("SC120", f"line {number}: too many faults to read on", limit=MAX_FAULTS)
                return
            self._read_line(line, number)
        if not self._seen_header and not self.faults.found:
            self.faults.add("SC120", f"the text is empty; it starts with 'spikec-graph {VERSION}'")

    def graph(self, arrays: Mapping[str, Array]) -> Graph:
        """The graph, with the arrays that the text refers to.

        Raises:
            BadInputError: naming every fault of the text, and every array that is missing or not as declared.
        """
        for reference in self.references:
            self._check_array(reference, arrays.get(reference.key))
        self.faults.raise_if_errors()
        nodes = {
            name: made(kind, {
                field: arrays[value.key] if isinstance(value, Reference) else value for field, value in values.items()
            })
            for name, (kind, values) in self._nodes.items()
        }
        return Graph(nodes, tuple(self._edges), self._discretization, self._metadata)

    def _check_array(self, reference: Reference, array: Array | None) -> None:
        place = f"line {reference.line}, column {reference.column}"
        if array is None:
            self.faults.add("SC121", f"{place}: the array '{reference.key}' is missing")
        elif array.shape != reference.shape or array.dtype != reference.dtype:
            self.faults.add("SC121", f"{place}: the array '{reference.key}' is not as declared",
                            value=f"{array.dtype}{list(array.shape)}",
                            limit=f"{np.dtype(reference.dtype)}{list(reference.shape)}")

    def _read_line(self, line: str, number: int) -> None:
        try:
            reader = Line(line, number)
            if reader.done:
                return
            if not self._seen_header:
                self._seen_header = True
                self._read_header(reader)
            elif reader.first in DIRECTIVES:
                {"arrays": self._read_arrays, "discretization": self._read_discretization,
                 "metadata": self._read_metadata}[reader.first](reader)
            else:
                self._read_node_or_edges(reader)
            reader.finish()
        except Fault as fault:
            self.faults.add("SC120", f"line {number}, column {fault.column}: {fault.message}", **fault.facts)

    def _read_header(self, reader: Line) -> None:
        if reader.first != "spikec-graph":
            raise Fault(f"the text starts with 'spikec-graph {VERSION}'", 1, value=reader.first[:40])
        reader.take()
        version = reader.whole_number("the version of the text form")
        if version != VERSION:
            raise Fault("unknown version of the text form", reader.column, value=version, limit=VERSION,
                         remedy="Update spikec, or write the file again.")

    def _read_arrays(self, reader: Line) -> None:
        reader.take()
        start = reader.column
        reader.want("word", "'sha256='", "sha256")
        reader.want("sign", "'='", "=")
        digest = reader.rest()
        if not re.fullmatch("[0-9a-f]{64}", digest):
            raise Fault("a SHA-256 has 64 hexadecimal digits", start, value=digest[:80])
        self.digest = digest

    def _read_discretization(self, reader: Line) -> None:
        start = reader.column
        reader.take()
        if self._discretization is not None:
            raise Fault("discretization is there twice", start)
        values: dict[str, Any] = {}
        while not reader.done:
            name, value = self._field(reader, Discretization, values)
            values[name] = value
        _want_all(Discretization, values, start)
        self._discretization = Discretization(**values)

    def _read_metadata(self, reader: Line) -> None:
        reader.take()
        start = reader.column
        key = reader.name("a name")
        reader.want("sign", "'='", "=")
        at = reader.column
        value = reader.value()
        if not isinstance(value, str | int | float | bool):
            raise Fault("metadata is text, a number, true or false", at)
        if key in self._metadata:
            raise Fault(f"metadata '{key}' is there twice", start)
        self._metadata[key] = value

    def _read_node_or_edges(self, reader: Line) -> None:
        start = reader.column
        name = reader.name("a node's name")
        if reader.next_is("arrow"):
            chain = [name]
            while reader.next_is("arrow"):
                reader.take()
                chain.append(reader.name("a node's name"))
            self._edges.extend(pairwise(chain))
            return
        reader.want("sign", "'=' or '->'", "=")
        if name in self._nodes:
            raise Fault(f"the node '{name}' is there twice", start)
        kind_at = reader.column
        kind_name = reader.want("word", "a node kind").text
        kind = NODE_KINDS.get(kind_name)
        if kind is None:
            raise Fault("unknown node kind", kind_at, value=kind_name[:40], remedy=_guess(kind_name, NODE_KINDS))
        reader.want("sign", "'('", "(")
        self._nodes[name] = kind, self._fields(reader, kind, kind_at)

    def _fields(self, reader: Line, owner: type[Any], start: int) -> dict[str, Any]:
        """`name=value, …)` of a dataclass."""
        values: dict[str, Any] = {}
        for _ in reader.items(")"):
            field, value = self._field(reader, owner, values)
            values[field] = value
        _want_all(owner, values, start)
        return values

    def _field(self, reader: Line, owner: type[Any], seen: Mapping[str, Any]) -> tuple[str, Any]:
        """`name=value` of a dataclass, the value of a type that the field takes."""
        start = reader.column
        name = reader.want("word", "a field's name").text
        nested = issubclass(owner, Equations) and name not in hints(owner) and not reserved(name)
        if name not in hints(owner) and not nested:
            raise Fault(f"{owner.__name__} has no such field", start, value=name[:40],
                         remedy=_guess(name, [entry.name for entry in fields(owner)]))
        if name in seen:
            raise Fault(f"{name} is there twice", start)
        reader.want("sign", "'='", "=")
        at = reader.column
        value = self._value(reader) if issubclass(owner, Node) else reader.value()
        if isinstance(value, Reference):
            self.references.append(value)
        if nested or (issubclass(owner, Node) and name in param_names(owner)):
            return name, _parameter(value, at)
        index = isinstance(value, Reference | np.ndarray) and conforms(np.empty(0), hints(owner)[name])
        if not (value.dtype == np.int64 if index else conforms(value, hints(owner)[name])):
            raise Fault(f"{name} has the wrong type", at, limit=expected(owner, name))
        return name, value


    def _value(self, reader: Line) -> Any:
        """A value; a record is written `Discretization(dt=…, …)`."""
        start = reader.column
        if not reader.next_is("word", Discretization.__name__):
            return reader.value()
        reader.take()
        reader.want("sign", "'('", "(")
        return Discretization(**self._fields(reader, Discretization, start))


def _parameter(value: Any, column: int) -> Any:
    if conforms(value, float):
        try:
            return np.float64(value)
        except OverflowError:
            raise Fault("the number is too large", column) from None
    if isinstance(value, Reference | np.ndarray) and value.dtype != np.int64:
        return value
    raise Fault("a parameter is a number or an array of f32 or f64", column)


def _want_all(owner: type[Any], values: Mapping[str, Any], column: int) -> None:
    missing = [
        entry.name for entry in fields(owner)
        if entry.name not in values and entry.default is MISSING and entry.default_factory is MISSING
    ]
    if missing:
        raise Fault(f"{owner.__name__} needs {', '.join(missing)}", column)


def _guess(name: str, options: Any) -> str | None:
    close = get_close_matches(name[:40], list(options), n=1)
    return f"Is '{close[0]}' meant?" if close else None
