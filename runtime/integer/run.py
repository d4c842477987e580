"""A run of a program for Loihi, from rasters or events to a `Result` in the units of the model."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from ...ir.diagnostics import Diagnostic, Diagnostics, SpikecWarning
from ...ir.integer.network import LARGEST_MEMBRANE
from ...ir.integer.state import IntegerState
from ...ir.integer.step import IntegerResult
from ...ir.network import Network
from ...ir.nodes import Array
from ..clock.outputs import events_of, probe_columns, wanted_probes
from ..outputs import Result
from .program import IntegerProgram

__all__ = ["BACKENDS", "run_program"]

BACKENDS = ("emulator", "lava")


def run_program(program: IntegerProgram, events: Any, duration: Any, probes: Mapping[str, Any] | None, state: Any, *,
                backend: str, dt: Any, drain: bool, worker: Any, time_limit: float) -> Result:
    """See `targets.loihi.program.LoihiProgram.run`."""
    faults = Diagnostics()
    if backend not in BACKENDS:
        faults.add("SC403", "there is no such backend", value=repr(backend), limit=", ".join(BACKENDS))
    if state is not None and not isinstance(state, IntegerState):
        faults.add("SC403", "state is not that of a former result", value=type(state).__name__,
                   remedy="Give state=result.state.")
    if state is not None and backend == "lava":
        faults.add("SC403", "Lava starts every run anew", value="state", remedy="Use backend='emulator'.")
    wanted = wanted_probes(probes, program.network.outputs, program.network.populations, faults)
    faults.raise_if_errors()
    rasters, steps, _ = program.inputs.rasters(events, duration, dt)
    steps += program.latency if drain else 0
    step = program.grid.dt
    columns = {label: np.arange(steps) if times is None else probe_columns(times, step, steps, label, faults)
               for label, (_, times) in wanted.items()}
    faults.raise_if_errors()
    readouts = {name for name, each in program.network.populations.items() if not each.spiking}
    shown = {name for name, _ in wanted.values()} | readouts
    parts = {name: tuple(program.split.parts.get(name, (name,))) for name in program.network.populations}
    states = tuple(part for name in shown for part in parts[name])
    if backend == "lava":
        found = program.lava.run(rasters, steps, record=("spikes", *(("u", "v") if states else ())), worker=worker,
                                 time_limit=time_limit)
    else:
        found = program.engine.run(rasters, steps, states=states, keep_state=True,
                                   state=state)
    spikes = {name: events_of(torch.from_numpy(program.split.whole(name, found.spikes)).transpose(0, 1), step).numpy()
              for name, each in program.network.populations.items() if each.spiking}
    membranes = {name: _membrane(program, name, parts[name], found) for name in shown}
    for name in readouts:
        _check_range(name, [(found.v[part], found.spikes[part]) for part in parts[name]])
    highest = {name: _highest(membranes[name], step) for name in readouts if steps}
    latency = {name: program.latency_of(name) for name in program.network.populations}
    return Result(_with_outputs(program.network, spikes),
                  {label: membranes[name][:, columns[label]] for label, (name, _) in wanted.items()},
                  _with_outputs(program.network, highest),
                  found.state, steps * step, False, 0,
                  latency | {output: latency[name] for output, name in program.network.outputs.items()})


def _membrane(program: IntegerProgram, name: str, parts: tuple[str, ...], found: IntegerResult) -> Array:
    """(batch, time, n) in the units of the model."""
    records = program.quantised.populations
    return program.split.whole(name, {
        part: found.v[part] / records[part].scale + records[part].offset for part in parts})


def _check_range(name: str, shown: list[tuple[Array, Array]]) -> None:
    """A readout has the highest threshold that there is: beyond it, it spikes and starts again."""
    if any(spikes.any() or int(v.min(initial=0)) <= -LARGEST_MEMBRANE for v, spikes in shown):
        warnings.warn(str(Diagnostic(
            "SC325", "the membrane of a readout came to the end of its register, and was not held", node=name,
            limit=str(LARGEST_MEMBRANE), severity="warning", remedy="Compile with calibration data of this kind.")),
            SpikecWarning, stacklevel=4)


def _highest(membrane: Array, dt: float) -> tuple[Array, Array]:
    return membrane.max(1), (membrane.argmax(1) + 1) * dt


def _with_outputs(network: Network, found: Mapping[str, Any]) -> dict[str, Any]:
    return {**found, **{output: found[name] for output, name in network.outputs.items() if name in found}}
