"""Traffic between cores against a walk over single synapses; energy against sums by hand; profiles and their faults."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from integer_nets import random_case
from loihi_mappings import scattered

from spikec.ir.diagnostics import BadInputError
from spikec.ir.integer.step import simulate_integer
from spikec.passes.traffic import traffic
from spikec.targets.loihi.counts import Activity, Counts
from spikec.targets.loihi.energy import LABEL, estimate
from spikec.targets.loihi.energy_profile import EnergyProfile, own_profile, read_profile
from spikec.targets.loihi.flows import Flows


@pytest.mark.parametrize("seed", range(4))
def test_flows_by_direction_are_sums_over_pairs_of_cores(seed: int) -> None:
    network, _ = random_case(seed)
    mapping = scattered(network, seed)
    rng = np.random.default_rng(seed)
    rates = {name: rng.random(network.size(name)) for name in (*network.inputs, *network.populations)}
    found, packets = Flows.of(network, mapping, rates), traffic(network, mapping, rates)
    where, chips = mapping.routers(), [core.chip for core in mapping.cores]
    across = down = hops = 0.0
    for source, target, sent in zip(packets.source, packets.target, packets.sent, strict=True):
        x, y = np.abs(where[source] - where[target])
        hops += sent * (x + y)
        if chips[source] == chips[target]:
            across, down = across + sent * x, down + sent * y
        assert found.matrix(len(mapping.cores))[source, target] == sent
    assert (found.east_west, found.north_south, found.hops) == pytest.approx((across, down, hops))
    assert list(found.sent) == sorted(packets.sent, reverse=True)
    told = json.loads(json.dumps(found.as_dict()))
    assert sum(flow[2] for flow in told["flows"]) == pytest.approx(told["spikes_between_cores"])


def test_energy_is_the_sum_of_its_operations() -> None:
    network, rasters = random_case(2, batch=3)
    mapping = scattered(network, 2, chips=1)
    result = simulate_integer(network, rasters)
    activity = Activity.of(network, rasters, result)
    counts = Counts.count(network, activity)
    steps = activity.steps
    rates = {name: each / steps for name, each in activity.spikes.items()}
    flows = Flows.of(network, mapping, rates)
    profile = own_profile("loihi1")
    assert profile is not None
    found = estimate(counts, profile, mapping, flows)
    assert counts.membrane_updates is not None
    active = counts.membrane_updates / steps
    expected = {
        "synapses": counts.effective / steps * 23.6e-12,
        "neurons": active * 81e-12 + (counts.neurons - active) * 52e-12,
        "spikes": (flows.between + flows.inputs) * 1.7e-12,
        "hops": flows.east_west * 3e-12 + flows.north_south * 4e-12,
    }
    assert found.dynamic == {name: pytest.approx(value) for name, value in expected.items()}
    assert sum(found.by_population.values()) == pytest.approx(expected["synapses"] + expected["neurons"])
    busiest = 0.0
    for core in mapping.cores:
        taken = sum(counts.arriving[name][kept].sum() for name, kept in core.parts.items()) / steps
        changed = sum(activity.updates[name][kept].sum() for name, kept in core.parts.items()) / steps
        size = sum(map(len, core.parts.values()))
        busiest = max(busiest, taken * 3.5e-9 + changed * 8.4e-9 + (size - changed) * 5.3e-9)
    tiles = len({(core.x, core.y) for core in mapping.cores})
    assert found.seconds == pytest.approx(busiest + 113e-9 + (465 - 113) * 1e-9 * (tiles - 1) / 31)
    assert found.static == pytest.approx(found.seconds * 0.1044)
    assert found.left_out == ()
    inference = found.joules_per_inference
    assert inference == pytest.approx((sum(expected.values()) + found.static) * steps)
    assert found.energy_delay == pytest.approx(inference * found.seconds * steps)
    told = json.loads(json.dumps(found.as_dict()))
    assert told["label"] == LABEL
    assert told["total_power"] == pytest.approx(told["dynamic_power"] + told["static_total_power"])


def test_rates_alone_give_a_column_alone() -> None:
    network, _ = random_case(2)
    profile = own_profile("loihi1")
    assert profile is not None
    counts = Counts.count(network, Activity.of_rates(network, {}))
    found = estimate(counts, profile)
    assert (found.joules_per_inference, found.seconds, found.static, found.energy_delay) == (None,) * 4
    assert found.dynamic == {"synapses": 0.0, "neurons": pytest.approx(counts.neurons * 81e-12)}
    assert "there is no mapping" in found.left_out[-1]


def test_there_are_no_figures_of_loihi_2() -> None:
    assert own_profile("loihi2") is None


def test_what_a_profile_lacks_is_told(tmp_path: Path) -> None:
    own = tmp_path / "own.json"
    own.write_text(json.dumps({"energy": {"synaptic_operation": {"value": 1e-12, "source": "my own measurement"}}}))
    profile = read_profile(own)
    assert profile.name == "own"
    assert [(*each[:2], each[2].source) for each in profile.rows()] == [
        ("energy", "synaptic_operation", "my own measurement")]
    network, rasters = random_case(2)
    mapping = scattered(network, 2)
    activity = Activity.of(network, rasters, simulate_integer(network, rasters))
    flows = Flows.of(network, mapping, {name: each / activity.steps for name, each in activity.spikes.items()})
    found = estimate(Counts.count(network, activity), profile, mapping, flows)
    assert found.seconds is None and found.static is None
    assert {"energy of neuron_update_active", "energy of hop_east_west", "static power", "spikes between chips"} <= set(
        found.left_out)


@pytest.mark.parametrize(("text", "code", "word"), [
    ("[", "SC570", "no TOML"), ("name = 3\n[energy.spike]\nvalue = 1\nsource = 's'", "SC570", "'name'"),
    ("", "SC570", "no figure"), ("colour = 'red'", "SC570", "colour"),
    ("[energy.flop]\nvalue = 1\nsource = 's'", "SC570", "energy.flop"),
    ("[energy.spike]\nvalue = -1\nsource = 's'", "SC570", "energy.spike"),
    ("[energy.spike]\nvalue = nan\nsource = 's'", "SC570", "energy.spike"),
    ("[energy.spike]\nvalue = true\nsource = 's'", "SC570", "energy.spike"),
    ("[energy.spike]\nvalue = 1", "SC570", "energy.spike"), ("energy = 3", "SC570", "'energy'"),
])
def test_profiles_that_are_none(tmp_path: Path, text: str, code: str, word: str) -> None:
    path = tmp_path / "own.toml"
    path.write_text(text)
    with pytest.raises(BadInputError) as caught:
        read_profile(path)
    assert {each.code for each in caught.value.diagnostics} == {code}
    assert word in str(caught.value)


def test_a_profile_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="SC523"):
        read_profile(tmp_path / "none.toml")
    (tmp_path / "list.json").write_text("[]")
    with pytest.raises(BadInputError, match="SC570"):
        read_profile(tmp_path / "list.json")


def test_every_figure_of_our_own_names_its_source() -> None:
    profile = own_profile("loihi1")
    assert isinstance(profile, EnergyProfile)
    assert len(list(profile.rows())) == 12
    assert all("Davies" in figure.source or "Frady" in figure.source for _, _, figure in profile.rows())
    assert "0.75 V" in profile.note


def test_the_profile_of_the_page_is_one(tmp_path: Path) -> None:
    page = Path(__file__).parent.parent / "docs" / "reports.md"
    (block,) = re.findall(r"```toml\n(.*?)```", page.read_text(), re.DOTALL)
    (tmp_path / "own.toml").write_text(block)
    assert read_profile(tmp_path / "own.toml").value("energy", "synaptic_operation") == 8e-12
