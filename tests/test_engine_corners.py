"""Corners of the event engine in which its fast paths could part from each other or from the reference meaning."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest
import scipy.sparse
import torch

import spikec
from spikec.ir.events import Events
from spikec.ir.exact import simulate_exact
from spikec.ir.graph import Discretization
from spikec.runtime.optimizers import FusedAdam

TAUS = {"tau_mem": 20e-3, "tau_syn": 10e-3}


def layer(n: int, weight: np.ndarray[Any, Any], recurrent: float | None = None, sparse: bool = False,
          **settings: Any) -> spikec.Graph:
    """Inputs to n CubaLIF neurons, all to all with `recurrent` where that is given; `sparse` takes the lazy loop."""
    net = spikec.Builder()
    hidden = net.cubalif("hidden", n, **{**TAUS, **settings})
    net.connect(net.input("in", weight.shape[1]), hidden, weight=weight, name="fc")
    if recurrent is not None:
        everyone = np.full((n, n), recurrent)
        net.connect(hidden, hidden, weight=scipy.sparse.csr_matrix(everyone) if sparse else everyone, name="rec")
    net.output("out", hidden)
    return net.build()


def one_sample(*times: float) -> Events:
    return Events(np.array(times), np.arange(len(times)), np.array([0, len(times)]))


@pytest.mark.parametrize("ratio", [1.0, 2.0, 3.7])
def test_gradients_of_weights_do_not_depend_on_what_else_is_trained(ratio: float) -> None:
    """With time constants trained the sweep goes over the sample again: it must not decide again who fired."""
    gradients: list[list[torch.Tensor]] = [[], []]
    for seed in range(4):
        draw = np.random.default_rng(seed)
        graph = layer(96, draw.normal(0.1, 0.3, (96, 200)), tau_mem=10e-3 * ratio)
        events = Events.from_samples([(np.sort(draw.uniform(0, 0.05, 200)), draw.permutation(200)) for _ in range(10)])
        factors = torch.from_numpy(draw.normal(size=100_000))
        for train, found in zip((("weight",), ("weight", "tau_mem")), gradients, strict=True):
            module = spikec.compile(graph).module(train=train)
            times = module(events, duration=0.06).events("out").times
            (times * factors[:len(times)]).sum().backward()
            found.append(module.get_parameter("fc.weight").grad)
    for one, other in zip(*gradients, strict=True):
        largest = one.abs().amax(1)
        assert ((one - other).abs().amax(1) <= 2e-3 * largest).all()


def test_training_time_constants_leaves_a_result_as_it_was() -> None:
    draw = np.random.default_rng(0)
    module = spikec.compile(layer(40, draw.normal(0.5, 0.5, (40, 30)))).module(train=("weight", "tau_mem"))
    events = Events.from_samples([(np.sort(draw.uniform(0, 0.05, 30)), np.arange(30)) for _ in range(5)])
    out = module(events, duration=0.06)
    voltage = out.voltage("out", [0.01, 0.03])
    before = voltage.detach().clone()
    (voltage.sum() + out.events("out").times.sum()).backward()
    assert torch.equal(voltage.detach(), before)


@pytest.mark.parametrize("kind", ["li", "integrator"])
def test_a_maximum_counts_what_arrives_together_as_one(kind: str) -> None:
    net = spikec.Builder()
    readout = net.li("out_v", 1, tau=10e-3) if kind == "li" else net.integrator("out_v", 1)
    scale = 10e-3 if kind == "li" else 1.0
    net.connect(net.input("in", 3), readout, weight=scale * np.array([[0.3, 1.0, -1.2]]), name="fc")
    net.output("out", readout)
    graph, events = net.build(), one_sample(1e-3, 5e-3, 5e-3)
    found = spikec.compile(graph).run(events, duration=0.02).voltage_max["out"]
    wanted = simulate_exact(graph, events, 0.02).voltage_max["out"]
    assert found[0] == pytest.approx(wanted[0], abs=1e-12)
    assert found[1] == pytest.approx(wanted[1], abs=1e-12)
    module = spikec.compile(graph).module(dtype=torch.float64)
    module(events, duration=0.02).voltage_max("out").sum().backward()
    assert module.get_parameter("fc.weight").grad[0, 1:].abs().max() == 0


@pytest.mark.parametrize("tau_mem", [10e-3, 13e-3, np.array([10e-3, 11e-3, 12e-3])])
@pytest.mark.parametrize("refractory", [0.0, 1e-3])
def test_a_negative_resistance_turns_the_sign_of_weights(tau_mem: Any, refractory: float) -> None:
    same = {"tau_mem": tau_mem, "refractory": refractory, "tau_syn": 5e-3}
    spikes = [spikec.compile(layer(3, np.full((3, 2), sign * 4.0), r=sign, **same))
              .run(one_sample(1e-3, 2e-3), duration=0.05).spikes["out"] for sign in (1.0, -1.0)]
    assert len(spikes[0].times) >= 3
    assert np.array_equal(spikes[0].times, spikes[1].times)


@pytest.mark.parametrize(("n", "sparse"), [(3, False), (64, False), (100, False), (5, True)])
def test_neurons_that_fire_together_do_not_see_each_other(n: int, sparse: bool) -> None:
    graph = layer(n, np.full((n, 1), 6.0), recurrent=-20.0, sparse=sparse)
    module = spikec.compile(graph).module(dtype=torch.float64)
    times = torch.tensor([1e-3], dtype=torch.float64, requires_grad=True)
    out = module(Events(times, torch.tensor([0]), torch.tensor([0, 1])), duration=0.05)
    first = out.first_spike("out")
    assert torch.isfinite(first).all() and len(first.unique()) == 1
    first.sum().backward()
    assert float(times.grad) == pytest.approx(n, rel=1e-9)  # all move with the input
    assert out.grazing == 0


def test_a_probe_at_the_start_fires_nothing() -> None:
    graph = layer(3, np.full((3, 1), 3.0), v0=2.5, reset="subtract")
    runs = [spikec.compile(graph).run(one_sample(1e-3), duration=2e-3, probes=probes)
            for probes in (None, {"hidden.v": [0.0]})]
    assert np.array_equal(runs[0].spikes["out"].times, runs[1].spikes["out"].times)
    assert runs[1].probes["hidden.v"][0, 0] == pytest.approx(1.5)


def test_threads_of_python_share_a_recurrent_program() -> None:
    draw = np.random.default_rng(0)
    graph = layer(40, draw.normal(0.6, 0.5, (40, 20)), recurrent=0.01)
    batches = [Events.from_samples([(np.sort(draw.uniform(0, 0.05, size)), draw.integers(0, 20, size))] * 4)
               for size in (20, 400, 30, 900)]
    wanted = [spikec.compile(graph).run(batch, duration=0.05).spikes["out"].times for batch in batches]
    program, wrong = spikec.compile(graph), []

    def work(start: int) -> None:
        for step in range(4):
            number = (start + step) % 4
            try:
                if not np.array_equal(program.run(batches[number], duration=0.05).spikes["out"].times, wanted[number]):
                    wrong.append(f"batch {number} differs")
            except Exception as error:
                wrong.append(repr(error))

    workers = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not wrong


@pytest.mark.parametrize("shape", [(4, 4), (4, 3)])
@pytest.mark.parametrize("laid", ["gradient", "state"])
def test_an_optimizer_pairs_elements_however_they_lie(shape: tuple[int, int], laid: str) -> None:
    draw = torch.Generator().manual_seed(1)
    start, gradient = torch.randn(shape, generator=draw), torch.randn(shape, generator=draw)
    moved = []
    for transposed, optimizer in ((True, FusedAdam), (False, torch.optim.Adam)):
        value = start.t().contiguous().t() if transposed else start.clone()
        parameter = torch.nn.Parameter(value)
        one = optimizer([parameter], lr=1e-2)
        for step in range(3):
            parameter.grad = gradient.t().contiguous().t() if transposed and laid == "state" else gradient.clone()
            one.step()
            if laid == "state" and step == 0:
                for name in ("exp_avg", "exp_avg_sq"):
                    one.state[parameter][name] = one.state[parameter][name].contiguous()
        moved.append(parameter.detach())
    assert torch.allclose(moved[0], moved[1], atol=1e-6)


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("parts", ["before", "after"])
def test_a_spike_at_the_end_of_a_run_arrives_once(parts: str, sparse: bool, late: bool) -> None:
    """`parts`: on which side of the cut the input at the cut is given."""
    unit, cut = 2.0**-10, 8 * 2.0**-10
    weight, net = np.array([[2.0, 0.4], [0.3, 1.6]]), spikec.Builder()
    source, first, then = net.input("in", 2), net.if_("first", 2), net.if_("then", 2, v_threshold=0.9)
    net.connect(source, first, weight=weight, name="fc")
    for pair, name in (((first, first), "rec"), ((first, then), "fc2")):
        each = np.array([[0.3, 0.2], [0.1, 0.4]])
        net.connect(*pair, weight=scipy.sparse.csr_matrix(each) if sparse else each, name=name,
                    delay=3 * unit if late or name == "rec" else None)
    net.output("out", then)
    graph = net.build()
    times, indices = np.array([0, 2, 5, 5, 8, 8, 11, 14, 20]) * unit, np.array([0, 1, 0, 1, 0, 1, 1, 0, 1])
    early = times <= cut if parts == "before" else times < cut
    program, pieces = spikec.compile(graph), []
    for run, key in ((program.run, "engine"), (lambda *args, **named: simulate_exact(graph, *args, **named), "exact")):
        one = run(Events(times[early], indices[early], np.array([0, early.sum()])), duration=cut)
        other = Events(times[~early] - cut, indices[~early], np.array([0, (~early).sum()]))
        two = run(other, duration=30 * unit, state=one.state)
        pieces.append({name: np.concatenate([one.spikes[name].times, two.spikes[name].times + cut])
                       for name in ("first", "then")})
        assert len(pieces[-1]["then"]) > 2, key
    whole = program.run(Events(times, indices, np.array([0, len(times)])), duration=cut + 30 * unit).spikes
    for name in ("first", "then"):
        assert pieces[0][name] == pytest.approx(pieces[1][name], abs=1e-12)
        if parts == "before":
            assert pieces[0][name] == pytest.approx(whole[name].times, abs=1e-12)


@pytest.mark.parametrize("delay", [None, 2e-3])
@pytest.mark.parametrize(("direct", "through"), [(2.0, -5.0), (0.8, 1.5), (-3.0, 5.0)])
def test_a_neuron_waits_for_spikes_of_the_same_instant(direct: float, through: float, delay: float | None) -> None:
    """An input reaches `then` both at once and through `first`; with `delay` the two are on a cycle."""
    net = spikec.Builder()
    then, first = net.if_("then", 1), net.if_("first", 1)
    source = net.input("in", 1)
    net.connect(source, then, weight=np.array([[direct]]), name="direct")
    net.connect(source, first, weight=np.array([[2.0]]), name="fc")
    net.connect(first, then, weight=np.array([[through]]), name="through")
    if delay:
        net.connect(then, first, weight=np.array([[0.1]]), name="back", delay=delay)
    net.output("out", then)
    graph = net.build()
    found = spikec.compile(graph).run(one_sample(1e-3), duration=0.01).spikes["out"].times
    assert np.array_equal(found, simulate_exact(graph, one_sample(1e-3), 0.01).spikes["out"].times)
    assert len(found) == (direct + through > 1)


@pytest.mark.parametrize("box", [None, 1e-3])
@pytest.mark.parametrize("wires", ["dense", "sparse", "synapse"])
def test_what_arrives_just_at_a_cut_of_a_decimal_grid_arrives_once(wires: str, box: float | None) -> None:
    """Milliseconds are no sums of powers of two: t + delay and (t - cut) + delay round to different sides."""
    weight, steps = np.eye(60) * (2.5 / (box or 1.0)), np.arange(1, 61)
    given = scipy.sparse.csr_matrix(weight) if wires == "sparse" else weight
    net = spikec.Builder(discretization=None if box is None else Discretization(dt=box, spike="box"))
    source, then = net.input("in", 60), net.if_("then", 60, reset="subtract", v_threshold=1.0)
    if wires == "synapse":
        delay = np.broadcast_to(steps * 1e-3, (60, 60))
        net.connect(source, then, weight=given, delay=delay, name="fc")
    else:
        net.connect(net.delay("late", source, delay=steps * 1e-3), then, weight=given, name="fc")
    net.output("out", then)
    program, both = spikec.compile(net.build()), 0
    for cut in range(62, 130, 3):
        sent = (cut - steps) * 1e-3
        if box is not None:
            sent = sent - box  # the box ends at the cut
        order = np.argsort(sent)
        events = Events(sent[order], np.arange(60)[order], np.array([0, 60]))
        nothing = Events(np.zeros(0), np.zeros(0, dtype=np.int64), np.array([0, 0]))
        first = program.run(events, duration=cut * 1e-3, probes={"then.v": [cut * 1e-3]})
        second = program.run(nothing, duration=5e-3, state=first.state, probes={"then.v": [5e-3]})
        whole = program.run(events, duration=(cut + 5) * 1e-3, probes={"then.v": [(cut + 5) * 1e-3]})
        both += len(first.spikes["out"]) + len(second.spikes["out"])
        assert np.bincount(first.spikes["out"].indices, minlength=60).sum() == len(first.spikes["out"])
        assert np.abs(second.probes["then.v"] - whole.probes["then.v"]).max() < 1e-9
        assert len(first.spikes["out"]) + len(second.spikes["out"]) == len(whole.spikes["out"])
    assert both > 1000


def test_a_state_is_shown_by_its_sizes() -> None:
    net = spikec.Builder()
    cells = net.cubalif("cells", 4, tau_mem=1e-2, tau_syn=5e-3)
    net.connect(net.input("in", 2), cells, weight=np.ones((4, 2)), delay=np.float64(5e-3))
    net.output("out", cells)
    result = spikec.compile(net.build()).run(Events.from_samples([([8e-3], [0]), ([], [])]), duration=10e-3)
    shown = repr(result.state)
    assert "'cells': State(2 samples, 4 neurons)" in shown
    assert "'in': Spikes(2 samples, 1 events)" in shown
    assert "tensor(" not in repr(result)
