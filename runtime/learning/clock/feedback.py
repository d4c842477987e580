"""Feedback matrices of a learner: what they stand for, how they start, and how far they are from it."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from ....ir.learning.layout import LearningLayout
from ....ir.learning.rule import Feedback
from ....ir.nodes import Flatten, Linear, Neuron
from ...clock.engine import ClockEngine
from ...clock.stateless import through

__all__ = ["Ideal", "angle", "started"]


class Ideal:
    """The transposed products of forward weights, (n, n_above) by hidden layer: neurons count as the identity, and all
    ways from a layer to the one above are summed. Recurrent edges are none."""

    def __init__(self, engine: ClockEngine, layout: LearningLayout, weights: Mapping[str, Tensor],
                 own: Mapping[str, Mapping[str, Tensor]]) -> None:
        self.engine, self.layout, self.weights, self.own = engine, layout, weights, own

    def of(self, layer: str) -> Tensor:
        """As the weights are now."""
        size = self.layout.size
        found = self._out_of(layer, self.layout.above[layer], {})
        some = next(iter(self.weights.values()))
        return some.new_zeros((size[layer], size[self.layout.above[layer]])) if found is None else found.t()

    def _out_of(self, name: str, above: str, known: dict[str, Tensor | None]) -> Tensor | None:
        """(n_above, n): what comes of what a node gives."""
        if name not in known:
            total: Tensor | None = None
            for target in self.engine.graph.targets[name]:
                found = None if (name, target) in self.engine.recurrent else self._into(target, above, known)
                if found is not None:
                    total = found if total is None else total + found
            known[name] = total
        return known[name]

    def _into(self, name: str, above: str, known: dict[str, Tensor | None]) -> Tensor | None:
        node = self.engine.graph.nodes[name]
        if name == above:
            return self._identity(self.layout.size[above])
        after = self._out_of(name, above, known)
        if after is None or isinstance(node, Neuron | Flatten):
            return after
        if isinstance(node, Linear):
            return after @ self.weights.get(name, self.own[name]["weight"])
        shape = self.engine.shapes[name].input
        each = self._identity(math.prod(shape)).reshape(-1, *shape)
        return after @ through(node, each, self.own[name]).reshape(len(each), -1).t()

    def _identity(self, n: int) -> Tensor:
        some = next(iter(self.weights.values()))
        return torch.eye(n, dtype=some.dtype, device=some.device)


def started(feedback: Feedback, ideal: Ideal, layout: LearningLayout, generator: torch.Generator) -> dict[str, Tensor]:
    """Feedback before learning, by hidden layer."""
    found = {}
    for layer in layout.above:
        goal = ideal.of(layer)
        if feedback.kind == "transposed" or (feedback.kind == "learned" and feedback.start == "transposed"):
            found[layer] = goal.clone()
            continue
        drawn = torch.randn(goal.shape, generator=generator, dtype=torch.float64).to(goal)
        found[layer] = drawn * (feedback.scale * goal.double().square().mean().sqrt().item())
    return found


def angle(one: Tensor, other: Tensor) -> float:
    """Degrees between two matrices."""
    a, b = one.double(), other.double()
    norms = float(a.norm() * b.norm())
    return math.degrees(math.acos(max(-1.0, min(1.0, float((a * b).sum()) / norms)))) if norms else 90.0
