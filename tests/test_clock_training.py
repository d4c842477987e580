"""A module on the clock is trained as its source is: the same optimizer moves parameters to the same numbers."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import spikec
from spikec import Discretization, Graph
from spikec.ir import nodes as ir

STEPS, BATCH, SIZES = 15, 8, (20, 16, 5)
Source = tuple[nn.Module, Callable[[Tensor], Tensor], dict[str, Any]]
"""A module, the spikes of its outputs (batch, n) for a raster (batch, steps, n), and the clock's settings."""


def linears() -> list[nn.Linear]:
    torch.manual_seed(1)
    layers = [nn.Linear(a, b) for a, b in pairwise(SIZES)]
    for each in layers:
        nn.init.normal_(each.weight, 0.15, 0.4)
        nn.init.uniform_(each.bias, -0.1, 0.2)
    return layers


def snntorch(kind: str, **settings: Any) -> Source:
    snn = pytest.importorskip("snntorch", reason="the network is snnTorch's")
    from snntorch import surrogate, utils

    gradient = surrogate.fast_sigmoid(slope=10)
    one, two = linears()
    cells = [getattr(snn, kind)(spike_grad=gradient, init_hidden=True, **settings) for _ in range(2)]

    def counts(raster: Tensor) -> Tensor:
        utils.reset(module)
        return torch.stack([module(column) for column in raster.transpose(0, 1)]).sum(0)

    module = nn.Sequential(one, cells[0], two, cells[1])
    return module, counts, {"surrogate": "fast_sigmoid", "sharpness": 10.0, "detach_reset": True}


def norse() -> Source:
    found = pytest.importorskip("norse.torch", reason="the network is Norse's")
    one, two = linears()
    for each in (one, two):
        each.weight.data *= 4
    module = found.SequentialState(one, found.LIF(), two, found.LIF())
    return (module, lambda raster: module(raster.transpose(0, 1))[0].sum(0),
            {"surrogate": "fast_sigmoid", "sharpness": 1.0, "detach_reset": False})


def spikingjelly() -> Source:
    pytest.importorskip("spikingjelly", reason="the network is SpikingJelly's")
    from spikingjelly.activation_based import functional, neuron, surrogate

    one, two = linears()
    cells = [neuron.LIFNode(tau=2.0, surrogate_function=surrogate.ATan(), step_mode="m") for _ in range(2)]
    module = nn.Sequential(one, cells[0], two, cells[1])

    def counts(raster: Tensor) -> Tensor:
        functional.reset_net(module)
        spikes: Tensor = module(raster.transpose(0, 1))
        return spikes.sum(0)

    return module, counts, {"surrogate": "atan", "sharpness": 2.0, "detach_reset": False}


def sinabs() -> Source:
    layers = pytest.importorskip("sinabs.layers", reason="the network is sinabs'")
    activation = pytest.importorskip("sinabs.activation")
    one, two = linears()
    gradient = activation.SingleExponential(grad_width=0.5, grad_scale=0.5)
    cells = [layers.LIF(tau_mem=10.0, spike_fn=activation.SingleSpike, norm_input=False, train_alphas=False,
                        surrogate_grad_fn=gradient) for _ in range(2)]
    module = nn.Sequential(one, cells[0], two, cells[1])

    def counts(raster: Tensor) -> Tensor:
        for each in cells:
            each.reset_states()
        spikes: Tensor = module(raster)
        return spikes.sum(1)

    return module, counts, {"surrogate": "exponential", "sharpness": 2.0, "detach_reset": False}


