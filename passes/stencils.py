"""Stencils (convolutions and pools): composed, unrolled, applied to a constant.

Axes are height and width; output position o reads input position o * stride - padding + tap * dilation.
"""

from __future__ import annotations

from math import gcd, prod

import numpy as np

from ..ir.derived import apply
from ..ir.integer.network import IntegerConv
from ..ir.network import Conv
from ..ir.nodes import Array

__all__ = ["apply_stencil", "compose_stencils", "input_channels", "stencil_paths", "stencil_product",
           "stencil_window", "unroll"]


def input_channels(conv: Conv) -> Array:
    """The input channel that each `weight[o, i]` reads, (C_out, C_in/groups)."""
    channels_out, per_group = conv.weight.shape[:2]
    group = np.arange(channels_out) // (channels_out // conv.groups)
    channels: Array = group[:, None] * per_group + np.arange(per_group)
    return channels


def stencil_paths(conv: Conv) -> int:
    """An upper bound of the number of synapses of the unrolled stencil."""
    return prod(conv.output_shape) * prod(map(int, conv.weight.shape[1:]))


def stencil_product(first: Conv, second: Conv) -> int:
    """An upper bound of the products of two weights that composing them takes."""
    per_group = int(max(first.weight.shape[1], second.weight.shape[1]))
    return len(second.weight) * per_group * prod(map(int, (*first.weight.shape[2:], *second.weight.shape[2:])))


def unroll(conv: Conv) -> tuple[Array, Array, Array]:
    """The stencil as a CSR matrix over flat positions: `indptr`, `indices`, and for each entry the flat index of its
    weight."""
    positions, inside = stencil_window(conv)
    channels_out, per_group = conv.weight.shape[:2]
    plane = conv.input_shape[1] * conv.input_shape[2]
    taps = positions.shape[1]
    shape = (channels_out, len(positions), per_group, taps)
    kept = np.broadcast_to(inside[None, :, None, :], shape)
    columns = (input_channels(conv) * plane)[:, None, :, None] + positions[None, :, None, :]
    weights = np.arange(channels_out * per_group * taps).reshape(channels_out, 1, per_group, taps)
    counts = np.tile(inside.sum(axis=1) * per_group, channels_out)
    return np.concatenate([[0], np.cumsum(counts)]), columns[kept], np.broadcast_to(weights, shape)[kept]


def apply_stencil(conv: Conv, signal: Array) -> Array:
    """The stencil applied to a flat constant signal, (n_in,) -> (n_out,)."""
    positions, inside = stencil_window(conv)
    channels_in, height, width = conv.input_shape
    per_group, taps = conv.weight.shape[1], positions.shape[1]
    # (groups, channels of a group * taps, positions): the columns that a group's rows of weights meet.
    channel = np.arange(channels_in).reshape(conv.groups, per_group, 1, 1)
    index = (channel * height * width + positions.T).reshape(conv.groups, per_group * taps, -1)
    mask = np.tile(inside.T, (per_group, 1)).astype(np.float64)
    columns = apply("multiply", apply("take", signal, static=(index,)), mask)
    rows = apply("reshape", conv.weight, static=((conv.groups, -1, per_group * taps),))
    return apply("reshape", apply("matmul", rows, columns), static=((prod(conv.output_shape),),))


