"""Synapses that do not learn and are no dense matrix without delays: listed by source."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from ...ir.integer.network import IntegerConv, IntegerProjection, IntegerSparse, held_weight
from ...ir.nodes import Array

__all__ = ["Entries", "entries_of"]


@dataclass(frozen=True, slots=True, eq=False)
class Entries:
    """Of source j, `places[starts[j]:starts[j + 1]]`, delay * lanes + target, and as many `weights`, int32."""

    starts: Array
    places: Array
    weights: Array
    delays: int


def entries_of(projection: IntegerProjection, n_pre: int, lanes: int) -> Entries:
    """A projection of any kind; a delay of 0 arrives one column later."""
    connection, weight = projection.connection, held_weight(projection)
    if isinstance(connection, IntegerConv):
        source, target, values = _unrolled(connection, weight)
    elif isinstance(connection, IntegerSparse):
        source, values = connection.indices.astype(np.int64), weight
        target = np.repeat(np.arange(len(connection.indptr) - 1), np.diff(connection.indptr))
    else:
        target, source = np.indices(weight.shape).reshape(2, -1)
        values = weight.reshape(-1)
    delay = np.zeros(len(values), dtype=np.int64) if projection.delay is None else projection.delay.reshape(-1)
    order = np.argsort(source, kind="stable")
    starts = np.concatenate([[0], np.cumsum(np.bincount(source, minlength=n_pre))]).astype(np.int64)
    return Entries(starts, (delay * lanes + target)[order].astype(np.int32), values[order].astype(np.int32),
                   1 + int(delay.max(initial=0)))


def _unrolled(conv: IntegerConv, weight: Array) -> tuple[Array, Array, Array]:
    """Sources, targets and weights of all synapses of a stencil."""
    features, channels, height, width = weight.shape
    index = torch.arange(int(np.prod(conv.input_shape)), dtype=torch.float64).reshape(1, *conv.input_shape) + 1
    patches = torch.nn.functional.unfold(index, (height, width), conv.dilation, conv.padding, conv.stride)[0]
    source = patches.numpy().astype(np.int64).reshape(conv.groups, channels * height * width, -1) - 1
    places = source.shape[-1]
    grouped = weight.reshape(conv.groups, features // conv.groups, channels * height * width)
    target = np.arange(features * places).reshape(conv.groups, -1, 1, places)
    shape = conv.groups, features // conv.groups, channels * height * width, places
    source, target, values = (np.broadcast_to(each, shape) for each in (
        source[:, None], target, grouped[..., None]))
    inside = (source >= 0) & (values != 0)
    return source[inside], target[inside], values[inside].astype(np.int32)
