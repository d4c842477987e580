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

import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from learning_parts import Part, of_each, options_of

import spikec
from spikec import Graph
from spikec.compiler.reproduce.config import config_named
from spikec.compiler.reproduce.local import DT, Feedback, Settings, coded, network, predicted, presented, rule
from spikec.runtime.learning.clock.optimizers import LocalOptimizer

FEEDBACK: dict[str, Feedback] = {"sleep": "sleep", "kolen_pollack": "kolen_pollack", "transposed": "transposed",
                                 "fixed": "fixed", "frozen": "none"}
VARIANTS = (*FEEDBACK, "surrogate")


def settings_of(name: str) -> Settings:
    """Those that `spikec reproduce` trains with."""
    settings = config_named(name).local
    if settings is None:
        raise SystemExit(f"{name} is not learnt by a local rule")
    return settings


def main() -> int:
    options = options_of(__doc__, VARIANTS)
    name, settings = f"learning_{options.task}", settings_of(f"biograd-{options.task}")
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


def by_rule(graph: Graph, settings: Settings, part: Part, variant: str) -> dict[str, Any]:
    """Kolen-Pollack has a decay of its own, the same for weights and feedback."""
    optimizer = LocalOptimizer("adam", settings.step, decay=0.0 if variant == "kolen_pollack" else settings.decay)
    learner = spikec.compile(graph, target="clock").learner(rule(settings, FEEDBACK[variant]), seed=part.seed,
                                                            optimizer=optimizer)
    random, epochs = np.random.default_rng([part.seed, 1]), []
    for epoch in range(settings.epochs):
        began, right, shown = time.process_time(), 0, 0
        for images, labels, rate in presented(*part.train, settings, epoch, random.permutation(len(part.train[1]))):
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
    for epoch in range(settings.epochs):
        for images, labels, rate in presented(*part.train, settings, epoch, random.permutation(len(part.train[1]))):
            optimizer.param_groups[0]["lr"] = rate * settings.surrogate_step
            out = module(coded(images, settings, random), duration=duration)
            loss = torch.nn.functional.cross_entropy(settings.slope * out.spike_count("out"), torch.from_numpy(labels))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    learner = spikec.compile(module.to_graph(), target="clock").learner(rule(settings, "none"))
    return {"accuracy": tested(learner, settings, part)}


def tested(learner: Any, settings: Settings, part: Part) -> float:
    """Percent."""
    return 100 * float((predicted(learner, part.test[0], settings.steps) == part.test[1]).mean())


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    sys.exit(main())
