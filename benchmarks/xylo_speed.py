"""The emulator of Xylo beside the vendor's simulator of the same network, xylosim.

    python benchmarks/xylo_speed.py [--quick | --full]

Needs xylosim (`pip install xylosim==0.1.3`). Two networks: 16-63-8, all to all and recurrent, and a whole Audio chip,
16-1000-8, each neuron with 32 synapses and each input with 64. First currents, membranes and spikes of all neurons are
compared. Then both are timed in turns on one core with one thread, in sample-steps a second: the emulator at batch 256,
and xylosim, which runs one sample at a time, as one long run. The emulator gives the spikes of the outputs; xylosim
records all states, which cannot be switched off. The input is random, one event in ten steps of a channel; weights are
drawn from a fixed seed, and thresholds are such that about a tenth of the neurons spikes in a step.
"""

from __future__ import annotations

import json
import os
import statistics
from dataclasses import replace
from importlib import metadata
from typing import Any

import numpy as np
from common import Timing, arguments, collector_paused, timed, write_result

import spikec
from spikec.ir.integer.xylo import XyloNetwork, XyloNeurons
from spikec.ir.integer.xylo_step import BLOCKS
from spikec.runtime.xylo.engine import XyloEngine
from spikec.targets.xylo.simulator import simulate_xylosim

RATE, ACTIVITY = 0.1, 0.1
"""Events of a channel, and about the spikes of a hidden neuron, a step."""
INPUTS, OUTPUTS, BATCH = 16, 8, 256
SIZES: dict[str, tuple[int, int, int]] = {
    "16-63-8, all to all": (63, 63, 63), "16-1000-8, 32 synapses each": (1000, 64, 24)}
"""Hidden neurons, synapses of an input, and recurrent ones of a hidden neuron; all have 8 more onto the outputs."""


def network(hidden: int, of_input: int, of_hidden: int) -> XyloNetwork:
    """Leaks of 8 and 16 steps; the threshold at which about a tenth of the neurons spikes."""
    rng = np.random.default_rng(1)

    def weights(sources: int, targets: int, each: int, mean: float) -> np.ndarray:
        found = np.zeros((sources, targets), dtype=np.int8)
        for row in found:
            row[rng.permutation(targets)[:each]] = np.clip(np.rint(rng.normal(mean, 40, each)), -127, 127)
        return found

    def neurons(count: int, threshold: int) -> XyloNeurons:
        return XyloNeurons(dash_mem=np.full(count, 4), dash_syn=np.full(count, 3), threshold=np.full(count, threshold),
                           bias=np.zeros(count, dtype=np.int16))

    made = XyloNetwork(w_in=weights(INPUTS, hidden, of_input, 15), w_rec=weights(hidden, hidden, of_hidden, -2),
                       w_out=weights(hidden, OUTPUTS, OUTPUTS, 5), hidden=neurons(hidden, 1),
                       outputs=neurons(OUTPUTS, 2000))
    low, high = 1, 32767
    while high - low > 1:  # fewer spikes, the higher the threshold
        middle = (low + high) // 2
        made = replace(made, hidden=neurons(hidden, middle))
        above = XyloEngine(made).run(events(8, 200), spikes=["hidden"]).spikes["hidden"].mean() > ACTIVITY
        low, high = (middle, high) if above else (low, middle)
    return made


def events(batch: int, steps: int) -> np.ndarray:
    return (np.random.default_rng(2).random((batch, steps, INPUTS)) < RATE).astype(np.uint8)


def compared(made: XyloNetwork) -> dict[str, int]:
    """All states of both; ends the measurement where they differ."""
    given = events(2, 200)
    mine, theirs = XyloEngine(made).run(given, states=BLOCKS), simulate_xylosim(made, given)
    for what in ("spikes", "i", "v"):
        for block in BLOCKS:
            if not np.array_equal(getattr(mine, what)[block], getattr(theirs, what)[block]):
                raise SystemExit(f"{what} of {block} differ from xylosim's")
    return {block: int(mine.spikes[block].sum()) for block in BLOCKS}


