"""What a grid of time means: the record that a graph, or a single neuron node, carries."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["Discretization", "Spike"]

Spike = Literal["delta", "box"]


@dataclass(frozen=True, slots=True)
class Discretization:
    """What a grid means. Always given, by the user or by the importer of a framework that has one; never inferred.

    `dt` seconds. `spike`: a spike is a unit impulse (`delta`) or a unit-height current for `dt` (`box`).
    `integrator`: `exact` (closed form over a step, inputs at its start), `euler` (forward), `semi` (semi-implicit
    Euler: the membrane sees the new current) or `decay` (the framework's own x := beta x + input, beta = exp(-dt/tau)).
    `reset`: in the `same` step as the spike, or one step late (`next`). `delay`: steps that a spike takes over a
    recurrent edge. `fires`: where the membrane is `above` its threshold, or `at` it too. `spikes`: `one` a step at
    most, or as `many` as the threshold fits into the membrane, each of which is subtracted. `unit`: of times in the
    framework's files. What is malformed is told when the graph is checked (SC116).
    """

    dt: float
    unit: Literal["s", "ms"] = "s"
    spike: Spike = "delta"
    integrator: Literal["exact", "euler", "semi", "decay"] = "exact"
    reset: Literal["same", "next"] = "same"
    delay: int = 1
    fires: Literal["above", "at"] = "above"
    spikes: Literal["one", "many"] = "one"
