"""A sample for a module that cannot be traced without one, from the sizes of the data that it will run on."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from ....ir.diagnostics import SpikecError
from .frontend import import_module
from .source import Source

__all__ = ["needs_sample", "sample_of"]

Sizes = tuple[int, ...]
_LAID_OUT: Mapping[str, Callable[[Sizes], Sizes]] = {
    "time_first": lambda size: (size[1], size[0], *size[2:]),
    "batch_first": lambda size: size,
    "step": lambda size: (size[0], *size[2:]),
    "folded": lambda size: (size[0] * size[1], *size[2:]),
}


def needs_sample(error: SpikecError) -> bool:
    """Whether an import failed for want of a sample, perhaps."""
    return any(found.code in ("SC221", "SC225") for found in error.diagnostics)


def sample_of(module: nn.Module, sizes: Sequence[Sizes], dt: float | None) -> tuple[Any, ...] | None:
    """What `forward` takes, in zeros, for data of `sizes` (batch, time, *shape), one an input, in order. Each layout
    is tried; None where the module fits none of them."""
    for layout, laid_out in _LAID_OUT.items():
        sample = tuple(torch.zeros(laid_out(size)) for size in sizes)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # the import that follows tells them
                source = import_module(module, sample, dt, check=False)
        except SpikecError:
            continue
        if _layout_of(source) == layout:
            return sample
    return None


def _layout_of(source: Source) -> str | None:
    """That of what `forward` takes, as the trace found it; None where inputs differ."""
    axes = set(source.steps.time_axes.values())
    if len(axes) > 1:
        return None
    if axes:
        return "time_first" if axes == {0} else "batch_first"
    return "folded" if source.steps.layout == "folded" and not source.steps.repeated else "step"
