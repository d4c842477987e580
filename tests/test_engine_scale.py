"""The engine where it is busy, silent or large: threads, caps on spikes, buffers, ten million synapses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from engine_nets import DURATION, make, stimulus
from engine_problem import problem

import spikec
from spikec.ir import nodes as ir
from spikec.ir.diagnostics import BadInputError, SpikecWarning
from spikec.ir.events import Events
from spikec.ir.graph import Graph
from spikec.runtime.losses import FirstSpikeCrossEntropy
from spikec.runtime.threads import get_threads, set_threads


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    "options",
    [
        {"n": 40},
        {"recurrent": True},
        {"wires": "sparse", "delay": "synapse"},
        {"readout": True, "refractory": 1e-3},
    ],
)
def test_results_do_not_depend_on_the_number_of_threads(options: dict[str, Any], dtype: torch.dtype) -> None:
    graph, events = problem(**options)
    program, seen = spikec.compile(graph), []
    try:
        for threads in (1, 2, 3, 5):
            set_threads(threads)
            assert get_threads() == threads
            module = program.module(dtype=dtype)
            for parameter in module.parameters():
                parameter.requires_grad_(True)
            times = torch.tensor(events.times, requires_grad=True)
            out = module(Events(times, events.indices, events.offsets), duration=DURATION)
            hidden = out.events("hidden").times
            loss = (hidden * torch.cos(torch.arange(len(hidden)))).sum() + (out.voltage("last", [0.02, 0.05])).sum()
            loss.backward()
            seen.append(
                [hidden.detach(), times.grad, *(each.grad for each in module.parameters() if each.grad is not None)]
            )
    finally:
        set_threads(0)
    assert len(seen[0][0]) > 10
    for other in seen[1:]:
        assert len(other) == len(seen[0])
        assert all(torch.equal(one, two) for one, two in zip(seen[0], other, strict=True))


@pytest.mark.parametrize("options", [{}, {"recurrent": True}, {"wires": "sparse"}])
def test_silent_outputs_give_finite_losses_and_gradients(options: dict[str, Any]) -> None:
    graph, events = problem(bias=False, **options)
    quiet = graph.with_nodes({"fc2": ir.Linear(weight=graph.nodes["fc2"].weight * 1e-3)})
    module = spikec.compile(quiet).module(dtype=torch.float64)
    for parameter in module.parameters():
        parameter.requires_grad_(True)
    target = torch.arange(events.batch) % 3
    value = FirstSpikeCrossEntropy()(module(events, duration=DURATION), target).value
    assert bool(torch.isfinite(value))
    value.backward()
    assert bool((module.fc2.weight.grad != 0).any())  # silent labels are pushed
    out = module(events, duration=DURATION)
    first = out.first_spike("out")
    assert bool(torch.isinf(first).all())
    (torch.softmax(-first.clamp(max=DURATION) / 0.01, 1)[:, 0].sum() + (1 / first).sum()).backward()
    for name, parameter in module.named_parameters():
        assert parameter.grad is None or bool(torch.isfinite(parameter.grad).all()), name


@pytest.mark.parametrize("options", [{"n": 20}, {"recurrent": True}, {"wires": "sparse"}])
def test_a_cap_on_spikes_is_never_silent(options: dict[str, Any]) -> None:
    graph, events = problem(**options)
    program = spikec.compile(graph)
    whole = program.run(events, duration=DURATION)
    assert not whole.truncated
    for stage in program.engine.stages:
        stage.kernel.limit = 3
    with pytest.warns(SpikecWarning, match="SC408"):
        cut = program.run(events, duration=DURATION)
    assert cut.truncated
    assert 0 < len(cut.spikes["hidden"]) < len(whole.spikes["hidden"])
    module = program.module(dtype=torch.float64)
    for stage in module._engine.stages:
        stage.kernel.limit = 3
    out = module(events, duration=DURATION)
    assert out.truncated
    out.events("hidden").times.sum().backward()
    assert bool(torch.isfinite(module.fc.weight.grad).all())


def test_buffers_grow_when_a_net_is_busier_than_thought() -> None:
    for wires in ("dense", "sparse"):
        rng = np.random.default_rng(1)
        graph = make("CubaLIF", rng, wires=wires, n=3, bias=False)
        program, few = spikec.compile(graph), stimulus(6, rng, batch=1, per_sample=2)
        program.run(few, duration=DURATION)
        many = stimulus(6, rng, batch=2, per_sample=400)
        grown, fresh = program.run(many, duration=DURATION), spikec.compile(graph).run(many, duration=DURATION)
        assert len(grown.spikes["hidden"]) > 300
        assert np.array_equal(grown.spikes["hidden"].times, fresh.spikes["hidden"].times)


def test_a_network_that_can_fire_on_and_on_needs_a_duration() -> None:
    rng = np.random.default_rng(0)
    for graph in (
        make("CubaLIF", rng, recurrent=True, bias=False),
        make("LIF", rng, bias=False).with_nodes({"hidden": ir.LIF(shape=(5,), tau=0.02, v_leak=1.1)}),
    ):
        with pytest.raises(BadInputError) as caught:
            spikec.compile(graph).run(stimulus(6, rng))
        assert caught.value.diagnostics[0].code == "SC402"


def test_ten_million_synapses() -> None:
    n, fan = 1_000_000, 10
    rng = np.random.default_rng(0)
    columns = np.sort(rng.integers(0, 1000, (n, fan)), axis=1)
    columns += np.arange(fan) * 1000  # ten distinct sources each, ascending
    graph = Graph(
        {
            "in": ir.Input(shape=(10_000,)),
            "fc": ir.SparseLinear(
                size=(n, 10_000),
                indptr=np.arange(n + 1) * fan,
                indices=columns.reshape(-1),
                weight=np.full(n * fan, 5.0),
            ),
            "hidden": ir.CubaLIF(shape=(n,), tau_mem=2.0, tau_syn=1.0),
            "out": ir.Output(shape=(n,)),
        },
        (("in", "fc"), ("fc", "hidden"), ("hidden", "out")),
    )
    found = spikec.compile(graph).run(Events.from_samples([([0.5], [4321])]), duration=2.0, dtype=torch.float32)
    reached = np.unique(np.nonzero((columns == 4321).any(axis=1))[0])
    assert np.array_equal(found.spikes["out"].indices, reached)
    assert found.spikes["out"].times == pytest.approx(0.5 + 0.647014262315, abs=1e-5)
