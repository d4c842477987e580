"""Test accuracy on MNIST by counts of spikes: Bacho & Chu's networks, trained by the exact gradient of spike times.

    python benchmarks/exact_backprop.py --net dense|conv [--seeds N] [--epochs N] [--validate] [--samples N] [--quick]

784-800-10 and 15C5-P2-40C5-P2-300-10 (`spike_count_nets`), settings of the authors' code (Neural Computation 35:1627,
2023): Adam, many spikes a neuron, 15 or 30 spikes wanted of the label's neuron and 3 of the others, 100 epochs; images
of the convolutional network are turned, zoomed and distorted anew in each epoch. Training on 60,000 samples and testing
on 10,000 after the last epoch, or with --validate training on 55,000 and testing on the other 5,000. --samples: so many
of the training part alone, for a trial. An interrupted run goes on from its checkpoint, in `--folder`.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import spike_count_nets as nets
import torch
from common import arguments, write_result

import spikec
from spikec.runtime.augmentation import Augmented, ImageChanges
from spikec.runtime.datasets import Split
from spikec.runtime.jit import cache_folder


@dataclass(frozen=True)
class Setting:
    """What a training is: `label` and `others` spikes wanted; `halving`: epochs after which the rate is halved, down to
    `least`, or None; `image`: shape of one."""

    graph: Callable[[int], spikec.Graph]
    label: float
    others: float
    batch: int
    lr: float
    epochs: int
    halving: int | None
    augmented: bool
    image: tuple[int, ...]
    least: float = 1e-4


def dense() -> Setting:
    """784-800-10 (train_spike_count.py)."""
    return Setting(nets.dense, 15, 3, batch=50, lr=3e-3, epochs=100, halving=None, augmented=False,
                   image=(nets.SIDE**2,))


def conv() -> Setting:
    """15C5-P2-40C5-P2-300-10 (train_conv.py)."""
    return Setting(nets.convolutional, 30, 3, batch=20, lr=3e-3, epochs=100, halving=10, augmented=True,
                   image=(1, nets.SIDE, nets.SIDE))


SETTINGS = {"dense": dense, "conv": conv}


@dataclass(frozen=True)
class Halved:
    """The schedule of the rate; a factory of torch's schedulers."""

    epochs: int
    least: float

    def __call__(self, optimizer: torch.optim.Optimizer) -> torch.optim.lr_scheduler.LambdaLR:
        return torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda epoch: max(0.5 ** (epoch // self.epochs), self.least))


def split(validate: bool, samples: int | None) -> tuple[Split, Split]:
    """(trained on, tested on)."""
    data = spikec.datasets.load_mnist()
    train, held_out = data.train, data.validation
    if not validate:
        train = Split(np.concatenate([train.inputs, held_out.inputs]), np.concatenate([train.labels, held_out.labels]))
        held_out = data.test
    return train[:samples], held_out if samples is None else held_out[:samples]


def train(setting: Setting, seed: int, parts: tuple[Split, Split], epochs: int, checkpoint: Path | None,
          progress: bool) -> dict[str, Any]:
    """One seed; figures of every epoch."""
    part, held_out = parts
    images = part.inputs.reshape(-1, *setting.image)
    shown = nets.encode(held_out.inputs.reshape(-1, *setting.image)), held_out.labels
    data: Any = (Augmented(images=images, labels=part.labels, encode=nets.encode, changes=ImageChanges(), seed=seed)
                 if setting.augmented else (nets.encode(images), part.labels))
    cpu = [time.process_time()]
    trainer = spikec.Trainer(
        spikec.compile(setting.graph(seed)), spikec.losses.SpikeCountMSE(label=setting.label, others=setting.others),
        lr=setting.lr, batch_size=setting.batch, epochs=epochs, duration=nets.DURATION, seed=seed,
        scheduler=None if setting.halving is None else Halved(setting.halving, setting.least / setting.lr),
        checkpoint=checkpoint, progress=progress, evaluation_batch=100,
        callbacks=lambda *_: cpu.append(time.process_time()))
    history = trainer.fit(data, shown)
    last = history[-1].validation
    spent = np.diff(cpu)
    return {
        "seed": seed, "accuracy": last.accuracy, "loss": last.loss, "spikes_a_sample": last.spikes,
        "by_epoch": [{"train": record.train.accuracy, "held_out": record.validation.accuracy,
                      "loss": record.train.loss} for record in history],
        "cpu_s_an_epoch": float(np.median(spent)) if len(spent) else None,
    }


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--net", choices=list(SETTINGS), required=True)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--samples", type=int)
    parser.add_argument("--validate", action="store_true", help="train on 55,000, test on the other 5,000")
    parser.add_argument("--folder", type=Path, default=cache_folder().parent / "benchmarks", help="of checkpoints")
    options = parser.parse_args()
    setting = SETTINGS[options.net]()
    samples = options.samples or (400 if options.quick else None)
    epochs = options.epochs or (2 if options.quick else setting.epochs)
    seeds = 1 if options.quick else options.seeds
    trial = samples is not None
    parts = split(options.validate, samples)
    options.folder.mkdir(parents=True, exist_ok=True)
    runs = []
    for seed in range(seeds):
        name = f"exact_backprop-{options.net}-{len(parts[0])}-{epochs}-{seed}.checkpoint"
        runs.append(train(setting, seed, parts, epochs, None if trial else options.folder / name, progress=not trial))
        found = [100 * run["accuracy"] for run in runs]
        print(f"seed {seed}: {found[-1]:.2f} %, {runs[-1]['cpu_s_an_epoch']:.0f} s CPU an epoch", flush=True)
        deviation = statistics.stdev(found) if len(found) > 1 else None
        write_result(f"exact_backprop_{options.net}" + ("-quick" if trial else ""),
                     {"net": options.net, "epochs": epochs, "samples": len(parts[0]), "tested_on": len(parts[1]),
                      "validated": options.validate, "batch": setting.batch, "lr": setting.lr, "label": setting.label,
                      "others": setting.others, "augmented": setting.augmented},
                     {"accuracy": statistics.mean(found), "deviation": deviation, "runs": runs})


if __name__ == "__main__":
    main()
