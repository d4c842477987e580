"""Sounds as spikes: levels of the bands of a mel spectrogram, and neurons without leak that integrate them."""

from __future__ import annotations

from math import inf
from typing import Any

import numpy as np

from ..ir.diagnostics import Diagnostics
from ..ir.events import Events, check_room
from ..ir.facts import is_number
from ..ir.nodes import Array

__all__ = ["HOP", "integrated", "levels", "mel_filters"]

HOP = 10e-3
"""Seconds between two columns of levels."""
_WINDOW, _FREQUENCIES = 32e-3, 512
_LOW, _EMPHASIS = 100.0, 0.95
_SILENCE = 35.0  # dB below the loudest column of a recording, what its ends are cut at
_CHUNK = 250


def mel_filters(bands: int, rate: int) -> Array:
    """(bands, frequencies): triangles that are evenly spaced on the mel scale, m = 2595 log10(1 + f / 700 Hz), from 100
    Hz to half the sampling `rate`, each of sum 1."""
    low, high = (2595 * np.log10(1 + f / 700) for f in (_LOW, rate / 2))
    edges = np.linspace(low, high, bands + 2)
    hertz = 700 * (10 ** (edges / 2595) - 1)
    at = np.arange(_FREQUENCIES // 2 + 1) * rate / _FREQUENCIES
    left, top, right = hertz[:-2, None], hertz[1:-1, None], hertz[2:, None]
    weights = np.maximum(0, np.minimum((at - left) / (top - left), (right - at) / (right - top)))
    return np.asarray(weights / np.maximum(weights.sum(1, keepdims=True), 1e-12))


def levels(sound: Array, rate: int, filters: Array, columns: int, floor: float = 45.0) -> Array:
    """(columns, bands) in 0..1: the power in each band in decibels, 1 for the largest of the recording, 0 for `floor`
    decibels below it and less. Windows of 32 ms every 10 ms, after a high-pass of first order. Begins one column before
    the first that is within 35 dB of the loudest, and ends after the last such; what is longer is cut off, what is
    shorter is followed by zeros.

    `sound` (samples,), any numbers; `filters`: of `mel_filters`, for the same `rate`.
    """
    hop, window = round(HOP * rate), round(_WINDOW * rate)
    wave = np.asarray(sound, np.float64)
    wave = wave - _EMPHASIS * np.concatenate([wave[:1], wave[:-1]])
    padded = np.pad(wave, (window // 2, window))
    frames = np.lib.stride_tricks.sliding_window_view(padded, window)[::hop] * np.hanning(window)
    power = np.abs(np.fft.rfft(frames, _FREQUENCIES)) ** 2 @ filters.T + 1e-9
    loud = 10 * np.log10(power.sum(1))
    inside = np.flatnonzero(loud > loud.max() - _SILENCE)
    kept = 10 * np.log10(power[max(inside[0] - 1, 0):inside[-1] + 2])[:columns]
    found = np.zeros((columns, len(filters)), np.float32)
    found[:len(kept)] = np.clip(1 + (kept - kept.max()) / floor, 0, 1)
    return found


def integrated(values: Any, rate: float, hop: float = HOP) -> Events:
    """A spike of a channel whenever the integral of `rate` times its value has grown by 1, from 1/2 at the start: the
    times of neurons without leak, exact for values that are constant over each column of `hop` seconds.

    `values` (batch, columns, channels), not negative; `rate` in Hz.
    Raises: BadInputError (SC511) for another shape, a value that is negative or not finite, a rate or a hop that is not
    positive, or more spikes than one batch may hold.
    """
    array = np.asarray(values)
    faults = Diagnostics()
    for name, given in (("rate", rate), ("hop", hop)):
        if not (is_number(given) and 0 < given < inf):
            faults.add("SC511", f"{name} must be positive", value=repr(given), limit="a finite number > 0")
    if array.ndim != 3 or array.dtype.kind not in "fiub":
        faults.add("SC511", "levels are numbers, (batch, columns, channels)", value=f"{array.dtype} {array.shape}")
    elif not (np.isfinite(array).all() and (array >= 0).all()):
        faults.add("SC511", "a level is negative or not finite", limit=">= 0")
    elif not faults.errors:
        check_room("SC511", float(array.sum(dtype=np.float64)) * rate * hop, faults)
    faults.raise_if_errors()
    times, indices, counts = [], [], []
    for start in range(0, len(array), _CHUNK):
        after = 0.5 + np.cumsum(array[start:start + _CHUNK].astype(np.float64) * (rate * hop), axis=1)
        before = np.concatenate([np.full_like(after[:, :1], 0.5), after[:, :-1]], axis=1)
        number = (np.floor(after) - np.floor(before)).astype(np.int64)
        sample, column, channel = np.nonzero(number)
        repeats = number[sample, column, channel]
        within = np.arange(repeats.sum()) - np.repeat(np.cumsum(repeats) - repeats, repeats)
        sample, column, channel = (np.repeat(each, repeats) for each in (sample, column, channel))
        begin, end = before[sample, column, channel], after[sample, column, channel]
        time = hop * (column + (np.floor(begin) + 1 + within - begin) / (end - begin))
        order = np.lexsort((channel, time, sample))
        times.append(time[order])
        indices.append(channel[order])
        counts.append(number.sum((1, 2)))
    offsets = np.cumsum(np.concatenate([np.zeros(1, np.int64), *counts]), dtype=np.int64)
    return Events(np.concatenate([np.empty(0), *times]), np.concatenate([np.empty(0, np.int64), *indices]), offsets)
