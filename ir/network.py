"""The network: what a model graph becomes when everything stateless is folded into projections.

Populations of neurons, projections between them, and nothing else. Partitioning, placement and every emitter read
this level. Arrays are numpy, and may be `Derived` (they then know the parameters of the model graph that they came
from).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from math import prod
from types import MappingProxyType
from typing import Any, Literal

from .flow.flow import Flow
from .graph import Discretization
from .nodes import Array, Pair, Reset

__all__ = ["Connection", "Conv", "Dense", "Network", "Population", "Projection", "Sparse"]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Population:
    """`n` neurons of one kind; every array is (n,), float64, seconds where it is a time.

    `cuba`: tau_syn dI/dt = -I + w_in (S + bias); tau_mem dV/dt = (v_leak - V) + r I.
    `leaky`: tau_mem dV/dt = (v_leak - V) + r (S + bias).  `integrator`: dV/dt = r (S + bias).
    S is the weighted sum over projections of unit impulses, or of unit boxes of length dt where the network's
    discretisation says `box`. `tau_mem` is unused (None) by `integrator`, `tau_syn` and `w_in` by all but `cuba`.
    `flow`: the equations are those of `flow` (None for all others), which gets S as impulses and `bias` as its
    parameter of that name; `r` is 1, `v0` the start of the state that is shown; `refractory` may be None; threshold and
    reset are the flow's.
    `spiking` false: a readout, without threshold, reset and refractory period (None).
    """

    name: str
    kind: Literal["integrator", "leaky", "cuba", "flow"]
    shape: tuple[int, ...]
    spiking: bool
    r: Array
    bias: Array
    v0: Array
    tau_mem: Array | None = None
    tau_syn: Array | None = None
    v_leak: Array | None = None
    w_in: Array | None = None
    v_threshold: Array | None = None
    v_reset: Array | None = None
    refractory: Array | None = None
    reset: Reset = "v_reset"
    flow: Flow | None = None

    @property
    def n(self) -> int:
        return prod(self.shape)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Dense:
    """All to all: `weight` (n_target, n_source)."""

    weight: Array


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Sparse:
    """CSR over target rows: row i holds `weight[indptr[i]:indptr[i+1]]` at source columns `indices[...]`, ascending."""

    indptr: Array
    indices: Array
    weight: Array


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Conv:
    """A stencil, never unrolled: cross-correlation (C_in, H, W) -> (C_out, H', W'), torch's meaning.
    `weight` (C_out, C_in/groups, KH, KW). `padding`: zero rows above and columns left; what is needed below and right
    follows from `output_shape`. A 1-D convolution has H = 1."""

    weight: Array
    input_shape: tuple[int, int, int]
    output_shape: tuple[int, int, int]
    stride: Pair = (1, 1)
    padding: Pair = (0, 0)
    dilation: Pair = (1, 1)
    groups: int = 1


Connection = Dense | Sparse | Conv


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Projection:
    """Synapses from `source` (an input or a spiking population) to `target` (a population).

    `delay` in seconds: None, one per source neuron (n_source,), or one per synapse in the layout of
    `connection.weight` (not for Conv); `delay_per` says which.
    """

    name: str
    source: str
    target: str
    connection: Connection
    delay: Array | None = None
    delay_per: Literal["source", "synapse"] = "source"


@dataclass(frozen=True, eq=False)
class Network:
    """`inputs`: shape by name. `outputs`: for each output node of the model, the population it shows.
    `schedule`: strongly connected components in topological order, each a tuple of population names; empty before the
    pass `schedule`."""

    inputs: Mapping[str, tuple[int, ...]]
    populations: Mapping[str, Population]
    projections: tuple[Projection, ...]
    outputs: Mapping[str, str]
    discretization: Discretization | None = None
    schedule: tuple[tuple[str, ...], ...] = field(default=())

    def __post_init__(self) -> None:
        for name in ("inputs", "populations", "outputs"):
            object.__setattr__(self, name, MappingProxyType(dict(getattr(self, name))))

    @cached_property
    def incoming(self) -> Mapping[str, tuple[Projection, ...]]:
        """The projections onto each population, in order."""
        return {
            name: tuple(projection for projection in self.projections if projection.target == name)
            for name in self.populations
        }

    def size(self, name: str) -> int:
        """Number of channels of an input, or of neurons of a population."""
        return prod(self.inputs[name]) if name in self.inputs else self.populations[name].n

    def __reduce__(self) -> tuple[Any, ...]:
        """For worker processes: the read-only views are made again there."""
        return Network, (dict(self.inputs), dict(self.populations), self.projections, dict(self.outputs),
                         self.discretization, self.schedule)

    def __str__(self) -> str:
        from .network_text import network_to_text

        return network_to_text(self)
