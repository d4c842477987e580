"""The trainer: mini-batches of events through a program's module, a loss, an optimizer, checkpoints.

A training is a function of its settings, its data and its seed: interrupted and resumed, it gives the same bits on a
CPU.
"""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..ir.diagnostics import BadInputError, Diagnostic, Diagnostics, UnsupportedError
from ..ir.facts import is_number, is_whole
from ..ir.paths import check_path
from .bump import WeightBump
from .checkpoint import read_checkpoint, require_same, write_checkpoint
from .display import Display
from .history import EpochRecord, Evaluation, History, Tally
from .incoming import incoming
from .interruption import InterruptGuard, TrainingInterrupted
from .losses import LOSSES, Loss, LossResult, SpikeTimeMSE, class_labels, output_name, target_faults
from .optimizers import (
    OptimizerChoice,
    SchedulerChoice,
    check_choices,
    choice_name,
    clip_rows,
    make_optimizer,
    make_scheduler,
)
from .samples import Order, Samples

__all__ = ["Callback", "Trainer", "check_device"]

Callback = Callable[["Trainer", EpochRecord], bool | None]
"""Called after every epoch; a true value ends the training there."""

_RULES = {"event": ("exact",), "clock": ("surrogate",), "loihi1": ("surrogate", "exact"),
          "loihi2": ("surrogate", "exact")}
"""How programs of each target train, by default the first way."""
_SURROGATE = {"surrogate", "sharpness", "detach_reset"}


