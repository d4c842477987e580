"""Deterministic initial values for weights: a description that becomes an array once the shape is known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from ...ir.diagnostics import Diagnostics
from ...ir.nodes import Array

__all__ = ["Initialiser", "normal", "uniform"]


@dataclass(frozen=True, slots=True)
class Initialiser:
    """Independent draws from one distribution: `normal` with mean `low` and standard deviation `high`, or `uniform` on
    [low, high). The same seed and shape give the same array on every machine (numpy's PCG64)."""

    kind: Literal["normal", "uniform"]
    low: float
    high: float
    seed: int

    def __post_init__(self) -> None:
        faults = Diagnostics()
        if not (np.isfinite(self.low) and np.isfinite(self.high)):
            faults.add("SC201", f"the parameters of {self.kind} must be finite", value=(self.low, self.high))
        elif self.kind == "normal" and self.high < 0:
            faults.add("SC201", "a standard deviation cannot be negative", value=self.high)
        elif self.kind == "uniform" and self.high < self.low:
            faults.add("SC201", "the upper end of uniform lies below the lower", value=(self.low, self.high))
        faults.raise_if_errors()

    def __call__(self, shape: tuple[int, ...]) -> Array:
        """A float64 array of `shape`."""
        draw = np.random.default_rng(self.seed)
        return draw.normal(self.low, self.high, shape) if self.kind == "normal" else draw.uniform(
            self.low, self.high, shape)


def normal(mean: float = 0.0, std: float = 1.0, seed: int = 0) -> Initialiser:
    """Gaussian weights. Give each connection a seed of its own: equal seeds give equal draws.

    Raises:
        BadInputError: a parameter is not finite, or `std` is negative (SC201).
    """
    return Initialiser("normal", float(mean), float(std), seed)


def uniform(low: float = 0.0, high: float = 1.0, seed: int = 0) -> Initialiser:
    """Weights spread evenly over [low, high). Give each connection a seed of its own.

    Raises:
        BadInputError: a bound is not finite, or `high` lies below `low` (SC201).
    """
    return Initialiser("uniform", float(low), float(high), seed)
