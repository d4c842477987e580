"""The spikes between cores that a mapping makes: packets and their hops on the mesh.

A neuron that fires sends one packet to each core, other than its own, on which it has a synapse; a packet takes the way
along x, then along y, and each link between two routers is a hop. Cores at one router are no hop apart.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ..ir.integer.network import IntegerNetwork
from ..ir.mapping import ChipMapping
from ..ir.nodes import Array
from .destinations import destinations, distinct

__all__ = ["Rates", "Traffic", "traffic"]

Rates = Mapping[str, Array]
"""By input or population, (n,): spikes of each a column."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Traffic:
    """A column's. `packets`: from core to core; `hops`: of those; `crossing`: of those, between chips; `inputs`: from
    inputs to cores, `entering` (cores,) of them to each. `source`, `target`, `sent`, each (k,): packets from a core to
    another, for the pairs that have any."""

    packets: float
    hops: float
    crossing: float
    inputs: float
    entering: Array
    source: Array
    target: Array
    sent: Array


def traffic(network: IntegerNetwork, mapping: ChipMapping, rates: Rates | None = None) -> Traffic:
    """Of a mapping. `rates`: one spike of every neuron and input a column where they are not given."""
    core_of = {name: mapping.core_of(name, each.n) for name, each in network.populations.items()}
    cores = len(mapping.cores)
    reached: dict[str, list[Array]] = {}
    for each in destinations(network, core_of):
        reached.setdefault(each.projection.source, []).append(each.source * cores + each.core)
    flat = np.zeros(cores * cores)
    entering = np.zeros(cores)
    for name, keys in reached.items():
        merged = distinct(np.concatenate(keys))[0] if len(keys) > 1 else keys[0]
        source, core = merged // cores, merged % cores
        rate = np.ones(len(source)) if rates is None or name not in rates else np.asarray(rates[name]).ravel()[source]
        if name in network.inputs:
            entering += np.bincount(core, rate, cores)
        else:
            flat += np.bincount(core_of[name][source] * cores + core, rate, cores * cores)
    between = flat.reshape(cores, cores)
    np.fill_diagonal(between, 0.0)
    start, end = np.nonzero(between)
    sent = between[start, end]
    routers = mapping.routers()
    chips = np.array([core.chip for core in mapping.cores], dtype=np.int64)
    hops = np.abs(routers[start] - routers[end]).sum(axis=1)
    return Traffic(packets=float(sent.sum()), hops=float(sent @ hops), inputs=float(entering.sum()),
                   entering=entering, source=start, target=end, sent=sent,
                   crossing=float(sent[chips[start] != chips[end]].sum()))
