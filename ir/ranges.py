"""The legal ranges of values, shared by the checks of the model graph and of the lowered network.

Each function reports to `faults` and never raises. NaN and inf are judged by `check_finite` alone.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .conform import expected, malformed, stored
from .diagnostics import Diagnostics
from .facts import check_dt
from .graph import Discretization
from .nodes import Array, Pair

__all__ = ["check_csr", "check_discretization", "check_finite", "check_name", "check_range", "check_reset"]

MAX_NAME = 255

POSITIVE = frozenset({"tau", "tau_mem", "tau_syn", "zone"})
NOT_NEGATIVE = frozenset({"refractory", "delay", "variance"})
_PART = 1 << 18
"""Values that are judged at a time."""


def check_name(name: object, faults: Diagnostics) -> None:
    """Reports a name that no node may have."""
    if not isinstance(name, str):
        faults.add("SC109", "a node's name is text", node=name, value=type(name).__name__)
    elif not name.isprintable() or not all(name.split(".")) or len(name) > MAX_NAME:
        faults.add("SC109", "a node's name is printable text without empty parts between dots",
                   value=repr(name[:MAX_NAME]), limit=f"1 to {MAX_NAME} characters", remedy="Rename the node.")


def check_finite(name: str, value: Array, node: str, faults: Diagnostics) -> None:
    """Reports the first NaN or inf of a parameter."""
    flat = stored(value).ravel(order="K")  # as it lies in memory, without a copy
    for first in range(0, flat.size, _PART):
        part = flat[first:first + _PART]
        finite = np.isfinite(part)
        if not finite.all():
            faults.add("SC104", f"{name} is not finite", node=node, value=part[~finite][0])
            return


def check_range(name: str, value: Array, node: str, faults: Diagnostics) -> None:
    """Reports a time constant or a zone that is not positive; a delay, a refractory period or a variance that is
    negative."""
    value = stored(value)
    if name in POSITIVE and (value <= 0).any():
        faults.add("SC103", f"{name} must be positive", node=node, value=value[value <= 0][0], limit="> 0")
    if name in NOT_NEGATIVE and (value < 0).any():
        faults.add("SC103", f"{name} must not be negative", node=node, value=value[value < 0][0], limit=">= 0")


def check_reset(rule: str, v_threshold: Array, v_reset: Array, node: str, faults: Diagnostics) -> None:
    """Reports a reset that does not bring the membrane below the threshold. The arrays have one shape.

    Subtraction takes v_threshold from a membrane just above it, and so needs v_threshold > 0, as reset to zero does.
    """
    threshold = stored(v_threshold)
    if rule == "v_reset":
        above = stored(v_reset) >= threshold
        if above.any():
            low, high = (np.broadcast_to(each, above.shape)[above][0] for each in (stored(v_reset), threshold))
            faults.add("SC103", "v_reset must be below v_threshold", node=node, value=low, limit=f"< {high}")
    elif (threshold <= 0).any():
        faults.add("SC103", f"v_threshold must be positive with reset '{rule}'", node=node,
                   value=threshold[threshold <= 0][0], limit="> 0")


def check_csr(size: Pair, indptr: Array, indices: Array, node: str, faults: Diagnostics) -> None:
    """Reports a sparse matrix that is no CSR of `size` with strictly ascending columns in each row."""
    rows, columns = size
    if indptr.ndim != 1 or indices.ndim != 1 or len(indptr) != rows + 1:
        faults.add("SC115", "indptr has one entry per row and one more; indices has one axis", node=node,
                   value=(indptr.shape, indices.shape), limit=((rows + 1,), ("nnz",)))
    elif indptr[0] != 0 or indptr[-1] != len(indices) or (np.diff(indptr) < 0).any():
        faults.add("SC115", "indptr must rise from 0 to the number of entries", node=node, value=indptr[:8],
                   limit=len(indices))
    elif len(indices) and (indices.min() < 0 or indices.max() >= columns):
        faults.add("SC115", "a column index is out of range", node=node,
                   value=indices[(indices < 0) | (indices >= columns)][0], limit=f"0..{columns - 1}")
    else:
        within = np.ones(len(indices), dtype=bool)
        within[indptr[:-1][indptr[:-1] < len(indices)]] = False
        if (np.diff(indices, prepend=-1)[within] <= 0).any():
            faults.add("SC115", "columns must ascend strictly within a row", node=node,
                       remedy="With scipy: matrix.sum_duplicates(), which also sorts.")


def check_discretization(record: Discretization | None, faults: Diagnostics, node: str | None = None) -> None:
    """Reports what is no discretisation at all, fields of the wrong type, a dt that is not positive, a negative delay,
    late resets of many spikes. `node`: whose own grid it is."""
    given: Any = record  # whatever a caller without a type checker hands over
    if given is None:
        return
    if not isinstance(given, Discretization):
        faults.add("SC116", "the discretization is none", node=node, value=repr(given)[:80],
                   remedy="Give spikec.Discretization(dt=…), dt in seconds.")
        return
    wrong = malformed(given)
    check_dt(given.dt, "SC116", faults, node)
    for name, value in wrong.items():
        if name == "dt":
            continue
        faults.add("SC116", f"discretization: {name} is malformed", node=node, value=repr(value),
                   limit=expected(Discretization, name))
    if "delay" not in wrong and given.delay < 0:
        faults.add("SC116", "discretization: delay must not be negative", node=node, value=given.delay,
                   limit=">= 0 steps")
    if given.spikes == "many" and given.reset == "next":
        faults.add("SC116", "discretization: many spikes a step are subtracted in the same step", node=node,
                   value="reset=next", limit="reset=same")
