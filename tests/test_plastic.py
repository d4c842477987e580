"""Plastic networks: what a column means, worked by hand; the emulator against that meaning, bit for bit; what is legal.

Random networks have rules of two and of three factors with products of all kinds, epochs, decimation, feedback and
sleep; all numbers of their state are compared, in both ways of rounding.
"""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plastic_nets import Case, biograd_network, mirror_rule, product, random_case, samples

from spikec.ir.diagnostics import BadInputError
from spikec.ir.integer.learning import IntegerFactor, IntegerProduct, IntegerRule, IntegerTrace
from spikec.ir.integer.learning_numbers import LavaNumbers
from spikec.ir.integer.network import IntegerDense, IntegerNetwork, IntegerPopulation, IntegerProjection, IntegerSparse
from spikec.ir.integer.plastic import ASLEEP, CLEAR, MARK, MIRROR, TEACH, UPDATE, LearningNeuron, PlasticNetwork
from spikec.ir.integer.plastic_checks import check_plastic
from spikec.ir.integer.plastic_signals import Signals
from spikec.ir.integer.plastic_state import PlasticState, first_plastic_state
from spikec.ir.integer.plastic_step import PlasticResult, simulate_plastic
from spikec.ir.integer.step import simulate_integer
from spikec.runtime.plastic.course import Course, course_of
from spikec.runtime.plastic.engine import PlasticEngine
from spikec.runtime.plastic.lists import SpikeList
from spikec.runtime.plastic.numbers import below_128, uniform

ROUNDINGS = ("lava", "synapse")
ARRAYS = ("weight", "tag", "delay", "x", "y", "tx", "ty")


def agree(found: PlasticState, wanted: PlasticState) -> None:
    """All numbers of two states, and their types of number."""
    assert found.step == wanted.step
    for field in fields(wanted.network):
        for name, values in getattr(wanted.network, field.name).items():
            np.testing.assert_array_equal(getattr(found.network, field.name)[name], values, f"{field.name} of {name}")
    for key in ("arriving", "error", "balance", "count", "trace"):
        for name, values in getattr(wanted, key).items():
            np.testing.assert_array_equal(getattr(found, key)[name], values, f"{key} of {name}")
    for name, state in wanted.learning.items():
        for key in ARRAYS:
            np.testing.assert_array_equal(getattr(found.learning[name], key), getattr(state, key), f"{key} of {name}")


def part(case: Case, start: int, stop: int) -> tuple[dict[str, Any], Signals]:
    _, inputs, signals = case
    return ({name: each[start:stop] for name, each in inputs.items()},
            Signals(control=None if signals.control is None else signals.control[start:stop],
                    reward=None if signals.reward is None else signals.reward[start:stop],
                    teacher={name: each[start:stop] for name, each in signals.teacher.items()},
                    noise={name: each[start:stop] for name, each in signals.noise.items()}))


def changed(plastic: PlasticNetwork, result: PlasticResult) -> dict[str, int]:
    start = first_plastic_state(plastic).learning
    return {name: int((state.weight != start[name].weight).sum() + (state.tag != start[name].tag).sum())
            for name, state in result.state.learning.items()}


@pytest.mark.parametrize(("seed", "rounding"), [(0, "synapse"), (1, "lava"), (3, "synapse"), (4, "lava")])
def test_random_networks(seed: int, rounding: Any) -> None:
    """Whole, and cut in parts of which each goes on where the last one ended."""
    case = plastic, inputs, signals = random_case(seed)
    engine = PlasticEngine(plastic, rounding)
    wanted = simulate_plastic(plastic, inputs, signals, rounding=rounding)
    found = engine.run(inputs, signals)
    assert found.state is not None
    agree(found.state, wanted.state)
    for name, spikes in wanted.spikes.items():
        np.testing.assert_array_equal(found.spikes[name], spikes)
    assert sum(each > 0 for each in changed(plastic, wanted).values()) >= 3, "a case in which too little learns"
    stream, state = engine.begin(), first_plastic_state(plastic)
    for start, stop in ((0, 7), (7, 8), (8, 8), (8, 31), (31, 40)):
        some, said = part(case, start, stop)
        step = simulate_plastic(plastic, some, said, state, rounding=rounding)
        again = engine.run(some, said, state).state
        assert again is not None
        agree(again, step.state)
        stream.run(course_of(plastic, some, said))
        state = step.state
        agree(stream.state(), state)
    agree(state, wanted.state)


