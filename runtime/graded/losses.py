"""Losses over signals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ...ir.diagnostics import BadInputError, Diagnostics
from ...ir.facts import is_number
from ..losses import LossResult, output_name

__all__ = ["IntegratedSquaredError"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class IntegratedSquaredError:
    """L = integral of (w/2 |o - wanted|^2 + activity/2 |s|^2) dt, averaged over the batch: the loss of Huh & Sejnowski.

    `wanted`, the labels of a call: (batch, samples, *shape) as the output. `activity`: the price of synaptic currents,
    all neurons together, in s^2 of what the output is measured in. `weight` w: (samples,), or None for 1 throughout:
    where the output matters. Integrals are sums by the trapezoidal rule over the samples.

    Raises:
        BadInputError: a constant is out of range (SC501); from a call, of several outputs none is named (SC502), or
            `wanted` or `weight` has another shape than the output, or is not finite (SC506).
    """

    activity: float = 0.0
    weight: Any = None
    output: str | None = None

    def __post_init__(self) -> None:
        faults = Diagnostics()
        if not (is_number(self.activity) and 0 <= self.activity < float("inf")):
            faults.add("SC501", "activity must not be negative", value=repr(self.activity), limit=">= 0")
        faults.raise_if_errors()

    def __call__(self, out: Any, labels: Tensor) -> LossResult:
        shown = out.signal(output_name(out, self.output))
        wanted = torch.as_tensor(labels).to(shown.dtype)
        weight = torch.ones(shown.shape[1], dtype=shown.dtype) if self.weight is None else (
            torch.as_tensor(self.weight).to(shown.dtype))
        faults = Diagnostics()
        for what, each, shape in (("wanted signal", wanted, shown.shape), ("weight", weight, shown.shape[1:2])):
            if each.shape != shape:
                faults.add("SC506", f"the {what} has another shape than the output", value=tuple(each.shape),
                           limit=tuple(shape))
            elif not bool(torch.isfinite(each).all()):
                faults.add("SC506", f"the {what} is not finite", value="NaN or inf")
        if faults.found:
            raise BadInputError(*faults.found)
        share = torch.full((shown.shape[1],), out.dt, dtype=shown.dtype)
        share[0] = share[-1] = out.dt / 2
        error = (shown - wanted).reshape(*shown.shape[:2], -1).square().sum(2)
        total = (error * (weight * share)).sum()
        if self.activity:
            total = total + self.activity * sum(
                (out.signal(name).square().sum(2) * share).sum() for name in out.populations)
        return LossResult(total / (2 * max(len(shown), 1)))
