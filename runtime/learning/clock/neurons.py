"""A population on a grid in torch, one column after the other and without gradients: what rules of learning look at.

Computes `ir/step_form.py`, and keeps what a rule reads: the membrane before its reset, and the threshold that it met.
"""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from ....ir.step_form import StepForm

__all__ = ["Neurons"]

Value = Tensor | float | None
"""(n,); one number for all; None: zero."""


class Neurons:
    """`advance` takes a column. `reached` (batch, n); `bar`: (n,), (batch, n), or one number; None of a readout."""

    def __init__(self, form: StepForm, shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> None:
        self.form, self.dtype, self.device = form, dtype, device
        self.n = int(np.prod(shape))

        def value(array: Any) -> Value:
            if array is None:
                return None
            wide = np.broadcast_to(np.asarray(array, dtype=np.float64), shape).reshape(-1)
            if wide.size and (wide == wide[0]).all():
                return float(wide[0]) if wide[0] else None
            return torch.from_numpy(np.array(wide)).to(device, dtype)

        def number(array: Any) -> Tensor | float:
            found = value(array)
            return 0.0 if found is None else found

        def vector(entries: tuple[Any, ...]) -> list[Value]:
            return [value(entry) for entry in entries]

        self.a, self.late_a, self.reset_a = ([vector(row) for row in matrix]
                                             for matrix in (form.a, form.late_a, form.reset_a))
        self.b, self.d, self.c = vector(form.b), vector(form.d), vector(form.c)
        self.late_b, self.late_d, self.late_c = vector(form.late_b), vector(form.late_d), vector(form.late_c)
        self.late_after, self.reset_c, self.spike_c = (vector(each) for each in (
            form.late_after, form.reset_c, form.spike_c))
        self.gain = vector(form.gain)
        self.v0 = number(form.v0)
        self.v_min = None if form.v_min is None else torch.from_numpy(np.array(np.broadcast_to(
            form.v_min, shape), dtype=np.float64).reshape(-1)).to(device, dtype)
        self.threshold = None if form.threshold is None else number(form.threshold)
        self.rest = None if form.rest is None else torch.from_numpy(np.array(np.broadcast_to(
            form.rest, shape)).reshape(-1)).to(device, torch.int64)
        self.is_late = any(entry is not None for row in (*self.late_a, self.late_b, self.late_d, self.late_c,
                                                         self.late_after) for entry in row)

    def start(self, batch: int) -> None:
        """To rest."""
        made: dict[str, Any] = {"dtype": self.dtype, "device": self.device}
        self.states = [torch.zeros((batch, self.n), **made) for _ in self.b]
        self.states[0] += self.v0
        self.reached, self.bar = self.states[0], self.threshold
        self.lagged: Tensor | None = None
        self.fired: Tensor | None = self._spikes(self.states) if self.form.resets_late else None
        self.left = None
        if self.rest is not None:
            self.left = torch.zeros((batch, self.n), dtype=torch.int64, device=self.device)
            if self.fired is not None:
                self.left = torch.where(self.fired > 0, self.rest, self.left)

    def advance(self, x: Tensor | None, k: Tensor | None, spikes_to: Tensor | None, reached_to: Tensor | None) -> None:
        """Takes what arrives of spikes, (batch, n) or None for nothing, and the constant current, (n,) or (batch, n).
        Writes the spikes, (batch, n), unless it is a readout, and the membrane before the reset where it is wanted."""
        form = self.form
        if form.lag:
            x, self.lagged = self.lagged, x
        late = self.fired if self.is_late else None
        if self.is_late and form.late_above:
            late = self._positive(self._spikes(self.states))
        moved = [self._row(self.a[row], self.b[row], self.d[row], self.c[row], x, k, None if row else reached_to)
                 for row in range(len(self.b))]
        if late is not None:
            for row in range(len(self.b)):
                extra = self._row(self.late_a[row], self.late_b[row], self.late_d[row], self.late_c[row], x, k,
                                  None, empty=True)
                if extra is not None:
                    moved[row] = moved[row] + late * extra
        if self.threshold is None or spikes_to is None:
            self.states = moved
            self._reached(moved[0], reached_to)
            return
        if self.left is not None:
            held = self.states[0]
            if form.resets_late and self.fired is not None:
                held = held + self._reset(0, self.states, self.fired, self.fired)
            moved[0] = torch.where(self.left > 0, held, moved[0])
        spikes = self._spikes(moved, spikes_to)
        if self.left is not None:
            spikes.mul_(self.left == 0)
        self._reached(moved[0], reached_to)
        fired = self._positive(spikes)
        if self.left is not None and self.rest is not None:
            self.left = torch.where(spikes > 0, self.rest, (self.left - 1).clamp_(min=0))
        after = moved
        if not form.resets_late:
            after = [self._after(row, moved, fired, spikes) for row in range(len(moved))]
        if late is not None:
            after = [state if (entry := self.late_after[row]) is None else state + late * entry
                     for row, state in enumerate(after)]
        if self.v_min is not None:
            after[0] = torch.maximum(after[0], self.v_min)
        self.states, self.fired = after, fired

    def _reached(self, membrane: Tensor, to: Tensor | None) -> None:
        if to is not None and to is not membrane:
            to.copy_(membrane)
        self.reached = membrane

    def _row(self, a: list[Value], b: Value, d: Value, c: Value, x: Tensor | None, k: Tensor | None,
             to: Tensor | None, empty: bool = False) -> Any:
        """One row of an affine map, written `to` a tensor if it can be; `empty`: None where nothing is in it."""
        total: Tensor | None = None
        for state, entry in zip(self.states, a, strict=True):
            if entry is not None:
                total = torch.mul(state, entry, out=to) if total is None else _add(total, state, entry)
        if b is not None and x is not None:
            total = x * b if total is None else _add(total, x, b)
        if d is not None and k is not None:
            total = (k * d).expand(self.states[0].shape).clone() if total is None else total.add_(k * d)
        if c is not None:
            total = torch.zeros_like(self.states[0]).add_(c) if total is None else total.add_(c)
        return total if total is not None or empty else torch.zeros_like(self.states[0])

    def _after(self, row: int, states: list[Tensor], fired: Tensor, spikes: Tensor) -> Tensor:
        """A state after what a spike does to it."""
        only = [number for number, entry in enumerate(self.reset_a[row]) if entry is not None]
        if only == [row] and self.reset_a[row][row] == -1.0 and self.reset_c[row] is None and (
                self.spike_c[row] is None):
            return torch.addcmul(states[row], fired, states[row], value=-1)
        change = self._reset(row, states, fired, spikes)
        return states[row] if change is None else states[row] + change

    def _reset(self, row: int, states: list[Tensor], fired: Tensor, spikes: Tensor) -> Any:
        """What a spike adds to a state in its column, or None."""
        total: Tensor | None = None
        for state, entry in zip(states, self.reset_a[row], strict=True):
            if entry is not None:
                total = fired * state * entry if total is None else total.add_(fired * state * entry)
        for flags, gained in ((fired, self.reset_c[row]), (spikes, self.spike_c[row])):
            if gained is not None:
                total = flags * gained if total is None else _add(total, flags, gained)
        return total

    def _spikes(self, states: list[Tensor], to: Tensor | None = None) -> Tensor:
        self.bar = bar = self._bar(states)
        membrane = states[0]
        to = torch.empty_like(membrane) if to is None else to
        if self.form.many:
            return torch.where(membrane >= bar, torch.floor(membrane / bar), torch.zeros_like(membrane), out=to)
        return (torch.ge if self.form.at else torch.gt)(membrane, bar, out=to)

    def _bar(self, states: list[Tensor]) -> Any:
        bar: Any = self.threshold
        for state, entry in zip(states, self.gain, strict=True):
            if entry is not None:
                bar = bar + state * entry
        return bar

    def _positive(self, spikes: Tensor) -> Tensor:
        return (spikes > 0).to(self.dtype) if self.form.many else spikes


def _add(total: Tensor, given: Tensor, factor: Value) -> Tensor:
    """total + given factor, in place of total."""
    if isinstance(factor, float):
        return total.add_(given, alpha=factor)
    return total.addcmul_(given, cast(Tensor, factor))
