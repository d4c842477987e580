"""Neurons written as text in the event engine: the linear kinds re-expressed give the same spikes and gradients,
networks of others agree with the reference and with differences."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import spikec
from spikec.ir.events import Events
from spikec.ir.exact import simulate_exact
from spikec.runtime.flow import stage

E = spikec.equations
CUBA = {"tau_mem": 20e-3, "tau_syn": 5e-3, "w_in": 4e-3, "r": 1.3, "v_leak": 0.1, "v_reset": -0.2}


def network(add, size, seed=0, bias=0.0, delay=1.1e-3, n=5, loop=0.2):
    """in -> hidden, which hears itself later; `add(net, n)` makes the hidden neurons."""
    rng = np.random.default_rng(seed)
    net = spikec.Builder()
    source = net.input("in", 4)
    hidden = add(net, n)
    net.connect(source, hidden, weight=np.abs(rng.normal(size, size / 3, (n, 4))), name="fc",
                bias=rng.normal(0, bias, n) if bias else None)
    net.connect(hidden, hidden, weight=rng.normal(0, loop * size, (n, n)), delay=delay, name="loop")
    net.output("out", hidden)
    return net.build()


def events(seconds, batch=2, count=12, seed=1):
    rng = np.random.default_rng(seed)
    return Events.from_samples([(np.sort(rng.uniform(0, 0.8 * seconds, count)), rng.integers(0, 4, count))
                                for _ in range(batch)])


def trained(graph, given, seconds, train):
    """Spikes, and gradients of a weighted sum of their times and of the last membranes."""
    module = spikec.compile(graph).module(dtype=torch.float64, train=train)
    outputs = module(given, seconds)
    spikes = outputs.events("out")
    weights = torch.from_numpy(np.random.default_rng(3).normal(size=len(spikes.times)))
    (spikes.times * weights).sum().backward()
    return spikes.numpy(), {name: each.grad.numpy().copy() for name, each in module.named_parameters()
                            if each.grad is not None}


@pytest.mark.parametrize("refractory", [0.0, 2e-3])
@pytest.mark.parametrize("bias", [0.0, 0.3])
def test_a_cubalif_neuron_as_equations_has_the_same_numbers(refractory, bias):
    plain = network(lambda net, n: net.cubalif("h", n, **CUBA, refractory=refractory), 4.0, bias=bias)
    written = network(lambda net, n: net.equations("h", n, E.cubalif(**CUBA), refractory=refractory), 4.0, bias=bias)
    train = ("weight", "bias", "delay", "tau_mem", "tau_syn", "w_in", "v_leak", "r", "v_threshold", "v_reset", "v0")
    train = tuple(each for each in train if bias or each != "bias")
    given = events(0.1)
    (one, wanted), (other, found) = (trained(graph, given, 0.1, train) for graph in (plain, written))
    assert len(one) > 20 and one.indices.tolist() == other.indices.tolist()
    np.testing.assert_allclose(other.times, one.times, rtol=0, atol=1e-13)
    for name, gradient in wanted.items():
        np.testing.assert_allclose(found[name], gradient, rtol=1e-8, atol=1e-8 * np.abs(gradient).max(), err_msg=name)


def test_a_lif_neuron_as_equations_has_the_same_numbers():
    stated = {"tau": 20e-3, "r": 15e-3, "v_leak": 0.05}
    plain = network(lambda net, n: net.lif("h", n, **stated), 0.5, bias=0.0)
    plain = plain.with_nodes({"h": type(plain.nodes["h"])(shape=(5,), **stated | {"v_leak": 1.4})})
    written = network(lambda net, n: net.equations("h", n, E.lif(**stated | {"v_leak": 1.4})), 0.5)
    given = events(0.1)
    one, other = (spikec.compile(graph).run(given, 0.1).spikes["out"].numpy() for graph in (plain, written))
    assert len(one) > 20 and one.indices.tolist() == other.indices.tolist()
    np.testing.assert_allclose(other.times, one.times, rtol=0, atol=1e-13)


NETWORKS = {
    "adex": (E.adex(), 1.2e-9, 0.1), "adaptive_lif": (E.adaptive_lif(), 4.0, 0.1),
    "izhikevich": (E.izhikevich(), 12.0, 0.1), "resonate_and_fire": (E.resonate_and_fire(), 0.8, 0.1),
    "qif": (E.qif(), 3.0, 0.2),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_recurrent_networks_agree_with_the_reference_and_with_differences(name):
    record, size, seconds = NETWORKS[name]
    delayed = 0.0 if name == "resonate_and_fire" else 0.2  # an impulse of its own would fire at once
    graph = network(lambda net, n: net.equations("h", n, record), size, n=3, loop=delayed)
    given = events(seconds, batch=1, count=10)
    program = spikec.compile(graph)
    found = program.run(given, seconds).spikes["out"].numpy()
    wanted = simulate_exact(graph, given, seconds).spikes["out"]
    assert len(found) > 3 and found.indices.tolist() == wanted.indices.tolist()
    np.testing.assert_allclose(found.times, wanted.times, rtol=0, atol=1e-10)

    numbers = tuple(key for key, value in record.items() if isinstance(value, float) and key != "refractory")
    module = program.module(dtype=torch.float64, train=("weight", *numbers))
    weights = torch.from_numpy(np.random.default_rng(3).normal(size=len(found)))

    def loss():
        spikes = module(given, seconds).events("out")
        return (spikes.times * weights).sum() if len(spikes.times) == len(found) else torch.tensor(torch.nan)

    loss().backward()
    for label, parameter in module.named_parameters():
        if parameter.grad is None:
            continue
        direction = torch.from_numpy(np.random.default_rng(5).normal(size=parameter.shape)) * parameter.detach().abs()
        wanted_slope = float((parameter.grad * direction).sum())
        start, error = parameter.detach().clone(), np.inf
        for part in (1e-3, 3e-4, 1e-4, 3e-5, 1e-5):
            ends = []
            for step in (1, -1, 2, -2):
                with torch.no_grad():
                    parameter.copy_(start + step * part * direction)
                    ends.append(float(loss()))
            difference = (8 * (ends[0] - ends[1]) - (ends[2] - ends[3])) / (12 * part)
            noise = 1e-13 * len(found) / part
            error = np.fmin(error, max(abs(difference - wanted_slope) - noise, 0.0) / max(abs(wanted_slope), 1e-9))
        with torch.no_grad():
            parameter.copy_(start)
        assert error < 1e-6, (label, wanted_slope)


@pytest.mark.parametrize(("name", "state"), [("adex", "u"), ("adex", "i"), ("adaptive_lif", "a"), ("qif", "i")])
def test_any_state_is_shown_and_trained_by(name, state):
    """A probe of a state that is not the membrane: its values are those of the reference, its gradient by every weight
    that of differences; at the end of a run both are those of `end`."""
    record, size, seconds = NETWORKS[name]
    make = (lambda net, n: net.qif("h", n, tau=10e-3)) if name == "qif" else (
        lambda net, n: net.equations("h", n, record, refractory=1e-3))
    graph = network(make, size, n=3)
    given, times = events(seconds), np.array([0.9, 0.31, 1.0, 0.62]) * seconds
    program, label = spikec.compile(graph), f"h.{state}"
    wanted = simulate_exact(graph, given, seconds, probes={label: times}).probes[label]
    found = program.run(given, seconds, probes={label: times, f"out.{state}": times, "h.v": times}).probes
    np.testing.assert_allclose(found[label], wanted, rtol=1e-8, atol=1e-9 * np.abs(wanted).max())
    assert np.array_equal(found[label], found[f"out.{state}"]) and not np.allclose(found[label], found["h.v"])

    module = program.module(dtype=torch.float64, train=("weight",))
    weights = torch.from_numpy(np.random.default_rng(3).normal(size=wanted.shape) / np.abs(wanted).max())
    weight = module.get_parameter("fc.weight")
    last = torch.autograd.grad(module(given, seconds).voltage(label, [seconds]).sum(), weight)
    end = torch.autograd.grad(module(given, seconds).end("h")[state].sum(), weight)
    np.testing.assert_allclose(last[0], end[0], rtol=1e-12)

    def loss():
        return (module(given, seconds).voltage(label, times) * weights).sum()

    loss().backward()
    direction = torch.from_numpy(np.random.default_rng(5).normal(size=weight.shape)) * size
    slope, start, error = float((weight.grad * direction).sum()), weight.detach().clone(), np.inf
    for part in (1e-4, 3e-5, 1e-5):
        ends = []
        for step in (1, -1, 2, -2):
            with torch.no_grad():
                weight.copy_(start + step * part * direction)
                ends.append(float(loss()))
        error = min(error, abs((8 * (ends[0] - ends[1]) - (ends[2] - ends[3])) / (12 * part) - slope))
    assert error < 1e-5 * abs(slope)


def test_a_state_that_is_not_there_is_named():
    program = spikec.compile(network(lambda net, n: net.equations("h", n, E.adex()), 1e-9))
    with pytest.raises(spikec.BadInputError, match=r"SC407.*'h\.x'.*h\.v, h\.u, h\.i"):
        program.run(events(0.1), 0.1, probes={"h.x": [0.1]})
    out = program.module()(events(0.1), 0.1)
    with pytest.raises(spikec.BadInputError, match=r"SC409.*'h\.x'"):
        out.voltage("h.x", [0.1])


def test_results_do_not_depend_on_threads():
    record, size, seconds = NETWORKS["adex"]
    graph = network(lambda net, n: net.equations("h", n, record), size)
    given, before = events(seconds, batch=5), spikec.get_threads()
    try:
        results = []
        for threads in (1, 2):
            spikec.set_threads(threads)
            spikes, gradients = trained(graph, given, seconds, ("weight", "tau_u"))
            results.append((spikes.times.tobytes(), {key: each.tobytes() for key, each in gradients.items()}))
    finally:
        spikec.set_threads(before)
    assert results[0] == results[1]


@pytest.mark.parametrize("name", ["adex", "adaptive_lif"])
def test_ways_that_have_no_room_are_gone_again(name, monkeypatch):
    """Without the record of the ways, which outgrows its room here, the reverse pass follows the neurons anew."""
    record, size, seconds = NETWORKS[name]
    graph = network(lambda net, n: net.equations("h", n, record, refractory=2e-3), size, n=3, loop=0.1)
    given, found = events(seconds), []
    for room in (stage._MOST_RECORD, 1 << 10):
        monkeypatch.setattr(stage, "_MOST_RECORD", room)
        found.append(trained(graph, given, seconds, ("weight", "delay", "v_reset", "v0")))
    (spikes, one), (same, other) = found
    assert len(spikes) > 5 and spikes.times.tobytes() == same.times.tobytes()
    differs = 0
    for key, each in one.items():
        np.testing.assert_allclose(other[key], each, rtol=1e-8, atol=1e-9 * np.abs(each).max())
        differs += not np.array_equal(other[key], each)
    assert differs  # two ways indeed


def test_equations_that_run_away_are_a_diagnostic():
    stated = {"equations": "dv/dt = v*v + i\ndi/dt = -i", "threshold": "v > 1e13", "reset": "v = 0"}
    graph = network(lambda net, n: net.equations("h", n, **stated), 3.0, n=2)
    with pytest.raises(spikec.SpikecError, match=r"SC44[12] at 'h'"):
        spikec.compile(graph).run(events(1.0), 10.0)
