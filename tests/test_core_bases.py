"""Weights of a core as sums of four currents: never worse than a binary-weighted scale, exact where they can be."""

from __future__ import annotations

import hypothesis
import hypothesis.extra.numpy as arrays
import hypothesis.strategies as st
import numpy as np
import pytest

from spikec.ir.diagnostics import BadInputError
from spikec.passes.core_bases import BASES, fit_core_bases, hold_in_bases

QUICK = hypothesis.settings(deadline=None, max_examples=60, derandomize=True)
MATRICES = arrays.arrays(np.float64, arrays.array_shapes(min_dims=2, max_dims=2, min_side=0, max_side=9),
                         elements=st.floats(-1e3, 1e3) | st.just(0.0))


def binary(weights: np.ndarray) -> np.ndarray:
    return 2.0 ** np.arange(BASES) / 15 * np.abs(weights).max(initial=0.0)


@QUICK
@hypothesis.given(MATRICES)
def test_never_worse_than_a_binary_scale(weights: np.ndarray) -> None:
    fit = fit_core_bases(weights)
    assert fit.error <= hold_in_bases(weights, binary(weights)).error * (1 + 1e-9)
    assert (fit.bases >= 0).all() and fit.masks.max(initial=0) < 16
    assert (fit.masks[weights == 0] == 0).all()
    assert (fit.signs == np.where(fit.masks > 0, np.sign(weights), 0)).all()
    norm = np.linalg.norm(weights)
    assert fit.error == pytest.approx(np.linalg.norm(weights - fit.weights) / norm if norm else 0.0, abs=1e-12)


@QUICK
@hypothesis.given(MATRICES, arrays.arrays(np.float64, BASES, elements=st.floats(0, 500)))
def test_masks_are_the_nearest_levels(weights: np.ndarray, bases: np.ndarray) -> None:
    held = hold_in_bases(weights, bases)
    levels = [sum(base for bit, base in enumerate(bases) if mask >> bit & 1) for mask in range(16)]
    best = np.abs(np.abs(weights)[..., None] - levels).min(-1)
    np.testing.assert_allclose(np.abs(np.abs(held.weights) - np.abs(weights)), best, rtol=0, atol=1e-9)


@QUICK
@hypothesis.given(st.lists(st.floats(0.01, 10), min_size=BASES, max_size=BASES), st.integers(0, 2**32 - 1),
                  st.sampled_from([1e-12, 1.0, 1e6]))
def test_weights_made_of_four_currents_come_back(bases: list[float], seed: int, unit: float) -> None:
    random = np.random.default_rng(seed)
    masks = np.concatenate([np.arange(16), random.integers(0, 16, 84)]).reshape(10, 10)
    levels = (masks[..., None] >> np.arange(BASES) & 1) @ np.array(bases) * unit
    weights = levels * random.choice([-1, 1], masks.shape)
    fit = fit_core_bases(weights)
    assert fit.error < 1e-7
    np.testing.assert_allclose(fit.weights, weights, rtol=0, atol=1e-7 * np.abs(weights).max())


def test_a_gaussian_core_loses_less_than_on_a_binary_scale() -> None:
    weights = np.random.default_rng(1).normal(size=(64, 64))
    fit = fit_core_bases(weights)
    assert fit.error < 0.07 and fit.error < 0.9 * hold_in_bases(weights, binary(weights)).error


def test_the_same_seed_gives_the_same_currents() -> None:
    weights = np.random.default_rng(2).normal(size=(20, 30))
    one, other = fit_core_bases(weights, seed=4), fit_core_bases(weights, seed=4)
    np.testing.assert_array_equal(one.bases, other.bases)
    np.testing.assert_array_equal(one.masks, other.masks)


def test_nothing_is_lost_of_nothing() -> None:
    for weights in (np.zeros((3, 4)), np.zeros((0, 4))):
        fit = fit_core_bases(weights)
        assert fit.error == 0 and not fit.masks.any() and fit.masks.shape == weights.shape


def test_what_is_no_number_is_refused() -> None:
    with pytest.raises(BadInputError) as refused:
        fit_core_bases(np.array([[1.0, np.nan]]), starts=-1)
    assert [each.code for each in refused.value.diagnostics] == ["SC104", "SC103"]
