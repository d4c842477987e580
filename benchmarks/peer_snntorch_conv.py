"""snnTorch on 15C5-P2-40C5-P2-300-10: `Synaptic` layers stepped over time, fast-sigmoid surrogate gradient, fused Adam,
the same loss of spike counts. Weights are scaled layer by layer until each fires as often as in the exact simulation.
"""

from __future__ import annotations

import math
import time
from types import SimpleNamespace

import numpy as np
import snntorch
import torch
from snntorch import surrogate
from torch import Tensor, nn
from worker import LEARNING_RATE, load_task, match, parse_arguments, raster, serve


class Net(nn.Module):
    """Input (steps, batch, 1, 28, 28) -> spikes of the output (batch, 10), and mean spikes a sample of each layer."""

    def __init__(self, task: SimpleNamespace) -> None:
        super().__init__()
        alpha, beta = math.exp(-task.dt / task.tau_syn), math.exp(-task.dt / task.tau_mem)
        self.layers = nn.ModuleList([nn.Conv2d(1, 15, 5, bias=False), nn.Conv2d(15, 40, 5, bias=False),
                                     nn.Linear(640, 300, bias=False), nn.Linear(300, 10, bias=False)])
        gradient = surrogate.fast_sigmoid()
        self.cells = nn.ModuleList([
            snntorch.Synaptic(alpha=alpha, beta=beta, threshold=float(threshold), spike_grad=gradient,
                              reset_mechanism="zero") for threshold in task.thresholds])
        self.pool = nn.AvgPool2d(2, divisor_override=1)

    def forward(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        states = [cell.reset_mem() for cell in self.cells]
        counts: list[Tensor] = [torch.zeros(()) for _ in self.cells]
        for signal in x:
            for number, (layer, cell) in enumerate(zip(self.layers, self.cells, strict=True)):
                if number == 2:
                    signal = signal.flatten(1)
                signal, *states[number] = cell(layer(signal), *states[number])
                counts[number] = counts[number] + (signal if number == 3 else signal.detach().sum())
                if number < 2:
                    signal = self.pool(signal)
        spikes = counts[-1]
        return spikes, [each / x.shape[1] for each in (*counts[:-1], spikes.detach().sum())]


def main() -> None:
    """Worker: see `worker`."""
    options = parse_arguments(__doc__)
    began = time.perf_counter()
    torch.set_num_threads(1)
    task = load_task(options.task)
    x = torch.from_numpy(raster(task)).view(-1, len(task.labels), 1, 28, 28)
    labels = torch.from_numpy(np.asarray(task.labels))
    net = Net(task)
    factors = [float(task.dt)] * 4  # a membrane that gains w in a step there gains w dt here

    def set_weights() -> None:
        with torch.no_grad():
            for number, (layer, factor) in enumerate(zip(net.layers, factors, strict=True)):
                layer.weight.copy_(torch.from_numpy(getattr(task, f"w{number}")) * factor)

    def count(number: int, factor: float) -> float:
        factors[number] = factor
        set_weights()
        with torch.no_grad():
            return float(net(x)[1][number])

    for number, wanted in enumerate(task.matched):
        factors[number] = match(lambda factor, number=number: count(number, factor), float(wanted), factors[number])
    set_weights()
    optimizer = torch.optim.Adam(net.parameters(), lr=LEARNING_RATE, fused=True)
    target = torch.full((len(labels), 10), 3.0)
    target[torch.arange(len(labels)), labels] = 30.0

    def step() -> float:
        optimizer.zero_grad()
        spikes, _ = net(x)
        loss = ((target - spikes) ** 2).sum() / (2 * len(labels))
        loss.backward()
        optimizer.step()
        return loss.item()

    with torch.no_grad():
        found = [float(each) for each in net(x)[1]]
    serve(step, {"versions": {"snntorch": snntorch.__version__, "torch": torch.__version__}, "spikes": found,
                 "factors": factors, "setup_s": time.perf_counter() - began})


if __name__ == "__main__":
    main()
