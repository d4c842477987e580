"""Neurons as model-local ONNX functions in the domain `ai.spikec.snn`: one column of the linear form of
`ir/step_form.py`, with the arrays of the form as inputs. Two nodes share a function where the same terms are not zero.

    spikes, s0', s1', f', left' = CubaLIF(x, s0, s1, f, left, a0_0, a0_1, …, threshold, …)

`f`: fired in the column before, where that does not follow from the states; `left`: columns of rest. What a neuron does
not need is left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import helper

from ....ir.grid import Discretization
from ....ir.nodes import Array, Membrane, Neuron, StepNeuron, params
from ....ir.step_form import StepForm, step_form
from ....ir.text_values import compact
from .emitter import OPSET

__all__ = ["DOMAIN", "Cells", "Structure", "cells_of", "function_of"]

DOMAIN = "ai.spikec.snn"


@dataclass(frozen=True, slots=True)
class Structure:
    """What two neuron nodes share that are computed by one function: kind, number of states, the names of the terms
    that are not zero, and the rules of firing."""

    kind: str
    states: int
    terms: tuple[str, ...]
    at: bool
    many: bool
    resets_late: bool
    above: bool

    def has(self, *names: str) -> bool:
        return any(term.startswith(names) for term in self.terms)

    @property
    def fires(self) -> bool:
        return "threshold" in self.terms

    @property
    def carried(self) -> tuple[str, ...]:
        """Names of what goes from column to column."""
        fired = ("f",) if (self.has("late_") and not self.above) or (self.resets_late and self.has("rest")) else ()
        return (*(f"s{number}" for number in range(self.states)), *fired, *(("left",) if self.has("rest") else ()))


@dataclass(frozen=True, slots=True, eq=False)
class Cells:
    """A neuron node for export: its `terms` by name, how its states begin (`starts`, zero where there is none), and
    whether it takes what arrived in the column before (`lag`)."""

    structure: Structure
    terms: Mapping[str, Array]
    starts: Mapping[str, Array]
    lag: bool


def cells_of(node: Neuron, grid: Discretization, bias: Array) -> Cells:
    """`bias`: the constant current into each neuron, in the node's shape."""
    values = {name: value.astype(np.float64) for name, value in params(node).items()}
    if isinstance(node, Membrane):
        values = {name: compact(params(node)[name], node.shape).astype(np.float64) for name in values}
    form = step_form(node, grid, values)
    terms = {name: _smallest(value) for name, value in _terms(form, bias).items()}
    terms = {name: value for name, value in terms.items() if name in ("threshold", "v_min") or value.any()}
    if form.threshold is None:
        terms = {name: value for name, value in terms.items() if name[0] in "abc" or name == "v_min"}
    elif form.resets_late:  # what is left of the reset says where a resting membrane stays
        resting = ("reset_a0", "reset_c0", "spike_c0") if "rest" in terms else ()
        terms = {name: value for name, value in terms.items()
                 if not name.startswith(("reset_", "spike_c")) or name.startswith(resting)}
    structure = Structure(type(node).__name__, form.states, tuple(terms), form.at, form.many, form.resets_late,
                          form.late_above)
    starts = {"s0": np.asarray(form.v0, dtype=np.float64)}
    if form.resets_late and not isinstance(node, StepNeuron):
        v0, threshold = np.asarray(form.v0), np.asarray(form.threshold)
        starts["f"] = (v0 >= threshold if form.at else v0 > threshold).astype(np.float64)
        if form.rest is not None:
            starts["left"] = starts["f"] * form.rest
    starts = {name: _smallest(value) for name, value in starts.items()}
    return Cells(structure, terms, {name: value for name, value in starts.items() if value.any()}, form.lag)


def _terms(form: StepForm, bias: Array) -> dict[str, Array]:
    """The entries of the form that there are, with the constant current taken into c."""
    given: dict[str, Any] = {"threshold": form.threshold, "v_min": form.v_min, "rest": form.rest}
    for prefix in ("", "late_"):
        gains, constants = getattr(form, f"{prefix}d"), getattr(form, f"{prefix}c")
        for row in range(form.states):
            current = None if gains[row] is None or not bias.any() else gains[row] * bias
            parts = [part for part in (constants[row], current) if part is not None]
            given[f"{prefix}c{row}"] = sum(parts) if parts else None
    for name in ("a", "late_a", "reset_a"):
        for row, entries in enumerate(getattr(form, name)):
            given.update({f"{name}{row}_{column}": entry for column, entry in enumerate(entries)})
    for name in ("b", "late_b", "late_after", "reset_c", "spike_c", "gain"):
        given.update({f"{name}{row}": entry for row, entry in enumerate(getattr(form, name))})
    return {name: np.asarray(entry, dtype=np.float64) for name, entry in sorted(given.items()) if entry is not None}


def _smallest(value: Array) -> Array:
    """One number where all are the same."""
    return value.reshape(-1)[:1].reshape(()) if value.size and (value == value.reshape(-1)[0]).all() else value


