"""Mappings onto chips: those that are made hold, those that are wrong are found out, and what does not fit says why."""

from __future__ import annotations

import json
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from integer_nets import random_case

from spikec.ir.chip import RESOURCES, Chip
from spikec.ir.diagnostics import BadInputError, DoesNotFitError
from spikec.ir.integer.checks import verify_integer
from spikec.ir.integer.network import (
    IntegerConv,
    IntegerDense,
    IntegerNetwork,
    IntegerPopulation,
    IntegerProjection,
    IntegerSparse,
)
from spikec.ir.mapping import ChipMapping, CoreContent, mapping_from_json, mapping_to_json
from spikec.passes.traffic import traffic
from spikec.targets.loihi.map_network import fill_network, map_network
from spikec.targets.loihi.mapping_check import verify_mapping
from spikec.targets.loihi1.limits import LOIHI1
from spikec.targets.loihi2.limits import LOIHI2


def limited(chips: int = 1, **values: int) -> Chip:
    """Loihi 1 with other limits."""
    limits = {name: replace(limit, value=values.get(name, limit.value)) for name, limit in LOIHI1.limits.items()}
    return replace(LOIHI1, chips=chips, limits=MappingProxyType(limits))


def population(name: str, *shape: int, **fields: Any) -> IntegerPopulation:
    return IntegerPopulation(name=name, shape=shape, **{"du": 4095, "dv": 100, "threshold": 100, **fields})


def dense(name: str, source: str, target: str, post: int, pre: int) -> IntegerProjection:
    return IntegerProjection(name=name, source=source, target=target,
                             connection=IntegerDense(weight=np.full((post, pre), 2)))


def fan_in(sources: int) -> IntegerNetwork:
    """One neuron, read from so many inputs."""
    return IntegerNetwork(inputs={"x": (sources,)}, populations={"a": population("a", 1)},
                          projections=(dense("xa", "x", "a", 1, sources),), outputs={"out": "a"}, dt=1e-3)


def ring(n: int, reach: int, seed: int = 0) -> IntegerNetwork:
    """Neurons on a ring, in a random order, each of which reaches so many neighbours on one side."""
    order = np.random.default_rng(seed).permutation(n)
    rows = np.repeat(np.arange(n), reach)
    post, pre = order[rows], order[(rows + np.tile(np.arange(1, reach + 1), n)) % n]
    sort = np.lexsort((pre, post))
    sparse = IntegerSparse(indptr=np.arange(n + 1) * reach, indices=pre[sort], weight=np.full(n * reach, 2))
    return IntegerNetwork(
        inputs={"x": (1,)}, populations={"a": population("a", n)}, outputs={"out": "a"}, dt=1e-3,
        projections=(IntegerProjection(name="aa", source="a", target="a", connection=sparse),
                     dense("xa", "x", "a", n, 1)))


@given(seed=st.integers(0, 1 << 30), neurons=st.sampled_from([6, 17, 64, 1024]))
@settings(max_examples=20, deadline=None)
def test_mappings_of_random_networks_hold(seed: int, neurons: int) -> None:
    """Every load and every packet, by a checker that has no code in common with what maps."""
    network, _ = random_case(seed)
    rng = np.random.default_rng(seed)
    rates = {name: rng.random(network.size(name)) for name in [*network.inputs, *network.populations]}
    mapping = map_network(network, limited(neurons=neurons, chips=2), rates, seed=seed)
    found = verify_mapping(network, mapping, rates)
    told = traffic(network, mapping, rates)
    assert told.packets == pytest.approx(found.packets)
    assert told.hops == pytest.approx(found.hops)


@given(seed=st.integers(0, 1 << 30))
@settings(max_examples=5, deadline=None)
def test_mappings_are_json(seed: int) -> None:
    network, _ = random_case(seed)
    mapping = map_network(network, limited(neurons=10), seed=seed)
    again = mapping_from_json(json.loads(json.dumps(mapping_to_json(mapping))))
    assert mapping_to_json(again) == mapping_to_json(mapping)
    verify_mapping(network, again)


@pytest.mark.parametrize("chip", [LOIHI1, LOIHI2])
def test_limits_name_their_sources(chip: Chip) -> None:
    numbers = [chip.cores, chip.width, chip.height, chip.at_router, *chip.limits.values()]
    assert set(chip.limits) == set(RESOURCES)
    assert all(each.source and each.unit and each.value > 0 for each in numbers)
    assert chip.memory.source
    assert chip.width.value * chip.height.value * chip.at_router.value >= chip.cores.value
    assert all(each.verified for each in numbers) == (chip is LOIHI1)


def test_one_synapse_too_many_is_refused() -> None:
    limit = LOIHI1.limits["in_axons"].value
    verify_mapping(fan_in(limit), map_network(fan_in(limit), LOIHI1))
    with pytest.raises(DoesNotFitError) as caught:
        map_network(fan_in(limit + 1), LOIHI1)
    (fault,) = caught.value.diagnostics
    assert (fault.code, fault.node, fault.value) == ("SC330", "a", str(limit + 1))
    assert "input axons" in fault.message
    assert fault.limit.startswith(str(limit))
    assert fault.remedy


def test_one_neuron_too_many_is_refused() -> None:
    chip = limited(neurons=4)
    network = ring(4 * 128, 2)
    assert len(map_network(network, chip).cores) == 128
    with pytest.raises(DoesNotFitError) as caught:
        map_network(ring(4 * 128 + 1, 2), chip)
    (fault,) = caught.value.diagnostics
    assert fault.code == "SC331"
    assert fault.limit == "128 cores"
    assert "2 chips" in fault.remedy
    assert map_network(ring(4 * 128 + 1, 2), replace(chip, chips=2)).chips_used == 2


