"""The chip in the loop: a program for Xylo as what runs outside of a `MeasuredModule`."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ...ir.diagnostics import Diagnostics
from ...ir.events import Events
from ...ir.integer.xylo_step import BLOCKS
from ...ir.network import Network
from ...ir.nodes import Array
from ...passes.state_delays import StateDelays
from ...runtime.analog.in_the_loop import Asked
from ...runtime.clock.inputs import columns_of
from ...runtime.measured import GUARD, MeasuredModule, of_model
from ...runtime.xylo.engine import XyloEngine
from ...runtime.xylo.run import BACKENDS

if TYPE_CHECKING:
    from ...ir.integer.xylo import XyloNetwork
    from .program import XyloProgram

__all__ = ["XyloInTheLoop", "XyloMeasure", "exact_module"]

XyloMeasure = Callable[..., Mapping[str, Any]]
"""See `XyloInTheLoop`."""


class XyloInTheLoop:
    """Called with `program.network` with other weights, it puts these on the scales of `program`, runs a batch, and
    says when each neuron of the model fired, in its time: column n (from 0) of a population that acts `latency` columns
    late is the time (n + 1 - latency) dt, and inputs have the times of their columns, too. Several spikes of one step
    are as many events at one time.

    `measure`: a chip in the place of `backend`. It is called as `measure(network, counts)`: the chip's numbers
    (`ir.integer.xylo.XyloNetwork`) and (batch, columns, channels) events; and gives {"hidden": …, "outputs": …},
    (batch, columns, n) spikes of each block, in the chip's columns. `time_limit`: seconds that one call may take.

    Raises:
        BadInputError: there is no such backend (SC403). From a call: a time constant has changed, for which the chip is
            not set up (SC488), what `measure` gives is malformed (SC485), or as `XyloProgram.run`.
        MeasureError: from a call, `measure` raises, or does not come back in time (SC377).
    """

    def __init__(self, program: XyloProgram, backend: str = "emulator", measure: XyloMeasure | None = None,
                 time_limit: float = math.inf) -> None:
        faults = Diagnostics()
        if backend not in BACKENDS:
            faults.add("SC403", "there is no such backend", value=repr(backend), limit=", ".join(BACKENDS))
        faults.raise_if_errors()
        self.program, self.backend = program, backend
        self.asked = None if measure is None else Asked(measure, time_limit)

    def __call__(self, network: Network, events: Mapping[str, Events], duration: float) -> dict[str, Events]:
        program, dt = self.program, self.program.grid.dt
        self._check_rates(network)
        quantised = program.requantised(network)
        counts, steps, _ = program.inputs.counts(quantised.layout.inputs, dict(events), duration)
        given = np.pad(counts, ((0, 0), (quantised.layout.input_delay, program.latency), (0, 0)))
        fired: Mapping[str, Array]
        if self.asked is not None:
            fired = _checked(self.asked(quantised.network, given), quantised.network, given.shape[:2])
        else:
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


def _checked(found: Any, network: XyloNetwork, shape: tuple[int, ...]) -> dict[str, Array]:
    """What a chip gave. Raises BadInputError where it is no counts of all neurons (SC485)."""
    faults, fired = Diagnostics(), {}
    for block in BLOCKS:
        wanted = (*shape, getattr(network, block).n)
        try:
            fired[block] = np.asarray(found[block])
        except (TypeError, KeyError, IndexError):
            faults.add("SC485", "the measurement does not say what fired", node=block, value=type(found).__name__,
                       limit=f"a mapping with '{block}', counts {wanted}")
            continue
        each = fired[block]
        if each.shape != wanted or each.dtype.kind not in "iu" or (each < 0).any():
            faults.add("SC485", "measured spikes are no counts of every column and neuron", node=block,
                       value=f"{each.dtype} {each.shape}", limit=f"whole numbers {wanted}, 0 and above")
    faults.raise_if_errors()
    return fired


def exact_module(program: XyloProgram, dtype: torch.dtype, train: Iterable[str] | None, guard: float | None,
                 backend: str, measure: XyloMeasure | None = None, time_limit: float = math.inf) -> MeasuredModule:
    """The module over a program whose gradients are exact; see `XyloProgram.module`."""
    network = of_model(program.network, program.graph, StateDelays().run(program.graph))
    return MeasuredModule(program.graph, network, XyloInTheLoop(program, backend, measure, time_limit), dtype, train,
                          GUARD if guard is None else guard)


def _events(raster: Array, dt: float, duration: float) -> Events:
    """Of a (batch, time, n) raster of counts, whose last column ends at `duration` where rounding puts it beyond."""
    found = Events.from_dense(raster, dt)
    times: Any = np.minimum(found.times, duration)
    return Events(times, found.indices, found.offsets)
