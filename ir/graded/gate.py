"""The gate of a graded synapse: where on the membrane the synapse is open, and what charge has passed so far.

Huh & Sejnowski (NeurIPS 2018) ask of a gate g that it is not negative, lies within an active zone, and has the integral
1; theirs is a box. A box has kinks: an integrator that does not know where they are falls to the second order. Here

    g(x) = 315 / (128 zone) (1 - (2 x / zone)^2)^4    for |x| < zone / 2, else 0,

with x the distance of the membrane from the middle of the zone. It has three continuous derivatives, so the current,
which only asks for the charge G = integral of g, has four, and an integrator of the fifth order keeps it. On a circle x
is the distance the shorter way round, and G grows by 1 with each turn. Written for what numpy and torch share.
"""

from __future__ import annotations

from math import pi
from typing import Any

__all__ = ["PEAK", "TURN", "charge", "distance", "opening"]

TURN = 2 * pi
PEAK = 315 / 128
"""Of the gate, in units of 1 / zone; that of a box is 1."""


def distance(x: Any) -> tuple[Any, Any]:
    """(x the shorter way round, whole turns) of an angle."""
    turns = (x / TURN).round()
    return x - TURN * turns, turns


def charge(x: Any, zone: Any) -> Any:
    """G(x): 0 before the zone, 1 beyond it."""
    s = _within(x, zone)
    q = s * s
    return 0.5 + PEAK / 2 * s * (1 - q * (4 / 3 - q * (6 / 5 - q * (4 / 7 - q / 9))))


def opening(x: Any, zone: Any) -> Any:
    """g(x) = dG/dx."""
    s = _within(x, zone)
    return PEAK / zone * (1 - s * s) ** 4


def _within(x: Any, zone: Any) -> Any:
    return (2 * x / zone).clip(-1, 1)