def function_of(name: str, structure: Structure) -> onnx.FunctionProto:
    """The function of all neuron nodes of this structure."""
    lines = _Lines(structure)
    lines.write()
    outputs = [*(["spikes"] if structure.fires else []), *(f"{state}_next" for state in structure.carried)]
    return helper.make_function(DOMAIN, name, ["x", *structure.carried, *structure.terms], outputs, lines.nodes,
                                [helper.make_opsetid("", OPSET)])


class _Lines:
    """The body of one function, operation by operation."""

    def __init__(self, structure: Structure) -> None:
        self.structure = structure
        self.nodes: list[onnx.NodeProto] = []
        self.states = range(structure.states)
        self.f = "f"

    def write(self) -> None:
        structure = self.structure
        if structure.above and structure.has("late_"):
            self.f = self.cast(self._over([f"s{row}" for row in self.states]))
        starred = [self._advanced(row) for row in self.states]
        if structure.has("rest"):
            resting = self.op("Greater", "left", self.number(0.0))
            starred[0] = self.op("Where", resting, self._held(), starred[0])
        after = starred
        if structure.fires:
            spikes = self._spikes(starred)
            if structure.has("rest"):
                spikes = self.op("Where", resting, self.number(0.0), spikes)
            fired = spikes if not structure.many else self.cast(self.op("Greater", spikes, self.number(0.0)))
            if not structure.resets_late:
                after = [self._reset(row, starred, spikes, fired) for row in self.states]
            self.op("Identity", spikes, output="spikes")
            if "f" in structure.carried:
                self.op("Identity", fired, output="f_next")
            if structure.has("rest"):
                less = self.op("Max", self.op("Sub", "left", self.number(1.0)), self.number(0.0))
                self.op("Where", self.op("Greater", fired, self.number(0.0)), "rest", less, output="left_next")
        if "v_min" in structure.terms:
            after = [self.op("Max", after[0], "v_min"), *after[1:]]
        for row in self.states:
            self.op("Identity", after[row], output=f"s{row}_next")

    def _advanced(self, row: int) -> str:
        """s* of one state."""
        states = [f"s{column}" for column in self.states]
        now = self.weighted("", row, states, "x")
        late = self.weighted("late_", row, states, "x")
        if late is not None:
            now = self.total(now, self.op("Mul", self.f, late))
        if not self.structure.has(f"a{row}_", f"b{row}"):
            now = self.total(self.op("Mul", "x", self.number(0.0)), now)  # in the shape of the state
        return now or "x"

    def _held(self) -> str:
        """The membrane of a resting neuron: where the reset has brought it."""
        if not self.structure.resets_late:
            return "s0"
        reset = self.total(self.weighted("reset_", 0, [f"s{column}" for column in self.states]),
                           "spike_c0" if "spike_c0" in self.structure.terms else None)
        return "s0" if reset is None else self.op("Add", "s0", self.op("Mul", "f", reset))

    def _spikes(self, starred: list[str]) -> str:
        """How many spikes a neuron gives that does not rest."""
        over = self._over(starred)
        if not self.structure.many:
            return self.cast(over)
        count = self.op("Floor", self.op("Div", starred[0], self._threshold(starred)))
        return self.op("Where", over, count, self.number(0.0))

    def _over(self, states: list[str]) -> str:
        """Whether the membrane stands where it fires."""
        return self.op("GreaterOrEqual" if self.structure.at else "Greater", states[0], self._threshold(states))

    def _threshold(self, states: list[str]) -> str:
        threshold = "threshold"
        for row in self.states:
            if f"gain{row}" in self.structure.terms:
                threshold = self.op("Add", threshold, self.op("Mul", f"gain{row}", states[row]))
        return threshold

    def _reset(self, row: int, starred: list[str], spikes: str, fired: str) -> str:
        value = starred[row]
        reset = self.weighted("reset_", row, starred)
        if reset is not None:
            value = self.op("Add", value, self.op("Mul", fired, reset))
        added: str | None = None
        for factor, term in ((spikes, f"spike_c{row}"), (self.f, f"late_after{row}")):
            if term in self.structure.terms:
                added = self.total(added, self.op("Mul", factor, term))
        return value if added is None else self.op("Add", value, added)

    def weighted(self, prefix: str, row: int, states: list[str], given: str | None = None) -> str | None:
        """A row of a matrix times the states, plus what is given times its gain, plus the constant; None if zero."""
        total: str | None = None
        terms = [(f"{prefix}a{row}_{column}", state) for column, state in enumerate(states)]
        for term, factor in [*terms, (f"{prefix}b{row}", given), (f"{prefix}c{row}", None)]:
            if term in self.structure.terms:
                total = self.total(total, term if factor is None else self.op("Mul", term, factor))
        return total

    def total(self, one: str | None, other: str | None) -> str | None:
        return one or other if one is None or other is None else self.op("Add", one, other)

    def op(self, kind: str, *inputs: str, output: str | None = None) -> str:
        name = output or f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [name]))
        return name

    def number(self, value: float) -> str:
        """A number in the type of the arithmetic."""
        name = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node("Constant", [], [name], value_float=value))
        return self.cast(name)

    def cast(self, value: str) -> str:
        return self.op("CastLike", value, "x")
