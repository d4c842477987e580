"""Recordings of event cameras and cochleas as input of a network: structured arrays with the fields x, y, t, p.

That is what tonic's data sets give (`tonic.datasets`, `CachedDataset`, `SlicedDataset`), after whatever its transforms
do with events: downsampling, cropping, denoising. Nothing here needs tonic; any structured array of that kind will do.
A channel is one polarity of one pixel, in C-order over `shape_of(sensor_size)`, which is the shape for the Input node.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from ..ir.diagnostics import BadInputError, Diagnostic, Diagnostics
from ..ir.events import MOST_EVENTS, Events
from ..ir.facts import is_number, is_whole
from ..ir.nodes import Array

__all__ = ["from_structured", "from_tonic", "shape_of"]

_REMEDY = ("Give structured arrays with the fields x, y, t and p, as tonic's data sets do without ToFrame and the "
           "like; frames go through Events.from_dense.")


def shape_of(sensor_size: tuple[int, int, int]) -> tuple[int, int, int]:
    """(polarities, height, width), the shape of an Input node, of tonic's `sensor_size` (width, height, polarities).

    Raises:
        BadInputError: it is no such triple of positive whole numbers (SC544).
    """
    size = tuple(sensor_size) if isinstance(sensor_size, Sequence | np.ndarray) else ()
    if len(size) != 3 or not all(is_whole(each) and each > 0 for each in size):
        raise BadInputError(Diagnostic("SC544", "sensor_size is (width, height, polarities)", value=repr(sensor_size),
                                       limit="three whole numbers >= 1"))
    width, height, polarities = (int(each) for each in size)
    return polarities, height, width


def from_structured(recordings: Any, sensor_size: tuple[int, int, int], *, window: tuple[float, float] | None = None,
                    from_first: bool = False, time_unit: float = 1e-6) -> Events:
    """A batch of events from structured arrays, one a sample (a single array is a batch of one), in any order.

    `sensor_size`: (width, height, polarities), as tonic has it. With one polarity, p is not looked at; with a height
    of 1, y may be missing. `from_first`: times count from the first event of each recording. `window` (start, stop) in
    seconds: only events from `start` on and before `stop`, their times counted from `start`. `time_unit`: seconds of
    one unit of t; tonic's are microseconds.

    Raises:
        BadInputError: naming the first recording that is no such array, and the first event that is outside the sensor
            or before t = 0 (SC544); an option out of range (SC544).
    """
    shape = shape_of(sensor_size)
    _check_options(window, time_unit)
    given = [recordings] if isinstance(recordings, np.ndarray) and recordings.dtype.names else _listed(recordings)
    return Events.from_samples(_limited(
        _converted(each, number, shape, window, from_first, time_unit) for number, each in enumerate(given)))


def from_tonic(dataset: Any, sensor_size: tuple[int, int, int] | None = None, *, samples: Iterable[int] | None = None,
               window: tuple[float, float] | None = None, from_first: bool = False,
               time_unit: float = 1e-6) -> tuple[Events, Array]:
    """(events, labels) of a tonic data set, or of anything that gives pairs (structured array, label) by number.

    `sensor_size`: by default the data set's own; after a transform that changes it, the new one. `samples`: numbers of
    samples, by default all. The other arguments and the events are as for `from_structured`; `labels` (batch,) int64.

    Raises:
        BadInputError: as `from_structured`; no sensor size is known, or a label is no whole number (SC544).
    """
    if sensor_size is None:
        sensor_size = getattr(dataset, "sensor_size", None)
    if sensor_size is None:
        raise BadInputError(Diagnostic(
            "SC544", "the data set states no size of its sensor", value=type(dataset).__name__,
            remedy="Give sensor_size=(width, height, polarities); where it differs from sample to sample, crop first."))
    shape = shape_of(sensor_size)
    _check_options(window, time_unit)
    labels: list[int] = []

    def converted() -> Iterable[tuple[Array, Array]]:
        for number in range(len(dataset)) if samples is None else samples:
            pair = dataset[number]
            if not isinstance(pair, Sequence) or len(pair) != 2:
                raise _malformed(number, "a sample is a pair (events, label)", type(pair).__name__)
            labels.append(_label(pair[1], number))
            yield _converted(pair[0], number, shape, window, from_first, time_unit)

    events = Events.from_samples(_limited(converted()))
    return events, np.array(labels, dtype=np.int64)


def _check_options(window: Any, time_unit: Any) -> None:
    faults = Diagnostics()
    if not (is_number(time_unit) and 0 < time_unit < math.inf):
        faults.add("SC544", "time_unit is a positive number of seconds", value=repr(time_unit))
    if window is not None:
        ends = tuple(window) if isinstance(window, Sequence) else ()
        if len(ends) != 2 or not all(is_number(each) and math.isfinite(each) for each in ends) or ends[0] >= ends[1]:
            faults.add("SC544", "window is (start, stop) in seconds", value=repr(window), limit="start < stop")
    faults.raise_if_errors()


def _listed(recordings: Any) -> Iterable[Any]:
    if not isinstance(recordings, Iterable):
        raise BadInputError(Diagnostic("SC544", "recordings are a list of structured arrays",
                                       value=type(recordings).__name__, remedy=_REMEDY))
    return recordings


def _limited(samples: Iterable[tuple[Array, Array]]) -> Iterable[tuple[Array, Array]]:
    """The samples, as long as they are no more events than a batch may hold."""
    total = 0
    for times, indices in samples:
        total += len(times)
        if total > MOST_EVENTS:
            raise BadInputError(Diagnostic("SC544", "these are more events than one batch may hold", value=f"{total:,}",
                                           limit=f"{MOST_EVENTS:,}", remedy="Give fewer samples, or a window."))
        yield times, indices


def _converted(recording: Any, number: int, shape: tuple[int, int, int], window: tuple[float, float] | None,
               from_first: bool, time_unit: float) -> tuple[Array, Array]:
    """(times in seconds, channels) of one recording."""
    events = np.asarray(recording)
    names = events.dtype.names or ()
    polarities, height, width = shape
    needed = {"t", "x"} | ({"y"} if height > 1 else set()) | ({"p"} if polarities > 1 else set())
    if not needed <= set(names) or events.ndim != 1:
        raise _malformed(number, "a recording is a structured array of one axis",
                         f"fields {', '.join(names) or 'none'}, shape {events.shape}")
    odd = [name for name in sorted(needed) if events.dtype[name].kind not in ("iufb" if name == "p" else "iuf")]
    if odd:
        raise _malformed(number, "the fields of a recording are numbers", f"{odd[0]}: {events.dtype[odd[0]]}")
    channel = np.zeros(len(events), dtype=np.int64)
    for name, size in (("p", polarities), ("y", height), ("x", width)):
        if name in needed:
            channel = channel * size + _within(events[name], name, size, number)
    stamps = events["t"]
    if from_first and len(stamps):
        stamps = stamps - stamps.min()  # before it becomes a float, which has not room for all digits of a date
    times = stamps.astype(np.float64) * time_unit
    if window is not None:
        inside = (times >= window[0]) & (times < window[1])
        times, channel = times[inside] - window[0], channel[inside]
    early = ~(np.isfinite(times) & (times >= 0))
    if early.any():
        at = int(np.argmax(early))
        raise _malformed(number, "a recording has an event before t = 0, or at no time", f"event {at}: {times[at]:g} s",
                         remedy="Give from_first=True, or a window that starts where the recording does.")
    return times, channel


def _within(values: Array, name: str, size: int, number: int) -> Array:
    outside = ~((values >= 0) & (values < size) & (values == np.floor(values)))
    if outside.any():
        at = int(np.argmax(outside))
        remedy = ("Polarities count from 0: replace -1 by 0." if name == "p" else
                  "Give the sensor_size that the events have after all transforms.")
        raise _malformed(number, f"an event is outside the sensor: {name}", f"event {at}: {values[at]}",
                         limit=f"0..{size - 1}", remedy=remedy)
    return values.astype(np.int64)


def _label(value: Any, number: int) -> int:
    array = np.asarray(value)
    if array.size != 1 or array.dtype.kind not in "iu":
        raise _malformed(number, "a label is one whole number", f"{array.dtype} {array.shape}",
                         remedy="Give the data set a target_transform.")
    return int(array.reshape(()))


def _malformed(number: int, message: str, value: str, limit: str | None = None,
               remedy: str = _REMEDY) -> BadInputError:
    return BadInputError(Diagnostic("SC544", message, value=f"sample {number}: {value}", limit=limit, remedy=remedy))
