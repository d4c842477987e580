"""What drives a network of graded synapses: signals by their samples, linear in between, and impulses."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...ir.diagnostics import BadInputError, Diagnostics
from ...ir.events import Events
from ...ir.facts import check_dt, first_of, is_number
from ...ir.graded.network import GradedNetwork

__all__ = ["Driven", "driven"]

MOST_SAMPLES = 1 << 24
"""Of one run's time axis: a mistaken unit asks for far more."""


@dataclass(frozen=True, slots=True)
class Driven:
    """`signals`: (batch, samples, channels) float64 by input, at 0, dt, 2 dt, …, differentiable. `impulses`: offsets
    (batch + 1,), seconds, channels, of all inputs that have impulses together, whose channels begin at `begins`."""

    dt: float
    batch: int
    samples: int
    signals: Mapping[str, Tensor]
    begins: Mapping[str, int]
    channels: int
    impulses: tuple[Tensor, Tensor, Tensor]


def driven(network: GradedNetwork, given: Any, dt: Any, duration: Any) -> Driven:
    """Signals and impulses, checked. See `GradedProgram.run` for the forms.

    Raises:
        BadInputError: naming every fault: unknown inputs, shapes, lengths (SC458), NaN (SC459), dt (SC460) or a dt
            longer than the currents (SC461), the duration (SC462), or those of events.
    """
    faults = Diagnostics()
    by_name = _by_name(network, given, faults)
    check_dt(dt, "SC460", faults)
    faults.raise_if_errors()
    step = float(dt)
    _check_resolution(network, step, faults)
    signals: dict[str, Tensor] = {}
    events: dict[str, Events] = {}
    for name, each in by_name.items():
        if isinstance(each, Events):
            try:
                events[name] = each.checked(network.size(name), name).numpy()
            except BadInputError as error:
                faults.extend(error.diagnostics)
        elif (signal := _signal(name, each, network.inputs[name], faults)) is not None:
            signals[name] = signal
    lengths = {name: each.shape[1] for name, each in signals.items()}
    batches = {name: len(each) for name, each in signals.items()} | {name: each.batch for name, each in events.items()}
    for what, found in (("samples in time", lengths), ("samples in the batch", batches)):
        if len(set(found.values())) > 1:
            faults.add("SC458", f"inputs differ in the number of {what}", value=found)
    if not by_name:
        faults.add("SC458", "there is nothing to drive the network with", limit=", ".join(network.inputs))
    lasting = bool(lengths) or all(isinstance(each, Events) for each in by_name.values())
    samples = _length(duration, step, set(lengths.values()), faults) if by_name and lasting else 0
    faults.raise_if_errors()
    begins, channels = {}, 0
    for name in events:
        begins[name] = channels
        channels += network.size(name)
    batch = next(iter(batches.values()))
    return Driven(step, batch, samples, signals, begins, channels,
                  _impulses(events, begins, batch, (samples - 1) * step))


def _by_name(network: GradedNetwork, given: Any, faults: Diagnostics) -> dict[str, Any]:
    if isinstance(given, Mapping):
        for name in given:
            if name not in network.inputs:
                faults.add("SC458", f"there is no input '{name}'", limit=", ".join(network.inputs))
        return {name: each for name, each in given.items() if name in network.inputs}
    if len(network.inputs) != 1:
        faults.add("SC458", "the network has several inputs: give signals by name", limit=", ".join(network.inputs))
        return {}
    return dict.fromkeys(network.inputs, given)


def _check_resolution(network: GradedNetwork, dt: float, faults: Diagnostics) -> None:
    """Outputs are shown at the samples of the inputs: what decays in between is not seen."""
    for name, population in network.populations.items():
        shortest = float(np.min(population.tau_syn))
        if dt > shortest:
            faults.add("SC461", "the time step of the signals is longer than the currents last that are shown at it",
                       node=name, value=f"dt = {dt:g} s", limit=f"tau_syn = {shortest:g} s",
                       remedy="Resample the signals: they are linear between samples.")


