"""The clock target against each PyTorch framework on that framework's own network: 784-512-10, rate-coded MNIST.

    python benchmarks/clock_speed.py [--quick | --full] [--only norse]

Needs an environment with all frameworks: `make conformance` builds one (.venv-conformance). All run in one process, on
one thread, in float32. A framework and the clock get the same weights, input, loss (cross-entropy of the number of
output spikes) and optimizer (torch's fused Adam), and train the same parameters; before they are timed, their spikes
and the gradients of all parameters are compared.
Rounds go round all of them, so that a change of the machine's speed meets each alike; medians.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from typing import Any

for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "SPIKEC_THREADS"):
    os.environ[_name] = "1"  # before a thread pool is made

import clock_nets  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402
from common import Timing, arguments, collector_paused, pin, timed, write_result  # noqa: E402
from tasks import mnist_images  # noqa: E402
from torch import Tensor, nn  # noqa: E402
from worker import match  # noqa: E402

import spikec  # noqa: E402

RATE = 0.1
"""Spikes of a neuron and step that the weights of both layers are scaled to."""
MISS = 0.1
"""How far off `RATE` a layer may be: a few samples and steps have few spikes to count."""
APART = 0.05
"""How far gradients of the same surrogate may be apart, of their norm, where all spike counts agree: in float32 a
hidden spike may still fall in another step, which is a percent; a gradient in other units is one or more."""


@dataclass
class Pair:
    """A framework's network and the clock's, and what is timed of each."""

    contestant: clock_nets.Contestant
    work: dict[str, Callable[[], object]]
    timings: dict[str, Timing]
    facts: dict[str, Any]


def rate_coded(images: np.ndarray, steps: int) -> Tensor:
    """(batch, steps, 784): a pixel spikes in a step with the probability of its brightness."""
    rng = np.random.default_rng(3)
    bright = images.astype(np.float32) / 255
    return torch.from_numpy((rng.random((len(bright), steps, 784), dtype=np.float32) < bright[:, None]).astype(
        np.float32))


def scaled(contestant: clock_nets.Contestant, raster: Tensor) -> dict[str, float]:
    """Scales both layers so that their neurons spike at `RATE`; gives the rates of both."""
    given = contestant.prepared(raster)
    layers = [each for each in contestant.module.modules() if isinstance(each, nn.Linear)]
    kept = [each.weight.detach().clone() for each in layers]
    hidden: list[float] = []

    def watch(module: nn.Module, given: Any, returned: Any) -> None:
        spikes = returned[0] if isinstance(returned, tuple) else returned
        hidden.append(float(spikes.detach().sum()))

    places = raster.shape[0] * raster.shape[1]

    def rate(layer: int, factor: float) -> float:
        with torch.no_grad():
            layers[layer].weight.copy_(kept[layer] * factor)
            hidden.clear()
            out = float(contestant.counts(given).sum()) / places / clock_nets.OUTPUTS
        return out if layer else sum(hidden) / places / clock_nets.HIDDEN

    hook = contestant.module.get_submodule(contestant.hidden).register_forward_hook(watch)
    found = {"hidden_rate": rate(0, match(lambda factor: rate(0, factor), RATE, 1.0))}
    found["output_rate"] = rate(1, match(lambda factor: rate(1, factor), RATE, 1.0))
    hook.remove()
    missed = {name: each for name, each in found.items() if abs(each - RATE) > MISS * RATE}
    if missed:
        raise SystemExit(f"{contestant.framework}: no weights bring the neurons to {RATE} spikes a step: {missed}")
    return found


def prepare(contestant: clock_nets.Contestant, raster: Tensor, labels: Tensor) -> Pair:
    """Both networks, compared once, and what is timed of them."""
    facts = scaled(contestant, raster[:8])
    sizes = {"step": raster[:2, 0], "time_first": raster[:2, :3].transpose(0, 1), "batch_first": raster[:2, :3],
             "folded": raster[:8, :3].flatten(0, 1)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        graph = spikec.from_torch(contestant.module, sample=sizes[contestant.layout], dt=contestant.dt)
    clock = spikec.compile(graph, target="clock").module(dtype=torch.float32, **contestant.surrogate)
    given, output = contestant.prepared(raster), graph.outputs[0]

    def ours(values: Tensor) -> Tensor:
        counted: Tensor = clock(values).spike_count(output)
        return counted

    def theirs(values: Tensor) -> Tensor:
        return contestant.counts(values)

    facts |= compared(contestant.module, theirs, given, clock, ours, raster, labels)
    if contestant.surrogate and not facts["samples_with_other_counts"] and facts["gradients_apart"] > APART:
        raise SystemExit(f"{contestant.framework}: gradients differ: {facts['gradients']}")
    work: dict[str, Callable[[], object]] = {}
    sides = (("clock", clock, ours, raster), ("framework", contestant.module, theirs, given))
    for name, module, counts, values in sides:
        optimizer = torch.optim.Adam(trained(module).values(), lr=1e-6, fused=True)
        work[f"{name} forward"] = lambda counts=counts, values=values: _forward(counts, values)  # type: ignore[misc]
        work[f"{name} training"] = lambda counts=counts, values=values, optimizer=optimizer: _train(  # type: ignore[misc]
            counts, values, labels, optimizer)
    for each in work.values():
        each()
    return Pair(contestant, work, {name: Timing() for name in work}, facts)


@torch.no_grad()
def _forward(counts: Callable[[Tensor], Tensor], values: Tensor) -> Tensor:
    return counts(values)


def _train(counts: Callable[[Tensor], Tensor], values: Tensor, labels: Tensor,
           optimizer: torch.optim.Optimizer) -> None:
    optimizer.zero_grad()
    nn.functional.cross_entropy(counts(values), labels).backward()
    optimizer.step()


def compared(module: nn.Module, theirs: Callable[[Tensor], Tensor], given: Tensor, clock: nn.Module,
             ours: Callable[[Tensor], Tensor], raster: Tensor, labels: Tensor) -> dict[str, Any]:
    """How far spikes and gradients of the two are apart, so that both do the same work."""
    found: dict[str, Any] = {}
    gradients, counts = [], []
    for one, run, values in ((module, theirs, given), (clock, ours, raster)):
        one.zero_grad()
        counted = run(values)
        nn.functional.cross_entropy(counted, labels).backward()
        counts.append(counted.detach())
        gradients.append({name: each.grad.clone() for name, each in trained(one).items() if each.grad is not None})
    found["spikes"] = [float(each.sum()) for each in counts]
    found["samples_with_other_counts"] = int((counts[0] != counts[1]).any(1).sum())
    peer, own = gradients
    if peer.keys() != own.keys():
        raise SystemExit(f"the framework trains {', '.join(peer)}, the clock {', '.join(own)}")
    found["gradients"] = {name: float((each - own[name]).norm() / each.norm()) for name, each in peer.items()}
    found["gradients_apart"] = max(found["gradients"].values())
    return found


def trained(module: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters that get a gradient, by name: the clock's are named as the framework's."""
    return {name: each for name, each in module.named_parameters() if each.requires_grad}


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--only", default="", help="frameworks whose name holds this text")
    options = parser.parse_args()
    pin(1)
    torch.set_num_threads(1)
    spikec.set_threads(1)
    batch, lengths, rounds = (8, (10,), 2) if options.quick else (64, (25, 100), 9)
    images, classes, source = mnist_images("train", limit=batch)
    labels = torch.from_numpy(classes)
    figures: dict[str, Any] = {}
    for steps in lengths:
        raster = rate_coded(images, steps)
        pairs = [prepare(each, raster, labels) for each in clock_nets.contestants() if options.only in each.framework]
        for _ in range(rounds):
            for pair in pairs:
                for name, work in pair.work.items():
                    with collector_paused():
                        pair.timings[name].add(*timed(work))
        figures[str(steps)] = [_row(pair) for pair in pairs]
    name = "clock_speed-quick" if options.quick or options.only else "clock_speed"
    write_result(name, {"batch": batch, "rounds": rounds, "network": [784, 512, 10], "source": source, "rate": RATE},
                 figures)


def _row(pair: Pair) -> dict[str, Any]:
    row: dict[str, Any] = {
        "framework": pair.contestant.framework, "mode": pair.contestant.mode,
        "version": metadata.version(pair.contestant.framework), "surrogate": pair.contestant.surrogate, **pair.facts,
    }
    for what in ("forward", "training"):
        ours, theirs = (pair.timings[f"{who} {what}"].record() for who in ("clock", "framework"))
        row[what] = {"clock": ours, "framework": theirs, "times_faster_cpu": theirs["cpu_ms"] / ours["cpu_ms"],
                     "times_faster_wall": theirs["wall_ms"] / ours["wall_ms"]}
    print(f"  {row['framework']:13}{row['mode']:34}" + "".join(
        f"{what}: {row[what]['framework']['cpu_ms']:9.1f} / {row[what]['clock']['cpu_ms']:8.1f} ms CPU = "
        f"{row[what]['times_faster_cpu']:5.1f} x   " for what in ("forward", "training")) +
        f"gradients {row['gradients_apart']:.1e} apart, {row['samples_with_other_counts']} samples differ", flush=True)
    return row


if __name__ == "__main__":
    main()
