"""What a run of graded synapses gives back, and what a module's forward pass can be asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

import torch
from torch import Tensor

from ...ir.diagnostics import BadInputError, Diagnostic
from ...ir.events import Events
from ...ir.nodes import Array
from .engine import GradedActivity, GradedState

__all__ = ["GradedOutputs", "GradedResult"]

_LACKING = frozenset({"end", "first_spike", "pseudospike_times", "push", "spike_times", "voltage", "voltage_integral",
                      "voltage_max"})
"""What other networks' outputs can be asked for."""


@dataclass(frozen=True, slots=True, repr=False)
class GradedResult:
    """`signals`: (batch, samples, *shape) by output, `currents`: (batch, samples, n) by population, in 1/s, at the
    times of the input's samples (`times`, seconds). `membranes`: the same, where asked for. `spikes`: `Events` by
    population, the upward passages of the middle of the gate. `steps`: of the integration, all samples. `state`: where
    the stream stands, for the next run. `probes` has the signals once more, as arrays by `"<output>.signal"`, which is
    what files are written from. `voltage_max` and `latency` are empty, for those who read results of
    any target."""

    signals: Mapping[str, Tensor]
    currents: Mapping[str, Tensor]
    membranes: Mapping[str, Tensor]
    spikes: Mapping[str, Events]
    times: Tensor
    steps: int
    state: GradedState
    probes: Mapping[str, Array] = field(default_factory=dict)
    voltage_max: Mapping[str, Array] = field(default_factory=dict)
    latency: Mapping[str, int] = field(default_factory=dict)

    @property
    def duration(self) -> float:
        """Seconds."""
        return float(self.times[-1])

    @property
    def truncated(self) -> bool:
        """False: no spikes are cut off."""
        return False

    @property
    def grazing(self) -> int:
        """0: a gate has no threshold to graze."""
        return 0

    def __repr__(self) -> str:
        batch = next(iter(self.currents.values())).shape[0]
        spikes = ", ".join(f"{name}: {len(events)} spikes" for name, events in self.spikes.items())
        return f"GradedResult({batch} samples of {self.duration:g} s, {spikes})"


class GradedOutputs:
    """Names are output nodes, or neuron nodes.

    Raises:
        BadInputError: from each method, where no node has the name, or it has no such quantity (SC409).
    """

    def __init__(self, activity: GradedActivity) -> None:
        self._activity = activity

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the network's output nodes."""
        return tuple(self._activity.network.outputs)

    @property
    def populations(self) -> tuple[str, ...]:
        """Names of the neuron nodes."""
        return tuple(self._activity.network.populations)

    @property
    def dt(self) -> float:
        """Seconds between samples."""
        return self._activity.dt

    @property
    def times(self) -> Tensor:
        """(samples,) seconds of the samples."""
        return torch.arange(self._activity.currents.shape[1], dtype=torch.float64) * self._activity.dt

    @property
    def duration(self) -> float:
        """Seconds simulated."""
        return float(self.times[-1])

    @property
    def steps(self) -> int:
        """Steps of the integration, all samples."""
        return self._activity.course.steps

    @property
    def truncated(self) -> bool:
        """False: no spikes are cut off."""
        return False

    @property
    def grazing(self) -> int:
        """0: a gate has no threshold to graze."""
        return 0

    @property
    def state(self) -> GradedState:
        """Where the stream stands, for `state=` of the next call; gradients end there."""
        return self._activity.state()

    def signal(self, name: str) -> Tensor:
        """(batch, samples, *shape) of an output, or (batch, samples, n) currents of a neuron node; differentiable."""
        shown = self._activity.outputs.get(name)
        return self._activity.current(self._population(name)) if shown is None else shown

    def events(self, name: str) -> Events:
        """Upward passages of the middle of the gate, without gradient."""
        return self._activity.events(self._population(name))

    def spike_count(self, name: str) -> Tensor:
        """(batch, n): how many; without gradient."""
        events = self.events(name)
        counts = torch.zeros(events.batch, self._activity.network.size(name), dtype=torch.float64)
        sample = torch.repeat_interleave(torch.arange(events.batch), torch.as_tensor(events.offsets).diff())
        return counts.index_put((sample, torch.as_tensor(events.indices)), torch.ones(()).double(), accumulate=True)

    def total_spikes(self, name: str) -> int:
        """Of all samples and neurons."""
        return len(self.events(name))

    def __getattr__(self, quantity: str) -> Any:
        """What losses of events and of voltages ask for is refused when it is called."""
        if quantity not in _LACKING:
            raise AttributeError(f"'{type(self).__name__}' object has no attribute '{quantity}'")

        def refused(name: Any = None, *arguments: Any, **options: Any) -> NoReturn:
            raise BadInputError(Diagnostic(
                "SC409", f"a network of graded currents has no {quantity}", node=None if name is None else str(name),
                limit="signal, events, spike_count, total_spikes",
                remedy="Make a loss of signal(name), which is differentiable in all parameters; events(name) are the "
                "spikes, without gradient."))

        return refused

    def _population(self, name: str) -> str:
        if name in self._activity.network.populations:
            return name
        if name in self._activity.network.outputs:
            raise BadInputError(Diagnostic("SC409", "an output shows a signal; spikes are those of neuron nodes",
                                           node=name, limit=", ".join(self.populations)))
        raise BadInputError(Diagnostic("SC409", f"there is no output or neuron node '{name}'",
                                       remedy=f"Nodes: {', '.join((*self.outputs, *self.populations))}."))
