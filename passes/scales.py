"""How large a population is on a core: the threshold's mantissa, and the exponent of each of its projections.

Weights come in units of the threshold, r. With the threshold m (Lava's vth; for a readout any number) what arrives is
r m, and a projection holds round(r m / (s 2^e)) s, where s is 1 with 8 bits, twice as much for each bit less, and
twice as much with mixed signs. Three ways to choose:

    minmax      the largest weight of each projection is the largest mantissa: nothing is cut off
    percentile  a quantile of the magnitudes is; what lies beyond is cut off
    mse         whatever leaves the least squared error, weighted by how often each source spikes where that is known
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from ..ir.integer.network import Sign
from ..ir.nodes import Array

__all__ = ["METHODS", "Method", "ScalePlan", "ScaleSearch", "Weights", "choose_scale", "cut_off", "mantissas",
           "rounded"]

Method = Literal["mse", "minmax", "percentile"]
METHODS: tuple[Method, ...] = ("mse", "minmax", "percentile")
LARGEST_EXPONENT, SMALLEST_EXPONENT = 7, -8
HIGHEST = 8192
"""Threshold of a spiking population at most: a sixteenth of the membrane's range, so that it can go beyond on both
sides."""
_CANDIDATES = 256
_CUTS = 3
"""Exponents tried below the one that holds every weight."""
_TINY = 1e-30
"""Weights below it, in thresholds, are none."""
_SAMPLED = 1 << 16
"""Weights of a projection that the search looks at."""


@dataclass(frozen=True, slots=True)
class ScalePlan:
    """What a search chose: `thresholds` by population, `exponents` by projection. It makes the same integer network of
    a network again."""

    thresholds: Mapping[str, float] = field(default_factory=dict)
    exponents: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ScaleSearch:
    """`percentile`: of the method of that name, in per cent. `rates`: spikes a column of each source (n,), by name;
    `peaks`: the largest magnitude of a population's membrane, and of its current where it has one, in thresholds (of
    readouts: in units of V); both from calibration data. `bits`: of a weight. `safe`: no current may ever wrap around,
    whatever that costs in precision."""

    method: Method = "mse"
    percentile: float = 99.9
    rates: Mapping[str, Array] = field(default_factory=dict)
    peaks: Mapping[str, float] = field(default_factory=dict)
    bits: int = 8
    safe: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Weights:
    """Of one projection, in units of the threshold. `often`: of each weight, how often its source spikes; None: alike.
    `least`: the smallest exponent that its kind allows."""

    values: Array
    often: Array | None
    least: int = SMALLEST_EXPONENT

    def sampled(self) -> Weights:
        """Fewer of them, evenly spread, the largest among them."""
        flat = self.values.reshape(-1)
        if flat.size <= _SAMPLED:
            return Weights(flat, None if self.often is None else self.often.reshape(-1), self.least)
        chosen = np.unique(np.append(np.linspace(0, flat.size - 1, _SAMPLED).astype(np.int64),
                                     [flat.argmax(), flat.argmin()]))
        return Weights(flat[chosen], None if self.often is None else self.often.reshape(-1)[chosen], self.least)


def choose_scale(weights: Sequence[Weights], search: ScaleSearch, most: float,
                 whole: bool = True) -> tuple[float, list[int]]:
    """The threshold, at most `most`, `whole` or not, and the exponent of each projection."""
    sampled = [each.sampled() for each in weights]
    high = float(most)
    if search.method == "mse" or not weights:
        tried = np.geomspace(high / 2, high, _CANDIDATES)
    else:
        tried = _filling(sampled, search, high)
    tried = np.unique(np.maximum(np.rint(tried), 1)) if whole else tried
    found = [(float(each), [_exponent(one, each, search) for one in sampled]) for each in tried]
    best, chosen = min(found, key=lambda each: (sum(error for _, error in each[1]) / each[0]**2, -each[0]))
    return best, [exponent for exponent, _ in chosen]


def rounded(wanted: Array, exponent: int, bits: int = 8) -> tuple[Array, Sign]:
    """Mantissas and sign mode for weights in units of what arrives."""
    sign, step, most = mantissas(wanted, bits)
    mantissa = step * np.rint(wanted / (step * 2.0**exponent))
    return np.clip(mantissa, -256 if sign == "mixed" else -most, most).astype(np.int64), sign


def mantissas(wanted: Array, bits: int = 8) -> tuple[Sign, int, int]:
    """The sign mode of weights, the step between two mantissas of so many bits, and the largest (lava/utils/weightutils
    of Lava 0.10: low bits are cut off, one more where signs are mixed)."""
    step = 1 << (8 - bits)
    if (wanted >= 0).all():
        return "excitatory", step, 256 - step
    return ("inhibitory", step, 256 - step) if (wanted <= 0).all() else ("mixed", 2 * step, 256 - 2 * step)


def _amplitude(weights: Weights, search: ScaleSearch) -> float:
    magnitudes = np.abs(weights.values)
    if search.method != "percentile":
        return float(magnitudes.max(initial=0.0))
    present = magnitudes[magnitudes > 0]
    return float(np.percentile(present, search.percentile)) if present.size else 0.0


def cut_off(wanted: Array, exponent: int, bits: int) -> Array:
    """Which weights lie beyond the largest mantissa, by more than rounding."""
    _, step, most = mantissas(wanted, bits)
    return np.asarray(np.abs(wanted) > (most + step) * 2.0**exponent)


def _filling(weights: Sequence[Weights], search: ScaleSearch, high: float) -> Array:
    """The thresholds at which the amplitude of one of the projections is its largest mantissa."""
    found = []
    for each in weights:
        amplitude = _amplitude(each, search)
        if amplitude > _TINY:
            fits = mantissas(each.values, search.bits)[2] / amplitude
            found.append(fits * 2.0 ** np.floor(np.log2(high / fits)))
    return np.asarray(found or [high])


def _exponent(weights: Weights, threshold: float, search: ScaleSearch) -> tuple[int, float]:
    wanted = weights.values * threshold
    _, _, most = mantissas(wanted, search.bits)
    amplitude = _amplitude(weights, search) * threshold
    exact = int(np.ceil(np.log2(amplitude / most) - 1e-12)) if amplitude > _TINY else 0
    highest = int(np.clip(exact, weights.least, LARGEST_EXPONENT))
    cuts = _CUTS if search.method == "mse" else 1
    tried = range(highest, max(weights.least, highest - cuts + 1) - 1, -1)
    return min(((each, _error(wanted, each, search.bits, weights.often)) for each in tried), key=lambda each: each[1])


def _error(wanted: Array, exponent: int, bits: int, often: Array | None) -> float:
    with np.errstate(over="ignore"):  # of weights that are far beyond what can be held, which is told
        difference = np.square(rounded(wanted, exponent, bits)[0] * 2.0**exponent - wanted)
        return float(difference.sum() if often is None else (difference * often).sum())
