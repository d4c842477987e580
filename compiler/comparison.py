"""Two recordings of the same stimulus held against each other: which spikes agree, and where they first differ.

The spikes of a neuron are gone through in order: the next one of either side agree where they are within the tolerance,
else the earlier one is alone. Membranes are compared at the instants at which both sides were recorded.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from math import prod
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ..ir.events import Events
from ..ir.nodes import Array
from ..targets.analog.check import AnalogCheck
from ..targets.loihi.check import ExactCheck
from ..targets.xylo.check import XyloCheck

__all__ = ["EXACT", "Comparison", "Divergence", "LayerComparison", "LayerPair", "Recording", "compare", "matched"]

EXACT = 1e-9
"""Seconds: spikes this near are the same; times are solved to far better than that."""


@dataclass(frozen=True, slots=True)
class Recording:
    """What one side did. `spikes` by neuron node; `voltages` by neuron node, (batch, instants, n), at the instants that
    both sides share."""

    spikes: Mapping[str, Events]
    voltages: Mapping[str, Array]


@dataclass(frozen=True, slots=True)
class LayerPair:
    """The nodes of both sides that are held against each other, and how they were found. `spiking` is false where both
    are readouts."""

    a: str
    b: str
    shape: tuple[int, ...]
    by: Literal["name", "output order"]
    spiking: bool = True


@dataclass(frozen=True, slots=True)
class Divergence:
    """`layer` of A; `neuron`: its place in the layer; `time` in seconds; `a`, `b`: the time of the spike, or the
    membrane; None for a spike that is not there."""

    layer: str
    sample: int
    neuron: tuple[int, ...]
    time: float
    what: Literal["spike", "membrane"]
    a: float | None
    b: float | None

    def __str__(self) -> str:
        where = f"layer '{self.layer}', neuron {', '.join(map(str, self.neuron))}, sample {self.sample}"
        if self.what == "membrane":
            return f"{where}: membrane {self.a:.9g} in A and {self.b:.9g} in B at {self.time:.9g} s"
        return f"{where}: a spike at {self.time:.9g} s in {'A' if self.b is None else 'B'} alone"


@dataclass(frozen=True, slots=True)
class LayerComparison:
    """Spikes of both sides, how many agree, and how many are on one side alone. `counts_apart`: by how many the counts
    of neurons differ, over all samples. `latest`: the largest difference in time of those that agree, in seconds.
    `fired`: share of the neurons that spiked on either side, None for readouts. `membrane`: the largest difference,
    None where it was not recorded."""

    pair: LayerPair
    spikes_a: int
    spikes_b: int
    agree: int
    counts_apart: int
    latest: float
    fired: float | None
    membrane: float | None
    first: Divergence | None

    @property
    def neurons(self) -> int:
        """Of the layer."""
        return prod(self.pair.shape)

    @property
    def alone_a(self) -> int:
        """Spikes of A without one of B."""
        return self.spikes_a - self.agree

    @property
    def alone_b(self) -> int:
        """Spikes of B without one of A."""
        return self.spikes_b - self.agree

    @property
    def drift(self) -> float:
        """By how much the numbers of spikes of each neuron and sample differ, in sum, relative to all spikes of the
        side that has more; of readouts 0."""
        return self.counts_apart / max(1, self.spikes_a, self.spikes_b)


@dataclass(frozen=True, slots=True)
class Comparison:
    """What `spikec.validate` found; `print` shows it. `a`, `b`: the sides and what ran them. `notes`: what was done to
    compare at all, and what was left out. `recordings`: of A and B.

    For chips there are two results: `exact`, whether what runs is what was compiled, and how far that is from the
    model, of which `drift_limit` says how much of a layer's spikes the counts of its neurons may differ by."""

    a: str
    b: str
    layers: tuple[LayerComparison, ...]
    samples: int
    duration: float
    tolerance_time: float
    tolerance_voltage: float | None
    notes: tuple[str, ...] = ()
    drift_limit: float | None = None
    exact: ExactCheck | XyloCheck | AnalogCheck | None = None
    recordings: tuple[Recording, Recording] = field(default=(Recording({}, {}), Recording({}, {})), repr=False)

    @property
    def first(self) -> Divergence | None:
        """The earliest divergence; at one instant, that of the layer which comes first."""
        found = [each.first for each in self.layers if each.first is not None]
        return min(found, key=lambda each: each.time, default=None)

    @property
    def ok(self) -> bool:
        """Whether nothing differs beyond the tolerances, or the limit of the drift where there is one."""
        if self.exact is not None and not self.exact.ok:
            return False
        return self.first is None or (self.drift_limit is not None and self.drift <= self.drift_limit)

    @property
    def drift(self) -> float:
        """The largest of the layers'."""
        return max((each.drift for each in self.layers), default=0.0)

    @property
    def verdict(self) -> Literal["spike-exact", "within tolerance", "within drift", "differs"]:
        """`spike-exact`: every spike agrees to within a nanosecond."""
        if not self.ok:
            return "differs"
        if self.first is not None:
            return "within drift"
        return "spike-exact" if all(each.latest <= EXACT for each in self.layers) else "within tolerance"

    @property
    def counted(self) -> bool:
        """Whether spikes are counted, not matched: of a chip whose circuits deviate, none comes within a nanosecond of
        the model's."""
        return isinstance(self.exact, AnalogCheck) and self.drift_limit is not None and self.tolerance_time <= EXACT

    @property
    def conclusion(self) -> str:
        """The verdict, and what it rests on: one line."""
        if self.first is None:
            return self.verdict
        if not self.counted:
            return f"{self.verdict}: {self.first}"
        worst = max(self.layers, key=lambda each: each.drift)
        return (f"{self.verdict}: spike counts of the neurons of layer '{worst.pair.a}' differ by {worst.drift:.1%} in "
                f"sum ({worst.spikes_a:,} spikes in A, {worst.spikes_b:,} in B)")

    @property
    def drift_line(self) -> str:
        """What spike counts differ by, and the limit; "" without one."""
        if self.drift_limit is None:
            return ""
        meant = ("; the limit is spikec's own, beyond which a chip counts as another network: what that costs a task, "
                 "its accuracy on chips says" if isinstance(self.exact, AnalogCheck) else "")
        return (f"drift: spike counts of neurons differ by {self.drift:.2%} of a layer's spikes at most, limit "
                f"{self.drift_limit:.0%}{meant}")

    @property
    def fired(self) -> float:
        """Share of the neurons that spiked on either side; readouts do not count."""
        shares = [(each.fired, each.neurons) for each in self.layers if each.fired is not None]
        return sum(share * neurons for share, neurons in shares) / max(1, sum(neurons for _, neurons in shares))

    def plot(self, path: str | Path) -> None:
        """Writes both rasters and the differences in time as `.png`, or as a self-contained `.html` page.

        Raises:
            BadInputError: no path (SC525), matplotlib is missing (SC532), another suffix (SC550), or the file cannot be
                written (SC522).
        """
        from .comparison_plot import save

        save(self, path)

    def as_dict(self) -> dict[str, Any]:
        """Plain values, as `--json` prints them; the recordings are left out."""
        return {
            "a": self.a, "b": self.b, "verdict": self.verdict, "samples": self.samples, "duration": self.duration,
            "tolerance_time": self.tolerance_time, "tolerance_voltage": self.tolerance_voltage, "fired": self.fired,
            "drift": self.drift, "drift_limit": self.drift_limit,
            "exact": None if self.exact is None else self.exact.as_dict(),
            "first": None if self.first is None else asdict(self.first),
            "layers": [asdict(each) | {"alone_a": each.alone_a, "alone_b": each.alone_b} for each in self.layers],
            "notes": list(self.notes),
        }

    def __str__(self) -> str:
        lines = [f"A: {self.a}", f"B: {self.b}", *(f"note: {note}" for note in self.notes)]
        lines += [] if self.exact is None else [str(self.exact)]
        for each in self.layers:
            name = each.pair.a if each.pair.a == each.pair.b else f"{each.pair.a} = {each.pair.b}"
            told = f"counts of neurons {each.drift:.1%} apart" if self.counted else f"{each.agree} agree"
            lines.append(f"{name}: {each.spikes_a} and {each.spikes_b} spikes, {told}"
                         + ("" if each.membrane is None else f", membranes within {each.membrane:.3g}"))
        lines += [self.drift_line] if self.drift_line else []
        return "\n".join([*lines, self.conclusion])


