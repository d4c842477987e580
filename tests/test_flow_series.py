"""Neurons that are followed as power series in time: every function, against scipy's integrator and differences."""

from __future__ import annotations

import re

import numpy as np
import pytest
from flow_harness import Neuron
from scipy.integrate import solve_ivp

import spikec
from spikec.runtime.flow.derived import fragment

RATES = {
    "exp": ("a*exp(-v) - u", lambda v, u, a: a * np.exp(-v) - u),
    "expm1": ("expm1(a*u) - v", lambda v, u, a: np.expm1(a * u) - v),
    "log": ("a*log(2 + u*v) - v", lambda v, u, a: a * np.log(2 + u * v) - v),
    "log1p": ("a*log1p(u*u) - v", lambda v, u, a: a * np.log1p(u * u) - v),
    "sin_cos": ("a*sin(u) + cos(u) - v*sin(u)", lambda v, u, a: a * np.sin(u) + np.cos(u) - v * np.sin(u)),
    "cos": ("cos(a*v - u)", lambda v, u, a: np.cos(a * v - u)),
    "tan": ("-tan(a*v/4)", lambda v, u, a: -np.tan(a * v / 4)),
    "sinh_cosh": ("-sinh(v) + cosh(u)/a", lambda v, u, a: -np.sinh(v) + np.cosh(u) / a),
    "tanh": ("a*tanh(u) - tanh(v)", lambda v, u, a: a * np.tanh(u) - np.tanh(v)),
    "atan": ("-atan(a*v) + u*u", lambda v, u, a: -np.arctan(a * v) + u * u),
    "quotient": ("u*u/(1 + a*v*v) - v", lambda v, u, a: u * u / (1 + a * v * v) - v),
    "reciprocal": ("1/(1 + u*v)**2 - a", lambda v, u, a: 1 / (1 + u * v)**2 - a),
    "powers": ("a*v**3*u - v**5 + u**7", lambda v, u, a: a * v**3 * u - v**5 + u**7),
    "root": ("sqrt(1 + a*v*v) - 2*v", lambda v, u, a: np.sqrt(1 + a * v * v) - 2 * v),
    "power": ("-(v*v)**(a/2)*u", lambda v, u, a: -(v * v)**(a / 2) * u),
}
"""Of v, and the same for numpy; u' = -u/2 + v/5."""
SPAN, A, START = 2.5, 1.3, np.array([0.7, 0.9])


def neuron(rate, held=""):
    net = spikec.Builder()
    net.equations("h", 1, f"dv/dt = {rate}{held}\ndu/dt = -u/2 + v/5", threshold="v > 1e6", reset="v = 0",
                  receive="u", refractory=1.0 if held else 0.0,
                  **({"a": A} if re.search(r"\ba\b", rate) else {}))
    return Neuron(net.node("h"))


def ends(one, x, p, held=0, span=SPAN):
    y = x.copy()
    assert one.call("advance", y, p, float(span), held) == 0
    return y


@pytest.mark.parametrize("name", RATES)
def test_every_function_is_followed_and_so_is_its_adjoint(name):
    text, rate = RATES[name]
    one = neuron(text)
    assert ("flow_expand" in fragment(one.dynamics)) == (name not in ("root", "power"))
    wanted = solve_ivp(lambda t, x: [rate(*x, A), -x[1] / 2 + x[0] / 5], (0, SPAN), START, "DOP853", rtol=1e-13,
                       atol=1e-14).y[:, -1]
    np.testing.assert_allclose(ends(one, START, one.values), wanted, rtol=1e-11, atol=1e-12)
    given = np.concatenate([START, one.values])
    for row in np.eye(2):
        l, gp = row.copy(), np.zeros(len(one.values))
        one.call("advance_back", START, one.values, SPAN, 0, l, gp)
        for number, found in enumerate([*l, *gp]):
            step = np.zeros(3)
            step[number] = 1e-4

            def value(times, step=step, row=row):
                moved = given + times * step
                return ends(one, moved[:2], moved[2:].copy()) @ row

            difference = (8 * (value(1) - value(-1)) - (value(2) - value(-2))) / 1.2e-3
            assert found == pytest.approx(difference, rel=1e-8, abs=1e-9)


def test_the_adjoint_of_a_neuron_at_rest_is_not_at_rest():
    """At rest all coefficients of the states vanish, however long the step; what a state moved by a little would do
    does not: v' = v^2 - 1 at v = -1 gives exp(-2 t)."""
    one = neuron("v*v - 1")
    for span in (0.1, 1.0, 10.0):
        l = np.array([1.0, 0.0])
        x = np.array([-1.0, -0.4])
        one.call("advance_back", x, one.values, span, 0, l, np.zeros(1))
        assert ends(one, x, one.values, span=span)[0] == -1.0
        assert l[0] == pytest.approx(np.exp(-2 * span), rel=1e-10)


def test_what_is_held_stays_and_so_does_its_adjoint():
    one = neuron("a*exp(-v) - u", " (unless refractory)")
    y = ends(one, START, one.values, held=1)
    assert y[0] == START[0] and y[1] == pytest.approx(0.4 * START[0] + (START[1] - 0.4 * START[0]) * np.exp(-SPAN / 2))
    l, gp = np.array([0.0, 1.0]), np.zeros(1)
    one.call("advance_back", START, one.values, SPAN, 1, l, gp)
    np.testing.assert_allclose(l, [0.4 * (1 - np.exp(-SPAN / 2)), np.exp(-SPAN / 2)], rtol=1e-11)
    assert gp[0] == 0.0


def test_a_state_that_others_move_first_has_its_tolerance():
    """From zero, each state moves the next: the first terms of the last one are zero."""
    net = spikec.Builder()
    net.equations("h", 1, "dv/dt = u*u - v\ndu/dt = i - u\ndi/dt = j - i\ndj/dt = 1 - j", threshold="v > 1e6",
                  reset="v = 0", receive="i")
    one = Neuron(net.node("h"))
    wanted = solve_ivp(lambda t, x: [x[1]**2 - x[0], x[2] - x[1], x[3] - x[2], 1 - x[3]], (0, 4.0), np.zeros(4),
                       "DOP853", rtol=1e-13, atol=1e-15).y[:, -1]
    np.testing.assert_allclose(ends(one, np.zeros(4), one.values, span=4.0), wanted, rtol=1e-10)
