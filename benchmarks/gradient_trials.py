"""One net on trial: its gradients by the adjoint and by finite differences, tensor by tensor, and the tally of many.

With central differences at two steps h and h / 2, extrapolated (Richardson). Where the two do not agree, or a spike
appears or vanishes between the four points, another h is tried. Tensors whose steps never agree are counted, and so are
those that have no step of equal spike counts.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from random_nets import Array, Case

import spikec
from spikec.ir.graph import Graph
from spikec.ir.nodes import params

STEPS = (1e-5, 1e-4, 1e-6, 1e-7)
"""h as a fraction of the largest entry of a tensor."""
AGREEMENT = 1e-7
SETTLED = 1e-6
"""Two steps that differ by more, whatever their size, say nothing about an error of 1e-6; such tensors are counted."""
NOTHING = 1e-8
"""A tensor that, changed as a whole, moves what is seen by less than this part of its size has no gradient: such are
the times of an IF neuron's inputs, of which only the charge matters. Adjoint and differences must both say so."""
HELD = ("refractory",)
"""Parameters that cannot be trained."""


def module_of(graph: Graph, dtype: torch.dtype, **settings: Any) -> Any:
    """With all that it can train requiring grad."""
    there = {name for node in graph.nodes.values() for name in params(node)} - set(HELD)
    return spikec.compile(graph).module(dtype=dtype, train=sorted(there), **settings)


class Trial(ABC):
    """What has `tensors` by name that ask for gradients, and shows numbers of some `size` that hang on them: the loss
    is a random sum of these."""

    tensors: dict[str, torch.Tensor]
    size: float
    steps: tuple[float, ...] = STEPS
    factors: torch.Tensor = torch.from_numpy(np.random.default_rng(9).uniform(0.5, 1.5, 1000))

    @abstractmethod
    def observed(self) -> tuple[torch.Tensor, tuple[int, ...]]:
        """What the loss sums, and how often each neuron of each sample fired: a step that changes it is none."""

    def gradients(self) -> dict[str, Array]:
        """By the adjoint."""
        observed, _ = self.observed()
        loss = (self.factors[: len(observed)] * observed).sum()
        found = torch.autograd.grad(loss, list(self.tensors.values()), allow_unused=True)
        return {name: np.zeros(tensor.shape) if each is None else each.numpy().copy()
                for (name, tensor), each in zip(self.tensors.items(), found, strict=True)}

    def differences(self, name: str) -> tuple[Array, float, float] | None:
        """(derivative with respect to each entry, disagreement of the two steps relative to the largest, h) at the
        first of `steps` whose two steps agree to `AGREEMENT`, else at the one that agrees best; None where at every
        step a spike comes or goes."""
        tensor = self.tensors[name]
        best: tuple[Array, float, float] | None = None
        for fraction in self.steps:
            step = fraction * self.scale(name)
            coarse, fine = self._central(tensor, step), self._central(tensor, step / 2)
            if coarse is None or fine is None:
                continue
            disagreement = float(np.abs(fine - coarse).max() / max(np.abs(fine).max(), 1e-300))
            if best is None or disagreement < best[1]:
                best = (4 * fine - coarse) / 3, disagreement, step
            if disagreement < AGREEMENT:
                break
        return best

    def scale(self, name: str) -> float:
        """The largest entry of a tensor."""
        return float(self.tensors[name].detach().abs().max()) or 1.0

    def _central(self, tensor: torch.Tensor, step: float) -> Array | None:
        entries = _entries(tensor)
        found = np.zeros(len(entries))
        with torch.no_grad():
            for number, entry in enumerate(entries):
                before = tensor[entry].item()
                values, counts = [], []
                for signed in (step, -step):
                    tensor[entry] = before + signed
                    value, count = self.observed()
                    values.append(value)
                    counts.append(count)
                tensor[entry] = before
                if counts[0] != counts[1]:
                    return None
                # summed after the difference: the sum is larger than the change by orders, and so is its rounding
                found[number] = float(((values[0] - values[1]) * self.factors[: len(values[0])]).sum()) / (2 * step)
        return found.reshape(tensor.shape)


class EventTrial(Trial):
    """A net as a module, which shows spike times, voltage maxima and last states."""

    def __init__(self, case: Case) -> None:
        self.case, self.module = case, module_of(case.graph, torch.float64)
        times = torch.from_numpy(np.array(case.events.times)).requires_grad_()
        self.events = spikec.Events(times, torch.from_numpy(case.events.indices), torch.from_numpy(case.events.offsets))
        self.tensors = {name: each for name, each in self.module.named_parameters() if each.requires_grad}
        self.tensors["input times"] = times
        self.size = case.duration

    def observed(self) -> tuple[torch.Tensor, tuple[int, ...]]:
        case, out = self.case, self.module(self.events, duration=self.case.duration)
        counts = tuple(int(count) for name in case.shown for count in out.spike_count(name).flatten())
        seen = [out.spike_times(name, 4).flatten() for name in case.shown]
        if case.pseudospikes:
            seen.append(out.pseudospike_times("last", 3).flatten())
        parts = [times[torch.isfinite(times.detach())] for times in seen]
        if case.readout:
            parts.append(1e-2 * out.voltage_max("last").flatten())
        for name in case.shown if case.units else ():
            ends = out.end(name)
            parts += [1e-2 * torch.atan(ends[state] / unit).flatten() for state, unit in case.units.items()]
        return torch.cat(parts), counts


def _entries(tensor: torch.Tensor) -> list[tuple[int, ...]]:
    return [tuple(int(i) for i in index) for index in np.ndindex(tuple(tensor.shape))]


@dataclass
class Tally:
    """Tensors of all trials: `compared` that have a gradient, `unsettled` of them where no two steps agree, `no_step`
    without a step of equal spike counts; `worst` error."""

    compared: int = 0
    unsettled: int = 0
    no_step: int = 0
    worst: float = 0.0

    def row(self, trials: Iterable[Trial]) -> dict[str, Any]:
        """max |g - FD| / max |FD| of the tensors of some nets: the worst by name, and over all."""
        errors: dict[str, float] = {}
        agreement, nets, before = 0.0, 0, self.compared
        unsettled: list[str] = []
        for trial in trials:
            nets += 1
            for name, gradient in trial.gradients().items():
                found = trial.differences(name)
                if found is None:
                    self.no_step += 1
                    unsettled.append(name)
                    continue
                difference, disagreement, _ = found
                largest = max(np.abs(difference).max(), np.abs(gradient).max())
                if largest * trial.scale(name) <= NOTHING * trial.size:
                    continue
                self.compared += 1
                if disagreement > SETTLED:
                    self.unsettled += 1
                    unsettled.append(name)
                    continue
                error = float(np.abs(gradient - difference).max() / max(np.abs(difference).max(), 1e-300))
                key = name.rsplit(".", 1)[-1]
                errors[key] = max(errors.get(key, 0.0), error)
                agreement = max(agreement, disagreement)
        worst = max(errors.values(), default=0.0)
        self.worst = max(self.worst, worst)
        return {"nets": nets, "errors": errors, "worst": worst, "two_steps_differ_by": agreement,
                "tensors": self.compared - before, "unsettled": unsettled}

    def figures(self) -> dict[str, Any]:
        """As results have them."""
        return {"worst": self.worst, "tensors_compared": self.compared,
                "tensors_without_agreeing_steps": self.unsettled, "tensors_without_equal_counts": self.no_step}
