"""What a result is judged by."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["ACCURACY", "ERROR", "Measure"]


@dataclass(frozen=True, slots=True)
class Measure:
    """A share, which is told in percent. `name`: its entry in the tables `[published]` and `[aim]`; `key`: where a run
    has it, as a share of 1; `title`: in words; `lower`: whether lower is better."""

    name: str
    key: str
    title: str
    lower: bool = False

    @property
    def sign(self) -> str:
        """Between a figure and an aim that it reaches."""
        return "≤" if self.lower else "≥"

    def reached(self, percent: float, aim: float) -> bool:
        """Whether a figure is as good as an aim, both in percent."""
        return percent <= aim if self.lower else percent >= aim


ACCURACY = Measure("accuracy", "test_accuracy", "test accuracy")
ERROR = Measure("error", "test_error", "squared error, relative to the signal's power,", lower=True)
