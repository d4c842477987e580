"""Where a learning rule acts in a model graph on a grid: which projections learn, which layers have dendrites, and what
lies above each of them. Here the target clock refuses what it cannot learn, all at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import prod
from typing import Any

import numpy as np

from ..columns import columns_of_grid, delay_columns
from ..diagnostics import BadInputError, Diagnostics, UnsupportedError
from ..graph import Graph
from ..grid import Discretization
from ..nodes import IF, LI, LIF, Affine, Array, CubaLI, CubaLIF, Flatten, Input, Linear, Neuron, is_spiking
from ..shapes import infer_shapes
from .rule import Feedback, Gate, LearningRule, Phase, Tau, Trace

__all__ = ["LearningLayout", "Plastic", "columns_of_phase", "kept_in_a_step", "learning_layout"]


@dataclass(frozen=True, slots=True)
class Plastic:
    """The Linear node `name` from the input or spiking neuron node `source` to the neuron node `target`. `late`:
    columns that a spike takes; for the rule, the source's spikes count when they arrive. `bias`: whether it learns."""

    name: str
    source: str
    target: str
    late: int
    bias: bool


@dataclass(frozen=True, slots=True)
class LearningLayout:
    """`plastic` projections, in the order of the graph; `output`: the neuron node that has the labels' neurons;
    `hidden`: the other targets of plastic projections that take an error, from the first to the
    last; `above`: by hidden layer, whose error it takes; `forward`: the one projection from there to `above`, if it is
    one; `size` by input and neuron node."""

    plastic: tuple[Plastic, ...]
    output: str
    hidden: tuple[str, ...]
    above: dict[str, str]
    forward: dict[str, str]
    size: dict[str, int]


def columns_of_phase(phase: Phase, dt: float) -> int:
    """Columns that a phase lasts."""
    return round(phase.duration / dt)


def kept_in_a_step(tau: Tau, node: Neuron, grid: Discretization) -> Array | None:
    """What is left of a trace after a step: e^(-dt/tau) of a number; of `tau_mem` and `tau_syn` as much as of the
    membrane and the synaptic current of `node` on its own grid, by element. None: it has no such time constant."""
    if tau is None:
        return np.ones(())
    if not isinstance(tau, str):
        return np.asarray(np.exp(-grid.dt / tau)) if tau > 0 else np.zeros(())
    own = node.grid or grid
    found: Array | None = None
    if tau == "tau_mem" and isinstance(node, IF):
        return np.ones(())
    if tau == "tau_mem" and isinstance(node, LI | LIF):
        found = node.tau
    elif isinstance(node, CubaLI | CubaLIF):
        found = node.tau_mem if tau == "tau_mem" else node.tau_syn
    if found is None:
        return None
    wide = found.astype(np.float64)
    return 1 - own.dt / wide if own.integrator in ("euler", "semi") else np.exp(-own.dt / wide)


def learning_layout(graph: Graph, rule: LearningRule, output: str | None = None,
                    projections: Sequence[str] | None = None, *, on_grid: bool = True) -> LearningLayout:
    """Finds what of a legal graph with a grid learns by a legal rule.

    Args:
        output: the output node that shows the labels' neurons; None: the only one.
        projections: names of the Linear nodes that learn; None: all between inputs or spiking neurons and these.
        on_grid: whether the target clock is to learn; other targets say for themselves what of a rule they cannot do.

    Raises:
        BadInputError: there is no such output (SC403).
        UnsupportedError: naming each projection that cannot learn (SC515), and each part of the rule that a grid cannot
            do (SC516).
    """
    faults = Diagnostics()
    shown = output if output is not None else graph.outputs[0] if len(graph.outputs) == 1 else None
    if shown not in graph.outputs:
        faults.add("SC403", "the rule learns from one output", value=output, limit=", ".join(graph.outputs),
                   remedy="Name it: output='…'.")
    if graph.discretization is None:
        faults.add("SC403", "learning on a grid needs one, and the model states none",
                   remedy="Set graph.discretization, or give --dt and --spike.")
        raise BadInputError(*faults.errors)
    faults.raise_if_errors()
    search = _Search(graph, graph.discretization, rule, faults)
    layout = search.layout(graph.sources[str(shown)][0], projections)
    if on_grid:
        search.check_rule(layout)
    faults.raise_if_errors(UnsupportedError)
    return layout


