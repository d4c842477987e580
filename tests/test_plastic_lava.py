"""Programs for Lava that learn: what is written, and that Lava, really run, learns number for number as the oracle."""

from __future__ import annotations

import ast
import json
import re
import runpy
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import test_loihi_learning
from lava_here import lava_python
from plastic_nets import biograd_network, biograd_rule, mirror_rule, product, random_case, samples
from test_lava_programs import seal, small

from spikec.ir.diagnostics import BadInputError
from spikec.ir.integer.learning import IntegerRule, IntegerTrace
from spikec.ir.integer.network import IntegerConv, IntegerDense, IntegerNetwork, IntegerPopulation, IntegerProjection
from spikec.ir.integer.plastic import LearningNeuron, PlasticNetwork
from spikec.ir.integer.plastic_signals import Signals
from spikec.ir.integer.plastic_step import PlasticResult, simulate_plastic
from spikec.runtime.lava.worker import LavaWorker
from spikec.targets.lava.plastic_program import LavaLearning, PlasticLavaProgram
from spikec.targets.lava.program import LavaProgram

ALL = ("spikes", "v", "error", "weight", "tag")


def renamed(plastic: PlasticNetwork, name: str, other: str) -> PlasticNetwork:
    """The same with another name of a population."""
    def of(each: str) -> str:
        return other if each == name else each

    def ends(each: IntegerProjection) -> IntegerProjection:
        return replace(each, source=of(each.source), target=of(each.target), name=each.name + other)

    network = plastic.network
    return PlasticNetwork(
        network=replace(network, populations={of(key): replace(each, name=of(key))
                                              for key, each in network.populations.items()},
                        projections=tuple(map(ends, network.projections)),
                        outputs={key: of(each) for key, each in network.outputs.items()}),
        feedback=tuple(map(ends, plastic.feedback)),
        rules={key + other: rule for key, rule in plastic.rules.items()},
        neurons={of(key): each for key, each in plastic.neurons.items()})


def of_an_image() -> PlasticNetwork:
    """A convolution that stays as it is onto neurons that learn, which Lava has in another order."""
    draw = np.random.default_rng(3)
    image = IntegerConv(weight=draw.integers(-30, 60, (2, 2, 2, 2)), input_shape=(2, 3, 4), output_shape=(2, 2, 3))
    populations = {name: IntegerPopulation(name=name, shape=shape, du=4095, dv=2048, threshold=90)
                   for name, shape in (("h", (2, 2, 3)), ("out", (3,)))}

    def dense(source: str, target: str, post: int, pre: int, bits: int = 0) -> IntegerProjection:
        connection = IntegerDense(weight=2 * draw.integers(-40, 41, (post, pre)))
        return IntegerProjection(name=f"{source}-{target}", source=source, target=target, connection=connection,
                                 message_bits=bits)

    first = IntegerProjection(name="image", source="x", target="h", connection=image)
    forward, back = dense("h", "out", 3, 12), dense("out", "h", 12, 3, bits=8)
    network = IntegerNetwork(inputs={"x": (2, 3, 4)}, populations=populations, dt=1e-3, outputs={"out": "out"},
                             projections=(first, forward, replace(dense("h", "h", 12, 12), name="own")))
    return PlasticNetwork(
        network=network, feedback=(back,),
        rules={"h-out": biograd_rule(rate=-2), "own": biograd_rule(rate=-2, seed=3), "out-h": mirror_rule()},
        neurons={"h": LearningNeuron(error="dendrite", gate_width=90, gate_value=8, shift=2),
                 "out": LearningNeuron(error="teacher", gate_width=180, gate_value=8)})


