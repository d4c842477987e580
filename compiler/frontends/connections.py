"""Weights as users give them (dense, sparse, described) -> connection nodes."""

from __future__ import annotations

from typing import Any, NoReturn

import numpy as np

from ...ir.conform import MAX_SIZE, is_shape
from ...ir.diagnostics import BadInputError, Diagnostics
from ...ir.nodes import Affine, Array, Linear, SparseLinear
from .initialisers import Initialiser

__all__ = ["dense_node", "is_sparse", "sparse_node", "spread", "values_of"]


def is_sparse(weight: Any) -> bool:
    """Whether `weight` is (rows, columns, values), or a sparse matrix as scipy's."""
    return (isinstance(weight, tuple) and len(weight) == 3) or hasattr(weight, "tocoo")


def dense_node(name: str, weight: Any, bias: Any, delay: Any, n_in: int, n_out: int | None) -> Linear:
    """`Linear`, or `Affine` where there is a bias. `weight`: an (out, in) array or an initialiser.

    Raises:
        BadInputError: shapes that do not agree, values that are no numbers.
    """
    if isinstance(weight, Initialiser) and n_out is None:
        _fail(name, "an initialiser needs to know the number of rows", remedy="Give `n_out`.")
    weight = values_of(name, "weight", weight, None if n_out is None else (n_out, n_in))
    if weight.ndim != 2 or weight.shape[1] != n_in or n_out not in (None, weight.shape[0]):
        _fail(name, "a dense weight is (out, in)", value=weight.shape, limit=("out" if n_out is None else n_out, n_in))
    delay = None if delay is None else spread(name, "delay", values_of(name, "delay", delay), weight.shape)
    if bias is None:
        return Linear(weight=weight, delay=delay)
    bias = spread(name, "bias", values_of(name, "bias", bias, weight.shape[:1]), weight.shape[:1])
    return Affine(weight=weight, bias=bias, delay=delay)


def sparse_node(name: str, weight: Any, bias: Any, delay: Any, n_in: int, n_out: int | None) -> SparseLinear:
    """`SparseLinear` from (rows, columns, values) in any order, or from a scipy sparse matrix. `delay` follows the
    order of the values given.

    Raises:
        BadInputError: an index out of range, a synapse given twice, lengths that differ, values that are no numbers.
    """
    if hasattr(weight, "tocoo"):
        matrix = weight.tocoo()
        if n_out is not None and matrix.shape[0] != n_out:
            _fail(name, "the weight needs one row for each target neuron", value=matrix.shape[0], limit=n_out)
        if matrix.shape[1] != n_in:
            _fail(name, "the weight needs one column for each source neuron", value=matrix.shape[1], limit=n_in)
        n_out = int(matrix.shape[0])
        weight = (matrix.row, matrix.col, matrix.data)
    if n_out is None:
        _fail(name, "(rows, columns, values) does not say how many rows there are", remedy="Give `n_out`.")
    if not is_shape((n_out,)):
        _fail(name, "`n_out` is a positive whole number", value=repr(n_out), limit=MAX_SIZE)
    rows, columns = (_indices(name, label, each, limit)
                     for label, each, limit in (("row", weight[0], n_out), ("column", weight[1], n_in)))
    values = values_of(name, "weight", weight[2], rows.shape)
    values = spread(name, "weight", values, rows.shape)
    if columns.shape != rows.shape:
        _fail(name, "rows and columns differ in length", value=(len(rows), len(columns)))
    order = np.lexsort((columns, rows))
    twice = np.flatnonzero((np.diff(rows[order]) == 0) & (np.diff(columns[order]) == 0))
    if len(twice):
        at = order[twice[0]]
        _fail(name, "a synapse is given more than once", value=f"row {rows[at]}, column {columns[at]}",
              remedy="Add up its weights, or use two connections.")
    indptr = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=n_out))])
    if bias is not None:
        bias = spread(name, "bias", values_of(name, "bias", bias, (n_out,)), (n_out,))
    if delay is not None:
        delay = spread(name, "delay", values_of(name, "delay", delay), rows.shape)[order]
    return SparseLinear(size=(n_out, n_in), indptr=indptr, indices=columns[order], weight=values[order], bias=bias,
                        delay=delay)


def values_of(name: str, label: str, value: Any, shape: tuple[int, ...] | None = None) -> Array:
    """`value` as a float array; an initialiser is drawn in `shape`.

    Raises:
        BadInputError: what is no real number.
    """
    if isinstance(value, Initialiser):
        if shape is None:
            _fail(name, f"'{label}' cannot be drawn: its shape is not known here", remedy="Give an array.")
        if not is_shape(shape):
            _fail(name, f"'{label}' cannot be drawn: sizes are positive whole numbers", value=shape,
                  limit=f"{MAX_SIZE} elements")
        return value(shape)
    if hasattr(value, "detach"):
        value = value.detach().cpu()
    try:
        array = np.array(value)
        if array.dtype.kind not in "fiub":
            raise TypeError
    except (TypeError, ValueError):
        _fail(name, f"'{label}' must be a number or an array of numbers", value=type(value).__name__)
    return array if array.dtype in (np.float32, np.float64) else array.astype(np.float64)


def spread(name: str, label: str, value: Array, shape: tuple[int, ...]) -> Array:
    """`value` broadcast to `shape`.

    Raises:
        BadInputError: it does not fit.
    """
    try:
        return np.broadcast_to(value, shape)
    except ValueError:
        _fail(name, f"'{label}' has the wrong shape", value=value.shape, limit=shape)


def _indices(name: str, label: str, value: Any, limit: int) -> Array:
    indices = np.asarray(value)
    if indices.ndim != 1 or (indices.size and indices.dtype.kind not in "iu"):
        _fail(name, f"{label} indices must be a one-dimensional array of whole numbers", value=indices.dtype)
    indices = indices.astype(np.int64)
    if indices.size and (indices.min() < 0 or indices.max() >= limit):
        bad = indices[(indices < 0) | (indices >= limit)][0]
        _fail(name, f"a {label} index is out of range", value=bad, limit=f"0..{limit - 1}")
    return indices


def _fail(name: str, message: str, **facts: Any) -> NoReturn:
    faults = Diagnostics()
    faults.add("SC201", message, node=name, **facts)
    raise BadInputError(*faults.found)
