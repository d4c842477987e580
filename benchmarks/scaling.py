"""How cost grows, with the number of events and with the size of a recurrent net; what a first use costs, and what a
second thread gains.

    python benchmarks/scaling.py [--quick | --full] [--part events|size|start|threads]

Each point is measured in a process of its own, so that memory is that point's. Events grow with the simulated time at
constant rates, over two decades. Size: a recurrent net whose neurons fire on their own and each feed 100 others.
"""

from __future__ import annotations

import json
import tempfile
import time
from typing import Any

import numpy as np
import tasks
from common import arguments, measure, peak_memory_mib, pin, run_part, write_result
from peers import PEERS, Worker

FAN_OUT = 100
TAU_MEM, TAU_SYN = 20e-3, 5e-3


def measure_events(duration: float, recurrent: bool) -> dict[str, Any]:
    """Forward and backward of 100-100-10, batch 8, 20 Hz a channel, for `duration` seconds of simulated time."""
    import torch

    import spikec

    rng = np.random.default_rng(5)
    batch, channels, rate = 8, 100, 20.0
    net = spikec.Builder()
    times = {"tau_mem": TAU_MEM, "tau_syn": TAU_SYN}
    source, hidden = net.input("in", channels), net.cubalif("hidden", 100, **times)
    last = net.cubalif("last", 10, **times)
    net.connect(source, hidden, weight=rng.normal(0.2, 0.2, (100, channels)))
    net.connect(hidden, last, weight=rng.normal(0.2, 0.2, (10, 100)))
    if recurrent:
        net.connect(hidden, hidden, weight=rng.normal(-0.05, 0.1, (100, 100)))
    net.output("out", last)
    net.output("shown", hidden)
    program = spikec.compile(net.build())
    module = program.module(dtype=torch.float32)
    loss = spikec.losses.FirstSpikeCrossEntropy(output="out")
    labels = torch.zeros(batch, dtype=torch.int64)

    def poisson(seconds: float) -> spikec.Events:
        samples = []
        for _ in range(batch):
            count = rng.poisson(rate * channels * seconds)
            samples.append((rng.uniform(0, seconds, count), rng.integers(0, channels, count)))
        return spikec.Events.from_samples(samples)

    def step(events: spikec.Events, seconds: float) -> None:
        module.zero_grad(set_to_none=True)
        loss(module(events, duration=seconds), labels).value.backward()

    step(poisson(0.1), 0.1)
    before = peak_memory_mib()
    events = poisson(duration)
    timing = measure(lambda: step(events, duration), samples=5, warmup=1)
    memory = peak_memory_mib() - before
    run = program.run(events, duration=duration)
    total = len(events) + sum(len(run.spikes[name]) for name in ("shown", "out"))
    return {"duration_s": duration, "recurrent": recurrent, "events": total, **timing.record(), "memory_mib": memory}


def measure_size(neurons: int, duration: float) -> dict[str, Any]:
    """CPU time a spike of a recurrent net with `FAN_OUT` synapses out of each neuron, driven by constant currents."""
    import spikec

    rng = np.random.default_rng(6)
    net = spikec.Builder()
    cells = net.cubalif("cells", neurons, tau_mem=TAU_MEM, tau_syn=TAU_SYN, v0=rng.uniform(0, 0.99, neurons))
    columns = np.repeat(np.arange(neurons), FAN_OUT)
    rows = rng.integers(0, neurons, neurons * FAN_OUT)
    keys = np.unique(rows * neurons + columns)
    rows, columns = keys // neurons, keys % neurons
    weights = rng.normal(0.0, 0.02, len(keys))
    source = net.input("in", 1)
    net.connect(source, cells, weight=(np.array([0]), np.array([0]), np.array([0.1])), name="drive")
    net.connect(cells, cells, weight=(rows, columns, weights), bias=rng.uniform(1.1, 1.4, neurons) / TAU_SYN)
    net.output("out", cells)
    program = spikec.compile(net.build())
    nothing = spikec.Events.from_samples([([], [])])
    spikes = 0

    def run() -> None:
        nonlocal spikes
        result = program.run(nothing, duration=duration)
        spikes = len(result.spikes["out"])

    timing = measure(run, samples=5, warmup=1, at_least_ms=200.0).record()
    return {"neurons": neurons, "synapses": len(keys), "duration_s": duration, "spikes": spikes, **timing,
            "us_per_spike": timing["cpu_ms"] * 1e3 / max(spikes, 1), "memory_mib": peak_memory_mib()}


def measure_start(names: bool) -> dict[str, Any]:
    """Seconds for importing spikec (with `names`: and everything public) after torch, and from a graph to the first
    gradient, less a second one."""
    import torch

    began = time.perf_counter()
    import spikec

    if names:
        for name in spikec.__all__:
            getattr(spikec, name)
    imported = time.perf_counter() - began
    from peer_spikec import events_of, network

    task = tasks.mnist()
    graph, events = network(task), events_of(task)  # type: ignore[arg-type]
    labels, loss = torch.from_numpy(task.labels), spikec.losses.VoltageMaxCrossEntropy(output="out")

    def step(module: Any) -> None:
        loss(module(events, duration=task.duration), labels).value.backward()

    began = time.perf_counter()
    module = spikec.compile(graph).module(dtype=torch.float32)
    step(module)
    first = time.perf_counter() - began
    began = time.perf_counter()
    step(module)
    return {"import_s": imported, "compile_s": first - (time.perf_counter() - began)}


