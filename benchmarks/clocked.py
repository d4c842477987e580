"""A clocked PyTorch peer as a worker: matches its spike counts, then trains with fused Adam. For snnTorch and Norse."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import nn
from worker import LEARNING_RATE, load_task, match, parse_arguments, raster, serve


def run(make_net: Callable[[SimpleNamespace, bool, bool], Any], start: Callable[[SimpleNamespace], float],
        versions: dict[str, str], description: str | None) -> None:
    """`make_net(task, spiking output, hoist)` gives a module with `fc1`, `fc2` and `rec` (or None) that maps a raster
    (steps, batch, inputs) to (hidden spikes, output spikes, output membrane); `start`: the factor between the task's
    weights and the peer's from which the search for matching spike counts begins."""
    options = parse_arguments(description)
    began = time.perf_counter()
    torch.set_num_threads(1)
    task = load_task(options.task)
    x, labels = torch.from_numpy(raster(task)), torch.from_numpy(np.asarray(task.labels))
    spiking = str(task.readout) == "spikes"
    net = make_net(task, spiking, options.hoist)

    def set_weights(hidden: float, output: float) -> None:
        with torch.no_grad():
            net.fc1.weight.copy_(torch.from_numpy(task.w_hidden) * hidden)
            net.fc2.weight.copy_(torch.from_numpy(task.w_output) * output)
            if net.rec is not None:
                net.rec.weight.copy_(torch.from_numpy(task.w_recurrent) * hidden)

    def counts(hidden: float, output: float) -> tuple[float, float]:
        set_weights(hidden, output)
        with torch.no_grad():
            hidden_spikes, output_spikes, _ = net(x)
        return float(hidden_spikes.sum()) / len(labels), float(output_spikes.sum()) / len(labels)

    first = start(task)
    hidden = match(lambda factor: counts(factor, first)[0], options.hidden_spikes, first)
    output = match(lambda factor: counts(hidden, factor)[1], options.output_spikes, first) if spiking else first
    found = counts(hidden, output)
    optimizer = torch.optim.Adam(net.parameters(), lr=LEARNING_RATE, fused=True)

    def step() -> float:
        optimizer.zero_grad()
        _, spikes, membrane = net(x)
        score = spikes.sum(0) if spiking else membrane.amax(0)
        loss = nn.functional.cross_entropy(score, labels)
        loss.backward()
        optimizer.step()
        return loss.item()

    serve(step, {"versions": {**versions, "torch": torch.__version__}, "hidden_spikes": found[0],
                 "output_spikes": found[1] if spiking else 0.0, "factors": [hidden, output],
                 "setup_s": time.perf_counter() - began})