def assert_same(found: LavaLearning, wanted: PlasticResult, every: int = 1) -> None:
    assert wanted.records is not None
    for name, spikes in found.spikes.items():
        assert np.array_equal(spikes, wanted.spikes[name]), f"spikes of {name}"
    for variable in ALL[1:]:
        mine, theirs = getattr(found.records, variable), getattr(wanted.records, variable)
        assert set(mine) == set(theirs)
        for name, array in mine.items():
            told = theirs[name][every - 1::every]
            assert array.shape == told.shape
            differs = np.argwhere(array != told)
            assert not len(differs), f"{variable} of {name}, first after {int(differs[0][0])} records"
    for name, state in wanted.state.learning.items():
        assert np.array_equal(found.weight[name], state.weight)
        assert np.array_equal(found.tag[name], state.tag)


def test_the_program_is_what_a_reader_expects(golden: Callable[[str, str], None]) -> None:
    text = PlasticLavaProgram(biograd_network()).files["program.py"].decode()
    golden("plastic_lava_program.txt", text.replace(f"spikec {version('spikec')}", "spikec VERSION"))


def test_no_text_of_the_user_is_code() -> None:
    evil = '"""\nimport os; os.abort()\n# \\ \' {{ 7 * 7 }}'
    mine, plain = (PlasticLavaProgram(renamed(biograd_network(), "h1", name)) for name in (evil, "plain"))
    for name in ("program.py", "learning_neuron.py", "README.md"):
        assert mine.files[name] == plain.files[name]
    ast.parse(mine.files["program.py"])
    ast.parse(mine.files["learning_neuron.py"])


def test_a_saved_program_comes_back(tmp_path: Path) -> None:
    for number, plastic in enumerate([of_an_image(), *(random_case(seed)[0] for seed in range(8))]):
        program = PlasticLavaProgram(plastic)
        program.save(tmp_path / str(number))
        again = PlasticLavaProgram.load(tmp_path / str(number))
        assert again.files == program.files
        assert again.plastic.neurons == plastic.neurons
        for name, rule in again.plastic.rules.items():
            for field in ("dw", "dt", "dd", "decimation", "traces", "three_factor", "graded", "epoch", "seed"):
                assert getattr(rule, field) == getattr(plastic.rules[name], field)


def test_folders_of_another_kind_or_changed_are_refused(tmp_path: Path) -> None:
    PlasticLavaProgram(biograd_network()).save(tmp_path / "learns")
    LavaProgram(small()).save(tmp_path / "stays")
    for kind, folder in ((LavaProgram, "learns"), (PlasticLavaProgram, "stays")):
        with pytest.raises(BadInputError, match="another kind"):
            kind.load(tmp_path / folder)
    path = tmp_path / "learns" / "learning_neuron.py"
    path.write_bytes(path.read_bytes() + b"\n")
    seal(tmp_path / "learns")
    with pytest.raises(BadInputError, match="learning_neuron") as caught:
        PlasticLavaProgram.load(tmp_path / "learns")
    assert caught.value.diagnostics[0].code == "SC520"


def test_what_chips_could_not_run_is_said(tmp_path: Path) -> None:
    """Custom neurons and spikes with a sign; a rule of two factors among Lava's own processes is untested alone."""
    plastic, _, _ = random_case(1)
    program = PlasticLavaProgram(plastic)
    program.save(tmp_path / "saved")
    told = json.loads((tmp_path / "saved" / "manifest.json").read_text())["chips"]
    assert told == json.loads(program.files["network.json"])["chips"]

    def verdicts(chip: str, node: str) -> set[str]:
        return {each["verdict"] for each in told if (each["chip"], each["node"]) == (chip, node)}

    assert verdicts("loihi1", "o~a") == verdicts("loihi1", "a") == {"cannot"}
    assert verdicts("loihi2", "o~a") == {"untested"}
    assert "cannot" in verdicts("loihi2", "a")
    assert not plastic.rules["ac"].three_factor
    assert "untested" in verdicts("loihi1", "ac")
    assert {each.node for each in program.limits} == {*plastic.neurons, *plastic.rules, "o~a", "o~b"}


