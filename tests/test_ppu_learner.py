"""Learning by the plasticity processor, modelled, on an emulated BrainScaleS-2."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch

import spikec
from spikec import Builder, Events, Graph
from spikec.ir.diagnostics import BadInputError, SpikecWarning, UnsupportedError
from spikec.ir.learning.rule import LearningRule
from spikec.ir.nodes import CubaLIF
from spikec.ir.rules import biograd, reward_stdp, rule_named, stdp_pair
from spikec.passes.ppu_rules import GateReads, PpuChoices
from spikec.runtime import jit
from spikec.runtime.learning.rule_step import RuleStep, merged
from spikec.targets.brainscales2.emulated_reads import EmulatedReads
from spikec.targets.brainscales2.learner import PpuLearner
from spikec.targets.brainscales2.ppu_learning import ppu_learner
from spikec.targets.brainscales2.third_factor import summed_error, wanted_spikes

CHANNELS, CLASSES, SHOWN = 12, 3, 0.03
pytestmark = [pytest.mark.skipif(jit.compiler() is None, reason="needs a C compiler"),
              pytest.mark.filterwarnings("ignore:SC363"), pytest.mark.filterwarnings("ignore:SC373")]


def neurons(n: int) -> CubaLIF:
    ones = np.ones(n)
    return CubaLIF(shape=(n,), tau_mem=0.01 * ones, tau_syn=0.005 * ones, r=ones, v_leak=0 * ones, v_threshold=ones,
                   w_in=0.005 * ones, reset="zero", refractory=0.002 * ones)


def network(hidden: int | None = None, seed: int = 0) -> Graph:
    builder, random = Builder(), np.random.default_rng(seed)
    signal, n = builder.input("x", CHANNELS), CHANNELS
    for number, size in enumerate([CLASSES] if hidden is None else [hidden, CLASSES]):
        signal = builder.linear(f"fc{number}", signal, weight=random.uniform(0.1, 0.9, (size, n)))
        signal, n = builder.add(f"n{number}", neurons(size), signal), size
    builder.output("out", signal)
    return builder.build()


def samples(count: int, seed: int = 0) -> tuple[Events, Any]:
    """Of a class, four channels of its own fire three times each, and there are some spikes at random."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, CLASSES, count)
    found = []
    for label in labels:
        channel = np.concatenate([np.repeat(np.arange(4) + 4 * label, 3), random.integers(0, CHANNELS, 4)])
        found.append((random.uniform(0, 0.9 * SHOWN, len(channel)), channel))
    return Events.from_samples(found), labels


def learner_of(rule: LearningRule, graph: Graph | None = None, *, mismatch: str = "none", noise: bool = False,
               measure: Any = None, **settings: Any) -> PpuLearner:
    graph = graph or network()
    program = spikec.compile(graph, target="brainscales2", mismatch=mismatch, noise=noise, full_scale=1.0)
    emulator = program.emulator()
    return PpuLearner(graph, program.network, rule, measure or emulator.measure,
                      {each.name: each.step for each in program.held.projections}, reads=EmulatedReads(emulator),
                      **settings)


def three_factor(**settings: Any) -> LearningRule:
    return biograd(**{"feedback": "none", "rate": 3e-4, "tau": 0.01, "duration": SHOWN, "start": 0.01, **settings})


def rewarding(**settings: Any) -> LearningRule:
    return reward_stdp(**{"tau_plus": 0.01, "tau_minus": 0.01, "duration": SHOWN, "bounds": None, "rate": 0.01,
                          **settings})


def right(learner: PpuLearner, seed: int = 99) -> float:
    events, labels = samples(150, seed)
    return float((learner.answer(events).predictions == labels).mean())


def test_an_error_teaches_classes_on_a_chip_with_all_its_mismatch() -> None:
    learner = learner_of(three_factor(rate=3e-3), mismatch="published", noise=True, chip=3)
    before = right(learner)
    learner.learn(*samples(400))
    assert before < 0.6 and right(learner) > 0.85


def test_membranes_teach_as_spikes_do() -> None:
    learner = learner_of(three_factor(rate=1e-4, width=0.5), choices=PpuChoices(gate=GateReads(4)))
    assert learner.programs["fc0"].reads == 4 and "gate" in learner.programs["fc0"].observed
    before = right(learner)
    learner.learn(*samples(300))
    assert right(learner) > max(0.8, before + 0.2)


