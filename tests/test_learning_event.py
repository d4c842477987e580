"""Rules on the event engine: equal to the oracle in continuous time, for every kind of neuron, product and feedback."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given as drawn
from hypothesis import settings
from hypothesis import strategies as st
from learning_nets import differ, feedforward, stimulus

import spikec
from spikec.ir import nodes as ir
from spikec.ir.diagnostics import BadInputError, UnsupportedError
from spikec.ir.events import Events
from spikec.ir.learning import Error, Feedback, Gate, LearningRule, Phase, Trace, Update
from spikec.ir.learning_terms import terms
from spikec.ir.rules import biograd, emstdp, hebb, oja, reward_stdp, soel, stdp_pair, stdp_triplet
from spikec.runtime import jit
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
    rule = biograd(duration=LAST, feedback=feedback, path=path, rate=1e-4)
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
        Update("w", "step", terms("0.01*e*x2*y2 - 0.001*sgn(e)*x1*y3")), Update("w", "pre", terms("0.01*e*y3 + 0.001*(x2 - 1)"))),
        (Trace("x1", 5e-3), Trace("x2", "tau_mem", of="x1"), Trace("y1", 4e-3), Trace("y2", 11e-3, of="y1"),
         Gate("y3", "box", 0.4, centre=0.7, height=2.0)), NOW, Feedback("fixed"), SHOWN),
    # a tag that follows another, which spikes of both sides change
    "two tags": LearningRule("two tags", "", (
        Update("d", "step", terms("x1*y1 - 0.1*d")), Update("d", "post", terms("-0.5*d")), Update("d", "pre", terms("1")),
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
                        (Trace("x1", 1e-3), Gate("y1", "box", 0.6)), phases=(Phase("shown", 0.25),))
    events = stimulus(4, 4, batch=1, per_sample=40, until=0.25)
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


@settings(max_examples=3, deadline=None)
@drawn(rule=rules(), kind=st.sampled_from(("IF", "LIF", "CubaLIF")), seed=st.integers(0, 99))
def test_any_rule(rule: LearningRule, kind: str, seed: int) -> None:
    graph = feedforward(kind, (3, 2), seed)
    if any(each.tau == "tau_mem" for each in rule.variables if isinstance(each, Trace)) and kind == "IF":
        rule = replace(rule, variables=(Trace("x1", 4e-3), *rule.variables[1:]))
    worst, _ = differ(graph, rule, stimulus(3, seed, batch=1, per_sample=9), [0], 1)
    assert worst < 1e-8
