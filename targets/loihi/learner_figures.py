"""How learning in a chip's arithmetic goes: what a learner counts between two times that it is asked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from ...ir.columns import columns_of_grid
from ...ir.learning.step import weights_above
from ...ir.nodes import Array
from ...runtime.learning.learner import LearningFigures
from ...runtime.plastic.engine import PlasticStream

if TYPE_CHECKING:
    from .learner import LoihiLearner

__all__ = ["Tally", "stands_for"]

_COUNTED = ("weights_changed", "raised", "raised_clipped")


class Tally:
    """Counts from its making, or from the last `figures`, on, of one stream after another."""

    def __init__(self) -> None:
        self._clear()

    def _clear(self) -> None:
        self.samples = 0
        self.spikes: dict[str, int] = {}
        self.counted: dict[str, dict[str, int]] = {}

    def add(self, spikes: Mapping[str, int], samples: int) -> None:
        """After a batch."""
        for name, count in spikes.items():
            self.spikes[name] = self.spikes.get(name, 0) + count
        self.samples += samples

    def take(self, stream: PlasticStream) -> Mapping[str, Mapping[str, int]]:
        """What a stream has counted, which begins anew there: before it is left for another one."""
        told = stream.figures()
        for name in stream.engine.plastic.rules:
            counted = self.counted.setdefault(name, dict.fromkeys(_COUNTED, 0))
            for key in _COUNTED:
                counted[key] += told[name][key]
        return told

    def figures(self, learner: LoihiLearner) -> LearningFigures:
        """What came together. Bounds are those of nine bits, traces hold at most 127."""
        stream, plastic, samples = learner.stream, learner.built, max(self.samples, 1)
        network, now = plastic.network.network, self.take(stream)
        seconds = samples * plastic.columns.shown * network.dt
        weights = {name: stream.weights(name) for name in plastic.network.rules}
        angles, norms = _alignment(learner)
        found = LearningFigures(
            saturated={name: now[name]["weights_at_bounds"] / max(each.size, 1) for name, each in weights.items()},
            updated={name: self.counted[name]["weights_changed"] / (max(each.size, 1) * samples)
                     for name, each in weights.items()},
            norm={name: float(np.linalg.norm(weights[name]) / scale) for name, scale in plastic.weights.items()},
            rates={name: count / (network.size(name) * seconds) for name, count in self.spikes.items()},
            angles=angles, norms=norms,
            saturated_traces={f"{name}.x": each["raised_clipped"] / each["raised"]
                              for name, each in self.counted.items() if each["raised"]})
        self._clear()
        return found


def stands_for(learner: LoihiLearner, population: str) -> Array:
    """(n, n_out) float64: the transposed product of the forward weights from a hidden population to the output, as they
    are now, over all ways, in the scale that feedback onto it has."""
    graph, plastic = learner.program.graph, learner.built
    _, recurrent = columns_of_grid(graph, learner.program.grid)
    weights = {name: learner.stream.weights(name) / plastic.weights[name] for name in learner.names}
    # Feedback is held as the weights right before the output are.
    target_of = {each.name: each.target for each in plastic.network.network.projections}
    scale = next((plastic.weights[name] for name in learner.names if target_of[name] == learner.output), 1.0)
    product = weights_above(graph, weights, population, learner.output, recurrent)
    return np.asarray(product.T * scale, dtype=np.float64)


def _alignment(learner: LoihiLearner) -> tuple[dict[str, float], dict[str, float]]:
    """By hidden layer, degrees between feedback and what it stands for, and their ratio."""
    angles: dict[str, float] = {}
    norms: dict[str, float] = {}
    if learner.rule.feedback is None or learner.rule.feedback.kind == "none":
        return angles, norms
    for population, name in learner.built.feedback.items():
        forward, back = stands_for(learner, population), learner.stream.weights(name).astype(np.float64)
        lengths = float(np.linalg.norm(forward)), float(np.linalg.norm(back))
        cosine = float((forward * back).sum()) / (lengths[0] * lengths[1]) if all(lengths) else 0.0
        angles[population] = float(np.degrees(np.arccos(np.clip(cosine, -1, 1))))
        norms[population] = lengths[1] / lengths[0] if lengths[0] else 0.0
    return angles, norms
