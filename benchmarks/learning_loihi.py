"""MNIST learnt entirely in Loihi's integers: 784-H-10, online, one sample after the other, BioGrad.

    python benchmarks/learning_loihi.py [--quick | --full] [--only NAME ...] [--seeds N] [--fresh]

Nothing but spikes and labels goes in: traces, tags, weights, feedback, errors and sleeps are the numbers of the
learning engine (`LoihiProgram.learner`, the emulator of Lava's arithmetic), whose weights start random, and so does the
feedback. A pixel of brightness b of 255 fires in b of 255 columns on average, evenly, from a random phase, anew at each
presentation. The settings were chosen on the last 5,000 training images, with seed 1; the figures are of all 60,000
training images, and of the 10,000 test images once, at the end of the last epoch.

Variants: `sleep` (feedback learnt in sleep, each synapse rounds by itself), `sleep-lava` (one random number for all
synapses, as Lava's simulator), and baselines: `transposed` (feedback copied from the weights), `fixed` (random for
ever), `frozen` (the hidden layer does not learn), `surrogate` (the same network by surrogate gradients, float32).
A run that is done is kept in the result, and not run again.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np
import torch
from common import arguments, data_folder, read_result, write_result

import spikec
from spikec import Builder, Discretization, Graph, LearningRule, datasets
from spikec.ir.rules.catalogue import rule_named
from spikec.runtime.datasets import Dataset, Split

DT = 1e-3
CHUNK = 250
VARIANTS: dict[str, dict[str, str]] = {
    "sleep": {"feedback": "sleep"}, "sleep-lava": {"feedback": "sleep", "rounding": "lava"},
    "transposed": {"feedback": "transposed"}, "fixed": {"feedback": "fixed"}, "frozen": {"feedback": "none"},
    "surrogate": {},
}


@dataclass(frozen=True)
class Settings:
    """Of the network, its code, and the rule; of the weights and thresholds, in whole numbers of the chip."""

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


def main() -> int:
    parser = arguments(__doc__)
    parser.add_argument("--only", nargs="+", choices=list(VARIANTS), default=list(VARIANTS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--fresh", action="store_true", help="forget runs that are done")
    options = parser.parse_args()
    if data_folder() is None:
        print("MNIST is not there: SPIKEC_DATA names no folder")
        return 1
    torch.set_num_threads(1)
    spikec.set_threads(1)
    name, settings, data = "learning_loihi", Settings(), datasets.load_mnist()
    train = Split(np.concatenate([data.train.inputs, data.validation.inputs]),
                  np.concatenate([data.train.labels, data.validation.labels]))
    data = replace(data, train=train)
    if options.quick:
        name, settings = "learning_loihi-quick", replace(settings, hidden=64, rates=(1.0,))
        data = replace(data, train=data.train[:2000], test=data.test[:500])
    parameters = {key: list(value) if isinstance(value, tuple) else value for key, value in vars(settings).items()}
    stored = None if options.fresh else read_result(name)
    runs = stored["figures"]["runs"] if stored and stored["parameters"] == parameters else []
    for seed in range(1, options.seeds + 1):
        for variant in options.only:
            if any(run["variant"] == variant and run["seed"] == seed for run in runs):
                continue
            run = measured(variant, seed, settings, data)
            stored = None if options.fresh else read_result(name)  # another process may have written since
            if stored and stored["parameters"] == parameters:
                runs = [each for each in stored["figures"]["runs"]
                        if (each["variant"], each["seed"]) != (variant, seed)]
            runs = [*runs, run]
            write_result(name, parameters, {"runs": runs, "summary": summary(runs)})
    return 0


def measured(variant: str, seed: int, settings: Settings, data: Dataset) -> dict[str, Any]:
    """One training, tested at the end of its last epoch."""
    began, cpu = time.perf_counter(), time.process_time()
    graph = network(settings, seed)
    if variant == "surrogate":
        told = by_gradients(graph, settings, data, seed)
    else:
        told = by_rule(graph, settings, data, seed, **VARIANTS[variant])
    run = {"variant": variant, "seed": seed, **told, "cpu_s": time.process_time() - cpu,
           "wall_s": time.perf_counter() - began}
    print(f"{variant}, seed {seed}: {run['accuracy']:.2f} %, {run['cpu_s']:.0f} s", flush=True)
    return run


def network(settings: Settings, seed: int, classes: int = 10) -> Graph:
    """784-H-10 of leaky neurons that a core holds as they are, with random weights."""
    random, builder = np.random.default_rng(seed), Builder()
    tau = -DT / np.log(settings.decay)
    signal, n = builder.input("pixels", 784), 784
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


def by_rule(graph: Graph, settings: Settings, data: Dataset, seed: int, feedback: str,
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
        for images, labels in chunks(data.train, random.permutation(len(data.train))):
            answer = learner.learn(coded(images, settings.steps, random), labels)
            right += int((answer.predictions == labels).sum())
        figures = learner.figures()
        epochs.append({"epoch": epoch + 1, "shown": 100 * right / len(data.train),
                       "cpu_s": time.process_time() - began, "angle": figures.angles.get("hidden"),
                       "norm": figures.norms.get("hidden"), "rates": dict(figures.rates),
                       "updated": dict(figures.updated), "saturated": dict(figures.saturated)})
        print(f"  {feedback}, {rounding}, seed {seed}, epoch {epoch + 1}: {epochs[-1]['shown']:.2f} % as shown, "
              f"angle {epochs[-1]['angle'] or 0:.0f}, {epochs[-1]['cpu_s']:.0f} s", flush=True)
    right = sum(int((learner.answer(coded(images, settings.steps, random)).predictions == labels).sum())
                for images, labels in chunks(data.test, np.arange(len(data.test))))
    columns = learner.plastic.columns
    return {"accuracy": 100 * right / len(data.test), "epochs": epochs, "columns_a_sample": columns.columns,
            "columns_of_sleep_a_sample": columns.sleep_columns / columns.sleep_every, "rounding": rounding}


def by_gradients(graph: Graph, settings: Settings, data: Dataset, seed: int) -> dict[str, Any]:
    """The same network and code by surrogate gradients of cross-entropy of the counts, Adam, float32."""
    module = spikec.compile(graph, target="clock").module(surrogate="fast_sigmoid")
    optimizer = torch.optim.Adam([each for each in module.parameters() if each.requires_grad], settings.surrogate_lr)
    epochs = len(settings.rates)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    random = np.random.default_rng([seed, 1])
    for epoch in range(epochs):
        for images, labels in chunks(data.train, random.permutation(len(data.train)), settings.batch):
            out = module(torch.from_numpy(coded(images, settings.steps, random)).float(), duration=settings.steps * DT)
            loss = torch.nn.functional.cross_entropy(out.spike_count("out"), torch.from_numpy(labels))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        schedule.step()
        print(f"  surrogate, seed {seed}, epoch {epoch + 1}: loss {loss.item():.3f}", flush=True)
    right = 0
    with torch.no_grad():
        for images, labels in chunks(data.test, np.arange(len(data.test))):
            out = module(torch.from_numpy(coded(images, settings.steps, random)).float(), duration=settings.steps * DT)
            right += int((out.spike_count("out").argmax(1).numpy() == labels).sum())
    return {"accuracy": 100 * right / len(data.test)}


def chunks(split: Split, order: Any, size: int = CHUNK) -> Iterator[tuple[Any, Any]]:
    for start in range(0, len(order), size):
        chosen = order[start:start + size]
        yield split.inputs[chosen].reshape(len(chosen), -1), split.labels[chosen]


def coded(images: Any, steps: int, random: np.random.Generator) -> Any:
    """(n, steps, 784) uint8: a pixel of brightness b of 255 fires in b of 255 columns, evenly, from a random phase."""
    # 16 bits a pixel and column: phase + column * brightness, of 65535; it fires where that wraps around.
    step = np.asarray(images, dtype=np.uint16) * 257
    before = random.integers(0, 65536, images.shape, dtype=np.uint16)
    spikes = np.empty((len(images), steps, images.shape[1]), dtype=np.uint8)
    for column in range(steps):
        after = before + step
        spikes[:, column] = (after < before) | (step == 65535)
        before = after
    return spikes


def summary(runs: list[dict[str, Any]]) -> dict[str, Any]:
    found = {}
    for variant in VARIANTS:
        of = [run["accuracy"] for run in runs if run["variant"] == variant]
        if of:
            found[variant] = {"mean": mean(of), "deviation": stdev(of) if len(of) > 1 else None, "seeds": len(of)}
    return found


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    sys.exit(main())
