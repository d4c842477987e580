"""Optimizers and learning-rate schedules by name; any of torch's by factory."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import torch
from torch.optim import Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, ExponentialLR

from ..ir.diagnostics import Diagnostics
from ..ir.facts import is_number

__all__ = [
    "FusedAdam", "FusedAdamW", "OptimizerChoice", "SchedulerChoice", "check_choices", "choice_name", "clip_rows",
    "make_optimizer", "make_scheduler",
]

OptimizerChoice = str | Callable[..., Optimizer]
SchedulerChoice = None | float | str | Callable[[Any], Any]


class _InMemoryOrder:
    """For torch's Adam: hands it views in which the memory of matrices runs row by row.

    A module keeps dense weights by input, as its kernels read them, that is transposed; torch's fused kernel copies
    every gradient that is not contiguous, which costs more than the update itself. What the update does to an element
    does not depend on its place, so views give the same numbers. The kernel pairs elements by their place in memory:
    gradients and states that lie otherwise than their parameter are laid out anew first.
    """

    def __init_subclass__(cls, **options: Any) -> None:
        """Undoes what keeps torch's compiler out of its optimizers: that imports it, 1.3 s at their first use."""
        super().__init_subclass__(**options)
        for name in ("add_param_group", "zero_grad", "state_dict", "load_state_dict"):
            setattr(cls, name, _unwrapped(getattr(cls, name)))
        cls.step = torch.no_grad()(_unwrapped(cls.step))  # type: ignore[attr-defined]

    def _init_group(self, group: Any, *lists: list[torch.Tensor]) -> Any:
        for parameter in group["params"]:
            if parameter.grad is None:
                continue
            parameter.grad = _as_laid_out(parameter.grad, parameter)
            kept = self.state[parameter]  # type: ignore[attr-defined]
            kept.update({name: _as_laid_out(value, parameter) for name, value in kept.items()})
        told = super()._init_group(group, *lists)  # type: ignore[misc]
        for each in lists:
            each[:] = [tensor.t() if tensor.dim() == 2 and tensor.t().is_contiguous() else tensor for tensor in each]
        return told


def _unwrapped(method: Any) -> Any:
    return getattr(method, "__wrapped__", method)


def _as_laid_out(value: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    if value.shape != like.shape or value.stride() == like.stride():
        return value
    return torch.empty_like(like, requires_grad=False).copy_(value)


class FusedAdam(_InMemoryOrder, torch.optim.Adam):
    """`torch.optim.Adam(fused=True)`, as fast for a module's weights as for contiguous ones."""

    def __init__(self, params: Any, **options: Any) -> None:
        super().__init__(params, fused=True, **options)


class FusedAdamW(_InMemoryOrder, torch.optim.AdamW):
    """`torch.optim.AdamW(fused=True)`, likewise."""

    def __init__(self, params: Any, **options: Any) -> None:
        super().__init__(params, fused=True, **options)


_OPTIMIZERS: dict[str, Callable[..., Optimizer]] = {
    "adam": FusedAdam,
    "adamw": FusedAdamW,
    "sgd": torch.optim.SGD,
}


def check_choices(optimizer: Any, scheduler: Any, faults: Diagnostics) -> None:
    """Reports a name that is not known, and a factor that is none (SC504)."""
    if not (optimizer in _OPTIMIZERS if isinstance(optimizer, str) else callable(optimizer)):
        faults.add("SC504", "optimizer is not known", value=repr(optimizer), limit=", ".join(_OPTIMIZERS),
                   remedy="Or give a factory: optimizer=lambda parameters: ...")
    if is_number(scheduler):
        if not 0 < scheduler < math.inf:
            faults.add("SC504", "scheduler is no factor for the learning rate of each epoch", value=scheduler,
                       limit="> 0")
    elif scheduler is not None and scheduler != "cosine" and not callable(scheduler):
        faults.add("SC504", "scheduler is not known", value=repr(scheduler), limit="a factor, cosine, or a factory")


def make_optimizer(choice: OptimizerChoice, parameters: Iterable[torch.nn.Parameter], lr: float | None) -> Optimizer:
    """`choice`, a legal one: "adam" (fused), "adamw" (fused), "sgd", or a factory called with the parameters and, where
    it is given, `lr`."""
    factory = _OPTIMIZERS[choice] if isinstance(choice, str) else choice
    return factory(list(parameters), **({} if lr is None else {"lr": lr}))


def make_scheduler(choice: SchedulerChoice, optimizer: Optimizer, epochs: int) -> Any:
    """`choice`, a legal one: None; a factor per epoch; "cosine" to zero over the training; or a factory called with the
    optimizer. Stepped once an epoch."""
    if choice is None:
        return None
    if is_number(choice):
        return ExponentialLR(optimizer, gamma=float(choice))
    return choice(optimizer) if callable(choice) else CosineAnnealingLR(optimizer, T_max=epochs)


@torch.no_grad()
def clip_rows(parameters: Iterable[torch.nn.Parameter], limit: float) -> None:
    """Scales down the gradient of every neuron (a row of a weight, an element of a vector) to a norm within `limit`.

    A spike that only just reaches the threshold has a derivative without bound: clipping neuron by neuron keeps one
    such spike from drowning the batch, and leaves the gradients of all other neurons exact. A neuron whose gradient is
    beyond all numbers has none in this step.
    """
    for parameter in parameters:
        gradient = parameter.grad
        if gradient is None:
            continue
        rest = tuple(range(1, gradient.ndim))
        norm = torch.linalg.vector_norm(gradient, dim=rest, keepdim=True) if rest else gradient.abs()
        if not bool(torch.isfinite(norm).all()):
            largest = gradient.abs().amax(rest, keepdim=True) if rest else norm
            gradient.masked_fill_(~torch.isfinite(largest), 0.0)
            scale = largest.where(torch.isfinite(largest), torch.ones_like(largest)).clamp(min=1.0)
            norm = scale * (torch.linalg.vector_norm(gradient / scale, dim=rest, keepdim=True) if rest else 1.0)
        gradient.mul_((limit / norm).clamp_(max=1.0))


def choice_name(choice: Any) -> str:
    """What a checkpoint records of a choice: enough to notice that another was made."""
    if isinstance(choice, partial):
        return f"{choice_name(choice.func)}({choice.args}, {choice.keywords})"
    if inspect.isclass(choice) or inspect.isroutine(choice):
        return f"{choice.__module__}.{choice.__qualname__}"
    shown = repr(choice)
    return choice_name(type(choice)) if f" at {hex(id(choice))}" in shown else shown
