"""Counts of a model graph that capacities of a target are held against: neurons, synapses, fan-in and fan-out."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from math import ceil, gcd, prod

import numpy as np

from ..ir.graph import Graph
from ..ir.nodes import Conv1d, Conv2d, Input, Linear, Neuron, Node, Output, Scale, SparseLinear, SumPool2d
from ..ir.shapes import Shapes, infer_shapes, window

__all__ = ["Model", "stencil_synapses"]


class Model:
    """A legal graph, and what its nodes amount to. Nothing is computed before it is asked for."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self._into: dict[str, int] = {}
        self._out_of: dict[str, int] = {}

    @cached_property
    def shapes(self) -> Mapping[str, Shapes]:
        return infer_shapes(self.graph)[0]

    @cached_property
    def neuron_nodes(self) -> tuple[str, ...]:
        return tuple(name for name, node in self.graph.nodes.items() if isinstance(node, Neuron))

    @cached_property
    def shown(self) -> frozenset[str]:
        """Neuron nodes that outputs show."""
        return frozenset(source for output in self.graph.outputs for source in self.graph.sources[output])

    @cached_property
    def inputs(self) -> int:
        """Input channels."""
        return sum(self.size(name) for name in self.graph.inputs)

    @cached_property
    def neurons(self) -> int:
        return sum(self.size(name) for name in self.neuron_nodes)

    @cached_property
    def hidden(self) -> int:
        """Neurons that no output shows."""
        return sum(self.size(name) for name in self.neuron_nodes if name not in self.shown)

    @cached_property
    def synapses(self) -> int:
        """Connections that nodes with weights stand for."""
        return sum(self.synapses_of(name) for name in self.graph.nodes)

    @cached_property
    def fan_out(self) -> int:
        """The largest number of neurons that one input or neuron reaches: an upper bound."""
        return max((self._out(name) for name, node in self.graph.nodes.items() if isinstance(node, (Input, Neuron))),
                   default=0)

    def size(self, name: str) -> int:
        """Elements that a node gives; 0 where its shape is not known."""
        return prod(self.shapes[name].output) if name in self.shapes else 0

    def synapses_of(self, name: str) -> int:
        """Connections between single elements that one node with weights stands for; 0 for the others."""
        node = self.graph.nodes[name]
        if isinstance(node, (Linear, SparseLinear)):
            return int(np.size(node.weight))
        if isinstance(node, Scale):
            return self.size(name)
        if not isinstance(node, (Conv1d, Conv2d)) or name not in self.shapes:
            return 0
        given, sent = self.shapes[name]
        slid = window(node)
        images = [(1, shape[1]) if len(shape) == 2 else (shape[1], shape[2]) for shape in (given, sent)]
        padding = (slid.padding[0], slid.padding[1])
        pairs = stencil_synapses(slid.kernel, slid.stride, padding, slid.dilation, images[0], images[1])
        return pairs * sent[0] * int(node.weight.shape[1])

    def fan_in(self, name: str) -> int:
        """Inputs and neurons that reach one element of a node through what has no state: an upper bound, exact where
        windows do not overlap and paths have no source in common."""
        if name not in self._into:
            self._into[name] = 0  # a cycle without a neuron, which is not legal, ends here
            reaching = sum(1 if self._is_source(source) else self.fan_in(source) for source in self.graph.sources[name])
            self._into[name] = _inputs_of(self.graph.nodes[name]) * reaching
        return self._into[name]

    def _out(self, name: str) -> int:
        if name not in self._out_of:
            self._out_of[name] = 0
            self._out_of[name] = sum(self._onward(target) for target in self.graph.targets[name])
        return self._out_of[name]

    def _onward(self, target: str) -> int:
        node = self.graph.nodes[target]
        if isinstance(node, Neuron):
            return 1
        return 0 if isinstance(node, Output) else _targets_of(node) * self._out(target)

    def _is_source(self, name: str) -> bool:
        return isinstance(self.graph.nodes[name], (Input, Neuron))


def stencil_synapses(kernel: tuple[int, ...], stride: tuple[int, ...], padding: tuple[int, ...],
                     dilation: tuple[int, ...], given: tuple[int, ...], sent: tuple[int, ...]) -> int:
    """Pairs of an input and an output position, of images (H, W), that a kernel connects; the padding has none."""
    pairs = 1
    for axis in (0, 1):
        taps = np.arange(kernel[axis]) * dilation[axis]
        position = (np.arange(sent[axis]) * stride[axis] - padding[axis])[:, None] + taps
        pairs *= int(((position >= 0) & (position < given[axis])).sum())
    return pairs


def _inputs_of(node: Node) -> int:
    """How many elements one element of a node's output takes."""
    if isinstance(node, Linear):
        return int(node.weight.shape[1])
    if isinstance(node, SparseLinear):
        return int(np.diff(np.asarray(node.indptr)).max(initial=0))
    if isinstance(node, (Conv1d, Conv2d)):
        return prod(node.weight.shape[1:])
    return prod(node.kernel_size) if isinstance(node, SumPool2d) else 1


def _targets_of(node: Node) -> int:
    """How many elements one element of a node's input reaches."""
    if isinstance(node, Linear):
        return int(node.weight.shape[0])
    if isinstance(node, SparseLinear):
        return int(np.bincount(np.asarray(node.indices)).max(initial=0)) if len(node.indices) else 0
    if not isinstance(node, (Conv1d, Conv2d, SumPool2d)):
        return 1
    slid = window(node)
    # Tap k meets a given position where k * dilation is congruent to it modulo the stride.
    positions = prod(ceil(size * gcd(dilation, stride) / stride)
                     for size, stride, dilation in zip(slid.kernel, slid.stride, slid.dilation, strict=True))
    return positions if isinstance(node, SumPool2d) else node.weight.shape[0] // node.groups * positions
