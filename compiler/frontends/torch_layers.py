"""Layers of torch.nn: what each becomes in a graph. Tensors there have a batch axis in front, the graph has none."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ...ir import nodes
from ...ir.nodes import Array, Pair
from .conversion import Conversion, Signal, array_of
from .registry import Leaf

__all__ = ["LEAVES", "convolution", "linear"]

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


def _pool(kind: type[nodes.SumPool2d]) -> Any:
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
        pool = kind(kernel_size=_pair(module.kernel_size), stride=_pair(module.stride), padding=padding)
        return conversion.add(name, pool, source)

    return convert


def _batch_norm(conversion: Conversion, module: Any, name: str, arguments: Arguments) -> Signal:
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
        "pooling.AvgPool2d": _pool(nodes.AvgPool2d), "pooling.MaxPool2d": _pool(nodes.MaxPool2d),
        "batchnorm.BatchNorm1d": _batch_norm, "batchnorm.BatchNorm2d": _batch_norm, "flatten.Flatten": _flatten,
        "linear.Identity": _nothing, "dropout.Dropout": _nothing, "dropout.Dropout1d": _nothing,
        "dropout.Dropout2d": _nothing,
    }.items()
}
