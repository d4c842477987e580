"""The CUDA text, and all that surrounds its kernels on a device, gives what the CPU's kernels give. It runs on the host
(see cuda_on_host.py): this checks its logic, not a GPU."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from cuda_on_host import run_kernel
from engine_nets import DURATION, make, stimulus
from test_clock import deep_net
from torch import Tensor

import spikec
from spikec.ir import nodes as ir
from spikec.ir.events import Events
from spikec.runtime import gpu, jit, loop, sweep
from spikec.runtime.clock import scan
from spikec.runtime.gpu import DeviceLoop, DeviceSweep
from spikec.runtime.nvrtc import missing_packages
from spikec.runtime.outputs import Outputs

pytestmark = pytest.mark.skipif(jit.compiler() is None, reason="needs a C compiler, to run the CUDA text as C++")
GRID = torch.tensor([0.0, 0.011, 0.03, DURATION], dtype=torch.float64)
TOLERANCE = {torch.float64: 1e-10, torch.float32: 3e-4}


class HostedSweep(DeviceSweep):
    run_kernel = staticmethod(run_kernel)


class HostedLoop(DeviceLoop):
    run_kernel = staticmethod(run_kernel)


@pytest.fixture
def device_code(monkeypatch: pytest.MonkeyPatch) -> Callable[[bool], None]:
    """`device_code(True)`: from here on CPU tensors go the way of a GPU's."""

    def choose(hosted: bool) -> None:
        monkeypatch.setitem(sweep.CALLS, "cpu", HostedSweep if hosted else sweep.SweepCall)
        monkeypatch.setitem(loop.CALLS, "cpu", HostedLoop if hosted else loop.LoopCall)

    return choose


def timed(events: Events) -> Events:
    """With times that want a gradient."""
    times = torch.from_numpy(np.array(events.times)).requires_grad_()
    return Events(times, torch.from_numpy(np.array(events.indices)), torch.from_numpy(np.array(events.offsets)))


def loss(out: Outputs, readout: bool, push: bool, seed: int) -> Tensor:
    """Touches everything that can be asked of a run, each number with a weight of its own."""
    draw = torch.Generator().manual_seed(seed)

    def weighed(values: Tensor) -> Tensor:
        return (values * torch.randn(values.shape, generator=draw, dtype=torch.float64).to(values.dtype)).sum().double()

    total = weighed(out.events("hidden").times) * 100 + weighed(out.voltage("hidden", GRID))
    if push:
        total = total + weighed(out.push("hidden"))
    if readout:
        integral = out.voltage_integral("out") + out.voltage_integral("out", decay=0.02)
        return total + weighed(out.voltage_max("out")) + weighed(integral) * 100
    return total + weighed(out.events("out").times) * 100


def everything(graph: Any, events: Events, dtype: torch.dtype, readout: bool, push: bool,
               device: str = "cpu") -> dict[str, Tensor]:
    """Spikes, the loss and the gradients of all parameters and times."""
    module = spikec.compile(graph).module(dtype=dtype).to(device)
    for parameter in module.parameters():
        parameter.requires_grad_()
    given = timed(events)
    out = module(given, duration=DURATION)
    value = loss(out, readout, push, 5)
    value.backward()
    seen = {"loss": value.detach(), "times of inputs": given.times.grad, "indices": out.events("hidden").indices,
            "offsets": out.events("hidden").offsets, "times": out.events("hidden").times.detach(),
            "voltage": out.voltage("hidden", GRID).detach()}
    seen |= {name: each.grad for name, each in module.named_parameters() if each.grad is not None}
    return {name: each.cpu() for name, each in seen.items()}


KINDS = [("CubaLIF", False), ("CubaLIF", True), ("LIF", True), ("IF", True), ("LIF", False)]
CASES = [
    (kind, box, dict(zip(("refractory", "delay", "reset", "readout", "spread"), chosen, strict=True)))
    for (kind, box), chosen in itertools.product(KINDS, [
        (0.0, "none", "v_reset", False, False), (2e-3, "source", "zero", False, True),
        (0.0, "none", "subtract", True, True), (1e-3, "none", "v_reset", True, False)])
]


def compare(graph: Any, events: Events, dtype: torch.dtype, device_code: Callable[[bool], None],
            **wanted_of: bool) -> None:
    device_code(False)
    wanted = everything(graph, events, dtype, **wanted_of)
    device_code(True)
    agree(everything(graph, events, dtype, **wanted_of), wanted, dtype)


