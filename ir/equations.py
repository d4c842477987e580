"""Neurons as equations, ready to use: each function gives a record that `Builder.equations` takes for a text.

    net.equations("hidden", 100, spikec.equations.adex(), tau_u=0.1)

Values are SI numbers. What is published is named with its source; all others are assumed, of the size that is usual.
Any value can be given otherwise, here or to the builder, one for all neurons or one for each. Where a synapse is not
part of a publication, a spike of weight w moves a current `i` by w, which decays with `tau_syn` (assumed, 5 ms).
"""

from __future__ import annotations

from typing import Any

__all__ = ["Record", "adaptive_lif", "adex", "cubalif", "izhikevich", "lif", "qif", "resonate_and_fire"]

Record = dict[str, Any]
"""`equations`, `threshold`, `reset`, `receive` as text, `refractory` in seconds where one is given, values by name."""


def lif(**values: Any) -> Record:
    """The kind `LIF`: leaky integrate and fire, whose membrane a spike moves at once, by r w / tau."""
    return _record(
        "dv/dt = (v_leak - v)/tau : 1 (unless refractory)\n"
        "tau : second\nv_leak : 1\nr : second\nv_threshold : 1\nv_reset : 1",
        "v > v_threshold", "v = v_reset", "v += r*w/tau", values,
        tau=20e-3, r=20e-3, v_leak=0.0, v_threshold=1.0, v_reset=0.0)


def cubalif(**values: Any) -> Record:
    """The kind `CubaLIF`: leaky integrate and fire with a current that a spike moves by w_in w / tau_syn."""
    return _record(
        "dv/dt = (v_leak - v + r*i)/tau_mem : 1 (unless refractory)\n"
        "di/dt = -i/tau_syn : 1\n"
        "tau_mem : second\ntau_syn : second\nw_in : second\nv_leak : 1\nr : 1\nv_threshold : 1\nv_reset : 1",
        "v > v_threshold", "v = v_reset", "i += w_in*w/tau_syn", values,
        tau_mem=20e-3, tau_syn=5e-3, w_in=5e-3, v_leak=0.0, r=1.0, v_threshold=1.0, v_reset=0.0)


def qif(**values: Any) -> Record:
    """Quadratic integrate and fire: tau dv/dt = v (v - 1) + i as in the kind `QIF`, but for a spike at `v_peak` in the
    place of infinity, from which it goes on at `v_reset` (assumed, 100 and -100): the time from there to infinity and
    back is tau (1/v_peak - 1/v_reset), nearly. Any tau_syn goes."""
    return _record(
        "dv/dt = (v*(v - 1) + i)/tau : 1\n"
        "di/dt = -i/tau_syn : 1\n"
        "tau : second\ntau_syn : second\nv_peak : 1\nv_reset : 1",
        "v > v_peak", "v = v_reset", "i += w", values, tau=20e-3, tau_syn=10e-3, v_peak=100.0, v_reset=-100.0)


def adaptive_lif(**values: Any) -> Record:
    """Leaky integrate and fire whose threshold rises by beta with each spike, and falls back with tau_a: the neurons of
    Bellec et al., NeurIPS 2018 (arXiv 1803.09574), in continuous time. Values are
    assumed."""
    return _record(
        "dv/dt = (v_leak - v + r*i)/tau_mem : 1 (unless refractory)\n"
        "di/dt = -i/tau_syn : 1\n"
        "da/dt = -a/tau_a : 1\n"
        "tau_mem : second\ntau_syn : second\ntau_a : second\n"
        "v_leak : 1\nr : 1\nv_threshold : 1\nv_reset : 1\nbeta : 1",
        "v > v_threshold + a", "v = v_reset; a += beta", "i += w", values,
        tau_mem=20e-3, tau_syn=5e-3, tau_a=200e-3, v_leak=0.0, r=1.0, v_threshold=1.0, v_reset=0.0, beta=0.2)


def adex(**values: Any) -> Record:
    """Adaptive exponential integrate and fire: Brette & Gerstner, J Neurophysiol 94:3637 (2005), with its values. Their
    w is u here. A spike is cut off at v_cut = v_t + 5 delta_t, as in Brian2's examples, from where v would run away
    within about 50 us; the synapse is assumed."""
    return _record(
        "dv/dt = (g_l*(e_l - v) + g_l*delta_t*exp((v - v_t)/delta_t) - u + i)/c : volt (unless refractory)\n"
        "du/dt = (a*(v - e_l) - u)/tau_u : amp\n"
        "di/dt = -i/tau_syn : amp\n"
        "c : farad\ng_l : siemens\ne_l : volt\ndelta_t : volt\nv_t : volt\nv_cut : volt\n"
        "a : siemens\ntau_u : second\nb : amp\nv_reset : volt\ntau_syn : second",
        "v > v_cut", "v = v_reset; u += b", "i += w", values,
        c=281e-12, g_l=30e-9, e_l=-70.6e-3, delta_t=2e-3, v_t=-50.4e-3, v_cut=-40.4e-3, a=4e-9, tau_u=144e-3,
        b=80.5e-12, v_reset=-70.6e-3, tau_syn=5e-3, v0=-70.6e-3)


def izhikevich(**values: Any) -> Record:
    """The simple model of Izhikevich, IEEE Trans Neural Netw 14:1569 (2003), regular spiking: a = 0.02 / ms,
    b = 0.2 / ms, c = -65 mV, d = 8 mV / ms, a spike at 30 mV. The published current is `i`, in volts a second; its
    decay is assumed. It starts at c."""
    return _record(
        "dv/dt = 0.04/(ms*mV)*v**2 + 5/ms*v + 140*mV/ms - u + i : volt\n"
        "du/dt = a*(b*v - u) : volt/second\n"
        "di/dt = -i/tau_syn : volt/second\n"
        "a : hertz\nb : hertz\nc : volt\nd : volt/second\nv_peak : volt\ntau_syn : second",
        "v > v_peak", "v = c; u += d", "i += w", values,
        a=20.0, b=200.0, c=-65e-3, d=8.0, v_peak=30e-3, tau_syn=5e-3, v0=-65e-3, u0=-13.0)


def resonate_and_fire(**values: Any) -> Record:
    """Resonate and fire: Izhikevich, Neural Networks 14:883 (2001). z = x + i y turns with omega and decays with
    `damping`; a spike is y above the threshold. An impulse moves x, at once. Values are assumed, and so is the reset to
    rest: the publication resets to the threshold itself."""
    return _record(
        "dx/dt = -damping*x - omega*y : 1\n"
        "dy/dt = omega*x - damping*y : 1\n"
        "damping : hertz\nomega : hertz\nthreshold_y : 1",
        "y > threshold_y", "x = 0; y = 0", "x += w", values, damping=50.0, omega=500.0, threshold_y=1.0)


def _record(equations: str, threshold: str, reset: str, receive: str, given: dict[str, Any], **values: Any) -> Record:
    return {"equations": equations, "threshold": threshold, "reset": reset, "receive": receive, **values, **given}
