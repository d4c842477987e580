"""Learning rules in the chip's numbers, against Lava 0.10 itself, compiled and run by its runtime: weights, tags,
delays, traces and what arrives, number for number after every step. And random numbers and faults of rules."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lava_here import lava_python

from spikec.ir.integer.learning import (
    IntegerFactor,
    IntegerProduct,
    IntegerRule,
    IntegerTrace,
    lava_text,
    rule_faults,
)
from spikec.ir.integer.learning_numbers import LavaNumbers, OwnNumbers, Rounding
from spikec.ir.integer.learning_step import LearningState, first_learning_state, learning_step
from spikec.ir.integer.network import IntegerDense, IntegerProjection, Sign, held_weight
from spikec.runtime.lava.processes import ProcessGroup

SCRIPT = Path(__file__).with_name("lava_learning.py")
STEPS = 30
Case = dict[str, Any]
F, P = IntegerFactor, IntegerProduct
X1, X2 = {"x1": IntegerTrace(16, 10.0)}, {"x1": IntegerTrace(16, 10.0), "x2": IntegerTrace(100, 3.5)}


def random_product(rng: np.random.Generator) -> IntegerProduct:
    def factor() -> IntegerFactor:
        variable = str(rng.choice(["x0", "x1", "x2", "y0", "y1", "y2", "y3", "w", "t", "d"]))
        offset = int(rng.integers(-128, 128)) if rng.random() < 0.3 else 0
        return IntegerFactor(variable, offset, variable in "wtd" and rng.random() < 0.3)

    return IntegerProduct(int(rng.integers(-8, 8)), int(rng.integers(-7, 9)) if rng.random() < 0.5 else
                          int(rng.integers(-7, -2)), rng.choice(["x0", "y0", "u"]),
                          tuple(factor() for _ in range(rng.integers(0, 4))))


def random_products(rng: np.random.Generator, most: int) -> tuple[IntegerProduct, ...]:
    """Legal ones where every trace is kept."""
    kept = dict.fromkeys(("x1", "x2", "y1", "y2", "y3"), IntegerTrace(1, 1.0))
    found: list[IntegerProduct] = []
    while len(found) < most:
        product = random_product(rng)
        if not rule_faults(IntegerRule(dw=(product,), traces=kept), "p"):
            found.append(product)
    return tuple(found)


def random_case(seed: int) -> Case:
    """A rule, a projection and its rasters; seeds that follow each other differ in all that is counted below."""
    rng = np.random.default_rng(seed)
    three_factor, graded = bool(seed % 2), seed % 7 == 3
    traces = {name: IntegerTrace(float(rng.choice([0, 1, 16, 40.3, 7.75, 126.999])),
                                 float(rng.choice([0, 1, 2.5, 10, 100]))) for name in ("x1", "x2", "y1", "y2", "y3")}
    if graded:
        traces["x1"] = IntegerTrace(0, 10.0)
    targets = [rng.random() < 0.7, rng.random() < 0.7, rng.random() < 0.7]
    rule = IntegerRule(
        **{name: random_products(rng, int(rng.integers(1, 4))) if wanted or not any(targets) else ()
           for name, wanted in zip(("dw", "dt", "dd"), targets, strict=True)},
        decimation=seed % 3, three_factor=three_factor, graded=graded, epoch=(1, 1, 2, 5)[seed // 2 % 4],
        seed=int(rng.integers(1, 1000)),
        traces={name: each for name, each in traces.items() if name[0] == "x" or not three_factor})
    n_post, n_pre = int(rng.integers(1, 7)), int(rng.integers(1, 7))
    sign: Sign = ("mixed", "mixed", "excitatory", "inhibitory")[seed % 4]
    low, high = {"mixed": (-256, 256), "excitatory": (0, 256), "inhibitory": (-255, 1)}[sign]
    projection = IntegerProjection(
        name="p", source="x", target="n", connection=IntegerDense(weight=rng.integers(low, high, size=(n_post, n_pre))),
        sign=sign, weight_bits=int(rng.integers(4, 9)), exponent=int(rng.integers(-2, 3)),
        message_bits=8 if graded else 0)
    fires = rng.choice([0.1, 0.4], size=2)
    pre = rng.random((STEPS, n_pre)) < fires[0]
    return {
        "rule": rule, "projection": projection, "tag": rng.integers(-256, 256, size=(n_post, n_pre)),
        "delay": rng.integers(0, 256, size=(n_post, n_pre)), "post": rng.random((STEPS, n_post)) < fires[1],
        "pre": pre * rng.integers(1, 256, size=pre.shape) if graded else pre,
        "y": rng.integers(0, 128, size=(3, STEPS, n_post)) if three_factor else np.zeros((0, STEPS, n_post)),
        "group": seed // 7}


def long_cases() -> list[Case]:
    """What is rare: a tag of -257, traces of a neuron that Lava lets decay, and the ends of the accumulator."""
    steps, rng = 420, np.random.default_rng(9)
    extremes = IntegerRule(dw=(P(1, -7, "u", (F("y1"),)), P(-1, -7, "u", (F("y2"),))), dt=(P(-7, 8, "u"),),
                           dd=(P(7, 8, "u"), P(-1, -7, "x0")), three_factor=True, epoch=1)
    drifting = IntegerRule(dw=(P(1, 0, "x0", (F("y1", -120),)), P(1, -1, "u", (F("y3", -127), F("x1")))), epoch=2,
                           dt=(P(-7, 8, "y0", (F("y2", -126),)),), three_factor=True, seed=58, traces=X1)
    plain = IntegerProjection(name="p", source="x", target="n",
                              connection=IntegerDense(weight=np.zeros((2, 3), dtype=np.int64)))
    pre, post = rng.random((steps, 3)) < 0.2, rng.random((steps, 2)) < 0.2
    return [{"rule": rule, "projection": plain, "pre": pre, "post": post, "y": np.full((3, steps, 2), 127),
             "tag": np.full((2, 3), 100), "delay": np.full((2, 3), 200), "group": "long"}
            for rule in (extremes, drifting)]


def run_lava(cases: list[Case], place: Path) -> list[dict[str, Any]]:
    arrays: dict[str, Any] = {}

    def put(array: Any) -> dict[str, str]:
        arrays[f"array{len(arrays)}"] = np.asarray(array)
        return {"array": f"array{len(arrays) - 1}"}

    told = []
    for case in cases:
        rule, projection = case["rule"], case["projection"]
        told.append({
            **{name: put(case[name]) for name in ("pre", "post", "tag", "delay")}, "group": case["group"],
            "y": [put(each) for each in case["y"]], "weight": put(projection.connection.weight),
            **{name: getattr(projection, name) for name in ("sign", "weight_bits", "exponent", "message_bits")},
            **{name: getattr(rule, name) for name in ("three_factor", "graded", "epoch", "seed")},
            **{name: lava_text(rule.products(name), rule.decimation) for name in ("dw", "dt", "dd")},
            "traces": {name: {"impulse": each.impulse, "tau": each.tau} for name, each in rule.traces.items()}})
    np.savez(place / "cases.npz", cases=np.array(json.dumps(told)), **arrays)
    with ProcessGroup([lava_python(), SCRIPT, place / "cases.npz", place / "results.npz"]) as group:
        assert group.wait(time.monotonic() + 600) == 0, group.tail()
    found: list[dict[str, Any]] = [{} for _ in cases]
    with np.load(place / "results.npz") as archive:
        for name in archive:
            number, _, key = name.partition("/")
            found[int(number)][key] = archive[name]
    return found


def run_here(case: Case) -> dict[str, Any]:
    """What `run_lava` returns of a case."""
    projection = case["projection"]
    state = first_learning_state(held_weight(projection), case["tag"], case["delay"])
    noted, arriving = [], np.zeros(state.weight.shape[0], dtype=np.int64)
    for step in range(len(case["pre"])):
        pre = case["pre"][step].astype(np.int64)
        before, arrives = state.weight, arriving
        state = learning_step(case["rule"], state, pre, case["post"][step], case["y"][:, step], sign=projection.sign)
        sums, shift = before @ pre, projection.exponent
        arriving = sums << shift if shift > 0 else sums >> -shift
        noted.append(facts_of(state) | {"a": arrives})
    return {name: np.stack([each[name] for each in noted]) for name in noted[0]}


def facts_of(state: LearningState) -> dict[str, Any]:
    return {"weight": state.weight, "tag": state.tag, "delay": state.delay, "tx": state.tx, "ty": state.ty,
            **{f"x{number + 1}": state.x[number] for number in range(2)},
            **{f"y{number + 1}": state.y[number] for number in range(3)}}


def assert_as_lava(cases: list[Case], place: Path) -> list[dict[str, Any]]:
    """Returns what both found."""
    found = [run_here(case) for case in cases]
    for number, (here, lava) in enumerate(zip(found, run_lava(cases, place), strict=True)):
        assert here.keys() == lava.keys()
        differences = [f"{name}: first after step {int(np.argwhere(here[name] != lava[name])[0][0])}"
                       for name in here if not np.array_equal(here[name], lava[name])]
        assert differences == [], f"case {number}"
    return found


def test_rules_as_lava_computes_them(tmp_path: Path) -> None:
    cases = [random_case(seed) for seed in range(18)]
    found = assert_as_lava(cases, tmp_path)
    for name in ("weight", "tag", "delay"):
        assert sum((np.diff(each[name], axis=0) != 0).sum() for each in found) > 500
    rules = [case["rule"] for case in cases]
    factors = {factor.variable for rule in rules for target in ("dw", "dt", "dd") for product in rule.products(target)
               for factor in product.factors}
    assert factors == {"x0", "x1", "x2", "y0", "y1", "y2", "y3", "w", "t", "d"}
    assert {(rule.three_factor, rule.epoch) for rule in rules} >= {(three, epoch) for three in (False, True)
                                                                   for epoch in (1, 2, 5)}
    # Several spikes of one neuron in an epoch raise its trace before it ends.
    assert any((each["tx"] > 1).any() and np.diff(each["x1"], axis=0).any() for each in found)


def test_what_is_rare_as_lava_computes_it(tmp_path: Path) -> None:
    extremes, drifting = assert_as_lava(long_cases(), tmp_path)
    assert extremes["tag"].min() == -257
    assert len(np.unique(drifting["tag"])) > 1  # y2 - 126 is 0 where it has decayed, and 1 elsewhere


def test_random_numbers_are_drawn_as_one_by_one() -> None:
    """Lava draws each with a call of its own."""
    one = np.random.default_rng(7 + 3)
    drawn = [int(one.integers(0, 128, size=1, dtype=int)[0]) for _ in range(3000)]
    numbers = LavaNumbers(7)
    assert [int(numbers.impulse("post", step, step, ())) for step in range(1, 1500)] == drawn[2:3000:2]
    assert [int(numbers.again("post", step, ())) for step in range(1, 1500)] == drawn[1:2998:2]
    one = np.random.default_rng(7)
    decays = [float(one.random(1)[0]) for _ in range(3000)]
    assert [float(numbers.decay("pre", step, step, ())) for step in range(1, 1500)] == decays[2:3000:2]


def by_hand(value: int) -> int:
    value ^= value >> 16
    value = value * 0x7FEB352D % 2**32
    value ^= value >> 15
    value = value * 0x846CA68B % 2**32
    return value ^ value >> 16


def test_numbers_of_ones_own_are_the_stated_hash() -> None:
    seed, projection, step, n_pre = 2**31 - 1, 2**32 - 1, 12345, 7
    numbers = OwnNumbers(seed, projection)

    def stated(kind: int, index: int) -> int:
        key = 0
        for part in (seed, projection, kind, step):
            key = by_hand((key + part) % 2**32)
        return by_hand((key + index) % 2**32)

    post, pre = 3, 5
    found = stated(0, post * n_pre + pre)
    for target, number in (("dw", found >> 25), ("dt", found >> 18 & 127), ("dd", found >> 11 & 127)):
        assert numbers.synapse(target, step, 1, (4, n_pre))[post, pre] == number
    for side, kind in (("pre", 1), ("post", 2)):
        found = stated(kind, 1 * n_pre + 4)
        assert numbers.decay(side, step, 99, (2, n_pre))[1, 4] == (found >> 8) / 2**24
        assert numbers.impulse(side, step, 99, (2, n_pre))[1, 4] == found & 255


def test_numbers_of_ones_own_round_to_the_mean() -> None:
    """A product of 13/128 a step: in 200 steps 20.3, whatever the synapse; with Lava's numbers, all synapses alike."""
    rule = IntegerRule(dw=(P(1, -7, "u", (F("y1"),)),), dt=(P(1, -7, "u", (F("y1"),)),), three_factor=True)

    def after(rounding: Rounding, projection: int = 0) -> LearningState:
        state = first_learning_state(np.zeros((20, 30)))
        for _ in range(200):
            state = learning_step(rule, state, np.zeros(30), np.zeros(20), np.full((3, 20), 13), rounding,
                                  projection=projection)
        return state

    state = after("synapse")
    own, tag = state.weight, state.tag
    wanted, spread = 200 * 13 / 128, np.sqrt(200 * 13 / 128 * (1 - 13 / 128))
    assert abs(own.mean() - wanted) < 4 * spread / np.sqrt(own.size)
    assert 0.85 < own.std() / spread < 1.15
    for other in (tag, after("synapse", projection=1).weight, np.roll(own, 1, axis=1), np.roll(own, 1, axis=0)):
        assert abs(np.corrcoef(own.ravel(), other.ravel())[0, 1]) < 0.16  # four of its deviations
    assert len(np.unique(after("lava").weight)) == 1