class Trainer:
    """Trains the parameters of a compiled program. `module`, `optimizer` and `history` are attributes.

    Args:
        program: what `spikec.compile` gave; it is not changed.
        loss: one of `spikec.losses`, its name ("first-spike", "voltage-max", "integrated-voltage", "spike-time",
            "spike-count"), or a callable of (outputs, labels) giving a `LossResult` or a scalar tensor.
        optimizer, lr: "adam" (fused), "adamw" (fused), "sgd", or a factory of torch optimizers; without `lr` the
            optimizer's own default.
        scheduler: None, a factor per epoch (> 0), "cosine", or a factory of torch schedulers; stepped once an epoch.
        rule: how gradients are made: "exact", the adjoint of the target event, on Loihi at the spikes of the chip;
            "surrogate", the heuristic of the targets clock and loihi. None: that of the program's target, on Loihi
            "surrogate".
        surrogate: keywords of the program's `module` for the rule "surrogate": surrogate, sharpness, detach_reset.
        duration: seconds that every sample is simulated for; needed where the network does not fall silent by itself.
        batch_size, epochs: samples a step, and rounds over the training data.
        input_dropout: fraction of input events left out, drawn anew each epoch; not in evaluation.
        gradient_clip: largest norm of the gradient of one spiking neuron's incoming weights; tames spikes that graze
            the threshold. None leaves gradients as they are, and so are those of what feeds readouts, always.
        seed: of the order of the samples and of the dropout.
        checkpoint: file for the state of the training, written at the end of every epoch, when interrupted, and after
            `checkpoint_seconds` within a long epoch.
        callbacks: one or several, called as `callback(trainer, record)` after every epoch; a true value ends the
            training.
        progress: shows epochs as they pass.
        device, dtype: "cpu" or "cuda"; float32 or float64, of parameters and of the arithmetic between events.
        evaluation_batch: samples at once in evaluation.

    Raises:
        BadInputError: naming every option that is out of range (SC504), or a loss has targets for another number of
            neurons than its output (SC501).
        UnsupportedError: a rule that is not there (SC503), or a network that has no exact gradient (SC411).
    """

    def __init__(
        self,
        program: Any,
        loss: Loss | str,
        optimizer: OptimizerChoice = "adam",
        *,
        lr: float | None = None,
        scheduler: SchedulerChoice = None,
        rule: Any = None,
        surrogate: Mapping[str, Any] | None = None,
        duration: float | None = None,
        batch_size: int = 50,
        epochs: int = 10,
        input_dropout: float = 0.0,
        gradient_clip: float | None = None,
        seed: int = 0,
        checkpoint: str | Path | None = None,
        checkpoint_seconds: float = 60.0,
        callbacks: Callback | Iterable[Callback] = (),
        progress: bool = True,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
        evaluation_batch: int = 500,
    ) -> None:
        self.callbacks = tuple(callbacks) if isinstance(callbacks, Iterable) else (callbacks,)
        options = dict(surrogate or {})
        _check(program, rule, options, loss, device, dtype, batch_size=batch_size, epochs=epochs, seed=seed,
               evaluation_batch=evaluation_batch, input_dropout=input_dropout, lr=lr, duration=duration,
               gradient_clip=gradient_clip, optimizer=optimizer, scheduler=scheduler, checkpoint=checkpoint,
               checkpoint_seconds=checkpoint_seconds, callbacks=self.callbacks)
        self.loss: Loss = LOSSES[loss]() if isinstance(loss, str) else loss
        self.duration = duration
        self.batch_size = batch_size
        self.epochs = epochs
        self.input_dropout = input_dropout
        self.gradient_clip = gradient_clip
        self.seed = seed
        self.checkpoint = None if checkpoint is None else Path(checkpoint)
        self.checkpoint_seconds = checkpoint_seconds
        self.progress = progress
        self.device = torch.device(device)
        self.evaluation_batch = evaluation_batch
        self._source = program
        self._network = program.network
        self._spiking = [name for name, each in program.network.populations.items() if each.spiking]
        self._check_targets()
        in_the_loop = rule == "exact" and len(_RULES.get(getattr(program, "target", ""), ())) > 1
        if in_the_loop:
            options["gradient"] = "exact"
        self.module = program.module(dtype=dtype, **options).to(self.device)
        trained = [parameter for parameter in self.module.parameters() if parameter.requires_grad]
        self._clipped = [] if gradient_clip is None else _before_spikes(program, self.module, trained)
        self.optimizer = make_optimizer(optimizer, trained, lr)
        self.scheduler = make_scheduler(scheduler, self.optimizer, epochs)
        self._bump = (WeightBump(program.graph, program.network, self.module)
                      if getattr(self.loss, "silent", None) == "bump" else None)
        self.history = History()
        self._epoch = 0
        self._batch = 0
        self._seconds = 0.0
        self._tally = Tally()
        self._settings: dict[str, Any] = {
            "loss": choice_name(self.loss), "optimizer": choice_name(optimizer), "lr": lr,
            "scheduler": choice_name(scheduler), "duration": duration, "batch_size": batch_size,
            "input_dropout": input_dropout,
            **({"surrogate": str(sorted(options.items()))} if options else {}),
            "gradient_clip": gradient_clip, "seed": seed, "dtype": str(dtype),
            "parameters": str({name: tuple(value.shape) for name, value in self.module.named_parameters()}),
        }

    @property
    def program(self) -> Any:
        """A program of the same target with the parameters as they are now."""
        return self._source.recompile(self.module.to_graph())

    def fit(self, train: Any, validation: Any = None, *, resume: bool | None = None) -> History:
        """Trains to the end of the last epoch; a second call goes on where the first one stopped.

        `train`, `validation`: a pair (Events, labels), an object with these attributes, or a data set in PyTorch's
        sense whose items are ((times, indices), label); of a DataLoader, its `dataset`, since the trainer makes the
        mini-batches itself. `resume`: None goes on from the checkpoint where one is there, True insists on it,
        False leaves it aside and writes over it.

        Raises:
            BadInputError: events (SC405, SC505), labels (SC506) or the checkpoint (SC509) are malformed, the checkpoint
                belongs to another training (SC508), or the loss is no scalar (SC510) or no longer a number (SC507).
            TrainingInterrupted: after Ctrl-C, between two batches, with everything saved. It is a KeyboardInterrupt.
        """
        data = self._data(train)
        held_out = None if validation is None else self._data(validation)
        self._settings["data"] = data.fingerprint()
        self._resume(resume)
        with Display(self.progress, self.epochs) as display, InterruptGuard() as guard:
            while self._epoch < self.epochs:
                with self._stops(guard):
                    self._train_epoch(data, display, guard)
                    record = self._record(None if held_out is None else self._evaluate(held_out, guard))
                display.finish(record)
                stops = [callback(self, record) for callback in self.callbacks]
                if any(stops):
                    break
        return self.history

    def evaluate(self, data: Any) -> Evaluation:
        """Loss, accuracy, silent labels and spikes over `data`, without dropout; the weights stay as they are.

        Raises:
            BadInputError: events (SC405, SC505) or labels (SC506) are malformed.
        """
        return self._evaluate(self._data(data), None)

    def _train_epoch(self, data: Samples, display: Display, guard: InterruptGuard) -> None:
        batches = Order(data, self.batch_size, self.input_dropout, self.seed, self._epoch)
        display.start(self._epoch, len(batches), self._batch)
        begun = saved = time.perf_counter()
        earlier = self._seconds
        for number in range(self._batch, len(batches)):
            events, labels = batches[number]
            out, result, labels = self._step(events, labels)
            self._tally.add(result, labels, self._spikes(out))
            self._batch = number + 1
            now = time.perf_counter()
            self._seconds = earlier + now - begun
            if display.due:
                display.update(self._batch, self._tally.evaluation())
            if guard.requested:
                raise _Stop
            if self.checkpoint is not None and now - saved > self.checkpoint_seconds:
                self._save()
                saved = time.perf_counter()

    def _step(self, events: Any, labels: torch.Tensor) -> tuple[Any, LossResult, torch.Tensor]:
        labels = labels.to(self.device, non_blocking=True)
        out = self.module(events, duration=self.duration)
        result = self._loss(out, labels)
        if self.device.type == "cpu":
            self._require_finite(result.value.item())
        self.optimizer.zero_grad(set_to_none=True)
        result.value.backward()
        if self.gradient_clip is not None:
            clip_rows(self._clipped, self.gradient_clip)
        self.optimizer.step()
        if self._bump is not None and result.silent is not None:
            self._bump.apply(out, output_name(out, getattr(self.loss, "output", None)), result.silent, labels)
        return out, result, labels

    def _evaluate(self, data: Samples, guard: InterruptGuard | None) -> Evaluation:
        tally = Tally()
        with torch.no_grad():
            for events, labels in _in_order(data, self.evaluation_batch):
                labels = labels.to(self.device)
                out = self.module(events, duration=self.duration)
                tally.add(self._loss(out, labels), labels, self._spikes(out))
                if guard is not None and guard.requested:
                    raise _Stop
        return tally.evaluation()

    def _record(self, validation: Evaluation | None) -> EpochRecord:
        """Closes the epoch: schedule, record, checkpoint."""
        train = self._tally.evaluation()
        self._require_finite(train.loss)
        record = EpochRecord(self._epoch, train, validation, self.optimizer.param_groups[0]["lr"], self._seconds)
        if self.scheduler is not None:
            with warnings.catch_warnings():  # torch misses the steps that were made before a resumed epoch's end
                warnings.filterwarnings("ignore", message="Detected call of `lr_scheduler.step")
                self.scheduler.step()
        self.history.records.append(record)
        self._epoch, self._batch, self._seconds, self._tally = self._epoch + 1, 0, 0.0, Tally()
        self._save()
        return record

    def _loss(self, out: Any, labels: torch.Tensor) -> LossResult:
        given = self.loss(out, labels)
        result = LossResult(given) if isinstance(given, torch.Tensor) else given
        value = result.value if isinstance(result, LossResult) else None
        if not isinstance(value, torch.Tensor) or value.ndim or (torch.is_grad_enabled() and not value.requires_grad):
            shown = f"shape {tuple(value.shape)}" if isinstance(value, torch.Tensor) else type(given).__name__
            raise BadInputError(Diagnostic(
                "SC510", "the loss must give one number that depends on the outputs", value=f"{shown}"
                f"{', no gradient' if isinstance(value, torch.Tensor) and not value.requires_grad else ''}",
                limit="a scalar tensor with a gradient, or a LossResult of one",
                remedy="Reduce it with .mean(), and leave out detach, item and counts of spikes."))
        return result

    def _require_finite(self, value: float) -> None:
        if not math.isfinite(value):
            kept = f" The last checkpoint, '{self.checkpoint}', is from before." if self.checkpoint else ""
            raise BadInputError(Diagnostic(
                "SC507", f"the loss is {value} in epoch {self._epoch + 1}, at batch {self._batch + 1}",
                value=str(value), remedy=f"Lower lr, or check the initial weights and the loss's constants.{kept}"))

    def _spikes(self, out: Any) -> dict[str, int]:
        """Spikes of the batch by population."""
        return {name: out.total_spikes(name) for name in self._spiking}

    def _data(self, data: Any) -> Samples:
        samples = Samples.of(data)
        channels = {name: self._network.size(name) for name in self._network.inputs}
        return samples.checked(channels, self._classes(), class_labels(self.loss))

    def _classes(self) -> int | None:
        """How many classes labels may name, where that is known."""
        table = getattr(self.loss, "targets", None)
        if table is not None:
            return len(table)
        shown = self._shown()
        return None if shown is None else self._network.size(shown)

    def _shown(self) -> str | None:
        """The population whose output the loss is of, where that is known."""
        name = getattr(self.loss, "output", None)
        outputs = self._network.outputs
        if name is None and len(outputs) == 1:
            name = next(iter(outputs))
        population = "" if name is None else outputs.get(name, name)
        return population if population in self._network.populations else None

    def _check_targets(self) -> None:
        """Raises BadInputError where the loss has targets for another number of neurons than its output (SC501)."""
        shown = self._shown()
        if isinstance(self.loss, SpikeTimeMSE) and self.loss.targets is not None and shown is not None:
            faults = target_faults(self.loss.targets, self._network.size(shown), shown)
            if faults:
                raise BadInputError(*faults)

    @contextmanager
    def _stops(self, guard: InterruptGuard) -> Iterator[None]:
        """Turns a requested stop into TrainingInterrupted, with the state saved."""
        try:
            yield
        except _Stop:
            self._save()
            raise TrainingInterrupted(self.history, self.checkpoint) from None
        if guard.requested:
            raise TrainingInterrupted(self.history, self.checkpoint)

    def _save(self) -> None:
        if self.checkpoint is not None:
            write_checkpoint(self.checkpoint, {
                "settings": self._settings,
                "epoch": self._epoch,
                "batch": self._batch,
                "seconds": self._seconds,
                "tally": self._tally.as_dict(),
                "history": self.history.as_dict(),
                "module": self.module.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "bump": {} if self._bump is None else self._bump.factors,
                "scheduler": None if self.scheduler is None else self.scheduler.state_dict(),
            })

    def _resume(self, resume: bool | None) -> None:
        if self._epoch or self._batch or resume is False:
            return
        if self.checkpoint is None or not self.checkpoint.exists():
            if resume:
                raise BadInputError(Diagnostic("SC509", "there is no checkpoint to resume from",
                                               value=str(self.checkpoint)))
            return
        state = read_checkpoint(self.checkpoint)
        require_same(self.checkpoint, state["settings"], self._settings)
        self.module.load_state_dict(state["module"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self._bump is not None:
            self._bump.load(state["bump"])
        if self.scheduler is not None:
            self.scheduler.load_state_dict(state["scheduler"])
        self._epoch, self._batch, self._seconds = state["epoch"], state["batch"], state["seconds"]
        self._tally = Tally(**state["tally"])
        self.history.records[:] = [EpochRecord.from_dict(record) for record in state["history"]["records"]]


class _Stop(Exception):
    """Raised between two batches after an interruption was requested."""


def _before_spikes(
    program: Any, module: torch.nn.Module, parameters: list[torch.nn.Parameter]
) -> list[torch.nn.Parameter]:
    """Those of `parameters` that do not feed a readout."""
    spared = {id(parameter) for name, population in program.network.populations.items() if not population.spiking
              for parameter in incoming(program.graph, module, name).values()}
    return [parameter for parameter in parameters if id(parameter) not in spared]


def _in_order(data: Samples, size: int) -> Iterator[tuple[Any, torch.Tensor]]:
    for start in range(0, len(data), size):
        yield data.take(np.arange(start, min(start + size, len(data))))


def _check(
    program: Any, rule: Any, surrogate: dict[str, Any], loss: Any, device: Any, dtype: Any, *,
    input_dropout: float, lr: float | None, duration: float | None, gradient_clip: float | None, optimizer: Any,
    scheduler: Any, checkpoint: Any, checkpoint_seconds: float, callbacks: tuple[Any, ...], **whole: int
) -> None:
    target = getattr(program, "target", "event")
    rules = _RULES.get(target, ("exact",))
    own = rules[0] if rule is None else rule
    if own not in rules:
        every = list(dict.fromkeys(each for ways in _RULES.values() for each in ways))
        known = own in every
        raise UnsupportedError(Diagnostic(
            "SC503", f"the target {target} does not train by this rule" if known else "this training rule is not there",
            value=str(rule), limit=", ".join(rules if known else every),
            remedy=f"Use rule='{rules[0]}'" + (", or compile for another target." if known else ".")))
    faults = Diagnostics()
    if not (hasattr(program, "module") and hasattr(program, "network")):
        faults.add("SC504", "the trainer takes a compiled program", value=type(program).__name__,
                   remedy="Compile first: Trainer(spikec.compile(graph), …).")
    for name in surrogate.keys() - (_SURROGATE if own == "surrogate" else set[str]()):
        faults.add("SC504", "surrogate has no such option", value=name,
                   limit=", ".join(sorted(_SURROGATE)) + ", with the rule 'surrogate'")
    if loss not in LOSSES if isinstance(loss, str) else isinstance(loss, type) or not callable(loss):
        faults.add("SC504", "loss is not known", value=repr(loss), limit=", ".join(LOSSES),
                   remedy="Or give a callable of (outputs, labels), as spikec.losses.FirstSpikeCrossEntropy().")
    check_device(device, faults)
    if dtype not in (torch.float32, torch.float64):
        faults.add("SC504", "dtype is not one that the engine computes in", value=repr(dtype),
                   limit="torch.float32, torch.float64")
    for name, number in whole.items():
        least = 0 if name == "seed" else 1
        if not is_whole(number) or number < least:
            faults.add("SC504", f"{name} is out of range", value=repr(number), limit=f"a whole number >= {least}")
    if not (is_number(input_dropout) and 0 <= input_dropout < 1):
        faults.add("SC504", "input_dropout is out of range", value=repr(input_dropout), limit="0 <= input_dropout < 1")
    for name, value in (("lr", lr), ("duration", duration), ("gradient_clip", gradient_clip)):
        if value is not None and not (is_number(value) and 0 < value < math.inf):
            faults.add("SC504", f"{name} must be positive", value=repr(value), limit="a finite number > 0, or None")
    check_choices(optimizer, scheduler, faults)
    named = checkpoint is not None and check_path(checkpoint, "a checkpoint", faults)
    if named and Path(checkpoint).is_dir():
        faults.add("SC504", "checkpoint is a folder, not a file", value=checkpoint,
                   remedy="Name a file in it: checkpoint='FOLDER/training.checkpoint'.")
    if not (is_number(checkpoint_seconds) and checkpoint_seconds >= 0):
        faults.add("SC504", "checkpoint_seconds is out of range", value=repr(checkpoint_seconds), limit=">= 0 s")
    for each in callbacks:
        if not callable(each):
            faults.add("SC504", "a callback is not callable", value=repr(each),
                       remedy="It is called as callback(trainer, record).")
    faults.raise_if_errors()


def check_device(device: Any, faults: Diagnostics) -> None:
    """Reports a device that is not known, that the engine does not run on, or that is not there (SC504)."""
    try:
        wanted = torch.device(device)
    except (RuntimeError, TypeError):
        faults.add("SC504", "device is not known", value=repr(device), limit="cpu, cuda, cuda:N",
                   remedy="Use the device cpu.")
        return
    there = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if wanted.type not in ("cpu", "cuda"):
        faults.add("SC504", "the engine does not run on this device", value=str(wanted), limit="cpu, cuda, cuda:N",
                   remedy="Use the device cpu.")
    elif wanted.type == "cuda" and (wanted.index or 0) >= there:
        faults.add("SC504", "torch sees no such CUDA device", value=str(wanted), limit=f"{there} of them",
                   remedy="Use the device cpu; `spikec doctor` shows what is there.")
