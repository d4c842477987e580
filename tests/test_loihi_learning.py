"""Learning on Loihi's arithmetic, from a rule of the model to the weights of a graph."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import spikec
from spikec import Builder, Discretization, Graph
from spikec.ir.diagnostics import BadInputError, Diagnostics, UnsupportedError
from spikec.ir.integer.learning import IntegerTrace, shift_of
from spikec.ir.integer.network import held_weight
from spikec.ir.integer.plastic_step import simulate_plastic
from spikec.ir.learning.rule import Error, Factor, Feedback, LearningRule, Term, Trace, Update
from spikec.ir.learning.terms import terms
from spikec.ir.nodes import LIF
from spikec.ir.rules.catalogue import rule_named
from spikec.passes.plastic_rules import ChipScales, integer_rule, nearest_product

DT, STEPS, CLASSES = 1e-3, 16, 3
CHOICES: dict[str, Any] = {"thresholds": {"hidden": 400, "out": 400}, "rates": {"fc1": 4.0}, "gap": 2}


def neurons(n: int, threshold: float = 1.0) -> LIF:
    ones = np.ones(n)
    return LIF(shape=(n,), tau=2e-3 * ones, r=2e-3 * ones, v_leak=0 * ones, v_threshold=threshold * ones, reset="zero")


def network(seed: int = 0, hidden: int = 24, most: float = 0.3) -> Graph:
    random, builder = np.random.default_rng(seed), Builder()
    signal = builder.linear("fc1", builder.input("x", 16), weight=random.uniform(-most, most, (hidden, 16)))
    signal = builder.linear("fc2", builder.add("hidden", neurons(hidden), signal),
                            weight=random.uniform(-most, most, (CLASSES, hidden)))
    builder.output("labels", builder.add("out", neurons(CLASSES), signal))
    return builder.build(Discretization(DT))


def rule(feedback: str = "sleep", **changes: Any) -> LearningRule:
    told: dict[str, Any] = {"rate": 6e-4, "eligibility": "spike", "duration": STEPS * DT, "start": 2e-3,
                            "sleep_duration": 0.016, "sleep_every": 2, "sleep_rate": 6e-4, "sleep_decay": 2.0**-11}
    return rule_named("biograd", "loihi1", feedback=feedback, **{**told, **changes})


def samples(count: int, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Three prototypes of eight channels, some flipped."""
    random = np.random.default_rng(seed)
    prototypes = np.random.default_rng(9).random((CLASSES, 16)) < 0.5
    labels = random.integers(CLASSES, size=count)
    rates = np.where(prototypes[labels] ^ (random.random((count, 16)) < 0.05), 0.5, 0.02)
    return (random.random((count, STEPS, 16)) < rates[:, None]).astype(np.uint8), labels


def learner_of(given: LearningRule | None = None, seed: int = 0, **choices: Any) -> Any:
    program = spikec.compile(network(), target="loihi1")
    return program.learner(given or rule(), seed=seed, **{**CHOICES, **choices})


def right(answer: Any, labels: np.ndarray) -> float:
    return float((answer.predictions == labels).mean())


@pytest.mark.parametrize("rounding", ["synapse", "lava"])
def test_a_small_task_is_learnt_from_random_weights_and_feedback(rounding: str) -> None:
    learner, test = learner_of(rounding=rounding), samples(150, seed=2)
    before = right(learner.answer(test[0]), test[1])
    angle = learner.figures().angles["hidden"]
    for number in range(2):
        learner.learn(*samples(200, seed=10 + number))
    figures = learner.figures()
    assert before < 0.6
    assert right(learner.answer(test[0]), test[1]) > 0.9
    assert figures.angles["hidden"] < min(angle, 60)
    assert figures.rates["hidden"] > 0
    assert 0 < figures.updated["fc2"] < 1


