"""`spikec inspect`: what a model is made of, and what each target could do with each node of it."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import strategies
from cli_commands import MODEL, say, say_json
from hypothesis import given, settings

import spikec
from spikec import Builder, Discretization, Graph
from spikec.compiler.inspection import inspect_graph
from spikec.ir import nodes as ir
from spikec.ir.text import write
from spikec.ir.wiring import Wiring
from spikec.targets.model import Model
from spikec.targets.registry import TARGETS
from spikec.targets.support import Verdict, judge, support_of

GRID = Discretization(1e-3, integrator="decay")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with model files."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.py").write_text(MODEL)
    return tmp_path


def verdicts(graph: Graph, target: str) -> dict[str, Verdict]:
    return {name: judgement.verdict for name, judgement in judge(support_of(target), Model(graph)).items()}


def chain(node: ir.Node, *, inputs: int = 4, grid: Discretization | None = None, connection: Any = None) -> Graph:
    """Input, weights, the node, output."""
    (size,) = node.shape if isinstance(node, ir.Neuron) else (inputs,)
    weights = connection or ir.Linear(weight=np.linspace(-1, 1, size * inputs).reshape(size, inputs))
    return Graph({"in": ir.Input(shape=(inputs,)), "w": weights, "x": node, "out": ir.Output(shape=(size,))},
                 (("in", "w"), ("w", "x"), ("x", "out")), grid)


def cuba(size: int = 3, **changes: Any) -> ir.CubaLIF:
    return ir.CubaLIF(**{"tau_mem": 20e-3, "tau_syn": 5e-3, "shape": (size,), **changes})


@pytest.mark.parametrize("target", TARGETS)
def test_every_target_has_a_rule_for_every_kind(target: str) -> None:
    ruled = {kind for rule in support_of(target).rules for kind in rule.kinds}
    assert ruled == set(ir.NODE_KINDS.values())


@pytest.mark.parametrize("target", [name for name in TARGETS if name not in ("event", "clock")])
def test_what_is_said_of_a_chip_has_a_source(target: str) -> None:
    support = support_of(target)
    assert support.capacities and all(each.limit.source for each in support.capacities)
    assert support.note
    # What spikec itself defines needs none: steps, outputs, nodes that are no neurons, and the folding of delays.
    own = ("grid", "steps", "output shows", "convert it", "use ", "of a readout", "lower bound", "update rule that",
           "one step", "delay of the synapses")
    bare = [rule.reason for rule in support.rules if rule.reason and not rule.source
            and not (rule.limit and rule.limit.source) and not any(word in rule.reason for word in own)]
    assert bare == []


@given(graph=strategies.graphs())
@settings(max_examples=40, deadline=None)
def test_what_the_event_target_can_take_is_what_can_be_compiled(graph: Graph) -> None:
    assert "unsupported" not in verdicts(graph, "event").values()
    spikec.compile(graph)


def refused() -> dict[str, Graph]:
    """Graphs that one target or another refuses."""
    parts = chain(cuba()).nodes
    over = (("in", "w"), ("w", "t"), ("t", "x"), ("x", "out"))
    step = ir.StepNeuron(shape=(3,), a=np.eye(1), b=np.ones(1), v_threshold=1.0, spike_c=-np.ones(1))
    biased = ir.Affine(weight=np.ones((3, 4)), bias=np.ones(3))
    return {
        "threshold": Graph({**parts, "t": ir.Threshold(threshold=0.5)}, over, GRID),
        "threshold over a bias": Graph({**parts, "w": biased, "t": ir.Threshold(threshold=0.5)}, over, GRID),
        "rectifier": Graph({**parts, "t": ir.Relu()}, over, GRID),
        "mixed": chain(cuba(grid=Discretization(1e-3, spike="box")), grid=GRID),
        "sum shown": Graph({**parts, "y": cuba()}, (("in", "w"), ("w", "x"), ("w", "y"), ("x", "out"), ("y", "out")),
                           GRID),
        "readout": Graph({**parts, "t": ir.LI(tau=1e-2, shape=(3,))}, over, GRID),
        "bounded": chain(cuba(v_min=-1.0), grid=GRID),
        "stated in steps": chain(step, grid=GRID),
        "neither": chain(cuba(), grid=GRID),
    }


@pytest.mark.parametrize("target", ["event", "clock"])
@pytest.mark.parametrize("graph", refused().values(), ids=refused())
def test_what_a_target_cannot_take_is_refused_at_the_same_node(graph: Graph, target: str) -> None:
    try:
        spikec.compile(graph, target)
        met: set[str | None] = set()
    except spikec.UnsupportedError as error:
        met = {each.node for each in error.diagnostics}
    assert {name for name, verdict in verdicts(graph, target).items() if verdict == "unsupported"} == met


@given(graph=strategies.graphs(discretization=GRID))
@settings(max_examples=20, deadline=None)
def test_what_the_clock_can_take_is_what_can_be_compiled(graph: Graph) -> None:
    assert "unsupported" not in verdicts(graph, "clock").values()
    spikec.compile(graph, "clock")


def test_a_model_of_steps_is_approximate_in_continuous_time_and_faithful_on_the_clock() -> None:
    graph = chain(cuba(), grid=GRID)
    assert verdicts(graph, "event")["x"] == "approximate"
    assert verdicts(graph, "clock")["x"] == "faithful"
    assert verdicts(graph.replace(discretization=None), "event")["x"] == "faithful"
    assert verdicts(graph.replace(discretization=None), "clock")["x"] == "unsupported"
    late = ir.Linear(weight=np.ones((3, 4)), delay=np.full((3, 4), 1.5e-3))
    assert verdicts(chain(cuba(), grid=GRID, connection=late), "clock")["w"] == "approximate"


@pytest.mark.parametrize(("node", "target", "verdict"), [
    (cuba(reset="subtract"), "xylo", "approximate"),
    (cuba(), "xylo", "unsupported"),
    (ir.CubaLI(tau_mem=20e-3, tau_syn=5e-3, shape=(3,)), "xylo", "approximate"),
    (ir.LI(tau=20e-3, shape=(3,)), "xylo", "unsupported"),
    (cuba(), "loihi1", "approximate"),
    (cuba(reset="subtract"), "loihi1", "approximate"),
    (cuba(v_reset=-0.5), "loihi2", "approximate"),
    (cuba(v_reset=-0.5), "dynapse2", "approximate"),
    (cuba(v_reset=0.5), "dynapse2", "unsupported"),
    (cuba(v_reset=0.5, v_leak=0.5), "dynapse2", "approximate"),
    (cuba(refractory=2e-3), "loihi1", "unsupported"),
    (cuba(refractory=2e-3), "brainscales2", "approximate"),
    (cuba(refractory=50e-3), "brainscales2", "unsupported"),
    (cuba(tau_mem=100e-3), "brainscales2", "unsupported"),
    (ir.LIF(tau=100e-3, shape=(3,)), "brainscales2", "unsupported"),
    (ir.IF(shape=(3,)), "brainscales2", "unsupported"),
    (ir.LI(tau=20e-3, shape=(3,)), "brainscales2", "approximate"),
    (ir.LI(tau=20e-3, shape=(3,)), "dynapse2", "unsupported"),
    (cuba(tau_mem=[20e-3, 21e-3, 22e-3]), "dynapse2", "approximate"),
    (cuba(v_min=-1.0), "loihi2", "unsupported"),
], ids=str)
def test_neurons_are_judged_by_their_settings(node: ir.Node, target: str, verdict: Verdict) -> None:
    assert verdicts(chain(node, grid=GRID), target)["x"] == verdict


@pytest.mark.parametrize(("size", "verdict"), [(1, "faithful"), (3, "unsupported")])
def test_a_maximum_over_biases_is_judged_as_it_is_compiled(size: int, verdict: Verdict) -> None:
    """A bias is the same for all of an image; through a kernel that sees the padding, it is another one at the edge."""
    net = Builder(GRID)
    image = net.conv2d("first", net.input("in", (1, 4, 4)), weight=np.ones((1, 1, 1, 1)), bias=np.full(1, 0.5))
    second = net.conv2d("second", image, weight=np.ones((1, 1, size, size)), padding=size // 2)
    cells = net.lif("lif", (1, 2, 2), tau=5e-3)
    net.max_pool2d("max", second, 2).connect(cells)
    net.output("out", cells)
    graph = net.build()
    assert verdicts(graph, "clock")["max"] == verdict
    if verdict == "faithful":
        spikec.compile(graph, "clock")
    else:
        with pytest.raises(spikec.UnsupportedError, match="SC302 at 'max'"):
            spikec.compile(graph, "clock")


def test_every_reason_that_meets_a_node_is_told() -> None:
    node = cuba(v_reset=-0.5, refractory=2e-3, v_leak=[0.0, 0.1, 0.2])
    found = judge(support_of("loihi1"), Model(chain(node, grid=GRID)))["x"]
    said = " ".join(reason.text for reason in found.reasons)
    assert found.verdict == "unsupported"
    assert "refractory" in found.reasons[0].text, "the worst comes first"
    assert "12 bits" in said and "reset to -0.5, rest at 0..0.2" in said


def test_limits_are_held_against_the_model() -> None:
    wide = chain(cuba(3), inputs=65)
    assert verdicts(wide, "dynapse2")["x"] == "unsupported"
    assert verdicts(chain(cuba(3), inputs=64), "dynapse2")["x"] == "approximate"
    assert verdicts(wide, "xylo")["in"] == "unsupported", "16 input channels"
    assert verdicts(chain(cuba(9, reset="subtract")), "xylo")["x"] == "unsupported", "8 output neurons"
    assert verdicts(chain(cuba(3), inputs=4097), "loihi1")["x"] == "unsupported"
    many = inspect_graph(chain(cuba(257), inputs=129), ["brainscales2"]).targets[0]
    assert [load.value for load in many.loads] == [2 * 257], "two circuits a neuron"
    assert many.takes and not many.fits


@pytest.mark.parametrize(("target", "settings", "inputs", "code"), [
    ("brainscales2", {"tau_mem": 1.0}, 4, 3), ("generic_analog", {"tau_mem": 100.0}, 4, 3),
    ("dynapse2", {"tau_mem": 20.0}, 4, 3), ("xylo", {"tau_mem": 0.4e-3, "reset": "subtract"}, 4, 3),
    ("dynapse2", {}, 65, 2), ("generic_analog", {}, 4097, 2), ("brainscales2", {}, 65537, 2)])
def test_inspecting_and_compiling_agree_on_the_exit_code(target: str, settings: dict[str, Any], inputs: int, code: int,
                                                         tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What a circuit cannot be set to is unsupported (3); more of something than there is does not fit (2)."""
    file = tmp_path / "net.spk"
    write(chain(cuba(3, **settings), inputs=inputs, grid=replace(GRID, spike="delta") if target == "xylo" else None),
          file)
    assert say(capsys, "inspect", str(file), "-t", target)[0] == code
    assert say(capsys, "compile", str(file), "-t", target, "-o", str(tmp_path / "out"))[0] == code


