"""Whether what runs is what was compiled: the emulated chip, with its deviations and without its noise, against the
oracle of its circuits (`ir/analog/dpi_run.py`), spike by spike, on a few random events."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from ...ir.analog.dpi_run import simulate_dpi
from ...ir.events import Events
from ...runtime.analog.dpi import run_dpi
from ..analog.check import AnalogCheck, first_difference

if TYPE_CHECKING:
    from .program import Dynapse2Program

__all__ = ["check_dynapse2_program"]

TOLERANCE = 1e-6
"""Seconds that a spike may be off."""
_PRECISION = 1e-10
"""Of the kernel's steps, finer than in a run: what is left is not its tolerance."""
_EVENTS, _SPIKES = 200, 200
"""Of the stimulus, and of what the network makes of it, about: the oracle is plain numpy."""


def check_dynapse2_program(program: Dynapse2Program, seed: int = 0) -> AnalogCheck:
    """Runs a program's chip two ways."""
    chip = program.emulator().network(program.codes)
    rng, channels = np.random.default_rng(seed), sum(map(chip.size, chip.inputs))
    duration = 4 * max(float((each.tau_mem + each.tau_exc + each.refractory).max())
                       for each in chip.populations.values())
    count = min(_EVENTS, 8 * channels)
    shares = {name: -(-count * chip.size(name) // channels) for name in chip.inputs}
    events = {name: Events.from_samples([(rng.uniform(0, duration / 2, share),
                                          rng.integers(0, chip.size(name), share))]) for name, share in shares.items()}
    found = run_dpi(chip, events, duration, tolerance=_PRECISION)
    late = np.sort(np.concatenate([each.times for each in found.values()]))
    if len(late) > _SPIKES:  # where a network fires on and on, the beginning is enough
        duration = float(late[_SPIKES])
        found = run_dpi(chip, events, duration, tolerance=_PRECISION)
    wanted, difference = simulate_dpi(chip, events, duration), ""
    end = _between_spikes([*found.values(), *wanted.values()], duration)
    for name in chip.populations:
        difference = difference or first_difference(name, _until(found[name], end), _until(wanted[name], end),
                                                    TOLERANCE)
    fired = {name: len(np.unique(_until(found[name], end).indices)) / each.n
             for name, each in chip.populations.items()}
    return AnalogCheck(1, end, fired, difference)


def _between_spikes(every: Iterable[Events], duration: float) -> float:
    """The last instant of a run at which no spike is near: a spike that one side has just before the end, the other may
    have just after it."""
    times = np.sort(np.concatenate([np.array([0.0, duration]), *(each.times for each in every)]))
    wide = np.flatnonzero(np.diff(times) > 2 * TOLERANCE)
    if not wide.size or wide[-1] + 2 == len(times):
        return duration
    return float(times[wide[-1]] + times[wide[-1] + 1]) / 2


def _until(events: Events, end: float) -> Events:
    """Those of the one sample that there is, up to the end."""
    kept = events.times <= end
    return Events(events.times[kept], events.indices[kept], np.array([0, int(kept.sum())]))