def test_a_batch_is_only_a_stretch_of_the_stream() -> None:
    events, labels = samples(12)
    whole, parts = learner_of(seed=3), learner_of(seed=3)
    whole.learn(events, labels)
    for start, stop in ((0, 1), (1, 6), (6, 12)):
        parts.learn(events[start:stop], labels[start:stop])
    parts.answer(events)  # answers nothing away
    assert_alike(whole.state(), parts.state())


def test_a_learner_goes_on_from_its_state() -> None:
    one, other = learner_of(seed=4), learner_of(seed=4)
    one.learn(*samples(9))
    other.load(one.state())
    assert_alike(one.state(), other.state())
    for each in (one, other):
        each.learn(*samples(5, seed=6))
    assert_alike(one.state(), other.state())
    with pytest.raises(BadInputError, match="SC513"):
        other.load({**one.state(), "error/hidden": np.zeros(3)})


def test_the_stream_is_that_of_the_oracle() -> None:
    """The learner's samples, teachers, updates and sleeps, through plain numpy."""
    learner = learner_of(seed=5, rounding="lava")
    events, labels = samples(5)
    inputs, signals, windows = learner.rasters(events, labels)
    theirs = simulate_plastic(learner.plastic.network, inputs, signals, rounding="lava")
    answer = learner.learn(events, labels)
    for name, each in theirs.state.learning.items():
        np.testing.assert_array_equal(learner.stream.weights(name), each.weight)
    counts = [theirs.spikes["out"][start:stop].sum(axis=0) for start, stop in windows]
    np.testing.assert_array_equal(answer.counts, counts)


def rewarded(seed: int = 1, **choices: Any) -> Any:
    """Outputs right behind the input learn by rewards."""
    random, builder = np.random.default_rng(seed), Builder()
    signal = builder.linear("fc", builder.input("x", 16), weight=random.uniform(0, 0.3, (CLASSES, 16)))
    builder.output("labels", builder.add("out", neurons(CLASSES), signal))
    program = spikec.compile(builder.build(Discretization(DT)), target="loihi2")
    told = rule_named("reward_stdp", "loihi2", rate=3e-3, minus=0.3, tau_plus=3e-3, tau_minus=3e-3,
                      duration=STEPS * DT)
    return program.learner(told, seed=seed, **{"thresholds": {"out": 400}, "gap": 8, **choices})


@pytest.mark.parametrize("rounding", ["synapse", "lava"])
def test_a_small_task_is_learnt_from_rewards(rounding: str) -> None:
    learner, test = rewarded(rounding=rounding), samples(150, seed=2)
    before = right(learner.answer(test[0]), test[1])
    for number in range(4):
        learner.learn(*samples(200, seed=10 + number))
    assert before < 0.5
    assert right(learner.answer(test[0]), test[1]) > 0.75
    assert learner.reward > 0.6


def test_rewards_are_told_in_the_columns_of_updates() -> None:
    """Through plain numpy; the first update is told 63 or 0, what comes then less the mean."""
    events, labels = samples(30)
    learner, again = rewarded(rounding="lava"), rewarded(rounding="lava")
    answer = learner.learn(events, labels)
    inputs, signals, windows = again.rasters(events, labels, learner.rewards)
    theirs = simulate_plastic(again.plastic.network, inputs, signals, rounding="lava")
    np.testing.assert_array_equal(learner.stream.weights("fc"), theirs.state.learning["fc"].weight)
    assert (learner.stream.weights("fc") != again.stream.weights("fc")).any()
    counts = [theirs.spikes["out"][start:stop].sum(axis=0) for start, stop in windows]
    np.testing.assert_array_equal(answer.counts, counts)
    got = (answer.predictions == labels).astype(float)
    means = np.concatenate([[0], np.cumsum(got)[:-1] / np.arange(1, len(got))])
    np.testing.assert_array_equal(learner.rewards, np.rint(63 * (got - means)))
    np.testing.assert_array_equal(signals.reward[windows[:, 1]], learner.rewards)
    for other, wrong in ((again, [0.5] * 30), (again, [1]), (learner_of(), [0] * 30)):
        with pytest.raises(BadInputError, match="SC403"):
            other.rasters(events, labels, np.array(wrong))
    parts = rewarded(rounding="lava")
    for start, stop in ((0, 1), (1, 14), (14, 30)):
        parts.learn(events[start:stop], labels[start:stop])
    assert_alike(learner.state(), parts.state())