def test_a_ring_is_cut_at_few_places() -> None:
    """Each cut of the ring costs 4 packets, and 5 cores need 5. The order in which the neurons are is of no use."""
    network = ring(5000, 4)
    found = verify_mapping(network, map_network(network, LOIHI1))
    assert 5 * 4 <= found.packets <= 4 * 5 * 4
    assert verify_mapping(network, fill_network(network, replace(LOIHI1, chips=8))).packets > 100 * found.packets


def test_rates_decide_where_a_ring_is_cut() -> None:
    network = ring(64, 1)
    loud = {"a": np.where(np.arange(64) < 32, 100.0, 1.0)}
    found = verify_mapping(network, map_network(network, limited(neurons=20), loud), loud)
    assert found.packets < 100  # no neuron that is loud has its target on another core


def test_a_stencil_shares_its_weights() -> None:
    """A block of an image costs little more than its kernel, by the formula of the memory: the corners, edges and the
    inside of 6 x 6 neurons, read by a kernel of 3 x 3, take 25 lists of synapses, of each input channel."""
    conv = IntegerConv(weight=np.arange(9).reshape(1, 1, 3, 3) * 2, input_shape=(1, 6, 6), output_shape=(1, 6, 6),
                       padding=(1, 1))
    network = verify_integer(IntegerNetwork(
        inputs={"x": (1, 6, 6)}, populations={"a": population("a", 1, 6, 6)}, outputs={"out": "a"}, dt=1e-3,
        projections=(IntegerProjection(name="xa", source="x", target="a", connection=conv),)))
    (core,) = map_network(network, LOIHI1).cores
    lists = {1: 0, 2: 0, 3: 0, 4: 0, 6: 0, 9: 0}
    for down in (2, 3, 2):  # taps that the first row, those inside and the last row have: each one list
        for right in (2, 3, 2):
            lists[down * right] += 1
    assert core.loads["synapse_bits"] == sum(count * 64 * -(-(18 * taps + 10) // 64) for taps, count in lists.items())


def changed(mapping: ChipMapping, number: int, **fields: Any) -> ChipMapping:
    cores = list(mapping.cores)
    cores[number] = replace(cores[number], **fields)
    return replace(mapping, cores=tuple(cores))


def with_load(core: CoreContent, name: str) -> dict[str, int]:
    return {**core.loads, name: core.loads[name] + 1}


NETWORK = ring(60, 3)
MAPPING = map_network(NETWORK, limited(neurons=20))
FIRST, SECOND = MAPPING.cores[0], MAPPING.cores[1]
WRONG = {
    "a neuron is nowhere": (changed(MAPPING, 0, parts={"a": FIRST.parts["a"][1:]}), "SC332"),
    "a neuron is there twice": (changed(MAPPING, 0, parts={"a": np.append(FIRST.parts["a"], SECOND.parts["a"][0])}),
                                "SC332"),
    "a neuron does not exist": (changed(MAPPING, 0, parts={"a": np.append(FIRST.parts["a"], 60)}), "SC332"),
    "a population does not exist": (changed(MAPPING, 0, parts={**FIRST.parts, "b": np.arange(1)}), "SC332"),
    "two cores at one place": (
        changed(MAPPING, 0, x=SECOND.x, y=SECOND.y, core=SECOND.core, chip=SECOND.chip), "SC332"),
    "a core off the mesh": (changed(MAPPING, 0, x=8), "SC332"),
    "a chip that is not there": (changed(MAPPING, 0, chip=1), "SC332"),
    "an empty core": (replace(MAPPING, cores=(*MAPPING.cores, replace(FIRST, parts={}, chip=0, x=7, y=3))), "SC332"),
    "beyond a limit": (replace(MAPPING, chip=limited(in_axons=10)), "SC334"),
    **{f"{name} is off by one": (changed(MAPPING, 0, loads=with_load(FIRST, name)), "SC333") for name in RESOURCES},
}


@pytest.mark.parametrize("what", WRONG)
def test_wrong_mappings_are_found_out(what: str) -> None:
    mapping, code = WRONG[what]
    with pytest.raises(BadInputError) as caught:
        verify_mapping(NETWORK, mapping)
    assert {fault.code for fault in caught.value.diagnostics} == {code}


def test_a_mapping_of_another_network_is_found_out() -> None:
    with pytest.raises(BadInputError, match="SC333"):
        verify_mapping(ring(60, 3, seed=1), MAPPING)


@pytest.mark.parametrize("spoil", [
    lambda told: told.pop("cores"), lambda told: told.update(version=1), lambda told: told["cores"][0].pop("x"),
    lambda told: told["cores"][0].update(core=-1), lambda told: told["cores"][0]["parts"].update(a=[0.5]),
    lambda told: told["chip"]["limits"].pop("in_axons"), lambda told: told["chip"].update(chips=True),
])
def test_malformed_json_is_refused(spoil: Any) -> None:
    told = json.loads(json.dumps(mapping_to_json(MAPPING)))
    spoil(told)
    with pytest.raises(BadInputError, match="SC332"):
        mapping_from_json(told)


@pytest.mark.parametrize("rates", [
    {"a": np.ones(59)}, {"a": -np.ones(60)}, {"b": np.ones(60)}, {"a": np.full(60, np.nan)}])
def test_malformed_rates_are_refused(rates: dict[str, Any]) -> None:
    with pytest.raises(BadInputError, match="SC335"):
        map_network(NETWORK, LOIHI1, rates)
