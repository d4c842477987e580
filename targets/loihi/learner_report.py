"""What a network that learns takes of a chip, and what of it the chip could not run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Self

from ...ir.chip import RESOURCES, Chip
from ...ir.integer.plastic import PlasticNetwork
from ..lava.chips import ChipLimit, chip_limits
from ..tables import Table
from .report import distribution
from .rows import LAVA_COLUMNS, CoreRow

if TYPE_CHECKING:
    from .learner import LoihiLearner

__all__ = ["LearnerReport"]

_COLUMNS: Mapping[str, str] = {**LAVA_COLUMNS, "trace_formats": "Traces"}


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class LearnerReport:
    """`synapses`: `learning` of them learn. `cannot`: parts that the chip could not run, or that nobody has tried
    there."""

    rule: str
    chip: Chip
    chips_used: int
    cores: tuple[CoreRow, ...]
    neurons: int
    synapses: int
    learning: int
    cannot: tuple[ChipLimit, ...]

    @classmethod
    def of(cls, learner: LoihiLearner) -> Self:
        """The report on a learner."""
        mapping, plastic = learner.mapping, learner.plastic.network
        return cls(
            rule=learner.rule.name, chip=mapping.chip, chips_used=mapping.chips_used,
            cores=tuple(CoreRow(core.chip, core.x, core.y, core.core,
                                {name: len(indices) for name, indices in core.parts.items()}, dict(core.loads), None)
                        for core in mapping.cores),
            neurons=sum(each.n for each in plastic.network.populations.values()), synapses=_synapses(plastic),
            learning=_synapses(plastic, only_learning=True),
            cannot=tuple(each for each in chip_limits(plastic) if each.chip == mapping.chip.name))

    @property
    def compartments(self) -> int:
        """Of all cores."""
        return sum(core.loads["neurons"] for core in self.cores)

    @property
    def synapse_bits(self) -> int:
        """Of all cores."""
        return sum(core.loads["synapse_bits"] for core in self.cores)

    @property
    def most(self) -> dict[str, int]:
        """By resource, of the core that has most of it."""
        return {name: max(core.loads[name] for core in self.cores) for name in RESOURCES}

    def as_dict(self) -> dict[str, Any]:
        """The report as plain values."""
        costs = self.chip.learning
        learning = {name: asdict(getattr(costs, name)) for name in ("in_slots", "out_slots", "tag_bits",
                                                                    "second_tag_bits")}
        return {
            "rule": self.rule, "neurons": self.neurons, "compartments": self.compartments, "synapses": self.synapses,
            "learning_synapses": self.learning, "synapse_bits": self.synapse_bits, "most": self.most,
            "chip": {"name": self.chip.name, "cores": self.chip.cores.value, "chips_used": self.chips_used,
                     "limits": {name: asdict(limit) for name, limit in self.chip.limits.items()},
                     "learning": learning,
                     "compartments": {name: list(each) for name, each in costs.compartments.items()}},
            "cores": [asdict(core) for core in self.cores], "cannot": [asdict(each) for each in self.cannot]}

    def __str__(self) -> str:
        chips = f" of each of {self.chips_used} chips" if self.chips_used > 1 else ""
        headline = (f"{self.rule} on {self.chip.name}: {self.neurons:,} neurons of {self.compartments:,} compartments "
                    f"and {self.synapses:,} synapses, {self.learning:,} of which learn, on {len(self.cores)} of "
                    f"{self.chip.cores.value} cores{chips}; {self.synapse_bits / 8192:,.1f} KiB of synapses")
        return "\n\n".join([headline, *(f"{table}" for table in self.tables())])

    def tables(self) -> Iterator[Table]:
        """All tables, in the order in which they are shown."""
        yield distribution(self.cores, self.chip, self.chips_used, _COLUMNS)
        costs = self.chip.learning
        numbers = {"input axons of an axon that learns": costs.in_slots,
                   "output axons of a spike with a value": costs.out_slots,
                   "bits of a tag t": costs.tag_bits, "bits of a tag d": costs.second_tag_bits}
        rows = [(name, str(each.value), each.source) for name, each in numbers.items()]
        rows += [(f"compartments of a neuron with a {name}", str(len(each)), "; ".join(each))
                 for name, each in costs.compartments.items()]
        yield Table("What learning takes", ("of", "number", "source"), tuple(rows))
        if self.cannot:
            yield Table(f"What {self.chip.name} could not run as the emulator does", ("part", "verdict", "reason"),
                        tuple((each.node, each.verdict, each.reason) for each in self.cannot))


def _synapses(plastic: PlasticNetwork, only_learning: bool = False) -> int:
    """All to all, or stored one by one; of a stencil its taps."""
    return sum(each.connection.weight.size for each in (*plastic.network.projections, *plastic.feedback)
               if not only_learning or each.name in plastic.rules)
