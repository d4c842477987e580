"""snnTorch's neurons: every reset, at once and one step late, feedforward and recurrent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import snntorch
import torch
from torch import Tensor, nn

from .case import HIDDEN, INPUTS, OUTPUTS, STEPS, Case, Recorder, Trace, by_step, driven, linear

MODULES = ("snntorch",)


def step(value: Tensor) -> Tensor:
    """Heaviside, in the type of its argument."""
    return (value > 0).to(value.dtype)


def play(module: nn.Module, raster: Tensor) -> Mapping[str, Trace]:
    recorder = Recorder(module, (snntorch.SpikingNeuron,), lambda cells, returned: cells.mem)
    for column in raster.unbind(1):
        module(column)
    return recorder.traces(by_step)


def play_graded(module: nn.Module, raster: Tensor) -> Mapping[str, Trace]:
    """Spikes counted as spikes, whatever their height."""
    found = play(module, raster)
    return {name: Trace(None if trace.spikes is None else np.sign(trace.spikes), trace.membrane)
            for name, trace in found.items()}


def net(kind: str, gain: float = 1.0, **options: Any) -> nn.Module:
    """Two layers. Surrogate functions of snnTorch give float32; this one keeps float64."""
    make = getattr(snntorch, kind)

    def cells(size: int) -> nn.Module:
        given = dict(options, init_hidden=True, spike_grad=step)
        if kind.startswith("R") and given.get("all_to_all", True):
            given["linear_features"] = size
        made: nn.Module = make(**{name: value(size) if callable(value) and name != "spike_grad" else value
                                  for name, value in given.items()})
        if hasattr(made, "recurrent") and isinstance(made.recurrent, nn.Linear):
            driven(made.recurrent, 0.2 * gain)
        return made

    return nn.Sequential(linear(INPUTS, HIDDEN, gain), cells(HIDDEN), linear(HIDDEN, OUTPUTS, gain), cells(OUTPUTS))


def each(low: float, high: float) -> Any:
    """A value a neuron."""
    return lambda size: torch.linspace(low, high, size)


BASE: Mapping[str, Mapping[str, Any]] = {
    "Leaky": {"beta": 0.9}, "Synaptic": {"alpha": 0.8, "beta": 0.9}, "Alpha": {"alpha": 0.8, "beta": 0.6},
    "Lapicque": {"R": 5.1, "C": 5e-3, "time_step": 1e-3}, "RLeaky": {"beta": 0.9},
    "RSynaptic": {"alpha": 0.8, "beta": 0.9},
}
GAIN = {"Synaptic": 0.3, "Alpha": 2.0, "Lapicque": 3.0, "RLeaky": 0.6, "RSynaptic": 0.25}
"""What makes neurons fire now and then: some take up less of a spike than Leaky, or more."""


def _case(kind: str, settings: str = "", refused: str | None = None, gain: float | None = None,
          **options: Any) -> Case:
    given = {**BASE[kind], **options}
    text = settings or ", ".join(f"{name}={value!r}" for name, value in options.items()) or "defaults"
    # A recurrent net without a reset grows without bound.
    steps = 40 if kind.startswith("R") and options.get("reset_mechanism") == "none" else STEPS
    text += "" if steps == STEPS else f"; {steps} steps"
    return Case(kind=kind, settings=text, build=lambda: net(kind, gain or GAIN.get(kind, 1.0), **given), play=play,
                recurrent=kind.startswith("R"), refused=refused, steps=steps)


def _refused(kind: str, code: str, make: Any) -> Case:
    return Case(kind=kind, settings="defaults", build=lambda: nn.Sequential(linear(INPUTS, HIDDEN), make()),
                refused=code)


def _graded() -> Case:
    """The last layer gives spikes of height 1: an output shows neurons, and no product of them."""
    def build() -> nn.Module:
        first, last = (snntorch.Leaky(beta=0.9, init_hidden=True, spike_grad=step, **options)
                       for options in ({"graded_spikes_factor": 0.5}, {}))
        return nn.Sequential(linear(INPUTS, HIDDEN), first, linear(HIDDEN, OUTPUTS, 2.0), last)

    return Case(kind="Leaky", settings="graded_spikes_factor=0.5", build=build, play=play_graded)


def cases() -> list[Case]:
    found = []
    for kind in BASE:
        for reset in ("subtract", "zero", "none"):
            found.append(_case(kind, reset_mechanism=reset))
        if kind == "RSynaptic":  # snnTorch 1.0.0 fails with it itself
            found.append(_case(kind, reset_mechanism="zero", reset_delay=False, refused="SC221"))
            continue
        if kind in ("Alpha", "Lapicque"):  # they have no such option
            continue
        found += [_case(kind, reset_mechanism=reset, reset_delay=False) for reset in ("subtract", "zero")]
    leaks = "beta, threshold: one a neuron"
    found += [
        _case("Leaky", leaks, beta=each(0.3, 0.95), threshold=each(0.2, 1.5)),
        _case("Synaptic", "alpha, beta, threshold: one a neuron", gain=0.6, alpha=each(0.9, 0.2), beta=each(0.3, 0.95),
              threshold=each(0.2, 1.5)),
        _case("RLeaky", leaks, beta=each(0.3, 0.95), threshold=each(0.2, 1.5)),
        _case("Leaky", beta=1.0), _case("Leaky", beta=0.0, gain=2.0), _case("Synaptic", alpha=0.0, beta=0.7, gain=2.0),
        _case("Leaky", learn_beta=True, learn_threshold=True), _graded(),
        _case("RLeaky", all_to_all=False, V=0.7), _case("RSynaptic", all_to_all=False, V=-0.7),
        _case("Leaky", inhibition=True, refused="SC223"),
    ]
    found += [
        _refused("LeakyParallel", "SC220", lambda: snntorch.LeakyParallel(HIDDEN, HIDDEN, 0.9)),
        _refused("SLSTM", "SC220", lambda: snntorch.SLSTM(HIDDEN, HIDDEN, init_hidden=True)),
    ]
    return found
