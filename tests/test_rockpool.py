"""Rockpool's torch modules as graphs, against Rockpool itself: every spike of 1,000 random steps, and the membrane."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("rockpool", reason="Rockpool is not installed")

from rockpool.nn.combinators import Sequential  # noqa: E402
from rockpool.nn.modules import (  # noqa: E402
    ExpSynTorch,
    LIFBitshiftTorch,
    LIFNeuronTorch,
    LIFTorch,
    LinearTorch,
    aLIFTorch,
)
from side_by_side import Array, behind_weights, seeded, three_samples  # noqa: E402
from torch import nn  # noqa: E402

from spikec.compiler.frontends.pytorch.frontend import from_torch  # noqa: E402
from spikec.ir import nodes  # noqa: E402
from spikec.ir.diagnostics import BadInputError, UnsupportedError  # noqa: E402
from spikec.ir.graph import Discretization, Graph  # noqa: E402
from spikec.ir.step import simulate_step  # noqa: E402

DT = 1e-3
INPUTS, SIZE = 6, 5
EACH = torch.linspace(0.5, 0.95, SIZE)


_seeded = seeded(2)


def _run(module: nn.Sequential, raster: Array) -> tuple[Array, Array]:
    """Spikes and membranes in float64; of itself, Rockpool gives its spikes in float32."""
    weights, cells = copy.deepcopy(module[0]).double(), copy.deepcopy(module[1]).double()
    spikes = cells.spike_generation_fn
    cells.spike_generation_fn = lambda value, *rest: spikes(value, *rest).to(value.dtype)
    torch.set_default_dtype(torch.float64)
    try:
        with torch.no_grad():
            shown, _, record = cells(weights(torch.from_numpy(raster)), record=True)
    finally:
        torch.set_default_dtype(torch.float32)
    return shown.numpy(), record["vmem"].numpy()


def _assert_same(module: nn.Sequential, graph: Graph, raster: Array) -> Array:
    spikes, membranes = _run(module, raster)
    ours = simulate_step(graph, raster)
    np.testing.assert_array_equal(ours.spikes["1"], spikes)
    np.testing.assert_allclose(ours.voltage["1"], membranes, rtol=0, atol=1e-9 * max(1.0, np.abs(membranes).max()))
    assert 0.001 < (spikes > 0).mean() < 0.999
    return spikes


def _imported(module: nn.Module, **options: Any) -> Graph:
    return from_torch(module, sample=torch.zeros(2, 5, INPUTS), **options)


ONE = {"max_spikes_per_dt": torch.tensor(1)}
CELLS: dict[str, Callable[[], nn.Module]] = {
    "LIF": lambda: LIFTorch(SIZE, tau_mem=0.008, tau_syn=0.004),
    "LIF, one spike a step": lambda: LIFTorch(SIZE, tau_mem=0.008, tau_syn=0.004, **ONE),
    "LIF of many": lambda: LIFTorch(SIZE, tau_mem=EACH / 50, tau_syn=EACH.flip(0)[:, None] / 80, threshold=EACH,
                                    bias=EACH / 9),
    "LIF of decays": lambda: LIFTorch(SIZE, leak_mode="decays", alpha=torch.tensor(0.75), beta=torch.tensor(0.5)),
    "LIF of bitshifts": lambda: LIFTorch(SIZE, leak_mode="bitshifts", dash_mem=torch.tensor(3.0),
                                         dash_syn=torch.tensor(2.0)),
    "LIF of other steps": lambda: LIFTorch(SIZE, dt=0.005, tau_mem=0.02, tau_syn=0.01),
    "recurrent LIF": lambda: LIFTorch(SIZE, has_rec=True, w_rec=0.2 * torch.randn(SIZE, SIZE) - 0.2, tau_mem=0.004,
                                      tau_syn=0.003),
    "recurrent LIF, one": lambda: LIFTorch(SIZE, has_rec=True, w_rec=torch.randn(SIZE, SIZE), tau_mem=0.004, bias=0.1,
                                           **ONE),
    "bitshift LIF": lambda: LIFBitshiftTorch(SIZE, tau_mem=0.008, tau_syn=0.004, max_spikes_per_dt=2**16),
    "adapting LIF": lambda: aLIFTorch(SIZE, tau_mem=0.008, tau_syn=0.004, tau_ahp=0.03),
    "adapting LIF, one, recurrent": lambda: aLIFTorch(
        SIZE, tau_mem=EACH / 90, tau_ahp=EACH / 20, w_ahp=-EACH, bias=0.1, has_rec=True,
        w_rec=torch.randn(SIZE, SIZE), **ONE),
    "LIF neuron": lambda: LIFNeuronTorch(SIZE, tau_mem=0.01),
    "LIF neuron of many": lambda: LIFNeuronTorch(SIZE, tau_mem=EACH / 90, threshold=EACH, bias=-EACH / 9, **ONE),
}


@pytest.mark.parametrize("cells", CELLS)
def test_every_neuron(cells: str) -> None:
    module = behind_weights(CELLS[cells](), 2.0)
    graph = _imported(module)
    spikes = _assert_same(module, graph, three_samples())
    one = "one" in cells or "neuron of many" in cells
    assert (spikes.max() == 1) == one
    assert type(graph.nodes["1"]) is (
        nodes.StepNeuron if "adapting" in cells else nodes.LIF if "neuron" in cells else nodes.CubaLIF)
    assert graph.discretization == Discretization(
        0.005 if "other" in cells else DT, integrator="decay", fires="at", spikes="one" if one else "many")


def test_a_sequence_as_it_runs_in_float32() -> None:
    """Rockpool's own combinator and weights; spikes that rounding decides would differ, and here there are none."""
    module = Sequential(
        LinearTorch((INPUTS, 8), has_bias=True), LIFTorch(8, tau_mem=0.01, tau_syn=0.005), LinearTorch((8, SIZE)),
        LIFTorch(SIZE, has_rec=True, w_rec=0.2 * torch.randn(SIZE, SIZE) - 0.1, tau_mem=0.006, tau_syn=0.004))
    graph = _imported(module, check=False)
    raster = three_samples(steps=300)
    with torch.no_grad():
        shown, _, record = module(torch.from_numpy(raster).float(), record=True)
    ours = simulate_step(graph, raster)
    np.testing.assert_array_equal(ours.spikes["output"], shown.numpy())
    membranes = record["3_LIFTorch"]["vmem"].numpy()
    np.testing.assert_allclose(ours.voltage["output"], membranes, rtol=0, atol=1e-5 * np.abs(membranes).max())


