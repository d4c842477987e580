"""Projections as the event loops go through them: laid out by source, placed in the arguments of a kernel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import networkx as nx
import numpy as np
import torch
from torch import Tensor

from ..ir.network import Conv, Network, Projection, Sparse

__all__ = ["Placing", "Wire", "make_wire", "place_wire", "waves"]


@dataclass(frozen=True, slots=True)
class Wire:
    """A projection with what does not change: its layout by source, and where it ends."""

    kind: int
    source: str
    first: int
    targets: int
    moves: int
    delay_per: int
    indptr: Tensor | None = None
    indices: Tensor | None = None
    order: Tensor | None = None
    geometry: Tensor | None = None


def waves(component: Sequence[str], projections: Sequence[Projection]) -> list[int]:
    """The place of each population in the order in which spikes without delay reach them; those on a cycle of such
    connections share one."""
    view: nx.DiGraph = nx.DiGraph()
    view.add_nodes_from(component)
    view.add_edges_from((each.source, each.target) for each in projections
                        if each.source in component and (each.delay is None or not bool((each.delay > 0).all())))
    condensed = nx.condensation(view)
    place = {name: number for number, group in enumerate(nx.topological_sort(condensed))
             for name in condensed.nodes[group]["members"]}
    return [place[name] for name in component]


def make_wire(projection: Projection, firsts: Mapping[str, int], network: Network, moves: int) -> Wire:
    """A projection onto a component whose populations begin at `firsts`; `moves`: which of their states."""
    connection = projection.connection
    n_source, n_target = network.size(projection.source), network.populations[projection.target].n
    delay_per = 0 if projection.delay is None else 1 if projection.delay_per == "source" else 2
    common = (projection.source, firsts[projection.target], n_target, moves, delay_per)
    if isinstance(connection, Sparse):
        columns = np.asarray(connection.indices, dtype=np.int64)
        rows = np.repeat(np.arange(n_target), np.diff(np.asarray(connection.indptr)))
        order = np.argsort(columns, kind="stable")
        indptr = np.zeros(n_source + 1, dtype=np.int64)
        np.cumsum(np.bincount(columns, minlength=n_source), out=indptr[1:])
        layout = (indptr, rows[order], order)
        return Wire(1, *common, *(torch.from_numpy(np.ascontiguousarray(each)) for each in layout))
    if isinstance(connection, Conv):
        geometry = (*connection.input_shape, *connection.output_shape, *connection.weight.shape[2:], *connection.stride,
                    *connection.padding, connection.groups, *connection.dilation)
        return Wire(2, *common, geometry=torch.tensor(geometry, dtype=torch.int64))
    return Wire(0, *common)


class Placing(Protocol):
    """A call of an event loop, whose arguments point to what is placed."""

    arguments: Any
    slot: dict[str, int]
    history: dict[str, int]

    def place(self, field: str, number: int, value: Tensor | None) -> None: ...


def place_wire(call: Placing, firsts: Mapping[str, int], component: Sequence[str], number: int, wire: Wire,
               weight: Tensor | None, delay: Tensor | None) -> None:
    """Gives projection `number` of a component, as it is now, to the kernels."""
    arguments = call.arguments
    kept = weight.detach().contiguous()  # type: ignore[union-attr]
    call.place("weights", number, kept)
    arguments.p_weights[number] = kept.numel()
    arguments.p_kinds[number], arguments.p_moves[number] = wire.kind, wire.moves
    arguments.p_first[number], arguments.p_targets[number] = wire.first, wire.targets
    inside = wire.source in firsts
    arguments.p_slot[number] = -1 if inside else call.slot[wire.source]
    arguments.p_history[number] = call.history.get(wire.source, -1) if inside else -1
    arguments.p_population[number] = component.index(wire.source) if inside else -1
    for field, value in (("p_indptr", wire.indptr), ("p_indices", wire.indices), ("p_order", wire.order),
                         ("p_geometry", wire.geometry)):
        call.place(field, number, value)
    arguments.p_delay_per[number] = wire.delay_per
    if delay is not None:
        # delays per synapse of a dense projection come (target, source), its weights lie by source
        laid = delay.detach().t() if delay.dim() == 2 else delay.detach()
        held = laid.to(torch.float64).contiguous()
        call.place("p_delays", number, held)
        arguments.p_n_delays[number] = held.numel()
