"""Converts a trained convolutional network to spikes, and compares the two on the test set of MNIST.

    spikec data get mnist
    python examples/train_cnn.py mnist_cnn.pt
    python examples/convert_cnn.py mnist_cnn.pt [--steps N] [--samples N]

Prints how far each layer is from its activations, and the accuracy after 4, 8, 16, … steps.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from train_cnn import accuracy, network, pixels

import spikec
from spikec import datasets

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("file", nargs="?", type=Path, default=Path("mnist_cnn.pt"))
parser.add_argument("--steps", type=int, default=64)
parser.add_argument("--samples", type=int, default=1000, help="of the test set; it has 10000")
options = parser.parse_args()

net = network()
net.load_state_dict(torch.load(options.file, weights_only=True))
net.eval()
data = datasets.load_mnist()
calibration, test = pixels(data.train)[:500], data.test[: options.samples]

graph = spikec.from_torch(net, sample=calibration[:1])
conversion = spikec.convert_ann(graph, calibration, steps=options.steps)
print(conversion)

(said,) = conversion.over_time(pixels(test)).values()
print(f"without spikes {accuracy(net, test):.2f} %")
steps = 4
while steps <= options.steps:
    print(f"{steps:4} steps      {100 * (said[:, steps - 1].argmax(1) == test.labels).mean():.2f} %")
    steps *= 2
