"""A run of a program on a grid, without gradients: from rasters or events to a `Result`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from ...ir.diagnostics import Diagnostics
from ...ir.events import Events
from ...ir.nodes import is_spiking, params
from ..devices import check_device
from ..outputs import Result
from .engine import ClockActivity, ClockEngine
from .inputs import signals_of
from .outputs import events_of, probe_columns, wanted_probes
from .state import taken_up
from .surrogates import Surrogate

__all__ = ["run_program"]


@torch.no_grad()
def run_program(engine: ClockEngine, events: Any, duration: Any, probes: Mapping[str, Any] | None, state: Any,
                dtype: torch.dtype = torch.float64, dt: Any = None, device: Any = "cpu") -> Result:
    """See `targets.clock.program.ClockProgram.run`."""
    faults = Diagnostics()
    if dtype not in (torch.float32, torch.float64):
        faults.add("SC403", "dtype is not one that the engine computes in", value=repr(dtype),
                   limit="torch.float32, torch.float64")
    check_device(device, faults)
    wanted = wanted_probes(probes, engine.wiring.shown_by, engine.neurons, faults)
    faults.raise_if_errors()
    place = torch.device(device)
    signals, steps, batch = signals_of(engine, events, duration, dt, dtype, place)
    start = taken_up(engine, state, batch, dtype, place)
    columns = {label: np.arange(steps) if times is None else
               probe_columns(times, engine.grid.dt, steps, label, faults) for label, (_, times) in wanted.items()}
    faults.raise_if_errors()
    show = {node for node, _ in wanted.values()} | {
        name for name in engine.neurons if not is_spiking(engine.graph.nodes[name])}
    parameters = {(name, param): torch.from_numpy(np.array(value)).to(place)
                  for name, node in engine.graph.nodes.items() for param, value in params(node).items()}
    activity = engine.run(signals, steps, batch, parameters, dtype, Surrogate(), False, frozenset(show), start)
    shown = {label: activity.scanned[node].shown for label, (node, _) in wanted.items()}
    taken = {label: tensor.transpose(0, 1)[:, torch.from_numpy(columns[label])].cpu().numpy()
             for label, tensor in shown.items() if tensor is not None}
    return Result(_spikes(activity), taken, _highest(activity), activity.state, steps * engine.grid.dt, False, 0)


def _spikes(activity: ClockActivity) -> dict[str, Events]:
    nodes, dt = activity.engine.graph.nodes, activity.engine.grid.dt
    found = {name: events_of(scanned.flags, dt).numpy() for name, scanned in activity.scanned.items()
             if is_spiking(nodes[name])}
    return {**found, **{output: found[node] for output, node in activity.engine.wiring.shown_by.items()
                        if node in found}}


def _highest(activity: ClockActivity) -> dict[str, tuple[Any, Any]]:
    """For each readout and output that shows one: its highest membrane after a column, and when."""
    found = {}
    for name, scanned in activity.scanned.items():
        if scanned.shown is not None and not is_spiking(activity.engine.graph.nodes[name]) and len(scanned.shown):
            highest, column = scanned.shown.max(0)
            found[name] = (highest.cpu().numpy(), (column.cpu().numpy() + 1) * activity.engine.grid.dt)
    return {**found, **{output: found[node] for output, node in activity.engine.wiring.shown_by.items()
                        if node in found}}
