"""Learning rules in the chip's numbers, against Lava 0.10 itself, compiled and run by its runtime: weights, tags, delays,
traces and what arrives, number for number after every step. And what the rules are told apart by without Lava."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lava_here import lava_python

from spikec.ir.integer import IntegerDense, IntegerProjection, Sign, held_weight
from spikec.ir.integer_learning import (
    IntegerFactor,
    IntegerProduct,
    IntegerRule,
    IntegerTrace,
    lava_text,
    rule_faults,
)
from spikec.ir.integer_learning_step import LearningState, first_learning_state, learning_step
from spikec.runtime.lava.processes import ProcessGroup

SCRIPT = Path(__file__).with_name("lava_learning.py")
STEPS = 30
Case = dict[str, Any]


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
    for step in range(STEPS):
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


def test_rules_as_lava_computes_them(tmp_path: Path) -> None:
    cases = [random_case(seed) for seed in range(28)]
    changed = {"weight": 0, "tag": 0, "delay": 0}
    for number, (case, lava) in enumerate(zip(cases, run_lava(cases, tmp_path), strict=True)):
        here = run_here(case)
        assert here.keys() == lava.keys()
        differences = [f"{name}: first after step {int(np.argwhere(here[name] != lava[name])[0][0])}"
                       for name in here if not np.array_equal(here[name], lava[name])]
        assert differences == [], f"case {number}"
        for name in changed:
            changed[name] += int((np.diff(here[name], axis=0) != 0).sum())
    assert min(changed.values()) > 1000
