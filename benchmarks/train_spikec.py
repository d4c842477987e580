"""One training of the same net by spikec's exact gradients until a validation accuracy is reached."""

from __future__ import annotations

import argparse

import numpy as np
import torch
from common import pin
from tasks import Array
from training import race, report, split

import spikec
from spikec.runtime.optimizers import FusedAdam, clip_rows

TAU_MEM, TAU_SYN, DURATION = 80e-3, 40e-3, 60e-3
"""Slow against the input: membranes rise until the end, and spikes come and go there, where they cost little."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lr", type=float, default=8e-3)
    parser.add_argument("--batch", type=int, default=100)
    parser.add_argument("--target", type=float, default=0.975)
    parser.add_argument("--limit", type=float, default=900.0, help="CPU seconds")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=2, help="most epochs; the learning rate falls to zero over them")
    parser.add_argument("--dropout", type=float, default=0.1, help="part of the input spikes left out")
    options = parser.parse_args()
    pin(1)
    torch.set_num_threads(1)
    rng = np.random.default_rng(options.seed)
    net = spikec.Builder()
    source, hidden = net.input("in", 784), net.cubalif("hidden", 350, tau_mem=TAU_MEM, tau_syn=TAU_SYN)
    last = net.cubali("label", 10, tau_mem=TAU_MEM, tau_syn=TAU_SYN)
    net.connect(source, hidden, weight=rng.normal(0.03, 0.08, (350, 784)), name="fc1")
    net.connect(hidden, last, weight=rng.normal(0.0, 0.1, (10, 350)), name="fc2")
    net.output("out", last)
    module = spikec.compile(net.build()).module(dtype=torch.float32)
    optimizer = FusedAdam(module.parameters(), lr=options.lr)
    loss = spikec.losses.IntegratedVoltageCrossEntropy(scale=50.0)
    images, labels, held_images, held_labels = split()
    events, held = (spikec.encoders.latency(each, 20e-3, threshold=1) for each in (images, held_images))
    targets, held_targets = torch.from_numpy(labels), torch.from_numpy(held_labels)

    def train(chosen: Array, progress: float) -> None:
        optimizer.param_groups[0]["lr"] = options.lr * 0.5 * (1 + np.cos(np.pi * progress))
        given = events.take(chosen)
        if options.dropout:
            given = given.take(np.arange(len(chosen)), rng.random(len(given)) >= options.dropout)
        optimizer.zero_grad()
        loss(module(given, duration=DURATION), targets[chosen]).value.backward()
        clip_rows([module.get_parameter("fc1.weight")], 0.02)
        optimizer.step()

    @torch.no_grad()
    def accuracy() -> float:
        right = 0
        for first in range(0, held.batch, 500):
            out = module(held.take(np.arange(first, first + 500)), duration=DURATION)
            right += int((out.voltage_integral("out").argmax(1) == held_targets[first:first + 500]).sum())
        return right / held.batch

    report(race(train, accuracy, samples=len(images), batch=options.batch, seed=options.seed, target=options.target,
                limit_s=options.limit, epochs=options.epochs))


if __name__ == "__main__":
    main()
