"""What the engine says of input, requests and parameters that are wrong."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from engine_nets import DURATION, make, neuron, stimulus
from engine_problem import problem

import spikec
from spikec.ir import nodes as ir
from spikec.ir.diagnostics import BadInputError, SpikecError, SpikecWarning, UnsupportedError
from spikec.ir.events import Events
from spikec.ir.graph import Graph


def events_with(times: Any, indices: Any = None, offsets: Any = None) -> Events:
    count = len(times)
    return Events(
        np.asarray(times, dtype=float),
        np.zeros(count, dtype=np.int64) if indices is None else np.asarray(indices),
        np.asarray([0, count] if offsets is None else offsets),
    )


@pytest.mark.parametrize(
    "bad",
    [
        events_with([np.nan]),
        events_with([np.inf]),
        events_with([-0.001]),
        events_with([0.02, 0.01]),
        events_with([0.01], [6]),
        events_with([0.01], [-1]),
        events_with([0.01], [0, 1]),
        events_with([0.01], None, [0, 2]),
        events_with([0.01], None, [1, 1]),
        events_with([0.01], None, []),
        Events(np.zeros((1, 1)), np.zeros((1, 1), int), np.array([0, 1])),
        {"nowhere": events_with([0.01])},
        {},
        np.zeros((1, 4, 6)),
        "events",
        None,
        Events(None, None, None),
        Events([0.01], ["a"], [0, 1]),
        events_with([0.01], [0.5]),
        events_with([0.01], [np.nan]),
    ],
)
def test_malformed_events_are_diagnosed(bad: Any) -> None:
    graph, _ = problem()
    program = spikec.compile(graph)
    for call in (program.run, program.module()):
        with pytest.raises(BadInputError) as caught:
            call(bad, duration=DURATION)
        assert caught.value.diagnostics
        assert all(each.code.startswith("SC") for each in caught.value.diagnostics)


@pytest.mark.parametrize(
    "arguments",
    [
        {"duration": np.nan},
        {"duration": -1.0},
        {"duration": np.inf},
        {"duration": "long"},
        {"duration": 0.05, "probes": {"hidden.v": [0.06]}},
        {"duration": 0.05, "probes": {"hidden.v": [np.nan]}},
        {"duration": 0.05, "probes": {"hidden.v": [-0.01]}},
        {"duration": 0.05, "probes": {"nobody.v": [0.01]}},
        {"duration": 0.05, "probes": {"hidden.x": [0.01]}},
        {"duration": 0.05, "probes": {"hidden.v": "now"}},
        {"duration": 0.05, "state": "of mind"},
        {"duration": 0.05, "probes": ["hidden.v"]},
        {"duration": 0.05, "dtype": torch.float16},
        {"duration": 0.05, "durations": 0.05},
        {},
    ],
)
def test_malformed_requests_are_diagnosed(arguments: dict[str, Any]) -> None:
    graph, events = problem(recurrent=True)
    with pytest.raises(BadInputError) as caught:
        spikec.compile(graph).run(events, **arguments)
    assert caught.value.diagnostics


def test_what_is_said_of_events() -> None:
    program = spikec.compile(problem()[0])
    for wrong, said in (
        ({"events": events_with([0.01], [6])}, "an event index is out of range (value: sample 0, position 0: 6"),
        ({"events": events_with([0.1, 0.2, 0.1], None, [0, 1, 3])}, "sample 1, position 1: 0.1 after 0.2"),
        ({"events": np.zeros((1, 4, 5)), "dt": 1e-3}, "(1, 4, 5); limit: (batch, time, 6)"),
        ({"events": np.zeros((4, 6)), "dt": 1e-3}, "(4, 6); limit: (batch, time, 6)"),
        ({"events": "events", "dt": 1e-3}, "SC405 at 'in': input is neither"),
    ):
        with pytest.raises(BadInputError) as caught:
            program.run(duration=DURATION, **wrong)
        assert said in str(caught.value)
    assert len(program.run(np.ones((1, 4, 6)), duration=DURATION, dt=1e-3).spikes) > 0


def test_settings_of_a_module_are_checked() -> None:
    program = spikec.compile(problem()[0])
    module = program.module()
    for wrong in (lambda: program.module(dtype=torch.float16), lambda: program.module(dtype=torch.int32),
                  lambda: program.module(train=["foo"]), module.half):
        with pytest.raises(BadInputError, match="SC412"):
            wrong()
    assert {parameter.dtype for parameter in module.parameters()} == {torch.float32}
    assert program.module(train="weight").fc.weight.requires_grad


def test_a_state_of_another_net_or_batch_is_diagnosed() -> None:
    graph, events = problem()
    program = spikec.compile(graph)
    state = program.run(events, duration=DURATION).state
    other = spikec.compile(problem(n=9)[0])
    for wrong, given in ((other, events), (program, events.take([0, 1]))):
        with pytest.raises(BadInputError):
            wrong.run(given, duration=DURATION, state=state)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("weight", np.nan),
        ("weight", np.inf),
        ("tau_mem", -1e-3),
        ("tau_mem", 0.0),
        ("tau_syn", np.nan),
        ("v_threshold", np.nan),
        ("refractory", -1e-3),
        ("r", np.inf),
        ("delay", -1e-3),
        ("delay", np.nan),
    ],
)
def test_malformed_parameters_are_diagnosed(field: str, value: float) -> None:
    graph, _ = problem(delay="synapse")
    node = "fc" if field in ("weight", "delay") else "hidden"
    array = np.array(getattr(graph.nodes[node], field))
    array.reshape(-1)[0] = value
    fields = {name: getattr(graph.nodes[node], name) for name in ir.param_names(graph.nodes[node])}
    if node == "hidden":
        fields["shape"], fields["reset"] = graph.nodes[node].shape, graph.nodes[node].reset
    with pytest.raises(BadInputError) as caught:
        spikec.compile(graph.with_nodes({node: type(graph.nodes[node])(**{**fields, field: array})}))
    assert any(each.node == node for each in caught.value.diagnostics)


@pytest.mark.parametrize("grad", [True, False])
@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("hidden.tau_mem", -1e-3, "SC103 at 'hidden': tau_mem must be positive"),
        ("hidden.tau_syn", 0.0, "SC103 at 'hidden': tau_syn must be positive"),
        ("hidden.tau_mem", np.nan, "SC104 at 'hidden': tau_mem"),
        ("hidden.v_threshold", -1.0, "SC103 at 'hidden': v_reset must be below v_threshold"),
        ("hidden.refractory", -1e-3, "SC103 at 'hidden': refractory must not be negative"),
        ("hidden.refractory", 5e-3, "SC412 at 'hidden': refractory is fixed"),
        ("fc.weight", np.nan, "SC104 at 'fc': weight"),
        ("fc.weight", np.inf, "SC104 at 'fc': weight"),
        ("fc.delay", -1e-3, "SC103 at 'fc': delay must not be negative"),
    ],
)
def test_parameters_that_became_illegal_are_named(name: str, value: float, said: str, grad: bool) -> None:
    graph, events = problem(delay="synapse", refractory=1e-3)
    module = spikec.compile(graph).module(train=None if name.endswith("refractory") else [name])
    module(events, duration=DURATION)
    with torch.no_grad():
        parameter = module.get_parameter(name)
        parameter[(0,) * parameter.dim()] = value
    with torch.set_grad_enabled(grad), pytest.raises(BadInputError) as caught:
        module(events, duration=DURATION)
    assert said in str(caught.value)


def test_questions_without_an_answer_are_diagnosed() -> None:
    graph, events = problem(readout=True)
    out = spikec.compile(graph).module()(events, duration=DURATION)
    for ask in (
        lambda: out.voltage_max("hidden"),
        lambda: out.voltage_integral("hidden"),
        lambda: out.events("last"),
        lambda: out.first_spike("nobody"),
        lambda: out.voltage("nobody", [0.01]),
        lambda: out.spike_times("out", 2),
    ):
        with pytest.raises(BadInputError) as caught:
            ask()
        assert caught.value.diagnostics[0].code == "SC409"


@pytest.mark.parametrize("kind", ["LIF", "IF"])
@pytest.mark.parametrize("wires", ["dense", "sparse"])
def test_delta_synapses_without_drive_are_refused_for_training(kind: str, wires: str) -> None:
    rng = np.random.default_rng(0)
    program = spikec.compile(make(kind, rng, wires=wires, bias=False))
    program.run(stimulus(6, rng), duration=DURATION)
    with pytest.raises(UnsupportedError) as caught:
        program.module()
    found = caught.value.diagnostics[0]
    assert (found.code, found.node) == ("SC411", "hidden")
    assert "CubaLIF" in found.remedy
    assert "Synaptic" in found.remedy
    spikec.compile(make(kind, rng, wires=wires, bias=False, box=True)).module()


def test_delta_synapses_beside_a_constant_current_are_told_in_training() -> None:
    """The crossings that the current drives have gradients, and those that impulses trigger have none."""
    net = spikec.Builder()
    cells = net.lif("hidden", 4, tau=10e-3, r=1.0, v_threshold=1.0)
    net.connect(net.input("in", 2), cells, weight=np.full((4, 2), 0.4), bias=np.array([0.0, 0.5, 1.5, 2.0]))
    net.output("out", cells)
    with pytest.warns(SpikecWarning, match=r"SC411 at 'hidden'.*drive 2 of 4 neurons.*CubaLIF"):
        spikec.compile(net).module()


def test_a_delta_cycle_without_delay_that_fires_twice_at_once_is_diagnosed() -> None:
    hidden = neuron("IF", (1,), np.random.default_rng(0), reset="zero")
    graph = Graph(
        {
            "in": ir.Input(shape=(1,)),
            "fc": ir.Linear(weight=[[9.0]]),
            "hidden": hidden,
            "loop": ir.Linear(weight=[[9.0]]),
            "out": ir.Output(shape=(1,)),
        },
        (("in", "fc"), ("fc", "hidden"), ("hidden", "loop"), ("loop", "hidden"), ("hidden", "out")),
    )
    with pytest.raises(SpikecError) as caught:
        spikec.compile(graph).run(Events.from_samples([([0.01], [0])]), duration=DURATION)
    assert caught.value.diagnostics[0].code == "SC401"
