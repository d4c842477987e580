"""What of a graph learns in continuous time: plastic projections, their ends, and the way errors come back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import prod

import numpy as np

from ..diagnostics import BadInputError, Diagnostics, UnsupportedError
from ..graph import Graph
from ..nodes import IF, LIF, Affine, Array, CubaLIF, Input, Linear, Output
from .rule import LearningRule, Tau, Trace

__all__ = ["Link", "Links", "check_feedback", "links_of", "trace_rates", "transposed"]


@dataclass(frozen=True, slots=True)
class Link:
    """A dense projection, named as its node."""

    name: str
    source: str
    target: str
    plastic: bool


@dataclass(frozen=True, slots=True)
class Links:
    """`sizes` of inputs and populations, `order` of populations from the inputs on, `bias` of each."""

    links: tuple[Link, ...]
    sizes: Mapping[str, int]
    order: tuple[str, ...]
    bias: Mapping[str, Array]
    output: str

    def plastic(self) -> tuple[Link, ...]:
        return tuple(each for each in self.links if each.plastic)

    def above(self, population: str) -> tuple[Link, ...]:
        return tuple(each for each in self.links if each.source == population)

    def downstream(self, population: str) -> frozenset[str]:
        """All that its spikes reach."""
        found: set[str] = set()
        for link in self.above(population):
            found |= {link.target, *self.downstream(link.target)}
        return frozenset(found)

    @property
    def hidden(self) -> tuple[str, ...]:
        """Populations with plastic synapses, but for the output, from the inputs on."""
        targets = {each.target for each in self.plastic()}
        return tuple(name for name in self.order if name in targets and name != self.output)


def links_of(graph: Graph, rule: LearningRule, output: str | None, projections: Iterable[str] | None) -> Links:
    """Raises:
        UnsupportedError: the graph is more than inputs, dense projections and LIF, IF and CubaLIF neurons without a
            cycle, or a projection cannot learn (SC515).
        BadInputError: there is no such output or projection (SC403).
    """
    faults, wrong = Diagnostics(), Diagnostics()
    nodes = graph.nodes
    asked = None if projections is None else list(projections)
    links: list[Link] = []
    bias: dict[str, Array] = {}
    for name, node in nodes.items():
        if isinstance(node, LIF | IF | CubaLIF):
            bias.setdefault(name, np.zeros(prod(node.shape or ())))
        elif isinstance(node, Linear):
            sources, targets = graph.sources[name], graph.targets[name]
            if (len(sources) != 1 or len(targets) != 1 or node.delay is not None
                    or not isinstance(nodes[sources[0]], Input | LIF | IF | CubaLIF)
                    or not isinstance(nodes[targets[0]], LIF | IF | CubaLIF)):
                faults.add("SC515", "a projection goes from an input or a neuron to a neuron, without delay", node=name)
                continue
            links.append(Link(name, sources[0], targets[0], asked is None or name in asked))
            if isinstance(node, Affine):
                before = bias.get(targets[0], np.zeros(node.weight.shape[0]))
                bias[targets[0]] = before + np.asarray(node.bias, dtype=np.float64)
        elif not isinstance(node, Input | Output):
            faults.add("SC515", "this node is between projections that learn", node=name, value=type(node).__name__)
    for name in asked or ():
        if not any(each.name == name for each in links):
            wrong.add("SC403", "no dense projection of this name", node=name)
    outputs = graph.outputs
    if (output is None and len(outputs) != 1) or (output is not None and output not in outputs):
        wrong.add("SC403", "which output has the labels' neurons is not told", value=output, limit=", ".join(outputs))
    wrong.raise_if_errors(BadInputError)
    faults.raise_if_errors(UnsupportedError)
    shown = graph.sources[outputs[0] if output is None else output][0]
    if rule.feedback is not None and rule.feedback.kind == "none":
        links = [Link(each.name, each.source, each.target, each.plastic and each.target == shown) for each in links]
    sizes = {name: prod(node.shape) for name, node in nodes.items() if isinstance(node, Input)}
    sizes |= {name: len(value) for name, value in bias.items()}
    return Links(tuple(links), sizes, _ordered(links, list(bias)), bias, shown)


def check_feedback(links: Links, rule: LearningRule, faults: Diagnostics) -> None:
    """Adds what a rule's feedback asks for, and these projections do not have (SC516)."""
    feedback = rule.feedback
    if feedback is None or feedback.kind == "none" or rule.error is None:
        return
    for name in links.hidden:
        above = links.above(name)
        if links.output not in links.downstream(name):
            faults.add("SC516", "feedback stands for forward weights, and none lead to the output", node=name,
                       limit=links.output)
        if (feedback.path == "layered" or feedback.kind == "kolen_pollack") and len(above) != 1:
            faults.add("SC516", "an error goes back layer by layer where each has one above it", node=name,
                       value=", ".join(each.name for each in above), limit="one projection",
                       remedy="Use direct feedback that is learned or fixed.")
        elif feedback.kind == "kolen_pollack" and (not above[0].plastic or (
                feedback.path == "direct" and above[0].target != links.output)):
            faults.add("SC516", "this feedback takes the updates of the one projection that it mirrors", node=name,
                       value=above[0].name, remedy="Use layered feedback, or 'learned'.")


def _ordered(links: list[Link], populations: list[str]) -> tuple[str, ...]:
    found: list[str] = []
    while left := [name for name in populations if name not in found]:
        ready = [name for name in left if all(each.source not in left for each in links if each.target == name)]
        if not ready:
            faults = Diagnostics()
            faults.add("SC515", "a cycle of neurons", node=left[0], remedy="Use the target clock.")
            faults.raise_if_errors(UnsupportedError)
        found += ready
    return tuple(found)


def transposed(links: Links, weights: Mapping[str, Array], population: str, layered: bool) -> Array:
    """(n, n_out): the transposed product of the weights from a population to the output, over all ways; `layered`: to
    the populations right above it."""
    if population == links.output:
        return np.eye(links.sizes[population])
    total = np.zeros(())
    for link in links.above(population):
        forward = weights[link.name].T
        total = total + (forward if layered else forward @ transposed(links, weights, link.target, layered))
    return total


def trace_rates(rule: LearningRule, link: Link, target: object, faults: Diagnostics) -> dict[str, float]:
    """1/s, of each trace, at one projection (SC516 where its neurons differ, or have no such constant)."""
    found = {}
    for trace in rule.variables:
        if not isinstance(trace, Trace):
            continue
        name = trace.name
        seconds = _seconds(trace.tau, target)
        if seconds is None:
            found[name] = 0.0
        elif not len(seconds) or not (seconds == seconds[0]).all():
            faults.add("SC516", "a trace has one time constant for all neurons of a population", node=link.name,
                       value=f"{name}: {trace.tau}", remedy="State the time constant in seconds.")
        else:
            found[name] = 1.0 / float(seconds[0])
    return found


def _seconds(tau: Tau, target: object) -> Array | None:
    if tau is None:
        return None
    if tau == "tau_mem":
        found = target.tau_mem if isinstance(target, CubaLIF) else target.tau if isinstance(target, LIF) else None
    elif tau == "tau_syn":
        found = target.tau_syn if isinstance(target, CubaLIF) else None
    else:
        found = np.array([float(tau)])
    return np.empty(0) if found is None else np.asarray(found, dtype=np.float64).reshape(-1)
