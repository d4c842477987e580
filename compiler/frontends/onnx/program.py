"""What an ONNX model computes, as one flat list of operations: functions written out, constants read, names checked.

Nothing here knows what an operation means. The rules are those of the ONNX specification: every value is given once,
and before it is used; functions call each other without a circle.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import onnx

from ....ir.diagnostics import Diagnostics
from ....ir.nodes import Array
from .file import OnnxLimits, TensorReader

__all__ = ["DEFAULT_DOMAINS", "Operation", "Program", "Subgraph", "check_versions", "program_of"]

DEFAULT_DOMAINS = ("", "ai.onnx")
OLDEST_OPSET = 7
"""Before it, sums and products spread their operands by another rule."""
OLDEST_IR = 3


class Subgraph:
    """Stands for an attribute that holds a graph: the body of If, Loop or Scan."""


@dataclass(slots=True)
class Operation:
    """One operation. `name`: for diagnostics; the operator is `kind` of `domain`. A value that is left out is ''."""

    kind: str
    domain: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    settings: dict[str, Any]


@dataclass(slots=True)
class Program:
    """`inputs`: name and axes of what the user gives, None where an axis has no fixed size; `outputs` by name;
    `constants` by name."""

    operations: list[Operation] = field(default_factory=list)
    constants: dict[str, Array] = field(default_factory=dict)
    inputs: dict[str, tuple[int | None, ...]] = field(default_factory=dict)
    outputs: tuple[str, ...] = ()


def check_versions(model: onnx.ModelProto, faults: Diagnostics) -> None:
    """Reports a version of the format, or of the standard operators, that spikec does not know."""
    newest_ir, newest = int(onnx.IR_VERSION), onnx.defs.onnx_opset_version()
    convert = "Convert the model with onnx.version_converter."
    if not OLDEST_IR <= model.ir_version <= newest_ir:
        faults.add("SC241", "the version of the format is unknown", value=f"ir_version {model.ir_version}",
                   limit=f"{OLDEST_IR} to {newest_ir}",
                   remedy="Update the onnx package." if model.ir_version > newest_ir else convert)
    opsets = [*model.opset_import, *(entry for function in model.functions for entry in function.opset_import)]
    versions = [entry.version for entry in opsets if entry.domain in DEFAULT_DOMAINS]
    for version in sorted({version for version in versions if not OLDEST_OPSET <= version <= newest}):
        faults.add("SC241", "the version of the operators is unknown", value=f"opset {version}",
                   limit=f"{OLDEST_OPSET} to {newest}",
                   remedy="Update the onnx package." if version > newest else convert)
    if not versions:
        faults.add("SC241", "the model does not say which version of the operators it uses")


def program_of(model: onnx.ModelProto, reader: TensorReader, limits: OnnxLimits, faults: Diagnostics) -> Program:
    """The operations of a model that its outputs need, in order. What is wrong with it goes into `faults`."""
    graph, program = model.graph, Program()
    program.constants = reader.initializers(model)
    for sparse in graph.sparse_initializer:
        faults.add("SC226", "a sparse tensor cannot be read", node=sparse.values.name, remedy="Store it dense.")
    named = {tensor.name for tensor in graph.initializer}
    for value in graph.input:
        if value.name not in named:
            program.inputs[value.name] = _axes(value, faults)
    program.outputs = tuple(value.name for value in graph.output)
    functions = _Functions(model, reader, limits, faults)
    operations = list(functions.written_out(graph.node))
    _check_names(program, operations, faults)
    program.operations = _needed(operations, program.outputs)
    return program


def _axes(value: onnx.ValueInfoProto, faults: Diagnostics) -> tuple[int | None, ...]:
    tensor = value.type.tensor_type
    if not value.type.HasField("tensor_type") or not tensor.HasField("shape"):
        faults.add("SC225", "the shape of the input is not stated", node=value.name,
                   remedy="Export the model with an example input.")
        return ()
    return tuple(axis.dim_value if axis.HasField("dim_value") else None for axis in tensor.shape.dim)


class _Functions:
    """The functions of a model, and what is left of the limit on nodes."""

    def __init__(self, model: onnx.ModelProto, reader: TensorReader, limits: OnnxLimits, faults: Diagnostics) -> None:
        self.reader, self.limits, self.faults, self.left = reader, limits, faults, limits.nodes
        self.known: dict[tuple[str, str], onnx.FunctionProto] = {}
        for function in model.functions:
            if (function.domain, function.name) in self.known:
                faults.add("SC240", "two functions have the same name", value=f"{function.domain}.{function.name}")
            self.known[function.domain, function.name] = function

    def written_out(self, nodes: Iterable[onnx.NodeProto], call: _Call | None = None) -> Iterator[Operation]:
        """The operations of a list of nodes, each function call replaced by the nodes of its body."""
        for number, node in enumerate(nodes):
            self.left -= 1
            if self.left < 0:
                if self.left == -1:
                    self.faults.add("SC204", "the model has too many nodes once its functions are written out",
                                    limit=self.limits.nodes)
                return
            operation = self._operation(node, number, call)
            function = self.known.get((node.domain, node.op_type))
            if function is None:
                yield operation
            elif call is not None and (node.domain, node.op_type) in call.around:
                self.faults.add("SC240", "functions call each other in a circle", node=operation.name,
                                value=f"{node.domain}.{node.op_type}")
            elif call is not None and len(call.around) >= self.limits.depth:
                self.faults.add("SC204", "functions call each other too deep", node=operation.name,
                                limit=self.limits.depth)
            else:
                inner = _Call(operation, function, () if call is None else call.around)
                yield from self.written_out(function.node, inner)
                yield from inner.handed_through()

    def _operation(self, node: onnx.NodeProto, number: int, call: _Call | None) -> Operation:
        name = node.name or (node.output[0] if node.output else "") or f"{node.op_type}_{number}"
        if call is not None:
            name = f"{call.operation.name}/{name}"
        settings: dict[str, Any] = {}
        for attribute in node.attribute:
            if attribute.ref_attr_name:
                if call is None:
                    self.faults.add("SC240", "an attribute refers to one of a function, outside of any", node=name,
                                    value=attribute.ref_attr_name)
                elif attribute.ref_attr_name in call.operation.settings:
                    settings[attribute.name] = call.operation.settings[attribute.ref_attr_name]
                elif attribute.ref_attr_name in call.defaults:
                    settings[attribute.name] = self._value(call.defaults[attribute.ref_attr_name], name)
            else:
                settings[attribute.name] = self._value(attribute, name)
        rename = (lambda value: value) if call is None else call.rename
        return Operation(node.op_type, "" if node.domain in DEFAULT_DOMAINS else node.domain, name,
                         tuple(map(rename, node.input)), tuple(map(rename, node.output)), settings)

    def _value(self, attribute: onnx.AttributeProto, where: str) -> Any:
        kinds = onnx.AttributeProto
        match attribute.type:
            case kinds.FLOAT:
                return attribute.f
            case kinds.INT:
                return attribute.i
            case kinds.STRING:
                return attribute.s.decode("utf-8", "replace")
            case kinds.FLOATS:
                return tuple(attribute.floats)
            case kinds.INTS:
                return tuple(attribute.ints)
            case kinds.STRINGS:
                return tuple(text.decode("utf-8", "replace") for text in attribute.strings)
            case kinds.TENSOR:
                return self.reader.array(attribute.t, where)
        return Subgraph()


class _Call:
    """A call of a function: what its values are called outside. `around`: the functions that it stands in."""

    def __init__(self, operation: Operation, function: onnx.FunctionProto, around: tuple[tuple[str, str], ...]) -> None:
        self.operation, self.around = operation, (*around, (function.domain, function.name))
        self.defaults: Mapping[str, onnx.AttributeProto] = {each.name: each for each in function.attribute_proto}
        given = dict(zip(function.input, operation.inputs, strict=False))
        taken = dict(zip(function.output, operation.outputs, strict=False))
        self.through = {name: outside for name, outside in taken.items() if name in given and outside}
        self.names = {**dict.fromkeys(function.input, ""), **taken, **given}

    def rename(self, value: str) -> str:
        known: str = self.names.get(value, f"{self.operation.name}/{value}" if value else "")
        return known

    def handed_through(self) -> Iterator[Operation]:
        """Outputs of the function that are inputs of it as well."""
        for name, outside in self.through.items():
            yield Operation("Identity", "", self.operation.name, (self.names[name],), (outside,), {})


def _check_names(program: Program, operations: list[Operation], faults: Diagnostics) -> None:
    given = {*program.inputs, *program.constants}
    coming = {name for operation in operations for name in operation.outputs if name}
    for operation in operations:
        for name in operation.inputs:
            if name and name not in given:
                later = name in coming
                faults.add("SC240", "a value is used before it is given: the nodes form a circle, or are not in order"
                           if later else "a value is used that nothing gives", node=operation.name, value=name,
                           remedy="onnx.checker.check_model tells more.")
                given.add(name)
        for name in operation.outputs:
            if name and (name in program.inputs or name in program.constants or name not in coming):
                faults.add("SC240", "a value is given twice", node=operation.name, value=name)
            coming.discard(name)
            given.add(name)
    for name in program.outputs:
        if name not in given:
            faults.add("SC240", "nothing gives this output", node=name)


def _needed(operations: list[Operation], outputs: tuple[str, ...]) -> list[Operation]:
    wanted, kept = set(outputs), []
    for operation in reversed(operations):
        if wanted.intersection(operation.outputs):
            wanted.update(operation.inputs)
            kept.append(operation)
    return kept[::-1]
