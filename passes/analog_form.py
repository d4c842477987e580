"""A network in the form that an analog chip's circuits have: current-based synapses onto leaky membranes that start at
rest, all to all, and no constant currents."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, cast

import numpy as np

from ..ir.derived import Derived, apply
from ..ir.diagnostics import Diagnostics, UnsupportedError
from ..ir.network import Connection, Dense, Network, Population, Projection
from ..ir.nodes import Array
from .algebra import as_sparse, rows_of
from .manager import Pass

__all__ = ["AnalogForm"]

_LARGEST = 1 << 26
"""Synapses of one projection that are laid out as a matrix."""


@dataclass(frozen=True)
class AnalogForm(Pass[Network, Network]):
    """Every population becomes `cuba`, every projection `Dense` with at most one delay a source.

    An impulse onto the membrane becomes the charge of the shortest synapse there is, a box that of an impulse of its
    area: the chip's spikes are short. A constant current moves the
    potential at which the membrane rests, v_leak + r w_in bias, and the membrane starts there: on the chip it has
    rested before the run.

    `shortest`: time constant of that synapse; `refractory`: the shortest period of silence after a spike. Both in
    seconds of the model.
    """

    shortest: float
    refractory: float = 0.0
    name: ClassVar[str] = "analog-form"
    requires: ClassVar[frozenset[str]] = frozenset({"lowered", "scheduled"})
    ensures: ClassVar[frozenset[str]] = frozenset({"lowered", "scheduled"})

    def run(self, graph: Network) -> Network:
        """Raises UnsupportedError, naming every population without a leak, and every projection with a delay of its
        own for each synapse, or too large to be laid out (SC371), and every population whose bias alone would bring it
        to its threshold (SC372)."""
        faults = Diagnostics()
        for name, population in graph.populations.items():
            if population.kind == "integrator":
                faults.add("SC371", "the chip's membranes leak", node=name, remedy="Use CubaLIF or LIF.")
            elif population.spiking:
                _check_bias(population, faults)
        for each in graph.projections:
            if each.delay is not None and each.delay_per != "source":
                faults.add("SC371", "an axon has one delay, and this one a delay for each synapse", node=each.name,
                           remedy="Use one delay for each source.")
            if (size := graph.size(each.source) * graph.size(each.target)) > _LARGEST:
                faults.add("SC371", "the projection is too large for the chip", node=each.name,
                           value=f"{size} synapses", limit=str(_LARGEST))
        faults.raise_if_errors(UnsupportedError)
        populations = {name: self._formed(each) for name, each in graph.populations.items()}
        projections = tuple(self._laid_out(graph, each) for each in graph.projections)
        return replace(graph, populations=populations, projections=projections, discretization=None)

    def _formed(self, population: Population) -> Population:
        n = population.n
        if population.kind == "leaky":
            population = replace(population, kind="cuba", w_in=np.ones(n), tau_syn=np.full(n, self.shortest))
        leak = cast(Array, population.v_leak)
        by_bias = apply("multiply", apply("multiply", population.r, cast(Array, population.w_in)), population.bias)
        rest = apply("add", leak, by_bias) if np.any(np.asarray(population.bias)) else leak
        held = population.refractory
        if population.spiking and self.refractory:
            held = np.maximum(0.0 if held is None else np.asarray(held), np.full(n, self.refractory))
        return replace(population, v_leak=rest, v0=rest, bias=np.zeros(n), refractory=held)

    def _laid_out(self, network: Network, each: Projection) -> Projection:
        shape = network.size(each.target), network.size(each.source)
        weight, grid = _matrix(each.connection, shape), network.discretization
        if grid is not None and grid.spike == "box":
            weight = apply("multiply", weight, np.array(grid.dt))
        return replace(each, connection=Dense(weight=weight))


def _check_bias(population: Population, faults: Diagnostics) -> None:
    """A bias moves the potential at rest, which on the chip is below the threshold (SC372)."""
    bias, r, w_in, leak, threshold = (np.asarray(1.0 if each is None else each, np.float64) for each in (
        population.bias, population.r, population.w_in, population.v_leak, population.v_threshold))
    lift = r * w_in * bias
    over = (lift > 0) & (leak < threshold) & (leak + lift >= threshold)
    if over.any():
        worst = int(np.argmax(np.where(over, lift / (threshold - leak), -np.inf)))
        faults.add("SC372", "the bias alone brings the membrane to its threshold; on the chip it is the potential at "
                   "rest, which is below that", node=population.name,
                   value=f"{over.sum()} of {population.n} neurons; neuron {worst} would rest at "
                         f"{leak[worst] + lift[worst]:.6g}", limit=f"below {threshold[worst]:.6g}",
                   remedy="Train without a bias (torch.nn.Linear(..., bias=False)), keep r w_in bias below the way "
                          "from v_leak to the threshold (snnTorch's Leaky: bias < threshold (1 - beta)), or add an "
                          "input channel that fires regularly, whose weights stand for the bias.")


def _matrix(connection: Connection, shape: tuple[int, int]) -> Array | Derived:
    if isinstance(connection, Dense):
        return connection.weight
    sparse = as_sparse(connection, shape[1])
    place = rows_of(sparse) * shape[1] + sparse.indices
    flat = apply("segment_sum", sparse.weight, static=(place, shape[0] * shape[1]))
    return apply("reshape", flat, static=(shape,))
