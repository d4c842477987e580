"""Models that torch exports come in from ONNX with the numbers of the file, quickly and in little memory."""

from __future__ import annotations

import io
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from onnx_files import evaluated, kinds, op, saved
from torch import nn

import spikec
from spikec import Discretization
from spikec.compiler.frontends.models import load_model


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.norm1 = nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.conv2, self.norm2 = nn.Conv2d(8, 8, 3, padding="same", groups=2), nn.BatchNorm2d(8)
        self.fc = nn.Linear(8, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.norm1(self.conv1(x)))
        x = torch.relu(self.norm2(self.conv2(x)) + x)
        x = nn.functional.adaptive_avg_pool2d(x, 1)
        return self.fc(x.view(x.size(0), -1))


class Bare(nn.Module):
    """Products and sums without layers, a mean over the image, a normalised input."""

    def __init__(self) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.randn(2, 4)), nn.Parameter(torch.randn(4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = (x - torch.tensor([0.3, 0.1]).view(2, 1, 1)) / torch.tensor([0.5, 2.0]).view(2, 1, 1)
        x = torch.relu(x).mean((2, 3))
        return torch.clamp(x @ self.weight + self.bias, 0, 1.5) * 2 - torch.tensor([0.0, 1.0, 0.0, 2.0])


TORCH = {
    "mlp": (nn.Sequential(nn.Linear(6, 7), nn.ReLU(), nn.Linear(7, 3, bias=False)), (6,), "Affine Relu Linear"),
    "cnn": (nn.Sequential(nn.Conv2d(1, 4, 5, stride=2), nn.ReLU6(), nn.AvgPool2d(2, padding=1), nn.MaxPool2d(2),
                          nn.Flatten(), nn.Dropout(), nn.Linear(16, 3)), (1, 16, 16),
            "Conv2d Relu AvgPool2d MaxPool2d Flatten Affine"),
    "one axis": (nn.Sequential(nn.Conv1d(2, 4, 3, padding=1, dilation=2), nn.BatchNorm1d(4), nn.ReLU(),
                               nn.AvgPool1d(2), nn.Flatten(), nn.Linear(20, 3)), (2, 12),
                 "Conv1d Relu Conv1d Flatten Affine"),
    "even kernel": (nn.Sequential(nn.Conv2d(2, 4, (4, 2), padding="same"), nn.ReLU(), nn.Flatten()), (2, 7, 6),
                    "Conv2d Relu Flatten"),
    "residual": (Residual(), (3, 8, 8), "Conv2d Relu Conv2d Relu AvgPool2d Flatten Affine"),
    "bare": (Bare(), (2, 5, 4), "BatchNorm Scale Relu AvgPool2d Flatten Affine Relu Scale BatchNorm"),
}


def torch_exported(module: nn.Module, shape: tuple[int, ...], **options: Any) -> bytes:
    stream = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(module, (torch.randn(2, *shape),), stream, dynamo=False, input_names=["x"],
                          output_names=["y"], **options)
    return stream.getvalue()


@pytest.mark.parametrize("dynamic", [False, True], ids=["fixed batch", "any batch"])
@pytest.mark.parametrize("name", TORCH)
def test_models_that_torch_exports(name: str, dynamic: bool, tmp_path: Path) -> None:
    torch.manual_seed(1)
    module, shape, expected = TORCH[name]
    module.eval()
    for part in module.modules():
        if isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d):
            part.running_mean.normal_()
            part.running_var.uniform_(0.5, 2.0)
    options = {"dynamic_axes": {"x": {0: "batch"}}} if dynamic else {}
    (tmp_path / "net.onnx").write_bytes(torch_exported(module, shape, **options))
    graph = spikec.from_onnx(tmp_path / "net.onnx")
    value = torch.randn(2, *shape)
    with torch.no_grad():
        np.testing.assert_allclose(evaluated(graph, value.numpy()), module(value).numpy(), atol=2e-6)
    assert kinds(graph) == ["Input", *expected.split(), "Output"]
    assert graph.discretization is None


def test_parameters_come_in_bit_by_bit_under_the_names_of_the_modules(tmp_path: Path) -> None:
    module = nn.Sequential(nn.Linear(6, 7), nn.ReLU(), nn.Linear(7, 3))
    (tmp_path / "net.onnx").write_bytes(torch_exported(module, (6,)))
    graph = load_model(tmp_path / "net.onnx")
    assert list(graph.nodes) == ["x", "0", "1", "2", "y"]
    assert graph.nodes["0"].weight.dtype == np.float32
    np.testing.assert_array_equal(graph.nodes["0"].weight, module[0].weight.detach().numpy())
    np.testing.assert_array_equal(graph.nodes["2"].bias, module[2].bias.detach().numpy())


def test_a_grid_can_be_given(tmp_path: Path) -> None:
    path = saved(tmp_path, [op("Relu", "x")], [3])
    assert spikec.from_onnx(path, Discretization(1e-3)).discretization == Discretization(1e-3)


@pytest.mark.parametrize("turned", [False, True])
def test_ten_million_parameters(turned: bool, tmp_path: Path) -> None:
    """Seconds, and memory beyond what Python and its packages take, in units of the parameters."""
    path = saved(tmp_path, [op("Gemm", "x", "w", transB=int(turned))], [3000],
                 w=np.ones((3400, 3000) if turned else (3000, 3400), np.float32))
    code = f"""
import resource, time, onnx, spikec, spikec.compiler.frontends.onnx.frontend
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
start = time.process_time()
graph = spikec.from_onnx({str(path)!r})
print(time.process_time() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    seconds, kib = done.stdout.split()
    assert float(seconds) < 5
    assert float(kib) * 1024 < 2.5 * 4 * 3000 * 3400
