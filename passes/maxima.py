"""Maxima become rectifiers: max(a, b) = b + relu(a - b), so that what converts rectifiers converts them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..ir.diagnostics import Diagnostics, UnsupportedError
from ..ir.graph import Graph
from ..ir.nodes import Array, Conv2d, Flatten, MaxPool2d, Pair, Relu, Scale, SumPool2d
from ..ir.shapes import infer_shapes
from .manager import Pass
from .rewiring import Rewiring

__all__ = ["MaximaAsRectifiers"]


@dataclass(frozen=True)
class MaximaAsRectifiers(Pass[Graph, Graph]):
    """Of a network without spikes. The elements of a window meet in pairs, the winners in pairs again: one rectifier
    fewer than the window has elements. The pool's name goes to the convolution that picks the last element, which
    together with the rectifiers feeds what the pool fed."""

    name: ClassVar[str] = "maxima-as-rectifiers"
    requires: ClassVar[frozenset[str]] = frozenset({"typed"})

    def run(self, graph: Graph) -> Graph:
        """Raises:
            UnsupportedError: pools that pad (with minus infinity) what may be negative and goes on unrectified (SC310).
        """
        pools = {name: node for name, node in graph.nodes.items() if isinstance(node, MaxPool2d)}
        faults = Diagnostics()
        for name, pool in pools.items():
            if any(pool.padding) and not (_never_negative(graph, name) or _rectified(graph, name)):
                faults.add("SC310", "a maximum over a padded border where values may be negative", node=name,
                           value=f"padding={pool.padding}", remedy="Put the Relu before the pool, or pad with 0.")
        faults.raise_if_errors(UnsupportedError)
        shapes, _ = infer_shapes(graph)
        wiring = Rewiring(graph)
        for name, pool in pools.items():
            _rewrite(wiring, name, pool, shapes[name].input[0])
        return wiring.graph()


@dataclass(frozen=True, slots=True)
class _Winner:
    """A maximum so far: the element at `tap` of the window, plus these rectifiers."""

    tap: Pair
    rectifiers: tuple[str, ...] = ()


def _rewrite(wiring: Rewiring, name: str, pool: MaxPool2d, channels: int) -> None:
    sources, targets = wiring.sources(name), wiring.targets(name)

    def larger(one: _Winner, other: _Winner) -> _Winner:
        gap = wiring.add(f"{name}.gap", _weighing(pool, channels, {one.tap: 1.0, other.tap: -1.0}), *sources)
        fed = [gap, *one.rectifiers]
        if other.rectifiers:
            fed.append(wiring.add(f"{name}.minus", Scale(scale=np.array(-1.0)), *other.rectifiers))
        return _Winner(other.tap, (*other.rectifiers, wiring.add(f"{name}.larger", Relu(), *fed)))

    rows, columns = pool.kernel_size
    winners = [_Winner((row, column)) for row in range(rows) for column in range(columns)]
    while len(winners) > 1:
        odd = winners[len(winners) - len(winners) % 2:]
        winners = [larger(*pair) for pair in zip(winners[::2], winners[1::2], strict=False)] + odd
    wiring.nodes[name] = _weighing(pool, channels, {winners[0].tap: 1.0})
    wiring.edges.extend((rectifier, target) for rectifier in winners[0].rectifiers for target in targets)


def _weighing(pool: MaxPool2d, channels: int, taps: dict[Pair, float]) -> Conv2d:
    """The convolution that weighs single elements of the pool's windows, each channel by itself."""
    weight: Array = np.zeros((channels, 1, *pool.kernel_size))
    for (row, column), value in taps.items():
        weight[:, 0, row, column] = value
    return Conv2d(weight=weight, stride=pool.stride, padding=pool.padding, groups=channels)


def _never_negative(graph: Graph, name: str) -> bool:
    return all(
        isinstance(graph.nodes[source], Relu)
        or (isinstance(graph.nodes[source], SumPool2d | Flatten) and _never_negative(graph, source))
        for source in graph.sources[name])


def _rectified(graph: Graph, name: str) -> bool:
    return all(isinstance(graph.nodes[target], Relu) and graph.sources[target] == (name,)
               for target in graph.targets[name])
