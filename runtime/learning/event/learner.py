"""Learning in continuous time: the learner of the event target."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from ....ir.diagnostics import BadInputError, Diagnostic, Diagnostics, UnsupportedError
from ....ir.graph import Graph
from ....ir.learning.continuous import MOST_REWARDS, continuous_rule, phases_of
from ....ir.learning.noise import Spike, noise_spikes
from ....ir.learning.rule import LearningRule, Noise, Phase
from ....ir.learning.wiring import check_feedback, trace_rates, transposed
from ....ir.network import Network
from ....ir.nodes import Array, Linear
from ...engine import Engine
from ...signals import Spikes
from ..arguments import Rest, check_seed, checked_rate, checked_rates, require_samples
from ..learner import Answer, LearningFigures
from ..states import require_state
from .net import event_net
from .run import EventRun, Shown
from .terms import plan_of

__all__ = ["EventLearner"]


class EventLearner:
    """See `Learner`. Feedback is drawn from `seed`, and so is noise, by the number of samples seen.

    Raises:
        BadInputError: there is no such output or projection, or the seed is no whole number (SC403).
        UnsupportedError: naming each projection that cannot learn (SC515), what else of the network has no kernel
            (SC416), or each term and setting of the rule that has no closed form (SC516).
    """

    def __init__(self, graph: Graph, network: Network, engine: Engine, rule: LearningRule, *, output: str | None = None,
                 projections: Iterable[str] | None = None, seed: int = 0, device: str = "cpu") -> None:
        faults = Diagnostics()
        check_seed(seed, faults)
        faults.raise_if_errors()
        self.rule, self._rate, self._graph, self._engine, self._seed = rule, 1.0, graph, engine, int(seed)
        continuous = continuous_rule(rule, faults)
        net = event_net(graph, network, rule, output, projections, faults)
        plan = plan_of(continuous, faults)
        self._links = net.links
        check_feedback(net.links, rule, faults)
        rates = {link.name: trace_rates(rule, link, graph.nodes[link.target], faults) for link in net.links.plastic()}
        self._run = EventRun(net, continuous, plan, rates, faults, torch.device(device))
        faults.raise_if_errors(UnsupportedError)
        self._seen, self._reward = 0, 0.0
        self._feedback = self._first_feedback()
        self._rest = Rest(max(phase.duration for phase in phases_of(rule, False)))
        self._forget()

    @property
    def layered(self) -> bool:
        return self.rule.feedback is not None and self.rule.feedback.path == "layered"

    @property
    def rate(self) -> float:
        """See `Learner`."""
        return self._rate

    @rate.setter
    def rate(self, value: float) -> None:
        self._rate = checked_rate(value)

    def check_rates(self, rates: Iterable[float]) -> None:
        """See `Learner.check_rates`: it can learn at all of them."""
        checked_rates(rates)

    # ---- learning ---------------------------------------------------------------------------------------------------
    def learn(self, events: Any, labels: Array) -> Answer:
        """See `Learner`.

        Raises:
            BadInputError: events are malformed (SC103, SC104, SC107, SC405), or labels (SC506), or there are no samples
                (SC505).
        """
        inputs, batch = self._inputs(events)
        given = self._labels(labels, batch)
        online = batch == 1
        before = {link.name: self.weights[link.name].copy() for link in self._links.plastic()}
        shown = self._run.sample(inputs, given, self._feedback, rate=self.rate, mean_reward=self._reward, online=online)
        self._take(shown, before, batch, online)
        answer = self._answer(shown, given)
        if self.rule.error is not None and self.rule.error.code == "reward":
            for number, right in enumerate(answer.predictions == given):
                self._reward += (float(right) - self._reward) / min(self._seen + number + 1, MOST_REWARDS)
        first, self._seen = self._seen, self._seen + batch
        self._copy_feedback()
        for phase in phases_of(self.rule, True):
            if due := self._seen // phase.every - first // phase.every:
                self._sleep(phase, first, due * phase.samples)
        self._note(shown, before, batch)
        return answer

    def answer(self, events: Any) -> Answer:
        """See `Learner`."""
        inputs, _ = self._inputs(events)
        return self._answer(self._run.sample(inputs, None, self._feedback), None)

    def _inputs(self, events: Any) -> tuple[Mapping[str, Spikes], int]:
        inputs = self._engine.inputs(events)
        self._rest.tell(events)
        batch = len(next(iter(inputs.values())).offsets) - 1
        require_samples(batch)
        return inputs, batch

    def _take(self, shown: Shown, before: Mapping[str, Array], batch: int, online: bool) -> None:
        rule, feedback = self.rule, self.rule.feedback
        share = self.rate / batch if rule.average else self.rate
        for link in self._links.plastic():
            weights, taken = self.weights[link.name], shown.taken[link.name] * share
            if not online:
                weights += taken
            if feedback is not None and feedback.kind == "kolen_pollack" and link.source in self._feedback:
                lost = share * batch * feedback.decay
                weights -= lost * before[link.name]
                self._feedback[link.source] += taken - lost * self._feedback[link.source]
            if rule.bounds is not None:
                np.clip(weights, *rule.bounds, out=weights)

    def _labels(self, labels: Any, batch: int) -> Array:
        given = np.asarray(labels)
        n_out = self._links.sizes[self._links.output]
        if given.shape != (batch,) or given.dtype.kind not in "iu" or (len(given) and not (
                (given >= 0) & (given < n_out)).all()):
            raise BadInputError(Diagnostic(
                "SC506", "labels are whole numbers, one a sample, that the output has neurons for",
                value=f"{given.dtype} {given.shape}", limit=f"({batch},), 0..{n_out - 1}"))
        return given.astype(np.int64)

    def _answer(self, shown: Shown, labels: Array | None) -> Answer:
        counts = shown.counts
        best = counts == counts.max(1, keepdims=True)
        predictions = np.where(best, shown.membranes, -np.inf).argmax(1)
        errors = {} if labels is None or self.rule.error is None else {"error": float(shown.errors.mean())}
        spikes = {name: int(count.sum()) for name, count in shown.spikes.items()}
        return Answer(counts, predictions, spikes, errors)

    # ---- feedback ---------------------------------------------------------------------------------------------------
    def _first_feedback(self) -> dict[str, Array]:
        feedback, found = self.rule.feedback, {}
        if feedback is None or feedback.kind == "none" or self.rule.error is None:
            return {}
        for number, name in enumerate(self._links.hidden):
            same = self._product(name)
            if feedback.kind != "transposed" and feedback.start == "random":
                draw = np.random.default_rng([self._seed, number])
                same = np.asarray(draw.normal(0.0, feedback.scale * float(same.std()), same.shape))
            found[name] = same
        return found

    def _product(self, name: str) -> Array:
        """What B of a hidden layer stands for."""
        weights = {each: value.T for each, value in self.weights.items()}
        return np.ascontiguousarray(transposed(self._links, weights, name, self.layered))

    def _copy_feedback(self) -> None:
        if self.rule.feedback is not None and self.rule.feedback.kind == "transposed":
            for name in self._feedback:
                self._feedback[name] = self._product(name)

    def sleep_noise(self, phase: Phase, first: int, samples: int, name: str) -> list[list[Spike]]:
        """The noise of a hidden layer in the sleep after sample number `first`."""
        layer = self._links.hidden.index(name)
        return [noise_spikes(phase, self.rule.interval, self._links.sizes[name], name,
                             np.random.default_rng([self._seed, 1 + first, layer, number]))
                for number in range(samples)]

    def _sleep(self, phase: Phase, first: int, samples: int) -> None:
        feedback = self.rule.feedback
        if feedback is None or feedback.kind != "learned" or not isinstance(phase.noise, Noise):
            return
        for name in reversed(self._links.hidden):
            noise = self.sleep_noise(phase, first, samples, name)
            counts = self._run.noise(noise, name, phase)
            above = self._links.output
            if self.layered:
                (link,) = self._links.above(name)
                above = link.target
            drawn = np.zeros((samples, self._links.sizes[name]))
            for number, spikes in enumerate(noise):
                for _, _, neuron, sign in spikes:
                    drawn[number, neuron] += sign
            matrix = self._feedback[name]
            values = {"x1": counts[above][:, None, :], "y1": drawn[:, :, None], "w": matrix[None]}
            total = np.zeros_like(matrix)
            for update in feedback.updates:
                if phase.name in update.phases:
                    for term in update.terms:
                        found: Any = term.coefficient
                        for factor in term.factors:
                            value = values[factor.variable] + factor.offset
                            found = found * (np.sign(value) if factor.sign else value)
                        total += np.broadcast_to(found, (samples, *matrix.shape)).sum(0)
            self._feedback[name] = matrix + (total / samples if self.rule.average else total)

    # ---- state ------------------------------------------------------------------------------------------------------
    @property
    def weights(self) -> dict[str, Array]:
        """By projection, (n_source, n_target), as they are now."""
        return self._run.weights

    @property
    def feedback(self) -> dict[str, Array]:
        """By hidden population, (n, n_out), or layered, (n, n of the layer above)."""
        return self._feedback

    def state(self) -> dict[str, Array]:
        """See `Learner`."""
        found = {f"weight {link.name}": self.weights[link.name].T.copy() for link in self._links.plastic()}
        found |= {f"feedback {name}": value.copy() for name, value in self._feedback.items()}
        return found | {"seen": np.array(self._seen), "reward": np.array(self._reward), "seed": np.array(self._seed),
                        "rate": np.array(self.rate)}

    def load(self, state: Mapping[str, Array]) -> None:
        """See `Learner`."""
        require_state(state, self.state())
        self.rate = float(state["rate"])
        for link in self._links.plastic():
            self.weights[link.name][...] = np.asarray(state[f"weight {link.name}"], dtype=np.float64).T
        for name in self._feedback:
            self._feedback[name] = np.array(state[f"feedback {name}"], dtype=np.float64)
        self._seen, self._reward = int(state["seen"]), float(state["reward"])
        self._seed = int(state["seed"])
        self._forget()

    def to_graph(self) -> Graph:
        """See `Learner`."""
        changed = {}
        for link in self._links.plastic():
            node = self._graph.nodes[link.name]
            if isinstance(node, Linear):
                changed[link.name] = replace(node, weight=self.weights[link.name].T.copy())
        return self._graph.with_nodes(changed)

    # ---- figures ----------------------------------------------------------------------------------------------------
    def _forget(self) -> None:
        self._learnt, self._spikes = 0, dict.fromkeys(self._links.order, 0.0)
        self._changed = dict.fromkeys((link.name for link in self._links.plastic()), 0.0)

    def _note(self, shown: Shown, before: Mapping[str, Array], batch: int) -> None:
        self._learnt += batch
        for name, counts in shown.spikes.items():
            self._spikes[name] += float(counts.sum())
        for name, share in shown.changed.items():
            self._changed[name] += share * batch if self.rate else 0.0

    def figures(self) -> LearningFigures:
        """See `Learner`."""
        samples = max(1, self._learnt)
        seconds = sum(phase.duration for phase in phases_of(self.rule, False))
        bounds, plastic = self.rule.bounds, self._links.plastic()
        saturated = {} if bounds is None else {link.name: float(np.isin(self.weights[link.name], bounds).mean())
                                               for link in plastic}
        angles, norms = {}, {}
        for name, matrix in self._feedback.items():
            same = self._product(name)
            size, other = float(np.linalg.norm(matrix)), float(np.linalg.norm(same))
            if size and other:
                cosine = float((matrix * same).sum()) / (size * other)
                angles[name], norms[name] = float(np.degrees(np.arccos(np.clip(cosine, -1, 1)))), size / other
        found = LearningFigures(
            saturated, {name: total / samples for name, total in self._changed.items()},
            {link.name: float(np.linalg.norm(self.weights[link.name])) for link in plastic},
            {name: total / (samples * seconds * self._links.sizes[name]) for name, total in self._spikes.items()},
            {}, angles, norms)
        self._forget()
        return found

