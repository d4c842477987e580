"""Updates of a rule as products that are sorted by where their factors live: at the source of a synapse, at its target,
or in the synapse itself. Sums such as (w - 2) are multiplied out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import cast

import torch
from torch import Tensor

from ....ir.learning.rule import Update

__all__ = ["Atom", "Moment", "Monomial", "Product", "by_source", "evaluated", "is_linear", "products_of", "read"]


@dataclass(frozen=True, slots=True, order=True)
class Atom:
    """A variable, or the sign of a variable plus `offset`. `reached`: 1 where an error reaches the dendrite."""

    variable: str
    sign: bool = False
    offset: float = 0.0


Monomial = tuple[Atom, ...]
Moment = str
"""`step` or `sample`."""


@dataclass(frozen=True, slots=True)
class Product:
    """What `variable` takes: `coefficient` times what is known at the source, the target, of the weight (as it was), of
    the tags. `columns`: in which; None: in all."""

    variable: str
    coefficient: float
    pre: Monomial
    post: Monomial
    weight: Monomial
    tags: Monomial
    columns: tuple[bool, ...] | None

    @property
    def linear(self) -> bool:
        """Whether it is linear in the tags, with a factor that is known at the target alone."""
        return not self.tags or (len(self.tags) == 1 and not self.tags[0].sign and not self.pre)


def products_of(updates: Sequence[Update], moment: Moment, columns: Callable[[Update], tuple[bool, ...]]
                ) -> tuple[Product, ...]:
    """The products of those updates that happen at the end of a sample, or on the way there. `columns`: in which of the
    sample's an update happens."""
    found = []
    for update in updates:
        if (update.when == "sample") != (moment == "sample"):
            continue
        when = columns(update)
        if not any(when):
            continue
        gate = {"pre": (Atom("x0"),), "post": (Atom("y0"),), "error": (Atom("reached"),)}.get(update.when, ())
        for term in update.terms:
            choices: list[tuple[tuple[float, Monomial], ...]] = []
            for factor in term.factors:
                atom = Atom(factor.variable, factor.sign, factor.offset if factor.sign else 0.0)
                constant = () if factor.sign or not factor.offset else ((factor.offset, ()),)
                choices.append(((1.0, (atom,)), *constant))
            for choice in product(*choices):
                coefficient, atoms = term.coefficient, list(gate)
                for number, chosen in choice:
                    coefficient *= number
                    atoms.extend(chosen)
                if coefficient and not (moment == "step" and any(each == Atom("r") for each in atoms)):
                    found.append(_sorted(update.variable, coefficient, atoms, None if all(when) else when))
    return tuple(found)


def _sorted(variable: str, coefficient: float, atoms: Sequence[Atom], columns: tuple[bool, ...] | None) -> Product:
    def those(*names: str) -> Monomial:
        return tuple(sorted(each for each in atoms if each.variable in names))

    return Product(variable, coefficient, those("x0", "x1", "x2"), those("y0", "y1", "y2", "y3", "e", "r", "reached"),
                   those("w"), those("t", "d"), columns)


def is_linear(step: Sequence[Product], sample: Sequence[Product]) -> bool:
    """Whether the tags need not be kept by synapse: their updates are linear in them, with factors of the target."""
    return all(each.linear and not (each.tags and each.weight and each.variable != "w") for each in (*step, *sample))


def read(monomial: Monomial, values: Callable[[str], Tensor]) -> Tensor | None:
    """The product of factors; None: of none."""
    total: Tensor | None = None
    for atom in monomial:
        value = values(atom.variable)
        value = torch.sign(value + atom.offset) if atom.sign else value
        total = value if total is None else total * value
    return total


def evaluated(parts: Sequence[Product], values: Callable[[Monomial], Tensor | None], columns: slice | None,
              like: Tensor, constant: float = 0.0) -> Tensor | float:
    """`constant` plus the sum of coefficients times what is known at the target in some columns (None: at the end): a
    number, or a tensor that spreads over (columns, batch, post)."""
    by_key: dict[tuple[Monomial, tuple[bool, ...] | None], float] = {}
    for each in parts:
        happens = None if each.columns is None or columns is None else each.columns[columns]
        if happens is None or any(happens):
            key = (each.post, None if happens is None or all(happens) else happens)
            by_key[key] = by_key.get(key, 0.0) + each.coefficient
    total: Tensor | float = constant + by_key.pop(((), None), 0.0)
    for (monomial, happens), coefficient in by_key.items():
        value = cast(Tensor, values(monomial))  # None for no factors alone, which then do not always happen
        if happens is not None:
            mask = torch.tensor(happens, dtype=like.dtype, device=like.device).view(-1, 1, 1)
            value = mask if value is None else value * mask
        if isinstance(total, float):
            total = value.mul(coefficient).add_(total) if total else value.mul(coefficient)
        elif total.shape == value.shape:
            total.add_(value, alpha=coefficient)
        else:
            total = torch.add(total, value, alpha=coefficient)
    return total


def by_source(parts: Sequence[Product]) -> list[tuple[tuple[Monomial, Monomial], list[Product]]]:
    """Products by what they have of the source and of the weight."""
    found: dict[tuple[Monomial, Monomial], list[Product]] = {}
    for each in parts:
        found.setdefault((each.pre, each.weight), []).append(each)
    return list(found.items())