SOURCES: dict[str, tuple[Callable[[], Source], str, float | None]] = {
    "snnTorch Leaky": (lambda: snntorch("Leaky", beta=0.9), "step", 1e-3),
    "snnTorch Leaky, reset to zero": (lambda: snntorch("Leaky", beta=0.7, reset_mechanism="zero"), "step", 2e-3),
    "snnTorch Synaptic": (lambda: snntorch("Synaptic", alpha=0.8, beta=0.9), "step", 1e-3),
    "Norse LIF": (norse, "time_first", None), "SpikingJelly LIFNode": (spikingjelly, "time_first", 1e-3),
    "sinabs LIF": (sinabs, "batch_first", 1e-3),
}
OPTIMIZERS: dict[str, Callable[[Any], torch.optim.Optimizer]] = {
    "Adam": lambda parameters: torch.optim.Adam(parameters, lr=3e-3),
    "SGD": lambda parameters: torch.optim.SGD(parameters, lr=1e-2, momentum=0.9),
}


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("name", SOURCES)
def test_an_optimizer_moves_both_alike(name: str, optimizer: str) -> None:
    make, layout, dt = SOURCES[name]
    module, counts, settings = make()
    raster = torch.from_numpy((np.random.default_rng(0).random((BATCH, STEPS, SIZES[0])) < 0.4) * 1.0).float()
    labels = torch.arange(BATCH) % SIZES[-1]
    sample = {"step": raster[:, 0], "time_first": raster.transpose(0, 1), "batch_first": raster}[layout]
    graph = spikec.from_torch(module, sample=sample, dt=dt)
    clock = spikec.compile(graph, target="clock").module(dtype=torch.float32, **settings)
    labels_of = [f"{layer}.{part}" for layer in (0, 2) for part in ("weight", "bias")]
    sides = [(dict(module.named_parameters()), counts),
             (dict(clock.named_parameters()), lambda values: clock(values).spike_count(graph.outputs[0]))]
    begun = {label: sides[0][0][label].detach().clone() for label in labels_of}
    for label in labels_of:  # a module holds biases as the framework has them
        torch.testing.assert_close(sides[1][0][label].detach(), begun[label], rtol=1e-6, atol=1e-7)
    fired = []
    for parameters, run in sides:
        stepper = OPTIMIZERS[optimizer]([parameters[label] for label in labels_of])
        for _ in range(12):
            stepper.zero_grad()
            counted = run(raster)
            nn.functional.cross_entropy(counted, labels).backward()
            stepper.step()
        fired.append(counted.detach())
    assert fired[0].sum() > 10
    assert torch.equal(fired[0], fired[1])
    for label in labels_of:
        moved = (sides[0][0][label].detach() - begun[label]).abs().max()
        assert moved > 1e-3, label
        torch.testing.assert_close(sides[1][0][label].detach(), sides[0][0][label].detach(), rtol=0,
                                   atol=1e-3 * float(moved), msg=label)


def test_what_is_written_back_is_a_current_again() -> None:
    rng = np.random.default_rng(2)
    taus = np.array([5e-3, 10e-3, 20e-3])
    layer = ir.Affine(weight=rng.normal(size=(3, 4)), bias=np.array([10.0, -20, 30]))
    nodes = {"in": ir.Input(shape=(4,)), "fc": layer,
             "n": ir.LIF(shape=(3,), tau=taus, r=taus, reset="zero"), "out": ir.Output(shape=(3,))}
    graph = Graph(nodes, (("in", "fc"), ("fc", "n"), ("n", "out")), Discretization(1e-3))
    module = spikec.compile(graph, target="clock").module(dtype=torch.float64)
    share = -np.expm1(-1e-3 / taus) * taus  # of a spike of weight one, in a step of the exact grid
    np.testing.assert_allclose(module.get_parameter("fc.bias").detach(), [10, -20, 30] * share, rtol=1e-12)
    same = module.to_graph().nodes["fc"]
    assert np.array_equal(same.bias, graph.nodes["fc"].bias)  # type: ignore[attr-defined]
    with torch.no_grad():
        module.get_parameter("fc.bias").mul_(2)
    back = module.to_graph()
    np.testing.assert_allclose(back.nodes["fc"].bias, [20, -40, 60], rtol=1e-12)  # type: ignore[attr-defined]
    raster = (rng.random((2, 30, 4)) < 0.3) * 1.0
    expected = spikec.compile(back, target="clock").run(raster)
    found = module(raster).spikes("n").detach().numpy()
    assert found.sum() == len(expected.spikes["n"].times)
