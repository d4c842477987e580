"""The emulator of integer networks beside Lava's simulation of the same: 784-512-10, 5 % of the inputs spike in a step.

    python benchmarks/loihi_speed.py [--quick | --full]

Needs Lava (`spikec lava install`). First u, v and spikes of all neurons are compared. Then both are timed in turns, in
sample-steps a second: the emulator at batch 256 with two threads, and Lava, which runs one sample at a time, as one
long run, without what compiling, starting and resetting it take. Both give the spikes of the outputs; the input is
random pixels. Last, a test set of 10,000 images over 32 steps goes through the emulator, rate-coded MNIST, dimmed so
that 5 % of the pixels spike in a step; Lava would take its median time a step as often. Weights are drawn from a fixed
seed, and thresholds are such that about a tenth of the neurons spikes in a step.
"""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from common import Timing, arguments, collector_paused, pin, timed, write_result
from tasks import mnist_images

import spikec
from spikec.ir.integer.network import IntegerDense, IntegerNetwork, IntegerPopulation, IntegerProjection
from spikec.runtime.integer.engine import IntegerEngine
from spikec.runtime.lava.environment import check_lava
from spikec.runtime.lava.processes import ProcessGroup
from spikec.targets.lava.program import LavaProgram

SIZES = (784, 512, 10)
ACTIVITY, RATE = 0.05, 0.1
"""Spikes a step: of an input, and about that of a neuron."""
BATCH, THREADS, STEPS = 256, 2, 32
PEER = Path(__file__).with_name("peer_lava.py")
PATIENCE = 300.0
"""Seconds that Lava may take for a run."""


def network() -> IntegerNetwork:
    """Leaks of 8 and 16 steps; thresholds at which about a tenth of the neurons spikes in a step."""
    rng = np.random.default_rng(1)
    names = ("input", "hidden", "output")
    populations = {name: IntegerPopulation(name=name, shape=(n,), du=512, dv=256, threshold=1)
                   for name, n in zip(names[1:], SIZES[1:], strict=True)}
    projections = tuple(
        IntegerProjection(name=f"to {target}", source=source, target=target, connection=IntegerDense(
            weight=2 * np.rint(rng.normal(0, 30, (post, pre))).astype(np.int64)))
        for source, target, pre, post in zip(names, names[1:], SIZES, SIZES[1:], strict=False))
    found = IntegerNetwork(inputs={"input": SIZES[:1]}, populations=populations, projections=projections,
                           outputs={"out": "output"}, dt=1e-3)
    raster = {"input": random_raster(8, 200)}
    for name in names[1:]:
        low, high = 1, (1 << 17) - 1
        while high - low > 1:  # fewer spikes, the higher the threshold
            middle = (low + high) // 2
            found = replace(found, populations={**found.populations, name: replace(found.populations[name],
                                                                                   threshold=middle)})
            above = IntegerEngine(found).run(raster, spikes=[name]).spikes[name].mean() > RATE
            low, high = (middle, high) if above else (low, middle)
    return found


def random_raster(batch: int, steps: int) -> np.ndarray:
    return (np.random.default_rng(2).random((batch, steps, SIZES[0])) < ACTIVITY).astype(np.uint8)


class Lava:
    """Lava's simulation of a program, on an endless random input; it runs as many steps as it is told to."""

    def __init__(self, interpreter: str, program: LavaProgram, place: Path) -> None:
        program.save(place / "program")
        np.savez(place / "raster.npz", **{program.keys["input"]: random_raster(1, 1000)[0].astype(np.int32)})
        self.group = ProcessGroup([interpreter, PEER, place / "program", place / "raster.npz"])

    def run(self, steps: int) -> tuple[float, float]:
        """Seconds of CPU and of wall time."""
        self.group.send(str(steps))
        line = self.group.read_line(time.monotonic() + PATIENCE)
        if line is None:
            raise SystemExit(f"Lava ended: {self.group.tail()}")
        told = json.loads(line)
        return told["cpu_s"], told["wall_s"]


def compared(program: LavaProgram, interpreter: str) -> dict[str, int]:
    """u, v and spikes of both; ends the measurement where they differ."""
    from spikec.runtime.lava.worker import LavaWorker

    raster = {"input": random_raster(2, 100)}
    with LavaWorker(interpreter) as worker:
        theirs = program.run(raster, record=("spikes", "u", "v"), worker=worker)
    ours = IntegerEngine(program.network).run(raster, states=program.network.populations)
    for field in ("spikes", "u", "v"):
        for name, values in getattr(theirs, field).items():
            if not np.array_equal(values, getattr(ours, field)[name]):
                raise SystemExit(f"{field} of {name} differ from Lava's")
    return {name: int(values.sum()) for name, values in theirs.spikes.items()}


