"""The way of a differentiable synapse: theta neurons with graded currents, all to all, trained on signals by the exact
gradient of their integration.

An epoch is a number of steps of the optimizer, each on fresh samples; a checkpoint is written after each, and when a
training is interrupted.
"""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from ...ir.diagnostics import BadInputError, Diagnostic
from ...ir.graph import Graph
from ...runtime.checkpoint import require_same, restoring, write_checkpoint
from ...runtime.display import Display
from ...runtime.history import EpochRecord, Evaluation, History
from ...runtime.interruption import InterruptGuard, TrainingInterrupted
from ..driver import compile as compile_graph
from ..frontends.builder import Builder
from .activity import active
from .graded_tasks import Batch, Course, Task
from .measures import ACCURACY
from .reader import CODE, MOST_EPOCHS, Reader
from .stopwatch import Stopwatch

if TYPE_CHECKING:
    from .config import Config

__all__ = ["Settings", "network", "read_settings", "train"]

_RATE = 15.0
"""Currents of neurons, in 1/s, that weights from them are scaled for."""
_FINER = 100
"""How many times smaller the tolerance is where figures are taken."""
_MOST_SAMPLES, _MOST_VALUES, _LEAST_WIDTH = 1 << 16, 1 << 26, 64
"""Samples of a signal; currents of all neurons at once; and neurons that a signal takes the memory of."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Of the task, the network, its integration and its training; times in seconds. Weights are normal: from inputs
    with the deviation `inward`, between neurons with `recurrent` / (sqrt(neurons) 15 / s); constant currents are at
    first uniform over `bias`. `activity`: the price of squared currents.

    `lr`: of weights from inputs; of those from neurons it is smaller by their deviation, of those between neurons by
    `share` too. It is halved after `slower` steps, a third after twice as many, and falls to zero along a line in the
    `last` steps. `clip`: of the norm of gradients, scaled likewise. An epoch has `steps` steps of `batch` samples;
    figures are those of `test` fresh samples."""

    task: Task
    neurons: int
    tau: float
    tau_syn: float
    zone: float
    bias: tuple[float, float]
    inward: float
    recurrent: float
    dt: float
    tolerance: float
    activity: float
    lr: float
    slower: float
    share: float
    clip: float
    batch: int
    epochs: int
    steps: int
    last: int
    test: int

    @property
    def total(self) -> int:
        """Steps at most."""
        return self.epochs * self.steps

    @property
    def spread(self) -> float:
        """Of weights from neurons."""
        return 1 / (math.sqrt(self.neurons) * _RATE)

    def shortened(self, epochs: int, trial: bool) -> Settings:
        """Over other epochs; `trial`: of few steps and samples."""
        shorter = replace(self, epochs=epochs)
        return replace(shorter, steps=5, batch=4, test=16) if trial else shorter


_ABOVE_ZERO: Mapping[str, float] = {
    "tau": 1e3, "tau_syn": 1e3, "zone": 2 * math.pi, "dt": 1e3, "lr": 10, "slower": 1e12, "share": 1e3, "clip": 1e9}
_NUMBERS: Mapping[str, tuple[float, float]] = {
    "inward": (0, 1e3), "recurrent": (0, 1e3), "tolerance": (1e-11, 1e-2), "activity": (0, 1e3)}
_WHOLE: Mapping[str, int] = {
    "neurons": 4096, "batch": 1 << 16, "epochs": MOST_EPOCHS, "steps": 10_000, "last": 1 << 24, "test": 1 << 16}


def read_settings(table: Reader | None, task: Task | None) -> Settings | None:
    """`[graded]`."""
    if table is None:
        return None
    found: dict[str, Any] = {name: table.number(name, 0, high, open_low=True) for name, high in _ABOVE_ZERO.items()}
    found |= {name: table.number(name, *span) for name, span in _NUMBERS.items()}
    found |= {name: table.whole(name, 1, high) for name, high in _WHOLE.items()}
    found["bias"] = table.span("bias", -1e3, 1e3)
    if task is not None and not table.faults.errors:
        _grid(table, task, found)
    table.end([each.name for each in fields(Settings) if each.name != "task"])
    return None if task is None else Settings(task=task, **found)


def _grid(table: Reader, task: Task, found: Mapping[str, Any]) -> None:
    """Whether samples resolve the task, and are not too many."""
    finest = task.longest / _MOST_SAMPLES
    if not finest <= found["dt"] <= task.shortest:
        table.fault("samples this far apart make no sense of the task, or are too many", "dt", found["dt"],
                    f"{finest:.3g}..{task.shortest:.3g} s")
        return
    most = int(_MOST_VALUES / max(found["neurons"], _LEAST_WIDTH) * found["dt"] / task.longest)
    for name in ("batch", "test"):
        if found[name] > most:
            table.fault("these are too many signals of this length at once", name, found[name], f"<= {most}")


