"""A training step of AdEx neurons, written as equations, against eventax, which follows equations by diffrax's solvers.

    python benchmarks/equations_speed.py [--quick | --full]

Feedforward networks on Yin-Yang's spikes (5 inputs, 30 ms), `spikec.equations.adex()` with its published values on
both sides, the same weights, inputs, duration and loss, gradients of all weights. Losses: "first", cross-entropy of the
first output spikes over `LOSS_TAU`, silence counting as twice the duration; there eventax ends a sample when all
outputs have fired, spikec runs on. "all": every output spike votes for its class with exp(-t / `LOSS_TAU`); both run
the full time.

Accuracy first: spikes, and derivatives of the loss along drawn directions of all weights, against the reference
(scipy's DOP853 at 1e-12) and central differences of it, on the first samples; what is below 1e-7 of a derivative may be
the differences' own error. eventax runs (a) with all of its defaults, float32 and Euler steps of 0.01 ms, and (b) in
float64 with an adaptive method of order 8, at 1e-12, the tolerance at which the errors of its spike times are nearest
to spikec's (5-30-3: 2e-12 s, spikec 4e-13; at 1e-11 and 1e-10, 2.7e-12 and 4.6e-12 for about 0.85 of the time).
"Equal accuracy" is (b). What diverges is told: neurons with another number of spikes are counted, and left out of the
comparison of times.

One core, one thread each; compilation and one step are over before anything is timed; rounds go round all three,
medians of CPU and wall time of one step.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import Timing, arguments, collector_paused, pin, timed, write_result
from peers import PEERS, Worker
from tasks import yin_yang

import spikec
from spikec.ir.exact import simulate_exact
from spikec.runtime.optimizers import FusedAdam

SIZES = ((5, 30, 3), (5, 120, 3))
DURATION = 40e-3
LOSS_TAU = {"first": 5e-3, "all": 20e-3}
TOLERANCES = {"a": 0.0, "b": 1e-12}
"""Of eventax; 0: its defaults."""
LEARNING_RATE = 1e-15
"""Amperes a step: the work of an update without moving the spikes."""
STEP = 1e-6
"""Of the differences, of the weights' root mean square: with a hundred times as much, spikes change places."""


@dataclass
class EquationsTask:
    """What the peer gets."""

    arrays: dict[str, Any]

    def save(self, path: Path) -> None:
        np.savez(path, **self.arrays)


def drawn(sizes: tuple[int, ...]) -> list[np.ndarray]:
    """Weights of each layer, A; a hidden neuron fires about 1.3 times a sample, an output twice."""
    rng = np.random.default_rng(0)
    return [rng.normal(1.0, 0.5, (after, before)) * scale
            for before, after, scale in zip(sizes, sizes[1:], (1.1e-9, 4.8e-9 / sizes[1]), strict=False)]


def network(weights: list[np.ndarray]) -> spikec.Graph:
    net = spikec.Builder()
    last = net.input("in", weights[0].shape[1])
    for layer, weight in enumerate(weights):
        neurons = net.equations(f"n{layer}", len(weight), spikec.equations.adex())
        net.connect(last, neurons, weight=weight, name=f"fc{layer}")
        last = neurons
    net.output("out", last)
    return net.build()


def batch_of(size: int) -> tuple[spikec.Events, torch.Tensor, str]:
    task = yin_yang(size)
    return spikec.Events(task.times, task.indices, task.offsets), torch.from_numpy(task.labels), task.source


def first_samples(events: spikec.Events, count: int) -> spikec.Events:
    end = int(events.offsets[count])
    return spikec.Events(events.times[:end], events.indices[:end], events.offsets[:count + 1])


def scores(times: torch.Tensor, indices: torch.Tensor, offsets: torch.Tensor, classes: int, kind: str) -> torch.Tensor:
    """(batch, classes): what the cross-entropy is of, from the spikes of the outputs."""
    batch, tau = len(offsets) - 1, LOSS_TAU[kind]
    place = torch.repeat_interleave(torch.arange(batch), torch.diff(offsets)) * classes + indices
    if kind == "all":
        return torch.zeros(batch * classes, dtype=times.dtype).index_add(0, place, torch.exp(-times / tau)).reshape(
            batch, classes)
    silent = torch.full((batch * classes,), 2 * DURATION, dtype=times.dtype)
    return -silent.scatter_reduce(0, place, times, "amin").reshape(batch, classes) / tau


