"""Networks that learn on the cores of chips: what learning takes there is counted by hand, found again by the checker,
and refused at once where it does not fit."""

from __future__ import annotations

import itertools
import json
from dataclasses import fields, replace
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
from plastic_nets import biograd_network, product, random_case

import spikec
from spikec import Builder, Discretization
from spikec.ir.chip import Chip, ChipLimit
from spikec.ir.diagnostics import BadInputError, DoesNotFitError
from spikec.ir.integer.learning import IntegerRule, IntegerTrace
from spikec.ir.integer.network import IntegerDense, IntegerNetwork, IntegerPopulation, IntegerProjection
from spikec.ir.integer.plastic import PlasticNetwork
from spikec.ir.mapping import mapping_from_json, mapping_to_json
from spikec.ir.nodes import LIF
from spikec.ir.rules.catalogue import rule_named
from spikec.passes.learning_costs import mapped
from spikec.passes.traffic import traffic
from spikec.targets.loihi.map_network import fill_network, map_network
from spikec.targets.loihi.mapping_check import verify_mapping
from spikec.targets.loihi1.limits import LOIHI1
from spikec.targets.loihi2.limits import LOIHI2


def limited(cores: int | None = None, **values: int) -> Chip:
    """Loihi 1 with other limits."""
    limits = {name: replace(limit, value=values.get(name, limit.value)) for name, limit in LOIHI1.limits.items()}
    chip = replace(LOIHI1, limits=MappingProxyType(limits))
    return chip if cores is None else replace(chip, cores=replace(chip.cores, value=cores))


def program_of(*sizes: int, target: str = "loihi1") -> Any:
    """Layers of LIF neurons, with small random weights."""
    random, builder = np.random.default_rng(0), Builder()
    signal = builder.input("x", sizes[0])
    for number, (before, n) in enumerate(itertools.pairwise(sizes), 1):
        ones = np.ones(n)
        weight = random.uniform(-1, 1, (n, before)) / before**0.5
        signal = builder.add(f"h{number}", LIF(shape=(n,), tau=2e-3 * ones, r=2e-3 * ones, v_leak=0 * ones,
                                               v_threshold=ones, reset="zero"),
                             builder.linear(f"fc{number}", signal, weight=weight))
    builder.output("labels", signal)
    return spikec.compile(builder.build(Discretization(1e-3)), target=target, method="minmax")


RULE = rule_named("biograd", "loihi1", rate=2e-2, eligibility="spike", duration=16e-3)


@pytest.mark.parametrize("seed", range(8))
def test_mappings_of_random_networks_hold(seed: int) -> None:
    """Every load and every packet, by a checker that has no code in common with what maps."""
    network, _, _ = random_case(seed)
    rng = np.random.default_rng(seed)
    plain = network.network
    rates = {name: rng.random(plain.size(name)) for name in [*plain.inputs, *plain.populations]}
    chip = limited(neurons=16, synapse_formats=20, trace_formats=4, threshold_formats=9)
    for lay in (fill_network(network, chip), map_network(network, chip, rates, seed=seed)):
        found = verify_mapping(network, lay, rates)
        assert len(lay.cores) > 1
        told = traffic(mapped(network, chip).network, lay, rates)
        assert told.packets == pytest.approx(found.packets)
        assert told.hops == pytest.approx(found.hops)


def test_loads_are_those_counted_by_hand() -> None:
    """3 inputs, 2 hidden neurons that sleep, 1 output; see the sums for what each part takes."""
    network = biograd_network((3, 2, 1))
    (core,) = map_network(network, LOIHI1).cores
    word = 64
    assert dict(core.loads) == {
        "neurons": 2 * 2 + 1 * 3,  # a soma and a dendrite; and an error neuron
        "in_axons": 2 * (3 + 2 + 1) + 5 + 5 + 2 + 1,  # forward and feedback learn; control, noise, teacher
        "out_axons": 2 * 2 + 2 * 1,  # spikes with a sign: asleep, and errors
        # 8 bits of a weight, 9 of a tag, 10 of an index, and 10 before them: each axon's fit a word of 64 bits.
        "synapse_bits": word * (3 + 2 + 1 + 5 + 5 + 2 + 1),
        "compartment_formats": 2, "threshold_formats": 3,  # the somas', of what only sums, of the error neuron
        "synapse_formats": 3,  # forward, feedback, signals
        "trace_formats": 2,  # forward, and of the counts of a sleep
    }
    (other,) = map_network(network, LOIHI2).cores
    assert other.loads["out_axons"] == 2 + 1  # its spikes have values


