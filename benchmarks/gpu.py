"""The event engine on a CUDA device: kernels against the CPU's results, then times of training steps and MNIST epochs.

    python benchmarks/gpu.py [--quick | --full]

Without a device, or without a package that its kernels need, it says so and exits with code 3; with a difference from
the CPU, with code 1.
"""

from __future__ import annotations

import itertools
import statistics
import sys
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import random_nets
import tasks
import torch
from common import arguments, write_result
from peer_spikec import events_of, network

import spikec
from spikec.runtime import nvrtc

TOLERANCE = 1e-9
"""Of float64 results on both machines, relative to the largest entry of each tensor."""


def obstacle() -> str | None:
    """Why no kernel can run here, None where one can."""
    if missing := nvrtc.missing_packages():
        return f"not installed: {', '.join(missing)}; pip install 'spikec[cuda]'"
    if not torch.cuda.is_available():
        built = f"built for CUDA {torch.version.cuda}" if torch.version.cuda else "built without CUDA"
        return f"torch {torch.__version__}, {built}, sees no CUDA device"
    return None


def results(case: random_nets.Case, device: str) -> dict[str, torch.Tensor]:
    """Spikes of a net, and gradients of all its parameters for a loss that every spike time enters."""
    module = spikec.compile(case.graph).module(dtype=torch.float64).to(device)
    for parameter in module.parameters():
        parameter.requires_grad_()
    out = module(case.events, duration=0.06)
    seen = {f"spikes of {name}": out.events(name) for name in case.shown}
    total = sum((each.times * torch.cos(700 * each.times.detach())).sum() for each in seen.values())
    if case.readout:
        total = total + out.voltage_max("out").sum() + out.voltage_integral("out").sum()
    total.backward()
    found = {name: torch.stack([each.times.detach(), each.indices.double()]) for name, each in seen.items()}
    found |= {name: each.grad for name, each in module.named_parameters() if each.grad is not None}
    return {name: value.cpu() for name, value in found.items()}


def differences(device: str, seeds: int) -> dict[str, float]:
    """For each kind of neuron and structure, the largest relative difference from the CPU; infinite where numbers of
    spikes differ."""
    worst: dict[str, float] = {}
    for kind, ratio, recurrent in itertools.product(random_nets.KINDS, random_nets.RATIOS, (False, True)):
        name = f"{kind}, {'recurrent' if recurrent else 'feedforward'}"
        for seed in range(seeds):
            case = random_nets.draw(kind, ratio, recurrent, seed)
            here, there = results(case, "cpu"), results(case, device)
            for key, value in here.items():
                if there[key].shape != value.shape:
                    worst[name] = float("inf")
                elif value.numel():
                    apart = float((there[key] - value).abs().max() / value.abs().max().clamp(min=1e-12))
                    worst[name] = max(worst.get(name, 0.0), apart)
    return worst


def trainer(task: tasks.Task, device: str) -> tuple[Callable[[Any, Any], None], int]:
    """A training step on events and labels, and the number of parameters."""
    module = spikec.compile(network(SimpleNamespace(**vars(task)))).module(dtype=torch.float32).to(device)
    optimizer = torch.optim.Adam(module.parameters(), lr=1e-3, fused=True)
    loss = (spikec.losses.FirstSpikeCrossEntropy(output="out", silent=None) if task.readout == "spikes"
            else spikec.losses.VoltageMaxCrossEntropy(output="out"))

    def step(events: Any, labels: Any) -> None:
        optimizer.zero_grad()
        loss(module(events, duration=task.duration), labels).value.backward()
        optimizer.step()

    return step, sum(each.numel() for each in module.parameters())


def wait(device: str) -> None:
    if device != "cpu":
        torch.cuda.synchronize()


def step_ms(task: tasks.Task, device: str, rounds: int) -> dict[str, Any]:
    """Median wall time of a step on a batch that is at the device already, and what the device itself worked of it."""
    step, parameters = trainer(task, device)
    events, labels = events_of(SimpleNamespace(**vars(task))), torch.from_numpy(task.labels).to(device)
    samples = []
    for number in range(rounds + 3):
        wait(device)
        began = time.perf_counter()
        step(events, labels)
        wait(device)
        if number >= 3:
            samples.append((time.perf_counter() - began) * 1e3)
    return {"batch": task.batch, "parameters": parameters, "wall_ms": statistics.median(samples),
            "device_ms": device_ms(lambda: step(events, labels)) if device != "cpu" else None}


def device_ms(work: Callable[[], None]) -> dict[str, float]:
    """Time of the device by kernel, the ten longest: the rest of a step's wall time is the host's."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
        work()
        torch.cuda.synchronize()
    spent = {entry.key: entry.self_device_time_total / 1e3 for entry in profile.key_averages()}
    longest = sorted(spent, key=lambda name: -spent[name])[:10]
    return {"total": sum(spent.values()), **{name: spent[name] for name in longest}}


def epoch_s(batch: int, device: str, limit: int | None) -> dict[str, Any]:
    """Wall time of one pass over MNIST's 55,000 training images (or the first `limit`), encoding not counted."""
    images, labels, source = tasks.mnist_images("train", limit=limit)
    images, labels = images[:55_000], labels[:55_000]
    step, _ = trainer(tasks.mnist(), device)
    events = spikec.Events(*tasks.latency_events(images))
    order = np.random.default_rng(0).permutation(len(images))
    targets = torch.from_numpy(labels).to(device)
    step(events.take(order[:batch]), targets[torch.from_numpy(order[:batch]).to(device)])
    wait(device)
    began = time.perf_counter()
    for first in range(0, len(order), batch):
        chosen = order[first:first + batch]
        step(events.take(chosen), targets[torch.from_numpy(chosen).to(device)])
    wait(device)
    return {"batch": batch, "images": len(images), "source": source, "wall_s": time.perf_counter() - began}


def main() -> None:
    options = arguments(__doc__).parse_args()
    if reason := obstacle():
        print(f"no GPU kernel can run here: {reason}", file=sys.stderr)
        raise SystemExit(3)
    found = differences("cuda", 1 if options.quick else 4)
    figures: dict[str, Any] = {"device": torch.cuda.get_device_name(), "differences_from_cpu": found}
    for name, apart in found.items():
        print(f"  {name:40} {apart:.1e}", flush=True)
    rounds = 5 if options.quick else 50
    figures["steps"] = {
        "mnist, batch 50": step_ms(tasks.mnist(), "cuda", rounds),
        "mnist, batch 1000": step_ms(tasks.mnist(batch=1000), "cuda", rounds),
        "yin_yang": step_ms(tasks.yin_yang(), "cuda", rounds),
        "recurrent": step_ms(tasks.recurrent(), "cuda", rounds),
    }
    figures["mnist_epochs"] = [epoch_s(batch, "cuda", 5000 if options.quick else None) for batch in (50, 1000)]
    for row in figures["mnist_epochs"]:
        print(f"  MNIST, batch {row['batch']}: {row['wall_s']:.2f} s for {row['images']} images", flush=True)
    write_result("gpu-quick" if options.quick else "gpu", {"rounds": rounds, "tolerance": TOLERANCE}, figures)
    if not all(apart <= TOLERANCE for apart in found.values()):
        print("the GPU's results differ from the CPU's", file=sys.stderr)
        raise SystemExit(1)


if __name__ == "__main__":
    main()
