"""A run of a program for an analog chip, from events to a `Result` in the model's time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import inf
from threading import TIMEOUT_MAX
from typing import Any

import numpy as np
import torch

from ...ir.diagnostics import Diagnostics
from ...ir.events import Events
from ...ir.facts import is_number, is_whole
from ..engine import Activity
from ..measured import checked_spikes
from ..outputs import Result
from ..requests import check_duration, check_probes
from .emulator import Emulator
from .in_the_loop import InTheLoop, Measure, StepCoding
from .program import AnalogRunnable

__all__ = ["check_measurement", "run_program"]

_MOST_READS = 4096
"""Of the converter in one run, for the highest membrane of a readout."""


def run_program(program: AnalogRunnable, events: Any, duration: Any, probes: Mapping[str, Any] | None, state: Any,
                seed: int, measure: Measure | None, time_limit: float, dt: float | None) -> Result:
    """See `targets.analog.program.AnalogProgram.run`."""
    faults = Diagnostics()
    if state is not None:
        faults.add("SC403", "a stream does not go on: every run on the chip starts at rest", value=type(state).__name__,
                   remedy="Leave out state.")
    check_measurement(seed, measure, time_limit, faults)
    check_duration(duration, faults)
    wanted = check_probes(program.network, {} if probes is None else probes, duration, faults)
    if measure is not None and wanted:
        faults.add("SC403", "what measures gives spikes alone", value=", ".join(wanted), remedy="Leave out probes.")
    faults.raise_if_errors()
    emulator = program.emulator(seed)
    inputs = emulator.engine.inputs(events, dt)
    given = {name: Events(each.times.numpy(), each.indices.numpy(), each.offsets.numpy())
             for name, each in inputs.items()}
    constants = emulator.engine.constants(torch.float64)
    end = emulator.engine.horizon(constants, inputs) if duration is None else float(duration)
    if measure is not None:
        loop = InTheLoop(program.network, StepCoding(program.held, program.chip.levels), measure, time_limit)
        return _result(program, checked_spikes(program.network, loop(program.network, given, end), given, end), {}, {},
                       end)
    activity, _ = emulator.run(program.codes, given, end)
    truncated = any(each.truncated for each in activity.results.values())
    spikes = {name: emulator.stamped(activity.spikes[name], end)
              for name, each in program.network.populations.items() if each.spiking}
    seen = {label: emulator.membrane(activity, name, times) for label, (name, _, times) in wanted.items()}
    found = _result(program, spikes, seen, _highest(program, emulator, activity, end), end)
    return replace(found, truncated=truncated, links=emulator.links if program.chip["time.stamp"] else None)


def check_measurement(seed: Any, measure: Any, time_limit: Any, faults: Diagnostics) -> None:
    """Reports what is no seed of noise, no chip to measure by, and no time (SC403)."""
    if not (is_whole(seed) and 0 <= seed < 2**63):
        faults.add("SC403", "seed is a whole number", value=repr(seed)[:80], limit="0..2^63 - 1")
    if measure is not None and not callable(measure):
        faults.add("SC403", "measure is called with codes, spikes and a duration", value=type(measure).__name__)
    if not (is_number(time_limit) and (0 < time_limit <= TIMEOUT_MAX or time_limit == inf)):
        faults.add("SC403", "time_limit is a time in seconds", value=repr(time_limit)[:80],
                   limit=f"above 0, up to {TIMEOUT_MAX:g} s; without one, as long as it takes")


def _highest(program: AnalogRunnable, emulator: Emulator, activity: Activity, end: float) -> dict[str, Any]:
    """Of each readout, its highest read, and when, at the converter's rate; in a run that is shorter than its period,
    the one read at the end."""
    period = max(program.chip["readout.period"] * program.held.speed_up, end / _MOST_READS)
    times = np.array([end]) if period > end or end == 0 else np.arange(period, end * (1 + 1e-12), period)
    found = {}
    for name, each in program.network.populations.items():
        if not each.spiking:
            reads = emulator.membrane(activity, name, np.minimum(times, end))
            found[name] = reads.max(1), times[reads.argmax(1)]
    return found


def _result(program: AnalogRunnable, spikes: Mapping[str, Events], seen: Mapping[str, Any], highest: Mapping[str, Any],
            end: float) -> Result:
    def shown(found: Mapping[str, Any]) -> dict[str, Any]:
        return {**{name: each for name, each in found.items() if name in program.network.populations},
                **{output: found[name] for output, name in program.network.outputs.items() if name in found}}

    return Result(shown(spikes), seen, shown(highest), None, end, False, 0)
