"""What a legal integer network is, and what is said of others. Each fault is made in a network that has no other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from spikec.ir.diagnostics import BadInputError
from spikec.ir.integer.checks import check_integer, verify_integer
from spikec.ir.integer.network import (
    IntegerConv,
    IntegerDense,
    IntegerNetwork,
    IntegerPopulation,
    IntegerProjection,
    IntegerSparse,
    held_weight,
)
from spikec.ir.integer.state import IntegerState
from spikec.ir.integer.step import simulate_integer
from spikec.runtime.integer.engine import IntegerEngine

CONV = IntegerConv(weight=np.arange(-9, 9).reshape(2, 1, 3, 3), input_shape=(1, 4, 4), output_shape=(2, 2, 2))
LEGAL = IntegerNetwork(
    inputs={"x": (1, 4, 4)},
    populations={"a": IntegerPopulation(name="a", shape=(2, 2, 2), du=4095, dv=10, threshold=100),
                 "b": IntegerPopulation(name="b", shape=(2,), du=0, dv=0, threshold=3, bias=np.array([1, -4096]))},
    projections=(
        IntegerProjection(name="xa", source="x", target="a", connection=CONV, message_bits=4),
        IntegerProjection(name="ab", source="a", target="b", connection=IntegerDense(weight=np.ones((2, 8), dtype=int)),
                          delay=np.full((2, 8), 63), exponent=-8, sign="excitatory", weight_bits=1),
        IntegerProjection(name="bb", source="b", target="b", connection=IntegerSparse(
            indptr=np.arange(3), indices=np.array([1, 0]), weight=np.array([5, -7]))),
    ),
    outputs={"out": "b"}, dt=1e-3,
)


def with_population(which: str, **changes: Any) -> IntegerNetwork:
    return replace(LEGAL, populations={**LEGAL.populations, which: replace(LEGAL.populations[which], **changes)})


def with_projection(which: str, **changes: Any) -> IntegerNetwork:
    return replace(LEGAL, projections=tuple(
        replace(each, **changes) if each.name == which else each for each in LEGAL.projections))


def with_conv(**changes: Any) -> IntegerNetwork:
    return with_projection("xa", connection=replace(CONV, **changes))


FAULTS: dict[str, tuple[IntegerNetwork, str, str | None, str]] = {
    "population under another name": (
        replace(LEGAL, populations={"c": replace(LEGAL.populations["b"], name="c"), **LEGAL.populations,
                                    "a": replace(LEGAL.populations["a"], name="z")}), "SC109", "a", "another name"),
    "input and population": (replace(LEGAL, inputs={**LEGAL.inputs, "a": (2, 2, 2)}), "SC109", "a", "share a name"),
    "projections": (with_projection("bb", name="ab"), "SC109", "ab", "share a name"),
    "shape of an input": (replace(LEGAL, inputs={**LEGAL.inputs, "y": (0,)}), "SC102", "y", "positive"),
    "no output": (replace(LEGAL, outputs={}), "SC105", None, "no output"),
    "output": (replace(LEGAL, outputs={"out": "z"}), "SC101", "out", "does not exist"),
    "dt": (replace(LEGAL, dt=0.0), "SC116", None, "positive"),
    "shape": (with_population("b", shape=(-2,)), "SC102", "b", "positive"),
    "du": (with_population("a", du=4096), "SC140", "a", "du"),
    "dv": (with_population("a", dv=0.5), "SC140", "a", "dv"),
    "threshold": (with_population("a", threshold=1 << 17), "SC140", "a", "0..131071"),
    "bias": (with_population("b", bias=np.array([0, 4096])), "SC140", "b", "4096"),
    "bias of floats": (with_population("b", bias=np.zeros(2)), "SC107", "b", "float64"),
    "first current": (with_population("b", u0=np.array([0, (1 << 23) + 1])), "SC140", "b", "8388608"),
    "first membrane": (with_population("b", v0=np.array([0, -(1 << 23)])), "SC140", "b", "-8388607"),
    "first membrane of floats": (with_population("b", v0=np.zeros(2)), "SC107", "b", "v0"),
    "bias exponent": (with_population("b", bias_exponent=8), "SC140", "b", "0..7"),
    "source": (with_projection("ab", source="z"), "SC101", "ab", "z"),
    "target": (with_projection("ab", target="x"), "SC101", "ab", "x"),
    "exponent": (with_projection("bb", exponent=8), "SC140", "bb", "-8..7"),
    "bits": (with_projection("bb", weight_bits=0), "SC140", "bb", "1..8"),
    "sign": (with_projection("bb", sign="both"), "SC141", "bb", "both"),
    "weight": (with_projection("ab", connection=IntegerDense(weight=np.ones((8, 2), dtype=int))),
               "SC107", "ab", "(2, 8)"),
    "weight of floats": (with_projection("ab", connection=IntegerDense(weight=np.ones((2, 8)))),
                         "SC107", "ab", "float64"),
    "delay": (with_projection("ab", delay=np.full((2, 8), 64)), "SC140", "ab", "64"),
    "delay shape": (with_projection("bb", delay=np.zeros((2, 2), dtype=int)), "SC107", "bb", "(2, 2)"),
    "columns": (with_projection("bb", connection=replace(LEGAL.projections[2].connection, indices=np.array([2, 0]))),
                "SC115", "bb", "out of range"),
    "graded by a population": (with_projection("bb", message_bits=4), "SC142", "bb", "only an input"),
    "graded, delayed, to the right": (
        with_projection("ab", source="x", connection=IntegerDense(weight=np.ones((2, 16), dtype=int)),
                        delay=np.zeros((2, 16), dtype=int), message_bits=4), "SC142", "ab", "shifted right"),
    "convolution to the right": (with_projection("xa", exponent=-1), "SC142", "xa", "does not shift right"),
    "convolution delayed": (with_projection("xa", delay=np.zeros((2, 1, 3, 3), dtype=int)), "SC142", "xa", "no delays"),
    "convolution too wide": (with_projection("xa", message_bits=24, exponent=7), "SC140", "xa", "32 bits"),
    "stencil's shapes": (with_conv(input_shape=(1, 4, 5)), "SC102", "xa", "source and target"),
    "stencil's output": (with_conv(padding=(1, 1)), "SC102", "xa", "padding"),
    "stride": (with_conv(stride=(0, 1)), "SC141", "xa", "positive"),
    "padding": (with_conv(padding=(-1, 0)), "SC141", "xa", "not negative"),
    "kernel": (with_conv(weight=np.ones((2, 2, 3, 3), dtype=int)), "SC107", "xa", "(2, 1, 3, 3)"),
}


@pytest.mark.parametrize("case", FAULTS)
def test_a_fault_is_named(case: str) -> None:
    network, code, node, words = FAULTS[case]
    found = check_integer(network)
    assert [(each.code, each.node) for each in found] == [(code, node)]
    assert words in str(found[0])


def test_a_legal_network_has_no_faults() -> None:
    assert check_integer(LEGAL) == []
    assert verify_integer(LEGAL) is LEGAL
    assert LEGAL.size("x") == 16 and LEGAL.size("a") == 8
    assert [each.name for each in LEGAL.incoming["b"]] == ["ab", "bb"]


def test_all_faults_are_told_at_once() -> None:
    with pytest.raises(BadInputError) as caught:
        verify_integer(replace(with_population("a", du=-1), outputs={}, dt=-1.0))
    assert {each.code for each in caught.value.diagnostics} == {"SC105", "SC116", "SC140"}


@pytest.mark.parametrize(("sign", "bits", "held"), [
    ("mixed", 8, [-256, -256, -4, -2, 0, 0, 4, 254]), ("mixed", 1, [-256, -256, -256, -256, 0, 0, 0, 0]),
    ("excitatory", 8, [0, 0, 0, 0, 0, 1, 5, 255]), ("excitatory", 6, [0, 0, 0, 0, 0, 0, 4, 252]),
    ("inhibitory", 8, [-255, -255, -3, -1, 0, 0, 0, 0]), ("inhibitory", 7, [-254, -254, -2, 0, 0, 0, 0, 0]),
])
def test_weights_as_they_are_held(sign: Any, bits: int, held: list[int]) -> None:
    """By hand, from the rule: two's complement is rounded down, a magnitude towards zero."""
    connection = IntegerDense(weight=np.array([[-300, -256, -3, -1, 0, 1, 5, 300]]))
    projection = IntegerProjection(name="p", source="x", target="a", connection=connection, sign=sign, weight_bits=bits)
    assert held_weight(projection).tolist() == [held]


