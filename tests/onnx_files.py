"""ONNX files for the tests of the front end, made operation by operation, and what they compute."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

import spikec
from spikec.ir.graph import Graph
from spikec.ir.stateless import through

RNG = np.random.default_rng(0)


def evaluated(graph: Graph, value: np.ndarray) -> np.ndarray:
    """What a graph without neurons gives for (batch, *shape)."""
    values = {graph.inputs[0]: np.asarray(value, dtype=np.float64)}
    for name in nx.topological_sort(graph.to_networkx()):
        if name not in values:
            values[name] = through(graph.nodes[name], sum(values[each] for each in graph.sources[name]), constant=True)
    return values[graph.outputs[0]]


def saved(path: Path, nodes: Sequence[onnx.NodeProto], shape: Sequence[Any], opset: int = 18,
          functions: Sequence[onnx.FunctionProto] = (), inputs: Sequence[onnx.ValueInfoProto] | None = None,
          **constants: Any) -> Path:
    """A model of one input `x` (batch, *shape) and one output `y`."""
    tensors = [value if isinstance(value, TensorProto) else numpy_helper.from_array(np.asarray(value), name)
               for name, value in constants.items()]
    ends = inputs or [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", *shape])]
    graph = helper.make_graph(list(nodes), "net", ends, [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
                              tensors)
    domains = [helper.make_opsetid("", opset), helper.make_opsetid("qonnx.custom_op.general", 1),
               helper.make_opsetid("own", 1)]
    model = helper.make_model(graph, opset_imports=domains, functions=list(functions), ir_version=8)
    path = path / "net.onnx" if path.is_dir() else path
    path.write_bytes(model.SerializeToString())
    return path


def op(kind: str, *inputs: str, to: str = "y", name: str = "", domain: str = "", **settings: Any) -> onnx.NodeProto:
    return helper.make_node(kind, inputs, [to], name=name, domain=domain, **settings)


def single(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape).astype(np.float32)


def check(path: Path, *shape: int, tolerance: float = 1e-5) -> Graph:
    """The graph of a file, after its numbers were compared with those of the reference evaluator."""
    value = single(3, *shape)
    (wanted,) = ReferenceEvaluator(onnx.load(path)).run(None, {"x": value})
    graph = spikec.from_onnx(path)
    np.testing.assert_allclose(evaluated(graph, value), wanted, rtol=tolerance, atol=tolerance)
    return graph


def kinds(graph: Graph) -> list[str]:
    return [type(node).__name__ for node in graph.nodes.values()]
