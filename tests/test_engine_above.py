"""Neurons that a subtractive reset leaves above their thresholds, and what counts as an input to them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from engine_nets import BOX, conforms, make, stimulus
from test_engine_gradients import Problem, compare

import spikec
from spikec.ir import nodes as ir
from spikec.ir.events import Events

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize(("kind", "box", "wires", "recurrent", "refractory", "spread"), [
    ("CubaLIF", False, "dense", False, 0.0, False),
    ("CubaLIF", False, "dense", False, 1e-3, True),
    ("CubaLIF", False, "dense", True, 2e-3, False),
    ("CubaLIF", False, "sparse", False, 0.0, True),
    ("CubaLIF", True, "dense", False, 0.0, False),
    ("CubaLIF", True, "sparse", True, 2e-3, True),
    ("LIF", True, "dense", False, 0.0, False),
    ("LIF", True, "sparse", False, 1e-3, True),
    ("IF", True, "dense", True, 2e-3, True),
    ("LIF", False, "dense", False, 0.0, True),
    ("IF", False, "sparse", False, 0.0, True),
])
def test_what_a_reset_leaves_above_its_threshold_fires_at_its_next_inputs(
        kind: str, box: bool, wires: str, recurrent: bool, refractory: float, spread: bool) -> None:
    rng = np.random.default_rng([len(kind), box, recurrent])
    graph = make(kind, rng, box=box, wires=wires, recurrent=recurrent, reset="subtract", refractory=refractory,
                 spread=spread, v0=4.3, n=4, n_in=3)
    events = stimulus(3, rng, batch=1, per_sample=6, until=0.03)
    found = conforms(graph, events, duration=0.04)
    at_inputs = np.isin(found.spikes["hidden"].times, events.times)
    assert found.spikes["hidden"].times[0] == 0 and at_inputs.sum() > 3
    assert compare(Problem(graph, events, duration=0.04), rng, elements=0) > 5
    first = spikec.compile(graph).run(events, duration=4e-3)
    late = events.times > 4e-3
    rest = Events(events.times[late] - 4e-3, events.indices[late], np.array([0, late.sum()]))
    second = spikec.compile(graph).run(rest, duration=20e-3, state=first.state)
    whole = spikec.compile(graph).run(events, duration=24e-3)
    parts = np.concatenate([first.spikes["hidden"].times, second.spikes["hidden"].times + 4e-3])
    assert np.allclose(np.sort(parts), whole.spikes["hidden"].times, atol=1e-12)


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("box", [False, True])
def test_a_weight_of_zero_is_no_connection(sparse: bool, late: bool, box: bool) -> None:
    """Neurons above their thresholds, each waiting for its own input; the gradient of a spike is that input's."""
    weight, delay = np.diag([3.0, 4.0, 5.0]), np.full((3, 3), 1e-3) if late else None
    full = {"size": (3, 3), "indptr": [0, 3, 6, 9], "indices": [0, 1, 2] * 3}
    wire = ir.SparseLinear(**full, weight=weight.reshape(-1), delay=None if delay is None else delay.reshape(-1)) \
        if sparse else ir.Linear(weight=weight, delay=delay)
    hidden = ir.CubaLIF(shape=(3,), tau_mem=20e-3, tau_syn=10e-3, w_in=10e-3, v0=6.5, reset="subtract")
    nodes = {"in": ir.Input(shape=(3,)), "fc": wire, "hidden": hidden, "out": ir.Output(shape=(3,))}
    graph = spikec.Graph(nodes, (("in", "fc"), ("fc", "hidden"), ("hidden", "out")), BOX if box else None)
    events = Events(np.array([0.0, 1e-3, 1e-3, 2e-3, 3e-3, 3e-3]), np.array([0, 1, 2, 0, 2, 1]), np.array([0, 6]))
    found = conforms(graph, events, duration=3.5e-3)
    assert len(found.spikes["out"]) == (7 if late else 8)
    times = torch.tensor(events.times, requires_grad=True)
    module = spikec.compile(graph).module(dtype=torch.float64)
    spikes = module(Events(times, events.indices, events.offsets), duration=3.5e-3).events("out")
    (spikes.times * torch.arange(1, len(spikes.times) + 1)).sum().backward()
    wanted = np.zeros(6)
    for number, (time, neuron) in enumerate(zip(spikes.times.tolist(), spikes.indices.tolist(), strict=True), 1):
        sent = np.abs(events.times + (1e-3 if late else 0.0) - time) < 1e-12
        if time > 0:
            wanted[np.flatnonzero(sent & (events.indices == neuron))[0]] += number
    assert times.grad.numpy() == pytest.approx(wanted)
