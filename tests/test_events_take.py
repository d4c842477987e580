"""Batches of events: choosing samples, and what is said of those that are malformed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from spikec.ir.diagnostics import BadInputError
from spikec.ir.events import Events


def batch() -> Events:
    generator = np.random.default_rng(5)
    return Events.from_samples([(generator.random(n), generator.integers(0, 9, n)) for n in (3, 0, 7, 1, 4)])


def test_take_is_sample_by_sample() -> None:
    events = batch().checked(9)
    chosen = [4, 1, 2, 2, 0]
    taken = events.take(chosen)
    assert taken.batch == 5
    for position, number in enumerate(chosen):
        for one, other in zip(taken.sample(position), events.sample(number), strict=True):
            np.testing.assert_array_equal(one, other)
    taken.checked(9)
    assert events.take([]).batch == 0


def test_a_batch_is_shown_by_its_sizes() -> None:
    assert repr(batch()) == "Events(5 samples, 15 events)"
    assert repr(batch().take([])) == "Events(0 samples, 0 events)"


def test_keep_leaves_events_out() -> None:
    events = batch()
    keep = np.random.default_rng(6).random(len(events)) < 0.5
    taken = events.take([2, 1, 4], keep)
    for position, number in enumerate([2, 1, 4]):
        span = slice(events.offsets[number], events.offsets[number + 1])
        np.testing.assert_array_equal(taken.sample(position)[0], events.times[span][keep[span]])
        np.testing.assert_array_equal(taken.sample(position)[1], events.indices[span][keep[span]])


def test_take_of_tensors_keeps_the_gradient() -> None:
    plain = batch()
    times = torch.tensor(plain.times, requires_grad=True)
    taken = Events(times, torch.tensor(plain.indices), torch.tensor(plain.offsets)).take([0, 2, 2])
    taken.times.sum().backward()
    assert times.grad.tolist() == [1.0] * 3 + [2.0] * 7 + [0.0] * 5


@pytest.mark.parametrize(("wrong", "told"), [
    (lambda events: events.take([0, 7]), r"SC103.*no such sample.*position 1: 7; limit: 0\.\.4"),
    (lambda events: events.take([-1]), r"SC103.*position 0: -1"),
    (lambda events: events.take([True, False, True, True, True]), r"SC103.*bool.*flatnonzero"),
    (lambda events: events.take([0.5]), "SC103.*whole"),
    (lambda events: events.take(3), r"SC103.*shape \(\)"),
    (lambda events: events.take([0], keep=np.ones(3, dtype=bool)), r"SC107.*bool \(3,\); limit: bool \(15,\)"),
    (lambda events: events.sample(9), r"SC103.*value: 9; limit: 0\.\.4"),
    (lambda events: events.sample(-1), "SC103.*value: -1"),
    (lambda events: events.sample("a"), "SC103.*value: 'a'"),
    (lambda events: events.take([]).sample(0), "SC103.*empty"),
])
def test_samples_that_are_not_there_are_diagnosed(wrong: Any, told: str) -> None:
    with pytest.raises(BadInputError, match=told):
        wrong(batch())


@pytest.mark.parametrize(("samples", "told"), [
    ([([], []), ([1e-3, 2e-3], [0])], "SC107.*sample 1: 2 times, 1 indices"),
    ([(1, 2, 3)], "SC107.*pair.*sample 0: 3"),
    ([([], []), 5], "SC107.*pair.*sample 1: int"),
    (None, "SC107.*list of pairs.*NoneType"),
    ([(["a"], [0])], "SC107.*numbers.*sample 0"),
    ([([1.0, [2.0]], [0, 1])], "SC107.*numbers.*sample 0"),
    ([([1.0], [0.5])], r"SC103.*sample 0.*whole.*0\.5"),
    ([([1.0], [True])], "SC103.*whole.*bool"),
])
def test_samples_of_another_form_are_diagnosed(samples: Any, told: str) -> None:
    with pytest.raises(BadInputError, match=told):
        Events.from_samples(samples)


@pytest.mark.parametrize(("events", "told"), [
    (Events([0.1, -1.0, 2.0], [0, 0, 0], [0, 1, 1, 3]), r"SC103.*negative.*sample 2, position 0: -1\.0"),
    (Events([0.1, 0.2, np.nan], [0, 0, 0], [0, 1, 3]), "SC104.*sample 1, position 1: nan"),
    (Events([0.1, 0.5, 0.2], [0, 0, 0], [0, 1, 3]), r"SC103.*ascend.*sample 1, position 1: 0\.2 after 0\.5"),
    (Events([0.1, 0.2, 0.3], [0, 0, 9], [0, 1, 3]), r"SC405.*sample 1, position 1: 9; limit: 0\.\.8"),
    (Events([0.1, 0.2, 0.3], [-1, 0, 0], [0, 1, 3]), "SC405.*sample 0, position 0: -1"),
    (Events([0.1, 0.2], [0], [0, 2]), "SC107.*2 times, 1 indices"),
])
def test_faults_of_events_are_told_with_their_place(events: Events, told: str) -> None:
    with pytest.raises(BadInputError, match=told):
        events.checked(9)


@pytest.mark.parametrize(("raster", "dt", "told"), [
    (np.full((1, 2, 3, 2), 0.5), 1e-3, r"SC104.*sample 0, step 0, channel \(0, 0\): 0\.5"),
    (np.array([[[0, 1], [0, -2]]]), 1e-3, "SC104.*sample 0, step 1, channel 1: -2"),
    (np.full((1, 2, 3), 1e12), 1e-3, "SC103.*more events"),
    (np.array([[["a"]]]), 1e-3, "SC107.*counts"),
    (np.zeros((1, 2, 3)), "a", "SC103.*dt.*'a'"),
    (np.zeros((1, 2, 3)), 0.0, "SC103.*dt"),
])
def test_rasters_that_are_none_are_diagnosed(raster: Any, dt: Any, told: str) -> None:
    with pytest.raises(BadInputError, match=told):
        Events.from_dense(raster, dt)
