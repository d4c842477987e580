"""Samples as a stream: one after the other on a chip that never stops, with their teachers, updates and sleeps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from ...ir.integer.plastic import ASLEEP, CLEAR, MIRROR, TEACH, UPDATE
from ...ir.nodes import Array
from ...passes.plastic import Plastic, SampleColumns
from ...runtime.plastic.course import Course
from ...runtime.plastic.lists import SpikeList

__all__ = ["Stream", "sample_stream"]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Stream:
    """`windows` (batch, 2): the columns of each sample, from the first to the one after its last; with a reward, to the
    update, in which it is told, and depends on what the window counts. `sleeps`: how many there are in it."""

    course: Course
    windows: Array
    sleeps: int

    def samples(self) -> Iterator[tuple[Course, Array]]:
        """Parts of the course, one after the other, with a window each, and at last the update of the last sample: so
        that a reward can still be said of the sample whose update is the first column of the next part."""
        before = 0
        for start, stop in self.windows.tolist():
            yield self.course.part(before, stop), np.array([[start - before, stop - before]])
            before = stop
        yield self.course.part(before, self.course.columns), self.windows[:0]


def sample_stream(plastic: Plastic, rasters: Mapping[str, Array], labels: Array | None, *, before: int = 0,
                  slept: int = 0, seed: int = 0) -> Stream:
    """The stream of a batch.

    Args:
        rasters: by input (batch, time, n), of `columns.shown` columns.
        labels: (batch,) which neuron of the output the teacher speaks for; None: nothing is learnt.
        before: samples that were learnt before, after some of which a sleep comes.
        slept: sleeps before: what their noise depends on, with `seed`.
    """
    columns, batch = plastic.columns, len(next(iter(rasters.values())))
    dozes = labels is not None and columns.sleep > 0
    after = np.zeros(batch, dtype=bool)
    if dozes:
        after = (before + 1 + np.arange(batch)) % columns.sleep_every == 0
    begins = np.concatenate([[0], np.cumsum(columns.columns + columns.sleep_columns * after)])
    total, starts = int(begins[-1]), begins[:-1]
    course = Course(
        columns=total, inputs={name: _spikes(each[:, :columns.shown], starts, total) for name, each in rasters.items()},
        control=None if labels is None else _control(columns, starts, after, total),
        teacher={} if labels is None else _teachers(plastic, starts, labels, total),
        noise=_noise(plastic, starts[after], total, slept, seed) if dozes else {})
    stop = columns.update if plastic.reward else columns.columns
    return Stream(course=course, windows=np.stack([starts, starts + stop], axis=1), sleeps=int(after.sum()))


def _spikes(raster: Array, starts: Array, total: int) -> SpikeList:
    """What fires in each column of each sample, in order."""
    batch, shown, n = raster.shape
    fires = np.ascontiguousarray(raster) != 0
    # numpy finds what is true in flat arrays of booleans many times as fast as in others.
    place, count = np.flatnonzero(fires), fires.sum(axis=2, dtype=np.int32).reshape(-1)
    channels = (place - np.repeat(np.arange(batch * shown) * n, count)).astype(np.int32)
    values = raster.reshape(-1)[place]
    in_column = np.zeros(total + 1, dtype=np.int64)
    in_column[1 + (starts[:, None] + np.arange(shown)).reshape(-1)] = count
    return SpikeList(np.cumsum(in_column), channels, None if (values == 1).all() else values.astype(np.int32))


def _control(columns: SampleColumns, starts: Array, after: Array, total: int) -> Array:
    shown = np.zeros(columns.columns, dtype=np.int64)
    shown[columns.teach_from:columns.update], shown[columns.update] = TEACH, UPDATE
    asleep = np.array([CLEAR, *[ASLEEP] * (columns.sleep + 1), ASLEEP | MIRROR, CLEAR, *[0] * columns.gap])
    control = np.zeros(total, dtype=np.int64)
    control[starts[:, None] + np.arange(len(shown))] = shown
    if after.any():
        control[starts[after, None] + columns.columns + np.arange(len(asleep))] = asleep
    return control


def _teachers(plastic: Plastic, starts: Array, labels: Array, total: int) -> dict[str, SpikeList]:
    if not plastic.error:
        return {}
    columns = plastic.columns
    told = np.arange(columns.teach_from, columns.shown + columns.late, columns.teach_every)
    return {plastic.output: SpikeList.of_sorted((starts[:, None] + told).reshape(-1), np.repeat(labels, len(told)),
                                                total)}


def _noise(plastic: Plastic, awake: Array, total: int, slept: int, seed: int) -> dict[str, SpikeList]:
    """Of the sleeps after the samples that start in the columns `awake`."""
    columns, found = plastic.columns, {}
    for name, neuron in plastic.network.neurons.items():
        if neuron.error != "dendrite" or columns.noise is None:
            continue
        drawn = np.zeros((len(awake), columns.sleep, plastic.network.network.size(name)), dtype=np.int8)
        for number, each in enumerate(drawn):
            random = np.random.default_rng([seed, slept + number, *name.encode()])
            rate = random.uniform(columns.noise.low, columns.noise.high)
            spikes = random.random((2, *each.shape), dtype=np.float32) < rate
            each[:] = spikes[0].astype(np.int8) - spikes[1]
        found[name] = _spikes(drawn, awake + columns.columns + 1, total)
    return found
