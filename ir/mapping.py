"""A mapping: which neurons of an integer network lie on which core of which chip, in plain JSON and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from types import MappingProxyType
from typing import Any

import numpy as np

from .chip import RESOURCES, Chip, ChipLimit, LearningCosts, SynapseMemory
from .diagnostics import BadInputError, Diagnostic
from .nodes import Array

__all__ = ["ChipMapping", "CoreContent", "mapping_from_json", "mapping_to_json"]

_FORMAT, _VERSION = "spikec-mapping", 2
_REMEDY = "Give what mapping_to_json made, or map the network again."
_COSTS = tuple(each.name for each in fields(LearningCosts) if each.name != "compartments")


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class CoreContent:
    """`parts`: by population, in the order of their compartments, the indices (k,) of its neurons that lie here.
    `core` of those at router (`x`, `y`) of `chip`. `loads`: by resource (`ir.chip.RESOURCES`), what is used."""

    parts: Mapping[str, Array]
    chip: int
    x: int
    y: int
    core: int
    loads: Mapping[str, int]

    def __post_init__(self) -> None:
        for name in ("parts", "loads"):
            object.__setattr__(self, name, MappingProxyType(dict(getattr(self, name))))


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class ChipMapping:
    """Every neuron of the network lies on one of `cores`, all of which hold at least one."""

    chip: Chip
    cores: tuple[CoreContent, ...]

    @property
    def chips_used(self) -> int:
        return max((core.chip for core in self.cores), default=-1) + 1

    def routers(self) -> Array:
        """(cores, 2): where each core lies on the mesh of all chips."""
        columns = self.chip.columns(max(self.chips_used, 1))
        places = [self.chip.router(core.chip, core.x, core.y, columns) for core in self.cores]
        return np.array(places, dtype=np.int64).reshape(-1, 2)

    def core_of(self, name: str, n: int) -> Array:
        """(n,): the number in `cores` on which each neuron of a population lies; -1 where it lies on none."""
        where = np.full(n, -1, dtype=np.int64)
        for number, core in enumerate(self.cores):
            if name in core.parts:
                where[core.parts[name]] = number
        return where


def mapping_to_json(mapping: ChipMapping) -> dict[str, Any]:
    """Plain dicts, lists, text and numbers."""
    chip = {name: getattr(mapping.chip, name) for name in ("name", "chips")}
    numbers = {name: asdict(getattr(mapping.chip, name))
               for name in ("cores", "width", "height", "at_router", "memory")}
    limits = {name: asdict(limit) for name, limit in mapping.chip.limits.items()}
    costs = mapping.chip.learning
    learning = {name: asdict(getattr(costs, name)) for name in _COSTS}
    learning["compartments"] = {name: list(each) for name, each in costs.compartments.items()}
    cores = [{"chip": core.chip, "x": core.x, "y": core.y, "core": core.core, "loads": dict(core.loads),
              "parts": {name: [int(each) for each in indices] for name, indices in core.parts.items()}}
             for core in mapping.cores]
    return {"format": _FORMAT, "version": _VERSION, "cores": cores,
            "chip": {**chip, **numbers, "limits": limits, "learning": learning}}


def mapping_from_json(told: Any) -> ChipMapping:
    """The mapping again.

    Raises:
        BadInputError: SC332, it is not what `mapping_to_json` makes.
    """
    try:
        if told["format"] != _FORMAT or told["version"] != _VERSION:
            raise ValueError(f"format {told['format']!r}, version {told['version']!r}")
        chip = told["chip"]
        memory = {**chip["memory"], "weight_bits": tuple(map(_whole, chip["memory"]["weight_bits"]))}
        numbers = {name: ChipLimit(**chip[name]) for name in ("cores", "width", "height", "at_router")}
        limits = {name: ChipLimit(**chip["limits"][name]) for name in RESOURCES}
        costs = {name: ChipLimit(**chip["learning"][name]) for name in _COSTS}
        compartments = {str(name): tuple(map(str, each)) for name, each in chip["learning"]["compartments"].items()}
        for limit in (*numbers.values(), *limits.values(), *costs.values()):
            _whole(limit.value)
        return ChipMapping(
            chip=Chip(name=str(chip["name"]), chips=_whole(chip["chips"]), **numbers, limits=MappingProxyType(limits),
                      memory=SynapseMemory(**memory),
                      learning=LearningCosts(**costs, compartments=compartments)),
            cores=tuple(_core(core) for core in told["cores"]))
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise BadInputError(Diagnostic("SC332", f"this is no mapping: {type(error).__name__}, {error}",
                                       remedy=_REMEDY)) from error


def _core(core: Any) -> CoreContent:
    parts = {str(name): np.array([_whole(each) for each in indices], dtype=np.int64)
             for name, indices in core["parts"].items()}
    loads = {name: _whole(core["loads"][name]) for name in RESOURCES}
    return CoreContent(parts=parts, loads=loads, **{name: _whole(core[name]) for name in ("chip", "x", "y", "core")})


def _whole(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise ValueError(f"{value!r} is no count")
    return value
