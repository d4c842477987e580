"""Neurons written as text: what is bounded before anything is derived, and what a run tells of others."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import spikec
from spikec.ir import nodes as ir
from spikec.ir.events import Events
from spikec.ir.exact import simulate_exact
from spikec.ir.flow.bounds import MAX_DERIVED, MAX_POWER, derived_size
from spikec.ir.flow.expressions import MAX_DEPTH, Number, depth_of, evaluate, parsed, size_of
from spikec.ir.flow.flow import dynamics_of
from spikec.ir.flow.statements import read
from spikec.runtime.flow.derived import NoNumberError
from spikec.runtime.flow.symbolic import derive

STATED = ("v > 1", "v = 0", "v")


def faults(equations, threshold="v > 1", reset="v = 0", receive="v"):
    return [str(found) for found in read(equations, threshold, reset, receive).faults]


def net_of(equations, threshold="v > 1", reset="v = 0", receive="v", weight=0.6, **values):
    net = spikec.Builder()
    neuron = net.equations("n", 2, equations, threshold=threshold, reset=reset, receive=receive, **values)
    net.connect(net.input("in", 1), neuron, weight=np.array([[0.0], [weight]]), name="fc")
    net.output("out", neuron)
    return net.build()


GIVEN = Events.from_samples([([], []), ([1e-3, 2e-3, 3e-3], [0, 0, 0])])


def chain(count, of):
    return "dv/dt = a0 - v\n" + "\n".join(f"a{n} = {of(n)}" for n in range(count)) + f"\na{count} = v\na{count + 1} = 1"


@pytest.mark.parametrize(("equations", "told"), [
    ("dv/dt = v**9**9**9", "no finite number"),
    ("dv/dt = -v/2**1000000000", "no finite number"),
    ("dv/dt = -v + log(0 - 1)", "no finite number"),
    ("dv/dt = -v/(2 - 2)", "no finite number"),
    ("dv/dt = -v*exp(exp(9))", "no finite number"),
    ("dv/dt = v**65", f"exponent is too large.*65; limit: {MAX_POWER}"),
    ("dv/dt = v**(0 - 65)", "exponent is too large"),
    ("dv/dt = ((v + 1)**9 + a)**9", "exponent is too large.*value: 81"),
    ("b = (v + 1)**9\ndv/dt = b**9", "exponent is too large"),
    ("dv/dt = (0 - 2)**v", "of what is positive"),
    ("dv/dt = -" + "*".join(f"(v - {n}.5)" for n in range(100)), f"too large to be derived.*limit: {MAX_DERIVED}"),
    ("dv/dt = -" + "*".join(f"(exp(v) - p{n})" for n in range(60)), "too large to be derived"),
    ("\n".join(f"d{s}/dt = -{s}" + "".join(f"*({r} + p{n})" for n, r in enumerate("vabcefgh"))*3 for s in "vabcefgh"),
     "too large to be derived"),
    (chain(200, lambda n: f"a{n + 1}*a{n + 2}"), "too large when what it names is put in"),
    (chain(60, lambda n: f"exp(a{n + 1}*v)"), f"nested too deeply when.*limit: {MAX_DEPTH}"),
    ("dv/dt = a\na = b\nb = a", "stated by itself"),
])
def test_a_short_text_that_would_be_long_work_is_refused(equations, told):
    found = faults(equations)
    assert found and all(each.startswith("SC133") for each in found) and re.search(told, found[0]), found


@pytest.mark.parametrize("equations", [
    "dv/dt = -v*(1 + 3**-99999999)",
    "dv/dt = -v" + " + v" * 700,
    "dv/dt = -v" + " - a*v" * 300,
    "dv/dt = -v" + "*2/2" * 300,
    "dv/dt = ((v + 1)**8)**8",
    "dv/dt = " + "1/(v + " * 30 + "1" + ")" * 30,
    "dv/dt = " + "tanh(" * MAX_DEPTH + "v" + ")" * MAX_DEPTH,
    chain(300, lambda n: f"a{n + 1}"),
    chain(12, lambda n: f"a{n + 1} + a{n + 2}"),
    "dv/dt = -" + "*".join(f"(v - {n}.5)" for n in range(20)),
    "\n".join(f"dx{s}/dt = (" + " + ".join(f"x{r}*x{(r + 1) % 8}" for r in range(8)) + ")/(1 + "
              + " + ".join(f"x{r}**2" for r in range(8)) + ")" for s in range(8)),
])
def test_what_is_taken_is_derived_to_a_size_in_proportion(equations):
    """Sizes of what sympy makes and C gets: no clock is needed to see that they are bounded."""
    state = "x0" if equations.startswith("dx0") else "v"
    texts = f"{state} > 1", f"{state} = 0", state
    reading = read(equations, *texts)
    assert reading.faults == ()
    size = sum(map(derived_size, reading.rates.values()))
    node = ir.Equations(shape=(1,), equations=equations, threshold=texts[0], reset=texts[1], receive=texts[2],
                        values=dict.fromkeys(reading.parameters, 1.0))
    blocks = derive(dynamics_of(node, False))
    assert sum(map(len, blocks.values())) < 200 * (size + 400)
    assert len(json.loads(blocks["series"] or "{}").get("ahead", {}).get("operations", ())) < 10 * (size + 100)


@given(st.lists(st.tuples(st.sampled_from("+-*/"), st.integers(1, 9)), min_size=1, max_size=120), st.floats(0.5, 2))
def test_long_sums_and_products_are_what_python_makes_of_them(terms, v):
    text = "v" + "".join(f" {sign} {number}*v" if sign in "+-" else f" {sign} {number}" for sign, number in terms)
    made = parsed(text)
    assert evaluate(made, {"v": v}) == pytest.approx(eval(text), rel=1e-12, abs=1e-9)
    assert depth_of(made) < 40


@settings(max_examples=60, deadline=None)
@given(st.recursive(st.sampled_from(["v", "a", "2", "0.5", "7"]), lambda inner: st.one_of(
    st.tuples(inner, st.sampled_from(["+", "-", "*", "/", "**"]), inner).map(lambda each: f"({' '.join(each)})"),
    st.tuples(st.sampled_from(["exp", "log", "sqrt", "tan", "atan"]), inner).map(lambda each: f"{each[0]}({each[1]})")),
    max_leaves=12))
def test_no_expression_is_long_work_or_a_traceback(text):
    """Whatever is read is derived, to a bounded size, or is a part that is no finite number."""
    reading = read(f"dv/dt = {text}", *STATED)
    assert all(found.code in ("SC133", "SC134") for found in reading.faults)
    if reading.faults:
        return
    assert isinstance(reading.rates["v"], Number) or size_of(reading.rates["v"]) <= 40
    node = ir.Equations(shape=(1,), equations=f"dv/dt = {text}", threshold="v > 1", reset="v = 0", receive="v",
                        values=dict.fromkeys(reading.parameters, 1.0))
    try:
        blocks = derive(dynamics_of(node, False))
    except NoNumberError:
        return
    assert sum(map(len, blocks.values())) < 60_000
    assert "zoo" not in str(blocks) and "nan" not in str(blocks) and "// Not" not in str(blocks)


@pytest.mark.parametrize(("receive", "equations"), [
    ("v += w/(w - w)", "dv/dt = -v"), ("v += w", "dv/dt = -v + 1e200*(1e200*v)"),
])
def test_what_is_no_number_whatever_the_states_are(receive, equations):
    with pytest.raises(spikec.BadInputError, match="SC133 at 'n': a part of the equations is no finite real number"):
        spikec.compile(net_of(equations, receive=receive)).run(GIVEN, 0.05)


@pytest.mark.parametrize(("equations", "code", "told", "when", "values"), [
    ("dv/dt = v*v*5000", "SC441", "grows beyond all bounds", 1 / 3000 + 1e-3, {"threshold": "v > 1e14"}),
    ("dv/dt = -10/v", "SC442", "too fast to be followed", 0.0045, {"v0": 0.3}),
    ("dv/dt = -100*sqrt(v)", "SC441", "is no number", 0.0109545, {"v0": 0.3, "weight": 0.0}),
    ("dv/dt = 1e12*sin(1e12*v)", "SC442", "too fast to be followed", 0.0, {"v0": 0.1}),
])
def test_a_neuron_that_cannot_be_followed_is_told_with_its_time(equations, code, told, when, values):
    weight = values.pop("weight", 0.0 if "v0" in values else 0.6)
    graph = net_of(equations, weight=weight, **values)
    with pytest.raises(spikec.BadInputError) as refusal:
        spikec.compile(graph).run(GIVEN, 0.05)
    (found,) = refusal.value.diagnostics
    assert (found.code, found.node) == (code, "n") and told in found.message
    neuron, sample, time = found.value.split(", ")
    assert (neuron, sample) == (("neuron 0", "sample 0") if "v0" in values else ("neuron 1", "sample 1"))
    assert float(time.split()[2]) == pytest.approx(when, rel=1e-4, abs=1e-6)


def test_a_reset_above_a_threshold_that_moves_is_told():
    """The threshold has come down to 0.5 when the neuron passes it, so that `v = 0.5` leaves it there for good."""
    graph = net_of("dv/dt = -v\nda/dt = -100*a", "v > a", "v = 0.5", a0=1.0)
    told = r"SC137 at 'n': the reset does not lower the level.*neuron 1.*t = 0\.0069"
    with pytest.raises(spikec.BadInputError, match=told):
        spikec.compile(graph).run(GIVEN, 0.05)
    with pytest.raises(spikec.BadInputError, match=told):
        simulate_exact(graph, GIVEN, 0.05)


def test_a_partial_reset_may_leave_a_neuron_above_its_threshold():
    graph = net_of("dv/dt = -v/tau", reset="v -= 1", weight=5.3, tau=0.02)
    found = spikec.compile(graph).run(GIVEN, 0.05).spikes["out"].numpy()
    wanted = simulate_exact(graph, GIVEN, 0.05).spikes["out"]
    assert found.times.tolist() == wanted.times.tolist() == [1e-3, 2e-3, 3e-3]


def test_the_texts_of_a_neuron_are_text():
    whole = {"equations": "dv/dt = -v/tau", "threshold": "v > 1", "reset": "v = 0", "receive": "v", "tau": 0.02}
    spikec.Builder().equations("n", 1, **whole)
    for key in ("equations", "threshold", "reset", "receive"):
        for value in (5, None, b"v", ["v > 1"], np.ones(2)):
            if value is None and key == "threshold":
                continue
            for given_as in (lambda net, texts: net.equations("n", 1, **texts),
                             lambda net, texts: net.equations("n", 1, texts)):
                with pytest.raises(spikec.BadInputError, match=rf"SC201 at 'n': .*{key}'? (is|are) text"):
                    given_as(spikec.Builder(), whole | {key: value})
    with pytest.raises(spikec.BadInputError) as refusal:
        spikec.Builder().equations("n", 1, "dv/dt = -v", threshold=5, reset=3, receive=None)
    assert [found.code for found in refusal.value.diagnostics] == ["SC201"] * 3


@pytest.mark.parametrize("record", [
    {}, {"threshold": "v > 1"}, {"equations": "dv/dt = -v", 1: 2}, {"equations": "dv/dt = -v", "self": "q"},
    {"equations": "dv/dt = -v", "name": "q"},
])
def test_a_record_that_is_none(record):
    with pytest.raises(spikec.BadInputError, match="SC201 at 'n'"):
        spikec.Builder().equations("n", 1, record)


def test_a_value_called_equations_is_told():
    with pytest.raises(spikec.BadInputError, match=r"SC201 at 'n': a parameter may not be called this.*equations"):
        spikec.Builder().equations("n", 1, "dv/dt = -v*equations", receive="v", equations=2.0)
