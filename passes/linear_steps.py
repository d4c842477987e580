"""What each stateless node does to the flat signal that it is fed: `step_of`."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np

from ..ir.conform import stored
from ..ir.derived import apply
from ..ir.network import Conv, Dense, Sparse
from ..ir.nodes import (
    Affine,
    Array,
    AvgPool2d,
    BatchNorm,
    Conv1d,
    Conv2d,
    Delay,
    Flatten,
    Linear,
    MaxPool2d,
    Node,
    Scale,
    SparseLinear,
    SumPool2d,
)
from ..ir.shapes import Shape, Shapes, window
from .algebra import Diagonal, Map

__all__ = ["Step", "step_of"]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Step:
    """First the `delay` of what comes in, one for all, shape (1,), or one for each element, (n_in,); then the `linear`
    map, with one more delay per `synapse`, in the order of its entries; then the constant `bias`, (n_out,)."""

    linear: Map = None
    bias: Array | None = None
    delay: Array | None = None
    synapse: Array | None = None


def step_of(node: Node, shapes: Shapes, tie_delays: bool) -> Step | None:
    """The step of a stateless node, or None where it has no meaning over impulses. `tie_delays`: delays that are equal
    become one, whose derivative is shared evenly among them."""
    match node:
        case Linear():
            delay, synapse = _matrix_delay(node.delay, tie_delays)
            return Step(linear=Dense(weight=node.weight), bias=node.bias if isinstance(node, Affine) else None,
                        delay=delay, synapse=synapse)
        case SparseLinear():
            delay, synapse = _one_for_all(node.delay, tie_delays)
            sparse = Sparse(indptr=node.indptr, indices=node.indices, weight=node.weight)
            return Step(linear=sparse, bias=node.bias, delay=delay, synapse=synapse)
        case Conv1d() | Conv2d():
            conv = _conv(node, shapes)
            plane = prod(shapes.output[1:])
            bias = None if node.bias is None else _per_channel(node.bias, plane)
            return Step(linear=conv, bias=bias)
        case MaxPool2d():
            return None
        case SumPool2d():
            return Step(linear=_pool(node, shapes))
        case Scale():
            return Step(linear=_diagonal(node.scale, shapes.input))
        case BatchNorm():
            return _batch_norm(node, prod(shapes.input[1:]))
        case Delay():
            return Step(delay=_spread_delay(node.delay, shapes.input, tie_delays))
        case Flatten():
            return Step()
        case _:
            return None


def _conv(node: Conv1d | Conv2d, shapes: Shapes) -> Conv:
    slid = window(node)
    weight = node.weight
    if isinstance(node, Conv1d):
        weight = apply("reshape", weight, static=((*weight.shape[:2], 1, weight.shape[2]),))
    return Conv(
        weight=weight, input_shape=_image(shapes.input), output_shape=_image(shapes.output), stride=slid.stride,
        padding=slid.padding[:2], dilation=slid.dilation, groups=node.groups,
    )


def _pool(node: SumPool2d, shapes: Shapes) -> Conv:
    """A pool as a convolution of each channel by itself."""
    channels, taps = shapes.input[0], prod(node.kernel_size)
    value = 1.0 / taps if isinstance(node, AvgPool2d) else 1.0
    return Conv(
        weight=np.full((channels, 1, *node.kernel_size), value), input_shape=_image(shapes.input),
        output_shape=_image(shapes.output), stride=node.stride, padding=node.padding, groups=channels,
    )


def _image(shape: Shape) -> tuple[int, int, int]:
    return (shape[0], 1, shape[1]) if len(shape) == 2 else (shape[0], shape[1], shape[2])


def _diagonal(scale: Array, shape: Shape) -> Diagonal:
    if scale.size == 1 or all(size == 1 for size in scale.shape[1:]) and scale.ndim == len(shape):
        channels = apply("broadcast", apply("reshape", scale, static=((-1,),)), static=((shape[0],),))
        return Diagonal(weight=channels, inner=prod(shape[1:]))
    return Diagonal(weight=_flat(scale, shape))


def _batch_norm(node: BatchNorm, plane: int) -> Step:
    """gamma (x - mean) / sqrt(variance + eps) + beta (Ioffe and Szegedy 2015, inference)."""
    factor = apply("divide", node.gamma, apply("sqrt", apply("add", node.variance, np.float64(node.eps))))
    bias = apply("subtract", node.beta, apply("multiply", factor, node.mean))
    return Step(linear=Diagonal(weight=factor, inner=plane), bias=_per_channel(bias, plane))


def _per_channel(values: Array, plane: int) -> Array:
    return apply("take", values, static=(np.repeat(np.arange(len(values)), plane),))


def _flat(values: Array, shape: Shape) -> Array:
    return apply("reshape", apply("broadcast", values, static=(shape,)), static=((-1,),))


def _spread_delay(delay: Array, shape: Shape, tie: bool) -> Array:
    whole, _ = _one_for_all(delay, tie)
    return _flat(delay, shape) if whole is None else whole


def _one_for_all(delay: Array | None, tie: bool) -> tuple[Array | None, Array | None]:
    """(the delay, None) where it is one for all, else (None, the delays, flat)."""
    if delay is None or delay.size == 0:
        return None, None
    if delay.size == 1 or (tie and _equal_rows(stored(delay).reshape(-1, 1))):
        return _tied(delay, 1), None
    return None, apply("reshape", delay, static=((-1,),))


def _matrix_delay(delay: Array | None, tie: bool) -> tuple[Array | None, Array | None]:
    """As `_one_for_all`; also (one for each column, None)."""
    whole, synapse = _one_for_all(delay, tie)
    if delay is not None and synapse is not None and tie and _equal_rows(delay):
        return _tied(delay, delay.shape[1]), None
    return whole, synapse


def _equal_rows(values: Array) -> bool:
    return bool((values == values[:1]).all())


def _tied(delay: Array, width: int) -> Array:
    """Rows of delays that are all equal, as their mean: the first plus the mean difference from it, exactly zero."""
    if delay.size == width:
        return apply("reshape", delay, static=((-1,),))
    first = apply("take", delay, static=(np.arange(width),))
    rows = apply("reshape", delay, static=((-1, width),))
    return apply("add", first, apply("mean", apply("subtract", rows, first), static=((0,),)))
