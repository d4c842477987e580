"""Checks of what a run is asked for: duration, probes, state. Kernels trust their arguments, so these look first."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from ..ir.diagnostics import Diagnostics
from ..ir.events import Events
from ..ir.network import Network
from .outputs import RunState, form_of, probe_times, probed, probes_of

__all__ = ["check_duration", "check_probes", "check_state", "raster"]


def check_duration(duration: Any, faults: Diagnostics) -> None:
    """None, or a finite time that is not negative (SC406)."""
    number = isinstance(duration, int | float | np.floating)
    legal = duration is None or (number and math.isfinite(duration) and duration >= 0)
    if not legal:
        faults.add("SC406", "duration must be a finite, non-negative time in seconds", value=repr(duration))


def check_probes(network: Network, probes: Any, duration: Any,
                 faults: Diagnostics) -> dict[str, tuple[str, str, np.ndarray[Any, Any]]]:
    """(population, state, times) by label `<neuron node>.v`, of equations any state; faults are SC407."""
    wanted: dict[str, tuple[str, str, np.ndarray[Any, Any]]] = {}
    if not isinstance(probes, Mapping):
        faults.add("SC407", "probes are times by name", value=type(probes).__name__,
                   remedy="Give probes={'<neuron node>.v': times in seconds}.")
        return wanted
    bounded = float(duration) if isinstance(duration, int | float | np.floating) else math.inf
    for label, times in probes.items():
        found = probed(network, str(label))
        if found is None:
            faults.add("SC407", f"there is no probe '{label}'", remedy=f"Probes: {', '.join(probes_of(network))}.")
            continue
        wanted[label] = (*found, probe_times(times, bounded, str(label), faults))
    return wanted


def check_state(network: Network, state: Any, batch: int, faults: Diagnostics) -> None:
    """None, or the state of a run of this network over as many samples (SC403)."""
    if state is None:
        return
    if not isinstance(state, RunState):
        faults.add("SC403", "state is not that of a former result", value=type(state).__name__,
                   remedy="Give state=result.state.")
        return
    if state.form != form_of(network):
        faults.add("SC403", "state belongs to another network", value=sorted(state.populations),
                   limit=sorted(network.populations), remedy="Go on with the program whose result it is.")
        return
    for name, held in state.populations.items():
        if held.samples != batch:
            faults.add("SC403", "state has another number of samples", node=name, value=held.samples, limit=batch,
                       remedy="Go on with as many samples, in the same order.")
            return


def raster(given: Any, dt: float, shape: tuple[int, ...], node: str) -> Events:
    """Events of a (batch, time, *shape) raster for the input `node`, or of one with the channels in a row.

    Raises:
        BadInputError: it is no array of numbers, or its shape is another than that of the input (SC405).
    """
    faults = Diagnostics()
    counts = np.asarray(given.detach().cpu() if isinstance(given, torch.Tensor) else given)
    if counts.dtype.kind not in "biuf":
        faults.add("SC405", "input is neither Events nor a raster of spike counts", node=node,
                   value=type(given).__name__)
    elif counts.ndim < 3 or counts.shape[2:] not in (shape, (math.prod(shape),)):
        faults.add("SC405", "the raster's shape differs from the input's", node=node, value=counts.shape,
                   limit="(" + ", ".join(["batch", "time", *map(str, shape)]) + ")")
    faults.raise_if_errors()
    return Events.from_dense(counts, dt)
