"""What spikes make synapses do: operations by target neuron, and the synapses that there are.

An operation is a spike that meets a weight that is not zero, as the core holds it. A convolution is never unrolled.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Self

import numpy as np

from ...ir.integer.network import (
    IntegerConnection,
    IntegerConv,
    IntegerDense,
    IntegerProjection,
    IntegerSparse,
    held_weight,
)
from ...ir.nodes import Array
from ..model import stencil_synapses

__all__ = ["Synapses"]

_MOST = 1 << 22
"""Weights looked at at once."""


@dataclass(frozen=True, slots=True, eq=False)
class Synapses:
    """`there`: in the layout of the connection's weights, which of them are not zero."""

    connection: IntegerConnection
    there: Array

    @classmethod
    def of(cls, projection: IntegerProjection) -> Self:
        """Those of a projection."""
        return cls(projection.connection, held_weight(projection) != 0)

    def operations(self, sent: Array) -> Array:
        """(n_target,): operations at each target neuron, where source i sends `sent[i]` spikes, (n_source,)."""
        connection, there = self.connection, self.there
        if isinstance(connection, IntegerDense):
            rows = max(1, _MOST // max(1, there.shape[1]))
            return np.concatenate([there[first:first + rows].astype(np.float64) @ sent
                                   for first in range(0, max(1, len(there)), rows)])
        if isinstance(connection, IntegerSparse):
            rows = np.repeat(np.arange(len(connection.indptr) - 1), np.diff(connection.indptr))
            met = np.where(there, sent[connection.indices], 0.0)
            return np.bincount(rows, weights=met, minlength=len(connection.indptr) - 1)
        return _correlated(connection, there.astype(np.float64), sent)

    @property
    def count(self) -> int:
        """Synapses with a weight that is not zero."""
        if isinstance(self.connection, IntegerConv):
            return round(float(self.operations(np.ones(prod(self.connection.input_shape))).sum()))
        return self.nonzero

    @property
    def nonzero(self) -> int:
        """Weights that are not zero: a stencil's own."""
        return int(np.count_nonzero(self.there))

    def dense(self, n_source: int, n_target: int) -> int:
        """Synapses if no weight were zero: of a stencil those that it reaches, of all else all to all."""
        connection = self.connection
        if not isinstance(connection, IntegerConv):
            return n_source * n_target
        pairs = stencil_synapses(connection.weight.shape[2:], connection.stride, connection.padding,
                                 connection.dilation, connection.input_shape[1:], connection.output_shape[1:])
        return pairs * connection.output_shape[0] * int(connection.weight.shape[1])


def _correlated(conv: IntegerConv, weight: Array, sent: Array) -> Array:
    """Cross-correlation with zeros around, one tap after the other."""
    features, channels, high, wide = weight.shape
    image = sent.reshape(conv.groups, channels, *conv.input_shape[1:])
    image = np.pad(image, ((0, 0), (0, 0), *((each, each) for each in conv.padding)))
    _, height, width = conv.output_shape
    grouped = weight.reshape(conv.groups, features // conv.groups, channels, high, wide)
    total = np.zeros((conv.groups, features // conv.groups, height, width))
    for row in range(high):
        for column in range(wide):
            top, left = row * conv.dilation[0], column * conv.dilation[1]
            seen = image[..., top:top + height * conv.stride[0]:conv.stride[0],
                         left:left + width * conv.stride[1]:conv.stride[1]][..., :height, :width]
            total += np.einsum("gfc,gchw->gfhw", grouped[..., row, column], seen)
    return total.reshape(-1)
