"""A population on its grid in the form of a Loihi core: one decay of the membrane, one of the current, a constant.

A neuron on its grid is V* = beta V + p I + b0 x + c, I* = alpha I + b1 x (`ir/step_form.py`). The core computes
v = (1 - dv/4096) v + u + bias and u = (1 - (du+1)/4096) u + 64 a (`ir/integer/network.py`). With I split into what a
constant current settles at and the rest J, v = K (V - V_reset) and u = K g J, where a unit of weight adds g b1 to u: g
is p / alpha if the membrane takes the new current, and p if it takes that of the column before.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..ir.diagnostics import Diagnostics
from ..ir.grid import Discretization
from ..ir.network import Population
from ..ir.nodes import IF, LI, LIF, Array, CubaLI, CubaLIF, I, Membrane
from ..ir.step_form import StepForm, step_form

__all__ = ["ChipLaw", "chip_law", "decay_codes", "form_of"]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class ChipLaw:
    """Arrays are (n,). `beta`, `alpha` (None without a current): what is left of membrane and current after a column.
    `gain`: what a unit of weight adds to the membrane when it arrives; `constant`: what every column adds; both in
    units of V. `by_bias`: what a unit of constant current has in `constant`. `threshold`: above `offset`, the value
    that v = 0 stands for; ones for a readout. `start`: V - offset at the start. `settled`: what the current's remainder
    J is at the start, in units of the membrane, times -1. `lag`: the membrane takes the current of the column before.
    `at`: it fires where it reaches its threshold, too."""

    beta: float
    alpha: float | None
    gain: Array
    constant: Array
    by_bias: Array
    threshold: Array
    offset: Array
    start: Array
    settled: Array
    lag: int
    at: bool


def chip_law(population: Population, grid: Discretization, faults: Diagnostics) -> ChipLaw:
    """The law of a population whose neurons share their decays (`split_populations`). Adds SC321 for what a core cannot
    hold, SC322 and SC323 (warnings) for what it does differently."""
    name, n = population.name, population.n
    if grid.spikes == "many" and population.spiking:
        faults.add("SC321", "a neuron of the chip fires at most once a column", node=name)
    form = form_of(population, grid)

    def entry(value: Any) -> Array:
        return np.zeros(n) if value is None else np.broadcast_to(np.asarray(value, dtype=np.float64), (n,))

    bias = np.asarray(population.bias)
    beta = float(entry(form.a[0][0]).mean()) if n else 0.0
    by_bias, settled = entry(form.d[0]), np.zeros(n)
    alpha, lag, gain = None, int(form.lag), entry(form.b[0])
    if form.states == 2:
        alpha = float(entry(form.a[1][1]).mean()) if n else 0.0
        passed, kick = entry(form.a[0][1]), entry(form.b[1])
        steady = entry(form.d[1]) * bias / (1 - alpha)
        by_bias = by_bias + passed * entry(form.d[1]) / (1 - alpha)
        settled = passed * steady / alpha if alpha else settled
        if form.b[0] is None:
            gain, lag = passed * kick, lag + 1
        elif not np.allclose(gain * alpha, passed * kick, rtol=1e-9):
            gain = _charge(gain, passed * kick, alpha, name, faults)
    for what, kept in (("membrane", entry(form.a[0][0])), *((("current", entry(form.a[1][1])),) if alpha is not None
                                                             else ())):
        if ((kept < 0) | (kept > 1)).any():
            faults.add("SC321", f"what is left of a {what} after a column is a share on the chip", node=name,
                       value=f"{kept[(kept < 0) | (kept > 1)][0]:g}", limit="0..1",
                       remedy="Take a dt below the time constants.")
    offset, threshold = np.zeros(n), np.ones(n)
    if population.spiking:
        offset, threshold = _reset(population, grid, form, faults)
    constant = by_bias * bias + entry(form.c[0]) + (beta - 1) * offset
    return ChipLaw(beta=beta, alpha=alpha, gain=gain, constant=constant, by_bias=by_bias, threshold=threshold,
                   offset=offset, start=np.asarray(population.v0) - offset, settled=settled, lag=lag, at=form.at)


def decay_codes(population: Population, grid: Discretization) -> Array:
    """(n, 2) whole numbers: du and dv of each neuron, as a core holds them; du = 4095 where there is no current."""
    form, n = form_of(population, grid), population.n
    left = [np.broadcast_to(np.asarray(form.a[state][state], dtype=np.float64), (n,)) for state in range(form.states)]
    codes = np.full((n, 2), 4095, dtype=np.int64)
    codes[:, 1] = np.clip(np.rint((1 - left[0]) * 4096), 0, 4095)
    if form.states == 2:
        codes[:, 0] = np.clip(np.rint((1 - left[1]) * 4096) - 1, 0, 4095)
    return codes


def _charge(direct: Array, later: Array, alpha: float, name: str, faults: Diagnostics) -> Array:
    """A box reaches the membrane in its own column by another share than the current hands on: the chip gets the same
    charge in all, d + l (1 + alpha + ...)."""
    gain: Array = (1 - alpha) * direct + later
    ratio = float(np.abs(direct / np.where(gain == 0, 1, gain) - 1).max(initial=0))
    faults.add("SC323", "a box reaches the membrane in its own column by another share than the chip's current does; "
               "the charge in all is the same", node=name, value=f"{ratio:.1%} off in that column",
               severity="warning", remedy="Take a grid with integrator 'decay', 'semi' or 'euler' to be exact.")
    return gain


def _reset(population: Population, grid: Discretization, form: StepForm, faults: Diagnostics) -> tuple[Array, Array]:
    """Offset and threshold. Resets to a value that come a column late bring the same spikes: the membrane is at that
    value before it decays. A reset by subtraction is one to zero where nothing of the membrane is left a column later.
    """
    name, offset = population.name, np.zeros(population.n)
    if population.reset == "v_reset":
        offset = np.asarray(population.v_reset)
    elif population.reset == "subtract" and (form.resets_late or np.any(form.a[0][0])):
        faults.add("SC322", "the chip resets to one value: a reset by subtraction becomes one to zero, and what was "
                   "above the threshold is lost", node=name, severity="warning",
                   remedy="Train with reset 'zero', or on the chip's arithmetic (rule='surrogate'), which recovers it.")
    if population.refractory is not None and np.rint(np.asarray(population.refractory) / grid.dt).any():
        faults.add("SC321", "a refractory period has no neuron in Lava's fixed-point models", node=name,
                   value=f"{np.asarray(population.refractory).max():g} s", limit="0", remedy="Set refractory=0.")
    return offset, np.asarray(population.v_threshold) - offset


def form_of(population: Population, grid: Discretization) -> StepForm:
    """The linear form of a population on its grid."""
    return step_form(_node(population), grid)


def _node(population: Population) -> Membrane:
    """The neuron node again, whose form on a grid is known."""
    kinds: Mapping[tuple[str, bool], type[Membrane]] = {
        ("cuba", True): CubaLIF, ("cuba", False): CubaLI, ("leaky", True): LIF, ("leaky", False): LI,
        ("integrator", True): IF, ("integrator", False): I}
    names = ("r", "v0", "tau_mem", "tau_syn", "v_leak", "w_in", "v_threshold", "v_reset", "refractory")
    values = {name: np.asarray(getattr(population, name)) for name in names if getattr(population, name) is not None}
    if population.kind == "leaky":
        values["tau"] = values.pop("tau_mem")
    kind: Any = kinds[population.kind, population.spiking]
    reset = {"reset": population.reset} if population.spiking else {}
    node: Membrane = kind(shape=(population.n,), **values, **reset)
    return node
