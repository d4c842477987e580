"""The same gradients in a plain PyTorch loop: a program's module is an `nn.Module` like any other.

    python examples/plain_loop.py

Three clouds of points, encoded as spike times; needs no data.
"""

from __future__ import annotations

import numpy as np
import torch

import spikec
from spikec import encoders, normal

DURATION = 50e-3

draw = np.random.default_rng(0)
labels = draw.integers(0, 3, 600)
points = np.array([[0.2, 0.2], [0.8, 0.3], [0.4, 0.8]])[labels] + draw.normal(0, 0.07, (600, 2))
events, targets = encoders.yin_yang(points.clip(0, 1)), torch.from_numpy(labels)

net = spikec.Builder()
hidden = net.cubalif("hidden", 40, tau_mem=20e-3, tau_syn=10e-3)
label = net.cubalif("label", 3, tau_mem=20e-3, tau_syn=10e-3)
net.connect(net.input("in", 5), hidden, weight=normal(1.0, 0.5, seed=1))
net.connect(hidden, label, weight=normal(0.5, 0.2, seed=2))
net.output("out", label)

module = spikec.compile(net.build()).module()
optimizer = torch.optim.Adam(module.parameters(), lr=1e-2)
order = torch.Generator().manual_seed(0)
for epoch in range(5):
    for chosen in torch.randperm(len(targets), generator=order).split(50):
        out = module(events.take(chosen), duration=DURATION)
        times = out.first_spike("out").clamp(max=DURATION)  # (batch, 3) seconds; a silent neuron is at +inf
        loss = torch.nn.functional.cross_entropy(-times / 1e-3, targets[chosen])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        first = module(events, duration=DURATION).first_spike("out")
        predicted = first.argmin(1).where(first.isfinite().any(1), -1)  # no spike, no class
    print(f"epoch {epoch + 1}: accuracy {100 * (predicted == targets).double().mean():.1f} %")