def agree(found: dict[str, Tensor], wanted: dict[str, Tensor], dtype: torch.dtype) -> None:
    assert found.keys() == wanted.keys()
    assert len(wanted["times"]) > 0
    for name, value in wanted.items():
        assert found[name].shape == value.shape, name
        if value.numel():
            scale = max(float(value.abs().max()), 1e-12)
            assert float((found[name] - value).abs().max()) <= TOLERANCE[dtype] * scale, name


@pytest.mark.parametrize(("kind", "box", "settings"), CASES, ids=str)
def test_feedforward_networks(kind: str, box: bool, settings: dict[str, Any],
                              device_code: Callable[[bool], None]) -> None:
    rng = np.random.default_rng(len(str(settings)) + len(kind))
    # a box moves the current of a synapse by little: these fire at the start, and then go on
    graph = make(kind, rng, box=box, v0=2.0 if kind == "CubaLIF" and box else 0.0, **settings)
    events = stimulus(6, rng, batch=3, per_sample=80)
    for dtype in (torch.float64, torch.float32) if settings["spread"] else (torch.float64,):
        compare(graph, events, dtype, device_code, readout=settings["readout"], push=True)


LOOPS: list[tuple[str, dict[str, Any]]] = [
    ("CubaLIF", {"recurrent": True}), ("CubaLIF", {"recurrent": True, "refractory": 2e-3, "spread": False}),
    ("CubaLIF", {"wires": "sparse", "delay": "synapse", "readout": True}),
    ("CubaLIF", {"wires": "conv", "recurrent": True}),
    ("LIF", {"recurrent": True, "reset": "subtract"}), ("IF", {"wires": "sparse", "box": True, "refractory": 1e-3}),
    ("CubaLIF", {"recurrent": True, "box": True, "delay": "source", "v0": 2.0}),
]


@pytest.mark.parametrize(("kind", "settings"), LOOPS, ids=str)
def test_event_loops(kind: str, settings: dict[str, Any], device_code: Callable[[bool], None]) -> None:
    rng = np.random.default_rng(len(str(settings)))
    graph = make(kind, rng, **settings)
    events = stimulus(int(np.prod(graph.nodes["in"].shape)), rng, batch=3, per_sample=80)
    compare(graph, events, torch.float64, device_code, readout=settings.get("readout", False), push=False)


def clock_run(graph: spikec.Graph, raster: Any) -> list[Tensor]:
    module = spikec.compile(graph, target="clock").module(torch.float64, train=("weight", "bias", "tau", "v_threshold"))
    out = module(raster, record=("b",))
    loss = (out.voltage("out") ** 2).sum() + (out.voltage("b") * torch.linspace(0, 1, 20)).sum() + out.spikes("c").sum()
    loss.backward()
    return [out.voltage("out").detach(), out.spikes("b").detach(),
            *(each.grad for each in module.parameters() if each.grad is not None)]


@pytest.mark.parametrize("recurrent", [False, True])
def test_a_grid(recurrent: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    graph = deep_net(rng, spikec.Discretization(1e-3, integrator="decay", reset="next"))
    if recurrent:
        graph = graph.with_nodes({"rec": ir.Linear(weight=rng.normal(0, 0.3, (20, 20)))}).replace(
            edges=(*graph.edges, ("c", "rec"), ("rec", "c")))
    raster = (rng.random((3, 15, 1, 8, 8)) < 0.2) * 1.0
    wanted = clock_run(graph, raster)
    monkeypatch.setattr(scan, "HOSTS", frozenset())
    monkeypatch.setattr(gpu, "launch", run_kernel)
    found = clock_run(graph, raster)
    assert len(found) == len(wanted) > 8
    for mine, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-9, atol=1e-11)


EVERY = [*LOOPS, *((kind, {"box": box} | settings) for kind, box, settings in CASES)]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available() or bool(missing_packages()),
                    reason=", ".join(["needs a CUDA device", *missing_packages()]))
@pytest.mark.parametrize(("kind", "settings"), EVERY, ids=str)
def test_a_gpu_gives_what_the_cpu_gives(kind: str, settings: dict[str, Any]) -> None:
    rng = np.random.default_rng(len(str(settings)))
    graph = make(kind, rng, **settings)
    events = stimulus(int(np.prod(graph.nodes["in"].shape)), rng, batch=3, per_sample=80)
    wanted_of = {"readout": settings.get("readout", False), "push": not settings.keys() & {"recurrent", "wires"}}
    wanted = everything(graph, events, torch.float64, **wanted_of)
    agree(everything(graph, events, torch.float64, **wanted_of, device="cuda"), wanted, torch.float64)
