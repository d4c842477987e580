"""Tags eliminated: what a sample changes of the weights, without a number for each synapse and sample.

Where tags z = (t, d) follow z' = A z + sum a_m x_m, with A and a_m known at the target and x_m at the source, and the
change of a weight is linear in them, it is a sum over columns of M_m x_m: the recurrence runs backwards on the target's
side, l = A^T l' + g, M_m = a_m . l', and meets the source's side in one matrix product for each x_m.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from .plan import Monomial, Product, by_source, evaluated, read
from .variables import Variables

__all__ = ["contracted"]

Update = tuple[Tensor, Tensor | None]
"""Of a weight matrix (post, pre), and of a bias (post,)."""


def contracted(step: Sequence[Product], sample: Sequence[Product], variables: Variables, weight: Tensor,
               bias: Tensor | None) -> Update:
    """The sum over a batch of all that it changes."""
    return _Contraction(step, sample, variables, weight, bias).total()


class _Contraction:
    def __init__(self, step: Sequence[Product], sample: Sequence[Product], variables: Variables, weight: Tensor,
                 bias: Tensor | None) -> None:
        self.step, self.sample, self.variables, self.weight, self.bias = step, sample, variables, weight, bias
        self.columns, self.batch, self.post = variables.ends["y0"].shape
        self.known: dict[tuple[Monomial, bool], Tensor | None] = {}
        self.dtype, self.device = weight.dtype, weight.device
        self.sums: dict[tuple[Monomial, Monomial], Tensor] = {}

    def total(self) -> Update:
        self.change = torch.zeros_like(self.weight)
        self.change_bias = None if self.bias is None else torch.zeros_like(self.bias)
        changing = [each for each in self.step if each.variable == "w"]
        for (pre, weight), parts in by_source([each for each in changing if not each.tags]):
            self._take(pre, weight, self._over_columns(parts))
        now = [each for each in changing if each.tags]
        end = [each for each in self.sample if each.variable == "w" and each.tags]
        for weight in dict.fromkeys(each.weight for each in (*now, *end)):
            self._backwards(weight, [each for each in now if each.weight == weight],
                            [each for each in end if each.weight == weight])
        for (pre, weight), rows in self.sums.items():
            self._meet(pre, weight, rows, slice(0, self.columns))
        plain = [each for each in self.sample if each.variable == "w" and not each.tags]
        for (pre, weight), parts in by_source(plain):
            end = self._at_end(parts)
            self._meet(pre, weight, torch.as_tensor(end, dtype=self.dtype, device=self.device).expand(
                1, self.batch, self.post), slice(self.columns - 1, self.columns))
        return self.change, self.change_bias

    def _backwards(self, weight: Monomial, changing: Sequence[Product], ending: Sequence[Product]) -> None:
        """Runs the adjoint of the tags for what changes weights by them, in columns and at the end."""
        def of_tag(name: str, parts: Sequence[Product]) -> list[Product]:
            return [each for each in parts if each.tags[0].variable == name]

        end = {name: self._at_end(of_tag(name, ending)) for name in ("t", "d")}
        now = {name: self._over_columns(of_tag(name, changing)) for name in ("t", "d")}
        through: dict[tuple[str, str], Any] = {}
        for tag in ("t", "d"):
            for of in ("t", "d"):
                through[tag, of] = self._over_columns(
                    [each for each in self.step if each.variable == tag and each.tags
                     and each.tags[0].variable == of], 1.0 if tag == of else 0.0)
        follows = {name: _Course(end[name], now[name], self) for name in ("t", "d")}
        for name, other in (("t", "d"), ("d", "t")):
            if follows[other].empty and _is(through[other, name], 0.0):
                continue
            follows[name].empty = follows[name].empty and follows[other].empty
        _run(follows, through, self.columns)
        for tag, course in follows.items():
            if course.empty:
                continue
            sources = [each for each in self.step if each.variable == tag and not each.tags]
            for (pre, own), given in by_source(sources):
                value = self._over_columns(given)
                behind = course.behind()
                self._take(pre, tuple(sorted((*own, *weight))),
                           behind * value if isinstance(value, float) else value * behind)

    def _take(self, pre: Monomial, weight: Monomial, value: Tensor | float) -> None:
        if _is(value, 0.0):
            return
        rows = torch.as_tensor(value, dtype=self.dtype, device=self.device)
        if (pre, weight) in self.sums:
            rows = self.sums[pre, weight] + rows
        self.sums[pre, weight] = rows

    def _meet(self, pre: Monomial, weight: Monomial, rows: Tensor, columns: slice) -> None:
        """Adds rows of the target, over columns and samples, times those of the source."""
        n = columns.stop - columns.start
        if pre:
            source = read(pre, lambda name: self.variables.rows(name, columns))
            assert source is not None
            rows = rows.expand(n, self.batch, self.post)
            found = rows.reshape(-1, self.post).t() @ source.reshape(-1, source.shape[-1])
        else:
            found = rows.expand(n, self.batch, self.post).sum((0, 1))[:, None]
        own = read(weight, lambda _: self.weight)
        self.change += found if own is None else found * own
        if self.change_bias is not None and self.bias is not None:
            bias = self.bias
            source = read(pre, lambda name: self.variables.of_bias(name, columns))
            rows = rows.expand(n, self.batch, self.post)
            found = (rows if source is None else rows * source).sum((0, 1))
            own = read(weight, lambda _: bias)
            self.change_bias += found if own is None else found * own

    def _over_columns(self, parts: Sequence[Product], constant: float = 0.0) -> Tensor | float:
        return evaluated(parts, lambda monomial: self._values(monomial, False), self.device, self.dtype, constant)

    def _at_end(self, parts: Sequence[Product]) -> Tensor | float:
        """(batch, post), of the end of the sample."""
        value = evaluated(parts, lambda monomial: self._values(monomial, True), self.device, self.dtype)
        return value[0] if isinstance(value, Tensor) else value

    def _values(self, monomial: Monomial, end: bool) -> Tensor | None:
        if (monomial, end) not in self.known:
            self.known[monomial, end] = read(monomial, self.variables.at_end if end else lambda name: (
                self.variables.rows(name, slice(0, self.columns))))
        return self.known[monomial, end]


class _Course:
    """The adjoint of one tag: `end` after the last column, `now` what each column adds; then by column what it is
    behind it."""

    def __init__(self, end: Tensor | float, now: Tensor | float, within: _Contraction) -> None:
        self.now, self.within = now, within
        self.empty = _is(end, 0.0) and _is(now, 0.0)
        self.end = torch.as_tensor(end, dtype=within.dtype, device=within.device)
        self.rows: Tensor | None = None

    def behind(self) -> Tensor:
        """What spreads over (columns, batch, post)."""
        return self.end if self.rows is None else self.rows

    def make(self) -> Tensor:
        shape = (self.within.columns, self.within.batch, self.within.post)
        self.rows = torch.empty(shape, dtype=self.end.dtype, device=self.end.device)
        self.rows[-1] = self.end
        return self.rows


def _run(courses: dict[str, _Course], through: dict[tuple[str, str], Any], columns: int) -> None:
    """rows[n - 1] = through[own, own][n] rows[n] + through[other, own][n] of the other's rows[n] + now[n]."""
    moving = []
    for name, other in (("t", "d"), ("d", "t")):
        course = courses[name]
        mixes = not courses[other].empty and not _is(through[other, name], 0.0)
        if not course.empty and (mixes or not _is(through[name, name], 1.0) or not _is(course.now, 0.0)):
            moving.append((name, other, mixes))
    rows = {name: courses[name].make() for name, _, _ in moving}
    still = {name: course.end for name, course in courses.items() if name not in rows}
    ready: dict[str, Any] = {}
    for name, other, mixes in moving:
        ready[name] = courses[name].now
        if mixes and other in still:
            ready[name] = ready[name] + through[other, name] * still[other]
    for column in range(columns - 1, 0, -1):
        for name, other, mixes in moving:
            out, behind, kept = rows[name][column - 1], rows[name][column], _at(through[name, name], column)
            given = _at(ready[name], column)
            if isinstance(kept, float):
                torch.mul(behind, kept, out=out)
            elif isinstance(given, Tensor) and given.shape == out.shape:
                torch.addcmul(given, behind, kept, out=out)
                given = 0.0
            else:
                torch.mul(behind, kept, out=out)
            if not _is(given, 0.0):
                out.add_(given)
            if mixes and other in rows:
                factor = _at(through[other, name], column)
                out.add_(rows[other][column] * factor)


def _at(value: Any, column: int) -> Any:
    if not isinstance(value, Tensor) or value.ndim < 3:
        return value
    return value[column if len(value) > 1 else 0]


def _is(value: Any, number: float) -> bool:
    return isinstance(value, float) and value == number
