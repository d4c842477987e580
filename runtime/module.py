"""A network as a `torch.nn.Module` over the parameters of the model graph, with exact gradients."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch

from ..ir.diagnostics import Diagnostic, Diagnostics, UnsupportedError
from ..ir.graph import Graph
from ..ir.network import Network
from .cells import cell_kind
from .engine import Engine, Values
from .graph_module import GraphModule
from .outputs import Outputs, RunState

__all__ = ["EventModule"]


class EventModule(GraphModule):
    """A network as a `torch.nn.Module`; `Program.module` makes it, and a call gives `Outputs`. Its parameters are those
    of the model graph, as `GraphModule` says.

    Raises:
        BadInputError: `dtype` is not one of the engine, or `train` names no parameter (SC412).
        UnsupportedError: training can reach nothing, since every spike sits on its input's time (SC411).
    """

    _network: Network
    _engine: Engine
    _values: Values

    def __init__(self, graph: Graph, network: Network, dtype: torch.dtype = torch.float32,
                 train: Iterable[str] | None = None) -> None:
        super().__init__(graph, dtype, train)
        self._network = network
        refuse_jump_networks(network)
        self._prepare()

    def forward(self, events: Any, duration: float | None = None, state: RunState | None = None,
                dt: float | None = None) -> Outputs:
        """Simulates a batch. `events`: as for `Program.run`; event times may require grad."""
        return Outputs(self._engine.evaluate(self._values, self._engine.inputs(events, dt), duration, state))

    def _prepare(self) -> None:
        """Everything that is derived: made again after copying, moving or unpickling."""
        engine = self.__dict__.get("_engine") or Engine(self._network)
        values = Values(self._network, self._common_dtype(), self._by_node())
        self.__dict__.update(_engine=engine, _values=values)

    def _apply(self, fn: Any, recurse: bool = True) -> EventModule:
        super()._apply(fn, recurse)
        self._prepare()
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> EventModule:
        twin = self.__class__.__new__(self.__class__)
        memo[id(self)] = twin
        shared = {"_graph", "_network", "_engine", "_values"}
        twin.__dict__.update({key: value if key in shared else copy.deepcopy(value, memo)
                              for key, value in self.__dict__.items()})
        twin._prepare()
        return twin

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key not in ("_engine", "_values")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._prepare()


def refuse_jump_networks(network: Network) -> None:
    """A population of delta synapses that no constant current can drive over its threshold fires only at its inputs'
    times: no weight of it has an exact gradient.

    Raises:
        UnsupportedError: naming each such population (SC411).
    """
    faults = Diagnostics()
    for name, population in network.populations.items():
        if not population.spiking or cell_kind(population, network.discretization) != "u" or not network.incoming[name]:
            continue
        drive = np.asarray(population.r) * np.asarray(population.bias)
        leak = 0.0 if population.v_leak is None else np.asarray(population.v_leak)
        reaches = drive > 0 if population.kind == "integrator" else leak + drive > np.asarray(population.v_threshold)
        if not np.any(reaches):
            faults.found.append(Diagnostic(
                "SC411", "spikes of delta synapses sit on their inputs' times, so no weight has an exact gradient",
                node=name,
                remedy="Use CubaLIF (snnTorch: Synaptic), box spikes, or surrogate gradients on the clock target.",
            ))
    faults.raise_if_errors(UnsupportedError)
