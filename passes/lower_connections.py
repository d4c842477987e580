"""Stateless nodes -> projections and constant currents.

Every path from an input or a spiking node through stateless nodes to a neuron becomes one projection; edges that meet
are paths of their own. What the biases along the way amount to is a constant current of the neurons reached.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from math import prod

import networkx as nx
import numpy as np

from ..ir.derived import apply
from ..ir.diagnostics import Diagnostics
from ..ir.graph import Graph
from ..ir.network import Connection, Conv, Projection, Sparse
from ..ir.nodes import Array, Input, Neuron, Node, Output, is_spiking, param_names
from ..ir.shapes import Shapes
from .algebra import MAX_SYNAPSES, Diagonal, Map, TooLargeError, apply_map, as_sparse, compose, expand, plus, rows_of
from .linear_steps import Step, step_of

__all__ = ["Connections", "connections"]


@dataclass(frozen=True, slots=True, eq=False)
class Connections:
    """All projections, in the order of their targets and edges, and the constant current (n,) into each neuron node
    that gets one."""

    projections: tuple[Projection, ...]
    bias: Mapping[str, Array]


@dataclass(frozen=True, slots=True, eq=False)
class _Path:
    """From one source up to some node: the map so far, the delay of each source element (n_source,) or of all (1,),
    and the further delay of each entry of the map (only where it is dense or sparse)."""

    source: str
    n_source: int
    name: str | None = None
    linear: Map = None
    delay: Array | None = None
    synapse: Array | None = None


@dataclass(frozen=True, slots=True, eq=False)
class _Signal:
    """What leaves a node: paths, a constant (n,), and the readouts whose analog signal is in it."""

    paths: tuple[_Path, ...] = ()
    constant: Array | None = None
    analog: frozenset[str] = field(default=frozenset())


def connections(graph: Graph, shapes: Mapping[str, Shapes], tie_delays: bool, faults: Diagnostics) -> Connections:
    """Folds everything stateless. Faults are added to `faults`; what they concern is left out of the result."""
    signals = {name: _source_signal(name, node, shapes) for name, node in graph.nodes.items() if _is_source(node)}
    for name in _stateless_in_order(graph):
        incoming = _sum(graph, name, signals)
        signals[name] = _through(name, graph.nodes[name], shapes[name], incoming, tie_delays, faults)
    projections: list[Projection] = []
    bias: dict[str, Array] = {}
    taken: set[str] = set()
    for name, node in graph.nodes.items():
        if not isinstance(node, Neuron):
            continue
        incoming = _sum(graph, name, signals)
        if incoming.constant is not None:
            bias[name] = apply("widen", incoming.constant)
        for path in incoming.paths:
            projections += (_projection(each, name, taken) for each in _single(path))
        for readout in sorted(incoming.analog):
            faults.add("SC304", f"the membrane of a readout feeds '{name}'", node=readout,
                       remedy="Make the readout a spiking neuron, or connect it to an Output only.")
    return Connections(tuple(projections), bias)


def _is_source(node: Node) -> bool:
    return isinstance(node, (Input, Neuron))


def _source_signal(name: str, node: Node, shapes: Mapping[str, Shapes]) -> _Signal:
    if isinstance(node, Neuron) and not is_spiking(node):
        return _Signal(analog=frozenset({name}))
    return _Signal(paths=(_Path(name, prod(shapes[name].output)),))


def _stateless_in_order(graph: Graph) -> Iterator[str]:
    names = [name for name, node in graph.nodes.items() if not _is_source(node) and not isinstance(node, Output)]
    place = {name: number for number, name in enumerate(names)}
    view: nx.DiGraph[str] = nx.DiGraph()
    view.add_nodes_from(names)
    view.add_edges_from(edge for edge in graph.edges if edge[0] in place and edge[1] in place)
    return iter(nx.lexicographical_topological_sort(view, key=place.__getitem__))


def _sum(graph: Graph, name: str, signals: Mapping[str, _Signal]) -> _Signal:
    incoming = [signals[source] for source in graph.sources[name]]
    constant: Array | None = None
    for signal in incoming:
        constant = plus(constant, signal.constant)
    return _Signal(
        tuple(path for signal in incoming for path in signal.paths),
        constant,
        frozenset().union(*(signal.analog for signal in incoming)),
    )


def _through(name: str, node: Node, shapes: Shapes, signal: _Signal, tie_delays: bool,
             faults: Diagnostics) -> _Signal:
    step = step_of(node, shapes, tie_delays)
    if step is None:
        if signal.paths or signal.analog:
            kind = type(node).__name__
            faults.add("SC302", f"{kind} has no meaning over impulses in continuous time", node=name,
                       remedy=_REMEDIES[kind])
        return _Signal()
    trained = any(node.__dataclass_fields__[param].metadata["trained"] for param in param_names(node))
    try:
        paths = tuple(_extend(path, step, name if trained else None) for path in signal.paths)
        constant = None if signal.constant is None else apply_map(step.linear, signal.constant)
    except TooLargeError as error:
        faults.add("SC305", "folding this node into what is before it gives too large a matrix", node=name,
                   value=error.entries, limit=MAX_SYNAPSES, remedy="Put a neuron node between the two.")
        return _Signal()
    return _Signal(paths, plus(constant, step.bias), signal.analog)


_REMEDIES = {
    "Threshold": "Use a spiking neuron node, or a clocked target.",
    "MaxPool2d": "Use SumPool2d or AvgPool2d, or a clocked target.",
    "Relu": "Convert the network with spikec.convert_ann.",
}


def _extend(path: _Path, step: Step, name: str | None) -> _Path:
    path = replace(path, name=name or path.name)
    if step.delay is not None:
        path = _delayed(path, step.delay)
    if step.linear is None:
        return path
    if path.linear is None or isinstance(path.linear, Diagonal):
        return replace(path, linear=compose(path.linear, step.linear, path.n_source), synapse=step.synapse)
    if isinstance(step.linear, Diagonal) or (path.synapse is None and step.synapse is None):
        return replace(path, linear=compose(path.linear, step.linear, path.n_source))
    sparse, first, second = expand(path.linear, step.linear, path.n_source)
    synapse = plus(_taken(path.synapse, first), _taken(step.synapse, second))
    return replace(path, linear=sparse, synapse=synapse)


def _delayed(path: _Path, delay: Array) -> _Path:
    if delay.size == 1 or path.linear is None or isinstance(path.linear, Diagonal):
        return replace(path, delay=plus(path.delay, delay))
    entries = as_sparse(path.linear, path.n_source)
    late = plus(path.synapse, _taken(delay, rows_of(entries)))
    return replace(path, linear=entries if isinstance(path.linear, Conv) else path.linear, synapse=late)


def _single(path: _Path) -> Iterator[_Path]:
    """Paths in which each pair of neurons has one synapse at most: ways of different delay go side by side."""
    if path.synapse is None or not isinstance(path.linear, Sparse):
        yield path
        return
    sparse = path.linear
    pair = rows_of(sparse) * path.n_source + sparse.indices  # ascending, equal ones side by side
    first = np.flatnonzero(np.diff(pair, prepend=-1))
    rank = np.arange(len(pair)) - np.repeat(first, np.diff(first, append=len(pair)))
    for number in range(int(rank.max(initial=0)) + 1):
        kept = np.flatnonzero(rank == number)
        yield path if len(kept) == len(pair) else replace(
            path, synapse=_taken(path.synapse, kept),
            linear=Sparse(indptr=np.searchsorted(kept, sparse.indptr), indices=sparse.indices[kept],
                          weight=apply("take", sparse.weight, static=(kept,))),
        )


def _projection(path: _Path, target: str, taken: set[str]) -> Projection:
    connection = _finished(path.linear, path.n_source)
    delay = path.delay
    if delay is not None:
        delay = apply("widen", apply("broadcast", delay, static=((path.n_source,),)))
    if path.synapse is not None:
        late = path.synapse
        if delay is not None:
            sources = as_sparse(connection, path.n_source).indices
            late = apply("add", late, apply("take", delay, static=(sources,)))
        delay = apply("widen", apply("reshape", late, static=(connection.weight.shape,)))
    return Projection(
        name=_unique(path.name or f"{path.source}->{target}", taken), source=path.source, target=target,
        connection=connection, delay=delay, delay_per="source" if path.synapse is None else "synapse",
    )


def _finished(linear: Map, n_source: int) -> Connection:
    if linear is None:
        linear = Diagonal(weight=np.ones(n_source))
    return as_sparse(linear, n_source) if isinstance(linear, Diagonal) else linear


def _unique(name: str, taken: set[str]) -> str:
    number, free = 1, name
    while free in taken:
        number += 1
        free = f"{name}_{number}"
    taken.add(free)
    return free


def _taken(values: Array | None, index: Array) -> Array | None:
    return None if values is None else apply("take", values, static=(index,))
