"""Whether what runs is what was compiled: the emulated chip, with its deviations and without its noise, against the
oracle of its circuits (`ir/analog/dpi_run.py`), spike by spike, on a few random events."""

from __future__ import annotations

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
    for name in chip.populations:
        difference = difference or first_difference(name, found[name], wanted[name], TOLERANCE)
    fired = {name: len(np.unique(found[name].indices)) / each.n for name, each in chip.populations.items()}
    return AnalogCheck(1, duration, fired, difference)
