"""Surrogate gradients: what stands for the derivative of a spike with respect to u = membrane - threshold.

The true derivative is zero nearly everywhere; these are heuristics, named as such. `sharpness` is w:

| name | derivative | default w | of |
| --- | --- | --- | --- |
| `fast_sigmoid` | 1 / (1 + w abs(u))^2 | 25 | Zenke & Ganguli 2018; snnTorch; Norse `superspike`: w = 1 |
| `atan` | w / 2 / (1 + (pi/2 w u)^2) | 2 | Fang et al. 2021; snnTorch `atan`, SpikingJelly `ATan` |
| `sigmoid` | w s(w u) (1 - s(w u)), s the logistic function | 4 | SpikingJelly `Sigmoid` |
| `triangle` | w max(0, 1 - w abs(u)) | 1 | Bellec et al. 2018; SpikingJelly `PiecewiseQuadratic` |
| `exponential` | exp(-w abs(u)) | 2 | Shrestha & Orchard 2018 (SLAYER); sinabs `SingleExponential`, up to a factor |
| `box` | 1/w where abs(u) < w/2 | 1 | Esser et al. 2016, up to a factor |
| `straight_through` | 1 | - | Bengio et al. 2013 |
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ...ir.diagnostics import Diagnostics
from ...ir.facts import is_number

__all__ = ["SURROGATES", "Surrogate", "slope", "surrogate_named"]

SURROGATES: dict[str, float] = {
    "fast_sigmoid": 25.0, "atan": 2.0, "sigmoid": 4.0, "triangle": 1.0, "exponential": 2.0, "box": 1.0,
    "straight_through": 1.0,
}
"""Names, and their default sharpness."""


@dataclass(frozen=True, slots=True)
class Surrogate:
    """`detach_reset`: no gradient flows through what a spike does to its own neuron (snnTorch, recurrent neurons of
    Norse); SpikingJelly, sinabs and Norse's feedforward neurons let it flow by default."""

    name: str = "fast_sigmoid"
    sharpness: float = 25.0
    detach_reset: bool = True


def surrogate_named(name: Any, sharpness: Any, detach_reset: Any, faults: Diagnostics) -> Surrogate:
    """The surrogate of that name; faults are SC412."""
    if not isinstance(name, str) or name not in SURROGATES:
        faults.add("SC412", "this surrogate gradient is not known", value=repr(name), limit=", ".join(SURROGATES))
        return Surrogate()
    if sharpness is not None and not (is_number(sharpness) and 0 < sharpness < float("inf")):
        faults.add("SC412", "the sharpness of a surrogate gradient is positive", value=repr(sharpness))
        return Surrogate()
    return Surrogate(name, SURROGATES[name] if sharpness is None else float(sharpness), bool(detach_reset))


def slope(surrogate: Surrogate, u: Tensor) -> Tensor:
    """The derivative at u = membrane - threshold; that of the kernels, in clock_backward.jinja."""
    w = surrogate.sharpness
    match surrogate.name:
        case "fast_sigmoid":
            return (1 + w * u.abs()).square().reciprocal()
        case "atan":
            return w / 2 / (1 + (math.pi / 2 * w * u).square())
        case "sigmoid":
            e = torch.exp(-w * u.abs())
            return w * e / (1 + e).square()
        case "triangle":
            return w * (1 - w * u.abs()).clamp(min=0)
        case "exponential":
            return torch.exp(-w * u.abs())
        case "box":
            return (u.abs() < w / 2).to(u.dtype) / w
        case _:
            return torch.ones_like(u)