def test_layers_of_torch_and_rockpool_in_a_module() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc1, self.lif1 = nn.Linear(INPUTS, 8), LIFTorch(8, tau_mem=0.01, tau_syn=0.005)
            self.fc2, self.lif2 = LinearTorch((8, SIZE)), LIFNeuronTorch(SIZE, tau_mem=0.01)

        def forward(self, x: Any) -> Any:
            first, _, _ = self.lif1(self.fc1(x))
            second, _, _ = self.fc2(first)
            spikes, _, _ = self.lif2(second)
            return spikes

    module = Net()
    graph = _imported(module)
    assert ("lif1", "fc2") in graph.edges
    assert graph.outputs == ("output",)


def test_a_synapse_is_a_readout() -> None:
    module = behind_weights(ExpSynTorch(SIZE, tau=EACH / 100))
    graph, raster = _imported(module, check=False), three_samples(steps=200)
    torch.set_default_dtype(torch.float64)
    try:
        with torch.no_grad():
            shown, _, _ = module[1].double()(module[0].double()(torch.from_numpy(raster)))
    finally:
        torch.set_default_dtype(torch.float32)
    assert isinstance(graph.nodes["1"], nodes.LI)
    np.testing.assert_allclose(simulate_step(graph, raster).voltage["output"], shown.numpy(), rtol=0, atol=1e-9)


# ---- what Rockpool can and a graph cannot

class _Own(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, value: Any, *rest: Any) -> Any:
        return value


REFUSED: dict[str, tuple[str, Callable[[], nn.Module]]] = {
    "noise": ("noise_std=0.1", lambda: LIFTorch(SIZE, noise_std=0.1)),
    "noisy neuron": ("noise_std=0.2", lambda: LIFNeuronTorch(SIZE, noise_std=0.2)),
    "cap": ("max_spikes_per_dt=15", lambda: LIFTorch(SIZE, max_spikes_per_dt=torch.tensor(15))),
    "own spikes": ("this way to spike.*_Own", lambda: LIFTorch(SIZE, spike_generation_fn=_Own)),
    "no threshold": ("positive one.*value: 0", lambda: LIFTorch(SIZE, threshold=0.0)),
}


@pytest.mark.parametrize("fault", REFUSED)
def test_what_a_graph_cannot_say_is_refused(fault: str) -> None:
    message, cells = REFUSED[fault]
    with pytest.raises(UnsupportedError, match=f"SC223 at '1': .*{message}"):
        _imported(behind_weights(cells()))


def test_several_synapses_are_refused() -> None:
    module = nn.Sequential(nn.Linear(INPUTS, 2 * SIZE), LIFTorch((2 * SIZE, SIZE)))
    with pytest.raises(UnsupportedError, match="SC223 at '1': several synapses"):
        _imported(module)


def test_another_length_of_a_step_is_refused() -> None:
    with pytest.raises(BadInputError, match=r"SC222 at '1': .*dt=0.001; limit: 0.002"):
        _imported(behind_weights(LIFTorch(SIZE)), dt=0.002)
    mixed = Sequential(LinearTorch((INPUTS, SIZE)), LIFNeuronTorch(SIZE), LinearTorch((SIZE, SIZE)),
                       LIFNeuronTorch(SIZE, dt=0.002))
    with pytest.raises(BadInputError, match=r"SC222 at '0\.3_LIFNeuronTorch'"):
        _imported(mixed)
