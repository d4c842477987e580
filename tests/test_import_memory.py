"""What an import may take of memory: a network of over a million parameters, in multiples of these.

Counted is what numpy allocates (tracemalloc). The graph has one copy of the parameters, which is 1.0; the modules and
files themselves are not counted. benchmarks/importing.py measures the whole process, at ten times the size.
"""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import spikec
from spikec.compiler.frontends.pytorch.wide import Wide
from spikec.ir import nodes, stateless
from spikec.ir.diagnostics import Diagnostics
from spikec.ir.ranges import check_finite

snntorch = pytest.importorskip("snntorch", reason="the networks have snnTorch's neurons")


def network(kind: str, spiking: bool = True) -> tuple[nn.Sequential, tuple[int, ...]]:
    def cells() -> nn.Module:
        return snntorch.Leaky(beta=0.9, init_hidden=True) if spiking else nn.ReLU()

    torch.manual_seed(0)
    if kind == "mlp":
        return nn.Sequential(nn.Linear(784, 1200), cells(), nn.Linear(1200, 500), cells(), nn.Linear(500, 10)), (784,)
    return nn.Sequential(nn.Conv2d(3, 24, 3), cells(), nn.AvgPool2d(2), nn.Conv2d(24, 1024, 3), cells(),
                         nn.Flatten(), nn.Linear(1024, 1100), cells(), nn.Linear(1100, 10)), (3, 8, 8)


@pytest.fixture(scope="module", autouse=True)
def libraries() -> None:
    """What a first import loads is no part of a network."""
    spikec.from_torch(nn.Sequential(nn.Conv2d(1, 2, 3), snntorch.Leaky(beta=0.9, init_hidden=True), nn.AvgPool2d(2),
                                    nn.Flatten(), nn.Linear(8, 2)), dt=1e-3, sample=torch.zeros(1, 1, 6, 6))


def peak(work: Callable[[], object]) -> float:
    """The most that numpy had allocated during `work` beyond before it, bytes."""
    gc.collect()
    tracemalloc.start(1)
    try:
        kept = work()
        del kept
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def size(net: nn.Module) -> int:
    """Bytes of the parameters in float32."""
    return 4 * sum(each.numel() for each in net.parameters())


@pytest.mark.parametrize("kind", ["mlp", "conv"])
def test_a_checked_import_keeps_one_copy_of_the_parameters(kind: str) -> None:
    net, shape = network(kind)
    found = []
    top = peak(lambda: found.append(spikec.from_torch(net, dt=1e-3, sample=torch.zeros(1, *shape))))
    assert found[0].metadata["import.check"] == "faithful on its grid"
    assert top <= 2.5 * size(net), top / size(net)  # steps and parts of a layer weigh more than in a large network


@pytest.mark.filterwarnings("ignore")  # of what NIR has no words for, and of torch's exporter
@pytest.mark.parametrize("route", ["nir", "onnx"])
def test_a_file_is_read_once(route: str, tmp_path: Path) -> None:
    net, shape = network("conv", spiking=False)
    file = tmp_path / f"net.{route}"
    if route == "nir":
        spiking, _ = network("conv")
        net = nn.Sequential(*spiking, snntorch.Leaky(beta=0.9, init_hidden=True))
        graph = spikec.from_torch(net, dt=1e-3, sample=torch.zeros(1, *shape), check=False)
        spikec.to_nir(graph, file, extensions=True)
    else:
        pytest.importorskip("onnx", reason="torch.onnx writes the file with it")
        torch.onnx.export(net.eval(), (torch.zeros(1, *shape),), str(file), dynamo=False)
    read = {"nir": spikec.from_nir, "onnx": spikec.from_onnx}[route]
    top = peak(lambda: read(file))
    assert top <= 1.3 * size(net), top / size(net)


@pytest.mark.parametrize("node", [
    nodes.Linear(weight=np.ones((1000, 2000), np.float32)),
    nodes.Conv2d(weight=np.ones((250, 500, 4, 4), np.float32), input_shape=(4, 4)),
], ids=["linear", "conv"])
def test_the_reference_widens_a_layer_in_parts(node: nodes.Linear | nodes.Conv2d) -> None:
    shape = (2000,) if isinstance(node, nodes.Linear) else (500, 4, 4)
    assert peak(lambda: stateless.through(node, np.ones((2, *shape)))) < 0.5 * node.weight.nbytes


def test_a_layer_of_the_source_is_widened_in_one_room() -> None:
    layer, rooms = nn.Linear(2000, 1000, bias=False), set()

    class Seen(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            given = func(*args, **(kwargs or {}))
            if isinstance(given, torch.Tensor) and given.dtype == torch.float64 and given.numel() > 10_000:
                rooms.add((given.untyped_storage().data_ptr(), given.untyped_storage().nbytes()))
            return given

    values = torch.randn(3, 2000, dtype=torch.float64)
    with torch.no_grad(), Seen(), Wide(layer.parameters()):
        found = layer(values)
    np.testing.assert_allclose(found, values @ layer.weight.detach().double().T, rtol=1e-12, atol=1e-12)
    assert sum(size for _, size in rooms) < layer.weight.numel() * 8 / 3


def test_values_are_judged_in_parts() -> None:
    values = np.ones((1500, 1000), np.float32)
    faults = Diagnostics()
    assert peak(lambda: check_finite("weight", values, "fc", faults)) < 0.1 * values.nbytes
    assert not faults.found
    values[-1, -1] = np.nan
    check_finite("weight", values.T, "fc", faults)
    assert [found.code for found in faults.found] == ["SC104"]
