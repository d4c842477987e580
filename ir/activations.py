"""The meaning of a network without spikes: what every node makes of constant inputs, biases included. Plain numpy,
float64; the oracle of ANN conversion, and what it calibrates with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import networkx as nx
import numpy as np

from .checks import verify
from .diagnostics import Diagnostics, UnsupportedError
from .graph import Graph
from .nodes import Array, Delay, Input, Linear, Neuron, Relu, SparseLinear, Threshold
from .shapes import infer_shapes
from .stateless import through

__all__ = ["activations", "refuse_spikes", "samples_of", "walk"]


def activations(graph: Graph, data: Any | Mapping[str, Any], nodes: Iterable[str] | None = None) -> dict[str, Array]:
    """What nodes of a network without neurons give, by name: (samples, *shape) of float64.

    Args:
        graph: a legal model graph without neurons, delays and thresholds.
        data: (samples, *shape) of the one input node, or by input node.
        nodes: names of nodes; without it the outputs.

    Raises:
        BadInputError: the graph (SC101 to SC117) or the data (SC403) are malformed, or there is no such node (SC403).
        UnsupportedError: the graph holds neurons, delays, thresholds or ceilings at zero (SC310), all of them named.
    """
    asked = graph.outputs if nodes is None else tuple(nodes)
    faults = Diagnostics()
    for name in asked:
        if name not in graph.nodes:
            faults.add("SC403", "there is no such node", node=name, limit=", ".join(graph.nodes))
    faults.raise_if_errors()
    return {name: values for name, values in walk(graph, data) if name in asked}


def walk(graph: Graph, data: Any | Mapping[str, Any]) -> Iterator[tuple[str, Array]]:
    """Every node and what it gives, in an order in which all that a node takes comes before it. A value is kept only
    until its last taker has been: memory is that of the widest cut. Arguments and errors as for `activations`."""
    refuse_spikes(verify(graph))
    shapes = infer_shapes(graph)[0]
    given = samples_of(graph, data)
    count = len(next(iter(given.values())))
    left = Counter(source for source, _ in graph.edges)
    values: dict[str, Array] = {}
    for name in nx.topological_sort(nx.DiGraph(graph.to_networkx())):
        node = graph.nodes[name]
        if isinstance(node, Input):
            values[name] = given[name]
        else:
            total = np.zeros((count, *shapes[name].input))
            for source in graph.sources[name]:
                total = total + values[source]
                left[source] -= 1
                if not left[source]:
                    del values[source]
            values[name] = through(node, total, constant=True)
        yield name, values[name]


def refuse_spikes(graph: Graph) -> None:
    """Raises:
        UnsupportedError: the graph holds neurons, delays, thresholds or ceilings at zero (SC310), all of them named.
    """
    faults = Diagnostics()
    for name, node in graph.nodes.items():
        late = node.delay if isinstance(node, Delay | Linear | SparseLinear) else None
        if isinstance(node, Neuron):
            faults.add("SC310", "a neuron in a network that is to have none", node=name, value=type(node).__name__,
                       remedy="Only networks without spikes are converted.")
        elif isinstance(node, Threshold):
            faults.add("SC310", "a threshold has no counterpart among rates", node=name,
                       remedy="Train the network with Relu.")
        elif isinstance(node, Relu) and node.ceiling is not None and (node.ceiling <= 0).any():
            faults.add("SC310", "a rectifier whose ceiling is not above zero", node=name, value=node.ceiling.min(),
                       limit="> 0")
        elif late is not None and late.any():
            faults.add("SC310", "a delay in a network without time", node=name, remedy="Leave the delay out.")
    faults.raise_if_errors(UnsupportedError)


def samples_of(graph: Graph, data: Any | Mapping[str, Any]) -> dict[str, Array]:
    """`data` by input node, each (samples, *shape) of float64.

    Raises:
        BadInputError: an input lacks data, or data are of another shape, not finite, or of different lengths (SC403).
    """
    faults = Diagnostics()
    if not isinstance(data, Mapping):
        if len(graph.inputs) != 1:
            faults.add("SC403", "the network has several inputs", value=", ".join(graph.inputs),
                       remedy="Give the data as a dict by input node.")
            faults.raise_if_errors()
        data = {graph.inputs[0]: data}
    for name in [*data, *graph.inputs]:
        if name not in graph.inputs:
            faults.add("SC403", "there is no such input", node=name, limit=", ".join(graph.inputs))
        elif name not in data:
            faults.add("SC403", "this input has no data", node=name)
    shapes = infer_shapes(graph)[0]
    found = {name: _samples(name, data[name], shapes[name].output, faults) for name in graph.inputs if name in data}
    lengths = {len(array) for array in found.values()}
    if len(lengths) > 1:
        faults.add("SC403", "the inputs' data differ in length", value=sorted(lengths))
    faults.raise_if_errors()
    return found


def _samples(name: str, values: Any, shape: tuple[int, ...], faults: Diagnostics) -> Array:
    if not (hasattr(values, "shape") or isinstance(values, list | tuple)):
        faults.add("SC403", "data are an array of numbers", node=name, value=type(values).__name__,
                   limit=f"(samples, {', '.join(map(str, shape))})")
        return np.zeros((1, *shape))
    try:
        array = np.asarray(values.detach().cpu() if hasattr(values, "detach") else values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        faults.add("SC403", "data are an array of numbers", node=name, value=error)
        return np.zeros((1, *shape))
    if array.ndim < 2 or not len(array) or array.shape[1:] not in (shape, (int(np.prod(shape)),)):
        faults.add("SC403", "data are (samples, *shape), at least one sample", node=name, value=array.shape,
                   limit=shape)
        return np.zeros((1, *shape))
    if not np.isfinite(array).all():
        faults.add("SC403", "data are finite", node=name)
    return array.reshape(len(array), *shape)