NETWORK = biograd_network((9, 6, 5, 3), seed=3, threshold=60)


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 2**31 - 1), st.integers(1, 2), st.floats(0.05, 0.9), st.sampled_from(ROUNDINGS))
def test_biograd_over_samples_and_sleep(seed: int, count: int, density: float, rounding: Any) -> None:
    inputs, signals = samples(NETWORK, count, 6, seed, density)
    start = first_plastic_state(NETWORK)
    rng = np.random.default_rng(seed)
    start = replace(start, learning={name: replace(
        state, weight=rng.integers(-256, 256, state.weight.shape), tag=rng.integers(-257, 256, state.tag.shape))
        for name, state in start.learning.items()})
    wanted = simulate_plastic(NETWORK, inputs, signals, start, rounding=rounding)
    found = PlasticEngine(NETWORK, rounding).run(inputs, signals, start)
    agree(found.state, wanted.state)


@pytest.mark.parametrize("rounding", ROUNDINGS)
def test_a_tag_of_minus_257_may_be_rounded_up_by_itself(rounding: Any) -> None:
    """Where no product is other than zero, all else stays: but what is passed over must not keep such a tag."""
    start = first_plastic_state(NETWORK)
    low = {name: replace(state, tag=np.full_like(state.tag, -257)) for name, state in start.learning.items()}
    start = replace(start, learning=low)
    silent = {"x": np.zeros((3, 9), dtype=int)}
    wanted = simulate_plastic(NETWORK, silent, state=start, rounding=rounding)
    agree(PlasticEngine(NETWORK, rounding).run(silent, state=start).state, wanted.state)
    assert (wanted.state.learning["x-h1"].tag > -257).any()


def test_without_learning_it_is_the_integer_network() -> None:
    plastic, inputs, signals = random_case(1)
    wanted = simulate_integer(plastic.network, {name: each[None] for name, each in inputs.items()})
    engine = PlasticEngine(plastic)
    found = engine.run(inputs, learning=False)
    for name, spikes in wanted.spikes.items():
        np.testing.assert_array_equal(found.spikes[name], spikes[0])
    state = simulate_plastic(plastic, inputs, signals, rounding="synapse").state
    silent = simulate_plastic(plastic, inputs, signals, state, rounding="synapse", learning=False)
    agree(engine.run(inputs, signals, state, learning=False).state, silent.state)
    for key in ARRAYS:
        np.testing.assert_array_equal(getattr(silent.state.learning["xa"], key), getattr(state.learning["xa"], key))


def test_weights_are_set_and_told() -> None:
    stream = PlasticEngine(NETWORK).begin()
    for name, shape in (("x-h1", (6, 9)), ("out~h2", (5, 3))):
        weight = np.random.default_rng(0).integers(-256, 256, shape)
        stream.set_weights(name, weight)
        np.testing.assert_array_equal(stream.weights(name), weight)
    for name, wrong in (("z", weight), ("out~h2", weight.T), ("out~h2", weight + 256)):
        with pytest.raises(BadInputError, match="SC403"):
            stream.set_weights(name, wrong)


def test_windows_count_the_output_and_tell_its_membranes() -> None:
    inputs, signals = samples(NETWORK, 4, 8, density=0.7)
    wanted = simulate_plastic(NETWORK, inputs, signals, rounding="synapse", record=True)
    windows = [(0, 3), (3, 9), (12, 30)]
    found = PlasticEngine(NETWORK).run(inputs, signals, windows=windows)
    assert wanted.records is not None
    for place, (start, stop) in enumerate(windows):
        np.testing.assert_array_equal(found.counts[place], wanted.spikes["out"][start:stop].sum(axis=0))
        np.testing.assert_array_equal(found.membranes[place], wanted.records.v["out"][stop - 1])
    assert found.counts.sum() > 0


