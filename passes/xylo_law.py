"""A population on its grid in the form of Xylo: decays by shifts, a gain of weights, a constant.

The model's neuron is V* = beta V + p I + b0 x + c, I* = alpha I + b1 x (`ir/step_form.py`); the chip's is
I* = alpha' (I + a), V* = beta' V + I* + bias, where alpha' and beta' are 1 - 2^-k. Of the shifts around each decay
those are taken with which the response of the membrane to one spike is most like the model's, in the sum of squares
over columns, and so is the gain of the weights. A constant current settles at the model's membrane.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from ..ir.diagnostics import Diagnostics
from ..ir.grid import Discretization
from ..ir.integer.xylo import MOST_DASH
from ..ir.network import Population
from ..ir.nodes import Array
from ..ir.step_form import StepForm
from .chip_law import form_of

__all__ = ["REFUSED", "TOLD", "XyloLaw", "xylo_law"]

TOLD, REFUSED = 0.05, 0.35
"""Misfit of the response to a spike, of its norm, from which on it is a warning, and an error."""
_LONGEST = 4096
"""Columns that a response is looked at for; of slower ones, as many."""
_TIME_CONSTANTS = 8
_NEAR = (0, 1, -1, 2)
"""Shifts that are tried, from the one below a decay: two that are off may make up for each other."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class XyloLaw:
    """Arrays are (n,). `dash_mem`, `dash_syn`: the shifts. `gain`: what a unit of weight is of what arrives, in units
    of V. `misfit`: of the response to a spike, relative to its norm. `constant`: what every column adds to the
    membrane, in units of V, and `by_bias` what a unit of constant current has in it. `threshold`: ones for a readout.
    `lag`: 1 where the model's membrane takes what arrives a column later."""

    dash_mem: Array
    dash_syn: Array
    gain: Array
    misfit: Array
    constant: Array
    by_bias: Array
    threshold: Array
    lag: int


def xylo_law(population: Population, grid: Discretization, faults: Diagnostics) -> XyloLaw | None:
    """The law of a population; None where the chip has none, which `faults` tell (SC342). Adds SC341 where no shift
    decays like the model, and warnings where the chip starts (SC345) or resets (SC346) otherwise."""
    n = population.n
    if not _is_possible(population, grid, faults):
        return None
    form = form_of(population, grid)

    def entry(value: Any) -> Array:
        return np.zeros(n) if value is None else np.broadcast_to(np.asarray(value, dtype=np.float64), (n,))

    numbers = np.stack([entry(form.a[0][0]), entry(form.a[0][1]), entry(form.a[1][1]), entry(form.b[0]),
                        entry(form.b[1])], 1)
    alike, which = np.unique(numbers, axis=0, return_inverse=True)
    dash_mem, dash_syn, gain, misfit = (each[which.reshape(-1)] for each in _fitted(alike.tobytes()))
    _tell_misfit(population, misfit, dash_mem, dash_syn, grid.dt, faults)
    kept = 1 - 2.0**-dash_mem
    lost = 1 - entry(form.a[0][0])
    # What is added to a membrane that leaks otherwise is so much more or less that it settles where the model's does.
    settles = np.where(lost > 0, (1 - kept) / np.where(lost > 0, lost, 1), 1.0)
    through = entry(form.a[0][1]) * entry(form.d[1]) / np.maximum(1 - entry(form.a[1][1]), 1e-12)
    by_bias = (entry(form.d[0]) + through) * settles
    constant = by_bias * np.asarray(population.bias) + entry(form.c[0]) * settles
    threshold = np.asarray(population.v_threshold, dtype=np.float64) if population.spiking else np.ones(n)
    _tell_start(population, form, through * np.asarray(population.bias), entry(form.a[1][1]), threshold, faults)
    return XyloLaw(dash_mem=dash_mem, dash_syn=dash_syn, gain=gain, misfit=misfit, constant=constant, by_bias=by_bias,
                   threshold=threshold, lag=int(form.lag) + int(form.b[0] is None))


def _is_possible(population: Population, grid: Discretization, faults: Diagnostics) -> bool:
    before = len(faults.errors)
    name = population.name
    if population.kind != "cuba":
        faults.add("SC342", "every neuron of the chip has a synaptic current that decays", node=name,
                   value=population.kind, limit="CubaLIF, CubaLI", remedy="Use CubaLIF, or CubaLI as a readout.")
    if population.spiking:
        if population.reset != "subtract":
            faults.add("SC342", "the chip's neurons are reset by subtraction of their threshold", node=name,
                       value=f"reset={population.reset}", limit="reset=subtract",
                       remedy="Train with reset='subtract'.")
        if population.refractory is not None and np.rint(np.asarray(population.refractory) / grid.dt).any():
            faults.add("SC342", "the chip's neurons have no refractory period", node=name,
                       value=f"{np.asarray(population.refractory).max():g} s", limit="0", remedy="Set refractory=0.")
    return len(faults.errors) == before