def test_the_trainer_hands_over_rewards_and_choices(tmp_path: Path) -> None:
    """And goes on with the same mean of the rewards, to the same bits."""
    rasters, labels = samples(40)
    found = [np.nonzero(each) for each in rasters]
    events = spikec.Events.from_samples([((columns + 1) * DT, channels) for columns, channels in found])
    program, told = rewarded().program, rewarded().rule

    def trainer(epochs: int, **options: Any) -> spikec.Trainer:
        return spikec.Trainer(program, rule=told, learner={"thresholds": {"out": 400}, "gap": 8}, batch_size=10,
                              epochs=epochs, progress=False, **options)

    whole = trainer(2)
    whole.fit((events, labels))
    assert whole.learner.choices.gap == 8
    assert 0 < whole.learner.reward < 1
    trainer(1, checkpoint=tmp_path / "c").fit((events, labels))
    again = trainer(2, checkpoint=tmp_path / "c")
    again.fit((events, labels), resume=True)
    assert_alike(whole.learner.state(), again.learner.state())
    with pytest.raises(BadInputError, match="SC533"):
        spikec.Trainer(program, rule=told, learner={"gaps": 8})


def test_rewards_change_weights_as_on_the_clock() -> None:
    learner = rewarded(rates={"fc": 1 / 3})
    clock = spikec.compile(learner.program.graph, target="clock").learner(replace(learner.rule, updates=tuple(
        replace(each, terms=tuple(replace(term, coefficient=term.coefficient / 3) for term in each.terms))
        if each.variable == "w" else each for each in learner.rule.updates)))
    events, labels = samples(150, seed=8)
    learner.learn(events, labels)
    for number in range(len(labels)):
        clock.learn(events[number:number + 1], labels[number:number + 1])
    start = learner.program.graph.nodes["fc"].weight
    moved = [np.asarray(each.to_graph().nodes["fc"].weight) - start for each in (learner, clock)]
    assert cosine(*moved) > 0.8
    assert 0.6 < np.linalg.norm(moved[0]) / np.linalg.norm(moved[1]) < 1.6


def test_what_was_learnt_is_compiled_again() -> None:
    learner = learner_of()
    learner.learn(*samples(300))
    graph = learner.to_graph()
    quantised = spikec.compile(graph, target="loihi1").with_plan(learner.plan)
    for each in quantised.network.projections:
        learnt = learner.stream.weights(each.name)
        assert np.abs(held_weight(replace(each, sign="mixed")) - learnt).max() <= 1  # without the lowest bit
    events, labels = samples(150, seed=2)
    found = spikec.compile(graph, target="clock").run(events, duration=STEPS * DT)
    spikes = found.spikes["labels"]
    counts = np.zeros((150, CLASSES))
    np.add.at(counts, (np.repeat(np.arange(150), np.diff(spikes.offsets)), spikes.indices), 1)
    assert (counts.argmax(1) == labels).mean() > 0.85


def test_updates_are_those_of_the_clock_in_direction() -> None:
    """One rule, two targets: the same samples change the same weights the same way."""
    told = rule("transposed", rate=1e-4)
    events, labels = samples(120, seed=8)
    graph = network()
    chip = spikec.compile(graph, target="loihi1").learner(told, **{**CHOICES, "rates": {}})
    clock = spikec.compile(graph, target="clock").learner(told)
    for each in (chip, clock):
        each.learn(events, labels)
    for name in ("fc1", "fc2"):
        moved = [np.asarray(each.to_graph().nodes[name].weight) - graph.nodes[name].weight for each in (chip, clock)]
        assert cosine(*moved) > 0.8, name


