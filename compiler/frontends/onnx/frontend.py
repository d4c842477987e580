"""ONNX file -> graph: plain networks of layers, and the spiking networks that `to_onnx` wrote.

Sizes, names and versions are judged before anything is computed; nothing in a file is executed.
"""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path

import onnx

from ....ir.checks import verify
from ....ir.diagnostics import BadInputError, Diagnostics, SpikecWarning, UnsupportedError
from ....ir.graph import Discretization, Graph
from ....ir.nodes import Output
from ....ir.paths import path_of
from .constants import FOLDS, operator
from .file import OnnxLimits, TensorReader, read_model
from .importing import Import, Signal
from .operators import RULES
from .program import Operation, Program, Subgraph, check_versions, program_of
from .restored import is_described, restored

__all__ = ["from_onnx"]


def from_onnx(path: str | Path, discretization: Discretization | None = None, *,
              limits: OnnxLimits | None = None) -> Graph:
    """The graph of an ONNX file.

    A plain network (Gemm, MatMul, Conv, Relu, pools, BatchNormalization, …) becomes a graph without neurons, whose
    rectifiers are `Relu` nodes: `spikec.convert_ann` turns it into a spiking one. The first axis of its inputs is the
    batch, which a graph does not have. Weights that are quantised (QuantizeLinear, Quant, …) come in as the values
    that they stand for. What is left out is a warning (SC243).

    A spiking network that `to_onnx` wrote comes back as it was, once it is known that the file computes what it says.

    `discretization` in the place of the file's own. `limits` bounds what is read.

    Raises:
        BadInputError: no path (SC525), no ONNX file, damaged, too large (SC203 to SC208, SC225), malformed (SC240), of
            an unknown version (SC241), not what it says (SC242), or not a legal graph (SC101 to SC117); with every
            fault found.
        UnsupportedError: operators that have no counterpart in a graph (SC226), all of them.
    """
    path = path_of(path, "an ONNX file", remedy="onnx.save(model, path) writes a model that is in memory.")
    limits, faults = limits or OnnxLimits(), Diagnostics()
    contents = read_model(path, limits, faults)
    if contents is None:
        raise BadInputError(*faults.errors)
    model = contents.model
    check_versions(model, faults)
    faults.raise_if_errors()
    reader = TensorReader(path, contents, limits, faults)
    graph = restored(model, reader, faults) if is_described(model) else _plain(model, reader, limits, faults)
    if discretization is not None:
        graph = verify(replace(graph, discretization=discretization))
    for found in faults.found:
        warnings.warn(str(found), SpikecWarning, stacklevel=2)
    return graph


def _plain(model: onnx.ModelProto, reader: TensorReader, limits: OnnxLimits, faults: Diagnostics) -> Graph:
    """The graph of a network without time."""
    program = program_of(model, reader, limits, faults)
    unsupported = [found for found in faults.errors if found.code == "SC226"]
    faults.raise_if_errors(UnsupportedError if len(unsupported) == len(faults.errors) else BadInputError)
    _refuse_unsupported(program, faults)
    faults.raise_if_errors(UnsupportedError)
    network = Import(program, faults, limits.folded)
    network.inputs()
    network.walk(RULES)
    for name in program.outputs:
        value = network.values.get(name)
        if isinstance(value, Signal) and value.pads is None:
            label = "output" if name.isdigit() else name
            network.builder.add(network.free_name(label, ""), Output(shape=value.shape), *value.handles)
        elif not faults.errors:
            faults.add("SC226", "an output of the model does not depend on its inputs, or is only padded", node=name)
    refused = all(found.code in ("SC226", "SC243") for found in faults.found)
    faults.raise_if_errors(UnsupportedError if refused else BadInputError)
    return network.builder.build()


def _refuse_unsupported(program: Program, faults: Diagnostics) -> None:
    """Reports every operation that has no counterpart, whether a signal or only constants go into it."""
    known = set(program.constants)
    for operation in program.operations:
        key = operator(operation)
        constant = key in ("Constant", "Shape") or all(name in known for name in operation.inputs if name)
        if constant:
            known.update(operation.outputs)
        if key == "Shape" or key in (FOLDS if constant else RULES):
            continue
        faults.add("SC226", f"the operator {key} is not supported", node=operation.name, value=operation.kind,
                   remedy=_remedy(operation))


def _remedy(operation: Operation) -> str | None:
    if operation.domain == "" and operation.kind in ("Scan", "Loop", "If", "SequenceMap"):
        return ("Control flow comes in from files that to_onnx wrote, which say what network they are. Export the "
                "layers alone, without the loop over time." if operation.kind != "If" else
                "Control flow has no counterpart in a graph: export the model with the branch decided.")
    if operation.domain == "" and operation.kind in ("Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Where"):
        return "Where this is the threshold of neurons, give their module to from_torch."
    if any(isinstance(value, Subgraph) for value in operation.settings.values()):
        return "Control flow has no counterpart in a graph."
    if operation.kind in ("LeakyRelu", "PRelu", "Elu", "Selu", "Sigmoid", "Tanh", "Gelu", "HardSwish", "Softplus"):
        return "Of nonlinear functions a graph has Relu: train the network with it."
    return None
