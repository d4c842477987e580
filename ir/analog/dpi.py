"""Networks of DPI neurons: the log-domain integrators of currents that DYNAP-SE2 and its forebears are made of.

The membrane, as published (Chicca, Stefanini, Bartolozzi & Indiveri, Proc. IEEE 102:1367, 2014; so in teili's
`DPI` equations and Rockpool's `DynapSim`), with I_in the current that flows in:

    tau (1 + I_th / I) dI/dt = I_th / I_tau (I_in - I_tau) + I_a / I_tau (I + I_th) - I

It is said here in the logarithm u = ln I, in which it is smooth and gentle wherever the current is:

    tau du/dt = (I_th / I_tau) I_in / (I + I_th) - 1 + f(I),        I = max(exp u, dark)

`f` = I_a / I_tau is the positive feedback, of one of two forms: `feedback` (I / dark)^`exponent`, which follows from
the circuit with exponent kappa / (kappa + 1) and is what DynapSim computes, and `surge` / (1 + exp(-(I - `surge_at`) /
`surge_width`)), the fit of Chicca et al.; a neuron may have both.

The synapses are DPI circuits of their own, well above their own threshold, where they are linear: a spike adds its
weight to the exciting or, where the weight is negative, to the inhibiting current, each of which decays exponentially.
I_in = max(I_exc - I_inh + dc, dark). A neuron fires where I passes `threshold`; it is taken to `dark`, and held there
for the refractory period, in which the synapses go on.

**The linear regime.** Without feedback and with dc >= I_tau, a current that starts at `dark` differs from that of the
linear membrane tau dI/dt = I_th / I_tau (I_in - I_tau) - I by at most I_th ln(I_max / dark), or `dark` where that is
more, whatever the input, as long as I_in does not fall below I_tau: with m = I / I_th and e the difference less ln m,
tau de/dt = -ln m - e. Feedback of at most f_max adds f_max (I_max + I_th). `linear_error` states that over the
threshold.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from math import prod
from types import MappingProxyType

import numpy as np

from ..diagnostics import Diagnostics
from ..nodes import Array

__all__ = ["DpiNetwork", "DpiPopulation", "DpiProjection", "check_dpi", "linear_error"]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class DpiPopulation:
    """Neurons, each with numbers of its own: every array is (n,), float64, in seconds and amperes.

    `gain` is I_th, `leak` I_tau of the membrane; `dc` may be negative; `feedback`, `exponent` and `surge` are plain
    numbers.
    """

    tau_mem: Array
    tau_exc: Array
    tau_inh: Array
    gain: Array
    leak: Array
    dc: Array
    dark: Array
    threshold: Array
    refractory: Array
    feedback: Array
    exponent: Array
    surge: Array
    surge_at: Array
    surge_width: Array

    @property
    def n(self) -> int:
        return len(self.tau_mem)

    def feedback_at(self, current: Array) -> Array:
        """f(I), one a neuron."""
        width = np.where(self.surge != 0, self.surge_width, 1.0)
        away = np.where(self.surge != 0, (self.surge_at - current) / width, 0.0)
        found: Array = (self.feedback * (current / self.dark) ** self.exponent
                        + self.surge / (1 + np.exp(np.minimum(away, 700.0))))
        return found


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class DpiProjection:
    """`weight` (n_target, n_source): amperes that a spike adds to the target's exciting current, or, where it is
    negative, to its inhibiting one."""

    name: str
    source: str
    target: str
    weight: Array


@dataclass(frozen=True, eq=False, kw_only=True)
class DpiNetwork:
    """`inputs`: shape by name. Spikes take no time from neuron to neuron."""

    inputs: Mapping[str, tuple[int, ...]]
    populations: Mapping[str, DpiPopulation]
    projections: tuple[DpiProjection, ...] = field(default=())

    def __post_init__(self) -> None:
        for name in ("inputs", "populations"):
            object.__setattr__(self, name, MappingProxyType(dict(getattr(self, name))))

    def size(self, name: str) -> int:
        """Number of channels of an input, or of neurons of a population."""
        return prod(self.inputs[name]) if name in self.inputs else self.populations[name].n


_POSITIVE = ("tau_mem", "tau_exc", "tau_inh", "gain", "leak", "dark", "threshold")
_NOT_NEGATIVE = ("refractory", "feedback", "exponent", "surge")


def check_dpi(network: DpiNetwork) -> None:
    """Raises BadInputError with every fault: shapes (SC107), numbers that are not finite (SC104) or out of range
    (SC103), names that do not exist (SC131)."""
    faults = Diagnostics()
    for name, population in network.populations.items():
        for each in fields(population):
            value = np.asarray(getattr(population, each.name))
            if value.shape != (population.n,):
                faults.add("SC107", f"{each.name} is one number a neuron", node=name, value=value.shape,
                           limit=(population.n,))
            elif not np.isfinite(value).all():
                faults.add("SC104", f"{each.name} is not finite", node=name)
            elif (each.name in _POSITIVE and (value <= 0).any()) or (each.name in _NOT_NEGATIVE and (value < 0).any()):
                faults.add("SC103", f"{each.name} is out of range", node=name, value=f"{value.min():g}",
                           limit="> 0" if each.name in _POSITIVE else ">= 0")
        if not faults.errors:
            if (population.threshold <= population.dark).any():
                faults.add("SC103", "the threshold is no higher than the dark current", node=name)
            if ((population.surge > 0) & (population.surge_width <= 0)).any():
                faults.add("SC103", "surge_width is out of range", node=name, limit="> 0 where there is a surge")
    for projection in network.projections:
        if projection.target not in network.populations or not (
                projection.source in network.populations or projection.source in network.inputs):
            faults.add("SC131", "a projection has no such end", node=projection.name,
                       value=f"{projection.source} -> {projection.target}")
            continue
        shape = (network.size(projection.target), network.size(projection.source))
        if np.asarray(projection.weight).shape != shape:
            faults.add("SC107", "the weights are one number for each target and source", node=projection.name,
                       value=np.asarray(projection.weight).shape, limit=shape)
        elif not np.isfinite(projection.weight).all():
            faults.add("SC104", "a weight is not finite", node=projection.name)
    faults.raise_if_errors()


def linear_error(population: DpiPopulation) -> Array:
    """(n,): how far the current may be from that of the linear membrane, up to the threshold and over it; see the
    module's text."""
    ratio = population.gain / population.threshold
    apart = np.maximum(ratio * np.log(population.threshold / population.dark), population.dark / population.threshold)
    found: Array = apart + population.feedback_at(population.threshold) * (1 + ratio)
    return found
