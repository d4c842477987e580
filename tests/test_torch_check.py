"""The check after an import: what it notices, what it needs, and what it costs."""

from __future__ import annotations

import re
import time
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import snntorch
import torch
from torch import nn
from torch_models import DT, STEPS, TimeFirst

from spikec.compiler.frontends.pytorch import import_check, registry
from spikec.compiler.frontends.pytorch.frontend import from_torch
from spikec.ir.diagnostics import SpikecWarning
from spikec.ir.graph import Graph

pytestmark = pytest.mark.usefixtures("seeded")


def test_the_check_notices_a_state_that_the_module_forgets() -> None:
    """A neuron that keeps no state of its own, called without one: the graph remembers, and the check says so."""
    class Forgets(snntorch.Leaky):  # its forward is that of Leaky, its behaviour is not
        def fire(self, mem: Any) -> Any:
            return super().fire(mem * 0.5)

    module = nn.Sequential(nn.Linear(6, 8), Forgets(0.9, threshold=0.3, init_hidden=True))
    assert registry.leaf_of(module[1]) is not None
    with pytest.warns(SpikecWarning, match=r"SC224 at '1'.*step \d+"):
        graph = from_torch(module, dt=DT)
    assert graph.metadata["import.check"] == "differs"


def test_a_model_that_insists_on_its_batch_is_checked_with_it() -> None:
    class Fixed(TimeFirst):
        def forward(self, x: Any) -> Any:
            return super().forward(x.view(STEPS, 2, 12))

    graph = from_torch(Fixed(), dt=DT, sample=torch.rand(STEPS, 2, 12))
    assert graph.metadata["import.check"] == "faithful on its grid"


def test_a_source_that_cannot_run_gives_no_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*arguments: Any) -> None:
        raise RuntimeError("no such device")

    monkeypatch.setattr(import_check, "run_source", fails)
    with pytest.warns(SpikecWarning, match="SC224.*could not be run.*no such device"):
        graph = from_torch(TimeFirst(), dt=DT, sample=torch.rand(STEPS, 2, 12))
    assert graph.metadata["import.check"] == "not possible"


def test_a_large_network_comes_in_quickly_and_in_little_memory() -> None:
    module = nn.Sequential(nn.Linear(784, 3000), snntorch.Leaky(0.9, init_hidden=True), nn.Linear(3000, 2500),
                           snntorch.Leaky(0.9, init_hidden=True), nn.Linear(2500, 10),
                           snntorch.Leaky(0.9, init_hidden=True))
    size = sum(parameter.numel() for parameter in module.parameters()) * 4
    tracemalloc.start()
    started = time.process_time()
    graph: Graph = from_torch(module, dt=DT)
    taken = time.process_time() - started
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert graph.metadata["import.check"] == "faithful on its grid"
    assert taken < 15, "seconds of a processor; 5 s on a machine that does nothing else"
    assert most < 2 * size


def test_the_example_of_a_converter_in_the_documentation(monkeypatch: pytest.MonkeyPatch) -> None:
    class Gain(nn.Module):
        gain = 3.0

        def forward(self, x: Any) -> Any:
            return x * self.gain if x.sum() > 0 else x  # cannot be traced, and is not

    Gain.__module__, Gain.__qualname__ = "mypackage.layers", "Gain"
    text = (Path(__file__).parents[1] / "docs" / "importing.md").read_text()
    (section,) = re.findall(r"\n## PyTorch\n(.*?)\n## ", text, re.DOTALL)
    (example,) = re.findall(r"```py\n(.*?)```", section, re.DOTALL)
    assert len(example.strip().splitlines()) <= 10
    monkeypatch.setattr(registry, "_registered", {})
    exec(compile(example, "importing.md", "exec"), {})
    graph = from_torch(nn.Sequential(Gain(), nn.Linear(2, 1)), input_shape=(2,))
    np.testing.assert_array_equal(graph.nodes["0"].scale, [3.0, 3.0])


def test_a_check_in_which_nothing_spiked_is_told() -> None:
    module = nn.Sequential(nn.Linear(6, 8), snntorch.Leaky(0.9, threshold=1e9, init_hidden=True))
    with pytest.warns(SpikecWarning, match=r"SC224: no neuron spiked .*spikec validate"):
        graph = from_torch(module, dt=DT)
    assert graph.metadata["import.check.fired"] == 0
    assert graph.metadata["import.check"] == "faithful on its grid"


def test_a_check_in_which_nothing_spikes_goes_on_with_more_input() -> None:
    module = nn.Sequential(nn.Linear(6, 8), snntorch.Leaky(0.9, threshold=100.0, init_hidden=True))
    assert from_torch(module, dt=DT).metadata["import.check.fired"] > 0
