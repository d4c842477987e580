"""Outputs that show values instead of spikes: a readout without memory, which shows what reaches it in a column.

A model that ends in a layer, such as the Linear of which a loss takes the mean over time, has no membrane there. On a
grid such a value is the state of a `StepNeuron` that keeps nothing: s* = x.
"""

from __future__ import annotations

import numpy as np

from .checks import verify
from .graph import Edge, Graph
from .nodes import Neuron, Node, Output, StepNeuron, is_memoryless
from .shapes import infer_shapes

__all__ = ["with_readouts", "without_readouts"]


def with_readouts(graph: Graph) -> Graph:
    """The graph with a readout without memory, `<output>.readout`, before each output that shows no single neuron node:
    it shows, in each column, the sum of what layers give for the spikes of that column, biases included. For targets
    that run on a grid; in continuous time a spike has no height, so put an LI, CubaLI or I in its place.

    Raises:
        BadInputError: the graph is not legal (SC101 to SC117).
    """
    shapes = infer_shapes(verify(graph))[0]
    nodes: dict[str, Node] = dict(graph.nodes)
    edges: list[Edge] = list(graph.edges)
    for output in graph.outputs:
        sources = graph.sources[output]
        if len(sources) == 1 and isinstance(graph.nodes[sources[0]], Neuron):
            continue
        name = _free(f"{output}.readout", nodes)
        nodes[name] = StepNeuron(shape=shapes[output].input, a=np.zeros((1, 1)), b=np.ones(1))
        edges = [(source, name if target == output else target) for source, target in edges]
        edges.append((name, output))
    return graph if len(nodes) == len(graph.nodes) else graph.replace(nodes=nodes, edges=tuple(edges))


def without_readouts(graph: Graph) -> Graph:
    """The graph whose outputs show the layers themselves, as formats state it that know no such readout."""
    found = [name for name, node in graph.nodes.items() if is_memoryless(node) and graph.targets[name] and all(
        isinstance(graph.nodes[target], Output) for target in graph.targets[name])]
    if not found:
        return graph
    nodes = {name: node for name, node in graph.nodes.items() if name not in found}
    edges = tuple((source, shown) for source, target in graph.edges if source not in found
                  for shown in (graph.targets[target] if target in found else (target,)))
    return graph.replace(nodes=nodes, edges=edges)


def _free(name: str, nodes: dict[str, Node]) -> str:
    number, free = 1, name
    while free in nodes:
        number += 1
        free = f"{name}_{number}"
    return free
