"""Learning in Lava itself, by the generated program, beside the emulator of the same numbers.

    python benchmarks/learning_lava.py [--quick | --full]

Needs Lava (`spikec lava install`). Two parts, BioGrad with feedback that is learnt in sleep, as `learning_loihi.py` has
it:

trains: two classes of MNIST (0 and 1), 784-32-2, are learnt in Lava from random weights, by the generated program
alone; how many test images it tells, before and after, Lava's spikes alone say. The emulator, rounding as Lava does,
learns the same stream: weights, feedback, tags and spikes are compared number for number.

speed: one sample of 784-100-10, 20 columns of input, online, with sleep after every 8th: the emulator on one core, all
that `learner.learn` does with a raster, beside Lava's simulation of the same network and stream, in one run, in turns.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import numpy as np
from common import Timing, arguments, collector_paused, data_folder, pin, timed, write_result
from learning_loihi import Settings, coded, network, rule

import spikec
from spikec import datasets
from spikec.runtime.datasets import Split
from spikec.runtime.lava.environment import find_lava
from spikec.runtime.lava.worker import LavaWorker
from spikec.targets.loihi.learner import LoihiLearner

SMALL = replace(Settings(), hidden=32)
TIMED = replace(Settings(), hidden=100, steps=20, sleep_every=8)


def main() -> int:
    options = arguments(__doc__).parse_args()
    if data_folder() is None:
        print("MNIST is not there: SPIKEC_DATA names no folder")
        return 1
    interpreter = find_lava()
    cores = pin(1)
    spikec.set_threads(1)
    data = datasets.load_mnist()
    shown, tested, rounds = (40, 20, 1) if options.quick else (300, 400, 5)
    figures = {"trains": trains(data, shown, tested, interpreter), "speed": speed(data, rounds, interpreter)}
    write_result("learning_lava-quick" if options.quick else "learning_lava",
                 {"shown": shown, "tested": tested, "rounds": rounds, "cores": len(cores), "small": vars(SMALL),
                  "timed": vars(TIMED)}, figures)
    return 0


def learner_of(settings: Settings, seed: int, rounding: str, classes: int = 10) -> LoihiLearner:
    graph = network(settings, seed, classes)
    return spikec.compile(graph, target="loihi2").learner(
        rule(settings, "sleep"), seed=seed, rounding=rounding, gap=settings.gap,
        thresholds=dict(zip(("hidden", "readout"), settings.thresholds, strict=True)),
        rates={"fc1": settings.rate_hidden})


def trains(data: Any, shown: int, tested: int, interpreter: Any) -> dict[str, Any]:
    """Two classes, learnt in Lava."""
    random = np.random.default_rng(7)
    train, test = two_classes(data.train, shown), two_classes(data.test, tested)
    learner = learner_of(SMALL, 1, "lava", classes=2)
    program = learner.lava()
    images, marks = (coded(each.inputs.reshape(len(each.labels), -1), SMALL.steps, random) for each in (train, test))
    inputs, signals, _ = learner.rasters(images, train.labels)
    silent_inputs, silent, windows = learner.rasters(marks, None)

    def told(spikes: Any) -> float:
        """% of the test images, by Lava's spikes; of several that fire as often none is right."""
        counts = np.stack([spikes[start:stop].sum(axis=0) for start, stop in windows])
        best = counts.max(axis=1, keepdims=True)
        right = (counts.argmax(1) == test.labels) & ((counts == best).sum(axis=1) == 1)
        return 100 * float(right.mean())

    with LavaWorker(interpreter) as worker:
        before = told(program.run(silent_inputs, silent, worker=worker).spikes["readout"])
        began = time.perf_counter()
        theirs = program.run(inputs, signals, worker=worker)
        wall = time.perf_counter() - began
        after = told(program.run(silent_inputs, silent, weights=theirs.weight, worker=worker).spikes["readout"])
    ours = learner.engine.run(inputs, signals)
    assert ours.state is not None
    differing = {
        "weights": sum(int((ours.state.learning[name].weight != each).sum()) for name, each in theirs.weight.items()),
        "tags": sum(int((ours.state.learning[name].tag != each).sum()) for name, each in theirs.tag.items()),
        "spikes": sum(int((ours.spikes[name] != each).sum()) for name, each in theirs.spikes.items())}
    columns = len(next(iter(inputs.values())))
    synapses = sum(each.size for each in theirs.weight.values())
    print(f"Lava, two classes: {before:.2f} % -> {after:.2f} % after {shown} images; differing {differing} of "
          f"{synapses} weights; {wall:.0f} s", flush=True)
    return {"network": [784, SMALL.hidden, 2], "before": before, "after": after, "images": shown, "columns": columns,
            "tested": tested, "differing": differing, "weights": synapses, "wall_s": wall}


def speed(data: Any, rounds: int, interpreter: Any) -> dict[str, Any]:
    """Medians; a sample is one of a chunk, with what it costs to make its stream."""
    random, size = np.random.default_rng(8), 200
    images = data.train[:size]
    raster = coded(images.inputs.reshape(size, -1), TIMED.steps, random)
    learners = {rounding: learner_of(TIMED, 1, rounding) for rounding in ("synapse", "lava")}
    few = 8
    inputs, signals, _ = learners["lava"].rasters(raster[:few], images.labels[:few])
    columns, warm = len(inputs["pixels"]), 20
    program = learners["lava"].lava()
    timing = {name: Timing() for name in ("synapse", "lava", "Lava", "no learning")}
    for learner in learners.values():
        for _ in range(5):  # past the first samples, of which more is learnt
            learner.learn(raster, images.labels)
    with LavaWorker(interpreter) as worker, collector_paused():
        program.run({name: each[:warm] for name, each in inputs.items()}, None, worker=worker)
        for _ in range(rounds):
            for name, learner in learners.items():
                timing[name].add(*(each / size for each in timed(
                    lambda learner=learner: learner.learn(raster, images.labels))))  # type: ignore[misc]
            timing["no learning"].add(*(each / size for each in timed(lambda: learners["synapse"].answer(raster))))
            # Starting and reading results are not Lava's simulation: the same for fewer columns is subtracted.
            _, short = timed(lambda: program.run({name: each[:warm] for name, each in inputs.items()}, None, steps=warm,
                                                 worker=worker))
            _, long = timed(lambda: program.run(inputs, signals, worker=worker))
            wall = (long - short) / (columns - warm) * columns / few
            timing["Lava"].add(wall, wall)
    found = {name: each.record() for name, each in timing.items()}
    ratio = found["Lava"]["wall_ms"] / found["lava"]["wall_ms"]
    for name, each in found.items():
        print(f"  {name}: {each['wall_ms']:.4g} ms a sample", flush=True)
    print(f"Lava takes {ratio:.0f} times as long", flush=True)
    return {"network": [784, TIMED.hidden, 10], "columns_a_sample": learners["lava"].plastic.columns.columns,
            "sleep_every": TIMED.sleep_every, "ms_a_sample": found, "ratio": ratio,
            "epoch_s": found["synapse"]["wall_ms"] * 60}


def two_classes(split: Split, count: int) -> Split:
    chosen = np.flatnonzero(split.labels < 2)[:count]
    return split[chosen]


if __name__ == "__main__":
    raise SystemExit(main())
