"""A network in several runs, measured on a chip that is given one run at a time: what one run gives is sent to the
next."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from ...ir.analog.schedule import Part, Run, Schedule
from ...ir.diagnostics import BadInputError, Diagnostic
from ...ir.events import Events
from ...ir.nodes import Array
from .in_the_loop import Measure

__all__ = ["MeasureOne", "replayed"]

MeasureOne = Callable[..., Mapping[str, Events]]
"""One run on a chip that holds a part of the network: `measure_one(run, codes, spikes, duration) -> spikes`, or, where
the run has delays, `measure_one(run, codes, spikes, duration, delays=delays)`.

`run`: which neurons are on which circuits. `codes`: by projection of the run, int32 (neurons of the target in this run,
n_source), in steps. `spikes`: of every source of the run (`run.sources`), all of its neurons, in seconds on the chip;
`duration` likewise. `delays`: by projection of the run that has any, (n_source,), seconds on the chip. Gives the spikes
of every spiking population of the run, in seconds on the chip, ascending within each sample, none after `duration`;
index k is the k-th neuron of the population in this run.
"""


def replayed(schedule: Schedule, measure_one: MeasureOne) -> Measure:
    """What measures a whole network (`in_the_loop.Measure`), out of what measures one run. `schedule`: that of the
    program, `program.held.schedule`. Every call makes all runs in order, with the same batch. Times at which inputs
    went in are left out: they may differ from run to run.

    Raises:
        BadInputError: from the measurement, a run says nothing of a population whose spikes a later one takes, or
            gives another batch (SC486), or malformed spikes (SC485).
    """

    def measure(codes: Mapping[str, Array], spikes: Mapping[str, Events], duration: float,
                delays: Mapping[str, Array] | None = None) -> dict[str, Events]:
        known, batch = dict(spikes), next(iter(spikes.values())).batch
        parts: dict[str, list[tuple[Part, Events]]] = {}
        for number, run in enumerate(schedule.runs):
            for name in set(run.sources) - known.keys():
                whole = _whole(parts.get(name, ()), schedule.run_of[name])
                if whole is None:
                    raise BadInputError(Diagnostic(
                        "SC486", f"an earlier run says nothing of a population whose spikes run {number} takes",
                        node=name, remedy="Give empty Events where nothing fired."))
                known[name] = whole
            late = {name: (delays or {})[name] for name in run.relays if name in (delays or {})}
            found = measure_one(run, _codes(run, codes), {name: known[name] for name in run.sources}, duration,
                                **({"delays": late} if late else {}))
            for part, events in _checked(run, number, found, batch):
                parts.setdefault(part.population, []).append((part, events))
        every = {name: _whole(each, schedule.run_of[name]) for name, each in parts.items()}
        return {name: events for name, events in every.items() if events is not None}

    return measure


def _codes(run: Run, codes: Mapping[str, Array]) -> dict[str, Array]:
    rows = {part.population: part.neurons for part in run.parts}
    return {name: np.ascontiguousarray(codes[name][rows[target]]) for name, target in run.projections.items()}


def _checked(run: Run, number: int, found: Any, batch: int) -> list[tuple[Part, Events]]:
    """What a run gives of its populations."""
    if not isinstance(found, Mapping):
        raise BadInputError(Diagnostic("SC486", f"run {number} gives no spikes by population",
                                       value=type(found).__name__, limit="a dict of Events"))
    checked = []
    for part in run.parts:
        events = found.get(part.population)
        if events is None:
            continue  # of what does not spike there is nothing to say
        if not isinstance(events, Events):
            raise BadInputError(Diagnostic("SC486", f"spikes of run {number} are no Events", node=part.population,
                                           value=type(events).__name__))
        try:
            plain = events.checked(len(part.neurons), part.population).numpy()
        except BadInputError as error:
            raise BadInputError(*(replace(each, code="SC485", message=f"spikes of run {number}: {each.message}")
                                  for each in error.diagnostics)) from error
        if plain.batch != batch:
            raise BadInputError(Diagnostic("SC486", f"spikes of run {number} are those of another batch",
                                           node=part.population, value=f"{plain.batch} samples",
                                           limit=f"{batch} samples"))
        checked.append((part, plain))
    return checked


def _whole(parts: Any, runs: Array) -> Events | None:
    """The spikes of a population out of those of its parts, with its own indices; None where parts are missing."""
    if sum(len(part.neurons) for part, _ in parts) != len(runs):
        return None
    times = np.concatenate([events.times for _, events in parts])
    indices = np.concatenate([part.neurons[events.indices] for part, events in parts])
    samples = np.concatenate([np.repeat(np.arange(events.batch), np.diff(events.offsets)) for _, events in parts])
    order = np.lexsort((indices, times, samples))
    return Events(times[order], indices[order], sum(np.asarray(events.offsets) for _, events in parts))
