"""Rules on the event engine: equal to the oracle in continuous time, for every kind of neuron, product and feedback."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from cuda_on_host import run_kernel
from hypothesis import given as drawn
from hypothesis import settings
from hypothesis import strategies as st
from learning_nets import differ, feedforward, stimulus
from test_cuda import complaints

import spikec
from spikec.ir import nodes as ir
from spikec.ir.diagnostics import BadInputError, Diagnostics, UnsupportedError
from spikec.ir.events import Events
from spikec.ir.graph import Discretization, Graph
from spikec.ir.learning.continuous import continuous_rule
from spikec.ir.learning.exact import ExactLearning
from spikec.ir.learning.rule import Error, Feedback, Gate, LearningRule, Phase, Trace, Update
from spikec.ir.learning.step import LearningState, simulate_learning
from spikec.ir.learning.terms import terms
from spikec.ir.rules import biograd, emstdp, hebb, oja, reward_stdp, soel, stdp_pair, stdp_triplet
from spikec.runtime import gpu, jit
from spikec.runtime.learning.event import run as event_run
from spikec.runtime.learning.event.kernel import learn_source
from spikec.runtime.learning.event.terms import plan_of
from spikec.runtime.nvrtc import missing_packages
from spikec.runtime.threads import set_threads

pytestmark = pytest.mark.skipif(jit.compiler() is None, reason="needs a C compiler")
LAST = 0.03
NOW = Error("softmax", start=0.004, dendrite_tau=0.0)
SHOWN = (Phase("shown", LAST, teach=True),)


def near(low: float = 1e-9, **wanted: Any) -> None:
    worst, moved = differ(**wanted)
    assert moved > 1e-6
    assert worst < low


LIBRARY = {
    "stdp_pair": stdp_pair(duration=LAST, bounds=None), "stdp_triplet": stdp_triplet(duration=LAST, bounds=None),
    "reward_stdp": reward_stdp(duration=LAST, bounds=(-9.0, 9.0)), "hebb": hebb(duration=LAST, bounds=(-0.1, 0.3)),
    "oja": oja(duration=LAST), "soel": soel(duration=LAST, threshold=0.5),
    "emstdp": emstdp(duration=LAST, gain=0.5, rate=0.01),
    "biograd": biograd(duration=LAST, sleep_every=2, sleep_samples=2, sleep_duration=0.02),
}


@pytest.mark.parametrize("kind", ["LIF", "CubaLIF"])
@pytest.mark.parametrize("name", LIBRARY)
def test_rules_of_the_library(name: str, kind: str) -> None:
    graph, events = feedforward(kind, (4, 3, 2), seed=1), stimulus(4, 2, batch=2)
    for batch in (2, 1):
        near(graph=graph, rule=LIBRARY[name], events=events, labels=[1, 0], batch=batch, rate=0.7)


@pytest.mark.parametrize("feedback", ["fixed", "transposed", "kolen_pollack"])
@pytest.mark.parametrize("path", ["direct", "layered"])
def test_feedback_of_three_layers(feedback: Any, path: Any) -> None:
    if (feedback, path) == ("kolen_pollack", "direct"):
        pytest.skip("refused: a direct B of the first layer mirrors no one projection")
    rule = biograd(duration=LAST, feedback=feedback, path=path)
    graph = feedforward("CubaLIF", (4, 3, 3, 2), seed=5, bias=0.2)
    near(graph=graph, rule=rule, events=stimulus(4, 3, batch=2), labels=[0, 1], batch=2)
    near(graph=graph, rule=rule, events=stimulus(4, 3, batch=1), labels=[1], batch=1)


FLOWS = {
    # a low-pass filtered tag times the error, every instant: e-prop with a box
    "filtered": LearningRule("filtered", "", (
        Update("t", "step", terms("x1*y1 - 0.05*t")), Update("w", "step", terms("-0.01*e*x1*y1 - 0.004*e*t"))),
        (Trace("x1", "tau_mem"), Gate("y1", "box", 0.6)), NOW, Feedback("fixed"), SHOWN, bounds=(-50.0, 50.0)),
    # traces of traces on both sides, a dendrite that falls, signs
    "followed": LearningRule("followed", "", (
        Update("w", "step", terms("0.01*e*x2*y2 - 0.001*sgn(e)*x1*y3")),
        Update("w", "pre", terms("0.01*e*y3 + 0.001*(x2 - 1)"))),
        (Trace("x1", 5e-3), Trace("x2", "tau_mem", of="x1"), Trace("y1", 4e-3), Trace("y2", 11e-3, of="y1"),
         Gate("y3", "box", 0.4, centre=0.7, height=2.0)), NOW, Feedback("fixed"), SHOWN),
    # a tag that follows another, which spikes of both sides change
    "two tags": LearningRule("two tags", "", (
        Update("d", "step", terms("x1*y1 - 0.1*d")), Update("d", "post", terms("-0.5*d")),
        Update("d", "pre", terms("1")),
        Update("t", "step", terms("0.2*d*y1 - 0.02*t")), Update("w", "sample", terms("0.001*t - 0.001*d*w"))),
        (Trace("x1", 6e-3), Gate("y1", "box", 0.5)), phases=(Phase("a", 0.012), Phase("b", 0.018))),
    # error spikes, a falling dendrite in the integral, gates of all shapes at instants
    "spiking": LearningRule("spiking", "", (
        Update("w", "step", terms("-0.02*e*x1*y1")), Update("w", "error", terms("0.001*e*x1*y2")),
        Update("w", "post", terms("0.001*x1*y3*e"))),
        (Trace("x1", 6e-3), Gate("y1", "box", 0.5), Gate("y2", "fast_sigmoid", 0.5), Gate("y3", "membrane")),
        Error("softmax", spikes=True, dendrite_tau=9e-3, threshold=0.4), Feedback("fixed"), SHOWN),
    # counts, a margin, a dendrite that err itself drives, coincidences
    "driven": LearningRule("driven", "", (
        Update("w", "step", terms("-0.02*e*x1*y1")), Update("w", "step", terms("0.01*x0*y0 + 0.002*x0*y2"))),
        (Trace("x1", 6e-3, phases=("b",)), Gate("y1", "box", 0.5), Gate("y2", "triangle", 0.8)),
        Error("count", dendrite_tau=7e-3, high=3.0, margin=0.03), Feedback("fixed"),
        (Phase("a", 0.012), Phase("b", 0.018, teach=True))),
}


@pytest.mark.parametrize("name", FLOWS)
def test_products_between_instants(name: str) -> None:
    for kind in ("LIF", "CubaLIF"):
        graph = feedforward(kind, (4, 3, 2), seed=11, refractory=2e-3, reset="subtract")
        if name == "driven":
            graph = graph.with_nodes({"w1": ir.Linear(weight=graph.nodes["w1"].weight * 1.3)})  # type: ignore[attr-defined]
        for batch in (2, 1):
            near(graph=graph, rule=FLOWS[name], events=stimulus(4, 7, batch=2), labels=[0, 1], batch=batch)


def test_long_samples_with_fast_traces_stay_exact() -> None:
    """The frame of time begins anew many times."""
    rule = LearningRule("fast", "", (Update("t", "step", terms("x1*y1 - 0.3*t")), Update("w", "sample", terms("0.1*t")),
                                     Update("w", "post", terms("0.01*x1*t"))),
                        (Trace("x1", 1e-3), Gate("y1", "box", 0.6)), phases=(Phase("shown", 0.12),))
    events = stimulus(4, 4, batch=1, per_sample=20, until=0.12)
    near(graph=feedforward("LIF", (4, 3), seed=4), rule=rule, events=events, labels=[0], batch=1)


PARTS = ("x1", "x2", "y1", "y2", "y3", "t", "(w - 0.2)", "(x1 - 0.5)")


@st.composite
def rules(draw: Any) -> LearningRule:
    def some(of: tuple[str, ...], numbers: int = 2) -> str:
        products = [f"{draw(st.sampled_from(('0.03', '-0.02', '0.007')))}*" + "*".join(
            draw(st.lists(st.sampled_from(of), min_size=1, max_size=3))) for _ in range(draw(st.integers(1, numbers)))]
        return " + ".join(products).replace("+ -", "- ")

    flow = ("x1", "y1", "y3", "(x1 + 0.5)")
    leak = draw(st.sampled_from(("", " - 0.05*t")))
    updates = [Update("t", "step", terms(some(flow) + leak)), Update("w", "sample", terms("0.01*t"))]
    updates += [Update(draw(st.sampled_from(("w", "t"))), when, terms(some(PARTS)))
                for when in draw(st.lists(st.sampled_from(("pre", "post")), max_size=1))]
    return LearningRule("drawn", "", tuple(updates), (
        Trace("x1", draw(st.sampled_from((3e-3, None, "tau_mem")))), Trace("x2", 9e-3), Trace("y1", 7e-3, 0.5),
        Trace("y2", 5e-3, of="y1"), Gate("y3", "box", 0.5)), phases=(Phase("shown", LAST),))


@settings(max_examples=2, deadline=None)
@drawn(rule=rules(), kind=st.sampled_from(("IF", "LIF", "CubaLIF")), seed=st.integers(0, 99))
def test_any_rule(rule: LearningRule, kind: str, seed: int) -> None:
    graph = feedforward(kind, (3, 2), seed)
    if any(each.tau == "tau_mem" for each in rule.variables if isinstance(each, Trace)) and kind == "IF":
        rule = replace(rule, variables=(Trace("x1", 4e-3), *rule.variables[1:]))
    worst, _ = differ(graph, rule, stimulus(3, seed, batch=1, per_sample=9), [0], 1)
    assert worst < 1e-8


def biograd_learner(seed: int = 3, **hyper: Any) -> tuple[Any, Events, np.ndarray[Any, Any]]:
    rule = biograd(duration=LAST, sleep_every=2, sleep_samples=2, sleep_duration=0.02, **hyper)
    learner = spikec.compile(feedforward("LIF", (4, 3, 2), seed=1)).learner(rule, seed=seed)
    return learner, stimulus(4, 2, batch=6), np.array([0, 1, 0, 1, 1, 0])


def same_bits(one: Any, other: Any) -> bool:
    return one.keys() == other.keys() and all(one[name].tobytes() == other[name].tobytes() for name in one)


def test_results_do_not_depend_on_the_number_of_threads() -> None:
    found = []
    for threads in (1, 3):
        set_threads(threads)
        try:
            learner, events, labels = biograd_learner()
            learner.learn(events, labels)
        finally:
            set_threads(0)
        found.append(learner.state())
    assert same_bits(*found)


def test_a_batch_is_the_mean_of_its_samples() -> None:
    learner, events, labels = biograd_learner(feedback="fixed")
    start = learner.state()
    total = 0.0
    for number in range(6):
        learner.load(start)
        learner.learn(events.take(np.array([number])), labels[number:number + 1])
        total = total + learner.weights["w1"] - start["weight w1"].T
    learner.load(start)
    learner.learn(events, labels)
    np.testing.assert_allclose(learner.weights["w1"] - start["weight w1"].T, total / 6, rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize("batch", [1, 2])
def test_a_learner_goes_on_from_its_state_with_the_same_bits(batch: int) -> None:
    whole, events, labels = biograd_learner()
    other, _, _ = biograd_learner(seed=8)
    parts = [np.arange(first, first + batch) for first in range(0, 6, batch)]
    for number, part in enumerate(parts):
        if number == len(parts) // 2:
            other.load({name: value.copy() for name, value in whole.state().items()})
        for each in (whole, other)[:1 + (number >= len(parts) // 2)]:
            each.learn(events.take(part), labels[part])
    assert same_bits(whole.state(), other.state())
    assert not same_bits(whole.state(), biograd_learner()[0].state())
    with pytest.raises(BadInputError, match=r"SC513.*weight w1"):
        other.load({**whole.state(), "weight w1": np.zeros((2, 2))})


def test_what_was_learnt_is_read_back_into_the_graph() -> None:
    learner, events, labels = biograd_learner()
    learner.learn(events, labels)
    graph = learner.to_graph()
    assert graph.nodes["w1"].weight.tobytes() == learner.weights["w1"].T.tobytes()
    shown = spikec.compile(graph).run(events, duration=LAST)
    answer = learner.answer(events)
    assert answer.counts.sum() == len(shown.spikes["n2"]) > 0
    assert answer.spikes["n1"] == len(shown.spikes["n1"])
    figures = learner.figures()
    assert set(figures.updated) == {"w1", "w2"} and 0 < figures.updated["w1"] <= 1
    assert figures.rates["n1"] > 0 and 0 <= figures.angles["n1"] <= 180


def test_labels_and_names_that_are_none() -> None:
    learner, events, labels = biograd_learner()
    for wrong in (labels[:2], labels + 1, labels + 0.5):
        with pytest.raises(BadInputError, match="SC506"):
            learner.learn(events, wrong)
    program = spikec.compile(feedforward("LIF", (4, 3, 2)))
    with pytest.raises(BadInputError, match=r"SC514.*biograd"):
        program.learner("biogard")
    for names in ({"output": "n"}, {"projections": ["w9"]}):
        with pytest.raises(BadInputError, match="SC403"):
            program.learner("biograd", **names)




def test_all_that_has_no_closed_form_is_told_at_once_at_its_term() -> None:
    rule = LearningRule("odd", "", (
        Update("t", "step", terms("0.5*x1*y1 + x1*y2 + x1*w + d*t + x1*e")), Update("w", "error", terms("x1*e")),
        Update("d", "step", terms("x1"), every=2), Update("w", "sample", terms("e*t"))),
        (Trace("x1", 5e-3), Gate("y1", "triangle"), Gate("y2", "fast_sigmoid")), Error("softmax"), Feedback("fixed"),
        SHOWN, bias=True)
    with pytest.raises(UnsupportedError) as told:
        spikec.compile(feedforward("LIF", (4, 3, 2))).learner(rule)
    assert {each.code for each in told.value.diagnostics} == {"SC516"}
    found = {each.value for each in told.value.diagnostics}
    assert {"0.5*x1*y1", "x1*y2", "x1*w", "d*t", "x1*e", "every=2", "bias=True"} <= found
    assert all(each.remedy for each in told.value.diagnostics)


def test_what_is_held_and_softer_is_told() -> None:
    with pytest.raises(UnsupportedError) as told:
        spikec.compile(feedforward("LIF", (4, 3, 2))).learner(biograd(slope=0.5, sleep_held=True))
    assert {each.value for each in told.value.diagnostics} >= {"slope=0.5", "sleep: held noise"}


@pytest.mark.parametrize("name", ["e_prop", "superspike", "decolle"])
def test_rules_that_only_a_grid_runs_say_so(name: str) -> None:
    with pytest.raises(UnsupportedError, match=r"SC516.*clock"):
        spikec.compile(feedforward("CubaLIF", (4, 3, 2))).learner(name)


def test_networks_that_do_not_learn_are_told_all_at_once() -> None:
    graph = feedforward("CubaLIF", (4, 3, 2))
    odd = graph.with_nodes({
        "w1": ir.Linear(weight=np.ones((3, 4)), delay=np.full((3, 4), 1e-3)),
        "w2": ir.SparseLinear(size=(2, 3), indptr=np.array([0, 1, 2]), indices=np.array([0, 1]), weight=np.ones(2))})
    with pytest.raises(UnsupportedError) as told:
        spikec.compile(odd).learner("stdp_pair")
    assert [each.code for each in told.value.diagnostics] == ["SC416", "SC416", "SC515"]
    with pytest.raises(UnsupportedError, match=r"SC515 at 'w1'"):
        spikec.compile(odd).learner("stdp_pair", projections=["w1"])
    folded = graph.with_nodes({"s": ir.Scale(scale=np.full(3, 2.0))}).replace(
        edges=(("in", "w1"), ("w1", "s"), ("s", "n1"), ("n1", "w2"), ("w2", "n2"), ("n2", "out")))
    assert list(spikec.compile(folded).learner("stdp_pair").state())[:1] == ["weight w2"]
    with pytest.raises(UnsupportedError, match=r"SC515 at 'w1'.*folded"):
        spikec.compile(folded).learner("stdp_pair", projections=["w1"])


@pytest.mark.parametrize("name", ["two tags", "spiking", "driven"])
def test_the_cuda_text_gives_what_the_c_text_gives(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run on the host (see cuda_on_host.py): this checks its logic, not a GPU."""
    rule = FLOWS.get(name) or LIBRARY[name]
    found = []
    for hosted in (False, True):
        if hosted:
            monkeypatch.setattr(event_run, "HOSTS", frozenset())
            monkeypatch.setattr(gpu, "launch", run_kernel)
        learner = spikec.compile(feedforward("CubaLIF", (4, 3, 2), seed=2)).learner(rule)
        learner.learn(stimulus(4, 9, batch=3), np.array([0, 1, 1]))
        found.append(learner.weights)
    for each in ("w1", "w2"):
        np.testing.assert_allclose(found[1][each], found[0][each], rtol=1e-10, atol=1e-14)


