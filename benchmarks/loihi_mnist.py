"""MNIST on Loihi's arithmetic, 784-512-10, rate-coded, 32 columns: what a trained network loses in whole numbers.

    python benchmarks/loihi_mnist.py [--quick | --full] [--seeds N] [--fresh] [--threads N]

`spiking_mnist.py` says what the network and the code are, and trains it in float32 on the clock target; the last 5,000
training images are held out. Then, on all 10,000 test images: the float network; the same compiled for loihi2, by each
way to choose scales, without data and with the first 1,000 training images; and trained further through the integer
program, beside the float network trained for as much longer. At the end the emulator against Lava itself over the first
100 test images: u, v and spikes of all neurons in every column. Nothing is chosen by the test images.

Trainings are kept in benchmarks/results/*.checkpoint, which git ignores: what is done is read, and what was interrupted
goes on.
"""

from __future__ import annotations

import sys
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import RESULTS, arguments, data_folder, read_result, write_result
from spiking_mnist import Settings, accuracy, chip_membranes, coded, flat, float_accuracy, trained, trained_further

import spikec
from spikec import Graph, datasets
from spikec.ir.diagnostics import SpikecError
from spikec.runtime.datasets import Dataset, Split
from spikec.runtime.lava.environment import find_lava
from spikec.targets.loihi.program import LoihiProgram

METHODS: dict[str, dict[str, Any]] = {
    "mse": {"method": "mse"}, "minmax": {"method": "minmax"},
    "percentile 99.9": {"method": "percentile", "percentile": 99.9},
}
CALIBRATION = 1000
LAVA_IMAGES = 100
AWARE: dict[str, Any] = {"epochs": 1, "lr": 5e-5}
"""What the training through the integer program has other than that of the float network. At this rate an epoch moves a
weight by about one step of its mantissa; at four times the rate held-out images were told no better than without it."""


def main() -> int:
    parser = arguments(__doc__)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--fresh", action="store_true", help="forget trainings and seeds that are done")
    parser.add_argument("--threads", type=int, default=0, help="of the CPU; 0: all cores")
    options = parser.parse_args()
    if data_folder() is None:
        print("MNIST is not there: SPIKEC_DATA names no folder")
        return 1
    spikec.set_threads(options.threads)
    if options.threads:
        torch.set_num_threads(options.threads)
    name, settings, data = "loihi_mnist", Settings(), datasets.load_mnist()
    if options.quick:
        name, settings = "loihi_mnist-quick", replace(settings, epochs=1, hidden=64)
        data = replace(data, train=data.train[:5000], test=data.test[:1000])
    parameters = {"network": [784, settings.hidden, 10], **asdict(settings), "calibration": CALIBRATION, "aware": AWARE,
                  "lava_images": LAVA_IMAGES, "test_images": len(data.test)}
    parameters = {key: list(value) if isinstance(value, tuple) else value for key, value in parameters.items()}
    stored = None if options.fresh else read_result(name)
    figures = stored["figures"] if stored and stored["parameters"] == parameters else {"runs": []}
    for seed in range(options.seeds):
        if any(run["seed"] == seed for run in figures["runs"]):
            continue
        place = RESULTS / f"{name}-{seed}.checkpoint"
        if options.fresh:
            for each in (place, *(further_place(place, target) for target in ("loihi2", "clock"))):
                each.unlink(missing_ok=True)
        run, program = measured(replace(settings, seed=seed), data, place)
        figures["runs"].append(run)
        if seed == 0:
            figures["lava"] = beside_lava(program, data.test[:LAVA_IMAGES], settings.steps)
        write_result(name, parameters, figures)
    return 0


def further_place(place: Path, target: str) -> Path:
    """Where the checkpoint of the training that goes on from another lies."""
    return place.with_name(f"{place.stem}-{target}.checkpoint")


