"""Models whose forward loops over time, in the styles of snnTorch's users, against runs of their own."""

from __future__ import annotations

import re
import time
import tracemalloc
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
snntorch = pytest.importorskip("snntorch")

import torch.nn.functional as F  # noqa: E402
from snntorch import utils  # noqa: E402
from torch import nn  # noqa: E402

from spikec.compiler.frontends import import_check, registry  # noqa: E402
from spikec.compiler.frontends.torch_frontend import from_torch  # noqa: E402
from spikec.ir import nodes  # noqa: E402
from spikec.ir.diagnostics import SpikecWarning, UnsupportedError  # noqa: E402
from spikec.ir.graph import Graph  # noqa: E402
from spikec.ir.step import simulate_step  # noqa: E402

DT = 1e-3
STEPS, BATCH = 9, 3


@pytest.fixture(autouse=True)
def _seeded() -> Iterator[None]:
    torch.manual_seed(3)
    with warnings.catch_warnings():
        warnings.simplefilter("error", SpikecWarning)
        yield


class Two(nn.Module):
    """Two layers, whose `forward` the classes below write."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.lif1 = nn.Linear(12, 20), snntorch.Leaky(0.9, threshold=0.5)
        self.fc2, self.lif2 = nn.Linear(20, 5), snntorch.Leaky(0.8, threshold=0.3)


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


class TimeFirst(Two):
    def forward(self, x: Any) -> Any:
        mem1, mem2, recorded = self.lif1.reset_mem(), self.lif2.reset_mem(), []
        for step in range(x.size(0)):
            spk1, mem1 = self.lif1(self.fc1(x[step]), mem1)
            spk2, mem2 = self.lif2(self.fc2(spk1), mem2)
            recorded.append(spk2)
        return torch.stack(recorded)


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


class Listed(nn.Module):
    """Layers in lists, states in a list, a skip connection, and features side by side."""

    def __init__(self) -> None:
        super().__init__()
        sizes = [(12, 20), (20, 20), (40, 5)]
        self.layers = nn.ModuleList(nn.Linear(*size) for size in sizes)
        self.cells = nn.ModuleList(snntorch.Synaptic(alpha=0.6, beta=0.8, threshold=0.4) for _ in sizes)

    def forward(self, x: Any) -> Any:
        states, recorded = [cell.init_synaptic() for cell in self.cells], []
        for each in x:
            first, *states[0] = self.cells[0](self.layers[0](each), *states[0])
            second, *states[1] = self.cells[1](self.layers[1](first) + first, *states[1])
            last, *states[2] = self.cells[2](self.layers[2](torch.cat([first, second], dim=1)), *states[2])
            recorded.append(last)
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


# ---- what is left out, and what is refused

class Summed(TimeFirst):
    def forward(self, x: Any) -> Any:
        return super().forward(x).sum(0)


class Added(Two):
    def forward(self, x: Any) -> Any:
        mem, total = self.lif1.reset_mem(), 0
        for each in x:
            spikes, mem = self.lif1(self.fc1(each), mem)
            total = total + spikes
        return F.log_softmax(total / len(x), dim=1)


class LastStep(Two):
    def forward(self, x: Any) -> Any:
        mem = self.lif1.reset_mem()
        for each in x:
            spikes, mem = self.lif1(self.fc1(each), mem)
        return spikes


@pytest.mark.parametrize(("make", "said"), [
    (Summed, "sum over time"), (Added, "sum over time, truediv, log_softmax"), (LastStep, "all steps but the last")])
def test_what_follows_the_spikes_is_left_out_and_said(make: Callable[[], nn.Module], said: str) -> None:
    with pytest.warns(SpikecWarning, match=f"SC227 at 'output'.*{said}"):
        graph = from_torch(make(), dt=DT, sample=torch.rand(STEPS, BATCH, 12))
    assert graph.sources["output"][0] in ("lif1", "lif2")
    assert graph.metadata["import.check"] == "faithful on its grid"


class Forgetful(Two):
    def forward(self, x: Any) -> Any:
        recorded = []
        for each in x:
            spikes, _ = self.lif1(self.fc1(each), self.lif1.reset_mem())
            recorded.append(spikes)
        return torch.stack(recorded)


class Tampered(Two):
    def forward(self, x: Any) -> Any:
        mem, recorded = self.lif1.reset_mem(), []
        for each in x:
            spikes, mem = self.lif1(self.fc1(each), mem)
            mem = mem * 0.5
            recorded.append(spikes)
        return torch.stack(recorded)


class Swapped(Listed):
    def forward(self, x: Any) -> Any:
        syn, mem = self.cells[0].init_synaptic()
        for each in x:
            spikes, syn, mem = self.cells[0](self.layers[0](each), mem, syn)
        return spikes


class Irregular(Two):
    def forward(self, x: Any) -> Any:
        mem, recorded = self.lif1.reset_mem(), []
        for step, each in enumerate(x):
            current = self.fc1(each) * 2 if step == 4 else self.fc1(each)
            spikes, mem = self.lif1(current, mem)
            recorded.append(spikes)
        return torch.stack(recorded)


class Sparse(Two):
    def forward(self, x: Any) -> Any:
        mem1, mem2 = self.lif1.reset_mem(), self.lif2.reset_mem()
        for step, each in enumerate(x):
            spikes, mem1 = self.lif1(self.fc1(each), mem1)
            if step % 2:
                last, mem2 = self.lif2(self.fc2(spikes), mem2)
        return last


class Charged(Two):
    def forward(self, x: Any) -> Any:
        mem = torch.ones(x.shape[1], 20)
        for each in x:
            spikes, mem = self.lif1(self.fc1(each), mem)
        return spikes


class Branching(Two):
    def forward(self, x: Any) -> Any:
        mem = self.lif1.reset_mem()
        for each in x:
            spikes, mem = self.lif1(self.fc1(each), mem)
            if spikes.sum() > 0:
                break
        return spikes


class Reading(Two):
    def forward(self, x: Any) -> Any:
        return self.fc1(x[0]) * x.mean().item()


class Unknown(Two):
    def __init__(self) -> None:
        super().__init__()
        self.gelu = nn.GELU()

    def forward(self, x: Any) -> Any:
        mem, recorded = self.lif1.reset_mem(), []
        for each in x:
            current = torch.tanh(self.gelu(self.fc1(each)))
            spikes, mem = self.lif1(torch.sigmoid(current), mem)
            recorded.append(spikes)
        return torch.stack(recorded)


REFUSED: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "forgotten state": (Forgetful, r"SC226 at 'lif1': .*new state at every call.*Hand each call"),
    "changed state": (Tampered, r"SC226 at 'lif1': the state .* not the one that they returned"),
    "swapped states": (Swapped, r"SC226 at 'cells.0': the state .* in the same order"),
    "odd step": (Irregular, r"SC226 at 'lif1': the steps of the loop .* differ.*step 4"),
    "every other step": (Sparse, r"SC226 at 'lif2': .*not called at every step.*4 of 9"),
    "charged membrane": (Charged, r"SC223 at 'lif1': .*state other than zero"),
    "branch on values": (Branching, r"SC221: .*branches on the values .*if spikes\.sum\(\) > 0"),
    "value read": (Reading, r"SC221: .*x\.mean\(\)\.item\(\)"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_one_step_is_refused_with_its_line(case: str) -> None:
    make, text = REFUSED[case]
    with pytest.raises(UnsupportedError, match=text) as caught:
        from_torch(make(), dt=DT, sample=torch.rand(STEPS, BATCH, 12))
    assert "test_torch_trace.py:" in str(caught.value)
    assert len(caught.value.diagnostics) == 1, "the fault itself, and not what follows from it"


def test_everything_unsupported_is_listed_at_once_with_its_line() -> None:
    with pytest.raises(UnsupportedError) as caught:
        from_torch(Unknown(), dt=DT, sample=torch.rand(STEPS, BATCH, 12))
    found = {(each.code, each.node) for each in caught.value.diagnostics}
    assert found == {("SC220", "gelu"), ("SC226", "tanh"), ("SC226", "sigmoid")}
    assert all("test_torch_trace.py:" in each.message for each in caught.value.diagnostics)
    assert "torch.tanh(self.gelu(self.fc1(each)))" in caught.value.diagnostics[0].message


def test_without_a_sample_the_number_of_steps_is_asked_for() -> None:
    with pytest.raises(UnsupportedError, match=r"SC221: .*range\(x\.size\(0\)\).*sample="):
        from_torch(TimeFirst(), dt=DT)


# ---- functions and layers

class Functional(nn.Module):
    """Functions in the place of modules, and a join of channels and features."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.side = nn.Conv2d(2, 4, 3, padding="same", groups=2, dilation=2), nn.Linear(5, 3)
        self.kernel, self.matrix = nn.Parameter(torch.randn(4, 8, 3, 3)), nn.Parameter(torch.randn(6, 16 + 3))
        self.cells = nn.ModuleList(snntorch.Leaky(0.8, threshold=0.3, init_hidden=True) for _ in range(5))
        self.pool = nn.AdaptiveAvgPool2d((2, 2))

    def forward(self, x: Any, y: Any) -> Any:
        hidden = self.cells[0](F.dropout(self.conv(x), 0.5, self.training))
        joined = torch.cat((hidden, self.cells[1](self.conv(x) - hidden)), 1)
        hidden = self.cells[2](F.conv2d(F.avg_pool2d(joined, 2), self.kernel, padding=1))
        flat = self.pool(F.max_pool2d(hidden, 2)).flatten(1)
        return self.cells[4](F.linear(torch.cat([flat, self.cells[3](self.side(y))], dim=1), self.matrix))


