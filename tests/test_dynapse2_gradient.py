"""The gradient of spike times of DPI neurons against differences of the oracle's."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from test_dynapse2_dpi import PICO, network_of, neurons

from spikec.ir.analog.dpi import DpiNetwork
from spikec.ir.analog.dpi_gradient import dpi_gradients
from spikec.ir.analog.dpi_run import simulate_dpi
from spikec.ir.diagnostics import BadInputError
from spikec.ir.events import Events
from spikec.runtime.analog.dpi import run_dpi

LENGTH = 0.05


def recurrent(seed: int, surge: bool) -> tuple[DpiNetwork, Events]:
    """Three neurons that excite and inhibit each other, held at the dark current now and then."""
    random = np.random.default_rng(seed)
    special = {"feedback": 0.0, "surge": 8.0, "surge_at": 0.5e-9, "surge_width": 0.1e-9,
               "threshold": 1e-9} if surge else {}
    population = neurons(3, tau_inh=4e-3, refractory=np.array([0.0, 1e-3, 3e-3]), tau_mem=10e-3, **special)
    weight = random.uniform(-100, 300, (3, 3)) * PICO * (1.5 if surge else 2.8)
    events = Events.from_samples([(np.sort(random.uniform(0, 0.04, 12)), random.integers(0, 3, 12))])
    return network_of(population, weight, random.uniform(-300, 150, (3, 3)) * PICO), events


@pytest.mark.parametrize("surge", [False, True])
def test_the_gradient_is_that_of_differences(surge: bool) -> None:
    network, events = recurrent(2, surge)
    spikes = simulate_dpi(network, {"in": events}, LENGTH)
    assert len(spikes["a"]) > 5 and len(set(spikes["a"].indices.tolist())) > 1
    slopes = np.random.default_rng(1).normal(size=len(spikes["a"]))
    found = dpi_gradients(network, {"in": events}, spikes, {"a": slopes}, LENGTH)

    def loss(changed: int, weight: np.ndarray) -> float:
        projections = list(network.projections)
        projections[changed] = replace(projections[changed], weight=weight)
        now = run_dpi(replace(network, projections=tuple(projections)), {"in": events}, LENGTH, tolerance=1e-12)["a"]
        np.testing.assert_array_equal(now.indices, spikes["a"].indices)
        return float(slopes @ now.times)

    largest = max(np.abs(each).max() for each in found.values())
    seen = 0
    for number, projection in enumerate(network.projections):
        for place in np.argwhere(projection.weight)[::2]:
            step = np.zeros((3, 3))
            step[tuple(place)] = 1e-5 * np.abs(projection.weight).max()
            difference = (loss(number, projection.weight + step) - loss(number, projection.weight - step)) / (
                2 * step.max())
            assert found[projection.name][tuple(place)] == pytest.approx(difference, rel=1e-5, abs=1e-6 * largest)
            seen += abs(difference) > 1e-3 * largest
    assert seen > 3


def test_samples_add_up_and_what_is_not_asked_for_does_not_count() -> None:
    network, events = recurrent(2, False)
    both = events.take([0, 0])
    spikes = simulate_dpi(network, {"in": both}, LENGTH, tolerance=1e-9)
    count = len(spikes["a"]) // 2
    slopes = np.concatenate([np.zeros(count), np.ones(count)])
    whole = dpi_gradients(network, {"in": both}, spikes, {"a": np.ones(2 * count)}, LENGTH, tolerance=1e-8)
    half = dpi_gradients(network, {"in": both}, spikes, {"a": slopes}, LENGTH, tolerance=1e-8)
    none = dpi_gradients(network, {"in": both}, spikes, {}, LENGTH, tolerance=1e-8)
    for name, each in whole.items():
        np.testing.assert_allclose(each, 2 * half[name], rtol=1e-12)
        assert not none[name].any() and each.any()


def test_faults_are_told() -> None:
    network, events = recurrent(2, False)
    with pytest.raises(BadInputError) as refused:
        dpi_gradients(network, {"in": events}, {}, {}, LENGTH)
    assert [each.code for each in refused.value.diagnostics] == ["SC403"]
    spikes = {"a": Events.from_samples([([0.01], [0]), ((), ())])}
    with pytest.raises(BadInputError) as refused:
        dpi_gradients(network, {"in": events}, spikes, {"a": np.zeros(3)}, LENGTH)
    assert sorted(each.code for each in refused.value.diagnostics) == ["SC107", "SC403"]
