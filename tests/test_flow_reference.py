"""What neurons of free form mean: published values, closed forms, and the linear kinds written as equations."""

from __future__ import annotations

import numpy as np
import pytest

import spikec
from spikec.ir.events import Events
from spikec.ir.exact import simulate_exact


def driven(kind, weights, bias=None, **stated):
    """One neuron, each of its inputs with a weight."""
    net = spikec.Builder()
    neuron = getattr(net, kind)("h", 1, **stated)
    net.connect(net.input("in", len(weights)), neuron, weight=np.array([weights], dtype=float), bias=bias)
    net.output("out", neuron)
    return net.build()


def at(*times):
    return Events.from_samples([(list(times), list(range(len(times))))])


@pytest.mark.parametrize(("weight", "time"), [
    (3.0, 2.374077680281), (4.0, 1.538970890562), (9.0, 0.741494871392), (2.467401, None)])
def test_a_quadratic_neuron_fires_when_its_closed_form_says(weight, time):
    """From rest I = w: t = -tau ln(1 - pi / (2 sqrt w)); none below (pi / 2)^2 = 2.467401100272."""
    result = simulate_exact(driven("qif", [weight], tau=1.0), at(0.0), 14.0)
    assert result.spikes["out"].times[:1] == pytest.approx([] if time is None else [time], abs=1e-11)
    result = simulate_exact(driven("qif", [weight], tau=1e-3), at(0.5e-3), 14e-3)
    assert result.spikes["out"].times[:1] == pytest.approx([] if time is None else [0.5e-3 + 1e-3 * time], rel=1e-11)


def test_a_theta_neuron_has_its_period():
    tau, i0 = 6 / np.pi, 1.25
    found = simulate_exact(driven("theta", [1.0], tau=tau, i0=i0, v0=0.5), at(100.0), 20.0).spikes["out"].times
    assert found == pytest.approx([3.0, 9.0, 15.0], rel=1e-11)
    found = simulate_exact(driven("theta", [1.0], bias=2.0, tau=tau, i0=i0), at(100.0), 20.0).spikes["out"].times
    assert np.diff(found) == pytest.approx(np.pi * tau / np.sqrt(i0 + 2.0 - 0.25), rel=1e-11)


def test_an_impulse_moves_the_phase_of_a_theta_neuron():
    """phi = tau / R (atan((V - 1/2) / R) + pi / 2) grows with time, and V by the weight."""
    tau, i0, weight, when = 0.7, 1.0, 0.4, 0.9
    root = np.sqrt(i0 - 0.25)
    phase = tau / root * (np.arctan(-0.5 / root) + np.pi / 2) + when
    voltage = 0.5 + root * np.tan(phase * root / tau - np.pi / 2) + weight
    left = np.pi * tau / root - tau / root * (np.arctan((voltage - 0.5) / root) + np.pi / 2)
    found = simulate_exact(driven("theta", [weight], tau=tau, i0=i0, v0=0.0), at(when), 3.0,
                           probes={"h.v": [when]})
    assert found.spikes["out"].times[0] == pytest.approx(when + left, abs=1e-11)
    assert found.probes["h.v"].item() == pytest.approx(voltage, rel=1e-10)


CUBA = {"tau_mem": 20e-3, "tau_syn": 5e-3, "w_in": 4e-3, "r": 1.3, "v_leak": 0.1, "v_reset": -0.2}


def layers(as_equations, refractory=1e-3, recurrent=True, readout=False):
    rng = np.random.default_rng(4)
    net = spikec.Builder()
    source = net.input("in", 5)
    if as_equations:
        hidden = net.equations("h", 4, spikec.equations.cubalif(**CUBA, v_threshold=1.0), refractory=refractory)
    else:
        hidden = net.cubalif("h", 4, **CUBA, refractory=refractory)
    net.connect(source, hidden, weight=rng.normal(3.5, 1, (4, 5)), bias=rng.normal(0, 0.2, 4))
    if recurrent:
        net.connect(hidden, hidden, weight=rng.normal(0.4, 1, (4, 4)), delay=1e-3)
    shown = hidden
    if readout:
        text = "dv/dt = (v_leak - v + i)/tau_mem\ndi/dt = -i/tau_syn"
        shown = (net.equations("o", 2, text, tau_mem=2e-2, tau_syn=5e-3, v_leak=0.0) if as_equations else
                 net.cubali("o", 2, tau_mem=2e-2, tau_syn=5e-3))
        net.connect(hidden, shown, weight=rng.normal(0.5, 1, (2, 4)))
    net.output("out", shown)
    events = Events.from_samples([(np.sort(rng.uniform(0, 0.03, 12)), rng.integers(0, 5, 12))])
    return net.build(), events


