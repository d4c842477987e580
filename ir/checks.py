"""What a legal model graph is. One small function per rule, all of them run, all faults reported.

`RULES` lists them in the order of their reports. A rule reads a `_Case` and adds to a `Diagnostics`; it never raises,
whatever the graph holds: rules on parameters see only nodes whose settings are of their declared types.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property
from math import inf
from typing import Any

import networkx as nx
import numpy as np

from .conform import conforms, expected, malformed
from .diagnostics import Diagnostic, Diagnostics
from .flow.checks import check_equations, check_theta
from .graded.gate import TURN
from .graph import Discretization, Graph
from .nodes import (
    NODE_KINDS,
    SPIKING,
    BatchNorm,
    Conv1d,
    Conv2d,
    Equations,
    FlowNeuron,
    Graded,
    GradedTheta,
    Input,
    Linear,
    Membrane,
    Neuron,
    Node,
    Output,
    SparseLinear,
    StepNeuron,
    Theta,
    params,
)
from .ranges import check_csr, check_discretization, check_finite, check_name, check_range, check_reset
from .shapes import Shapes, infer_shapes

__all__ = ["RULES", "check", "verify"]

MAX_STATES = 8
STEP_MATRICES = ("a", "late_a", "reset_a")
STEP_VECTORS = ("b", "c", "late_b", "late_c", "late_after", "reset_c", "spike_c", "threshold_gain")


def check(graph: Graph) -> list[Diagnostic]:
    """Every fault of a graph, warnings included; an empty list for a legal graph. Never raises."""
    given: Any = graph  # whatever a caller without a type checker hands over
    if not isinstance(given, Graph):
        return [Diagnostic("SC232", "this is no Graph", value=type(given).__name__,
                           remedy="Make one with spikec.from_torch, spikec.from_nir, spikec.from_onnx or "
                                  "Builder.build().")]
    grid: Any = given.discretization
    faults = Diagnostics()
    if not isinstance(grid, Discretization | None):
        check_discretization(grid, faults)
        return faults.found
    case = _Case(graph)
    for rule in RULES:
        rule(case, faults)
    return faults.found


def verify(graph: Graph) -> Graph:
    """The graph itself, if it is legal.

    Raises:
        BadInputError: with every fault at once.
    """
    faults = Diagnostics(check(graph))
    faults.raise_if_errors()
    return graph


@dataclass(frozen=True)
class _Case:
    """A graph under check, and what several rules ask about it."""

    graph: Graph

    @cached_property
    def named(self) -> dict[str, Node]:
        """The nodes whose names are text."""
        return {name: node for name, node in self.graph.nodes.items() if isinstance(name, str)}

    @cached_property
    def edges(self) -> tuple[tuple[str, str], ...]:
        """The edges between nodes that exist, each once."""
        return tuple(dict.fromkeys(edge for edge in self.graph.edges if all(map(self.names, edge))))

    @cached_property
    def sound(self) -> dict[str, Node]:
        """The nodes of known kinds with settings of the declared types."""
        return {
            name: node for name, node in self.named.items()
            if NODE_KINDS.get(type(node).__name__) is type(node) and not malformed(node)
        }

    @cached_property
    def shapes(self) -> tuple[dict[str, Shapes], list[Diagnostic]]:
        return infer_shapes(self.graph.replace(nodes=self.sound))

    @cached_property
    def view(self) -> nx.DiGraph:
        view: nx.DiGraph = nx.DiGraph()
        view.add_nodes_from(self.named)
        view.add_edges_from(self.edges)
        return view

    def names(self, endpoint: Any) -> bool:
        return isinstance(endpoint, str) and endpoint in self.named

    def of(self, *kinds: type[Any]) -> Iterator[tuple[str, Any]]:
        """The sound nodes of the given kinds."""
        return ((name, node) for name, node in self.sound.items() if isinstance(node, kinds))


def _names(case: _Case, faults: Diagnostics) -> None:
    names: Iterable[Any] = case.graph.nodes
    for name in names:
        check_name(name, faults)


def _kinds(case: _Case, faults: Diagnostics) -> None:
    for name, node in case.graph.nodes.items():
        if NODE_KINDS.get(type(node).__name__) is not type(node):
            faults.add("SC110", "this is no node kind of spikec", node=name, value=type(node).__name__,
                       limit=", ".join(NODE_KINDS))


def _settings(case: _Case, faults: Diagnostics) -> None:
    for name, node in case.graph.nodes.items():
        if isinstance(node, Node):
            for setting, value in malformed(node).items():
                faults.add("SC111", f"{setting} is malformed", node=name, value=repr(value),
                           limit=expected(type(node), setting))


def _edges(case: _Case, faults: Diagnostics) -> None:
    seen: set[tuple[str, str]] = set()
    for edge in case.graph.edges:
        missing = [endpoint for endpoint in edge if not case.names(endpoint)]
        if missing:
            close = get_close_matches(str(missing[0]), map(str, case.graph.nodes), n=1)
            faults.add("SC101", f"edge {edge[0]!r} -> {edge[1]!r} names a node that does not exist", value=missing[0],
                       remedy=f"Is '{close[0]}' meant?" if close else None)
        elif edge in seen:
            faults.add("SC108", f"the edge '{edge[0]}' -> '{edge[1]}' is there twice", node=edge[1],
                       remedy="Double the weight instead.")
        else:
            seen.add(edge)


def _inputs_and_outputs(case: _Case, faults: Diagnostics) -> None:
    for what, found in (("Input", case.graph.inputs), ("Output", case.graph.outputs)):
        if not found:
            faults.add("SC105", f"the graph has no {what} node", remedy=f"Add at least one {what}.")
    for source, target in case.edges:
        if isinstance(case.graph.nodes[target], Input):
            faults.add("SC112", f"the edge from '{source}' runs into an Input", node=target)
        if isinstance(case.graph.nodes[source], Output):
            faults.add("SC112", f"the edge to '{target}' runs out of an Output", node=source)


def _connections(case: _Case, faults: Diagnostics) -> None:
    for name, node in case.named.items():
        if not isinstance(node, Input) and not case.view.in_degree(name):
            faults.add("SC106", "nothing is fed to this node", node=name, remedy="Connect or remove it.")
        if not isinstance(node, Output) and not case.view.out_degree(name):
            faults.add("SC106", "what this node gives goes nowhere", node=name,
                       remedy="Connect it to an Output, or remove it.")


def _paths(case: _Case, faults: Diagnostics) -> None:
    inputs, outputs = (
        tuple(name for name, node in case.named.items() if isinstance(node, kind)) for kind in (Input, Output)
    )
    if not inputs or not outputs:
        return
    fed = _reached(case.view, inputs)
    for name in outputs:
        if name not in fed and case.view.in_degree(name):
            faults.add("SC113", "no path leads from any input to this output", node=name)
    useful = _reached(case.view.reverse(copy=False), outputs)
    for name in case.named:
        if name not in useful and case.view.out_degree(name):
            faults.add("SC106", "no path leads from this node to any output", node=name, severity="warning",
                       remedy="Remove it if it is not needed.")


def _loops(case: _Case, faults: Diagnostics) -> None:
    stateless = case.view.subgraph(name for name, node in case.named.items() if not isinstance(node, Neuron))
    for component in nx.strongly_connected_components(stateless):
        first = min(component, key=str)
        if len(component) > 1 or stateless.has_edge(first, first):
            faults.add("SC114", "a cycle has no neuron in it", node=first, value=" ".join(sorted(map(str, component))),
                       remedy="Every cycle goes through at least one neuron node.")


def _shapes(case: _Case, faults: Diagnostics) -> None:
    faults.extend(case.shapes[1])


def _parameter_shapes(case: _Case, faults: Diagnostics) -> None:
    known, _ = case.shapes
    for name, node in case.of(StepNeuron):
        _step_shapes(name, node, faults)
    for name, node in case.of(Linear, SparseLinear, BatchNorm, Conv1d, Conv2d, Neuron):
        for parameter, wanted in _wanted_shapes(node, known.get(name)).items():
            value = params(node).get(parameter)
            if value is not None and value.shape != wanted:
                faults.add("SC107", f"{parameter} has the wrong shape", node=name, value=value.shape, limit=wanted)
    for name, node in case.of(Neuron):
        if node.shape is None:
            shapes = {parameter: value.shape for parameter, value in params(node).items() if value.shape}
            faults.add("SC107", "the parameters do not broadcast together", node=name, value=shapes)


def _step_shapes(name: str, node: StepNeuron, faults: Diagnostics) -> None:
    """Matrices are (K, K) and vectors (K,), each with the axes of the shape after these or without."""
    states = node.a.shape[0] if node.a.ndim else 0
    if not 1 <= states <= MAX_STATES:
        faults.add("SC103", "a neuron on a grid has one to a few states", node=name, value=states,
                   limit=f"1..{MAX_STATES}")
        return
    for parameter in STEP_MATRICES + STEP_VECTORS:
        value = getattr(node, parameter)
        lead = (states,) * (2 if parameter in STEP_MATRICES else 1)
        if value is not None and value.shape not in (lead, lead + (node.shape or ())):
            faults.add("SC107", f"{parameter} has the wrong shape", node=name, value=value.shape,
                       limit=f"{lead} or {lead + (node.shape or ())}")


def _wanted_shapes(node: Node, shapes: Shapes | None) -> dict[str, tuple[int, ...]]:
    if isinstance(node, Neuron):
        spread = params(node).keys() - set(STEP_MATRICES + STEP_VECTORS)
        return {} if node.shape is None else dict.fromkeys(spread, node.shape)
    if isinstance(node, BatchNorm):
        channels: tuple[int, ...] = node.mean.shape
        return dict.fromkeys(("variance", "gamma", "beta"), channels)
    if shapes is None:
        return {}
    if isinstance(node, Linear):
        return {"bias": shapes.output, "delay": node.weight.shape}
    if isinstance(node, SparseLinear):
        return {"bias": shapes.output, **dict.fromkeys(("weight", "delay"), np.shape(node.indices))}
    return {"bias": shapes.output[:1]}


def _parameters(case: _Case, faults: Diagnostics) -> None:
    for name, node in case.of(Node):
        for parameter, value in params(node).items():
            check_finite(parameter, value, name, faults)
            check_range(parameter, value, name, faults)
    for name, batch_norm in case.of(BatchNorm):
        if not 0 < batch_norm.eps < inf:
            faults.add("SC103", "eps must be positive", node=name, value=batch_norm.eps, limit="> 0")


def _resets(case: _Case, faults: Diagnostics) -> None:
    for name, neuron in case.of(*SPIKING):
        if neuron.v_threshold.shape == neuron.v_reset.shape == neuron.shape:
            check_reset(neuron.reset, neuron.v_threshold, neuron.v_reset, name, faults)
    for name, neuron in case.of(*SPIKING, StepNeuron):
        low, high = neuron.v_min, neuron.v_threshold
        if low is not None and high is not None and low.shape == high.shape and (low >= high).any():
            faults.add("SC103", "v_min must be below v_threshold", node=name, value=low[low >= high][0],
                       limit=f"< {high[low >= high][0]}")


def _flows(case: _Case, faults: Diagnostics) -> None:
    for name, node in case.of(Equations):
        check_equations(name, node, faults)
    for name, node in case.of(Theta):
        if not _may_get_current(case, name):
            check_theta(name, node, faults)


def _may_get_current(case: _Case, name: str) -> bool:
    """Whether something with a bias feeds a neuron, through nodes without state."""
    seen, waiting = {name}, [name]
    while waiting:
        for source in case.view.predecessors(waiting.pop()):
            if source not in seen and not isinstance(case.named[source], Membrane | FlowNeuron | Graded):
                seen.add(source)
                waiting.append(source)
    return any(getattr(case.named[each], "bias", None) is not None for each in seen)


def _zones(case: _Case, faults: Diagnostics) -> None:
    for name, neuron in case.of(GradedTheta):
        if (neuron.zone > TURN).any():
            faults.add("SC455", "the gate is wider than the circle", node=name, value=f"{neuron.zone.max():g}",
                       limit="2 pi radians")


def _sparse(case: _Case, faults: Diagnostics) -> None:
    for name, node in case.of(SparseLinear):
        if name in case.shapes[0]:
            check_csr(node.size, node.indptr, node.indices, name, faults)


def _discretization(case: _Case, faults: Diagnostics) -> None:
    common = case.graph.discretization
    check_discretization(common, faults)
    for name, node in case.of(Neuron):
        grid = node.grid or common
        if node.grid is not None:
            check_discretization(node.grid, faults, name)
            if common is not None and (node.grid.dt, node.grid.delay) != (common.dt, common.delay):
                faults.add("SC116", "a neuron's own grid has the dt and the delay of the graph's", node=name,
                           value=f"dt={node.grid.dt}, delay={node.grid.delay}",
                           limit=f"dt={common.dt}, delay={common.delay}")
        if isinstance(node, StepNeuron) and grid is None:
            faults.add("SC116", "a neuron stated on a grid needs one", node=name,
                       remedy="Give the graph a Discretization.")
        threshold = getattr(node, "v_threshold", None)
        if grid is not None and grid.spikes == "many" and threshold is not None and (threshold <= 0).any():
            faults.add("SC103", "v_threshold must be positive where it is counted", node=name,
                       value=threshold[threshold <= 0][0], limit="> 0")


def _metadata(case: _Case, faults: Diagnostics) -> None:
    for key, value in case.graph.metadata.items():
        if not isinstance(key, str) or not any(conforms(value, kind) for kind in (str, bool, float)):
            faults.add("SC117", "metadata is flat: text, numbers and truth values by name", value=f"{key!r}: {value!r}")


def _reached(view: nx.DiGraph, roots: tuple[str, ...]) -> set[str]:
    return set(roots).union(*(nx.descendants(view, root) for root in roots))


RULES: tuple[Callable[[_Case, Diagnostics], None], ...] = (
    _names, _kinds, _settings, _edges, _inputs_and_outputs, _connections, _paths, _loops, _shapes, _parameter_shapes,
    _parameters, _resets, _flows, _zones, _sparse, _discretization, _metadata,
)
