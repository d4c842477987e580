"""How much a network fires: spikes a neuron, neurons that stay silent, and when the output first speaks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

__all__ = ["Activity", "active"]


@dataclass(slots=True)
class Activity:
    """Sums over samples. By population: `neurons`, `spikes`, pairs of a sample and a neuron that did not fire in it
    (`silent`), and which neurons have fired at all (`ever`). `first`: seconds to the first spike of the output, over
    the `decided` samples in which it fired; `output`: the population that is, None for a readout."""

    output: str | None = None
    samples: int = 0
    neurons: dict[str, int] = field(default_factory=dict)
    spikes: dict[str, int] = field(default_factory=dict)
    silent: dict[str, int] = field(default_factory=dict)
    ever: dict[str, Tensor] = field(default_factory=dict)
    first: float = 0.0
    decided: int = 0

    def record(self) -> dict[str, Any]:
        """`spikes`: a neuron and sample; `silent`: share of neurons that do not fire, a sample; `never`: share of
        neurons that fire for no sample; all by population. `latency_s`: mean time of the output's first spike, None
        where it has none; `undecided`: share of samples in which it does not fire."""
        count = max(self.samples, 1)
        return {
            "neurons": dict(self.neurons),
            "spikes": {name: total / count / self.neurons[name] for name, total in self.spikes.items()},
            "silent": {name: total / count / self.neurons[name] for name, total in self.silent.items()},
            "never": {name: 1 - int(fired.sum()) / len(fired) for name, fired in self.ever.items()},
            "latency_s": self.first / self.decided if self.decided else None,
            "undecided": None if self.output is None else 1 - self.decided / count,
        }


@torch.no_grad()
def active(batches: Iterable[Any], populations: Sequence[str], output: str | None) -> Activity:
    """`batches`: outputs of a module, of samples that follow each other; `populations` that spike, and the `output`
    among them."""
    found = Activity(output)
    for out in batches:
        size = 0
        for name in populations:
            counts = out.spike_count(name)
            size, neurons = counts.shape
            fires = counts > 0
            found.neurons[name] = neurons
            found.spikes[name] = found.spikes.get(name, 0) + int(counts.sum())
            found.silent[name] = found.silent.get(name, 0) + int((~fires).sum())
            ever = fires.any(0)
            found.ever[name] = ever | found.ever[name] if name in found.ever else ever
        found.samples += size
        if output is not None:
            times = out.first_spike(output).min(1).values
            fired = torch.isfinite(times)
            found.first += float(times[fired].sum())
            found.decided += int(fired.sum())
    return found