def test_a_hidden_layer_learns_by_feedback() -> None:
    """Its weights move along the error that is fed back, and what the chip computes is the sum of the rule's terms."""
    learner = learner_of(three_factor(feedback="fixed", rate=3e-3), network(6), chip=None, seed=5)
    before = {name: each.copy() for name, each in learner.codes.items()}
    learner.learn(*samples(30))
    assert all((learner.codes[name] != before[name]).any() for name in ("fc0", "fc1"))
    frozen = learner_of(three_factor(rate=3e-3), network(6), seed=5)  # feedback 'none': the output alone
    assert set(frozen.codes) == {"fc1"}


def test_batches_are_samples_one_after_the_other_and_states_go_on() -> None:
    events, labels = samples(12)
    whole, parts = (learner_of(rewarding(), chip=1, seed=4) for _ in range(2))
    whole.learn(events, labels)
    for start in range(0, 12, 4):
        cut = events.offsets[start:start + 5]
        parts.learn(Events(events.times[cut[0]:cut[-1]], events.indices[cut[0]:cut[-1]], cut - cut[0]),
                    labels[start:start + 4])
    np.testing.assert_array_equal(whole.codes["fc0"], parts.codes["fc0"])
    assert whole.reward == parts.reward and whole.updates == 12
    other = learner_of(rewarding(), chip=1, seed=4)
    other.load(whole.state())
    more, marks = samples(5, 3)
    assert (whole.learn(more, marks).counts == other.learn(more, marks).counts).all()
    np.testing.assert_array_equal(whole.codes["fc0"], other.codes["fc0"])
    with pytest.raises(BadInputError, match="SC513"):
        learner_of(three_factor(), network(5)).load(whole.state())


def test_the_chip_is_given_weights_in_steps_and_seconds_of_its_own() -> None:
    seen: dict[str, Any] = {}

    def chip(codes: Mapping[str, Any], spikes: Mapping[str, Events], duration: float) -> dict[str, Events]:
        seen.update(codes=codes["fc0"], duration=duration, last=float(spikes["x"].times.max()))
        # The output fires 5 us after each spike of channel 0.
        times = spikes["x"].times[spikes["x"].indices == 0] + 5e-6
        return {"n0": Events(times, np.zeros(len(times), dtype=np.int64), np.array([0, len(times)]))}

    rule = stdp_pair(rate=0.05, depression=0.01, tau_plus=0.01, tau_minus=0.01, duration=SHOWN, bounds=None)
    learner = learner_of(rule, measure=chip, chip=None, choices=PpuChoices(both=False))
    before = learner.codes["fc0"].copy()
    events = Events.from_samples([(np.array([0.001, 0.012, 0.0125, 0.04]), np.array([0, 0, 5, 0]))])
    with pytest.warns(SpikecWarning, match="SC405"):  # the last spike comes after the sample
        answer = learner.learn(events, np.array([0]))
    assert seen["codes"].dtype == np.int64 and seen["codes"].shape == (CLASSES, CHANNELS)
    assert seen["duration"] == pytest.approx(30e-6) and seen["last"] == pytest.approx(12.5e-6)
    assert answer.counts.tolist() == [[2, 0, 0]] and answer.predictions.tolist() == [0]
    change = learner.codes["fc0"] - before
    assert change[0, 0] > 0 and change[0, 5] > 0 and not change[1:].any()
    assert change[0, 5] > change[0, 0] / 2  # 4.5 ms before the spike at 17 ms, against twice 5 ms
    assert not change[0, [1, 2, 3, 4, 6, 7, 8, 9, 10, 11]].any()


def test_a_chip_that_gives_no_spikes_of_a_population_is_told() -> None:
    with pytest.raises(BadInputError, match="SC486"):
        learner_of(rewarding(), measure=lambda *_: {}).learn(*samples(1))


def test_figures_tell_of_what_is_full() -> None:
    growing = stdp_pair(rate=0.3, depression=0.01, tau_plus=0.01, tau_minus=0.01, duration=SHOWN, bounds=None)
    learner = learner_of(growing)
    learner.learn(*samples(40))
    figures = learner.figures()
    assert figures.saturated["fc0"] > 0.9 and figures.saturated_traces["causal fc0"] == 0.0
    assert 0 < figures.updated["fc0"] <= 1 and figures.norm["fc0"] > 0 and figures.rates["n0"] > 0
    assert learner.figures().updated == {"fc0": 0.0}  # forgotten
    assert merged([(40, figures)]) is figures
    told = learner_of(three_factor(), choices=PpuChoices(factor_range=0.5))
    told.learn(*samples(5))
    assert told.figures().saturated_traces["factor fc0"] > 0.5


