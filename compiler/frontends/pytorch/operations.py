"""Functions and methods that may stand between modules: sums, scalings, reshapes that only flatten."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from ....ir.diagnostics import UnsupportedError
from ....ir.nodes import Array, BatchNorm, Scale
from .conversion import Argument, Conversion, Signal, State, array_of
from .functional import FUNCTIONS

__all__ = ["OPERATIONS", "unsupported"]


@dataclass(frozen=True, slots=True)
class _ShapeOf:
    value: Any


@dataclass(frozen=True, slots=True)
class _BatchSize:
    pass


def unsupported(conversion: Conversion, where: str, message: str, **facts: Any) -> UnsupportedError:
    """The error for an operation, to be raised: what follows it cannot be converted."""
    conversion.fail("SC226", message, node=where, **facts)
    return UnsupportedError(*conversion.faults.errors)


def _add(conversion: Conversion, where: str, *terms: Any, **options: Any) -> Signal:
    if options:
        raise unsupported(conversion, where, "add takes no options", value=", ".join(options))
    constants = [array_of(term) if hasattr(term, "detach") else np.asarray(term)
                 for term in terms if _is_constant(term)]
    parts = [term for term in terms if not _is_constant(term)]
    shape = next((part.shape for part in parts if isinstance(part, Signal)), None)
    total = conversion.sum([conversion.signal(part, where, shape) for part in parts or terms], where)
    for constant in constants:
        total = _shifted(conversion, where, total, constant)
    return total


def _is_constant(value: Any) -> bool:
    return hasattr(value, "detach") or (isinstance(value, (int, float)) and not isinstance(value, bool))


def _shifted(conversion: Conversion, where: str, source: Signal, constant: Array) -> Signal:
    """A constant added to each channel, as a normalisation that does nothing else."""
    if not constant.any():
        return source
    while constant.ndim > len(source.shape) and constant.shape[0] == 1:
        constant = constant[0]
    channels = source.shape[0]
    try:
        each = np.broadcast_to(constant, source.shape).reshape(channels, -1).astype(np.float64)
    except ValueError:
        each = np.empty((0, 0))
    if not each.size or (each != each[:, :1]).any():
        raise unsupported(conversion, where, "a constant that is added is one number, or one a channel",
                          value=constant.shape, limit=source.shape)
    plain = {"mean": np.zeros(channels), "variance": np.full(channels, 1 - 2.0**-10), "gamma": np.ones(channels)}
    return conversion.add(where, BatchNorm(**plain, beta=each[:, 0], eps=2.0**-10), source)


def _multiply(conversion: Conversion, where: str, one: Any, other: Any, divide: bool = False) -> Signal:
    if not isinstance(one, (Signal, Argument)) and not divide:
        one, other = other, one
    source = conversion.signal(one, where)
    factor = array_of(other) if hasattr(other, "detach") else other
    try:
        scale = np.broadcast_to(np.asarray(factor, dtype=np.float64), source.shape)
    except (TypeError, ValueError):
        raise unsupported(conversion, where, "a product is of spikes and constants that spread over them",
                          value=type(other).__name__) from None
    return conversion.add(where, Scale(scale=1.0 / scale if divide else scale), source)


def _subtract(conversion: Conversion, where: str, one: Any, other: Any, **options: Any) -> Signal:
    if options:
        raise unsupported(conversion, where, "sub takes no options", value=", ".join(options))
    return _add(conversion, where, one, -other if _is_constant(other) else
                _negative(conversion, f"{where}.minus", other))


def _negative(conversion: Conversion, where: str, value: Any) -> Signal:
    return _multiply(conversion, where, value, -1.0)


def _divide(conversion: Conversion, where: str, one: Any, other: Any) -> Signal:
    return _multiply(conversion, where, one, other, divide=True)


def _get_item(conversion: Conversion, where: str, value: Any, index: Any) -> Any:
    if isinstance(value, tuple) and isinstance(index, int) and -len(value) <= index < len(value):
        return value[index]
    if isinstance(value, _ShapeOf) and isinstance(index, int):
        return _size(conversion, where, value.value, index)
    raise unsupported(conversion, where, "only tuples and shapes are indexed; channels cannot be picked",
                      value=repr(index)[:80],
                      remedy="Where this is a step of a sequence, pass a sample of at least two steps.")


def _get_attribute(conversion: Conversion, where: str, value: Any, name: str) -> Any:
    if name == "shape":
        return _ShapeOf(value)
    if isinstance(value, State):
        return State(value.owner, name)
    raise unsupported(conversion, where, f"the attribute '{name}' of a tensor is not known")


def _size(conversion: Conversion, where: str, value: Any, axis: int | None = None) -> Any:
    if axis is None:
        return _ShapeOf(value)
    if 0 <= axis < conversion.lead:
        return _BatchSize()
    return (*(0,) * conversion.lead, *conversion.signal(value, where).shape)[axis]


def _flatten(conversion: Conversion, where: str, value: Any, start_dim: int = 0, end_dim: int = -1) -> Signal:
    return conversion.flatten(conversion.signal(value, where), where, start_dim, end_dim)


def _reshape(conversion: Conversion, where: str, value: Any, *sizes: Any) -> Signal:
    sizes = tuple(sizes[0]) if len(sizes) == 1 and isinstance(sizes[0], (tuple, list)) else sizes
    source = conversion.signal(value, where)
    if conversion.gives is not None:
        return _shaped(conversion, where, source, conversion.gives)
    batch = [isinstance(size, _BatchSize) for size in sizes]
    flat = len(sizes) == 2 and (batch[0] or sizes[0] == -1) and sizes[1] in (-1, prod(source.shape))
    if flat or (len(sizes) == 2 and sizes[1] == -1):
        return conversion.flatten(source, where, 1, -1)
    if sizes and (batch[0] or sizes[0] == -1) and tuple(sizes[1:]) == source.shape:
        return source
    raise unsupported(conversion, where, "a reshape may only flatten all axes but the batch",
                      value=", ".join("batch" if is_batch else str(size)
                                      for is_batch, size in zip(batch, sizes, strict=True)),
                      limit=source.shape)


def _shaped(conversion: Conversion, where: str, source: Signal, shape: tuple[int, ...]) -> Signal:
    """A reshape to samples of `shape`, if it only joins neighbouring axes."""
    if shape == source.shape:
        return source
    for first in range(len(source.shape)):
        for last in range(first, len(source.shape)):
            joined = (*source.shape[:first], prod(source.shape[first:last + 1]), *source.shape[last + 1:])
            if joined == shape:
                return conversion.flatten(source, where, first + conversion.lead, last + conversion.lead)
    raise unsupported(conversion, where, "a reshape may only join axes of a sample", value=shape, limit=source.shape)


def _stack(conversion: Conversion, where: str, values: Any, *axis: Any, **options: Any) -> Any:
    """Over a single time step there is nothing to stack."""
    if len(values) != 1:
        raise unsupported(conversion, where, "what is stacked are not the steps of one value", value=len(values),
                          remedy="Stack one value of every step, in order.")
    return values[0]


def _same(conversion: Conversion, where: str, value: Any, *rest: Any, **options: Any) -> Any:
    return value


def _cast(conversion: Conversion, where: str, value: Any, *rest: Any, **options: Any) -> Any:
    raise unsupported(conversion, where, "a cast to whole numbers cuts off fractions, which a graph does not",
                      value=", ".join(str(each) for each in (*rest, *options.values())), remedy="Leave it out.")


def _dropout(conversion: Conversion, where: str, value: Any, p: float = 0.5, training: bool = True,
             inplace: bool = False) -> Any:
    if training and p:
        raise unsupported(conversion, where, "a dropout that is always on is random in eval mode, too",
                          value=f"p={p:g}", remedy="Use nn.Dropout, or give it training=self.training.")
    return value


Operation = Callable[..., Any]
OPERATIONS: Mapping[str, Operation] = {
    "add": _add, "iadd": _add, "add_": _add, "mul": _multiply, "imul": _multiply, "multiply": _multiply,
    "truediv": _divide, "div": _divide, "divide": _divide, "sub": _subtract, "subtract": _subtract, "neg": _negative,
    "mul_": _multiply, "div_": _divide, "itruediv": _divide, "sub_": _subtract, "isub": _subtract,
    "getitem": _get_item, "getattr": _get_attribute, "size": _size,
    "flatten": _flatten, "view": _reshape, "reshape": _reshape, "stack": _stack,
    **dict.fromkeys(("clone", "contiguous", "detach", "double", "float"), _same),
    **dict.fromkeys(("to", "type", "type_as", "int", "long", "bool"), _cast),
    **dict.fromkeys(("dropout", "dropout1d", "dropout2d"), _dropout),
    **FUNCTIONS,
    **dict.fromkeys(("eq", "_assert", "_assert_is_none"), _same),  # what a trace does with arguments that have defaults
}
"""By the name of the function or method: `operation(conversion, where, *arguments)`."""
