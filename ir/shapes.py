"""What goes into each node and what comes out: shapes of one sample, without batch or time axis.

One small rule per node kind, in the table `SHAPE_RULES`. A rule gets the node and the shape of what is fed to it, or
None as long as that is unknown, and says `Shapes`, or None where it cannot tell yet. Convolutions and pools follow
torch.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import Any, NamedTuple

import numpy as np

from .conform import MAX_SIZE, is_shape, malformed
from .diagnostics import Diagnostic, Diagnostics
from .graph import Graph
from .nodes import (
    GRADED,
    NEURONS,
    Affine,
    AvgPool2d,
    BatchNorm,
    Conv1d,
    Conv2d,
    Delay,
    Flatten,
    Input,
    Linear,
    MaxPool2d,
    Neuron,
    Node,
    Output,
    Pair,
    Relu,
    Scale,
    SparseLinear,
    SumPool2d,
    Threshold,
)

__all__ = ["SHAPE_RULES", "Shape", "Shapes", "Window", "infer_shapes", "same_padding", "window"]

Shape = tuple[int, ...]


class Shapes(NamedTuple):
    """What one node takes and gives."""

    input: Shape
    output: Shape


@dataclass(frozen=True, slots=True)
class Window:
    """How a kernel slides over an image (H, W); all numbers resolved. `padding`: top, left, bottom, right."""

    kernel: Pair
    stride: Pair
    padding: tuple[int, int, int, int]
    dilation: Pair

    def output_size(self, image: Pair) -> Pair:
        """(H', W') = floor((padded - dilation (kernel - 1) - 1) / stride) + 1; below 1: the kernel does not fit."""
        top, left, bottom, right = self.padding
        padded = (image[0] + top + bottom, image[1] + left + right)
        height, width = (
            (padded[axis] - self.dilation[axis] * (self.kernel[axis] - 1) - 1) // self.stride[axis] + 1
            for axis in (0, 1)
        )
        return height, width


def same_padding(kernel: int, dilation: int) -> Pair:
    """(before, after) for stride 1 and equal length in and out; the odd one comes after, as in torch."""
    total = dilation * (kernel - 1)
    return total // 2, total - total // 2


def window(node: Conv1d | Conv2d | SumPool2d) -> Window:
    """The resolved window of a convolution or a pool. A 1-D convolution is one over an image of height 1.
    'same' is resolved for stride 1, the only one it is legal for."""
    if isinstance(node, SumPool2d):
        rows, columns = node.padding
        return Window(node.kernel_size, node.stride, (rows, columns, rows, columns), (1, 1))
    if isinstance(node, Conv1d):
        kernel, stride, dilation = (1, node.weight.shape[2]), (1, node.stride), (1, node.dilation)
        given = node.padding if isinstance(node.padding, str) else (0, node.padding)
    else:
        kernel, stride, dilation = (node.weight.shape[2], node.weight.shape[3]), node.stride, node.dilation
        given = node.padding
    if given == "valid":
        return Window(kernel, stride, (0, 0, 0, 0), dilation)
    if given == "same":
        (top, bottom), (left, right) = (same_padding(kernel[axis], dilation[axis]) for axis in (0, 1))
        return Window(kernel, stride, (top, left, bottom, right), dilation)
    rows, columns = int(given[0]), int(given[1])
    return Window(kernel, stride, (rows, columns, rows, columns), dilation)


def infer_shapes(graph: Graph) -> tuple[dict[str, Shapes], list[Diagnostic]]:
    """The shapes of every node that can be known, and the faults met on the way.

    Inputs, outputs, neurons and weight matrices know their own; from there shapes spread along the edges, so cycles
    need nothing special. Settings are taken to be of their declared types (`checks` says where they are not); a node
    where they are not, or that has a fault, stays without shapes.
    """
    faults = Diagnostics()
    known: dict[str, Shapes] = {}
    waiting = {name: node for name, node in graph.nodes.items() if type(node) in SHAPE_RULES and not malformed(node)}
    queue: deque[tuple[str, Shape | None]] = deque((name, None) for name in waiting)
    edges = dict.fromkeys(edge for edge in graph.edges if all(isinstance(end, str) for end in edge))
    targets: dict[str, list[str]] = defaultdict(list)
    for source, target in edges:
        targets[source].append(target)
    while queue:
        name, given = queue.popleft()
        if name not in waiting:
            continue
        try:
            found = SHAPE_RULES[type(waiting[name])](waiting[name], given)
            if found is not None and not (is_shape(found.input) and is_shape(found.output)):
                raise _Misfit("more elements than a node may have", value=tuple(found), limit=MAX_SIZE)
        except _Misfit as misfit:
            del waiting[name]
            faults.add(misfit.code, misfit.message, node=name, **misfit.facts)
            continue
        if found is not None:
            del waiting[name]
            known[name] = found
            queue.extend((target, found.output) for target in targets[name])
    for source, target in edges:
        if source in known and target in known and known[source].output != known[target].input:
            _report_edge(source, target, known[source].output, known[target].input, faults)
    return {name: known[name] for name in graph.nodes if name in known}, faults.found


class _Misfit(Exception):
    """A rule's way to say that its node cannot have shapes."""

    def __init__(self, message: str, code: str = "SC102", **facts: object) -> None:
        super().__init__(message)
        self.code, self.message, self.facts = code, message, facts


