"""Memory that is used again: never while anybody looks at it, and again once nobody does."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest
import torch

import spikec
from spikec.ir.events import Events
from spikec.runtime.arenas import room, zeros
from spikec.runtime.event_lists import first_spikes
from spikec.runtime.sweep import CALLS, SweepCall

CPU = torch.device("cpu")


@pytest.mark.parametrize("size", [0, 1, 100, 1 << 15, 100_001, 3_000_000])
def test_room_begins_on_a_cache_line(size: int) -> None:
    found = room(size, CPU)
    assert (found.dtype, found.shape) == (torch.uint8, (size,))
    assert size == 0 or found.data_ptr() % 64 == 0


def test_memory_is_used_again_when_its_last_user_is_gone() -> None:
    size = 1_234_567  # that nobody else asks for
    first = room(size, CPU)
    address, part = first.data_ptr(), first[1000:2000].view(2, 500).numpy()
    del first
    second = room(size, CPU)
    assert second.data_ptr() != address, "a view is alive"
    del part
    assert room(size, CPU).data_ptr() == address


def test_arrays_in_use_do_not_share_memory() -> None:
    held = [zeros((200 + 50 * (number % 3), 100), torch.float64, CPU).fill_(number) for number in range(30)]
    del held[::2]
    held += [zeros((200, 100), torch.float64, CPU) for _ in range(20)]
    assert [float(each.max()) for each in held] == [float(number) for number in range(1, 30, 2)] + [0.0] * 20
    assert [float(each.min()) for each in held] == [float(number) for number in range(1, 30, 2)] + [0.0] * 20


def problem() -> tuple[spikec.Graph, list[Events]]:
    rng = np.random.default_rng(4)
    net = spikec.Builder()
    source, hidden = net.input("in", 40), net.cubalif("hidden", 100, tau_mem=20e-3, tau_syn=5e-3)
    readout = net.cubali("readout", 5, tau_mem=20e-3, tau_syn=5e-3)
    net.connect(source, hidden, weight=rng.normal(0.6, 0.6, (100, 40)))
    net.connect(hidden, readout, weight=rng.normal(0.0, 0.5, (5, 100)))
    net.output("spikes", hidden)
    net.output("out", readout)
    batches = [Events.from_samples([(rng.uniform(0, 30e-3, 60), rng.integers(0, 40, 60)) for _ in range(20)])
               for _ in range(3)]
    return net.build(), batches


def test_calls_that_are_alive_at_once_do_not_disturb_each_other() -> None:
    """Forward and reverse sweeps in any order, gradients and results kept while later calls come and go."""
    graph, batches = problem()
    module = spikec.compile(graph).module(dtype=torch.float64)
    parameters = [each for each in module.parameters() if each.requires_grad]

    def value(out: spikec.Outputs) -> torch.Tensor:
        first = out.first_spike("spikes")
        return first[first.isfinite()].sum() + out.voltage_max("out").sum()

    alone = [torch.autograd.grad(value(module(events, duration=50e-3)), parameters) for events in batches]
    kept = [[each.clone() for each in gradients] for gradients in alone]
    values = [value(module(events, duration=50e-3)) for events in batches]
    together = [torch.autograd.grad(each, parameters) for each in reversed(values)][::-1]
    for gradients in (alone, together):
        assert all(torch.equal(one, two) for mine, wanted in zip(gradients, kept, strict=True)
                   for one, two in zip(mine, wanted, strict=True))


def test_a_result_outlives_its_call() -> None:
    graph, batches = problem()
    program = spikec.compile(graph)
    first = program.run(batches[0], duration=50e-3)
    before = {name: state.u.clone() for name, state in first.state.populations.items()}
    for events in batches:
        program.run(events, duration=50e-3)
    assert all(torch.equal(before[name], state.u) for name, state in first.state.populations.items())


def test_a_call_dies_with_its_last_user(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the garbage collector: what its memory is used for next does not wait for that."""
    graph, batches = problem()
    module = spikec.compile(graph).module(dtype=torch.float64)
    calls: list[weakref.ref[SweepCall]] = []
    plain = SweepCall.gather

    class Watched(SweepCall):
        def gather(self) -> None:
            calls.append(weakref.ref(self))
            plain(self)

    monkeypatch.setitem(CALLS, "cpu", Watched)
    gc.collect()
    gc.disable()
    try:
        out = module(batches[0], duration=50e-3)
        total = out.first_spike("spikes").clamp(max=1.0).sum() + out.voltage_max("out").sum()
        total.backward()
        assert [call() is not None for call in calls] == [True, True]
        del out, total
        assert [call() for call in calls] == [None, None]
    finally:
        gc.enable()


def test_first_spikes_by_sample_and_neuron() -> None:
    times = torch.tensor([1.0, 2.0, 3.0, 3.0, 5.0], dtype=torch.float64, requires_grad=True)
    indices, offsets = torch.tensor([2, 0, 2, 1, 1]), torch.tensor([0, 3, 3, 5])
    first = first_spikes(times, indices, offsets, 3)
    never = torch.inf
    assert first.tolist() == [[2.0, never, 1.0], [never, never, never], [never, 3.0, never]]
    weights = torch.arange(1.0, 10.0, dtype=torch.float64).view(3, 3)
    weights[1] = torch.nan  # of what never fires
    first.backward(weights)
    assert times.grad is not None
    assert times.grad.tolist() == [3.0, 1.0, 0.0, 8.0, 0.0]
