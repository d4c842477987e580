"""The way of gradients: a network trained by the ordinary `Trainer`, and what is measured after its last epoch."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from ...ir.diagnostics import BadInputError, Diagnostic, Diagnostics
from ...runtime.augmentation import Augmented, Changes, ImageChanges, PixelFlips
from ...runtime.datasets import Split
from ...runtime.losses import LOSSES
from ...runtime.optimizers import FusedAdam, FusedAdamW
from ...runtime.samples import Samples
from ...runtime.trainer import Trainer
from ..driver import compile as compile_graph
from .activity import active
from .data import DataChoice, Parts, encoded
from .network import NetworkChoice, built
from .reader import CODE, MOST_EPOCHS, Reader
from .stopwatch import Stopwatch

if TYPE_CHECKING:
    from .config import Config

__all__ = ["Training", "read_changes", "read_loss", "read_training", "train"]

_OPTIMIZERS: dict[str, type[Any]] = {"adam": FusedAdam, "adamw": FusedAdamW}
_DTYPES = {"float32": torch.float32, "float64": torch.float64}
_TRAINED = ("weight", "bias", "scale", "delay", "v_threshold", "v0", "tau_mem", "tau_syn", "tau")
_NOT_NEGATIVE = ("delay",)
"""Parameters that a step of the optimizer must not take below zero."""
_CHANGES: dict[str, type[Any]] = {"distortions": ImageChanges, "flips": PixelFlips}
"""How images of the training part are another in every epoch, by the usual kind first."""
_BATCH = 250
"""Samples at once, where activity is measured."""


@dataclass(frozen=True, slots=True)
class Training:
    """As `Trainer` takes them. `trained`: parameters that learn, by their names in a node. `rates`: learning rates of
    their own by name. `steps`: (epochs, factor, least rate) of a rate that falls by steps, in the place of
    `schedule`. `duration` in seconds."""

    optimizer: str
    lr: float
    rates: Mapping[str, float]
    schedule: float | str | None
    steps: tuple[int, float, float] | None
    epochs: int
    batch: int
    duration: float
    dtype: str
    input_dropout: float
    gradient_clip: float | None
    trained: tuple[str, ...]


def read_loss(table: Reader | None, faults: Diagnostics) -> Any:
    """`[loss]`: its kind and its constants, as `spikec.losses` has them."""
    if table is None:
        return None
    make = LOSSES.get(table.text("kind", known=tuple(LOSSES)))
    return None if make is None else _stated(make, table, faults, ("output", "targets"))


def read_changes(table: Reader | None, faults: Diagnostics) -> Changes | None:
    """`[changes]`: their kind and its constants, as `runtime/augmentation.py` has them."""
    if table is None:
        return None
    make = _CHANGES.get(table.text("kind", known=tuple(_CHANGES)) if "kind" in table else next(iter(_CHANGES)))
    return None if make is None else _stated(make, table, faults)


def _stated(make: Any, table: Reader, faults: Diagnostics, left_out: tuple[str, ...] = ()) -> Any:
    """What a dataclass makes of the entries that have the names of its fields; None where it refuses them."""
    own = [each.name for each in fields(make) if each.name not in left_out]
    options = {name: table.raw(name) for name in own if name in table}
    table.end(own)
    try:
        return make(**options)
    except BadInputError as error:
        for each in error.diagnostics:
            faults.add(CODE, each.message, node=table.path(each.node or ""), value=each.value, limit=each.limit,
                       remedy=each.remedy)
    return None


def read_training(table: Reader | None) -> Training | None:
    """`[training]`."""
    if table is None:
        return None
    steps = table.table("steps", needed=False)
    falls = None
    if steps is not None:
        falls = (steps.whole("epochs", 1, MOST_EPOCHS), steps.number("factor", 0, 1, open_low=True),
                 steps.number("least", 0, 10))
        steps.end()
    schedule = _schedule(table)
    if falls is not None and schedule is not None:
        table.fault("a rate falls by a schedule or by steps", "schedule", schedule)
    trained = table.texts("trained") or ("weight", "bias", "scale")
    for name in trained:
        if name not in _TRAINED:
            table.fault("no parameter is called so", "trained", name, ", ".join(_TRAINED))
    clip = table.maybe("gradient_clip", 0, 1e9, open_low=True)
    found = Training(
        table.text("optimizer", absent="adam", known=tuple(_OPTIMIZERS)),
        table.number("lr", 0, 10, open_low=True), _rates(table, trained), schedule, falls,
        table.whole("epochs", 1, MOST_EPOCHS), table.whole("batch", 1, 1 << 16),
        table.number("duration", 0, 1e3, open_low=True),
        table.text("dtype", absent="float32", known=tuple(_DTYPES)), table.number("input_dropout", 0, 0.99, absent=0.0),
        clip, trained)
    table.end()
    return found


def _rates(table: Reader, trained: tuple[str, ...]) -> dict[str, float]:
    """Of parameters that learn, those with a rate of their own."""
    own = table.table("rates", needed=False)
    if own is None:
        return {}
    found = {name: own.number(name, 0, 10, open_low=True) for name in trained if name in own}
    own.end(trained)
    return found


def _schedule(table: Reader) -> float | str | None:
    given = table.raw("schedule")
    if given is None or given == "cosine":
        return None if given is None else "cosine"
    if isinstance(given, int | float) and not isinstance(given, bool) and 0 < given <= 2:
        return float(given)
    table.fault("this is a factor for the learning rate of each epoch, or cosine", "schedule", given, "0 < factor <= 2")
    return None


class _Chosen:
    """A program whose modules train the parameters of these names, as a configuration of these `parameters` says, which
    its checkpoints are of alone; all else is the program's."""

    def __init__(self, program: Any, trained: Iterable[str], parameters: Mapping[str, Any]) -> None:
        self._program, self._trained, self._parameters = program, tuple(trained), parameters

    def __getattr__(self, name: str) -> Any:
        return getattr(self._program, name)

    def told(self) -> Mapping[str, Any]:
        """What a checkpoint must have been written with."""
        return {"configuration": self._parameters}

    def module(self, dtype: torch.dtype | None = None) -> Any:
        known = {each.rpartition(".")[2] for each, _ in self._program.module().named_parameters()}
        return self._program.module(dtype=dtype, train=[name for name in self._trained if name in known])


