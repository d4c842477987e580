"""A chip calibrated as its own tools do it: every circuit's parameters are searched on the codes of a converter from
digital to analog, each trial measured through the converter from analog to digital that the chip has.

What a circuit is, is not known here but through a measurement: bits, an offset of its channel, noise of each read. What
remains is the step of the codes, the error of the measurement, and the offset that the measurement cannot see.

The way is that of calix (e573081): bisection over the codes, all circuits at once, the neighbours of what it ends at
tried again (common/algorithms.py); potentials read directly (hagen/neuron_potentials.py); time constants by a least
squares fit to a sampled decay, in the slowest range of bias currents that reaches the target
(hagen/neuron_leak_bias.py); and how well it went as the spread of all circuits, by such measurements, against that with
all circuits at one code (tests/hw/py/test_neuron_distribution.py).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from math import ceil, log
from typing import Any

import numpy as np

from ...ir.analog.chip import AnalogChip, Span
from ...ir.analog.network import AnalogNetwork
from ...ir.diagnostics import Diagnostics
from ...ir.nodes import Array
from .device import POTENTIALS, QUANTITIES, Device

__all__ = ["Calibrated", "Calibration", "CalibrationRow", "calibrate", "fitted_decays", "joined", "targets_of",
           "trimmed_std"]

_TRIMMED = 0.05
"""Of the circuits at each end that a spread leaves out (calix, test_neuron_distribution.py)."""
_WINDOW = 8.0
"""Of a decay, in the time constant that is wanted (calix, MembraneTimeConstCalibReset)."""
_SAMPLES = 128
"""Of a decay that are looked at, at most."""
_LOWEST_BITS = 6
"""Bits of the lowest bias code that is used where there is a slower range (calix: 63)."""
_READS, _BLOCK = 64, 4096
"""Reads, and circuits, that are held at once."""
_GRID = 2.0 ** np.linspace(-6, 6, 193)
"""Time constants that a fit tries, in the one that is wanted, before it interpolates."""
_TEST_PULSE = 0.5
"""Height of the response by which a gain is measured, in distances from rest to threshold."""


@dataclass(frozen=True, slots=True)
class CalibrationRow:
    """How one quantity went. `before`, `after`: trimmed standard deviations of what is measured, of potentials as a
    fraction of the distance from rest to threshold, else of the target; `ratio` of both, None where there was nothing
    to calibrate; `limit`: what the vendor's tests allow of it, None without. `left`: trimmed standard deviation of what
    truly remains. `unreached`: circuits whose code ends at an end of its range."""

    quantity: str
    circuits: int
    before: float
    after: float
    ratio: float | None
    limit: float | None
    left: float
    unreached: int


@dataclass(frozen=True, slots=True, eq=False)
class Calibrated:
    """One quantity of all circuits; every array is (circuits,). `target`: LSB of potentials, seconds of time
    constants, of a gain 1. `before`, `after`: what is measured, as deviations. `left`: what truly remains, as `Device`
    takes it."""

    target: Array
    codes: Array
    before: Array
    after: Array
    left: Array
    reached: Array
    limit: float | None

    def row(self, quantity: str) -> CalibrationRow:
        before, after = trimmed_std(self.before), trimmed_std(self.after)
        return CalibrationRow(quantity, len(self.codes), before, after, after / before if before else None, self.limit,
                              trimmed_std(self.left), int((~self.reached).sum()))


@dataclass(frozen=True, eq=False)
class Calibration:
    """What a calibration found and left, by quantity."""

    chip: str
    seed: int
    quantities: Mapping[str, Calibrated]

    @cached_property
    def left(self) -> Mapping[str, Array]:
        """What remains, as `Device` takes it."""
        return {name: each.left for name, each in self.quantities.items()}

    def rows(self) -> tuple[CalibrationRow, ...]:
        """What became of each quantity, as a report shows it."""
        return tuple(each.row(name) for name, each in self.quantities.items())

    def tell(self, used: Array, faults: Diagnostics) -> None:
        """A warning for each quantity that the circuits `used` cannot be set to (SC378)."""
        for name, each in self.quantities.items():
            lost = used[~each.reached[used]]
            if len(lost):
                faults.add("SC378", f"circuits cannot be calibrated: no code of their {name} reaches what it is to be",
                           node=name, severity="warning",
                           value=f"{len(lost)} of {len(used)} circuits: "
                                 + ", ".join(str(one) for one in lost[:8]) + (", …" if len(lost) > 8 else ""),
                           limit=f"wanted {each.target[lost].min():.6g}..{each.target[lost].max():.6g}",
                           remedy="Ask for values further from the ends of the chip's ranges, or take another chip.")


def targets_of(held: AnalogNetwork, chip: AnalogChip) -> dict[str, Array]:
    """What each circuit of the chip is to be, by quantity, (circuits,): as the network has it; where it has none, rest
    and threshold of the chip, and the middle of its ranges."""
    middle = {name: float(np.sqrt(chip.spans[name].low * chip.spans[name].high)) for name in ("tau_mem", "tau_syn")}
    targets = {name: np.full(chip.circuits, value) for name, value in (
        ("leak", chip["readout.leak"]), ("reset", chip["readout.leak"]), ("threshold", chip["readout.threshold"]),
        *middle.items(), ("gain", 1.0))}
    for each in held.populations.values():
        for name in targets.keys() - {"gain"}:
            value = getattr(each, name)
            if value is not None:
                targets[name][each.place] = value[:, None]
    return targets


def calibrate(chip: AnalogChip, seed: int, targets: Mapping[str, Array]) -> Calibration:
    """Calibrates the chip of serial number `seed`, to `targets` (circuits,) by quantity: potentials in LSB, time
    constants in seconds on the chip; `gain`, where the chip has a bias for it, to 1. Deterministic; a circuit's result
    depends on its own targets alone."""
    bench = _Bench(chip, Device(chip, seed, "uncalibrated"))
    found = {}
    for name, target in targets.items():
        bench.begin(name)
        if name in POTENTIALS:
            found[name] = bench.potential(name, target)
        elif name == "gain":
            if "gain" in chip.spans:
                found[name] = bench.gain(target)
        else:
            found[name] = bench.time_constant(name, target)
    return Calibration(chip.name, seed, found)


def joined(calibrations: Sequence[Calibration]) -> Calibration:
    """Calibrations of one chip for several runs as one, of (runs * circuits,): first all circuits of the first run."""
    first, *others = calibrations
    if not others:
        return first

    def together(name: str) -> Calibrated:
        arrays: dict[str, Any] = {
            field.name: np.concatenate([getattr(each.quantities[name], field.name) for each in calibrations])
            for field in fields(Calibrated) if field.name != "limit"}
        return replace(first.quantities[name], **arrays)

    return replace(first, quantities={name: together(name) for name in first.quantities})


class _Bench:
    """The chip of a `device` without calibration, and what is there to measure it."""

    def __init__(self, chip: AnalogChip, device: Device) -> None:
        self.chip, self.device = chip, device
        self.rest, self.top = chip["readout.leak"], 2 ** int(chip["calibration.bits"]) - 2
        self.distance = chip["readout.threshold"] - self.rest
        self.full = 2 ** chip["readout.bits"] - 1

    def begin(self, name: str, step: int = 0) -> None:
        """The measurements of a quantity from number `step` on: noise is the same whatever else is measured."""
        self.step = QUANTITIES.index(name) << 16 | step

    def noise(self, *shape: int) -> Array:
        """Standard normal numbers of the next reads."""
        self.step += 1
        draw = np.random.Generator(np.random.Philox(key=[self.device.seed, 1 << 52 | self.step]))
        return draw.standard_normal(shape)

    def potential(self, name: str, target: Array) -> Calibrated:
        dac = self.chip.spans.get("dac", Span(0.0, self.full, "LSB", "", "assumed"))
        moved = self.device.patterns[name] * self.distance

        def true(codes: Array) -> Array:
            return np.asarray(dac.low + (dac.high - dac.low) * codes / self.top + moved)

        def measured(codes: Array) -> Array:
            return self.read(true(codes))

        one_code = np.clip(np.rint((target - dac.low) / (dac.high - dac.low) * self.top), 0, self.top)
        return self.calibrated(name, target, measured, true, one_code, 0,
                               lambda value: (value - target) / self.distance)

    def time_constant(self, name: str, target: Array) -> Calibrated:
        """A bias current in the denominator; each slower range has currents of a 2^(bits - 6)-th."""
        span, reach = self.chip.spans[name], self.chip["calibration.reach"]
        factor, apart = self.device.patterns[name], 2.0 ** max(1, self.chip["calibration.bits"] - _LOWEST_BITS)
        fastest = span.low / reach * self.top
        slowest = max(0, ceil(log(span.high / span.low * reach ** 2, apart)) - 1)

        def true(codes: Array, ranges: Array) -> Array:
            return np.asarray(factor * fastest * apart ** ranges / codes)

        def measured(codes: Array, ranges: Array) -> Array:
            return self.decays(true(codes, ranges), target)

        ranges, nearly = np.zeros(len(target)), np.full(len(target), self.top - self.top / apart)
        for number in range(1, slowest + 1):
            short = (ranges == number - 1) & (measured(nearly, np.full(len(target), number)) <= target)
            ranges = np.where(short, number, ranges)
            if not short.any():
                break
        self.begin(name, 1 << 15)  # however many ranges were looked at
        without = np.clip(np.floor(np.log(target / fastest * self.top) / log(apart)), 0, slowest)
        one_code = np.clip(np.rint(fastest * apart ** without / target), 1, self.top)

        def before(codes: Array) -> Array:
            return measured(codes, without)

        return self.calibrated(name, target, lambda codes: measured(codes, ranges), lambda codes: true(codes, ranges),
                               one_code, 1, lambda value: value / target - 1, falling=True, before=before)

    def gain(self, target: Array) -> Calibrated:
        highest, factor = self.chip.spans["gain"].high, self.device.patterns["gain"]

        def true(codes: Array) -> Array:
            return np.asarray(factor * highest * codes / self.top)

        def measured(codes: Array) -> Array:
            """The height of a response over the potential at rest."""
            height = _TEST_PULSE * self.distance
            return (self.read(self.rest + height * true(codes)) - self.read(np.full(len(codes), self.rest))) / height

        one_code = np.clip(np.rint(target / highest * self.top), 1, self.top)
        return self.calibrated("gain", target, measured, true, one_code, 1, lambda value: value / target - 1)

    def calibrated(self, name: str, target: Array, measured: Callable[[Array], Array], true: Callable[[Array], Array],
                   one_code: Array, lowest: int, deviation: Callable[[Array], Array], falling: bool = False,
                   before: Callable[[Array], Array] | None = None) -> Calibrated:
        """`one_code`: what a circuit without deviations would be set to; that is what is called not calibrated."""
        codes, reached = _bisected(measured, target, lowest, self.top, falling)
        remains = deviation(true(codes))
        limit = self.chip.spreads[name].left.value
        return Calibrated(
            target=target, codes=codes, before=deviation((before or measured)(one_code)),
            after=deviation(measured(codes)),
            left=remains if name in POTENTIALS else remains + 1, reached=reached, limit=limit if limit < 1 else None)

    def read(self, true: Array) -> Array:
        """(circuits,) potentials, each the mean of as many reads as the chip's calibration takes, in steps of the
        converter."""
        times, total = int(self.chip["calibration.reads"]), np.zeros(len(true))
        for first in range(0, times, _READS):
            noise = self.noise(len(true), min(_READS, times - first))
            total += self.converted(true[:, None], noise, self.device.offsets).sum(1)
        return np.asarray(total / times)

    def decays(self, tau: Array, target: Array) -> Array:
        """(circuits,) time constants as measured: a membrane at its threshold decays to rest, and is sampled on the
        way."""
        found = np.empty(len(tau))
        for first in range(0, len(tau), _BLOCK):
            block = slice(first, first + _BLOCK)
            noise = self.noise(len(tau[block]), _SAMPLES)
            for wanted in np.unique(target[block]):
                these = np.flatnonzero(target[block] == wanted)
                times = self.sampled(wanted)
                true = self.rest + self.distance * np.exp(-times / tau[block][these, None])
                seen = self.converted(true, noise[these, :len(times)], self.device.offsets[block][these])
                fitted = fitted_decays(times, seen, wanted)
                # no decay to be seen: it is over before the first sample, or takes far longer than all of them
                slow = seen.mean(1) > self.rest + self.distance / 2
                ends = np.where(slow, wanted * _GRID[-1], wanted * _GRID[0])
                found[first + these] = np.where(np.isnan(fitted), ends, fitted)
        return found

    def sampled(self, wanted: float) -> Array:
        """When a decay is looked at, in whole periods of the converter."""
        period, step = self.chip["calibration.period"] or self.chip["readout.period"], _WINDOW * wanted / _SAMPLES
        if period:
            step = max(1, round(step / period)) * period
        return np.asarray(step * np.arange(1, max(3, min(_SAMPLES, int(_WINDOW * wanted / step))) + 1))

    def converted(self, true: Array, noise: Array, offsets: Array) -> Array:
        """Potentials (circuits, values) in whole steps of the converter, within its range."""
        seen = true + offsets[:, None] + self.chip["readout.noise"] * noise
        return np.asarray(np.clip(np.rint(seen), 0, self.full))


def _bisected(measured: Callable[[Array], Array], target: Array, lowest: int, highest: int,
              falling: bool) -> tuple[Array, Array]:
    """The codes in [lowest, highest] at which what is measured is nearest to the targets; and whether that is on both
    sides of them."""
    low, high = np.full(len(target), lowest), np.full(len(target), highest)
    while (high - low > 1).any():
        middle = (low + high) // 2
        short = (measured(middle) < target) != falling
        low, high = np.where(short, middle, low), np.where(short, high, middle)
    below, above = measured(low), measured(high)
    nearest = np.where(np.abs(below - target) <= np.abs(above - target), low, high)
    beyond = (high == highest) & ((above < target) != falling)
    return nearest, ~(beyond | (low == lowest) & ((below > target) != falling))


def fitted_decays(times: Array, values: Array, around: float) -> Array:
    """(circuits,) time constants of `values` (circuits, times): least squares of a e^(-t / tau) + b, whose a and b are
    found for each tau of a grid within a factor of 64 of `around`; between those of the grid, by a parabola. NaN where
    that explains less than half of how the values differ."""
    decays = np.exp(-times[None] / (around * _GRID[:, None]))
    centred = decays - decays.mean(1, keepdims=True)
    norms = np.linalg.norm(centred, axis=1)
    along = np.where(norms[:, None] > 1e-12, centred / np.maximum(norms, 1e-12)[:, None], 0.0)
    apart = values - values.mean(1, keepdims=True)
    kept = (apart @ along.T) ** 2
    best = np.clip(kept.argmax(1), 1, len(_GRID) - 2)
    left, middle, right = (np.take_along_axis(kept, (best + each)[:, None], 1)[:, 0] for each in (-1, 0, 1))
    bend = left - 2 * middle + right
    place = best + np.clip(np.where(bend < 0, 0.5 * (left - right) / np.where(bend < 0, bend, 1.0), 0.0), -1, 1)
    fitted = around * np.exp(np.interp(place, np.arange(len(_GRID)), np.log(_GRID)))
    return np.where(middle > 0.5 * (apart ** 2).sum(1), fitted, np.nan)


def trimmed_std(values: Array, cut: float = _TRIMMED) -> float:
    """Standard deviation of what is left without the `cut` smallest and largest, as shares."""
    number = int(cut * len(values))
    return float(np.sort(values)[number:len(values) - number].std())
