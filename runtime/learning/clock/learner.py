"""The learner of the clock target: batches on a grid, in torch. `ir/learning/step.py` says what it computes.

Weights that stay as they are within a batch meet what the batch brings in one product for each projection (`adjoint`);
what has no such form is kept synapse by synapse (`dense`), as are weights that change within a sample of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from ....ir.diagnostics import BadInputError, Diagnostic, Diagnostics
from ....ir.graph import Graph
from ....ir.learning.layout import columns_of_phase, learning_layout
from ....ir.learning.rule import Gate, LearningRule, Phase
from ....ir.nodes import Affine, Array, Linear, Neuron
from ...clock.engine import ClockEngine
from ...clock.inputs import given_by_name, rasters_of
from ..arguments import Rest, check_seed, checked_rate, checked_rates, require_samples
from ..learner import Answer, LearningFigures
from ..states import require_state
from .adjoint import contracted
from .dense import DenseTags, replayed
from .errors import Dendrites, Errors
from .feedback import Ideal, started
from .figures import Tally
from .forward import Forward
from .links import Link, Schedule, links_of, reads_gates
from .noise import signed_noise
from .optimizers import LocalOptimizer, Optimized
from .plan import products_of
from .variables import Variables, gate_values

__all__ = ["ClockLearner"]

Changes = dict[tuple[str, str], Tensor]
"""Of `weights` and `biases` by projection, of `feedback` by hidden layer."""


class ClockLearner:
    """See `Learner`. A batch of one learns as it goes: what a rule changes within a sample is changed at once.

    `weights` (post, pre) and `biases` (post,) by projection, `feedback` (n, n_above) by hidden layer.
    """

    def __init__(self, engine: ClockEngine, rule: LearningRule, output: str | None, projections: Sequence[str] | None,
                 seed: int, dtype: torch.dtype, device: torch.device,
                 optimizer: LocalOptimizer | None = None) -> None:
        faults = Diagnostics()
        check_seed(seed, faults)
        faults.raise_if_errors()
        self.engine, self.rule, self._rate, self.dtype, self.device = engine, rule, 1.0, dtype, device
        self.layout = learning_layout(engine.graph, rule, output, projections)
        self.weights: dict[str, Tensor] = {}
        self.biases: dict[str, Tensor] = {}
        for plastic in self.layout.plastic:
            node = cast(Linear, engine.graph.nodes[plastic.name])
            self.weights[plastic.name] = torch.from_numpy(np.array(node.weight)).to(device, dtype).contiguous()
            if rule.bounds is not None:
                self.weights[plastic.name].clamp_(*rule.bounds)
            if plastic.bias and isinstance(node, Affine):
                self.biases[plastic.name] = torch.from_numpy(np.array(node.bias)).to(device, dtype)
        self.schedule = Schedule(rule, engine.grid.dt)
        self.links = links_of(engine, rule, self.layout, self.schedule, dtype, device)
        self.gate = next((each for each in rule.variables if isinstance(each, Gate) and each.shape != "membrane"), None)
        self.layered = rule.feedback is not None and rule.feedback.path == "layered" and bool(self.layout.above)
        masked = {self.layout.output, *self.layout.hidden} if self.layered and self.gate is not None else set()
        self.forward = Forward(engine, self.layout, self.weights, self.biases, reads_gates(self.links) | masked, dtype,
                               device)
        self.ideal = Ideal(engine, self.layout, self.weights, self.forward.own)
        self.generator = torch.Generator().manual_seed(int(seed))
        self.kind = "none" if rule.feedback is None else rule.feedback.kind
        self.feedback = {} if rule.feedback is None else started(rule.feedback, self.ideal, self.layout,
                                                                 self.generator)
        self.optimized = Optimized(optimizer or LocalOptimizer(), {"weights": self.weights, "biases": self.biases})
        self.changes = any(link.changes for link in self.links)
        self.seen, self.reward = 0, 0.0
        self.tally = Tally(self)
        self._rest = Rest(max(self.schedule.lasts) * engine.grid.dt, engine.grid.dt)

    # What a learner offers

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

    @torch.no_grad()
    def learn(self, events: Any, labels: Array) -> Answer:
        """One batch. See `Learner.learn`.

        Raises:
            BadInputError: the input is malformed (SC405), or a label is (SC506), or there are no samples (SC505).
        """
        inputs, batch = self._inputs(events)
        marks = self._labels(labels, batch)
        self.tally.begin()
        online = batch == 1 and self.changes
        answer = self._shown(inputs, marks, batch, online)
        asleep = self.seen
        self.seen += batch
        for phase in self.rule.phases:
            due = self.seen // phase.every - asleep // phase.every
            if phase.noise is not None and due:
                self._sleep(phase, due * phase.samples)
        self.tally.end(answer, batch)
        return answer

    @torch.no_grad()
    def answer(self, events: Any) -> Answer:
        """The same without learning: phases that inject an error are left out."""
        inputs, batch = self._inputs(events)
        kept = [column for column, taken in enumerate(self.schedule.answering) if taken]
        given = {name: array[kept] for name, array in inputs.items()} if len(kept) < self.schedule.columns else inputs
        self.forward.start(batch, len(kept), given)
        for column in range(len(kept)):
            self.forward.advance(column, {})
        return self._answered(slice(0, len(kept)), self.forward.voltage(self.layout.output), {})

    def figures(self) -> LearningFigures:
        """See `Learner.figures`."""
        return self.tally.figures()

    def state(self) -> dict[str, Array]:
        """See `Learner.state`."""
        found = {f"{what}/{name}": each.detach().cpu().numpy().copy()
                 for what, table in (("weights", self.weights), ("biases", self.biases), ("feedback", self.feedback))
                 for name, each in table.items()}
        return {**found, **self.optimized.state(), "generator": self.generator.get_state().numpy().copy(),
                "seen": np.array(self.seen), "reward": np.array(self.reward), "rate": np.array(self.rate)}

    def load(self, state: Mapping[str, Array]) -> None:
        """See `Learner.load`."""
        require_state(state, self.state())
        self.rate = float(state["rate"])
        for what, table in (("weights", self.weights), ("biases", self.biases), ("feedback", self.feedback)):
            for name, each in table.items():
                each.copy_(torch.from_numpy(np.array(state[f"{what}/{name}"])))
        self.optimized.load(state)
        self.generator.set_state(torch.from_numpy(np.array(state["generator"])))
        self.seen, self.reward = int(state["seen"]), float(state["reward"])
        self.tally = Tally(self)

    def to_graph(self) -> Graph:
        """See `Learner.to_graph`."""
        changed: dict[str, Any] = {}
        for name, weight in self.weights.items():
            node: Any = self.engine.graph.nodes[name]
            biases = {"bias": self.biases[name].cpu().numpy().astype(node.bias.dtype)} if name in self.biases else {}
            changed[name] = replace(node, weight=weight.cpu().numpy().astype(node.weight.dtype), **biases)
        return self.engine.graph.with_nodes(changed)

    # A batch

    def _inputs(self, events: Any) -> tuple[dict[str, Tensor], int]:
        """(columns, batch, n) by input node, over all phases without noise."""
        grid = self.engine.grid
        duration = max(self.schedule.lasts) * grid.dt
        require_samples(given_by_name(self.engine, events, duration, None)[2])
        rasters, batch = rasters_of(self.engine, events, duration, self.dtype, self.device)
        self._rest.tell(events)
        found = {}
        for name, shown in rasters.items():
            parts = [shown[:last] for last in self.schedule.lasts]
            found[name] = parts[0] if len(parts) == 1 else torch.cat(parts)
        return found, batch

    def _labels(self, labels: Any, batch: int) -> Tensor:
        given = np.asarray(labels.detach().cpu() if isinstance(labels, Tensor) else labels)
        n = self.layout.size[self.layout.output]
        whole = given.shape == (batch,) and np.issubdtype(given.dtype, np.integer)
        if not whole or (self.rule.error is not None and ((given < 0) | (given >= n)).any()):
            raise BadInputError(Diagnostic("SC506", "labels are whole numbers, one a sample",
                                           value=f"{given.dtype} {given.shape}", limit=f"({batch},), 0 to {n - 1}"))
        return torch.from_numpy(given.astype(np.int64)).to(self.device)

    def _shown(self, inputs: Mapping[str, Tensor], labels: Tensor, batch: int, online: bool) -> Answer:
        rule, schedule, forward = self.rule, self.schedule, self.forward
        self._refresh()
        forward.start(batch, schedule.columns, inputs, hoist=not online)
        like = next(iter(self.weights.values()))
        errors = dendrites = None
        if rule.error is not None:
            dt = self.engine.grid.dt
            errors = Errors(rule.error, self.layout, dt, schedule.columns, labels, self.dtype)
            dendrites = Dendrites(rule.error, self.layout, self.layered, dt, schedule.columns, batch, online, like)
        variables = [self._variables(link, dendrites, batch) for link in self.links]
        tags = [DenseTags(link.step, link.sample, each, self._whole(link), slice(0, 1), link.bias)
                for link, each in zip(self.links, variables, strict=True)] if online else []
        last = max(column for column, taken in enumerate(schedule.answering) if taken)
        for column, phase, since in schedule:
            forward.advance(column, self._injected(phase, column, dendrites))
            if column == last:
                membrane = forward.voltage(self.layout.output)
            for link, each in zip(self.links, variables, strict=True):
                if link.late and column >= link.late:
                    each.ends["x0"][column] = forward.spikes[link.source][column - link.late]
            if errors is not None and dendrites is not None:
                given = {name: forward.spikes[name][column] for name in (self.layout.output, *self.layout.hidden)}
                dendrites.column(column, errors.column(given, self.feedback, since), self.feedback, since is not None)
            if online:
                self._apply([(link, each.column(column, self._whole(link))) for link, each in zip(
                    self.links, tags, strict=True)])
        answer = self._answered(torch.tensor(schedule.answering), membrane, _errors(errors, self.device))
        self._end(variables, dendrites, labels, answer)
        if online:
            self._apply([(link, each.end(schedule.columns - 1, self._whole(link))) for link, each in zip(
                self.links, tags, strict=True)], end=1)
        else:
            self._apply_together(variables, batch)
        return answer

    def _variables(self, link: Link, dendrites: Dendrites | None, batch: int) -> Variables:
        forward, layout = self.forward, self.layout
        x0 = forward.spikes.get(link.source)
        if x0 is None or link.late:  # an input that nothing is given to, or spikes that are under way
            like = next(iter(self.weights.values()))
            x0 = like.new_zeros((self.schedule.columns, batch, layout.size[link.source]))
        own: dict[str, Any] = {}
        if dendrites is not None:
            own = {"e": lambda columns: dendrites.rows(link.target, columns, self.feedback),
                   "reached": lambda columns: dendrites.reached(link.target, columns)}
        neurons = forward.neurons[link.target]
        bar = forward.bars.get(link.target, neurons.threshold)
        return Variables(link.variables, link.kept, link.taking, x0, forward.spikes[link.target],
                         forward.reached.get(link.target), bar, own)

    def _injected(self, phase: Phase, column: int, dendrites: Dendrites | None) -> dict[str, Tensor]:
        if not phase.inject or dendrites is None or not column:
            return {}
        before = slice(column - 1, column)
        return {name: phase.inject * dendrites.rows(name, before, self.feedback)[0]
                for name in (self.layout.output, *self.layout.hidden)}

    def _end(self, variables: Sequence[Variables], dendrites: Dendrites | None, labels: Tensor,
             answer: Answer) -> None:
        """Errors go back layer by layer, and the reward is known."""
        if dendrites is None or self.rule.error is None:
            return
        if self.layered:
            dendrites.go_back(self.feedback, {name: self._opened(name) for name in (
                self.layout.output, *self.layout.hidden)})
        reward = torch.zeros((len(labels), 1), dtype=self.dtype, device=self.device)
        if self.rule.error.code == "reward":
            right = answer.predictions == labels.cpu().numpy()
            reward[:, 0] = torch.from_numpy(right - self.reward).to(reward)
            for number, each in enumerate(right, self.seen + 1):
                self.reward += (float(each) - self.reward) / min(number, 100)
        for link, each in zip(self.links, variables, strict=True):
            each.final = {"e": dendrites.at_end(link.target, self.feedback), "r": reward}

    def _opened(self, name: str) -> Tensor | None:
        """(batch, n): 1 where a gate of a layer has opened."""
        if self.gate is None:
            return None
        reached = self.forward.reached[name]
        bar = self.forward.bars.get(name, self.forward.neurons[name].threshold)
        return (gate_values(self.gate, reached, bar) != 0).any(0).to(self.dtype)

    def _answered(self, columns: Any, membrane: Tensor, errors: Mapping[str, float]) -> Answer:
        """What the output says; of several outputs that fired most, the one of the highest membrane."""
        forward = self.forward
        counts = forward.spikes[self.layout.output][columns].sum(0) if (
            self.layout.output in forward.spikes) else torch.zeros_like(membrane)
        most = counts == counts.amax(1, keepdim=True)
        predictions = torch.where(most, membrane, -torch.inf).argmax(1)
        spikes = {name: int(each.sum((1, 2)).double().sum()) for name, each in forward.spikes.items()
                  if isinstance(self.engine.graph.nodes[name], Neuron)}
        return Answer(counts.cpu().numpy(), predictions.cpu().numpy(), spikes, errors)

    # Changes

    def _whole(self, link: Link) -> Tensor:
        """The weights of a link, with the bias as the last column where it learns."""
        if link.kind == "feedback":
            return self.feedback[link.name]
        weight = self.weights[link.name]
        return torch.cat([weight, self.biases[link.name][:, None]], dim=1) if link.bias else weight

    def _apply_together(self, variables: Sequence[Variables], batch: int) -> None:
        """What a batch has brought to weights that stayed as they were."""
        found: list[tuple[Link, Tensor | None]] = []
        for link, each in zip(self.links, variables, strict=True):
            held = self.feedback if link.kind == "feedback" else self.weights
            bias = self.biases[link.name] if link.bias else None
            way = contracted if link.linear else replayed
            change, of_bias = way(link.step, link.sample, each, held[link.name], bias)
            if of_bias is not None:
                change = torch.cat([change, of_bias[:, None]], dim=1)
            found.append((link, change[None] if not self.rule.average else change.div_(batch)[None]))
        self._apply(found, end=1 if self.rule.average else batch)

    def _apply(self, found: Sequence[tuple[Link, Tensor | None]], end: int = 0) -> None:
        """Adds changes, each (1, post, pre) or what spreads over that, all at once. `end`: samples that end with it."""
        changes: Changes = {}
        for link, change in found:
            if change is None:
                continue
            whole = change.expand(1, *self._whole(link).shape)[0]
            if link.bias:
                changes["biases", link.name] = whole[:, -1]
                whole = whole[:, :-1]
            changes[link.kind, link.name] = whole
        for (what, name), change in changes.items():
            if what != "feedback":
                table = self.weights if what == "weights" else self.biases
                changes[what, name] = self.optimized.change(what, name, change, table[name])
        if self.kind == "kolen_pollack" and self.rule.feedback is not None:
            for layer, forward in self.layout.forward.items():
                self._mirror(changes, layer, forward, self.rule.feedback.decay * end)
        if not changes:
            return
        for (what, name), change in changes.items():
            if what == "weights":
                self.weights[name].add_(change, alpha=self.rate)
                if self.rule.bounds is not None:
                    self.weights[name].clamp_(*self.rule.bounds)
            elif what == "biases":
                self.biases[name].add_(change, alpha=self.rate)
            else:
                self.feedback[name].add_(change, alpha=self.rate if self.kind == "kolen_pollack" else 1.0)
        self._refresh()

    def _mirror(self, changes: Changes, layer: str, forward: str, decay: float) -> None:
        """Feedback takes what its forward projection takes, and both decay."""
        change = changes.get(("weights", forward))
        if change is None and not decay:
            return
        change = torch.zeros_like(self.weights[forward]) if change is None else change
        changes["feedback", layer] = change.t() - decay * self.feedback[layer]
        changes["weights", forward] = change - decay * self.weights[forward]

    def _refresh(self) -> None:
        if self.kind == "transposed":
            for layer, matrix in self.feedback.items():
                matrix.copy_(self.ideal.of(layer))

    # Sleep

    def _sleep(self, phase: Phase, samples: int) -> None:
        """A phase with noise, layer after layer, from the last hidden one to the first."""
        rule, engine = self.rule, self.engine
        if rule.feedback is None or rule.feedback.kind != "learned" or phase.noise is None:
            return
        columns = columns_of_phase(phase, engine.grid.dt)
        updates = [each for each in rule.feedback.updates if phase.name in each.phases]
        products = products_of(updates, "sample", lambda _: (True,))
        for layer in reversed(self.layout.hidden) if products else ():
            if layer not in self.layout.above:
                continue
            above = self.layout.above[layer]
            noise = signed_noise(phase.noise, samples, columns, self.layout.size[layer], self.generator).to(self.device)
            held = columns > 1 and not noise.stride(0)
            spikes = (noise[:1] if held else noise).to(self.dtype).expand(noise.shape)
            self.forward.start(samples, columns, {layer: spikes}, self._silent(layer))
            for column in range(columns):
                self.forward.advance(column, {})
            ends = {"x1": self.forward.spikes[above].sum(0)[None],
                    "y1": spikes.sum(0)[None]}
            variables = Variables((), {}, {}, ends["x1"], ends["y1"], None, None, {})
            variables.final = {name: rows[0] for name, rows in ends.items()}
            change, _ = contracted((), products, variables, self.feedback[layer], None)
            self.feedback[layer].add_(change, alpha=1 / samples if rule.average else 1.0)

    def _silent(self, layer: str) -> list[str]:
        """The populations that the spikes of a layer do not reach."""
        reached: set[str] = set()
        ahead = [layer]
        while ahead:
            for target in self.engine.graph.targets[ahead.pop()]:
                if target not in reached:
                    reached.add(target)
                    ahead.append(target)
        return [name for name in self.engine.neurons if name not in reached and name != layer]


def _errors(errors: Errors | None, device: torch.device) -> dict[str, float]:
    return {} if errors is None else {"error": float(errors.sum_of_errors) / max(1, errors.active)}
