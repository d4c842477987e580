"""Layers of torch.nn: what each becomes in a graph. Tensors there have a batch axis in front, the graph has none."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ....ir import nodes
from ....ir.nodes import Array, Pair
from .conversion import Conversion, Signal, array_of
from .registry import Leaf

__all__ = ["LEAVES", "adaptive_pool", "average_1d", "batch_norm", "convolution", "linear", "pool", "rectifier"]

Arguments = tuple[Any, ...]


def linear(conversion: Conversion, module: Any, name: str, arguments: Arguments) -> Signal:
    source = conversion.signal(arguments[0], name, (module.in_features,))
    weight, bias = array_of(module.weight), _bias(module)
    return conversion.add(name, nodes.Linear(weight=weight) if bias is None else
                          nodes.Affine(weight=weight, bias=bias), source)


def convolution(conversion: Conversion, module: Any, name: str, arguments: Arguments) -> Signal:
    source = conversion.signal(arguments[0], name)
    if module.padding_mode != "zeros":
        conversion.fail("SC223", "a convolution pads with zeros only", node=name, value=module.padding_mode,
                        limit="padding_mode='zeros'")
    weight, bias = array_of(module.weight), _bias(module)
    if weight.ndim == 3:
        padding: Any = module.padding if isinstance(module.padding, str) else module.padding[0]
        return conversion.add(name, nodes.Conv1d(
            weight=weight, bias=bias, input_shape=source.shape[-1], stride=module.stride[0], padding=padding,
            dilation=module.dilation[0], groups=module.groups), source)
    image: Any = source.shape[-2:]
    return conversion.add(name, nodes.Conv2d(
        weight=weight, bias=bias, input_shape=image, stride=module.stride, padding=module.padding,
        dilation=module.dilation, groups=module.groups), source)


def pool(kind: type[nodes.SumPool2d]) -> Any:
    def convert(conversion: Conversion, module: Any, name: str, arguments: Arguments) -> Signal:
        source = conversion.signal(arguments[0], name)
        padding = _pair(module.padding)
        unusual = {
            "ceil_mode": module.ceil_mode,
            "return_indices": getattr(module, "return_indices", False),
            "dilation": getattr(module, "dilation", 1) not in (1, (1, 1)),
            "divisor_override": getattr(module, "divisor_override", None) is not None,
            "count_include_pad=False": padding != (0, 0) and not getattr(module, "count_include_pad", True),
        }
        for setting, on in unusual.items():
            if on:
                conversion.fail("SC223", f"a pool with {setting} has no counterpart in a graph", node=name)
        return conversion.add(
            name, kind(kernel_size=_pair(module.kernel_size), stride=_pair(module.stride), padding=padding), source)

    return convert


def average_1d(conversion: Conversion, module: Any, name: str, arguments: Arguments) -> Signal:
    """A mean over windows of (C, L), as a convolution of each channel with itself."""
    source = conversion.signal(arguments[0], name)
    size, stride, padding = module.kernel_size[0], module.stride[0], module.padding[0]
    if module.ceil_mode or (padding and not module.count_include_pad):
        conversion.fail("SC223", "a pool with ceil_mode or count_include_pad=False has no counterpart in a graph",
                        node=name)
    channels, length = source.shape
    return conversion.add(name, nodes.Conv1d(weight=np.full((channels, 1, size), 1.0 / size), input_shape=length,
                                             stride=stride, padding=padding, groups=channels), source)


def adaptive_pool(conversion: Conversion, module: Any, name: str, arguments: Arguments) -> Signal:
    """A mean over windows whose size follows from that of the result, where they are all equal."""
    source = conversion.signal(arguments[0], name)
    given = module.output_size if isinstance(module.output_size, (tuple, list)) else (module.output_size,) * 2
    sizes = source.shape[-2:]
    wanted = [size if out is None else int(out) for size, out in zip(sizes, given, strict=True)]
    if any(size % out for size, out in zip(sizes, wanted, strict=True)):
        conversion.fail("SC223", "windows of different sizes have no counterpart in a graph", node=name,
                        value=tuple(wanted), limit=f"divisors of {sizes}")
        return source
    window = (sizes[0] // wanted[0], sizes[1] // wanted[1])
    return conversion.add(name, nodes.AvgPool2d(kernel_size=window, stride=window, padding=(0, 0)), source)


def rectifier(conversion: Conversion, module: Any, name: str, arguments: Arguments) -> Signal:
    """max(x, 0), and min(…, max_val) where there is one."""
    source = conversion.signal(arguments[0], name)
    if getattr(module, "min_val", 0) != 0:
        conversion.fail("SC223", "a rectifier cuts off at 0", node=name, value=f"min={module.min_val}")
    ceiling = getattr(module, "max_val", None)
    return conversion.add(name, nodes.Relu(ceiling=None if ceiling is None else np.full(source.shape, float(ceiling))),
                          source)


def _at_the_end(conversion: Conversion, module: Any, name: str, arguments: Arguments) -> Signal:
    conversion.fail("SC223", "a softmax stands at the end of a model, or nowhere", node=name)
    return conversion.signal(arguments[0], name)


def batch_norm(conversion: Conversion, module: Any, name: str, arguments: Arguments) -> Signal:
    """With running statistics, as in eval mode."""
    source = conversion.signal(arguments[0], name)
    if module.running_mean is None:
        conversion.fail("SC223", "BatchNorm without running statistics depends on the batch", node=name,
                        remedy="Set track_running_stats=True.")
        return source
    ones = np.ones(module.num_features)
    bias = _bias(module)
    return conversion.add(name, nodes.BatchNorm(
        mean=array_of(module.running_mean).astype(np.float64), variance=array_of(module.running_var),
        gamma=ones if module.weight is None else array_of(module.weight),
        beta=np.zeros_like(ones) if bias is None else bias, eps=module.eps), source)


def _flatten(conversion: Conversion, module: Any, name: str, arguments: Arguments) -> Signal:
    return conversion.flatten(conversion.signal(arguments[0], name), name, module.start_dim, module.end_dim)


def _nothing(conversion: Conversion, module: Any, name: str, arguments: Arguments) -> Any:
    """Modules that hand on what they get: Identity, and Dropout in eval mode."""
    return arguments[0]


def _bias(module: Any) -> Array | None:
    """In float64, whatever the weights are: it is going to be scaled."""
    return None if module.bias is None else array_of(module.bias).astype(np.float64)


def _pair(value: Any) -> Pair:
    return (int(value[0]), int(value[1])) if isinstance(value, (tuple, list)) else (int(value), int(value))


LEAVES: Mapping[str, Leaf] = {
    f"torch.nn.modules.{name}": Leaf(convert)
    for name, convert in {
        "linear.Linear": linear, "conv.Conv1d": convolution, "conv.Conv2d": convolution,
        "pooling.AvgPool2d": pool(nodes.AvgPool2d), "pooling.MaxPool2d": pool(nodes.MaxPool2d),
        "pooling.AvgPool1d": average_1d, "pooling.AdaptiveAvgPool2d": adaptive_pool,
        "activation.ReLU": rectifier, "activation.ReLU6": rectifier,
        "activation.Softmax": _at_the_end, "activation.LogSoftmax": _at_the_end,
        "batchnorm.BatchNorm1d": batch_norm, "batchnorm.BatchNorm2d": batch_norm, "flatten.Flatten": _flatten,
        "linear.Identity": _nothing, "dropout.Dropout": _nothing, "dropout.Dropout1d": _nothing,
        "dropout.Dropout2d": _nothing,
    }.items()
}
