"""A module of the event engine in PyTorch's hands: states, copies, types, other processes, the graph of it."""

from __future__ import annotations

import copy
import io
import multiprocessing
import warnings
from typing import Any

import numpy as np
import pytest
import torch
from engine_nets import DURATION, make, stimulus
from engine_problem import problem

import spikec
from spikec.ir.diagnostics import BadInputError
from spikec.ir.events import Events
from spikec.ir.graph import Graph, same_graph
from spikec.runtime.threads import set_threads


def gradients(module: Any, events: Events) -> tuple[torch.Tensor, list[torch.Tensor]]:
    module.zero_grad()
    first = module(events, duration=DURATION).spike_times("out", 3)
    torch.where(torch.isfinite(first), first, 0).sum().backward()
    return first.detach(), [each.grad.clone() for each in module.parameters() if each.grad is not None]


def equal(one: tuple[torch.Tensor, list[torch.Tensor]], two: tuple[torch.Tensor, list[torch.Tensor]]) -> bool:
    return torch.equal(one[0], two[0]) and all(torch.equal(a, b) for a, b in zip(one[1], two[1], strict=True))


def test_a_state_dict_goes_round() -> None:
    graph, events = problem()
    program = spikec.compile(graph)
    module, other = program.module(dtype=torch.float64), program.module(dtype=torch.float64)
    with torch.no_grad():
        module.fc.weight.mul_(1.05)
    buffer = io.BytesIO()
    torch.save(module.state_dict(), buffer)
    buffer.seek(0)
    assert not equal(gradients(module, events), gradients(other, events))
    other.load_state_dict(torch.load(buffer, weights_only=True))
    assert equal(gradients(module, events), gradients(other, events))


def test_a_write_through_data_counts() -> None:
    graph, events = problem()
    module = spikec.compile(graph).module(dtype=torch.float64)

    def spikes() -> int:
        with torch.no_grad():
            return len(module(events, duration=DURATION).events("hidden"))

    before = spikes()
    for name in ("hidden.v_threshold", "fc.weight"):
        value = module.get_parameter(name).data
        kept = value.clone()
        value.mul_(0.5 if name == "fc.weight" else 2.0)
        assert spikes() < before, name
        value.copy_(kept)
        assert spikes() == before, name


def test_a_deep_copy_is_on_its_own() -> None:
    graph, events = problem(recurrent=True)
    module = spikec.compile(graph).module(dtype=torch.float64)
    before = gradients(module, events)
    twin = copy.deepcopy(module)
    assert equal(gradients(twin, events), before)
    with torch.no_grad():
        twin.fc.weight.mul_(1.1)
    assert not equal(gradients(twin, events), before)
    assert equal(gradients(module, events), before)


def test_the_type_follows_to() -> None:
    graph, events = problem()
    program = spikec.compile(graph)
    module = program.module()
    assert module.fc.weight.dtype == torch.float32
    narrow = gradients(module, events)
    assert narrow[0].dtype == torch.float64
    wide = gradients(module.to(torch.float64), events)
    assert module.fc.weight.dtype == module.fc.weight.grad.dtype == torch.float64
    assert not torch.equal(narrow[0], wide[0])
    assert equal(gradients(module.double(), events), wide)
    assert gradients(module.float(), events)[1][0].dtype == torch.float32


def work(module: Any, events: tuple[Any, ...], answers: Any) -> None:
    torch.set_num_threads(1)  # as torch's own workers do: its OpenMP threads do not survive a fork
    found = gradients(module, Events(*events))
    answers.put([found[0].numpy(), *(each.numpy() for each in found[1])])


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_module_in_another_process(method: str) -> None:
    graph, events = problem(recurrent=True)
    module = spikec.compile(graph).module(dtype=torch.float64)
    set_threads(2)  # with threads of its own before the fork
    try:
        before = gradients(module, events)
        context = multiprocessing.get_context(method)
        answers = context.Queue()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of forking with threads about
            process = context.Process(
                target=work, args=(module, (events.times, events.indices, events.offsets), answers)
            )
            process.start()
        found = answers.get(timeout=120)
        process.join(60)
    finally:
        set_threads(0)
    assert process.exitcode == 0
    assert all((one == two.numpy()).all() for one, two in zip(found, [before[0], *before[1]], strict=True))