def test_a_delay_is_judged_in_steps() -> None:
    def weights(seconds: float) -> ir.Linear:
        return ir.Linear(weight=np.ones((3, 4)), delay=np.full((3, 4), seconds))

    for target, longest in (("loihi1", 62), ("loihi2", 63)):
        fits, late = (verdicts(chain(cuba(), grid=GRID, connection=weights(steps * 1e-3)), target)["w"]
                      for steps in (longest, longest + 1))
        assert (fits, late) == ("approximate", "unsupported")


@given(graph=strategies.graphs(recurrent=False, delays=False, skip=False, layers=1))
@settings(max_examples=30, deadline=None)
def test_fans_bound_what_one_spike_really_reaches(graph: Graph) -> None:
    """Against the impulses that every single input channel gives rise to."""
    model, wiring = Model(graph), Wiring(graph)
    (source,) = graph.inputs
    reached = np.zeros((model.size(source), wiring.size), dtype=bool)
    for index in range(len(reached)):
        reached[index, wiring.impulses(source, index).indices] = True
    assert reached.sum(1).max() <= model.fan_out
    for name in wiring.neurons:
        assert reached[:, wiring.span[name]].sum(0).max(initial=0) <= model.fan_in(name)


def test_fans_are_exact_where_windows_do_not_overlap() -> None:
    net = Builder()
    source = net.input("in", (2, 8, 8))
    pooled = net.avg_pool2d("pool", source, kernel_size=2)
    folded = net.conv2d("conv", pooled, weight=np.ones((3, 2, 2, 2)), stride=2)
    neurons = net.cubalif("x", folded.shape, tau_mem=20e-3, tau_syn=5e-3)
    net.connect(folded, neurons)
    net.output("out", neurons)
    model = Model(net.build())
    assert (model.fan_in("x"), model.fan_out) == (2 * 4 * 4, 3)
    assert model.synapses_of("conv") == 3 * 2 * 2 * (2 * 2 * 2), "outputs times taps"


