"""What the neurons of a model did on a chip, in the columns of the model: each population's latency is taken off."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...ir.nodes import Array

__all__ = ["IntegerActivity"]


@dataclass(frozen=True, slots=True, eq=False)
class IntegerActivity:
    """A `StepActivity`. By part of a population, (time, batch, n): `fired`, uint8; `carriers`, zeros without memory
    that carry the gradient of the spikes; `membranes`, in units of the model. `populations`: of the model, whether they
    spike. `parts`: for each of them that was split, by name of a part, which neurons it holds."""

    shown_by: Mapping[str, str]
    populations: Mapping[str, bool]
    parts: Mapping[str, Mapping[str, Array]]
    steps: int
    dt: float
    fired: Mapping[str, Tensor]
    carriers: Mapping[str, Tensor]
    membranes: Mapping[str, Tensor]

    @property
    def state(self) -> Any:
        """None: a stream does not go on here."""
        return None

    @property
    def spiking(self) -> Mapping[str, bool]:
        """By population of the model, whether it spikes."""
        return self.populations

    def flags(self, node: str) -> Tensor:
        """(time, batch, n) of a spiking node, uint8."""
        return self._whole(node, self.fired)

    def spikes(self, node: str) -> Tensor:
        """The same as numbers, differentiable."""
        return self._whole(node, {part: _Numbers.apply(carrier, self.fired[part])
                                  for part, carrier in self.carriers.items() if part in self._parts(node)})

    def membrane(self, node: str) -> Tensor | None:
        """(time, batch, n) after each column, where it was recorded."""
        return self._whole(node, self.membranes) if self._parts(node)[0] in self.membranes else None

    def _parts(self, node: str) -> list[str]:
        return list(self.parts.get(node, (node,)))

    def _whole(self, node: str, values: Mapping[str, Tensor]) -> Tensor:
        """Of the parts of a node, in the order of its neurons."""
        if node not in self.parts:
            return values[node]
        order = np.argsort(np.concatenate(list(self.parts[node].values())), kind="stable")
        joined = torch.cat([values[part] for part in self.parts[node]], -1)
        return joined[..., torch.from_numpy(order).to(joined.device)]


class _Numbers(torch.autograd.Function):
    """Flags as numbers; the gradient goes to their carrier."""

    @staticmethod
    def forward(ctx: Any, carrier: Tensor, flags: Tensor) -> Tensor:
        return flags.to(carrier.dtype)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient, None