def network(settings: Settings, draw: np.random.Generator) -> Graph:
    """Input, neurons all to all, readout."""
    n, (inputs, outputs), spread = settings.neurons, settings.task.channels, settings.spread
    net = Builder()
    source = net.input("in", inputs)
    neurons = net.graded_theta("neurons", n, tau=settings.tau, tau_syn=settings.tau_syn, zone=settings.zone)
    net.connect(source, neurons, weight=draw.normal(0, settings.inward, (n, inputs)),
                bias=draw.uniform(*settings.bias, n), name="inward")
    net.connect(neurons, neurons, weight=draw.normal(0, settings.recurrent * spread, (n, n)), name="recurrent")
    net.output("out", net.linear("readout", neurons, weight=draw.normal(0, spread, (outputs, n))))
    return net.build()


class Shown(NamedTuple):
    """Of one batch: the loss, the figure of the task, spikes a sample."""

    loss: float
    figure: float
    spikes: float


class _Training:
    """The network, its optimizer, the random numbers, and how far they are."""

    def __init__(self, settings: Settings, seed: int) -> None:
        self.settings, self.seed, self.last = settings, seed, min(settings.last, settings.total)
        self.draw = np.random.default_rng([seed, settings.task.stream])
        program: Any = compile_graph(network(settings, self.draw))
        self.module = program.module(dtype=torch.float64, tolerance=settings.tolerance)
        self.course, self.losses = Course(delay=settings.task.delays[0]), list[float]()
        module, scaled = self.module, 2 * settings.spread * settings.lr
        self.rates = [settings.lr, scaled * settings.share, scaled]
        self._from_inputs = [module.inward.weight, module.inward.bias]
        self._from_neurons = [module.recurrent.weight, module.readout.weight]
        groups = (self._from_inputs, *([each] for each in self._from_neurons))
        self.optimizer = torch.optim.Adam([{"params": group, "lr": rate}
                                           for group, rate in zip(groups, self.rates, strict=True)], betas=(0.9, 0.99))

    @property
    def done(self) -> bool:
        return self.course.left == 0 or self.course.step == self.settings.total

    def batch(self, draw: np.random.Generator, count: int, delay: float) -> Batch:
        return self.settings.task.batch(draw, count, self.settings.dt, delay)

    def step(self) -> Shown:
        """One step, and what the network showed before it."""
        settings, course, task = self.settings, self.course, self.settings.task
        if course.left is None and settings.total - course.step <= self.last:
            course.left = settings.total - course.step
        falling = 1.0 if course.left is None else course.left / self.last
        for group, rate in zip(self.optimizer.param_groups, self.rates, strict=True):
            group["lr"] = rate / (1 + course.step / settings.slower) * falling
        batch = self.batch(self.draw, settings.batch, course.delay)
        out = self.module(batch.signals, dt=settings.dt)
        loss = task.loss(out, batch, settings.activity)
        self.optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self._from_inputs, settings.clip)
        torch.nn.utils.clip_grad_norm_(self._from_neurons, settings.clip / settings.spread)
        self.optimizer.step()
        self.losses.append(loss.item())
        figure = task.figure(out.signal("out").detach(), batch)
        task.follow(course, figure, self.last)
        course.step += 1
        if course.left is not None:
            course.left -= 1
        return Shown(self.losses[-1], figure, out.total_spikes("neurons") / settings.batch)

    def state(self) -> dict[str, Any]:
        return {"module": self.module.state_dict(), "optimizer": self.optimizer.state_dict(),
                "random": json.dumps(self.draw.bit_generator.state), "course": asdict(self.course),
                "losses": self.losses}

    def load(self, state: Mapping[str, Any]) -> None:
        self.module.load_state_dict(state["module"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.draw.bit_generator.state = json.loads(state["random"])
        self.course, self.losses = Course(**state["course"]), list(state["losses"])

    @torch.no_grad()
    def figures(self) -> dict[str, Any]:
        """Of fresh samples, the same before training and after it, with the longest delay."""
        settings, task = self.settings, self.settings.task
        batch = self.batch(np.random.default_rng([self.seed, 10_000]), settings.test, task.delays[1])
        self.module.tolerance = settings.tolerance / _FINER
        out = self.module(batch.signals, dt=settings.dt)
        self.module.tolerance = settings.tolerance
        return {task.measure.key: task.figure(out.signal("out"), batch),
                "test_loss": float(task.loss(out, batch, settings.activity)), "duration_s": out.duration,
                **active([out], ["neurons"], None).record()}

    @torch.no_grad()
    def fitted(self) -> float:
        """The figure of the network as it is, with a readout fitted by ridge regression: before training, what the
        neurons have without having learnt."""
        draw = copy.deepcopy(self.draw)
        (given, shown, _), (fresh, _, batch) = (self._heard(draw) for _ in range(2))
        weight = np.linalg.solve(given.T @ given + 1e3 * np.eye(given.shape[1]), given.T @ shown)
        return self.settings.task.figure(torch.from_numpy((fresh @ weight).reshape(batch.wanted.shape)), batch)

    def _heard(self, draw: np.random.Generator) -> tuple[Any, Any, Batch]:
        """Currents and a constant, and what is wanted, of all times that matter; of fresh samples."""
        settings = self.settings
        batch = self.batch(draw, settings.test, settings.task.delays[1])
        matters = batch.weight > 0
        batch = Batch(batch.signals, batch.wanted[:, matters], batch.weight[matters])
        out = self.module(batch.signals, dt=settings.dt)
        currents = out.signal("neurons")[:, matters].reshape(-1, settings.neurons).numpy()
        return np.c_[currents, np.ones(len(currents))], batch.wanted.reshape(len(currents), -1), batch


def train(config: Config, parts: None, seed: int, checkpoint: Path, *, fresh: bool, progress: bool) -> dict[str, Any]:
    """One training, and its figures after the last step; the checkpoint stays, for the caller to remove. It is written
    after each epoch, and after the step that Ctrl-C comes in.

    Raises:
        TrainingInterrupted: after Ctrl-C, with everything saved.
        BadInputError: the checkpoint is damaged, or of other settings.
    """
    settings = config.graded
    if settings is None:
        raise BadInputError(Diagnostic(CODE, "a training of graded synapses needs its settings", node=config.name))
    training, history, seconds = _Training(settings, seed), History(), Stopwatch(checkpoint, fresh)
    before = {**training.figures(), "fitted": training.fitted()}
    told = {"settings": str(settings), "seed": seed}
    shown, earlier = list[Shown](), 0.0  # of an epoch that was interrupted
    if checkpoint.exists() and not fresh:
        with restoring(checkpoint) as state:
            require_same(checkpoint, state["settings"], told)
            training.load(state["training"])
            history.records[:] = [EpochRecord.from_dict(record) for record in state["history"]["records"]]
            shown, earlier = [Shown(*each) for each in state.get("shown", ())], state.get("seconds", 0.0)

    def keep(shown: list[Shown], spent: float) -> None:
        """With the steps of the epoch that is under way, and the seconds that they took."""
        write_checkpoint(checkpoint, {"settings": told, "training": training.state(), "history": history.as_dict(),
                                      "shown": [list(each) for each in shown], "seconds": spent})

    with Display(progress, settings.epochs) as display, InterruptGuard() as guard, seconds:
        while shown or not training.done:
            display.start(len(history), settings.steps, len(shown))
            began = seconds.wall - earlier
            while not training.done and len(shown) < settings.steps:
                shown.append(training.step())
                if display.due:
                    display.update(len(shown), _mean(settings, shown))
                if guard.requested:
                    keep(shown, seconds.wall - began)
                    raise TrainingInterrupted(history, checkpoint)
            rate = training.optimizer.param_groups[0]["lr"]
            history.records.append(EpochRecord(len(history), _mean(settings, shown), None, rate, seconds.wall - began))
            shown, earlier = [], 0.0
            keep(shown, earlier)
            seconds.lap()
            display.finish(history[-1])
    return {
        "seed": seed, **training.figures(), "steps": training.course.step, "epochs": len(history),
        "delay_s": training.course.delay, "before": before, "training_cpu_s": seconds.seconds,
        "training_wall_s": sum(record.seconds for record in history), "loss_curve": training.losses,
    }


def _mean(settings: Settings, batches: list[Shown]) -> Evaluation:
    loss, figure, spikes = (sum(each) / len(batches) for each in zip(*batches, strict=True))
    measure, samples, counts = settings.task.measure, settings.batch * len(batches), {"neurons": spikes}
    if measure is ACCURACY:
        return Evaluation(loss, figure, None, samples, counts)
    return Evaluation(loss, None, None, samples, counts, {measure.name: figure})
