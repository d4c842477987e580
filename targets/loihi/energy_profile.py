"""What an operation of a chip costs: figures with their sources, from a file."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

from ...ir.diagnostics import BadInputError, Diagnostic, Diagnostics
from ...ir.paths import path_of

__all__ = ["FIGURES", "EnergyProfile", "Figure", "own_profile", "read_profile"]

_OPERATIONS = ("synaptic_operation", "neuron_update_active", "neuron_update_inactive")
FIGURES: Mapping[str, tuple[str, ...]] = {
    "energy": (*_OPERATIONS, "spike", "hop_east_west", "hop_north_south"),
    "time": (*_OPERATIONS, "barrier_one_tile", "barrier_all_tiles"),
    "power": ("static_per_chip", "static_per_core"),
}
"""Joules, seconds and watts that a profile may have. `spike`: of a spike to a core, before any hop."""
_PROFILES = Path(__file__).parent / "profiles"
_LARGEST = 1 << 20
_FORM = ('[energy.synaptic_operation] with value = 23.6e-12 and source = "where it is from", and so on '
         "(targets/loihi/profiles/loihi1.toml)")


@dataclass(frozen=True, slots=True)
class Figure:
    value: float
    source: str


@dataclass(frozen=True, slots=True)
class EnergyProfile:
    """`figures`: by kind and name, as `FIGURES`."""

    name: str
    chip: str
    note: str
    figures: Mapping[str, Mapping[str, Figure]]

    def value(self, kind: str, name: str) -> float | None:
        """The figure, or None where the profile has none."""
        found = self.figures.get(kind, {}).get(name)
        return None if found is None else found.value

    def rows(self) -> Iterator[tuple[str, str, Figure]]:
        """Kind, name and figure."""
        return ((kind, name, figure) for kind, figures in self.figures.items() for name, figure in figures.items())


def own_profile(target: str) -> EnergyProfile | None:
    """The profile that spikec has for a target: only of figures that were published."""
    path = _PROFILES / f"{target}.toml"
    return read_profile(path) if path.is_file() else None


def read_profile(path: str | Path) -> EnergyProfile:
    """A profile from a `.toml` or `.json` file.

    Raises:
        BadInputError: no path (SC525), not readable (SC523), or malformed, naming every fault (SC570).
    """
    place = path_of(path, "an energy profile")
    try:
        size = place.stat().st_size
        if size > _LARGEST:
            raise BadInputError(Diagnostic("SC523", f"'{place}' is too large for a profile", value=f"{size} bytes",
                                           limit=f"{_LARGEST}"))
        text = place.read_text(encoding="utf-8")
        told = json.loads(text) if place.suffix == ".json" else tomllib.loads(text)
    except OSError as error:
        raise BadInputError(Diagnostic("SC523", f"'{place}' cannot be read: {error.strerror or error}")) from error
    except (ValueError, RecursionError) as error:
        raise BadInputError(Diagnostic("SC570", f"'{place}' is no TOML or JSON: {error}", remedy=f"Write {_FORM}.")
                            ) from error
    return _profile(told, place)


def _profile(told: Any, place: Path) -> EnergyProfile:
    faults = Diagnostics()
    if not isinstance(told, dict):
        raise BadInputError(Diagnostic("SC570", f"'{place}' holds no table", value=type(told).__name__,
                                       remedy=f"Write {_FORM}."))
    texts = {name: told.get(name, place.stem if name == "name" else "") for name in ("name", "chip", "note")}
    for name, text in texts.items():
        if not isinstance(text, str):
            faults.add("SC570", f"'{name}' of '{place}' is a text", value=repr(text)[:80])
    for name in told.keys() - texts.keys() - FIGURES.keys():
        faults.add("SC570", f"'{place}' has an unknown entry", value=name, limit=", ".join((*texts, *FIGURES)))
    figures: dict[str, dict[str, Figure]] = {}
    for kind, names in FIGURES.items():
        given = told.get(kind, {})
        if not isinstance(given, dict):
            faults.add("SC570", f"'{kind}' of '{place}' is a table", value=repr(given)[:80], remedy=f"Write {_FORM}.")
            continue
        figures[kind] = {}
        for name, entry in given.items():
            if name not in names:
                faults.add("SC570", f"'{place}' has a figure of no meaning", value=f"{kind}.{name}",
                           limit=", ".join(names))
            elif (found := _figure(entry)) is None:
                faults.add("SC570", f"a figure of '{place}' is a number >= 0 with a source", node=f"{kind}.{name}",
                           value=repr(entry)[:80], remedy=f"Write {_FORM}.")
            else:
                figures[kind][name] = found
    if not faults.errors and not figures["energy"]:
        faults.add("SC570", f"'{place}' has no figure of an energy", limit=", ".join(FIGURES["energy"]),
                   remedy=f"Write {_FORM}.")
    faults.raise_if_errors()
    return EnergyProfile(figures=figures, **texts)


def _figure(entry: Any) -> Figure | None:
    if not isinstance(entry, dict) or entry.keys() != {"value", "source"}:
        return None
    value, source = entry["value"], entry["source"]
    number = isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value) and value >= 0
    return Figure(float(value), source) if number and isinstance(source, str) and source.strip() else None
