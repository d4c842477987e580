"""A network on a grid as a `torch.nn.Module`, with surrogate gradients."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any

import torch

from ...ir.nodes import is_spiking
from ..graph_module import GraphModule
from .engine import ClockEngine
from .inputs import signals_of
from .outputs import ClockOutputs
from .state import ClockState, taken_up
from .surrogates import Surrogate
from .units import bias_units

__all__ = ["ClockModule"]


class ClockModule(GraphModule):
    """A network as a `torch.nn.Module`; `Program.module` makes it, and a call gives `ClockOutputs`. Its parameters are
    those of the model graph, as `GraphModule` says, but that biases are in units of weights, as frameworks have them
    (`bias_units`); `to_graph` makes them currents again. The gradient of a spike is a heuristic, `surrogate`."""

    _engine: ClockEngine
    surrogate: Surrogate

    def __init__(self, engine: ClockEngine, surrogate: Surrogate, dtype: torch.dtype = torch.float32,
                 train: Iterable[str] | None = None) -> None:
        super().__init__(engine.graph, dtype, train, bias_units(engine.graph, engine.grid))
        self._engine, self.surrogate = engine, surrogate

    def forward(self, events: Any, duration: float | None = None, state: ClockState | None = None,
                dt: float | None = None, record: Iterable[str] = ()) -> ClockOutputs:
        """Simulates a batch. `events`: as for `Program.run`; a raster may require grad. `record`: spiking nodes whose
        membrane will be asked for. `state`: of former outputs, whose stream goes on.

        Raises:
            BadInputError: a parameter is NaN, infinite or out of its range (SC103, SC104), as after an optimizer that
                diverged; or as `Program.run`.
        """
        parameters, dtype = self._legal_by_node(), self._common_dtype()
        device = next((each.device for each in parameters.values()), torch.device("cpu"))
        signals, steps, batch = signals_of(self._engine, events, duration, dt, dtype, device)
        start = taken_up(self._engine, state, batch, dtype, device)
        shown = self._engine.wiring.shown_by
        nodes = self._engine.graph.nodes
        show = {shown.get(name, name) for name in record} | {
            name for name in self._engine.neurons if not is_spiking(nodes[name])}
        return ClockOutputs(self._engine.run(signals, steps, batch, parameters, dtype, self.surrogate,
                                             torch.is_grad_enabled(), frozenset(show), start))

    def __deepcopy__(self, memo: dict[int, Any]) -> ClockModule:
        twin = self.__class__.__new__(self.__class__)
        memo[id(self)] = twin
        shared = {"_graph", "_engine"}
        twin.__dict__.update({key: value if key in shared else copy.deepcopy(value, memo)
                              for key, value in self.__dict__.items()})
        return twin

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key != "_engine"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._engine = ClockEngine(self._graph)
