"""A population on a grid, as its kernel takes it: which coefficients of the linear form there are, and their arrays."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...ir.step_form import StepForm

__all__ = ["Cell", "FlatForm", "flat_form"]


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
    above: bool

    @property
    def spiking(self) -> bool:
        return "theta" in self.terms

    @property
    def late(self) -> bool:
        """Whether a spike, or a membrane left over the threshold, has effects in the next column."""
        return self.spiking and any(name.startswith(("la_", "lb_", "lh_", "lz_")) for name in self.terms)


@dataclass(frozen=True, slots=True)
class FlatForm:
    """A form with its arrays laid out, before constant currents are known. `cell`: without the terms that depend on
    these; `drives`: for each of these its name, what it is without a current, and by a unit of current, (n,) float64
    or None for zero."""

    cell: Cell
    drives: tuple[tuple[str, Tensor | None, Tensor | None], ...]

    def driven(self, constant: Tensor | None) -> Cell:
        """The cell under the constant current (n,), float64."""
        cell, found = self.cell, {}
        for name, offset, factor in self.drives:
            by_current = None if constant is None or factor is None else factor * constant
            total = offset if by_current is None else by_current if offset is None else offset + by_current
            if total is not None:
                found[name] = total.to(cell.v0.dtype)
        return Cell(cell.states, {**cell.terms, **found}, cell.v0, cell.rest, cell.at, cell.many, cell.lag,
                    cell.resets_late, cell.above)


def flat_form(form: StepForm, shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> FlatForm:
    """`form` with entries in float64, for neurons of `shape`."""

    def flat(value: Any) -> Tensor:
        tensor = torch.as_tensor(np.array(value) if isinstance(value, np.ndarray) else value, dtype=torch.float64,
                                 device=device)
        return tensor.broadcast_to(shape).reshape(-1)

    def maybe(value: Any) -> Tensor | None:
        return None if value is None else flat(value)

    terms = {name: flat(value).to(dtype).contiguous() for name, value in _entries(form)}
    rest = None if form.rest is None else torch.from_numpy(
        np.array(np.broadcast_to(form.rest, shape)).reshape(-1)).to(device=device, dtype=torch.int32)
    drives = tuple((f"{name}_{row}", maybe(offset), maybe(factor))
                   for name, offsets, factors in (("h", form.c, form.d), ("lh", form.late_c, form.late_d))
                   for row, (offset, factor) in enumerate(zip(offsets, factors, strict=True)))
    return FlatForm(Cell(form.states, terms, flat(form.v0).to(dtype), rest, form.at, form.many, form.lag,
                         form.resets_late, form.late_above), drives)


def _entries(form: StepForm) -> Iterator[tuple[str, Any]]:
    for name, matrix in (("a", form.a), ("la", form.late_a), ("ra", form.reset_a)):
        for row, entries in enumerate(matrix):
            for column, value in enumerate(entries):
                if value is not None:
                    yield f"{name}_{row}{column}", value
    for name, vector in (("b", form.b), ("lb", form.late_b), ("lz", form.late_after), ("rc", form.reset_c),
                         ("q", form.spike_c), ("gain", form.gain)):
        for row, value in enumerate(vector):
            if value is not None:
                yield f"{name}_{row}", value
    if form.threshold is not None:
        yield "theta", form.threshold
    if form.v_min is not None:
        yield "floor", form.v_min
