"""Neighbouring linear nodes become one: Scale and BatchNorm go into the weights before or behind them, a matrix after
a matrix is multiplied out, delays in a row add up."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from ..ir.derived import apply
from ..ir.graph import Graph
from ..ir.network import Conv
from ..ir.nodes import Affine, Array, BatchNorm, Conv1d, Conv2d, Delay, Linear, Node, Scale, SparseLinear
from ..ir.shapes import Shapes, infer_shapes, window
from .algebra import MAX_SYNAPSES, apply_map, plus, scale_inputs, scale_outputs
from .linear_steps import Weighted, bias_of, connection_of, element_wise
from .manager import Pass
from .stencils import input_channels

__all__ = ["Fold"]

@dataclass(frozen=True)
class Fold(Pass[Graph, Graph]):
    """Only where a node feeds nothing but the next, and the next is fed by nothing else; what this leaves is folded
    when the graph is lowered. The result has the name of the node with weights, or of the second of two."""

    name: ClassVar[str] = "fold"
    requires: ClassVar[frozenset[str]] = frozenset({"typed", "marked"})
    ensures: ClassVar[frozenset[str]] = frozenset({"canonical"})

    def run(self, graph: Graph) -> Graph:
        shapes, _ = infer_shapes(graph)
        waiting = list(graph.nodes)[::-1]
        while waiting:
            first = waiting.pop()
            if first not in graph.nodes or len(graph.targets[first]) != 1:
                continue
            second = graph.targets[first][0]
            if len(graph.sources[second]) != 1:
                continue
            node = folded(graph.nodes[first], graph.nodes[second], shapes[first], shapes[second])
            if node is None:
                continue
            weights_first = isinstance(graph.nodes[first], Weighted) and not isinstance(graph.nodes[second], Weighted)
            kept = first if weights_first else second
            shapes[kept] = Shapes(shapes[first].input, shapes[second].output)
            graph = _merged(graph, first, second, kept, node)
            waiting += [kept, *graph.sources[kept]]
        return graph


def folded(first: Node, second: Node, first_shapes: Shapes, second_shapes: Shapes) -> Node | None:
    """One node that does both, or None where there is none."""
    match first, second:
        case Delay(), Delay():
            return Delay(delay=apply("add", first.delay, second.delay))
        case Scale(), Scale():
            return Scale(scale=apply("multiply", first.scale, second.scale))
        case (Linear() | SparseLinear() | Conv1d() | Conv2d()), (Scale() | BatchNorm()):
            return _scaled_after(first, second, first_shapes)
        case (Scale() | BatchNorm()), (Linear() | SparseLinear() | Conv1d() | Conv2d()):
            return _scaled_before(first, second, second_shapes)
        case Linear(delay=None), Linear(delay=None):
            return _multiplied(first, second)
        case _:
            return None


def _scaled_after(first: Weighted, second: Scale | BatchNorm, shapes: Shapes) -> Node | None:
    factor, shift = element_wise(second, shapes.output)
    if len(factor.weight) != shapes.output[0]:
        return None  # more than one value for each channel
    bias = bias_of(first)
    if bias is not None:
        bias = apply("multiply", factor.weight, bias)
    return _rebuilt(first, scale_outputs(connection_of(first, shapes), factor).weight, plus(bias, shift))


def _scaled_before(first: Scale | BatchNorm, second: Weighted, shapes: Shapes) -> Node | None:
    factor, shift = element_wise(first, shapes.input)
    if len(factor.weight) != shapes.input[0]:
        return None
    connection, bias = connection_of(second, shapes), bias_of(second)
    if shift is not None and isinstance(connection, Conv):
        if isinstance(second, (Conv1d, Conv2d)) and any(window(second).padding):
            return None  # what the shift amounts to differs at the border
        columns = apply("take", shift, static=(input_channels(connection)[:, :, None, None],))
        bias = plus(bias, apply("sum", apply("multiply", connection.weight, columns), static=((1, 2, 3),)))
    elif shift is not None:
        bias = plus(bias, apply_map(connection, shift))
    return _rebuilt(second, scale_inputs(factor, connection).weight, bias)


def _multiplied(first: Linear, second: Linear) -> Node | None:
    if len(second.weight) * first.weight.shape[1] > MAX_SYNAPSES:
        return None
    bias = bias_of(first)
    if bias is not None:
        bias = apply("matmul", second.weight, bias)
    return _rebuilt(second, apply("matmul", second.weight, first.weight), plus(bias, bias_of(second)))


def _rebuilt(node: Weighted, weight: Array, bias: Array | None) -> Node:
    """The node with other weights and bias; its delays and its geometry stay."""
    if isinstance(node, Linear):
        return Linear(weight=weight, delay=node.delay) if bias is None else Affine(
            weight=weight, bias=bias, delay=node.delay)
    if isinstance(node, Conv1d):
        weight = apply("reshape", weight, static=(node.weight.shape,))
    return replace(node, weight=weight, bias=bias)


def _merged(graph: Graph, first: str, second: str, kept: str, node: Node) -> Graph:
    gone = second if kept == first else first
    return Graph(
        nodes={name: node if name == kept else old for name, old in graph.nodes.items() if name != gone},
        edges=tuple(
            (kept if source == gone else source, kept if target == gone else target)
            for source, target in graph.edges if (source, target) != (first, second)
        ),
        discretization=graph.discretization,
        metadata=graph.metadata,
    )
