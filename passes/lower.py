"""Model graph -> network: neuron nodes become populations, everything between them projections."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..ir.diagnostics import Diagnostics, UnsupportedError
from ..ir.flow.checks import check_currents
from ..ir.graph import Graph
from ..ir.network import Network
from ..ir.nodes import Flatten, FlowNeuron, Membrane, Neuron
from ..ir.shapes import infer_shapes
from ..ir.wiring import continuous_faults
from .lower_connections import connections
from .lower_populations import flowing, population
from .manager import Pass

__all__ = ["Lower"]


@dataclass(frozen=True)
class Lower(Pass[Graph, Network]):
    """`tie_delays`: delays of one connection that are all equal, or equal for each source, become one delay for each
    source, which the engine handles at once; its derivative is shared evenly among the parameters. False keeps
    one delay for each synapse where the model has one.

    Raises:
        UnsupportedError: nodes without a meaning in continuous time, an Output that shows no single neuron node, a
            readout that feeds a neuron, matrices that grow too large; all at once.
    """

    name: ClassVar[str] = "lower"
    requires: ClassVar[frozenset[str]] = frozenset({"typed"})
    ensures: ClassVar[frozenset[str]] = frozenset({"typed", "lowered"})

    tie_delays: bool = True

    def run(self, graph: Graph) -> Network:
        faults = Diagnostics()
        shapes, _ = infer_shapes(graph)
        faults.extend(found for found in continuous_faults(graph) if found.code == "SC306")
        folded = connections(graph, shapes, self.tie_delays, faults)
        outputs = _outputs(graph, faults)
        for name, node in graph.nodes.items():
            if isinstance(node, FlowNeuron):
                check_currents(name, node, folded.bias.get(name, np.zeros(shapes[name].output)), faults)
        faults.raise_if_errors(UnsupportedError)
        return Network(
            inputs={name: shapes[name].output for name in graph.inputs},
            populations={
                name: flowing(name, node, folded.bias.get(name)) if isinstance(node, FlowNeuron) else
                population(name, node, folded.bias.get(name))
                for name, node in graph.nodes.items() if isinstance(node, Membrane | FlowNeuron)
            },
            projections=folded.projections,
            outputs=outputs,
            discretization=graph.discretization,
        )


def _outputs(graph: Graph, faults: Diagnostics) -> dict[str, str]:
    shown = {}
    for output in graph.outputs:
        sources = graph.sources[output]
        while len(sources) == 1 and isinstance(graph.nodes[sources[0]], Flatten):
            sources = graph.sources[sources[0]]
        if len(sources) == 1 and isinstance(graph.nodes[sources[0]], Neuron):
            shown[output] = sources[0]
        elif len(sources) > 1:
            faults.add("SC303", "an output shows one neuron node, not a sum", node=output, value=", ".join(sources),
                       remedy="Give each its own Output, or sum them in an LI readout.")
        else:
            faults.add("SC303", "an output shows a neuron node", node=output, value=", ".join(sources),
                       remedy="Put a readout (LI, CubaLI or I) before the output.")
    return shown
