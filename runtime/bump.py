"""The weight bump: incoming weights of neurons that stay silent are raised until they fire.

The remedy of Fast & Deep (Göltz et al., Nature Machine Intelligence 3, 2021). It is a heuristic beside the gradient: a
silent neuron has no spike time that a gradient could be taken of.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..ir.graph import Graph
from ..ir.network import Network, Population
from .incoming import incoming

__all__ = ["WeightBump"]


class WeightBump:
    """After each step, raises the weights into the first population, in the order of the signal, that is too silent:
    hidden neurons that miss a spike in more than `hidden` of the samples, or label neurons that miss any spike they
    should have given. The raise is `start` times the weight by which one impulse would reach the threshold (2e-4 is the
    0.0005 of Fast & Deep, whose neurons need a weight of e). Neuron by neuron it doubles as long as that lasts, up to
    where all inputs together, one spike each, lift the membrane by `most` of the way more than before, and is halved
    where it does not last: without both, a few neurons that stay silent raise all others without end. `labels`: false
    leaves the label neurons alone.
    """

    def __init__(self, graph: Graph, network: Network, module: Any, hidden: float = 0.3, start: float = 2e-4,
                 most: float = 1.0, labels: bool = True) -> None:
        self.hidden, self.start = hidden, start
        self.factors: dict[str, Tensor] = {}
        spiking = [name for component in network.schedule for name in component if network.populations[name].spiking]
        shown = set(network.outputs.values())
        self._incoming = {
            name: [each for label, each in incoming(graph, module, name).items() if label.endswith(".weight")]
            for name in [*(name for name in spiking if name not in shown),
                         *(name for name in spiking if name in shown and labels)]
        }
        self._reach = {name: torch.from_numpy(_reach(network.populations[name])) for name in self._incoming}
        self._most = {name: max(start, most / max(1, sum(weight[0].numel() for weight in weights)))
                      for name, weights in self._incoming.items()}
        self._outputs = network.outputs

    @torch.no_grad()
    def apply(self, out: Any, output: str, silent: Tensor, labels: Tensor) -> None:
        """`silent` (batch,) or (batch, neurons), as a loss reports it for the node `output`."""
        label = self._outputs.get(output, output)
        for name, weights in self._incoming.items():
            missing = out.spike_count(name) == 0
            if name != label:
                rows = missing.to(torch.float64).mean(0) > self.hidden
            elif silent.ndim == 1:
                rows = torch.zeros(missing.shape[1], dtype=torch.bool, device=missing.device)
                rows[labels[silent]] = True
            else:
                rows = silent.any(0)
            at_first = torch.full(rows.shape, self.start, dtype=torch.float64, device=rows.device)
            factor = self.factors.get(name, at_first)
            changed = torch.where(rows, 2 * factor, factor / 2)
            self.factors[name] = changed.clamp(self.start, self._most[name])
            if not bool(rows.any()):
                continue
            raised = torch.where(rows, factor * self._reach[name].to(rows.device), 0.0)
            for weight in weights:
                if weight.ndim == 2 and weight.shape[0] == len(rows):
                    weight.add_(raised.to(weight.dtype).unsqueeze(1))
                else:  # a convolution or sparse weights: shared, or not laid out by neuron
                    weight.add_(raised.max())
            return

    def load(self, factors: Mapping[str, Tensor]) -> None:
        self.factors = dict(factors)


def _reach(population: Population) -> np.ndarray[Any, np.dtype[np.float64]]:
    """(n,): the weight of one impulse that lifts the membrane from its resting potential to the threshold."""
    r, threshold, rest = (np.asarray(each, np.float64) for each in (
        population.r, population.v_threshold, 0.0 if population.v_leak is None else population.v_leak))
    if population.kind == "integrator":
        peak = r
    elif population.kind == "leaky":
        peak = r / np.asarray(population.tau_mem)
    else:
        mem, syn = np.asarray(population.tau_mem, np.float64), np.asarray(population.tau_syn, np.float64)
        # of a current that decays from 1: x^(x / (1 - x)) with x = mem / syn, 1 / e where they are alike
        ratio = np.where(np.abs(mem / syn - 1) < 1e-6, 1 + 1e-6, mem / syn)
        peak = r * np.asarray(population.w_in) / syn * ratio ** (ratio / (1 - ratio))
    return np.abs(np.where(threshold != rest, threshold - rest, 1.0) / peak)
