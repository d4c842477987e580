"""A graph in the terms of one importer: parameters from which that importer makes the numbers of the graph on its grid.

The step of every neuron (`ir.step_form`) is compared with what the importer can do (`nir_importers`). Where its gain
differs, the weights before the neuron take the difference; constant currents become biases of the connection that
leads to it. What the importer cannot do is a diagnostic.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import networkx as nx
import numpy as np

from ....ir.columns import recurrent_edges
from ....ir.diagnostics import Diagnostics, UnsupportedError
from ....ir.graph import Discretization, Graph
from ....ir.nodes import (
    IF,
    LIF,
    Affine,
    Array,
    Conv1d,
    Conv2d,
    CubaLIF,
    Input,
    Linear,
    Neuron,
    Node,
    Output,
    SparseLinear,
    SumPool2d,
)
from ....ir.step_form import StepForm, step_form
from ....ir.wiring import Wiring
from .importers import IMPORTERS, SUBTRACTING, Importer, Rule, Step

__all__ = ["Dialect", "dialect"]

_WEIGHTED = (Linear, SparseLinear, Conv1d, Conv2d)
_Spiking = IF | LIF | CubaLIF


@dataclass(frozen=True, slots=True)
class Dialect:
    """`graph`: to be written as it is; `nested`: for each neuron node that must stand in a nested graph, the node of
    its recurrent weights; `call`: how the importer is called."""

    graph: Graph
    nested: Mapping[str, str]
    call: str


def dialect(graph: Graph, reader: str) -> Dialect:
    """The graph in the terms of the importer `reader`.

    Raises:
        UnsupportedError: the importer is not known, or cannot make these numbers (SC209), with every reason.
        BadInputError: the graph is not legal (SC101 to SC117), or states no grid (SC403).
    """
    faults = Diagnostics()
    if reader == "lava":
        faults.add("SC209", "no importer of Lava reads NIR to given numbers: the one of the NIR paper "
                   "(paper/nir_to_lava.py) makes one neuron of a layer and rounds weights, that of lava-dl "
                   "(netx/nir_lava.py, never released) takes nodes named by whole numbers only", value=reader,
                   remedy="Use the target of the chip.")
    elif reader not in IMPORTERS:
        faults.add("SC209", "this importer is not known", value=reader, limit=", ".join(IMPORTERS))
    if graph.discretization is None:
        faults.add("SC403", "no discretization is stated, so there are no numbers to keep",
                   remedy="Set it: graph.replace(discretization=Discretization(dt=…)).")
    faults.raise_if_errors(UnsupportedError)
    wiring = Wiring(graph)
    subtracts = any(isinstance(node, _Spiking) and node.reset == "subtract" for node in graph.nodes.values())
    importer = SUBTRACTING[reader] if subtracts and reader in SUBTRACTING else IMPORTERS[reader]
    translation = _Translation(graph, wiring, importer, graph.discretization or Discretization(dt=1.0), faults)
    found = translation.run()
    faults.raise_if_errors(UnsupportedError)
    return found


class _Translation:
    """One graph on its way to one importer."""

    def __init__(self, graph: Graph, wiring: Wiring, importer: Importer, grid: Discretization,
                 faults: Diagnostics) -> None:
        self.graph, self.wiring, self.importer, self.grid, self.faults = graph, wiring, importer, grid, faults
        self.recurrent = recurrent_edges(graph, grid.dt)
        self.nodes: dict[str, Node] = dict(graph.nodes)

    def run(self) -> Dialect:
        self._check_nodes()
        loops = self._loops()
        for name, node in self.graph.nodes.items():
            rule = self.importer.neurons.get(type(node))
            if isinstance(node, Neuron) and rule is not None:
                self._neuron(name, node, rule)
        if self.importer.biased:
            self.nodes = {name: _biased(node) for name, node in self.nodes.items()}
        order = self._order()
        edges = sorted(self.graph.edges, key=lambda edge: (order.index(edge[0]), edge[1] not in loops.values(),
                                                           order.index(edge[1])))
        graph = Graph({name: self.nodes[name] for name in order}, tuple(edges), None, self.graph.metadata)
        return Dialect(graph, loops if self.importer.nested else {}, self.importer.call.format(dt=self.grid.dt))

    def _fault(self, message: str, node: str | None = None, **facts: object) -> None:
        self.faults.add("SC209", f"this importer {message}", node=node, **facts)

    # ---- what the graph is made of

    def _check_nodes(self) -> None:
        graph, importer = self.graph, self.importer
        for ends, kind in ((graph.inputs, "Input"), (graph.outputs, "Output")):
            if len(ends) != 1:
                self._fault(f"reads one {kind}", value=len(ends), limit=1)
        taken: dict[str, str] = {}
        for name, node in graph.nodes.items():
            if not isinstance(node, (Input, Output, *importer.neurons, *importer.stateless)):
                self._fault("has no such node", name, value=type(node).__name__)
            if isinstance(node, SumPool2d) and type(node) is SumPool2d and any(node.padding):
                self._fault("takes no padding of a SumPool2d", name, value=node.padding, limit=(0, 0))
            if isinstance(node, (Conv1d, Conv2d)) and node.groups != 1:
                self._fault("takes no groups of a convolution", name, value=node.groups, limit=1)
            clean = name.replace(".", "_")
            if clean in _attributes():
                self._fault("makes an attribute of each name, and cannot of this one", name, remedy="Rename the node.")
            if clean in taken:
                self._fault("writes '_' for '.', which makes two names the same", name, value=taken[clean])
            taken[clean] = name
            ways = {"into": [source for source in graph.sources[name] if (source, name) not in self.recurrent],
                    "out of": [target for target in graph.targets[name] if not self._leads_back(name, target)]}
            for way, paths in ways.items():
                if importer.chain and len(paths) > 1:
                    self._fault(f"runs nodes in the order in which it finds them: it takes one path {way} a node", name,
                                value=", ".join(paths), remedy="Leave out skip connections.")

    def _leads_back(self, name: str, target: str) -> bool:
        """Whether an edge leads to the recurrent weights of its source."""
        return (name, target) in self.recurrent or (target, name) in self.recurrent

    def _loops(self) -> dict[str, str]:
        """For each neuron node with a loop, the node of its recurrent weights."""
        loops: dict[str, str] = {}
        for cycle in nx.strongly_connected_components(self.graph.to_networkx()):
            if len(cycle) == 1 and not any((name, name) in self.graph.edges for name in cycle):
                continue
            weighted = [name for name in cycle if isinstance(self.graph.nodes[name], _WEIGHTED)]
            neuron = [name for name in cycle if isinstance(self.graph.nodes[name], Neuron)]
            if len(cycle) != 2 or len(weighted) != 1 or self.graph.sources[weighted[0]] != tuple(neuron) or \
                    self.graph.targets[weighted[0]] != tuple(neuron):
                self._fault("was checked on recurrent weights from a neuron node to itself only",
                            value=", ".join(sorted(cycle)))
                continue
            if self.grid.delay != 1:
                self._fault("takes one step over a recurrent connection", weighted[0], value=self.grid.delay, limit=1)
            loops[neuron[0]] = weighted[0]
        return loops

    def _order(self) -> list[str]:
        """The input first, every node after what feeds it, the output last."""
        view: nx.DiGraph = nx.DiGraph()
        view.add_nodes_from(self.graph.nodes)
        view.add_edges_from(edge for edge in self.graph.edges if edge not in self.recurrent)
        order = list(nx.lexicographical_topological_sort(view, key=list(self.graph.nodes).index))
        return sorted(order, key=lambda name: (name not in self.graph.inputs) + (name in self.graph.outputs))

    # ---- neurons

    def _neuron(self, name: str, node: Neuron, rule: Rule) -> None:
        grid = node.grid or self.grid
        form = step_form(node, self.grid)
        before = len(self.faults.found)
        step = self._step(name, form, grid, node)
        self._check_spikes(name, form, grid, node, rule)
        if step is None or len(self.faults.found) > before:
            return
        written = rule.write(step)
        shape = node.shape or ()
        fields: dict[str, Any] = {key: np.broadcast_to(value, shape) for key, value in written.fields.items()}
        fields |= self._threshold(form, grid, rule, step)
        for key, value in fields.items():
            if not np.isfinite(value).all() or (key.startswith("tau") and (value <= 0).any()):
                self._fault("cannot be given such a membrane", name, value=f"{key} = {value.flat[0]:g}",
                            remedy="Use a time constant that is longer than a step, or a neuron without a leak.")
            elif key in rule.alike and np.unique(value).size != 1:
                self._fault(f"takes one '{key}' for all neurons of a node", name,
                            value=f"{value.min():g} to {value.max():g}")
        if len(self.faults.found) > before:
            return
        self.nodes[name] = rule.kind(shape=shape, **fields)
        constant = self.wiring.constant[self.wiring.span[name]].reshape(shape)
        constants = _or_zero(form.d[0], shape) * constant + _or_zero(form.c[0], shape) - written.offset
        self._weigh(name, step.gain / written.gain, constants / written.gain, constant)

    def _step(self, name: str, form: StepForm, grid: Discretization, node: Neuron) -> Step | None:
        """The node's step, where it is one that importers have."""
        shape = node.shape or ()
        if form.lag:
            self._fault("feeds a spike in its own step; this grid does in the next", name,
                        value=f"spike={grid.spike}, integrator={grid.integrator}", remedy="Use spike='delta'.")
        elif form.states == 2:
            into, current = form.a[0][1], form.a[1][1]
            direct, kick = form.b
            if direct is None or not np.allclose(_or_zero(into, shape) * kick, direct * current, rtol=1e-12, atol=0):
                self._fault("charges a membrane with the current after the input of a step; this grid does not", name,
                            value=f"integrator={grid.integrator}", limit="semi or decay")
            elif np.any(_or_zero(form.c[0], shape)):
                self._fault("has no resting potential of a current-based neuron", name, remedy="Use v_leak = 0.")
            elif np.any(_or_zero(form.d[0], shape) * kick != direct * _or_zero(form.d[1], shape)):
                self._fault("feeds a constant current like spikes", name)
        kept_syn = form.a[1][1] if form.states == 2 else 0.0
        node_reset = getattr(node, "reset", "zero")
        v_reset = node.v_reset if node_reset == "v_reset" else np.zeros(shape)  # type: ignore[attr-defined]
        return Step(grid.dt, *(np.broadcast_to(np.asarray(value, dtype=np.float64), shape) for value in
                               (form.a[0][0], kept_syn, _or_zero(form.b[0], shape), v_reset)))

    def _check_spikes(self, name: str, form: StepForm, grid: Discretization, node: Neuron, rule: Rule) -> None:
        shape = node.shape or ()
        start = form.v0
        if isinstance(node, _Spiking):
            value = node.v_reset if node.reset == "v_reset" else np.zeros(shape)
            if rule.reset == "subtract" or node.reset == "subtract":
                if rule.reset != node.reset:
                    self._fault(f"has another reset: {rule.reset}", name, value=node.reset)
            elif rule.reset == "zero" and np.any(value):
                self._fault("resets to zero", name, value=f"v_reset up to {np.abs(value).max():g}")
            if form.many != (rule.spikes == "many"):
                self._fault(f"gives {rule.spikes} spikes a step" if rule.spikes == "many" else "gives one spike a step",
                            name, value=f"spikes={grid.spikes}", limit=f"spikes={rule.spikes}")
            if form.resets_late:
                self._fault("resets in the step of the spike", name, value="reset=next", limit="reset=same")
            if form.rest is not None:
                self._fault("has no refractory period", name, value=f"{int(form.rest.max())} steps")
            if np.any(node.v_threshold <= 0):
                self._fault("is checked for thresholds above zero only", name, value=node.v_threshold.min())
            if rule.floor and (node.v_min is None or np.any(node.v_min != -node.v_threshold)):
                self._fault("keeps the membrane above minus the threshold", name, value="v_min",
                            limit="v_min = -v_threshold")
            if not rule.floor and node.v_min is not None:
                self._fault("has no lower bound of the membrane", name, value="v_min")
            if rule.starts_at_reset:
                start = start - value
        if np.any(start):
            self._fault(f"starts a membrane at {'its reset value' if rule.starts_at_reset else 'zero'}", name,
                        value="v0")
        if rule.flat and len(shape) != 1:
            self._fault("fails on these neurons, unless they lie along one axis", name, value=shape)

    def _threshold(self, form: StepForm, grid: Discretization, rule: Rule, step: Step) -> dict[str, Array]:
        """Threshold and reset value. Importers compute in float32: where one fires at the threshold and the graph above
        it, or the other way round, the next number of that type is the same rule."""
        if form.threshold is None:
            return {}
        stated = np.broadcast_to(form.threshold, step.kept.shape).astype(np.float64)
        found = stated
        if rule.spikes == "one" and rule.fires != grid.fires:
            single = stated.astype(np.float32)
            up = rule.fires == "at"
            beyond = np.nextafter(single, np.float32(np.inf if up else -np.inf))
            found = np.where(single > stated if up else single < stated, single, beyond).astype(np.float64)
        return {"v_threshold": found, "v_reset": step.v_reset}

    # ---- weights

    def _weigh(self, name: str, gain: Array, constant: Array, arriving: Array) -> None:
        """Scales what leads to a neuron node by `gain`, and makes its constant current `constant`; now it is
        `arriving`."""
        sources = [(source, self.nodes[source]) for source in self.graph.sources[name]]
        forward = [source for source, _ in sources if (source, name) not in self.recurrent
                   and not self._leads_back(name, source)]
        own = {source: _bias(node) for source, node in sources}
        upstream = arriving - sum((_spread(bias, arriving.shape) for bias in own.values()), start=np.zeros(()))
        wanted = constant - gain * upstream
        keeps = all(not np.any(bias) for source, bias in own.items() if source not in forward)
        if keeps and np.allclose(gain, 1, rtol=1e-14) and np.allclose(constant, arriving, rtol=1e-14, atol=0):
            return
        for source, node in sources:
            if not isinstance(node, _WEIGHTED) or self.graph.targets[source] != (name,):
                self._fault("needs other weights before this node, and there is no connection of its own to take them",
                            name, value=source, remedy="Put a Linear of its own before the neurons.")
                return
        if not forward and np.any(wanted):
            self._fault("applies the bias of recurrent weights one step late", name)
            return
        for source, node in sources:
            bias = wanted if forward and source == forward[0] else np.zeros_like(wanted)
            found = _weighted(node, gain, bias)
            if found is None:
                self._fault("needs one gain and one bias a channel here", name, value=source)
                return
            self.nodes[source] = found


