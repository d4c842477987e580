"""A training step of theta neurons, 784-100-100-10, against the published method (Klos & Memmesheimer, arXiv
2309.14523) written in JAX (`peer_theta.py`): one queue of events for the whole network, reverse differentiation of its
scan.

    python benchmarks/flow_speed.py [--quick | --full]

Both get the same weights, inputs and loss (cross-entropy of the first output spikes; silence counts as twice the
duration); before they are timed, all spikes and the gradients of all weights are compared, in float64. The peer is
timed in float64, and in float32, in which the published code works; spikec's neurons of this kind are float64 alone.
Time constant, current, duration and the phase at the start are those of the published MNIST configuration. Weights are
random; their mean is moved until a neuron fires as often as published after training, 0.417 times a sample.

`together`: binarised pixels, all of an image at t = 0, as published; the peer then has one input event, a product of
matrices. `one by one`: brighter pixels earlier, each an event of its own. The peer's scan runs 200 events, as
published, or where the fullest sample needs more, those, rounded up to tens. One core, one thread; rounds go round
both, medians of CPU time.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import Timing, arguments, collector_paused, pin, timed, write_result
from peers import PEERS, Worker
from tasks import mnist_images
from worker import match

import spikec
from spikec.runtime.optimizers import FusedAdam

SIZES = (784, 100, 100, 10)
TAU, CURRENT, DURATION = 6 / np.pi, 1.25, 2.0
ACTIVITY = 0.417
"""Spikes of a hidden neuron and sample after training [published notebook, 10 nets]; here of all neurons."""
PUBLISHED_EVENTS = 200


@dataclass
class ThetaTask:
    """What both sides get."""

    arrays: dict[str, Any]

    def save(self, path: Path) -> None:
        np.savez(path, **self.arrays)


def events_of(batch: int, together: bool) -> tuple[spikec.Events, np.ndarray, str]:
    images, labels, source = mnist_images("train", batch)
    sample, pixel = np.nonzero(images > 127)
    times = np.zeros(len(pixel)) if together else 0.75 * DURATION * (255.0 - images[sample, pixel]) / 128
    if not together:  # equal pixels would come together: a little apart, in order
        times = times + 1e-4 * np.random.default_rng(1).random(len(times))
    order = np.lexsort((pixel, times, sample))
    offsets = np.searchsorted(sample, np.arange(len(images) + 1))
    return spikec.Events(times[order], pixel[order], offsets), labels, source


def network(weights: list[np.ndarray]) -> spikec.Graph:
    net = spikec.Builder()
    last = net.input("in", SIZES[0])
    for layer, weight in enumerate(weights):
        neurons = net.theta(f"n{layer}", len(weight), tau=TAU, i0=CURRENT)
        net.connect(last, neurons, weight=weight, name=f"fc{layer}")
        last = neurons
    net.output("out", last)
    return net.build()


def drawn(gain: float) -> list[np.ndarray]:
    """Weights of every layer; `gain` moves their mean."""
    rng = np.random.default_rng(0)
    return [(rng.uniform(-1.0, 1.0, (after, before)) + gain) * scale
            for before, after, scale in zip(SIZES, SIZES[1:], (0.05, 0.2, 0.5), strict=False)]


def activity(weights: list[np.ndarray], events: spikec.Events) -> float:
    """Spikes of a neuron and sample."""
    run = spikec.compile(network(weights)).run(events, duration=DURATION)
    spikes = sum(len(run.spikes[f"n{layer}"].times) for layer in range(len(weights)))
    return spikes / (sum(SIZES[1:]) * (len(events.offsets) - 1))


class Ours:
    """The module, the loss and the optimizer of a task."""

    def __init__(self, weights: list[np.ndarray], events: spikec.Events, labels: np.ndarray) -> None:
        self.module = spikec.compile(network(weights)).module(dtype=torch.float64)
        self.optimizer = FusedAdam(self.module.parameters(), lr=1e-6)
        self.events, self.labels = events, torch.from_numpy(np.asarray(labels))

    def backward(self) -> Any:
        self.optimizer.zero_grad(set_to_none=True)
        out = self.module(self.events, duration=DURATION)
        first = out.first_spike("n2")
        loss = torch.nn.functional.cross_entropy(-first.clamp(max=2 * DURATION), self.labels)
        loss.backward()
        return out

    def step(self) -> None:
        self.backward()
        self.optimizer.step()


def compare(ours: Ours, answer: dict[str, np.ndarray]) -> dict[str, float]:
    """Largest difference of spike times, s, and of gradients, of their norm.

    Raises:
        SystemExit: a spike of one side is not there on the other, or the peer's events did not suffice.
    """
    out = ours.backward()
    worst, first = 0.0, np.cumsum([0, *SIZES[1:]])
    if not answer["ended"].all():
        raise SystemExit("the peer runs too few events")
    for layer in range(3):
        found = out.events(f"n{layer}")
        for sample in range(len(found.offsets) - 1):
            part = slice(int(found.offsets[sample]), int(found.offsets[sample + 1]))
            theirs = answer["neurons"][sample]
            kept = (theirs >= first[layer]) & (theirs < first[layer + 1])
            times, neurons = answer["times"][sample][kept], theirs[kept] - first[layer]
            order = np.lexsort((times, neurons))
            mine = np.lexsort((found.times[part].detach().numpy(), found.indices[part].numpy()))
            if not np.array_equal(neurons[order], found.indices[part].numpy()[mine]):
                raise SystemExit(f"the spikes of layer {layer}, sample {sample} are not the same")
            if len(order):
                apart = np.abs(times[order] - found.times[part].detach().numpy()[mine]).max()
                worst = max(worst, float(apart))
    gradients = 0.0
    for layer in range(3):
        mine, theirs = ours.module.get_parameter(f"fc{layer}.weight").grad, answer[f"gradient{layer}"]
        gradients = max(gradients, float(np.linalg.norm(mine.numpy() - theirs) / np.linalg.norm(theirs)))
    return {"spike_times_s": worst, "gradients": gradients}


def rounded_apart(ours: Ours, answer: dict[str, np.ndarray]) -> dict[str, float]:
    """Of a peer that rounds: how far the number of spikes is apart, of all, and gradients, of their norm.

    Raises:
        SystemExit: the peer's events did not suffice, or it does something else.
    """
    if not answer["ended"].all():
        raise SystemExit("the peer runs too few events")
    out = ours.backward()
    mine = sum(out.total_spikes(f"n{layer}") for layer in range(3))
    theirs = int((answer["neurons"] >= 0).sum())
    gradients = 0.0
    for layer in range(3):
        one, other = ours.module.get_parameter(f"fc{layer}.weight").grad.numpy(), answer[f"gradient{layer}"]
        gradients = max(gradients, float(np.linalg.norm(one - other) / np.linalg.norm(one)))
    if abs(theirs - mine) > 0.01 * mine:
        raise SystemExit(f"the peer has {theirs} spikes where there are {mine}")
    return {"spikes": abs(theirs - mine) / mine, "gradients": gradients}


def main() -> int:
    options = arguments(__doc__).parse_args()
    pin(1)
    torch.set_num_threads(1)
    spikec.set_threads(1)
    rows = []
    for together in (True, False):
        few, _, _ = events_of(50, together)
        gain = match(lambda gain, few=few: activity(drawn(gain), few), ACTIVITY, 0.5)  # type: ignore[misc]
        weights = drawn(gain)
        for batch in (50,) if options.quick else (50, 1000):
            rounds = 2 if options.quick else 9 if batch == 50 else 5
            for single in (False, True):
                rows.append(measured(weights, batch, together, single, rounds))
                print(rows[-1], flush=True)
    write_result("flow_speed-quick" if options.quick else "flow_speed",
                 {"sizes": SIZES, "tau": TAU, "i0": CURRENT, "duration": DURATION, "activity": ACTIVITY}, rows)
    return 0


def measured(weights: list[np.ndarray], batch: int, together: bool, single: bool, rounds: int) -> dict[str, Any]:
    """One row: both sides on one batch; the peer `single`: in float32."""
    events, labels, source = events_of(batch, together)
    ours = Ours(weights, events, labels)
    spikes = [np.diff(ours.backward().events(f"n{layer}").offsets) for layer in range(3)]
    inputs = np.ones(batch, dtype=int) if together else np.diff(events.offsets)
    needed = int((sum(spikes) + inputs).max()) + 1
    run = max(PUBLISHED_EVENTS, -(-needed // 10) * 10)
    task = ThetaTask({
        "times": events.times, "indices": events.indices, "offsets": events.offsets, "labels": labels, "sizes": SIZES,
        "tau": TAU, "i0": CURRENT, "duration": DURATION, "events": run, "together": together, "float32": single,
        **{f"weight{layer}": weight for layer, weight in enumerate(weights)}})
    timing = Timing()
    with Worker(PEERS["theta"], task) as peer:  # type: ignore[arg-type]
        with np.load(peer.ready["answer"]) as stored:
            apart = rounded_apart(ours, dict(stored)) if single else compare(ours, dict(stored))
        ours.step()
        for _ in range(rounds):
            peer.steps(1)
            with collector_paused():
                for _ in range(3):
                    timing.add(*timed(ours.step))
        theirs = peer.timing.record()
    mine = timing.record()
    return {
        "input": "together" if together else "one by one", "peer_dtype": "float32" if single else "float64",
        "batch": batch, "source": source, "events": run,
        "events_needed": needed, "spikes": [float(each.mean()) for each in spikes],
        "inputs": float(np.diff(events.offsets).mean()), "ours": mine, "peer": theirs,
        "times_less": theirs["cpu_ms"] / mine["cpu_ms"], "apart": apart,
        "peer_compile_s": peer.ready["compile_s"], "versions": peer.ready["versions"],
    }


if __name__ == "__main__":
    raise SystemExit(main())