def measured(settings: Settings, data: Dataset, place: Path) -> tuple[dict[str, Any], LoihiProgram]:
    """One seed: training, quantising, training through the integer program. The program is the last one."""
    graph, history = trained(settings, data.train, place, data.validation)
    found = beside_float(graph, data.test, settings)
    print(f"seed {settings.seed}: float {found['accuracy']:.2f} %", flush=True)
    run: dict[str, Any] = {"seed": settings.seed, "float": {**found, **told(history)}, "quantised": []}
    calibration = coded(flat(data.train[:CALIBRATION]), settings.steps).numpy()
    for label, options in METHODS.items():
        for given in (None, calibration):
            program = spikec.compile(graph, target="loihi2", **options, calibration=given)
            row = beside_integers(program, data.test, settings.steps, found["accuracy"])
            run["quantised"].append({"method": label, "calibrated": given is not None, **row})
            print(f"  {label}, {'with' if given is not None else 'without'} calibration: {row['accuracy']:.2f} %, "
                  f"lost {row['lost']:.2f}", flush=True)
    chip = spikec.compile(graph, target="loihi2")
    retrained, history = trained_further(chip, replace(settings, **AWARE), data.train, further_place(place, "loihi2"),
                                         data.validation)
    program = chip.recompile(retrained)
    run["aware"] = {**beside_integers(program, data.test, settings.steps, found["accuracy"]), **told(history)}
    print(f"  trained through whole numbers: {run['aware']['accuracy']:.2f} %, lost {run['aware']['lost']:.2f}",
          flush=True)
    further, history = trained_further(spikec.compile(graph, target="clock"), replace(settings, **AWARE), data.train,
                                       further_place(place, "clock"), data.validation)
    run["float_further"] = {**beside_float(further, data.test, settings), **told(history)}
    print(f"  float, trained as much longer: {run['float_further']['accuracy']:.2f} %", flush=True)
    return run, program


def told(history: list[dict[str, float]]) -> dict[str, float]:
    """What a result records of a training."""
    return {"validation": history[-1]["validation"], "training": history[-1]["training"],
            "cpu_s": sum(each["cpu_s"] for each in history)}


def beside_float(graph: Graph, test: Split, settings: Settings) -> dict[str, Any]:
    """Accuracy of the float network, and how busy it is on the first images."""
    module = spikec.compile(graph, target="clock").module()
    with torch.no_grad():
        raster = coded(flat(test[:1000]), settings.steps)
        hidden = module(raster).total_spikes("hidden") / len(raster)
    return {"accuracy": float_accuracy(module, test, settings.steps),
            "input_activity": float(raster.float().mean()), "hidden_spikes": hidden,
            "hidden_activity": hidden / settings.hidden / settings.steps}


def beside_integers(program: LoihiProgram, test: Split, steps: int, of_float: float) -> dict[str, Any]:
    """Accuracy of the emulator, points lost, and what was rounded how."""
    began = time.perf_counter()
    found = accuracy(chip_membranes(program), test, steps)
    wall = time.perf_counter() - began
    raster = coded(flat(test[:1000]), steps).numpy()
    result = program.engine.run({"pixels": raster}, steps + program.latency, states=("hidden", "readout"))
    of_range = {name: float(np.abs(each.astype(np.int64)).max() / (2**23 - 1)) for name, each in result.v.items()}
    return {"accuracy": found, "lost": of_float - found, "wall_s": wall, "membranes_of_range": of_range,
            "hidden_spikes": int(result.spikes["hidden"].sum()) / len(raster),
            "thresholds": {name: each.threshold for name, each in program.quantised.network.populations.items()},
            "layers": {name: {"exponent": each.exponent, "sqnr": each.sqnr, "saturated": each.saturated}
                       for name, each in program.quantised.projections.items()}}


def beside_lava(program: LoihiProgram, test: Split, steps: int) -> dict[str, Any] | None:
    """Numbers that differ between the emulator and Lava, of all that every neuron has in every column; None where there
    is no Lava."""
    try:
        find_lava()
    except SpikecError as missing:
        print(f"not beside Lava: {missing}")
        return None
    raster = coded(flat(test), steps).numpy()
    columns = steps + program.latency
    populations = tuple(program.quantised.network.populations)
    ours = program.engine.run({"pixels": raster}, columns, states=populations)
    began = time.perf_counter()
    theirs = program.lava.run({"pixels": raster}, columns, record=("spikes", "u", "v"))
    wall = time.perf_counter() - began
    differing = {what: sum(int((getattr(ours, what)[name] != getattr(theirs, what)[name]).sum())
                           for name in populations) for what in ("u", "v", "spikes")}
    compared = sum(ours.v[name].size for name in populations)
    print(f"Lava, {len(test)} images: {differing} of {compared} numbers each differ; {wall:.1f} s", flush=True)
    return {"images": len(test), "columns": columns, "differing": differing, "compared": compared,
            "spikes": {name: int(ours.spikes[name].sum()) for name in populations}, "wall_s": wall}


if __name__ == "__main__":
    sys.exit(main())
