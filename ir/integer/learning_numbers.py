"""The random numbers with which learning rounds: those of Lava 0.10, one for all synapses of a projection, or one for
each synapse and neuron, which depend on nothing but where and when they are drawn.

A number r rounds up what is left of a number beside its whole part where r is less: a decayed trace by r in 0..1, an
impulse by r in 0..255, of 256, a synapse by r in 0..127, of 128.

Lava (lava/magma/core/learning/random.py) draws with numpy's default generator, one after the other: in step T, from 1,
the traces of sources have the numbers 2T - 1 and 2T (from 0) of the generators seeded with `seed` (decays, a uniform
double) and `seed` + 1 (impulses, an integer below 128, although it rounds 256ths: half of them or more are always
rounded up), those of targets the same of `seed` + 2 and `seed` + 3, and the synapses in epoch E, from 1, number E of
the generator that is seeded with 2, for every rule and projection: one number for w, t and d.

A number of one's own is a hash of 32 bits, all sums and products modulo 2^32 (`mixed`):

    key = mixed(mixed(mixed(mixed(seed) + projection) + kind) + step)      kind 0: synapses, 1: sources, 2: targets
    h   = mixed(key + index)            index: post n_pre + pre of a synapse, trace n + neuron of a trace

    w: h >> 25        t: h >> 18 & 127        d: h >> 11 & 127        decay: (h >> 8) / 2^24        impulse: h & 255
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, Protocol

import numpy as np

from ..nodes import Array

__all__ = ["LavaNumbers", "Numbers", "OwnNumbers", "Rounding", "Side", "mixed"]

Rounding = Literal["lava", "synapse"]
Side = Literal["pre", "post"]
SYNAPSE_SEED = 2
"""Of ConnVarRandom, whatever the seed of the rule is."""
BITS_OF_A_SYNAPSE = {"dw": 25, "dt": 18, "dd": 11}


class Numbers(Protocol):
    """Where learning takes its random numbers from; `step` counts from 1. All shapes broadcast."""

    def again(self, side: Side, step: int, shape: tuple[int, ...]) -> Array:
        """0..255: for the impulse of an earlier spike of this epoch, when another comes in `step`. (traces, n)."""

    def decay(self, side: Side, step: int, last: int, shape: tuple[int, ...]) -> Array:
        """0..1: for the decay in `step` of an epoch whose last one is `last`. (traces, n)."""

    def impulse(self, side: Side, step: int, last: int, shape: tuple[int, ...]) -> Array:
        """0..255: for the impulse of the last spike of an epoch, in `step`. (traces, n)."""

    def synapse(self, target: str, step: int, epoch: int, shape: tuple[int, ...]) -> Array:
        """0..127: for dw, dt or dd at the end of an epoch, in `step`. (post, pre)."""


@lru_cache(maxsize=64)
def _uniform(seed: int, length: int) -> Array:
    return np.random.default_rng(seed).random(length)


@lru_cache(maxsize=64)
def _below_128(seed: int, length: int) -> Array:
    return np.random.default_rng(seed).integers(0, 128, size=length, dtype=np.int64)


def _room(index: int) -> int:
    """A power of two: so few lengths that each stream is drawn a few times only."""
    return 1 << max(10, index.bit_length())


@dataclass(frozen=True, slots=True)
class LavaNumbers:
    """Lava's own, one for all synapses and neurons."""

    seed: int

    def again(self, side: Side, step: int, shape: tuple[int, ...]) -> Array:
        """Of a source, Lava rounds the impulse of a spike that is not the last of its epoch up, always."""
        index = 2 * step - 1
        return np.asarray(0 if side == "pre" else _below_128(self.seed + 3, _room(index))[index])

    def decay(self, side: Side, step: int, last: int, shape: tuple[int, ...]) -> Array:
        """One number for a whole epoch."""
        return np.asarray(_uniform(self.seed + (0 if side == "pre" else 2), _room(2 * last))[2 * last])

    def impulse(self, side: Side, step: int, last: int, shape: tuple[int, ...]) -> Array:
        return np.asarray(_below_128(self.seed + (1 if side == "pre" else 3), _room(2 * last))[2 * last])

    def synapse(self, target: str, step: int, epoch: int, shape: tuple[int, ...]) -> Array:
        index = step // epoch
        # k / 128 > r where k > floor(128 r): the fraction of a synapse is a whole number of 128ths.
        return np.asarray(128 * _uniform(SYNAPSE_SEED, _room(index))[index]).astype(np.int64)


@dataclass(frozen=True, slots=True)
class OwnNumbers:
    """One for each synapse and neuron; `projection`: its number in the network, 0 .. 2^32-1."""

    seed: int
    projection: int

    def again(self, side: Side, step: int, shape: tuple[int, ...]) -> Array:
        return self._hash(1 if side == "pre" else 2, step, shape) & 255

    def decay(self, side: Side, step: int, last: int, shape: tuple[int, ...]) -> Array:
        return (self._hash(1 if side == "pre" else 2, step, shape) >> 8) / 2.0**24

    def impulse(self, side: Side, step: int, last: int, shape: tuple[int, ...]) -> Array:
        return self.again(side, step, shape)

    def synapse(self, target: str, step: int, epoch: int, shape: tuple[int, ...]) -> Array:
        return self._hash(0, step, shape) >> BITS_OF_A_SYNAPSE[target] & 127

    def _hash(self, kind: int, step: int, shape: tuple[int, ...]) -> Array:
        key = np.zeros(1, dtype=np.int64)
        for part in (self.seed, self.projection, kind, step):
            key = mixed(key + part)
        return mixed(key + np.arange(np.prod(shape), dtype=np.int64).reshape(shape))


def mixed(value: Array) -> Array:
    """A hash of the 32 low bits of each number, int64 -> 0 .. 2^32-1 (C. Wellons, "Prospecting for hash functions",
    2018: lowbias32)."""
    found = value.astype(np.uint32)
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B)):
        found = (found ^ found >> np.uint32(shift)) * np.uint32(factor)
    return (found ^ found >> np.uint32(16)).astype(np.int64)
