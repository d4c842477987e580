"""Reset by subtraction on a chip whose neurons are reset to zero: the membrane is held in the current.

A core resets v, and leaves u alone. With dv at its most v forgets, so v = u + bias, and u is the membrane:

    V* = beta V + b x + d k - theta (beta if the reset is in the column of the spike, else 1) of the column before

What is subtracted comes as a spike of the neuron onto itself, which takes the one column that every projection takes.
This is exact but for a 4096th of v that a core always keeps, and for rounding. It is for neurons without a current of
their own (snnTorch's Leaky, its default; sinabs' LIF), since a core has but two states.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..ir.diagnostics import Diagnostics
from ..ir.grid import Discretization
from ..ir.network import Network, Population, Projection, Sparse
from ..ir.nodes import Array
from .chip_law import form_of

__all__ = ["SoftResets", "hold_in_current"]

_KEPT = 1 / 4096
"""Of a current, lost in a column at least (du = 0), and of a membrane, kept at least (dv = 4095)."""
_GONE = 1000
"""Time constants in a column after which nothing is left, in float64 too."""


@dataclass(frozen=True, eq=False, kw_only=True)
class SoftResets:
    """The network, and the grid of each population, whose membranes may be held in currents now."""

    network: Network
    grids: Mapping[str, Discretization]


def hold_in_current(network: Network, grids: Mapping[str, Discretization], faults: Diagnostics) -> SoftResets:
    """Rewrites the populations that are reset by subtraction where a core can hold them so. The others stay, and the
    quantiser tells what becomes of them. `grids`: by population."""
    populations, new_grids = dict(network.populations), dict(grids)
    projections = list(network.projections)
    for name, population in network.populations.items():
        grid = grids[name]
        if not _expressible(population, grid):
            continue
        if population.kind == "integrator":
            faults.add("SC323", "an integrator that is reset by subtraction leaks on the chip", node=name,
                       value=f"{_KEPT:.3%} a column", severity="warning",
                       remedy="Reset it to zero, or compare the outputs.")
        form = form_of(population, grid)
        populations[name], new_grids[name] = _held(population, grid)
        kept = 1.0 if form.resets_late else np.asarray(form.a[0][0], dtype=np.float64)
        weight = -np.broadcast_to(np.asarray(population.v_threshold) * kept / np.asarray(form.b[0]), (population.n,))
        if form.lag:  # a box that the closed form takes up at its end
            projections = [_later(each, network, grid.dt) if each.target == name else each for each in projections]
        own = f"{name}.reset"
        while any(each.name == own for each in projections):
            own += "_"
        projections.append(Projection(
            name=own, source=name, target=name, delay=np.full(population.n, grid.dt),
            connection=Sparse(indptr=np.arange(population.n + 1), indices=np.arange(population.n), weight=weight)))
    if len(projections) == len(network.projections):
        return SoftResets(network=network, grids=grids)
    return SoftResets(network=replace(network, populations=populations, projections=tuple(projections), schedule=()),
                      grids=new_grids)


def _expressible(population: Population, grid: Discretization) -> bool:
    if not population.spiking or population.reset != "subtract" or population.kind == "cuba" or grid.spikes == "many":
        return False
    rest = 0.0 if population.v_leak is None else np.asarray(population.v_leak)
    kept = np.asarray(form_of(population, grid).a[0][0], dtype=np.float64)
    constant = population.kind == "integrator" and bool(np.any(np.asarray(population.bias)))
    resting = population.refractory is not None and bool(np.rint(np.asarray(population.refractory) / grid.dt).any())
    return bool(np.all(np.asarray(population.v0) == rest) and np.all(kept > _KEPT) and not constant and not resting
                and np.all(np.asarray(population.r) != 0))


def _held(population: Population, grid: Discretization) -> tuple[Population, Discretization]:
    """The same with a current in the place of the membrane, and a membrane that is gone after a column."""
    n, stepped = population.n, grid.integrator in ("euler", "semi")
    if population.kind == "integrator":
        tau: Array = np.full(n, grid.dt / -np.log1p(-_KEPT))
        kick = np.asarray(form_of(population, grid).b[0], dtype=np.float64)
        facts: dict[str, Any] = {"tau_syn": tau, "w_in": kick * tau if grid.spike == "delta" else kick / _KEPT,
                                 "v_leak": np.zeros(n)}
        stepped = False
    else:
        facts = {"tau_syn": population.tau_mem, "w_in": population.r, "v_leak": population.v_leak}
    return (replace(population, kind="cuba", tau_mem=np.full(n, grid.dt if stepped else grid.dt / _GONE), r=np.ones(n),
                    reset="zero", **facts),
            replace(grid, integrator="semi" if stepped else "decay", reset="same"))


def _later(projection: Projection, network: Network, dt: float) -> Projection:
    """The same, by a column later."""
    if projection.delay is None:
        return replace(projection, delay=np.full(network.size(projection.source), dt))
    return replace(projection, delay=np.asarray(projection.delay) + dt)
