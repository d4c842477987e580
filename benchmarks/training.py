"""The race to an accuracy, the same for every contestant: data, order of samples, when accuracy is looked at, clocks.

numpy and the standard library only: it runs in the peers' environments too.
"""

from __future__ import annotations

import json
import os
import resource
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from tasks import Array, mnist_images

CHECK_EVERY = 10_000
"""Training samples between two looks at the validation set."""
VALIDATION = 5000
BEGAN = "SPIKEC_BENCH_BEGAN"
"""Environment variable: the wall time at which the driver started the process."""


def split() -> tuple[Array, Array, Array, Array]:
    """(training images, labels, validation images, labels): MNIST's 60,000 as 55,000 and the last 5,000."""
    images, labels, source = mnist_images("train")
    if not source.startswith("MNIST"):
        raise SystemExit("this measurement needs MNIST: set SPIKEC_DATA to a folder that has mnist/")
    return images[:-VALIDATION], labels[:-VALIDATION], images[-VALIDATION:], labels[-VALIDATION:]


def cpu_seconds() -> float:
    """CPU time of this process and of those it waited for (a compiler), from its start."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def race(train: Callable[[Array, float], object], accuracy: Callable[[], float], *, samples: int, batch: int, seed: int,
         target: float, limit_s: float, epochs: int = 40) -> dict[str, Any]:
    """Trains on shuffled batches until the validation accuracy reaches `target` or `limit_s` CPU seconds are over.

    `train(indices, progress)`: one step, with how much of `epochs` is done; `accuracy()`: on the validation set.
    Returns times from the start of the process, looks at the validation set included, and the curve.
    """
    began = float(os.environ.get(BEGAN, time.time()))
    rng = np.random.default_rng(seed)
    ready_s, checking_s, seen, due = cpu_seconds(), 0.0, 0, CHECK_EVERY
    curve: list[tuple[int, float, float]] = []
    reached = False
    for _ in range(epochs):
        order = rng.permutation(samples)
        for first in range(0, samples - batch + 1, batch):
            train(order[first:first + batch], seen / (epochs * samples))
            seen += batch
            if seen < due:
                continue
            due += CHECK_EVERY
            before = cpu_seconds()
            curve.append((seen, before, accuracy()))
            checking_s += cpu_seconds() - before
            reached = curve[-1][2] >= target
            if reached or cpu_seconds() > limit_s:
                break
        if reached or cpu_seconds() > limit_s:
            break
    return {
        "reached": reached, "cpu_s": cpu_seconds(), "wall_s": time.time() - began, "ready_cpu_s": ready_s,
        "checking_cpu_s": checking_s, "samples_seen": seen, "epochs": seen / samples, "limit_s": limit_s,
        "best": max((point[2] for point in curve), default=0.0), "curve": curve,
    }


def report(result: dict[str, Any]) -> None:
    """The last line of a contestant's output."""
    print(json.dumps(result), flush=True)
