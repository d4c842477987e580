"""The synapses of one projection in one sample, as `learning_step` steps them: tags, traces, gates, products."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..nodes import Array
from .rule import Factor, Gate, Trace, Update

__all__ = ["Synapses", "factor_value", "gate_value"]


class Synapses:
    """Of one projection, or one feedback matrix, in one sample: tags, traces and what updates make of them."""

    def __init__(self, shape: tuple[int, int], variables: Sequence[Trace | Gate], updates: Sequence[Update],
                 kept: Mapping[str, Array], dt: float) -> None:
        self.t, self.d = np.zeros(shape), np.zeros(shape)
        self.variables, self.updates, self.kept, self.dt = variables, updates, kept, dt
        self.values: dict[str, Any] = {"x0": np.zeros((1, shape[1])), "y0": np.zeros((shape[0], 1)),
                                       "e": np.zeros((shape[0], 1)), "r": 0.0}
        for each in variables:
            self.values[each.name] = np.zeros((1, shape[1]) if each.name[0] == "x" else (shape[0], 1))

    def see(self, x0: Array, y0: Array, reached: Array, bar: Array | None, phase: str) -> None:
        self.values["x0"], self.values["y0"] = x0[None, :], y0[:, None]
        left = list(self.variables)
        while left:
            each = next(each for each in left if isinstance(each, Gate) or each.of not in {one.name for one in left})
            left.remove(each)
            if isinstance(each, Gate):
                self.values[each.name] = gate_value(each, reached, bar)[:, None]
                continue
            source = each.name[0] + "0" if each.of == "spikes" else each.of
            taken = self.values[source] if not each.phases or phase in each.phases else 0.0
            kept = self.kept[each.name]
            kept = kept if each.name[0] == "x" or not kept.ndim else kept.reshape(-1, 1)
            self.values[each.name] = kept * self.values[each.name] + each.impulse * taken

    def changes(self, w: Array, kinds: Sequence[str], phase: str | None, column: int, noisy: frozenset[str],
                erring: Array) -> dict[str, Array]:
        """The sums for w, t and d of updates that happen now. `phase` None: at the end of a sample."""
        values = {**self.values, "w": w, "t": self.t, "d": self.d}
        found = {name: np.zeros_like(self.t) for name in ("w", "t", "d")}
        for update in self.updates:
            if update.when not in kinds or (update.phases and not set(update.phases) - noisy):
                continue
            if phase is not None and update.phases and phase not in update.phases:
                continue
            if update.when == "step" and (column + 1) % 2 ** update.every:
                continue
            where = {"pre": values["x0"], "post": values["y0"], "error": erring}.get(update.when, 1.0)
            for term in update.terms:
                product: Any = where * term.coefficient
                for factor in term.factors:
                    product = product * factor_value(factor, values)
                found[update.variable] = found[update.variable] + product
        return found


def factor_value(factor: Factor, values: Mapping[str, Any]) -> Any:
    """A factor, of the variables by name."""
    value = values[factor.variable]
    return np.sign(value + factor.offset) if factor.sign else value + factor.offset


def gate_value(gate: Gate, reached: Array, bar: Array | None) -> Array:
    """A gate, of membranes before the reset and the thresholds that they met."""
    if gate.shape == "membrane":
        return reached
    away = np.abs(reached - (bar if gate.centre is None else gate.centre))
    if gate.shape == "box":
        return np.where(away < gate.width, gate.height, 0.0)
    if gate.shape == "triangle":
        return gate.height * np.maximum(0.0, 1 - away / gate.width)
    return np.asarray(gate.height / (1 + away / gate.width) ** 2)