def one_point(part: str, *values: float, environment: dict[str, str] | None = None) -> dict[str, Any]:
    """A measurement in a process of its own."""
    text = run_part("scaling.py", "--point", part, *map(str, values), environment=environment)
    found: dict[str, Any] = json.loads(text.splitlines()[-1])
    print(f"  {part} {values}: " + ", ".join(f"{key} {value:.4g}" for key, value in found.items()
                                             if isinstance(value, float)), flush=True)
    return found


def slope(points: list[dict[str, Any]], quantity: str) -> float:
    """Exponent of the growth with events, by least squares in logarithms: 1 is linear."""
    x = np.log([point["events"] for point in points])
    y = np.log([max(point[quantity], 1e-3) for point in points])
    return float(np.polyfit(x, y, 1)[0])


def events_part(quick: bool) -> dict[str, Any]:
    """Linear in the number of events?"""
    durations = (0.5, 1.5, 5.0) if quick else (0.5, 1.5, 5.0, 15.0, 50.0)
    figures = {}
    for recurrent in (False, True):
        points = [one_point("events", duration, int(recurrent)) for duration in durations]
        figures["recurrent" if recurrent else "feedforward"] = {
            "points": points, "time_exponent": slope(points, "cpu_ms"),
            "memory_exponent": slope(points[1:], "memory_mib"),
            "time_per_event_last_over_first": (points[-1]["cpu_ms"] / points[-1]["events"])
            / (points[0]["cpu_ms"] / points[0]["events"]),
            "bytes_per_event": points[-1]["memory_mib"] * 2**20 / points[-1]["events"],
        }
    return figures


def size_part(quick: bool) -> dict[str, Any]:
    """Time a spike against the number of neurons."""
    sizes = (1000, 10_000) if quick else (1000, 3000, 10_000, 30_000, 100_000)
    points = [one_point("size", neurons, 0.1) for neurons in sizes]
    return {"points": points, "growth": points[-1]["us_per_spike"] / points[0]["us_per_spike"]}


def start_part(quick: bool) -> dict[str, Any]:
    """Import and compile times: medians of several processes. Kernels are compiled side by side on all cores, and for
    comparison on one."""
    samples = 2 if quick else 3
    alone, cold, cached, bare = [], [], [], []
    for _ in range(samples):
        with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as other:
            alone.append(one_point("start", 1, 1, environment={"SPIKEC_CACHE": other}))
            everywhere = {"SPIKEC_CACHE": folder, "SPIKEC_THREADS": "0"}
            cold.append(one_point("start", 1, 0, environment=everywhere))
            cached.append(one_point("start", 1, 0, environment=everywhere))
            bare.append(one_point("start", 0, 0, environment=everywhere))
    return {
        "compile_cold_one_core_s": float(np.median([point["compile_s"] for point in alone])),
        "compile_cold_s": float(np.median([point["compile_s"] for point in cold])),
        "compile_cached_s": float(np.median([point["compile_s"] for point in cached])),
        "import_s": float(np.median([point["import_s"] for point in bare])),
        "import_with_all_names_s": float(np.median([point["import_s"] for point in cached])),
        "samples": samples,
    }


def two_threads(task: tasks.Task, rounds: int, steps: int) -> dict[str, Any]:
    """Wall time of a spikec step with one and with two threads."""
    with Worker(PEERS["spikec"], task, threads=1) as one, Worker(PEERS["spikec"], task, threads=2) as two:
        for _ in range(rounds):
            one.steps(steps)
            two.steps(steps)
        single, double = one.timing.record(), two.timing.record()
    gain = single["wall_ms"] / double["wall_ms"]
    print(f"  {task.name}, batch {task.batch}: {single['wall_ms']:.3f} ms, two threads {double['wall_ms']:.3f} ms, "
          f"{gain:.2f} x", flush=True)
    return {"batch": task.batch, "one_thread_wall_ms": single["wall_ms"], "two_threads_wall_ms": double["wall_ms"],
            "gain": gain}


def threads_part(quick: bool) -> dict[str, Any]:
    """Of each timed task, and of a batch large enough that what is not split counts less."""
    rounds, steps = (2, 4) if quick else (10, 20)
    found = {name: two_threads(task(), rounds, steps) for name, task in tasks.TASKS.items()}
    return {**found, "mnist_1000": two_threads(tasks.mnist(batch=1000), rounds, 2)}


PARTS = {"events": events_part, "size": size_part, "start": start_part, "threads": threads_part}


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--part", action="append", choices=list(PARTS), help="default: all")
    parser.add_argument("--point", nargs="+", help="one measurement, printed as JSON")
    options = parser.parse_args()
    if options.point:
        name, *values = options.point
        if name != "start" or values[1] == "1":
            pin(1)
        work = {"events": lambda: measure_events(float(values[0]), values[1] == "1"),
                "size": lambda: measure_size(int(values[0]), float(values[1])),
                "start": lambda: measure_start(values[0] == "1")}[name]
        print(json.dumps(work()))
        return
    for name in options.part or PARTS:
        write_result(f"scaling_{name}" + ("-quick" if options.quick else ""), {}, PARTS[name](options.quick))


if __name__ == "__main__":
    main()