@functools.lru_cache(maxsize=256)
def _fitted(rows: bytes) -> tuple[Array, Array, Array, Array]:
    """Shifts of membrane and current, gain and misfit, (m,) each, for rows (a00, a01, a11, b0, b1) of (m, 5) float64.
    Training asks for the same ones again and again."""
    numbers = np.frombuffer(rows).reshape(-1, 5)
    beta, alpha = numbers[:, 0], numbers[:, 2]
    slowest = max(float(np.clip(beta, 0, 1 - 1 / _LONGEST).max(initial=0)),
                  float(np.clip(alpha, 0, 1 - 1 / _LONGEST).max(initial=0)))
    columns = min(_LONGEST, int(np.ceil(_TIME_CONSTANTS / (1 - slowest))) + 2)
    wanted = _response(numbers, columns)
    # A membrane that takes what arrives a column later is held against one that takes it at once: latency tells.
    wanted = np.where((numbers[:, 3] == 0)[:, None], np.pad(wanted[:, 1:], ((0, 0), (0, 1))), wanted)
    norm = np.sqrt((wanted**2).sum(1))
    best = np.full((4, len(numbers)), np.inf)
    best[2] = 0.0
    for mem, syn in product(_NEAR, repeat=2):
        dash_mem, dash_syn = _near(beta, mem, 0), _near(alpha, syn, 1)
        left, held = 1 - 2.0**-dash_mem, 1 - 2.0**-dash_syn
        found = _response(np.stack([left, held, held, held, held], 1), columns)
        gain = (wanted * found).sum(1) / (found**2).sum(1)
        misfit = np.sqrt(((wanted - gain[:, None] * found)**2).sum(1)) / np.where(norm > 0, norm, 1)
        better = misfit < best[3] - 1e-12
        best[:, better] = np.stack([dash_mem, dash_syn, gain, misfit])[:, better]
    return best[0].astype(np.int64), best[1].astype(np.int64), best[2], best[3]


def _near(kept: Array, up: int, least: int) -> Array:
    """The shift below what a share is kept by, or so many above that."""
    exact = -np.log2(np.clip(1 - kept, 2.0 ** -(MOST_DASH + 1), 1))
    return np.asarray(np.clip(np.floor(exact + 1e-9) + up, least, MOST_DASH))


def _response(numbers: Array, columns: int) -> Array:
    """(m, columns): the membrane after an impulse of one in the first column."""
    beta, passed, alpha, v, i = (numbers[:, place].copy() for place in range(5))
    found = np.empty((len(numbers), columns))
    for column in range(columns):
        found[:, column] = v
        v, i = beta * v + passed * i, alpha * i
    return found


def _tell_misfit(population: Population, misfit: Array, dash_mem: Array, dash_syn: Array, dt: float,
                 faults: Diagnostics) -> None:
    worst = int(misfit.argmax()) if len(misfit) else 0
    if not len(misfit) or misfit[worst] <= TOLD:
        return
    taus = [float(np.asarray(each)[worst]) for each in (population.tau_mem, population.tau_syn) if each is not None]
    steps = f"tau_mem, tau_syn of {', '.join(f'{tau / dt:.4g}' for tau in taus)} steps"
    if not np.isfinite(misfit[worst]):  # there is no response to compare with
        faults.add("SC341", "the model's own response to a spike grows without bound on its grid, and no shift does",
                   node=population.name, value=f"in neuron {worst}: {steps}", limit="half a step",
                   remedy="Take time constants of some steps, or a shorter step.")
        return
    faults.add("SC341", "the response to a spike is not that of the model, as decays are shifts by a power of two",
               node=population.name, severity="error" if misfit[worst] > REFUSED else "warning",
               value=f"by {misfit[worst]:.1%} in neuron {worst}: {steps}, shifts {dash_mem[worst]}, {dash_syn[worst]}",
               limit=f"{REFUSED:.0%}",
               remedy="Take time constants of a power of two of steps.")


def _tell_start(population: Population, form: StepForm, settled: Array, alpha: Array, threshold: Array,
                faults: Diagnostics) -> None:
    """Membranes start at zero, and a constant current is a bias of the membrane, there from the first column."""
    name = population.name
    if np.any(np.asarray(population.v0)):
        faults.add("SC345", "membranes of the chip start at zero", node=name,
                   value=f"v0 up to {np.abs(np.asarray(population.v0)).max():g}", severity="warning",
                   remedy="Start them at zero.")
    early = np.abs(settled) * alpha / np.maximum(1 - alpha, 1e-12) / threshold
    if early.max(initial=0) > 0.5 / 2**7:
        faults.add("SC345", "a constant current reaches membranes of the chip at once, those of the model through a "
                   "synapse", node=name, value=f"{early.max():.2g} thresholds more at the start", severity="warning",
                   remedy="Compare the outputs; it passes with the first time constants.")
    if population.spiking and form.resets_late:
        faults.add("SC346", "the chip resets in the column of the spike, before the membrane leaks", node=name,
                   value="reset=next", limit="reset=same", severity="warning",
                   remedy="Compare the outputs, or state reset='same'.")
