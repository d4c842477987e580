"""What the peers' workers share: reading a task, a raster for clocked simulators, matching spike counts, and the
protocol: the worker prints one JSON line when it is ready, then answers each line "N" on its input with the timings of
N training steps. Runs in a peer's own environment: numpy and the standard library only.

Weights are matched, since a clocked model's current jump and a discretised membrane differ from continuous time: one
factor a layer, found by bisection, brings the mean number of spikes to that of the exact simulation.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from common import collector_paused, pin, timed

LEARNING_RATE = 1e-6
"""Of every optimizer in timed steps: the work of an update without moving the spike counts."""


def parse_arguments(description: str | None) -> argparse.Namespace:
    """TASK.npz and the spike counts to match. Binds the process to its cores first, before any thread pool starts."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("task", type=Path)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--hidden-spikes", type=float, help="mean a sample, to be matched")
    parser.add_argument("--output-spikes", type=float, help="likewise")
    parser.add_argument("--hoist", action="store_true",
                        help="first layer's product for all time steps at once, not step by step")
    options = parser.parse_args()
    pin(options.threads)
    return options


def load_task(path: Path) -> SimpleNamespace:
    """The arrays of `tasks.Task.save`, scalars as Python numbers; `w_recurrent` None where there is none."""
    with np.load(path) as stored:
        values = {name: stored[name][()] if stored[name].ndim == 0 else stored[name] for name in stored.files}
    values.setdefault("w_recurrent", None)
    return SimpleNamespace(**values)


def raster(task: SimpleNamespace) -> np.ndarray[Any, np.dtype[np.float32]]:
    """(steps, batch, inputs): counts; an event at time t falls into column floor(t / dt)."""
    steps = round(float(task.duration / task.dt))
    batch = len(task.labels)
    dense = np.zeros((steps, batch, task.w_hidden.shape[1]), dtype=np.float32)
    sample = np.repeat(np.arange(batch), np.diff(task.offsets))
    column = np.minimum((task.times / task.dt).astype(np.int64), steps - 1)
    np.add.at(dense, (column, sample, task.indices), 1.0)
    return dense


def match(count: Callable[[float], float], wanted: float, start: float) -> float:
    """The factor at which `count(factor)`, a rising function, is within 2 % of `wanted`, or as near as bisection
    comes in 40 halvings of [start / 16, 16 start]."""
    low, high = start / 16, start * 16
    factor = start
    for _ in range(40):
        factor = float(np.sqrt(low * high))
        found = count(factor)
        if abs(found - wanted) <= 0.02 * wanted:
            break
        low, high = (factor, high) if found < wanted else (low, factor)
    return factor


def serve(step: Callable[[], object], ready: dict[str, Any]) -> None:
    """Answers until its input ends. `step` is one training step, waited for."""
    step()
    print(json.dumps(ready), flush=True)
    for line in sys.stdin:
        with collector_paused():
            samples = [timed(step) for _ in range(int(line))]
        print(json.dumps({"cpu_ms": [cpu for cpu, _ in samples], "wall_ms": [wall for _, wall in samples]}), flush=True)
