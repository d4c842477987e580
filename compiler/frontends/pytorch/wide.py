"""A model in float64 without a copy of its weights: what reads a parameter reads it as float64, a part at a time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.overrides import TorchFunctionMode

__all__ = ["Wide", "widen_buffers"]

PART = 1 << 18
"""Weights of a layer that are widened at a time."""
_SLICED = (F.linear, F.conv1d, F.conv2d)
_INEXACT = (F.avg_pool1d, F.avg_pool2d, F.adaptive_avg_pool2d, torch.matmul, torch.mm, torch.bmm, torch.einsum,
            torch.Tensor.matmul, torch.Tensor.mm, torch.Tensor.bmm, torch.Tensor.mean, torch.mean)


class Wide(TorchFunctionMode):
    """Within it, `parameters` act as if they were float64, and so does float32 that meets float64."""

    def __init__(self, parameters: Iterable[torch.Tensor]) -> None:
        super().__init__()
        self.parameters = {id(parameter) for parameter in parameters}

    def __torch_function__(self, func: Any, types: Any, args: tuple[Any, ...] = (),
                           kwargs: Mapping[str, Any] | None = None) -> Any:
        kwargs = dict(kwargs or {})
        if getattr(func, "__name__", "") in ("__get__", "__set__", "size", "dim", "numel"):
            return func(*args, **kwargs)
        if func in _SLICED:
            return _in_parts(func, *args, **kwargs)
        tensors = list(_tensors((args, tuple(kwargs.values()))))
        if func in _INEXACT or any(each.dtype == torch.float64 for each in tensors) or any(
                id(each) in self.parameters for each in tensors):
            kept = args[:1] if _in_place(getattr(func, "__name__", "")) else ()
            args = (*kept, *_widened(args[len(kept):]))
            kwargs = {name: _widened(value) for name, value in kwargs.items()}
        return func(*args, **kwargs)


def widen_buffers(module: nn.Module) -> None:
    """Makes its buffers float64; a copy that shares only parameters keeps its original as it is."""
    for part in nn.Module.modules(module):
        for name, buffer in part._buffers.items():
            if buffer is not None and buffer.is_floating_point():
                part._buffers[name] = buffer.double()


def _in_place(name: str) -> bool:
    return name.startswith("__i") or name == "__setitem__" or (name.endswith("_") and not name.endswith("__"))


def _in_parts(func: Any, value: Any, weight: Any, bias: Any = None, *rest: Any, **options: Any) -> Any:
    """A layer, some of its outputs at a time."""
    value, bias = _widened(value), _widened(bias)
    groups = options.get("groups", rest[3] if len(rest) > 3 else 1)
    rows = max(1, PART // max(1, weight[0].numel()))
    if groups != 1 or len(weight) <= rows:
        return func(value, _widened(weight), bias, *rest, **options)
    # One room for all parts: of new ones among small results, the allocator gives few back.
    room = weight.new_empty((rows, *weight.shape[1:]), dtype=torch.float64)
    parts = []
    for first in range(0, len(weight), rows):
        part = weight[first:first + rows]
        wide = room[:len(part)].copy_(part)
        parts.append(func(value, wide, None if bias is None else bias[first:first + rows], *rest, **options))
    return torch.cat(parts, dim=1 - weight.ndim)


def _widened(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return value.double() if value.is_floating_point() and value.dtype != torch.float64 else value
    if isinstance(value, (tuple, list)) and type(value) in (tuple, list):
        return type(value)(_widened(each) for each in value)
    return value


def _tensors(value: Any) -> Iterable[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, (tuple, list)):
        for each in value:
            yield from _tensors(each)
