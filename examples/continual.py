"""Learns a tenth class on chip: nine classes of digits are trained off line, the last one from 20 images on Loihi.

    pip install . scikit-learn
    python examples/continual.py [--held CLASS]

The network is trained by surrogate gradients without one of the classes, and compiled for loihi1. From then on all is
done in the chip's integers, by the error-triggered rule `soel`: the last layer learns, an image is taught only where
the chip answers wrong, and weights change only at error spikes. The last line says what is gained and what is lost.
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np

import spikec
from spikec import Builder, datasets
from spikec.ir.nodes import LIF

DT, STEPS, TAU = 1e-3, 32, 3.5e-3
parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--held", type=int, default=4, help="the class that is learnt on chip")
parser.add_argument("--epochs", type=int, default=8, help="of training off line")
parser.add_argument("--passes", type=int, default=10, help="over the 20 images, at most")
options = parser.parse_args()
random, data = np.random.default_rng(0), datasets.load_digits()


def raster(pixels: Any) -> np.ndarray:
    """(images, STEPS, 64): a pixel of brightness b of 16 fires in b of 32 steps, evenly, from a random phase."""
    phase, step = random.random((len(pixels), 1, 64)), np.arange(STEPS + 1)[:, None]
    return np.diff(np.floor(step * pixels.reshape(-1, 1, 64) / 32 + phase), axis=1)


def neurons(n: int) -> LIF:
    """Each spike moves the membrane by its weight, and a spike resets it to zero, as on a core."""
    return LIF(shape=(n,), tau=np.full(n, TAU), r=np.full(n, TAU), v_leak=np.zeros(n), v_threshold=np.ones(n),
               reset="zero")


net = Builder()
signal, size = net.input("pixels", 64), 64
for name, n in (("hidden", 128), ("digit", 10)):
    weight = random.uniform(-1, 1, (n, size)) / np.sqrt(size)
    signal, size = net.add(name, neurons(n), net.linear(f"to_{name}", signal, weight=weight)), n
net.output("out", signal)

old = data.train[data.train.labels != options.held]
trainer = spikec.Trainer(spikec.compile(net.build(spikec.Discretization(DT)), target="clock"), "spike-count", lr=3e-3,
                         epochs=options.epochs, batch_size=50, scheduler="cosine", duration=STEPS * DT, progress=False)
trainer.fit((spikec.encoders.spikes(raster(old.inputs), dt=DT), old.labels))

rule = spikec.rules.soel(rate=2e-3, threshold=8, period=2, width=50.0, tau_syn=None, duration=STEPS * DT)
chip = spikec.compile(trainer.program.graph, target="loihi1")
learner = chip.learner(rule, projections=["to_digit"], impulse=8)
test, labels = raster(data.test.inputs), data.test.labels
new = labels == options.held


def accuracies() -> str:
    right = learner.answer(test).predictions == labels
    return f"old classes {100 * right[~new].mean():.1f} %, class {options.held} {100 * right[new].mean():.1f} %"


before = accuracies()
few = data.train.inputs[np.flatnonzero(data.train.labels == options.held)[:20]]
for number in range(options.passes):
    taught = 0
    for image in raster(few):
        if learner.answer(image[None]).predictions[0] != options.held:
            learner.learn(image[None], np.array([options.held]))
            taught += 1
    print(f"pass {number + 1}: {taught} of 20 images taught; {accuracies()}")
    if not taught:
        break
print(f"before: {before}; after {len(few)} images: {accuracies()}")
