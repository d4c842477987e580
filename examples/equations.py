"""Neurons written as equations learn when to fire: the weights and the adaptation of AdEx neurons, by spike times.

    python examples/equations.py

Needs no data.
"""

from __future__ import annotations

import numpy as np
import torch

import spikec

DURATION = 60e-3
TARGETS = torch.tensor([15e-3, 22e-3, 30e-3, 38e-3], dtype=torch.float64)

draw = np.random.default_rng(0)
events = spikec.Events.from_samples([(np.sort(draw.uniform(0, 40e-3, 80)), draw.integers(0, 30, 80))])

net = spikec.Builder()
hidden = net.equations("hidden", len(TARGETS), spikec.equations.adex())
net.connect(net.input("in", 30), hidden, weight=spikec.normal(0.35e-9, 0.05e-9, seed=1), name="fc")
net.output("out", hidden)

module = spikec.compile(net.build()).module(dtype=torch.float64, train=("weight", "tau_u"))
optimizer = torch.optim.Adam([{"params": [module.get_parameter("fc.weight")], "lr": 5e-12},
                              {"params": [module.get_parameter("hidden.tau_u")], "lr": 1e-4}])
for step in range(81):
    first = module(events, duration=DURATION).first_spike("out")[0].clamp(max=DURATION)
    loss = ((first - TARGETS) / 1e-3).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if step % 20 == 0:
        print(f"step {step}: {loss.sqrt():.3f} ms off, first spikes at", (1e3 * first.detach().numpy()).round(2), "ms")
