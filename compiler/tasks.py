"""What `spikec train` trains on: a known data set in its usual encoding, or a file of events with labels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..ir.diagnostics import BadInputError, Diagnostic
from ..ir.event_files import read_samples
from ..ir.events import Events
from ..runtime import datasets, encoders
from ..runtime.datasets import Dataset, Split

__all__ = ["TASKS", "Task", "load_task"]

Labelled = tuple[dict[str, Events] | Events, Any]


@dataclass(frozen=True, slots=True)
class Task:
    """(events, labels) to train on, to validate with and to test with; `duration` in seconds, where it is known."""

    train: Labelled
    validation: Labelled | None = None
    test: Labelled | None = None
    duration: float | None = None


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a data set becomes events: `encode(inputs, t_max, peak)`, with the usual `t_max` in seconds."""

    load: Callable[[], Dataset]
    encode: Callable[[Any, float, float], Events]
    t_max: float


def _latency(inputs: Any, t_max: float, peak: float) -> Events:
    return encoders.latency(inputs, t_max, v_max=peak)


def _coordinates(inputs: Any, t_max: float, peak: float) -> Events:
    return encoders.yin_yang(inputs, t_max=t_max)


TASKS: dict[str, Recipe] = {
    "mnist": Recipe(datasets.load_mnist, _latency, 20e-3),
    "digits": Recipe(datasets.load_digits, _latency, 20e-3),
    "yin-yang": Recipe(datasets.load_yin_yang, _coordinates, 30e-3),
}


def load_task(name: str, inputs: tuple[str, ...], validation: Path | None = None, t_max: float | None = None) -> Task:
    """A task by the name of its data set, or from an `.npz` file with events and `labels`.

    Raises:
        BadInputError: no such data set or file, or it is malformed.
    """
    if name in TASKS:
        recipe = TASKS[name]
        data = recipe.load()
        span = recipe.t_max if t_max is None else t_max

        def encoded(split: Split) -> Labelled:
            return recipe.encode(split.inputs, span, data.peak), split.labels

        return Task(encoded(data.train), encoded(data.validation), encoded(data.test), 2 * span)
    if not Path(name).is_file():
        raise BadInputError(Diagnostic("SC540", f"there is no data set or file '{name}'",
                                       remedy=f"Data sets: {', '.join(TASKS)}; or an .npz file of events with labels."))
    return Task(read_samples(name, inputs), None if validation is None else read_samples(validation, inputs))

