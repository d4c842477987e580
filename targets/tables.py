"""Tables of a report: plain rows of text, set in columns as wide as they need."""

from __future__ import annotations

import re
from dataclasses import dataclass
from textwrap import wrap

__all__ = ["MOST_ROWS", "Table"]

_WIDTH = 120
MOST_ROWS = 60
_NUMBER = re.compile(r"[-+±]?[\d∞.,]|-$|$")


@dataclass(frozen=True, slots=True)
class Table:
    """`rows`: cells as they are shown. `notes`: lines below. Columns of numbers stand at the right. As text, a long
    table ends after `MOST_ROWS`."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()

    @property
    def numeric(self) -> tuple[bool, ...]:
        """By column, whether all its cells are numbers, or empty."""
        return tuple(bool(self.rows) and all(_NUMBER.match(row[place]) for row in self.rows)
                     for place in range(len(self.header)))

    def __str__(self) -> str:
        notes = [line for note in self.notes for line in wrap(note, _WIDTH, break_on_hyphens=False)]
        title = [self.title] if self.title else []
        if not self.header:
            return "\n".join([*title, *notes])
        shown = self.rows[:MOST_ROWS]
        if len(self.rows) > MOST_ROWS:
            notes = [f"… and {len(self.rows) - MOST_ROWS:,} rows more.", *notes]
        widths = [max(map(len, column)) for column in zip(self.header, *shown, strict=True)]
        lines = [self.header, tuple("-" * width for width in widths), *shown]
        set_lines = ["  ".join(cell.rjust(width) if right else cell.ljust(width)
                               for cell, width, right in zip(line, widths, self.numeric, strict=True)).rstrip()
                     for line in lines]
        return "\n".join([*title, *set_lines, *notes])
