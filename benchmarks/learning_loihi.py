"""BioGrad entirely in Loihi's integers, online, one sample after the other, one hidden layer.

    python benchmarks/learning_loihi.py [--task mnist|digits] [--quick | --full] [--only NAME ...] [--seeds N] [--fresh]
                                        [--validate]

`mnist`: 784-200-10, trained on all 60,000 training images, tested once on the 10,000 test images after the last epoch.
`digits`: 64-128-10 on scikit-learn's digits, on the folds and seeds of `learning_float.py`. Settings were chosen with
seed 1 and `--validate`, and the rate of digits again in each fold, as there.

Traces, tags, weights and feedback are the numbers of the learning engine (`LoihiProgram.learner`, the emulator of
Lava's arithmetic); errors and gates those of learning neurons. Weights start random, and so does the feedback. A host
gives spikes, labels and the signs of spikes of noise, says in which columns an update or a sleep is, halves the rate
twice, and reads counts, and membranes where counts are alike. A pixel of
brightness b of 255 fires in b of 255 columns on average, evenly, from a random phase, anew at each presentation.

Variants: `sleep` (feedback learnt in sleep, each synapse rounds by itself), `sleep-lava` (one random number for all
synapses, as Lava's simulator), and baselines: `transposed` (feedback copied from the weights), `fixed` (random for
ever), `frozen` (the hidden layer does not learn), `surrogate` (the same network and code by surrogate gradients of the
cross-entropy of a multiple of the counts, Adam, float32; answers as the others).
A run that is done is kept in the result, and not run again.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from learning_parts import Part, of_each, options_of

import spikec
from spikec import Builder, Discretization, Graph, LearningRule
from spikec.ir.rules.catalogue import rule_named

DT = 1e-3
CHUNK = 250
SLOPE = 0.5
"""Of counts, in the softmax of surrogate gradients."""
TOLD = 10_000
"""Training images, from which on each epoch is told of."""
VARIANTS: dict[str, dict[str, str]] = {
    "sleep": {"feedback": "sleep"}, "sleep-lava": {"feedback": "sleep", "rounding": "lava"},
    "transposed": {"feedback": "transposed"}, "fixed": {"feedback": "fixed"}, "frozen": {"feedback": "none"},
    "surrogate": {},
}


@dataclass(frozen=True)
class Settings:
    """Of the network, its code, and the rule; of the weights and thresholds, in whole numbers of the chip."""

    pixels: int = 784
    hidden: int = 200
    steps: int = 32
    decay: float = 0.75
    thresholds: tuple[int, int] = (900, 600)
    weights: tuple[int, int] = (30, 60)
    """Of uniform random weights, the largest."""
    threshold_out: float = 0.5
    """Of the output in the model, where that of the hidden layer is 1, as wide as the gate about both."""
    rate: float = 1.3e-5
    rate_hidden: float = 25.0
    rates: tuple[float, ...] = (1.0, 1.0, 1.0, 0.5, 0.5, 0.25)
    """By epoch."""
    error_threshold: int = 2
    start: int = 3
    period: int = 2
    gap: int = 2
    sleep_every: int = 4
    sleep_steps: int = 16
    noise: tuple[float, float] = (0.08, 0.39)
    mirror: float = 2**-4
    """Of the chip's weights, for a count and a spike of noise."""
    forget: float = 2**-12
    surrogate_lr: float = 1e-3
    batch: int = 50


MNIST = Settings()
DIGITS = replace(MNIST, pixels=64, hidden=128, steps=40, thresholds=(300, 400), weights=(40, 60), rate=2e-5,
                 rate_hidden=40.0, batch=16, rates=(1.0,) * 18 + (0.5,) * 6 + (0.25,) * 6)
Examples: TypeAlias = tuple[Any, Any]
"""(n, pixels) of 0..255, and labels."""


