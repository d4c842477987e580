"""A step by a learning rule: a program's learner, which the trainer drives as it does gradients."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, fields
from typing import Any

import numpy as np
import torch

from ...ir.diagnostics import Diagnostics, SpikecError
from ...ir.facts import is_number
from ...ir.graph import Graph
from ...ir.learning.rule import LearningRule
from ...ir.learning.text import to_text
from ..optimizers import choice_name
from ..steps import Batch, NotANumber
from .learner import Answer, Learner, LearningFigures

__all__ = ["RateChoice", "RuleStep", "merged"]

RateChoice = None | float | str | Callable[[int], float]
"""What `learner.rate` is in epoch 0, 1, …: as it was set; a factor an epoch; "cosine", to zero over the training; or a
callable of the number of the epoch, which is called for all of them before the first."""
_NOW = ("saturated", "norm", "angles", "norms")  # of the weights as they are; all others are means


class RuleStep:
    """See `Step`. `learner` learns; `keywords` are those of the program's `learner`, and
    `chip` those that say what is measured on, which no checkpoint holds.

    Raises:
        BadInputError, UnsupportedError: the rule is malformed, or asks for what the target cannot do (all reasons).
    """

    loss: Any = None

    def __init__(self, program: Any, rule: LearningRule, *, keywords: Mapping[str, Any], chip: Mapping[str, Any],
                 scheduler: RateChoice, epochs: int, seed: int, device: torch.device) -> None:
        self.device = torch.device("cpu")  # of labels, which learners take as arrays
        self.learner: Learner = program.learner(rule, **{"seed": seed, **keywords, **chip},
                                                device=str(device))
        self._network = program.network
        self.whole = True
        self._output = keywords.get("output")
        self._schedule = _schedule(scheduler, epochs)
        self._rates: dict[int, float] = {}
        self._learnt = 0  # samples since figures were last taken
        self._taken: list[tuple[int, LearningFigures]] = []
        self.settings: dict[str, Any] = {
            "target": program.target, "rule": to_text(self.learner.rule), "scheduler": choice_name(scheduler),
            "learner": str({name: _told(each) for name, each in sorted(keywords.items())}),
        }

    @property
    def numbers(self) -> bool | None:
        return True

    @property
    def rate(self) -> float:
        return float(self.learner.rate)

    @property
    def runs(self) -> int:
        return int(getattr(self.learner, "runs", 0))

    @runs.setter
    def runs(self, value: int) -> None:
        if hasattr(self.learner, "runs"):
            self.learner.runs = value

    def classes(self) -> int | None:
        outputs = self._network.outputs
        if self.learner.rule.error is None or (self._output is None and len(outputs) != 1):
            return None
        name = next(iter(outputs)) if self._output is None else self._output
        shown = outputs.get(name, name)
        return int(self._network.size(shown)) if shown in self._network.populations else None

    def prepare(self, epoch: int, epochs: int) -> None:
        if self._schedule is None:
            return
        given = {number: self._schedule(number) for number in range(epoch, epochs)}
        faults = Diagnostics()
        for number, rate in given.items():
            if not (is_number(rate) and 0 <= rate < math.inf):
                faults.add("SC504", f"scheduler gives no rate for epoch {number + 1}", value=repr(rate)[:80],
                           limit="a finite number >= 0", remedy="It is called with 0, 1, …: the number of the epoch, "
                           "and gives what every update is multiplied by.")
        faults.raise_if_errors()
        self._rates = {number: float(rate) for number, rate in given.items()}
        self.learner.check_rates(self._rates.values())
        self._set_rate(epoch)

    def learn(self, events: Any, labels: torch.Tensor) -> Batch:
        self.whole = False
        try:
            answer = self.learner.learn(events, labels.numpy())
        except SpikecError:  # of which it has learnt nothing
            self.whole = True
            raise
        self.whole = True
        batch = self._batch(answer, labels)
        self._learnt += len(labels)
        for value in batch.errors.values():
            if not math.isfinite(value):
                raise NotANumber(value)
        return batch

    def answer(self, events: Any, labels: torch.Tensor) -> Batch:
        return self._batch(self.learner.answer(events), labels)

    def end_epoch(self, epoch: int) -> LearningFigures:
        self._take()
        figures = merged(self._taken)
        self._taken.clear()
        for value in figures.norm.values():
            if not math.isfinite(value):
                raise NotANumber(value)
        self._set_rate(epoch + 1)
        return _finite(figures)

    def state(self) -> dict[str, Any]:
        self._take()
        return {
            "learner": {name: torch.from_numpy(np.array(value)) for name, value in self.learner.state().items()},
            "figures": [[samples, asdict(figures)] for samples, figures in self._taken],
        }

    def load(self, state: Mapping[str, Any]) -> None:
        self.learner.load({name: value.numpy() for name, value in state["learner"].items()})
        self._learnt = 0
        self._taken = [(samples, LearningFigures(**figures)) for samples, figures in state["figures"]]

    def graph(self) -> Graph:
        return self.learner.to_graph()

    def _batch(self, answer: Answer, labels: torch.Tensor) -> Batch:
        """Without an error, a rule knows nothing of labels."""
        predicted = silent = None
        if self.learner.rule.error is not None:
            predicted = torch.from_numpy(np.asarray(answer.predictions, np.int64))
            counts = np.asarray(answer.counts)
            silent = torch.from_numpy(counts[np.arange(len(counts)), labels.numpy()] == 0)
        return Batch(labels, {name: int(count) for name, count in answer.spikes.items()}, predicted, silent,
                     errors={name: float(value) for name, value in answer.errors.items()})

    def _take(self) -> None:
        """Figures belong to what was learnt before a checkpoint: a learner forgets them when they are taken."""
        if self._learnt or not self._taken:
            self._taken.append((self._learnt, self.learner.figures()))
            self._learnt = 0

    def _set_rate(self, epoch: int) -> None:
        if epoch in self._rates:  # there is none after the last epoch
            self.learner.rate = self._rates[epoch]


def _told(value: Any) -> Any:
    """Of a keyword, what a checkpoint records; of a chip that is plugged in, its kind."""
    if isinstance(value, Sequence) and not isinstance(value, str):
        return list(value)
    return choice_name(value) if callable(value) else value


def _schedule(choice: RateChoice, epochs: int) -> Callable[[int], Any] | None:
    if choice is None or callable(choice):
        return choice
    if is_number(choice):
        return lambda epoch: _power(float(choice), epoch)
    return lambda epoch: (1 + math.cos(math.pi * epoch / epochs)) / 2


def _power(factor: float, epoch: int) -> float:
    try:
        return factor**epoch
    except OverflowError:
        return math.inf  # which is no rate


def merged(taken: Sequence[tuple[int, LearningFigures]]) -> LearningFigures:
    """Figures of several stretches of so many samples as those of the whole: means, and of what weights and feedback
    are, the last."""
    total = sum(samples for samples, _ in taken)
    if len(taken) == 1 or not total:
        return taken[-1][1]
    found: dict[str, dict[str, float]] = {}
    for each in fields(LearningFigures):
        last: Mapping[str, float] = getattr(taken[-1][1], each.name)
        means: dict[str, float] = {}
        for samples, figures in taken:
            for name, value in getattr(figures, each.name).items():
                means[name] = means.get(name, 0.0) + value * samples / total
        found[each.name] = dict(last) if each.name in _NOW else means
    return LearningFigures(**found)


def _finite(figures: LearningFigures) -> LearningFigures:
    """Without what is no number, as the angle of weights that are all zero: records are written as JSON."""
    return LearningFigures(**{each.name: {name: float(value) for name, value in getattr(figures, each.name).items()
                                          if math.isfinite(value)} for each in fields(figures)})
