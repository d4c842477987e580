"""The chip in the loop: a program for Xylo as what runs outside of a `MeasuredModule`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ...ir.diagnostics import Diagnostics
from ...ir.events import Events
from ...ir.network import Network
from ...ir.nodes import Array
from ...passes.state_delays import StateDelays
from ...runtime.clock.inputs import columns_of
from ...runtime.measured import GUARD, MeasuredModule, of_model
from ...runtime.xylo.engine import XyloEngine
from ...runtime.xylo.run import BACKENDS

if TYPE_CHECKING:
    from .program import XyloProgram

__all__ = ["XyloInTheLoop", "exact_module"]


class XyloInTheLoop:
    """Called with `program.network` with other weights, it puts these on the scales of `program`, runs a batch, and
    says when each neuron of the model fired, in its time: column n (from 0) of a population that acts `latency` columns
    late is the time (n + 1 - latency) dt, and inputs have the times of their columns, too. Several spikes of one step
    are as many events at one time.

    Raises:
        BadInputError: there is no such backend (SC403). From a call: a time constant has changed, for which the chip is
            not set up (SC488), or as `XyloProgram.run`.
    """

    def __init__(self, program: XyloProgram, backend: str = "emulator") -> None:
        faults = Diagnostics()
        if backend not in BACKENDS:
            faults.add("SC403", "there is no such backend", value=repr(backend), limit=", ".join(BACKENDS))
        faults.raise_if_errors()
        self.program, self.backend = program, backend

    def __call__(self, network: Network, events: Mapping[str, Events], duration: float) -> dict[str, Events]:
        program, dt = self.program, self.program.grid.dt
        self._check_rates(network)
        quantised = program.requantised(network)
        counts, steps, _ = program.inputs.counts(quantised.layout.inputs, dict(events), duration)
        given = np.pad(counts, ((0, 0), (quantised.layout.input_delay, program.latency), (0, 0)))
        fired = (program.simulate(quantised.network, given) if self.backend == "xylosim" else
                 XyloEngine(quantised.network).run(given)).spikes
        spikes = {name: Events(np.minimum((columns_of(each.times, dt) + 1) * dt, duration), each.indices, each.offsets)
                  for name, each in events.items()}
        for name, each in quantised.populations.items():
            if program.network.populations[name].spiking:
                raster = fired[each.block][:, each.latency:each.latency + steps, each.place]
                spikes[name] = _events(raster, dt, duration)
        return spikes

    def _check_rates(self, network: Network) -> None:
        faults = Diagnostics()
        for name, before in self.program.network.populations.items():
            for field in ("tau_mem", "tau_syn", "refractory"):
                now, then = getattr(network.populations[name], field), getattr(before, field)
                if then is not None and not np.allclose(now, then, rtol=1e-6, atol=0):
                    faults.add("SC488", f"{field} has changed, for which the chip is not set up", node=name,
                               remedy="Train weights and biases, or compile again with "
                                      "program.recompile(module.to_graph()).")
        faults.raise_if_errors()


def exact_module(program: XyloProgram, dtype: torch.dtype, train: Iterable[str] | None, guard: float | None,
                 backend: str) -> MeasuredModule:
    """The module over a program whose gradients are exact; see `XyloProgram.module`."""
    network = of_model(program.network, program.graph, StateDelays().run(program.graph))
    return MeasuredModule(program.graph, network, XyloInTheLoop(program, backend), dtype, train,
                          GUARD if guard is None else guard)


def _events(raster: Array, dt: float, duration: float) -> Events:
    """Of a (batch, time, n) raster of counts, whose last column ends at `duration` where rounding puts it beyond."""
    found = Events.from_dense(raster, dt)
    times: Any = np.minimum(found.times, duration)
    return Events(times, found.indices, found.offsets)
