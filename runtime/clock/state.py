"""Where a stream on a grid stands between two runs, and whether a network can take it up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ...ir.columns import delay_columns
from ...ir.diagnostics import BadInputError, Diagnostic
from ...ir.graph import Discretization, Graph
from ...ir.nodes import Node, StepNeuron
from .scan import Start

if TYPE_CHECKING:
    from .engine import ClockEngine

__all__ = ["ClockState", "form_of", "taken_up"]


@dataclass(frozen=True, slots=True)
class ClockState:
    """Every population, and `sent`, the last columns (delay, batch, *shape) of what nodes gave that is still under way.
    `form`: `form_of` the graph that it belongs to."""

    populations: Mapping[str, Start]
    sent: Mapping[str, Tensor]
    form: tuple[Any, ...]


def form_of(graph: Graph, grid: Discretization, shapes: Mapping[str, Any]) -> tuple[Any, ...]:
    """What two graphs must have in common for the state of one to mean anything to the other: all but what is trained.
    """
    return (grid, *((name, type(node).__name__, shapes[name].output, *_counted(node, grid))
                    for name, node in graph.nodes.items()), *graph.edges)


def _counted(node: Node, grid: Discretization) -> tuple[Any, ...]:
    """What of a node says how much there is of a state: columns of delay and rest, numbers of states."""
    delay, rest = delay_columns(node, grid.dt), getattr(node, "refractory", None)
    return (None if delay is None else delay.tobytes(), None if rest is None else rest.tobytes(),
            getattr(node, "grid", None), len(node.b) if isinstance(node, StepNeuron) else None)


def taken_up(engine: ClockEngine, state: Any, batch: int, dtype: torch.dtype,
             device: torch.device) -> ClockState | None:
    """A state of a former run, in the arithmetic and on the device of this one; None for None.

    Raises:
        BadInputError: it is no state, of another network, or of another number of samples (SC403).
    """
    if state is None:
        return None
    if not isinstance(state, ClockState):
        raise BadInputError(Diagnostic("SC403", "state is not that of a former result", value=type(state).__name__,
                                       remedy="Give state=result.state."))
    if state.form != engine.form:
        raise BadInputError(Diagnostic("SC403", "state belongs to another network",
                                       remedy="Go on with the program whose result it is."))
    for name, start in state.populations.items():
        if start.states.shape[1] != batch:
            raise BadInputError(Diagnostic("SC403", "state has another number of samples", node=name,
                                           value=str(start.states.shape[1]), limit=str(batch),
                                           remedy="Go on with as many samples, in the same order."))

    def here(tensor: Tensor) -> Tensor:
        return tensor.to(device, dtype if tensor.is_floating_point() else tensor.dtype)

    populations = {name: Start(here(start.states), here(start.fired), here(start.lagged), here(start.left),
                               None if start.past is None else here(start.past))
                   for name, start in state.populations.items()}
    return ClockState(populations, {name: here(sent) for name, sent in state.sent.items()}, state.form)
