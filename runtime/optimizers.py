"""Optimizers and learning-rate schedules by name; any of torch's by factory."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import torch
from torch.optim import Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, ExponentialLR

from ..ir.diagnostics import BadInputError, Diagnostic

__all__ = [
    "FusedAdam", "FusedAdamW", "OptimizerChoice", "SchedulerChoice", "choice_name", "clip_rows", "make_optimizer",
    "make_scheduler",
]

OptimizerChoice = str | Callable[..., Optimizer]
SchedulerChoice = None | float | str | Callable[[Optimizer], Any]


class _InMemoryOrder:
    """For torch's Adam: hands it views in which the memory of matrices runs row by row.

    A module keeps dense weights by input, as its kernels read them, that is transposed; torch's fused kernel copies
    every gradient that is not contiguous, which costs more than the update itself. What the update does to an element
    does not depend on its place, so views give the same numbers. The kernel pairs elements by their place in memory:
    gradients and states that lie otherwise than their parameter are laid out anew first.
    """

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


def make_optimizer(choice: OptimizerChoice, parameters: Iterable[torch.nn.Parameter], lr: float | None) -> Optimizer:
    """`choice`: "adam" (fused), "adamw" (fused), "sgd", or a factory called with the parameters and, where it is
    given, `lr`."""
    factory = _OPTIMIZERS.get(choice) if isinstance(choice, str) else choice
    if factory is None or not callable(factory):
        raise BadInputError(Diagnostic(
            "SC504", "optimizer is not known", value=str(choice), limit=", ".join(_OPTIMIZERS),
            remedy="Or give a factory: optimizer=lambda parameters: ..."))
    return factory(list(parameters), **({} if lr is None else {"lr": lr}))


def make_scheduler(choice: SchedulerChoice, optimizer: Optimizer, epochs: int) -> Any:
    """`choice`: None; a factor per epoch; "cosine" to zero over the training; or a factory called with the optimizer.
    Stepped once an epoch."""
    if choice is None:
        return None
    if isinstance(choice, int | float):
        return ExponentialLR(optimizer, gamma=float(choice))
    if choice == "cosine":
        return CosineAnnealingLR(optimizer, T_max=epochs)
    if callable(choice):
        return choice(optimizer)
    raise BadInputError(Diagnostic("SC504", "scheduler is not known", value=str(choice),
                                   limit="a factor, cosine, or a factory"))


@torch.no_grad()
def clip_rows(parameters: Iterable[torch.nn.Parameter], limit: float) -> None:
    """Scales down the gradient of every neuron (a row of a weight, an element of a vector) to a norm within `limit`.

    A spike that only just reaches the threshold has a derivative without bound: clipping neuron by neuron keeps one
    such spike from drowning the batch, and leaves the gradients of all other neurons exact.
    """
    for parameter in parameters:
        gradient = parameter.grad
        if gradient is None:
            continue
        if gradient.ndim < 2:
            gradient.clamp_(-limit, limit)
        else:
            norm = torch.linalg.vector_norm(gradient, dim=tuple(range(1, gradient.ndim)), keepdim=True)
            gradient.mul_((limit / norm).clamp_(max=1.0))


def choice_name(choice: Any) -> str:
    """What a checkpoint records of a choice: enough to notice that another was made."""
    if isinstance(choice, partial):
        return f"{choice_name(choice.func)}({choice.args}, {choice.keywords})"
    if inspect.isclass(choice) or inspect.isroutine(choice):
        return f"{choice.__module__}.{choice.__qualname__}"
    shown = repr(choice)
    return choice_name(type(choice)) if f" at {hex(id(choice))}" in shown else shown
