"""Large arrays whose memory is used again.

The allocator gives a large block back to the system when it is freed and asks for it anew in the next training step,
and each of its pages then costs a fault: 1 to 2 us for 4 KiB, a thousand times a step. Memory from here returns to a
list when the last tensor that looks at it is gone, whoever held that: no two arrays in use ever share a byte.
"""

from __future__ import annotations

import math
import weakref
from typing import Any

import numpy as np
import torch
from torch import Tensor

__all__ = ["empty", "room", "zeros"]

_LINE = 64
_SMALLEST = 1 << 15
"""Bytes; less than this the allocator keeps by itself."""
_MOST_IDLE = 1 << 28
"""Bytes that may wait in the lists."""

_idle: dict[int, list[np.ndarray[Any, Any]]] = {}


def room(size: int, device: torch.device) -> Tensor:
    """Uninitialised memory on a device, (size,) uint8, that begins on a cache line."""
    if device.type != "cpu":
        return torch.empty(size, dtype=torch.uint8, device=device)
    if size < _SMALLEST:
        block = torch.empty(size + _LINE, dtype=torch.uint8)
        begin = -block.data_ptr() % _LINE
        return block[begin:begin + size]
    step = 1 << (size.bit_length() - 3)
    rounded = -(-size // step) * step
    try:
        whole = _idle[rounded].pop()
    except (KeyError, IndexError):
        whole = np.empty(rounded + _LINE, dtype=np.uint8)
    begin = -whole.ctypes.data % _LINE
    lent = whole[begin:begin + size]  # held by the tensor's storage alone: it dies with that
    weakref.finalize(lent, _take_back, rounded, whole).atexit = False
    return torch.from_numpy(lent)


def empty(shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """As `torch.empty`."""
    return room(math.prod(shape) * dtype.itemsize, device).view(dtype).view(shape)


def zeros(shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """As `torch.zeros`."""
    return empty(shape, dtype, device).zero_()


def _take_back(rounded: int, whole: np.ndarray[Any, Any]) -> None:
    if rounded + sum(size * len(blocks) for size, blocks in list(_idle.items())) <= _MOST_IDLE:
        _idle.setdefault(rounded, []).append(whole)
