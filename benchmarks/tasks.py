"""The work that spikec and the peers are timed on: one batch of input events, labels and weights, from fixed seeds.

The model is EventProp's: tau_mem V' = -V + I, tau_syn I' = -I, an input spike moves I by its weight, threshold 1,
reset to 0, tau_mem = 2 tau_syn (the ratio that every peer has a solution for). A task is handed to a peer as an
`.npz`, so that all work on the same numbers.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from common import data_folder

Array = np.ndarray[Any, np.dtype[Any]]
TAU_MEM, TAU_SYN = 20e-3, 10e-3


@dataclass(frozen=True, kw_only=True)
class Task:
    """`times` (total,) seconds, ascending within a sample; `indices` (total,); `offsets` (batch + 1,); `labels`
    (batch,). `w_hidden` (hidden, inputs), `w_output` (outputs, hidden), `w_recurrent` (hidden, hidden) or None.
    `readout`: "voltage" (outputs do not spike, cross-entropy of the voltage's maximum) or "spikes"."""

    name: str
    source: str
    times: Array
    indices: Array
    offsets: Array
    labels: Array
    w_hidden: Array
    w_output: Array
    w_recurrent: Array | None
    readout: str
    duration: float
    tau_mem: float = TAU_MEM
    tau_syn: float = TAU_SYN
    dt: float = 1e-3

    @property
    def batch(self) -> int:
        return len(self.labels)

    @property
    def sizes(self) -> tuple[int, int, int]:
        return self.w_hidden.shape[1], self.w_hidden.shape[0], self.w_output.shape[0]

    def save(self, path: Path) -> None:
        """As an `.npz` that needs no class to read."""
        arrays = {name: getattr(self, name) for name in
                  ("times", "indices", "offsets", "labels", "w_hidden", "w_output", "readout", "duration", "tau_mem",
                   "tau_syn", "dt")}
        if self.w_recurrent is not None:
            arrays["w_recurrent"] = self.w_recurrent
        np.savez(path, **arrays)

    def describe(self) -> dict[str, Any]:
        """What a result records of it."""
        per_sample = len(self.times) / self.batch
        return {
            "name": self.name, "source": self.source, "sizes": list(self.sizes), "batch": self.batch,
            "recurrent": self.w_recurrent is not None, "input_spikes_per_sample": per_sample,
            "tau_mem_ms": self.tau_mem * 1e3, "tau_syn_ms": self.tau_syn * 1e3, "duration_ms": self.duration * 1e3,
            "dt_of_clocked_peers_ms": self.dt * 1e3, "readout": self.readout,
        }


def mnist(batch: int = 50, seed: int = 1) -> Task:
    """784-350-10; latency code: pixel p > 1 spikes at 20 ms (255 - p) / 255 (EventProp's MNIST code)."""
    rng = np.random.default_rng(seed)
    images, labels, source = mnist_images("train", limit=batch)
    times, indices, offsets = latency_events(images)
    return Task(
        name="mnist", source=source, times=times, indices=indices, offsets=offsets, labels=labels,
        w_hidden=_normal(rng, (350, 784), MNIST_HIDDEN), w_output=_normal(rng, (10, 350), MNIST_OUTPUT),
        w_recurrent=None, readout="voltage", duration=60e-3,
    )


def yin_yang(batch: int = 150, seed: int = 2) -> Task:
    """5-120-3; (x, y, 1 - x, 1 - y) as spikes in [0, 30] ms and a bias spike at 0."""
    rng = np.random.default_rng(seed)
    folder = data_folder()
    if folder is not None and (folder / "yin_yang").is_dir():
        values = np.load(folder / "yin_yang" / "train_samples.npy")[:batch]
        labels = np.load(folder / "yin_yang" / "train_labels.npy")[:batch].astype(np.int64)
        source = "Yin-Yang, publication data, first samples of the training set"
    else:
        half = rng.random((batch, 2))
        values, labels = np.concatenate([half, 1 - half], axis=1), rng.integers(0, 3, batch)
        source = "synthetic: uniform coordinates, random labels"
    spikes = np.concatenate([30e-3 * values, np.zeros((batch, 1))], axis=1)
    order = np.argsort(spikes, axis=1, kind="stable")
    return Task(
        name="yin_yang", source=source, times=np.take_along_axis(spikes, order, 1).reshape(-1),
        indices=order.reshape(-1).astype(np.int64), offsets=np.arange(batch + 1, dtype=np.int64) * 5, labels=labels,
        w_hidden=_normal(rng, (120, 5), YIN_YANG_HIDDEN), w_output=_normal(rng, (3, 120), YIN_YANG_OUTPUT),
        w_recurrent=None, readout="spikes", duration=60e-3,
    )


def recurrent(batch: int = 32, seed: int = 3) -> Task:
    """700-256-20 with recurrence in the hidden layer, on synthetic input like that of Spiking Heidelberg Digits:
    each class is three bands that sweep over the channels (Gaussian, 20 channels wide) on a background of a tenth of
    the spikes; 100 ms at 10 Hz a channel on average, 700 spikes a sample."""
    rng = np.random.default_rng(seed)
    duration, channels, classes = 100e-3, 700, 20
    begin, end = rng.uniform(50, 650, (2, classes, 3))
    labels = rng.integers(0, classes, batch)
    times, indices, lengths = [], [], []
    for label in labels:
        count = rng.poisson(10.0 * duration * channels)
        time = np.sort(rng.uniform(0, 0.8 * duration, count))
        band = rng.integers(0, 3, count)
        centre = begin[label, band] + (end - begin)[label, band] * time / duration
        channel = np.clip(np.round(rng.normal(centre, 20)), 0, channels - 1)
        background = rng.random(count) < 0.1
        times.append(time)
        indices.append(np.where(background, rng.integers(0, channels, count), channel).astype(np.int64))
        lengths.append(count)
    return Task(
        name="recurrent", source="synthetic, like Spiking Heidelberg Digits", times=np.concatenate(times),
        indices=np.concatenate(indices), offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        labels=labels, w_hidden=_normal(rng, (256, 700), RECURRENT_HIDDEN),
        w_output=_normal(rng, (20, 256), RECURRENT_OUTPUT), w_recurrent=_normal(rng, (256, 256), RECURRENT_RECURRENT),
        readout="spikes", duration=duration,
    )


# (mean, standard deviation) of the initial weights: the shapes of EventProp's and mlGeNN's examples, scaled so that a
# hidden neuron fires about once (mnist, recurrent) or every third one does (yin_yang), as after training.
MNIST_HIDDEN, MNIST_OUTPUT = (0.039, 0.0225), (0.02, 0.04)
YIN_YANG_HIDDEN, YIN_YANG_OUTPUT = (0.9, 0.47), (0.15, 0.08)
RECURRENT_HIDDEN, RECURRENT_OUTPUT, RECURRENT_RECURRENT = (0.013, 0.018), (0.04, 0.04), (0.0, 0.02)

TASKS: dict[str, Callable[[], Task]] = {"mnist": mnist, "yin_yang": yin_yang, "recurrent": recurrent}


def mnist_images(part: str, limit: int | None = None) -> tuple[Array, Array, str]:
    """(images (n, 784) uint8, labels (n,), source); `part`: "train" or "t10k". Without the data folder: 150 of 784
    pixels at random."""
    folder = data_folder()
    if folder is None or not (folder / "mnist").is_dir():
        rng = np.random.default_rng(0)
        count = limit or 1000
        images = np.zeros((count, 784), dtype=np.uint8)
        for image in images:
            image[rng.choice(784, 150, replace=False)] = rng.integers(2, 256, 150)
        return images, rng.integers(0, 10, count), "synthetic: 150 of 784 pixels, random labels"
    images = _idx(folder / "mnist" / f"{part}-images-idx3-ubyte.gz", 16).reshape(-1, 784)[:limit]
    labels = _idx(folder / "mnist" / f"{part}-labels-idx1-ubyte.gz", 8)[:limit].astype(np.int64)
    return images, labels, f"MNIST, {part}, first samples"


def latency_events(images: Array, window: float = 20e-3) -> tuple[Array, Array, Array]:
    """(times, indices, offsets): pixel p > 1 spikes at window (255 - p) / 255; ties by pixel."""
    sample, pixel = np.nonzero(images > 1)
    times = window * (255.0 - images[sample, pixel]) / 255.0
    order = np.lexsort((pixel, times, sample))
    offsets = np.searchsorted(sample, np.arange(len(images) + 1)).astype(np.int64)
    return times[order], pixel[order].astype(np.int64), offsets


def _normal(rng: np.random.Generator, shape: tuple[int, int], moments: tuple[float, float]) -> Array:
    return rng.normal(*moments, shape).astype(np.float32)


def _idx(path: Path, header: int) -> Array:
    with gzip.open(path) as stream:
        return np.frombuffer(stream.read(), dtype=np.uint8, offset=header)
