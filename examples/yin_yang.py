"""Yin-Yang with a 5-120-3 network of spiking neurons, trained on the exact gradient of first-spike times.

    spikec data get yin-yang
    python examples/yin_yang.py [--epochs N] [--checkpoint FILE]

Ctrl-C saves FILE; the same command goes on from there, to the same result.
"""

from __future__ import annotations

import argparse

import spikec
from spikec import datasets, encoders, losses, normal

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--epochs", type=int, default=30)
parser.add_argument("--checkpoint")
options = parser.parse_args()

taus = {"tau_mem": 20e-3, "tau_syn": 10e-3}
net = spikec.Builder()
points = net.input("points", 5)  # x, y, 1 - x, 1 - y and a bias, each one spike
hidden = net.cubalif("hidden", 120, **taus)
label = net.cubalif("label", 3, **taus)
net.connect(points, hidden, weight=normal(0.95, 0.5, seed=1))
net.connect(hidden, label, weight=normal(0.6, 0.06, seed=2))
net.output("out", label)
program = spikec.compile(net.build())

data = datasets.load_yin_yang()
train, validation, test = (
    (encoders.yin_yang(split.inputs, t_max=30e-3), split.labels) for split in (data.train, data.validation, data.test))

trainer = spikec.Trainer(
    program, losses.FirstSpikeCrossEntropy(tau0=0.5e-3, alpha=0.003, tau1=6.4e-3), lr=5e-3, scheduler="cosine",
    batch_size=32, epochs=options.epochs, duration=60e-3, checkpoint=options.checkpoint)
trainer.fit(train, validation)
result = trainer.evaluate(test)
print(f"test accuracy {100 * result.accuracy:.2f} %, {result.spikes['hidden']:.1f} hidden spikes a sample")