def test_what_is_wrong_with_a_run_is_said() -> None:
    program = PlasticLavaProgram(biograd_network())
    inputs, signals = samples(program.plastic, 1)
    for fault, match in (({"record": ("w",)}, "spikes, v, error, weight, tag"), ({"every": 0}, ">= 1"),
                         ({"weights": {"x": [[1]]}}, "does not learn"),
                         ({"weights": {"x-h1": np.ones((3, 3), int)}}, "wrong shape"),
                         ({"weights": {"x-h1": np.full((12, 20), 256)}}, "-256..255")):
        with pytest.raises(BadInputError, match=match):
            program.run(inputs, signals, **fault)
    with pytest.raises(BadInputError, match=r"more values than .*limit: 268435456"):
        program.run(inputs, signals, 1_000_000, record=("weight",))
    nothing = program.run(inputs, signals, 0, record=ALL)
    assert nothing.spikes["h1"].shape == nothing.records.error["h1"].shape == (0, 12)
    assert np.array_equal(nothing.weight["x-h1"], program.plastic.network.projections[0].connection.weight)


@pytest.mark.parametrize(("given", "options", "told"), [
    ({"p9": np.zeros(3)}, (), "p9"),
    ({"control": np.zeros((5, 1), int)}, (), "control is"),
    ({"p0": np.full((5, 20), 1 << 40)}, (), "p0: values have 32 bits"),
    ({"p3.weight": np.zeros((20, 12), int)}, (), "p3.weight is"),
    ({"p3.weight": np.zeros((12, 20))}, (), "p3.weight is float64"),
    ({}, ("--record", "p0.v"), "p0.v"),
    ({}, ("--record", "weight", "--steps", "1000000"), "1000000 steps are 389000000 values"),
    ({}, ("--every", "0"), "--every"),
    ({}, ("--steps", "3"), "what is given has 5"),
])
def test_a_program_says_what_it_cannot_run(given: dict[str, Any], options: tuple[str, ...], told: str, tmp_path: Path,
                                           monkeypatch: pytest.MonkeyPatch) -> None:
    """Before it asks for Lava."""
    PlasticLavaProgram(biograd_network()).save(tmp_path / "saved")
    right = {"p0": np.zeros((5, 20), int), "control": np.zeros(5, int), "p3.weight": np.zeros((12, 20), int)}
    np.savez(tmp_path / "in.npz", **right | given)
    monkeypatch.setattr(sys, "argv", ["program.py", "--input", str(tmp_path / "in.npz"), "--output",
                                      str(tmp_path / "out.npz"), *options])
    with pytest.raises(SystemExit, match=re.escape(told)):
        runpy.run_path(str(tmp_path / "saved" / "program.py"), run_name="__main__")
    assert [each.name for each in tmp_path.iterdir() if each.name.startswith("out")] == []


# From here on Lava runs.


@pytest.fixture(scope="module")
def worker() -> Iterator[LavaWorker]:
    with LavaWorker(lava_python()) as worker:
        yield worker


@pytest.mark.parametrize("seed", [6, 30])
def test_lava_learns_as_the_oracle_does(seed: int, worker: LavaWorker) -> None:
    plastic, inputs, signals = random_case(seed)
    wanted = simulate_plastic(plastic, inputs, signals, record=True)
    assert_same(PlasticLavaProgram(plastic).run(inputs, signals, record=ALL, worker=worker), wanted)
    assert wanted.records is not None
    assert {rule.three_factor for rule in plastic.rules.values()} == {False, True}
    assert sum(bool(np.diff(each, axis=0).any()) for each in wanted.records.weight.values()) > 2
    assert np.diff(wanted.records.weight["xr"], axis=0).any()  # a reward
    assert any(each.trace_impulse and wanted.spikes[name].any() for name, each in plastic.neurons.items())