def test_set(engine: IntegerEngine, images: int) -> dict[str, Any]:
    """Seconds for all images; making their rasters is not part of it."""
    pixels, _, source = mnist_images("t10k", limit=images)
    bright = pixels.astype(np.float32)
    bright *= ACTIVITY / bright.mean(1, keepdims=True)
    rng, timing, spikes = np.random.default_rng(3), [], 0
    for first in range(0, len(bright), 1000):
        part = bright[first:first + 1000, None]
        raster = (rng.random((len(part), STEPS, SIZES[0]), dtype=np.float32) < part).astype(np.uint8)
        spikes += int(raster.sum())
        timing.append(timed(lambda raster=raster: engine.run({"input": raster}, spikes=["output"])))  # type: ignore[misc]
    cpu, wall = (sum(each) / 1e3 for each in zip(*timing, strict=True))
    return {"images": len(bright), "steps": STEPS, "source": source, "wall_s": wall, "cpu_s": cpu,
            "activity": spikes / (len(bright) * STEPS * SIZES[0])}


def main() -> None:
    options = arguments(__doc__).parse_args()
    rounds, lava_steps, steps, images = (2, 100, 50, 500) if options.quick else (9, 1000, 100, 10_000)
    pin(THREADS)
    spikec.set_threads(THREADS)
    facts = check_lava()
    engine = IntegerEngine(network())
    program = LavaProgram(engine.network)
    spikes = compared(program, facts.interpreter)
    raster = {"input": random_raster(BATCH, steps)}
    rates = {name: float(values.mean()) for name, values in engine.run(raster).spikes.items()}
    timings = {"emulator": Timing(), "lava": Timing()}
    with tempfile.TemporaryDirectory() as place:
        lava = Lava(facts.interpreter, program, Path(place))
        with lava.group, collector_paused():
            lava.run(lava_steps // 10)
            for _ in range(rounds):
                timings["lava"].add(*(1e3 * each / lava_steps for each in lava.run(lava_steps)))
                for _ in range(5):  # as long as Lava runs, so that the machine is in the same state
                    timings["emulator"].add(*(each / (BATCH * steps) for each in timed(_work(engine, raster), 5)))
    found = test_set(engine, images)
    step = {who: timing.record() for who, timing in timings.items()}
    extrapolated = {kind: step["lava"][f"{kind}_ms"] / 1e3 * found["images"] * found["steps"]
                    for kind in ("wall", "cpu")}
    figures = {
        "a_sample_and_step": step,
        "sample_steps_per_s": {who: {kind: 1e3 / each[f"{kind}_ms"] for kind in ("wall", "cpu")}
                               for who, each in step.items()},
        "times_faster": {kind: step["lava"][f"{kind}_ms"] / step["emulator"][f"{kind}_ms"] for kind in ("wall", "cpu")},
        "times_faster_of_rounds": _of_rounds(timings), "rates": rates, "spikes_compared": spikes,
        "test_set": {**found, "lava_extrapolated_s": extrapolated, "times_faster": {
            kind: extrapolated[kind] / found[f"{kind}_s"] for kind in ("wall", "cpu")}},
    }
    write_result("loihi_speed-quick" if options.quick else "loihi_speed", {
        "network": SIZES, "activity": ACTIVITY, "batch": BATCH, "threads": THREADS, "steps": steps, "rounds": rounds,
        "lava_steps": lava_steps, "lava": {"version": facts.lava, "python": facts.python, "numpy": facts.numpy},
    }, figures)
    print(json.dumps(figures["times_faster"]), json.dumps(figures["test_set"]["times_faster"]))


def _work(engine: IntegerEngine, raster: dict[str, np.ndarray]) -> Callable[[], object]:
    return lambda: engine.run(raster, spikes=["output"])


def _of_rounds(timings: dict[str, Timing]) -> list[float]:
    """Wall time, round by round: Lava's of the median of the emulator's next to it."""
    theirs, ours = timings["lava"].wall_ms, timings["emulator"].wall_ms
    count = len(ours) // len(theirs)
    return [each / statistics.median(ours[count * number:count * (number + 1)]) for number, each in enumerate(theirs)]


if __name__ == "__main__":
    main()
