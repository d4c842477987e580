"""Brings an snnTorch network to Loihi: trained, quantised, compared with what it came from, trained on the chip's own
arithmetic, reported, and run in Lava where that is there.

    pip install ".[snntorch]" scikit-learn
    python examples/loihi.py [--keep DIR]

The neurons are snnTorch's Leaky with its default reset, by subtraction, which Lava's neurons do not have: the membrane
is held in the current of the core instead. The last line says how accurate the numbers of the chip are.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from snntorch import Leaky

import spikec
from spikec import datasets

DT, STEPS = 1e-3, 32
parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--epochs", type=int, default=8)
parser.add_argument("--keep", type=Path, help="folder for the compiled program and its report")
options = parser.parse_args()


def raster(split: Any) -> np.ndarray:
    """(samples, STEPS, 64): a pixel of brightness b of 16 fires in b of 32 steps, evenly spread."""
    pixels, step = split.inputs.reshape(-1, 1, 64), np.arange(STEPS + 1)[:, None]
    return np.diff(np.floor(step * pixels / 32 + np.linspace(0, 1, 64, endpoint=False)), axis=1)


def accuracy(program: Any, inputs: np.ndarray, labels: np.ndarray, **how: Any) -> float:
    """The neuron with the most spikes answers, in %."""
    spikes = program.run(inputs, **how).spikes["output"]
    counts = np.zeros((spikes.batch, 10))
    np.add.at(counts, (np.repeat(np.arange(spikes.batch), np.diff(spikes.offsets)), spikes.indices), 1)
    return 100 * float((counts.argmax(1) == labels).mean())


def trained(program: Any, epochs: int, lr: float) -> Any:
    """The program after training by surrogate gradients, on the arithmetic that it runs in."""
    events = spikec.encoders.spikes(train, dt=DT)
    trainer = spikec.Trainer(program, "spike-count", lr=lr, epochs=epochs, batch_size=50, duration=STEPS * DT)
    trainer.fit((events, data.train.labels))
    return trainer.program


torch.manual_seed(0)
net = torch.nn.Sequential(torch.nn.Linear(64, 100), Leaky(beta=0.9, init_hidden=True),
                          torch.nn.Linear(100, 10), Leaky(beta=0.9, init_hidden=True, output=True))
data = datasets.load_digits()
train, test = raster(data.train), raster(data.test)

model = trained(spikec.compile(spikec.from_torch(net, dt=DT), target="clock"), options.epochs, 2e-3)
chip = spikec.compile(model.graph, target="loihi2", calibration=train[:200])
print(spikec.validate(chip, "reference", test[:20]), "\n")
aware = trained(chip, 2, 2e-4)
with tempfile.TemporaryDirectory() as scratch:
    folder = options.keep or Path(scratch, "digits-loihi2")
    aware.save(folder)
    again = spikec.load(folder)
print(again.report())
try:
    lava = accuracy(again, test[:20], data.test.labels[:20], backend="lava", drain=True)
    print(f"Lava, first 20 images     {lava:.2f} %, emulator "
          f"{accuracy(again, test[:20], data.test.labels[:20], drain=True):.2f} %")
except spikec.SpikecError as missing:
    print(missing)
print(f"float {accuracy(model, test, data.test.labels):.2f} %, whole numbers "
      f"{accuracy(chip, test, data.test.labels, drain=True):.2f} %, trained on them "
      f"{accuracy(again, test, data.test.labels, drain=True):.2f} %")
