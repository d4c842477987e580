"""Models whose forward loops over time, in the styles of snnTorch's users, against runs of their own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import snntorch
import torch
from snntorch import utils
from torch import nn
from torch_models import BATCH, DT, STEPS, Listed, TimeFirst, Two

from spikec.compiler.frontends.pytorch.frontend import from_torch
from spikec.ir import nodes
from spikec.ir.step import simulate_step

pytestmark = pytest.mark.usefixtures("seeded")


class ConstantInput(Two):
    """The tutorials' style: the same input at every step."""

    def forward(self, x: Any) -> Any:
        mem1, mem2, recorded = self.lif1.init_leaky(), self.lif2.init_leaky(), []
        for _ in range(STEPS):
            cur1 = self.fc1(x)
            spk1, mem1 = self.lif1(cur1, mem1)
            spk2, mem2 = self.lif2(self.fc2(spk1), mem2)
            recorded.append(spk2)
        return torch.stack(recorded, dim=0)


class BatchFirst(Two):
    """Sizes are unpacked, states are made of zeros, and a layer is computed for all steps before the loop."""

    def forward(self, x: Any) -> Any:
        batch, steps, _ = x.shape
        mem1, mem2 = torch.zeros(batch, 20, device=x.device), torch.zeros(batch, 5)
        current, recorded = self.fc1(x), []
        for step in range(steps):
            spk1, mem1 = self.lif1(current[:, step], mem1)
            spk2, mem2 = self.lif2(self.fc2(spk1), mem2)
            recorded.append(spk2.unsqueeze(1))
        return torch.cat(recorded, dim=1)


class Permuted(TimeFirst):
    def forward(self, x: Any) -> Any:
        return super().forward(x.permute(1, 0, 2)).transpose(0, 1)


class Feedback(Two):
    """Recurrent by hand: within a layer, and from the second to the first, with a bias on the way."""

    def __init__(self) -> None:
        super().__init__()
        self.rec, self.back = nn.Linear(20, 20), nn.Linear(5, 20, bias=False)

    def forward(self, x: Any) -> Any:
        mem1, mem2, recorded = self.lif1.reset_mem(), self.lif2.reset_mem(), []
        spk1, spk2 = torch.zeros(x.shape[1], 20), torch.zeros(x.shape[1], 5)
        for each in x:
            spk1, mem1 = self.lif1(self.fc1(each) + self.rec(spk1) + self.back(spk2), mem1)
            spk2, mem2 = self.lif2(self.fc2(spk1), mem2)
            recorded.append(spk2)
        return torch.stack(recorded)


class Pipelined(Two):
    """The second layer takes the spikes of the step before: not a cycle, so a delay."""

    def forward(self, x: Any) -> Any:
        mem1, mem2, recorded = self.lif1.reset_mem(), self.lif2.reset_mem(), []
        spk1 = torch.zeros(x.shape[1], 20)
        for each in x.unbind(0):
            spk2, mem2 = self.lif2(self.fc2(spk1), mem2)
            spk1, mem1 = self.lif1(self.fc1(each), mem1)
            recorded.append(spk2)
        return torch.stack(recorded)


class Shared(Two):
    """One module for two layers, each with a state of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.fc2 = nn.Linear(20, 20)

    def forward(self, x: Any) -> Any:
        one, two, recorded = self.lif1.reset_mem(), self.lif1.reset_mem(), []
        for each in x:
            spikes, one = self.lif1(self.fc1(each), one)
            spikes, two = self.lif1(self.fc2(spikes), two)
            recorded.append(spikes)
        return torch.stack(recorded)


class Hidden(nn.Module):
    """States inside of the neurons, in an nn.Sequential, and a recurrent layer."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(1, 4, 3), snntorch.Leaky(0.9, threshold=0.3, init_hidden=True), nn.MaxPool2d(2), nn.Flatten(),
            nn.Linear(36, 12), snntorch.RLeaky(0.8, threshold=0.3, linear_features=12, init_hidden=True),
            nn.Linear(12, 5), snntorch.Leaky(0.9, threshold=0.3, init_hidden=True, output=True))

    def forward(self, x: Any) -> Any:
        utils.reset(self.net)
        return torch.stack([self.net(x[step])[0] for step in range(x.size(0))])


