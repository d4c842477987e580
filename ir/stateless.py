"""What the nodes without state do to a pattern: one function per kind, in the table `FUNCTIONS`.

A pattern is a (batch, *shape) array of float64. Every linear kind maps impulses by its linear part alone and constant
currents by all of itself, bias included, because a bias is a constant current and never part of an impulse.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import prod
from typing import Any

import numpy as np
from scipy.sparse import csr_array

from .nodes import (
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
    Output,
    Relu,
    Scale,
    SparseLinear,
    SumPool2d,
    Threshold,
)
from .shapes import Window, window

__all__ = ["FUNCTIONS", "through"]

_PART = 1 << 18
"""Weights that are widened to float64 at a time."""


def through(node: Node, pattern: Array, constant: bool = False) -> Array:
    """What `node` makes of `pattern` (batch, *shape): of impulses, or of constant currents (with the bias).

    Delays are left to the caller. `node` belongs to a verified graph, and is neither an input nor a neuron.
    """
    return FUNCTIONS[type(node)](node, np.asarray(pattern, dtype=np.float64), constant)


def _same(node: Node, pattern: Array, constant: bool) -> Array:
    return pattern


def _linear(node: Linear, pattern: Array, constant: bool) -> Array:
    result = np.zeros((len(pattern), len(node.weight)))
    if pattern.any():  # constants mostly are not: a large matrix is not widened for nothing
        for rows, weight in _widened(node.weight):
            result[:, rows] = pattern @ weight.T
    return result + node.bias if constant and isinstance(node, Affine) else result


def _sparse(node: SparseLinear, pattern: Array, constant: bool) -> Array:
    matrix = csr_array((node.weight.astype(np.float64), node.indices, node.indptr), shape=node.size)
    return _with_bias((matrix @ pattern.T).T, node.bias if constant else None)


def _scale(node: Scale, pattern: Array, constant: bool) -> Array:
    return pattern * node.scale


def _batch_norm(node: BatchNorm, pattern: Array, constant: bool) -> Array:
    per_channel = (slice(None),) + (None,) * (pattern.ndim - 2)
    mean, variance, gamma, beta = (
        each.astype(np.float64)[per_channel] for each in (node.mean, node.variance, node.gamma, node.beta)
    )
    factor = gamma / np.sqrt(variance + node.eps)
    return factor * (pattern - mean) + beta if constant else factor * pattern


def _conv2d(node: Conv2d, pattern: Array, constant: bool) -> Array:
    result = _correlate(pattern, node.weight, window(node), node.groups)
    return _with_bias(result, node.bias[:, None, None] if constant and node.bias is not None else None)


def _conv1d(node: Conv1d, pattern: Array, constant: bool) -> Array:
    result = _correlate(pattern[:, :, None, :], node.weight[:, :, None, :], window(node), node.groups)[:, :, 0]
    return _with_bias(result, node.bias[:, None] if constant and node.bias is not None else None)


def _sum_pool(node: SumPool2d, pattern: Array, constant: bool) -> Array:
    total: Array = _views(pattern, window(node)).sum(axis=(-2, -1))
    return total


def _mean_pool(node: AvgPool2d, pattern: Array, constant: bool) -> Array:
    mean: Array = _views(pattern, window(node)).mean(axis=(-2, -1))
    return mean


def _max_pool(node: MaxPool2d, pattern: Array, constant: bool) -> Array:
    highest: Array = _views(pattern, window(node), outside=-np.inf).max(axis=(-2, -1))
    return highest


def _threshold(node: Threshold, pattern: Array, constant: bool) -> Array:
    return np.zeros_like(pattern) if constant else (pattern > node.threshold).astype(np.float64)


def _relu(node: Relu, pattern: Array, constant: bool) -> Array:
    return np.clip(pattern, 0.0, node.ceiling)


def _flatten(node: Flatten, pattern: Array, constant: bool) -> Array:
    axes = pattern.ndim - 1
    first, last = (1 + axis % axes for axis in (node.start_dim, node.end_dim))
    return pattern.reshape(*pattern.shape[:first], -1, *pattern.shape[last + 1:])


def _correlate(pattern: Array, weight: Array, kernel: Window, groups: int) -> Array:
    """Cross-correlation of (batch, C_in, H, W) with (C_out, C_in/groups, KH, KW)."""
    views = _views(pattern, kernel).transpose(0, 1, 4, 5, 2, 3)
    batch, places = len(pattern), views.shape[4:]
    seen = views.reshape(batch, groups, -1, prod(places))
    result = np.empty((batch, groups, len(weight) // groups, prod(places)))
    for group in range(groups):
        for rows, part in _widened(weight.reshape(groups, -1, seen.shape[2])[group]):
            result[:, group, rows] = part @ seen[:, group]
    return result.reshape(batch, -1, *places)


def _widened(weight: Array) -> Iterator[tuple[slice, Array]]:
    """A matrix (out, in) in float64, some rows at a time, each part in the place of the one before."""
    count = min(len(weight), max(1, _PART // max(1, weight.shape[1])))
    room = np.empty((count, weight.shape[1]))
    for first in range(0, len(weight), max(1, count)):
        rows = slice(first, min(first + count, len(weight)))
        part = room[:rows.stop - first]
        part[...] = weight[rows]
        yield rows, part


def _views(pattern: Array, kernel: Window, outside: float = 0.0) -> Array:
    """(batch, C, H, W) -> (batch, C, H', W', KH, KW): what each position of the kernel sees."""
    top, left, bottom, right = kernel.padding
    padded = np.pad(pattern, ((0, 0), (0, 0), (top, bottom), (left, right)), constant_values=outside)
    reach = tuple(step * (size - 1) + 1 for step, size in zip(kernel.dilation, kernel.kernel, strict=True))
    seen = np.lib.stride_tricks.sliding_window_view(padded, reach, axis=(2, 3))
    (down, across), (row_step, column_step) = kernel.stride, kernel.dilation
    return seen[:, :, ::down, ::across, ::row_step, ::column_step]


def _with_bias(result: Array, bias: Array | None) -> Array:
    return result if bias is None else result + bias


FUNCTIONS: dict[type[Node], Callable[[Any, Array, bool], Array]] = {
    Output: _same, Delay: _same, Linear: _linear, Affine: _linear, SparseLinear: _sparse, Scale: _scale,
    BatchNorm: _batch_norm, Conv1d: _conv1d, Conv2d: _conv2d, SumPool2d: _sum_pool, AvgPool2d: _mean_pool,
    MaxPool2d: _max_pool, Threshold: _threshold, Relu: _relu, Flatten: _flatten,
}
