"""What the forward pass of a network on a grid can be asked. Gradients of spikes are those of the surrogate."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from ...ir.diagnostics import BadInputError, Diagnostic, Diagnostics
from ...ir.events import MOST_EVENTS, Events

__all__ = ["ClockOutputs", "StepActivity", "events_of", "probe_columns", "wanted_probes"]


class StepActivity(Protocol):
    """What neurons did over the columns of a batch, whatever computed it. `shown_by`: the node that each output node
    shows. `spiking`: by node, whether it spikes. `state`: where the stream stands, or None."""

    @property
    def shown_by(self) -> Mapping[str, str]: ...

    @property
    def spiking(self) -> Mapping[str, bool]: ...

    @property
    def steps(self) -> int: ...

    @property
    def dt(self) -> float: ...

    @property
    def state(self) -> Any: ...

    def flags(self, node: str) -> Tensor:
        """(time, batch, n) of a spiking node: uint8, or counts where there may be many."""

    def spikes(self, node: str) -> Tensor:
        """The same as numbers, differentiable."""

    def membrane(self, node: str) -> Tensor | None:
        """(time, batch, n) after each column, differentiable, where it was recorded."""


class ClockOutputs:
    """Names are neuron nodes, or output nodes. Column n (from 0) is the time (n + 1) dt.

    Raises:
        BadInputError: from each method, where no node has the name, or it has no such quantity (SC409).
    """

    def __init__(self, activity: StepActivity) -> None:
        self._activity = activity

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the network's output nodes."""
        return tuple(self._activity.shown_by)

    @property
    def duration(self) -> float:
        """Seconds simulated."""
        return self._activity.steps * self._activity.dt

    @property
    def truncated(self) -> bool:
        """False: on a grid no spikes are cut off."""
        return False

    @property
    def grazing(self) -> int:
        """0: on a grid there are no slopes at crossings."""
        return 0

    @property
    def state(self) -> Any:
        """Where the stream stands, for `state=` of the next call; detached, so gradients end there."""
        return self._activity.state

    def spikes(self, name: str) -> Tensor:
        """(batch, time, n): spikes in each column; differentiable."""
        return self._spikes(name).transpose(0, 1)

    def spike_count(self, name: str) -> Tensor:
        """(batch, n): spikes over the duration; differentiable."""
        return self._spikes(name).sum(0)

    def total_spikes(self, name: str) -> int:
        """Spikes of all samples and neurons."""
        flags = self._flags(name)
        return int(flags.sum()) if flags.is_floating_point() else int(torch.count_nonzero(flags))

    def events(self, name: str) -> Events:
        """The spikes of a node as events, without gradient."""
        return events_of(self._flags(name), self._activity.dt)

    def first_spike(self, name: str) -> Tensor:
        """(batch, n) float64 seconds, +inf where silent; without gradient: on a grid a time is no smooth function."""
        flags = self._flags(name) != 0
        first = flags.to(torch.uint8).argmax(0).to(torch.float64)
        times = (first + 1) * self._activity.dt
        return torch.where(flags.any(0), times, torch.inf)

    def voltage(self, name: str, times: Any = None) -> Tensor:
        """(batch, time, n): the membrane after each column, or after those at `times` (seconds on the grid, SC407). Of
        readouts, and of the nodes that the call was asked to `record`; differentiable."""
        shown = self._shown(name).transpose(0, 1)
        if times is None:
            return shown
        faults = Diagnostics()
        columns = probe_columns(times, self._activity.dt, self._activity.steps, name, faults)
        faults.raise_if_errors()
        return shown[:, torch.from_numpy(columns)]

    def voltage_max(self, name: str) -> Tensor:
        """(batch, n): the highest membrane of a readout after any column."""
        return self._readout(name).amax(0)

    def voltage_integral(self, name: str, decay: float | None = None) -> Tensor:
        """(batch, n): the sum over columns of a readout's membrane times dt, each weighted by exp(-t / decay)."""
        if decay is not None and not (isinstance(decay, int | float | np.number) and 0 < decay < math.inf):
            raise BadInputError(Diagnostic("SC403", "decay is a time constant", node=name, value=repr(decay),
                                           limit="a finite number of seconds above 0, or None"))
        shown, dt = self._readout(name), self._activity.dt
        if decay is None:
            return shown.sum(0) * dt
        times = dt * torch.arange(1, len(shown) + 1, dtype=shown.dtype, device=shown.device)
        return torch.einsum("tbn,t->bn", shown, torch.exp(-times / decay)) * dt

    def push(self, name: str) -> Tensor:
        """Of continuous time only (SC409)."""
        raise BadInputError(Diagnostic(
            "SC409", "silent neurons are pushed in continuous time only", node=name,
            remedy="Give the loss silent=None: on a grid the surrogate gradient reaches silent neurons itself."))

    def _node(self, name: str) -> str:
        shown = self._activity.shown_by
        node = shown.get(name, name)
        if node not in self._activity.spiking:
            known = ", ".join([*shown, *self._activity.spiking])
            raise BadInputError(Diagnostic("SC409", f"there is no neuron or output node '{name}'",
                                           remedy=f"Nodes: {known}."))
        return node

    def _spiking(self, name: str) -> str:
        node = self._node(name)
        if not self._activity.spiking[node]:
            raise BadInputError(Diagnostic("SC409", "a readout has no spikes", node=name,
                                           remedy="Ask for `voltage`, `voltage_max` or `voltage_integral`."))
        return node

    def _spikes(self, name: str) -> Tensor:
        return self._activity.spikes(self._spiking(name))

    def _flags(self, name: str) -> Tensor:
        return self._activity.flags(self._spiking(name))

    def _shown(self, name: str) -> Tensor:
        shown = self._activity.membrane(self._node(name))
        if shown is None:
            raise BadInputError(Diagnostic("SC409", "the membrane of this node was not recorded", node=name,
                                           remedy=f"Call the module with record=('{self._node(name)}',)."))
        return shown

    def _readout(self, name: str) -> Tensor:
        if self._activity.spiking[self._node(name)]:
            raise BadInputError(Diagnostic("SC409", "maximum and integral of the voltage are those of readouts",
                                           node=name, remedy="Use LI, CubaLI, I or a StepNeuron without threshold as "
                                           "the output, or `voltage`."))
        return self._shown(name)