def test_what_stands_at_its_bounds_is_counted() -> None:
    """Against the oracle, column by column: weights that changed, and the traces that a spike raises beyond 127."""
    plastic = replace(NETWORK, rules={name: rule if rule.graded else replace(
        rule, dw=(product(7, 3, "u", "x1", "y1"),), traces={"x1": IntegerTrace(100, 20)})
        for name, rule in NETWORK.rules.items()})
    inputs, signals = samples(plastic, 1, 12, density=0.9)
    wanted = simulate_plastic(plastic, inputs, signals, rounding="synapse", record=True)
    stream = PlasticEngine(plastic).begin()
    stream.run(course_of(plastic, inputs, signals))
    figures = stream.figures()
    assert wanted.records is not None
    weights = np.concatenate([first_plastic_state(plastic).learning["x-h1"].weight[None],
                              wanted.records.weight["x-h1"]])
    assert figures["x-h1"]["weights_changed"] == (np.diff(weights, axis=0) != 0).sum() > 0
    assert figures["x-h1"]["weights_at_bounds"] == np.isin(weights[-1], (-256, 255)).sum() > 0
    assert figures["x-h1"]["weights_clipped"] >= figures["x-h1"]["weights_at_bounds"]
    assert figures["x-h1"]["raised"] == (inputs["x"] != 0).sum()
    assert 0 < figures["x-h1"]["raised_clipped"] < figures["x-h1"]["raised"]
    assert figures["h1"]["spikes"] == np.abs(wanted.spikes["h1"]).sum()
    assert stream.figures()["x-h1"]["raised"] == 0


def by_hand(control: list[int], teacher: list[int], spikes: list[int], **neuron: Any) -> PlasticResult:
    """One input, one hidden neuron and one output, weights of 64 and a threshold of 100 without decay of u."""
    plastic = biograd_network((1, 1, 1))
    network = plastic.network
    weight = IntegerDense(weight=np.array([[64]]))
    network = replace(network, projections=tuple(replace(each, connection=weight) for each in network.projections),
                      populations={name: replace(each, dv=0) for name, each in network.populations.items()})
    whole = IntegerRule(dw=(product(1, 4, "y0", "t", "y2"), product(-1, 4, "y0", "t", "y3")),
                        dt=(product(1, 3, "u", "x1", "y1"), product(-1, 0, "y0", "t")), three_factor=True,
                        traces={"x1": IntegerTrace(1, 0)})
    neurons = {name: replace(each, gate_width=37, gate_value=8, shift=0, **neuron)
               for name, each in plastic.neurons.items()}
    plastic = replace(plastic, network=network, neurons=neurons,
                      feedback=tuple(replace(each, connection=weight) for each in plastic.feedback),
                      rules={"x-h1": whole, "h1-out": whole, "out~h1": mirror_rule()})
    return simulate_plastic(plastic, {"x": np.array(spikes)[:, None]}, Signals(
        control=np.array(control), teacher={"out": np.array(teacher)[:, None]}), record=True)


def test_a_sample_by_hand() -> None:
    """Spikes of the input in columns 0 and 1 bring 64 each to a threshold of 100: v is 64 and 128 in columns 1 and 2,
    both within 37 of the threshold, with a reset after the latter. The tag takes 2^3 * (1 * 1 * 8 >> 3) = 8 in each of
    the columns 1 and 0 + 1 where x1 and the gate are both there: in column 1 alone, x1 being of its own column."""
    result = by_hand([TEACH] * 4 + [UPDATE], [0, 0, 0, 1, 0], [1, 1, 0, 0, 0])
    records = result.records
    assert records is not None
    assert records.v["h1"][:, 0].tolist() == [0, 64 << 6, 0, 0, 0]
    assert result.spikes["h1"][:, 0].tolist() == [0, 0, 1, 0, 0]
    assert records.tag["x-h1"][:, 0, 0].tolist() == [0, 8, 8, 8, 0]
    # The teacher's spike in column 3, without one of the output, is an error spike of -1: E of the output at once, and
    # -64 at the dendrite a column later, in the update: dw = 2^4 * (-(t * y3) >> 5) = 16 * (-8 * 64 >> 5).
    assert records.error["out"][:, 0].tolist() == [0, 0, 0, -1, 0]
    assert result.state.learning["x-h1"].weight[0, 0] == 64 - 16 * (8 * 64 >> 5) == -192
    assert result.state.learning["x-h1"].tag[0, 0] == 0
    assert result.state.error["h1"][0] == 0


