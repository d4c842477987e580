"""Reading a table of TOML: every value is asked for by name, with what it may be; all that is wrong is collected, and
so is what nobody asked for."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from difflib import get_close_matches
from math import inf, isfinite
from typing import Any

from ...ir.diagnostics import Diagnostics
from ...ir.facts import is_number, is_whole

__all__ = ["CODE", "MOST_EPOCHS", "MOST_SEEDS", "Reader"]

CODE = "SC580"
MOST_EPOCHS, MOST_SEEDS = 10_000, 1000
"""Of one training, and of one result."""
_MISSING: Any = object()


class Reader:
    """One table. A value that is absent or wrong is given as its `absent`, so that reading goes on; what is wrong is in
    `faults`. `where`: the table's name in diagnostics, as "data" or "network.layers[0]"."""

    def __init__(self, table: Any, where: str, faults: Diagnostics) -> None:
        self.where, self.faults = where, faults
        self._asked: set[str] = set()
        self._table: Mapping[str, Any] = table if isinstance(table, Mapping) else {}
        if not isinstance(table, Mapping):
            self.fault("this is a table", "", table)

    def __contains__(self, name: str) -> bool:
        return name in self._table

    def fault(self, message: str, name: str, value: Any = _MISSING, limit: Any = None, remedy: str | None = None
              ) -> None:
        """Something is wrong with the entry of this name."""
        self.faults.add(CODE, message, node=self.path(name), value=None if value is _MISSING else repr(value)[:80],
                        limit=limit, remedy=remedy)

    def path(self, name: str) -> str:
        """The entry's name in diagnostics, as "network.layers[0].size"."""
        return ".".join(part for part in (self.where, name) if part)

    def text(self, name: str, absent: str | None = None, known: Collection[str] | None = None) -> str:
        """A text that says something; one of `known`, where these are given."""
        value = self._value(name, absent is None)
        if value is _MISSING:
            return absent or ""
        if not isinstance(value, str) or not value.strip() or len(value) > 4000:
            self.fault("this is a text", name, value, "1..4000 characters")
            return absent or ""
        if known is not None and value not in known:
            near = get_close_matches(value, known, 1)
            self.fault("this is none of what there is", name, value, ", ".join(known),
                       f"Is '{near[0]}' meant?" if near else None)
            return absent or ""
        return value

    def texts(self, name: str) -> tuple[str, ...]:
        """A list of texts, which may be empty or absent."""
        value = self._value(name, False)
        if value is _MISSING:
            return ()
        if not (isinstance(value, list) and all(isinstance(each, str) and each.strip() for each in value)):
            self.fault("this is a list of texts", name, value)
            return ()
        return tuple(value)

    def number(self, name: str, low: float, high: float, absent: float | None = None, *, open_low: bool = False
               ) -> float:
        """A finite number in low..high; without `low` itself, where that is open."""
        value = self._value(name, absent is None)
        if value is _MISSING:
            return low if absent is None else absent
        if not self._inside(value, low, high, open_low):
            self.fault("this number is of the wrong kind or out of what can be", name, value,
                       f"{'>' if open_low else '>='} {low:g}, <= {high:g}")
            return high if absent is None else absent
        return float(value)

    def maybe(self, name: str, low: float, high: float, *, open_low: bool = False) -> float | None:
        """A number, or None where it is absent."""
        return self.number(name, low, high, absent=low, open_low=open_low) if name in self._table else None

    def span(self, name: str, low: float, high: float, *, open_low: bool = False) -> tuple[float, float]:
        """[least, most], both numbers in low..high."""
        value = self._value(name, True)
        if value is _MISSING:
            return low, high
        pair = isinstance(value, list) and len(value) == 2
        if not pair or not all(self._inside(each, low, high, open_low) for each in value) or value[0] > value[1]:
            self.fault("this is [least, most]", name, value, f"{'>' if open_low else '>='} {low:g}, <= {high:g}")
            return low, high
        return float(value[0]), float(value[1])

    def whole(self, name: str, low: int, high: int, absent: int | None = None) -> int:
        """A whole number in low..high."""
        value = self._value(name, absent is None)
        if value is _MISSING:
            return low if absent is None else absent
        if not is_whole(value) or not low <= value <= high:
            self.fault("this whole number is of the wrong kind or out of what can be", name, value, f"{low}..{high}")
            return low if absent is None else absent
        return int(value)

    def wholes(self, name: str, low: int, high: int, absent: tuple[int, ...] | None = None) -> tuple[int, ...]:
        """A whole number or a list of them."""
        value = self._value(name, absent is None)
        if value is _MISSING:
            return absent or (low,)
        many = value if isinstance(value, list) else [value]
        if not many or not all(is_whole(each) and low <= each <= high for each in many):
            self.fault("these are whole numbers", name, value, f"each {low}..{high}")
            return absent or (low,)
        return tuple(many)

    def flag(self, name: str, absent: bool | None = None) -> bool:
        """True or false."""
        value = self._value(name, absent is None)
        if value is _MISSING or not isinstance(value, bool):
            if value is not _MISSING:
                self.fault("this is true or false", name, value)
            return bool(absent)
        return value

    def numbers_by_name(self, known: Iterable[str], low: float = -inf, high: float = inf) -> dict[str, Any]:
        """All entries of this table, which are finite numbers, texts, truths or lists of numbers, with names out of
        `known`."""
        names, found = tuple(known), {}
        for name in names:
            if name not in self._table:
                continue
            value = self._value(name, True)
            many = value if isinstance(value, list) else [value]
            plain = isinstance(value, str | bool) or (many and all(self._inside(each, low, high) for each in many))
            if not plain:
                self.fault("this is a finite number, a text, a truth value, or a list of numbers", name, value)
                continue
            found[name] = value
        self.end(names)
        return found

    def raw(self, name: str) -> Any:
        """The value as it stands there, None where it is absent: for what may be of several kinds."""
        value = self._value(name, False)
        return None if value is _MISSING else value

    def table(self, name: str, needed: bool = True) -> Reader | None:
        """A table within; None where it is absent."""
        value = self._value(name, needed)
        return None if value is _MISSING else Reader(value, self.path(name), self.faults)

    def tables(self, name: str) -> list[Reader]:
        """A list of tables, of which there is one at least."""
        value = self._value(name, True)
        if value is _MISSING:
            return []
        if not isinstance(value, list) or not value:
            self.fault("this is a list of tables, one at least", name, value,
                       remedy=f"Write [[{self.path(name)}]] above each.")
            return []
        return [Reader(each, f"{self.path(name)}[{number}]", self.faults) for number, each in enumerate(value)]

    def end(self, known: Iterable[str] = ()) -> None:
        """Reports what stands in the table and was never asked for."""
        names = sorted({*self._asked, *known})
        for name in sorted(self._table.keys() - self._asked - set(known), key=str):
            near = get_close_matches(name, names, 1)
            self.fault("this entry has no meaning here", name, self._table[name], ", ".join(names),
                       f"Is '{near[0]}' meant?" if near else "Leave it out.")

    def _value(self, name: str, needed: bool) -> Any:
        self._asked.add(name)
        if name in self._table:
            return self._table[name]
        if needed:
            self.fault("this entry is missing", name)
        return _MISSING

    def _inside(self, value: Any, low: float, high: float, open_low: bool = False) -> bool:
        return is_number(value) and isfinite(value) and low <= value <= high and not (open_low and value == low)
