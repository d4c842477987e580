"""Two runs of one network beside each other: spikes one by one, membranes by their largest difference."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from .case import Array, Trace

MEMBRANE = 1e-5
"""How far membranes may be apart, of the larger of 1 and the largest membrane."""
SINGLE_MEMBRANE = 1e-3
"""The same in float32, up to the first spike that differs."""


@dataclass(frozen=True, slots=True)
class Compared:
    """`spikes`: how many were compared; `wrong`: in how many places (batch, time, neuron) they differ. `membrane`: the
    largest difference, of the larger of 1 and the largest membrane; None where there was none to compare.
    `first`: the first node, neuron and step that differ."""

    spikes: int = 0
    wrong: int = 0
    membrane: float | None = None
    first: str | None = None


def compared(ours: Mapping[str, Trace], theirs: Mapping[str, Trace]) -> Compared:
    """Two runs, node by node."""
    spikes = wrong = 0
    membrane: float | None = None
    first: tuple[int, str] | None = None
    for name, other in theirs.items():
        mine = ours.get(name)
        if mine is None:
            return Compared(wrong=-1, first=f"there is no node '{name}'")
        if other.spikes is not None:
            spikes += int(other.spikes.sum())
            if mine.spikes is None or mine.spikes.shape != other.spikes.shape:
                return Compared(wrong=-1, first=f"{name}: no spikes of this shape")
            differs = mine.spikes != other.spikes
            wrong += int(differs.sum())
            if differs.any():
                sample_, step, *place = min(np.argwhere(differs).tolist(), key=lambda found: found[1])
                at = (sample_, step, *place)
                text = (f"{name}, neuron {tuple(place)}, step {step}: {mine.spikes[at]:g} where the framework has "
                        f"{other.spikes[at]:g}")
                first = min(first, (step, text)) if first else (step, text)
        if other.membrane is not None and mine.membrane is not None:
            scale = max(1.0, float(np.abs(other.membrane).max()))
            found = float(np.abs(mine.membrane - other.membrane).max()) / scale
            membrane = found if membrane is None else max(membrane, found)
    return Compared(spikes, wrong, membrane, None if first is None else first[1])


def until_tie(ours: Mapping[str, Trace], theirs: Mapping[str, Trace]) -> Compared:
    """Two runs in float32: each sample up to the first step in which a spike differs. Two sums in another order differ
    in the last digit, so a membrane at its threshold falls on either side; whether that is all it was, the membranes
    before it say. `wrong`: the samples that end early."""
    arrays = [each for trace in theirs.values() for each in (trace.spikes, trace.membrane) if each is not None]
    samples, steps = arrays[0].shape[:2]
    spikes, wrong, membrane = 0, 0, None
    for sample in range(samples):
        end = min((_first_step(ours[name].spikes, other.spikes, sample) for name, other in theirs.items()
                   if other.spikes is not None), default=steps)
        wrong += end < steps
        if not end:
            continue
        one, other = ({name: Trace(*(None if each is None else each[sample:sample + 1, :end]
                                     for each in (trace.spikes, trace.membrane))) for name, trace in traces.items()}
                      for traces in (ours, theirs))
        part = compared(one, other)
        spikes += part.spikes
        if part.membrane is not None:
            membrane = max(membrane or 0.0, part.membrane)
    return Compared(spikes, wrong, membrane)


def _first_step(ours: Array | None, theirs: Array, sample: int) -> int:
    """The first step of a sample in which spikes differ; the number of steps where none does."""
    if ours is None or ours.shape != theirs.shape:
        return 0
    differs = (ours[sample] != theirs[sample]).reshape(theirs.shape[1], -1).any(axis=1)
    return int(np.argmax(differs)) if differs.any() else theirs.shape[1]