def compose_stencils(first: Conv, second: Conv) -> Conv | None:
    """One stencil that does both, or None where there is none: where the second's zero padding hides positions that
    the first would read, or where the groups of the two do not nest."""
    axes = (0, 1)
    if not all(_padding_is_exact(first, second, axis) for axis in axes):
        return None
    product, groups = _channel_product(first, second)
    if product is None:
        return None
    steps, kernel = [], []
    for axis in axes:
        taps = [stencil.weight.shape[2 + axis] for stencil in (first, second)]
        spread = (first.dilation[axis], second.dilation[axis] * first.stride[axis])
        step = gcd(*(spread[i] if taps[i] > 1 else 0 for i in axes)) or 1
        steps.append((step, spread))
        kernel.append(((taps[0] - 1) * spread[0] + (taps[1] - 1) * spread[1]) // step + 1)
    # `product` is (C_out, C_in/groups, taps of the second, taps of the first); where each pair of taps lands:
    landing = np.zeros((1, 1, 1, 1), dtype=np.int64)
    for axis, (step, (spread_first, spread_second)) in enumerate(steps):
        taps_first, taps_second = (np.arange(stencil.weight.shape[2 + axis]) for stencil in (first, second))
        place = (taps_second[:, None] * spread_second + taps_first * spread_first) // step
        along = (slice(None), None, slice(None), None) if axis == 0 else (None, slice(None), None, slice(None))
        landing = landing + place[along] * (kernel[1] if axis == 0 else 1)
    channels_out, per_group = product.shape[:2]
    size = kernel[0] * kernel[1]
    index = np.arange(channels_out * per_group)[:, None] * size + landing.reshape(-1)
    flat = apply("reshape", product, static=((-1,),))
    count = channels_out * per_group * size
    summed = apply("segment_sum", flat, static=(index.reshape(-1), count))
    return Conv(
        weight=apply("reshape", summed, static=((channels_out, per_group, *kernel),)),
        input_shape=first.input_shape,
        output_shape=second.output_shape,
        stride=(first.stride[0] * second.stride[0], first.stride[1] * second.stride[1]),
        padding=tuple(first.padding[axis] + second.padding[axis] * first.stride[axis] for axis in axes),  # type: ignore[arg-type]
        dilation=(steps[0][0], steps[1][0]),
        groups=groups,
    )


def _channel_product(first: Conv, second: Conv) -> tuple[Array | None, int]:
    """The products of the two kernels' weights, (C_out, C_in/groups, taps of second, taps of first), summed over the
    channels in between, and the groups of the result."""
    flat_first = apply("reshape", first.weight, static=((*first.weight.shape[:2], -1),))
    flat_second = apply("reshape", second.weight, static=((*second.weight.shape[:2], -1),))
    taps_first, taps_second = flat_first.shape[2], flat_second.shape[2]
    channels_out, per_group = second.weight.shape[:2]
    if first.groups == first.input_shape[0] == first.output_shape[0]:
        index = input_channels(second)[:, :, None, None] * taps_first + np.arange(taps_first)
        one = apply("reshape", flat_second, static=((channels_out, per_group, taps_second, 1),))
        return apply("multiply", one, apply("take", flat_first, static=(index,))), second.groups
    if second.groups == second.input_shape[0] == second.output_shape[0]:
        one = apply("reshape", flat_second, static=((channels_out, 1, taps_second, 1),))
        other = apply("reshape", flat_first, static=((channels_out, first.weight.shape[1], 1, taps_first),))
        return apply("multiply", one, other), first.groups
    if first.groups == second.groups == 1:
        middle, channels_in = first.weight.shape[:2]
        # (C_out * taps, C_mid) @ (C_mid, C_in * taps), then (C_out, taps2, C_in, taps1) -> (C_out, C_in, taps2, taps1)
        order = np.arange(channels_out * middle * taps_second).reshape(channels_out, middle, taps_second)
        rows = apply("take", flat_second, static=(order.transpose(0, 2, 1).reshape(-1, middle),))
        columns = apply("reshape", flat_first, static=((middle, channels_in * taps_first),))
        product = apply("matmul", rows, columns)
        place = np.arange(product.size).reshape(channels_out, taps_second, channels_in, taps_first)
        return apply("take", product, static=(place.transpose(0, 2, 1, 3),)), 1
    return None, 0


def _padding_is_exact(first: Conv, second: Conv, axis: int) -> bool:
    """Whether the first stencil, continued beyond its output, reads only zeros wherever the second reads padding."""
    reads = _reads(second, axis).reshape(-1)
    padded = np.unique(reads[(reads < 0) | (reads >= second.input_shape[1 + axis])])
    taps = np.arange(first.weight.shape[2 + axis]) * first.dilation[axis]
    positions = padded[:, None] * first.stride[axis] - first.padding[axis] + taps
    return not ((positions >= 0) & (positions < first.input_shape[1 + axis])).any()


def _reads(conv: Conv | IntegerConv, axis: int) -> Array:
    """The input position that each output position reads with each tap, (positions, taps); may lie outside."""
    outputs = np.arange(conv.output_shape[1 + axis]) * conv.stride[axis] - conv.padding[axis]
    positions: Array = outputs[:, None] + np.arange(conv.weight.shape[2 + axis]) * conv.dilation[axis]
    return positions


def stencil_window(conv: Conv | IntegerConv) -> tuple[Array, Array]:
    """For each output position and tap: the flat input position within a channel (0 where outside), and whether it
    lies inside. Both (positions, taps)."""
    rows, columns = _reads(conv, 0), _reads(conv, 1)
    _, height, width = conv.input_shape
    inside = ((rows >= 0) & (rows < height))[:, None, :, None] & ((columns >= 0) & (columns < width))[None, :, None, :]
    flat = rows[:, None, :, None] * width + columns[None, :, None, :]
    shape = (len(rows) * len(columns), -1)
    return np.where(inside, flat, 0).reshape(shape), inside.reshape(shape)
