"""Test accuracy on Yin-Yang, 5-200-3, first-spike cross-entropy, ten seeds, after the last epoch.

    python benchmarks/accuracy_yin_yang.py [--quick] [--seeds N] [--fresh]

The task of EventProp (Wunderlich & Pehle 2021): 98.10 ± 0.18 % there. Data: the publication's split of 5000 / 1000 /
1000, from the folder that SPIKEC_DATA names.
"""

from __future__ import annotations

from accuracy import Labelled, Setting, main

from spikec import datasets, encoders, losses
from spikec.runtime.datasets import Split

SETTING = Setting(
    hidden=200, outputs=3, spiking_output=True, w_hidden=(0.945, 0.49), w_output=(0.586, 0.063), tau_mem=40e-3,
    tau_syn=20e-3, t_max=30e-3, duration=90e-3, lr=5e-3, scheduler="cosine", batch_size=32, epochs=120,
    input_dropout=0.0, gradient_clip=None, loss=losses.FirstSpikeCrossEntropy(tau0=0.5e-3, alpha=0.003, tau1=6.4e-3),
)


def encode(split: Split, t_max: float) -> Labelled:
    """Four coordinates and a bias spike."""
    return encoders.yin_yang(split.inputs, t_max=t_max), split.labels


if __name__ == "__main__":
    main("accuracy_yin_yang", __doc__, SETTING, 10, datasets.load_yin_yang, encode)
