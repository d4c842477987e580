"""The way of local rules: BioGrad on the target clock, layers learning from error spikes that come back by what sleep
has learnt.

A pixel is a current, the same in all columns of a presentation: its brightness; while `draws` is above 0, in training
the mean of so many random draws of 0 or 1 with a probability of `brightest` times its brightness, divided by
`brightest`, other ones at every presentation. Neurons: V := V / 2 + input, a spike above 1 resets to zero.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch

from ...ir.diagnostics import BadInputError, Diagnostic
from ...ir.graph import Discretization, Graph
from ...ir.learning.rule import LearningRule
from ...ir.nodes import LIF, Array
from ...ir.rules import biograd
from ...runtime.checkpoint import require_same, restoring, write_checkpoint
from ...runtime.display import Display
from ...runtime.history import EpochRecord, Evaluation, History
from ...runtime.interruption import InterruptGuard, TrainingInterrupted
from ...runtime.learning.clock.optimizers import LocalOptimizer
from ..driver import compile as compile_graph
from ..frontends.builder import Builder
from .activity import active
from .data import Parts
from .reader import CODE, MOST_EPOCHS, Reader
from .stopwatch import Stopwatch

if TYPE_CHECKING:
    from .config import Config

__all__ = ["DT", "Settings", "coded", "held", "network", "predicted", "presented", "read_settings", "rule", "train"]

Feedback = Literal["sleep", "kolen_pollack", "fixed", "transposed", "none"]
DT, KEPT = 1e-3, 0.5
TAU = -DT / math.log(KEPT)
_CHUNK = 500


@dataclass(frozen=True)
class Settings:
    """Of the network, the code, the rule, and what synapses make of it.

    A presentation has `steps` columns of 1 ms, of which learning takes those from `start` on; `draws`, `brightest`: see
    above. `slope`: of the pseudo-derivative of a membrane. Over `epochs`, in batches of `batch` presentations, weights
    learn at `step` and decay by `decay`. After every `sleep_every` presentations the network sleeps for `sleep_samples`
    of `sleep_steps` columns, in which feedback learns at `mirror` and forgets `forget` of itself."""

    hidden: tuple[int, ...] = (500, 200)
    """Neurons of the layers before the last."""
    gain: float = 1.0
    """Of random weights, their deviation times the root of the number of inputs."""
    steps: int = 12
    start: int = 3
    draws: int = 2
    """0: the brightness itself is the current, as it is in tests."""
    brightest: float = 0.8
    slope: float = 1.0
    epochs: int = 12
    batch: int = 128
    step: float = 5e-3
    """Of Adam; rises over `rise` batches, then falls to zero along half a cosine."""
    rise: int = 600
    decay: float = 1.5e-4
    sleep_every: int = 256
    sleep_samples: int = 512
    sleep_steps: int = 10
    mirror: float = 3.25e-4
    forget: float = 0.005
    surrogate_step: float = 5e-3
    """Of Adam, where the same network is trained by surrogate gradients, for comparison."""


_LIMITS: Mapping[str, tuple[float, float]] = {
    "hidden": (1, 1 << 16), "steps": (1, 10_000), "start": (0, 10_000), "draws": (0, 1000), "epochs": (1, MOST_EPOCHS),
    "batch": (1, 1 << 16), "rise": (1, 1 << 20), "sleep_every": (1, 1 << 20), "sleep_samples": (1, 1 << 20),
    "sleep_steps": (1, 10_000), "gain": (0, 1e3), "brightest": (1e-3, 1), "slope": (0, 1e3), "step": (0, 10),
    "decay": (0, 1), "mirror": (0, 10), "forget": (0, 1), "surrogate_step": (0, 10),
}


def read_settings(table: Reader | None) -> Settings | None:
    """`[local]`."""
    if table is None:
        return None
    found: dict[str, Any] = {}
    for each in fields(Settings):
        low, high = _LIMITS[each.name]
        if each.name not in table:
            continue
        if each.name == "hidden":
            found["hidden"] = table.wholes("hidden", int(low), int(high))
        elif isinstance(each.default, int):
            found[each.name] = table.whole(each.name, int(low), int(high))
        else:
            found[each.name] = table.number(each.name, low, high)
    settings = replace(Settings(), **found)
    if settings.start >= settings.steps:
        table.fault("learning starts within the columns of a presentation", "start", settings.start,
                    f"< {settings.steps}")
    table.end([each.name for each in fields(Settings)])
    return settings


def network(sizes: tuple[int, ...], gain: float, seed: int) -> Graph:
    """Layers of leaky neurons, their inputs as they are, with random weights and biases of zero."""
    random, builder = np.random.default_rng(seed), Builder()
    signal = builder.input("pixels", sizes[0])
    for layer, (n, size) in enumerate(pairwise(sizes), 1):
        weight = random.uniform(-1, 1, (size, n)) * gain * math.sqrt(3 / n)
        signal = builder.linear(f"fc{layer}", signal, weight=weight.astype(np.float32), bias=np.zeros(size, np.float32))
        ones = np.ones(size)
        cells = LIF(shape=(size,), tau=TAU * ones, r=ones / (1 - KEPT), v_leak=0 * ones, v_threshold=ones, reset="zero")
        signal = builder.add(f"layer{layer}", cells, signal)
    builder.output("out", signal)
    return builder.build(Discretization(DT, spike="box", integrator="decay"))


def rule(settings: Settings, feedback: Feedback) -> LearningRule:
    """BioGrad with exact eligibilities; errors go back layer by layer where there are several."""
    return biograd(
        rate=1 / (settings.steps - settings.start), width=1.0, eligibility="exact", tau=TAU, dt=DT,
        duration=settings.steps * DT, start=settings.start * DT, slope=settings.slope, feedback=feedback,
        path="layered" if len(settings.hidden) > 1 else "direct", bias=True, decay=settings.decay,
        sleep_rate=settings.mirror, sleep_decay=settings.forget, oja=0, sleep_duration=settings.sleep_steps * DT,
        sleep_every=settings.sleep_every, sleep_samples=settings.sleep_samples, sleep_noise=(0.5, 0.5), sleep_held=True)


def presented(images: Array, labels: Array, settings: Settings, epoch: int, order: Array, done: int = 0
              ) -> Iterator[tuple[Array, Array, float]]:
    """The batches of an epoch in this order of the samples, but for those that are `done`, with the factor of the
    learning rate."""
    each = batches(len(labels), settings)
    for number in range(epoch * each + done, (epoch + 1) * each):
        start = (number - epoch * each) * settings.batch
        chosen = order[start:start + settings.batch]
        falling = (1 + math.cos(math.pi * number / (each * settings.epochs))) / 2
        yield images[chosen], labels[chosen], falling * min(1.0, (number + 1) / settings.rise)


def batches(samples: int, settings: Settings) -> int:
    return -(-samples // settings.batch)


def coded(images: Array, settings: Settings, random: np.random.Generator) -> torch.Tensor:
    """What is learnt from: brightnesses, or draws of them."""
    if settings.draws:
        bright = images > 0
        chances = settings.brightest * images[bright]
        drawn = (random.random((settings.draws, len(chances)), dtype=np.float32) < chances).mean(0, dtype=np.float32)
        images = np.zeros_like(images)
        images[bright] = drawn / settings.brightest
    return held(images, settings.steps)


def held(images: Array, steps: int) -> torch.Tensor:
    """(n, steps, pixels): a current that is held, one column in memory."""
    return torch.from_numpy(images)[:, None].expand(-1, steps, -1)


def predicted(learner: Any, images: Array, steps: int) -> Array:
    """Classes (n,); of outputs that fired as often the one of the highest membrane answers."""
    return np.concatenate([learner.answer(held(images[start:start + _CHUNK], steps)).predictions
                           for start in range(0, len(images), _CHUNK)])


def train(config: Config, parts: Parts, seed: int, checkpoint: Path, *, fresh: bool, progress: bool) -> dict[str, Any]:
    """One training, and its figures after the last epoch; the checkpoint stays, for the caller to remove. It is written
    after each epoch, and after the batch that Ctrl-C comes in.

    Raises:
        TrainingInterrupted: after Ctrl-C, with everything saved.
        BadInputError: the checkpoint is damaged, or of other settings.
    """
    settings = config.local
    if settings is None:
        raise BadInputError(Diagnostic(CODE, "a training by a local rule needs its settings", node=config.name))
    images, test = (_bright(part.inputs, parts.peak) for part in (parts.train, parts.test))
    program = compile_graph(network((images.shape[1], *settings.hidden, 10), settings.gain, seed), target="clock")
    learner = program.learner(rule(settings, "sleep"), seed=seed,
                              optimizer=LocalOptimizer("adam", settings.step, decay=settings.decay))
    random, history, seconds = np.random.default_rng([seed, 1]), History(), Stopwatch(checkpoint, fresh)
    told = {"settings": str(settings), "seed": seed, "samples": len(images)}
    before = _activity(program, test, settings)
    order: Array | None = None  # of an epoch that was interrupted, and so are these
    right, shown, earlier = 0, 0, 0.0
    if checkpoint.exists() and not fresh:
        with restoring(checkpoint) as state:
            require_same(checkpoint, state["settings"], told)
            learner.load({name: value.numpy() for name, value in state["learner"].items()})
            random.bit_generator.state = json.loads(state["random"])
            history.records[:] = [EpochRecord.from_dict(record) for record in state["history"]["records"]]
            if "order" in state:
                order, right, shown = state["order"].numpy(), state["right"], state["shown"]
                earlier = state["seconds"]

    def keep(**under_way: Any) -> None:
        """With what there is of an epoch that is under way."""
        write_checkpoint(checkpoint, {
            "settings": told, "random": json.dumps(random.bit_generator.state), "history": history.as_dict(),
            "learner": {name: torch.from_numpy(np.array(value)) for name, value in learner.state().items()},
            **under_way})

    with Display(progress, settings.epochs) as display, InterruptGuard() as guard, seconds:
        for epoch in range(len(history), settings.epochs):
            done, began = batches(shown, settings), seconds.wall - earlier
            display.start(epoch, batches(len(images), settings), done)
            order = random.permutation(len(images)) if order is None else order
            for number, (some, labels, rate) in enumerate(
                    presented(images, parts.train.labels, settings, epoch, order, done), done + 1):
                learner.rate = rate
                answer = learner.learn(coded(some, settings, random), labels)
                right, shown = right + int((answer.predictions == labels).sum()), shown + len(labels)
                if display.due:
                    display.update(number, Evaluation(None, right / shown, None, shown))
                if guard.requested:
                    keep(order=torch.from_numpy(order), right=right, shown=shown, seconds=seconds.wall - began)
                    raise TrainingInterrupted(history, checkpoint)
            learner.figures()  # which belong to this epoch
            history.records.append(EpochRecord(epoch, Evaluation(None, right / shown, None, shown), None, learner.rate,
                                               seconds.wall - began))
            order, right, shown, earlier = None, 0, 0, 0.0
            keep()
            seconds.lap()
            display.finish(history[-1])
    accuracy = float((predicted(learner, test, settings.steps) == parts.test.labels).mean())
    return {
        "seed": seed, "test_accuracy": accuracy, "test_loss": None, "silent_labels": None, "validation_accuracy": None,
        "train_accuracy": history[-1].train.accuracy, "epochs": len(history),
        **_activity(program.recompile(learner.to_graph()), test, settings), "before": before,
        "training_cpu_s": seconds.seconds, "training_wall_s": sum(record.seconds for record in history),
        "loss_curve": [],
    }


def _bright(images: Array, peak: float) -> Array:
    return images.reshape(len(images), -1).astype(np.float32) / np.float32(peak)


def _activity(program: Any, images: Array, settings: Settings) -> dict[str, Any]:
    module = program.module()
    layers = [f"layer{number}" for number in range(1, len(settings.hidden) + 2)]
    outs = (module(held(images[start:start + _CHUNK], settings.steps), duration=settings.steps * DT)
            for start in range(0, len(images), _CHUNK))
    return active(outs, layers, layers[-1]).record()
