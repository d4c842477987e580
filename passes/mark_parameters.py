"""The parameters of the model graph become leaves: from here on every folded value knows where it came from."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from ..ir.derived import leaf
from ..ir.graph import Graph
from ..ir.nodes import Neuron, params
from .manager import Pass

__all__ = ["MarkParameters", "UnmarkParameters"]


@dataclass(frozen=True)
class MarkParameters(Pass[Graph, Graph]):
    """Runs first: what it meets is the model graph, whatever the arrays were derived from before. Parameters of
    neurons, which no pass folds, are marked when populations are made."""

    name: ClassVar[str] = "mark-parameters"
    requires: ClassVar[frozenset[str]] = frozenset({"typed"})
    ensures: ClassVar[frozenset[str]] = frozenset({"marked"})

    def run(self, graph: Graph) -> Graph:
        return graph.with_nodes({
            name: replace(node, **{param: leaf(value, name, param) for param, value in params(node).items()})
            for name, node in graph.nodes.items() if not isinstance(node, Neuron)
        })


@dataclass(frozen=True)
class UnmarkParameters(Pass[Graph, Graph]):
    """What was folded becomes a model graph of its own, whose parameters are plain arrays."""

    name: ClassVar[str] = "unmark-parameters"
    requires: ClassVar[frozenset[str]] = frozenset({"typed"})

    def run(self, graph: Graph) -> Graph:
        return graph.with_nodes({
            name: replace(node, **{param: np.asarray(value) for param, value in params(node).items()})
            for name, node in graph.nodes.items() if not isinstance(node, Neuron)
        })
