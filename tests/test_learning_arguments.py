"""What learners of all targets are given beside the network: the same is taken, and the same refused."""

from __future__ import annotations

import warnings
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest

import spikec
from spikec import Builder, Discretization, Graph
from spikec.ir.diagnostics import BadInputError
from spikec.ir.nodes import LIF
from spikec.ir.rules.catalogue import rule_named
from spikec.runtime import jit

DT, STEPS, CHANNELS, CLASSES = 1e-3, 20, 8, 3
TARGETS = ("clock", "event", "loihi1", "loihi2")

pytestmark = pytest.mark.skipif(jit.compiler() is None, reason="needs a C compiler")


def network(hidden: int = 6) -> Graph:
    random, builder = np.random.default_rng(0), Builder()
    signal, n = builder.input("x", CHANNELS), CHANNELS
    for name, size in (("hidden", hidden), ("out", CLASSES)):
        signal = builder.linear(f"to_{name}", signal, weight=random.uniform(-1, 1, (size, n)))
        ones, n = np.ones(size), size
        signal = builder.add(name, LIF(shape=(size,), tau=4e-3 * ones, r=4e-3 * ones, v_leak=0 * ones,
                                       v_threshold=ones, reset="zero"), signal)
    builder.output("labels", signal)
    return builder.build(Discretization(DT))


def learner_of(target: str, **settings: Any) -> Any:
    rule = rule_named("biograd", target, duration=STEPS * DT)
    return spikec.compile(network(), target=target).learner(rule, **settings)


def samples(count: int, seed: int = 1) -> tuple[spikec.Events, np.ndarray]:
    random = np.random.default_rng(seed)
    shown = [(np.arange(1, STEPS + 1) * DT, random.integers(0, CHANNELS, STEPS)) for _ in range(count)]
    return spikec.Events.from_samples(shown), random.integers(0, CLASSES, count)


def weights(learner: Any) -> list[np.ndarray]:
    return [np.asarray(learner.to_graph().nodes[f"to_{name}"].weight) for name in ("hidden", "out")]


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("seed", [-1, "a", 1.5, True, 1 << 63])
def test_seeds_that_are_none_are_told(target: str, seed: Any) -> None:
    with pytest.raises(BadInputError) as caught:
        learner_of(target, seed=seed)
    assert [each.code for each in caught.value.diagnostics] == ["SC403"]


@pytest.mark.parametrize("target", TARGETS)
def test_rates_that_are_none_are_told_and_change_nothing(target: str) -> None:
    learner = learner_of(target)
    learner.rate = 0.5
    for rate in (float("nan"), float("inf"), -1.0, "1", None):
        with pytest.raises(BadInputError, match=r"SC403.*rate"):
            learner.rate = rate
        assert learner.rate == 0.5
    with pytest.raises(BadInputError) as caught:
        learner.check_rates([1.0, -1.0, float("nan")])
    assert len(caught.value.diagnostics) == 2
    learner.check_rates([0.0, 1.0])
    learner.learn(*samples(3))


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("batch", [1, 5])
def test_at_a_rate_of_zero_no_weight_changes(target: str, batch: int) -> None:
    learner, again = learner_of(target), learner_of(target)
    given = samples(batch)
    learner.learn(*samples(4, seed=2))
    before = weights(learner)
    learner.figures()
    learner.rate = 0
    learner.learn(*given)
    assert all(np.array_equal(one, other) for one, other in zip(weights(learner), before, strict=True))
    updated = learner.figures().updated
    assert [updated[f"to_{name}"] for name in ("hidden", "out")] == [0, 0]
    learner.rate = 1
    learner.learn(*samples(20, seed=2))
    assert not all(np.array_equal(one, other) for one, other in zip(weights(learner), before, strict=True))
    assert not np.array_equal(weights(again)[1], weights(learner)[1])


@pytest.mark.parametrize("target", TARGETS)
def test_a_state_has_the_rate(target: str) -> None:
    one, other = learner_of(target), learner_of(target)
    one.rate = 0.5
    one.learn(*samples(6))
    state = one.state()
    other.load(state)
    assert other.rate == 0.5
    for each in (one, other):
        each.learn(*samples(9, seed=3))
    for name, each in one.state().items():
        np.testing.assert_array_equal(each, other.state()[name], err_msg=name)
    del state["rate"]
    with pytest.raises(BadInputError, match="SC513 at 'rate'"):
        other.load(state)


@pytest.mark.parametrize("target", TARGETS)
def test_a_state_of_a_rate_that_is_none_changes_nothing(target: str) -> None:
    learner = learner_of(target)
    before = learner.state()
    learner.learn(*samples(6))
    learnt = learner.state()
    with pytest.raises(BadInputError, match=r"SC403.*rate"):
        learner.load({**before, "rate": np.array(np.nan)})
    for name, each in learner.state().items():
        np.testing.assert_array_equal(each, learnt[name], err_msg=name)


@pytest.mark.parametrize("target", TARGETS)
def test_there_is_nothing_to_learn_from_no_samples(target: str) -> None:
    learner = learner_of(target)
    given: list[Any] = [spikec.Events.from_samples([])]
    if target != "event":
        given.append(np.zeros((0, STEPS, CHANNELS), dtype=np.uint8))
    for events in given:
        for told in (learner.answer, partial(learner.learn, labels=np.zeros(0, dtype=np.int64))):
            with pytest.raises(BadInputError) as caught:
                told(events)
            assert [each.code for each in caught.value.diagnostics] == ["SC505"]


@pytest.mark.parametrize("target", TARGETS)
def test_what_comes_after_the_last_phase_is_told_once(target: str) -> None:
    learner = learner_of(target)
    short, labels = samples(2)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*is over before.*")
        learner.learn(short, labels)
    late = spikec.Events.from_samples([(np.array([0.01, 0.03]), np.array([0, 1]))] * 2)
    with pytest.warns(spikec.SpikecWarning, match=r"SC405.*is over before.*value: 2 events.*0\.02 s"):
        learner.learn(late, labels)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*is over before.*")
        learner.learn(late, labels)
    if target != "event":
        raster = np.zeros((2, STEPS + 3, CHANNELS), np.uint8)
        learner_of(target).learn(raster, labels)  # nothing is lost
        raster[:, -1, :4] = 1
        with pytest.warns(spikec.SpikecWarning, match="is over before.*value: 8 events"):
            learner_of(target).learn(raster, labels)


@pytest.mark.parametrize("target", TARGETS)
def test_a_rule_is_verified_before_it_learns(target: str) -> None:
    rule = rule_named("biograd", target, duration=STEPS * DT)
    with pytest.raises(BadInputError, match="SC151"):
        spikec.compile(network(), target=target).learner(replace(rule, phases=()))


@pytest.mark.parametrize("target", ["clock", "loihi1", "loihi2"])
def test_weights_are_those_of_the_graph(target: str) -> None:
    learner = learner_of(target)
    learner.learn(*samples(3))
    for name, each in learner.weights.items():
        np.testing.assert_allclose(np.asarray(each), learner.to_graph().nodes[name].weight, rtol=1e-6)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("given", [3, None])
def test_what_is_no_rule_is_told(target: str, given: Any) -> None:
    with pytest.raises(BadInputError, match="SC111"):
        spikec.compile(network(), target=target).learner(given)
