"""An emulated BrainScaleS-2 with 6-bit weights: weights copied onto the chip, and the same trained in the loop.

    python benchmarks/analog_in_the_loop.py [--quick] [--task yin_yang|mnist ...] [--chips N] [--fresh]

Two tasks, first spikes, one a neuron, exact gradients: Yin-Yang (5-120-3) and MNIST at 16x16 (256-246-10, all 512
circuits of the chip). For each of several chips a network is trained on a chip whose circuits are all alike, without
noise, with its weights in the chip's steps and range. Then:

    uncalibrated   its weights are copied onto the chip as it is made, spreads and all
    calibrated     the same chip after the emulated calibration
    in the loop    trained further on the calibrated chip, spikes the chip's, gradients the nominal model's
    as long        trained further on the chip whose circuits are all alike, as long as in the loop and at its rate,
                   then copied onto the calibrated chip: what is left is what the loop itself is worth

Accuracies are those of the test split after the last epoch. Settings were chosen on chip 1000, those of Yin-Yang on
chip 1001 too, without the test split. Test accuracies of earlier settings were seen on chips 0 to 4 and 10 to 14, so
those that are shown are chips 20 and after.
"""

from __future__ import annotations

import statistics
import sys
import time
import warnings
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch
from common import arguments, data_folder, read_result, write_result

import spikec
from spikec import Events, Graph, SpikecWarning, datasets, encoders, losses
from spikec.runtime.augmentation import Augmented, ImageChanges

Labelled = tuple[Events, np.ndarray[Any, np.dtype[np.int64]]]
TUNING = 1000
"""The chip that settings were chosen on."""
FIRST = 20
"""The first chip that is shown."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Times in seconds of the model. `rows`: of the first projection a source. `first`, `second`: mean and deviation of
    what weights are drawn from. `loop_batch`: samples of a run in the loop and in evaluation; None: those of `batch`.
    `tau0`, `alpha`, `silent`: of the loss; `bump_above`: of the trainer. `changes` of an image from epoch to epoch, in
    training: most degrees, zoom, and pixels of distortion. `dark`: pixels at most as bright as this give no spike."""

    inputs: int
    hidden: int
    outputs: int
    rows: int
    first: tuple[float, float]
    second: tuple[float, float]
    epochs: int
    lr: float
    loop_epochs: int
    loop_lr: float
    batch: int
    t_max: float
    duration: float
    t_min: float = 0.9e-3
    bump_above: float | None = None
    loop_batch: int | None = None
    changes: tuple[float, float, float] | None = None
    silent: str = "push"
    tau0: float = 1.2e-3
    alpha: float = 0.003
    tau_mem: float = 6e-3
    tau_syn: float = 6e-3
    dark: float = 0.0


TASKS = {
    "yin_yang": Settings(inputs=5, hidden=120, outputs=3, rows=5, first=(1.0, 0.5), second=(1.0, 0.2), epochs=40,
                         lr=5e-3, loop_epochs=80, loop_lr=5e-3, batch=32, loop_batch=64, t_max=9e-3, duration=40e-3,
                         tau0=0.2e-3, tau_mem=12e-3, tau_syn=12e-3, silent="both", bump_above=0.7),
    "mnist": Settings(inputs=256, hidden=246, outputs=10, rows=1, first=(0.06, 0.1), second=(0.03, 0.1), epochs=8,
                      lr=3e-3, loop_epochs=6, loop_lr=1.5e-3, batch=100, t_max=12e-3, duration=30e-3, tau0=0.2e-3,
                      silent="both", bump_above=0.5, changes=(8.0, 0.08, 4.0), dark=0.1),
}


def main() -> int:
    parser = arguments(__doc__)
    parser.add_argument("--task", nargs="+", choices=tuple(TASKS), default=tuple(TASKS))
    parser.add_argument("--chips", type=int, default=5)
    parser.add_argument("--validate", action="store_true", help="on the tuning chip and the validation split alone")
    parser.add_argument("--fresh", action="store_true", help="forget the runs that are done")
    options = parser.parse_args()
    if data_folder() is None:
        print("no data: SPIKEC_DATA names no folder")
        return 1
    torch.set_num_threads(1)
    for task in options.task:
        name, settings = f"analog_{task}", TASKS[task]
        if options.quick:
            name, settings = f"{name}-quick", replace(settings, epochs=2, loop_epochs=1)
        if options.validate:
            measured(task, settings, TUNING, "validation")
            continue
        parameters = {key: list(value) if isinstance(value, tuple) else value
                      for key, value in asdict(settings).items() if value is not None}
        stored = None if options.fresh else read_result(name)
        runs = stored["figures"]["runs"] if stored and stored["parameters"] == parameters else []
        for chip in range(FIRST, FIRST + options.chips):
            if any(run["chip"] == chip for run in runs):
                continue
            runs.append(measured(task, settings, chip, "test"))
            write_result(name, parameters, {"runs": runs, "summary": summary(runs)})
    return 0


def summary(runs: list[dict[str, Any]],
            keys: tuple[str, ...] = ("ideal", "uncalibrated", "calibrated", "as_long", "in_the_loop"),
            copied: str = "calibrated") -> dict[str, Any]:
    """Mean and standard deviation over chips, per cent, and on how many chips the loop is ahead of copying."""
    found: dict[str, Any] = {}
    for key in keys:
        values = [run[key] for run in runs]
        found[key] = {"mean": statistics.mean(values), "std": statistics.stdev(values) if len(values) > 1 else 0.0}
    found["chips"] = len(runs)
    found["ahead"] = sum(run["in_the_loop"] > run[copied] for run in runs)
    return found