@pytest.mark.skipif(bool(missing_packages()), reason=f"not installed: {', '.join(missing_packages())}")
@pytest.mark.parametrize("name", ["filtered"])
def test_nvrtc_accepts_the_text(name: str) -> None:
    faults = Diagnostics()
    plan = plan_of(continuous_rule(FLOWS[name], faults), faults)
    error = FLOWS[name].error
    text = learn_source("cuda", plan, "none" if error is None else error.code, error is not None and error.spikes)
    assert not faults.found and not complaints(text, "compute_90")


def on_a_grid(interval: float) -> LearningRule:
    """The same rule in continuous time for every interval: a step counts in proportion."""
    part = interval / 1e-3
    return LearningRule("any grid", "", (
        Update("t", "step", terms(f"{part!r}*x1*y1")), Update("w", "sample", terms("-0.0001*e*t")),
        Update("w", "post", terms("0.0003*x1"))),
        (Trace("x1", "tau_mem"), Gate("y1", "box", 0.6)),
        Error("softmax", spikes=True, start=0.004, threshold=1 / part), Feedback("fixed"), SHOWN, interval=interval)


@pytest.mark.parametrize("seed", [1, 3])
def test_a_finer_and_finer_grid_comes_to_continuous_time(seed: int) -> None:
    graph, events = feedforward("LIF", (4, 3, 2), seed), stimulus(4, 2, batch=1)
    feedback = np.random.default_rng(1).normal(size=(3, 2))
    exact = ExactLearning(graph, on_a_grid(1e-3), feedback={"n1": feedback})
    exact.learn({"in": events}, [1])
    start = {name: graph.nodes[name].weight for name in ("w1", "w2")}  # type: ignore[attr-defined]
    far = []
    for dt in (4e-4, 1e-4, 2.5e-5):
        columns = round(LAST / dt)
        raster = np.zeros((1, columns, 4))
        np.add.at(raster, (0, np.ceil(events.times / dt - 1e-9).astype(int) - 1, events.indices), 1)
        grid = Graph(graph.nodes, graph.edges, Discretization(dt=dt, spike="delta"))
        learnt = simulate_learning(grid, on_a_grid(dt), LearningState(start, {}, {"n1": feedback}), raster,
                                   np.array([1])).state.weights
        moves = {name: np.abs(exact.weights[name] - start[name]).max() for name in start}
        far.append(max(np.abs(learnt[name] - exact.weights[name]).max() / moves[name] for name in start))
    assert far[0] > far[1] > 1.6 * far[2] and far[2] < 0.02


