"""Weights as sums of four currents of a core: what a mixed-signal core with shared weight biases holds of a matrix.

A synapse selects, by a mask of four bits, which of four currents of its core add up to its strength, and by its kind
whether it excites or inhibits. So a core has 16 levels of its own choice and a sign. The currents are fitted by least
squares: masks are the nearest levels given the currents, currents are the least squares given the masks, in turn, from
several starts; what is kept is the best of them, and no step makes it worse.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ..ir.diagnostics import Diagnostics
from ..ir.nodes import Array

__all__ = ["BASES", "CoreBases", "fit_core_bases", "hold_in_bases"]

BASES = 4
"""Currents that a mask selects from."""
_MASKS = np.arange(1 << BASES)
_BITS: Array = (_MASKS[:, None] >> np.arange(BASES) & 1).astype(np.float64)
"""(masks, bases): which currents each mask selects."""
_SUBSETS = tuple(np.flatnonzero(row) for row in _BITS[1:])
_ROUNDS = 200
"""Of masks and currents in turn, at most; it ends where nothing changes."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class CoreBases:
    """`bases` (4,): the currents, in the unit of the weights, not negative. `masks` uint8 and `signs` int8, each in the
    shape of the weights; a synapse that is absent, or weaker than half of the least level, has mask 0 and sign 0.
    `error`: the norm of what was lost over the norm of the weights; 0 where there are none."""

    bases: Array
    masks: Array
    signs: Array
    error: float

    @property
    def weights(self) -> Array:
        """What the core holds, in the shape and unit of the weights."""
        held: Array = self.signs * (_BITS @ self.bases)[self.masks]
        return held


def fit_core_bases(weights: Array, *, starts: int = 8, seed: int = 0) -> CoreBases:
    """The four currents, and the mask and sign of each synapse.

    Args:
        weights: of one core, signed, of any shape; zeros are absent synapses.
        starts: random starts beside the fixed ones (binary-weighted currents, and the least magnitudes that are no sums
            of lesser ones, which finds currents that the weights were made of).
        seed: of the random starts.

    Raises:
        BadInputError: a weight is not finite (SC104), or `starts` is negative (SC103).
    """
    faults = Diagnostics()
    weights = np.asarray(weights, dtype=np.float64)
    if not np.isfinite(weights).all():
        faults.add("SC104", "a weight is not finite", value=weights[~np.isfinite(weights)][0])
    if starts < 0:
        faults.add("SC103", "the number of starts is negative", value=starts, limit=">= 0")
    faults.raise_if_errors()
    magnitudes, counts = np.unique(np.abs(weights[weights != 0]), return_counts=True)
    if not magnitudes.size:
        return hold_in_bases(weights, np.zeros(BASES))
    scale = magnitudes[-1]  # squares of currents in amperes would leave the range of float64 for no reason
    fits = (_fitted(magnitudes / scale, counts, start)
            for start in _starts(magnitudes / scale, counts, starts, np.random.default_rng(seed)))
    _, bases = min(fits, key=lambda fit: fit[0])
    return hold_in_bases(weights, np.sort(bases) * scale)


def hold_in_bases(weights: Array, bases: Array) -> CoreBases:
    """The nearest masks where the currents are known, as after they were rounded to what a chip can make."""
    weights, bases = np.asarray(weights, dtype=np.float64), np.asarray(bases, dtype=np.float64)
    masks = np.where(weights != 0, _nearest(np.abs(weights), bases), 0).astype(np.uint8)
    signs = np.where(masks != 0, np.sign(weights), 0).astype(np.int8)
    norm = float(np.linalg.norm(weights))
    lost = float(np.linalg.norm(weights - signs * (_BITS @ bases)[masks]))
    return CoreBases(bases=bases, masks=masks, signs=signs, error=lost / norm if norm else 0.0)


def _starts(magnitudes: Array, counts: Array, number: int, random: np.random.Generator) -> Iterator[Array]:
    """Binary-weighted currents that reach the largest magnitude, and other quantiles; magnitudes
    that are no sums of lesser ones; and random ones."""
    binary = 2.0 ** np.arange(BASES) / (2**BASES - 1)
    yield binary * magnitudes[-1]
    for share in (0.5, 0.9, 0.99):
        yield binary * np.quantile(np.repeat(magnitudes, counts), share)
    yield _generators(magnitudes)
    for _ in range(number):
        yield random.choice(magnitudes, BASES, p=counts / counts.sum()) * random.uniform(0.2, 1.0, BASES)


def _generators(magnitudes: Array) -> Array:
    """The least magnitudes, ascending, that are no sum of those before them."""
    bases = np.zeros(BASES)
    for number in range(BASES):
        sums = _BITS @ bases
        away = np.abs(magnitudes[:, None] - sums).min(1) > 1e-9 * magnitudes[-1]
        if not away.any():
            break
        bases[number] = magnitudes[away][0]
    return bases


def _fitted(magnitudes: Array, counts: Array, bases: Array) -> tuple[float, Array]:
    """The squared error and the currents where masks and currents, in turn, change no more."""
    best, masks = np.inf, None
    for _ in range(_ROUNDS):
        found = _nearest(magnitudes, bases)
        error = float(counts @ np.square(magnitudes - (_BITS @ bases)[found]))
        if not error < best or (masks is not None and np.array_equal(found, masks)):
            return min(error, best), bases
        best, masks = error, found
        bases = _least_squares(magnitudes, counts, masks, bases)
    return best, bases


def _least_squares(magnitudes: Array, counts: Array, masks: Array, before: Array) -> Array:
    """The currents, none of them negative, of the least squared error for these masks: the best of those subsets whose
    own solution is not negative, of which one is the minimum; `before` where rounding makes all of them worse."""
    rows = _BITS[masks]
    square, product = rows.T @ (counts[:, None] * rows), rows.T @ (counts * magnitudes)
    best, least = before, float(before @ square @ before - 2 * product @ before)
    for subset in _SUBSETS:
        solved = np.linalg.lstsq(square[np.ix_(subset, subset)], product[subset], rcond=None)[0]
        if (solved >= 0).all():
            bases = np.zeros(BASES)
            bases[subset] = solved
            error = float(bases @ square @ bases - 2 * product @ bases)
            if error < least:
                best, least = bases, error
    return best


def _nearest(magnitudes: Array, bases: Array) -> Array:
    """The mask of the nearest level for each; of two equal levels, the one of fewer or lesser currents."""
    levels = _BITS @ bases
    order = np.argsort(levels, kind="stable")
    edges = (levels[order][1:] + levels[order][:-1]) / 2
    return order[np.searchsorted(edges, magnitudes, side="left")]
