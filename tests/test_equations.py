"""Neurons written as text: what is read, what is refused, and how they go through graphs, files and modules."""

from __future__ import annotations

import pickle
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from cli_commands import say
from hypothesis import given, settings
from hypothesis import strategies as st

import spikec
from spikec.ir import nodes as ir
from spikec.ir.checks import verify
from spikec.ir.exact import simulate_exact
from spikec.ir.flow.expressions import MAX_DEPTH, Apply, Number, Symbol, parsed
from spikec.ir.flow.statements import read, state_names
from spikec.ir.graph import same_graph
from spikec.ir.text import parse, to_arrays, to_text, write

ROOT = Path(__file__).parent.parent
MEMBRANE = """
    dv/dt = (v_rest - v + drive)/tau : volt (unless refractory)   # a comment
    drive = r*i : volt
    di/dt = -i/tau_syn : amp
    tau : second (trained)
    tau_syn : second
    r : ohm
    v_rest : volt
    theta : volt
"""
VALUES = {"tau": 20e-3, "tau_syn": 5e-3, "r": 1.0, "v_rest": 0.0, "theta": 1.0}
PLAIN = "dv/dt = -v/tau"


def codes(*texts: str | None) -> list[str]:
    given = (*texts, *("v > 1", "v = 0", "v")[len(texts) - 1:])
    return [found.code for found in read(*given).faults]


def net_of(n: int = 3, **changes) -> spikec.Builder:
    net = spikec.Builder()
    source = net.input("in", 2)
    stated = {"equations": MEMBRANE, "threshold": "v > theta", "reset": "v = v_rest", **VALUES} | changes
    net.connect(source, net.equations("hidden", n, **stated), weight=np.ones((n, 2)), name="fc")
    net.output("out", net.handle("hidden"))
    return net


def test_what_a_text_says():
    reading = read(MEMBRANE, "v > theta", "v = v_rest; i -= r*0", "i += 2*w")
    assert not [found for found in reading.faults if found.code != "SC136"]
    reading = read(MEMBRANE, "v > theta", "v = v_rest", "i += 2*w")
    assert reading.faults == ()
    assert (reading.states, reading.held, reading.trained) == (("v", "i"), ("v",), ("tau",))
    assert reading.parameters == ("tau", "tau_syn", "r", "v_rest", "theta")
    assert reading.level == Apply("subtract", (Symbol("v"), Symbol("theta")))
    assert set(reading.inflow) == {"i"}
    assert reading.units["r"] == "ohm"


def test_statements_follow_each_other():
    reading = read("dv/dt = -v\ndu/dt = -u", "v > 1", "u += v; v = 0; u *= 2", "v += w")
    twice = Apply("multiply", (Apply("add", (Symbol("u"), Symbol("v"))), Number(2.0)))
    assert reading.reset == {"u": twice, "v": Number(0.0)}