def test_synapses_are_those_of_the_lowered_network() -> None:
    net = Builder()
    source = net.input("in", (2, 7, 6))
    image = net.cubalif("a", (3, 7, 6), tau_mem=20e-3, tau_syn=5e-3)
    net.connect(net.conv2d("conv", source, weight=np.ones((3, 2, 3, 3)), padding=1), image)
    line = net.cubalif("b", 5, tau_mem=20e-3, tau_syn=5e-3)
    net.connect(net.flatten("flat", image), line, weight=np.ones((5, 126)))
    net.output("out", line)
    graph = net.build()
    found = inspect_graph(graph)
    report = spikec.compile(graph).report()
    assert (found.neurons, found.synapses) == (report.neurons, report.synapses)


def test_numbers_that_are_only_spread_count_once() -> None:
    row = next(row for row in inspect_graph(chain(cuba(1000))).nodes if row.name == "x")
    assert row.count == len(row.parameters) < 20
    assert {each.name: each.least for each in row.parameters}["tau_mem"] == 20e-3


def test_ten_million_parameters_are_inspected_at_once() -> None:
    graph = chain(cuba(1000), inputs=10_000, grid=GRID)
    start = time.process_time()
    assert inspect_graph(graph).parameters > 10_000_000
    assert time.process_time() - start < 0.5