def run(*columns: Any, **inputs: Any) -> None:
    simulate_integer(LEGAL, {"x": np.zeros((2, 3, 1, 4, 4), dtype=int)} | inputs, *columns)


@pytest.mark.parametrize(("inputs", "words"), [
    ({"x": np.zeros((2, 3, 4))}, "whole numbers"), ({"x": np.zeros((2, 3, 4), dtype=int)}, r"\(2, 3, 4\)"),
    ({"y": np.zeros((2, 3, 4), dtype=int)}, "given for no input"),
    ({"x": np.full((1, 1, 16), 16)}, r"sample 0, column 0, channel 0: 16.*2\^4"),
    ({"x": np.full((1, 1, 16), -16)}, "does not fit its message"), ({"x": 3}, "is .batch, time"),
])
def test_rasters_are_checked(inputs: dict[str, Any], words: str) -> None:
    with pytest.raises(BadInputError, match=f"(?s)SC403.*{words}"):
        run(**inputs)


@pytest.mark.parametrize(("change", "words"), [
    (lambda state: replace(state, u={}), "u of the state is not of these"),
    (lambda state: replace(state, v={**state.v, "z": state.v["a"]}), "z.*not of these"),
    (lambda state: replace(state, v={**state.v, "b": np.full((2, 2), 1 << 23)}), "does not fit its register"),
    (lambda state: replace(state, u={**state.u, "b": np.zeros((2, 2))}), "float64"),
    (lambda state: replace(state, under_way={**state.under_way, "b": np.zeros((2, 63, 2), int)}), r"\(2, 64, 2\)"),
])
def test_states_are_checked(change: Callable[[IntegerState], IntegerState], words: str) -> None:
    rasters = {"x": np.zeros((2, 3, 1, 4, 4), dtype=int)}
    state = simulate_integer(LEGAL, rasters).state
    assert state is not None
    simulate_integer(LEGAL, rasters, state=state)
    for call in (lambda: simulate_integer(LEGAL, rasters, state=change(state)),
                 lambda: IntegerEngine(LEGAL).run(rasters, state=change(state))):
        with pytest.raises(BadInputError, match=f"(?s)SC403.*{words}"):
            call()


def test_columns_are_checked() -> None:
    with pytest.raises(BadInputError, match=r"SC403.*whole number of columns"):
        run(-1)
    alone = replace(LEGAL, inputs={}, projections=LEGAL.projections[1:])
    with pytest.raises(BadInputError, match=r"SC403.*Give steps="):
        simulate_integer(alone, {})
    assert simulate_integer(alone, {}, 7).v["b"].shape == (1, 7, 2)