def test_columns_that_do_not_teach_have_no_errors() -> None:
    result = by_hand([0] * 4 + [UPDATE], [0, 0, 0, 1, 0], [1, 1, 0, 0, 0])
    assert result.records is not None
    assert not result.records.error["out"].any()
    assert result.state.learning["x-h1"].weight[0, 0] == 64


def test_errors_wait_for_their_threshold() -> None:
    result = by_hand([TEACH] * 5, [1] * 5, [0] * 5, error_threshold=2)
    assert result.records is not None
    assert result.records.error["out"][:, 0].tolist() == [0, -1, -1, -2, -2]


def test_sleep_by_hand() -> None:
    """Noise of 1 in two columns: 64 each at the output, which spikes once: N is 2 and 1. The mirror sends 2 N = 2, of
    which x1 is 1: dw = x1 y2 2^-3 2^-4, and - x1 w 2^-5 2^-7: what is left depends on rounding, but not on the sign."""
    plastic = biograd_network((1, 1, 1), threshold=100)
    network = replace(plastic.network, projections=tuple(replace(
        each, connection=IntegerDense(weight=np.array([[64]]))) for each in plastic.network.projections),
        populations={name: replace(each, dv=0) for name, each in plastic.network.populations.items()})
    hebb = IntegerRule(dw=(product(1, 3, "x0", "x1", "y2"),), three_factor=True, graded=True,
                       traces={"x1": IntegerTrace(0, 1e15)})
    plastic = replace(plastic, network=network, rules={**plastic.rules, "out~h1": hebb}, neurons={
        name: replace(each, count_step=count) for (name, each), count in zip(
            plastic.neurons.items(), (64, 8), strict=True)})
    control = [ASLEEP, ASLEEP, ASLEEP, ASLEEP | MIRROR, CLEAR]
    noise = {"h1": np.array([[1], [1], [0], [-1], [0]])}
    result = simulate_plastic(plastic, {"x": np.zeros((5, 1), dtype=int)}, Signals(
        control=np.array(control), noise=noise), rounding="synapse")
    assert result.spikes["h1"][:, 0].tolist() == [1, 1, 0, -1, 0]
    assert result.spikes["out"][:, 0].tolist() == [0, 0, 1, 0, 0]
    before = plastic.feedback[0].connection.weight[0, 0]
    # N of the hidden neuron: 64 + 64 is clipped to 127, and less 64 is 63; that of the output 8: 8 * 63 >> 3 = 63.
    assert result.state.learning["out~h1"].weight[0, 0] == min(before + 8 * 63, 255)
    agree(PlasticEngine(plastic).run({"x": np.zeros((5, 1), dtype=int)}, Signals(
        control=np.array(control), noise=noise)).state, result.state)


def rewarded_network() -> PlasticNetwork:
    """One input and one neuron that takes a reward, whose weight of 64 learns by its tag."""
    network = IntegerNetwork(
        inputs={"x": (1,)}, outputs={"out": "n"}, dt=1e-3, projections=(IntegerProjection(
            name="p", source="x", target="n", connection=IntegerDense(weight=np.array([[64]]))),),
        populations={"n": IntegerPopulation(name="n", shape=(1,), du=4095, dv=0, threshold=100)})
    rule = IntegerRule(
        dw=(IntegerProduct(1, 0, "u", (IntegerFactor("t"), IntegerFactor("y2", -MARK), IntegerFactor("y3"))),),
        dt=(product(1, 0, "y0", "x1"), product(-1, -2, "x0", "y1"), product(-1, -1, "u", "t", "y3")),
        traces={"x1": IntegerTrace(16, 1e15)}, three_factor=True)
    return PlasticNetwork(network=network, rules={"p": rule}, neurons={"n": LearningNeuron(
        error="reward", gate_width=1, says_spikes=True, trace_impulse=80, trace_decay=2049)})


