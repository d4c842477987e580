"""The weight bump: incoming weights of neurons that stay silent are raised until they fire.

The remedy of Fast & Deep (Göltz et al., Nature Machine Intelligence 3, 2021). It is a heuristic beside the gradient: a
silent neuron has no spike time that a gradient could be taken of.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ..ir.graph import Graph
from ..ir.network import Network
from .incoming import incoming

__all__ = ["WeightBump"]


class WeightBump:
    """After each step, raises the weights into the first population, in the order of the signal, that is too silent:
    hidden neurons that miss a spike in more than `hidden` of the samples, or label neurons that miss any spike they
    should have given. The raise is `start` times the mean absolute weight, and doubles as long as that lasts.
    """

    def __init__(self, graph: Graph, network: Network, module: Any, hidden: float = 0.3, start: float = 1e-3) -> None:
        self.hidden, self.start = hidden, start
        self.factors: dict[str, float] = {}
        spiking = [name for component in network.schedule for name in component if network.populations[name].spiking]
        shown = set(network.outputs.values())
        self._incoming = {
            name: [each for label, each in incoming(graph, module, name).items() if label.endswith(".weight")]
            for name in [*(name for name in spiking if name not in shown), *(name for name in spiking if name in shown)]
        }
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
            if not bool(rows.any()):
                self.factors.pop(name, None)
                continue
            factor = self.factors.get(name, self.start)
            self.factors[name] = 2 * factor
            for weight in weights:
                raised = factor * weight.abs().mean()
                if weight.ndim == 2 and weight.shape[0] == len(rows):
                    weight.add_(rows.to(weight.dtype).unsqueeze(1) * raised)
                else:  # a convolution or sparse weights: shared, or not laid out by neuron
                    weight.add_(raised)
            return

    def load(self, factors: Mapping[str, float]) -> None:
        self.factors = dict(factors)
