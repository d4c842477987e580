"""Networks of graded synapses as systems that can be integrated: matrices put together from projections, signals made
drives, outputs read off."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import pi
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...ir.derived import evaluate, expr_of
from ...ir.diagnostics import Diagnostics
from ...ir.events import Events
from ...ir.graded.gate import TURN, charge, distance
from ...ir.graded.network import GradedNetwork
from ...ir.network import Dense, Projection, Sparse
from ..parameter_checks import check_parameters
from .course import Course, Stimulus, System, integrate
from .signals import Driven

__all__ = ["GradedActivity", "GradedEngine", "GradedState"]

Parameters = Mapping[tuple[str, str], Tensor]


@dataclass(frozen=True, slots=True)
class GradedState:
    """Where a stream stands: `membranes` and `currents` (batch, n) of all neurons, in the network's order, without
    gradient."""

    membranes: Tensor
    currents: Tensor


@dataclass(frozen=True, slots=True)
class GradedActivity:
    """What a network did: `currents` (batch, samples, n) of all neurons, and `outputs` by output node, differentiable.
    """

    network: GradedNetwork
    dt: float
    currents: Tensor
    outputs: Mapping[str, Tensor]
    course: Course
    middle: Tensor
    tau_syn: Tensor
    zone: Tensor

    def current(self, name: str) -> Tensor:
        """(batch, samples, n) of a population."""
        return self.currents[..., self.network.span[name]]

    def membrane(self, name: str) -> Tensor:
        """(batch, samples, n), where it was recorded; an angle lies in [0, 2 pi)."""
        part = self.network.span[name]
        recorded = self.course.membranes
        if recorded is None:
            return torch.empty(0)
        shown = recorded[..., part] + self.middle[part]
        return shown % TURN if self.network.populations[name].circle else shown

    def events(self, name: str) -> Events:
        """Upward passages of the middle of the gate."""
        part = self.network.span[name]
        sample, neuron, time = (each.numpy() for each in self.course.passages)
        own = (neuron >= part.start) & (neuron < part.stop)
        sample, neuron, time = sample[own], neuron[own] - part.start, time[own]
        order = np.lexsort((neuron, time, sample))
        offsets = np.searchsorted(sample[order], np.arange(len(self.currents) + 1)).astype(np.int64)
        return Events(time[order], neuron[order], offsets)

    def state(self) -> GradedState:
        """Where the stream stands after the last sample."""
        x, q = (each.detach() for each in self.course.last)
        circle = torch.arange(self.network.n) < _circles(self.network)
        around, turns = distance(x)
        at, turns = torch.where(circle, around, x), torch.where(circle, turns, torch.zeros_like(x))
        return GradedState(x + self.middle, (q + turns + charge(at, self.zone)) / self.tau_syn)


class GradedEngine:
    """Evaluates a network for constants, or for the parameters of a module."""

    def __init__(self, network: GradedNetwork) -> None:
        self.network = network
        self.neurons = [f"{name}, neuron {number}" for name in network.order
                        for number in range(network.populations[name].n)]

    def evaluate(self, driven: Driven, tolerance: float, parameters: Parameters | None = None,
                 state: GradedState | None = None, membranes: bool = False) -> GradedActivity:
        """What the network does with checked signals.

        Raises:
            BadInputError: a parameter is NaN, infinite or out of its range (SC103, SC104, SC455), or the integration
                does not come to an end (SC464).
        """
        network, value = self.network, _values(parameters)
        if parameters:
            check_parameters(parameters)
        tau, tau_syn, zone, r, v0, bias = (self._row(name, value) for name in (
            "tau", "tau_syn", "zone", "r", "v0", "bias"))
        self._check_zones(zone)
        middle, leak = self._row("v_gate", value, pi), self._row("v_leak", value, 0.0)
        circles = _circles(network)
        # On a line the membrane is counted from the middle of its gate, and what it leaks to is part of the drive.
        rest = torch.where(torch.arange(network.n) < circles, torch.zeros_like(leak), leak - middle)
        drive, jumps = self._driven(driven, r, bias, rest, value)
        if state is None:
            x = (v0 - middle).expand(driven.batch, network.n)
            current = torch.zeros_like(x)
        else:
            x, current = state.membranes - middle, state.currents
        angle = torch.arange(network.n) < circles
        x = torch.where(angle, x - TURN * distance(x.detach())[1], x)
        start = tau_syn * current - charge(x, zone)
        system = System(circles, self._recurrent(r, value), tau, tau_syn, zone, jumps)
        stimulus = Stimulus(drive, driven.dt, *driven.impulses)
        currents, course = integrate(system, stimulus, x, start, tolerance, self.neurons, membranes)
        return GradedActivity(network, driven.dt, currents, self._outputs(currents, value), course, middle.detach(),
                              tau_syn.detach(), zone.detach())

    def _row(self, name: str, value: Any, otherwise: float | None = None) -> Tensor:
        """A parameter (n,) of all neurons."""
        parts = []
        for population in (self.network.populations[each] for each in self.network.order):
            array = getattr(population, name)
            parts.append(torch.full((population.n,), otherwise or 0.0, dtype=torch.float64) if array is None
                         else value(array))
        return torch.cat(parts)

    def _check_zones(self, zone: Tensor) -> None:
        on_circle = zone.detach()[:_circles(self.network)]
        if len(on_circle) and float(on_circle.max()) > TURN:
            faults = Diagnostics()
            faults.add("SC455", "the gate is wider than the circle", node=self.neurons[int(on_circle.argmax())],
                       value=f"{float(on_circle.max()):g}", limit="2 pi radians",
                       remedy="Check what wrote the parameter: clamp `zone` after each step of the optimizer.")
            faults.raise_if_errors()

    def _driven(self, driven: Driven, r: Tensor, bias: Tensor, rest: Tensor, value: Any) -> tuple[Tensor, Tensor]:
        """The drive (batch, samples, n) at the samples, and what an impulse of each channel does (channels, n)."""
        network = self.network
        drive = (r * bias + rest).expand(driven.batch, driven.samples, network.n)
        jumps = torch.zeros(driven.channels, network.n, dtype=torch.float64)
        for each in network.projections:
            if each.source not in network.inputs:
                continue
            part, matrix = network.span[each.target], self._matrix(each, value)
            signal = driven.signals.get(each.source)
            if signal is not None:
                whole = torch.nn.functional.pad(signal @ matrix.t(), (part.start, network.n - part.stop))
                drive = drive + r * whole
            if each.source in driven.begins:
                first = driven.begins[each.source]
                size = network.size(each.source)
                jumps = jumps + torch.nn.functional.pad(
                    matrix.t() * r[part], (part.start, network.n - part.stop, first, driven.channels - first - size))
        return drive, jumps

    def _recurrent(self, r: Tensor, value: Any) -> Tensor | None:
        """r W (n, n), or None where no current reaches a neuron."""
        network, whole = self.network, None
        for each in network.projections:
            if each.source in network.inputs or each.target in network.outputs:
                continue
            rows, columns = network.span[each.target], network.span[each.source]
            block = torch.nn.functional.pad(self._matrix(each, value), (
                columns.start, network.n - columns.stop, rows.start, network.n - rows.stop))
            whole = block if whole is None else whole + block
        return None if whole is None else r[:, None] * whole

    def _outputs(self, currents: Tensor, value: Any) -> dict[str, Tensor]:
        network, found = self.network, {}
        for name in network.outputs:
            shown = torch.zeros(1, dtype=torch.float64).expand(*currents.shape[:2], network.size(name))
            if name in network.offsets:
                shown = shown + value(network.offsets[name])
            for each in network.projections:
                if each.target == name:
                    shown = shown + currents[..., network.span[each.source]] @ self._matrix(each, value).t()
            found[name] = shown.reshape(*shown.shape[:2], *network.outputs[name])
        return found

    def _matrix(self, projection: Projection, value: Any) -> Tensor:
        """A projection as a dense matrix (n_target, n_source)."""
        connection = projection.connection
        weight: Tensor = value(connection.weight)
        if isinstance(connection, Dense):
            return weight
        if not isinstance(connection, Sparse):
            raise TypeError(type(connection).__name__)
        rows = np.repeat(np.arange(len(connection.indptr) - 1), np.diff(connection.indptr))
        places = (torch.as_tensor(rows), torch.as_tensor(np.asarray(connection.indices, dtype=np.int64)))
        size = self.network.size(projection.target), self.network.size(projection.source)
        return torch.zeros(size, dtype=torch.float64).index_put(places, weight, accumulate=True)


def _circles(network: GradedNetwork) -> int:
    return sum(each.n for each in network.populations.values() if each.circle)


def _values(parameters: Parameters | None) -> Any:
    """Arrays as float64 tensors, from constants or from parameters."""
    def lift(array: Any) -> Tensor:
        return torch.from_numpy(np.array(array, dtype=np.float64))

    def value(array: Any) -> Tensor:
        if not parameters:
            return lift(array)
        found = evaluate(expr_of(array), parameters, lift)
        return (found if isinstance(found, Tensor) else lift(found)).to(torch.float64)

    return value