def _optimizer(parameters: list[torch.nn.Parameter], *, kind: str, names: tuple[str, ...], rates: Mapping[str, float],
               lr: float) -> Optimizer:
    """With a rate for each kind of parameter; delays are kept from falling below zero."""
    groups: dict[str, list[torch.nn.Parameter]] = {}
    for name, parameter in zip(names, parameters, strict=True):
        groups.setdefault(name, []).append(parameter)
    known = _OPTIMIZERS[kind]
    held = [each for name in _NOT_NEGATIVE for each in groups.get(name, ())]

    class Held(known):  # type: ignore[valid-type,misc]
        """Of the same kind, with bounds."""

        def step(self, closure: Any = None) -> Any:
            told = super().step(closure)
            for each in held:
                each.clamp_(min=0.0)
            return told

    made: Optimizer = (Held if held else known)(
        [{"params": each, "lr": rates.get(name, lr)} for name, each in groups.items()], lr=lr)
    return made


def _falling(optimizer: Optimizer, *, epochs: int, factor: float, least: float) -> LambdaLR:
    """Each group's rate times `factor` every so many epochs, never below `least`."""
    def of(first: float) -> Callable[[int], float]:
        return lambda epoch: max(factor ** (epoch // epochs), min(1.0, least / first))

    return LambdaLR(optimizer, [of(float(group["lr"])) for group in optimizer.param_groups])


def _trainer(config: Config, seed: int, **options: Any) -> Trainer:
    """As the configuration has it, with nothing trained yet. `options`: more of `Trainer`.

    Raises:
        BadInputError, UnsupportedError: as `Trainer`.
    """
    choice, network, data = _needed(config)
    program = compile_graph(built(network, data.channels, seed))
    chosen = _Chosen(program, choice.trained, config.parameters)
    names = tuple(name.rpartition(".")[2] for name, each in chosen.module().named_parameters() if each.requires_grad)
    alike = not choice.rates and not any(name in _NOT_NEGATIVE for name in names)
    optimizer: Any = choice.optimizer if alike else partial(
        _optimizer, kind=choice.optimizer, names=names, rates=dict(choice.rates))
    scheduler: Any = choice.schedule
    if choice.steps is not None:
        scheduler = partial(_falling, epochs=choice.steps[0], factor=choice.steps[1], least=choice.steps[2])
    return Trainer(
        chosen, config.loss, optimizer, lr=choice.lr, scheduler=scheduler, duration=choice.duration,
        batch_size=choice.batch, epochs=choice.epochs, input_dropout=choice.input_dropout,
        gradient_clip=choice.gradient_clip, seed=seed, dtype=_DTYPES[choice.dtype], **options)


def check(config: Config) -> None:
    """Whether the network can be trained by the loss; no data are needed.

    Raises:
        BadInputError, UnsupportedError: as `Trainer`.
    """
    _trainer(config, 0, progress=False)


def train(config: Config, parts: Parts, seed: int, checkpoint: Path, *, fresh: bool, progress: bool) -> dict[str, Any]:
    """One training, and its figures after the last epoch; the checkpoint stays, for the caller to remove.

    Raises:
        TrainingInterrupted: after Ctrl-C, with everything saved.
        BadInputError, UnsupportedError: as `Trainer` and `Trainer.fit`.
    """
    watch = Stopwatch(checkpoint, fresh)
    trainer = _trainer(config, seed, checkpoint=checkpoint, progress=progress,
                       callbacks=lambda trainer, record: watch.lap())
    choice, _, data = _needed(config)
    program = trainer.program
    held_out = None if parts.validation is None else encoded(data, parts.validation, parts.peak)
    test = encoded(data, parts.test, parts.peak)
    before = _activity(trainer.module, test, choice.duration, program)
    with watch:
        history = trainer.fit(_presented(config, data, parts, seed), held_out, resume=False if fresh else None)
    found = trainer.evaluate(test)
    last = history[-1]
    return {
        "seed": seed, "test_accuracy": found.accuracy, "test_loss": found.loss, "silent_labels": found.silent,
        **({} if found.by_spikes is None else {"test_accuracy_by_spikes": found.by_spikes}),
        "validation_accuracy": None if last.validation is None else last.validation.accuracy,
        "train_accuracy": last.train.accuracy, "epochs": len(history),
        **_activity(trainer.module, test, choice.duration, program),
        "before": before, "training_cpu_s": watch.seconds,
        "training_wall_s": sum(record.seconds for record in history),
        "loss_curve": thinned([record.train.loss for record in history]),
    }


def _presented(config: Config, data: DataChoice, parts: Parts, seed: int) -> Any:
    """What is trained on: the training part, or images of it that change."""
    if config.changes is None:
        return encoded(data, parts.train, parts.peak)
    labels = parts.train.labels
    return Augmented(images=parts.train.inputs, labels=labels, changes=config.changes, seed=seed,
                     encode=lambda images: encoded(data, Split(images, labels), parts.peak)[0])


def thinned(values: list[Any], most: int = 50) -> list[Any]:
    """At most so many of them, evenly, the last one always."""
    each = max(1, math.ceil(len(values) / most))
    return values[len(values) - 1::-each][::-1] if values else []


def _activity(module: Any, data: Any, duration: float, program: Any) -> dict[str, Any]:
    """Spikes of the whole of `data`; no label is looked at."""
    samples = Samples.of(data)
    network = program.network
    spiking = [name for name, each in network.populations.items() if each.spiking]
    shown = [name for name in network.outputs.values() if name in spiking]

    def batches() -> Any:
        for start in range(0, len(samples), _BATCH):
            rows = torch.arange(start, min(start + _BATCH, len(samples))).numpy()
            yield module(samples.take(rows)[0], duration=duration)

    return active(batches(), spiking, shown[0] if shown else None).record()


def _needed(config: Config) -> tuple[Training, NetworkChoice, DataChoice]:
    """What a training by gradients is made of.

    Raises:
        BadInputError: the configuration is of another way (SC580).
    """
    if config.training is None or config.network is None or config.data is None:
        raise BadInputError(Diagnostic(CODE, "a training by gradients needs data, a network and a training",
                                       node=config.name))
    return config.training, config.network, config.data