def main() -> int:
    options = options_of(__doc__, tuple(VARIANTS))
    name, settings = ("learning_loihi", MNIST) if options.task == "mnist" else ("learning_loihi_digits", DIGITS)
    if options.quick:
        name, settings = f"{name}-quick", replace(settings, hidden=64, rates=(1.0,))
    return of_each(name, settings, options, tuple(VARIANTS), lambda variant, part, factor: measured(
        variant, part, replace(settings, rate=factor * settings.rate, surrogate_lr=factor * settings.surrogate_lr)))


def measured(variant: str, part: Part, settings: Settings) -> dict[str, Any]:
    """One training, tested at the end of its last epoch."""
    began, cpu = time.perf_counter(), time.process_time()
    train, test = (((images * 255).round().astype(np.uint8), labels) for images, labels in (part.train, part.test))
    graph = network(settings, part.seed)
    if variant == "surrogate":
        told = by_gradients(graph, settings, train, test, part.seed)
    else:
        told = by_rule(graph, settings, train, test, part.seed, **VARIANTS[variant])
    if part.fold is not None:
        told["epochs"] = told.get("epochs", [])[-1:]
    run = {**told, "cpu_s": time.process_time() - cpu, "wall_s": time.perf_counter() - began}
    print(f"{variant}, seed {part.seed}{'' if part.fold is None else f', fold {part.fold}'}: {run['accuracy']:.2f} %, "
          f"{run['cpu_s']:.0f} s", flush=True)
    return run


def network(settings: Settings, seed: int, classes: int = 10) -> Graph:
    """Two layers of leaky neurons that a core holds as they are, with random weights."""
    random, builder = np.random.default_rng(seed), Builder()
    tau = -DT / np.log(settings.decay)
    signal, n = builder.input("pixels", settings.pixels), settings.pixels
    sizes, thresholds = (settings.hidden, classes), (1.0, settings.threshold_out)
    for layer, (size, threshold, chip, most) in enumerate(zip(sizes, thresholds, settings.thresholds, settings.weights,
                                                              strict=True)):
        weight = random.uniform(-1, 1, (size, n)) * most / chip * threshold
        signal = builder.linear(f"fc{layer + 1}", signal, weight=weight.astype(np.float32))
        signal = builder.add(("hidden", "readout")[layer], lif(size, tau, threshold), signal)
        n = size
    builder.output("out", signal)
    return builder.build(Discretization(DT))


def lif(n: int, tau: float, threshold: float) -> Any:
    """Each spike moves the membrane by its weight; a spike resets to zero."""
    from spikec.ir.nodes import LIF

    ones = np.ones(n)
    return LIF(shape=(n,), tau=tau * ones, r=tau * ones, v_leak=0 * ones, v_threshold=threshold * ones, reset="zero")


def rule(settings: Settings, feedback: str) -> LearningRule:
    """BioGrad, as the library has it for this chip."""
    per_weight = settings.threshold_out / settings.thresholds[1]
    return rule_named(
        "biograd", "loihi1", rate=settings.rate, width=1.0, eligibility="spike", duration=settings.steps * DT,
        start=settings.start * DT, period=settings.period, spikes=True, threshold=settings.error_threshold,
        feedback=feedback, sleep_rate=settings.mirror * per_weight, sleep_decay=settings.forget,
        sleep_duration=settings.sleep_steps * DT, sleep_every=settings.sleep_every, sleep_samples=1,
        sleep_noise=settings.noise)