@pytest.mark.parametrize(("rule", "bits"), [
    (IntegerRule(dw=(product(1, 0, "x0", "y0"),)), 8),
    (IntegerRule(dw=(product(1, 0, "x0", "t"),)), 8 + 9),
    (IntegerRule(dw=(product(1, 0, "x0"),), dt=(product(1, 0, "y0"),)), 8 + 9),
    (IntegerRule(dw=(product(1, 0, "x0"),), dd=(product(1, 0, "y0"),)), 8 + 8),
    (IntegerRule(dt=(product(1, 0, "x0", "d"),)), 8 + 9 + 8),
])
def test_a_synapse_has_the_tags_that_its_rule_needs(rule: IntegerRule, bits: int) -> None:
    """Of neurons without an error, so that no index is held: 50 synapses of an axon."""
    network = plain_network(50, {"x0": rule})
    (core,) = map_network(network, LOIHI1).cores
    assert core.loads["synapse_bits"] == -(-(50 * bits + 10) // 64) * 64
    assert core.loads["in_axons"] == 2
    assert core.loads["neurons"] == 50
    verify_mapping(network, map_network(network, LOIHI1))


def plain_network(n: int, rules: dict[str, IntegerRule]) -> PlasticNetwork:
    """For each rule an input of one channel and a population of `n` that learns from it."""
    populations = {f"a{key}": IntegerPopulation(name=f"a{key}", shape=(n,), du=4095, dv=100, threshold=100)
                   for key in rules}
    projections = tuple(IntegerProjection(name=key, source=key, target=f"a{key}",
                                          connection=IntegerDense(weight=np.full((n, 1), 2))) for key in rules)
    return PlasticNetwork(rules=rules, neurons={}, network=IntegerNetwork(
        inputs=dict.fromkeys(rules, (1,)), populations=populations, projections=projections, outputs={}, dt=1e-3))


def test_a_core_has_no_more_traces_than_it_can() -> None:
    """Five populations of two settings each: no two of them share a core, though there is room for all."""
    rules = {f"p{number}": IntegerRule(
        dw=(product(1, 0, "y0", "x1"), product(1, 0, "y0", "x2")),
        traces={"x1": IntegerTrace(16, number + 2), "x2": IntegerTrace(20, number + 2), "y1": IntegerTrace(9, 9)})
        for number in range(5)}
    network = plain_network(3, rules)
    mapping = map_network(network, LOIHI1)
    verify_mapping(network, mapping)
    assert [core.loads["trace_formats"] for core in mapping.cores] == [2] * 5
    assert len(map_network(network.network, LOIHI1).cores) == 1


@pytest.mark.parametrize(("changed", "message"), [
    (lambda plastic: replace(plastic, rules={}), "input axons"),
    (lambda plastic: replace(plastic, feedback=()), "synaptic memory"),
    (lambda plastic: replace(plastic, neurons={}), "other neurons"),
])
def test_the_checker_finds_what_was_not_counted(changed: Any, message: str) -> None:
    network = biograd_network()
    with pytest.raises(BadInputError, match=message) as caught:
        verify_mapping(network, map_network(changed(network), LOIHI1))
    assert {each.code for each in caught.value.diagnostics} == {"SC333"}


def test_mappings_are_json() -> None:
    network, _, _ = random_case(3)
    mapping = map_network(network, limited(neurons=16, synapse_formats=20, trace_formats=4))
    again = mapping_from_json(json.loads(json.dumps(mapping_to_json(mapping))))
    assert mapping_to_json(again) == mapping_to_json(mapping)
    verify_mapping(network, again)


@pytest.mark.parametrize("chip", [LOIHI1, LOIHI2])
def test_what_learning_takes_names_its_sources(chip: Chip) -> None:
    numbers = [getattr(chip.learning, each.name) for each in fields(chip.learning) if each.name != "compartments"]
    assert all(isinstance(each, ChipLimit) and each.source and each.unit and each.value > 0 for each in numbers)
    assert all(each.verified for each in numbers) == (chip is LOIHI1)
    assert set(chip.learning.compartments) == {"dendrite", "teacher", "reward"}


def test_the_largest_network_of_the_claim_fits_loihi_1() -> None:
    """784-400-10, with learnt feedback, of which every synapse learns."""
    learner = program_of(784, 400, 10).learner(RULE)
    report = learner.report()
    assert report.chips_used == 1
    assert report.compartments == 2 * 400 + 3 * 10
    assert report.synapses == report.learning == 784 * 400 + 400 * 10 + 10 * 400
    assert 2 * 784 < report.most["in_axons"] <= 4096
    assert report.synapse_bits > 27 * (784 * 400 + 400 * 10)
    text = str(report)
    assert "400 neurons" not in text.splitlines()[0] and "410 neurons of 830 compartments" in text
    assert "idxs_per_synapse" in text and "cannot" in text
    assert json.loads(json.dumps(report.as_dict()))["most"] == report.most


def test_what_fits_only_without_learning_is_refused_when_it_is_to_learn() -> None:
    """One core holds 784-40-10, but neither the slots nor the memory of its learning."""
    program = program_of(784, 40, 10)
    program.chip = limited(cores=1, synapse_bits=600_000)
    assert len(program.mapping.cores) == 1
    with pytest.raises(DoesNotFitError) as caught:
        program.learner(RULE)
    (fault,) = caught.value.diagnostics
    assert fault.code == "SC331"
    assert "synaptic memory" in str(fault) and fault.limit == "1 cores"
    program.chip = limited(cores=3, synapse_bits=600_000)
    assert len(program.learner(RULE).mapping.cores) > 1


def test_a_neuron_that_reads_too_much_to_learn_is_refused() -> None:
    """Each axon that learns takes two of a core's 4096."""
    program = program_of(2100, 4, 2)
    assert program.mapping.cores
    with pytest.raises(DoesNotFitError) as caught:
        program.learner(RULE)
    (fault,) = caught.value.diagnostics
    assert (fault.code, fault.node, fault.value) == ("SC330", "h1", str(2 * 2100 + 2 * 2 + 5 + 1))
