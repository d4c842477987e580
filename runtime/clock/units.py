"""In which units a module on a grid holds its biases: in those of weights.

A bias of the graph is a constant current, and on a grid of 1 ms a thousand times the number that a framework adds in
every step: an optimizer that moves weights well would leave it where it is. So the module holds what the current does
to a neuron in one column, in units of what a spike of weight one does, which is the framework's own number.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ...ir.graph import Discretization, Graph
from ...ir.nodes import Array, Neuron, params
from ...ir.step_form import step_form

__all__ = ["bias_units"]


def bias_units(graph: Graph, grid: Discretization) -> dict[tuple[str, str], Array]:
    """By (node, "bias"): what a bias of the graph, a current, is multiplied by in the module, in seconds where a spike
    is a unit impulse. One number, or (n,) where a layer feeds neurons that differ. Where it feeds several populations
    that differ, no number is right for all, and their geometric mean is taken. It is d / b of the linear form
    (`ir/step_form.py`), float64. A bias that reaches no neuron is not in it."""
    found: dict[tuple[str, str], Array] = {}
    for name, node in graph.nodes.items():
        if isinstance(node, Neuron) or "bias" not in params(node):
            continue
        shares = [_share(graph.nodes[taker], grid) for taker in _takers(graph, name)]
        alike = [each for each in shares if each is not None]
        if not alike:
            continue
        every = np.concatenate([each.reshape(-1) for each in alike])
        shape = params(node)["bias"].shape
        if np.allclose(every, every[0], rtol=1e-9):
            found[name, "bias"] = every[0]
        elif len(alike) == 1 and alike[0].shape == shape:
            found[name, "bias"] = alike[0]
        else:
            found[name, "bias"] = np.asarray(np.exp(np.log(every).mean()))
    return found


def _takers(graph: Graph, name: str) -> Iterator[str]:
    """The neuron nodes that a node feeds, also through others."""
    seen, ways = {name}, [name]
    while ways:
        for target in graph.targets[ways.pop()]:
            if target in seen:
                continue
            seen.add(target)
            if isinstance(graph.nodes[target], Neuron):
                yield target
            else:
                ways.append(target)


def _share(node: Any, grid: Discretization) -> Array | None:
    """What a unit of constant current does in one column, of what a spike of weight one does; None where it is not to
    be told."""
    form = step_form(node, grid)
    for current, spike in zip(reversed(form.d), reversed(form.b), strict=True):
        if current is not None and spike is not None:
            shape = node.shape or ()
            share: Array = np.broadcast_to(np.asarray(current / spike, dtype=np.float64), shape)
            return share if np.isfinite(share).all() and (share > 0).all() else None
    return None
