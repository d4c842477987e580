"""A framework's neurons beside those of the graph that was imported from them, step by step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from spikec.ir.graph import Graph
from spikec.ir.step import simulate_step

Array = np.ndarray[Any, np.dtype[Any]]

STEPS, BATCH = 1000, 2
MEMBRANE = 1e-9


def drive(shape: tuple[int, ...], rate: float = 0.3, height: float = 1.0, steps: int = STEPS) -> Array:
    """Random input (batch, time, *shape), of 0 and `height`; the second sample is twice as strong."""
    raster = (np.random.default_rng(7).random((BATCH, steps, *shape)) < rate) * height
    return raster * np.array([1.0, 2.0]).reshape(-1, *(1,) * (raster.ndim - 1))


def assert_same(graph: Graph, raster: Array, spikes: Mapping[str, Array], membranes: Mapping[str, Array]) -> None:
    """Spikes are equal in every step, membranes within `MEMBRANE` of their size; every layer fires, and none always."""
    ours = simulate_step(graph, raster)
    for name, theirs in spikes.items():
        assert 0.001 < theirs.mean() < 0.999, f"{name} fires {theirs.mean():.4f} times a step: nothing is shown"
        wrong = np.argwhere(ours.spikes[name] != theirs)
        assert len(wrong) == 0, f"{name}: first at (sample, step, neuron) {min(wrong.tolist(), key=lambda at: at[1])}"
    for name, theirs in membranes.items():
        size = max(1.0, float(np.abs(theirs).max()))
        assert np.abs(ours.voltage[name] - theirs).max() <= MEMBRANE * size, name