def test_traces_of_ones_own_numbers_decay_to_the_mean() -> None:
    rule = IntegerRule(dw=(P(1, 0, "x0", (F("x1"),)),), traces={"x1": IntegerTrace(40.3, 20.0)}, epoch=2)
    state = first_learning_state(np.zeros((1, 4000)))
    spikes = np.array([[1, 1, 0, 0, 0, 0], [1, 0, 0, 1, 0, 1]])[np.arange(4000) % 2].T
    for each in spikes:
        state = learning_step(rule, state, each, np.zeros(1), rounding="synapse")
    kept = np.exp(-1 / 20)
    # The first of two spikes in an epoch counts from before it.
    wanted = 40.3 * np.array([kept**6 + kept**4, kept**5 + kept**2 + 1])
    found = state.x[0].reshape(-1, 2).mean(axis=0)
    assert np.abs(found - wanted).max() < 0.1  # of 2000 numbers, each rounded six times: 4 of its deviations


@pytest.mark.parametrize(("products", "decimation", "text"), [
    ((P(1, -4, "y0", (F("t"), F("y3"))), P(-1, -4, "y0", (F("t"), F("y2")))), 0, "2^-4*y0*t*y3-2^-4*y0*t*y2"),
    ((P(-3, 0, "u", (F("x1", -3), F("w", sign=True))),), 5, "-3*u5*(x1-3)*sgn(w)"),
    ((P(1, 0, "x0"), P(-8, 8, "x0", (F("w", 4, True),))), 0, "x0-8*2^8*x0*sgn(w+4)"),
    ((), 0, ""),
])
def test_lavas_text(products: tuple[IntegerProduct, ...], decimation: int, text: str) -> None:
    assert lava_text(products, decimation) == text


