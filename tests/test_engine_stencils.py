"""Convolutional populations by the sweep: the same as by the event loop and as the reference says, and no dearer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch
from engine_nets import BOX, DURATION, conforms, neuron, same_spikes, unit
from hypothesis import given, settings
from hypothesis import strategies as st

import spikec
from spikec.ir import nodes as ir
from spikec.ir.diagnostics import BadInputError
from spikec.ir.events import Events
from spikec.ir.graph import Graph
from spikec.passes.stencils import unroll
from spikec.runtime.engine import Engine
from spikec.runtime.loop import Loop
from spikec.runtime.stencil import Stencil, _axis
from spikec.runtime.threads import set_threads

pytestmark = pytest.mark.usefixtures("one_thread")


@contextmanager
def by_the_loop() -> Iterator[None]:
    """Engines that are made here know no stencils."""
    with mock.patch("spikec.runtime.engine.sweeps_stencils", return_value=False):
        yield


@dataclass(frozen=True)
class Net:
    """What hypothesis draws: a convolution or two onto one population, and what is asked of it."""

    kind: str
    shape: tuple[int, int, int]
    channels: int
    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]
    one_dimensional: bool
    twice: bool
    pooled: bool
    delayed: bool
    box: bool
    bias: bool
    spread: bool
    reset: str
    refractory: float
    readout: bool
    grid: float
    batch: int
    seed: int

    def graph(self) -> Graph:
        """in -> (delay ->) (pool ->) conv (+ another) -> middle -> out."""
        rng = np.random.default_rng(self.seed)
        net = spikec.Builder(BOX if self.box else None)
        source = last = net.input("in", (self.shape[0], self.shape[2]) if self.one_dimensional else self.shape)
        if self.delayed:
            last = net.delay("wait", source, rng.uniform(0, 5e-3, source.shape))
        if self.pooled and not self.one_dimensional:
            last = net.sum_pool2d("pool", last, 2)
        spans = slice(1, None) if self.one_dimensional else slice(None)
        size = (self.channels, self.shape[0], *self.kernel[spans])
        geometry = [each[spans] for each in (self.stride, self.padding, self.dilation)]
        stride, padding, dilation = ((each[0] for each in geometry) if self.one_dimensional else geometry)
        make = net.conv1d if self.one_dimensional else net.conv2d
        ends = [make(name, begin, weight=rng.uniform(-0.3, 1.0, size), stride=stride, padding=padding,
                     dilation=dilation, bias=rng.uniform(-0.2, 0.2, self.channels) if self.bias else None)
                for name, begin in (("conv", last), ("more", source))[:1 + (self.twice and last.shape == source.shape)]]
        shape = ends[0].shape
        if self.readout:
            middle: Any = ir.CubaLI(shape=shape, tau_mem=15e-3, tau_syn=7e-3, w_in=7e-3, v_leak=0.1)
        else:
            middle = neuron(self.kind, shape, rng, None, self.spread, reset=self.reset, refractory=self.refractory)
        scale = float(unit(middle, BOX.dt if self.box else 0.0).mean())
        for end in ends:
            node: Any = net.node(end.name)
            net.replace(end.name, replace(node, weight=node.weight * scale))
        net.output("out", net.add("middle", middle, *ends))
        return net.build()

    def events(self) -> Events:
        rng = np.random.default_rng([self.seed, 1])
        channels = self.shape[0] * self.shape[2] * (1 if self.one_dimensional else self.shape[1])
        samples = []
        for _ in range(self.batch):
            number = int(rng.integers(0, 25))
            times = rng.uniform(0, 0.8 * DURATION, number)
            samples.append((np.sort(np.round(times / self.grid) * self.grid if self.grid else times),
                            rng.integers(0, channels, number)))
        return Events.from_samples(samples)


@st.composite
def nets(draw: st.DrawFn, exact: bool = False) -> Net:
    pair = lambda low, high: st.tuples(st.integers(low, high), st.integers(low, high))  # noqa: E731
    pooled = draw(st.booleans())
    dilation, kernel = draw(pair(1, 2)), draw(pair(1, 3))
    padding = (0, 0) if pooled else draw(pair(0, 1))  # a pool may leave over what padding would then hide
    least = [(2 if pooled else 1) * max(1, d * (k - 1) + 1 - 2 * p)
             for d, k, p in zip(dilation, kernel, padding, strict=True)]
    shape = (draw(st.integers(1, 2)), least[0] + draw(st.integers(0, 3)), least[1] + draw(st.integers(0, 4)))
    return Net(
        kind=draw(st.sampled_from(["CubaLIF", "LIF", "IF"] if exact else ["CubaLIF", "CubaLIF", "LIF"])), shape=shape,
        channels=draw(st.sampled_from([1, 2, 3, 9])), kernel=kernel, stride=draw(pair(1, 2)), padding=padding,
        dilation=dilation, one_dimensional=draw(st.booleans()), twice=draw(st.booleans()), pooled=pooled,
        delayed=draw(st.booleans()), box=draw(st.booleans()), bias=draw(st.booleans()), spread=draw(st.booleans()),
        reset=draw(st.sampled_from(["v_reset", "zero", "subtract"])), refractory=draw(st.sampled_from([0.0, 2.5e-3])),
        readout=draw(st.booleans()), grid=draw(st.sampled_from([0.0, 4e-3])), batch=draw(st.integers(1, 3)),
        seed=draw(st.integers(0, 2**20)),
    )


def kernel_of(program: Any, name: str = "middle") -> Any:
    return Engine(program.network).stage_of[name].kernel


@settings(max_examples=25)
@given(net=nets(exact=True))
def test_random_stencils_mean_what_the_reference_says(net: Net) -> None:
    graph = net.graph()
    assert isinstance(kernel_of(spikec.compile(graph)), Stencil)
    conforms(graph, net.events())


def shown(module: Any, events: Events, readout: bool) -> tuple[Any, torch.Tensor]:
    """A number that depends on all that can be asked of the population."""
    out = module(events, duration=DURATION)
    rng = np.random.default_rng(0)

    def weighted(value: torch.Tensor) -> torch.Tensor:
        return (value.to(torch.float64) * torch.from_numpy(rng.normal(size=tuple(value.shape)))).sum()

    total = weighted(out.voltage("middle", np.linspace(0, DURATION, 5)))
    if readout:
        return out, total + weighted(out.voltage_max("middle")) + weighted(out.voltage_integral("middle", 0.02))
    # weights by place, not by number: simultaneous spikes may come in another order
    events = out.events("middle")
    n = out._activity.engine.network.size("middle")
    scale = torch.from_numpy(rng.normal(size=n))[events.indices]
    return out, total + (events.times * scale).sum() / DURATION


@settings(max_examples=25)
@given(net=nets())
def test_random_stencils_by_the_loop(net: Net) -> None:
    """Spikes, states and gradients of every parameter and input time, also where a stream goes on."""
    graph, events = net.graph(), net.events()
    if net.kind != "CubaLIF" and not net.box and not net.readout:
        return  # every spike sits on its input
    found = []
    for loops in (False, True):
        if loops:
            with by_the_loop():
                module = spikec.compile(graph).module(dtype=torch.float64)
                program = spikec.compile(graph)
                first = program.run(events, duration=DURATION / 2)
        else:
            module, program = spikec.compile(graph).module(dtype=torch.float64), spikec.compile(graph)
            first = program.run(events, duration=DURATION / 2)
        for parameter in module.parameters():
            parameter.requires_grad_(parameter.is_floating_point() and parameter.numel() > 0)
        times = torch.from_numpy(events.times.copy()).requires_grad_()
        out, total = shown(module, Events(times, torch.from_numpy(events.indices), torch.from_numpy(events.offsets)),
                           net.readout)
        total.backward()
        late = program.run(Events.from_samples([((), ())] * net.batch), duration=DURATION / 2, state=first.state,
                           probes={"middle.v": [0.0, 1e-3]})
        grads = {name: None if each.grad is None else each.grad.clone() for name, each in module.named_parameters()}
        found.append((out, late, {**grads, "times": times.grad}, isinstance(kernel_of(program), Loop)))
    (out, late, grads, _), (other, other_late, others, _) = found
    if not net.readout:
        spikes = [Events(*(np.asarray(getattr(each.events("middle"), part).detach())
                           for part in ("times", "indices", "offsets"))) for each in (out, other)]
        same_spikes(*spikes)
        same_spikes(late.spikes["middle"], other_late.spikes["middle"])
    assert np.abs(late.probes["middle.v"] - other_late.probes["middle.v"]).max(initial=0) < 1e-8
    steep = out.grazing == 0
    for name, grad in grads.items():
        assert (grad is None) == (others[name] is None), name
        if grad is not None and steep:
            size = float(others[name].abs().max()) if grad.numel() else 0.0
            assert float((grad - others[name]).abs().max() if grad.numel() else 0.0) <= 1e-7 * (1 + size), name


def deep(channels: int, rng: np.random.Generator) -> Graph:
    """Two convolutions with a pool between them, and a dense layer."""
    net = spikec.Builder()
    times = {"tau_mem": 20e-3, "tau_syn": 10e-3}
    hidden = net.cubalif("hidden", (3, 6, 6), **times)
    net.connect(net.conv2d("conv1", net.input("in", (1, 8, 8)), weight=rng.uniform(-0.2, 1.4, (3, 1, 3, 3))), hidden)
    pool = net.sum_pool2d("pool", hidden, 2)
    middle = net.cubalif("middle", (channels, 2, 2), **times)
    net.connect(net.conv2d("conv2", pool, weight=rng.uniform(-0.1, 0.9, (channels, 3, 2, 2))), middle)
    label = net.cubalif("label", 4, **times)
    weight = rng.uniform(-0.1, 2.0, (4, 4 * channels)) / channels
    net.connect(net.flatten("flat", middle), label, weight=weight, name="fc")
    net.output("out", label)
    return net.build()


@pytest.mark.parametrize("channels", [3, 110])
def test_bits_do_not_depend_on_threads(channels: int) -> None:
    """Several blocks of channels among them, and more records than there is room for at first."""
    rng = np.random.default_rng(channels)
    graph = deep(channels, rng)
    events = Events.from_samples([(np.sort(rng.uniform(0, 0.04, 120)), rng.integers(0, 64, 120)) for _ in range(9)])
    results = []
    for threads in (1, 2, 5):
        set_threads(threads)
        module = spikec.compile(graph).module(dtype=torch.float64)
        out = module(events, duration=DURATION)
        (out.events("label").times.sum() + out.events("middle").times.sum()).backward()
        results.append([out.events("middle").times.detach(), out.events("middle").indices,
                        *(each.grad for each in module.parameters() if each.grad is not None)])
    set_threads(1)
    assert len(results[0][0]) > 50
    assert len(results[0]) > 4
    for other in results[1:]:
        assert all(torch.equal(one, two) for one, two in zip(results[0], other, strict=True))


def test_a_pool_before_a_convolution_costs_no_more_events() -> None:
    """It doubles the stencil, whose stride doubles too: a spike meets as many positions as without it."""
    graph = deep(5, np.random.default_rng(0))
    network = spikec.compile(graph).network
    (composed,) = [each.connection for each in network.projections if each.target == "middle"]
    assert composed.weight.shape == (5, 3, 4, 4)
    fan_out = np.bincount(unroll(composed)[1], minlength=network.size("hidden"))
    assert fan_out.max() == 2 * 2 * 5
    assert isinstance(Engine(network).stage_of["middle"].kernel, Stencil)
    assert [np.diff(_axis([composed], axis)["begins"]).max() for axis in (0, 1)] == [2, 2]


def test_what_is_left_to_the_loop() -> None:
    """Groups of channels, recurrence, and a mixture with other connections."""
    weight = np.full((2, 1, 2, 2), 0.5)
    cells = {"tau_mem": 20e-3, "tau_syn": 10e-3}
    kernels = []
    for make in ("groups", "recurrent", "mixed", "plain"):
        net = spikec.Builder()
        source, middle = net.input("in", (2, 3, 3)), net.cubalif("middle", (2, 2, 2), **cells)
        full = np.full((2, 2, 2, 2), 0.5)
        net.connect(net.conv2d("conv", source, weight=weight if make == "groups" else full,
                               groups=2 if make == "groups" else 1), middle)
        if make == "recurrent":
            net.connect(net.conv2d("back", middle, weight=np.full((2, 2, 1, 1), 0.1)), middle)
        if make == "mixed":
            net.connect(net.input("also", (2, 2, 2)), middle)
        net.output("out", middle)
        kernels.append(type(kernel_of(spikec.compile(net.build()))))
    assert kernels == [Loop, Loop, Loop, Stencil]


def test_membranes_without_a_threshold() -> None:
    """What pushes silent neurons: the highest voltage is that of a readout with the same parameters."""
    rng = np.random.default_rng(4)
    weight, cells = rng.uniform(-0.5, 1.0, (3, 2, 2, 2)), {"tau_mem": 20e-3, "tau_syn": 10e-3}
    events = Events.from_samples([(np.sort(rng.uniform(0, 0.03, 40)), rng.integers(0, 24, 40)) for _ in range(3)])
    highest = []
    for kind in ("cubalif", "cubali"):
        net = spikec.Builder()
        middle = getattr(net, kind)("middle", (3, 2, 3), **cells)
        net.connect(net.conv2d("conv", net.input("in", (2, 3, 4)), weight=weight), middle)
        net.output("out", middle)
        module = spikec.compile(net.build()).module(dtype=torch.float64)
        out = module(events, duration=DURATION)
        if kind == "cubalif":
            top, push = out._activity.free("middle", want_highest=True).highest, out.push("middle")
        else:
            top = push = out.voltage_max("middle")
        push.sum().backward()
        highest.append((top.detach(), module.conv.weight.grad.clone()))
    assert all(torch.allclose(one, two, atol=1e-12) for one, two in zip(*highest, strict=True))


def test_a_gpu_loops_over_stencils() -> None:
    graph = deep(3, np.random.default_rng(0))
    engine = Engine(spikec.compile(graph).network)
    stage = engine.stage_of["middle"]
    assert engine._on(torch.device("cpu"), stage, stage.kernel) is stage.kernel
    assert isinstance(engine._on(torch.device("cuda"), stage, stage.kernel), Loop)
    with pytest.raises(BadInputError, match="SC404"):
        engine._on(torch.device("cuda"), stage, engine.free_stage("middle").kernel)
