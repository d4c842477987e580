"""The integral of a readout's membrane and its gradient, for time constants of any size against the duration."""

from __future__ import annotations

from typing import Any

import mpmath
import numpy as np
import pytest
import torch

import spikec
from spikec.ir import nodes as ir
from spikec.ir.events import Events
from spikec.ir.graph import Discretization, Graph

TAU = 8e-3
BOX = 3e-3


def closed_form(tau_mem: mpmath.mpf, tau_syn: mpmath.mpf, decay: float | None, duration: float,
                box: bool) -> mpmath.mpf:
    """int_0^T exp(-t / decay) V(t) dt of tau_syn I' = -I + S, tau_mem V' = -V + I for an impulse S at 0, or for S = 1
    until BOX, as sums of exponentials."""
    rates = [1 / mpmath.mpf(tau_mem), 1 / mpmath.mpf(tau_syn)]
    rate = mpmath.mpf(0) if decay is None else 1 / mpmath.mpf(decay)
    a, b = rates

    def stretch(u: Any, j: Any, level: int, span: Any) -> tuple[Any, Any, Any]:
        """From (V, I) with S = level: both after `span`, and the integral on the way."""
        factor = a * (j - level) / (a - b)  # V - level = p exp(-a t) + factor exp(-b t)
        p = u - level - factor

        def area(x: mpmath.mpf) -> mpmath.mpf:
            return span if x == 0 else -mpmath.expm1(-x * span) / x

        integral = p * area(a + rate) + factor * area(b + rate) + level * area(rate)
        return (level + p * mpmath.exp(-a * span) + factor * mpmath.exp(-b * span),
                level + (j - level) * mpmath.exp(-b * span), integral)

    if not box:
        return stretch(mpmath.mpf(0), b, 0, mpmath.mpf(duration))[2]
    length = mpmath.mpf(min(BOX, duration))
    u, j, first = stretch(mpmath.mpf(0), mpmath.mpf(0), 1, length)
    return first + mpmath.exp(-rate * length) * stretch(u, j, 0, mpmath.mpf(duration) - length)[2]


@pytest.mark.parametrize("wires", ["dense", "sparse"])
@pytest.mark.parametrize("box", [False, True])
@pytest.mark.parametrize("decay", [None, 5e-3, 1e4])
@pytest.mark.parametrize("ratio", [1.0, 1 + 1e-9, 2.0, 1e-5, 1e5])
@pytest.mark.parametrize("length", [1e-4, 0.3, 5.0, 300.0, 1e12])
def test_the_gradient_of_time_constants_is_exact_however_long_a_run_is(
        length: float, ratio: float, decay: float | None, box: bool, wires: str) -> None:
    tau_mem, duration = TAU * ratio, length * TAU
    one = np.array([[1.0]])
    synapse = ir.Linear(weight=one) if wires == "dense" else ir.SparseLinear(
        size=(1, 1), indptr=[0, 1], indices=[0], weight=one[0])
    readout = ir.CubaLI(shape=(1,), tau_mem=np.array([tau_mem]), tau_syn=np.array([TAU]), w_in=1.0)
    graph = Graph({"in": ir.Input(shape=(1,)), "fc": synapse, "v": readout, "out": ir.Output(shape=(1,))},
                  (("in", "fc"), ("fc", "v"), ("v", "out")), Discretization(dt=BOX, spike="box") if box else None)
    module = spikec.compile(graph).module(dtype=torch.float64, train=("tau_mem", "tau_syn"))
    events = Events(np.array([0.0]), np.array([0]), np.array([0, 1]))
    integral = module(events, duration=duration).voltage_integral("out", decay)
    integral.sum().backward()
    with mpmath.workdps(60):
        # the same numbers that the engine computes with; equal ones apart by what 60 digits bear
        near = mpmath.mpf(TAU) * (1 + mpmath.mpf(10) ** -25)

        def value(mem: mpmath.mpf, syn: mpmath.mpf) -> mpmath.mpf:
            return closed_form(mem, syn, decay, duration, box)

        wanted = [value(mpmath.mpf(tau_mem), near),
                  mpmath.diff(value, (mpmath.mpf(tau_mem), near), (1, 0)),
                  mpmath.diff(value, (mpmath.mpf(tau_mem), near), (0, 1))]
    slopes = [module.get_parameter(f"v.{name}").grad.item() for name in ("tau_mem", "tau_syn")]
    found = [integral.item(), *slopes]
    # under a box V is worked out as a distance from the level that it tends to, 1, and rounded as that
    rounding = 4e-15 * min(duration, tau_mem + TAU, decay or np.inf) if box else 0.0
    for got, true, tau in zip(found, wanted, (1.0, tau_mem, TAU), strict=True):
        within = 1e-12 * max(abs(float(true)) * tau, 0.1 * float(wanted[0])) + rounding
        assert abs(got - float(true)) * tau <= within
