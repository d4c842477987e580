"""Gradients of graded synapses: a part of `gradients.py`. Against finite differences and the adjoint equations of the
paper at a tolerance of 1e-12; and what other tolerances, and zones, leave of them."""

from __future__ import annotations

import statistics
from typing import Any

import gradient_trials
import numpy as np
import random_graded
import torch
from gradient_trials import Tally, Trial, module_of
from random_graded import DT, GradedCase
from random_nets import Array

import spikec
from spikec.ir.graded.reference import currents_gradient
from spikec.runtime.graded.losses import IntegratedSquaredError

FINE = 1e-12
FINEST = 1e-13
STEPS = (*gradient_trials.STEPS, 1e-3)
"""h as a fraction of the largest entry. Steps of the integration move with it, which leaves some 1e-12 of what is seen:
of what hardly hangs on a tensor a wide h alone makes more."""
ZONES = (2.0, 0.5, 0.2, 0.05)
TOLERANCES = (1e-3, 1e-4, 1e-6, 1e-8, 1e-10)


class GradedTrial(Trial):
    """A net that shows the currents of its neurons and its outputs, at all samples."""

    def __init__(self, case: GradedCase) -> None:
        self.case, self.steps = case, STEPS
        self.module = module_of(case.graph, torch.float64, tolerance=FINE)
        self.tensors = {name: each for name, each in self.module.named_parameters() if each.requires_grad}
        self.given: Any = case.given
        if isinstance(case.given, np.ndarray):
            self.given = self.tensors["signals"] = torch.from_numpy(case.given).requires_grad_()
        with torch.no_grad():
            self.size = float(self.observed()[0].abs().max())

    def observed(self) -> tuple[torch.Tensor, tuple[int, ...]]:
        out = self.module(self.given, duration=self.case.duration, dt=DT)
        return torch.cat([out.signal(name).flatten() for name in (*self.case.shown, "out")]), ()


def graded_part(quick: bool) -> dict[str, Any]:
    """Differences, the paper's adjoint, zones and tolerances."""
    rows, tally = [], Tally()
    for kind in random_graded.KINDS:
        for recurrent in (False, True):
            row = tally.row(GradedTrial(random_graded.draw(kind, recurrent, bool(seed % 2), seed))
                            for seed in range(1 if quick else 6))
            rows.append({"kind": kind, "recurrent": recurrent, **row})
            print(f"  {kind:22} {'recurrent' if recurrent else 'feedforward':11} {row['nets']} nets: worst "
                  f"{row['worst']:.1e}, steps differ by {row['two_steps_differ_by']:.1e}, {len(row['unsettled'])} of "
                  f"{row['tensors']} not settled", flush=True)
    adjoint = {f"{zone:g}": _against_adjoint(zone) for zone in (ZONES[:1] if quick else ZONES)}
    print(f"  against the paper's adjoint, by zone: {adjoint}", flush=True)
    return {"rows": rows, "nets": sum(row["nets"] for row in rows), "tolerance": FINE, "steps": STEPS,
            **tally.figures(), "against_adjoint": adjoint, "tolerances": _tolerances(2 if quick else 10)}


def _against_adjoint(zone: float) -> dict[str, float]:
    """max |g - A| / max |A| of a net's first 15 ms, by parameter; A by DOP853, backwards."""
    case = random_graded.of_one_zone("GradedTheta", zone, 0)
    given = np.asarray(case.given)[:1, :16]
    program = spikec.compile(case.graph)
    slopes = np.random.default_rng(3).normal(0, 1e-3, (1, 16, 4))
    wanted = currents_gradient(program.network, {"in": given}, DT, slopes)  # type: ignore[attr-defined]
    module = module_of(case.graph, torch.float64, tolerance=FINE)
    (module(given, dt=DT).signal("hidden") * torch.from_numpy(slopes)).sum().backward()
    names = {"recurrent.weight": "recurrent", "hidden.tau": "tau", "hidden.tau_syn": "tau_syn", "hidden.zone": "zone",
             "hidden.v0": "start"}
    return {name: _apart(module.get_parameter(name).grad.numpy(), wanted[other]) for name, other in names.items()}


def _tolerances(nets: int) -> list[dict[str, Any]]:
    """Of a loss like that of training: errors of its gradients beside those at the finest tolerance, over `nets` nets;
    `errors` of each net's worst tensor but that of the zone, which narrow gates hardly have a gradient of."""
    rows = []
    for kind in ("GradedTheta", "GradedLI"):
        for zone in ZONES:
            cases = [random_graded.of_one_zone(kind, zone, seed) for seed in range(nets)]
            finest = [_gradients(case, FINEST) for case in cases]
            for tolerance in TOLERANCES:
                errors, of_zone, steps = [], [], 0
                for case, (wanted, _) in zip(cases, finest, strict=True):
                    found, taken = _gradients(case, tolerance)
                    apart = {name: _apart(found[name], wanted[name]) for name in wanted}
                    of_zone.append(apart.pop("hidden.zone"))
                    errors.append(max(apart.values()))
                    steps += taken
                row = {"kind": kind, "zone": zone, "tolerance": tolerance, "median": statistics.median(errors),
                       "worst": max(errors), "zone_median": statistics.median(of_zone), "zone_worst": max(of_zone),
                       "steps_a_ms": steps / (nets * 2 * 40)}
                rows.append(row)
                print(f"  {kind:11} zone {zone:<4} tolerance {tolerance:.0e}: median {row['median']:.1e}, worst "
                      f"{row['worst']:.1e}; of the zone {row['zone_median']:.1e}, {row['zone_worst']:.1e}; "
                      f"{row['steps_a_ms']:.1f} steps a ms", flush=True)
    return rows


def _gradients(case: GradedCase, tolerance: float) -> tuple[dict[str, Array], int]:
    """And the steps of the integration."""
    module = module_of(case.graph, torch.float64, tolerance=tolerance)
    out = module(case.given, dt=DT)
    wanted = torch.from_numpy(np.random.default_rng(7).normal(0, 1, tuple(out.signal("out").shape)))
    IntegratedSquaredError(activity=1e-4)(out, wanted).value.backward()
    return {name: each.grad.numpy() for name, each in module.named_parameters() if each.grad is not None}, out.steps


def _apart(found: Array, wanted: Array) -> float:
    return float(np.abs(found - wanted).max() / np.abs(wanted).max())
