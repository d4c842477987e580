"""What a learning rule has become on the plasticity processor of BrainScaleS-2, and where its weights stand."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from ..tables import Table

__all__ = ["LABEL", "PlasticRow", "PpuLearnerReport"]

LABEL = "generated, not run on silicon"


@dataclass(frozen=True, slots=True)
class PlasticRow:
    """A projection that learns. `terms`: of an update, as text; `tau`: seconds of the model, of the causal and the
    acausal sensors; `low`, `high`: ends of a weight in steps, `step` the model's weight of one; `at_ends`: share of the
    weights there, now; `kernel`: bytes of the C++ text."""

    projection: str
    source: str
    target: str
    synapses: int
    terms: tuple[str, ...]
    tau: tuple[float, float]
    low: int
    high: int
    step: float
    at_ends: float
    kernel: int


@dataclass(frozen=True, slots=True)
class PpuLearnerReport:
    """`samples`: learnt so far; `period`: seconds on the chip of a sample; `otherwise`: what the processor does
    otherwise than the rule says."""

    rule: str
    samples: int
    period: float
    projections: tuple[PlasticRow, ...]
    otherwise: tuple[str, ...]
    label: str = LABEL

    def as_dict(self) -> dict[str, Any]:
        """The report as plain values."""
        return asdict(self)

    def __str__(self) -> str:
        headline = (f"{self.rule} on the plasticity processor of brainscales2: {self.label}; {self.samples:,} samples "
                    f"learnt, one update a sample of {self.period * 1e6:g} us on the chip")
        return "\n\n".join([headline, *(f"{table}" for table in self.tables())])

    def tables(self) -> Iterator[Table]:
        """All tables, in the order in which they are shown."""
        yield Table(
            "Projections that learn",
            ("projection", "from", "to", "synapses", "tau causal ms", "tau acausal ms", "steps", "weight of a step",
             "at the ends", "kernel bytes"),
            tuple((row.projection, row.source, row.target, f"{row.synapses:,}", f"{row.tau[0] * 1e3:.4g}",
                   f"{row.tau[1] * 1e3:.4g}", f"{row.low}..{row.high}", f"{row.step:.4g}", f"{row.at_ends:.1%}",
                   f"{row.kernel:,}") for row in self.projections),
            ("Time constants are those of the sensors, in the model's time.",))
        yield Table("What an update adds to a weight, in steps", ("projection", "term"),
                    tuple((row.projection, term) for row in self.projections for term in row.terms))
        if self.otherwise:
            yield Table("What is otherwise than in the rule", (), (), self.otherwise)
