"""The meaning of a network for Xylo, column by column: plain numpy, the oracle of the emulator.

Bit for bit what xylosim 0.1.3 computes (`xylosim.v2`): the order in which sources are added, where a sum is clipped,
and what the spikes of an alias do were read in its XyloIAFNeuron.cpp and XyloLayer.cpp; `tests/test_xylo.py` runs both.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ..diagnostics import BadInputError, Diagnostic, Diagnostics
from ..nodes import Array
from .xylo import (
    LARGEST_STATE,
    MOST_EVENTS,
    MOST_OUT_SPIKES,
    MOST_SPIKES,
    SMALLEST_STATE,
    XyloNetwork,
    XyloNeurons,
    verify_xylo,
)

__all__ = ["BLOCKS", "XyloResult", "XyloState", "check_events", "check_xylo_state", "first_xylo_state", "simulate_xylo"]

BLOCKS = ("hidden", "outputs")


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class XyloState:
    """After a column, by block, (batch, n) int32: current `i`, membrane `v`, and `spikes`, which arrive in the next
    one."""

    i: Mapping[str, Array]
    v: Mapping[str, Array]
    spikes: Mapping[str, Array]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class XyloResult:
    """By block ("hidden", "outputs"), (batch, time, n), after each column: `i` after its decay and `v` after the
    reset, int16, where they were asked for; `spikes`, uint8. `clipped`: by block, how many sums of a current were cut
    off at 16 bits. `state`: from which a run goes on."""

    spikes: Mapping[str, Array]
    i: Mapping[str, Array]
    v: Mapping[str, Array]
    clipped: Mapping[str, int]
    state: XyloState


def simulate_xylo(network: XyloNetwork, events: Array, state: XyloState | None = None) -> XyloResult:
    """Runs a network, and says where it stands then.

    Args:
        network: a legal one.
        events: (batch, time, inputs), whole numbers: how many of a channel in a column; beyond 15 there are 15.
        state: where an earlier run ended; None: all zeros.

    Raises:
        BadInputError: the network (SC140, SC348), the events or the state (SC403) are malformed.
    """
    counts = check_events(verify_xylo(network), events)
    batch, steps, _ = counts.shape
    now = first_xylo_state(network, batch) if state is None else check_xylo_state(network, state, batch)
    tables = {name: table.astype(np.int64) for name, table in network.shifted.items()}
    neurons = {"hidden": network.hidden, "outputs": network.outputs}
    i = {name: now.i[name].astype(np.int64) for name in BLOCKS}
    v = {name: now.v[name].astype(np.int64) for name in BLOCKS}
    fired = {name: now.spikes[name].astype(np.int64) for name in BLOCKS}
    shape = {name: (batch, steps, each.n) for name, each in neurons.items()}
    shown_i, shown_v = ({name: np.zeros(each, dtype=np.int16) for name, each in shape.items()} for _ in range(2))
    spikes = {name: np.zeros(each, dtype=np.uint8) for name, each in shape.items()}
    clipped = dict.fromkeys(BLOCKS, 0)
    for column in range(steps):
        given = counts[:, column].astype(np.int64)
        for name, table, sent in (("hidden", "w_in", given), ("hidden", "w_rec", fired["hidden"]),
                                  ("outputs", "w_out", fired["hidden"])):
            i[name], cut = _added(i[name], tables[table], sent)
            clipped[name] += cut
        for name, each in neurons.items():
            i[name] = i[name] - _decay(i[name], each.dash_syn)
            v[name] = _integrated(each, v[name], i[name])
            v[name], fired[name] = _fired(each, v[name], network.alias if name == "hidden" else None,
                                          MOST_SPIKES if name == "hidden" else MOST_OUT_SPIKES)
            shown_i[name][:, column], shown_v[name][:, column], spikes[name][:, column] = i[name], v[name], fired[name]
    return XyloResult(spikes=spikes, i=shown_i, v=shown_v, clipped=clipped, state=XyloState(
        **{key: {name: each[name].astype(np.int32) for name in BLOCKS}
           for key, each in (("i", i), ("v", v), ("spikes", fired))}))


def check_events(network: XyloNetwork, events: object) -> Array:
    """(batch, time, inputs) uint8, 15 at most.

    Raises:
        BadInputError: they are of another form, or no counts (SC403).
    """
    faults = Diagnostics()
    array = np.asarray(events)
    if array.ndim != 3 or array.shape[2] != network.n_in or array.dtype.kind not in "biu":
        faults.add("SC403", "events of Xylo are counts, (batch, time, inputs)", value=f"{array.dtype} {array.shape}",
                   limit=f"whole numbers (batch, time, {network.n_in})")
    elif array.size and array.min() < 0:
        faults.add("SC403", "a count of events is negative", value=int(array.min()), limit=">= 0")
    faults.raise_if_errors()
    if array.size and array.max() > MOST_EVENTS:
        array = np.minimum(array, MOST_EVENTS)
    return np.ascontiguousarray(array, dtype=np.uint8)


def first_xylo_state(network: XyloNetwork, batch: int) -> XyloState:
    """Before the first column: zeros."""
    sizes = {"hidden": network.hidden.n, "outputs": network.outputs.n}
    return XyloState(**{key: {name: np.zeros((batch, n), dtype=np.int32) for name, n in sizes.items()}
                        for key in ("i", "v", "spikes")})


def check_xylo_state(network: XyloNetwork, state: object, batch: int) -> XyloState:
    """The state itself.

    Raises:
        BadInputError: it is none, of another network or batch, or out of range (SC403).
    """
    if not isinstance(state, XyloState):
        raise BadInputError(Diagnostic("SC403", "state is not that of a former result", value=type(state).__name__,
                                       remedy="Give state=result.state."))
    faults = Diagnostics()
    limits = {"i": (SMALLEST_STATE, LARGEST_STATE), "v": (SMALLEST_STATE, LARGEST_STATE), "spikes": (0, MOST_SPIKES)}
    for key, (least, most) in limits.items():
        for name, n in (("hidden", network.hidden.n), ("outputs", network.outputs.n)):
            array = np.asarray(getattr(state, key)[name])
            if array.shape != (batch, n):
                faults.add("SC403", "state is that of another network or batch", node=f"{name}.{key}",
                           value=array.shape, limit=(batch, n))
            elif array.size and not (least <= array.min() and array.max() <= most):
                faults.add("SC403", "state is out of range", node=f"{name}.{key}",
                           value=f"{array.min()}..{array.max()}", limit=f"{least}..{most}")
    faults.raise_if_errors()
    return state


def _added(current: Array, table: Array, sent: Array) -> tuple[Array, int]:
    """The currents (batch, n) after what the sources bring, one source after the other, each sum clipped; and how many
    were. What one source sends several times in a column goes one way, so it is clipped once."""
    most = np.abs(current).max(initial=0) + int(sent.sum(1).max(initial=0)) * int(np.abs(table).max(initial=0))
    if most <= LARGEST_STATE:
        return current + sent @ table, 0
    cut = 0
    for source in np.flatnonzero(sent.any(0)):
        total = current + sent[:, source, None] * table[source]
        current = _clip(total)
        cut += int(np.count_nonzero(total != current))
    return current, cut


def _clip(value: Array) -> Array:
    return np.clip(value, SMALLEST_STATE, LARGEST_STATE)


def _decay(value: Array, dash: Array) -> Array:
    """What is lost in a column: the shifted value, and one where that is nothing."""
    lost = value >> dash.astype(np.int64)
    return np.where((lost == 0) & (value > 0), 1, lost)


def _integrated(neurons: XyloNeurons, v: Array, i: Array) -> Array:
    """The membrane before spikes. The change is a number of 16 bits, too: the one of -32768 with a shift of zero
    overflows."""
    change = -_decay(v, neurons.dash_mem)
    change = np.where(change > LARGEST_STATE, SMALLEST_STATE, change)
    change = _clip(_clip(change + i) + neurons.bias.astype(np.int64))
    return _clip(v + change)


def _fired(neurons: XyloNeurons, v: Array, alias: Array | None, most: int) -> tuple[Array, Array]:
    """The membrane after the reset, and the spikes. Neurons come one after the other: the spikes of one are added to
    those of its alias, which are the first of the alias where that comes later."""
    threshold = neurons.threshold.astype(np.int64)
    fits = np.where(v >= threshold, v // threshold, 0)
    if alias is None or (alias < 0).all():
        spikes = np.minimum(fits, most)
        return v - spikes * threshold, spikes
    total, own = np.zeros_like(v), np.zeros_like(v)
    for neuron, other in enumerate(alias):
        own[:, neuron] = np.minimum(fits[:, neuron], most - total[:, neuron])
        total[:, neuron] += own[:, neuron]
        if other >= 0:
            total[:, other] = np.minimum(total[:, other] + total[:, neuron], most)
    return v - own * threshold, total
