"""Chip in the loop on Loihi: spikes of the integer program, in the time of the model, exact gradients behind them."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from lava_here import lava_python
from torch import Tensor

import spikec
from spikec import BadInputError, Discretization, Events, Graph, Trainer, UnsupportedError, losses
from spikec.ir import nodes as ir
from spikec.targets.loihi.in_the_loop import ChipInTheLoop
from spikec.targets.loihi.program import LoihiProgram

pytestmark = pytest.mark.usefixtures("one_thread")
DT, DURATION = 0.5e-3, 40e-3
GRID = Discretization(dt=DT)


def net(recurrent: bool = False, outputs: int = 2, hidden: int = 20, grid: Discretization = GRID, seed: int = 0,
        **changes: Any) -> Graph:
    """2 inputs and a bias - hidden - outputs, one spike time an output."""
    rng = np.random.default_rng(seed)
    taus = {"tau_mem": 20e-3, "tau_syn": 10e-3, "w_in": 10e-3}
    nodes: dict[str, ir.Node] = {
        "in": ir.Input(shape=(3,)), "fc1": ir.Linear(weight=rng.normal(2.0, 0.9, (hidden, 3))),
        "hidden": ir.CubaLIF(shape=(hidden,), **(taus | changes)),
        "fc2": ir.Linear(weight=rng.normal(40.0, 4.0, (outputs, hidden)) / hidden),
        "label": ir.CubaLIF(shape=(outputs,), **taus), "out": ir.Output(shape=(outputs,))}
    edges = [("in", "fc1"), ("fc1", "hidden"), ("hidden", "fc2"), ("fc2", "label"), ("label", "out")]
    if recurrent:
        nodes["loop"] = ir.Linear(weight=rng.normal(-0.1, 0.2, (hidden, hidden)))
        edges += [("hidden", "loop"), ("loop", "hidden")]
    return Graph(nodes, tuple(edges), grid)


def task(samples: int, seed: int = 0) -> tuple[Events, np.ndarray[Any, Any]]:
    """Two times and a bias; the label is which of the two comes first."""
    rng = np.random.default_rng(seed)
    times = rng.uniform(0, 15e-3, (samples, 2))
    full = np.concatenate([times, np.zeros((samples, 1))], 1)
    return Events.from_samples([(each, np.arange(3)) for each in full]), times.argmin(1)


def accuracy(program: LoihiProgram, data: tuple[Events, np.ndarray[Any, Any]]) -> float:
    """Of the integer program itself, by the output that fires first."""
    events, labels = data
    found = program.run(events, DURATION, drain=True).spikes["out"]
    first = np.full((found.batch, program.network.populations["label"].n), np.inf)
    np.minimum.at(first, (np.repeat(np.arange(found.batch), np.diff(found.offsets)), found.indices), found.times)
    return float(((first.argmin(1) == labels) & np.isfinite(first.min(1))).mean())


def gradients(module: torch.nn.Module, events: Events) -> dict[str, Tensor]:
    module.zero_grad()
    out = module(events, duration=DURATION)
    times = torch.cat([out.spike_times("hidden", 4).flatten(), out.first_spike("out").flatten()])
    weight = torch.linspace(-1, 1, len(times), dtype=torch.float64)
    (weight * torch.where(torch.isfinite(times), times, 0)).sum().backward()
    return {name: each.grad.clone() for name, each in module.named_parameters() if each.grad is not None}


@pytest.mark.parametrize("integrator", ["exact", "semi"])
@pytest.mark.parametrize("recurrent", [False, True])
def test_its_spikes_are_the_program_s_in_the_time_of_the_model(recurrent: bool, integrator: Any) -> None:
    program = spikec.compile(net(recurrent, grid=Discretization(dt=DT, integrator=integrator)), "loihi2")
    events, _ = task(16)
    out = program.module(gradient="exact")(events, duration=DURATION)
    result = program.run(events, DURATION, drain=True)
    assert program.latency == (2 if integrator == "semi" else 0)
    for name in ("hidden", "label"):
        late, found = program.latency_of(name), out.events(name)
        times = result.spikes[name].times - late * DT
        kept = (times > 0) & (times < DURATION + DT / 2)
        assert len(found.times) > 20
        assert np.allclose(found.times.detach(), times[kept], rtol=0, atol=1e-12)
        assert np.array_equal(found.indices, result.spikes[name].indices[kept])


def test_its_gradients_are_near_those_of_the_event_target() -> None:
    """Times differ by columns and by what the weights are rounded to. Of most samples gradients hardly do; of some a
    spike is there that the other has not."""
    fine = net(seed=2, grid=Discretization(dt=250e-6))
    event, chip = spikec.compile(fine).module(torch.float64), spikec.compile(fine, "loihi2").module(
        torch.float64, gradient="exact")
    events, _ = task(20, seed=4)
    alike = []
    for sample in range(events.batch):
        wanted, found = (gradients(module, events.take([sample])) for module in (event, chip))
        assert found.keys() == wanted.keys() == {"fc1.weight", "fc2.weight"}
        alike.append([float(torch.nn.functional.cosine_similarity(found[name].flatten(), each.flatten(), dim=0))
                      for name, each in wanted.items()])
    assert np.median(alike, axis=0).min() > 0.95


def test_parameters_go_through_the_scales_to_the_chip() -> None:
    """The module's spikes are those of the program that is compiled of its parameters on the same scales."""
    program = spikec.compile(net(), "loihi2")
    module, (events, _) = program.module(gradient="exact"), task(8)
    with torch.no_grad():
        module.get_parameter("fc1.weight").mul_(0.8)
    again = program.recompile(module.to_graph())
    assert again.plan == program.plan
    found = module(events, duration=DURATION).events("label")
    result = again.run(events, DURATION, drain=True).spikes["label"]
    times = result.times - again.latency_of("label") * DT
    assert np.allclose(found.times.detach(), times[times < DURATION + DT / 2], rtol=0, atol=1e-12)
    twin = copy.deepcopy(module)
    assert torch.equal(twin(events, duration=DURATION).events("label").times, found.times)