def compare(pair: LayerPair, one: Recording, other: Recording, instants: Array, tolerance_time: float,
            tolerance_voltage: float | None) -> LayerComparison:
    """Holds one layer of two recordings against each other. `instants` (seconds) are those of the voltages; without
    `tolerance_voltage` their difference is measured and nothing follows from it. It counts relative to the largest
    voltage where that is above 1."""
    nobody = Events.from_samples([])
    a, b = (_Spikes(side.spikes.get(name, nobody), pair) for side, name in ((one, pair.a), (other, pair.b)))
    alone_a, alone_b = _alone(a, b, tolerance_time)
    late = np.abs(np.delete(a.time, alone_a) - np.delete(b.time, alone_b))
    found = [a.divergence(place, "a") for place in _earliest(a, alone_a)]
    found += [b.divergence(place, "b") for place in _earliest(b, alone_b)]
    membrane = None
    if pair.a in one.voltages and pair.b in other.voltages:
        mine, its = one.voltages[pair.a], other.voltages[pair.b]
        membrane = float(np.abs(mine - its).max(initial=0.0))
        if tolerance_voltage is not None:
            found += _first_voltage(pair, mine, its, instants, tolerance_voltage)
    fired = np.unique(np.concatenate([a.neuron, b.neuron])).size / prod(pair.shape) if pair.spiking else None
    return LayerComparison(pair, len(a.time), len(b.time), len(late), _counts_apart(a, b),
                           float(late.max(initial=0.0)), fired, membrane,
                           min(found, key=lambda each: each.time, default=None))


