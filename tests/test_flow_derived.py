"""The C text that is derived of equations: one neuron, against the reference and against differences of itself."""

from __future__ import annotations

import numpy as np
import pytest
from flow_harness import Neuron

import spikec
from spikec.ir.events import Events
from spikec.ir.exact import simulate_exact
from spikec.runtime.flow.derived import fragment, is_linear

E = spikec.equations
# Neuron, size of an input, seconds, whether it is linear.
CASES = {
    "cubalif": (E.cubalif(refractory=2e-3), 3.0, 0.1, True),
    "adaptive_lif": (E.adaptive_lif(), 4.0, 0.15, True),
    "adex": (E.adex(), 1.5e-9, 0.15, False),
    "adex_held": (E.adex(refractory=3e-3), 1.5e-9, 0.15, False),
    "izhikevich": (E.izhikevich(), 12.0, 0.15, False),
    "resonate_and_fire": (E.resonate_and_fire(), 0.8, 0.1, True),
    "qif": (E.qif(), 3.0, 0.3, False),
}


def node_of(record, n=1):
    net = spikec.Builder()
    net.equations("h", n, record)
    return net.node("h")


def drawn(name):
    record, size, seconds, _ = CASES[name]
    rng = np.random.default_rng(11)
    times = np.sort(rng.uniform(0, 0.8 * seconds, 12))
    return Neuron(node_of(record)), times, np.abs(rng.normal(size, size / 3, 12)), seconds


@pytest.mark.parametrize("name", CASES)
def test_spikes_are_those_of_the_reference(name):
    neuron, times, weights, seconds = drawn(name)
    found, last, _ = neuron.run(times, weights, seconds)
    net = spikec.Builder()
    hidden = net.equations("h", 1, CASES[name][0])
    net.connect(net.input("in", 12), hidden, weight=weights[None])
    net.output("out", hidden)
    events = Events.from_samples([(times, np.arange(12))])
    states = neuron.dynamics.states
    wanted = simulate_exact(net.build(), events, seconds, probes={f"h.{state}": [seconds] for state in states})
    assert len(found) >= 2
    np.testing.assert_allclose(found, wanted.spikes["out"].times, rtol=0, atol=1e-11)
    last_wanted = np.array([wanted.probes[f"h.{state}"].item() for state in states])
    np.testing.assert_allclose(last, last_wanted, rtol=1e-9, atol=1e-9 * np.abs(last_wanted).min())
    assert is_linear(neuron.dynamics) == CASES[name][3]


@pytest.mark.parametrize("name", CASES)
def test_gradients_are_those_of_differences(name):
    """Of a weighted sum of spike times and last states, by every parameter, weight, input time and start. Differences
    of fourth order; a step is refused where it changes the number of spikes."""
    neuron, times, weights, seconds = drawn(name)
    spikes, last, log = neuron.run(times, weights, seconds)
    rng = np.random.default_rng(2)
    of_spikes = rng.normal(size=len(spikes))
    of_last = 1e-3 * rng.normal(size=len(last)) / np.maximum(np.abs(last), 1e-12)
    base = {"values": neuron.values, "weights": weights, "times": times, "start": neuron.start}
    found = dict(zip(("values", "weights", "times", "start"),
                     neuron.gradient(log, of_spikes, of_last, len(times)), strict=True))

    def loss(**changed):
        given = base | changed
        there, end, _ = neuron.run(given["times"], given["weights"], seconds, given["values"], given["start"])
        return there @ of_spikes + end @ of_last if len(there) == len(spikes) else np.nan

    sizes = {state: max(abs(start), abs(now)) for state, start, now in
             zip(neuron.dynamics.states, neuron.start, last, strict=True)}
    for what, values in base.items():
        for number, value in enumerate(values):
            size = abs(value) or (sizes[neuron.dynamics.states[number]] if what == "start" else 0.0) or 1.0
            error = np.inf
            for part in (1e-3, 3e-4, 1e-4, 3e-5, 1e-5, 3e-6, 1e-6):
                step = part * size
                ends = []
                for times_step in (1, -1, 2, -2):
                    moved = values.copy()
                    moved[number] += times_step * step
                    ends.append(loss(**{what: moved}))
                difference = (8 * (ends[0] - ends[1]) - (ends[2] - ends[3])) / (12 * step)
                # what rounding of the loss leaves of a difference
                noise = 1e-13 * (np.abs(spikes).sum() + 1e-3 * len(last)) / step
                wanted = found[what][number]
                error = np.fmin(error, max(abs(difference - wanted) - noise, 0.0) / max(abs(wanted), 1e-12 / size))
            assert error < 1e-6, (what, number, found[what][number])


def test_no_text_of_the_user_reaches_c():
    record = {"equations": "dsecret/dt = -secret/evil_name", "threshold": "secret > 1", "reset": "secret = 0",
              "receive": "secret += w", "evil_name": 1.0}
    text = fragment(Neuron(node_of(record)).dynamics)
    assert "secret" not in text and "evil" not in text


def test_a_stiff_or_divergent_neuron_is_a_fault_and_never_a_hang():
    def advanced(equations, span, **values):
        record = {"equations": equations, "threshold": "v > 1e14", "reset": "v = 0", "receive": "v", **values}
        neuron = Neuron(node_of(record))
        return neuron.call("advance", np.ones(len(neuron.start)), neuron.values, float(span), 0)

    assert advanced("dv/dt = v*v", 2.0) == 1
    assert advanced("dv/dt = a*v", 1e3, a=1.0) == 1
    assert advanced("dv/dt = -a*v", 1e3, a=1.0) == 0
    assert advanced("dv/dt = -a*v", 1e3, a=1e12) == 2
    assert advanced("dv/dt = -a*(v - cos(v))", 1e3, a=1e9) == 2
    assert advanced("dv/dt = -1 - sqrt(v - 0.5)", 10.0, v0=1.0) == 8  # the root of what is negative
    assert advanced("dv/dt = -10/v", 10.0, v0=1.0) == 2
    assert advanced("dv/dt = 1e12*sin(1e12*v)", 1e-3, v0=0.1) == 2


def test_flags_of_both_kinds_of_dynamics_agree():
    """A linear neuron, and the same with a term that is zero but hides that it is."""
    record = CASES["cubalif"][0]
    hidden = record | {"equations": record["equations"].replace("r*i)", "r*i + zero*v**2)") + "\nzero : 1", "zero": 0.0}
    one, other = Neuron(node_of(record)), Neuron(node_of(hidden))
    assert is_linear(one.dynamics) and not is_linear(other.dynamics)
    times, weights = np.linspace(0.001, 0.05, 9), np.full(9, 4.0)
    a, b = one.run(times, weights, 0.1), other.run(times, weights, 0.1)
    np.testing.assert_allclose(a[0], b[0], rtol=0, atol=1e-12)
    np.testing.assert_allclose(a[1], b[1], rtol=0, atol=1e-11)
