"""What a program for Xylo is made of, what it takes of the chip, and what was lost on the way."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from ...ir.grid import Discretization
from ...ir.nodes import Array
from ..tables import Table
from .fit import Use, uses

if TYPE_CHECKING:
    from .program import XyloProgram

__all__ = ["LABEL", "XyloReport"]

LABEL = "generated, not run on silicon"
"""What every artefact says of itself: xylosim ran it, no chip did."""


@dataclass(frozen=True, slots=True)
class PopulationRow:
    """`dash_mem`, `dash_syn`, `threshold`, `bias`: from the least to the largest. `misfit`: the largest of the response
    to a spike."""

    name: str
    block: str
    neurons: int
    latency: int
    dash_mem: tuple[int, int]
    dash_syn: tuple[int, int]
    threshold: tuple[int, int]
    bias: tuple[int, int]
    misfit: float


@dataclass(frozen=True, slots=True)
class MatrixRow:
    """`sqnr`: decibels of the weights over their rounding, None where nothing was rounded. `saturated`: share of the
    synapses at the largest weight."""

    name: str
    sources: int
    targets: int
    synapses: int
    shift: int
    sqnr: float | None
    saturated: float


@dataclass(frozen=True, slots=True)
class XyloReport:
    """Rows of the program's parts. `uses`: what it takes of the chip. `input_delay`: steps that inputs are given later;
    `latency`: of the last population."""

    target: str
    variant: str
    grid: Discretization
    populations: tuple[PopulationRow, ...]
    matrices: tuple[MatrixRow, ...]
    uses: tuple[Use, ...]
    input_delay: int
    latency: int
    calibrated: bool
    label: str = LABEL

    @classmethod
    def of(cls, program: XyloProgram) -> Self:
        """The report on a program."""
        quantised = program.quantised
        network = quantised.network
        rows = []
        for name, each in quantised.populations.items():
            block = network.hidden if each.block == "hidden" else network.outputs
            spans = {field: _span(getattr(block, field)[each.place])
                     for field in ("dash_mem", "dash_syn", "threshold", "bias")}
            rows.append(PopulationRow(name, each.block, len(each.scale), each.latency, **spans,
                                      misfit=float(each.misfit.max(initial=0))))
        matrices = []
        for name, held, shift in zip(("in", "rec", "out"), (network.w_in, network.w_rec, network.w_out),
                                     quantised.plan.shifts, strict=True):
            sqnr = quantised.sqnr[name]
            matrices.append(MatrixRow(name, len(held), held.shape[1], int(np.count_nonzero(held)), shift,
                                      float(sqnr) if np.isfinite(sqnr) else None, quantised.saturated[name]))
        return cls(program.target, program.chip.name, program.grid, tuple(rows), tuple(matrices),
                   uses(network, program.chip), quantised.layout.input_delay, program.latency,
                   program.peaks is not None)

    def as_dict(self) -> dict[str, Any]:
        """The report as plain values, as `--json` prints it."""
        return asdict(self)

    def __str__(self) -> str:
        steps = f"dt {self.grid.dt:g} s; outputs act {self.latency} steps later than the model's"
        if self.input_delay:
            steps += f", once inputs are given {self.input_delay} later"
        return "\n\n".join(str(each) for each in (
            Table("", (), (), (f"xylo, variant {self.variant}: {self.label}.", steps + ".",
                               "Ranges are those of calibration data." if self.calibrated else
                               "Ranges are guessed of the weights; calibration data say more.")),
            Table("Populations", ("name", "block", "neurons", "latency", "membrane shift", "current shift", "threshold",
                                  "bias", "misfit"),
                  tuple((row.name, row.block, f"{row.neurons:,}", str(row.latency), _text(row.dash_mem),
                         _text(row.dash_syn), _text(row.threshold), _text(row.bias), f"{row.misfit:.1%}")
                        for row in self.populations)),
            Table("Matrices", ("name", "sources", "targets", "synapses", "shift", "dB over rounding", "at the largest"),
                  tuple((row.name, str(row.sources), str(row.targets), f"{row.synapses:,}", str(row.shift),
                         "-" if row.sqnr is None else f"{row.sqnr:.1f}", f"{row.saturated:.1%}")
                        for row in self.matrices)),
            Table("Of the chip", ("what", "used", "limit", "source"),
                  tuple((each.what, f"{each.used:,}", f"{each.limit:,}", each.source) for each in self.uses)),
        ))


def _span(values: Array) -> tuple[int, int]:
    return (int(values.min()), int(values.max())) if values.size else (0, 0)


def _text(span: tuple[int, int]) -> str:
    return str(span[0]) if span[0] == span[1] else f"{span[0]}..{span[1]}"
