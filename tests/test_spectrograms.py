"""Sounds as levels of mel bands, and levels as spikes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import spikec
from spikec.runtime.spectrograms import HOP, integrated, levels, mel_filters

RATE = 8000


def test_filters_are_triangles_of_sum_one() -> None:
    filters = mel_filters(40, RATE)
    assert filters.shape == (40, 257)
    assert np.allclose(filters.sum(1), 1)
    assert (filters >= 0).all()
    peaks = filters.argmax(1)
    assert (np.diff(peaks) >= 0).all()
    assert peaks[-1] * RATE / 512 < 4000


def test_a_tone_is_in_its_band_and_silence_is_cut() -> None:
    filters, time = mel_filters(40, RATE), np.arange(RATE // 2) / RATE
    sound = np.concatenate([np.zeros(RATE // 4), 1e4 * np.sin(2 * np.pi * 1000 * time), np.zeros(RATE // 4)])
    found = levels(sound, RATE, filters, 80)
    assert found.shape == (80, 40)
    lasts = int((found.max(1) > 0.5).sum())
    assert lasts == pytest.approx(0.5 / HOP, abs=4)
    band = int(np.abs(filters.argmax(1) * RATE / 512 - 1000).argmin())
    assert abs(int(found[20].argmax()) - band) <= 1
    assert found[20].max() == pytest.approx(1.0, abs=0.05)
    assert (found[60:] == 0).all(), "the silence after it is cut off"
    assert np.allclose(levels(sound / 50, RATE, filters, 80), found, atol=1e-3), "whatever its loudness"


@given(st.integers(1, 4), st.integers(1, 6), st.integers(1, 5), st.floats(5.0, 900.0), st.integers(0, 1000))
def test_spikes_are_where_the_integral_says(batch: int, columns: int, channels: int, rate: float, seed: int) -> None:
    """Looked for one by one, on the piecewise linear integral of each channel."""
    draw = np.random.default_rng(seed)
    values = draw.random((batch, columns, channels)) * (draw.random((batch, columns, channels)) < 0.7)
    events = integrated(values, rate)
    for sample in range(batch):
        begin, end = events.offsets[sample], events.offsets[sample + 1]
        times, indices = events.times[begin:end], events.indices[begin:end]
        assert (np.diff(times) >= 0).all()
        for channel in range(channels):
            whole = 0.5 + np.concatenate([[0.0], np.cumsum(values[sample, :, channel] * rate * HOP)])
            wanted = []
            for number in range(1, int(np.floor(whole[-1] + 1e-9)) + 1):
                column = int(np.searchsorted(whole, number - 1e-12)) - 1
                wanted.append(HOP * (column + (number - whole[column]) / (whole[column + 1] - whole[column])))
            mine = times[indices == channel]
            assert abs(len(mine) - len(wanted)) <= (1 if abs(whole[-1] - round(whole[-1])) < 1e-9 else 0)
            assert np.allclose(mine[:len(wanted)], wanted[:len(mine)], atol=1e-9)


@pytest.mark.parametrize(("values", "rate"), [
    (np.zeros((2, 3)), 10.0), (np.full((1, 2, 2), -1.0), 10.0), (np.full((1, 2, 2), np.nan), 10.0),
    (np.zeros((1, 2, 2)), 0.0), (np.zeros((1, 2, 2)), "fast"), (np.full((1, 2, 2), 1e30), 1e9),
    (np.array([[["a"]]]), 10.0),
])
def test_what_is_no_level_is_refused(values: np.ndarray, rate: float) -> None:
    with pytest.raises(spikec.BadInputError) as caught:
        integrated(values, rate)
    assert {each.code for each in caught.value.diagnostics} == {"SC511"}