def by_rule(graph: Graph, settings: Settings, train: Examples, test: Examples, seed: int, feedback: str,
            rounding: str = "synapse") -> dict[str, Any]:
    """Online, in the arithmetic of the chip."""
    program = spikec.compile(graph, target="loihi1")
    learner = program.learner(
        rule(settings, feedback), seed=seed, rounding=rounding, gap=settings.gap,
        thresholds=dict(zip(("hidden", "readout"), settings.thresholds, strict=True)),
        rates={"fc1": settings.rate_hidden})
    random, epochs = np.random.default_rng([seed, 1]), []
    for epoch, rate in enumerate(settings.rates):
        learner.rate = rate
        began, right = time.process_time(), 0
        for images, labels in chunks(train, random.permutation(len(train[1]))):
            answer = learner.learn(coded(images, settings.steps, random), labels)
            right += int((answer.predictions == labels).sum())
        figures = learner.figures()
        epochs.append({"epoch": epoch + 1, "shown": 100 * right / len(train[1]),
                       "cpu_s": time.process_time() - began, "angle": figures.angles.get("hidden"),
                       "norm": figures.norms.get("hidden"), "rates": dict(figures.rates),
                       "updated": dict(figures.updated), "saturated": dict(figures.saturated)})
        if len(train[1]) >= TOLD:
            print(f"  {feedback}, {rounding}, seed {seed}, epoch {epoch + 1}: {epochs[-1]['shown']:.2f} % as shown, "
                  f"angle {epochs[-1]['angle'] or 0:.0f}, {epochs[-1]['cpu_s']:.0f} s", flush=True)
    accuracy = tested(learner, settings, test, random)
    columns = learner.plastic.columns
    return {"accuracy": accuracy, "epochs": epochs, "columns_a_sample": columns.columns,
            "columns_of_sleep_a_sample": columns.sleep_columns / columns.sleep_every, "rounding": rounding}


def by_gradients(graph: Graph, settings: Settings, train: Examples, test: Examples, seed: int) -> dict[str, Any]:
    """The same network and code by surrogate gradients, Adam, float32."""
    module = spikec.compile(graph, target="clock").module(surrogate="fast_sigmoid")
    optimizer = torch.optim.Adam([each for each in module.parameters() if each.requires_grad], settings.surrogate_lr)
    epochs = len(settings.rates)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    random = np.random.default_rng([seed, 1])
    for epoch in range(epochs):
        for images, labels in chunks(train, random.permutation(len(train[1])), settings.batch):
            out = module(torch.from_numpy(coded(images, settings.steps, random)).float(), duration=settings.steps * DT)
            loss = torch.nn.functional.cross_entropy(SLOPE * out.spike_count("out"), torch.from_numpy(labels))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        schedule.step()
        if len(train[1]) >= TOLD:
            print(f"  surrogate, seed {seed}, epoch {epoch + 1}: loss {loss.item():.3f}", flush=True)
    learner = spikec.compile(module.to_graph(), target="clock").learner(rule(settings, "none"))
    return {"accuracy": tested(learner, settings, test, random)}


def tested(learner: Any, settings: Settings, test: Examples, random: np.random.Generator) -> float:
    """Percent; of outputs that fired as often the one of the highest membrane answers."""
    right = sum(int((learner.answer(coded(images, settings.steps, random)).predictions == labels).sum())
                for images, labels in chunks(test, np.arange(len(test[1]))))
    return 100 * right / len(test[1])


def chunks(examples: Examples, order: Any, size: int = CHUNK) -> Iterator[Examples]:
    for start in range(0, len(order), size):
        chosen = order[start:start + size]
        yield examples[0][chosen], examples[1][chosen]


def coded(images: Any, steps: int, random: np.random.Generator) -> Any:
    """(n, steps, pixels) uint8: a pixel of brightness b of 255 fires in b of 255, evenly, from a random phase."""
    # 16 bits a pixel and column: phase + column * brightness, of 65535; it fires where that wraps around.
    step = np.asarray(images, dtype=np.uint16) * 257
    before = random.integers(0, 65536, images.shape, dtype=np.uint16)
    spikes = np.empty((len(images), steps, images.shape[1]), dtype=np.uint8)
    for column in range(steps):
        after = before + step
        spikes[:, column] = (after < before) | (step == 65535)
        before = after
    return spikes


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    sys.exit(main())
