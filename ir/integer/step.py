"""The meaning of an integer network, column by column: plain numpy, the oracle of the emulator.

Bit for bit what Lava 0.10 computes under `fixed_pt` (AbstractPyLifModelFixed, PyLifModelBitAcc, PyDenseModelBitAcc,
PyDelayDenseModelBitAcc, PySparseModelBitAcc, PyDelaySparseModelBitAcc, PyConvModelFixed). All is computed in 64 bits,
and cut to 32 where Lava's arrays and channels are that wide. Column n is Lava's time step n + 1: what a source emits in
column t arrives in column t + 1 + delay, whether it is an input (a RingBuffer) or a population.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ..nodes import Array
from .checks import verify_integer
from .inputs import Rasters, check_rasters
from .network import (
    IntegerConv,
    IntegerNetwork,
    IntegerPopulation,
    IntegerProjection,
    IntegerSparse,
    held_weight,
)
from .state import IntegerState, check_state, columns_under_way, first_state

__all__ = [
    "IntegerResult", "activation", "integrate_lif", "simulate_integer", "step_lif", "weights_by_delay", "wrap",
]

LIMIT = 1 << 23
"""Of a register of 24 bits."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class IntegerResult:
    """By population, (batch, time, n): `u` and `v`, int32, after each column (v after the reset), where they were asked
    for, and `spikes`, uint8. `state`: from which a run goes on, where it was asked for."""

    spikes: Mapping[str, Array]
    u: Mapping[str, Array]
    v: Mapping[str, Array]
    state: IntegerState | None = None


def simulate_integer(network: IntegerNetwork, inputs: Rasters, steps: int | None = None,
                     state: IntegerState | None = None) -> IntegerResult:
    """Runs an integer network, and says where it stands then.

    Args:
        network: a legal integer network.
        inputs: by input, (batch, time, n) or (batch, time, *shape), whole numbers: what a projection without message
            bits takes for a spike where it is not zero.
        steps: columns; None: as many as the longest raster has.
        state: where an earlier run ended; None: before the first column.

    Raises:
        BadInputError: the network (SC101 to SC142), a raster or the state (SC403) is malformed.
    """
    rasters, batch, steps = check_rasters(verify_integer(network), inputs, steps)
    shape = {name: (batch, steps, population.n) for name, population in network.populations.items()}
    u = {name: np.zeros(each, dtype=np.int32) for name, each in shape.items()}
    v = {name: np.zeros(each, dtype=np.int32) for name, each in shape.items()}
    spikes = {name: np.zeros(each, dtype=np.uint8) for name, each in shape.items()}
    start = first_state(network, batch) if state is None else check_state(network, state, batch)
    late = columns_under_way(network)
    # What is under way, by target and column of arrival: each projection's sums are 32 bits wide, and so is their sum.
    arriving = {name: np.zeros((steps + late[name], batch, population.n), dtype=np.int64)
                for name, population in network.populations.items()}
    for name, under_way in start.under_way.items():
        arriving[name][:late[name]] = under_way.swapaxes(0, 1)
    paths = [(projection, weights_by_delay(projection)) for projection in network.projections]
    now = {name: (start.u[name].astype(np.int64), start.v[name].astype(np.int64)) for name in network.populations}
    for column in range(steps):
        for name, population in network.populations.items():
            *after, fired = step_lif(population, *now[name], wrap(arriving[name][column], 32))
            now[name] = u[name][:, column], v[name][:, column] = after[0], after[1]
            spikes[name][:, column] = fired
        for projection, by_delay in paths:
            source = rasters.get(projection.source, spikes.get(projection.source))
            if source is None or column >= source.shape[1]:
                continue
            sent = source[:, column].astype(np.int64)
            for delay, weight in by_delay.items():
                arriving[projection.target][column + 1 + delay] += activation(projection, weight, sent)
    end = IntegerState(
        u={name: each.astype(np.int32) for name, (each, _) in now.items()},
        v={name: each.astype(np.int32) for name, (_, each) in now.items()},
        under_way={name: wrap(each[steps:], 32).swapaxes(0, 1).astype(np.int32) for name, each in arriving.items()})
    return IntegerResult(spikes=spikes, u=u, v=v, state=end)


