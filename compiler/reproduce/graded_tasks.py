"""Tasks over signals for networks with a differentiable synapse: what they hear, what is wanted of their output, and
how right an answer is. A further task is one more entry of `TASKS`.

Both are of Huh & Sejnowski (NeurIPS 2018, arXiv 1706.04698), whose settings were not at hand: all times are chosen.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch

from ...ir.nodes import Array
from ...runtime.graded.losses import IntegratedSquaredError
from .measures import ACCURACY, ERROR, Measure
from .reader import Reader

__all__ = ["TASKS", "Batch", "Course", "Encoding", "Task", "Xor", "read_task"]

_TIME = 1e3
"""Seconds, of anything here at most."""


class Batch(NamedTuple):
    """`signals` (batch, samples, inputs), `wanted` (batch, samples, outputs), and where the output matters,
    `weight` (samples,)."""

    signals: Array
    wanted: Array
    weight: Array


@dataclass(slots=True)
class Course:
    """Where a training stands. `step`: how many were made; `left`: how many will be, once that is known; of a task
    whose memory grows, `delay` in seconds and how well it is `mastered`, a running mean of the share of right
    answers."""

    step: int = 0
    left: int | None = None
    delay: float = 0.0
    mastered: float = 0.0


@dataclass(frozen=True, slots=True)
class Encoding:
    """Predictive auto-encoding: the output follows the signal of two channels, each a sum of as many `sines` with a
    `period` in this span and any phase. The first `wake` seconds of `length`, in which the network wakes up, do not
    matter."""

    length: float
    sines: int
    period: tuple[float, float]
    wake: float

    channels: ClassVar[tuple[int, int]] = 2, 2
    measure: ClassVar[Measure] = ERROR
    stream: ClassVar[int] = 0
    """Of random numbers, beside the seed."""
    delays: ClassVar[tuple[float, float]] = 0.0, 0.0

    @property
    def longest(self) -> float:
        """Seconds of a sample."""
        return self.length

    @property
    def shortest(self) -> float:
        """Seconds that samples must resolve."""
        return min(self.period[0] / 2, self.length - self.wake)

    def batch(self, draw: np.random.Generator, count: int, dt: float, delay: float) -> Batch:
        """So many fresh samples."""
        times = np.arange(round(self.length / dt) + 1) * dt
        shape = (count, self.channels[0], self.sines, 1)
        period, phase = draw.uniform(*self.period, shape), draw.uniform(0, 2 * np.pi, shape)
        signal = np.sin(2 * np.pi * times / period + phase).sum(2).transpose(0, 2, 1) / self.sines**0.5
        return Batch(signal, signal, (times >= self.wake).astype(float))

    def loss(self, out: Any, batch: Batch, activity: float) -> torch.Tensor:
        error = IntegratedSquaredError(activity=activity, weight=batch.weight)
        return error(out, torch.from_numpy(batch.wanted)).value

    def figure(self, shown: torch.Tensor, batch: Batch) -> float:
        """The squared error, as a share of the signal's power."""
        matters = torch.from_numpy(batch.weight) > 0
        wanted = torch.from_numpy(batch.wanted)[:, matters]
        return float((shown[:, matters] - wanted).square().mean() / wanted.square().mean())

    def follow(self, course: Course, figure: float, last: int) -> None:
        """Nothing about the task changes as it is learnt."""


