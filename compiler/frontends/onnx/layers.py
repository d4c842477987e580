"""Nodes without state as ONNX operations over one column (batch, *shape): one function per kind, in the table `LAYERS`.

They say what `ir/stateless.py` says. In double precision windows are taken by one Gather of the flat image, since ONNX
Runtime has convolutions and mean pools in single precision only.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np

from ....ir.columns import delay_columns
from ....ir.diagnostics import Diagnostic, UnsupportedError
from ....ir.nodes import (
    Affine,
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
from ....ir.shapes import Shapes, Window, window
from .emitter import Emitter

__all__ = ["LONGEST_LAG", "Layer"]

MOST_LAGS, LONGEST_LAG = 4096, 1_000_000
LARGEST = 1 << 28
"""Elements of a constant that the export makes: the weights of a sparse matrix written dense, places of a window."""


class Layer:
    """One node of a graph under export. `constant`: whether its bias is part of it, as in a network without time."""

    def __init__(self, out: Emitter, name: str, node: Node, shapes: Shapes, dt: float | None, constant: bool) -> None:
        self.out, self.name, self.node, self.shapes, self.constant = out, name, node, shapes, constant
        self.dt = dt
        delay = getattr(node, "delay", None)
        longest = float(delay.max(initial=0.0)) / dt if delay is not None and dt is not None else 0.0
        columns = delay_columns(node, dt) if dt is not None and longest <= LONGEST_LAG else None
        found = np.zeros(1) if columns is None or not columns.size else np.unique(columns)
        if len(found) > MOST_LAGS or longest > LONGEST_LAG:
            raise UnsupportedError(Diagnostic(
                "SC209", "a model holds a buffer for each delay, and these are too many or too long", node=name,
                value=f"{len(found)} delays up to {longest:.0f} columns",
                limit=f"{MOST_LAGS} delays up to {LONGEST_LAG} columns"))
        self.lags: tuple[int, ...] = tuple(int(lag) for lag in found)
        """The delays that there are, in columns."""

    def applied(self, value: str, lag: int) -> str:
        """What the node makes of what arrived at it `lag` columns ago."""
        return LAYERS[type(self.node)](self, self.node, value, lag)

    def add(self, kind: str, *inputs: str, once: bool = False, **settings: Any) -> str:
        return self.out.add(kind, list(inputs), self.name, once, **settings)

    def parameter(self, field: str) -> str:
        return self.out.parameter(self.name, field, getattr(self.node, field))

    def reshaped(self, value: str, *shape: int, once: bool = False) -> str:
        return self.add("Reshape", value, self.out.numbers(*shape), once=once)

    def delayed(self, lag: int) -> str | None:
        """Where the delay is `lag`, as truth values; None: everywhere."""
        delay = getattr(self.node, "delay", None)
        if delay is None or len(self.lags) == 1:
            return None
        stored = self.out.parameter(self.name, "delay", delay, cast=False)
        step = self.out.fresh(f"{self.name}/dt")
        self.out.constants[step] = np.asarray(self.dt, dtype=delay.dtype)
        whole = self.out.fresh(f"{self.name}/lag")
        self.out.constants[whole] = np.asarray(lag, dtype=delay.dtype)
        columns = self.add("Round", self.add("Div", stored, step, once=True), once=True)
        return self.add("Equal", columns, whole, once=True)

    def weight(self, lag: int) -> str:
        """The weights of the connections with this delay; the others are zero."""
        weight, where = self.parameter("weight"), self.delayed(lag)
        return weight if where is None else self.add("Where", where, weight, self.out.number(0.0), once=True)

    def bias(self) -> list[str]:
        """The bias, where it is part of the node."""
        return [self.parameter("bias")] if self.constant and getattr(self.node, "bias", None) is not None else []


def _same(layer: Layer, node: Node, value: str, lag: int) -> str:
    return value


def _linear(layer: Layer, node: Linear, value: str, lag: int) -> str:
    return _product(layer, value, layer.weight(lag))


def _sparse(layer: Layer, node: SparseLinear, value: str, lag: int) -> str:
    rows, columns = node.size
    _small_enough(layer, rows * columns, "a sparse matrix is written dense")
    places = np.stack([np.repeat(np.arange(rows), np.diff(node.indptr)), np.asarray(node.indices)], -1)
    empty = layer.add("Expand", layer.out.number(0.0), layer.out.numbers(rows, columns), once=True)
    dense = layer.add("ScatterND", empty, layer.out.constant(places.astype(np.int64), f"{layer.name}/places"),
                      layer.weight(lag), once=True)
    return _product(layer, value, dense)


def _product(layer: Layer, value: str, weight: str) -> str:
    """By Gemm: where a MatMul is scaled, ONNX Runtime takes the factor into it, in single precision."""
    return layer.add("Gemm", value, weight, *layer.bias(), transB=1)


def _scale(layer: Layer, node: Scale, value: str, lag: int) -> str:
    return layer.add("Mul", value, layer.parameter("scale"))


def _delay(layer: Layer, node: Delay, value: str, lag: int) -> str:
    where = layer.delayed(lag)
    return value if where is None else layer.add("Where", where, value, layer.out.number(0.0))


def _batch_norm(layer: Layer, node: BatchNorm, value: str, lag: int) -> str:
    channels = (-1, *(1 for _ in layer.shapes.input[1:]))
    eps = layer.out.constant(np.asarray(node.eps), f"{layer.name}/eps")
    root = layer.add("Sqrt", layer.add("Add", layer.parameter("variance"), eps, once=True), once=True)
    factor = layer.add("Div", layer.parameter("gamma"), root, once=True)
    if layer.constant:
        value = layer.add("Sub", value, layer.reshaped(layer.parameter("mean"), *channels, once=True))
    value = layer.add("Mul", value, layer.reshaped(factor, *channels, once=True))
    if layer.constant:
        value = layer.add("Add", value, layer.reshaped(layer.parameter("beta"), *channels, once=True))
    return value


def _conv(layer: Layer, node: Conv1d | Conv2d, value: str, lag: int) -> str:
    kernel, image = window(node), layer.shapes.output
    across = (1,) * (len(image) - 1)
    if layer.out.dtype == np.float32:
        axes = slice(2 - len(across), 2)
        pads = list(kernel.padding[:2])[axes] + list(kernel.padding[2:])[axes]
        return layer.add("Conv", value, layer.parameter("weight"), *layer.bias(), pads=pads,
                         strides=kernel.stride[axes], dilations=kernel.dilation[axes], group=node.groups)
    places = prod(image[1:])
    seen = layer.reshaped(_views(layer, value, kernel, 0.0), -1, node.groups, prod(node.weight.shape[1:]), places)
    weight = layer.reshaped(layer.parameter("weight"), node.groups, image[0] // node.groups,
                            prod(node.weight.shape[1:]), once=True)
    result = layer.reshaped(layer.add("MatMul", weight, seen), -1, *image)
    for bias in layer.bias():
        result = layer.add("Add", result, layer.reshaped(bias, -1, *across, once=True))
    return result


def _pool(reduction: str, outside: float) -> Callable[..., str]:
    def layer_of(layer: Layer, node: SumPool2d, value: str, lag: int) -> str:
        if layer.out.dtype == np.float32:
            return _standard_pool(layer, node, value)
        views = _views(layer, value, window(node), outside)
        reduced = layer.add(reduction, views, layer.out.numbers(2), keepdims=0)
        return layer.reshaped(reduced, -1, *layer.shapes.output)

    return layer_of


def _standard_pool(layer: Layer, node: SumPool2d, value: str) -> str:
    settings: dict[str, Any] = {"kernel_shape": node.kernel_size, "strides": node.stride, "pads": window(node).padding}
    if isinstance(node, MaxPool2d):
        return layer.add("MaxPool", value, **settings)
    mean = layer.add("AveragePool", value, count_include_pad=1, **settings)
    if isinstance(node, AvgPool2d):
        return mean
    return layer.add("Mul", mean, layer.out.number(float(prod(node.kernel_size))))


def _views(layer: Layer, value: str, kernel: Window, outside: float) -> str:
    """(batch, C, H, W) -> (batch, C, KH KW, H' W'): what each position of the kernel sees."""
    channels, *image = layer.shapes.input
    height, width = (1, *image)[-2:]
    top, left, bottom, right = kernel.padding
    wide = width + left + right
    down, across = kernel.output_size((height, width))
    _small_enough(layer, prod(kernel.kernel) * down * across, "the places that a kernel sees are listed")
    rows, columns = (
        np.arange(size)[:, None] * gap + np.arange(steps) * step
        for size, gap, steps, step in zip(kernel.kernel, kernel.dilation, (down, across), kernel.stride, strict=True))
    places = rows[:, None, :, None] * wide + columns[None, :, None, :]  # (KH, KW, H', W')
    if any(kernel.padding):
        pads = layer.out.numbers(0, 0, top, left, 0, 0, bottom, right)
        value = layer.reshaped(value, -1, channels, height, width)
        value = layer.add("Pad", value, pads, layer.out.number(outside))
    flat = layer.reshaped(value, -1, channels, (height + top + bottom) * wide)
    listed = layer.out.constant(places.reshape(prod(kernel.kernel), -1), f"{layer.name}/places")
    return layer.add("Gather", flat, listed, axis=2)


def _threshold(layer: Layer, node: Threshold, value: str, lag: int) -> str:
    return layer.add("Cast", layer.add("Greater", value, layer.parameter("threshold")), to=layer.out.elements)


def _relu(layer: Layer, node: Relu, value: str, lag: int) -> str:
    if node.ceiling is None:
        return layer.add("Relu", value)
    ceiling = layer.parameter("ceiling")
    if node.ceiling.shape == ():
        return layer.add("Clip", value, layer.out.number(0.0), ceiling)
    return layer.add("Min", layer.add("Relu", value), ceiling)


def _flatten(layer: Layer, node: Flatten, value: str, lag: int) -> str:
    return layer.reshaped(value, -1, *layer.shapes.output)


def _small_enough(layer: Layer, size: int, what: str) -> None:
    if size > LARGEST:
        raise UnsupportedError(Diagnostic("SC209", f"{what}, and this one is too large", node=layer.name,
                                          value=f"{size} elements", limit=f"{LARGEST} elements"))


LAYERS: dict[type[Node], Callable[..., str]] = {
    Output: _same, Linear: _linear, Affine: _linear, SparseLinear: _sparse, Scale: _scale, Delay: _delay,
    BatchNorm: _batch_norm, Conv1d: _conv, Conv2d: _conv, SumPool2d: _pool("ReduceSum", 0.0),
    AvgPool2d: _pool("ReduceMean", 0.0), MaxPool2d: _pool("ReduceMax", -np.inf), Threshold: _threshold, Relu: _relu,
    Flatten: _flatten,
}