def encoded(task: str, settings: Settings) -> dict[str, Labelled]:
    """By split. An image is cut to 24x24, its pixels averaged to 16x16, and bright ones come first."""
    if task == "yin_yang":
        data = datasets.load_yin_yang()
        return {split: (encoders.yin_yang(getattr(data, split).inputs, t_max=settings.t_max),
                        getattr(data, split).labels) for split in ("train", "validation", "test")}
    data = datasets.load_mnist()
    return {split: (_first_spikes(small(getattr(data, split).inputs), settings),
                    np.asarray(getattr(data, split).labels, np.int64)) for split in ("train", "validation", "test")}


def changing(settings: Settings, changes: tuple[float, float, float], seed: int) -> Augmented:
    """Images of the training split, another in every epoch."""
    part, (rotation, zoom, elastic) = datasets.load_mnist().train, changes
    return Augmented(images=small(part.inputs).reshape(-1, 16, 16), labels=np.asarray(part.labels, np.int64),
                     encode=lambda images: _first_spikes(images.reshape(len(images), 256), settings),
                     changes=ImageChanges(rotation=rotation, zoom=zoom, elastic=(elastic, elastic)), seed=seed)


def small(images: Any) -> np.ndarray[Any, Any]:
    """(n, 28, 28) bytes -> (n, 256) in [0, 1]."""
    pixels = np.asarray(images, np.float32).reshape(-1, 1, 28, 28)[:, :, 2:26, 2:26] / 255
    with torch.no_grad():
        cut = torch.nn.functional.interpolate(torch.from_numpy(pixels), (16, 16), mode="area")
    return cut.reshape(len(pixels), 256).numpy()


def _first_spikes(pixels: np.ndarray[Any, Any], settings: Settings) -> Events:
    """One spike for every pixel that is not dark, the bright ones first."""
    times = settings.t_min + (1.0 - pixels.astype(np.float64)) * (settings.t_max - settings.t_min)
    order = np.argsort(times, 1, kind="stable")
    shown = np.take_along_axis(pixels, order, 1) > settings.dark
    return Events(np.take_along_axis(times, order, 1)[shown], order[shown],
                  np.concatenate([[0], np.cumsum(shown.sum(1))]))


def network(settings: Settings, seed: int) -> Graph:
    """Neurons that fire once: the refractory period lasts to the end."""
    taus = {"tau_mem": settings.tau_mem, "tau_syn": settings.tau_syn, "refractory": 30e-3}
    net = spikec.Builder()
    hidden, label = net.cubalif("hidden", settings.hidden, **taus), net.cubalif("label", settings.outputs, **taus)
    net.connect(net.input("in", settings.inputs), hidden, weight=spikec.normal(*settings.first, seed=2 * seed + 1),
                name="fc1")
    net.connect(hidden, label, weight=spikec.normal(*settings.second, seed=2 * seed + 2), name="fc2")
    net.output("out", label)
    return net.build()


def compiled(graph: Graph, settings: Settings, chip: int, mismatch: str) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SpikecWarning)
        return spikec.compile(graph, "brainscales2", seed=chip, rows={"fc1": settings.rows}, mismatch=mismatch,
                              noise=mismatch != "none")


def trainer(program: Any, settings: Settings, seed: int, **changes: Any) -> spikec.Trainer:
    options: dict[str, Any] = {"lr": settings.lr, "epochs": settings.epochs, "batch_size": settings.batch} | changes
    loss = losses.FirstSpikeCrossEntropy(tau0=settings.tau0, alpha=settings.alpha, tau1=settings.tau_syn,
                                         silent=settings.silent)
    return spikec.Trainer(program, loss, rule="exact", scheduler="cosine", duration=settings.duration, seed=seed,
                          bump_above=settings.bump_above, progress=False,
                          evaluation_batch=settings.loop_batch or settings.batch, **options)


def measured(task: str, settings: Settings, chip: int, split: str) -> dict[str, Any]:
    """One chip, with a network of its own, per cent."""
    data, begun = encoded(task, settings), time.process_time()
    train = data["train"] if settings.changes is None else changing(settings, settings.changes, chip)
    # all alike, without noise: weights in the chip's range and its steps, so that copying loses nothing by them
    alike = trainer(compiled(network(settings, chip), settings, chip, "none"), settings, chip)
    alike.fit(train)
    graph, shown = alike.program.graph, data[split]
    run: dict[str, Any] = {"chip": chip, "ideal": 100 * alike.evaluate(shown).accuracy}
    print(f"{task}, chip {chip}: all alike {run['ideal']:.2f} %, {time.process_time() - begun:.0f} s", flush=True)
    for mismatch in ("uncalibrated", "calibrated"):
        program = compiled(graph, settings, chip, mismatch)
        run[mismatch] = 100 * trainer(program, settings, chip).evaluate(shown).accuracy
    further = {"lr": settings.loop_lr, "epochs": settings.loop_epochs,
               "batch_size": settings.loop_batch or settings.batch}
    loop = trainer(program, settings, chip, **further)
    loop.fit(train)
    run["in_the_loop"] = 100 * loop.evaluate(shown).accuracy
    longer = trainer(alike.program, settings, chip, **further)
    longer.fit(train)
    copied = compiled(longer.program.graph, settings, chip, "calibrated")
    run["as_long"] = 100 * trainer(copied, settings, chip).evaluate(shown).accuracy
    run["cpu_s"] = time.process_time() - begun
    print(f"  uncalibrated {run['uncalibrated']:.2f}, calibrated {run['calibrated']:.2f}, in the loop "
          f"{run['in_the_loop']:.2f}, as long and copied {run['as_long']:.2f} %, {run['cpu_s']:.0f} s", flush=True)
    return run


if __name__ == "__main__":
    sys.exit(main())
