"""Spike events: what goes into a network and what comes out. A batch of samples, never a dense time axis."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np

from .diagnostics import BadInputError, Diagnostic, Diagnostics
from .facts import check_dt, first_event, first_of, is_whole

__all__ = ["MOST_EVENTS", "Events", "check_room"]

MOST_EVENTS = 1 << 30
"""That one batch may be made with: 16 GiB of times and indices. A mistaken unit asks for far more."""


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Events:
    """`times` (total,) float64 seconds, ascending within a sample; `indices` (total,) int64, C-order over the node's
    shape; `offsets` (batch + 1,) int64: sample s owns `offsets[s]:offsets[s + 1]`. Numpy arrays or torch tensors;
    `times` may require grad. Several events at one instant and of one index are legal, and count each.

    Raises:
        BadInputError: from `checked`, naming every fault: shape and type (SC107), NaN (SC104), order and sign of times
            (SC103), an index out of range (SC405).
    """

    times: Any
    indices: Any
    offsets: Any
    _checked_for: list[int] = field(default_factory=list)

    @property
    def batch(self) -> int:
        """Number of samples."""
        return len(self.offsets) - 1

    def __len__(self) -> int:
        return len(self.times)

    def __repr__(self) -> str:
        return f"Events({self.batch} samples, {len(self)} events)"

    @classmethod
    def from_samples(cls, samples: Iterable[tuple[Any, Any]]) -> Events:
        """From one (times, indices) pair a sample, in any order; sorted here by (time, index).

        Raises:
            BadInputError: naming the first sample that is no pair of numbers of one length (SC107), or has an index
                that is not whole (SC103).
        """
        times, indices = [], []
        for number, sample in enumerate(_listed(samples)):
            one_times, one_indices = _pair(sample, number)
            order = np.lexsort((one_indices, one_times))
            times.append(one_times[order])
            indices.append(one_indices[order])
        offsets = np.zeros(len(times) + 1, dtype=np.int64)
        np.cumsum([len(one) for one in times], out=offsets[1:])
        return cls(
            np.concatenate([np.empty(0), *times]), np.concatenate([np.empty(0, np.int64), *indices]), offsets
        )

    @classmethod
    def from_dense(cls, raster: Any, dt: float) -> Events:
        """From a (batch, time, *shape) array of spike counts; column n (from 0) is time (n + 1) dt, `dt` in seconds.

        Raises:
            BadInputError: too few axes, or no numbers (SC107), counts that are negative or not whole (SC104), `dt`, or
                more events than memory is meant for (SC103).
        """
        counts = _numpy(raster)
        faults = Diagnostics()
        if counts.ndim < 3 or counts.dtype.kind not in "biuf":
            faults.add("SC107", "a dense raster is an array of counts, (batch, time, channel…)",
                       value=f"{counts.dtype} {counts.shape}")
        elif not (legal := np.isfinite(counts) & (counts >= 0) & (counts == np.round(counts))).all():
            faults.add("SC104", "a dense raster holds whole, non-negative spike counts", remedy="Encode values first.",
                       value=first_of(counts, ~legal, "sample", "step", "channel"))
        else:
            check_room("SC103", float(counts.sum(dtype=np.float64)), faults)
        check_dt(dt, "SC103", faults)
        faults.raise_if_errors()
        batch = counts.shape[0]
        flat = counts.reshape(batch, counts.shape[1], prod(counts.shape[2:])).astype(np.int64)
        sample, step, index = np.nonzero(flat)
        repeats = flat[sample, step, index]
        sample, step, index = (np.repeat(each, repeats) for each in (sample, step, index))
        offsets = np.searchsorted(sample, np.arange(batch + 1)).astype(np.int64)
        return cls((step + 1) * float(dt), index.astype(np.int64), offsets)

    def sample(self, number: int) -> tuple[Any, Any]:
        """(times, indices) of one sample, counted from 0.

        Raises:
            BadInputError: there is no such sample (SC103).
        """
        if not (is_whole(number) and 0 <= number < self.batch):
            raise self._no_sample(repr(number))
        span = slice(int(self.offsets[number]), int(self.offsets[number + 1]))
        return self.times[span], self.indices[span]

    def take(self, samples: Any, keep: Any = None) -> Events:
        """The given samples, in the given order. `keep` (total,) bool: leaves out events of this batch, by position.

        Vectorised, and remembers the checks that were made: a mini-batch costs a gather.

        Raises:
            BadInputError: there is no such sample (SC103), or `keep` is of another form (SC107).
        """
        chosen = _whole(samples, "numbers of samples")
        if chosen.ndim != 1:
            raise self._no_sample(f"numbers of shape {chosen.shape}")
        if len(chosen) and chosen.view(np.uint64).max() >= self.batch:  # a negative number is a huge one, so seen
            raise self._no_sample(first_of(chosen, (chosen < 0) | (chosen >= self.batch), "position"))
        offsets = _numpy(self.offsets)
        starts = offsets[chosen]
        counts = offsets[chosen + 1] - starts
        ends = np.zeros(len(chosen) + 1, dtype=np.int64)
        np.cumsum(counts, out=ends[1:])
        at = np.arange(ends[-1])
        at += np.repeat(starts - ends[:-1], counts)
        if keep is not None:
            mask = _numpy(keep)
            if mask.dtype != bool or mask.shape != (len(self),):
                faults = Diagnostics()
                faults.add("SC107", "keep is a truth value for each event", value=f"{mask.dtype} {mask.shape}",
                           limit=f"bool ({len(self)},)")
                faults.raise_if_errors()
            kept = mask[at]
            at = at[kept]
            before = np.zeros(len(kept) + 1, dtype=np.int64)
            np.cumsum(kept, out=before[1:])
            ends = before[ends]
        return Events(self.times[at], self.indices[at], ends, list(self._checked_for))

    def _no_sample(self, met: str) -> BadInputError:
        return BadInputError(Diagnostic("SC103", "there is no such sample", value=met,
                                        limit=f"0..{self.batch - 1}" if self.batch else "none: the batch is empty"))

    def numpy(self) -> Events:
        """The same events as numpy arrays, detached."""
        times = _numpy(self.times)
        if times.dtype.kind == "c":  # numpy would leave out the imaginary part
            raise BadInputError(Diagnostic("SC107", "event times must be real numbers", value=str(times.dtype)))
        return Events(
            times.astype(np.float64, copy=False),
            _whole(self.indices, "event indices"),
            _whole(self.offsets, "offsets"),
        )

    def checked(self, channels: int, node: str | None = None) -> Events:
        """Itself, after a check against `channels`; checked once, so that reuse costs nothing."""
        if channels in self._checked_for:
            return self
        faults = Diagnostics()
        try:
            plain = self.numpy()
        except BadInputError:
            raise
        except (TypeError, ValueError) as error:
            faults.add("SC107", "times, indices and offsets are arrays of numbers", node=node, value=error)
            faults.raise_if_errors()
        times, indices, offsets = plain.times, plain.indices, plain.offsets
        if not (times.ndim == indices.ndim == offsets.ndim == 1):
            faults.add("SC107", "times, indices and offsets are one-dimensional", node=node)
        elif len(offsets) < 1 or offsets[0] != 0 or offsets[-1] != len(times) or (np.diff(offsets) < 0).any():
            faults.add("SC107", "offsets must rise from 0 to the number of events", node=node, value=offsets[:8])
        elif len(times) != len(indices):
            faults.add("SC107", "times and indices differ in length", node=node,
                       value=f"{len(times)} times, {len(indices)} indices")
        else:
            if not np.isfinite(times).all():
                faults.add("SC104", "an event time is not finite", node=node,
                           value=first_event(times, ~np.isfinite(times), offsets),
                           remedy="Leave out channels that do not spike.")
            elif (times < 0).any():
                faults.add("SC103", "an event time is negative", node=node,
                           value=first_event(times, times < 0, offsets), limit="t >= 0")
            within = np.ones(len(times), dtype=bool)
            starts = offsets[:-1]
            within[starts[starts < len(times)]] = False
            early = within & (np.diff(times, prepend=0.0) < 0)
            if early.any():
                faults.add("SC103", "event times must ascend within a sample", node=node,
                           value=f"{first_event(times, early, offsets)} after {times[int(np.argmax(early)) - 1]}",
                           remedy="Use Events.from_samples, which sorts.")
            beyond = (indices < 0) | (indices >= channels)
            if beyond.any():
                faults.add("SC405", "an event index is out of range", node=node,
                           value=first_event(indices, beyond, offsets),
                           limit=f"0..{channels - 1}, for {channels} channels")
        faults.raise_if_errors()
        self._checked_for.append(channels)
        return self


def check_room(code: str, events: float, faults: Diagnostics) -> None:
    """Reports more events than one batch may be made with, before there is memory asked for."""
    if events > MOST_EVENTS:
        faults.add(code, "these are more events than one batch may hold", value=f"{events:.3g}", limit=MOST_EVENTS,
                   remedy="Check the units, Hz and seconds; or make fewer samples at once.")


def _listed(samples: object) -> Iterable[Any]:
    if not isinstance(samples, Iterable):
        raise BadInputError(Diagnostic("SC107", "samples are a list of pairs (times, indices)",
                                       value=type(samples).__name__))
    return samples


def _pair(sample: Any, number: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Times and indices of a sample as arrays of one axis.

    Raises:
        BadInputError: see `Events.from_samples`.
    """
    faults = Diagnostics()
    given = tuple(sample) if isinstance(sample, Iterable) else ()
    if len(given) != 2:
        faults.add("SC107", "a sample is a pair (times, indices)",
                   value=f"sample {number}: {len(given) or type(sample).__name__}",
                   remedy="Give a list of such pairs, also for a single sample.")
        faults.raise_if_errors()
    try:
        times = _numpy(given[0]).astype(np.float64, copy=False).reshape(-1)
        indices = _whole(given[1], f"event indices of sample {number}").reshape(-1)
    except BadInputError:
        raise
    except (TypeError, ValueError) as error:
        faults.add("SC107", "times and indices are arrays of numbers", value=f"sample {number}: {error}")
        raise BadInputError(*faults.errors) from error
    if len(times) != len(indices):
        faults.add("SC107", "times and indices differ in length",
                   value=f"sample {number}: {len(times)} times, {len(indices)} indices",
                   remedy="Give each event one time and one index.")
        faults.raise_if_errors()
    return times, indices


def _whole(value: Any, what: str) -> np.ndarray[Any, Any]:
    """As int64, where that changes no number.

    Raises:
        BadInputError: a number is not whole.
    """
    array = _numpy(value)
    if array.dtype == np.int64:
        return array
    faults = Diagnostics()
    if array.dtype.kind == "f" and not (legal := np.isfinite(array) & (array == np.round(array))).all():
        faults.add("SC103", f"{what} must be whole numbers", value=array[~legal][0], remedy="Round them on purpose.")
    elif array.dtype.kind not in "iuf":
        faults.add("SC103", f"{what} must be whole numbers", value=array.dtype,
                   remedy="For a mask, give np.flatnonzero(mask)." if array.dtype == bool else None)
    faults.raise_if_errors()
    return array.astype(np.int64)


def _numpy(value: Any) -> np.ndarray[Any, Any]:
    return np.asarray(value.detach().cpu() if hasattr(value, "detach") else value)
