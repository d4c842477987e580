"""Functions of torch and torch.nn.functional that are layers, and joins of features."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np

from ....ir import nodes
from .conversion import Conversion, Signal
from .layers import adaptive_pool, average_1d, batch_norm, convolution, linear, pool, rectifier

__all__ = ["AFTER_TIME", "FUNCTIONS"]


AFTER_TIME = ("Where it is over time, let it come last: apply the layers after it at every step, and take it of what "
              "they give. For the mean and a Linear that is the same.")
_AVERAGE: Callable[..., Signal] = pool(nodes.AvgPool2d)
_MAXIMUM: Callable[..., Signal] = pool(nodes.MaxPool2d)


def _linear(conversion: Conversion, where: str, value: Any, weight: Any, bias: Any = None) -> Signal:
    return linear(conversion, SimpleNamespace(weight=weight, bias=bias, in_features=weight.shape[1]), where, (value,))


def _matmul(conversion: Conversion, where: str, value: Any, weight: Any) -> Signal:
    if not hasattr(weight, "detach") or weight.ndim != 2:
        conversion.fail("SC226", "a matrix product is of spikes, first, and a constant matrix", node=where)
        return conversion.signal(value, where)
    return _linear(conversion, where, value, weight.t())


def _convolution(axes: int) -> Callable[..., Signal]:
    def convert(conversion: Conversion, where: str, value: Any, weight: Any, bias: Any = None, stride: Any = 1,
                padding: Any = 0, dilation: Any = 1, groups: int = 1) -> Signal:
        layer = SimpleNamespace(weight=weight, bias=bias, groups=groups, padding_mode="zeros",
                                padding=padding if isinstance(padding, str) else _each(padding, axes),
                                stride=_each(stride, axes), dilation=_each(dilation, axes))
        return convolution(conversion, layer, where, (value,))

    return convert


def _average_pool(conversion: Conversion, where: str, value: Any, kernel_size: Any, stride: Any = None,
                  padding: Any = 0, ceil_mode: bool = False, count_include_pad: bool = True,
                  divisor_override: Any = None) -> Signal:
    return _AVERAGE(conversion, SimpleNamespace(
        kernel_size=kernel_size, stride=stride or kernel_size, padding=padding, ceil_mode=ceil_mode,
        count_include_pad=count_include_pad, divisor_override=divisor_override), where, (value,))


def _max_pool(conversion: Conversion, where: str, value: Any, kernel_size: Any, stride: Any = None, padding: Any = 0,
              dilation: Any = 1, ceil_mode: bool = False, return_indices: bool = False) -> Signal:
    return _MAXIMUM(conversion, SimpleNamespace(
        kernel_size=kernel_size, stride=stride or kernel_size, padding=padding, dilation=dilation, ceil_mode=ceil_mode,
        return_indices=return_indices), where, (value,))


def _average_pool_1d(conversion: Conversion, where: str, value: Any, kernel_size: Any, stride: Any = None,
                     padding: Any = 0, ceil_mode: bool = False, count_include_pad: bool = True) -> Signal:
    return average_1d(conversion, SimpleNamespace(
        kernel_size=_each(kernel_size, 1), stride=_each(stride or kernel_size, 1), padding=_each(padding, 1),
        ceil_mode=ceil_mode, count_include_pad=count_include_pad), where, (value,))


def _adaptive_pool(conversion: Conversion, where: str, value: Any, output_size: Any) -> Signal:
    return adaptive_pool(conversion, SimpleNamespace(output_size=output_size), where, (value,))


def _batch_norm(conversion: Conversion, where: str, value: Any, running_mean: Any, running_var: Any, weight: Any = None,
                bias: Any = None, training: bool = False, momentum: float = 0.1, eps: float = 1e-5) -> Signal:
    return batch_norm(conversion, SimpleNamespace(
        running_mean=None if training else running_mean, running_var=running_var, weight=weight, bias=bias, eps=eps,
        num_features=len(running_mean)), where, (value,))


def _relu(conversion: Conversion, where: str, value: Any, inplace: bool = False) -> Signal:
    return rectifier(conversion, SimpleNamespace(), where, (value,))


def _relu6(conversion: Conversion, where: str, value: Any, inplace: bool = False) -> Signal:
    return rectifier(conversion, SimpleNamespace(max_val=6.0), where, (value,))


def _clamp(conversion: Conversion, where: str, value: Any, min: Any = None, max: Any = None) -> Signal:  # torch's names
    bounds = [each.item() if hasattr(each, "detach") and each.numel() == 1 else each for each in (min, max)]
    if not all(each is None or isinstance(each, (int, float)) for each in bounds):
        conversion.fail("SC223", "a rectifier cuts off at numbers", node=where)
        return conversion.signal(value, where)
    min, max = bounds
    return rectifier(conversion, SimpleNamespace(min_val=min, max_val=max), where, (value,))


def _mean(conversion: Conversion, where: str, value: Any, dim: Any = None, keepdim: bool = False) -> Signal:
    """The mean over the two axes of an image."""
    source = conversion.signal(value, where)
    axes = len(source.shape) + conversion.lead
    chosen = sorted(axis % axes for axis in dim) if isinstance(dim, (tuple, list)) else []
    if len(source.shape) != 3 or chosen != [axes - 2, axes - 1]:
        conversion.fail("SC226", "a mean is over time, at the end, or over both axes of an image", node=where,
                        value=dim, remedy=AFTER_TIME)
        return source
    averaged = adaptive_pool(conversion, SimpleNamespace(output_size=1), where, (source,))
    return averaged if keepdim else conversion.add(f"{where}.flat", nodes.Flatten(start_dim=0, end_dim=-1), averaged)


def _join(conversion: Conversion, where: str, values: Any, dim: int = 0, axis: int | None = None) -> Signal:
    """Features side by side: the sum of what each part gives when it is put in its place, among zeros."""
    parts = [conversion.signal(value, where) for value in values]
    shapes = [part.shape for part in parts]
    axes = len(shapes[0]) + conversion.lead
    place = (dim if axis is None else axis) % axes - conversion.lead
    total = sum(shape[0] for shape in shapes)
    if place != 0 or len({shape[1:] for shape in shapes}) > 1:
        conversion.fail("SC226", "only the first axis of samples of one shape, that of features or channels, is joined",
                        node=where, value=f"axis {dim} of {', '.join(map(str, shapes))}")
        return parts[0]
    first, placed = 0, []
    for number, part in enumerate(parts):
        size = part.shape[0]
        placed.append(conversion.add(f"{where}.{number}", _placed(part.shape, first, total), part))
        first += size
    return conversion.sum(placed, where)


def _placed(shape: tuple[int, ...], first: int, total: int) -> nodes.Node:
    """What puts `shape[0]` features at `first` among `total`."""
    size = shape[0]
    if len(shape) == 1:
        rows = np.zeros(total + 1, dtype=np.int64)
        rows[first + 1:first + size + 1] = 1
        return nodes.SparseLinear(size=(total, size), indptr=np.cumsum(rows), indices=np.arange(size),
                                  weight=np.ones(size))
    weight = np.eye(total, size, -first).reshape(total, size, *(1,) * (len(shape) - 1))
    if len(shape) == 2:
        return nodes.Conv1d(weight=weight, input_shape=shape[-1])
    return nodes.Conv2d(weight=weight, input_shape=(shape[-2], shape[-1]))


def _each(value: Any, axes: int) -> tuple[int, ...]:
    return tuple(value) if isinstance(value, (tuple, list)) else (value,) * axes


FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "linear": _linear, "matmul": _matmul, "conv1d": _convolution(1), "conv2d": _convolution(2),
    "avg_pool2d": _average_pool, "max_pool2d": _max_pool, "avg_pool1d": _average_pool_1d,
    "adaptive_avg_pool2d": _adaptive_pool, "batch_norm": _batch_norm, "relu": _relu, "relu_": _relu, "relu6": _relu6,
    "clamp": _clamp, "clip": _clamp, "mean": _mean, "cat": _join, "concat": _join,
    "boolean_dispatch": _max_pool,  # what torch.fx calls F.max_pool2d
}
"""By the name of the function: `function(conversion, where, *arguments)`."""
