"""A framework's neurons beside those of the graph that was imported from them, step by step."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from spikec.ir.diagnostics import SpikecWarning
from spikec.ir.graph import Graph
from spikec.ir.step import simulate_step

Array = np.ndarray[Any, np.dtype[Any]]

STEPS, BATCH = 1000, 2
INPUTS, NEURONS = 6, 5
MEMBRANE = 1e-9


def seeded(seed: int, *ignored: str) -> Callable[[], Iterator[None]]:
    """A fixture for every test of a file: weights drawn from `seed`, and a warning of spikec is an error. `ignored`:
    warnings of a framework."""

    @pytest.fixture(autouse=True)
    def fixture() -> Iterator[None]:
        torch.manual_seed(seed)
        with warnings.catch_warnings():
            warnings.simplefilter("error", SpikecWarning)
            for message in ignored:
                warnings.filterwarnings("ignore", message)
            yield

    return fixture


def behind_weights(cells: nn.Module, gain: float = 2.0) -> nn.Sequential:
    """A layer of INPUTS weights to each of NEURONS neurons, and the neurons."""
    module = nn.Sequential(nn.Linear(INPUTS, NEURONS), cells)
    with torch.no_grad():
        module[0].weight.mul_(gain)
    return module


def three_samples(shape: tuple[int, ...] = (INPUTS,), steps: int = STEPS, height: float = 2.0) -> Array:
    """(batch, time, *shape): sparse spikes, dense ones, and values of any sign, of a deviation of `height`."""
    rng = np.random.default_rng(7)
    spikes = rng.random((2, steps, *shape)) < np.array([0.1, 0.6]).reshape(2, *(1,) * (1 + len(shape)))
    return np.concatenate([spikes.astype(float), height * rng.standard_normal((1, steps, *shape))])


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
