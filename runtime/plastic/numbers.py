"""The random numbers of a run: tables of what decay leaves of a trace, and Lava's numbers of a stretch of columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...ir.integer.learning import IntegerRule, IntegerTrace
from ...ir.integer.learning_numbers import SYNAPSE_SEED, mixed
from ...ir.nodes import Array

__all__ = ["DecayTables", "below_128", "decay_tables", "lava_numbers", "stream_key", "uniform"]


@dataclass(frozen=True, slots=True, eq=False)
class DecayTables:
    """Of each trace, (traces, 128): of each value, the `whole` part after a step, int32, and the rest: `real`, and the
    least number of 24 bits that does not round it up, int32 `rest`."""

    whole: Array
    rest: Array
    real: Array

    @property
    def least(self) -> float:
        """Of the rests of all values but zero."""
        return float(self.real[:, 1:].min())


def decay_tables(traces: Sequence[IntegerTrace]) -> DecayTables:
    """As `learning_step` lets these traces decay."""
    tau = np.array([[each.tau] for each in traces], dtype=np.float64)
    kept = np.exp(np.divide(-1.0, tau, out=np.full_like(tau, -np.inf), where=tau != 0))
    decayed = kept * np.arange(128)
    rest = decayed % 1
    return DecayTables(np.floor(decayed).astype(np.int32), np.ceil(rest * 2.0**24).astype(np.int32), rest)


def uniform(seed: int, first: int, count: int) -> Array:
    """Numbers `first`, `first` + 1, … of numpy's default generator, 0..1."""
    return np.random.Generator(np.random.PCG64(seed).advance(first)).random(count)


def below_128(seed: int, first: int, count: int) -> Array:
    """The same of its integers below 128, of which it makes two of one draw."""
    generator = np.random.Generator(np.random.PCG64(seed).advance(first // 2))
    return generator.integers(0, 128, size=first % 2 + count, dtype=np.int64)[first % 2:]


def lava_numbers(rule: IntegerRule, step: int, columns: int) -> dict[str, Array]:
    """Lava's numbers of the columns after `step`, as the kernel names them."""
    first, count = 2 * (step + 1), 2 * columns

    def each(values: Array) -> Array:
        return np.ascontiguousarray(values[::2])

    epochs = np.arange(step + 1, step + columns + 1) // rule.epoch
    found = uniform(SYNAPSE_SEED, int(epochs[0]), int(epochs[-1] - epochs[0]) + 1)
    numbers = {"x_decay": each(uniform(rule.seed, first, count)),
               "x_impulse": each(below_128(rule.seed + 1, first, count)).astype(np.int32),
               "y_decay": each(uniform(rule.seed + 2, first, count)),
               "synapse": (128 * found[epochs - epochs[0]]).astype(np.int32)}
    if not rule.three_factor:
        drawn = below_128(rule.seed + 3, first - 1, count + 1)
        numbers |= {"y_again": each(drawn[:-1]).astype(np.int32), "y_impulse": each(drawn[1:]).astype(np.int32)}
    return numbers


def stream_key(seed: int, projection: int, kind: int) -> int:
    """What the numbers of a projection's synapses (kind 0), sources (1) or targets (2) have in common, before the step
    is added (`OwnNumbers`)."""
    key = np.zeros(1, dtype=np.int64)
    for part in (seed, projection, kind):
        key = mixed(key + part)
    return int(key[0])