def test_inspect_prints_nodes_totals_and_verdicts(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = say(capsys, "inspect", "net.py:make")
    assert (code, err) == (0, "")
    for part in ("hidden ", "CubaLIF", "4 -> 6", "tau_mem 20 ms, tau_syn 5 ms", "total: 9 neurons, 42 synapses",
                 "continuous; the model states no grid", "event (available): takes this model", "reset by subtraction",
                 *TARGETS):
        assert part in out
    say(capsys, "compile", "net.py:make", "-o", "net")
    assert say(capsys, "inspect", "net") == (0, out, "")


def test_inspect_is_a_report_where_no_target_can_take_the_model(
    place: Path, capsys: pytest.CaptureFixture[str],
) -> None:
    code, told = say_json(capsys, "inspect", "net.py:ambiguous")
    assert (code, told["ok"]) == (0, True)
    (event,) = (each for each in told["targets"] if each["name"] == "event")
    assert not event["takes"]
    assert event["nodes"]["pool"]["verdict"] == "unsupported"


def test_inspect_for_one_target_says_whether_it_can(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, told = say_json(capsys, "inspect", "net.py:ambiguous", "--target", "event")
    assert code == 3
    assert told["diagnostics"][0]["node"] == "pool"
    assert told["diagnostics"][0]["remedy"]
    code, told = say_json(capsys, "inspect", "net.py:make", "-t", "event")
    assert (code, told["report"]["neurons"]) == (0, 9)
    assert [each["name"] for each in told["targets"]] == ["event"]
    code, out, _ = say(capsys, "inspect", "net.py:make", "-t", "xylo")
    assert code == 3
    assert "xylo (available): cannot take this model" in out
    assert say(capsys, "inspect", "net.py:make", "-t", "loihi1")[0] == 3
    assert say(capsys, "inspect", "net.py:make", "-t", "loihi1", "--dt", "1e-3", "--spike", "delta")[0] == 0
    assert say(capsys, "inspect", "net.py:make", "-t", "loihi3")[0] == 4


def test_inspect_says_what_does_not_fit_one_chip(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("wide.py").write_text(
        "from spikec import Builder\nimport numpy as np\ndef make():\n    net = Builder()\n"
        "    hidden = net.cubalif('hidden', 600, tau_mem=20e-3, tau_syn=5e-3)\n"
        "    net.connect(net.input('in', 4), hidden, weight=np.ones((600, 4)))\n"
        "    net.output('out', hidden)\n    return net.build()\n")
    code, out, _ = say(capsys, "inspect", "wide.py:make", "-t", "brainscales2")
    assert code == 2
    assert "600 of 512" in out


def test_inspect_prints_the_text_form_on_request(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    say(capsys, "compile", "net.py:make", "-o", "net")
    code, out, _ = say(capsys, "inspect", "net/graph.spk", "--text")
    assert code == 0
    assert "in -> in_hidden -> hidden" in out
    assert "hidden = CubaLIF(" in say_json(capsys, "inspect", "net", "--text")[1]["graph"]


def test_the_verdict_of_an_import_is_shown(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    graph = spikec.compile(chain(cuba(), grid=GRID)).graph
    from spikec.ir.text import write

    write(graph.replace(metadata={"import.check": "differs", "import.check.fired": 0.5}), Path("x.spk"))
    code, out, _ = say(capsys, "inspect", "x.spk")
    assert (code, "import: differs; 50 % of its neurons fired" in out) == (0, True)
    assert "dt = 0.001 s" in out
    assert json.loads(say(capsys, "--json", "inspect", "x.spk")[1])["metadata"]["import.check"] == "differs"
