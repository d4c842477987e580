"""CPU time of a synaptic event, dense against convolutional; and a training step of the convolutional network beside
snnTorch's.

    python benchmarks/convolution.py [--quick | --full]

Networks of Bacho & Chu (`spike_count_nets`), 784-800-10 and 15C5-P2-40C5-P2-300-10, at their initial weights, MNIST's
first samples, float32, one pinned core. A synaptic event is a spike at one synapse: a spike before a pool and a
convolution of K x K meets K K C_out of them at most. snnTorch works in a process of its own on the same core, with its
spikes matched layer by layer; rounds go round all contestants, so that a change of speed meets each alike.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import spike_count_nets as nets
import tasks
import torch
from common import Timing, arguments, collector_paused, pin, timed, write_result
from peers import PEERS, Peer, Worker

import spikec
from spikec.ir.network import Conv, Dense, Sparse
from spikec.passes.stencils import unroll
from spikec.runtime.optimizers import FusedAdam
from spikec.runtime.threads import set_threads

BATCH = 20
LEARNING_RATE = 1e-6
"""Of the timed steps: the work of an update without moving the spike counts."""
STEPS_MS = (1.0, 4.0)
"""Time steps of snnTorch."""
SNNTORCH = Peer("snntorch", "peer_snntorch_conv.py", PEERS["snntorch"].installs)


@dataclass(frozen=True)
class ConvTask:
    """What the peer reads: events, labels, weights, thresholds, and the spikes a sample of each layer."""

    arrays: dict[str, Any]

    def save(self, path: Path) -> None:
        np.savez(path, **self.arrays)


def fan_out(projection: Any, sources: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Synapses of each source."""
    connection = projection.connection
    if isinstance(connection, Dense):
        return np.full(sources, connection.weight.shape[0])
    columns = connection.indices if isinstance(connection, Sparse) else unroll(connection)[1]
    return np.bincount(np.asarray(columns), minlength=sources)


class Net:
    """One network at work: `forward` without a gradient, `step` with it and an update."""

    def __init__(self, graph: spikec.Graph, events: spikec.Events, labels: torch.Tensor) -> None:
        self.program = spikec.compile(graph)
        self.module = self.program.module(dtype=torch.float32)
        self.events, self.labels = events, labels
        self.loss = spikec.losses.SpikeCountMSE(label=30, others=3)
        self.optimizer = FusedAdam(self.module.parameters(), lr=LEARNING_RATE)
        self.timings = {"forward": Timing(), "step": Timing()}
        self.step()
        out = self.module(events, duration=nets.DURATION)
        network = self.program.network
        self.spikes = {name: out.total_spikes(name) / events.batch for name in network.populations}
        self.by_projection = {}
        for each in network.projections:
            fired = events.indices if each.source in network.inputs else out.events(each.source).indices.numpy()
            fans = fan_out(each, network.size(each.source))
            self.by_projection[each.name] = {
                "events": float(fans[fired].sum()) / events.batch,
                "kind": "stencil" if isinstance(each.connection, Conv) else "dense"}
        self.events_a_sample = sum(each["events"] for each in self.by_projection.values())

    def forward(self) -> None:
        with torch.no_grad():
            self.module(self.events, duration=nets.DURATION)

    def step(self) -> None:
        self.optimizer.zero_grad()
        self.loss(self.module(self.events, duration=nets.DURATION), self.labels).value.backward()
        self.optimizer.step()

    def take_turn(self, calls: int) -> None:
        with collector_paused():
            for name, timing in self.timings.items():
                for _ in range(calls):
                    timing.add(*timed(getattr(self, name)))

    def record(self) -> dict[str, Any]:
        found = {name: timing.record() for name, timing in self.timings.items()}
        whole = self.events_a_sample * self.events.batch
        return {"spikes_a_sample": self.spikes, "synaptic_events_a_sample": self.events_a_sample,
                "projections": self.by_projection, **found,
                **{f"{name}_ns_an_event": row["cpu_ms"] * 1e6 / whole for name, row in found.items()}}


def conv_task(net: Net, dt: float) -> ConvTask:
    """The convolutional network for the peer."""
    out = net.module(net.events, duration=nets.DURATION)
    matched = [out.total_spikes(name) / net.events.batch for name in nets.LAYERS["15C5-P2-40C5-P2-300-10"]]
    weights = [net.program.graph.nodes[name].weight.astype(np.float32) for name in ("kernel1", "kernel2", "fc1", "fc2")]
    return ConvTask({
        "times": net.events.times, "indices": net.events.indices, "offsets": net.events.offsets,
        "labels": net.labels.numpy(), "duration": nets.DURATION, "dt": dt, "tau_mem": nets.TAU_MEM,
        "tau_syn": nets.TAU_SYN, "thresholds": np.array(nets.CONV_THRESHOLDS), "matched": np.array(matched),
        # what `raster` asks the number of inputs of
        "w_hidden": np.zeros((1, nets.SIDE**2), np.float32),
        **{f"w{number}": weight for number, weight in enumerate(weights)}})


def main() -> None:
    options = arguments(__doc__).parse_args()
    rounds, calls = (2, 1) if options.quick else (7, 2)
    pin(1)
    set_threads(1)
    torch.set_num_threads(1)
    images, labels, source = tasks.mnist_images("train", limit=BATCH)
    events, classes = nets.encode(images), torch.from_numpy(labels)
    ours = {name: Net(make(), events, classes)
            for name, make in zip(nets.LAYERS, (nets.dense, nets.convolutional), strict=True)}
    conv = ours["15C5-P2-40C5-P2-300-10"]
    with ExitStack() as stack:
        workers = {}
        for step_ms in STEPS_MS[-1:] if options.quick else STEPS_MS:
            print(f"setting up snnTorch, steps of {step_ms:g} ms", flush=True)
            workers[step_ms] = stack.enter_context(Worker(SNNTORCH, conv_task(conv, step_ms * 1e-3)))  # type: ignore[arg-type]
        for number in range(rounds):
            for net in ours.values():
                net.take_turn(calls)
            for worker in workers.values():
                if number < 3:  # a step of theirs takes seconds
                    worker.steps(1)
        peers = {f"{step_ms:g}": {**worker.timing.record(), **worker.ready} for step_ms, worker in workers.items()}
    rows = {name: net.record() for name, net in ours.items()}
    for name, row in rows.items():
        print(f"{name:24} {row['synaptic_events_a_sample']:12.0f} synaptic events a sample, "
              f"forward {row['forward_ns_an_event']:.2f}, step {row['step_ns_an_event']:.2f} ns each", flush=True)
    one, other = rows.values()
    ratios = {name: other[f"{name}_ns_an_event"] / one[f"{name}_ns_an_event"] for name in ("forward", "step")}
    for step_ms, row in peers.items():
        row["times_spikec"] = row["cpu_ms"] / other["step"]["cpu_ms"]
        print(f"snnTorch, steps of {step_ms} ms: {row['cpu_ms']:.0f} ms CPU a step of {BATCH}, spikec "
              f"{other['step']['cpu_ms']:.0f}: {row['times_spikec']:.1f} times", flush=True)
    write_result("convolution" + ("-quick" if options.quick else ""),
                 {"batch": BATCH, "source": source, "dtype": "float32", "rounds": rounds,
                  "duration_ms": nets.DURATION * 1e3},
                 {"networks": rows, "convolutional_over_dense": ratios, "snntorch_by_step_ms": peers})


if __name__ == "__main__":
    main()
