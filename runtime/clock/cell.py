"""A population on a grid, as its kernel takes it: which coefficients of the linear form there are, and their arrays."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...ir.step_form import StepForm

__all__ = ["Cell", "cell_of"]


@dataclass(frozen=True, slots=True)
class Cell:
    """`terms`: (n,) by name, those of `runtime/kernels/clock.jinja`. `v0` (n,). `rest` (n,) int32 columns, or None."""

    states: int
    terms: Mapping[str, Tensor]
    v0: Tensor
    rest: Tensor | None
    at: bool
    many: bool
    lag: bool
    resets_late: bool

    @property
    def spiking(self) -> bool:
        return "theta" in self.terms

    @property
    def late(self) -> bool:
        """Whether a spike has effects in the next column."""
        return any(name.startswith(("la_", "lb_", "lh_")) for name in self.terms)


def cell_of(form: StepForm, constant: Tensor | None, shape: tuple[int, ...], dtype: torch.dtype,
            device: torch.device) -> Cell:
    """`form` with entries in float64, `constant` (*shape) the constant current into the neurons, float64 too."""

    def flat(value: Any) -> Tensor:
        tensor = torch.as_tensor(np.array(value) if isinstance(value, np.ndarray) else value, dtype=torch.float64,
                                 device=device)
        return tensor.broadcast_to(shape).reshape(-1)

    terms: dict[str, Tensor] = {}
    for name, value in _entries(form, constant):
        terms[name] = flat(value).to(dtype).contiguous()
    rest = None if form.rest is None else torch.from_numpy(
        np.array(np.broadcast_to(form.rest, shape)).reshape(-1)).to(device=device, dtype=torch.int32)
    return Cell(form.states, terms, flat(form.v0).to(dtype), rest, form.at, form.many, form.lag, form.resets_late)


def _entries(form: StepForm, constant: Tensor | None) -> Iterator[tuple[str, Any]]:
    for name, matrix in (("a", form.a), ("la", form.late_a), ("ra", form.reset_a)):
        for row, entries in enumerate(matrix):
            for column, value in enumerate(entries):
                if value is not None:
                    yield f"{name}_{row}{column}", value
    for name, vector in (("b", form.b), ("lb", form.late_b), ("rc", form.reset_c), ("q", form.spike_c),
                         ("gain", form.gain)):
        for row, value in enumerate(vector):
            if value is not None:
                yield f"{name}_{row}", value
    for name, offsets, factors in (("h", form.c, form.d), ("lh", form.late_c, form.late_d)):
        for row, (offset, factor) in enumerate(zip(offsets, factors, strict=True)):
            driven = None if constant is None or factor is None else torch.as_tensor(factor) * constant
            if offset is not None or driven is not None:
                yield f"{name}_{row}", driven if offset is None else offset if driven is None else driven + (
                    torch.as_tensor(offset))
    if form.threshold is not None:
        yield "theta", form.threshold
    if form.v_min is not None:
        yield "floor", form.v_min
