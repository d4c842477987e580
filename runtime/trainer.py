"""The trainer: mini-batches of events through a program's module, a loss, an optimizer, checkpoints.

A training is a function of its settings, its data and its seed: interrupted and resumed, it gives the same bits on a
CPU.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..ir.diagnostics import BadInputError, Diagnostic
from ..ir.learning.rule import LearningRule
from .checkpoint import require_same, restoring, write_checkpoint
from .display import Display
from .gradient_step import GradientStep
from .history import EpochRecord, Evaluation, History, Tally
from .interruption import InterruptGuard, TrainingInterrupted
from .learning.rule_step import RuleStep
from .learning.watch import Watch, warn_of_no_input
from .losses import Loss
from .optimizers import OptimizerChoice, SchedulerChoice
from .samples import Order, Samples
from .steps import NotANumber, Step
from .trainer_checks import GRADIENTS, check_options, chosen_rule

__all__ = ["Callback", "Trainer"]

Callback = Callable[["Trainer", EpochRecord], bool | None]
"""Called after every epoch; a true value ends the training there."""


class Trainer:
    """Trains the parameters of a compiled program, by gradients or by a local rule. `history` is an attribute; of
    gradients `module`, `optimizer` and `loss`; of a rule `learner`. Those of the other way are None.

    Args:
        program: what `spikec.compile` gave; it is not changed.
        loss: one of `spikec.losses`, its name ("first-spike", "pseudospike", "voltage-max", "integrated-voltage",
            "spike-time", "spike-count", "spike-count-mse"), or a callable of (outputs, labels) giving a `LossResult` or
            a scalar tensor. For gradients, which need one; a rule has its own error.
        optimizer, lr: "adam" (fused, what is taken by default), "adamw" (fused), "sgd", or a factory of torch
            optimizers; without `lr` the optimizer's own default. For gradients.
        scheduler: None, a factor per epoch (> 0), "cosine", or a factory of torch schedulers; stepped once an epoch.
            For a rule, in the place of the factory, a callable that gives each epoch's rate, epochs from 0; `fit` asks
            it for all of them before it begins.
        rule: how gradients are made: "exact", the adjoint of the target event, on Loihi at the spikes of the chip;
            "surrogate", the heuristic of the targets clock and loihi. None: that of the program's target, on Loihi
            "surrogate". Or a local rule: a `LearningRule`, or its name in the library, as "biograd".
        rule_options: hyper-parameters of a rule from the library.
        learner: keywords of the program's `learner` for a rule: output, projections, seed, and what its target adds.
        surrogate: keywords of the program's `module` for the rule "surrogate": surrogate, sharpness, detach_reset.
        measure: a chip of the user's in the place of the emulated one, in training and in evaluation, by gradients or a
            rule: `measure(codes, spikes, duration)`, as of the program's `module`.
        time_limit: seconds that one call of `measure` may take; None: as long as it likes.
        duration: seconds that every sample is simulated for; needed where the network does not fall silent by itself.
            For gradients; a rule's phases have their durations.
        batch_size, epochs: samples a step, and rounds over the training data. A rule with batch_size=1 learns online.
        input_dropout: fraction of input events left out, drawn anew each epoch; not in evaluation.
        gradient_clip: largest norm of the gradient of one spiking neuron's incoming weights; tames spikes that graze
            the threshold. None leaves gradients as they are, and so are those of what feeds readouts, always.
        bump_above: share of a batch's samples: a hidden neuron that is silent in more of them is bumped, where the loss
            has `silent` "bump" or "both". 0.3, what is taken by default, is Fast & Deep's; more leaves a sparser code.
        seed: of the order of the samples, of the dropout, and of what a rule draws.
        checkpoint: file for the state of the training, written at the end of every epoch, when interrupted, after
            `checkpoint_seconds` within a long epoch, and when something raises between two batches, as a chip that does
            not answer.
        callbacks: one or several, called as `callback(trainer, record)` after every epoch; a true value ends the
            training.
        progress: shows epochs as they pass.
        device, dtype: "cpu" or "cuda"; float32 (by default) or float64, of parameters and of the arithmetic between
            events. `dtype` is for gradients.
        evaluation_batch: samples at once in evaluation.

    Raises:
        BadInputError: naming every option that is out of range, missing, or of the other way to train (SC504), or a
            loss has targets for another number of neurons than its output (SC501).
        UnsupportedError: a rule that is not there (SC503), a network that has no exact gradient (SC411), projections
            that cannot learn (SC515), or a rule that the target cannot run (SC516), with all reasons.
    """

    def __init__(
        self,
        program: Any,
        loss: Loss | str | None = None,
        optimizer: OptimizerChoice | None = None,
        *,
        lr: float | None = None,
        scheduler: SchedulerChoice = None,
        rule: LearningRule | str | None = None,
        rule_options: Mapping[str, Any] | None = None,
        learner: Mapping[str, Any] | None = None,
        surrogate: Mapping[str, Any] | None = None,
        measure: Callable[..., Any] | None = None,
        time_limit: float | None = None,
        duration: float | None = None,
        batch_size: int = 50,
        epochs: int = 10,
        input_dropout: float = 0.0,
        gradient_clip: float | None = None,
        bump_above: float | None = None,
        seed: int = 0,
        checkpoint: str | Path | None = None,
        checkpoint_seconds: float = 60.0,
        callbacks: Callback | Iterable[Callback] = (),
        progress: bool = True,
        device: torch.device | str = "cpu",
        dtype: torch.dtype | None = None,
        evaluation_batch: int = 500,
    ) -> None:
        self.callbacks = tuple(callbacks) if isinstance(callbacks, Iterable) else (callbacks,)
        chosen = chosen_rule(program, rule, rule_options)
        check_options(program, chosen, loss=loss, optimizer=optimizer, lr=lr, scheduler=scheduler, surrogate=surrogate,
                      duration=duration, gradient_clip=gradient_clip, bump_above=bump_above, dtype=dtype,
                      rule_options=rule_options, learner=learner, measure=measure, time_limit=time_limit, device=device,
                      input_dropout=input_dropout, checkpoint=checkpoint,
                      checkpoint_seconds=checkpoint_seconds, callbacks=self.callbacks, batch_size=batch_size,
                      epochs=epochs, seed=seed, evaluation_batch=evaluation_batch)
        self.batch_size = batch_size
        self.epochs = epochs
        self.input_dropout = input_dropout
        self.seed = seed
        self.checkpoint = None if checkpoint is None else Path(checkpoint)
        self.checkpoint_seconds = checkpoint_seconds
        self.progress = progress
        self.evaluation_batch = evaluation_batch
        self._source = program
        self._network = program.network
        place = torch.device(device)
        chip = {name: value for name, value in (("measure", measure), ("time_limit", time_limit)) if value is not None}
        self._step: Step
        if isinstance(chosen, LearningRule):
            self._step = RuleStep(program, chosen, keywords=learner or {}, chip=chip, scheduler=scheduler,
                                  epochs=epochs, seed=seed, device=place)
        else:
            in_the_loop = chosen == "exact" and len(GRADIENTS.get(getattr(program, "target", ""), ())) > 1
            self._step = GradientStep(
                program, loss, "adam" if optimizer is None else optimizer, lr=lr, scheduler=scheduler, epochs=epochs,
                options={**(surrogate or {}), **({"gradient": "exact"} if in_the_loop else {})}, chip=chip,
                duration=duration, gradient_clip=gradient_clip, bump_above=bump_above, device=place,
                dtype=torch.float32 if dtype is None else dtype)
        self.history = History()
        shown = set(program.network.outputs.values())
        firing = {name for name, each in program.network.populations.items() if each.spiking}
        self._watch = Watch(sorted(firing - shown), sorted(firing & shown))
        self._epoch = 0
        self._batch = 0
        self._seconds = 0.0
        self._tally = Tally()
        self._settings: dict[str, Any] = {**self._step.settings, **_told(program, chip), "batch_size": batch_size,
                                          "input_dropout": input_dropout, "seed": seed}

    @property
    def module(self) -> Any:
        """That of gradients, None of a rule."""
        return getattr(self._step, "module", None)

    @property
    def optimizer(self) -> Any:
        """Torch's, None of a rule."""
        return getattr(self._step, "optimizer", None)

    @property
    def learner(self) -> Any:
        """That of a rule, None of gradients."""
        return getattr(self._step, "learner", None)

    @property
    def loss(self) -> Any:
        """That of gradients; it may be exchanged, between two batches."""
        return self._step.loss

    @loss.setter
    def loss(self, loss: Any) -> None:
        self._step.loss = loss

    @property
    def program(self) -> Any:
        """A program of the same target with the parameters, or the weights of a rule, as they are now."""
        return self._source.recompile(self._step.graph())

    def fit(self, train: Any, validation: Any = None, *, resume: bool | None = None) -> History:
        """Trains to the end of the last epoch; a second call goes on where the first one stopped.

        `train`, `validation`: a pair (Events, labels), an object with these attributes, or a data set in PyTorch's
        sense whose items are ((times, indices), label); of a DataLoader, its `dataset`, since the trainer makes the
        mini-batches itself. `resume`: None goes on from the checkpoint where one is there, True insists on it,
        False leaves it aside and writes over it.

        Raises:
            BadInputError: events (SC405, SC505), labels (SC506) or the checkpoint (SC509) are malformed, the checkpoint
                belongs to another training (SC508), the scheduler of a rule gives no rate for an epoch (SC504), or the
                loss is no scalar (SC510) or no longer a number (SC507).
            UnsupportedError: naming every rate of the schedule that a chip's learning engine does not hold (SC336).
            TrainingInterrupted: after Ctrl-C, between two batches, with everything saved. It is a KeyboardInterrupt.
        """
        data = self._data(train)
        warn_of_no_input(data.events)
        held_out = None if validation is None else self._data(validation)
        self._settings["data"] = data.fingerprint()
        self._resume(resume)
        self._step.prepare(self._epoch, self.epochs)
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
        """Loss or errors, accuracy, silent labels and spikes over `data`, without dropout; the weights stay as they
        are.

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
            with self._numbers():
                self._tally.add(self._step.learn(events, labels.to(self._step.device, non_blocking=True)))
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

    def _evaluate(self, data: Samples, guard: InterruptGuard | None) -> Evaluation:
        tally, runs = Tally(), self._step.runs
        try:
            for events, labels in _in_order(data, self.evaluation_batch):
                tally.add(self._step.answer(events, labels.to(self._step.device)))
                if guard is not None and guard.requested:
                    raise _Stop
        except BaseException:
            self._step.runs = runs  # it is done again from its start
            raise
        return tally.evaluation()

    def _record(self, validation: Evaluation | None) -> EpochRecord:
        """Closes the epoch: schedule, record, checkpoint."""
        train = self._tally.evaluation()
        rate = self._step.rate
        with self._numbers():
            if train.loss is not None and not math.isfinite(train.loss):
                raise NotANumber(train.loss)
            learning = self._step.end_epoch(self._epoch)
        record = EpochRecord(self._epoch, train, validation, rate, self._seconds, learning)
        self.history.records.append(record)
        self._epoch, self._batch, self._seconds, self._tally = self._epoch + 1, 0, 0.0, Tally()
        self._save()
        self._watch.look(record)
        return record

    @contextmanager
    def _numbers(self) -> Iterator[None]:
        """Turns NotANumber into a diagnostic (SC507)."""
        try:
            yield
        except NotANumber as error:
            self._step.whole = False  # the checkpoint stays the one from before
            kept = f" The last checkpoint, '{self.checkpoint}', is from before." if self.checkpoint else ""
            what, remedy = (("loss", "Lower lr, or check the initial weights and the loss's constants.")
                            if self.learner is None else
                            ("error, or a weight,", "Lower the rule's rates, give it bounds, or start from smaller "
                             "weights."))
            raise BadInputError(Diagnostic(
                "SC507", f"the {error.what or what} is {error.value} in epoch {self._epoch + 1}, "
                f"at batch {self._batch + 1}",
                value=str(error.value), remedy=f"{remedy}{kept}")) from None

    def _data(self, data: Any) -> Samples:
        samples = Samples.of(data)
        channels = {name: self._network.size(name) for name in self._network.inputs}
        return samples.checked(channels, self._step.classes(), self._step.numbers)

    @contextmanager
    def _stops(self, guard: InterruptGuard) -> Iterator[None]:
        """Turns a requested stop into TrainingInterrupted, with the state saved; as it is where a chip, the data or the
        loss raises."""
        try:
            yield
        except _Stop:
            self._save()
            raise TrainingInterrupted(self.history, self.checkpoint) from None
        except Exception:
            if self._step.whole and (self._epoch or self._batch):
                with suppress(Exception):  # what is to be told is why the training fails
                    self._save()
            raise
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
                "runs": self._step.runs,
                **self._step.state(),
            })

    def _resume(self, resume: bool | None) -> None:
        if self._epoch or self._batch or resume is False:
            return
        if self.checkpoint is None or not self.checkpoint.exists():
            if resume:
                raise BadInputError(Diagnostic("SC509", "there is no checkpoint to resume from",
                                               value=str(self.checkpoint)))
            return
        with restoring(self.checkpoint) as state:
            require_same(self.checkpoint, state["settings"], self._settings)
            self._step.load(state)
            self._step.runs = state.get("runs", 0)
            self._epoch, self._batch, self._seconds = state["epoch"], state["batch"], state["seconds"]
            self._tally = Tally(**state["tally"])
            self.history.records[:] = [EpochRecord.from_dict(record) for record in state["history"]["records"]]
        for record in self.history:
            self._watch.look(record, aloud=False)


def _told(program: Any, chip: Mapping[str, Any]) -> dict[str, Any]:
    """What a checkpoint keeps of a chip: how the program holds its network, and whether a user's chip was measured."""
    told = program.told() if hasattr(program, "told") else {}
    if not told:
        return {}
    text = json.dumps({"target": program.target, **told}, indent=1, sort_keys=True, default=np.generic.item)
    return {"program": text, "measured": "a chip of the user's" if chip else "the emulated chip"}


class _Stop(Exception):
    """Raised between two batches after an interruption was requested."""


def _in_order(data: Samples, size: int) -> Iterator[tuple[Any, torch.Tensor]]:
    for start in range(0, len(data), size):
        yield data.take(np.arange(start, min(start + size, len(data))))
