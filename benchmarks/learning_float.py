"""BioGrad in float32 on the clock target, layers learning from error spikes that come back by what sleep has learnt.

    python benchmarks/learning_float.py [--task mnist|digits] [--quick | --full] [--only NAME ...] [--seeds N] [--fresh]
                                        [--validate]

`mnist`: 784-500-200-10, trained on all 60,000 training images, tested once on the 10,000 test images after the last
epoch. `digits`: 64-128-10 on scikit-learn's digits, stratified 5 folds, each with every seed; variants are compared
on the same folds with the same weights at the start. Settings were chosen with `--validate`, which leaves the test
images alone and takes the last 5,000 training images, or a fifth of the training part of a fold, in their place. The
digits of one fold's training part are in the test parts of others, though; so the step is chosen again in each fold, of
three, on a fifth of that fold's training part alone, by `sleep` and by `surrogate` each for itself.

A pixel is a current, the same in all columns of a presentation: its brightness; while MNIST is learnt, the mean of
`draws` random draws of 0 or 1 with a probability of `brightest` times its brightness, divided by `brightest`, other
ones at every presentation.
Neurons: V := V / 2 + input, a spike above 1 resets to zero.

Variants: `sleep` (feedback starts random and is learnt in sleep), `kolen_pollack`, and baselines: `transposed`
(feedback copied from the weights), `fixed` (random for ever), `frozen` (hidden layers do not learn), `surrogate` (the
same network and code by gradients through a box as wide as the rule's, cross-entropy of the counts, the same
optimizer).
A run that is done is kept in the result, and not run again.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from learning_parts import Part, of_each, options_of

import spikec
from spikec import Builder, Discretization, Graph, LearningRule
from spikec.ir.nodes import LIF
from spikec.ir.rules import biograd
from spikec.runtime.learning.clock.optimizers import LocalOptimizer

DT, KEPT = 1e-3, 0.5
TAU = -DT / math.log(KEPT)
CHUNK = 500
FEEDBACK = {"sleep": "sleep", "kolen_pollack": "kolen_pollack", "transposed": "transposed", "fixed": "fixed",
            "frozen": "none"}
VARIANTS = (*FEEDBACK, "surrogate")


@dataclass(frozen=True)
class Settings:
    """Of the network, the code, the rule, and what synapses make of it."""

    hidden: tuple[int, ...] = (500, 200)
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


MNIST = Settings()
DIGITS = Settings(hidden=(128,), gain=0.6, steps=20, start=5, draws=0, slope=0.5, epochs=30, batch=32, rise=90,
                  decay=0.0, sleep_every=32, sleep_samples=128, sleep_steps=5, mirror=2e-2, forget=0.06)


def main() -> int:
    options = options_of(__doc__, VARIANTS)
    name, settings = f"learning_{options.task}", MNIST if options.task == "mnist" else DIGITS
    if options.quick:
        name, settings = f"{name}-quick", replace(settings, hidden=(64,) * len(settings.hidden), epochs=2, rise=8)
    return of_each(name, settings, options, VARIANTS, lambda variant, part, factor: measured(variant, part, replace(
        settings, step=factor * settings.step, surrogate_step=factor * settings.surrogate_step)))


def measured(variant: str, part: Part, settings: Settings) -> dict[str, Any]:
    """One training, tested at the end of its last epoch."""
    began, cpu = time.perf_counter(), time.process_time()
    graph = network((part.train[0].shape[1], *settings.hidden, 10), settings.gain, part.seed)
    told = by_gradients(graph, settings, part) if variant == "surrogate" else by_rule(graph, settings, part, variant)
    run = {**told, "cpu_s": time.process_time() - cpu, "wall_s": time.perf_counter() - began}
    print(f"{variant}, seed {part.seed}{'' if part.fold is None else f', fold {part.fold}'}: {run['accuracy']:.2f} %, "
          f"{run['cpu_s']:.0f} s", flush=True)
    return run


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


def rule(settings: Settings, feedback: str) -> LearningRule:
    """BioGrad with exact eligibilities; errors go back layer by layer where there are several."""
    return biograd(
        rate=1 / (settings.steps - settings.start), width=1.0, eligibility="exact", tau=TAU, dt=DT,
        duration=settings.steps * DT, start=settings.start * DT, slope=settings.slope, feedback=feedback,
        path="layered" if len(settings.hidden) > 1 else "direct", bias=True, decay=settings.decay,
        sleep_rate=settings.mirror, sleep_decay=settings.forget, oja=0, sleep_duration=settings.sleep_steps * DT,
        sleep_every=settings.sleep_every, sleep_samples=settings.sleep_samples, sleep_noise=(0.5, 0.5), sleep_held=True)


def by_rule(graph: Graph, settings: Settings, part: Part, variant: str) -> dict[str, Any]:
    """Kolen-Pollack has a decay of its own, the same for weights and feedback."""
    optimizer = LocalOptimizer("adam", settings.step, decay=0.0 if variant == "kolen_pollack" else settings.decay)
    learner = spikec.compile(graph, target="clock").learner(rule(settings, FEEDBACK[variant]), seed=part.seed,
                                                            optimizer=optimizer)
    random, epochs = np.random.default_rng([part.seed, 1]), []
    for epoch, batches in presented(part, settings, random):
        began, right, shown = time.process_time(), 0, 0
        for images, labels, rate in batches:
            learner.rate = rate
            answer = learner.learn(coded(images, settings, random), labels)
            right, shown = right + int((answer.predictions == labels).sum()), shown + len(labels)
        figures = learner.figures()
        epochs.append({"epoch": epoch + 1, "shown": 100 * right / shown, "cpu_s": time.process_time() - began,
                       "angles": dict(figures.angles), "norms": dict(figures.norms), "rates": dict(figures.rates)})
        if part.fold is None:
            print(f"  {variant}, seed {part.seed}, epoch {epoch + 1}: {epochs[-1]['shown']:.2f} % as shown, angles "
                  f"{', '.join(f'{each:.0f}' for each in figures.angles.values())}, {epochs[-1]['cpu_s']:.0f} s",
                  flush=True)
    return {"accuracy": tested(learner, settings, part), "epochs": epochs if part.fold is None else epochs[-1:]}


def by_gradients(graph: Graph, settings: Settings, part: Part) -> dict[str, Any]:
    """Surrogate gradients of the cross-entropy of `slope` times the counts, Adam."""
    module = spikec.compile(graph, target="clock").module(surrogate="box", sharpness=2.0, detach_reset=False)
    optimizer = torch.optim.AdamW([each for each in module.parameters() if each.requires_grad], settings.surrogate_step,
                                  weight_decay=settings.decay / settings.step)
    random, duration = np.random.default_rng([part.seed, 1]), settings.steps * DT
    for _, batches in presented(part, settings, random):
        for images, labels, rate in batches:
            optimizer.param_groups[0]["lr"] = rate * settings.surrogate_step
            out = module(coded(images, settings, random), duration=duration)
            loss = torch.nn.functional.cross_entropy(settings.slope * out.spike_count("out"), torch.from_numpy(labels))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    learner = spikec.compile(module.to_graph(), target="clock").learner(rule(settings, "none"))
    return {"accuracy": tested(learner, settings, part)}


def tested(learner: Any, settings: Settings, part: Part) -> float:
    """Percent; of outputs that fired as often the one of the highest membrane answers."""
    right = sum(int((learner.answer(held(images, settings.steps)).predictions == labels).sum())
                for images, labels in chunks(part.test))
    return 100 * right / len(part.test[1])


def presented(part: Part, settings: Settings, random: np.random.Generator
              ) -> Iterator[tuple[int, Iterator[tuple[Any, Any, float]]]]:
    """Epochs of batches in random order, with the factor of the learning rate."""
    images, labels = part.train
    each = -(-len(labels) // settings.batch)

    def batches(epoch: int) -> Iterator[tuple[Any, Any, float]]:
        order = random.permutation(len(labels))
        for number, start in enumerate(range(0, len(order), settings.batch), epoch * each):
            chosen = order[start:start + settings.batch]
            falling = (1 + math.cos(math.pi * number / (each * settings.epochs))) / 2
            yield images[chosen], labels[chosen], falling * min(1.0, (number + 1) / settings.rise)

    for epoch in range(settings.epochs):
        yield epoch, batches(epoch)


def chunks(part: tuple[Any, Any]) -> Iterator[tuple[Any, Any]]:
    for start in range(0, len(part[1]), CHUNK):
        yield part[0][start:start + CHUNK], part[1][start:start + CHUNK]


def coded(images: Any, settings: Settings, random: np.random.Generator) -> torch.Tensor:
    """What is learnt from: brightnesses, or draws of them."""
    if settings.draws:
        bright = images > 0
        chances = settings.brightest * images[bright]
        drawn = (random.random((settings.draws, len(chances)), dtype=np.float32) < chances).mean(0, dtype=np.float32)
        images = np.zeros_like(images)
        images[bright] = drawn / settings.brightest
    return held(images, settings.steps)


def held(images: Any, steps: int) -> torch.Tensor:
    """(n, steps, pixels): a current that is held, one column in memory."""
    return torch.from_numpy(images)[:, None].expand(-1, steps, -1)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    sys.exit(main())
