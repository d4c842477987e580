"""What each stateless node does to the flat signal that it is fed: `step_of`."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np

from ..ir.conform import stored
from ..ir.derived import apply
from ..ir.network import Connection, Conv, Dense, Sparse
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

__all__ = ["Step", "Weighted", "bias_of", "connection_of", "element_wise", "step_of"]

Weighted = Linear | SparseLinear | Conv1d | Conv2d
"""Node kinds with weights."""


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
            return Step(linear=connection_of(node, shapes), bias=bias_of(node), delay=delay, synapse=synapse)
        case SparseLinear():
            delay, synapse = _one_for_all(node.delay, tie_delays)
            return Step(linear=connection_of(node, shapes), bias=node.bias, delay=delay, synapse=synapse)
        case Conv1d() | Conv2d():
            bias = None if node.bias is None else _per_channel(node.bias, prod(shapes.output[1:]))
            return Step(linear=connection_of(node, shapes), bias=bias)
        case MaxPool2d():
            return None
        case SumPool2d():
            return Step(linear=_pool(node, shapes))
        case Scale() | BatchNorm():
            factor, shift = element_wise(node, shapes.input)
            return Step(linear=factor, bias=None if shift is None else _per_channel(shift, factor.inner))
        case Delay():
            return Step(delay=_spread_delay(node.delay, shapes.input, tie_delays))
        case Flatten():
            return Step()
        case _:
            return None


def connection_of(node: Weighted, shapes: Shapes) -> Connection:
    """The linear part of a node that has weights."""
    match node:
        case Linear():
            return Dense(weight=node.weight)
        case SparseLinear():
            return Sparse(indptr=np.asarray(node.indptr), indices=np.asarray(node.indices), weight=node.weight)
        case _:
            return _conv(node, shapes)


def bias_of(node: Weighted) -> Array | None:
    """The bias of a node that has weights: one for each channel of its output."""
    return None if isinstance(node, Linear) and not isinstance(node, Affine) else node.bias


def element_wise(node: Scale | BatchNorm, shape: Shape) -> tuple[Diagonal, Array | None]:
    """(factor, shift) of a node that acts element by element on a signal of `shape`; `shift` one for each channel
    (first axis). BatchNorm: gamma (x - mean) / sqrt(variance + eps) + beta (Ioffe and Szegedy 2015, inference)."""
    plane = prod(shape[1:])
    if isinstance(node, BatchNorm):
        deviation = apply("sqrt", apply("add", node.variance, np.asarray(node.eps)))
        factor = apply("divide", node.gamma, deviation)
        return Diagonal(weight=factor, inner=plane), apply("subtract", node.beta, apply("multiply", factor, node.mean))
    scale = node.scale
    if scale.size == 1:
        channels = apply("broadcast", apply("reshape", scale, static=((1,),)), static=(shape[:1],))
        return Diagonal(weight=channels, inner=plane), None
    if scale.shape == (shape[0], *(1 for _ in shape[1:])):
        return Diagonal(weight=_flat(scale, scale.shape), inner=plane), None
    return Diagonal(weight=_flat(scale, shape)), None


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
