"""What is legal of populations and projections alike in a network and in an integer network: names, inputs, outputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from .conform import is_shape
from .diagnostics import Diagnostics

__all__ = ["Populated", "check_inputs", "check_names", "check_outputs"]


class _Named(Protocol):
    @property
    def name(self) -> str: ...


class Populated(Protocol):
    """A `Network` or an `IntegerNetwork`."""

    @property
    def inputs(self) -> Mapping[str, tuple[int, ...]]: ...

    @property
    def populations(self) -> Mapping[str, _Named]: ...

    @property
    def projections(self) -> Sequence[_Named]: ...

    @property
    def outputs(self) -> Mapping[str, str]: ...


def check_names(network: Populated, faults: Diagnostics) -> None:
    for name, population in network.populations.items():
        if population.name != name:
            faults.add("SC109", "a population is listed under another name", node=name, value=population.name)
        if name in network.inputs:
            faults.add("SC109", "an input and a population share a name", node=name)
    seen = set()
    for projection in network.projections:
        if projection.name in seen:
            faults.add("SC109", "two projections share a name", node=projection.name)
        seen.add(projection.name)


def check_inputs(network: Populated, faults: Diagnostics) -> None:
    for name, shape in network.inputs.items():
        if not is_shape(shape):
            faults.add("SC102", "an input's shape is positive", node=name, value=shape)


def check_outputs(network: Populated, faults: Diagnostics) -> None:
    if not network.outputs:
        faults.add("SC105", "the network has no output")
    for name, population in network.outputs.items():
        if population not in network.populations:
            faults.add("SC101", "an output shows a population that does not exist", node=name, value=population)
