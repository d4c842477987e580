"""Choosing samples of a batch of events."""

from __future__ import annotations

import numpy as np
import torch

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
