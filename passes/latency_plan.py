"""When each layer of a network of rectifiers speaks, where activations are the times of single spikes.

Times and voltages are in units of the ANN's values. A spiking node (an input or a rectifier) has a window: its element
of the value x spikes once, at `end` - x. What it feeds is driven by W from then on, so that at the time s, when all
that feeds it has spiked, a membrane without leak has moved by W (x + s - end): the sum that the rectifier is to take,
and an offset, the same for every sample, that its start `v0` makes up for together with the bias. From s on a constant
current of 1 - W 1 makes the slope of every membrane 1: it passes a threshold that is `end` - s above zero at the time
`end` - x. What has not fired by `end` is below zero, and is driven over the threshold then (the mapping of Stanojevic
et al. 2024, Nat. Commun. 15:6793, with the forced spike as a strong current).

No membrane may pass before s. Bounds of what partial sums can reach, by interval arithmetic, give thresholds for which
none does, whatever the sample.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import networkx as nx
import numpy as np

from ..ir.graph import Graph
from ..ir.nodes import (
    Affine,
    Array,
    BatchNorm,
    Conv1d,
    Conv2d,
    Input,
    Linear,
    Node,
    Output,
    Relu,
    Scale,
    SparseLinear,
)
from ..ir.shapes import infer_shapes
from ..ir.stateless import through

__all__ = ["LATE", "Window", "linear_part", "plan_latencies"]

LATE = 1e-10
"""How long after the end of its window the last forced spike of a layer may come, as a part of the window."""


@dataclass(frozen=True, slots=True, eq=False)
class Window:
    """Of an input, a rectifier or an output. `start`: when all that feeds it has spiked. `end` - `start`: the threshold
    of its membranes (0 for an output, which is read at `start`). `last`: when its last spike is there. `v0`: membranes
    at t = 0. `slope`: the constant current from `start` on. `push`: that from `end` on."""

    start: float
    end: float
    last: float
    v0: Array
    slope: Array
    push: float


@dataclass(frozen=True, slots=True, eq=False)
class _Flow:
    """What leaves a node when every spiking node that reaches it by stateless ones gives: 1 (`one`), its `end`, its
    `start`; and its biases. `size_…`: with the absolute values of all weights."""

    one: Array
    end: Array
    start: Array
    bias: Array
    size_one: Array
    size_start: Array

    def __add__(self, other: _Flow) -> _Flow:
        return _Flow(*(getattr(self, name) + getattr(other, name) for name in self.__slots__))


def plan_latencies(graph: Graph, ranges: Mapping[str, tuple[float, float]]) -> dict[str, Window]:
    """The windows of all inputs, rectifiers and outputs, by name.

    `graph`: of a network without spikes, delays, maxima and ceilings. `ranges`: the least and the largest value of each
    input.
    """
    shapes = infer_shapes(graph)[0]
    windows: dict[str, Window] = {}
    flows: dict[str, _Flow] = {}
    latest: dict[str, float] = {}
    for name in nx.topological_sort(nx.DiGraph(graph.to_networkx())):
        node, sources = graph.nodes[name], graph.sources[name]
        if isinstance(node, Input):
            low, high = ranges[name]
            nothing = np.zeros(shapes[name].output)
            windows[name] = Window(0.0, high, high - low, nothing, nothing, 0.0)
            flows[name], latest[name] = _spiking(windows[name], shapes[name].output), high - low
            continue
        arriving = sum((flows[source] for source in sources[1:]), start=flows[sources[0]])
        latest[name] = max(latest[source] for source in sources)
        if isinstance(node, Relu | Output):
            windows[name] = _window(arriving, latest[name], isinstance(node, Relu))
            flows[name], latest[name] = _spiking(windows[name], shapes[name].output), windows[name].last
        else:
            flows[name] = _through(node, arriving)
    return windows


def linear_part(node: Node, axes: int) -> Node:
    """A stateless node without its bias; `axes`: of what it is fed."""
    match node:
        case Affine():
            return Linear(weight=node.weight)
        case SparseLinear() | Conv1d() | Conv2d():
            return replace(node, bias=None)
        case BatchNorm():
            factor = node.gamma.astype(np.float64) / np.sqrt(node.variance.astype(np.float64) + node.eps)
            return Scale(scale=factor.reshape(-1, *(1,) * (axes - 1)))
        case _:
            return node


def _spiking(window: Window, shape: tuple[int, ...]) -> _Flow:
    one, zero = np.ones(shape), np.zeros(shape)
    return _Flow(one, one * window.end, one * window.start, zero, one, one * window.start)


def _window(arriving: _Flow, start: float, fires: bool) -> Window:
    """The window of a layer whose inputs have all spiked at `start`."""
    v0 = arriving.bias - (start * arriving.one - arriving.end)
    if not fires:
        return Window(start, start, start, v0, np.zeros_like(v0), 0.0)
    # An input's current has flowed for y in [0, start - its own start]: W y lies around the middle, within the radius.
    middle = 0.5 * (start * arriving.one - arriving.start)
    radius = 0.5 * (start * arriving.size_one - arriving.size_start)
    highest = float((v0 + middle + radius).max())
    lowest = float((v0 + middle - radius).min())
    threshold = highest * (1 + LATE) if highest > 0 else 1.0
    push = (threshold - min(lowest, 0.0)) / (LATE * threshold)
    return Window(start, start + threshold, start + threshold * (1 + LATE), v0, 1.0 - arriving.one, push)


def _through(node: Node, flow: _Flow) -> _Flow:
    linear = linear_part(node, flow.one.ndim)
    size = replace(linear, **{name: np.abs(value) for name in ("weight", "scale")
                              if (value := getattr(linear, name, None)) is not None})

    def sent(by: Node, pattern: Array, constant: bool = False) -> Array:
        made: Array = through(by, pattern[None], constant)[0]
        return made

    return _Flow(sent(linear, flow.one), sent(linear, flow.end), sent(linear, flow.start), sent(node, flow.bias, True),
                 sent(size, flow.size_one), sent(size, flow.size_start))
