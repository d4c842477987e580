"""How spikes and constant currents reach neurons through the nodes without state: what one spike of one source neuron
does, when, and to whom. By linearity that is all there is to know of a projection.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import prod

import networkx as nx
import numpy as np

from .checks import verify
from .diagnostics import Diagnostic, Diagnostics, UnsupportedError
from .graph import Graph
from .nodes import (
    GRADED,
    IF,
    LIF,
    NEURONS,
    Array,
    CubaLIF,
    Delay,
    FlowNeuron,
    Input,
    Linear,
    MaxPool2d,
    Neuron,
    Node,
    Output,
    Relu,
    SparseLinear,
    StepNeuron,
    Threshold,
    is_memoryless,
    is_spiking,
)
from .shapes import infer_shapes
from .stateless import through

__all__ = ["Impulses", "Wiring", "continuous_faults"]


@dataclass(frozen=True, slots=True, eq=False)
class Impulses:
    """Weighted impulses that one spike becomes, each (m,): `delays` seconds after it, at elements `indices`."""

    delays: Array
    indices: Array
    weights: Array

    def joined(self, other: Impulses) -> Impulses:
        return Impulses(
            np.concatenate([self.delays, other.delays]),
            np.concatenate([self.indices, other.indices]),
            np.concatenate([self.weights, other.weights]),
        )


class Wiring:
    """The connections of a graph, between inputs and neurons. All neurons are numbered through, node after node.

    Raises:
        BadInputError: the graph is not legal.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = verify(graph)
        self.shapes = infer_shapes(graph)[0]
        self.neurons = tuple(name for name, node in graph.nodes.items() if isinstance(node, NEURONS))
        sizes = [prod(self.shapes[name].output) for name in self.neurons]
        starts = np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)])
        self.span = {name: slice(int(starts[i]), int(starts[i + 1])) for i, name in enumerate(self.neurons)}
        self.size = int(starts[-1])
        self._known: dict[tuple[str, int], Impulses] = {}

    def refuse_in_continuous_time(self) -> None:
        """Raises:
            UnsupportedError: the graph holds what has no meaning in continuous time, each with a remedy.
        """
        faults = self._misused()
        faults.extend(continuous_faults(self.graph))
        faults.raise_if_errors(UnsupportedError)

    def refuse_on_a_grid(self) -> None:
        """Raises:
            UnsupportedError: the graph holds what has no meaning on a grid either, each with a remedy.
        """
        faults = self._misused()
        for name, given in self._constants.items():
            node = self.graph.nodes[name]
            if isinstance(node, Threshold) and given.any():
                faults.add("SC302", "a threshold over a sum of impulses and a constant current", node=name,
                           remedy="Leave out the bias before it.")
            elif isinstance(node, MaxPool2d) and self.has_uneven_windows(name):
                faults.add("SC302", "a maximum over impulses and constant currents that differ within a window",
                           node=name, remedy="Give the layer before it one bias per channel.")
        boxes = self.graph.discretization is not None and self.graph.discretization.spike == "box"
        remedy = ("State the graph without its grid of boxes, and use the target event" if boxes else
                  "Use the target event") + "; on grids there are LIF, CubaLIF, IF and StepNeuron."
        for name, node in self.graph.nodes.items():
            if isinstance(node, FlowNeuron):
                faults.add("SC307", "this neuron is stated in continuous time, not on a grid", node=name,
                           value=type(node).__name__, remedy=remedy)
        faults.raise_if_errors(UnsupportedError)

    def has_uneven_windows(self, name: str) -> bool:
        """Whether the constant currents into a maximum differ within one of its windows."""
        node, given = self.graph.nodes[name], self._constants[name][None]
        return bool((through(node, given) != -through(node, -given)).any())

    def impulses(self, source: str, index: int) -> Impulses:
        """What a spike of element `index` of an input or a neuron node does: impulses at neurons (numbered through)."""
        if (source, index) not in self._known:
            self._known[source, index] = self._spread(source, index)
        return self._known[source, index]

    @cached_property
    def constant(self) -> Array:
        """The constant current (n,) into each neuron: biases, through the nodes without state."""
        return np.concatenate([np.empty(0), *(self._constants[name].reshape(-1) for name in self.neurons)])

    @cached_property
    def waves(self) -> tuple[tuple[str, ...], ...]:
        """Neuron nodes in the order in which spikes without delay reach them; those on a cycle of such together."""
        view: nx.DiGraph = nx.DiGraph()
        view.add_nodes_from(self.graph.nodes)
        view.add_edges_from(edge for edge in self.graph.edges if not _always_late(self.graph.nodes[edge[1]]))
        condensed = nx.condensation(view)
        groups = (condensed.nodes[number]["members"] for number in nx.topological_sort(condensed))
        ordered = (tuple(name for name in self.neurons if name in group) for group in groups)
        return tuple(group for group in ordered if group)

    @cached_property
    def recurrent(self) -> bool:
        return not nx.is_directed_acyclic_graph(self.graph.to_networkx())

    @cached_property
    def longest_delay(self) -> float:
        """A bound on the sum of delays along any path without a cycle."""
        delays = (getattr(node, "delay", None) for node in self.graph.nodes.values())
        return sum(float(delay.max(initial=0.0)) for delay in delays if delay is not None)

    @cached_property
    def shown_by(self) -> dict[str, str]:
        """For each output node, the one neuron node that it shows."""
        return {name: self.graph.sources[name][0] for name in self.graph.outputs}

    @cached_property
    def order(self) -> tuple[str, ...]:
        """All nodes, those without state after what feeds them; edges from neurons are cut, so there is no cycle."""
        view: nx.DiGraph = nx.DiGraph()
        view.add_nodes_from(self.graph.nodes)
        view.add_edges_from(edge for edge in self.graph.edges if edge[0] not in self.span)
        return tuple(nx.topological_sort(view))

    @cached_property
    def _constants(self) -> dict[str, Array]:
        """The constant current into every node."""
        arriving = {name: np.zeros(self.shapes[name].input) for name in self.order}
        for name in self.order:
            node = self.graph.nodes[name]
            if name in self.span or isinstance(node, Input):
                continue
            for target in self.graph.targets[name]:
                arriving[target] = arriving[target] + through(node, arriving[name][None], True)[0]
        return arriving

    def _misused(self) -> Diagnostics:
        faults = Diagnostics()
        for name, node in self.graph.nodes.items():
            if isinstance(node, Neuron) and not is_spiking(node) and any(not isinstance(self.graph.nodes[to], Output)
                                              for to in self.graph.targets[name]):
                faults.add("SC304", "the membrane of a readout cannot feed other nodes", node=name,
                           remedy="Use the spiking kind, or make it an output.")
            elif isinstance(node, GRADED):
                faults.add("SC463", "graded currents have a reference of their own", node=name,
                           remedy="Compile for event, or use ir.graded.reference.simulate_graded.")
            elif isinstance(node, Relu):
                faults.add("SC302", "a rectifier belongs to a network without spikes", node=name,
                           remedy="Convert the network with spikec.convert_ann.")
            elif isinstance(node, Output):
                sources = self.graph.sources[name]
                if len(sources) != 1 or sources[0] not in self.span:
                    faults.add("SC303", "an output shows exactly one neuron node", node=name, value=", ".join(sources),
                               remedy="Feed it from one neuron or readout node. spikec.with_readouts(graph) puts a "
                               "readout there that shows the values of each column.")
        return faults

    def _spread(self, source: str, index: int) -> Impulses:
        none = Impulses(np.empty(0), np.empty(0, np.int64), np.empty(0))
        start = Impulses(np.zeros(1), np.array([index]), np.ones(1))
        arriving = dict.fromkeys(self.graph.targets[source], start)
        found = none
        for name in self.order:
            if name not in arriving:
                continue
            if name in self.span:
                hit = arriving[name]
                found = found.joined(Impulses(hit.delays, hit.indices + self.span[name].start, hit.weights))
                continue
            sent = _passed(self.graph.nodes[name], arriving[name], self.shapes[name].input)
            for target in self.graph.targets[name]:
                arriving[target] = arriving.get(target, none).joined(sent)
        return found


