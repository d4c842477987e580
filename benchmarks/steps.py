"""One training step (forward, backward, update) of spikec and its peers on the same work, in the same run.

    python benchmarks/steps.py [--quick | --full] [--task mnist] [--peer norse ...]

Every simulator runs in a process of its own, pinned to one core; rounds of a few steps go round all of them, so that a
change of the machine's speed meets each alike. Medians; CPU time counts, which on one pinned core is wall time without
other people's work. The arithmetic limit is 12 multiply-adds for each synaptic event of the forward pass over the
measured peak of the core.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import tasks
from common import arguments, peak_gfma, write_result
from peers import PEERS, Worker

CONTESTANTS: dict[str, tuple[tuple[str, str, dict[str, bool]], ...]] = {
    "mnist": (("snntorch", "snntorch", {}), ("snntorch, first layer hoisted", "snntorch", {"hoist": True}),
              ("norse", "norse", {})),
    "yin_yang": (("jaxsnn", "jaxsnn", {}), ("snntorch", "snntorch", {}), ("norse", "norse", {})),
    "recurrent": (("jaxsnn", "jaxsnn", {}), ("norse", "norse", {}), ("snntorch", "snntorch", {})),
}
"""(name in the table, peer, options of its worker) by task."""
MULTIPLY_ADDS_PER_EVENT = 12
SLOW_MS = 3000.0
"""A step that takes longer is sampled once a round, and so is the first round, which tells."""


def synaptic_events(task: tasks.Task, hidden_spikes: float) -> float:
    """Of one forward pass over the batch: each spike times the synapses it goes through."""
    _, hidden, outputs = task.sizes
    onward = outputs + (hidden if task.w_recurrent is not None else 0)
    return len(task.times) * hidden + hidden_spikes * task.batch * onward


def compare(task: tasks.Task, chosen: list[str], rounds: int, steps: int) -> dict[str, Any]:
    """Timings and spike counts of all contestants on one task, and what follows from them."""
    with ExitStack() as stack:
        ours = stack.enter_context(Worker(PEERS["spikec"], task))
        counts = {name: ours.ready[name] for name in ("hidden_spikes", "output_spikes")}
        workers = {"spikec": ours}
        for name, peer, options in CONTESTANTS[task.name]:
            if peer in chosen:
                print(f"  {task.name}: setting up {name}", flush=True)
                workers[name] = stack.enter_context(Worker(PEERS[peer], task, **counts, **options))
        for _ in range(rounds):
            for worker in workers.values():
                quick = worker.timing.cpu_ms and worker.timing.cpu_ms[0] < SLOW_MS
                worker.steps(steps if quick else 1)
        rows = {name: {**worker.timing.record(), **worker.ready} for name, worker in workers.items()}
    mine = rows["spikec"]
    for name, row in rows.items():
        row["times_spikec"] = row["cpu_ms"] / mine["cpu_ms"]
        row["spikes_within_20_percent"] = all(
            abs(row[count] - mine[count]) <= 0.2 * max(mine[count], 1e-9) for count in counts
            if not (count == "output_spikes" and task.readout == "voltage")
        )
        print(f"  {task.name:10} {name:30} {row['cpu_ms']:10.3f} ms CPU  {row['wall_ms']:10.3f} ms wall  "
              f"{row['hidden_spikes']:7.1f} hidden {row['output_spikes']:6.1f} output spikes  "
              f"{row['times_spikec']:8.1f} x", flush=True)
    events = synaptic_events(task, mine["hidden_spikes"])
    peak = peak_gfma()
    limit = None if peak is None else MULTIPLY_ADDS_PER_EVENT * events / peak / 1e6
    return {"task": task.describe(), "rows": rows, "synaptic_events": events, "limit_ms": limit,
            "times_limit": None if limit is None else mine["cpu_ms"] / limit}


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--task", action="append", choices=list(tasks.TASKS), help="default: all")
    parser.add_argument("--peer", action="append", choices=[name for name in PEERS if name != "spikec"], default=None)
    options = parser.parse_args()
    chosen = options.peer if options.peer is not None else list(PEERS)
    rounds, steps = (2, 2) if options.quick else (10, 5)
    figures: dict[str, Any] = {"peak_gfma": None, "tasks": {}}
    for name in options.task or tasks.TASKS:
        task = tasks.TASKS[name]()
        figures["tasks"][name] = compare(task, chosen, rounds, steps)
    apart = tasks.mnist()
    figures["mnist_tau_20_5"] = compare(
        replace(apart, tau_syn=5e-3, w_hidden=2 * apart.w_hidden, w_output=2 * apart.w_output), [], rounds, steps)
    figures["peak_gfma"] = peak_gfma()
    write_result("steps-quick" if options.quick else "steps", {"rounds": rounds, "steps_per_round": steps}, figures)


if __name__ == "__main__":
    main()
