"""An analog program as data: arrays of what the circuits are set to, and the description of the chip as JSON."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, fields
from typing import Any

import numpy as np

from ...ir.analog.chip import AnalogChip
from ...ir.analog.network import AnalogNetwork
from ...ir.nodes import Array
from .description import chip_of

__all__ = ["chip_from_json", "chip_to_json", "configuration"]


def configuration(held: AnalogNetwork) -> dict[str, Array]:
    """Every array of populations p0, p1, … and projections w0, w1, … by name; the order is that of the network."""
    found: dict[str, Array] = {}
    groups: tuple[tuple[str, Iterable[Any]], ...] = (("p", held.populations.values()), ("w", held.projections))
    for prefix, parts in groups:
        for number, each in enumerate(parts):
            values = {entry.name: getattr(each, entry.name) for entry in fields(each)}
            found |= {f"{prefix}{number}/{name}": np.asarray(value) for name, value in values.items()
                      if isinstance(value, np.ndarray)}
    return found


def chip_to_json(chip: AnalogChip) -> dict[str, Any]:
    """Everything that is stated of a chip."""
    return {"name": chip.name, "title": chip.title, "note": chip.note,
            "figures": {name: asdict(each) for name, each in chip.figures.items()},
            "spans": {name: asdict(each) for name, each in chip.spans.items()},
            "spreads": {name: asdict(each) for name, each in chip.spreads.items()}}


def chip_from_json(told: Mapping[str, Any]) -> AnalogChip:
    """The chip again. What is malformed raises KeyError, TypeError, ValueError or AttributeError, a BadInputError where
    it is a number that no chip has (SC370)."""
    tables: dict[str, Any] = {key: told[key] for key in ("name", "title", "note")}
    for name, entry in told["figures"].items():
        group, _, key = name.partition(".")
        tables.setdefault(group, {})[key] = entry
    return chip_of({**tables, "span": told["spans"], "spread": told["spreads"]}, "")
