"""Populations in the engine's units: two rates, a coupling, a threshold.

Between events a neuron is u' = -a u + rho j, j' = -b j, where u is the membrane from its resting point and j the
synaptic current in units of weight. What an input moves names the kind of cell: `j` (current-based synapse, or a box
current, for which b = 0), `u` (delta synapse), `c` (box into a current-based synapse: j' = -b j + c).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Literal

import torch
from torch import Tensor

from ..ir.graph import Discretization
from ..ir.network import Population

__all__ = ["Cell", "CellKind", "cell_kind", "make_cell"]

CellKind = Literal["j", "u", "c"]


@dataclass(frozen=True, slots=True)
class Cell:
    """All tensors (n,). `rest`: the membrane voltage where u = 0. `reset` and `theta` are in u; `drop` is what a
    subtractive reset takes off at a spike that an input triggers; `gain` scales an input of cell `u`."""

    a: Tensor
    b: Tensor
    rho: Tensor
    gain: Tensor
    theta: Tensor
    reset: Tensor
    drop: Tensor
    u0: Tensor
    j0: Tensor
    rest: Tensor

    def differentiable(self) -> tuple[Tensor, ...]:
        """The tensors that the adjoint gives gradients for, in the order of the kernels."""
        return self.a, self.b, self.rho, self.gain, self.theta, self.reset, self.drop, self.u0, self.j0

    def to(self, dtype: torch.dtype) -> Cell:
        """In the type of the engine, each tensor contiguous, as the kernels read them."""
        return Cell(*(getattr(self, entry.name).to(dtype).contiguous() for entry in fields(self)))


def cell_kind(population: Population, discretization: Discretization | None) -> CellKind:
    """Which component of the state an input moves."""
    box = discretization is not None and discretization.spike == "box"
    if population.kind == "cuba":
        return "c" if box else "j"
    return "j" if box else "u"


def make_cell(population: Population, values: Mapping[str, Tensor], kind: CellKind) -> Cell:
    """The cell of a population whose arrays are `values` (name -> (n,) tensor, float64), differentiably.

    A constant current is no state: it moves the resting point of a leaky membrane, `v_leak + r w_in bias`, and starts
    the synaptic current at -bias (that is, I = 0); without a leak it is a constant j.
    """
    zero = torch.zeros_like(values["r"])
    if population.kind == "cuba":
        a, b = 1 / values["tau_mem"], 1 / values["tau_syn"]
        # j in units of weight: I = w_in / tau_syn j; under a box c as well, where j goes to tau_syn c
        rho = values["r"] * values["w_in"] * a * b
        gain = zero + 1
        rest = values["v_leak"] + values["r"] * values["w_in"] * values["bias"]
        j0 = -values["bias"] * values["tau_syn"]
    else:
        leaky = population.kind == "leaky"
        a, b = (1 / values["tau_mem"] if leaky else zero), zero
        rho = values["r"] * a if leaky else values["r"]
        gain = rho if kind == "u" else zero + 1
        rest = values["v_leak"] if leaky else zero
        j0 = values["bias"]
    if population.spiking:
        after = values["v_reset"] if population.reset == "v_reset" else zero
        theta, reset, drop = values["v_threshold"] - rest, after - rest, values["v_threshold"]
    else:
        theta, reset, drop = zero, zero, zero
    return Cell(a, b, rho, gain, theta, reset, drop, values["v0"] - rest, j0, rest)
