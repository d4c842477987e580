"""The learner of Loihi's arithmetic: its rate, its figures, and the choices that it takes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import spikec
from spikec import Builder, Discretization, Graph
from spikec.ir.diagnostics import BadInputError, UnsupportedError
from spikec.ir.nodes import LIF
from spikec.ir.rules.catalogue import rule_named
from spikec.runtime import jit

DT, STEPS, CHANNELS, CLASSES = 1e-3, 20, 8, 3

pytestmark = pytest.mark.skipif(jit.compiler() is None, reason="needs a C compiler")


def neurons(n: int) -> LIF:
    ones = np.ones(n)
    return LIF(shape=(n,), tau=4e-3 * ones, r=4e-3 * ones, v_leak=0 * ones, v_threshold=ones, reset="zero")


def network(hidden: tuple[int, ...] = (6,), skip: bool = False) -> Graph:
    """Layers h1, h2, …, out with projections named by their ends; `skip`: one more, from h1 to out."""
    random, builder = np.random.default_rng(0), Builder()
    sizes = [CHANNELS, *hidden, CLASSES]
    names = ["x", *(f"h{number}" for number in range(1, len(sizes) - 1)), "out"]
    signals = [builder.input("x", CHANNELS)]
    for number, (name, n) in enumerate(zip(names[1:], sizes[1:], strict=True)):
        given, more = builder.linear(f"{names[number]}_{name}", signals[-1],
                                     weight=random.uniform(-1, 1, (n, sizes[number]))), []
        if skip and name == "out":
            more = [builder.linear("h1_out", signals[1], weight=random.uniform(-1, 1, (n, sizes[1])))]
        signals.append(builder.add(name, neurons(n), given, *more))
    builder.output("labels", signals[-1])
    return builder.build(Discretization(DT))


def rule(name: str = "biograd", **told: Any) -> Any:
    return rule_named(name, "loihi2", duration=STEPS * DT, **told)


def learner_of(given: Any = None, graph: Graph | None = None, **settings: Any) -> Any:
    return spikec.compile(graph or network(), target="loihi2").learner(given or rule(), **settings)


def samples(count: int, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    return (random.random((count, STEPS, CHANNELS)) < 0.4).astype(np.uint8), random.integers(0, CLASSES, count)


def as_events(rasters: np.ndarray) -> spikec.Events:
    return spikec.Events.from_samples([((columns + 1) * DT, channels) for columns, channels in map(
        np.nonzero, rasters)])


def assert_alike(one: Any, other: Any) -> None:
    assert one.keys() == other.keys()
    for name, each in one.items():
        np.testing.assert_array_equal(each, other[name], err_msg=name)


@pytest.mark.filterwarnings("ignore:SC518")
def test_a_training_by_a_cosine_ends_and_is_gone_on_with(tmp_path: Path) -> None:
    rasters, labels = samples(20)
    program = spikec.compile(network(), target="loihi2")

    def trainer(epochs: int, **options: Any) -> spikec.Trainer:
        return spikec.Trainer(program, rule=rule(), epochs=epochs, batch_size=5, scheduler="cosine", progress=False,
                              **options)

    one = trainer(4, checkpoint=tmp_path / "c")
    assert len(one.fit((as_events(rasters), labels))) == 4
    assert one.program.target == "loihi2"
    again = trainer(4, checkpoint=tmp_path / "c")
    assert len(again.fit((as_events(rasters), labels), resume=True)) == 4
    assert_alike(one.learner.state(), again.learner.state())


def test_rates_of_a_schedule_that_the_engine_does_not_hold_are_told_before_it_begins() -> None:
    rasters, labels = samples(20)
    program = spikec.compile(network(), target="loihi2")
    one = spikec.Trainer(program, rule=rule(), epochs=4, batch_size=5, scheduler=lambda epoch: [1, 1e-9, 0, 1e9][epoch],
                         progress=False)
    before = one.learner.state()
    with pytest.raises(UnsupportedError) as caught:
        one.fit((as_events(rasters), labels))
    assert {each.code for each in caught.value.diagnostics} == {"SC336"}
    assert {each.message.split(":")[0] for each in caught.value.diagnostics} == {"at the rate 1e-09",
                                                                                "at the rate 1e+09"}
    assert_alike(one.learner.state(), before)


def test_a_rate_costs_nothing_until_something_is_learnt() -> None:
    one, other = learner_of(), learner_of()
    for each in (one, other):
        each.learn(*samples(6))
    engine = one.engine
    one.rate = 1e-9
    one.answer(samples(2)[0])
    one.figures()
    one.to_graph()
    before = one.state()
    with pytest.raises(UnsupportedError, match="SC336"):
        one.learn(*samples(6, seed=3))
    assert_alike(one.state(), before)
    one.rate = 1.0
    assert one.engine is engine
    for each in (one, other):
        each.learn(*samples(6, seed=4))
    assert_alike(one.state(), other.state())


@pytest.mark.parametrize(("name", "told"), [("hebb", {"rate": 0.01}), ("stdp_pair", {"bounds": None}),
                                            ("reward_stdp", {}), ("biograd", {})])
@pytest.mark.filterwarnings("ignore:SC516")
def test_a_rule_of_any_kind_stands_still_at_a_rate_of_zero(name: str, told: dict[str, Any]) -> None:
    learner = learner_of(rule(name, **told), network(() if name != "biograd" else (6,)))
    projections = list(learner.names)
    first = {each: learner.stream.weights(each) for each in projections}
    learner.learn(*samples(4))
    before = {each: learner.stream.weights(each) for each in projections}
    assert any((before[each] != first[each]).any() for each in projections)
    learner.rate = 0.0
    learner.learn(*samples(4, seed=2))
    assert_alike({each: learner.stream.weights(each) for each in projections}, before)
    learner.rate = 1.0
    learner.learn(*samples(4, seed=3))
    assert any((before[each] != learner.stream.weights(each)).any() for each in projections)


def test_figures_are_kept_over_a_rate() -> None:
    whole, parts = learner_of(), learner_of()
    found = []
    for rate in (1.0, 2.0, 0.5):
        for each in (whole, parts):
            each.rate = rate
            each.learn(*samples(10))
        found.append(parts.figures())
    told = whole.figures()
    for name, share in told.updated.items():
        assert share > 0
        assert share == pytest.approx(np.mean([each.updated[name] for each in found]))
    for name, rate in told.rates.items():
        assert rate == pytest.approx(np.mean([each.rates[name] for each in found]))
    assert told.saturated == found[-1].saturated
    assert set(told.saturated_traces) == set(found[0].saturated_traces)
    assert whole.figures().updated == dict.fromkeys(told.updated, 0)


BAD: dict[str, Any] = {
    "gap": 1.5, "headroom": 0, "impulse": 1000, "tag_shift": 40, "error_shift": {"h1": 17},
    "thresholds": {"out": 0, "none": 300}, "rates": {"x_h1": float("nan"), "zz": 1.0}}


def test_choices_are_told_all_at_once() -> None:
    with pytest.raises(BadInputError) as caught:
        learner_of(seed=-1, gaps=3, **BAD)
    told = [each.code for each in caught.value.diagnostics]
    assert sorted(told) == ["SC403", *["SC533"] * (1 + len(BAD) + 2)]
    text = str(caught.value)
    assert all(each in text for each in (*BAD, "gaps", "none", "zz", "x_h1, h1_out", "h1, out"))


@pytest.mark.parametrize("choice", [
    {"gap": -1}, {"gap": None}, {"headroom": float("nan")}, {"headroom": "a"}, {"impulse": 0}, {"impulse": 1.5},
    {"tag_shift": "a"}, {"error_shift": {"h1": 0.5}}, {"error_shift": 2}, {"thresholds": {"out": 1 << 17}},
    {"thresholds": {"out": 300.0}}, {"thresholds": {"x": 300}}, {"rates": {"x_h1": 0}}, {"rates": {"x_h1": -1.0}},
    {"rates": {"h1": 1.0}}, {"rates": [1.0]}])
def test_a_choice_out_of_range_is_told(choice: dict[str, Any]) -> None:
    with pytest.raises(BadInputError) as caught:
        learner_of(**choice)
    assert [each.code for each in caught.value.diagnostics] == ["SC533"]


def test_what_does_not_learn_takes_no_choices() -> None:
    taken = {"rates": {"h1_out": 2.0}, "thresholds": {"out": 300}, "tag_shift": None, "impulse": None}
    assert learner_of(projections=["h1_out"], **taken).choices.rates == {"h1_out": 2.0}
    with pytest.raises(BadInputError) as caught:
        learner_of(projections=["h1_out"], **{**taken, "rates": {"x_h1": 2.0}, "thresholds": {"h1": 300}})
    assert [each.value for each in caught.value.diagnostics] == ["h1", "x_h1"]


def degrees(one: np.ndarray, other: np.ndarray) -> float:
    cosine = float((one * other).sum() / (np.linalg.norm(one) * np.linalg.norm(other)))
    return float(np.degrees(np.arccos(cosine)))


@pytest.mark.parametrize("skip", [False, True])
@pytest.mark.parametrize("kept", [["x_h1", "h1_h2", "h2_out"], ["x_h1", "h2_out"]])
def test_feedback_is_compared_with_the_product_of_the_weights_on_the_way(skip: bool, kept: list[str]) -> None:
    """Those that learn as they are now, the others as the model has them."""
    learner = learner_of(rule(feedback="fixed"), network((6, 5), skip), projections=kept)
    learner.learn(*samples(10))
    figures, graph = learner.figures(), learner.to_graph()
    weights = {name: np.asarray(node.weight) for name, node in graph.nodes.items() if hasattr(node, "weight")}
    product = weights["h2_out"] @ weights["h1_h2"] + (weights["h1_out"] if skip else 0)
    scale = learner.plastic.weights["h2_out"]
    back = learner.stream.weights("feedback.h1") / scale
    assert figures.angles["h1"] == pytest.approx(degrees(back, product.T), abs=1e-3)
    assert figures.norms["h1"] == pytest.approx(np.linalg.norm(back) / np.linalg.norm(product))
    if "h1_h2" in kept:
        back = learner.stream.weights("feedback.h2")
        assert figures.angles["h2"] == pytest.approx(degrees(back, weights["h2_out"].T), abs=1e-3)


def test_without_feedback_there_is_nothing_to_align() -> None:
    learner = learner_of(rule(feedback="none"), network((6,)))
    learner.learn(*samples(4))
    assert (learner.figures().angles, learner.figures().norms) == ({}, {})
