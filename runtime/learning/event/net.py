"""A lowered network as the kernel that learns takes it: populations numbered through, weights by rows of sources."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ....ir.derived import Apply, Expr, Leaf, expr_of
from ....ir.diagnostics import BadInputError, Diagnostics, UnsupportedError
from ....ir.graph import Graph
from ....ir.learning.rule import LearningRule
from ....ir.learning.wiring import Link, Links
from ....ir.network import Dense, Network
from ....ir.nodes import Array
from ...cells import Cell, cell_kind, make_cell

__all__ = ["EventNet", "event_net"]

_CELL_FIELDS = ("r", "bias", "v0", "tau_mem", "tau_syn", "v_leak", "w_in", "v_threshold", "v_reset")
_CLOCK = "Use the target clock."


@dataclass(frozen=True, slots=True)
class EventNet:
    """`links` with its populations in the order of the kernel; `weights` (n_source, n_target) by projection, float64;
    `arrays` by name of the kernel's fields, for all neurons numbered through."""

    links: Links
    weights: dict[str, Array]
    arrays: dict[str, Tensor]


def event_net(graph: Graph, network: Network, rule: LearningRule, output: str | None,
              projections: Iterable[str] | None, faults: Diagnostics) -> EventNet:
    """`faults`: what was found of the rule, which is told together with what is found here.

    Raises:
        BadInputError: there is no such output or projection (SC403).
        UnsupportedError: naming each projection that cannot learn (SC515), what else of the network the kernel has
            no way for (SC416), and all that `faults` holds.
    """
    wrong = Diagnostics()
    outputs = network.outputs
    if output is None and len(outputs) == 1:
        output = next(iter(outputs))
    if output not in outputs:
        wrong.add("SC403", "the rule learns from one output", value=output, limit=", ".join(outputs),
                  remedy="Name it: output='…'.")
    wrong.raise_if_errors(BadInputError)
    shown = outputs[str(output)]
    asked = None if projections is None else list(projections)
    for name in asked or ():
        if name not in graph.nodes:
            wrong.add("SC403", "there is no projection of this name", node=name, limit=", ".join(graph.nodes))
    wrong.raise_if_errors(BadInputError)
    spiking = {name: population for name, population in network.populations.items() if population.spiking}
    if shown not in spiking:
        faults.add("SC416", "the output of a rule spikes, and this one is a readout", node=shown)
    for name, population in network.populations.items():
        if population.kind == "flow":
            faults.add("SC416", "learning in continuous time is there for linear neurons only", node=name,
                       value=population.kind, remedy="Use LIF, CubaLIF or IF.")
    if network.discretization is not None and network.discretization.spike == "box":
        faults.add("SC416", "spikes that are currents do not learn in continuous time", remedy=_CLOCK)
    order = [name for component in network.schedule for name in component if name in spiking]
    if any(len(component) > 1 for component in network.schedule):
        faults.add("SC416", "a cycle does not learn in continuous time", remedy=_CLOCK)
    links: list[Link] = []
    found: dict[str, Array] = {}
    able: set[str] = set()
    for projection in network.projections:
        if projection.target not in spiking:
            continue
        connection = projection.connection
        learns = _leaf(expr_of(connection.weight))
        mine = learns is not None and (asked is None or learns in asked)
        if projection.source == projection.target:
            faults.add("SC416", "a cycle does not learn in continuous time", node=projection.name, remedy=_CLOCK)
        if not isinstance(connection, Dense) or projection.delay is not None:
            faults.add("SC515" if mine and asked is not None else "SC416",
                       "only dense projections without delay are there while synapses learn", node=projection.name,
                       value="delay" if isinstance(connection, Dense) else type(connection).__name__, remedy=_CLOCK)
            continue
        name = learns if learns is not None else projection.name
        if name in found:
            faults.add("SC515", "a weight that two projections share does not learn", node=name)
        hidden = projection.target != shown
        if rule.feedback is not None and rule.feedback.kind == "none" and hidden:
            mine = False
        able |= {learns} if learns is not None else set()
        links.append(Link(name, projection.source, projection.target, mine))
        found[name] = np.array(np.asarray(connection.weight, dtype=np.float64).T, order="C")
    for name in asked or ():
        if name not in able and not any(each.node == name for each in faults.found):
            faults.add("SC515", "its weights are folded with others, or are none of a dense projection", node=name,
                       value=type(graph.nodes[name]).__name__, limit="Linear, Affine between spiking neurons",
                       remedy="Let it take spikes and feed one population, without a node between them.")
    if not any(each.plastic for each in links) and not asked:
        faults.add("SC515", "no projection of the network can learn", limit="a Linear between spiking neurons")
    faults.raise_if_errors(UnsupportedError)
    sizes = {name: network.size(name) for name in (*network.inputs, *order)}
    bias = {name: np.asarray(spiking[name].bias, dtype=np.float64) for name in order}
    return EventNet(Links(tuple(links), sizes, tuple(order), bias, shown), found, _arrays(network, order))


def _leaf(expression: Expr) -> str | None:
    """The node whose weight this very array is."""
    while isinstance(expression, Apply) and expression.operation == "widen":
        (expression,) = expression.arguments
    return expression.node if isinstance(expression, Leaf) and expression.param == "weight" else None


def _arrays(network: Network, order: list[str]) -> dict[str, Tensor]:
    cells: list[Cell] = []
    faults = Diagnostics()
    kinds = [cell_kind(network.populations[name], network.discretization) for name in order]
    for name, kind in zip(order, kinds, strict=True):
        population = network.populations[name]
        values = {each: torch.from_numpy(np.array(array, dtype=np.float64)) for each in _CELL_FIELDS
                  if (array := getattr(population, each)) is not None}
        cells.append(make_cell(population, values, kind).to(torch.float64))
        if bool((cells[-1].u0 > cells[-1].theta).any()):
            faults.add("SC416", "a membrane starts above its threshold", node=name, remedy="Lower v0.")
    faults.raise_if_errors(UnsupportedError)
    fields = ("a", "b", "rho", "gain", "theta", "reset", "drop", "u0", "j0", "rest")
    found: dict[str, Any] = {each: torch.cat([getattr(cell, each) for cell in cells]) for each in fields}
    populations = [network.populations[name] for name in order]
    found["refractory"] = torch.cat([
        torch.zeros(each.n, dtype=torch.float64) if each.refractory is None
        else torch.from_numpy(np.array(each.refractory, dtype=np.float64)) for each in populations])
    sizes = [each.n for each in populations]
    inputs = [network.size(name) for name in network.inputs]
    found["size"] = torch.tensor(sizes)
    found["population"] = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes))
    found["block_first"] = torch.from_numpy(np.concatenate([[0], np.cumsum([*inputs, *sizes])]).astype(np.int64))
    found["moves_u"] = torch.tensor([int(kind == "u") for kind in kinds])
    found["subtract"] = torch.cat([torch.full((each.n,), int(each.reset == "subtract")) for each in populations])
    return found