class _Search:
    def __init__(self, graph: Graph, grid: Discretization, rule: LearningRule, faults: Diagnostics) -> None:
        self.graph, self.rule, self.faults, self.grid = graph, rule, faults, grid
        self.order, self.recurrent = columns_of_grid(graph, self.grid)

    def layout(self, output: str, projections: Sequence[str] | None) -> LearningLayout:
        shapes = infer_shapes(self.graph)[0]
        size = {name: prod(shapes[name].output) for name, node in self.graph.nodes.items()
                if isinstance(node, Input | Neuron)}
        names = projections if projections is not None else [
            name for name, node in self.graph.nodes.items() if isinstance(node, Linear)
            and self._origin(name) is not None and any(self._spikes(to) for to in self.graph.targets[name])]
        if not names:
            self.faults.add("SC515", "no projection of the network can learn", limit="a Linear between spiking neurons",
                            remedy="Name what should learn: projections=…, to be told why it cannot.")
        plastic = tuple(each for name in names if (each := self._plastic(name)) is not None)
        hidden = self._by_depth({each.target for each in plastic} - {output}) if self.rule.error is not None else ()
        above, forward = {}, {}
        feedback = self.rule.feedback
        for name in hidden if feedback is not None and feedback.kind != "none" else ():
            above[name] = output
            reached = self._reached(name)
            if feedback is not None and feedback.path == "layered":
                if len(reached) != 1:
                    self.faults.add("SC516", "an error goes back layer by layer where each has one above it", node=name,
                                    value=", ".join(sorted(reached)) or "none", limit="one layer above",
                                    remedy="Use direct feedback.")
                above[name] = next(iter(reached), output)
            elif output not in self._downstream(name):
                self.faults.add("SC516", "feedback stands for forward weights, and none lead to the output", node=name,
                                limit=output)
            if reached == {above[name]}:
                between = [mid for mid in self.graph.targets[name] if above[name] in self.graph.targets[mid]
                           and isinstance(self.graph.nodes[mid], Linear)]
                forward.update({name: between[0]} if len(between) == 1 else {})
        return LearningLayout(plastic, output, hidden, above, forward, size)

    def _plastic(self, name: str) -> Plastic | None:
        node = self.graph.nodes.get(name)
        if type(node) not in (Linear, Affine):
            self.faults.add("SC515", "only a dense matrix of weights learns", node=name,
                            value="none" if node is None else type(node).__name__, limit="Linear, Affine")
            return None
        source, targets = self._origin(name), self.graph.targets[name]
        before = len(self.faults.found)
        if source is None:
            self.faults.add("SC515", "its weights are folded with what is before it", node=name,
                            value=", ".join(self.graph.sources[name]), limit="an input or a spiking neuron node",
                            remedy="Let it take the spikes themselves.")
        if len(targets) != 1 or not self._spikes(targets[0]):
            self.faults.add("SC515", "its weights are folded with what is behind it, or reach no spiking neurons",
                            node=name, value=", ".join(targets), limit="one spiking neuron node",
                            remedy="Let it feed one population, without a node between them.")
        if delay_columns(node, self.grid.dt) is not None:  # type: ignore[arg-type]
            self.faults.add("SC515", "a projection with delays of its own does not learn", node=name, value="delay",
                            remedy="Leave the delays out, or leave the projection as it is: projections=….")
        if source is None or len(self.faults.found) > before:
            return None
        chain = [source, *self._between(source, name), name, targets[0]]
        late = sum(edge in self.recurrent for edge in pairwise(chain)) * self.grid.delay
        return Plastic(name, source, targets[0], late, self.rule.bias and isinstance(node, Affine))

    def _origin(self, name: str) -> str | None:
        """The input or spiking node whose very spikes a node takes."""
        while len(self.graph.sources[name]) == 1:
            name = self.graph.sources[name][0]
            node = self.graph.nodes[name]
            if isinstance(node, Input) or self._spikes(name):
                return name
            if not isinstance(node, Flatten):
                return None
        return None

    def _between(self, source: str, name: str) -> list[str]:
        found: list[str] = []
        while (name := self.graph.sources[name][0]) != source:
            found.insert(0, name)
        return found

    def _spikes(self, name: str) -> bool:
        node = self.graph.nodes[name]
        return isinstance(node, Neuron) and is_spiking(node)

    def _by_depth(self, names: Iterable[str]) -> tuple[str, ...]:
        return tuple(name for name in self.order if name in set(names))

    def _reached(self, name: str) -> set[str]:
        """The neuron nodes that the spikes of a node reach without passing others; recurrent edges lead nowhere."""
        found, ahead = set(), [name]
        while ahead:
            here = ahead.pop()
            for target in self.graph.targets[here]:
                if (here, target) in self.recurrent:
                    continue
                if isinstance(self.graph.nodes[target], Neuron):
                    found.add(target)
                else:
                    ahead.append(target)
        return found

    def _downstream(self, name: str) -> set[str]:
        found: set[str] = set()
        ahead = [name]
        while ahead:
            new = self._reached(ahead.pop()) - found
            found |= new
            ahead.extend(new)
        return found

    # What of a rule a grid cannot do

    def check_rule(self, layout: LearningLayout) -> None:
        rule, names = self.rule, ", ".join(each.name for each in layout.plastic)
        if rule.units != "model":
            self._no("the clock learns in the model's units", names, f"units='{rule.units}'", "units='model'",
                     "Compile for a target that has whole numbers.")
        if rule.error is not None and not self._spikes(layout.output):
            self._no("an error is of spikes, and the output gives none", layout.output, f"error '{rule.error.code}'",
                     remedy="Let the output be spiking neurons.")
        for phase in rule.phases:
            if phase.noise is None and phase.every != 1:
                self._no("phases without noise are part of every sample", names, f"{phase.name}: every {phase.every}")
        for plastic in layout.plastic:
            self._check_taus(rule.variables, plastic.name, plastic.target)
        if rule.feedback is not None:
            self._check_feedback(rule.feedback, layout)

    def _check_feedback(self, feedback: Feedback, layout: LearningLayout) -> None:
        if self.rule.error is not None and self.rule.error.code == "local" and feedback.path == "layered":
            self._no("an error of each layer by itself goes back to no other", ", ".join(layout.hidden),
                     "local, layered", "direct")
        for name in layout.hidden:
            self._check_taus(feedback.traces, name, name)
            if feedback.path == "layered" and layout.above.get(name, layout.output) not in (
                    *layout.hidden, layout.output):
                self._no("an error goes back through layers that learn", name, layout.above[name],
                         remedy="Use direct feedback, or let that layer learn.")
            mirrored = {each.name for each in layout.plastic}
            if feedback.kind == "kolen_pollack" and layout.forward.get(name) not in mirrored:
                self._no("this feedback takes the updates of the one projection that it mirrors", name,
                         layout.forward.get(name, "none"), remedy="Use layered feedback, or 'learned'.")

    def _check_taus(self, variables: Sequence[Trace | Gate], name: str, target: str) -> None:
        node: Any = self.graph.nodes[target]
        for each in variables:
            if isinstance(each, Gate) or not isinstance(each.tau, str):
                continue
            kept = kept_in_a_step(each.tau, node, self.grid)
            if kept is None:
                self._no(f"the target's neurons have no {each.tau}", name, f"{each.name} with tau '{each.tau}'",
                         remedy="State the time constant in seconds.")
            elif each.name.startswith("x") and kept.size and (kept != kept.flat[0]).any():
                self._no("a trace of the source has one time constant for all targets", name,
                         f"{each.name} with tau '{each.tau}'", "neurons of one time constant",
                         "State the time constant in seconds.")

    def _no(self, what: str, node: str, value: str, limit: str | None = None, remedy: str | None = None) -> None:
        self.faults.add("SC516", what, node=node, value=value, limit=limit, remedy=remedy)
