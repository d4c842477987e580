"""Where a run of an integer network stands after its last column, from which another one goes on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ..diagnostics import Diagnostics
from ..nodes import Array
from .checks import FIELDS
from .network import IntegerNetwork, IntegerProjection

__all__ = ["IntegerState", "check_state", "columns_under_way", "first_state"]

_32_BITS = -(1 << 31), (1 << 31) - 1
"""Of u too: what goes far over wraps once only, and stands beyond 24 bits."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class IntegerState:
    """By population, int32: `u` and `v` (batch, n), and `under_way` (batch, columns, n): what spikes that are sent will
    bring, from the next column on; `columns_under_way` says how many there are."""

    u: Mapping[str, Array]
    v: Mapping[str, Array]
    under_way: Mapping[str, Array]


def columns_under_way(network: IntegerNetwork) -> dict[str, int]:
    """By population: columns until the last spike that is sent has arrived."""
    def columns(projection: IntegerProjection) -> int:
        return 1 if projection.delay is None else 1 + int(projection.delay.max(initial=0))

    return {name: max(map(columns, incoming), default=0) for name, incoming in network.incoming.items()}


def first_state(network: IntegerNetwork, batch: int) -> IntegerState:
    """The state before the first column."""
    populations, late = network.populations, columns_under_way(network)

    def filled(n: int, value: Array | None) -> Array:
        made = np.zeros((batch, n), dtype=np.int32)
        made[:] = 0 if value is None else value
        return made

    return IntegerState(
        u={name: filled(each.n, each.u0) for name, each in populations.items()},
        v={name: filled(each.n, each.v0) for name, each in populations.items()},
        under_way={name: np.zeros((batch, late[name], each.n), dtype=np.int32) for name, each in populations.items()})


def check_state(network: IntegerNetwork, state: IntegerState, batch: int) -> IntegerState:
    """The state itself, if it is one of this network and of a batch of this size.

    Raises:
        BadInputError: with every fault at once (SC403).
    """
    faults, late = Diagnostics(), columns_under_way(network)
    for field, (low, high) in (("u", _32_BITS), ("v", FIELDS["v0"]), ("under_way", _32_BITS)):
        arrays = getattr(state, field)
        for name in sorted(set(network.populations).symmetric_difference(arrays)):
            faults.add("SC403", f"{field} of the state is not of these populations", node=name,
                       limit=", ".join(network.populations))
        for name, array in arrays.items():
            if name not in network.populations:
                continue
            n = network.size(name)
            wanted = (batch, late[name], n) if field == "under_way" else (batch, n)
            if array.shape != wanted or array.dtype.kind != "i":
                faults.add("SC403", f"{field} of the state has the wrong shape or type", node=name,
                           value=f"{array.dtype}{array.shape}", limit=f"signed integers {wanted}",
                           remedy="A state goes on with the network and the number of samples that it is of.")
            elif array.size and not (low <= array.min() and array.max() <= high):
                faults.add("SC403", f"{field} of the state does not fit its register", node=name,
                           value=(int(array.min()), int(array.max())), limit=f"{low}..{high}")
    faults.raise_if_errors()
    return state