@pytest.mark.parametrize(("rule", "code", "value"), [
    (IntegerRule(dw=(P(1, 0, "x0", (F("x1"),)), P(1, -9, "u", (F("x1"), F("x2")))), traces=X2), "SC146",
     "dw term 2: 2^-9*u0*x1*x2: -9"),
    (IntegerRule(dt=(P(9, 0, "x0"),)), "SC146", "dt term 1: 9*x0: 9"),
    (IntegerRule(dt=(P(-8, 0, "x0"),)), "SC146", "dt term 1: -8*x0"),
    (IntegerRule(dd=(P(1, 0, "x0", (F("d", 200),)),)), "SC146", "dd term 1: x0*(d+200): 200"),
    (IntegerRule(dw=(P(1, 0, "u"),), decimation=10), "SC146", "10"),
    (IntegerRule(dw=(P(1, 0, "u"),), epoch=64), "SC146", "64"),
    (IntegerRule(dw=(P(1, 0, "u"),), seed=-1), "SC146", "-1"),
    (IntegerRule(dw=(P(1, 0, "u"),), traces={"x1": IntegerTrace(128, 1.0)}), "SC146", "x1: 128"),
    (IntegerRule(dw=(P(1, 0, "u"),), traces={"x1": IntegerTrace(1, float("nan"))}), "SC146", "x1: nan"),
    (IntegerRule(), "SC145", "no dw, dt or dd"),
    (IntegerRule(dw=(P(1, 0, "r"),)), "SC145", "dw term 1: r"),  # type: ignore[arg-type]
    (IntegerRule(dw=(P(1, 0, "u", (F("e"),)),)), "SC145", "dw term 1: u0*e"),
    (IntegerRule(dw=(P(1, 0, "u", (F("x1", sign=True),)),), traces=X1), "SC145", "dw term 1: u0*sgn(x1)"),
    (IntegerRule(dw=(P(1, 0, "u", (F("x1"),)),), traces=X1, graded=True), "SC145", "x1: 16"),
    (IntegerRule(dw=(P(1, 0, "u"),), traces={"y1": IntegerTrace(1, 1.0)}, three_factor=True), "SC145", "y1"),
    (IntegerRule(dw=(P(1, 0, "u", (F("y1"),)),), traces=X1), "SC147", "dw term 1: u0*y1"),
    (IntegerRule(dw=(P(1, 0, "u", (F("x1"), F("w", sign=True), F("t", sign=True))),), traces=X1), "SC148",
     "dw term 1: u0*x1*sgn(w)*sgn(t), at most 127"),
    (IntegerRule(dw=(P(0, 0, "u"),)), "SC148", "dw term 1: 0*u0, at most 0"),
    (IntegerRule(dw=(P(7, 0, "u", (F("w"),) * 4),)), "SC149", "dw term 1: 7*u0*w*w*w*w"),
])
def test_faults_of_rules(rule: IntegerRule, code: str, value: str) -> None:
    (fault,) = rule_faults(rule, "fc1")
    assert (fault.code, fault.node, fault.value) == (code, "fc1", value)


def test_all_faults_of_a_rule_at_once() -> None:
    rule = IntegerRule(dw=(P(1, 9, "u", (F("q"),)), P(8, 0, "x0")), epoch=0, three_factor=True,
                       dt=(P(1, 0, "u", (F("y3"), F("x2"))),))
    assert [fault.code for fault in rule_faults(rule, "p")] == ["SC146", "SC146", "SC145", "SC146", "SC147"]
    assert rule_faults(replace(rule, dw=(), epoch=1, traces=X2), "p") == []