class Ours:
    """The module, the loss and the optimizer."""

    def __init__(self, weights: list[np.ndarray], kind: str) -> None:
        self.module = spikec.compile(network(weights)).module(dtype=torch.float64)
        self.optimizer = FusedAdam(self.module.parameters(), lr=LEARNING_RATE)
        self.kind, self.layers, self.classes = kind, len(weights), len(weights[-1])

    def backward(self, events: spikec.Events, labels: torch.Tensor) -> Any:
        self.optimizer.zero_grad(set_to_none=True)
        out = self.module(events, duration=DURATION)
        spikes = out.events(f"n{self.layers - 1}")
        found = scores(spikes.times, spikes.indices, torch.as_tensor(spikes.offsets), self.classes, self.kind)
        torch.nn.functional.cross_entropy(found, labels[:len(found)]).backward()
        return out

    def step(self, events: spikec.Events, labels: torch.Tensor) -> None:
        self.backward(events, labels)
        self.optimizer.step()

    def gradients(self) -> list[np.ndarray]:
        return [self.module.get_parameter(f"fc{layer}.weight").grad.numpy().copy() for layer in range(self.layers)]


Spikes = list[dict[tuple[int, int], np.ndarray]]
"""By layer: the times of each neuron that fires, by (sample, neuron)."""


def grouped(times: Any, indices: Any, samples: Any) -> dict[tuple[int, int], np.ndarray]:
    found: dict[tuple[int, int], list[float]] = {}
    for time, index, sample in zip(*(np.asarray(each).tolist() for each in (times, indices, samples)), strict=True):
        found.setdefault((sample, index), []).append(time)
    return {key: np.sort(each) for key, each in found.items()}


def of_events(spikes: Any) -> dict[tuple[int, int], np.ndarray]:
    offsets = np.asarray(spikes.offsets)
    times = spikes.times.detach() if isinstance(spikes.times, torch.Tensor) else spikes.times
    return grouped(times, spikes.indices, np.repeat(np.arange(len(offsets) - 1), np.diff(offsets)))


def of_answer(answer: dict[str, np.ndarray], sizes: tuple[int, ...]) -> Spikes:
    first, samples = np.cumsum([0, *sizes[1:]]), np.arange(len(answer["times"]))[:, None]
    samples = np.broadcast_to(samples, answer["times"].shape)
    layers = []
    for begin, end in pairwise(first):
        kept = (answer["neurons"] >= begin) & (answer["neurons"] < end)
        layers.append(grouped(answer["times"][kept], answer["neurons"][kept] - begin, samples[kept]))
    return layers


class Reference:
    """Spikes of the first samples, and derivatives of the losses along drawn directions."""

    def __init__(self, weights: list[np.ndarray], events: spikec.Events, labels: torch.Tensor, directions: int) -> None:
        self.layers, self.events, self.labels = len(weights), events, labels
        self.classes = len(weights[-1])
        rng = np.random.default_rng(1)
        run = self.run(weights)
        self.spikes = [of_events(run[f"n{layer}"]) for layer in range(self.layers)]
        self.sizes = [np.sqrt(np.mean(weight**2)) for weight in weights]
        self.directions = [[rng.choice((-1.0, 1.0), weight.shape) * size
                            for weight, size in zip(weights, self.sizes, strict=True)] for _ in range(directions)]
        ends = [[self.losses(self.run([weight + sign * STEP * each
                                       for weight, each in zip(weights, direction, strict=True)]))
                 for sign in (1.0, -1.0)] for direction in self.directions]
        self.derivatives = {kind: [(up[kind] - down[kind]) / (2 * STEP) for up, down in ends] for kind in LOSS_TAU}

    def run(self, weights: list[np.ndarray]) -> Any:
        return simulate_exact(network(weights), self.events, DURATION).spikes

    def losses(self, spikes: Any) -> dict[str, float]:
        last = spikes[f"n{self.layers - 1}"]
        times, indices, offsets = (torch.as_tensor(np.array(each)) for each in (last.times, last.indices, last.offsets))
        return {kind: float(torch.nn.functional.cross_entropy(scores(times, indices, offsets, self.classes, kind),
                                                              self.labels[:len(offsets) - 1])) for kind in LOSS_TAU}

    def accuracy(self, spikes: Spikes, gradients: list[np.ndarray], kind: str) -> dict[str, float]:
        """Largest error of a spike time, s; neurons whose number of spikes is another; largest error of a derivative,
        of the root mean square of what it would be along a random direction."""
        worst, others = 0.0, 0
        for mine, found in zip(self.spikes, spikes, strict=True):
            for key in mine.keys() | found.keys():
                pair = mine.get(key, np.empty(0)), found.get(key, np.empty(0))
                if len(pair[0]) != len(pair[1]):
                    others += 1
                else:
                    worst = max(worst, float(np.abs(pair[0] - pair[1]).max()))
        usual = np.sqrt(sum(np.sum((each * size)**2) for each, size in zip(gradients, self.sizes, strict=True)))
        errors = [abs(sum(np.sum(one * other) for one, other in zip(gradients, direction, strict=True)) - wanted)
                  for direction, wanted in zip(self.directions, self.derivatives[kind], strict=True)]
        return {"spike_times_s": worst, "other_counts": others, "derivatives": float(max(errors) / usual)}


