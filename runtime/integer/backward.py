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

import numpy as np
import torch
from torch import Tensor

from ...ir.integer import IntegerNetwork, IntegerProjection
from ...ir.integer_step import IntegerResult
from ...ir.nodes import Array
from ..clock.surrogates import Surrogate, slope
from .engine import IntegerEngine
from .transposed import Sent, Transposed

__all__ = ["Chip", "Gradients", "Measured", "backward"]

_MOST = float((1 << 23) - 1)
"""Where a membrane is clipped."""


@dataclass(eq=False)
class Chip:
    """An integer network with its emulator. By population: `scale` (n,), numbers of the core in a unit of V, and
    `latency`, columns that it acts later than the model. `spiking`: the populations that are no readouts. `dtype`,
    `device`: of gradients."""

    engine: IntegerEngine
    scale: Mapping[str, Array]
    latency: Mapping[str, int]
    spiking: frozenset[str]
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
    for names in reversed(chip.engine.schedule):
        scans = {name: _Scan(measured, name, surrogate, spikes.get(name), membranes.get(name)) for name in names}
        inside = [each for each in network.projections if each.source in names and each.target in names]
        if not inside:
            (name, scan), = scans.items()
            if spikes.get(name) is None and membranes.get(name) is None and name not in back:
                continue
            scan.spikes_back = back.pop(name, None)
            for column in scan.columns:
                scan.column(column)
        else:
            returning: dict[str, Tensor] = {}
            for name, scan in scans.items():
                made = back.pop(name, None)
                scan.spikes_back = returning[name] = scan.empty() if made is None else made
            for column in range(measured.columns - 1, -1, -1):
                for scan in scans.values():
                    if column in scan.columns:
                        scan.column(column)
                for each in inside:
                    if column in scans[each.target].columns:
                        chip.transposed(each.name).back_column(column, scans[each.target].drive[column],
                                                               returning[each.source])
        for name, scan in scans.items():
            if name in biases:
                found.biases[name] = scan.constant
            for each in network.incoming[name]:
                if each.name in weights:
                    key = each.source, each.message_bits > 0
                    sent[key] = sent.get(key) or measured.sent(each)
                    found.weights[each.name] = chip.transposed(each.name).weight(sent[key], scan.drive)
                if each.source in network.populations and each not in inside:
                    if each.source not in back:
                        back[each.source] = torch.zeros((measured.columns, measured.batch, network.size(each.source)),
                                                        dtype=chip.dtype, device=chip.device)
                    chip.transposed(each.name).back(scan.drive, back[each.source])
    return found


class _Scan:
    """One population, column by column from the last. `drive` (columns, batch, n) and `constant` (n,): gradients with
    respect to what arrives and to the constant."""

    def __init__(self, measured: Measured, name: str, surrogate: Surrogate, spikes: Tensor | None,
                 membrane: Tensor | None) -> None:
        chip, population = measured.chip, measured.chip.network.populations[name]
        self.population, self.surrogate, self.dtype, self.device = population, surrogate, chip.dtype, chip.device
        self.latency, self.spiking = chip.latency[name], name in chip.spiking
        self.columns = range(self.latency + measured.steps - 1, self.latency - 1, -1)
        self.spikes, self.membrane = spikes, membrane
        self.spikes_back: Tensor | None = None
        self.u, self.v, self.fired = (torch.from_numpy(each[name]).to(self.device) for each in (
            measured.result.u, measured.result.v, measured.result.spikes))
        self.batch, self.all_columns, self.n = len(self.u), self.u.shape[1], population.n
        self.drive = self.empty()
        self.constant = torch.zeros(self.n, dtype=self.dtype, device=self.device)
        self._alpha, self._beta = (4095 - population.du) / 4096, (4096 - population.dv) / 4096
        self._inverse = torch.from_numpy(1 / chip.scale[name]).to(self.device, self.dtype)
        self._bias = self._moved(population.bias, 2.0**population.bias_exponent)
        self._start = self._moved(population.v0, 1.0)
        self._current = torch.zeros((self.batch, self.n), dtype=self.dtype, device=self.device)
        self._membrane = torch.zeros_like(self._current)

    def empty(self) -> Tensor:
        return torch.zeros((self.all_columns, self.batch, self.n), dtype=self.dtype, device=self.device)

    def column(self, column: int) -> None:
        """The reverse of one column of the chip."""
        shown, fired = column - self.latency, self.fired[:, column].view(torch.bool)
        before = self.v[:, column - 1].to(self.dtype) if column else self._start.expand(self.batch, self.n)
        x = (before * self._beta).add_(self.u[:, column]).add_(self._bias)
        g_v = self._membrane
        if self.membrane is not None:
            g_v = g_v + self.membrane[shown]
        g = g_v.masked_fill(fired, 0)
        g_spikes = None if self.spikes is None else self.spikes[shown]
        if self.spikes_back is not None:
            late = self.spikes_back[column]
            g_spikes = late if g_spikes is None else g_spikes + late
        if self.spiking and not self.surrogate.detach_reset:
            lost = g_v * x * self._inverse
            g_spikes = -lost if g_spikes is None else g_spikes - lost
        if g_spikes is not None:
            above = (x - float(self.population.threshold << 6)).mul_(self._inverse)
            g = g.addcmul_(slope(self.surrogate, above), g_spikes)
        g = g.masked_fill_(x.abs_() >= _MOST, 0)
        self.constant += g.sum(0)
        self._current = self._current.mul_(self._alpha).add_(g)
        self.drive[column] = self._current
        self._membrane = g.mul_(self._beta)

    def _moved(self, array: Array | None, factor: float) -> Tensor:
        values = np.zeros(self.n) if array is None else array * factor
        return torch.from_numpy(values.astype(np.float64)).to(self.device, self.dtype)