@cache
def _attributes() -> frozenset[str]:
    """Names that a module of torch, or nirtorch's of a graph, has itself."""
    from torch.nn import ModuleDict

    return frozenset((*dir(ModuleDict()), "graph", "code", "execution_order", "stateful_modules", "return_state"))


def _or_zero(value: Any, shape: tuple[int, ...]) -> Array:
    return np.broadcast_to(np.asarray(0.0 if value is None else value, dtype=np.float64), shape)


def _bias(node: Node) -> Array:
    bias = getattr(node, "bias", None)
    return np.zeros(()) if bias is None else np.asarray(bias, dtype=np.float64)


def _spread(bias: Array, shape: tuple[int, ...]) -> Array:
    """A bias of a Linear, or of the channels of a convolution, over neurons."""
    return np.broadcast_to(bias.reshape(*bias.shape, *(1,) * (len(shape) - bias.ndim)) if bias.ndim else bias, shape)


def _weighted(node: Node, gain: Array, bias: Array) -> Node | None:
    """The connection with its outputs scaled, and another bias; None where the numbers differ within a channel."""
    if isinstance(node, (Conv1d, Conv2d)):
        rows = gain.reshape(gain.shape[0], -1), bias.reshape(bias.shape[0], -1)
        if any(not np.allclose(each, each[:, :1], rtol=1e-12, atol=0) for each in rows):
            return None
        gain, bias = rows[0][:, 0], rows[1][:, 0]
    kind = node.weight.dtype  # type: ignore[attr-defined]
    if isinstance(node, SparseLinear):
        each = np.repeat(gain, np.diff(node.indptr))
        return replace(node, weight=(node.weight * each).astype(kind), bias=bias.astype(kind) if np.any(bias) else None)
    column = gain.reshape(-1, *(1,) * (node.weight.ndim - 1))  # type: ignore[attr-defined]
    weight = (node.weight * column).astype(kind)  # type: ignore[attr-defined]
    if isinstance(node, (Conv1d, Conv2d)):
        return replace(node, weight=weight, bias=bias.astype(kind))
    delay = node.delay  # type: ignore[attr-defined]
    if np.any(bias):
        return Affine(weight=weight, bias=bias.astype(kind), delay=delay)
    return Linear(weight=weight, delay=delay)


def _biased(node: Node) -> Node:
    if type(node) is Linear:
        return Affine(weight=node.weight, bias=np.zeros(len(node.weight), node.weight.dtype), delay=node.delay)
    if isinstance(node, SparseLinear) and node.bias is None:
        return replace(node, bias=np.zeros(node.size[0], node.weight.dtype))
    return node