@pytest.mark.parametrize(("texts", "wanted"), [
    ((PLAIN, "v > 1", "v = 0", "v"), []),
    (("dv/dt = -v/tau (unless refractory)\ntau (trained)", "1 < v", "v = 0", "v -= w"), []),
    (("",), ["SC135", "SC134", "SC135"]),
    (("dv/dt = ", ), ["SC133"]),
    (("v' = -v",), ["SC133", "SC134", "SC135"]),
    (("dv/dt = -v\ndv/dt = 1",), ["SC133"]),
    (("dv/dt = __import__('os').system('true')",), ["SC133"]),
    (("dv/dt = (lambda: 1)()",), ["SC136", "SC133"]),
    (("dv/dt = v.real",), ["SC133"]),
    (("dv/dt = v[0]",), ["SC133"]),
    (("dv/dt = 1 if v else 2",), ["SC133"]),
    (("dv/dt = 'a'",), ["SC133"]),
    (("dv/dt = True",), ["SC133"]),
    (("dv/dt = v := 3",), ["SC136"]),
    (("dv/dt = 1e999",), ["SC133"]),
    (("dv/dt = 10**(9**(9**9))*v",), ["SC133"]),
    (("dv/dt = foo(v)",), ["SC134"]),
    (("dv/dt = expp(v)",), ["SC134"]),
    (("dv/dt = exp(v, v)",), ["SC133"]),
    (("dv/dt = exp(*v)",), ["SC133"]),
    (("dv/dt = " + "(" * 3000 + "v" + ")" * 3000,), ["SC133"]),
    (("dv/dt = " + "-" * 3000 + "v",), ["SC133"]),
    (("dv/dt = " + "exp(" * (MAX_DEPTH + 1) + "v" + ")" * (MAX_DEPTH + 1),), ["SC133"]),
    (("dv/dt = v" + " + v" * 4000,), ["SC133"]),
    (("dv/dt = a\n" + "\n".join(f"{x} = {y}*{y}*{y}*{y}" for x, y in zip("abcefghjk", "bcefghjkv", strict=True)),),
     ["SC133"]),
    (("dv/dt = a\na = b\nb = a",), ["SC133", "SC133"]),
    (("dv/dt = -v*t",), ["SC134"]),
    (("dw/dt = -w", "w > 1", "w = 0", "w"), ["SC134"]),
    (("dmV/dt = -1", "mV > 1", "mV = 0", "mV"), ["SC134"]),
    (("dv/dt = -v/shape",), ["SC134"]),
    (("dv/dt = -v + v0",), ["SC134"]),
    ((PLAIN, "v > w"), ["SC134"]),
    ((PLAIN, "tau > 1"), ["SC135"]),
    ((PLAIN, "1 > 0"), ["SC135"]),
    ((PLAIN, "v > 1", "v = w"), ["SC134"]),
    ((PLAIN, "v"), ["SC133"]),
    ((PLAIN, "0 < v < 1"), ["SC133"]),
    ((PLAIN, "v > 1 and v < 2"), ["SC133"]),
    ((PLAIN, "v >= 1"), ["SC133"]),
    ((PLAIN, "v > 1", ""), ["SC135"]),
    ((PLAIN, None, "v = 0"), ["SC135"]),
    ((PLAIN, None, ""), []),
    ((PLAIN, "v > 1", "u = 0"), ["SC134"]),
    ((PLAIN, "v > 1", "v == 0"), ["SC133"]),
    ((PLAIN, "v > 1", "v = 0", "i"), ["SC135"]),
    ((PLAIN, "v > 1", "v = 0", ""), ["SC135"]),
    (("dv/dt = -v/tau : volt\ntau : second\nb : amp", "v > b"), ["SC136"]),
    (("dv/dt = -v : volt",), ["SC136", "SC136"]),
    (("dv/dt = -v/tau : volt\ntau : second", "v > 50*mV", "v = tau"), ["SC136"]),
    (("dv/dt = -v/tau : volt\ntau : second", "v > 50*mV", "v = 0", "v += w\nv += w*tau"), ["SC136"]),
    (("dv/dt = -v/tau : volt\ntau : ms", "v > 50*mV"), ["SC136"]),
    (("dv/dt = -v/tau : furlong\ntau : second", "v > 50*mV"), ["SC136"]),
    (("dv/dt = exp(v)/tau : volt\ntau : second", "v > 50*mV"), ["SC136"]),
    (("dv/dt = v**tau/tau : 1\ntau : second", "v > 1"), ["SC136"]),
    (("dv/dt = -v/tau : volt (clock-driven)\ntau : second", "v > 50*mV"), ["SC133"]),
    (("dv/dt = sqrt(v**2)/tau : volt\ntau : second", "v > 50*mV"), []),
    (("dv/dt = -v/ms : 1", "v > 1", "v = 0", "v += w*(2 - v)**2 + 0.1*w**2"), []),
    (("dv/dt = -v/ms : volt\nb : 1", "v > 1*volt", "v = 0", "v += w + b*w**2"), ["SC136"]),
    (("dv/dt = -v/ms : volt\nb : siemens/amp", "v > 1*volt", "v = 0", "v += w + b*w**2"), []),
    (("dv/dt = -v/ms : volt", "v > 1*volt", "v = 0", "v += exp(w)*mV"), []),
    (("dv/dt = -v/ms : volt", "v > 1*volt", "v = 0", "v += exp(w)*w"), ["SC136"]),
    (("dv/dt = -v/ms : volt\ndg/dt = -g/(5*ms) : siemens", "v > 1*volt", "v = -70*mV; g = 0", "g += w*2*nS"), []),
])
def test_what_is_refused(texts, wanted):
    assert codes(*texts) == wanted


