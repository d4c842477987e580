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
        chains = _Chains(graph)
        waiting = list(graph.nodes)[::-1]
        while waiting:
            first = waiting.pop()
            second = chains.next(first)
            if second is None:
                continue
            node = folded(chains.nodes[first], chains.nodes[second], shapes[first], shapes[second])
            if node is None:
                continue
            weights_first, weights_second = (isinstance(chains.nodes[name], Weighted) for name in (first, second))
            kept = first if weights_first and not weights_second else second
            shapes[kept] = Shapes(shapes[first].input, shapes[second].output)
            chains.merge(first, second, kept, node)
            waiting += [kept, *chains.sources[kept]]
        return chains.graph()


class _Chains:
    """A graph in which neighbours are merged, at a cost that does not grow with the graph."""

    def __init__(self, graph: Graph) -> None:
        self.nodes = dict(graph.nodes)
        self.sources, self.targets = dict(graph.sources), dict(graph.targets)
        self._original = graph
        self._now: dict[str, str] = {}

    def next(self, name: str) -> str | None:
        """The node that alone is fed by `name`, and by nothing else."""
        if name not in self.nodes or len(self.targets[name]) != 1:
            return None
        second = self.targets[name][0]
        return second if len(self.sources[second]) == 1 else None

    def merge(self, first: str, second: str, kept: str, node: Node) -> None:
        self.nodes[kept] = node
        if kept == first:
            self._replace(second, by=first, of=self.targets, on=self.sources)
        else:
            self._replace(first, by=second, of=self.sources, on=self.targets)

    def graph(self) -> Graph:
        edges = []
        for source, target in self._original.edges:
            now = self._present(source), self._present(target)
            if now[0] != now[1] or source == target:
                edges.append(now)
        return self._original.replace(nodes=self.nodes, edges=tuple(edges))

    def _replace(self, gone: str, by: str, of: dict[str, tuple[str, ...]], on: dict[str, tuple[str, ...]]) -> None:
        of[by] = of[gone]
        for name in of[gone]:
            on[name] = tuple(by if each == gone else each for each in on[name])
        del self.nodes[gone]
        self._now[gone] = by

    def _present(self, name: str) -> str:
        while name in self._now:
            name = self._now[name]
        return name


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