def test_functions_are_layers_and_features_are_joined() -> None:
    graph = from_torch(Functional(), dt=DT, sample=(torch.rand(3, 2, 16, 16), torch.rand(3, 5)))
    assert graph.metadata["import.check"] == "faithful on its grid"
    assert graph.metadata["import.check.fired"] > 0.3
    kinds = [type(node).__name__ for node in graph.nodes.values()]
    assert kinds.count("SparseLinear") == 2
    assert {"MaxPool2d", "AvgPool2d", "Flatten"} <= set(kinds)


def test_layers_of_one_dimension_pool_and_the_mean_of_an_image() -> None:
    def cells() -> Any:
        return snntorch.Leaky(0.8, threshold=0.2, init_hidden=True)

    class Mean(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.lif, self.fc, self.out = nn.Conv2d(1, 4, 3), cells(), nn.Linear(4, 3), cells()

        def forward(self, x: Any) -> Any:
            return self.out(self.fc(self.lif(self.conv(x)).mean(dim=[2, 3])))

    line = nn.Sequential(nn.Conv1d(2, 4, 3), cells(), nn.AvgPool1d(2), nn.Flatten(), nn.Linear(16, 3), cells())
    for module, shape in ((line, (2, 11)), (Mean(), (1, 8, 8))):
        assert from_torch(module, dt=DT, input_shape=shape).metadata["import.check"] == "faithful on its grid"


def test_a_network_without_spikes_comes_in() -> None:
    module = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.AvgPool2d(2), nn.Flatten(),
                           nn.Linear(36, 5), nn.ReLU6(), nn.Linear(5, 2), nn.LogSoftmax(dim=1))
    with pytest.warns(SpikecWarning, match="SC227.*LogSoftmax"):
        graph = from_torch(module, input_shape=(1, 8, 8))
    assert [name for name, node in graph.nodes.items() if isinstance(node, nodes.Relu)] == ["2", "6"]
    assert graph.nodes["6"].ceiling.flat[0] == 6
    assert graph.discretization is None
    assert graph.metadata["import.check"] == "faithful"