def test_all_faults_come_at_once():
    with pytest.raises(spikec.BadInputError) as raised:
        net_of(equations=MEMBRANE + "dx/dt = open(v)", threshold="v > thta", reset="z = 1", tau=np.nan)
    assert [found.code for found in raised.value.diagnostics] == ["SC104", "SC134", "SC134"]
    with pytest.raises(spikec.BadInputError) as raised:
        net_of(equations=PLAIN, threshold="v > thta", reset="v = 0", receive="v")
    found = {(each.code, each.value) for each in raised.value.diagnostics}
    assert ("SC134", "thta") in found and ("SC134", "r") in found
    assert "Is 'theta' meant?" in str(raised.value)


def refused(**changes) -> list[str]:
    with pytest.raises(spikec.BadInputError) as raised:
        net_of(**changes)
    return [str(each) for each in raised.value.diagnostics]


@pytest.mark.parametrize(("changes", "name", "meant"), [
    ({"reset": "v = v_rst"}, "v_rst", "Is 'v_rest' meant?"), ({"threshold": "v > thta"}, "thta", "Is 'theta' meant?"),
    ({"equations": MEMBRANE.replace("r*i", "rr*i")}, "rr", "Is 'r' meant?"),
    ({"equations": MEMBRANE.replace("v + drive", "v + drve")}, "drve", "Is 'drive' meant?"),
    ({"equations": MEMBRANE.replace("-i/tau_syn", "-i/tau_synapse_of_it")}, "tau_synapse_of_it", "Give tau_syn"),
    ({"equations": PLAIN, "receive": "v", "reset": "v = theta - v_rst", "r": 1.0}, "v_rst", "Is 'v_rest' meant?"),
])
def test_a_misspelt_name_is_no_fault_of_units(changes, name, meant):
    first, *others = refused(**changes)
    assert first.startswith("SC134 at 'hidden': the equations name what is neither") and f"value: {name};" in first
    assert meant in first and not any("SC136" in other for other in others)


def test_units_that_are_not_stated_are_named():
    assert refused(equations=MEMBRANE.replace("tau_syn : second", "")) == [
        "SC136 at 'hidden': the units of di/dt do not agree (value: amp; limit: second**-1*amp). "
        "No unit is stated for tau_syn: it counts as 1."]
    within = MEMBRANE.replace("r : ohm", "").replace("r*i : volt", "r*i")
    assert refused(equations=within)[0].endswith("No unit is stated for r: it counts as 1.")
    several = refused(equations=MEMBRANE.replace("theta : volt", ""), threshold="v > theta + rise", rise=0.1)
    assert several[0].endswith("No unit is stated for theta, rise: they count as 1.")
    both = refused(threshold="v > tau", reset="v = vreset")  # what has nothing to do with the name is told beside it
    assert [each[:5] for each in both] == ["SC134", "SC136"] and "the units of the threshold" in both[1]
    assert "No unit" not in both[1]


def test_time_is_no_part_of_equations():
    (found,) = refused(equations=MEMBRANE.replace("-i/tau_syn", "-i/tau_syn*(1 + sin(t/tau))"))
    assert "SC134" in found and "Time is no part of equations" in found
    clock = MEMBRANE.replace("-i/tau_syn", "-i/tau_syn*(1 + sin(clock/tau))") + "dclock/dt = 1 : second"
    net_of(equations=clock).build()


