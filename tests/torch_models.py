"""Models that several tests of the torch front end start from."""

from __future__ import annotations

from typing import Any

import snntorch
import torch
from torch import nn

DT = 1e-3
STEPS, BATCH = 9, 3


class Two(nn.Module):
    """Two layers, whose `forward` the classes below write."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.lif1 = nn.Linear(12, 20), snntorch.Leaky(0.9, threshold=0.5)
        self.fc2, self.lif2 = nn.Linear(20, 5), snntorch.Leaky(0.8, threshold=0.3)


class TimeFirst(Two):
    def forward(self, x: Any) -> Any:
        mem1, mem2, recorded = self.lif1.reset_mem(), self.lif2.reset_mem(), []
        for step in range(x.size(0)):
            spk1, mem1 = self.lif1(self.fc1(x[step]), mem1)
            spk2, mem2 = self.lif2(self.fc2(spk1), mem2)
            recorded.append(spk2)
        return torch.stack(recorded)


class Listed(nn.Module):
    """Layers in lists, states in a list, a skip connection, and features side by side."""

    def __init__(self) -> None:
        super().__init__()
        sizes = [(12, 20), (20, 20), (40, 5)]
        self.layers = nn.ModuleList(nn.Linear(*size) for size in sizes)
        self.cells = nn.ModuleList(snntorch.Synaptic(alpha=0.6, beta=0.8, threshold=0.4) for _ in sizes)

    def forward(self, x: Any) -> Any:
        states, recorded = [cell.init_synaptic() for cell in self.cells], []
        for each in x:
            first, *states[0] = self.cells[0](self.layers[0](each), *states[0])
            second, *states[1] = self.cells[1](self.layers[1](first) + first, *states[1])
            last, *states[2] = self.cells[2](self.layers[2](torch.cat([first, second], dim=1)), *states[2])
            recorded.append(last)
        return torch.stack(recorded)
