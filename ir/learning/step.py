"""What a learning rule means on a grid: the oracle. Plain numpy, float64, one sample after the other, every synapse
with its own tags.

A sample starts at rest, and passes through the phases without noise; each shows the input's columns from the first on,
and silence after the last. In a column:

    1. neurons, as `step` says, those with a dendrite under `inject` times it as it was (of `phase.inject`)
    2. traces: kept of them after one step, then what they take of this column's spikes; gates, of membranes before
       their reset. x0, y0: what source and target gave, the source's as it arrives over the projection
    3. where the phase teaches, from the column of `Error.start` on, err; its spikes; dendrites: kept, then what comes.
       With dendrite_tau 0 a dendrite stays as it is where there is no err
    4. step, pre, post and error updates, all from w, t and d as they were; `error` where any err or error spike other
       than zero reaches the dendrite

Then a layered error goes back, r is known, and `sample` updates follow. With a batch of one every update is applied at
once. With several samples w and feedback stay as they are until the last, and take the mean of all updates, or the sum.
Weights are clipped before and after that, biases and feedback are not. `rate` multiplies the updates of weights and
biases, and of feedback that takes theirs. Then sleep: for each time that a phase with noise was due, its `samples` at
once.

err, of outputs that gave s in this column and c in the sample so far, with o = 1 for the label, 0 for the others:
softmax(slope c) - o; count: (c - high o - low (1 - o)) / columns of all phases without noise; spike: s - T, where T = o
in each `period`-th column; trace: the trace of s less that of T; local: B_l^T (trace of the layer's own spikes) - o,
for the output the trace itself - o; reward: 0. r: 1 where the answer is the label, less its mean over the last samples,
of which each new one is 1/100, at first 1/n. The answer: the output that fired most in phases without `inject`; of
several the one of the highest membrane in the last column, before its reset.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

import numpy as np

from ..graph import Graph
from ..grid import Discretization
from ..nodes import Array
from ..stateless import through
from ..step import GridRun
from ..wiring import Wiring
from .errors import Errors
from .layout import LearningLayout, columns_of_phase, kept_in_a_step, learning_layout
from .rule import Feedback, Gate, LearningRule, Phase, Trace
from .synapses import Synapses, factor_value, gate_value

__all__ = ["LearningState", "LearningStep", "NoiseSource", "simulate_learning", "weights_above"]

NoiseSource = Callable[[Phase, str, int, int, int], Array]
"""(phase, layer, samples, columns, n) -> (samples, columns, n): positive less negative spikes."""


@dataclass(frozen=True, slots=True, eq=False)
class LearningState:
    """`weights` (post, pre) and `biases` (post,) by projection, `feedback` (n, n_above) by hidden layer, the number of
    samples `seen`, the mean of the `reward`."""

    weights: Mapping[str, Array]
    biases: Mapping[str, Array] = field(default_factory=dict)
    feedback: Mapping[str, Array] = field(default_factory=dict)
    seen: int = 0
    reward: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class LearningStep:
    """`state` after a batch; `counts` (batch, n_out), `predictions` (batch,), `error`: the mean of |err|, `spikes` by
    neuron node."""

    state: LearningState
    counts: Array
    predictions: Array
    error: float
    spikes: Mapping[str, int]


def simulate_learning(graph: Graph, rule: LearningRule, state: LearningState, raster: Any, labels: Any,
                      output: str | None = None, projections: Sequence[str] | None = None, rate: float = 1.0,
                      noise: NoiseSource | None = None) -> LearningStep:
    """Learns from one batch. `raster` (batch, time, *shape), or by input node; `labels` (batch,).

    Raises:
        UnsupportedError: what `learning_layout` says.
    """
    layout = learning_layout(graph, rule, output, projections)
    given = raster if isinstance(raster, Mapping) else {graph.inputs[0]: raster}
    rasters = {name: np.asarray(array, dtype=np.float64) for name, array in given.items()}
    net = _Net(graph, rule, layout, state, rate)
    net.refresh()
    shown = []
    for sample, label in enumerate(labels):
        shown.append(_Sample(net, {name: array[sample:sample + 1] for name, array in rasters.items()}, int(label),
                             online=len(labels) == 1).learnt())
    net.apply(len(labels))
    for phase in rule.phases:
        due = (state.seen + len(labels)) // phase.every - state.seen // phase.every
        if phase.noise is not None and due and noise is not None:
            _sleep(net, phase, due * phase.samples, noise)
    spikes = {name: sum(int(each.run.spikes[name].sum()) for each in shown) for name in shown[0].run.spikes}
    return LearningStep(
        net.state(state.seen + len(labels)), np.stack([each.counts for each in shown]),
        np.array([each.prediction for each in shown]), float(np.mean([each.error for each in shown])), spikes)


def weights_above(graph: Graph, weights: Mapping[str, Array], layer: str, above: str,
                  recurrent: frozenset[tuple[str, str]]) -> Array:
    """(n_above, n): the product of the forward weights between two layers, summed over all ways from one to the other,
    neurons counted as the identity."""
    wiring = Wiring(graph)
    n = int(np.prod(wiring.shapes[layer].output))
    found: dict[str, Array] = {}
    order = [name for name in _forward_order(graph, recurrent) if name == layer or any(
        (source, name) not in recurrent for source in graph.sources[name])]
    found[layer] = np.eye(n).reshape(n, *wiring.shapes[layer].output)
    for name in order:
        given = [found[source] for source in graph.sources[name]
                 if source in found and (source, name) not in recurrent]
        if name == layer or not given:
            continue
        node = graph.nodes[name]
        total = sum(given[1:], given[0])
        if name in weights:
            node = replace(node, weight=weights[name], **({"bias": np.zeros(len(weights[name]))} if hasattr(
                node, "bias") else {}))  # type: ignore[call-arg]
        found[name] = total if name in wiring.span else through(node, total)
    return found[above].reshape(n, -1).T if above in found else np.zeros((int(np.prod(wiring.shapes[above].output)), n))


def _forward_order(graph: Graph, recurrent: frozenset[tuple[str, str]]) -> list[str]:
    left, order = list(graph.nodes), []
    while left:
        ready = next(name for name in left if all(
            source in order or (source, name) in recurrent for source in graph.sources[name]))
        order.append(ready)
        left.remove(ready)
    return order


class _Net:
    """What stays between samples: the weights, and in batches the sums of their updates."""

    def __init__(self, graph: Graph, rule: LearningRule, layout: LearningLayout, state: LearningState,
                 rate: float) -> None:
        self.graph, self.rule, self.layout, self.rate = graph, rule, layout, rate
        self.grid = cast(Discretization, graph.discretization)  # `learning_layout` has seen that there is one
        self.dt = self.grid.dt
        self.wiring = Wiring(graph)
        self.weights = {name: np.clip(np.array(array, dtype=np.float64), *(rule.bounds or (-np.inf, np.inf)))
                        for name, array in state.weights.items()}
        self.biases = {name: np.array(array, dtype=np.float64) for name, array in state.biases.items()}
        self.feedback = {name: np.array(array, dtype=np.float64) for name, array in state.feedback.items()}
        self.reward, self.rewarded = state.reward, state.seen
        self.mean_reward = state.reward
        self.recurrent = GridRun(self.wiring, self.grid, {}, 1, 0).recurrent
        self.kind = rule.feedback.kind if rule.feedback is not None else "none"
        self.taken: dict[tuple[str, str], Array] = {}

    def state(self, seen: int) -> LearningState:
        return LearningState(self.weights, self.biases, self.feedback, seen, self.reward)

    def refresh(self) -> None:
        """Copies forward weights into transposed feedback."""
        if self.kind == "transposed":
            for name, above in self.layout.above.items():
                self.feedback[name] = weights_above(self.graph, self.weights, name, above, self.recurrent).T

    def take(self, changes: Mapping[tuple[str, str], Array], online: bool) -> None:
        """Updates of one sample: of `weights`, `biases` and `feedback`; what of weights decays, and what of feedback
        `mirrors` them."""
        if online:
            self._add(changes)
            return
        for key, change in changes.items():
            self.taken[key] = self.taken.get(key, 0.0) + change

    def apply(self, batch: int) -> None:
        """What a batch has brought together."""
        self._add({key: change / batch if self.rule.average else change for key, change in self.taken.items()})
        self.taken = {}

    def _add(self, changes: Mapping[tuple[str, str], Array]) -> None:
        for (what, name), change in changes.items():
            if what == "feedback":
                self.feedback[name] = self.feedback[name] + change
            elif what == "biases":
                self.biases[name] = self.biases[name] + self.rate * change
            elif what == "mirrors":
                self.feedback[name] = self.feedback[name] + self.rate * change
        for name in {name for what, name in changes if what in ("weights", "decays")}:
            change = changes.get(("weights", name), np.zeros(()))
            self.weights[name] = self.weights[name] + self.rate * (change + changes.get(("decays", name), 0.0))
            if self.rule.bounds is not None:
                self.weights[name] = np.clip(self.weights[name], *self.rule.bounds)
        self.refresh()

    def noted(self, rewarded: float) -> None:
        """Takes a reward into its mean, which a batch sees at its end."""
        self.rewarded += 1
        self.reward += (rewarded - self.reward) / min(self.rewarded, 100)


class _Run(GridRun):
    """A run whose weights are those of now, whose neurons take an injected current, and whose layers may be noise."""

    def __init__(self, net: _Net, rasters: Mapping[str, Array], columns: int) -> None:
        super().__init__(net.wiring, net.grid, rasters, 1, columns)
        self.net = net
        self.steady = {name: cells.bias for name, cells in self.cells.items()}
        self.replaced: dict[str, Array] = {}
        self.silent: set[str] = set()

    def take(self, column: int, injected: Mapping[str, Array]) -> None:
        for name, weight in self.net.weights.items():
            self.delayed[name] = {0: replace(self.graph.nodes[name], weight=weight)}  # type: ignore[call-arg]
        for name, cells in self.cells.items():
            cells.bias = self.steady[name] + self._learnt_bias(name)
            if name in injected:
                cells.bias = cells.bias + injected[name].reshape(cells.bias.shape)
        self.advance(column)

    def _learnt_bias(self, name: str) -> Any:
        total: Any = 0.0
        for plastic in self.net.layout.plastic:
            if plastic.target == name and plastic.name in self.net.biases:
                node: Any = self.graph.nodes[plastic.name]
                change = self.net.biases[plastic.name] - node.bias.astype(np.float64)
                total = total + change.reshape(self.steady[name].shape)
        return total

    def gives(self, name: str, column: int) -> Array:
        if name in self.replaced:
            return self.replaced[name][:, column]
        if name in self.silent:
            return np.zeros((self.batch, *self.wiring.shapes[name].output))
        return super().gives(name, column)

    def arrived(self, source: str, column: int, late: int) -> Array:
        """(n,): what a node gave `late` columns ago."""
        if column < late:
            return np.zeros(int(np.prod(self.wiring.shapes[source].output)))
        given = self.rasters[source] if source in self.rasters else self.spikes[source]
        found: Array = given[0, column - late].reshape(-1)
        return found


class _Sample:
    """One sample through the phases without noise."""

    def __init__(self, net: _Net, rasters: Mapping[str, Array], label: int, online: bool) -> None:
        self.net, self.rule, self.layout, self.label, self.online = net, net.rule, net.layout, label, online
        length = max(array.shape[1] for array in rasters.values())
        self.phases = [phase for phase in net.rule.phases if phase.noise is None] or [Phase("sample", length * net.dt)]
        self.noisy = frozenset(phase.name for phase in net.rule.phases if phase.noise is not None)
        lasts = [columns_of_phase(phase, net.dt) for phase in self.phases]
        self.run = _Run(net, {name: np.concatenate([_resized(array, n) for n in lasts], axis=1)
                              for name, array in rasters.items()}, sum(lasts))
        self.lasts = lasts
        self.erring = None if net.rule.error is None else Errors(net.rule.error, net.layout, net.dt, sum(lasts), label)
        self.dendrite = {name: np.zeros(net.layout.size[name]) for name in (net.layout.output, *net.layout.hidden)}
        self.reaches = {name: np.zeros(array.shape) for name, array in self.dendrite.items()}
        self.opened = {name: np.zeros(array.shape, dtype=bool) for name, array in self.dendrite.items()}
        self.learners = dict(self._learners())
        self.counts = np.zeros(net.layout.size[net.layout.output])
        self.membrane = np.zeros(self.counts.shape)
        self.errors: list[float] = []
        self.prediction = 0

    @property
    def error(self) -> float:
        return float(np.mean(self.errors)) if self.errors else 0.0

    def learnt(self) -> _Sample:
        column = 0
        answering = [phase for phase in self.phases if phase.inject == 0.0] or self.phases
        for phase, last in zip(self.phases, self.lasts, strict=True):
            for within in range(last):
                self.run.take(column, {name: phase.inject * dendrite for name, dendrite in self.dendrite.items()}
                              if phase.inject else {})
                self._column(phase, within, column)
                if phase in answering:
                    self.counts = self.counts + self._given(self.layout.output, column)
                    self.membrane = self.run.cells[self.layout.output].reached.reshape(-1)
                column += 1
        best = np.flatnonzero(self.counts == self.counts.max())
        self.prediction = int(best[np.argmax(self.membrane[best])])
        self._end(column)
        return self

    def _learners(self) -> Iterator[tuple[tuple[str, str], Synapses]]:
        net, feedback = self.net, self.rule.feedback
        for plastic in self.layout.plastic:
            if plastic.target in self.layout.hidden and feedback is not None and feedback.kind == "none":
                continue
            rows, columns = net.weights[plastic.name].shape
            yield ("weights", plastic.name), self._synapses((rows, columns + plastic.bias), self.rule, plastic.target)
        if feedback is not None and feedback.kind == "learned" and feedback.updates:
            for layer in self.layout.above:
                yield ("feedback", layer), self._synapses(net.feedback[layer].shape, feedback, layer)

    def _synapses(self, shape: tuple[int, ...], of: LearningRule | Feedback, target: str) -> Synapses:
        variables = of.variables if isinstance(of, LearningRule) else of.traces
        node: Any = self.net.graph.nodes[target]
        kept = {each.name: kept_in_a_step(each.tau, node, self.net.grid) for each in variables
                if isinstance(each, Trace)}
        for each in variables:
            if isinstance(each, Trace) and each.name[0] == "x":
                kept[each.name] = np.asarray(kept[each.name]).flat[0].reshape(())
        spread: dict[str, Any] = {name: array if array is None or not array.ndim else np.broadcast_to(
            array, node.shape).reshape(-1) for name, array in kept.items()}
        return Synapses((shape[0], shape[1]), variables, of.updates, spread, self.net.dt)

    def _given(self, name: str, column: int) -> Array:
        return self.run.arrived(name, column, 0) if name in self.run.spikes else np.zeros(self.layout.size[name])

    def _seen_by(self, key: tuple[str, str], column: int) -> tuple[Array, str]:
        """x0 of a projection, and its target."""
        what, name = key
        if what == "feedback":
            return self._given(self.layout.above[name], column), name
        plastic = next(each for each in self.layout.plastic if each.name == name)
        x0 = self.run.arrived(plastic.source, column, plastic.late)
        return (np.append(x0, 1.0) if plastic.bias else x0), plastic.target

    def _column(self, phase: Phase, within: int, column: int) -> None:
        for key, learner in self.learners.items():
            x0, target = self._seen_by(key, column)
            cells = self.run.cells[target]
            learner.see(x0, self._given(target, column), cells.reached.reshape(-1), _flat(cells),
                        phase.name)
        gate = next((each for each in self.rule.variables if isinstance(each, Gate) and each.shape != "membrane"), None)
        for name, opened in self.opened.items():
            cells = self.run.cells[name]
            if gate is None:
                self.opened[name] = np.ones_like(opened)
            else:
                self.opened[name] = opened | (gate_value(gate, cells.reached.reshape(-1), _flat(cells)) != 0)
        self._err(phase, within, column)
        self._update(("step", "pre", "post", "error"), phase.name, column)

    def _err(self, phase: Phase, within: int, column: int) -> None:
        error, net, layout = self.rule.error, self.net, self.layout
        if error is None or self.erring is None:
            return
        active = phase.teach and within >= round(error.start / net.dt)
        given = {name: self._given(name, column) for name in (layout.output, *layout.hidden)}
        err, back = self.erring.column(given, net.feedback, within - round(error.start / net.dt) if active else None)
        tau = error.dendrite_tau
        kept = 1.0 if tau is None else float(np.exp(-net.dt / tau)) if tau > 0 else 0.0
        if active:
            self.errors.append(float(np.abs(err[layout.output]).mean()))
        elif tau == 0.0:
            kept = 1.0
        layered = self.rule.feedback is not None and self.rule.feedback.path == "layered"
        for name in self.dendrite:
            own = back[name] if name in back else back[layout.output]
            if name == layout.output:
                comes, reaches = own, own != 0
            elif name in layout.above and not layered:
                comes = net.feedback[name] @ own
                reaches = np.full(comes.shape, bool((own != 0).any()))
            else:
                comes, reaches = np.zeros(layout.size[name]), np.zeros(layout.size[name], dtype=bool)
            self.dendrite[name] = kept * self.dendrite[name] + comes
            self.reaches[name] = reaches.astype(np.float64)

    def _update(self, kinds: Sequence[str], phase: str | None, column: int) -> None:
        found = {}
        for key, learner in self.learners.items():
            _, target = self._seen_by(key, column)
            nothing = np.zeros(self.layout.size[target])
            learner.values["e"] = self.dendrite.get(target, nothing)[:, None]
            w = self.net.feedback[key[1]] if key[0] == "feedback" else self.net.weights[key[1]]
            if key[0] == "weights" and learner.t.shape != w.shape:
                w = np.concatenate([w, self.net.biases[key[1]][:, None]], axis=1)
            found[key] = learner.changes(w, kinds, phase, column, self.noisy,
                                         self.reaches.get(target, nothing)[:, None])
        changes = {}
        for (what, name), change in found.items():
            self.learners[what, name].t += change["t"]
            self.learners[what, name].d += change["d"]
            w = change["w"]
            if what == "weights" and w.shape[1] > self.net.weights[name].shape[1]:
                changes["biases", name] = w[:, -1]
                w = w[:, :-1]
            changes[what, name] = w
        if self.net.kind == "kolen_pollack":
            for layer, forward in self.layout.forward.items():
                changes["mirrors", layer] = changes["weights", forward].T
                if kinds == ("sample",):
                    decay = self.rule.feedback.decay  # type: ignore[union-attr]
                    changes["mirrors", layer] = changes["mirrors", layer] - decay * self.net.feedback[layer]
                    changes["decays", forward] = -decay * self.net.weights[forward]
        if any(change.any() for change in changes.values()):
            self.net.take(changes, self.online)

    def _end(self, columns: int) -> None:
        net, layout, feedback = self.net, self.layout, self.rule.feedback
        if feedback is not None and feedback.path == "layered":
            for layer in reversed(layout.hidden):
                if layer in layout.above:
                    above = layout.above[layer]
                    self.dendrite[layer] = net.feedback[layer] @ (self.dendrite[above] * self.opened[above])
        if self.rule.error is not None and self.rule.error.code == "reward":
            rewarded = float(self.prediction == self.label)
            for learner in self.learners.values():
                learner.values["r"] = rewarded - net.mean_reward
            net.noted(rewarded)
        self.reaches = {name: np.zeros_like(array) for name, array in self.reaches.items()}
        self._update(("sample",), None, columns - 1)


def _sleep(net: _Net, phase: Phase, samples: int, noise: NoiseSource) -> None:
    """A phase with noise, for the layers from the last to the first."""
    feedback = net.rule.feedback
    if feedback is None or feedback.kind != "learned":
        return
    columns = columns_of_phase(phase, net.dt)
    for layer in reversed(net.layout.hidden):
        if layer not in net.layout.above:
            continue
        above, shape = net.layout.above[layer], net.wiring.shapes[layer].output
        drawn = noise(phase, layer, samples, columns, net.layout.size[layer])
        total = np.zeros_like(net.feedback[layer])
        for sample in range(samples):
            run = _Run(net, {}, columns)
            run.silent = set(run.cells) - _after(run, layer)
            run.replaced[layer] = drawn[sample:sample + 1].reshape(1, columns, *shape).astype(np.float64)
            for column in range(columns):
                run.take(column, {})
            for update in feedback.updates:
                if phase.name in update.phases:
                    values = {"x1": run.spikes[above][0].sum(0).reshape(1, -1),
                              "y1": drawn[sample].sum(0).reshape(-1, 1), "w": net.feedback[layer]}
                    for term in update.terms:
                        product: Any = term.coefficient
                        for factor in term.factors:
                            product = product * factor_value(factor, values)
                        total = total + product
        net.feedback[layer] = net.feedback[layer] + (total / samples if net.rule.average else total)


def _after(run: GridRun, layer: str) -> set[str]:
    """The nodes that the spikes of a layer reach, itself left out unless it reaches itself."""
    found: set[str] = set()
    ahead = [layer]
    while ahead:
        for target in run.graph.targets[ahead.pop()]:
            if target not in found:
                found.add(target)
                ahead.append(target)
    return found


def _flat(cells: Any) -> Array | None:
    return None if cells.bar is None else np.broadcast_to(cells.bar, cells.reached.shape).reshape(-1)


def _resized(array: Array, columns: int) -> Array:
    missing = columns - array.shape[1]
    if missing <= 0:
        return array[:, :columns]
    return np.concatenate([array, np.zeros((len(array), missing, *array.shape[2:]))], axis=1)