def test_what_the_processor_cannot_learn_is_refused_before_anything_is_learnt() -> None:
    for rule, choices, code, message in (
            (rule_named("stdp_triplet"), PpuChoices(), "SC360", "no three"),
            (rewarding(tau_plus=0.05), PpuChoices(), "SC361", "time constant of the causal sensors"),
            (rewarding(), PpuChoices(amplitude=5.0), "SC361", "amplitude"),
            (rewarding(rate=500.0), PpuChoices(), "SC361", "coefficient")):
        with pytest.raises(UnsupportedError) as raised:
            learner_of(rule, choices=choices)
        assert any(each.code == code and message in each.message for each in raised.value.diagnostics)
    with pytest.warns(SpikecWarning, match="SC363"):
        learner = learner_of(rewarding())
    with pytest.raises(UnsupportedError, match="at the rate 1e\\+06"):
        learner.check_rates([1.0, 1e6])
    learner.rate = 0.0
    before = learner.codes["fc0"].copy()
    learner.learn(*samples(5))
    np.testing.assert_array_equal(learner.codes["fc0"], before)
    with pytest.raises(BadInputError, match="SC506"):
        learner.learn(samples(2)[0], np.array([0, 7]))


def test_what_was_learnt_goes_back_into_the_model_and_onto_the_chip() -> None:
    graph = network()
    learner = learner_of(three_factor(), graph)
    learner.learn(*samples(20))
    again = learner_of(three_factor(), learner.to_graph())
    np.testing.assert_array_equal(again.codes["fc0"], learner.codes["fc0"])
    assert "spikec_p0_factor" in learner.kernels()["fc0"]


def test_the_summed_error_is_that_of_the_grid() -> None:
    rule = three_factor(error="spike", spikes=False, start=0.01, period=4)
    times, who = np.array([0.002, 0.0121, 0.02, 0.0205]), np.array([0, 0, 1, 1])
    told = summed_error(rule, times, who, 1, CLASSES)
    # From 10 ms on: one spike of neuron 0, two of neuron 1, less a teacher's five (every fourth of 20 columns).
    np.testing.assert_allclose(told.summed, [1, 2 - 5, 0])
    assert wanted_spikes(three_factor(error="spike", start=0.0, period=4), 1, CLASSES).tolist() == [0, 8, 0]
    softmax = summed_error(three_factor(spikes=False), np.zeros(0), np.zeros(0), 2, CLASSES)
    np.testing.assert_allclose(softmax.summed, [20 / 3, 20 / 3, -40 / 3])


def test_a_program_gives_its_learner_and_a_trainer_drives_it() -> None:
    program = spikec.compile(network(5), target="brainscales2", rows={"fc0": 2, "fc1": 1}, full_scale=1.0)
    learner = ppu_learner(program, three_factor(rate=3e-3), seed=2)
    assert set(learner.codes) == {"fc1"}
    before = learner.codes["fc1"].copy()
    learner.learn(*samples(20))
    assert (learner.codes["fc1"] != before).any()
    graph = learner.to_graph()
    np.testing.assert_array_equal(graph.nodes["fc0"].weight, program.graph.nodes["fc0"].weight)  # type: ignore[attr-defined]
    other = spikec.compile(network(), target="generic_analog")
    with pytest.raises(BadInputError, match="SC403"):
        ppu_learner(other, three_factor())
    with pytest.raises(BadInputError, match="SC514"):
        ppu_learner(program, "no_such_rule")

    class Learning:
        """A program with a learner, as the trainer takes it."""

        target, network = "brainscales2", program.network

        def learner(self, rule: LearningRule, *, seed: int, device: str) -> PpuLearner:
            return ppu_learner(program, rule, seed=seed)

    step = RuleStep(Learning(), three_factor(), keywords={}, chip={}, scheduler=0.5, epochs=2, seed=0,
                    device=torch.device("cpu"))
    events, labels = samples(6)
    step.prepare(0, 2)
    batch = step.learn(events, torch.from_numpy(labels))
    assert batch.predicted is not None and len(batch.predicted) == 6 and "error" in batch.errors
    figures = step.end_epoch(0)
    assert figures.updated["fc1"] > 0 and step.rate == 0.5


def test_the_report_says_what_the_rule_has_become() -> None:
    program = spikec.compile(network(), target="brainscales2", rows=1)
    learner = program.learner(reward_stdp(rate=0.03, duration=SHOWN))
    learner.learn(*samples(5))
    report = learner.report()
    (row,) = report.projections
    assert (row.projection, row.synapses, report.samples) == ("fc0", CHANNELS * CLASSES, 5)
    assert report.period == pytest.approx(SHOWN / 1000) and row.low == 0 and 0 <= row.at_ends <= 1
    assert len(row.terms) == 2 and all("reward" in term and "causal" in term for term in row.terms)
    assert any("SC363" in each for each in report.otherwise) and row.terms[0] in str(report)
    assert report.as_dict()["projections"][0]["kernel"] > 1000
