"""Learning by BrainScaleS-2's plasticity processor, modelled, on emulated chips, against the float rule.

    python benchmarks/plasticity_processor.py [--quick | --full] [--seeds N]

`patterns`: two classes of spike patterns, 32-2, reward-modulated STDP: the reward says only whether the output that
fired most was the right one. Of a class eight channels fire three times each at times of their own; a fifth of the
spikes is left out, and all jitter by 1 ms, anew in each sample.
`digits`: scikit-learn's digits, 64-10, BioGrad's three-factor rule with the softmax of the counts as its error: the
host tells the third factor, the target's spikes stand for the surrogate gate. A pixel fires four times at most, at
random.

    chip     an emulated chip: circuits with published mismatch, noise of runs, sensors with mismatch and noise, weights
             of six bits and a sign in steps, reads of eight bits; a chip of its own for each seed
    alike    the same with neither mismatch nor noise
    float    the rule itself, on the event engine: all pairs, weights and traces in float64, the gate as it is

Each is tested before and after training, on samples that it has not learnt from. Settings were chosen by hand, with a
look at such samples, on chips 0 to 2 of `patterns` and chip 0 of `digits`, and not again for `float`. Nothing here has
been on a chip.
"""

from __future__ import annotations

import sys
import time
import warnings
from dataclasses import asdict, dataclass
from statistics import mean, stdev
from typing import Any

import numpy as np
import torch
from common import arguments, write_result

import spikec
from spikec import Builder, Events, Graph, LearningRule
from spikec.ir.nodes import CubaLIF
from spikec.ir.rules import biograd, reward_stdp
from spikec.passes.ppu_rules import PpuChoices
from spikec.targets.brainscales2.learner import PpuLearner

VARIANTS = ("chip", "alike", "float")
Labelled = tuple[Events, Any]


@dataclass(frozen=True)
class Settings:
    """Seconds of the model; weights in thresholds of synaptic current. `mean`, `deviation`: of random first weights;
    `full_scale`: the largest weight of a row."""

    tau_mem: float = 0.01
    tau_syn: float = 0.005
    refractory: float = 0.002
    full_scale: float = 1.0
    samples: int = 2400
    tested: int = 200
    # patterns
    channels: int = 32
    active: int = 8
    shown: float = 0.05
    rate: float = 0.03
    minus: float = 1.0
    mean: float = 0.6
    deviation: float = 0.1
    # digits
    digits: int = 1200
    digits_shown: float = 0.03
    digits_rate: float = 1e-3
    digits_scale: float = 0.35
    spikes: int = 4


def neurons(n: int, settings: Settings) -> CubaLIF:
    ones = np.ones(n)
    return CubaLIF(shape=(n,), tau_mem=settings.tau_mem * ones, tau_syn=settings.tau_syn * ones, r=ones,
                   v_leak=0 * ones, v_threshold=ones, w_in=settings.tau_syn * ones, reset="zero",
                   refractory=settings.refractory * ones)


def network(weight: Any, settings: Settings) -> Graph:
    builder = Builder()
    signal = builder.linear("fc", builder.input("x", weight.shape[1]), weight=weight)
    builder.output("out", builder.add("n", neurons(len(weight), settings), signal))
    return builder.build()


class Patterns:
    """`draw` gives samples of both classes."""

    def __init__(self, settings: Settings, seed: int) -> None:
        random = np.random.default_rng([seed, 7])
        self.settings = settings
        self.patterns = [(np.repeat(random.choice(settings.channels, settings.active, replace=False), 3),
                          random.uniform(0, 0.9 * settings.shown, 3 * settings.active)) for _ in range(2)]
        weight = np.random.default_rng(seed).normal(settings.mean, settings.deviation, (2, settings.channels))
        self.graph = network(weight.clip(0, settings.full_scale), settings)
        self.rule = reward_stdp(rate=settings.rate, minus=settings.minus, tau_plus=settings.tau_mem,
                                tau_minus=settings.tau_mem, duration=settings.shown, bounds=None)
        self.choices = PpuChoices()

    def train(self, seed: int) -> Labelled:
        return self._draw(self.settings.samples, np.random.default_rng([seed, 1]))

    def test(self, seed: int) -> Labelled:
        return self._draw(self.settings.tested, np.random.default_rng([seed, 99]))

    def _draw(self, count: int, random: np.random.Generator) -> Labelled:
        labels, found = random.integers(0, 2, count), []
        for label in labels:
            channels, times = self.patterns[label]
            kept = random.random(len(times)) < 0.8
            found.append(((times[kept] + random.normal(0, 1e-3, int(kept.sum()))).clip(0), channels[kept]))
        return Events.from_samples(found), labels


