"""The chip in the loop: an integer program as what runs outside of a `MeasuredModule`."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ...ir.diagnostics import Diagnostics
from ...ir.events import Events
from ...ir.integer.step import IntegerResult
from ...ir.network import Network
from ...ir.nodes import Array
from ...passes.quantise import Quantised
from ...passes.state_delays import StateDelays
from ...runtime.clock.inputs import columns_of
from ...runtime.integer.engine import IntegerEngine
from ...runtime.integer.run import BACKENDS
from ...runtime.measured import GUARD, MeasuredModule, of_model
from ..lava.program import LavaProgram

if TYPE_CHECKING:
    from ...runtime.lava.worker import LavaWorker
    from .program import LoihiProgram

__all__ = ["ChipInTheLoop", "exact_module"]


class ChipInTheLoop:
    """Called with `program.split.network` with other weights, it puts these on the scales of `program`, runs a batch,
    and says when each neuron of the model fired, in its time: column n (from 0) of a population that acts `latency`
    columns late is the time (n + 1 - latency) dt, and inputs have the times of their columns, too. `backend`, `worker`,
    `time_limit`: as of `LoihiProgram.run`.

    Raises:
        BadInputError: there is no such backend (SC403), or an input's spikes carry values, which have no exact gradient
            (SC488). From a call: a time constant has changed, for which the chip is not set up (SC488), or as
            `LoihiProgram.run`.
        LavaError: from a call, as `LavaProgram.run`.
    """

    def __init__(self, program: LoihiProgram, backend: str = "emulator", worker: LavaWorker | None = None,
                 time_limit: float = math.inf) -> None:
        faults = Diagnostics()
        if backend not in BACKENDS:
            faults.add("SC403", "there is no such backend", value=repr(backend), limit=", ".join(BACKENDS))
        for name, bits in program.options.message_bits.items():
            if bits:
                faults.add("SC488", "exact gradients are those of spikes that are all alike", node=name,
                           value=f"messages of {bits} bits", remedy="Encode values as times, or train by surrogate.")
        faults.raise_if_errors()
        self.program, self.backend, self.worker, self.time_limit = program, backend, worker, time_limit

    def __call__(self, network: Network, events: Mapping[str, Events], duration: float) -> dict[str, Events]:
        program, dt = self.program, self.program.grid.dt
        self._check_rates(network)
        rasters, steps, _ = program.inputs.rasters(dict(events), duration)
        found = self._run(program.requantised(network), rasters, steps + program.latency)
        spikes = {name: _in_columns(each, dt, duration) for name, each in events.items()}
        for name in (name for name, each in program.network.populations.items() if each.spiking):
            late = program.latency_of(name)
            spikes[name] = _events(program.split.whole(name, found.spikes)[:, late:late + steps], dt, duration)
        return spikes

    def _check_rates(self, network: Network) -> None:
        faults = Diagnostics()
        for name, before in self.program.split.network.populations.items():
            for field in ("tau_mem", "tau_syn", "refractory"):
                now, then = getattr(network.populations[name], field), getattr(before, field)
                if then is not None and not np.allclose(now, then, rtol=1e-6, atol=0):
                    faults.add("SC488", f"{field} has changed, for which the chip is not set up", node=name,
                               remedy="Train weights and biases, or compile again with "
                                      "program.recompile(module.to_graph()).")
        faults.raise_if_errors()

    def _run(self, numbers: Quantised, rasters: Mapping[str, Array], columns: int) -> IntegerResult:
        spiking = [name for name, each in numbers.lowered.populations.items() if each.spiking]
        if self.backend == "lava":
            return LavaProgram(numbers.network).run(rasters, columns, record=("spikes",), worker=self.worker,
                                                    time_limit=self.time_limit)
        return IntegerEngine(numbers.network).run(rasters, columns, spikes=spiking)


def exact_module(program: LoihiProgram, dtype: torch.dtype, train: Iterable[str] | None, guard: float | None,
                 backend: str, worker: LavaWorker | None, time_limit: float) -> MeasuredModule:
    """The module over a program whose gradients are exact; see `LoihiProgram.module`."""
    stated = StateDelays().run(program.graph)
    network, shown = (of_model(each, program.graph, stated) for each in (program.network, program.split.network))
    return MeasuredModule(program.graph, network, ChipInTheLoop(program, backend, worker, time_limit), dtype, train,
                          GUARD if guard is None else guard, shown)


def _in_columns(events: Events, dt: float, duration: float) -> Events:
    """The same events, each at the end of its column, or of the run."""
    times = np.minimum((columns_of(events.times, dt) + 1) * dt, duration)
    return Events(times, events.indices, events.offsets)


def _events(raster: Array, dt: float, duration: float) -> Events:
    """Of a (batch, time, n) raster, whose last column ends at `duration` where rounding puts it beyond."""
    sample, column, neuron = np.nonzero(raster)
    offsets = np.searchsorted(sample, np.arange(len(raster) + 1)).astype(np.int64)
    times: Any = np.minimum((column + 1) * dt, duration)
    return Events(times, neuron.astype(np.int64), offsets)
