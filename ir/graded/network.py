"""Networks of graded synapses: what a model graph of `GradedTheta` and `GradedLI` becomes when everything stateless is
folded. Arrays may be `Derived`: they then know the parameters of the model graph that they came from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from math import prod
from types import MappingProxyType

from ..diagnostics import Diagnostic, UnsupportedError
from ..network import Projection
from ..nodes import Array

__all__ = ["GradedNetwork", "GradedPopulation", "refuse_graded"]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class GradedPopulation:
    """`n` neurons; every array is (n,), float64, seconds where it is a time.

    `circle`: tau dv/dt = (1 - cos v) + (1 + cos v) r (S + bias), gate about pi; `v_leak` and `v_gate` are None.
    Otherwise tau dv/dt = (v_leak - v) + r (S + bias), gate about `v_gate`.
    """

    name: str
    shape: tuple[int, ...]
    circle: bool
    tau: Array
    tau_syn: Array
    zone: Array
    r: Array
    v0: Array
    bias: Array
    v_leak: Array | None = None
    v_gate: Array | None = None

    @property
    def n(self) -> int:
        return prod(self.shape)


@dataclass(frozen=True, eq=False)
class GradedNetwork:
    """`inputs`, `outputs`: shape by name. `projections`: from inputs or populations to populations or outputs, dense or
    sparse, without delay; an output shows the sum of those that reach it and its `offsets` (n,), where it has one."""

    inputs: Mapping[str, tuple[int, ...]]
    populations: Mapping[str, GradedPopulation]
    projections: tuple[Projection, ...]
    outputs: Mapping[str, tuple[int, ...]]
    offsets: Mapping[str, Array]

    def __post_init__(self) -> None:
        for name in ("inputs", "populations", "outputs", "offsets"):
            object.__setattr__(self, name, MappingProxyType(dict(getattr(self, name))))

    @cached_property
    def order(self) -> tuple[str, ...]:
        """Populations as engines number their neurons through: those on a circle first."""
        return tuple(sorted(self.populations, key=lambda name: not self.populations[name].circle))

    @cached_property
    def span(self) -> Mapping[str, slice]:
        """Where the neurons of each population stand in that order."""
        spans, start = {}, 0
        for name in self.order:
            spans[name] = slice(start, start + self.populations[name].n)
            start += self.populations[name].n
        return spans

    @property
    def n(self) -> int:
        """All neurons."""
        return sum(each.n for each in self.populations.values())

    def size(self, name: str) -> int:
        """Channels of an input or an output, or neurons of a population."""
        if name in self.populations:
            return self.populations[name].n
        return prod(self.inputs[name] if name in self.inputs else self.outputs[name])

    def __reduce__(self) -> tuple[object, ...]:
        """For worker processes: the read-only views are made again there."""
        return GradedNetwork, (dict(self.inputs), dict(self.populations), self.projections, dict(self.outputs),
                               dict(self.offsets))


def refuse_graded(network: object, asked: str) -> None:
    """Raises UnsupportedError where `network` is one of graded synapses, and `asked` is for events with labels
    (SC465)."""
    if isinstance(network, GradedNetwork):
        raise UnsupportedError(Diagnostic(
            "SC465", f"{asked} takes events with labels, and a network of graded currents takes signals",
            node=next(iter(network.populations), None),
            remedy="Write the loop: module(signals, dt=…), a loss of out.signal(name), and an optimizer of torch; "
            "docs/differentiable-synapse.md has one."))