@pytest.mark.parametrize("refractory", [0.0, 2e-3])
def test_a_linear_neuron_as_equations_is_the_same(refractory):
    (plain, events), (written, _) = layers(False, refractory), layers(True, refractory)
    probes = {"h.v": [0.011, 0.0293], "h.i": [0.0]}
    wanted, found = (simulate_exact(graph, events, 0.04, probes) for graph in (plain, written))
    assert len(wanted.spikes["out"]) > 12
    assert found.spikes["out"].indices.tolist() == wanted.spikes["out"].indices.tolist()
    np.testing.assert_allclose(found.spikes["out"].times, wanted.spikes["out"].times, rtol=0, atol=1e-13)
    for probe in probes:
        np.testing.assert_allclose(found.probes[probe], wanted.probes[probe], rtol=1e-9, atol=1e-11)


def test_readouts_show_their_highest_value():
    (plain, events), (written, _) = layers(False, readout=True), layers(True, readout=True)
    wanted, found = (simulate_exact(graph, events, 0.04).voltage_max["out"] for graph in (plain, written))
    np.testing.assert_allclose(found[0], wanted[0], rtol=1e-9)
    np.testing.assert_allclose(found[1], wanted[1], atol=1e-7)  # the place of a maximum is half as sharp


def test_a_run_goes_on_where_it_ended():
    graph, events = layers(True, 2e-3)
    whole = simulate_exact(graph, events, 0.04).spikes["out"]
    first = simulate_exact(graph, events, 0.0171)
    later = Events.from_samples([(times[times > 0.0171] - 0.0171, index[times > 0.0171])
                                 for times, index in (events.sample(0),)])
    second = simulate_exact(graph, later, 0.04 - 0.0171, state=first.state)
    times = [*first.spikes["out"].times, *(second.spikes["out"].times + 0.0171)]
    np.testing.assert_allclose(times, whole.times, rtol=0, atol=1e-13)


def test_an_input_above_the_threshold_fires_at_once_and_what_is_held_loses_it():
    stated = {"equations": "dv/dt = -v/tau (unless refractory)\ndu/dt = -u/tau", "threshold": "v > 1",
              "reset": "v = 0", "receive": "v += w; u += w", "tau": 0.1, "refractory": 0.1}
    result = simulate_exact(driven("equations", [2.0, 0.5, 1.5], **stated), at(0.1, 0.15, 0.3), 0.4,
                            probes={"h.v": [0.15, 0.16, 0.35], "h.u": [0.15]})
    assert result.spikes["out"].times.tolist() == [0.1, 0.3]
    assert result.probes["h.v"].reshape(-1).tolist() == [0.0, 0.0, 0.0]
    assert result.probes["h.u"].item() == pytest.approx(2.0 * np.exp(-0.5) + 0.5, rel=1e-11)


def test_a_level_that_only_touches_between_steps_is_found():
    """A resonator whose swing passes the threshold by 1e-6 of it, for a moment."""
    damping, omega = 50.0, 500.0
    when = np.arctan(omega / damping) / omega
    peak = np.exp(-damping * when) * np.sin(omega * when)
    for margin, spikes in ((1 + 1e-6, 1), (1 - 1e-6, 0)):
        graph = driven("equations", [margin / peak], equations=spikec.equations.resonate_and_fire())
        found = simulate_exact(graph, at(0.01), 0.1).spikes["out"].times
        assert len(found) == spikes
        assert spikes == 0 or found == pytest.approx(0.01 + when, abs=1e-4)


@pytest.mark.parametrize(("text", "values", "message"), [
    ("dv/dt = v*v + i\ndi/dt = -i", {}, "too small|passes"),
    ("dv/dt = exp(40*v) + i\ndi/dt = -i", {}, "too small|passes"),
    ("dv/dt = -1e9*(v - i) + 1e9*(v - i)**3\ndi/dt = -i", {}, "steps|too small|passes"),
    ("dv/dt = 1/(0.5 - v) + i\ndi/dt = -i", {}, "too small|steps|passes"),
])
def test_equations_that_run_away_are_told(text, values, message):
    graph = driven("equations", [3.0], equations=text, threshold="v > 1e13", reset="v = 0", **values)
    with pytest.raises(spikec.UnsupportedError, match=f"SC138 at 'h': neuron 0 .*({message})"):
        simulate_exact(graph, at(0.1), 10.0)


def test_probes_and_durations_are_checked():
    graph = driven("qif", [3.0], tau=1.0)
    with pytest.raises(spikec.BadInputError, match="SC402 at 'h'"):
        simulate_exact(graph, at(0.0))
    with pytest.raises(spikec.BadInputError, match=r"SC403.*limit: v, v, i"):
        simulate_exact(graph, at(0.0), 1.0, probes={"h.u": [0.5]})