class Simulator:
    """xylosim with a network that is built once, and a sample whose lists are made once."""

    def __init__(self, made: XyloNetwork, steps: int) -> None:
        from xylosim.v2 import XyloLayer, XyloSynapse

        def synapses(matrix: np.ndarray) -> list[list[Any]]:
            return [[XyloSynapse(int(target), 0, int(row[target])) for target in np.flatnonzero(row)] for row in matrix]

        hidden, outputs = made.hidden, made.outputs
        self.held = {"synapses_in": synapses(made.w_in), "synapses_rec": synapses(made.w_rec),
                     "synapses_out": synapses(made.w_out)}
        self.layer = XyloLayer(
            **self.held, aliases=[[] for _ in range(hidden.n)], threshold=hidden.threshold.tolist(),
            threshold_out=outputs.threshold.tolist(), has_bias=False, bias=[], bias_out=[],
            weight_shift_inp=made.shift_in, weight_shift_rec=made.shift_rec, weight_shift_out=made.shift_out,
            dash_mem=hidden.dash_mem.tolist(), dash_mem_out=outputs.dash_mem.tolist(),
            dash_syns=[[each] for each in hidden.dash_syn.tolist()],
            dash_syns_out=[[each] for each in outputs.dash_syn.tolist()], name="spikec")
        self.sample = events(1, steps)[0].tolist()

    def run(self) -> None:
        self.layer.evolve(self.sample)


def measured(made: XyloNetwork, rounds: int, steps: int) -> dict[str, Any]:
    spikes, engine, given = compared(made), XyloEngine(made), events(BATCH, steps)
    rate = float(engine.run(given, spikes=["hidden"]).spikes["hidden"].mean())
    simulator = Simulator(made, steps)
    timings = {"emulator": Timing(), "xylosim": Timing()}
    calls = max(1, round(3e6 / (BATCH * steps * made.hidden.n)))
    with collector_paused():
        simulator.run()
        for _ in range(rounds):
            timings["xylosim"].add(*(each / steps for each in timed(simulator.run)))
            timings["emulator"].add(*(each / (BATCH * steps) for each in timed(
                lambda: engine.run(given, spikes=["outputs"]), calls)))
    step = {who: timing.record() for who, timing in timings.items()}
    each_round = [theirs / ours for theirs, ours in zip(timings["xylosim"].cpu_ms, timings["emulator"].cpu_ms,
                                                        strict=True)]
    return {
        "a_sample_and_step": step, "hidden_rate": rate, "spikes_compared": spikes,
        "synapses": int(sum(np.count_nonzero(each) for each in (made.w_in, made.w_rec, made.w_out))),
        "sample_steps_per_s": {who: 1e3 / each["cpu_ms"] for who, each in step.items()},
        "times_faster": {kind: step["xylosim"][f"{kind}_ms"] / step["emulator"][f"{kind}_ms"]
                         for kind in ("cpu", "wall")},
        "times_faster_of_rounds": {"median": statistics.median(each_round), "least": min(each_round),
                                   "most": max(each_round)},
    }


def main() -> None:
    options = arguments(__doc__).parse_args()
    rounds, steps = (3, 50) if options.quick else (15, 200)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    spikec.set_threads(1)
    figures = {name: measured(network(*sizes), rounds, steps) for name, sizes in SIZES.items()}
    write_result("xylo_speed-quick" if options.quick else "xylo_speed", {
        "inputs": INPUTS, "outputs": OUTPUTS, "event_rate": RATE, "batch": BATCH, "threads": 1, "steps": steps,
        "rounds": rounds, "xylosim": metadata.version("xylosim"),
    }, figures)
    for name, each in figures.items():
        print(name, json.dumps(each["times_faster"]), json.dumps(each["times_faster_of_rounds"]))


if __name__ == "__main__":
    main()