@pytest.mark.parametrize("options", [{}, {"recurrent": True}, {"wires": "sparse"}])
def test_gradients_of_gradients_are_refused(options: dict[str, Any]) -> None:
    graph, events = problem(**options)
    module = spikec.compile(graph).module(dtype=torch.float64)
    out = module(events, duration=DURATION)
    first = out.spike_times("out", 2)
    total = torch.where(torch.isfinite(first), first, 0).sum()
    (gradient,) = torch.autograd.grad(total, module.fc.weight, create_graph=True)
    with pytest.raises(RuntimeError, match=r"once_differentiable|does not require grad"):
        gradient.sum().backward()


def test_the_graph_of_an_untouched_module_is_the_graph() -> None:
    rng = np.random.default_rng(0)
    for dtype in (torch.float32, torch.float64):
        graph = make("CubaLIF", rng, wires="conv", delay="synapse", refractory=1e-3)
        module = spikec.compile(graph).module(dtype=dtype)
        assert same_graph(module.to_graph(), graph)
        with torch.no_grad():
            module.fc2.weight[0, 1] = 7.0
        changed = module.to_graph()
        assert changed.nodes["fc2"].weight[0, 1] == 7.0
        assert changed.nodes["fc2"].weight.dtype == graph.nodes["fc2"].weight.dtype
        assert not same_graph(changed, graph)
        assert same_graph(changed.with_nodes({"fc2": graph.nodes["fc2"]}), graph)


def test_a_trained_graph_runs_as_its_module() -> None:
    graph, events = problem()
    program = spikec.compile(graph)
    module = program.module(dtype=torch.float64)
    optimizer = torch.optim.Adam([each for each in module.parameters() if each.requires_grad], lr=0.01)
    for _ in range(3):
        gradients(module, events)
        optimizer.step()
    found = spikec.compile(module.to_graph()).run(events, duration=DURATION)
    with torch.no_grad():
        wanted = module(events, duration=DURATION).events("out")
    assert np.array_equal(found.spikes["out"].times, wanted.times.numpy())
    before = program.run(events, duration=DURATION).spikes["out"].times
    assert len(before) != len(wanted.times) or not np.array_equal(before, wanted.times.numpy())


def test_odd_names_nest_and_collide_with_nothing() -> None:
    rng = np.random.default_rng(0)
    graph = make("CubaLIF", rng)
    rename = {"fc": "a.b", "hidden": "forward", "fc2": "_modules", "last": "a.training"}
    nodes = {rename.get(name, name): node for name, node in graph.nodes.items()}
    odd = Graph(nodes, tuple((rename.get(a, a), rename.get(b, b)) for a, b in graph.edges))
    module, plain = spikec.compile(odd).module(dtype=torch.float64), spikec.compile(graph).module(dtype=torch.float64)
    events = stimulus(6, rng)
    assert equal(gradients(module, events), gradients(plain, events))
    assert sorted(module.parameter_map().values()) == sorted(
        (rename.get(n, n), p) for n, p in plain.parameter_map().values()
    )
    assert set(module.parameter_map()) == {name for name, _ in module.named_parameters()}
    assert same_graph(module.to_graph(), odd)


@pytest.mark.parametrize("move", [lambda module: module.to("cuda:63"), lambda module: module.cuda(63),
                                  lambda module: module.to("meta")])
def test_a_device_that_is_not_there_is_named_and_the_module_stays(move: Any) -> None:
    graph, events = problem()
    module = spikec.compile(graph).module()
    with pytest.raises(BadInputError, match=r"SC412.*cpu.*spikec doctor"):
        move(module)
    assert {parameter.device.type for parameter in module.parameters()} == {"cpu"}
    assert len(module(events, duration=DURATION).events("hidden").times)
