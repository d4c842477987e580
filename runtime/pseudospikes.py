"""Spikes that neurons would fire after the end of a run: `Outputs.pseudospike_times` says what they are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import conv2d, pad, softplus

from ..ir.diagnostics import Diagnostics, UnsupportedError
from ..ir.network import Connection, Dense, Network, Sparse
from .flow.values import theta_columns

if TYPE_CHECKING:
    from .engine import Activity

__all__ = ["with_pseudospikes"]

_SOFTNESS = 10.0
"""Of the current that a QIF neuron goes on with, in the current's unit: the alpha of the paper's authors."""
_LEAST_DRIVE = 1e-30
"""What such a current is at least: far below zero the exponential leaves nothing."""


def with_pseudospikes(ordinary: Tensor, activity: Activity, population: str) -> Tensor:
    """`ordinary` (batch, n, k): the first spikes of a population, +inf where there are none; these are pseudospikes in
    what is given back.

    Raises:
        UnsupportedError: there are neurons that have none, cycles or delays (SC445).
    """
    before: dict[str, _Phase] = {}
    for name in _feeding(activity.engine.network, population):
        angle, period = _left(activity, name, before)
    fired = torch.isfinite(ordinary)
    later = torch.arange(ordinary.shape[2]) - fired.sum(2, keepdim=True)
    pseudo = activity.duration + (later + (angle / torch.pi)[..., None]) * period[..., None]
    return torch.where(fired, ordinary, pseudo)


def _feeding(network: Network, population: str) -> list[str]:
    """The population and all that lie before it, in order.

    Raises:
        UnsupportedError: one of them knows no pseudospikes (SC445).
    """
    faults = Diagnostics()
    found, reached = [], {population}
    for component in reversed(network.schedule):
        for name in component:
            if name not in reached:
                continue
            found.append(name)
            flow = network.populations[name].flow
            if flow is None or flow.dynamics.name == "equations":
                faults.add("SC445", "these neurons have no pseudospikes", node=name, limit="QIF, Theta",
                           value="Equations" if flow is not None else network.populations[name].kind,
                           remedy="Use such neurons up to the output that the loss is of, or another loss.")
            before = [each for each in network.incoming[name] if each.source in network.populations]
            if any(each.source in component for each in before):
                faults.add("SC445", "neurons of a cycle have no pseudospikes", node=name,
                           remedy="Leave the recurrent connections out, or use another loss.")
            for each in before:
                if each.delay is not None:
                    faults.add("SC445", "there are no pseudospikes over a delay", node=each.name,
                               value=f"{each.source} to {name}", remedy="Leave the delay out, or use another loss.")
                reached.add(each.source)
    faults.raise_if_errors(UnsupportedError)
    return found[::-1]


@dataclass(frozen=True, slots=True)
class _Phase:
    """Of a population: `over` (batch, n), the part of its period that each neuron has behind it; `wait` (batch, n), the
    time to its next spike; its `tau` (n,)."""

    over: Tensor
    wait: Tensor
    tau: Tensor

    def late(self) -> Tensor:
        """By how much the next pulse counts as late, s: `wait` when it is about to come, nothing when one just was."""
        return self.over.square() * self.wait * torch.exp(-2 * self.wait / self.tau)


def _left(activity: Activity, name: str, before: dict[str, _Phase]) -> tuple[Tensor, Tensor]:
    """The angle (batch, n) that is left of pi to the next spike, and the time that pi takes; the population is added to
    `before`."""
    v, *current = cast(Tensor, activity.results[name].ends).unbind(1)
    values = activity.values.flow(name)
    network = activity.engine.network
    feeds = [(number, each) for number, each in enumerate(network.projections)
             if each.target == name and each.source in before]

    def received(what: Callable[[_Phase], Tensor]) -> Tensor:
        total = torch.zeros_like(v)
        for number, each in feeds:
            total = total + _through(each.connection, activity.values.weight(number).to(v.dtype),
                                     what(before[each.source]), v.shape[1])
        return total

    rate = received(lambda phase: phase.over)
    if current:
        tau, late = values.parameters[0], received(_Phase.late)
        v = v - late / tau
        drive = softplus(current[0] + rate + 2 * late / tau, 1 / _SOFTNESS, 100.0)
        root = drive.clamp(min=_LEAST_DRIVE).sqrt()
    else:
        root, tau = theta_columns(values)
        v = v + rate
    angle = torch.atan2(root.expand_as(v), v - 0.5)
    before[name] = _Phase(1 - angle / torch.pi, angle * (tau / root), tau)
    return angle, (torch.pi * tau / root).expand_as(v)


def _through(connection: Connection, weight: Tensor, rates: Tensor, targets: int) -> Tensor:
    """(batch, targets): what `rates` (batch, sources) amount to behind the weights, dense ones by rows of sources."""
    if isinstance(connection, Dense):
        return rates @ weight
    if isinstance(connection, Sparse):
        rows = torch.from_numpy(np.repeat(np.arange(targets), np.diff(connection.indptr)))
        columns = torch.from_numpy(np.array(connection.indices, dtype=np.int64))
        return rates.new_zeros(len(rates), targets).index_add(1, rows, rates[:, columns] * weight)
    missing = []
    for axis in (1, 0):
        size, before = connection.input_shape[1 + axis], connection.padding[axis]
        reach = (connection.output_shape[1 + axis] - 1) * connection.stride[axis]
        reach += (weight.shape[2 + axis] - 1) * connection.dilation[axis] + 1
        missing += [before, reach - size - before]
    image = pad(rates.view(-1, *connection.input_shape), missing)
    return conv2d(image, weight, None, connection.stride, 0, connection.dilation, connection.groups).flatten(1)