def test_training_makes_the_integer_program_right() -> None:
    data, held_out = task(320), task(200, seed=1)
    program = spikec.compile(net(), "loihi2")
    before = accuracy(program, held_out)
    trainer = Trainer(program, losses.FirstSpikeCrossEntropy(tau0=1e-3), rule="exact", lr=2e-2, epochs=8, batch_size=20,
                      duration=DURATION, progress=False)
    trainer.fit(data)
    after = accuracy(trainer.program, held_out)
    print(f"integer accuracy {before:.3f} -> {after:.3f}")
    assert before < 0.7
    assert after > 0.9
    assert trainer.evaluate(held_out).accuracy == pytest.approx(after, abs=0.02)


def test_lava_in_the_loop_gives_the_emulator_s_gradients() -> None:
    lava_python()
    program = spikec.compile(net(hidden=6), "loihi2")
    events, _ = task(2)
    wanted = gradients(program.module(torch.float64, gradient="exact"), events)
    found = gradients(program.module(torch.float64, gradient="exact", backend="lava"), events)
    assert all(torch.equal(found[name], each) and bool(each.abs().max() > 0) for name, each in wanted.items())


def test_populations_of_several_time_constants_are_one_again() -> None:
    rng = np.random.default_rng(3)
    mixed = net(tau_mem=rng.choice([15e-3, 20e-3, 30e-3], 20))
    program = spikec.compile(mixed, "loihi2")
    assert len(program.split.parts["hidden"]) == 3
    module, (events, _) = program.module(gradient="exact"), task(8)
    found = gradients(module, events)
    assert found["fc1.weight"].shape == (20, 3)
    assert all(bool(torch.isfinite(each).all()) and float(each.abs().max()) > 0 for each in found.values())
    with torch.no_grad():
        module.get_parameter("hidden.tau_mem").copy_(torch.linspace(15e-3, 30e-3, 20))
    with pytest.raises(BadInputError, match="SC488"):
        module(events, duration=DURATION)


def test_what_cannot_be_in_the_loop_is_told() -> None:
    program = spikec.compile(net(), "loihi2")
    wrong: list[tuple[Mapping[str, Any], str]] = [
        ({"gradient": "adjoint"}, "SC412"), ({"gradient": "exact", "backend": "chip"}, "SC403"),
        ({"gradient": "exact", "guard": 2.0}, "SC487"), ({"gradient": "exact", "train": "tau"}, "SC412")]
    for options, code in wrong:
        with pytest.raises(BadInputError, match=code):
            program.module(**options)
    graded = spikec.compile(net(), "loihi2", message_bits={"in": 4})
    with pytest.raises(BadInputError, match="SC488"):
        ChipInTheLoop(graded)
    delta = replace(net(), nodes={**net().nodes, "hidden": ir.LIF(shape=(20,), tau=20e-3)})
    with pytest.raises(UnsupportedError, match="SC411"):
        spikec.compile(delta, "loihi2").module(gradient="exact")
    with pytest.raises(UnsupportedError, match="SC503"):
        Trainer(program, "first-spike", rule="adjoint")
