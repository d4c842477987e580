"""Populations of flows in the columns of their kernel."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ...ir.flow.checks import LEAST_CURRENT
from ...ir.flow.flow import Dynamics, Flow
from ...ir.network import Population
from ...ir.nodes import Array

__all__ = ["FlowValues", "arrays_of", "columns_of", "falls_silent", "flow_values", "slowest_of", "theta_columns"]


@dataclass(frozen=True, slots=True)
class FlowValues:
    """`parameters` (parameters, n), as the kernel takes them, and `start` (states, n), float64, in the order of the
    dynamics."""

    parameters: Tensor
    start: Tensor


def arrays_of(flow: Flow) -> dict[str, Array]:
    """Its arrays by name: parameters, and the start of each state as the state's name with a 0."""
    return {**flow.values, **{f"{state}0": start for state, start in flow.start.items()}}


def flow_values(population: Population, values: Mapping[str, Tensor]) -> FlowValues:
    """The columns of a population whose arrays, as `arrays_of` names them, are `values`; differentiable."""
    flow: Any = population.flow
    parameters = [values[name] for name in flow.dynamics.parameters]
    if flow.dynamics.name == "theta":
        tau, current, *bias = parameters
        root = (sum(bias, current) - LEAST_CURRENT).sqrt()
        parameters = [root, 1 / root, root / tau, tau / root]  # as `theta_columns` reads them
    if flow.dynamics.name == "qif":
        parameters = [*parameters, 1 / parameters[0]]
    start = torch.stack([values[f"{state}0"] for state in flow.dynamics.states])
    return FlowValues(torch.stack(parameters) if parameters else start[:0], start)


def theta_columns(values: FlowValues) -> tuple[Tensor, Tensor]:
    """Of a theta population (n,) each: the root of the drive that is above the threshold of repetitive firing, and
    tau, seconds."""
    root, tau_by_root = values.parameters[0], values.parameters[3]
    return root, root * tau_by_root


def columns_of(dynamics: Dynamics) -> int:
    """Number of parameters that the kernel takes."""
    return {"theta": 4, "qif": 2}.get(dynamics.name, len(dynamics.parameters))


def falls_silent(flow: Flow, values: FlowValues) -> bool:
    """Whether such neurons fire no more, some time after their last input: QIF neurons that start below V = 1, beyond
    which they would run away. Of equations nobody knows."""
    return flow.dynamics.name == "qif" and bool((values.start[0] < 1).all())


def slowest_of(values: FlowValues) -> float:
    """The longest time constant of QIF neurons, seconds: what such a neuron still does 40 of them after its last input,
    no float64 tells."""
    return float(values.parameters[0].max())
