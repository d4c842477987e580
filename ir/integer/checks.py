"""What a legal integer network is: every number within the field of the chip that holds it, all faults reported."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import prod
from typing import Any

import numpy as np

from ..conform import is_shape
from ..diagnostics import Diagnostic, Diagnostics
from ..facts import check_dt, is_whole
from ..nodes import Array
from ..populated_checks import check_inputs, check_names, check_outputs
from ..ranges import check_csr
from .network import (
    LARGEST_MEMBRANE,
    IntegerConv,
    IntegerDense,
    IntegerNetwork,
    IntegerPopulation,
    IntegerProjection,
    IntegerSparse,
    held_weight,
)

__all__ = ["INTEGER_RULES", "MAX_DELAY", "check_integer", "verify_integer"]

MAX_DELAY = 63
"""Columns that a synapse delays at most, beyond the one that it takes (lava/proc/dense/models.py: 6 bits)."""
FIELDS: Mapping[str, tuple[int, int]] = {
    "du": (0, 4095), "dv": (0, 4095), "threshold": (0, (1 << 17) - 1), "bias": (-4096, 4095), "bias_exponent": (0, 7),
    "exponent": (-8, 7), "weight_bits": (1, 8), "message_bits": (0, 24), "delay": (0, MAX_DELAY),
    "weight": (-(1 << 31), (1 << 31) - 1), "u0": (1 - (1 << 23), 1 << 23), "v0": (-LARGEST_MEMBRANE, LARGEST_MEMBRANE),
}
"""The least and the largest value of each field; u0 and v0: what u and v can be."""
MOST_SOURCES = 1 << 22
"""So that no sum of 9-bit weights leaves 32 bits."""


def check_integer(network: IntegerNetwork) -> list[Diagnostic]:
    """Every fault of an integer network; an empty list for a legal one."""
    faults = Diagnostics()
    for rule in INTEGER_RULES:
        rule(network, faults)
    return faults.found


def verify_integer(network: IntegerNetwork) -> IntegerNetwork:
    """The network itself, if it is legal.

    Raises:
        BadInputError: with every fault at once.
    """
    faults = Diagnostics(check_integer(network))
    faults.raise_if_errors()
    return network


def _step(network: IntegerNetwork, faults: Diagnostics) -> None:
    check_dt(network.dt, "SC116", faults)


def _populations(network: IntegerNetwork, faults: Diagnostics) -> None:
    for name, population in network.populations.items():
        if not is_shape(population.shape):
            faults.add("SC102", "a population's shape is positive", node=name, value=population.shape)
            continue
        _whole_numbers(population, ("du", "dv", "threshold", "bias_exponent"), name, faults)
        for field in ("bias", "u0", "v0"):
            if (array := getattr(population, field)) is not None:
                _array(field, array, (population.n,), name, faults)


def _projections(network: IntegerNetwork, faults: Diagnostics) -> None:
    for projection in network.projections:
        name, found = projection.name, len(faults.found)
        ends = [(projection.source, (network.inputs, network.populations)), (projection.target, (network.populations,))]
        for end, places in ends:
            if not any(end in place for place in places):
                faults.add("SC101", "a projection ends at what does not exist", node=name, value=end)
        _whole_numbers(projection, ("exponent", "weight_bits", "message_bits"), name, faults)
        if projection.sign not in ("mixed", "excitatory", "inhibitory"):
            faults.add("SC141", "the sign of weights is unknown", node=name, value=projection.sign,
                       limit="mixed, excitatory or inhibitory")
        # Sizes of ends that are missing or malformed are unknown.
        if len(faults.found) > found or not all(map(is_shape, _shapes(network, projection))):
            continue
        n_source, n_target = network.size(projection.source), network.size(projection.target)
        if n_source > MOST_SOURCES:
            faults.add("SC141", "sums over so many sources may leave 32 bits", node=name, value=n_source,
                       limit=f"<= {MOST_SOURCES} sources", remedy="Split the source.")
            continue
        _CONNECTION_RULES[type(projection.connection)](projection.connection, n_source, n_target, name, faults)
        if len(faults.found) == found:
            _meanings(network, projection, faults)


def _shapes(network: IntegerNetwork, projection: IntegerProjection) -> list[tuple[int, ...]]:
    source = projection.source
    start = network.inputs[source] if source in network.inputs else network.populations[source].shape
    return [start, network.populations[projection.target].shape]


def _meanings(network: IntegerNetwork, projection: IntegerProjection, faults: Diagnostics) -> None:
    """What Lava's processes have no word for."""
    name = projection.name
    if projection.message_bits and projection.source not in network.inputs:
        faults.add("SC142", "only an input sends graded spikes", node=name, value=projection.source,
                   remedy="Set message_bits=0.")
    if projection.message_bits and projection.delay is not None and projection.exponent < 0:
        faults.add("SC142", "graded spikes with delays are not shifted right", node=name, value=projection.exponent,
                   limit=">= 0", remedy="Shift the weights of the other projections left instead.")
    if isinstance(projection.connection, IntegerConv):
        if projection.exponent < 0:
            faults.add("SC142", "Lava's convolution does not shift right", node=name, value=projection.exponent,
                       limit=">= 0", remedy="Scale threshold and weights up by the same power of two.")
        elif (most := _most_of_a_stencil(projection)) >= 1 << 31:
            faults.add("SC140", "sums of a convolution may leave 32 bits", node=name, value=most, limit="< 2^31",
                       remedy="Use fewer message_bits, or a smaller exponent.")
        if projection.delay is not None:
            faults.add("SC142", "a convolution has no delays", node=name,
                       remedy="Unroll it into an IntegerSparse, or leave the delays out.")
    elif projection.delay is not None:
        _array("delay", projection.delay, projection.connection.weight.shape, name, faults)


