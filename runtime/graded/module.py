"""A network of graded synapses as a `torch.nn.Module` over the parameters of the model graph."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch

from ...ir.diagnostics import Diagnostic, Diagnostics, UnsupportedError
from ...ir.facts import is_number
from ...ir.graded.network import GradedNetwork
from ...ir.graph import Graph
from ..graph_module import GraphModule
from .engine import GradedEngine, GradedState
from .outputs import GradedOutputs
from .signals import driven

__all__ = ["GradedModule", "check_settings"]

MOST_TOLERANCE = 1e-2
LEAST_TOLERANCE = 1e-13


class GradedModule(GraphModule):
    """`GradedProgram.module` makes it, and a call gives `GradedOutputs`. Its parameters are those of the model graph,
    as `GraphModule` says; arithmetic is float64, whatever their type. Gradients are those of the steps that were taken,
    to rounding; how far these are from those of the differential equations, `benchmarks/gradients.py` measures.

    Raises:
        BadInputError: `dtype` is not one of the engine, or `train` names no parameter (SC412), or the tolerance is out
            of range (SC403).
    """

    _network: GradedNetwork

    def __init__(self, graph: Graph, network: GradedNetwork, dtype: torch.dtype = torch.float32,
                 train: Iterable[str] | None = None, tolerance: float = 1e-8) -> None:
        super().__init__(graph, dtype, train)
        check_settings(tolerance, None, network)
        self._network, self.tolerance = network, float(tolerance)

    def forward(self, signals: Any, duration: float | None = None, state: GradedState | None = None,
                dt: float | None = None, membranes: bool = False) -> GradedOutputs:
        """Integrates a batch; arguments as of `GradedProgram.run`. Signals may require grad."""
        given = driven(self._network, signals, dt, duration)
        check_settings(self.tolerance, state, self._network, given.batch)
        engine = GradedEngine(self._network)
        return GradedOutputs(engine.evaluate(given, self.tolerance, self._by_node(), state, membranes))

    def _apply(self, fn: Any, recurse: bool = True) -> GradedModule:
        if (place := fn(torch.zeros(1)).device.type) != "cpu":
            raise UnsupportedError(Diagnostic("SC463", "graded synapses run on the CPU", value=place,
                                              remedy="Leave the module there: all cores are used."))
        super()._apply(fn, recurse)
        return self


def check_settings(tolerance: Any, state: Any, network: GradedNetwork, batch: int | None = None) -> None:
    """Raises BadInputError where a tolerance is out of range, or a state is none of this network and batch (SC403)."""
    faults = Diagnostics()
    if not (is_number(tolerance) and LEAST_TOLERANCE <= tolerance <= MOST_TOLERANCE):
        faults.add("SC403", "the tolerance is out of range", value=repr(tolerance)[:80],
                   limit=f"{LEAST_TOLERANCE:g} to {MOST_TOLERANCE:g}")
    if state is not None and not isinstance(state, GradedState):
        faults.add("SC403", "state is not that of a former result", value=type(state).__name__,
                   remedy="Give state=result.state.")
    elif state is not None and tuple(state.membranes.shape) != (batch, network.n):
        faults.add("SC403", "state is of another network, or of another number of samples",
                   value=tuple(state.membranes.shape), limit=(batch, network.n))
    faults.raise_if_errors()
