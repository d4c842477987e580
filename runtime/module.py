"""A network as a `torch.nn.Module` over the parameters of the model graph, with exact gradients."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterable
from typing import Any, ClassVar

import numpy as np
import torch

from ..ir.diagnostics import Diagnostics, SpikecWarning, UnsupportedError
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

    Warns:
        SpikecWarning: it reaches weights through constant currents alone (SC411).
    """

    _network: Network
    _engine: Engine
    _values: Values
    _engine_type: ClassVar[type[Engine]] = Engine
    _shared: ClassVar[frozenset[str]] = frozenset({"_graph", "_network", "_engine", "_values"})
    """What a copy of the module has in common with it."""

    def __init__(self, graph: Graph, network: Network, dtype: torch.dtype = torch.float32,
                 train: Iterable[str] | None = None) -> None:
        super().__init__(graph, dtype, train)
        self._network = network
        check_jumps(network)
        self._prepare()

    def forward(self, events: Any, duration: float | None = None, state: RunState | None = None,
                dt: float | None = None) -> Outputs:
        """Simulates a batch. `events`: as for `Program.run`; event times may require grad."""
        return Outputs(self._engine.evaluate(self._values, self._engine.inputs(events, dt), duration, state))

    def check_push(self, population: str) -> None:
        """Raises BadInputError where silent neurons of a population cannot be pushed (SC404): see `Outputs.push`."""
        self._engine.free_stage(population)

    def _prepare(self) -> None:
        """Everything that is derived: made again after copying, moving or unpickling."""
        engine = self.__dict__.get("_engine") or self._engine_type(self._network)
        values = Values(self._network, self._common_dtype(), self._by_node())
        self.__dict__.update(_engine=engine, _values=values)

    def _apply(self, fn: Any, recurse: bool = True) -> EventModule:
        super()._apply(fn, recurse)
        self._prepare()
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> EventModule:
        twin = self.__class__.__new__(self.__class__)
        memo[id(self)] = twin
        twin.__dict__.update({key: value if key in self._shared else copy.deepcopy(value, memo)
                              for key, value in self.__dict__.items()})
        twin._prepare()
        return twin

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key not in ("_engine", "_values")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._prepare()


def check_jumps(network: Network) -> None:
    """A population of delta synapses fires at its inputs' times, where no weight has an exact gradient, but for
    crossings that its constant current drives: refused where that reaches no threshold, else told.

    Raises:
        UnsupportedError: naming each population that no constant current can drive over its threshold (SC411).

    Warns:
        SpikecWarning: (SC411) naming the others, and how many of their neurons a constant current can drive.
    """
    faults = Diagnostics()
    for name, population in network.populations.items():
        if population.kind == "flow" or not population.spiking or not network.incoming[name]:
            continue
        if cell_kind(population, network.discretization) != "u":
            continue
        drive = np.asarray(population.r) * np.asarray(population.bias)
        leak = 0.0 if population.v_leak is None else np.asarray(population.v_leak)
        reaches = drive > 0 if population.kind == "integrator" else leak + drive > np.asarray(population.v_threshold)
        driven = int(np.broadcast_to(reaches, (network.size(name),)).sum())
        message = "spikes of delta synapses sit on their inputs' times, so no weight has an exact gradient"
        if driven:
            message += (", but through the crossings that a constant current drives; it can drive "
                        f"{driven} of {network.size(name)} neurons")
        faults.add("SC411", message, node=name, severity="warning" if driven else "error", remedy="Use CubaLIF "
                   "(snnTorch: Synaptic), box spikes, or surrogate gradients on the clock target.")
    faults.raise_if_errors(UnsupportedError)
    for found in faults.found:
        warnings.warn(str(found), SpikecWarning, stacklevel=4)