def _report_edge(source: str, target: str, gives: Shape, takes: Shape, faults: Diagnostics) -> None:
    remedy = None
    if prod(gives) == prod(takes):
        remedy = "Put a Flatten between them." if len(takes) == 1 else "The sizes agree: state the same axes."
    faults.add("SC102", f"'{source}' gives another shape than '{target}' takes", node=target, value=gives, limit=takes,
               remedy=remedy)


def _own(node: Any, given: Shape | None) -> Shapes | None:
    if not is_shape(node.shape):
        raise _Misfit("a shape has at least one axis, and every axis at least one element", value=node.shape,
                      remedy="State shape=(n,), so that scalar parameters are spread over it.")
    shape = tuple(map(int, node.shape))
    return Shapes(shape, shape)


def _neuron(node: Neuron, given: Shape | None) -> Shapes | None:
    return None if node.shape is None else _own(node, given)


def _linear(node: Linear, given: Shape | None) -> Shapes | None:
    _want_axes(node.weight.shape, "weight", "(out, in)", 2)
    rows, columns = node.weight.shape
    return Shapes((columns,), (rows,))


def _sparse(node: SparseLinear, given: Shape | None) -> Shapes | None:
    if not all(is_shape((size,)) for size in node.size):
        raise _Misfit("size is (out, in), both positive", "SC103", value=node.size)
    rows, columns = node.size
    return Shapes((columns,), (rows,))


def _spread(name: str) -> Callable[[Any, Shape | None], Shapes | None]:
    """The rule of a node that acts element by element with the parameter `name`."""

    def rule(node: Node, given: Shape | None) -> Shapes | None:
        if given is None:
            return None
        shape = getattr(node, name).shape
        try:
            fits = np.broadcast_shapes(shape, given) == given
        except ValueError:
            fits = False
        if not fits:
            raise _Misfit(f"{name} does not spread over what it is fed", "SC107", value=shape, limit=given)
        return Shapes(given, given)

    return rule


def _relu(node: Relu, given: Shape | None) -> Shapes | None:
    if node.ceiling is not None:
        return _spread("ceiling")(node, given)
    return None if given is None else Shapes(given, given)


def _batch_norm(node: BatchNorm, given: Shape | None) -> Shapes | None:
    if given is None:
        return None
    if node.mean.shape != given[:1]:
        raise _Misfit("mean has one element per channel (first axis)", "SC107", value=node.mean.shape, limit=given[:1])
    return Shapes(given, given)


