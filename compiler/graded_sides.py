"""Networks of graded synapses as the sides of a comparison: they are driven by signals, and show spikes (the passages
of their gates), currents, and outputs, which are signals too.

Both sides integrate the same equations: the engine by its own method, the reference by scipy's, on formulas of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import ceil
from typing import Any

import numpy as np

from ..ir.diagnostics import BadInputError, Diagnostic
from ..ir.events import Events
from ..ir.graded.network import GradedNetwork
from ..ir.graded.reference import simulate_graded
from ..ir.nodes import Array
from ..targets.event.graded import GradedProgram
from .comparison import Recording
from .stimulus import Shapes, Stimulus, make_stimulus

__all__ = ["make_signals", "run_engine", "run_reference", "sample_times"]

TOLERANCE = 1e-9
"""Of a step of the engine: a tenth of the usual, so that what differs is not its error."""


def make_signals(data: Any, shapes: Shapes, dt: float | None, duration: float | None, samples: int, seed: int
                 ) -> Stimulus:
    """As `make_stimulus`: rasters are signals, values at 0, dt, 2 dt, …, and events impulses, up to a multiple of `dt`.

    Raises:
        BadInputError: as `make_stimulus`, or there is no `dt` (SC562).
    """
    if dt is None:
        raise BadInputError(Diagnostic("SC562", "the samples of signals are of no stated length",
                                       remedy="Give dt (--dt), in seconds."))
    found = make_stimulus(data, shapes, dt, None if duration is None else duration + dt, samples, seed)
    if found.given_rasters is not None:
        intervals = next(iter(found.given_rasters.values())).shape[1] - 1
    else:
        intervals = max(1, ceil((found.duration if duration is None else duration) / dt - 1e-6))
    return replace(found, duration=intervals * dt, dt=dt)


def sample_times(stimulus: Stimulus) -> Array:
    """Seconds at which currents and outputs are shown, from 0 to the end."""
    return np.asarray(np.arange(round(stimulus.duration / stimulus.dt) + 1) * stimulus.dt)


def run_engine(program: GradedProgram, stimulus: Stimulus, names: Mapping[str, str]) -> Recording:
    """What the program does. `names`: its input for each of the stimulus."""
    result = program.run(_given(program.network, stimulus, names), stimulus.duration, dt=stimulus.dt,
                         tolerance=TOLERANCE)
    shown = {**result.currents, **result.signals}
    return _recording(result.spikes, {name: each.numpy() for name, each in shown.items()})


def run_reference(network: GradedNetwork, stimulus: Stimulus, names: Mapping[str, str]) -> Recording:
    """What the network means, by an integration that shares no formula with the engine but the gate."""
    trace = simulate_graded(network, _given(network, stimulus, names), stimulus.dt, len(sample_times(stimulus)))
    return _recording(trace.spikes, {**trace.currents, **trace.outputs})


def _given(network: GradedNetwork, stimulus: Stimulus, names: Mapping[str, str]) -> dict[str, Any]:
    given: Mapping[str, Array | Events] = stimulus.given_rasters or stimulus.given_events or {}
    return {names[name]: each if isinstance(each, Events) else
            each.reshape(*each.shape[:2], *network.inputs[names[name]]) for name, each in given.items()}


def _recording(spikes: Mapping[str, Events], shown: Mapping[str, Array]) -> Recording:
    """With currents by population and signals by output, neurons in one row, in the place of membranes: an angle that
    has gone round once is the same, and a current is what a neuron sends."""
    return Recording(dict(spikes), {name: each.reshape(*each.shape[:2], -1) for name, each in shown.items()})
