"""spikec: the event engine through its PyTorch module, exact gradients, torch's fused Adam."""

from __future__ import annotations

import time
from types import SimpleNamespace

import numpy as np
import torch
from common import measure
from worker import LEARNING_RATE, load_task, parse_arguments, serve

import spikec
from spikec.runtime.optimizers import FusedAdam


def network(task: SimpleNamespace, show_hidden: bool = False) -> spikec.Graph:
    """The task as a spikec graph; `show_hidden`: with the hidden layer's spikes as an output of their own."""
    net = spikec.Builder()
    times = {"tau_mem": float(task.tau_mem), "tau_syn": float(task.tau_syn)}
    (hidden_size, inputs), outputs = task.w_hidden.shape, task.w_output.shape[0]
    source = net.input("in", inputs)
    hidden = net.cubalif("hidden", hidden_size, **times)
    last = (net.cubalif if str(task.readout) == "spikes" else net.cubali)("label", outputs, **times)
    net.connect(source, hidden, weight=task.w_hidden, name="fc1")
    net.connect(hidden, last, weight=task.w_output, name="fc2")
    if task.w_recurrent is not None:
        net.connect(hidden, hidden, weight=task.w_recurrent, name="rec")
    net.output("out", last)
    if show_hidden:
        net.output("shown", hidden)
    return net.build()


def events_of(task: SimpleNamespace) -> spikec.Events:
    """The input of the batch."""
    return spikec.Events(task.times, task.indices, task.offsets)


def spike_counts(task: SimpleNamespace) -> tuple[float, float]:
    """Mean hidden and output spikes a sample."""
    run = spikec.compile(network(task, show_hidden=True)).run(events_of(task), duration=float(task.duration))
    spiking = str(task.readout) == "spikes"
    return tuple(len(run.spikes[name]) / len(task.labels) if name == "shown" or spiking else 0.0
                 for name in ("shown", "out"))  # type: ignore[return-value]


def main() -> None:
    """Worker: see `worker`."""
    options = parse_arguments(__doc__)
    began = time.perf_counter()
    torch.set_num_threads(options.threads)
    task = load_task(options.task)
    module = spikec.compile(network(task)).module(dtype=torch.float32)
    optimizer = FusedAdam(module.parameters(), lr=LEARNING_RATE)
    loss = (spikec.losses.FirstSpikeCrossEntropy(output="out", silent=None) if str(task.readout) == "spikes"
            else spikec.losses.VoltageMaxCrossEntropy(output="out"))
    events, labels = events_of(task), torch.from_numpy(np.asarray(task.labels))
    duration = float(task.duration)

    def forward() -> torch.Tensor:
        return loss(module(events, duration=duration), labels).value

    def step() -> None:
        optimizer.zero_grad()
        forward().backward()
        optimizer.step()

    step()
    ready = time.perf_counter() - began
    hidden, output = spike_counts(task)
    parts = {"forward": measure(forward, samples=5), "update": measure(optimizer.step, samples=5)}
    serve(step, {"versions": {"spikec": spikec.__version__, "torch": torch.__version__}, "hidden_spikes": hidden,
                 "output_spikes": output, "setup_s": ready,
                 "parts_cpu_ms": {name: timing.record()["cpu_ms"] for name, timing in parts.items()}})


if __name__ == "__main__":
    main()