def _conv(node: Conv1d | Conv2d, given: Shape | None) -> Shapes | None:
    axes = 1 if isinstance(node, Conv1d) else 2
    _want_axes(node.weight.shape, "weight", "(C_out, C_in/groups, K)" if axes == 1 else "(C_out, C_in/groups, KH, KW)",
               axes + 2)
    _want_positive(groups=node.groups, stride=node.stride, dilation=node.dilation)
    if not isinstance(node.padding, str):
        _want_positive(smallest=0, padding=node.padding)
    if node.weight.shape[0] % node.groups:
        raise _Misfit("groups must divide the output channels", "SC103", value=node.groups, limit=node.weight.shape[0])
    if node.padding == "same" and _numbers(node.stride) != (1,) * axes:
        raise _Misfit("padding 'same' has no meaning with a stride", "SC103", value=f"stride={node.stride}",
                      remedy="State the padding in numbers.")
    channels = (node.weight.shape[1] * node.groups,)
    if node.input_shape is not None:
        image = _numbers(node.input_shape)
        if not is_shape(image):
            raise _Misfit("input_shape is positive", "SC103", value=node.input_shape)
    elif given is None:
        return None
    elif len(given) != axes + 1 or given[:1] != channels:
        raise _Misfit("a convolution takes (channels, " + ("length)" if axes == 1 else "height, width)"), value=given,
                      limit=f"{channels[0]} channels, from weight and groups")
    else:
        image = given[1:]
    return Shapes(channels + image, node.weight.shape[:1] + _slid(node, image))


def _pool(node: SumPool2d, given: Shape | None) -> Shapes | None:
    _want_positive(kernel_size=node.kernel_size, stride=node.stride)
    _want_positive(smallest=0, padding=node.padding)
    if any(2 * pad > size for pad, size in zip(node.padding, node.kernel_size, strict=True)):
        raise _Misfit("padding is at most half of the kernel", "SC103", value=node.padding, limit=node.kernel_size)
    if given is None:
        return None
    if len(given) != 3:
        raise _Misfit("a pool takes (channels, height, width)", value=given)
    return Shapes(given, given[:1] + _slid(node, given[1:]))


def _slid(node: Conv1d | Conv2d | SumPool2d, image: Shape) -> Shape:
    """What the window of a node makes of an image (length,) or (height, width)."""
    slid = window(node)
    size = slid.output_size((1, image[0]) if len(image) == 1 else (image[0], image[1]))
    if min(size) < 1:
        taken = tuple(gap * (length - 1) + 1 for length, gap in zip(slid.kernel, slid.dilation, strict=True))
        zeros = (slid.padding[0] + slid.padding[2], slid.padding[1] + slid.padding[3])
        axes = len(image)
        raise _Misfit("the kernel is larger than the padded input", value=f"input {image}, padding {zeros[-axes:]}",
                      limit=f"kernel {taken[-axes:]}")
    return size[-len(image):]


def _flatten(node: Flatten, given: Shape | None) -> Shapes | None:
    if given is None:
        return None
    first, last = (axis + len(given) if axis < 0 else axis for axis in (node.start_dim, node.end_dim))
    if not 0 <= first <= last < len(given):
        raise _Misfit("start_dim and end_dim name axes of one sample, in order", "SC103",
                      value=(node.start_dim, node.end_dim), limit=given, remedy="There is no batch axis to count.")
    return Shapes(given, (*given[:first], prod(given[first:last + 1]), *given[last + 1:]))


def _want_axes(shape: Shape, name: str, layout: str, axes: int) -> None:
    if len(shape) != axes or not is_shape(shape):
        raise _Misfit(f"{name} is {layout}, no axis empty", "SC107", value=shape)


def _want_positive(smallest: int = 1, **settings: int | Shape) -> None:
    for name, value in settings.items():
        if min(_numbers(value)) < smallest:
            raise _Misfit(f"{name} is out of range", "SC103", value=value, limit=f">= {smallest}")


def _numbers(value: int | Shape) -> Shape:
    return value if isinstance(value, tuple) else (value,)


SHAPE_RULES: dict[type[Node], Callable[[Any, Shape | None], Shapes | None]] = {
    Input: _own, Output: _own, Linear: _linear, Affine: _linear, SparseLinear: _sparse,
    Relu: _relu, Scale: _spread("scale"), Delay: _spread("delay"), Threshold: _spread("threshold"),
    BatchNorm: _batch_norm,
    Conv1d: _conv, Conv2d: _conv, SumPool2d: _pool, AvgPool2d: _pool, MaxPool2d: _pool, Flatten: _flatten,
    **dict.fromkeys((*NEURONS, *GRADED), _neuron),
}
