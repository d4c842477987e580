"""The emulator of Xylo: a network over a batch of events, bit for bit as `simulate_xylo`, on all cores."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from ...ir.diagnostics import BadInputError, Diagnostics
from ...ir.integer.xylo import MOST_OUT_SPIKES, MOST_SPIKES, XyloNetwork, verify_xylo
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

__all__ = ["ARGS", "LANES", "TABLE", "XyloEngine", "xylo_source"]

LANES = 16
"""Neurons of a vector loop: a register of 64 bytes."""
_FEW = 3
"""Lanes of a row for each that is not zero, from which on these are added one by one."""
_TABLE = (("const int16_t *", "dense", 0), ("const int32_t *", "row", 0), ("const int32_t *", "places", 0),
          ("const int32_t *", "values", 0))
_FIELDS = (
    *(("int64_t", name, 0) for name in ("steps", "n_in", "n_hidden", "n", "pad")),
    *((f"{kind} *", name, 0) for kind, names in (
        ("const uint8_t", "counts"), ("const Table", "tables"),
        ("const int32_t", "dash_mem dash_syn threshold bias most alias"), ("int32_t", "i v now"),
        ("uint8_t", "fired spikes spikes_out"), ("int16_t", "shown_i shown_v shown_i_out shown_v_out"),
        ("int64_t", "clipped")) for name in names.split()),
)
TABLE, ARGS = jit.arguments_type(_TABLE), jit.arguments_type(_FIELDS)


@functools.cache
def xylo_source() -> str:
    """The text of the kernel."""
    return jit.render("xylo.jinja", lanes=LANES, table_fields=jit.structure(_TABLE),
                      fields=jit.structure(_FIELDS))


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
        self._sizes = {"hidden": network.hidden.n, "outputs": network.outputs.n}
        n = sum(self._sizes.values())
        self._pad = -(-n // LANES) * LANES
        tables = network.shifted
        rows = (np.pad(tables["w_in"], ((0, 0), (0, self._sizes["outputs"]))),
                np.concatenate([tables["w_rec"], tables["w_out"]], 1))
        self._tables = [_table(self._padded(each, np.int32)) for each in rows]
        self._held: dict[str, Array | None] = {}
        for name, rest in (("dash_mem", 0), ("dash_syn", 0), ("threshold", 1), ("bias", 0)):
            values = np.concatenate([getattr(network.hidden, name), getattr(network.outputs, name)])
            self._held[name] = np.pad(values.astype(np.int32), (0, self._pad - n), constant_values=rest)
        self._held["most"] = np.repeat(np.array([MOST_SPIKES, MOST_OUT_SPIKES], dtype=np.int32),
                                       [self._sizes["hidden"], self._pad - self._sizes["hidden"]])
        alias = network.alias
        self._held["alias"] = None if alias is None or (alias < 0).all() else np.pad(
            alias.astype(np.int32), (0, n - len(alias)), constant_values=-1)

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
        wanted, shown, sizes = _blocks(spikes), _blocks(states), self._sizes
        counts = check_events(self.network, events)
        batch, steps, n_in = counts.shape
        start = first_xylo_state(self.network, batch) if state is None else check_xylo_state(
            self.network, state, batch)
        found = {name: np.empty((batch, steps, sizes[name]), dtype=np.uint8) for name in wanted}
        i, v = ({name: np.empty((batch, steps, sizes[name]), dtype=np.int16) for name in shown} for _ in range(2))
        now = {key: self._padded(np.concatenate([getattr(start, key)[name] for name in BLOCKS], 1), kind)
               for key, kind in (("i", np.int32), ("v", np.int32), ("spikes", np.uint8))}
        clipped = np.zeros((batch, 2), dtype=np.int64)
        arguments: Any = ARGS(steps=steps, n_in=n_in, n_hidden=sizes["hidden"], n=sum(sizes.values()), pad=self._pad)
        tables = (TABLE * 2)()
        for item, arrays in zip(tables, self._tables, strict=True):
            _point(item, arrays)
        arguments.tables = ctypes.addressof(tables)
        scratch = np.empty((batch, self._pad), dtype=np.int32)
        _point(arguments, {
            **self._held, "counts": counts, "i": now["i"], "v": now["v"], "now": scratch, "fired": now["spikes"],
            "spikes": found.get("hidden"), "spikes_out": found.get("outputs"), "shown_i": i.get("hidden"),
            "shown_v": v.get("hidden"), "shown_i_out": i.get("outputs"), "shown_v_out": v.get("outputs"),
            "clipped": clipped})
        run_tasks(_library().run, arguments, batch)
        after = {key: dict(zip(BLOCKS, np.split(values[:, :sum(sizes.values())].astype(np.int32), [sizes["hidden"]], 1),
                               strict=True)) for key, values in now.items()}
        return XyloResult(spikes=found, i=i, v=v, clipped=dict(zip(BLOCKS, map(int, clipped.sum(0)), strict=True)),
                          state=XyloState(**after))

    def _padded(self, values: Array, kind: type[np.integer[Any]]) -> Array:
        """(rows, n) with zeros up to whole lanes."""
        return np.ascontiguousarray(np.pad(values, ((0, 0), (0, self._pad - values.shape[1]))), dtype=kind)


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


def _table(rows: Array) -> dict[str, Array]:
    """What the kernel reads of (sources, lanes) int32."""
    there = rows != 0
    first = np.where(there.any(1), there.argmax(1), 0) // LANES * LANES
    last = -(-np.where(there.any(1), rows.shape[1] - there[:, ::-1].argmax(1), 0) // LANES) * LANES
    few = _FEW * there.sum(1) < last - first
    source, places = np.nonzero(there & few[:, None])
    ends = np.searchsorted(source, np.arange(len(rows) + 1))
    return {"dense": rows.astype(np.int16), "places": places.astype(np.int32),
            "values": np.ascontiguousarray(rows[source, places]),
            "row": np.ascontiguousarray(np.stack([first, last, np.abs(rows).max(1, initial=0), ends[:-1], ends[1:]], 1),
                                        dtype=np.int32)}
