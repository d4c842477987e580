"""The meaning of a learning rule in continuous time: the oracle of the event engine. Plain numpy, float64, a sample at
a time.

Traces, dendrites and tags are sums of exponentials between instants (`learning_courses`), membranes as in `exact`. An
instant is when something reaches a neuron, a membrane passes its threshold or the edge of a box, or an error
interneuron fires; what happens at one, in order: neurons, traces with the spikes of that instant, gates of the
membranes before their resets, errors and dendrites, and then all updates of what was there before.

- A `step` term is an integral over time, divided by `rule.interval`; with x0 or y0 in it, it acts at spikes.
- err is constant between spikes of the outputs. Error interneurons integrate it, err / interval a second, fire as they
  reach their threshold, and take that off. Those that spikes and a teacher drive are tested when one of these comes.
- A dendrite that holds nothing (dendrite_tau 0) has what error spikes bring at their instant alone; as a current it
  lasts an interval. A layered error, Kolen-Pollack and copies of transposed weights come at the end of a sample.
- Several events of a source at one instant count each, in x0 and in its traces.
- Noise comes as Poisson spikes of both signs, of a rate drawn from low..high, per interval.
- With several samples at once weights are frozen, and what each sample takes is averaged, or summed. One by one,
  weights change at once. They are clipped to the bounds where an update has just come, at the end, and, where they
  change between instants, when a spike uses them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from ..diagnostics import Diagnostics, UnsupportedError
from ..events import Events
from ..graph import Graph
from ..membranes import Membranes
from ..nodes import Array, Linear, Membrane
from .continuous import MOST_REWARDS, continuous_rule, phases_of
from .exact_run import Plastic, Sample
from .noise import Spike
from .rule import LearningRule
from .wiring import check_feedback, links_of, trace_rates, transposed

__all__ = ["ExactLearning"]


class ExactLearning:
    """A network that learns. `weights` by projection, (n_target, n_source), and `feedback` by hidden population,
    (n, n_out) or, layered, (n, n of the layer above), are read and written in place.

    Raises:
        BadInputError: there is no such output or projection (SC403).
        UnsupportedError: the graph or the rule asks for what continuous time cannot do (SC515, SC516).
    """

    def __init__(self, graph: Graph, rule: LearningRule, *, output: str | None = None,
                 projections: Iterable[str] | None = None, feedback: Mapping[str, Array] | None = None) -> None:
        self.rule, self.links, faults = rule, links_of(graph, rule, output, projections), Diagnostics()
        self.continuous = continuous_rule(rule, faults)
        check_feedback(self.links, rule, faults)
        nodes = graph.nodes
        self._nodes = [node for name in self.links.order if isinstance(node := nodes[name], Membrane)]
        self.rates = {link.name: trace_rates(rule, link, nodes[link.target], faults) for link in self.links.plastic()}
        faults.raise_if_errors(UnsupportedError)
        starts = np.concatenate([[0], np.cumsum([self.links.sizes[name] for name in self.links.order])])
        self._span = {name: slice(int(starts[i]), int(starts[i + 1])) for i, name in enumerate(self.links.order)}
        self.weights = {link.name: np.array(linear.weight, dtype=np.float64)
                        for link in self.links.links if isinstance(linear := nodes[link.name], Linear)}
        self.feedback = {name: np.array(value, dtype=np.float64) for name, value in (feedback or {}).items()}
        self.mean_reward, self.rewarded = 0.0, 0
        self._copy_feedback()

    @property
    def layered(self) -> bool:
        return self.rule.feedback is not None and self.rule.feedback.path == "layered"

    def learn(self, events: Mapping[str, Events], labels: Sequence[int], rate: float = 1.0,
              noise: Mapping[str, Sequence[Sequence[Spike]]] | None = None) -> list[Sample]:
        """One batch; with a batch of one, at once. `noise`: of the sleep that is due after it, by hidden population,
        the spikes of each sample of noise."""
        online, rule, feedback = len(labels) == 1, self.rule, self.rule.feedback
        before = {name: value.copy() for name, value in self.weights.items()}
        mean = self.mean_reward
        runs = [self._sample(events, number, label, online, rate, mean) for number, label in enumerate(labels)]
        share = 1.0 / len(labels) if rule.average else 1.0
        decays = feedback is not None and feedback.kind == "kolen_pollack"
        for number, plastic in enumerate(runs[0].plastic if runs else ()):
            link, weights = plastic.link, self.weights[plastic.link.name]
            taken = np.asarray(sum(run.plastic[number].taken for run in runs)) * (share * rate)
            lost = rate * share * len(labels) * feedback.decay if feedback is not None and decays else 0.0
            mirrored = link.source in self.links.hidden and lost != 0.0
            if not online:
                weights += taken
            if mirrored:
                weights -= lost * before[link.name]
                self.feedback[link.source] += taken.T - lost * self.feedback[link.source]
            if rule.bounds is not None:
                np.clip(weights, *rule.bounds, out=weights)
        self._copy_feedback()
        if noise:
            self._sleep(noise)
        return runs

    def _sample(self, events: Mapping[str, Events], number: int, label: int, online: bool, rate: float,
                mean: float) -> Sample:
        given: list[Spike] = []
        for name, each in events.items():
            times, indices = each.sample(number)
            given += [(float(time), name, int(index), 1) for time, index in zip(times, indices, strict=True)]
        run = self._begin(label, online, rate)
        for phase in phases_of(self.rule, False):
            run.play(phase, sorted(given))
        self._end(run, mean)
        return run

    def _begin(self, label: int, online: bool, rate: float = 1.0) -> Sample:
        links, continuous = self.links, self.continuous
        plastic = []
        for link in links.plastic():
            shape = links.sizes[link.target], links.sizes[link.source]
            plastic.append(Plastic(
                link, self.rates[link.name],
                {name: np.zeros(shape[1]) for name in continuous.traces if name[0] == "x"},
                {name: np.zeros(shape[0]) for name in continuous.traces if name[0] == "y"},
                {"t": np.zeros(shape), "d": np.zeros(shape)}, np.zeros(shape)))
        bias = np.concatenate([links.bias[name] for name in links.order])
        return Sample(links, continuous, Membranes.at_rest(self._nodes, bias), self._span, self.weights, plastic,
                      {} if self.layered else self.feedback, label, online, rate)

    def _end(self, run: Sample, mean: float) -> None:
        """The updates of the end of a sample. `mean`: of the rewards before this batch."""
        reward = 0.0
        if self.rule.error is not None and self.rule.error.code == "reward":
            got = float(run.prediction == run.label)
            reward = got - mean
            self.rewarded += 1
            self.mean_reward += (got - self.mean_reward) / min(self.rewarded, MOST_REWARDS)
        if self.layered:
            for name in reversed(self.links.hidden):
                (link,) = self.links.above(name)
                above = run.dendrite[link.target] * (run.opened[link.target] if run.gates else 1.0)
                run.dendrite[name] = self.feedback[name] @ above
        for each in run.plastic:
            run.apply(each, {"sample": np.ones_like(each.taken)}, run.membranes.voltage, reward)

    def _copy_feedback(self) -> None:
        feedback = self.rule.feedback
        if feedback is not None and feedback.kind == "transposed":
            for name in self.links.hidden:
                self.feedback[name] = transposed(self.links, self.weights, name, self.layered)

    def _sleep(self, noise: Mapping[str, Sequence[Sequence[Spike]]]) -> None:
        """`noise` of each hidden population, from the last to the first."""
        feedback, phase = self.rule.feedback, phases_of(self.rule, True)[0]
        if feedback is None:
            return
        for name in reversed(self.links.hidden):
            total = np.zeros_like(self.feedback[name])
            for given in noise[name]:
                run = self._begin(0, False)
                run.play(phase, given, noise_from=name)
                counts = run.counts
                if self.layered:
                    (link,) = self.links.above(name)
                    counts = np.bincount([each for _, at, each in run.spikes if at == link.target],
                                         minlength=self.links.sizes[link.target]).astype(float)
                drawn = np.zeros(self.links.sizes[name])
                for _, _, neuron, sign in given:
                    drawn[neuron] += sign
                values = {"x1": counts[None, :], "y1": drawn[:, None], "w": self.feedback[name]}
                for update in feedback.updates:
                    for term in update.terms:
                        found = np.full(total.shape, term.coefficient)
                        for factor in term.factors:
                            value = values[factor.variable] + factor.offset
                            found = found * (np.sign(value) if factor.sign else value)
                        total += found
            share = 1.0 / len(noise[name]) if self.rule.average else 1.0
            self.feedback[name] += share * total
