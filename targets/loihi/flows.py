"""Spikes between the cores of a mapped network, as a report shows them: by direction, and the largest ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from ...ir.integer.network import IntegerNetwork
from ...ir.mapping import ChipMapping
from ...ir.nodes import Array
from ...passes.traffic import Rates, traffic

__all__ = ["Flows"]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Flows:
    """Spikes a column. `between`: from a core to another; `entering` (cores,): from inputs; `between_chips`: of
    those between cores. `east_west`, `north_south`: hops of spikes that stay on their chip; `hops`: of all. `source`,
    `target`, `sent`, `distance`, each (k,): flows from a core to another, the largest first."""

    between: float
    entering: Array
    between_chips: float
    east_west: float
    north_south: float
    hops: float
    source: Array
    target: Array
    sent: Array
    distance: Array

    @classmethod
    def of(cls, network: IntegerNetwork, mapping: ChipMapping, rates: Rates | None) -> Self:
        """The flows at these rates; without rates, of one spike of every neuron and input a column."""
        found = traffic(network, mapping, rates)
        where = mapping.routers()
        chips = np.array([core.chip for core in mapping.cores], dtype=np.int64)
        steps = np.abs(where[found.source] - where[found.target])
        near = chips[found.source] == chips[found.target]
        across, down = ((found.sent * steps[:, axis])[near].sum() for axis in (0, 1))
        order = np.argsort(-found.sent, kind="stable")
        return cls(between=found.packets, entering=found.entering, between_chips=found.crossing, hops=found.hops,
                   east_west=float(across), north_south=float(down), source=found.source[order],
                   target=found.target[order], sent=found.sent[order], distance=steps.sum(axis=1)[order])

    @property
    def inputs(self) -> float:
        """From inputs to cores."""
        return float(self.entering.sum())

    def matrix(self, cores: int) -> Array:
        """(cores, cores): from row to column."""
        full = np.zeros((cores, cores))
        full[self.source, self.target] = self.sent
        return full

    def as_dict(self) -> dict[str, Any]:
        """Totals, and every flow as [from, to, spikes a column, hops]; cores are numbered as in the core table."""
        flows = zip(self.source.tolist(), self.target.tolist(), self.sent.tolist(), self.distance.tolist(), strict=True)
        return {"spikes_between_cores": self.between, "spikes_between_chips": self.between_chips, "hops": self.hops,
                "hops_east_west": self.east_west, "hops_north_south": self.north_south,
                "spikes_from_inputs": self.inputs, "flows": [list(each) for each in flows]}
