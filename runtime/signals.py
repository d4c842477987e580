"""What goes into a kernel's run and comes out of it: spikes, states, voltages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from ..ir.diagnostics import Diagnostic

__all__ = ["GRAZING", "Ending", "FlowState", "Played", "Spikes", "State", "SweepResult", "count_grazing", "cut_off"]

GRAZING = 1e-6
"""A smooth crossing with u' below this fraction of its drive rho j counts as grazing; its slope is taken as that."""


@dataclass(frozen=True, slots=True, repr=False)
class Spikes:
    """Events as tensors, (total,) float64, (total,) int64, (batch + 1,) int64."""

    times: Tensor
    indices: Tensor
    offsets: Tensor

    def __repr__(self) -> str:
        return f"Spikes({len(self.offsets) - 1} samples, {len(self.times)} events)"

    def to(self, device: torch.device) -> Spikes:
        return Spikes(self.times.to(device), self.indices.to(device), self.offsets.to(device))


@dataclass(frozen=True, slots=True, repr=False)
class Played:
    """Spikes that take the place of crossings, one list for each population of a component. A nominal membrane that
    rises slower at one of them than `guard`, as a fraction of its drive, of what it leaks at the threshold, or of what
    would bring it from the reset to the threshold within the run, is taken to rise that fast."""

    spikes: Sequence[Spikes]
    guard: float


@dataclass(frozen=True, slots=True, repr=False)
class State:
    """Where a run ends and the next goes on, in the engine's units: (batch, n) each. `hold`: end of the refractory
    period, relative to the start of the run."""

    u: Tensor
    j: Tensor
    c: Tensor
    hold: Tensor

    def __repr__(self) -> str:
        return "State({} samples, {} neurons)".format(*self.u.shape)

    @property
    def samples(self) -> int:
        return len(self.u)

    def to(self, dtype: torch.dtype) -> State:
        return State(self.u.to(dtype), self.j.to(dtype), self.c.to(dtype), self.hold)

    def on(self, device: torch.device) -> State:
        return State(self.u.to(device), self.j.to(device), self.c.to(device), self.hold.to(device))


@dataclass(frozen=True, slots=True, repr=False)
class FlowState:
    """The same of neurons that are stated by equations: `states` (batch, states, n), float64, in the order of their
    dynamics; `hold` (batch, n)."""

    states: Tensor
    hold: Tensor

    def __repr__(self) -> str:
        return "FlowState({} samples, {} states, {} neurons)".format(*self.states.shape)

    @property
    def samples(self) -> int:
        return len(self.states)

    def to(self, dtype: torch.dtype) -> FlowState:
        """As it is: such states are float64 whatever the engine computes in."""
        return self

    def on(self, device: torch.device) -> FlowState:
        return FlowState(self.states.to(device), self.hold.to(device))


class Ending(Protocol):
    """Where a run ended, read only when asked for."""

    def ending(self) -> State | FlowState: ...

    def grazing(self) -> int: ...


@dataclass(slots=True)
class SweepResult:
    """What one population did. `times` is differentiable; `voltage` (batch, probes, n), `highest` and `integral`
    (batch, n) are in u, that is from `Cell.rest`, and differentiable. `ends` (batch, states, n): of neurons that are
    stated by equations, their states at the end, differentiable; their voltages are the state that is shown."""

    spikes: Spikes
    probes: Tensor | None
    highest: Tensor | None
    highest_times: Tensor | None
    integral: Tensor | None
    end: Ending
    truncated: bool
    ends: Tensor | None = None


def count_grazing(rates: Mapping[str, Tensor], j: Tensor, guard: float = GRAZING) -> int:
    """Of crossings at current `j` by neurons of these `a`, `rho`, `theta` and `least_slope`, if there is one: how many
    rise slower than the guard."""
    drive = rates["rho"] * j
    slope = drive - rates["a"] * rates["theta"]
    return int(((slope < guard * drive.abs()) | (slope < rates.get("least_slope", -torch.inf))).sum())


def cut_off(names: Sequence[str], limits: str, on_a_grid: bool) -> Diagnostic:
    """What is said of populations that came to the limit of spikes, and what helps."""
    remedy = "Lower the weights or the duration, add inhibition, or give the neurons a refractory period."
    if not on_a_grid:
        remedy += (" The model is read in continuous time, where a spike is an impulse: if it was made on a grid, read "
                   "it with discretization=Discretization(dt=…, spike=…), or --dt SECONDS --spike delta|box.")
    return Diagnostic("SC408", "more spikes than a sample may have: the rest is cut off", node=", ".join(names),
                      limit=limits, remedy=remedy)