def events_of(flags: Tensor, dt: float) -> Events:
    """(time, batch, n) of spikes or counts -> Events at the times (column + 1) dt."""
    if flags.is_floating_point():
        total = float(flags.sum())
        if not total <= MOST_EVENTS:  # NaN too
            raise BadInputError(Diagnostic(
                "SC408", "activity that feeds itself grew beyond what can be listed", value=f"{total:g} spikes",
                limit=f"{MOST_EVENTS:,}", remedy="Check the recurrent weights, or let neurons spike once a step."))
    sample, column, index = torch.nonzero(flags.transpose(0, 1), as_tuple=True)
    if flags.is_floating_point():
        repeats = flags.transpose(0, 1)[sample, column, index].to(torch.int64)
        sample, column, index = (torch.repeat_interleave(each, repeats) for each in (sample, column, index))
    numbers = torch.arange(flags.shape[1] + 1, device=flags.device)
    return Events((column + 1).to(torch.float64) * dt, index, torch.searchsorted(sample, numbers))


def wanted_probes(probes: Any, outputs: Mapping[str, str], neurons: Iterable[str],
                  faults: Diagnostics) -> dict[str, tuple[str, Any]]:
    """(neuron node, times in seconds, or None for all columns) by label `<node>.v`, where a node may be named by the
    output that shows it; faults are SC407."""
    wanted: dict[str, tuple[str, Any]] = {}
    if probes is None:
        return wanted
    if not isinstance(probes, Mapping):
        faults.add("SC407", "probes are times by name", value=type(probes).__name__,
                   remedy="Give probes={'<neuron node>.v': times in seconds, or None for all columns}.")
        return wanted
    there = tuple(neurons)
    for label, times in probes.items():
        name, _, quantity = str(label).rpartition(".")
        node = outputs.get(name, name)
        if quantity != "v" or node not in there:
            known = ", ".join(f"{each}.v" for each in (*outputs, *there))
            faults.add("SC407", f"there is no probe '{label}'", remedy=f"Probes: {known}.")
        else:
            wanted[str(label)] = (node, times)
    return wanted


def probe_columns(times: Any, dt: float, steps: int, label: str, faults: Diagnostics) -> np.ndarray[Any, Any]:
    """The columns whose ends are at `times`; faults are SC407."""
    try:
        grid = np.asarray(times.detach().cpu() if isinstance(times, Tensor) else times, dtype=np.float64).reshape(-1)
    except (TypeError, ValueError):
        faults.add("SC407", "the times to look at a membrane at are no numbers", node=label, value=repr(times)[:80])
        return np.empty(0, np.int64)
    column = np.rint(grid / dt)
    wrong = ~((np.abs(grid / dt - column) < 1e-6) & (column >= 1) & (column <= steps))
    if wrong.any():
        faults.add("SC407", "on a grid a membrane is looked at after a column", node=label,
                   value=f"t = {float(grid[wrong][0])!r} s", limit=f"n * {dt:g} s, n = 1..{steps}")
        return np.empty(0, np.int64)
    return column.astype(np.int64) - 1
