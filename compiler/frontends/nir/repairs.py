"""What writers of NIR files do, put right: each repair says what the file stated and what was made of it.

A repair is made only where what the file literally says is not legal, or says nothing, and one other reading is; it is
a warning, except where nothing that the file says is changed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import prod
from typing import Any

import numpy as np

from ....ir.diagnostics import Diagnostics
from ....ir.graph import Edge, Graph
from ....ir.nodes import Delay, Flatten, Input, Membrane, Node, Output, Scale, Threshold, params
from ....ir.shapes import Shapes, infer_shapes

__all__ = ["repaired"]


def repaired(graph: Graph, faults: Diagnostics) -> Graph:
    """The graph with every repair that applies; `faults` say which."""
    for repair in (_spread, _with_ends, _unbatched_inputs, _unbatched_flatten, _shaped_outputs):
        graph = repair(graph, faults)
    return graph


def _spread(graph: Graph, faults: Diagnostics) -> Graph:
    """Neurons whose parameters are single numbers take the shape of what they are fed, or else of what they feed."""
    single = {name: node for name, node in graph.nodes.items() if isinstance(node, Membrane)
              and all(value.size == 1 for value in params(node).values())}
    if not single:
        return graph
    stand_in: Node = Scale(scale=np.ones(()))
    known, _ = infer_shapes(graph.with_nodes(dict.fromkeys(single, stand_in)))
    spread: dict[str, Node] = {}
    for name, node in single.items():
        shape = _shape_around(name, graph, known) or node.shape
        if not shape:
            faults.add("SC205", "the neurons' number is unknown: every parameter is a single number, and so are those "
                       "around it", node=name, remedy="Write parameters with one value for each neuron.")
            continue
        if node.shape not in ((), shape):
            faults.add("SC107", "parameters with one element were spread over the neurons", node=name,
                       value=node.shape, limit=shape, severity="warning")
        if shape != node.shape:
            values: dict[str, Any] = {key: np.broadcast_to(value.reshape(()), shape)
                                      for key, value in params(node).items()}
            spread[name] = replace(node, shape=shape, **values)
    return graph.with_nodes(spread)


def _shape_around(name: str, graph: Graph, known: Mapping[str, Shapes]) -> tuple[int, ...] | None:
    if name in known:
        return known[name].input
    return next((known[target].input for target in graph.targets[name] if target in known), None)


def _with_ends(graph: Graph, faults: Diagnostics) -> Graph:
    """A graph without any Input (or Output) gets one before every node that nothing is fed to (after every node that
    feeds nothing), as `NIRGraph.infer_types` does; NIR 0.1 to 1.0 wrote graphs without."""
    known, _ = infer_shapes(graph)
    first: dict[str, Node] = {}
    last: dict[str, Node] = {}
    edges: list[Edge] = list(graph.edges)
    for kind, ends, linked, added in (("Input", graph.inputs, graph.sources, first),
                                      ("Output", graph.outputs, graph.targets, last)):
        loose = [name for name in graph.nodes if not linked[name]]
        if kind == "Input":  # these take any shape, but state one in NIR
            known |= {name: Shapes(shape, shape) for name in loose
                      for shape in _elementwise(graph.nodes[name]) if name not in known}
        if ends or not all(name in known for name in loose):
            continue
        for name in loose:
            end = f"{kind.lower()}_{name}"
            if end in graph.nodes:
                continue
            shapes = known[name]
            added[end] = Input(shape=shapes.input) if kind == "Input" else Output(shape=shapes.output)
            edges.append((end, name) if kind == "Input" else (name, end))
            faults.add("SC105", f"the file has no {kind}: '{end}' was added", node=name, severity="warning")
    return graph.replace(nodes={**first, **graph.nodes, **last}, edges=tuple(edges))


def _elementwise(node: Node) -> tuple[tuple[int, ...], ...]:
    return tuple(value.shape for value in params(node).values()) if isinstance(node, (Scale, Delay, Threshold)) else ()


def _unbatched_inputs(graph: Graph, faults: Diagnostics) -> Graph:
    """An Input with leading axes of batch or time, which NIR does not have, loses them where it fits only then."""
    for name in graph.inputs:
        shape = graph.nodes[name].shape  # type: ignore[attr-defined]
        if not isinstance(shape, tuple) or not _misfits(graph, name):
            continue
        for cut in range(1, len(shape)):
            other = graph.with_nodes({name: Input(shape=shape[cut:])})
            if not _misfits(other, name):
                graph = other
                faults.add("SC102", "the input counts axes of batch or time, which NIR does not have; they were left "
                           "out", node=name, value=shape, limit=shape[cut:], severity="warning")
                break
    return graph


def _misfits(graph: Graph, name: str) -> bool:
    """Whether the shapes around an input do not agree."""
    near = {name, *graph.targets[name]}
    return any(fault.node in near for fault in infer_shapes(graph)[1])


def _unbatched_flatten(graph: Graph, faults: Diagnostics) -> Graph:
    """NIR has no batch axis, but some writers count one in Flatten. Read so only where the literal reading does not
    fit what follows, and the other does."""
    for name, node in graph.nodes.items():
        if not isinstance(node, Flatten) or node.start_dim < 1:
            continue
        known, _ = infer_shapes(graph)
        wanted = {known[target].input for target in graph.targets[name]
                  if target in known and not isinstance(graph.nodes[target], Output)}
        if not wanted or (name in known and wanted == {known[name].output}):
            continue
        end = node.end_dim - 1 if node.end_dim > 0 else node.end_dim
        other = graph.with_nodes({name: Flatten(start_dim=node.start_dim - 1, end_dim=end)})
        shapes = infer_shapes(other)[0].get(name)
        if shapes is not None and wanted == {shapes.output}:
            graph = other
            faults.add("SC102", "the axes to flatten were counted with a batch axis, which NIR does not have",
                       node=name, value=(node.start_dim, node.end_dim), severity="warning",
                       remedy=f"They were read as ({node.start_dim - 1}, {end}).")
    return graph


def _shaped_outputs(graph: Graph, faults: Diagnostics) -> Graph:
    """An Output with as many elements as its source, but other axes, or with axes of batch or time before those of its
    source, takes the shape of the source."""
    known, _ = infer_shapes(graph)
    shaped: dict[str, Node] = {}
    for name in graph.outputs:
        given = {known[source].output for source in graph.sources[name] if source in known}
        stated = graph.nodes[name].shape  # type: ignore[attr-defined]
        if len(given) != 1 or not isinstance(stated, tuple) or stated in given:
            continue
        shape = next(iter(given))
        if prod(shape) == prod(stated) or stated[-len(shape):] == shape:
            shaped[name] = Output(shape=shape)
            faults.add("SC102", "the output states other axes than its source has; the source's were taken", node=name,
                       value=stated, limit=shape, severity="warning")
    return graph.with_nodes(shaped)
