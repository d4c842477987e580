"""Yin-Yang on Loihi's arithmetic with the chip in the loop: 5-120-3, first-spike times, exact gradients.

    python benchmarks/loihi_in_the_loop.py [--quick] [--seeds N] [--fresh]

The network is trained on the event target, in continuous time. It is then compiled for loihi2 on grids of several
columns' lengths, and trained further in the loop: spikes are those of the integer program, gradients those of the
event target's model at them. And it is trained in the loop alone, from the weights that the event target began with.
All accuracies but those of the event target are the integer program's, on the test split, after the last epoch.
Settings were chosen by the validation split of seed 0, whose test accuracy was printed beside it and seen, too. Data:
the publication's split of 5000 / 1000 / 1000, from the folder that SPIKEC_DATA names.
"""

from __future__ import annotations

import statistics
import sys
import time
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch
from common import arguments, data_folder, read_result, write_result

import spikec
from spikec import Discretization, Graph, datasets, encoders, losses
from spikec.targets.loihi.program import LoihiProgram

Labelled = tuple[spikec.Events, np.ndarray[Any, np.dtype[np.int64]]]
CHIP = "loihi2"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Times in seconds. `room`: how much larger weights may grow from the start before they are cut off, for the
    training that begins in the loop; `tau0` of the loss is that of the event target, or a column where that is more."""

    hidden: int = 120
    tau_mem: float = 20e-3
    tau_syn: float = 10e-3
    t_max: float = 30e-3
    duration: float = 60e-3
    columns: tuple[float, ...] = (0.5e-3, 1e-3)
    epochs: int = 20
    lr: float = 5e-3
    alone_epochs: int = 12
    further_epochs: int = 4
    further_lr: float = 2e-4
    further_batch: int = 100
    clip: float = 0.1
    room: float = 4.0
    batch_size: int = 32
    tau0: float = 0.5e-3


def main() -> int:
    parser = arguments(__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--fresh", action="store_true", help="forget the seeds that are done")
    options = parser.parse_args()
    if data_folder() is None:
        print("Yin-Yang is not there: SPIKEC_DATA names no folder")
        return 1
    torch.set_num_threads(1)
    name, settings = "loihi_in_the_loop", Settings()
    if options.quick:
        name, settings = f"{name}-quick", replace(settings, epochs=2, alone_epochs=1, further_epochs=1, columns=(1e-3,))
    parameters = {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(settings).items()}
    stored = None if options.fresh else read_result(name)
    runs = stored["figures"]["runs"] if stored and stored["parameters"] == parameters else []
    data = encoded(settings)
    for seed in range(options.seeds):
        if any(run["seed"] == seed for run in runs):
            continue
        runs.append(measured(settings, seed, data))
        write_result(name, parameters, {"runs": runs, "summary": summary(runs)})
    return 0


def encoded(settings: Settings) -> dict[str, Labelled]:
    """Four coordinates and a bias spike, by split."""
    data = datasets.load_yin_yang()
    return {split: (encoders.yin_yang(getattr(data, split).inputs, t_max=settings.t_max), getattr(data, split).labels)
            for split in ("train", "validation", "test")}


def network(settings: Settings, seed: int) -> Graph:
    """5 - hidden - 3, weights drawn from `seed`."""
    taus = {"tau_mem": settings.tau_mem, "tau_syn": settings.tau_syn}
    net = spikec.Builder()
    hidden, label = net.cubalif("hidden", settings.hidden, **taus), net.cubalif("label", 3, **taus)
    net.connect(net.input("points", 5), hidden, weight=spikec.normal(0.95, 0.5, seed=2 * seed + 1), name="fc1")
    scale = 120 / settings.hidden
    net.connect(hidden, label, weight=spikec.normal(0.6 * scale, 0.06 * scale, seed=2 * seed + 2), name="fc2")
    net.output("out", label)
    return net.build()


def measured(settings: Settings, seed: int, data: dict[str, Labelled]) -> dict[str, Any]:
    """One seed, per cent."""
    start = network(settings, seed)
    begun = time.process_time()
    event = trainer(spikec.compile(start), settings, seed, settings.tau0)
    event.fit(data["train"])
    graph = event.program.graph
    run: dict[str, Any] = {"seed": seed, "event": 100 * event.evaluate(data["test"]).accuracy,
                           "event_cpu_s": time.process_time() - begun, "grids": []}
    print(f"seed {seed}: event target {run['event']:.2f} %", flush=True)
    for dt in settings.columns:
        row = {"dt": dt, "further": trained(compiled(graph, dt), settings, seed, data, further=True),
               "alone": trained(compiled(start, dt, settings.room), settings, seed, data, further=False)}
        run["grids"].append(row)
        print(f"  columns of {1e3 * dt:g} ms: " + ", ".join(
            f"{label} {row[label]['before']:.2f} -> {row[label]['after']:.2f} %" for label in ("further", "alone")),
            flush=True)
    return run


def compiled(graph: Graph, dt: float, room: float = 1.0) -> LoihiProgram:
    """For the chip; with `room`, on the scales of weights that are so many times as large."""
    graph = replace(graph, discretization=Discretization(dt=dt))
    larger = graph.with_nodes({name: replace(node, weight=room * node.weight)
                               for name, node in graph.nodes.items() if hasattr(node, "weight")})
    return spikec.compile(larger, CHIP).recompile(graph)


def trainer(program: Any, settings: Settings, seed: int, tau0: float, **changes: Any) -> spikec.Trainer:
    options = {"lr": settings.lr, "epochs": settings.epochs, "batch_size": settings.batch_size} | changes
    return spikec.Trainer(program, losses.FirstSpikeCrossEntropy(tau0=tau0, alpha=0.003, tau1=6.4e-3), rule="exact",
                          scheduler="cosine", duration=settings.duration, seed=seed, progress=False, **options)


def trained(program: LoihiProgram, settings: Settings, seed: int, data: dict[str, Labelled],
            further: bool) -> dict[str, Any]:
    """Accuracies of the integer program before and after a training in the loop, per cent."""
    changes: dict[str, Any] = {"gradient_clip": settings.clip, "epochs": settings.alone_epochs}
    if further:
        changes |= {"lr": settings.further_lr, "epochs": settings.further_epochs, "batch_size": settings.further_batch}
    loop = trainer(program, settings, seed, max(settings.tau0, program.grid.dt), **changes)
    before = 100 * accuracy(program, data["test"], settings)
    begun = time.process_time()
    loop.fit(data["train"])
    cpu = time.process_time() - begun
    return {"before": before, "after": 100 * accuracy(loop.program, data["test"], settings), "cpu_s": cpu,
            "validation": 100 * accuracy(loop.program, data["validation"], settings)}


def accuracy(program: LoihiProgram, data: Labelled, settings: Settings) -> float:
    """Of the integer program: which output fires first; none is wrong, and of those in one column the first counts."""
    events, labels = data
    found = program.run(events, settings.duration, drain=True).spikes["out"]
    first = np.full((found.batch, 3), np.inf)
    np.minimum.at(first, (np.repeat(np.arange(found.batch), np.diff(found.offsets)), found.indices), found.times)
    return float(((first.argmin(1) == np.asarray(labels)) & np.isfinite(first.min(1))).mean())


def summary(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Means and sample standard deviations over the seeds."""
    def over(values: list[float]) -> dict[str, float]:
        return {"mean": statistics.mean(values), "std": statistics.stdev(values) if len(values) > 1 else 0.0}

    return {"event": over([run["event"] for run in runs]), "grids": [
        {"dt": row["dt"], **{way: {when: over([run["grids"][number][way][when] for run in runs])
                                   for when in ("before", "after")} for way in ("further", "alone")}}
        for number, row in enumerate(runs[0]["grids"])]}


if __name__ == "__main__":
    sys.exit(main())