def test_biograd_learns_in_lava_and_sleeps(worker: LavaWorker) -> None:
    """Two samples and a sleep; then two more from the weights of the first, without its traces and its spikes."""
    plastic = biograd_network()
    inputs, signals = samples(plastic, 4)
    half = len(signals.control) // 2  # type: ignore[arg-type]

    def part(columns: slice) -> tuple[dict[str, np.ndarray], Signals]:
        return ({name: raster[columns] for name, raster in inputs.items()},
                Signals(control=signals.control[columns],  # type: ignore[index]
                        teacher={name: each[columns] for name, each in signals.teacher.items()},
                        noise={name: each[columns] for name, each in signals.noise.items()}))

    program, first = PlasticLavaProgram(plastic), part(slice(half))
    wanted = simulate_plastic(plastic, *first, record=True)
    found = program.run(*first, record=ALL, worker=worker)
    assert_same(found, wanted)
    for name, projection in zip(wanted.state.learning, (*plastic.network.projections, *plastic.feedback), strict=True):
        assert (found.weight[name] != projection.connection.weight).mean() > 0.02
    assert any((each % 2).any() for each in found.weight.values())  # odd: not truncated where a run goes on

    start = simulate_plastic(plastic, {"x": np.zeros((0, 20), int)}, steps=0).state
    learning = {name: replace(each, weight=found.weight[name]) for name, each in start.learning.items()}
    again = simulate_plastic(plastic, *part(slice(half, None)), state=replace(start, learning=learning), record=True)
    told = program.run(*part(slice(half, None)), weights=found.weight, record=ALL[1:], every=5, worker=worker)
    assert list(told.spikes) == ["out"]
    assert_same(told, again, every=5)


def test_what_a_learner_was_rewarded_for_is_learnt_in_lava_too(worker: LavaWorker) -> None:
    learner, again = (test_loihi_learning.rewarded(rounding="lava") for _ in range(2))
    events, labels = test_loihi_learning.samples(20, seed=3)
    learner.learn(events, labels)
    assert set(np.sign(learner.rewards)) == {-1, 0, 1}
    inputs, signals, _ = again.rasters(events, labels, learner.rewards)
    found = again.lava().run(inputs, signals, worker=worker)
    np.testing.assert_array_equal(found.weight["fc"], learner.stream.weights("fc"))
    assert (found.weight["fc"] != again.stream.weights("fc")).mean() > 0.5


def test_spike_timing_alone_learns_among_lavas_own_processes(worker: LavaWorker) -> None:
    """Rules of two factors: no signals, and no neurons but Lava's."""
    rule = IntegerRule(dw=(product(1, -2, "y0", "x1"), product(-1, -2, "x0", "y1")),
                       traces={"x1": IntegerTrace(16, 5.0), "y1": IntegerTrace(16.5, 5.0)})
    draw = np.random.default_rng(1)
    projection = IntegerProjection(name="p", source="x", target="n", sign="excitatory",
                                   connection=IntegerDense(weight=draw.integers(0, 100, (5, 12))))
    network = IntegerNetwork(
        inputs={"x": (12,)}, outputs={"out": "n"}, dt=1e-3, projections=(projection,),
        populations={"n": IntegerPopulation(name="n", shape=(5,), du=4095, dv=1000, threshold=120)})
    program = PlasticLavaProgram(PlasticNetwork(network=network, rules={"p": rule}, neurons={}))
    assert {each.verdict for each in program.limits} == {"untested"}
    assert "LearningNeuron(" not in program.files["program.py"].decode()
    inputs = {"x": (draw.random((30, 12)) < 0.2).astype(int)}
    wanted = simulate_plastic(program.plastic, inputs, record=True)
    assert_same(program.run(inputs, record=ALL, worker=worker), wanted)
    assert (wanted.state.learning["p"].weight != projection.connection.weight).mean() > 0.5


def test_neurons_in_another_order_learn_too(worker: LavaWorker) -> None:
    plastic = of_an_image()
    inputs, signals = samples(plastic, 2)
    wanted = simulate_plastic(plastic, inputs, signals, record=True)
    assert_same(PlasticLavaProgram(plastic).run(inputs, signals, record=ALL, worker=worker), wanted)
    for state in wanted.state.learning.values():
        assert len(np.unique(state.weight)) > 5
    assert wanted.spikes["out"].any() and (wanted.spikes["h"] < 0).any()
