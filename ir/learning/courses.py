"""What sums of decaying exponentials do over a stretch of time: products, integrals, what follows them with a leak."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import factorial

import numpy as np
from scipy.special import gammainc

from ..nodes import Array

__all__ = ["Course"]

_SAME = 1e-9  # rates this near to each other, of the larger one, are one


@dataclass(slots=True)
class Course:
    """Sum over (rate, power) of amplitude * s^power * exp(-rate * s), s seconds from the start of the stretch;
    amplitudes are arrays that broadcast with each other."""

    terms: dict[tuple[float, int], Array] = field(default_factory=dict)

    @classmethod
    def decaying(cls, amplitude: Array | float, rate: float = 0.0) -> Course:
        return cls({(rate, 0): np.asarray(amplitude, dtype=np.float64)})

    def times(self, other: Course | float) -> Course:
        if not isinstance(other, Course):
            return Course({key: amplitude * other for key, amplitude in self.terms.items()})
        found = Course()
        for (rate, power), amplitude in self.terms.items():
            for (other_rate, other_power), other_amplitude in other.terms.items():
                found._add(rate + other_rate, power + other_power, amplitude * other_amplitude)
        return found

    def plus(self, other: Course) -> Course:
        found = Course(dict(self.terms))
        for (rate, power), amplitude in other.terms.items():
            found._add(rate, power, amplitude)
        return found

    def at(self, s: float) -> Array:
        """The value after `s` seconds."""
        total = np.zeros(())
        for (rate, power), amplitude in self.terms.items():
            total = total + amplitude * s**power * np.exp(-rate * s)
        return total

    def integral(self, length: float) -> Array:
        """Over the first `length` seconds."""
        total = np.zeros(())
        for (rate, power), amplitude in self.terms.items():
            if rate == 0.0:
                part = length ** (power + 1) / (power + 1)
            elif power == 0:
                part = -np.expm1(-rate * length) / rate
            else:
                part = factorial(power) / rate ** (power + 1) * gammainc(power + 1, rate * length)
            total = total + amplitude * part
        return total

    def followed(self, leak: float) -> Course:
        """y of y' = self - leak * y, y = 0 at the start."""
        found = Course()
        for (rate, power), amplitude in self.terms.items():
            gap = leak - rate
            if abs(gap) <= _SAME * max(leak, rate):
                found._add(leak, power + 1, amplitude / (power + 1))
                continue
            scale = 1.0 / gap
            for lower in range(power, -1, -1):
                found._add(rate, lower, amplitude * scale)
                scale *= -lower / gap
            found._add(leak, 0, -amplitude * (-1.0) ** power * factorial(power) / gap ** (power + 1))
        return found

    def _add(self, rate: float, power: int, amplitude: Array) -> None:
        for key in self.terms:
            if key[1] == power and abs(key[0] - rate) <= _SAME * max(key[0], rate):
                self.terms[key] = self.terms[key] + amplitude
                return
        self.terms[rate, power] = amplitude
