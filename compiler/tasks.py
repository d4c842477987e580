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
from ..runtime.datasets import Dataset

__all__ = ["ENCODERS", "TASKS", "Task", "check_task", "load_task"]

Labelled = tuple[dict[str, Events] | Events, Any]


@dataclass(frozen=True, slots=True)
class Task:
    """(events, labels) to train on, to validate with and to test with; `duration` in seconds and `channels` of the
    events, where they are known, and the name of the `encoder` that made them."""

    train: Labelled
    validation: Labelled | None = None
    test: Labelled | None = None
    duration: float | None = None
    channels: int | None = None
    encoder: str | None = None


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a data set becomes events: `encoders` that it can be put through, the usual one first, onto `channels`, with
    the usual `t_max` in seconds."""

    load: Callable[[], Dataset]
    encoders: tuple[str, ...]
    t_max: float
    channels: int


@dataclass(frozen=True, slots=True)
class Coding:
    """Of values up to `peak`: `t_max` in seconds, `rate` of the largest in Hz, and the `seed` of what is drawn."""

    t_max: float
    peak: float
    rate: float
    seed: int

    def rates(self, inputs: Any) -> Any:
        return inputs * (self.rate / self.peak)


ENCODERS: dict[str, Callable[[Any, Coding], Events]] = {
    "latency": lambda inputs, coding: encoders.latency(inputs, coding.t_max, v_max=coding.peak),
    "regular": lambda inputs, coding: encoders.regular(coding.rates(inputs), coding.t_max),
    "poisson": lambda inputs, coding: encoders.poisson(coding.rates(inputs), coding.t_max, coding.seed),
    "yin-yang": lambda inputs, coding: encoders.yin_yang(inputs, t_max=coding.t_max),
}
_RATED = ("regular", "poisson")
_PEAK_RATE = 800.0

TASKS: dict[str, Recipe] = {
    "mnist": Recipe(datasets.load_mnist, ("latency", *_RATED), 20e-3, 784),
    "digits": Recipe(datasets.load_digits, ("latency", *_RATED), 20e-3, 64),
    "yin-yang": Recipe(datasets.load_yin_yang, ("yin-yang",), 30e-3, 5),
}


def load_task(name: str, inputs: tuple[str, ...], validation: Path | None = None, t_max: float | None = None,
              encoder: str | None = None, peak_rate: float | None = None) -> Task:
    """A task by the name of its data set, or from an `.npz` file with events and `labels`. `encoder`: one of
    `ENCODERS`; `t_max`: seconds that it encodes a value in; `peak_rate`: of the largest value, in Hz.

    Raises:
        BadInputError: no such data set or file, it is malformed, or an option does not belong to it.
    """
    faults = Diagnostics()
    for option, value, unit in (("--t-max", t_max, "s"), ("--peak-rate", peak_rate, "Hz")):
        if value is not None and not (math.isfinite(value) and value > 0):
            faults.add("SC550", f"{option} must be positive", value=f"{value:g} {unit}")
    faults.raise_if_errors()
    if name in TASKS:
        if validation is not None:
            raise BadInputError(Diagnostic("SC550", f"the data set '{name}' brings its own validation split",
                                           value=str(validation), remedy="Leave --validation out."))
        return _encoded(name, TASKS[name], t_max, encoder, peak_rate)
    if not Path(name).is_file():
        raise BadInputError(Diagnostic("SC540", f"there is no data set or file '{name}'",
                                       remedy=f"Data sets: {', '.join(TASKS)}; or an .npz file of events with labels."))
    for option, given in (("--t-max", t_max), ("--encoder", encoder), ("--peak-rate", peak_rate)):
        if given is not None:
            faults.add("SC550", f"'{name}' holds events, which are encoded already", value=f"{option} {given}",
                       remedy=f"Leave {option} out.")
    faults.raise_if_errors()
    return Task(read_samples(name, inputs), None if validation is None else read_samples(validation, inputs))


def _encoded(name: str, recipe: Recipe, t_max: float | None, encoder: str | None, peak_rate: float | None) -> Task:
    chosen = recipe.encoders[0] if encoder is None else encoder
    faults = Diagnostics()
    if chosen not in recipe.encoders:
        faults.add("SC550", f"the data set '{name}' is not encoded so", value=f"--encoder {chosen}",
                   limit=", ".join(recipe.encoders), remedy=f"Use --encoder {recipe.encoders[0]}, or leave it out.")
    elif peak_rate is not None and chosen not in _RATED:
        faults.add("SC550", f"the encoder '{chosen}' has no rates", value=f"--peak-rate {peak_rate:g}",
                   remedy=f"Leave --peak-rate out, or use --encoder {' or '.join(_RATED)}.")
    faults.raise_if_errors()
    data = recipe.load()
    span = recipe.t_max if t_max is None else t_max
    rate = _PEAK_RATE if peak_rate is None else peak_rate
    train, validation, test = (
        (ENCODERS[chosen](split.inputs, Coding(span, data.peak, rate, seed)), split.labels)
        for seed, split in enumerate((data.train, data.validation, data.test)))
    return Task(train, validation, test, 2 * span, recipe.channels, chosen)


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
