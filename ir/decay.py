"""Decay factors of clocked frameworks as time constants: the one place where they are turned into the IR's units.

A framework's neuron (snnTorch's names) is stated by what a step of dt leaves of its state:

    Leaky     mem := beta mem + x
    Synaptic  syn := alpha syn + x;  mem := beta mem + syn

With beta = e^(-dt/tau_mem), alpha = e^(-dt/tau_syn), the `decay` integrator of `step` gives the same numbers for

                    spike="delta"                         spike="box"
    Leaky           r = tau                               r = 1 / (1 - beta)
                    bias times 1 / (tau (1 - beta))       bias unchanged
    Leaky, beta = 1 IF with r = 1, bias times 1 / dt      IF with r = 1 / dt, bias unchanged
    Synaptic        w_in = tau_syn, r = 1 / (1 - beta)    w_in = 1 / (1 - alpha), r = 1 / (1 - beta)
                    bias times 1 / (tau_syn (1 - alpha))  bias unchanged

`delta` lets a spike of weight w move mem (Leaky) or syn (Synaptic) by w at once, in continuous time too. There, a bias
is a constant current, so a framework's bias, which is added once a step, has to be scaled; a box of length dt is a
current as well, so with `box` spikes and biases share their unit.

The resets of snnTorch 1.0 act one step late (`Discretization.reset` = "next"). Reset by subtraction is the IR's
"subtract". Reset to zero is "zero" with no refractory period for Leaky, which starts the next step from 0, but with a
refractory period of dt for Synaptic, RLeaky and RSynaptic, which hold the membrane at 0 through the next step.
With reset_delay=False, a reset to zero is `reset` = "same"; so is one by subtraction as long as no membrane exceeds
twice its threshold (above that, snnTorch takes the threshold off the next step's spike test as well), and from_torch
refuses it. Recurrent spikes take one step.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from .diagnostics import Diagnostics
from .facts import check_dt
from .graph import Spike
from .nodes import Array

__all__ = ["FromDecay", "leaky_from_beta", "synaptic_from_alpha_beta"]


@dataclass(frozen=True, slots=True, eq=False)
class FromDecay:
    """`kind` of the neuron (I/IF, LI/LIF, CubaLI/CubaLIF), its `params` by name, and `bias_scale`, by which every bias
    on the way into it is multiplied. Arrays have the shape of the factors, broadcast together."""

    kind: Literal["integrator", "leaky", "cuba"]
    params: dict[str, Array]
    bias_scale: Array


def leaky_from_beta(beta: Any, dt: float, spike: Spike = "delta", node: str | None = None) -> FromDecay:
    """The neuron that mem := beta mem + x is, on a grid of `dt` seconds. `beta`: number or array.

    Raises:
        BadInputError: dt is not positive, a factor is not in (0, 1], or some factors are 1 and some are not.
    """
    beta = np.asarray(beta, dtype=np.float64)
    faults = Diagnostics()
    check_dt(dt, "SC103", faults, node)
    whole = beta == 1
    if whole.any() and not whole.all():
        faults.add("SC103", "a factor of 1 (no leak) needs a neuron node of its own", node=node,
                   remedy="Split the layer, or use a factor just below 1.")
    elif not whole.all():
        _check_factor("beta", beta, "0 < beta <= 1", node, faults)
    faults.raise_if_errors()
    if whole.all():
        r = np.ones_like(beta) if spike == "delta" else np.ones_like(beta) / dt
        return FromDecay("integrator", {"r": r}, 1 / (dt * r))
    tau, lost = _time_constant(beta, dt)
    r = tau if spike == "delta" else 1 / lost
    return FromDecay("leaky", {"tau": tau, "r": r}, 1 / (r * lost))


def synaptic_from_alpha_beta(
    alpha: Any, beta: Any, dt: float, spike: Spike = "delta", node: str | None = None
) -> FromDecay:
    """The neuron that syn := alpha syn + x; mem := beta mem + syn is, on a grid of `dt` seconds.

    Raises:
        BadInputError: dt is not positive, or a factor is not in (0, 1).
    """
    alpha, beta = np.broadcast_arrays(np.asarray(alpha, dtype=np.float64), np.asarray(beta, dtype=np.float64))
    faults = Diagnostics()
    check_dt(dt, "SC103", faults, node)
    _check_factor("alpha", alpha, "0 < alpha < 1", node, faults)
    _check_factor("beta", beta, "0 < beta < 1", node, faults)
    faults.raise_if_errors()
    tau_syn, lost_syn = _time_constant(alpha, dt)
    tau_mem, lost_mem = _time_constant(beta, dt)
    w_in = tau_syn if spike == "delta" else 1 / lost_syn
    params = {"tau_mem": tau_mem, "tau_syn": tau_syn, "r": 1 / lost_mem, "w_in": w_in}
    return FromDecay("cuba", params, 1 / (w_in * lost_syn))


def _time_constant(factor: Array, dt: float) -> tuple[Array, Array]:
    """(tau, 1 - e^(-dt/tau)), the second as the integrator will compute it."""
    tau = -dt / np.log(factor)
    return tau, -np.expm1(-dt / tau)


def _check_factor(name: str, factor: Array, limit: str, node: str | None, faults: Diagnostics) -> None:
    outside = ~((factor > 0) & (factor < 1))
    if outside.any():
        value = factor[outside][0]
        remedies = {0.0: "What keeps nothing from one step to the next has none; a small factor comes near to it.",
                    1.0: "What loses nothing from one step to the next has none; a factor just below comes near to it."}
        faults.add("SC103", f"{name} is a decay factor without a time constant", node=node, value=value, limit=limit,
                   remedy=remedies.get(float(value)))
