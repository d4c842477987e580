"""Samples as a stream: one after the other on a chip that never stops, with their teachers, updates and sleeps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ...ir.nodes import Array
from ...ir.plastic import ASLEEP, CLEAR, MIRROR, TEACH, UPDATE
from ...ir.plastic_signals import Signals
from ...passes.plastic import Plastic, SampleColumns

__all__ = ["Stream", "sample_stream"]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Stream:
    """`inputs`: by input (time, n). `starts` (batch,): the first column of each sample, `length` columns long.
    `sleeps`: how many there are in it."""

    inputs: Mapping[str, Array]
    signals: Signals
    starts: Array
    length: int
    sleeps: int


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
    sleeps = labels is not None and columns.sleep > 0
    after = [sleeps and (before + number + 1) % columns.sleep_every == 0 for number in range(batch)]
    lengths = columns.columns + columns.sleep_columns * np.array(after, dtype=np.int64)
    starts = np.concatenate([[0], np.cumsum(lengths)])
    inputs = {name: np.zeros((int(starts[-1]), raster.shape[2]), dtype=raster.dtype)
              for name, raster in rasters.items()}
    for name, raster in rasters.items():
        for start, sample in zip(starts, raster, strict=False):
            inputs[name][start:start + columns.shown] = sample[:columns.shown]
    signals = Signals() if labels is None else _signals(plastic, starts, after, labels, slept, seed)
    return Stream(inputs=inputs, signals=signals, starts=starts[:-1], length=columns.columns, sleeps=sum(after))


def _signals(plastic: Plastic, starts: Array, after: list[bool], labels: Array, slept: int, seed: int) -> Signals:
    columns, network = plastic.columns, plastic.network.network
    total = int(starts[-1])
    control, sleeps = np.zeros(total, dtype=np.int64), 0
    noise = {name: np.zeros((total, network.size(name)), dtype=np.int8)
             for name, neuron in plastic.network.neurons.items() if neuron.error == "dendrite"}
    teacher = np.zeros((total, network.size(plastic.output)), dtype=np.int8)
    told = np.arange(columns.teach_from, columns.shown + columns.late, columns.teach_every)
    asleep = _sleep(columns)
    for start, label, sleep in zip(starts, labels, after, strict=False):
        control[start + columns.teach_from:start + columns.update] = TEACH
        control[start + columns.update] = UPDATE
        teacher[start + told, label] = 1
        if sleep:
            begun = start + columns.columns
            control[begun:begun + len(asleep)] = asleep
            _dream(columns, noise, begun + 1, np.random.default_rng([seed, slept + sleeps]))
            sleeps += 1
    teachers = {plastic.output: teacher} if plastic.output in plastic.network.neurons else {}
    return Signals(control=control, teacher=teachers, noise=noise)


def _sleep(columns: SampleColumns) -> Array:
    return np.array([CLEAR, *[ASLEEP] * (columns.sleep + 1), ASLEEP | MIRROR, CLEAR, *[0] * columns.gap])


def _dream(columns: SampleColumns, noise: Mapping[str, Array], begun: int, random: np.random.Generator) -> None:
    if columns.noise is None:
        return
    rate = random.uniform(columns.noise.low, columns.noise.high)
    for each in noise.values():
        shape = columns.sleep, each.shape[1]
        drawn = random.random((2, *shape), dtype=np.float32) < rate
        each[begun:begun + columns.sleep] = drawn[0].astype(np.int8) - drawn[1].astype(np.int8)