@dataclass(frozen=True, slots=True)
class Xor:
    """Delayed-memory XOR: two pulses of either sign on one channel, each followed by a delay, and a go cue on the
    other; for a `window` after it the output is to say by its sign whether the pulses differed. Seconds, all at
    jittered times.

    Training begins with `delays[0]`, grown by the factor `grow` whenever the running share of right answers passes
    `mastered`, up to `delays[1]`, that of tests; once it passes `held` there, the last steps begin.
    """

    pulse: float
    window: float
    delays: tuple[float, float]
    grow: float
    mastered: float
    held: float

    channels: ClassVar[tuple[int, int]] = 2, 1
    measure: ClassVar[Measure] = ACCURACY
    stream: ClassVar[int] = 1
    start: ClassVar[tuple[float, float]] = 0.02, 0.06
    """Before the first pulse: the least, and what is added at random."""
    rest: ClassVar[float] = 0.05
    """After the window of the latest cue."""

    @property
    def longest(self) -> float:
        """Seconds of a sample with the longest delay."""
        return self._length(self.delays[1])

    @property
    def shortest(self) -> float:
        """Seconds that samples must resolve."""
        return min(self.pulse, self.window)

    def batch(self, draw: np.random.Generator, count: int, dt: float, delay: float) -> Batch:
        """So many fresh samples, with delays of 0.7 to 1 times `delay`."""
        start = self.start[0] + draw.uniform(0.0, self.start[1], count)
        second = start + self.pulse + delay * draw.uniform(0.7, 1.0, count)
        cue = second + self.pulse + delay * draw.uniform(0.7, 1.0, count)
        times = np.arange(round(self._length(delay) / dt) + 1) * dt
        signs = draw.choice([-1.0, 1.0], (2, count))
        first_on, second_on, cued = (((times >= begin[:, None]) & (times < begin[:, None] + self.pulse)).astype(float)
                                     for begin in (start, second, cue))
        signal = np.stack([signs[0, :, None] * first_on + signs[1, :, None] * second_on, cued], -1)
        since = times - cue[:, None] - self.pulse
        wanted = (-signs[0] * signs[1])[:, None] * ((since >= 0) & (since < self.window))
        return Batch(signal, wanted[..., None], np.ones(len(times)))

    def loss(self, out: Any, batch: Batch, activity: float) -> torch.Tensor:
        """The integral of the squared error, averaged over the batch: in full within the window, a tenth of it before,
        free after it; and that of the squared currents by their price `activity`."""
        wanted = torch.from_numpy(batch.wanted)
        window = wanted != 0
        before = window.flip(1).cumsum(1).flip(1) > 0
        weight = torch.where(window, 1.0, 0.1) * before
        error = (weight * (out.signal("out") - wanted).square()).sum()
        effort = activity * out.signal("neurons").square().sum()
        loss: torch.Tensor = (error + effort) * out.dt / len(wanted)
        return loss

    def figure(self, shown: torch.Tensor, batch: Batch) -> float:
        """The share of samples whose output has the right sign, over the window."""
        said = (shown * torch.from_numpy(batch.wanted)).sum((1, 2))
        return float((said > 0).double().mean())

    def follow(self, course: Course, figure: float, last: int) -> None:
        """A longer memory as soon as the shorter one holds; the `last` steps once the longest does."""
        course.mastered = 0.9 * course.mastered + 0.1 * figure
        if course.mastered > self.mastered and course.delay < self.delays[1]:
            course.delay, course.mastered = min(self.delays[1], self.grow * course.delay), 0.85
        elif course.mastered > self.held and course.left is None:
            course.left = last + 1

    def _length(self, delay: float) -> float:
        return sum(self.start) + 3 * self.pulse + 2 * delay + self.window + self.rest


Task = Encoding | Xor


def _encoding(table: Reader) -> Encoding:
    found = Encoding(
        table.number("length", 0, _TIME, open_low=True), table.whole("sines", 1, 16),
        table.span("period", 0, _TIME, open_low=True), table.number("wake", 0, _TIME))
    if found.wake >= found.length:
        table.fault("nothing of a sample matters", "wake", found.wake, f"< {found.length:g} s")
    return found


def _xor(table: Reader) -> Xor:
    return Xor(
        table.number("pulse", 0, _TIME, open_low=True), table.number("window", 0, _TIME, open_low=True),
        table.span("delays", 0, _TIME, open_low=True), table.number("grow", 1, 1e3, open_low=True),
        table.number("mastered", 0, 1), table.number("held", 0, 1))


TASKS: Mapping[str, Callable[[Reader], Task]] = {"encoding": _encoding, "xor": _xor}


def read_task(table: Reader | None) -> Task | None:
    """`[task]`: its kind and its times in seconds."""
    if table is None:
        return None
    read = TASKS.get(table.text("kind", known=tuple(TASKS)))
    if read is None:
        return None
    found = read(table)
    table.end()
    return found