def test_the_check_finds_a_wrong_layer_of_a_network_without_spikes(monkeypatch: pytest.MonkeyPatch) -> None:
    class Slope(nn.Module):
        def forward(self, x: Any) -> Any:
            return torch.relu(x) * 1.001

    def convert(conversion: Any, module: Any, name: str, inputs: Any) -> Any:
        return conversion.add(name, nodes.Relu(), conversion.signal(inputs[0], name))

    monkeypatch.setattr(registry, "_registered", {})
    registry.register(registry.qualified_name(Slope), registry.Leaf(convert))
    with pytest.warns(SpikecWarning, match="SC224 at '1'.*values differ by up to"):
        graph = from_torch(nn.Sequential(nn.Linear(6, 8), Slope(), nn.Linear(8, 2)))
    assert graph.metadata["import.check"] == "differs"


@pytest.mark.parametrize(("module", "shape", "text"), [
    (nn.AdaptiveAvgPool2d(3), (1, 8, 8), "SC223.*windows of different sizes"),
    (nn.Sequential(nn.Linear(3, 2), nn.Softmax(dim=1), nn.Linear(2, 2)), (3,), "SC223 at '1'.*at the end"),
])
def test_layers_that_a_graph_cannot_say_are_refused(module: nn.Module, shape: tuple[int, ...], text: str) -> None:
    with pytest.raises(UnsupportedError, match=text):
        from_torch(module, input_shape=shape)


# ---- the check

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


# ---- the registry

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
