"""snnTorch: `Synaptic` layers stepped over time, fast-sigmoid surrogate gradient, fused Adam."""

from __future__ import annotations

import math
from types import SimpleNamespace

import clocked
import snntorch
import torch
from snntorch import surrogate
from torch import Tensor, nn


class Net(nn.Module):
    """Input (steps, batch, inputs) -> (hidden spikes, output spikes, output membrane), each (steps, batch, ·).
    `hoist`: the first layer's product for all steps in one call."""

    def __init__(self, task: SimpleNamespace, spiking_output: bool, hoist: bool) -> None:
        super().__init__()
        (hidden, inputs), outputs = task.w_hidden.shape, task.w_output.shape[0]
        alpha, beta = math.exp(-task.dt / task.tau_syn), math.exp(-task.dt / task.tau_mem)
        self.hoist = hoist
        self.fc1, self.fc2 = nn.Linear(inputs, hidden, bias=False), nn.Linear(hidden, outputs, bias=False)
        self.rec = nn.Linear(hidden, hidden, bias=False) if task.w_recurrent is not None else None
        gradient = surrogate.fast_sigmoid()
        self.lif1 = snntorch.Synaptic(alpha=alpha, beta=beta, spike_grad=gradient)
        self.lif2 = snntorch.Synaptic(alpha=alpha, beta=beta, spike_grad=gradient,
                                      reset_mechanism="subtract" if spiking_output else "none")

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Simulates all steps from rest."""
        syn1, mem1 = self.lif1.reset_mem()
        syn2, mem2 = self.lif2.reset_mem()
        hidden, spikes, membrane = [], [], []
        current = self.fc1(x).unbind(0) if self.hoist else None
        spk1 = None
        for n in range(x.shape[0]):
            drive = self.fc1(x[n]) if current is None else current[n]
            if self.rec is not None and spk1 is not None:
                drive = drive + self.rec(spk1)
            spk1, syn1, mem1 = self.lif1(drive, syn1, mem1)
            spk2, syn2, mem2 = self.lif2(self.fc2(spk1), syn2, mem2)
            hidden.append(spk1)
            spikes.append(spk2)
            membrane.append(mem2)
        return torch.stack(hidden), torch.stack(spikes), torch.stack(membrane)


if __name__ == "__main__":
    clocked.run(Net, lambda task: float(task.dt / task.tau_mem), {"snntorch": snntorch.__version__}, __doc__)