def test_a_task_is_learnt_from_random_feedback() -> None:
    """Three patterns of 24 inputs, a tenth of each turned round, one sample at a time."""
    patterns = np.random.default_rng(0).random((3, 24)) < 0.3
    draw = np.random.default_rng(1)

    def data(samples: int) -> tuple[Events, np.ndarray[Any, Any]]:
        labels = draw.integers(0, 3, samples)
        active = [np.repeat(np.flatnonzero(patterns[label] ^ (draw.random(24) < 0.1)), 3) for label in labels]
        return Events.from_samples([(draw.uniform(0, 0.028, len(each)), each) for each in active]), labels

    graph = feedforward("LIF", (24, 20, 3))
    weights = {"w1": draw.normal(0.02, 0.25, (20, 24)) * 20e-3, "w2": draw.normal(0.05, 0.25, (3, 20)) * 20e-3}
    graph = graph.with_nodes({name: ir.Linear(weight=weight) for name, weight in weights.items()})
    learner = spikec.compile(graph).learner(
        biograd(duration=LAST, feedback="kolen_pollack", decay=1e-2), seed=1)
    learner.rate = 0.01
    tested, wanted = data(150)
    before = np.mean(learner.answer(tested).predictions == wanted)
    events, labels = data(250)
    angle = learner.figures().angles["n1"]
    for number in range(250):
        learner.learn(events.take(np.array([number])), labels[number:number + 1])
    assert before < 0.6
    assert np.mean(learner.answer(tested).predictions == wanted) > 0.85
    assert learner.figures().angles["n1"] < 45 < angle
