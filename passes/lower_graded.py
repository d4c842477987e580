"""Model graph -> network of graded synapses: everything between its neurons becomes matrices."""

from __future__ import annotations

from dataclasses import replace
from math import prod
from typing import Any

import numpy as np

from ..ir.derived import apply, leaf
from ..ir.diagnostics import Diagnostics, UnsupportedError
from ..ir.graded.network import GradedNetwork, GradedPopulation
from ..ir.graph import Graph
from ..ir.network import Conv, Projection
from ..ir.nodes import GRADED, LI, Array, Graded, GradedTheta, Neuron, Output, params
from ..ir.shapes import infer_shapes
from .algebra import MAX_SYNAPSES, TooLargeError, as_sparse
from .lower_connections import connections

__all__ = ["graded_network", "is_graded"]


def is_graded(graph: Graph) -> bool:
    """Whether a graph has a neuron that sends a graded current."""
    return any(isinstance(node, GRADED) for node in graph.nodes.values())


def graded_network(graph: Graph) -> GradedNetwork:
    """What a marked graph (`mark_parameters`) of graded synapses means.

    Raises:
        UnsupportedError: spiking neurons or other readouts beside graded ones (SC456), a grid or delays (SC457), an
            output that shows an input, or a node without meaning over currents (SC302, SC303); all at once.
    """
    faults = Diagnostics()
    _refuse(graph, faults)
    shapes, _ = infer_shapes(graph)
    # An output is what reaches it, as a readout is: for folding it is one.
    ends = graph.with_nodes({name: LI(shape=shapes[name].input, tau=np.ones(())) for name in graph.outputs})
    folded = connections(ends, shapes, True, faults)
    projections = tuple(made for each in folded.projections if (made := _matrix(graph, each, faults)) is not None)
    faults.raise_if_errors(UnsupportedError)
    return GradedNetwork(
        inputs={name: shapes[name].output for name in graph.inputs},
        populations={name: _population(name, node, folded.bias.get(name))
                     for name, node in graph.nodes.items() if isinstance(node, Graded)},
        projections=projections,
        outputs={name: shapes[name].input for name in graph.outputs},
        offsets={name: folded.bias[name] for name in graph.outputs if name in folded.bias},
    )


def _refuse(graph: Graph, faults: Diagnostics) -> None:
    for name, node in graph.nodes.items():
        if isinstance(node, Graded):
            if node.grid is not None or graph.discretization is not None:
                faults.add("SC457", "graded currents are of continuous time, and the model states a grid", node=name,
                           remedy="Leave the discretisation out.")
        elif isinstance(node, Neuron):
            faults.add("SC456", "neurons that send graded currents and neurons of another kind do not mix", node=name,
                       value=type(node).__name__, remedy="Make all neurons GradedTheta or GradedLI; an output shows a "
                       "Linear of their currents.")


def _matrix(graph: Graph, each: Projection, faults: Diagnostics) -> Projection | None:
    """The projection as a dense or sparse matrix."""
    if each.delay is not None and np.any(np.asarray(each.delay)):
        faults.add("SC457", "a graded current has no delay here", node=each.name, value=f"{np.max(each.delay):g} s",
                   remedy="Leave the delay out, or put a GradedLI neuron in between.")
    elif each.source in graph.inputs and isinstance(graph.nodes[each.target], Output):
        faults.add("SC303", "an output shows graded currents, not an input", node=each.target, value=each.source,
                   remedy="Put neurons between the two.")
    elif isinstance(each.connection, Conv):
        try:
            return replace(each, delay=None, connection=as_sparse(each.connection, 0))
        except TooLargeError as error:
            faults.add("SC305", "this convolution is too large a matrix", node=each.name, value=error.entries,
                       limit=MAX_SYNAPSES)
    else:
        return replace(each, delay=None, delay_per="source")
    return None


def _population(name: str, node: Graded, bias: Array | None) -> GradedPopulation:
    shape = node.shape or ()
    values: dict[str, Any] = {
        param: apply("widen", apply("reshape", leaf(value, name, param), static=((-1,),)))
        for param, value in params(node).items()
    }
    return GradedPopulation(name=name, shape=shape, circle=isinstance(node, GradedTheta),
                            bias=np.zeros(prod(shape)) if bias is None else bias, **values)
