"""What a chip has: cores on a mesh, and what each core can hold. Every number names its source."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

__all__ = ["RESOURCES", "Chip", "ChipLimit", "LearningCosts", "SynapseMemory"]

RESOURCES: Mapping[str, str] = MappingProxyType({
    "neurons": "neurons", "in_axons": "input axons", "out_axons": "output axons", "synapse_bits": "synaptic memory",
    "compartment_formats": "pairs of decays", "threshold_formats": "thresholds", "synapse_formats": "synapse formats",
    "trace_formats": "traces of sources",
})
"""What a core has a limited number of, and its name in messages."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChipLimit:
    """A number of a chip. `verified`: it was read in the source that is named; otherwise that source is secondary, or
    the number is a cautious guess."""

    value: int
    unit: str
    source: str
    verified: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SynapseMemory:
    """What the synapses of one input axon take: `group` at a time, with `header` bits before them, in whole words of
    `word` bits. A synapse has its weight, of a width among `weight_bits`, its delay, and, unless the axon reaches all
    neurons of a part, the index of its neuron."""

    word: int
    header: int
    group: int
    index_bits: int
    weight_bits: tuple[int, ...]
    source: str
    verified: bool

    def width(self, weight_bits: int) -> int:
        """The narrowest field that holds weights of so many bits."""
        return min(width for width in self.weight_bits if width >= weight_bits)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LearningCosts:
    """What a plastic network (`ir/integer/plastic.py`) takes beside what a static one does. `in_slots`: of an axon
    whose synapses learn; `out_slots`: of an axon whose spikes have a value; `tag_bits`, `second_tag_bits`: of a synapse
    whose rule has a tag t, a delay d. `compartments`: by where the error of a learning neuron comes from, what each of
    its compartments is for, the first of them its soma."""

    in_slots: ChipLimit
    out_slots: ChipLimit
    tag_bits: ChipLimit
    second_tag_bits: ChipLimit
    compartments: Mapping[str, tuple[str, ...]]

    def __post_init__(self) -> None:
        object.__setattr__(self, "compartments", MappingProxyType(dict(self.compartments)))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Chip:
    """`cores` of a chip sit at the routers of a mesh, `width` by `height`, `at_router` of them at each. `limits`: by
    resource, of each core. `chips`: how many of them there are to use; they lie in a rectangle, as nearly square as can
    be, and their meshes are one."""

    name: str
    cores: ChipLimit
    width: ChipLimit
    height: ChipLimit
    at_router: ChipLimit
    limits: Mapping[str, ChipLimit]
    memory: SynapseMemory
    learning: LearningCosts
    chips: int = 1

    def columns(self, chips: int) -> int:
        """Chips of a row, where so many are used."""
        width, height = self.width.value, self.height.value
        return min(range(1, chips + 1), key=lambda row: (max(row * width, -(-chips // row) * height), row))

    def router(self, chip: int, x: int, y: int, columns: int) -> tuple[int, int]:
        """Where a router lies on the mesh of all chips."""
        return chip % columns * self.width.value + x, chip // columns * self.height.value + y
