"""How learning on a grid goes: what a learner counts between two times that it is asked."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..learner import Answer, LearningFigures
from .feedback import angle

if TYPE_CHECKING:
    from .learner import ClockLearner

__all__ = ["Tally"]


class Tally:
    """Counts from its making, or from the last `figures`, on."""

    def __init__(self, learner: ClockLearner) -> None:
        self.learner = learner
        self.before: dict[str, Tensor] = {}
        self._clear()

    def _clear(self) -> None:
        self.batches, self.samples = 0, 0
        self.spikes: dict[str, int] = {}
        self.changed: dict[str, float] = {}

    def begin(self) -> None:
        """Before a batch is learnt from."""
        for name, weight in self.learner.weights.items():
            if name in self.before:
                self.before[name].copy_(weight)
            else:
                self.before[name] = weight.clone()

    def end(self, answer: Answer, batch: int) -> None:
        """After it."""
        for name, weight in self.learner.weights.items():
            share = float(torch.ne(weight, self.before[name]).sum()) / max(1, weight.numel())
            self.changed[name] = self.changed.get(name, 0.0) + share
        for name, count in answer.spikes.items():
            self.spikes[name] = self.spikes.get(name, 0) + count
        self.batches, self.samples = self.batches + 1, self.samples + batch

    def figures(self) -> LearningFigures:
        """What came together. `updated` counts a batch as one sample."""
        learner = self.learner
        bounds, grid = learner.rule.bounds, learner.engine.grid
        saturated = {name: 0.0 if bounds is None else float(torch.mean(
            ((weight <= bounds[0]) | (weight >= bounds[1])).double())) for name, weight in learner.weights.items()}
        seconds = self.samples * learner.schedule.columns * grid.dt
        rates = {name: count / (learner.forward.neurons[name].n * seconds) for name, count in self.spikes.items()
                 } if seconds else {}
        angles, norms = {}, {}
        if learner.rule.error is not None and learner.rule.error.code != "local":
            for layer, matrix in learner.feedback.items():
                goal = learner.ideal.of(layer)
                angles[layer] = angle(matrix, goal)
                norms[layer] = float(matrix.norm()) / max(float(goal.norm()), torch.finfo(goal.dtype).tiny)
        found = LearningFigures(
            saturated, {name: share / self.batches for name, share in self.changed.items()} if self.batches else {},
            {name: float(weight.norm()) for name, weight in learner.weights.items()}, rates, {}, angles, norms)
        self._clear()
        return found