def apart(ours: list[np.ndarray], theirs: list[np.ndarray]) -> float:
    """Largest difference of a layer's gradient, of its norm."""
    return max(float(np.linalg.norm(mine - other) / np.linalg.norm(mine))
               for mine, other in zip(ours, theirs, strict=True))


def measured(sizes: tuple[int, ...], kind: str, batch: int, rounds: int, reference: Reference) -> dict[str, Any]:
    """One row: all sides on one batch."""
    weights = drawn(sizes)
    events, labels, source = batch_of(batch)
    ours = Ours(weights, kind)
    checked = len(reference.events.offsets) - 1
    out = ours.backward(reference.events, labels)
    mine = reference.accuracy([of_events(out.events(f"n{layer}")) for layer in range(ours.layers)], ours.gradients(),
                              kind)
    out = ours.backward(events, labels)
    gradients = ours.gradients()
    counts = [np.diff(np.asarray(out.events(f"n{layer}").offsets)) for layer in range(ours.layers)]
    # an event of eventax is an input, a spike, the start, or the end; some spare for what Euler adds
    most = int(1.2 * (sum(counts) + np.diff(events.offsets)).max()) + 10
    record = {key: value for key, value in spikec.equations.adex().items() if isinstance(value, float)}
    arrays = {"times": events.times, "indices": events.indices, "offsets": events.offsets, "labels": labels.numpy(),
              "sizes": sizes, "duration": DURATION, "loss": kind, "loss_tau": LOSS_TAU[kind], "events": most,
              "output_spikes": int(1.2 * counts[-1].max()) + 10, "checked": checked, **record,
              **{f"weight{layer}": weight for layer, weight in enumerate(weights)}}
    timing, peers = Timing(), {}
    with ExitStack() as stack:
        for name, tolerance in TOLERANCES.items():
            print(f"setting up eventax {name}, {'-'.join(map(str, sizes))}, loss of {kind} spikes", flush=True)
            task = EquationsTask({**arrays, "tolerance": tolerance})
            worker = stack.enter_context(Worker(PEERS["eventax"], task))  # type: ignore[arg-type]
            with np.load(worker.ready["answer"]) as stored:
                answer = dict(stored)
            peers[name] = worker, {
                "accuracy": reference.accuracy(of_answer(answer, sizes),
                                               [answer[f"checked{layer}"] for layer in range(ours.layers)], kind),
                "gradients_apart": apart(gradients, [answer[f"gradient{layer}"] for layer in range(ours.layers)])}
        ours.step(events, labels)
        for _ in range(rounds):
            with collector_paused():
                timing.add(*timed(lambda: ours.step(events, labels)))
            for worker, _ in peers.values():
                worker.steps(1)
        found = {name: {**facts, **worker.timing.record(), **ratios(timing, worker.timing),
                        "compile_s": worker.ready["compile_s"], "versions": worker.ready["versions"]}
                 for name, (worker, facts) in peers.items()}
    return {"sizes": sizes, "loss": kind, "batch": batch, "source": source, "checked": checked,
            "spikes": [float(each.mean()) for each in counts], "ours": {"accuracy": mine, **timing.record()},
            "eventax": found}


def ratios(ours: Timing, theirs: Timing) -> dict[str, float]:
    """How many times as long theirs takes: of the medians, and the least of any round."""
    return {
        "times_less_cpu": float(np.median(theirs.cpu_ms) / np.median(ours.cpu_ms)),
        "times_less_wall": float(np.median(theirs.wall_ms) / np.median(ours.wall_ms)),
        "least_cpu": min(other / mine for mine, other in zip(ours.cpu_ms, theirs.cpu_ms, strict=True)),
    }


def main() -> int:
    options = arguments(__doc__).parse_args()
    pin(1)
    torch.set_num_threads(1)
    spikec.set_threads(1)
    batch, rounds, checked, directions = (4, 2, 1, 1) if options.quick else (32, 5, 2, 2)
    rows = []
    for sizes in SIZES[:1] if options.quick else SIZES:
        events, labels, _ = batch_of(batch)
        reference = Reference(drawn(sizes), first_samples(events, checked), labels, directions)
        for kind in LOSS_TAU:
            rows.append(measured(sizes, kind, batch, rounds, reference))
            print(rows[-1], flush=True)
    write_result("equations_speed" + ("-quick" if options.quick else ""),
                 {"duration_ms": DURATION * 1e3, "loss_tau_ms": {name: tau * 1e3 for name, tau in LOSS_TAU.items()},
                  "tolerances": TOLERANCES, "rounds": rounds, "difference_step": STEP}, rows)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