@pytest.mark.parametrize(("changes", "code"), [
    ({"reset": "v = 2*theta"}, "SC137"), ({"reset": "v = theta"}, "SC137"), ({"reset": "v += theta"}, "SC137"),
    ({"theta": np.array([1.0, 1.0, -1.0])}, "SC137"), ({"tau": 0.0}, "SC104"),
    ({"v0": np.array([0, 0, np.inf])}, "SC104"), ({"v0": np.inf}, "SC104"), ({"tau_": 1.0}, "SC134"),
])
def test_values_that_no_neuron_can_have(changes, code):
    with pytest.raises(spikec.BadInputError) as raised:
        net_of(**changes).build()
    assert code in [found.code for found in raised.value.diagnostics]


def test_nan_is_found_with_its_name():
    with pytest.raises(spikec.BadInputError, match="SC104 at 'hidden': tau_syn is not finite"):
        net_of(tau_syn=np.nan).build()


@pytest.mark.parametrize(("bias", "error"), [
    (None, spikec.BadInputError), ([0.0, 0.5], None), ([0.5, 0.0], spikec.UnsupportedError),
    ([0.0, 0.0], spikec.UnsupportedError),
])
def test_a_theta_neuron_oscillates_by_i0_and_bias_together(bias, error):
    net = spikec.Builder()
    neuron = net.theta("h", 2, tau=0.02, i0=np.array([1.0, 0.2]))
    net.connect(net.input("in", 1), neuron, weight=np.ones((2, 1)), bias=None if bias is None else np.array(bias))
    net.output("out", neuron)
    events = spikec.Events.from_samples([(np.array([0.01]), np.array([0]))])
    if error is None:
        graph = net.build()
        found, wanted = (spikec.compile(graph).run(events, 0.5).spikes["out"].numpy(),
                         simulate_exact(graph, events, 0.5).spikes["out"])
        assert {*found.indices} == {0, 1} and found.indices.tolist() == wanted.indices.tolist()
        np.testing.assert_allclose(found.times, wanted.times, rtol=0, atol=1e-10)
        return
    with pytest.raises(error, match=r"SC155 at 'h': a theta neuron oscillates.*value: 0\.2;"):
        spikec.compile(net.build())
    if bias is not None:
        with pytest.raises(spikec.UnsupportedError, match="SC155 at 'h'"):
            simulate_exact(net.build(), events, 0.5)


ALPHABET = "dvtiuw/=()+-*.:;,<> \n\t0123456789etauxp_[]'\"\\#{}@λ"


@settings(max_examples=150, deadline=None)
@given(*[st.text(ALPHABET, max_size=60)] * 4)
def test_no_text_breaks_the_reader(equations, threshold, reset, receive):
    for text in (equations, "dv/dt = " + equations):
        reading = read(text, threshold, reset, receive)
        assert all(found.code in ("SC133", "SC134", "SC135", "SC136") for found in reading.faults)
    state_names(equations)


@given(st.recursive(
    st.sampled_from(["v", "u", "2.5", "1e-3", "pi", "mV"]),
    lambda inner: st.one_of(st.tuples(inner, st.sampled_from("+-*/"), inner).map(lambda t: f"({' '.join(t)})"),
                            inner.map(lambda t: f"exp(-{t})"), inner.map(lambda t: f"{t}**2")), max_leaves=12))
def test_expressions_mean_what_python_means(text):
    names = {"v": 0.3, "u": -1.2}
    with np.errstate(all="ignore"):
        try:
            wanted = eval(text, {"exp": np.exp, "pi": np.pi, "mV": 1e-3}, {k: np.float64(v) for k, v in names.items()})
        except (ZeroDivisionError, OverflowError):
            return
        from spikec.ir.flow.expressions import evaluate

        np.testing.assert_allclose(evaluate(parsed(text), {k: np.float64(v) for k, v in names.items()}), wanted,
                                   rtol=1e-12)


