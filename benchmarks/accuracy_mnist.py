"""Test accuracy on MNIST, 784-350-10, three seeds, after the last epoch.

    python benchmarks/accuracy_mnist.py [--quick] [--seeds N] [--fresh]

The task of EventProp (Wunderlich & Pehle 2021): 97.58 ± 0.12 % there. Split 55,000 / 5,000 / 10,000, no augmentation;
data from the folder that SPIKEC_DATA names.

The simulation ends before the response to the input peaks (14 ms with these time constants), so membranes rise all the
time and a spike that comes or goes as weights change does so at the end, where it counts for nothing: the loss is then
nearly continuous, and what the exact gradient cannot see is small.
"""

from __future__ import annotations

from accuracy import Labelled, Setting, main

from spikec import datasets, encoders, losses
from spikec.runtime.datasets import Split

SETTING = Setting(
    hidden=350, outputs=10, spiking_output=False, w_hidden=(0.03, 0.08), w_output=(0.0, 0.1), tau_mem=20e-3,
    tau_syn=10e-3, t_max=5e-3, duration=15e-3, lr=4e-3, scheduler="cosine", batch_size=50, epochs=15,
    input_dropout=0.25, gradient_clip=0.02, loss=losses.IntegratedVoltageCrossEntropy(scale=50.0),
)


def encode(split: Split, t_max: float) -> Labelled:
    """A spike a pixel, the brighter the earlier; pixels of value 0 and 1 give none."""
    return encoders.latency(split.inputs, t_max, threshold=1), split.labels


if __name__ == "__main__":
    main("accuracy_mnist", __doc__, SETTING, 3, datasets.load_mnist, encode)
