"""Functions and layers of torch without spikes come in; those that a graph cannot say are refused."""

from __future__ import annotations

from typing import Any

import pytest
import snntorch
import torch
import torch.nn.functional as F
from torch import nn
from torch_models import DT

from spikec.compiler.frontends.pytorch import registry
from spikec.compiler.frontends.pytorch.frontend import from_torch
from spikec.ir import nodes
from spikec.ir.diagnostics import SpikecWarning, UnsupportedError

pytestmark = pytest.mark.usefixtures("seeded")


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
                           nn.Linear(36, 5), nn.ReLU6(), nn.Linear(5, 2), nn.LogSoftmax(dim=1)).eval()
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