def test_the_text_form_round_trips(tmp_path):
    graph = net_of(n=20, tau=np.linspace(1e-2, 2e-2, 20), v0=0.25, refractory=1e-3).build()
    text, arrays = to_text(graph), to_arrays(graph)
    assert 'refractory=0.001' in text and 'v0=0.25' in text and 'i0' not in text and "hidden.tau" in arrays
    assert same_graph(parse(text, arrays), graph)
    assert to_text(parse(text, arrays)) == text
    node = graph.nodes["hidden"]
    assert same_graph(graph.with_nodes({"hidden": pickle.loads(pickle.dumps(node))}), graph)


@pytest.mark.parametrize("line", [
    'h = Equations(shape=(1,), equations="dv/dt = -v/tau", receive="v", tau=1.0, values=3.0)',
    'h = Equations(shape=(1,), equations="dv/dt = -v/tau", receive="v", tau="a")',
    'h = Equations(shape=(1,), equations=3, receive="v")',
    'h = Equations(shape=(1,))',
    'h = QIF(shape=(1,))',
])
def test_a_text_form_that_is_wrong(line):
    text = f"spikec-graph 1\nin = Input(shape=(1,))\n{line}\nout = Output(shape=(1,))\nin -> h -> out\n"
    with pytest.raises(spikec.BadInputError):
        verify(parse(text))


def test_parameters_of_a_module_are_those_of_the_text():
    module = spikec.compile(net_of()).module(dtype=torch.float64)
    names = dict(module.named_parameters())
    assert {"hidden.tau", "hidden.v_rest", "hidden.v0", "hidden.i0", "fc.weight"} <= names.keys()
    assert {name for name, each in names.items() if each.requires_grad} == {"hidden.tau", "fc.weight"}
    with torch.no_grad():
        names["hidden.tau"].mul_(2.0)
    graph = module.to_graph()
    assert graph.nodes["hidden"].values["tau"].tolist() == [0.04] * 3
    assert graph.nodes["hidden"].values["v_rest"].tolist() == [0.0] * 3


def test_who_does_not_know_them_says_so(tmp_path):
    graph = net_of().build()
    with pytest.raises(spikec.UnsupportedError, match="SC209 at 'hidden': NIR has no Equations"):
        spikec.to_nir(graph, tmp_path / "x.nir")
    on_grid = graph.replace(discretization=spikec.Discretization(dt=1e-3))
    with pytest.raises(spikec.UnsupportedError, match="SC307 at 'hidden'"):
        spikec.compile(on_grid, "clock")
    with pytest.raises(spikec.UnsupportedError, match=r"SC307 at 'hidden'.*State the graph without its grid of boxes"):
        spikec.compile(graph.replace(discretization=spikec.Discretization(dt=1e-3, spike="box")), "clock")
    with pytest.raises(spikec.UnsupportedError, match="SC306 at 'hidden'"):
        spikec.compile(graph.replace(discretization=spikec.Discretization(dt=1e-3, spike="box")))
    for target in ("loihi2", "xylo", "brainscales2", "dynapse2", "generic_analog"):
        with pytest.raises(spikec.UnsupportedError, match=r"SC324 at 'hidden'.* or compile for event\.$"):
            spikec.compile(on_grid, target)  # clock refuses it as well
    held = ir.LIF(shape=(3,), tau=20e-3, refractory=5e-3)
    with pytest.raises(spikec.UnsupportedError, match=r"SC324 at 'hidden'.* or compile for clock or event\.$"):
        spikec.compile(on_grid.with_nodes({"hidden": held}), "loihi2")
    boxes = on_grid.replace(discretization=spikec.Discretization(dt=1e-3, spike="box"))
    with pytest.raises(spikec.UnsupportedError, match=r"SC324 at 'hidden'.* Change the model\.$"):
        spikec.compile(boxes, "loihi2")


