"""A class learnt on chip: nine classes are trained off line, the tenth from 20 images in Loihi's integers.

    python benchmarks/continual.py [--quick | --full] [--seeds N]

A network 64-128-10 of leaky neurons is trained by surrogate gradients on nine classes (the tenth output learns to be
silent), compiled for `loihi1`, and laid out to learn (`LoihiProgram.learner`, the emulator of the chip's arithmetic).
Then it sees 20 training images of the class that was held out, again and again, and nothing else: no gradients, no
batches. The last layer alone learns, by the library's `soel`. Errors trigger it twice: images are taught only where the
chip answers wrong, until none is; and of those, weights change only at error spikes, of which there is one for every
`threshold` spikes that an output fires too often or too seldom.

Variants: `triggered`, that; `rehearsed`, with `rehearsed` images of each old class among the 20; `every image`, taught
whatever the answer; `plain`, that with the error of every column in the place of error spikes; `all layers`, images
triggered as in the first, but BioGrad on both layers, with transposed feedback. Bounds, off line, by surrogate
gradients: `retrained, 20`, the last layer further with all images of the old classes and the 20; `retrained, all`, with
all images.

Each class of scikit-learn's digits is held out once, with several seeds: of weights, codes, and of which 20 images.
Settings, the baselines' rates among them, were chosen by hand with seed 1 on the validation images, after 12 epochs off
line; figures are of test images, with other seeds.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, replace
from statistics import mean, stdev
from typing import Any

import numpy as np
import torch
from common import arguments, write_result

import spikec
from spikec import Builder, Discretization, Graph, LearningRule, datasets
from spikec.ir.nodes import LIF
from spikec.ir.rules.catalogue import rule_named
from spikec.runtime.datasets import Dataset, Split

DT, DECAY = 1e-3, 0.75
BATCH, GAIN = 50, 0.5
"""Of training off line; the cross-entropy is of GAIN times the counts."""
ON_CHIP = ("triggered", "rehearsed", "every image", "plain", "all layers")
OFF_LINE = ("retrained, 20", "retrained, all")
FIRST_SEED = 2


@dataclass(frozen=True)
class Settings:
    hidden: int = 128
    steps: int = 32
    lr: float = 3e-3
    images: int = 20
    rehearsed: int = 2
    passes: int = 10
    """At most, over the images."""
    period: int = 2
    """Columns between two spikes of the teacher."""
    threshold: int = 8
    rate: float = 1e-3
    rate_rehearsed: float = 2e-3
    rate_plain: float = 1.25e-4
    rate_all: float = 5e-5
    impulse: int = 8
    gain: int = 6
    """Bits that an error spike is shifted left by: products of small factors lose what they are shifted right by."""
    gain_plain: int = 4


EPOCHS = 8
"""Off line."""


def main() -> int:
    parser = arguments(__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    spikec.set_threads(1)
    settings, data = Settings(), loaded()
    held, epochs = (range(2), 1) if options.quick else (range(10), EPOCHS)
    runs = [run for seed in range(FIRST_SEED, FIRST_SEED + (1 if options.quick else options.seeds)) for each in held
            for run in measured(data, data.test, each, seed, settings, epochs)]
    write_result("continual-quick" if options.quick else "continual", {**vars(settings), "epochs": epochs},
                 {data.name: {"runs": runs, "summary": summary(runs)}})
    return 0


def loaded() -> Dataset:
    """Images as rows of brightness, 0..1."""
    data = datasets.load_digits()

    def flat(split: Split) -> Split:
        return Split(split.inputs.reshape(len(split), -1) / data.peak, split.labels)

    return replace(data, peak=1.0, train=flat(data.train), validation=flat(data.validation), test=flat(data.test))


def measured(data: Dataset, shown: Split, held: int, seed: int, settings: Settings, epochs: int,
             variants: tuple[str, ...] = ON_CHIP + OFF_LINE) -> list[dict[str, Any]]:
    """All variants of one held-out class, on the images `shown`."""
    began, random = time.process_time(), np.random.default_rng([seed, held])
    old = data.train[data.train.labels != held]
    graph = trained(network(data.train.inputs.shape[1], settings, seed), old, settings, epochs, random)
    few = data.train[random.permutation(np.flatnonzero(data.train.labels == held))[:settings.images]]
    runs = []
    for variant in variants:
        answers: dict[str, Any] = (
            off_line(graph, old if variant == OFF_LINE[0] else data.train, few, shown, settings, epochs, seed)
            if variant in OFF_LINE else on_chip(variant, graph, old, few, shown, settings, seed))
        told = {"before": answers["before"], "after": answers["after"]}
        run = {"variant": variant, "held": held, "seed": seed, "taught": answers.get("taught"),
               "changed": answers.get("changed")}
        for when, labels in told.items():
            run |= {f"old_{when}": 100 * float((labels == shown.labels)[shown.labels != held].mean()),
                    f"new_{when}": 100 * float((labels == shown.labels)[shown.labels == held].mean())}
        runs.append(run)
    print(f"{data.name}, seed {seed}, class {held}: " + "; ".join(
        f"{run['variant']} {run['old_after']:.1f} {run['new_after']:.1f}" for run in runs)
        + f"; old before {runs[0]['old_before']:.1f}, {time.process_time() - began:.0f} s", flush=True)
    return runs


def network(n: int, settings: Settings, seed: int) -> Graph:
    random, builder = np.random.default_rng(seed), Builder()
    signal = builder.input("pixels", n)
    for layer, (name, size) in enumerate((("hidden", settings.hidden), ("readout", 10))):
        weight = random.uniform(-1, 1, (size, n)) / np.sqrt(n)
        signal = builder.linear(f"fc{layer + 1}", signal, weight=weight.astype(np.float32))
        signal = builder.add(name, lif(size), signal)
        n = size
    builder.output("out", signal)
    return builder.build(Discretization(DT))


def lif(n: int) -> LIF:
    """As a core has it: each spike moves the membrane by its weight, and a spike resets it to zero."""
    ones, tau = np.ones(n), -DT / np.log(DECAY)
    return LIF(shape=(n,), tau=tau * ones, r=tau * ones, v_leak=0 * ones, v_threshold=ones, reset="zero")


def coded(images: Any, steps: int, random: np.random.Generator) -> Any:
    """(images, steps, n) uint8: a pixel of brightness b fires evenly, b times a column, from a random phase."""
    phase, column = random.random((len(images), 1, images.shape[1])), np.arange(steps + 1)[:, None]
    return np.diff(np.floor(column * images[:, None] + phase), axis=1).astype(np.uint8)


def trained(graph: Graph, split: Split, settings: Settings, epochs: int, random: np.random.Generator,
            learning: tuple[str, ...] = ("fc1", "fc2")) -> Graph:
    """By surrogate gradients of the cross-entropy of the counts of all ten outputs."""
    module = spikec.compile(graph, target="clock").module(surrogate="fast_sigmoid")
    weights = [each for name, each in module.named_parameters() if name.split(".")[0] in learning]
    for each in module.parameters():
        each.requires_grad_(any(each is weight for weight in weights))
    optimizer = torch.optim.Adam(weights, settings.lr)
    batches = -(-len(split) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, settings.lr, total_steps=epochs * batches)
    for _ in range(epochs):
        for chosen in np.array_split(random.permutation(len(split)), batches):
            events = torch.from_numpy(coded(split.inputs[chosen], settings.steps, random)).float()
            counts = module(events, duration=settings.steps * DT).spike_count("out")
            loss = torch.nn.functional.cross_entropy(GAIN * counts, torch.from_numpy(split.labels[chosen]))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    state = module.state_dict()
    return graph.with_nodes({name: replace(graph.nodes[name], weight=state[f"{name}.weight"].numpy().copy())
                             for name in learning})


def on_chip(variant: str, graph: Graph, old: Split, few: Split, shown: Split, settings: Settings,
            seed: int) -> dict[str, Any]:
    """Answers before and after learning in the arithmetic of the chip."""
    both, gain = variant == "all layers", settings.gain_plain if variant == "plain" else settings.gain
    learner = spikec.compile(graph, target="loihi1").learner(
        rule(variant, settings), projections=("fc1", "fc2") if both else ("fc2",), seed=seed, impulse=settings.impulse,
        **({} if both else {"error_shift": {"readout": -gain}}))
    random = np.random.default_rng([seed, 1])
    test = coded(shown.inputs, settings.steps, random)
    before = learner.answer(test).predictions
    images, labels = few.inputs, few.labels
    if variant == "rehearsed":
        kept = np.concatenate([random.permutation(np.flatnonzero(old.labels == label))[:settings.rehearsed]
                               for label in np.unique(old.labels)])
        images, labels = np.concatenate([images, old.inputs[kept]]), np.concatenate([labels, old.labels[kept]])
    always, taught = variant in ("every image", "plain"), []
    for _ in range(settings.passes):
        events, wrong = coded(images, settings.steps, random), 0
        for each in random.permutation(len(labels)):
            sample, label = events[each:each + 1], labels[each:each + 1]
            wrong_now = int(learner.answer(sample).predictions[0] != label[0])
            wrong += wrong_now
            if always or wrong_now:
                learner.learn(sample, label)
                taught.append(int(label[0]))
        if not wrong:
            break
    changed = learner.figures().updated["fc2"]
    return {"before": before, "after": learner.answer(test).predictions, "taught": len(taught), "changed": changed}


def rule(variant: str, settings: Settings) -> LearningRule:
    """The gate of `soel` is wide open: the silent neuron is far from its threshold when it has most to learn."""
    common = {"duration": settings.steps * DT, "period": settings.period, "width": 50.0}
    if variant == "all layers":
        return rule_named("biograd", "loihi1", **{**common, "width": 1.0}, rate=settings.rate_all, spikes=True,
                          threshold=settings.threshold, feedback="transposed", start=0.0)
    if variant == "plain":
        made = rule_named("soel", "loihi1", **common, rate=settings.rate_plain)
        assert made.error is not None
        return replace(made, error=replace(made.error, spikes=False))
    return rule_named("soel", "loihi1", **common, threshold=settings.threshold,
                      rate=settings.rate_rehearsed if variant == "rehearsed" else settings.rate)


def off_line(graph: Graph, split: Split, few: Split, shown: Split, settings: Settings, epochs: int,
             seed: int) -> dict[str, Any]:
    """The last layer trained further by gradients, on the chip's scales; the few as often as an old class."""
    random = np.random.default_rng([seed, 2])
    if not (split.labels == few.labels[0]).any():
        times = max(1, len(split) // 9 // len(few))
        split = Split(np.concatenate([split.inputs, *[few.inputs] * times]),
                      np.concatenate([split.labels, *[few.labels] * times]))
    test = coded(shown.inputs, settings.steps, random)
    after = trained(graph, split, settings, max(epochs // 2, 1), random, learning=("fc2",))
    answers = {}
    for when, each in (("before", graph), ("after", after)):
        program = spikec.compile(each, target="loihi1")
        answers[when] = program.learner("soel", projections=("fc2",)).answer(test).predictions
    return answers


def summary(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """By variant: means over classes and seeds, deviations of the seeds' means, and the most that a run lost."""
    found = {}
    for variant in dict.fromkeys(run["variant"] for run in runs):
        of = [run for run in runs if run["variant"] == variant]
        seeds = [[run for run in of if run["seed"] == seed] for seed in dict.fromkeys(run["seed"] for run in of)]
        found[variant] = {
            name: {"mean": mean(run[name] for run in of),
                   "deviation": stdev(mean(run[name] for run in part) for part in seeds) if len(seeds) > 1 else None}
            for name in ("old_before", "old_after", "new_before", "new_after")}
        found[variant]["most_lost"] = max(run["old_before"] - run["old_after"] for run in of)
        told = [run["taught"] for run in of if run["taught"] is not None]
        found[variant] |= {"taught": mean(told) if told else None, "seeds": len(seeds)}
    return found


if __name__ == "__main__":
    sys.exit(main())
