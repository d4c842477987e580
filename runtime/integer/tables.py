"""The synapses of a projection as the kernels read them: 16 bits a weight, ordered by source."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from ...ir.integer.network import IntegerConv, IntegerDense, IntegerProjection, IntegerSparse, held_weight
from ...ir.nodes import Array
from ..clock.lists import GROUP, sums_of_groups
from .kernels import blocks_of

__all__ = ["Table", "is_own", "rows_of", "tables_of"]

_ROWS, _ENTRIES, _STENCIL = range(3)
_WHOLE_SUM = 128
"""Weights of 9 bits whose sum is one of 16 bits."""
_MOST_PLACES = 1 << 31
"""A place, delay * n + target, has 32 bits."""


@dataclass(frozen=True, slots=True)
class Table:
    """The fields of a `Path` that follow from the network alone. `scratch`: whether sums are made apart."""

    numbers: dict[str, int]
    tensors: dict[str, Tensor]
    scratch: bool = field(default=False)


def is_own(projection: IntegerProjection) -> bool:
    """Whether a projection of a population onto itself brings each neuron only what it sends itself, a column later."""
    connection, delay = projection.connection, projection.delay
    if not isinstance(connection, IntegerSparse) or (delay is not None and delay.any()):
        return False
    n = len(connection.indptr) - 1
    return len(connection.indices) == n and bool(
        (connection.indptr == np.arange(n + 1)).all() and (connection.indices == np.arange(n)).all())


def rows_of(projection: IntegerProjection, lanes: int, grouped: bool, device: torch.device) -> Table:
    """A dense projection without delays: (block, source, lane), or the sums of groups of four sources."""
    weight = held_weight(projection).astype(np.int16)
    n, count = weight.shape
    blocks = blocks_of(n, lanes)
    if grouped:
        table = sums_of_groups(torch.from_numpy(np.ascontiguousarray(weight.T)), blocks, lanes)
        n_table, most = table.shape[1], _WHOLE_SUM // GROUP
    else:
        packed = np.zeros((count, blocks * lanes), dtype=np.int16)
        packed[:, :n] = weight.T
        table = torch.from_numpy(np.ascontiguousarray(packed.reshape(count, blocks, lanes).transpose(1, 0, 2)))
        n_table, most = count, _WHOLE_SUM
    return Table({"kind": _ROWS, "n": n, "n_table": n_table, "most": most, "exponent": projection.exponent},
                 {"table": table.to(device)})


def tables_of(projection: IntegerProjection, lanes: int, n_source: int, n_target: int,
              device: torch.device) -> list[Table]:
    """Any projection, for spikes that are delivered one by one: one table, or one for each delay where sums of
    different delays are shifted apart."""
    connection, delay = projection.connection, projection.delay
    if isinstance(connection, IntegerConv):
        return [_stencil(projection, connection, device)]
    if isinstance(connection, IntegerDense) and delay is None:
        return [rows_of(projection, lanes, False, device)]
    weight, (post, pre) = held_weight(projection).astype(np.int16).ravel(), _places(connection)
    late = np.zeros(weight.shape, dtype=np.int32) if delay is None else delay.astype(np.int32).ravel()
    used = np.flatnonzero(weight)
    ordered = used[np.lexsort((post[used], late[used], pre[used]))]
    apart = projection.exponent < 0 or n_target * (int(late.max(initial=0)) + 1) > _MOST_PLACES
    tables = []
    for each in np.unique(late[ordered]) if apart else [None]:
        chosen = ordered if each is None else ordered[late[ordered] == each]
        places = post[chosen] if apart else late[chosen] * np.int32(n_target) + post[chosen]
        starts = np.searchsorted(pre[chosen], np.arange(n_source + 1)).astype(np.int64)
        numbers = {"kind": _ENTRIES, "n": n_target, "exponent": projection.exponent, "delay": int(each or 0)}
        tensors = {name: torch.from_numpy(array).to(device)
                   for name, array in (("starts", starts), ("places", places), ("table", weight[chosen]))}
        tables.append(Table(numbers, tensors, scratch=projection.exponent < 0))
    return tables


def _places(connection: IntegerDense | IntegerSparse) -> tuple[Array, Array]:
    """Target and source of each synapse."""
    if isinstance(connection, IntegerDense):
        post, pre = np.indices(connection.weight.shape, dtype=np.int32)
        return post.ravel(), pre.ravel()
    rows = np.arange(len(connection.indptr) - 1, dtype=np.int32)
    return np.repeat(rows, np.diff(connection.indptr)), connection.indices.astype(np.int32)


def _stencil(projection: IntegerProjection, conv: IntegerConv, device: torch.device) -> Table:
    """(source channel, row, column, target feature of the group)."""
    weight = held_weight(projection).astype(np.int16)
    features, channels, height, width = weight.shape
    grouped = weight.reshape(conv.groups, features // conv.groups, channels, height, width)
    table = np.ascontiguousarray(grouped.transpose(0, 2, 3, 4, 1))
    pairs = {("out_height", "out_width"): conv.output_shape[1:], ("height", "width"): conv.input_shape[1:],
             ("pad_top", "pad_left"): conv.padding, ("step_down", "step_right"): conv.stride,
             ("hole_down", "hole_right"): conv.dilation, ("kernel_height", "kernel_width"): (height, width)}
    numbers = {name: int(value) for names, values in pairs.items() for name, value in zip(names, values, strict=True)}
    numbers |= {"kind": _STENCIL, "n": int(np.prod(conv.output_shape)), "exponent": projection.exponent,
                "groups": conv.groups, "group_channels": channels}
    return Table(numbers, {"table": torch.from_numpy(table).to(device)}, scratch=True)
