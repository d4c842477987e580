"""Derived arrays: values that remember how they were computed from the parameters of the model graph.

Passes fold (Scale into Linear, BatchNorm into Conv2d, …) with the functions below. Each returns a plain numpy array
that also carries its expression, so the same folding can be evaluated again on torch tensors, and training speaks of
the user's parameters, not of folded ones. One table, `OPERATIONS`, holds every operation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from .nodes import Array

__all__ = [
    "OPERATIONS", "Apply", "Constant", "Derived", "Expr", "Leaf", "apply", "evaluate", "expr_of", "leaf", "leaves",
    "settled",
]


@dataclass(frozen=True, slots=True)
class Leaf:
    """Parameter `param` of node `node` of the model graph."""

    node: str
    param: str


@dataclass(frozen=True, slots=True, eq=False)
class Constant:
    value: Array


@dataclass(frozen=True, slots=True, eq=False)
class Apply:
    """`OPERATIONS[operation]` of `arguments`, with `static` settings that are no arrays of the model."""

    operation: str
    arguments: tuple[Expr, ...]
    static: tuple[Any, ...] = ()


Expr = Leaf | Constant | Apply


class Derived(np.ndarray[Any, np.dtype[Any]]):
    """A numpy array with the expression it came from. What numpy makes of it is an ordinary constant again."""

    expr: Expr | None

    def __array_finalize__(self, parent: object) -> None:
        self.expr = None

    def __reduce__(self) -> Any:
        plain = np.asarray(self)
        return plain.__reduce__() if self.expr is None else (_derived, (plain, self.expr))


def _take(values: Any, index: Array) -> Any:
    return values.reshape(-1)[index if isinstance(values, np.ndarray) else _on_device(index, values)]


def _columns(values: Any, index: Array) -> Any:
    return values[:, index if isinstance(values, np.ndarray) else _on_device(index, values)]


def _segment_sum(values: Any, index: Array, count: int) -> Any:
    if isinstance(values, np.ndarray):
        return np.bincount(index, weights=values, minlength=count).astype(values.dtype, copy=False)
    place = _on_device(index, values)
    if values.is_cuda:  # sorted there, so the order of the sum is fixed; on the CPU `index_add` is the serial one
        return values.new_zeros(count).index_put((place,), values, accumulate=True)
    return values.new_zeros(count).index_add(0, place, values)


def _on_device(index: Array, like: Any) -> Any:
    import torch

    return torch.as_tensor(index if index.flags.writeable else index.copy(), device=like.device)


# Written for what numpy and torch share; index arrays are numpy int64.
OPERATIONS: dict[str, Callable[..., Any]] = {
    "widen": lambda a: a,  # numpy values become float64, as those of all arithmetic do
    "add": lambda a, b: a + b,
    "subtract": lambda a, b: a - b,
    "multiply": lambda a, b: a * b,
    "divide": lambda a, b: a / b,
    "sqrt": lambda a: a**0.5,
    "matmul": lambda a, b: a @ b,
    "reshape": lambda a, shape: a.reshape(shape),
    "broadcast": lambda a, shape: np.broadcast_to(a, shape) if isinstance(a, np.ndarray) else a.expand(shape),
    "sum": lambda a, axes: a.sum(axes),
    "mean": lambda a, axes: a.mean(axes),
    "take": _take,
    "columns": _columns,
    # Sum of the values that share an index, (n,) -> (count,).
    "segment_sum": _segment_sum,
}
_REARRANGES = frozenset({"reshape", "broadcast", "take", "columns"})


def leaf(value: Array, node: str, param: str) -> Derived:
    """`value` as parameter `param` of `node`: the same memory, never a copy."""
    return _derived(value, Leaf(node, param))


def apply(operation: str, *arguments: Array, static: tuple[Any, ...] = ()) -> Derived:
    """The value of an operation on arrays, plain or derived, together with its expression. Arithmetic is done in
    float64; what only rearranges keeps the type, and the memory where numpy can."""
    dtype = None if operation in _REARRANGES else np.float64
    with np.errstate(all="ignore"):  # what overflows is found by the checks, and named
        value = OPERATIONS[operation](*(np.asarray(argument, dtype) for argument in arguments), *static)
    return _derived(value, Apply(operation, tuple(expr_of(argument) for argument in arguments), static))


def expr_of(value: Array) -> Expr:
    """The expression of an array; a plain array is a constant."""
    expr = getattr(value, "expr", None)
    return expr if expr is not None else Constant(np.asarray(value))


def evaluate(
    expr: Expr, parameters: Mapping[tuple[str, str], Any], constant: Callable[[Array], Any] = np.asarray
) -> Any:
    """The value of `expr` where `parameters[node, param]` are arrays or tensors; `constant` lifts a numpy constant."""
    match expr:
        case Leaf(node, param):
            return parameters[node, param]
        case Constant(value):
            return constant(value)
        case Apply(operation, arguments, static):
            return OPERATIONS[operation](*(evaluate(each, parameters, constant) for each in arguments), *static)


def settled(value: Array, constants: Mapping[tuple[str, str], Array]) -> Array:
    """The same array, of whose parameters those in `constants` are constants from now on."""
    def settle(expr: Expr) -> Expr:
        if isinstance(expr, Apply):
            return Apply(expr.operation, tuple(settle(each) for each in expr.arguments), expr.static)
        if isinstance(expr, Leaf) and (expr.node, expr.param) in constants:
            return Constant(np.asarray(constants[expr.node, expr.param]))
        return expr

    return _derived(value, settle(expr_of(value)))


def leaves(expr: Expr) -> set[Leaf]:
    """Every parameter that `expr` depends on."""
    if isinstance(expr, Apply):
        return set().union(*(leaves(argument) for argument in expr.arguments))
    return {expr} if isinstance(expr, Leaf) else set()


def _derived(value: Array, expr: Expr) -> Derived:
    result = np.asarray(value).view(Derived)
    result.flags.writeable = False
    result.expr = expr
    return result
