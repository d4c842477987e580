"""What a target that learns offers: one interface, which the trainer drives, whatever the arithmetic below."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from ...ir.graph import Graph
from ...ir.learning.rule import LearningRule
from ...ir.nodes import Array

__all__ = ["Answer", "Learner", "LearningFigures"]


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """Of a batch: `counts` (batch, n_out), spikes of the rule's output while the sample was shown; `spikes` by
    population, of the whole batch; `predictions` (batch,): the output that fired most, of several the one of the
    highest membrane at the end; `errors`: by name, what tells how wrong the outputs were, a mean over the batch
    (`error`: of |err|)."""

    counts: Array
    predictions: Array
    spikes: Mapping[str, int]
    errors: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LearningFigures:
    """How learning goes, since the figures were last taken: by plastic projection, `saturated`: the share of weights at
    their bounds, now; `updated`: how often a sample changes the weight of a synapse, a mean; `norm`: of the weights; by
    population: `rates`, spikes a neuron and second; `saturated_traces`: by variable and projection, the share that
    stood at the most that it holds; `angles`: degrees between B and the transposed product of the forward weights that
    it stands for, by hidden layer; `norms`: of B over that product's."""

    saturated: Mapping[str, float] = field(default_factory=dict)
    updated: Mapping[str, float] = field(default_factory=dict)
    norm: Mapping[str, float] = field(default_factory=dict)
    rates: Mapping[str, float] = field(default_factory=dict)
    saturated_traces: Mapping[str, float] = field(default_factory=dict)
    angles: Mapping[str, float] = field(default_factory=dict)
    norms: Mapping[str, float] = field(default_factory=dict)


class Learner(Protocol):
    """Learns from batches. `rule` as it was given; `rate`: what every update of weights is multiplied by, 1.0 at first,
    which schedules set (on a chip, the nearest that its exponents can say): a finite number >= 0 (SC403), and of 0 no
    weight changes; a learner can be set to any such number, whatever it can learn at."""

    rule: LearningRule
    rate: float

    def check_rates(self, rates: Iterable[float]) -> None:
        """Whether it can learn at all of these rates.

        Raises:
            BadInputError: one is no finite number >= 0 (SC403).
            UnsupportedError: naming each that a chip's learning engine does not hold, with the term (SC336).
        """

    def learn(self, events: Any, labels: Array) -> Answer:
        """One batch: samples as `Program.run` takes them, labels (batch,) whole numbers. With several samples at once,
        all see the same weights and their updates are averaged (or summed, as the rule says); a chip takes them one
        after the other.

        Raises:
            BadInputError: the input (SC403 to SC406) or the labels (SC506) are malformed, or there are no samples
                (SC505).
            UnsupportedError: a chip's learning engine does not hold the rate (SC336); nothing was learnt.
        """

    def answer(self, events: Any) -> Answer:
        """The same without learning.

        Raises:
            BadInputError: the input is malformed (SC403 to SC406), or there are no samples (SC505).
        """

    def figures(self) -> LearningFigures:
        """Of what was learnt since they were last asked for."""

    def state(self) -> dict[str, Array]:
        """All that a learner must be given to go on with the same bits: weights, feedback, the rate, counters
        of its random numbers, running means."""

    def load(self, state: Mapping[str, Array]) -> None:
        """Goes on from there.

        Raises:
            BadInputError: the state is of another learner (SC513).
        """

    def to_graph(self) -> Graph:
        """The model graph with the weights as they are now."""