class Digits:
    """The first so many of a random order are learnt, some of the others tested."""

    def __init__(self, settings: Settings, seed: int) -> None:
        from sklearn.datasets import load_digits

        data = load_digits()
        order = np.random.default_rng([seed, 5]).permutation(len(data.target))
        self.settings, self.images, self.labels = settings, data.data[order] / 16, data.target[order]
        weight = np.random.default_rng(seed).uniform(-0.5, 1, (10, 64)) * settings.digits_scale
        self.graph = network(weight, settings)
        self.rule = biograd(rate=settings.digits_rate, width=0.5, tau=settings.tau_mem, feedback="none",
                            duration=settings.digits_shown, start=0.01)
        self.choices = PpuChoices(factor_range=16.0)

    def train(self, seed: int) -> Labelled:
        return self._coded(slice(0, self.settings.digits), np.random.default_rng([seed, 1]))

    def test(self, seed: int) -> Labelled:
        return self._coded(slice(1200, 1200 + self.settings.tested), np.random.default_rng([seed, 99]))

    def _coded(self, part: slice, random: np.random.Generator) -> Labelled:
        found = []
        for image in self.images[part]:
            channels = np.repeat(np.arange(64), random.binomial(self.settings.spikes, image))
            found.append((random.uniform(0, 0.95 * self.settings.digits_shown, len(channels)), channels))
        return Events.from_samples(found), self.labels[part]


TASKS: dict[str, Any] = {"patterns": Patterns, "digits": Digits}


def learner_of(variant: str, graph: Graph, rule: LearningRule, choices: PpuChoices, settings: Settings,
               seed: int) -> Any:
    if variant == "float":
        return spikec.compile(graph, target="event").learner(rule, seed=seed)
    like = variant == "alike"
    program = spikec.compile(graph, target="brainscales2", mismatch="none" if like else "published", noise=not like,
                             seed=seed, full_scale=settings.full_scale, rows=1)
    return PpuLearner(graph, program.network, rule, program.emulator(seed).measure,
                      {each.name: each.step for each in program.held.projections}, seed=seed,
                      chip=None if like else seed, choices=choices)


def measured(name: str, variant: str, settings: Settings, seed: int) -> dict[str, Any]:
    """One training."""
    began = time.process_time()
    task = TASKS[name](settings, seed)
    learner = learner_of(variant, task.graph, task.rule, task.choices, settings, seed)
    events, labels = task.train(seed)
    test, marks = task.test(seed)

    def accuracy() -> float:
        return 100 * float((learner.answer(test).predictions == marks).mean())

    before = accuracy()
    for number in range(len(labels) if variant == "float" else 0):  # one after the other, as the chip does
        start, stop = events.offsets[number:number + 2]
        learner.learn(Events(events.times[start:stop], events.indices[start:stop], np.array([0, stop - start])),
                      labels[number:number + 1])
    if variant != "float":
        learner.learn(events, labels)
    figures = learner.figures()
    run = {"task": name, "variant": variant, "seed": seed, "before": before, "accuracy": accuracy(),
           "updated": figures.updated["fc"], "at_bounds": figures.saturated.get("fc"),
           "full": dict(figures.saturated_traces), "cpu_s": time.process_time() - began}
    print(f"{name}, {variant}, seed {seed}: {run['before']:.1f} -> {run['accuracy']:.1f} %, {run['cpu_s']:.0f} s",
          flush=True)
    return run


def summary(runs: list[dict[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for run in runs:
        found.setdefault(run["task"], {}).setdefault(run["variant"], []).append(run)
    return {task: {variant: {
        "before": mean(run["before"] for run in each), "mean": mean(run["accuracy"] for run in each),
        "deviation": stdev(run["accuracy"] for run in each) if len(each) > 1 else None,
        "least": min(run["accuracy"] for run in each), "seeds": len(each)}
        for variant, each in variants.items()} for task, variants in found.items()}


def main() -> int:
    parser = arguments(__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    spikec.set_threads(1)
    warnings.filterwarnings("ignore", category=spikec.SpikecWarning)
    settings = Settings(samples=100, digits=60, tested=40) if options.quick else Settings()
    seeds = 1 if options.quick else options.seeds
    runs = [measured(name, variant, settings, seed) for name in TASKS for variant in VARIANTS for seed in range(seeds)]
    write_result("plasticity_processor-quick" if options.quick else "plasticity_processor", asdict(settings),
                 {"runs": runs, "summary": summary(runs)})
    return 0


if __name__ == "__main__":
    sys.exit(main())
