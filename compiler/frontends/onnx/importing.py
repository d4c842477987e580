"""The graph under construction while the operations of an ONNX model are walked: values, names, constants.

A value of the model is a `Signal` (the batch axis is gone), an array, or None after a fault that has been told.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from ....ir.conform import is_shape
from ....ir.diagnostics import Diagnostics, SpikecError
from ....ir.nodes import Array, Flatten, Input, Node
from ..builder import Builder, Handle
from ..sums import each_once
from .constants import BATCH, FOLDS, Folder, Refusal, operator
from .program import Operation, Program

__all__ = ["Import", "Rule", "Signal", "known", "want"]

LONGEST_NAME = 200


@dataclass(frozen=True, slots=True)
class Signal:
    """What leaves some nodes, summed. `pads`: zeros that a Pad put around it, before and after each axis of the image,
    which the next operation is to take up."""

    handles: tuple[Handle, ...]
    pads: tuple[int, ...] | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one sample."""
        return self.handles[0].shape


class Import:
    """One model. `batch`: the size of its batch axis, where it has a fixed one."""

    def __init__(self, program: Program, faults: Diagnostics, budget: int) -> None:
        self.program, self.faults = program, faults
        self.builder, self.folder = Builder(), Folder(budget)
        self.values: dict[str, Signal | Array | None] = dict(program.constants)
        self.takers: dict[str, list[Operation]] = defaultdict(list)
        for operation in program.operations:
            for name in operation.inputs:
                self.takers[name].append(operation)
        self.givers = {name: operation for operation in program.operations for name in operation.outputs}
        self.batch: int | None = None
        self.names: set[str] = set()
        self.uses: dict[str, int] = defaultdict(int)

    def inputs(self) -> None:
        """Makes the input nodes."""
        for name, axes in self.program.inputs.items():
            if name not in self.takers and name not in self.program.outputs:
                continue
            shape = axes[1:]
            self.values[name] = None
            if not shape or not is_shape(shape):
                told = tuple("?" if axis is None else axis for axis in axes)
                self.faults.add("SC225", "an input is (batch, …), and all its axes but the batch have a fixed size",
                                node=name, value=told, remedy="Export the model with fixed sizes of the sample, above "
                                "0. An axis of time has no place in a network without spikes: export one step, or give "
                                "the module of a spiking network to from_torch.")
                continue
            self.batch = axes[0] if axes[0] else self.batch
            handle = self.builder.add(self.free_name(name, ""), Input(shape=tuple(int(size or 0) for size in shape)))
            self.values[name] = Signal((handle,))

    def walk(self, rules: dict[str, Rule]) -> None:
        """Takes in all operations by `rules`, each of which gives the first output; tells every fault."""
        for operation in self.program.operations:
            operands = [self.values.get(name) if name else None for name in operation.inputs]
            lost = any(name and operand is None for name, operand in zip(operation.inputs, operands, strict=True))
            result: Signal | Array | None = None
            try:
                if not lost:
                    result = self._result(operation, operands, rules)
            except Refusal as refusal:
                self.faults.add(refusal.code, refusal.message, node=operation.name,
                                **{"value": operation.kind, **refusal.facts})
            except SpikecError as error:
                self.faults.extend(error.diagnostics)
            except (KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError) as error:
                self.faults.add("SC240", f"the operation is malformed: {type(error).__name__} {str(error)[:200]}",
                                node=operation.name, value=operation.kind,
                                remedy="onnx.checker.check_model tells more.")
            self.values.update(dict.fromkeys(operation.outputs))
            if operation.outputs:
                self.values[operation.outputs[0]] = result

    def _result(self, operation: Operation, operands: list[Any], rules: dict[str, Rule]) -> Signal | Array:
        key = operator(operation)
        if key == "Shape":
            return self._shape(operation, operands[0])
        if all(operand is None or isinstance(operand, np.ndarray) for operand in operands):
            if key not in FOLDS:
                raise Refusal("an operation between constants is not supported", value=operation.kind)
            return self.folder.fold(operation, operands)
        if key not in rules:
            raise Refusal("an operation on a signal is not supported", value=operation.kind)
        padded = [operand for operand in operands if isinstance(operand, Signal) and operand.pads is not None]
        if padded and key not in ("Conv", "AveragePool", "Identity", "Dropout"):
            raise Refusal("zeros are padded in front of what is no convolution or mean", value=operation.kind)
        return rules[key](self, operation, *operands)

    def _shape(self, operation: Operation, operand: Any) -> Array:
        sizes = list(operand.shape) if isinstance(operand, np.ndarray) else [BATCH, *operand.shape]
        return np.array(sizes[operation.settings.get("start", 0):operation.settings.get("end")], dtype=np.int64)

    # ---- for the rules

    def add(self, operation: Operation, node: Node, *signals: Signal) -> Signal:
        """Adds a node, named after the operation."""
        handles = [handle for signal in signals for handle in signal.handles]
        return Signal((self.builder.add(self.free_name(operation.name, operation.kind), node, *handles),))

    def sum(self, operation: Operation, *signals: Signal) -> Signal:
        """The sum of signals of one shape; what is in it more than once is scaled."""
        handles = [handle for signal in signals for handle in signal.handles]
        return Signal(each_once(self.builder, handles, lambda handle, count: self.free_name(
            operation.name, operation.kind)))

    def reshape(self, operation: Operation, signal: Signal, shape: tuple[int, ...]) -> Signal:
        """Axes of one sample put together, as `shape` says.

        Raises:
            Refusal: it asks for more.
        """
        runs, at = [], 0
        for size in shape:
            start, found = at, 1
            while at < len(signal.shape) and (found < size or (at == start and found == size)):
                found *= signal.shape[at]
                at += 1
            if found != size:
                raise _not_flat(signal.shape, shape)
            runs.append((start, at))
        if runs and prod(signal.shape[at:]) == 1:
            runs[-1] = (runs[-1][0], len(signal.shape))
            at = len(signal.shape)
        if not runs or at != len(signal.shape) or any(end == start for start, end in runs):
            raise _not_flat(signal.shape, shape)
        for start, end in reversed(runs):
            if end - start > 1:
                signal = self.add(operation, Flatten(start_dim=start, end_dim=end - 1), signal)
        return signal

    def only_taker(self, value: str) -> Operation | None:
        """The one operation that takes a value, if nothing else does."""
        takers = self.takers[value]
        return takers[0] if len(takers) == 1 and value not in self.program.outputs else None

    def ends(self, value: str) -> bool:
        """Whether a value is an output of the model and goes nowhere else, but through what changes no value."""
        waiting = [value]
        while waiting:
            name = waiting.pop()
            takers = self.takers[name]
            if any(taker.kind not in ("Identity", "Cast") for taker in takers) or not (
                    takers or name in self.program.outputs):
                return False
            waiting.extend(taker.outputs[0] for taker in takers)
        return True

    def node(self, handle: Handle) -> Node:
        return self.builder.node(handle.name)

    def warn(self, operation: Operation, message: str, **facts: Any) -> None:
        self.faults.add("SC243", message, node=operation.name, severity="warning", **facts)

    def free_name(self, name: str, kind: str) -> str:
        """A legal name that is not taken, near the model's own: `/conv1/Conv` becomes `conv1`."""
        parts = [re.sub(r"[^\w-]", "_", part, flags=re.ASCII) for part in re.split(r"[/.:]+", name)]
        parts = [part for part in parts if part.strip("_")]
        if kind and len(parts) > 1 and re.fullmatch(rf"{re.escape(kind)}(_\d+)?", parts[-1]):
            parts.pop()
        base = ".".join(parts)[:LONGEST_NAME].strip(".") or kind.lower() or "value"
        free = base
        while free in self.names:
            self.uses[base] += 1
            free = f"{base}_{self.uses[base] + 1}"
        self.names.add(free)
        return free


Rule = Callable[..., Signal]


def want(given: bool, what: str) -> None:
    """Raises:
        Refusal: the operands are not those that a rule takes.
    """
    if not given:
        raise Refusal(f"only {what} can be taken in")


def known(*operands: Any) -> bool:
    """Whether operands are constants, or left out."""
    return all(operand is None or isinstance(operand, np.ndarray) for operand in operands)


def _not_flat(given: tuple[int, ...], shape: tuple[int, ...]) -> Refusal:
    return Refusal("a reshape that does not only put axes of one sample together", value=f"{given} to {shape}",
                   remedy="A graph has Flatten only; give the input the shape that is needed.")