def continuous_faults(graph: Graph) -> list[Diagnostic]:
    """What of a graph has no meaning in continuous time, each with a remedy."""
    faults = Diagnostics()
    common = graph.discretization.spike if graph.discretization is not None else "delta"
    for name, node in graph.nodes.items():
        if isinstance(node, Threshold | MaxPool2d):
            what, remedy = (("threshold", "Use an IF neuron, or a clocked target.") if isinstance(node, Threshold) else
                            ("maximum", "Use SumPool2d or AvgPool2d, or a clocked target."))
            faults.add("SC302", f"a {what} over impulses has no meaning in continuous time", node=name, remedy=remedy)
        elif is_memoryless(node):
            faults.add("SC306", "a readout without memory shows values on a grid only", node=name,
                       remedy="Put LI, CubaLI or I in its place, or use the target clock.")
        elif isinstance(node, StepNeuron):
            faults.add("SC306", "this neuron is stated on a grid, not in continuous time", node=name,
                       remedy="Use the target clock.")
        elif isinstance(node, IF | LIF | CubaLIF) and node.v_min is not None:
            faults.add("SC306", "a lower bound of the membrane is kept on a grid only", node=name,
                       remedy="Use the target clock, or leave v_min out.")
        elif isinstance(node, FlowNeuron) and (node.grid.spike if node.grid is not None else common) == "box":
            faults.add("SC306", "this neuron takes spikes as impulses, not as currents of one step", node=name,
                       remedy="Give the graph a Discretization(spike='delta'), or none.")
        if isinstance(node, Neuron) and node.grid is not None and node.grid.spike != common:
            faults.add("SC306", "neurons that take spikes as impulses and as currents are mixed", node=name,
                       value=node.grid.spike, limit=common, remedy="Use the target clock.")
    return faults.found


