"""What `spikec train` trains on: a known data set in its usual encoding, or a file of events with labels."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..ir.diagnostics import BadInputError, Diagnostic, Diagnostics, SpikecWarning
from ..ir.event_files import read_samples
from ..ir.events import Events
from ..runtime import datasets, encoders
from ..runtime.datasets import Dataset, Split

__all__ = ["TASKS", "Task", "check_task", "load_task"]

Labelled = tuple[dict[str, Events] | Events, Any]


@dataclass(frozen=True, slots=True)
class Task:
    """(events, labels) to train on, to validate with and to test with; `duration` in seconds and `channels` of the
    events, where they are known."""

    train: Labelled
    validation: Labelled | None = None
    test: Labelled | None = None
    duration: float | None = None
    channels: int | None = None


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a data set becomes events: `encode(inputs, t_max, peak)` onto `channels`, with the usual `t_max` in
    seconds."""

    load: Callable[[], Dataset]
    encode: Callable[[Any, float, float], Events]
    t_max: float
    channels: int


def _latency(inputs: Any, t_max: float, peak: float) -> Events:
    return encoders.latency(inputs, t_max, v_max=peak)


def _coordinates(inputs: Any, t_max: float, peak: float) -> Events:
    return encoders.yin_yang(inputs, t_max=t_max)


TASKS: dict[str, Recipe] = {
    "mnist": Recipe(datasets.load_mnist, _latency, 20e-3, 784),
    "digits": Recipe(datasets.load_digits, _latency, 20e-3, 64),
    "yin-yang": Recipe(datasets.load_yin_yang, _coordinates, 30e-3, 5),
}


def load_task(name: str, inputs: tuple[str, ...], validation: Path | None = None, t_max: float | None = None) -> Task:
    """A task by the name of its data set, or from an `.npz` file with events and `labels`.

    Raises:
        BadInputError: no such data set or file, it is malformed, or an option does not belong to it.
    """
    if t_max is not None and not (math.isfinite(t_max) and t_max > 0):
        raise BadInputError(Diagnostic("SC550", "--t-max must be positive", value=f"{t_max:g} s"))
    if name in TASKS:
        if validation is not None:
            raise BadInputError(Diagnostic("SC550", f"the data set '{name}' brings its own validation split",
                                           value=str(validation), remedy="Leave --validation out."))
        recipe = TASKS[name]
        data = recipe.load()
        span = recipe.t_max if t_max is None else t_max

        def encoded(split: Split) -> Labelled:
            return recipe.encode(split.inputs, span, data.peak), split.labels

        return Task(encoded(data.train), encoded(data.validation), encoded(data.test), 2 * span,
                    recipe.channels)
    if not Path(name).is_file():
        raise BadInputError(Diagnostic("SC540", f"there is no data set or file '{name}'",
                                       remedy=f"Data sets: {', '.join(TASKS)}; or an .npz file of events with labels."))
    if t_max is not None:
        raise BadInputError(Diagnostic("SC550", f"'{name}' holds events, which are encoded already",
                                       value=f"--t-max {t_max:g}", remedy="Leave --t-max out."))
    return Task(read_samples(name, inputs), None if validation is None else read_samples(validation, inputs))


def check_task(task: Task, network: Any) -> None:
    """Whether data and network belong together; a warning where the data leave most of an input unused.

    Raises:
        BadInputError: no samples, other channels than the network's input, more classes than its output has neurons.
    """
    faults = Diagnostics()
    used: dict[str, int] = {}
    splits = {"train": task.train, "validation": task.validation, "test": task.test}
    for split, given in splits.items():
        if given is None:
            continue
        events, labels = given
        if not len(labels):
            faults.add("SC505", f"the data to {split} with hold no samples", value="0 samples", limit=">= 1")
        if labels.dtype.kind in "iu" and labels.ndim == 1 and len(labels):
            _check_classes(int(labels.max()) + 1, network, faults)
        for name, stream in ({} if isinstance(events, Events) else events).items():
            used[name] = max(used.get(name, 0), 1 + int(stream.indices.max(initial=-1)))
    for name in network.inputs:
        size = network.size(name)
        if task.channels is not None and task.channels != size:
            faults.add("SC405", f"the data have {task.channels} channels, the network's input has {size}", node=name,
                       value=task.channels, limit=size, remedy="Give the input as many channels as the data have.")
        if used.get(name, 0) > size:
            faults.add("SC405", f"the data have events on {used[name]} channels, the network's input has {size}",
                       node=name, value=used[name], limit=size,
                       remedy="Give the input as many channels as the data have.")
        elif name in used and 2 * used[name] < size:
            warnings.warn(str(Diagnostic(
                "SC405", f"the data have events on {used[name]} channels only, the network's input has {size}",
                node=name, value=str(used[name]), limit=str(size), severity="warning",
                remedy="Check that data and model belong together.")), SpikecWarning, stacklevel=2)
    faults.raise_if_errors()


def _check_classes(classes: int, network: Any, faults: Diagnostics) -> None:
    for output, shown in network.outputs.items():
        size = network.size(shown)
        if len(network.outputs) == 1 and classes > size:
            faults.add("SC506", f"the data have {classes} classes, the network's output has {size} neurons",
                       node=output, value=classes, limit=size, remedy="Give the output a neuron for each class.")