class _Spikes:
    """The spikes of a layer by neuron of a sample, and in the order of time within each."""

    def __init__(self, events: Events, pair: LayerPair) -> None:
        plain = events.numpy()
        self.pair, self.size = pair, prod(pair.shape)
        sample = np.repeat(np.arange(plain.batch), np.diff(plain.offsets))
        group = sample * self.size + plain.indices
        order = np.lexsort((plain.times, group))
        self.time, self.group = plain.times[order], group[order]

    @property
    def neuron(self) -> Array:
        return np.asarray(self.group % self.size)

    def divergence(self, place: int, side: Literal["a", "b"]) -> Divergence:
        sample, neuron = divmod(int(self.group[place]), self.size)
        at = tuple(int(each) for each in np.unravel_index(neuron, self.pair.shape))
        time = float(self.time[place])
        return Divergence(self.pair.a, sample, at, time, "spike", time if side == "a" else None,
                          time if side == "b" else None)


def _earliest(spikes: _Spikes, alone: Array) -> list[int]:
    return [int(alone[np.lexsort((spikes.group[alone], spikes.time[alone]))[0]])] if len(alone) else []


def matched(pair: LayerPair, one: Events, other: Events, tolerance: float) -> tuple[Array, dict[int, Array]]:
    """For pictures: how much later each spike of A is than the one of B that it agrees with, and the spikes that are
    on one side alone, (2, spikes) times and neurons by sample."""
    a, b = _Spikes(one, pair), _Spikes(other, pair)
    alone_a, alone_b = _alone(a, b, tolerance)
    late = np.delete(a.time, alone_a) - np.delete(b.time, alone_b)
    groups = np.concatenate([a.group[alone_a], b.group[alone_b]])
    found = np.stack([np.concatenate([a.time[alone_a], b.time[alone_b]]), groups % a.size])
    return late, {int(sample): found[:, groups // a.size == sample] for sample in np.unique(groups // a.size)}


def _alone(a: _Spikes, b: _Spikes, tolerance: float) -> tuple[Array, Array]:
    """The places of the spikes that are alone on each side. Those that are left agree, one by one in order."""
    if np.array_equal(a.group, b.group) and (np.abs(a.time - b.time) <= tolerance).all():
        return np.empty(0, np.int64), np.empty(0, np.int64)
    groups = np.union1d(a.group, b.group)
    (at_a, at_b), (end_a, end_b) = ([np.searchsorted(each.group, groups, side) for each in (a, b)]
                                    for side in ("left", "right"))
    time_a, time_b = (np.append(each.time, np.inf) for each in (a, b))
    alone_a, alone_b = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    # One step a round, for all neurons at once.
    while (going := (at_a < end_a) | (at_b < end_b)).any():
        at_a, end_a, at_b, end_b = (each[going] for each in (at_a, end_a, at_b, end_b))
        next_a, next_b = np.where(at_a < end_a, time_a[at_a], np.inf), np.where(at_b < end_b, time_b[at_b], np.inf)
        same = np.abs(next_a - next_b) <= tolerance
        only_a, only_b = ~same & (next_a < next_b), ~same & (next_b < next_a)
        alone_a.append(at_a[only_a])
        alone_b.append(at_b[only_b])
        at_a, at_b = at_a + (same | only_a), at_b + (same | only_b)
    return np.concatenate(alone_a), np.concatenate(alone_b)


def _counts_apart(a: _Spikes, b: _Spikes) -> int:
    groups, place = np.unique(np.concatenate([a.group, b.group]), return_inverse=True)
    sides = np.concatenate([np.ones(len(a.group)), -np.ones(len(b.group))])
    return int(np.abs(np.bincount(place.reshape(-1), weights=sides, minlength=len(groups))).sum())


def _first_voltage(pair: LayerPair, mine: Array, its: Array, instants: Array, tolerance: float) -> list[Divergence]:
    scale = max(1.0, float(np.abs(its).max(initial=0.0)))
    beyond = ~(np.abs(mine - its) <= tolerance * scale)
    if not beyond.any():
        return []
    instant = int(np.argmax(beyond.any(axis=(0, 2))))
    sample, neuron = (int(each[0]) for each in np.nonzero(beyond[:, instant]))
    at = tuple(int(each) for each in np.unravel_index(neuron, pair.shape))
    return [Divergence(pair.a, sample, at, float(instants[instant]), "membrane", float(mine[sample, instant, neuron]),
                       float(its[sample, instant, neuron]))]
