"""Models as the tutorials of the frameworks write them, and arguments as users mistake them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from torch import nn

import spikec
from spikec.ir.step import simulate_step

snntorch = pytest.importorskip("snntorch")

DT, BATCH = 1e-3, 2


class FedBack(nn.Module):
    """The output neurons get their own spikes of the step before."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.fc, self.back = nn.Linear(6, 10), nn.Linear(10, 10)
        self.lif = snntorch.Leaky(beta=0.9, threshold=0.3)

    def forward(self, x: Any) -> Any:
        mem, spikes, shown = self.lif.init_leaky(), torch.zeros(x.shape[1], 10), []
        for step in range(x.shape[0]):
            spikes, mem = self.lif(self.fc(x[step]) + self.back(spikes), mem)
            shown.append(spikes)
        return torch.stack(shown)


def test_an_output_whose_spikes_come_back_to_it_by_hand() -> None:
    module = FedBack()
    graph = spikec.from_torch(module, dt=DT, sample=torch.zeros(5, BATCH, 6))
    assert graph.metadata["import.check"] == "faithful on its grid"
    assert {("lif", "output"), ("lif", "back"), ("back", "lif")} <= set(graph.edges)
    raster = (np.random.default_rng(1).random((BATCH, 50, 6)) < 0.4).astype(np.float32)
    with torch.no_grad():
        theirs = module(torch.from_numpy(raster.swapaxes(0, 1).copy())).numpy().swapaxes(0, 1)
    np.testing.assert_array_equal(simulate_step(graph, raster).spikes["output"], theirs)
    assert 0 < theirs.mean() < 1


def test_spikingjelly_presents_an_image_as_often_as_its_tutorial() -> None:
    neuron = pytest.importorskip("spikingjelly.activation_based.neuron")
    from spikingjelly.activation_based import functional, layer

    class Image(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.net = nn.Sequential(layer.Conv2d(1, 4, 3, padding=1), neuron.IFNode(v_threshold=0.3),
                                     layer.AdaptiveAvgPool2d((2, 2)), layer.Flatten(), layer.Linear(16, 5),
                                     neuron.IFNode(v_threshold=0.1))
            functional.set_step_mode(self, "m")

        def forward(self, x: Any) -> Any:
            return self.net(x.unsqueeze(0).repeat(7, 1, 1, 1, 1)).mean(0)

    module = Image()
    with pytest.warns(spikec.SpikecWarning, match="SC227"):
        graph = spikec.from_torch(module, dt=DT, sample=torch.zeros(BATCH, 1, 8, 8))
    assert graph.metadata["import.check"] == "faithful on its grid"
    assert graph.metadata["import.check.steps"] == 7
    image = np.random.default_rng(2).random((BATCH, 1, 8, 8))
    with torch.no_grad():
        theirs = module.double()(torch.from_numpy(image)).numpy()
    ours = simulate_step(graph, np.repeat(image[:, None], 7, axis=1)).spikes["output"].mean(1)
    np.testing.assert_allclose(ours, theirs)
    assert 0 < theirs.mean() < 1


def _network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 3), snntorch.Leaky(beta=0.9, init_hidden=True))


class Weighted(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = _network()

    def forward(self, x: Any) -> Any:
        return self.net(torch.sub(x, x, alpha=3))


MISTAKES: dict[str, tuple[str, Callable[[spikec.Graph], Any]]] = {
    "weighted difference": ("SC226", lambda graph: spikec.from_torch(Weighted(), dt=DT, input_shape=(4,))),
    "no values": ("SC232", lambda graph: spikec.from_torch(_network().to("meta"), dt=DT)),
    "compiled": ("SC232", lambda graph: spikec.from_torch(torch.jit.script(nn.Linear(3, 3)), dt=DT)),
    "not a grid": ("SC116", lambda graph: spikec.to_onnx(graph, "x.onnx", 3)),  # type: ignore[arg-type]
    "a module for a graph": ("SC232", lambda graph: spikec.to_onnx(_network(), "x.onnx")),  # type: ignore[arg-type]
    "a module for a graph, NIR": ("SC232", lambda graph: spikec.to_nir(_network(), "x.nir")),  # type: ignore[arg-type]
    "a model in memory": ("SC525", lambda graph: spikec.from_onnx(onnx.ModelProto())),  # type: ignore[arg-type]
    "wrong unit": ("SC406", lambda graph: spikec.compile(graph, "clock").run(
        spikec.Events([0.001], [0], [0, 1]), duration=1e15)),
    "no samples": ("SC562", lambda graph: spikec.validate(graph, graph, np.zeros((0, 5, 4)))),
    "no columns": ("SC562", lambda graph: spikec.validate(graph, graph, np.zeros((2, 0, 4)))),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_a_mistake_is_told(case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code, attempt = MISTAKES[case]
    monkeypatch.chdir(tmp_path)
    with pytest.raises(spikec.SpikecError, match=code):
        attempt(spikec.from_torch(_network(), dt=DT))
    assert not list(tmp_path.iterdir())


def test_a_raster_of_no_samples_runs() -> None:
    graph = spikec.from_torch(_network(), dt=DT)
    for target in ("event", "clock"):
        result = spikec.compile(graph, target).run(np.zeros((0, 5, 4)), dt=DT, duration=5 * DT)
        assert result.spikes["output"].batch == 0
