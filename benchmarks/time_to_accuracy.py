"""Time to 97.5 % validation accuracy on MNIST, 784-350-10, from a cold start: imports, reading and encoding of the
data, compiling with an empty kernel cache, training, and a look at the validation set every 10,000 samples.

    python benchmarks/time_to_accuracy.py --part grid      snnTorch over a grid of learning rates and batch sizes
    python benchmarks/time_to_accuracy.py --part race      spikec, and snnTorch at the grid's best, one after the other

The grid is long: each configuration is written when it is done (time_to_accuracy_grid.json) and a second call goes on
where the first one stopped. A configuration is given up after `LIMIT_S` CPU seconds, or once it is slower than the best
so far, which cannot change the result. Each training is a process of its own, pinned to one core.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import tempfile
import time
from typing import Any

from common import HERE, arguments, read_result, threads_environment, write_result
from peers import PEERS
from training import BEGAN

TARGET = 0.975
LIMIT_S = 900.0
LEARNING_RATES = (2e-3, 1e-3, 5e-3)
BATCH_SIZES = (100, 50)
GRID = "time_to_accuracy_grid"


def train(peer: str, script: str, *options: str, nice: int = 0) -> dict[str, Any]:
    """One training in a process of its own, with an empty kernel cache."""
    with tempfile.TemporaryDirectory() as folder:
        environment = {**threads_environment(), "SPIKEC_CACHE": folder, BEGAN: str(time.time())}
        command = ["nice", "-n", str(nice), str(PEERS[peer].install()), str(HERE / script), *options]
        done = subprocess.run(command, env=environment, text=True, stdout=subprocess.PIPE, check=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    print(f"  {peer} {' '.join(options)}: {'reached' if found['reached'] else 'given up'} after {found['cpu_s']:.1f} s "
          f"CPU, {found['wall_s']:.1f} s wall, {found['epochs']:.2f} epochs, best {found['best']:.4f}", flush=True)
    return found


def grid(limit: float, nice: int) -> None:
    """All configurations, those done before taken over."""
    stored = read_result(GRID)
    done: list[dict[str, Any]] = stored["figures"] if stored else []
    settings = {"target": TARGET, "limit_s": limit, "learning_rates": LEARNING_RATES, "batch_sizes": BATCH_SIZES,
                "cpu_count": os.cpu_count()}
    for batch in BATCH_SIZES:
        for rate in LEARNING_RATES:
            if any((one["lr"], one["batch"]) == (rate, batch) for one in done):
                continue
            best = min((one["cpu_s"] for one in done if one["reached"]), default=limit)
            found = train("snntorch", "train_snntorch.py", f"--lr={rate}", f"--batch={batch}", f"--target={TARGET}",
                          f"--limit={min(limit, best)}", nice=nice)
            done.append({"lr": rate, "batch": batch, **found})
            write_result(GRID, settings, done)
    write_result(GRID, settings, done)


def race(seeds: int, limit: float, name_of_result: str) -> None:
    """Medians over seeds of spikec, and of snnTorch's best configuration, written after each seed. CPU time counts: on
    one pinned core it is wall time without other people's work."""
    stored = read_result(GRID)
    reached = [one for one in stored["figures"] if one["reached"]] if stored else []
    if not reached:
        raise SystemExit("no configuration of the grid has reached the target: run --part grid first")
    best = min(reached, key=lambda one: float(one["cpu_s"]))
    runs: dict[str, list[dict[str, Any]]] = {"spikec": [], "snntorch": []}
    for seed in range(seeds):
        runs["spikec"].append(train("spikec", "train_spikec.py", f"--target={TARGET}", f"--seed={seed}"))
        runs["snntorch"].append(train(
            "snntorch", "train_snntorch.py", f"--lr={best['lr']}", f"--batch={best['batch']}", f"--target={TARGET}",
            f"--limit={limit}", f"--seed={seed}"))
        figures: dict[str, Any] = {"grid_best": {key: best[key] for key in ("lr", "batch", "cpu_s")}, "target": TARGET}
        for name, done in runs.items():
            figures[name] = {key: statistics.median(run[key] for run in done)
                             for key in ("cpu_s", "wall_s", "ready_cpu_s", "checking_cpu_s", "epochs")}
            figures[name]["runs"] = [{key: run[key] for key in ("reached", "cpu_s", "wall_s", "best")} for run in done]
        figures["times_faster"] = figures["snntorch"]["cpu_s"] / figures["spikec"]["cpu_s"]
        figures["times_faster_wall"] = figures["snntorch"]["wall_s"] / figures["spikec"]["wall_s"]
        write_result(name_of_result, {"seeds": seed + 1}, figures)


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--part", action="append", choices=["grid", "race"], help="default: race")
    parser.add_argument("--limit", type=float, default=LIMIT_S, help="CPU seconds for one configuration")
    parser.add_argument("--nice", type=int, default=0, help="for the grid, in the background")
    options = parser.parse_args()
    parts = options.part or ["race"]
    name = "time_to_accuracy" + ("-quick" if options.quick else "")
    if "grid" in parts:
        grid(options.limit, options.nice)
    if "race" in parts:
        race(1 if options.quick else 3, options.limit, name)


if __name__ == "__main__":
    main()