def test_a_reward_by_hand() -> None:
    """Two spikes make the neuron fire in column 2, where x1 is 32: the tag takes that. Its trace is 64 then, and
    32 in column 3, in which the input spikes: 2^-2 of it comes off. What is told in columns 4 and 5 is summed, and the
    update takes 24 (5 - 25) 64 >> 12 = -8, of a tag of 24, which then is zero. In column 6 nothing learns."""
    plastic, spikes = rewarded_network(), np.array([1, 1, 0, 1, 0, 0, 0, 0])[:, None]
    plastic = replace(plastic, neurons={"n": replace(plastic.neurons["n"], trace_impulse=64, trace_decay=2048)})
    signals = Signals(control=np.array([0, 0, 0, 0, 0, UPDATE, 0, 0]), reward=np.array([0, 0, 0, 0, 5, -25, 7, 0]))
    result = simulate_plastic(plastic, {"x": spikes}, signals, rounding="synapse", record=True)
    records = result.records
    assert records is not None
    assert result.spikes["n"][:, 0].tolist() == [0, 0, 1, 0, 0, 0, 0, 0]
    assert records.tag["p"][:, 0, 0].tolist() == [0, 0, 32, 24, 24, 0, 0, 0]
    assert records.error["n"][:, 0].tolist() == [0, 0, 0, 0, 5, 0, 7, 7]
    assert records.weight["p"][:, 0, 0].tolist() == [64, 64, 64, 64, 64, 56, 56, 56]
    agree(PlasticEngine(plastic).run({"x": spikes}, signals).state, result.state)


def test_traces_of_own_spikes_decay_and_end() -> None:
    """80 falls to 2047/4096 of itself in 64ths, cut; two spikes never come to more than 127; a clear ends it."""
    plastic, state = rewarded_network(), None
    found = []
    for column, control in enumerate([0] * 7 + [CLEAR, 0]):
        state = simulate_plastic(plastic, {"x": np.full((1, 1), int(column < 5))}, Signals(
            control=np.array([control])), state, rounding="synapse").state
        found.append(int(state.trace["n"][0]))
    once = 80 << 6
    fired = [0, 0, once, once * 2047 >> 12]
    twice = min((fired[3] * 2047 >> 12) + once, 127 << 6)
    assert found == [*fired, twice, twice * 2047 >> 12, (twice * 2047 >> 12) * 2047 >> 12, 0, 0]


@pytest.mark.parametrize("reward", [63, 1, -1, -63])
def test_rewards_have_a_sign_and_tags_end_with_a_clear_too(reward: int) -> None:
    plastic = rewarded_network()
    start = first_plastic_state(plastic)
    learning = {"p": replace(start.learning["p"], tag=np.full((1, 1), 64))}
    for control, wanted in ((UPDATE, 64 + reward), (CLEAR, 64), (UPDATE | CLEAR, 64 + reward)):
        signals = Signals(control=np.array([control]), reward=np.array([reward]))
        result = simulate_plastic(plastic, {"x": np.zeros((1, 1), dtype=int)}, signals,
                                  replace(start, learning=learning), rounding="synapse").state
        assert result.learning["p"].weight[0, 0] == wanted
        assert result.learning["p"].tag[0, 0] == 0


def test_numbers_of_lava_from_any_place() -> None:
    lava = LavaNumbers(7)
    for step in (1, 2, 513, 5000):
        shape = (1, 1)
        assert uniform(7, 2 * step, 1)[0] == lava.decay("pre", step, step, shape)
        assert below_128(8, 2 * step, 1)[0] == lava.impulse("pre", step, step, shape)
        assert below_128(10, 2 * step - 1, 2)[0] == lava.again("post", step, shape)


