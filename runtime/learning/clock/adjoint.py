"""Tags eliminated: what a sample changes of the weights, without a number for each synapse and sample.

Where tags z = (t, d) follow z' = A z + sum a_m x_m, with A and a_m known at the target and x_m at the source, and the
change of a weight is linear in them, it is a sum over columns of M_m x_m: the recurrence runs backwards on the target's
side, l = A^T l' + g, M_m = a_m . l', and meets the source's side in one matrix product for each x_m. What is known at
the target is made for a few columns at a time, as many as a core's own memory holds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ...arenas import empty
from .plan import Monomial, Product, by_source, evaluated, read
from .variables import Variables

__all__ = ["contracted"]

Update = tuple[Tensor, Tensor | None]
"""Of a weight matrix (post, pre), and of a bias (post,)."""
Value = Tensor | float
TAGS = ("t", "d")
TOGETHER = 1 << 16
"""Numbers at the target that are made at a time."""


def contracted(step: Sequence[Product], sample: Sequence[Product], variables: Variables, weight: Tensor,
               bias: Tensor | None) -> Update:
    """The sum over a batch of all that it changes."""
    total = _Total(variables, weight, bias)
    changing = [each for each in step if each.variable == "w"]
    ending = [each for each in sample if each.variable == "w"]
    tagged = [each for each in (*changing, *ending) if each.tags]
    courses = [_Course(own, step, [each for each in changing if each.tags and each.weight == own],
                       [each for each in ending if each.tags and each.weight == own])
               for own in dict.fromkeys(each.weight for each in tagged)]
    plain = by_source([each for each in changing if not each.tags])
    columns, batch, post = variables.ends["y0"].shape
    length = max(1, TOGETHER // max(1, batch * post))
    for begin in range((columns - 1) // length * length, -1, -length) if courses or plain else ():
        chunk = _Chunk(variables, slice(begin, min(columns, begin + length)), weight)
        for (pre, own), parts in plain:
            total.take(pre, own, chunk.columns, chunk.value(parts))
        for course in courses:
            course.back(chunk, total, last=chunk.columns.stop == columns)
    total.meet()
    for (pre, own), parts in by_source([each for each in ending if not each.tags]):
        total.end(pre, own, _Chunk(variables, None, weight).value(parts))
    return total.change, total.change_bias


class _Chunk:
    """What is known at the target in a few columns; `columns` None: at the end of the sample."""

    def __init__(self, variables: Variables, columns: slice | None, like: Tensor) -> None:
        self.variables, self.like = variables, like
        whole, self.batch, self.post = variables.ends["y0"].shape
        self.at_end = columns is None
        self.columns = slice(whole - 1, whole) if columns is None else columns
        self.known: dict[str, Tensor] = {}
        self.products: dict[Monomial, Tensor | None] = {}

    def value(self, parts: Sequence[Product], constant: float = 0.0) -> Value:
        """A sum of coefficients times what is known: a number, or what spreads over (columns, batch, post)."""
        return evaluated(parts, self._product, None if self.at_end else self.columns, self.like, constant)

    def _product(self, monomial: Monomial) -> Tensor | None:
        if monomial not in self.products:
            self.products[monomial] = read(monomial, self._variable)
        return self.products[monomial]

    def _variable(self, name: str) -> Tensor:
        if name not in self.known:
            self.known[name] = (self.variables.at_end(name) if self.at_end else
                                self.variables.rows(name, self.columns))
        return self.known[name]


class _Total:
    """The change of a weight matrix, and the target's sides of products over all columns that it is to come of."""

    def __init__(self, variables: Variables, weight: Tensor, bias: Tensor | None) -> None:
        self.variables, self.weight, self.bias = variables, weight, bias
        self.change = torch.zeros_like(weight)
        self.change_bias = None if bias is None else torch.zeros_like(bias)
        self.shape = variables.ends["y0"].shape
        self.rows: dict[tuple[Monomial, Monomial], Tensor] = {}
        self.written: dict[tuple[Monomial, Monomial], int] = {}
        """The first column from which rows are written; columns come backwards."""

    def take(self, pre: Monomial, own: Monomial, columns: slice, value: Value) -> None:
        """Adds to the target's side of what has `pre` at the source and `own` of the weight."""
        if _is(value, 0.0):
            return
        if (pre, own) not in self.rows:
            self.rows[pre, own] = empty(tuple(self.shape), self.weight.dtype, self.weight.device)
            self.written[pre, own] = self.shape[0]
        rows, written = self.rows[pre, own], self.written[pre, own]
        if columns.start >= written:
            rows[columns] += value
            return
        rows[columns.stop:written].zero_()
        rows[columns] = value
        self.written[pre, own] = columns.start

    def meet(self) -> None:
        """The matrix products."""
        for (pre, own), rows in self.rows.items():
            rows[:self.written[pre, own]].zero_()
            self._add(pre, own, rows, lambda name: self.variables.rows(name, slice(0, self.shape[0])),
                      slice(0, self.shape[0]))

    def end(self, pre: Monomial, own: Monomial, value: Value) -> None:
        """What the end of a sample brings, without tags."""
        rows = torch.as_tensor(value, dtype=self.weight.dtype, device=self.weight.device).expand(1, *self.shape[1:])
        self._add(pre, own, rows, self.variables.at_end, slice(self.shape[0] - 1, self.shape[0]))

    def _add(self, pre: Monomial, own: Monomial, rows: Tensor, of_source: Any, columns: slice) -> None:
        source = read(pre, of_source)
        factor = read(own, lambda _: self.weight)
        if source is None:
            found = rows.sum((0, 1))[:, None]
        elif len(source) > 1 and not source.stride(0):  # the same in every column
            found = rows.sum(0).t() @ source[0]
        else:
            found = rows.reshape(-1, rows.shape[-1]).t() @ source.reshape(-1, source.shape[-1])
        self.change += found if factor is None else found * factor
        if self.change_bias is None or self.bias is None:
            return
        bias = self.bias
        given = read(pre, lambda name: self.variables.of_bias(name, columns))
        factor = read(own, lambda _: bias)
        found = rows.sum(1) if given is None else rows.sum(1) * given[:, 0]
        self.change_bias += found.sum(0) if factor is None else found.sum(0) * factor


