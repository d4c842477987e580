"""What a run and a module need to know of a program for a chip, whatever made it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

from ...ir.graph import Discretization, Graph
from ...ir.integer.network import IntegerNetwork
from ...ir.network import Network
from ...ir.nodes import Array

if TYPE_CHECKING:
    from .engine import IntegerEngine
    from .inputs import ModelInputs

__all__ = ["IntegerProgram", "PopulationScale", "ProjectionScale", "Scaled", "Split"]


class PopulationScale(Protocol):
    """Of a population: `scale` (n,), v of the core for a unit of V; `offset` (n,), V where v is zero; `by_bias` (n,), V
    that a unit of constant current brings a column; `latency`, columns that it acts later than the model."""

    @property
    def scale(self) -> Array: ...

    @property
    def offset(self) -> Array: ...

    @property
    def by_bias(self) -> Array: ...

    @property
    def latency(self) -> int: ...


class ProjectionScale(Protocol):
    """Of a projection: `factor` (n_target,), what a unit of weight is of what arrives; `saturated`, the share of
    weights that are at the end of the range, or cut off."""

    @property
    def factor(self) -> Array: ...

    @property
    def saturated(self) -> float: ...


class Scaled(Protocol):
    """`passes.quantise.Quantised`: an integer network, and how its numbers came about."""

    @property
    def network(self) -> IntegerNetwork: ...

    @property
    def populations(self) -> Mapping[str, PopulationScale]: ...

    @property
    def projections(self) -> Mapping[str, ProjectionScale]: ...


class Split(Protocol):
    """`passes.split_populations.SplitNetwork`: a network whose populations a core can hold. `parts`: for each
    population that was split, by name of a part, the neurons (k,) that it holds."""

    @property
    def network(self) -> Network: ...

    @property
    def parts(self) -> Mapping[str, Mapping[str, Array]]: ...

    def whole(self, name: str, values: Mapping[str, Array]) -> Array:
        """What each part of a population has along its last axis, in the order of the population's neurons."""


class IntegerProgram(Protocol):
    """See `targets.loihi.program.LoihiProgram`."""

    graph: Graph
    grid: Discretization
    network: Network

    @property
    def quantised(self) -> Scaled: ...

    @property
    def split(self) -> Split: ...

    @property
    def latency(self) -> int: ...

    @property
    def lava(self) -> Any: ...

    @property
    def engine(self) -> IntegerEngine: ...

    @property
    def inputs(self) -> ModelInputs: ...

    def latency_of(self, population: str) -> int:
        """Columns that a population of the model acts later than the model."""

    def requantised(self, network: Network) -> Scaled:
        """`split.network` with other weights and biases, on the program's scales."""