def with_rule(name: str, **changes: Any) -> PlasticNetwork:
    return replace(NETWORK, rules={**NETWORK.rules, name: replace(NETWORK.rules[name], **changes)})


def with_forward(**changes: Any) -> PlasticNetwork:
    first, *others = NETWORK.network.projections
    return replace(NETWORK, network=replace(NETWORK.network, projections=(replace(first, **changes), *others)))


def with_feedback(**changes: Any) -> PlasticNetwork:
    first, *others = NETWORK.feedback
    return replace(NETWORK, feedback=(replace(first, **changes), *others))


def with_neuron(name: str, **changes: Any) -> PlasticNetwork:
    return replace(NETWORK, neurons={**NETWORK.neurons, name: replace(NETWORK.neurons[name], **changes)})


SPARSE = IntegerSparse(indptr=np.zeros(7, dtype=int), indices=np.zeros(0, dtype=int), weight=np.zeros(0, dtype=int))
FAULTS: dict[str, tuple[PlasticNetwork, str, str, str]] = {
    "rule of nothing": (replace(NETWORK, rules={**NETWORK.rules, "z": mirror_rule()}), "SC143", "z", "not exist"),
    "neurons of nothing": (replace(NETWORK, neurons={**NETWORK.neurons, "z": LearningNeuron(
        error="teacher", gate_width=1)}), "SC143", "z", "not exist"),
    "kind of error": (with_neuron("h1", error="none"), "SC143", "h1", "teacher, dendrite or reward"),
    "trace": (with_neuron("h1", trace_decay=4097), "SC140", "h1", "0..4096"),
    "gate": (with_neuron("h1", gate_value=128), "SC140", "h1", "1..127"),
    "shift": (with_neuron("out", shift=-1), "SC140", "out", "0..16"),
    "source of feedback": (with_feedback(source="h2"), "SC143", "out~h1", "teacher"),
    "target of feedback": (with_feedback(target="out"), "SC143", "out~h1", "dendrite"),
    "a name twice": (with_feedback(name="x-h1"), "SC109", "x-h1", "share a name"),
    "bits of feedback": (with_feedback(message_bits=0), "SC144", "out~h1", "message_bits=8"),
    "weights of feedback": (with_feedback(connection=IntegerDense(weight=np.zeros((2, 2), dtype=int))), "SC107",
                            "out~h1", "wrong shape"),
    "sparse": (with_forward(connection=SPARSE), "SC144", "x-h1", "only dense"),
    "delays": (with_forward(delay=np.ones((6, 9), dtype=int)), "SC144", "x-h1", "delays"),
    "graded": (with_forward(message_bits=2), "SC144", "x-h1", "without a value"),
    "factors": (replace(NETWORK, neurons={name: each for name, each in NETWORK.neurons.items() if name != "h1"}),
                "SC144", "x-h1", "three factors"),
    "a rule of two": (with_rule("x-h1", three_factor=False, traces={
        "x1": IntegerTrace(1, 1), "y1": IntegerTrace(1, 1), "y2": IntegerTrace(1, 1), "y3": IntegerTrace(1, 1)}),
        "SC144", "x-h1", "three factors"),
    "feedback that is not graded": (with_rule("out~h1", graded=False), "SC144", "out~h1", "graded"),
    "a rule's own": (with_rule("x-h1", epoch=0), "SC146", "x-h1", "epoch"),
}


@pytest.mark.parametrize("which", FAULTS)
def test_faults(which: str) -> None:
    plastic, code, node, words = FAULTS[which]
    found = check_plastic(plastic)
    assert any(each.code == code and each.node == node and words in str(each) for each in found), list(map(str, found))
    with pytest.raises(BadInputError, match=code):
        PlasticEngine(plastic)


def test_a_legal_network_has_none_and_all_faults_come_at_once() -> None:
    assert check_plastic(NETWORK) == []
    both = replace(with_neuron("h1", gate_value=0), rules=with_rule("x-h1", epoch=0).rules)
    assert {each.code for each in check_plastic(both)} == {"SC140", "SC146"}


