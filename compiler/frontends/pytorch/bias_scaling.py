"""Biases that a framework adds once a step -> constant currents, whose unit is that of the neurons they reach.

How much a constant current moves a neuron in one step depends on the neuron (`FromDecay.bias_scale`), so every
constant on the way into it is multiplied by that neuron's factor.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from ....ir.diagnostics import Diagnostics
from ....ir.graph import Graph
from ....ir.nodes import Affine, Array, BatchNorm, Conv1d, Conv2d, Neuron, Node

__all__ = ["scale_biases"]


def scale_biases(graph: Graph, scales: Mapping[str, Array], faults: Diagnostics) -> Graph:
    """The graph with every bias multiplied by the factor of the neurons that it reaches. `scales`: by neuron node, in
    its shape. A bias that reaches neurons of different factors, in a way that it cannot follow, is a fault."""
    reached: dict[str, dict[str, Array]] = {}
    for neuron, scale in scales.items():
        waiting, seen = list(graph.sources[neuron]), set()
        while waiting:
            name = waiting.pop()
            if name in seen or isinstance(graph.nodes[name], Neuron):
                continue
            seen.add(name)
            waiting.extend(graph.sources[name])
            if _biases(graph.nodes[name]):
                reached.setdefault(name, {})[neuron] = scale
    changed: dict[str, Node] = {}
    for name, neurons in reached.items():
        factor = _common(name, graph, neurons)
        if factor is None:
            faults.add("SC223", "a bias reaches neurons of different decay factors", node=name,
                       value=", ".join(neurons), remedy="Give each its own layer, or one decay factor to all.")
        else:
            changed[name] = replace(graph.nodes[name], **{key: value * factor for key, value in
                                                          _biases(graph.nodes[name]).items()})
    return graph.with_nodes(changed)


def _common(name: str, graph: Graph, neurons: Mapping[str, Array]) -> Array | None:
    """One factor for all elements of a bias, or one for each; None where there is none."""
    first, *others = neurons.values()
    if all(np.array_equal(first, other) for other in others):
        if (first == first.flat[0]).all():
            return np.asarray(first.flat[0])
        by_channel = first.reshape(first.shape[0], -1)
        straight = all(name in graph.sources[neuron] for neuron in neurons)
        if straight and (by_channel == by_channel[:, :1]).all():
            return by_channel[:, 0]
    elif all((scale == first.flat[0]).all() for scale in neurons.values()):
        return np.asarray(first.flat[0])
    return None


def _biases(node: Node) -> dict[str, Array]:
    match node:
        case Affine() | Conv1d() | Conv2d() if node.bias is not None:
            return {"bias": node.bias}
        case BatchNorm():
            return {"mean": node.mean, "beta": node.beta}
    return {}