def _signal(name: str, given: Any, shape: tuple[int, ...], faults: Diagnostics) -> Tensor | None:
    """(batch, samples, channels) float64."""
    try:
        tensor = given if isinstance(given, Tensor) else torch.from_numpy(np.array(given, dtype=np.float64))
    except (TypeError, ValueError):
        tensor = None
    if tensor is None or tensor.is_complex() or tensor.layout is not torch.strided or tensor.device.type != "cpu":
        faults.add("SC458", "signals are arrays of real numbers, on the CPU, or Events", node=name,
                   value=type(given).__name__)
        return None
    if tensor.ndim < 3 or tuple(tensor.shape[2:]) not in (shape, (math.prod(shape),)) or not tensor.numel():
        faults.add("SC458", "the signal has another shape than the input", node=name, value=tuple(tensor.shape),
                   limit="(" + ", ".join(["batch", "samples", *map(str, shape)]) + ")")
        return None
    if tensor.shape[1] < 2:
        faults.add("SC458", "a signal has two samples at least, at 0 and at dt", node=name, value=tensor.shape[1],
                   limit=">= 2")
        return None
    wide = tensor.to(torch.float64).reshape(*tensor.shape[:2], math.prod(shape))
    if not math.isfinite(wide.detach().sum().item()) and not bool((legal := torch.isfinite(wide.detach())).all()):
        faults.add("SC459", "a signal is finite", node=name,
                   value=first_of(wide.detach().numpy(), ~legal.numpy(), "sample", "step", "channel"),
                   remedy="Fill the gaps: a signal is linear between its samples.")
        return None
    return wide


def _length(duration: Any, dt: float, lengths: set[int], faults: Diagnostics) -> int:
    """Samples of the time axis."""
    given = next(iter(lengths), None)
    if duration is None:
        if given is None:
            faults.add("SC462", "impulses alone say not how long the run is", remedy="Give `duration` in seconds.")
        return given or 2
    if not (is_number(duration) and 0 < duration < math.inf):
        faults.add("SC462", "duration is a finite, positive time in seconds", value=repr(duration)[:80])
        return 2
    samples = round(duration / dt) + 1
    if abs((samples - 1) * dt - duration) > 1e-6 * dt or samples < 2:
        faults.add("SC462", "duration is no multiple of dt", value=f"{duration!r} s", limit=f"n * {dt:g} s")
    elif given is not None and samples != given:
        faults.add("SC462", "duration is another than that of the signals", value=f"{duration:g} s",
                   limit=f"{(given - 1) * dt:g} s: {given} samples at 0, dt, 2 dt and so on")
    elif samples > MOST_SAMPLES:
        faults.add("SC462", "duration has too many samples", value=samples, limit=MOST_SAMPLES)
    return samples


def _impulses(events: Mapping[str, Events], begins: Mapping[str, int], batch: int,
              end: float) -> tuple[Tensor, Tensor, Tensor]:
    """Those until the end, of all inputs, by sample and time."""
    times = np.concatenate([np.empty(0), *(each.times for each in events.values())])
    columns = np.concatenate([np.empty(0, np.int64), *(each.indices + begins[name] for name, each in events.items())])
    sample = np.concatenate([np.empty(0, np.int64),
                             *(np.repeat(np.arange(batch), np.diff(each.offsets)) for each in events.values())])
    kept = times <= end
    times, columns, sample = times[kept], columns[kept], sample[kept]
    order = np.lexsort((columns, times, sample))
    offsets = np.zeros(batch + 1, dtype=np.int64)
    np.cumsum(np.bincount(sample, minlength=batch), out=offsets[1:])
    return (torch.from_numpy(offsets), torch.from_numpy(times[order]),
            torch.from_numpy(columns[order].astype(np.int32)))
