"""The emulator of Xylo: a network over a batch of events, bit for bit as `simulate_xylo`, on all cores."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from ...ir.diagnostics import BadInputError, Diagnostics
from ...ir.integer.xylo import MOST_OUT_SPIKES, MOST_SPIKES, XyloNetwork, XyloNeurons, verify_xylo
from ...ir.integer.xylo_step import (
    BLOCKS,
    XyloResult,
    XyloState,
    check_events,
    check_xylo_state,
    first_xylo_state,
)
from ...ir.nodes import Array
from .. import jit
from ..threads import run_tasks

__all__ = ["ARGS", "BLOCK", "LANES", "XyloEngine", "xylo_source"]

LANES = 16
"""Neurons of a vector loop: a register of 64 bytes."""


def _fields(whole: str, **pointers: str) -> tuple[tuple[str, str, int], ...]:
    return (*(("int64_t", name, 0) for name in whole.split()),
            *((f"{kind} *", name, 0) for name, kind in pointers.items()))


_BLOCK = _fields("n pad most", dash_mem="const int32_t", dash_syn="const int32_t", threshold="const int32_t",
                 bias="const int32_t", alias="const int32_t", i="int32_t", v="int32_t", fired="int32_t",
                 spikes="uint8_t", shown_i="int16_t", shown_v="int16_t")
_ARGS = _fields("steps n_in", blocks="const Block", counts="const uint8_t", w_in="const int16_t",
                w_rec="const int16_t", w_out="const int16_t", range_in="const int32_t", range_rec="const int32_t",
                range_out="const int32_t", clipped="int64_t")
BLOCK, ARGS = (jit.arguments_type(each) for each in (_BLOCK, _ARGS))


@functools.cache
def xylo_source() -> str:
    """The text of the kernel."""
    return jit.render("xylo.jinja", lanes=LANES, block_fields=jit.structure(_BLOCK), fields=jit.structure(_ARGS))


@functools.cache
def _library() -> ctypes.CDLL:
    return jit.compile_c(xylo_source())


class XyloEngine:
    """Runs a network.

    Raises:
        BadInputError: the network is malformed (SC140, SC348).
    """

    def __init__(self, network: XyloNetwork) -> None:
        self.network = verify_xylo(network)
        shifted = network.shifted
        self._tables = {name: _padded_rows(table) for name, table in shifted.items()}
        self._ranges = {name: _ranges(table) for name, table in shifted.items()}
        self._neurons = {"hidden": _padded_neurons(network.hidden), "outputs": _padded_neurons(network.outputs)}
        alias = network.alias
        self._alias = None if alias is None or (alias < 0).all() else np.ascontiguousarray(alias, dtype=np.int32)

    def run(self, events: Array, state: XyloState | None = None, *, spikes: Iterable[str] = BLOCKS,
            states: Iterable[str] = ()) -> XyloResult:
        """Runs a batch.

        Args:
            events, state: as of `simulate_xylo`.
            spikes: blocks ("hidden", "outputs") whose spikes are wanted.
            states: blocks whose current and membrane after each column are wanted.

        Raises:
            BadInputError: the events, the state, or what is asked for, is malformed (SC403).
            KernelError: the kernel cannot be built here (SC421, SC422).
        """
        wanted, shown = _blocks(spikes), _blocks(states)
        counts = check_events(self.network, events).astype(np.uint8)
        batch, steps, n_in = counts.shape
        start = first_xylo_state(self.network, batch) if state is None else check_xylo_state(
            self.network, state, batch)
        sizes = {"hidden": self.network.hidden.n, "outputs": self.network.outputs.n}
        found = {name: np.empty((batch, steps, sizes[name]), dtype=np.uint8) for name in wanted}
        i, v = ({name: np.empty((batch, steps, sizes[name]), dtype=np.int16) for name in shown} for _ in range(2))
        now = {key: {name: _padded(getattr(start, key)[name]) for name in BLOCKS} for key in ("i", "v", "spikes")}
        clipped = np.zeros((batch, 2), dtype=np.int64)
        blocks = (BLOCK * 2)()
        for place, (name, most) in enumerate((("hidden", MOST_SPIKES), ("outputs", MOST_OUT_SPIKES))):
            block = blocks[place]
            block.n, block.pad, block.most = sizes[name], now["i"][name].shape[1], most
            _point(block, self._neurons[name] | {
                "alias": self._alias if name == "hidden" else None, "i": now["i"][name], "v": now["v"][name],
                "fired": now["spikes"][name], "spikes": found.get(name), "shown_i": i.get(name),
                "shown_v": v.get(name)})
        arguments: Any = ARGS(steps=steps, n_in=n_in)
        arguments.blocks = ctypes.addressof(blocks)
        _point(arguments, {"counts": counts, "clipped": clipped, **self._tables,
                           **{name.replace("w_", "range_"): each for name, each in self._ranges.items()}})
        run_tasks(_library().run, arguments, batch)
        return XyloResult(spikes=found, i=i, v=v,
                          clipped=dict(zip(BLOCKS, map(int, clipped.sum(0)), strict=True)),
                          state=XyloState(**{key: {name: np.ascontiguousarray(each[:, :sizes[name]])
                                                   for name, each in values.items()} for key, values in now.items()}))


def _blocks(names: Iterable[str]) -> list[str]:
    faults, found = Diagnostics(), list(names)
    for name in found:
        if name not in BLOCKS:
            faults.add("SC403", "Xylo has no such block of neurons", value=repr(name), limit=", ".join(BLOCKS))
    faults.raise_if_errors(BadInputError)
    return found


def _point(item: ctypes.Structure, arrays: Mapping[str, Array | None]) -> None:
    for name, array in arrays.items():
        setattr(item, name, None if array is None else array.ctypes.data)


def _width(n: int) -> int:
    return -(-n // LANES) * LANES


def _padded(values: Array) -> Array:
    """(batch, n) as int32, with zeros up to whole lanes."""
    found = np.zeros((len(values), _width(values.shape[1])), dtype=np.int32)
    found[:, :values.shape[1]] = values
    return found


def _padded_rows(table: Array) -> Array:
    return _padded(table).astype(np.int16)


def _padded_neurons(neurons: XyloNeurons) -> dict[str, Array]:
    return {name: np.concatenate([np.asarray(getattr(neurons, name), dtype=np.int32),
                                  np.full(_width(neurons.n) - neurons.n, rest, dtype=np.int32)])
            for name, rest in (("dash_mem", 0), ("dash_syn", 0), ("threshold", 1), ("bias", 0))}


def _ranges(table: Array) -> Array:
    """(sources, 2) int32: the lanes from and up to which a row is not all zero, whole blocks of them."""
    there = table != 0
    first = np.where(there.any(1), there.argmax(1), 0) // LANES * LANES
    last = np.where(there.any(1), table.shape[1] - there[:, ::-1].argmax(1), 0)
    return np.ascontiguousarray(np.stack([first, -(-last // LANES) * LANES], 1), dtype=np.int32)