def test_reports_show_what_they_are():
    net = net_of(tau=np.array([0.01, 0.02, 0.02]), refractory=2e-3, threshold=" v > theta ",
                 reset="v = v_rest\ni *= 0.5 # c")
    source = net.handle("in")
    for kind in ("qif", "theta"):
        net.output(f"of {kind}", net.connect(source, getattr(net, kind)(kind, 2, tau=10e-3), weight=np.ones((2, 2))))
    readout = net.equations("readout", 1, "dv/dt = -v/tau", receive="v", tau=1.0)
    net.output("of readout", net.connect(source, readout, weight=np.ones((1, 2))))
    report = spikec.compile(net).report()
    assert [(row.kind, row.tau_mem, row.tau_syn, row.reset) for row in report.populations] == [
        ("Equations", "-", "-", "v = v_rest; i *= 0.5"), ("QIF", "0.01 s", "0.005 s", "-"),
        ("Theta", "0.01 s", "-", "-"), ("Equations readout", "-", "-", "-")]
    said = " ".join(str(report).split())
    for part in ("hidden: threshold v > theta, receive i, refractory 0.002 s, tau 0.01..0.02 s, tau_syn 0.005 s, r 1",
                 "readout: receive v, ", "v = v_rest; i *= 0.5"):
        assert part in said
    assert "flow" not in said and "v_reset" not in said


def test_inspect_shows_the_text_and_every_value(tmp_path, capsys):
    net = net_of(v_rest=-0.07, theta=np.array([-0.05, -0.05, -0.04]), v0=-0.07, reset="v = v_rest; i *= 0.5")
    write(net.build(), tmp_path / "model.spk")
    code, said, _ = say(capsys, "inspect", str(tmp_path / "model.spk"))
    assert code == 0
    table, text = said.split("\nhidden:\n")
    for value in ("r 1 ohm", "v_rest -0.07 volt", "theta -0.05..-0.04 volt", "v0 -0.07 volt", "tau 20 ms",
                  "tau_syn 5 ms"):
        assert value in " ".join(table.split())
    assert "dv/dt" not in table
    for line in ("  dv/dt = (v_rest - v + drive)/tau : volt (unless refractory)", "  threshold: v > theta",
                 "  reset: v = v_rest; i *= 0.5"):
        assert line in text


def test_a_constant_current_needs_a_meaning():
    def net(kind, **values):
        net = spikec.Builder()
        neuron = getattr(net, kind)("h", 2, **values)
        net.connect(net.input("in", 1), neuron, weight=np.ones((2, 1)), bias=1.0)
        net.output("out", neuron)
        return net

    spikec.compile(net("theta", tau=1.0))
    with pytest.raises(spikec.UnsupportedError, match="SC139 at 'h': QIF takes no constant current"):
        spikec.compile(net("qif", tau=1.0))
    odd = {"equations": "dv/dt = -v", "threshold": "v > 1", "reset": "v = 0", "receive": "v += w*w"}
    with pytest.raises(spikec.UnsupportedError, match="SC139"):
        spikec.compile(net("equations", **odd))
    with pytest.raises(spikec.UnsupportedError, match="SC155 at 'h'"):
        spikec.compile(net("theta", tau=1.0, i0=0.3).build().with_nodes(
            {"in_h": ir.Affine(weight=np.ones((2, 1)), bias=[0.0, -0.1])}))


def test_the_page_and_the_example_run(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    shown: dict[str, object] = {}
    for block in re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "equations.md").read_text(), re.DOTALL):
        exec(compile(block, "equations.md", "exec"), shown)
    said = capsys.readouterr().out
    assert "spike-exact" in said and said.count("SC136") == 1 and "value: vreset" in said
    exec(compile((ROOT / "examples" / "equations.py").read_text(), "equations.py", "exec"), {})
    first, *_, last = (float(each) for each in re.findall(r": ([\d.]+) ms off", capsys.readouterr().out))
    assert last < first / 4