def _most_of_a_stencil(projection: IntegerProjection) -> int:
    sums = np.abs(held_weight(projection).astype(np.int64)).sum(axis=(1, 2, 3))
    return int(sums.max()) << (projection.exponent + projection.message_bits)


def _check_dense(dense: IntegerDense, n_source: int, n_target: int, name: str, faults: Diagnostics) -> None:
    _array("weight", dense.weight, (n_target, n_source), name, faults)


def _check_sparse(sparse: IntegerSparse, n_source: int, n_target: int, name: str, faults: Diagnostics) -> None:
    check_csr((n_target, n_source), sparse.indptr, sparse.indices, name, faults)
    _array("weight", sparse.weight, sparse.indices.shape, name, faults)


def _check_conv(conv: IntegerConv, n_source: int, n_target: int, name: str, faults: Diagnostics) -> None:
    if not (is_shape(conv.input_shape) and is_shape(conv.output_shape) and len(conv.input_shape) == 3
            and (prod(conv.input_shape), prod(conv.output_shape)) == (n_source, n_target)):
        faults.add("SC102", "the stencil's shapes are not those of source and target", node=name,
                   value=(conv.input_shape, conv.output_shape), limit=(n_source, n_target))
        return
    channels, features = conv.input_shape[0], conv.output_shape[0]
    if (min(*conv.stride, *conv.dilation, conv.groups) < 1 or min(conv.padding) < 0
            or channels % conv.groups or features % conv.groups):
        faults.add("SC141", "stride, dilation and groups are positive, padding is not negative, and groups divide the "
                   "channels", node=name, value=(conv.stride, conv.padding, conv.dilation, conv.groups))
        return
    kernel = conv.weight.shape[2:]
    if len(kernel) != 2 or not is_shape(kernel):
        faults.add("SC107", "weight is (C_out, C_in/groups, KH, KW)", node=name, value=conv.weight.shape)
        return
    _array("weight", conv.weight, (features, channels // conv.groups, *kernel), name, faults)
    wanted = (features, *((length + 2 * pad - hole * (reach - 1) - 1) // step + 1 for length, pad, hole, reach, step in
                          zip(conv.input_shape[1:], conv.padding, conv.dilation, kernel, conv.stride, strict=True)))
    if conv.output_shape != wanted:
        faults.add("SC102", "the stencil's output is not what its padding, alike on both sides, makes it", node=name,
                   value=conv.output_shape, limit=wanted)


_CONNECTION_RULES: dict[type[Any], Callable[[Any, int, int, str, Diagnostics], None]] = {
    IntegerDense: _check_dense, IntegerSparse: _check_sparse, IntegerConv: _check_conv,
}


def _whole_numbers(item: IntegerPopulation | IntegerProjection, fields: tuple[str, ...], name: str,
                   faults: Diagnostics) -> None:
    for each in fields:
        value, (low, high) = getattr(item, each), FIELDS[each]
        if not (is_whole(value) and low <= value <= high):
            faults.add("SC140", f"{each} does not fit its field", node=name, value=value, limit=f"{low}..{high}")


def _array(field: str, value: Array, wanted: tuple[int, ...], name: str, faults: Diagnostics) -> None:
    low, high = FIELDS[field]
    if value.shape != wanted or value.dtype.kind != "i":
        faults.add("SC107", f"{field} has the wrong shape or type", node=name, value=f"{value.dtype}{value.shape}",
                   limit=f"signed integers {wanted}")
    elif value.size and not (low <= value.min() and value.max() <= high):
        outside = value[(value < low) | (value > high)]
        faults.add("SC140", f"{field} does not fit its field", node=name, value=outside[0], limit=f"{low}..{high}")


INTEGER_RULES: tuple[Callable[[IntegerNetwork, Diagnostics], None], ...] = (
    check_names, _step, check_inputs, check_outputs, _populations, _projections)