def test_feedback_that_is_copied_is_the_transpose() -> None:
    learner = learner_of(rule("transposed"))
    learner.learn(*samples(20))
    figures = learner.figures()
    assert figures.angles["hidden"] < 5  # copied before the last samples
    assert 0.9 < figures.norms["hidden"] < 1.1


@pytest.mark.parametrize(("name", "reasons"), [
    ("e_prop", ("box", "code softmax")), ("decolle", ("code local", "of spikes")),
    ("superspike", ("of spikes", "code")), ("emstdp", ("no current into the soma",)),
])
def test_what_the_chip_cannot_learn_is_told_at_once(name: str, reasons: tuple[str, ...]) -> None:
    with pytest.raises(UnsupportedError) as refused:
        learner_of(rule_named(name))
    told = str(refused.value)
    assert all(each in told for each in reasons), told
    assert {each.code for each in refused.value.diagnostics} <= {"SC515", "SC516", "SC336"}


@pytest.mark.parametrize(("changes", "told"), [
    ({"updates": (Update("w", "sample", terms("0.1*sgn(r)*x1")),)}, "sign of w, t and d alone"),
    ({"variables": (Trace("x1", 3e-3), Trace("y1", 3e-3), Trace("y2", 3e-3))}, "y2 and y3 tell the error"),
    ({"error": Error("count"), "feedback": Feedback("none"),
      "updates": (Update("w", "sample", terms("0.1*e*x1")),)}, "code count")])
def test_what_a_rule_of_rewards_cannot_have_is_told(changes: dict[str, Any], told: str) -> None:
    learner = rewarded()
    with pytest.raises(UnsupportedError, match=told) as refused:
        learner.program.learner(replace(learner.rule, **changes))
    assert {each.code for each in refused.value.diagnostics} == {"SC516"}


def test_phases_and_feedback_that_the_chip_has_not_are_told_at_once() -> None:
    given = rule(sleep_samples=4)
    assert given.feedback is not None
    awake = given.phases[0]
    awake_too = replace(given, phases=(awake, replace(awake, name="again"), *given.phases[1:]), feedback=replace(
        given.feedback, traces=(Trace("x1", 5e-3), Trace("y1", 5e-3))))
    with pytest.raises(UnsupportedError) as refused:
        learner_of(awake_too)
    told = [each.message for each in refused.value.diagnostics]
    assert len(told) == 3, told
    assert all(any(part in each for each in told) for part in ("one phase without", "one sample of", "end of a sleep"))


def test_bounds_that_the_chip_does_not_keep_are_warned_of() -> None:
    with pytest.warns(spikec.SpikecWarning, match="SC516.*bounds"):
        learner_of(replace(rule(), bounds=(-0.5, 0.5)))


@pytest.mark.parametrize("threshold", [0.4, 1.5])
def test_an_error_neuron_counts_whole_spikes(threshold: float) -> None:
    with pytest.raises(UnsupportedError, match=r"SC516.*counts spikes"):
        learner_of(rule(spikes=True, threshold=threshold))


def test_weights_are_copied_to_the_last_hidden_layer_alone() -> None:
    random, builder = np.random.default_rng(0), Builder()
    signal = builder.input("x", 6)
    for name, (n, size) in {"l1": (6, 5), "l2": (5, 4), "out": (4, 3)}.items():
        signal = builder.linear(f"to_{name}", signal, weight=random.uniform(-1, 1, (size, n)))
        signal = builder.add(name, neurons(size), signal)
    builder.output("labels", signal)
    program = spikec.compile(builder.build(Discretization(DT)), target="loihi1")
    with pytest.raises(UnsupportedError, match=r"SC516.*copied.*l1"):
        program.learner(rule("transposed"))
    program.learner(rule("transposed"), projections=["to_l2", "to_out"])
    program.learner(rule("fixed"))


