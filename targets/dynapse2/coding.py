"""Weights as DYNAP-SE2 holds them, for training with the chip in the loop: masks of a core's four currents, of which
each synapse takes the nearest; and the linear network that gradients are of."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import numpy as np

from ...ir.derived import Derived, apply
from ...ir.network import Network, Population, Projection
from ...ir.nodes import Array
from .cores import Held, effective_network, hold_again, nearest_weights, weight_bounds
from .place import ends

__all__ = ["MaskCoding", "codes_of", "nominal_network"]


def nominal_network(held: Held) -> Network:
    """Linear membranes with the time constants, refractory periods and resting values of the cores' currents, and the
    weights of the model, as they are made of its parameters; spikes are impulses."""
    network, charge = held.placement.network, _charge(held.placement.network)
    found = {name: _settled(each) for name, each in effective_network(held).populations.items()}
    projections = network.projections if charge == 1 else tuple(
        replace(each, connection=replace(each.connection, weight=apply(
            "multiply", each.connection.weight, np.array(charge)))) for each in network.projections)
    return replace(network, populations=found, projections=projections, discretization=None)


def codes_of(held: Held) -> dict[str, Array]:
    """By projection, int32 (n_target, n_source): masks 0..15, less than 0 where a synapse inhibits."""
    network, found = held.placement.network, {}
    for each in network.projections:
        codes = np.zeros((network.size(each.target), network.size(each.source)), np.int32)
        codes[ends(each)] = held.signs[each.name].astype(np.int32) * held.masks[each.name]
        found[each.name] = codes
    return found


class MaskCoding:
    """A `runtime.analog.in_the_loop.Coding` of what cores hold, for their `nominal_network`. A weight that was zero
    when the network was placed has no synapse, and stays zero."""

    speed_up = 1.0

    def __init__(self, held: Held) -> None:
        self._held, self._charge = held, _charge(held.placement.network)
        self._there = [np.asarray(each.connection.weight) != 0 for each in held.placement.network.projections]

    def codes(self, network: Network) -> dict[str, Array]:
        """Of the nominal network with other weights."""
        placed = self._held.placement.network
        projections = tuple(self._with(number, np.asarray(each.connection.weight, np.float64))
                            for number, each in enumerate(network.projections))
        return codes_of(hold_again(self._held, replace(placed, projections=projections)))

    def rounded(self, number: int, weight: Array) -> Array:
        return nearest_weights(self._held, self._with(number, weight)) * self._charge

    def bounds(self, number: int) -> tuple[Array, Array]:
        low, high = weight_bounds(self._held, self._held.placement.network.projections[number])
        return low * self._there[number] * self._charge, high * self._there[number] * self._charge

    def _with(self, number: int, weight: Array) -> Projection:
        """The projection as it was placed, with weights of the nominal network."""
        placed = self._held.placement.network.projections[number]
        weight = np.where(self._there[number], weight / self._charge, 0.0)
        return replace(placed, connection=replace(placed.connection, weight=weight))


def _charge(network: Network) -> float:
    grid = network.discretization
    return grid.dt if grid is not None and grid.spike == "box" else 1.0


def _settled(population: Population) -> Population:
    """Its numbers as constants: the chip's currents do not follow the parameters."""
    values = {each.name: getattr(population, each.name) for each in fields(population)}
    settled: dict[str, Any] = {name: np.array(value) for name, value in values.items() if isinstance(value, Derived)}
    return replace(population, **settled)