def step_lif(population: IntegerPopulation, u: Array, v: Array, a: Array) -> tuple[Array, Array, Array]:
    """One column of a population: u, v and what arrives, int64 -> u, v, spikes."""
    u, v = integrate_lif(population, u, v, a)
    fired = v > population.threshold << 6
    return u, np.where(fired, 0, v), fired


def integrate_lif(population: IntegerPopulation, u: Array, v: Array, a: Array) -> tuple[Array, Array]:
    """The same before spikes and resets: u, v."""
    u = wrap(_decayed(u, 4095 - population.du) + wrap(a << 6, 32), 32)
    u = np.where(u > LIMIT, u - 2 * LIMIT, np.where(u <= -LIMIT, u + 2 * LIMIT, u))
    bias = np.int64(0) if population.bias is None else population.bias.astype(np.int64) << population.bias_exponent
    return u, np.clip(wrap(_decayed(v, 4096 - population.dv) + u + bias, 32), 1 - LIMIT, LIMIT - 1)


def _decayed(value: Array, left: int) -> Array:
    """`left` of 4096 parts, rounded towards zero."""
    decayed: Array = np.sign(value) * (np.abs(value) * left >> 12)
    return decayed


def wrap(value: Array, bits: int) -> Array:
    """The same modulo 2^bits, in two's complement."""
    half = np.int64(1) << (bits - 1)
    return (value + half) % (2 * half) - half


def weights_by_delay(projection: IntegerProjection) -> dict[int, Array]:
    """The weights as they are held, int64, by delay: those of other delays are zero."""
    weight, delay = held_weight(projection).astype(np.int64), projection.delay
    if delay is None:
        return {0: weight}
    return {int(each): np.where(delay == each, weight, 0) for each in np.unique(delay)}


def activation(projection: IntegerProjection, weight: Array, sent: Array) -> Array:
    """What the spikes of one column, (batch, n_source), add to the targets, (batch, n_target)."""
    connection = projection.connection
    if not projection.message_bits:
        sent = (sent != 0).astype(np.int64)
    if isinstance(connection, IntegerConv):
        return wrap(_correlated(connection, weight << projection.exponent, sent), 24)
    total = wrap(_rows(connection, weight, sent) if isinstance(connection, IntegerSparse) else
                  _product(sent, weight.T), 32)
    return wrap(total << projection.exponent if projection.exponent > 0 else total >> -projection.exponent, 32)


def _rows(sparse: IntegerSparse, weight: Array, sent: Array) -> Array:
    """Sums over the rows of a sparse matrix: differences of running sums, in which 64 bits wrap without loss."""
    products = sent[:, sparse.indices] * weight
    running = np.concatenate([np.zeros((len(sent), 1), dtype=np.int64), np.cumsum(products, axis=1)], axis=1)
    total: Array = running[:, sparse.indptr[1:]] - running[:, sparse.indptr[:-1]]
    return total


def _correlated(conv: IntegerConv, weight: Array, sent: Array) -> Array:
    features, channels, *kernel = weight.shape
    image = sent.reshape(len(sent), conv.groups, channels, *conv.input_shape[1:])
    image = np.pad(image, ((0, 0), (0, 0), (0, 0), *((each, each) for each in conv.padding)))
    _, height, width = conv.output_shape
    total = np.zeros((len(sent), conv.groups, features // conv.groups, height * width), dtype=np.int64)
    grouped = weight.reshape(conv.groups, -1, channels, *kernel)
    for row in range(kernel[0]):
        for line in range(kernel[1]):
            top, left = row * conv.dilation[0], line * conv.dilation[1]
            seen = image[..., top:top + height * conv.stride[0]:conv.stride[0],
                         left:left + width * conv.stride[1]:conv.stride[1]][..., :height, :width]
            total += _product(grouped[..., row, line], seen.reshape(*seen.shape[:3], height * width))
    return total.reshape(len(sent), features * height * width)


def _product(one: Array, other: Array) -> Array:
    """The matrix product, int64; by way of float64, which is much quicker, where that has room for every sum."""
    most = float(np.abs(one).max(initial=0)) * float(np.abs(other).max(initial=0)) * one.shape[-1]
    if most < 2.0**53:
        one, other = one.astype(np.float64), other.astype(np.float64)
    product: Array = (one @ other).astype(np.int64)
    return product