def test_samples_are_as_long_as_keeps_the_count_of_columns_theirs() -> None:
    every = LearningRule("own", "", updates=(Update("w", "step", terms("0.004*x1"), every=4),),
                         variables=(Trace("x1", 5e-4),), phases=(replace(rule().phases[0], teach=False),))
    learner = learner_of(every)
    assert learner.plastic.columns.columns % 16 == 0
    events, found = np.ones((1, STEPS, 16), np.uint8), []
    for _ in range(5):
        before = learner.stream.weights("fc1").astype(int)
        learner.learn(events, np.array([0]))
        found.append((learner.stream.weights("fc1") - before).sum())
    # Rounding is at random; twice as many updates in some samples would be twice as much.
    assert min(found) > 0.8 * max(found) > 0


def test_a_trace_that_outlasts_a_sample_is_told() -> None:
    given = rule_named("stdp_pair", "loihi1", duration=STEPS * DT)
    with pytest.warns(spikec.SpikecWarning, match=r"SC516.*from sample to sample") as told:
        learner_of(given)
    gap = next(int(found[1]) for each in told if (found := re.search(r"gap=(\d+)", str(each.message))))
    with warnings.catch_warnings(record=True) as silent:
        learner_of(given, gap=gap)
    assert not any("from sample to sample" in str(each.message) for each in silent)


def test_bad_choices_and_labels_are_told() -> None:
    program = spikec.compile(network(), target="loihi1")
    with pytest.raises(BadInputError) as refused:
        program.learner(rule(), rounding="up", device="cuda", gaps=3)
    assert [each.code for each in refused.value.diagnostics] == ["SC533"] * 3
    events, _ = samples(2)
    with pytest.raises(BadInputError, match="SC506"):
        learner_of().learn(events, np.array([0, CLASSES]))


def test_a_projection_that_is_quantised_away_does_not_learn() -> None:
    graph = network()
    silent = graph.with_nodes({"fc1": replace(graph.nodes["fc1"], weight=np.zeros((24, 16)))})  # type: ignore[type-var]
    with pytest.raises(UnsupportedError, match=r"SC515.*fc1"):
        spikec.compile(silent, target="loihi1").learner(rule())


def test_a_rate_below_the_engine_is_told_with_its_term() -> None:
    with pytest.raises(UnsupportedError, match=r"SC336.*fc1.*\*e\*t"):
        learner_of(rule(rate=1e-9), error_shift={"hidden": 0, "out": 0}, tag_shift=0)


def test_a_smaller_rate_is_a_smaller_coefficient() -> None:
    learner = learner_of()
    before = {name: each.dw for name, each in learner.plastic.network.rules.items()}
    learner.learn(*samples(3))
    weights = learner.stream.weights("fc1")
    learner.rate = 0.5
    after = learner.plastic.network.rules
    np.testing.assert_array_equal(learner.stream.weights("fc1"), weights)
    assert after["fc2"].dw != before["fc2"] or after["fc2"].dt != learner_of().plastic.network.rules["fc2"].dt
    assert after["feedback.hidden"].dw == before["feedback.hidden"]


def effect(product: Any, values: Mapping[str, float]) -> float:
    """What a product adds, without the floor of its shift."""
    found = product.mantissa * 2.0**product.exponent / 2.0 ** shift_of(product)
    for each in product.factors:
        found *= values[each.variable] + each.offset
    return found


def test_a_term_keeps_its_meaning_in_the_scales_of_the_chip() -> None:
    scales = {"w": 400.0, "x1": 64.0, "y1": 8.0, "t": 16.0}
    faults = Diagnostics()
    update = Update("t", "step", (Term(0.5, (Factor("x1"), Factor("y1"))), Term(-0.25, (Factor("t"),))))
    made = integer_rule([update], ChipScales(scales, {"x1": IntegerTrace(64, 2.0)}), "fc", three_factor=True, seed=1,
                        faults=faults)
    assert not faults.found
    model = {"x1": 0.75, "y1": 1.0, "t": 2.0}
    chip = {name: value * scales[name] for name, value in model.items()}
    assert sum(effect(each, chip) for each in made.dt) == pytest.approx((0.5 * 0.75 - 0.25 * 2.0) * 16)


