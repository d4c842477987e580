"""Noise of sleep: positive and negative spikes, drawn from a generator whose state can be kept."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from ....ir.learning.rule import Noise

__all__ = ["signed_noise"]

_LEVELS = 1 << 16
"""Of probabilities: 16 bits of a draw decide on a spike."""


def signed_noise(noise: Noise, samples: int, columns: int, n: int, generator: torch.Generator) -> Tensor:
    """(columns, samples, n), int8: positive less negative spikes, each with one probability p that is drawn first."""
    if noise.held:
        return signed_noise(replace(noise, held=False), samples, 1, n, generator).expand(columns, samples, n)
    p = noise.low + (noise.high - noise.low) * float(torch.rand((), generator=generator, dtype=torch.float64))
    count = columns * samples * n
    words = torch.empty((2 * count + 3) // 4, dtype=torch.int64).random_(-(1 << 63), None, generator=generator)
    level = round(p * _LEVELS) - (_LEVELS >> 1)
    draws = words.view(torch.int16)[:2 * count].view(2, columns, samples, n)
    fired = draws < level if level < _LEVELS >> 1 else torch.ones_like(draws, dtype=torch.bool)
    return fired[0].to(torch.int8) - fired[1].to(torch.int8)