def _passed(node: Node, given: Impulses, shape: tuple[int, ...]) -> Impulses:
    """The impulses that leave a node without state, for those that enter it."""
    if isinstance(node, Delay):
        delay = np.broadcast_to(node.delay, shape).reshape(-1).astype(np.float64)
        return Impulses(given.delays + delay[given.indices], given.indices, given.weights)
    if isinstance(node, (Linear, SparseLinear)) and node.delay is not None:
        return _passed_late(node, node.delay, given)
    if not len(given.indices):
        return given
    late, which = np.unique(given.delays, return_inverse=True)
    pattern = np.zeros((len(late), prod(shape)))
    np.add.at(pattern, (which, given.indices), given.weights)
    result = through(node, pattern.reshape(len(late), *shape)).reshape(len(late), -1)
    rows, indices = np.nonzero(result)
    return Impulses(late[rows], indices, result[rows, indices])


def _passed_late(node: Linear | SparseLinear, delays: Array, given: Impulses) -> Impulses:
    """The same through a matrix with a delay of its own for each connection."""
    weights = node.weight
    if isinstance(node, SparseLinear):
        kept = weights != 0  # a weight of 0 is no connection, however it is written
        rows, columns = np.repeat(np.arange(node.size[0]), np.diff(node.indptr))[kept], np.asarray(node.indices)[kept]
        weights, delays = weights[kept], np.broadcast_to(delays, kept.shape)[kept]
    else:
        rows, columns = np.nonzero(weights)
        weights, delays = weights[rows, columns], delays[rows, columns]
    which, synapse = np.nonzero(given.indices[:, None] == columns[None, :])
    return Impulses(
        given.delays[which] + delays[synapse], rows[synapse], given.weights[which] * weights[synapse].astype(np.float64)
    )


def _always_late(node: Node) -> bool:
    """Whether every spike through this node arrives after it left."""
    delay = getattr(node, "delay", None)
    return delay is not None and bool((delay > 0).all())
