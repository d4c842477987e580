"""Tags kept by synapse and sample, (batch, post, pre): for every rule, and for weights that change within a sample."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from .plan import Monomial, Product, read
from .variables import Variables

__all__ = ["DenseTags", "replayed"]

MOST = 1 << 22
"""Numbers of one tag that are held at once: samples of a batch are taken in parts."""


class DenseTags:
    """Of samples `part` of a batch. The last column of all matrices is the bias, where it learns."""

    def __init__(self, step: Sequence[Product], sample: Sequence[Product], variables: Variables, weight: Tensor,
                 part: slice, bias: bool) -> None:
        self.step, self.sample, self.variables, self.part, self.bias = step, sample, variables, part, bias
        size = len(range(*part.indices(variables.ends["y0"].shape[1])))
        made: dict[str, Any] = {"dtype": weight.dtype, "device": weight.device}
        self.ended = False
        tagged = {each.variable for each in step}
        self.tags = {name: torch.zeros((size, *weight.shape) if name in tagged else (), **made) for name in ("t", "d")}

    def column(self, column: int, weight: Tensor) -> Tensor | None:
        """Takes a column; gives what it changes of the weights, which spreads over (samples, post, pre)."""
        found = self._sums(self.step, column, weight)
        for name in ("t", "d"):
            if name in found:
                self.tags[name] += found[name]
        return found.get("w")

    def end(self, column: int, weight: Tensor) -> Tensor | None:
        """The same at the end of the sample, after this column."""
        self.ended = True
        return self._sums(self.sample, column, weight).get("w")

    def _sums(self, products: Sequence[Product], column: int, weight: Tensor) -> dict[str, Tensor]:
        known: dict[tuple[Monomial, str], Tensor | None] = {}
        found: dict[str, Tensor] = {}

        def part_of(monomial: Monomial, side: str) -> Tensor | None:
            if (monomial, side) not in known:
                known[monomial, side] = read(monomial, lambda name: self._value(name, side, column, weight))
            return known[monomial, side]

        for each in products:
            if each.columns is not None and not each.columns[column]:
                continue
            value: Any = each.coefficient
            for monomial, side in ((each.post, "post"), (each.pre, "pre"), (each.weight, "own"), (each.tags, "own")):
                factor = part_of(monomial, side)
                value = value if factor is None else factor * value
            value = torch.as_tensor(value, dtype=weight.dtype, device=weight.device)
            found[each.variable] = found[each.variable] + value if each.variable in found else value
        return found

    def _value(self, name: str, side: str, column: int, weight: Tensor) -> Tensor:
        if side == "own":
            return weight if name == "w" else self.tags[name]
        here = slice(column, column + 1)
        row = (self.variables.at_end(name) if self.ended else self.variables.rows(name, here))[0]
        row = row[self.part] if len(row) > 1 else row
        if side == "post":
            return row[:, :, None]
        if self.bias:
            row = torch.cat([row, self.variables.of_bias(name, here)[0].expand(len(row), 1)], dim=1)
        return row[:, None, :]


def replayed(step: Sequence[Product], sample: Sequence[Product], variables: Variables, weight: Tensor,
             bias: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """What a batch changes, all together, of weights that stay as they are meanwhile: (post, pre), and (post,)."""
    columns, batch, _ = variables.ends["y0"].shape
    whole = weight if bias is None else torch.cat([weight, bias[:, None]], dim=1)
    size = max(1, MOST // max(1, whole.numel()))
    total = torch.zeros_like(whole)
    for begin in range(0, batch, size):
        part = slice(begin, min(batch, begin + size))
        samples = part.stop - part.start
        tags = DenseTags(step, sample, variables, whole, part, bias is not None)
        changes = [tags.column(column, whole) for column in range(columns)]
        for change in (*changes, tags.end(columns - 1, whole)):
            if change is not None:
                total += change.expand(samples, *whole.shape).sum(0)
    return (total, None) if bias is None else (total[:, :-1], total[:, -1])
