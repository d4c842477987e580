"""Norse: the discretised EventProp of `norse.torch.functional.adjoint.lif_adjoint`, stepped over time, fused Adam."""

from __future__ import annotations

from importlib import metadata
from types import SimpleNamespace

import clocked
import torch
from norse.torch.functional.adjoint.lif_adjoint import lif_adjoint_step, lif_feed_forward_adjoint_step
from norse.torch.functional.leaky_integrator import LIParameters, LIState, li_step
from norse.torch.functional.lif import LIFFeedForwardState, LIFParameters, LIFState
from torch import Tensor, nn


class Net(nn.Module):
    """Input (steps, batch, inputs) -> (hidden spikes, output spikes, output membrane), each (steps, batch, ·).
    `hoist`: the first layer's product for all steps in one call (feedforward only)."""

    def __init__(self, task: SimpleNamespace, spiking_output: bool, hoist: bool) -> None:
        super().__init__()
        (hidden, inputs), outputs = task.w_hidden.shape, task.w_output.shape[0]
        self.dt, self.spiking_output, self.hoist = float(task.dt), spiking_output, hoist
        self.fc1, self.fc2 = nn.Linear(inputs, hidden, bias=False), nn.Linear(hidden, outputs, bias=False)
        self.rec = nn.Linear(hidden, hidden, bias=False) if task.w_recurrent is not None else None
        inverse = torch.as_tensor(1 / float(task.tau_syn)), torch.as_tensor(1 / float(task.tau_mem))
        self.lif = LIFParameters(tau_syn_inv=inverse[0], tau_mem_inv=inverse[1])
        self.li = LIParameters(tau_syn_inv=inverse[0], tau_mem_inv=inverse[1])

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Simulates all steps from rest."""
        batch, hidden, outputs = x.shape[1], self.fc1.out_features, self.fc2.out_features
        zero = torch.zeros(batch, hidden)
        state = LIFFeedForwardState(v=zero, i=zero) if self.rec is None else LIFState(z=zero, v=zero, i=zero)
        nought = torch.zeros(batch, outputs)
        out = LIFFeedForwardState(v=nought, i=nought) if self.spiking_output else LIState(v=nought, i=nought)
        all_hidden, all_spikes, all_membrane = [], [], []
        current = self.fc1(x).unbind(0) if self.hoist and self.rec is None else None
        for n in range(x.shape[0]):
            if self.rec is not None:
                z, state = lif_adjoint_step(x[n], state, self.fc1.weight, self.rec.weight, self.lif, self.dt)
            else:
                drive = self.fc1(x[n]) if current is None else current[n]
                z, state = lif_feed_forward_adjoint_step(drive, state, self.lif, self.dt)
            if self.spiking_output:
                spikes, out = lif_feed_forward_adjoint_step(self.fc2(z), out, self.lif, self.dt)
                all_spikes.append(spikes)
            else:
                _, out = li_step(z, out, self.fc2.weight, self.li, self.dt)
            all_hidden.append(z)
            all_membrane.append(out.v)
        return torch.stack(all_hidden), torch.stack(all_spikes or [nought]), torch.stack(all_membrane)


if __name__ == "__main__":
    clocked.run(Net, lambda _: 1.0, {"norse": metadata.version("norse")}, __doc__)
