"""Tensors that forward fills step by step come in as the stacks that they are, and named results as their parts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import nn
from torch_models import BATCH, DT, STEPS, Two

from spikec.compiler.frontends.pytorch.frontend import from_torch
from spikec.ir.diagnostics import SpikecWarning, UnsupportedError
from spikec.ir.step import simulate_step

pytestmark = pytest.mark.usefixtures("seeded")


def _runs(model: Any, x: Any) -> Any:
    """The spikes of the first layer, one step after another."""
    mem = model.lif1.reset_mem()
    for each in x:
        spikes, mem = model.lif1(model.fc1(each), mem)
        yield spikes


class ByStep(Two):
    def forward(self, x: Any) -> Any:
        filled = torch.zeros(x.shape[0], x.shape[1], 20)
        for step, spikes in enumerate(_runs(self, x)):
            filled[step] = spikes
        return filled


class MadeLikeTheInput(Two):
    def forward(self, x: Any) -> Any:
        filled = x.new_empty(x.shape[0], x.shape[1], 20)
        for step, spikes in enumerate(_runs(self, x)):
            filled[step, :, :] = spikes
        return filled


class AlongTheSecondAxis(Two):
    def forward(self, x: Any) -> Any:
        filled = torch.empty(x.shape[1], x.shape[0], 20)
        for step, spikes in enumerate(_runs(self, x)):
            filled[:, step] = spikes
        return filled


class TakenUpAgain(Two):
    """A second loop reads what the first one filled."""

    def forward(self, x: Any) -> Any:
        filled, last = torch.zeros(x.shape[0], x.shape[1], 20), torch.zeros(x.shape[0], x.shape[1], 5)
        mem1, mem2 = self.lif1.reset_mem(), self.lif2.reset_mem()
        for step in range(x.shape[0]):
            filled[step], mem1 = self.lif1(self.fc1(x[step]), mem1)
        for step in range(x.shape[0]):
            last[step], mem2 = self.lif2(self.fc2(filled[step]), mem2)
        return last


FILLED: dict[str, tuple[Callable[[], nn.Module], int, str]] = {
    "by step": (ByStep, 1, "lif1"), "made like the input": (MadeLikeTheInput, 1, "lif1"),
    "along the second axis": (AlongTheSecondAxis, 0, "lif1"), "taken up again": (TakenUpAgain, 1, "lif2")}


@pytest.mark.parametrize("case", FILLED)
def test_a_tensor_that_is_filled_step_by_step_is_a_stack(case: str) -> None:
    make, batch, shown = FILLED[case]
    model = make()
    graph = from_torch(model, dt=DT, sample=torch.rand(STEPS, BATCH, 12))
    assert graph.metadata["import.check"] == "faithful on its grid"
    assert [graph.sources[name] for name in graph.outputs] == [(shown,)]
    raster = (np.random.default_rng(2).random((BATCH, STEPS, 12)) < 0.5).astype(np.float32)
    with torch.no_grad():
        theirs = model(torch.from_numpy(raster).transpose(0, 1)).numpy()
    theirs = theirs.swapaxes(0, 1) if batch else theirs
    np.testing.assert_array_equal(simulate_step(graph, raster).spikes[shown], theirs)
    assert 0 < theirs.mean() < 1


def test_what_is_made_of_a_filled_tensor_is_left_out_and_said() -> None:
    class Largest(ByStep):
        def forward(self, x: Any) -> Any:
            largest, _ = torch.max(super().forward(x), 0)
            return torch.log_softmax(largest, dim=1)

    with pytest.warns(SpikecWarning, match="SC227 at 'output'.*max over time, log_softmax"):
        graph = from_torch(Largest(), dt=DT, sample=torch.rand(STEPS, BATCH, 12))
    assert graph.sources["output"] == ("lif1",)


class NotFull(Two):
    def forward(self, x: Any) -> Any:
        filled = torch.zeros(x.shape[0] + 1, x.shape[1], 20)
        for step, spikes in enumerate(_runs(self, x)):
            filled[step + 1] = spikes
        return filled


class ReadMeanwhile(Two):
    def forward(self, x: Any) -> Any:
        filled, mem = torch.zeros(x.shape[0], x.shape[1], 20), self.lif1.reset_mem()
        for step in range(x.shape[0]):
            filled[step], mem = self.lif1(self.fc1(x[step]) + filled[step - 1], mem)
        return filled


@pytest.mark.parametrize("make", [NotFull, ReadMeanwhile])
def test_a_tensor_that_is_filled_in_another_way_is_refused_with_its_line(make: Callable[[], nn.Module]) -> None:
    with pytest.raises(UnsupportedError, match=r"SC226: a tensor is filled .*torch\.stack") as caught:
        from_torch(make(), dt=DT, sample=torch.rand(STEPS, BATCH, 12))
    assert f"{Path(__file__).name}:" in str(caught.value)
    assert len(caught.value.diagnostics) == 1


class Parts(NamedTuple):
    first: Any
    second: Any


@dataclass
class Record:
    first: Any
    second: Any


@pytest.mark.parametrize("kind", [Parts, Record])
def test_a_result_with_names_is_its_parts(kind: Callable[[Any, Any], Any]) -> None:
    class Named(Two):
        def forward(self, x: Any) -> Any:
            mem1, mem2, one, two = self.lif1.reset_mem(), self.lif2.reset_mem(), [], []
            for each in x:
                spk1, mem1 = self.lif1(self.fc1(each), mem1)
                spk2, mem2 = self.lif2(self.fc2(spk1), mem2)
                one.append(spk1)
                two.append(spk2)
            return kind(torch.stack(one), torch.stack(two))

    graph = from_torch(Named(), dt=DT, sample=torch.rand(STEPS, BATCH, 12))
    assert {name: graph.sources[name] for name in graph.outputs} == {"first": ("lif1",), "second": ("lif2",)}
