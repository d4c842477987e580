"""Accuracy of trainings from several seeds, shared by accuracy_yin_yang.py and accuracy_mnist.py.

The rules: settings were tuned on the validation split; the test set is looked at once, after the last epoch, and no
epoch or seed is picked. A seed that is done is written at once, and a second call goes on where the first one stopped,
within an epoch too. Changed settings start over.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import RESULTS, arguments, read_result, write_result

import spikec
from spikec.runtime.datasets import Dataset, Split

Labelled = tuple[spikec.Events, np.ndarray[Any, np.dtype[np.int64]]]


@dataclass(frozen=True, kw_only=True)
class Setting:
    """`w_hidden`, `w_output`: mean and standard deviation of the initial weights. Times in seconds."""

    hidden: int
    outputs: int
    spiking_output: bool
    w_hidden: tuple[float, float]
    w_output: tuple[float, float]
    tau_mem: float
    tau_syn: float
    t_max: float
    duration: float
    lr: float
    scheduler: str | float
    batch_size: int
    epochs: int
    input_dropout: float
    gradient_clip: float | None
    loss: Any


def network(setting: Setting, inputs: int, seed: int) -> spikec.Graph:
    """inputs - hidden - outputs, weights drawn from `seed`."""
    taus = {"tau_mem": setting.tau_mem, "tau_syn": setting.tau_syn}
    net = spikec.Builder()
    hidden = net.cubalif("hidden", setting.hidden, **taus)
    label = (net.cubalif if setting.spiking_output else net.cubali)("label", setting.outputs, **taus)
    net.connect(net.input("in", inputs), hidden, weight=spikec.normal(*setting.w_hidden, seed=2 * seed + 1), name="fc1")
    net.connect(hidden, label, weight=spikec.normal(*setting.w_output, seed=2 * seed + 2), name="fc2")
    net.output("out", label)
    return net.build()


def train(setting: Setting, seed: int, data: Dataset, encode: Callable[[Split, float], Labelled], checkpoint: Path,
          progress: bool) -> dict[str, Any]:
    """One training, and its figures after the last epoch."""
    program = spikec.compile(network(setting, _channels(encode, data, setting), seed))
    trainer = spikec.Trainer(
        program, setting.loss, lr=setting.lr, scheduler=setting.scheduler, batch_size=setting.batch_size,
        epochs=setting.epochs, input_dropout=setting.input_dropout, gradient_clip=setting.gradient_clip,
        duration=setting.duration, seed=seed, checkpoint=checkpoint, progress=progress)
    cpu = time.process_time()
    history = trainer.fit(encode(data.train, setting.t_max), encode(data.validation, setting.t_max))
    cpu = time.process_time() - cpu
    test = trainer.evaluate(encode(data.test, setting.t_max))
    checkpoint.unlink()
    return {
        "seed": seed, "test_accuracy": test.accuracy, "test_loss": test.loss, "silent_labels": test.silent,
        "spikes_per_sample": dict(test.spikes), "validation_accuracy": history[-1].validation.accuracy,
        "train_accuracy": history[-1].train.accuracy, "training_wall_s": sum(each.seconds for each in history),
        "cpu_s_of_last_call": cpu,
    }


def main(name: str, description: str | None, setting: Setting, seeds: int, data: Callable[[], Dataset],
         encode: Callable[[Split, float], Labelled]) -> None:
    """The command of one data set."""
    parser = arguments(description)
    parser.add_argument("--seeds", type=int, default=seeds)
    parser.add_argument("--fresh", action="store_true", help="forget the seeds that are done")
    parser.add_argument("--no-progress", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.quick:
        name, setting = f"{name}-quick", _shortened(setting)
        options.seeds = 2
    parameters = {**asdict(setting), "loss": repr(setting.loss)}
    parameters = {key: list(value) if isinstance(value, tuple) else value for key, value in parameters.items()}
    stored = None if options.fresh else read_result(name)
    runs = stored["figures"]["runs"] if stored and stored["parameters"] == parameters else []
    loaded = data()
    for seed in range(options.seeds):
        if any(run["seed"] == seed for run in runs):
            continue
        checkpoint = RESULTS / f".{name}-{seed}.checkpoint"
        if options.fresh:
            checkpoint.unlink(missing_ok=True)
        run = train(setting, seed, loaded, encode, checkpoint, progress=not options.no_progress)
        print(f"seed {seed}: test accuracy {100 * run['test_accuracy']:.2f} %", flush=True)
        runs.append(run)
        write_result(name, parameters, {"seeds": len(runs), **_summary(runs), "runs": runs})
    summary = _summary(runs)
    mean, spread = summary["mean_percent"], summary["std_percent"]
    print(f"{name}: test accuracy {mean:.2f} ± {spread:.2f} % over {len(runs)} seeds")


def _summary(runs: list[dict[str, Any]]) -> dict[str, float]:
    """Mean and sample standard deviation of the test accuracy, in percent."""
    accuracies = [100 * run["test_accuracy"] for run in runs]
    return {"mean_percent": statistics.mean(accuracies),
            "std_percent": statistics.stdev(accuracies) if len(accuracies) > 1 else 0.0}


def _shortened(setting: Setting) -> Setting:
    return Setting(**{**{key: getattr(setting, key) for key in setting.__dataclass_fields__}, "epochs": 1})


def _channels(encode: Callable[[Split, float], Labelled], data: Dataset, setting: Setting) -> int:
    events, _ = encode(data.train[:20], setting.t_max)
    return max(int(events.indices.max()) + 1, int(np.prod(data.train.inputs.shape[1:])))