@dataclass(slots=True)
class _Flow:
    """The adjoint of one tag. `behind`: after the column that comes next."""

    ending: list[Product]
    changing: list[Product]
    sources: list[tuple[tuple[Monomial, Monomial], list[Product]]]
    behind: Value = 0.0


class _Course:
    """The adjoint of both tags, for what changes weights by them together with the factor `own` of the weight."""

    def __init__(self, own: Monomial, step: Sequence[Product], changing: Sequence[Product],
                 ending: Sequence[Product]) -> None:
        self.own = own
        self.flows = {name: _Flow(_of_tag(name, ending), _of_tag(name, changing),
                                  by_source([each for each in step if each.variable == name and not each.tags]))
                      for name in TAGS}
        self.through = {(tag, of): _of_tag(of, [each for each in step if each.variable == tag])
                        for tag in TAGS for of in TAGS}

    def back(self, chunk: _Chunk, total: _Total, last: bool) -> None:
        """Goes back through some columns; `last`: from the end of the sample."""
        if last:
            end = _Chunk(chunk.variables, None, chunk.like)
            for flow in self.flows.values():
                flow.behind = _flat(end.value(flow.ending))
        through = {key: chunk.value(parts, float(key[0] == key[1])) for key, parts in self.through.items()}
        now = {name: chunk.value(flow.changing) for name, flow in self.flows.items()}
        sources = {name: [(key, chunk.value(parts)) for key, parts in flow.sources]
                   for name, flow in self.flows.items()}
        for place in range(chunk.columns.stop - chunk.columns.start - 1, -1, -1):
            column = chunk.columns.start + place
            behind = {name: flow.behind for name, flow in self.flows.items()}
            for name in TAGS:
                for (pre, own), value in sources[name]:
                    total.take(pre, tuple(sorted((*own, *self.own))), slice(column, column + 1),
                               _times(_at(value, place), behind[name]))
            for name, other in (TAGS, TAGS[::-1]):
                self.flows[name].behind = _plus(
                    _plus(_times(_at(through[name, name], place), behind[name]), _at(now[name], place)),
                    _times(_at(through[other, name], place), behind[other]))


def _of_tag(name: str, parts: Sequence[Product]) -> list[Product]:
    return [each for each in parts if each.tags and each.tags[0].variable == name]


def _at(value: Value, place: int) -> Value:
    """(batch, post) of one column."""
    if isinstance(value, float) or value.ndim < 3:
        return value
    return value[place if len(value) > 1 else 0]


def _flat(value: Value) -> Value:
    return value[0] if isinstance(value, Tensor) and value.ndim == 3 else value


def _times(one: Value, other: Value) -> Value:
    if _is(one, 0.0) or _is(other, 0.0):
        return 0.0
    if _is(one, 1.0):
        return other
    return other if _is(one, 1.0) else one if _is(other, 1.0) else one * other


def _plus(one: Value, other: Value) -> Value:
    return other if _is(one, 0.0) else one if _is(other, 0.0) else one + other


def _is(value: Value, number: float) -> bool:
    return isinstance(value, float) and value == number
