"""Small networks for tests of learning in continuous time, and the comparison of the engine with the oracle."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np

import spikec
from spikec.ir import nodes as ir
from spikec.ir.events import Events
from spikec.ir.graph import Graph
from spikec.ir.learning.continuous import phases_of
from spikec.ir.learning.exact import ExactLearning
from spikec.ir.learning.rule import LearningRule
from spikec.runtime.learning.event.learner import EventLearner

TAU, TAU_SYN = 20e-3, 8e-3


def neuron(kind: str, n: int, **settings: Any) -> ir.Neuron:
    common: dict[str, Any] = {"shape": (n,), "r": 1.0, "v_threshold": 1.0} | settings
    if kind == "IF":
        return ir.IF(**common)
    if kind == "LIF":
        return ir.LIF(tau=TAU, v_leak=0.0, **common)
    return ir.CubaLIF(tau_mem=TAU, tau_syn=TAU_SYN, w_in=TAU_SYN, v_leak=0.0, **common)


def feedforward(kind: str, sizes: tuple[int, ...], seed: int = 0, *, bias: float = 0.0, **settings: Any) -> Graph:
    """in -> w1 -> n1 -> w2 -> n2 … -> out, weights of about half a threshold."""
    rng = np.random.default_rng(seed)
    scale = {"IF": 0.7, "LIF": 0.7 * TAU, "CubaLIF": 4.5}[kind]
    nodes: dict[str, ir.Node] = {"in": ir.Input(shape=(sizes[0],))}
    for number, (source, target) in enumerate(pairwise(sizes), start=1):
        weight = rng.normal(0.4, 0.5, (target, source)) * scale
        nodes[f"w{number}"] = ir.Affine(weight=weight, bias=np.full(target, bias)) if bias else ir.Linear(weight=weight)
        nodes[f"n{number}"] = neuron(kind, target, **settings)
    nodes["out"] = ir.Output(shape=(sizes[-1],))
    return Graph(nodes, tuple(pairwise(nodes)), None)


def stimulus(channels: int, seed: int, batch: int = 3, per_sample: int = 14, until: float = 0.028) -> Events:
    rng = np.random.default_rng(seed)
    return Events.from_samples([(rng.uniform(0, until, per_sample), rng.integers(0, channels, per_sample))
                                for _ in range(batch)])


def given(events: Events | Mapping[str, Events]) -> Mapping[str, Events]:
    return events if isinstance(events, Mapping) else {"in": events}


def noise_of(learner: EventLearner, seen: int, batch: int) -> dict[str, Any] | None:
    """The noise of the sleep that follows a batch."""
    for phase in phases_of(learner.rule, True):
        if due := (seen + batch) // phase.every - seen // phase.every:
            return {name: learner.sleep_noise(phase, seen, due * phase.samples, name) for name in learner.feedback}
    return None


def differ(graph: Graph, rule: LearningRule, events: Events | Mapping[str, Events], labels: list[int], batch: int,
           rate: float = 1.0, **chosen: Any) -> tuple[float, float]:
    """How far the engine is from the oracle after all batches: the largest difference of a weight or of feedback, as a
    share of how far the largest has moved (of the feedback, of its size), and that largest move."""
    learner = spikec.compile(graph).learner(rule, seed=3, **chosen)
    learner.rate = rate
    oracle = ExactLearning(graph, rule, feedback=learner.feedback, **chosen)
    seen, worst, moved = 0, 0.0, 0.0
    while seen < len(labels):
        span = np.arange(seen, min(seen + batch, len(labels)))
        part = {name: each.take(span) for name, each in given(events).items()}
        mine = [labels[number] for number in span]
        answer = learner.learn(part, np.array(mine))
        runs = oracle.learn(part, mine, rate, noise_of(learner, seen, len(span)))
        assert [list(run.answer) for run in runs] == answer.counts.tolist()
        assert [run.prediction for run in runs] == list(answer.predictions)
        seen += len(span)
    for name, weights in oracle.weights.items():
        move = float(np.abs(weights - graph.nodes[name].weight).max())  # type: ignore[attr-defined]
        worst = max(worst, float(np.abs(learner.weights[name].T - weights).max()) / max(move, 1e-12))
        moved = max(moved, move)
    for name, feedback in oracle.feedback.items():
        worst = max(worst, float(np.abs(learner.feedback[name] - feedback).max() / np.abs(feedback).max()))
    return worst, moved
