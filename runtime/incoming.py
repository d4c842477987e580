"""Which parameters of a module feed which neurons."""

from __future__ import annotations

from typing import Any

import torch

from ..ir.graph import Graph
from ..ir.nodes import Neuron

__all__ = ["incoming"]


def incoming(graph: Graph, module: Any, population: str) -> dict[str, torch.nn.Parameter]:
    """The parameters of the nodes between neuron node `population` and the neurons or inputs before it, by
    `node.parameter` of the model graph."""
    found: list[str] = []
    waiting = list(graph.sources[population])
    while waiting:
        node = waiting.pop()
        if node not in found and not isinstance(graph.nodes[node], Neuron):
            found.append(node)
            waiting.extend(graph.sources[node])
    return {f"{node}.{name}": module.get_parameter(label)
            for label, (node, name) in module.parameter_map().items() if node in found}
