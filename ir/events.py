"""Spike events: what goes into a network and what comes out. A batch of samples, never a dense time axis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .diagnostics import BadInputError, Diagnostics

__all__ = ["Events"]


@dataclass(frozen=True, slots=True, eq=False)
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
    _checked_for: list[int] = field(default_factory=list, repr=False)

    @property
    def batch(self) -> int:
        """Number of samples."""
        return len(self.offsets) - 1

    def __len__(self) -> int:
        return len(self.times)

    @classmethod
    def from_samples(cls, samples: Sequence[tuple[Any, Any]]) -> Events:
        """From one (times, indices) pair a sample, in any order; sorted here by (time, index)."""
        times, indices = [], []
        for sample_times, sample_indices in samples:
            one_times = np.asarray(sample_times, dtype=np.float64).reshape(-1)
            one_indices = _whole(sample_indices, "event indices").reshape(-1)
            order = np.lexsort((one_indices, one_times))
            times.append(one_times[order])
            indices.append(one_indices[order])
        offsets = np.zeros(len(samples) + 1, dtype=np.int64)
        np.cumsum([len(one) for one in times], out=offsets[1:])
        return cls(
            np.concatenate([np.empty(0), *times]), np.concatenate([np.empty(0, np.int64), *indices]), offsets
        )

    @classmethod
    def from_dense(cls, raster: Any, dt: float) -> Events:
        """From a (batch, time, *shape) array of spike counts; column n (from 0) is time (n + 1) dt, `dt` in seconds.

        Raises:
            BadInputError: too few axes (SC107), counts that are negative or not whole (SC104), `dt` (SC103).
        """
        counts = _numpy(raster)
        faults = Diagnostics()
        if counts.ndim < 3:
            faults.add("SC107", "a dense raster is (batch, time, channel…)", value=counts.shape)
        elif not (np.isfinite(counts).all() and (counts >= 0).all() and (counts == np.round(counts)).all()):
            faults.add("SC104", "a dense raster holds whole, non-negative spike counts", remedy="Encode values first.")
        if not (np.isfinite(dt) and dt > 0):
            faults.add("SC103", "dt must be positive", value=dt)
        faults.raise_if_errors()
        batch = counts.shape[0]
        flat = counts.reshape(batch, counts.shape[1], -1).astype(np.int64)
        sample, step, index = np.nonzero(flat)
        repeats = flat[sample, step, index]
        sample, step, index = (np.repeat(each, repeats) for each in (sample, step, index))
        offsets = np.searchsorted(sample, np.arange(batch + 1)).astype(np.int64)
        return cls((step + 1) * float(dt), index.astype(np.int64), offsets)

    def sample(self, number: int) -> tuple[Any, Any]:
        """(times, indices) of one sample."""
        span = slice(int(self.offsets[number]), int(self.offsets[number + 1]))
        return self.times[span], self.indices[span]

    def take(self, samples: Any, keep: Any = None) -> Events:
        """The given samples, in the given order. `keep` (total,) bool: leaves out events of this batch, by position.

        Vectorised, and remembers the checks that were made: a mini-batch costs a gather.
        """
        chosen = np.asarray(samples, dtype=np.int64)
        offsets = _numpy(self.offsets)
        starts = offsets[chosen]
        counts = offsets[chosen + 1] - starts
        ends = np.zeros(len(chosen) + 1, dtype=np.int64)
        np.cumsum(counts, out=ends[1:])
        at = np.arange(ends[-1])
        at += np.repeat(starts - ends[:-1], counts)
        if keep is not None:
            kept = keep[at]
            at = at[kept]
            before = np.zeros(len(kept) + 1, dtype=np.int64)
            np.cumsum(kept, out=before[1:])
            ends = before[ends]
        return Events(self.times[at], self.indices[at], ends, list(self._checked_for))

    def numpy(self) -> Events:
        """The same events as numpy arrays, detached."""
        return Events(
            _numpy(self.times).astype(np.float64, copy=False),
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
            faults.add("SC107", "times and indices differ in length", node=node, value=(len(times), len(indices)))
        else:
            if not np.isfinite(times).all():
                faults.add("SC104", "an event time is not finite", node=node, value=times[~np.isfinite(times)][0],
                           remedy="Leave out channels that do not spike.")
            elif (times < 0).any():
                faults.add("SC103", "an event time is negative", node=node, value=times.min(), limit="t >= 0")
            within = np.ones(len(times), dtype=bool)
            starts = offsets[:-1]
            within[starts[starts < len(times)]] = False
            if (np.diff(times, prepend=0.0)[within] < 0).any():
                at = int(np.flatnonzero(within & (np.diff(times, prepend=0.0) < 0))[0])
                sample = int(np.searchsorted(offsets, at, side="right")) - 1
                faults.add("SC103", "event times must ascend within a sample", node=node,
                           value=f"sample {sample}, position {at - offsets[sample]}: {times[at]} after {times[at - 1]}",
                           remedy="Use Events.from_samples, which sorts.")
            if len(indices) and (indices.min() < 0 or indices.max() >= channels):
                bad = indices[(indices < 0) | (indices >= channels)][0]
                faults.add("SC405", "an event index is out of range", node=node, value=bad,
                           limit=f"0..{channels - 1}, for {channels} channels")
        faults.raise_if_errors()
        self._checked_for.append(channels)
        return self


def _whole(value: Any, what: str) -> np.ndarray[Any, Any]:
    """As int64, where that changes no number.

    Raises:
        BadInputError: a number is not whole.
    """
    array = _numpy(value)
    if array.dtype.kind == "f" and not (np.isfinite(array).all() and (array == np.round(array)).all()):
        faults = Diagnostics()
        bad = array[~(np.isfinite(array) & (array == np.round(array)))]
        faults.add("SC103", f"{what} must be whole numbers", value=bad[0], remedy="Round them on purpose.")
        faults.raise_if_errors()
    return array.astype(np.int64, copy=False)


def _numpy(value: Any) -> np.ndarray[Any, Any]:
    return np.asarray(value.detach().cpu() if hasattr(value, "detach") else value)