SEQUENCES: dict[str, tuple[Callable[[], nn.Module], str, str, tuple[int, ...]]] = {
    "time first": (TimeFirst, "time_first", "lif2", (12,)),
    "batch first": (BatchFirst, "batch_first", "lif2", (12,)),
    "permuted": (Permuted, "batch_first", "lif2", (12,)),
    "feedback": (Feedback, "time_first", "lif2", (12,)),
    "pipelined": (Pipelined, "time_first", "lif2", (12,)),
    "shared": (Shared, "time_first", "lif1_2", (12,)),
    "lists": (Listed, "time_first", "cells.2", (12,)),
    "hidden": (Hidden, "time_first", "net.7", (1, 8, 8)),
}


def _outputs(module: nn.Module, raster: Any, axis: int) -> Any:
    """The stacked spikes of a module in float64, (batch, time, *shape)."""
    for part in module.modules():
        if hasattr(part, "spike_grad"):
            part.spike_grad = lambda value: (value > 0).to(value.dtype)
    with torch.no_grad():
        torch.set_default_dtype(torch.float64)
        try:
            found = module.double()(torch.from_numpy(raster if axis else raster.swapaxes(0, 1).copy()))
        finally:
            torch.set_default_dtype(torch.float32)
    return found.numpy() if axis else found.numpy().swapaxes(0, 1)


@pytest.mark.parametrize("case", SEQUENCES)
def test_a_loop_over_time_becomes_one_step(case: str) -> None:
    make, layout, shown, shape = SEQUENCES[case]
    module = make()
    axis = int(layout == "batch_first")
    sample = torch.rand(BATCH, STEPS, *shape) if axis else torch.rand(STEPS, BATCH, *shape)
    graph = from_torch(module, dt=DT, sample=sample)
    assert graph.metadata["import.check"] == "faithful on its grid"
    assert (graph.metadata["import.layout"], graph.metadata["import.steps"]) == (layout, STEPS)
    assert graph.nodes["input"].shape == shape
    raster = (np.random.default_rng(5).random((BATCH, STEPS, *shape)) < 0.5).astype(np.float64)
    theirs = _outputs(module, raster, axis)
    np.testing.assert_array_equal(simulate_step(graph, raster).spikes[shown], theirs)
    assert 0 < theirs.mean() < 1


@pytest.mark.parametrize("given", [{}, {"input_shape": (12,)}, {"sample": torch.rand(4, 12)}])
def test_an_input_used_whole_is_presented_at_every_step(given: dict[str, Any]) -> None:
    module = ConstantInput()
    graph = from_torch(module, dt=DT, **given)
    assert graph.metadata["import.input"] == "presented at every step"
    assert graph.metadata["import.check"] == "faithful on its grid"
    pattern = np.random.default_rng(1).random((BATCH, 12))
    raster = np.repeat(pattern[:, None], STEPS, axis=1)
    for part in module.modules():
        if hasattr(part, "spike_grad"):
            part.spike_grad = lambda value: (value > 0).to(value.dtype)
    with torch.no_grad():
        theirs = module.double()(torch.from_numpy(pattern)).numpy().swapaxes(0, 1)
    np.testing.assert_array_equal(simulate_step(graph, raster).spikes["output"], theirs)
    assert theirs.any()


def test_feedback_by_hand_is_left_to_the_grid_and_a_pipeline_has_delays() -> None:
    sample = torch.rand(STEPS, BATCH, 12)
    feedback = from_torch(Feedback(), dt=DT, sample=sample)
    assert {("lif1", "rec"), ("rec", "lif1"), ("lif2", "back"), ("back", "lif1")} <= set(feedback.edges)
    assert not any(isinstance(node, nodes.Delay) for node in feedback.nodes.values())
    pipelined = from_torch(Pipelined(), dt=DT, sample=sample)
    (delay,) = (node.delay for node in pipelined.nodes.values() if isinstance(node, nodes.Delay))
    np.testing.assert_allclose(delay, DT)
