"""A run of a program for Xylo, from rasters or events to a `Result` in the units of the model."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from ...ir.diagnostics import Diagnostics, SpikecWarning
from ...ir.events import Events
from ...ir.graph import Discretization
from ...ir.integer.xylo import LARGEST_STATE, SMALLEST_STATE, XyloNetwork
from ...ir.integer.xylo_step import BLOCKS, XyloResult, XyloState
from ...ir.network import Network
from ...ir.nodes import Array
from ..clock.outputs import probe_columns, wanted_probes
from ..outputs import Result
from .engine import XyloEngine
from .inputs import EventCounts

__all__ = ["BACKENDS", "Placed", "Scaled", "XyloStream", "run_xylo"]

BACKENDS = ("emulator", "xylosim")


@dataclass(frozen=True, slots=True, eq=False)
class XyloStream:
    """From which a stream goes on: the state of the chip, and the events (batch, columns, channels) that it is still to
    be given."""

    state: XyloState
    waiting: Array


class Scaled(Protocol):
    """Of a population: `block` and `place` on the chip; `scale` (n,), v of the chip for a unit of V; `latency`."""

    @property
    def block(self) -> str: ...

    @property
    def place(self) -> slice: ...

    @property
    def scale(self) -> Array: ...

    @property
    def latency(self) -> int: ...


class Layout(Protocol):
    @property
    def inputs(self) -> Mapping[str, slice]: ...

    @property
    def input_delay(self) -> int: ...


class Quantised(Protocol):
    """See `passes.quantise_xylo.QuantisedXylo`."""

    @property
    def network(self) -> XyloNetwork: ...

    @property
    def populations(self) -> Mapping[str, Scaled]: ...

    @property
    def layout(self) -> Layout: ...


class Placed(Protocol):
    """See `targets.xylo.program.XyloProgram`."""

    network: Network
    grid: Discretization

    @property
    def grids(self) -> Mapping[str, Discretization]: ...

    @property
    def simulate(self) -> Callable[[XyloNetwork, Array], XyloResult]: ...

    @property
    def quantised(self) -> Quantised: ...

    @property
    def latency(self) -> int: ...

    @property
    def engine(self) -> XyloEngine: ...

    @property
    def inputs(self) -> EventCounts: ...


def run_xylo(program: Placed, events: Any, duration: Any, probes: Mapping[str, Any] | None, state: Any, *,
             backend: str, dt: Any, drain: bool) -> Result:
    """See `targets.xylo.program.XyloProgram.run`."""
    faults, network, quantised = Diagnostics(), program.network, program.quantised
    if backend not in BACKENDS:
        faults.add("SC403", "there is no such backend", value=repr(backend), limit=", ".join(BACKENDS))
    if state is not None and not isinstance(state, XyloStream):
        faults.add("SC403", "state is not that of a former result", value=type(state).__name__,
                   remedy="Give state=result.state.")
    if state is not None and backend == "xylosim":
        faults.add("SC403", "xylosim starts every run anew", value="state", remedy="Use backend='emulator'.")
    wanted = wanted_probes(probes, network.outputs, network.populations, faults)
    faults.raise_if_errors()
    counts, steps, batch = program.inputs.counts(quantised.layout.inputs, events, duration, dt)
    steps += program.latency if drain else 0
    step, late = program.grid.dt, quantised.layout.input_delay
    columns = {label: np.arange(steps) if times is None else probe_columns(times, step, steps, label, faults)
               for label, (_, times) in wanted.items()}
    if state is not None and state.waiting.shape != (batch, late, counts.shape[2]):
        faults.add("SC403", "state is that of another network or batch", value=state.waiting.shape,
                   limit=(batch, late, counts.shape[2]))
    faults.raise_if_errors()
    waiting = np.zeros((batch, late, counts.shape[2]), dtype=np.uint8) if state is None else state.waiting
    given = np.concatenate([waiting, counts], 1)
    given = np.pad(given, ((0, 0), (0, steps + late - given.shape[1]), (0, 0)))
    readouts = [name for name, each in network.populations.items() if not each.spiking]
    places = quantised.populations
    shown = {"outputs", *(places[name].block for name, _ in wanted.values())}
    if backend == "xylosim":
        found = program.simulate(quantised.network, given[:, :steps])
    else:
        found = program.engine.run(given[:, :steps], None if state is None else state.state, states=shown)
    fired = {name: found.spikes[each.block][..., each.place] for name, each in places.items()}
    membranes = {name: found.v[places[name].block][..., places[name].place] / places[name].scale
                 for name in {name for name, _ in wanted.values()} | set(readouts)}
    _tell(program, found, fired, readouts)
    spikes = {name: Events.from_dense(fired[name], step) for name, each in network.populations.items() if each.spiking}
    highest = {name: (membranes[name].max(1), (membranes[name].argmax(1) + 1) * step) for name in readouts if steps}
    latency = {name: each.latency for name, each in places.items()}
    return Result(_with_outputs(network, spikes),
                  {label: membranes[name][:, columns[label]] for label, (name, _) in wanted.items()},
                  _with_outputs(network, highest), XyloStream(found.state, given[:, steps:]), steps * step, False, 0,
                  latency | {output: latency[name] for output, name in network.outputs.items()})


def _tell(program: Placed, found: XyloResult, fired: Mapping[str, Array], readouts: list[str]) -> None:
    """Warnings of what the chip did otherwise than the model would: a sum that was cut off, a readout that came to the
    end of its register, several spikes of a neuron in one step, or fewer than the model fires."""
    faults = Diagnostics()
    for block in BLOCKS:
        if found.clipped[block]:
            faults.add("SC347", "currents were cut off at 16 bits", node=block, severity="warning",
                       value=f"{found.clipped[block]} sums", remedy="Compile with calibration data of this kind.")
    for name in readouts:
        place = program.quantised.populations[name]
        v = found.v[place.block][..., place.place]
        if fired[name].any() or v.min(initial=0) == SMALLEST_STATE or v.max(initial=0) == LARGEST_STATE:
            faults.add("SC347", "the membrane of a readout came to the end of its register", node=name,
                       limit=f"{SMALLEST_STATE}..{LARGEST_STATE}", severity="warning",
                       remedy="Compile with calibration data of this kind.")
    for name, counts in fired.items():
        several, place = counts > 1, program.quantised.populations[name]
        if program.grids[name].spikes == "many" and place.block == "outputs" and name not in readouts:
            kept = found.v[place.block][..., place.place] >= program.quantised.network.outputs.threshold[place.place]
            if kept.any():
                faults.add("SC346", "outputs had more than one spike to fire in a step, and kept the rest", node=name,
                           value=f"in {kept.mean():.2%} of the steps", limit="1 a step", severity="warning",
                           remedy="Keep the rates of outputs below one spike a step.")
        if program.grids[name].spikes == "one" and several.any():
            faults.add("SC346", "neurons fired several times in a step, where the model's fire once and keep the rest",
                       node=name, value=f"{counts[several].sum() / counts.sum():.2%} of the spikes", limit="1 a step",
                       severity="warning", remedy="State spikes='many' on the grid, or raise thresholds.")
    for each in faults.found:
        warnings.warn(str(each), SpikecWarning, stacklevel=4)


def _with_outputs(network: Network, found: Mapping[str, Any]) -> dict[str, Any]:
    return {**found, **{output: found[name] for output, name in network.outputs.items() if name in found}}
