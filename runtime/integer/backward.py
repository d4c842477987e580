"""Backpropagation through time over the states that a chip, or its emulator, went through.

With V = v / scale + offset and I = u / scale, the core's equations without their rounding are, per column,

    I = alpha I + arriving        alpha = (4095 - du) / 4096        arriving: in units of V
    X = beta V + I + constant     beta = (4096 - dv) / 4096
    V = 0 where X is above the threshold, else X

and the derivative of a spike with respect to X is the surrogate's at X - threshold, with X as it was measured. Rounding
counts as the identity, a clipped membrane as a constant. A population takes part from the column in which it acts,
its latency, on: what was before is its start.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ...ir.integer.network import IntegerNetwork, IntegerProjection
from ...ir.integer.step import IntegerResult
from ...ir.nodes import Array
from ..clock.surrogates import Surrogate
from .engine import IntegerEngine
from .reverse import Reverse
from .transposed import Sent, Transposed

__all__ = ["Chip", "Gradients", "Measured", "backward"]

@dataclass(eq=False)
class Chip:
    """An integer network with its emulator. By population: `scale` (n,), numbers of the core in a unit of V, and
    `latency`, columns that it acts later than the model. `spiking`: the populations that are no readouts. `resets`:
    projections that are what a spike does to its own neuron. `dtype`, `device`: of gradients."""

    engine: IntegerEngine
    scale: Mapping[str, Array]
    latency: Mapping[str, int]
    spiking: frozenset[str]
    resets: frozenset[str]
    dtype: torch.dtype
    device: torch.device
    _transposed: dict[str, Transposed] = field(default_factory=dict)

    @property
    def network(self) -> IntegerNetwork:
        return self.engine.network

    @property
    def late(self) -> int:
        """Columns that the last population acts later than the model."""
        return max(self.latency.values(), default=0)

    def transposed(self, name: str) -> Transposed:
        """Of the projection of that name."""
        if name not in self._transposed:
            projection = next(each for each in self.network.projections if each.name == name)
            self._transposed[name] = Transposed(projection, 64.0 / self.scale[projection.target],
                                                self.network.size(projection.source), self.dtype, self.device)
        return self._transposed[name]


@dataclass(eq=False)
class Measured:
    """A run of a chip over `steps` columns of the model: rasters by input, and what was recorded. u and v may be
    missing where no gradient is wanted."""

    chip: Chip
    rasters: Mapping[str, Array]
    result: IntegerResult
    steps: int
    batch: int

    @property
    def columns(self) -> int:
        """Of the chip."""
        return self.steps + self.chip.late

    def of_model(self, recorded: Array, population: str) -> Tensor:
        """(batch, columns, n) of the chip -> (steps, batch, n), in the columns of the model."""
        first = self.chip.latency[population]
        return torch.from_numpy(recorded)[:, first:first + self.steps].transpose(0, 1).to(self.chip.device)

    def sent(self, projection: IntegerProjection) -> Sent:
        """What the source of a projection sent it."""
        source = projection.source
        raster = self.rasters[source] if source in self.rasters else self.result.spikes[source]
        return Sent(raster, projection.message_bits > 0, self.chip.dtype, self.chip.device)


@dataclass(eq=False)
class Gradients:
    """`weights`: by projection, with respect to its weights in units of V an arriving spike; `biases`: by population,
    (n,), with respect to its constant in units of V a column."""

    weights: dict[str, Tensor] = field(default_factory=dict)
    biases: dict[str, Tensor] = field(default_factory=dict)


def backward(measured: Measured, surrogate: Surrogate, spikes: Mapping[str, Tensor], membranes: Mapping[str, Tensor],
             weights: frozenset[str], biases: frozenset[str]) -> Gradients:
    """Gradients with respect to those `weights` (projections) and `biases` (populations). `spikes`, `membranes`: by
    population, what the loss's gradient with respect to them is, (steps, batch, n), in columns of the model."""
    chip, found = measured.chip, Gradients()
    network = chip.network
    sent: dict[tuple[str, bool], Sent] = {}
    back: dict[str, Tensor] = {}
    """Gradients of spikes by what they arrive at, (columns, batch, n), in columns of the chip."""
    through = [each for each in network.projections
               if each.source in network.populations and not (surrogate.detach_reset and each.name in chip.resets)]
    for names in reversed(chip.engine.schedule):
        inside = [each for each in through if each.source in names and each.target in names]
        if not inside and not any(names[0] in given for given in (spikes, membranes, back)):
            continue
        reverses = {name: _reverse(measured, name, surrogate, spikes.get(name), membranes.get(name)) for name in names}
        for name in names:
            if inside and name not in back:
                back[name] = _nothing(measured, name)
            reverses[name].feed(back.get(name))
        if not inside:
            reverses[names[0]].run(reverses[names[0]].columns)
        for column in range(measured.columns - 1, -1, -1) if inside else ():
            for each in reverses.values():
                each.run(range(column, column + 1) if column in each.columns else range(0))
            for projection in inside:
                if column in reverses[projection.target].columns:
                    chip.transposed(projection.name).back_column(
                        column, reverses[projection.target].drive[column], back[projection.source])
        for name, reverse in reverses.items():
            if name in biases:
                found.biases[name] = reverse.constant
            for projection in network.incoming[name]:
                transposed, source = chip.transposed(projection.name), projection.source
                if projection.name in weights:
                    key = source, projection.message_bits > 0
                    sent[key] = sent.get(key) or measured.sent(projection)
                    found.weights[projection.name] = transposed.weight(sent[key], reverse.drive)
                if projection in through and projection not in inside:
                    if source not in back:
                        back[source] = _nothing(measured, source)
                    transposed.back(reverse.drive, back[source])
    return found


def _reverse(measured: Measured, name: str, surrogate: Surrogate, spikes: Tensor | None,
             membrane: Tensor | None) -> Reverse:
    chip, result = measured.chip, measured.result
    u, v, fired = (torch.from_numpy(each[name]).to(chip.device) for each in (result.u, result.v, result.spikes))
    return Reverse(chip.network.populations[name], u, v, fired, chip.scale[name], chip.latency[name], measured.steps,
                   name in chip.spiking, surrogate, spikes, membrane, chip.dtype)


def _nothing(measured: Measured, name: str) -> Tensor:
    chip = measured.chip
    return torch.zeros((measured.columns, measured.batch, chip.network.size(name)), dtype=chip.dtype,
                       device=chip.device)