@pytest.mark.parametrize("signals", [
    Signals(control=np.array([32])), Signals(control=np.zeros((2, 2), dtype=int)), Signals(control=np.array([0.5])),
    Signals(teacher={"h1": np.zeros((1, 6), dtype=int)}), Signals(teacher={"out": np.full((1, 3), 2)}),
    Signals(reward=np.array([1])), Signals(reward=np.array([-64])),
    Signals(noise={"out": np.zeros((1, 3), dtype=int)}), Signals(noise={"h1": np.zeros((1, 7), dtype=int)})])
def test_bad_signals(signals: Signals) -> None:
    for run in (lambda: simulate_plastic(NETWORK, {"x": np.zeros((2, 9), dtype=int)}, signals),
                lambda: PlasticEngine(NETWORK).run({"x": np.zeros((2, 9), dtype=int)}, signals)):
        with pytest.raises(BadInputError, match="SC403"):
            run()


def listed(begins: Any, channels: Any, values: Any = None) -> SpikeList:
    return SpikeList(np.array(begins, dtype=np.int64), np.array(channels, dtype=np.int32),
                     None if values is None else np.array(values, dtype=np.int32))


@pytest.mark.parametrize("course", [
    Course(columns=2, inputs={"x": listed([0, 1], [0])}), Course(columns=1, inputs={"x": listed([0, 2], [0])}),
    Course(columns=2, inputs={"x": listed([0, 2, 1], [0])}), Course(columns=1, inputs={"x": listed([0, 1], [9])}),
    Course(columns=1, inputs={"x": listed([0, 1], [-1])}), Course(columns=1, inputs={"x": listed([0, 2], [3, 3])}),
    Course(columns=1, inputs={"x": listed([0, 1], [0], [2])}), Course(columns=1, inputs={"z": listed([0, 0], [])}),
    Course(columns=1, noise={"h1": listed([0, 1], [0], [0])}),
    Course(columns=1, noise={"h1": listed([0, 1], [0], [2])}), Course(columns=1, control=np.array([32])),
    Course(columns=1, reward=np.array([1])),
    Course(columns=2, control=np.array([0]))])
def test_bad_lists(course: Course) -> None:
    with pytest.raises(BadInputError, match="SC403"):
        PlasticEngine(NETWORK).begin().run(course)


@pytest.mark.parametrize("windows", [[(0, 0)], [(0, 3)], [(1, 2), (0, 1)], [(-1, 1)], [0.5, 1.5], [(0, 1, 2)]])
def test_bad_windows(windows: Any) -> None:
    with pytest.raises(BadInputError, match="SC403"):
        PlasticEngine(NETWORK).begin().run(Course(columns=2), windows)


def test_bad_states() -> None:
    start = first_plastic_state(NETWORK)
    first = start.learning["x-h1"]
    for wrong in (replace(start, error={}), replace(start, count={**start.count, "out": np.full(3, -1)}),
                  replace(start, learning={**start.learning, "x-h1": replace(first, step=1)}),
                  replace(start, learning={**start.learning, "x-h1": replace(first, weight=first.weight + 256)}),
                  replace(start, learning={**start.learning, "x-h1": replace(first, x=first.x[:1])})):
        with pytest.raises(BadInputError, match="SC403"):
            PlasticEngine(NETWORK).begin(wrong)


def test_lists_of_rasters_and_of_events_are_the_same() -> None:
    raster = np.random.default_rng(0).integers(-1, 2, (7, 5))
    columns, channels = np.nonzero(raster)
    order = np.random.default_rng(1).permutation(len(columns))
    found = SpikeList.of_events(columns[order], channels[order], 7, raster[columns, channels][order])
    wanted = SpikeList.of_raster(raster)
    np.testing.assert_array_equal(found.begins, wanted.begins)
    np.testing.assert_array_equal(found.channels, wanted.channels)
    np.testing.assert_array_equal(found.values, wanted.values)
