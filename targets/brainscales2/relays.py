"""Neurons that stand for delays: the chip has none, so an axon that is late goes through a neuron of its own.

One spike of the largest weight w (in distances from rest to threshold) onto such a neuron, whose membrane and synapse
share the time constant tau, moves it by w (t / tau) exp(-t / tau). Its threshold is low enough to be crossed after the
delay, and is a whole number of steps of the converter; tau makes up for the rounding. What is left of the current after
the spike does not fire it again where t / tau > 1 / e, so one spike gives one spike; spikes closer to each other than a
few tau meet in the neuron, and come out otherwise.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil, exp

__all__ = ["Relay", "relay_of"]

_EARLIEST, _SOON, _LATEST = exp(-1), 0.5, 0.8
"""Of the crossing, in time constants: before the first one a spike would cause two, after the last one the membrane is
too flat for a delay to be kept."""


@dataclass(frozen=True, slots=True)
class Relay:
    """`height`: steps of the converter from rest to threshold. `tau`: of membrane and synapse, seconds on the chip."""

    height: int
    tau: float


def relay_of(delay: float, weight: float, span: float, shortest: float, longest: float) -> Relay | None:
    """The neuron for a delay; None where there is none.

    Args:
        delay: seconds on the chip.
        weight: of the largest synapse, in distances from rest to threshold.
        span: that distance, in steps of the converter.
        shortest, longest: time constants that membrane and synapse can both have, seconds on the chip.
    """
    wanted = min(max(_SOON, delay / longest), delay / shortest)
    if not _EARLIEST < wanted <= _LATEST:
        return None
    height = ceil(weight * span * wanted * exp(-wanted) - 1e-9)
    level = height / (weight * span)
    if not _EARLIEST * exp(-_EARLIEST) < level < exp(-1):
        return None
    crossing = _root(lambda u: u * exp(-u) - level, _EARLIEST, 1.0)
    return Relay(height, min(max(delay / crossing, shortest), longest))


def _root(rises: Callable[[float], float], low: float, high: float) -> float:
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if rises(middle) > 0 else (middle, high)
    return (low + high) / 2