@pytest.mark.parametrize("gated", ["y0", "y3"])
def test_a_reward_is_told_beside_a_mark(gated: Any) -> None:
    faults = Diagnostics()
    scales = ChipScales({"r": 63.0, "w": 100.0, "t": 4.0}, gated=gated)
    updates = [Update("w", "sample", terms("0.5*r*t")), Update("t", "sample", terms("-t"))]
    made = integer_rule(updates, scales, "fc", three_factor=True, seed=1, faults=faults)
    assert not faults.errors
    for reward in (-0.75, 0.5):
        values = {"t": 40.0, "y2": 64 + 63 * reward, "y3": 64.0}
        assert effect(made.dw[0], values) == pytest.approx(0.5 * reward * 10 * 100, rel=0.1)
        assert effect(made.dt[0], values) == -40


def test_an_error_has_two_parts() -> None:
    faults = Diagnostics()
    made = integer_rule([Update("w", "sample", terms("-0.5*e*t"))], ChipScales({"e": 4.0}), "fc", three_factor=True,
                        seed=1, faults=faults)
    assert not faults.errors
    up, down = made.dw
    assert (up.mantissa, down.mantissa) == (-down.mantissa, -up.mantissa)
    assert up.mantissa < 0
    assert {each.variable for each in (*up.factors, *down.factors)} == {"t", "y2", "y3"}
    for error in (-3.0, 5.0):
        values = {"t": 10.0, "y2": max(error, 0) * 4, "y3": max(-error, 0) * 4}
        assert effect(up, values) + effect(down, values) == pytest.approx(-0.5 * error * 10)


@pytest.mark.parametrize("value", [1.0, -3.3, 0.01, 1.5 * 2**-7, 700.0, 1 / 128, 7 * 256.0])
def test_the_nearest_coefficient(value: float) -> None:
    mantissa, exponent = nearest_product(value) or (0, 0)
    # Mantissas from 4 on are a quarter apart at most; smaller ones, which only the least exponent has, twice that.
    assert abs(mantissa * 2.0**exponent - value) <= abs(value) / (8 if abs(value) > 4 * 2**-7 else 3)
    assert abs(mantissa) <= 7
    assert -7 <= exponent <= 8


def test_no_coefficient_is_near_what_is_too_small_or_too_large() -> None:
    assert nearest_product(1e-4) is None
    assert nearest_product(1e5) is None
    assert nearest_product(0.0) is None


def assert_alike(one: Mapping[str, Any], other: Mapping[str, Any]) -> None:
    assert one.keys() == other.keys()
    for name, each in one.items():
        np.testing.assert_array_equal(each, other[name], err_msg=name)


def cosine(one: np.ndarray, other: np.ndarray) -> float:
    return float((one * other).sum() / (np.linalg.norm(one) * np.linalg.norm(other)))


@pytest.mark.parametrize("rate", [1e-9, 1e6])
def test_what_is_out_of_range_says_by_how_much(rate: float) -> None:
    given = rule(rate=6e-4 * rate)
    with pytest.raises(UnsupportedError, match="SC336") as refused:
        learner_of(given)
    found = [re.search(r"(Multiply|Divide) the rate by (\S+) at least", str(each)) for each in
             refused.value.diagnostics]
    factors = [float(each[2]) ** (1 if each[1] == "Multiply" else -1) for each in found if each]
    assert factors
    factor = max(factors) if rate < 1 else min(factors)
    learner_of(rule(rate=6e-4 * rate * factor))


def test_a_rule_of_the_library_in_the_models_form_is_told_of_the_chips() -> None:
    with pytest.raises(UnsupportedError, match=r"rule_named\('biograd', 'loihi2'\)"):
        learner_of(rule_named("biograd", "clock"))
