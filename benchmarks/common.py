"""What every measurement shares: the record of the machine, one-thread pinning, CPU and wall time with medians,
the measured peak of one core, and results written whole or not at all."""

from __future__ import annotations

import argparse
import ctypes
import functools
import gc
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results"
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "SPIKEC_THREADS")

PEAK_SOURCE = r"""
typedef float vector __attribute__((vector_size(WIDTH)));

/* ROUNDS * CHAINS vector multiply-adds; the chains are independent, so the pipes and not the latency limit them. */
float chains(long rounds, float seed)
{
    vector sum[CHAINS], factor = seed - (vector){}, term = 1e-9f * seed - (vector){};
    for (int k = 0; k < CHAINS; k++) sum[k] = (float)k - (vector){};
    for (long n = 0; n < rounds; n++)
        for (int k = 0; k < CHAINS; k++) sum[k] = sum[k] * factor + term;
    float total = 0;
    for (int k = 0; k < CHAINS; k++) total += sum[k][0];
    return total;
}
"""


@dataclass
class Timing:
    """Samples of one piece of work, in milliseconds for one call."""

    cpu_ms: list[float] = field(default_factory=list)
    wall_ms: list[float] = field(default_factory=list)

    def add(self, cpu_ms: float, wall_ms: float) -> None:
        self.cpu_ms.append(cpu_ms)
        self.wall_ms.append(wall_ms)

    def record(self) -> dict[str, Any]:
        """Medians, spread (the quartiles) and the number of samples."""
        low, _, high = statistics.quantiles(self.cpu_ms, n=4) if len(self.cpu_ms) > 1 else (self.cpu_ms[0],) * 3
        return {
            "cpu_ms": statistics.median(self.cpu_ms), "wall_ms": statistics.median(self.wall_ms),
            "cpu_ms_quartiles": [low, high], "samples": len(self.cpu_ms),
        }


def timed(work: Callable[[], object], calls: int = 1) -> tuple[float, float]:
    """(CPU ms, wall ms) of one call, over `calls` calls in a row; CPU time is that of all threads of the process."""
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in range(calls):
        work()
    return (time.process_time() - cpu) / calls * 1e3, (time.perf_counter() - wall) / calls * 1e3


def measure(work: Callable[[], object], samples: int, warmup: int = 2, at_least_ms: float = 20.0) -> Timing:
    """`samples` samples after `warmup` calls; short work is repeated so that a sample lasts `at_least_ms`."""
    for _ in range(max(warmup, 1)):
        _, once = timed(work)
    calls = max(1, round(at_least_ms / max(once, 1e-3)))
    timing = Timing()
    with collector_paused():
        for _ in range(samples):
            timing.add(*timed(work, calls))
    return timing


@contextmanager
def collector_paused() -> Iterator[None]:
    """No garbage collection in between: it would be charged to whoever runs when it starts."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def pin(cores: int) -> list[int]:
    """Binds the process to its first `cores` cores; returns them. Fewer where the machine has fewer."""
    if not hasattr(os, "sched_setaffinity"):
        return []
    chosen = sorted(os.sched_getaffinity(0))[:cores]
    os.sched_setaffinity(0, chosen)
    return chosen


def threads_environment(threads: int = 1) -> dict[str, str]:
    """The environment for a process that is to use so many threads: OpenMP, BLAS, XLA, spikec. Thread pools read it
    when they are loaded, so it must be there when the process starts."""
    flags = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
    return {**os.environ, **dict.fromkeys(THREAD_VARIABLES, str(threads)), "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}


def run_part(*command: str, environment: dict[str, str] | None = None) -> str:
    """Runs one of these scripts in a process of its own, with one thread; returns what it printed."""
    done = subprocess.run([sys.executable, *command], env={**threads_environment(), **(environment or {})}, cwd=HERE,
                          text=True, stdout=subprocess.PIPE, check=True)
    return done.stdout


def peak_memory_mib() -> float:
    """Largest resident size of this process so far."""
    scale = 1024 if sys.platform != "darwin" else 1024 * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / scale


@functools.cache
def peak_gfma() -> float | None:
    """10⁹ float32 multiply-adds a second on one core: the best of several vector widths and numbers of chains,
    compiled with -O3 -march=native. None without a C compiler."""
    compiler = os.environ.get("CC") or shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        return None
    best = 0.0
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "peak.c")
        source.write_text(PEAK_SOURCE, encoding="utf-8")
        for width in (16, 32, 64):
            for chains in (8, 12, 16):
                library = Path(folder, f"peak{width}_{chains}.so")
                options = ["-O3", "-march=native", "-ffp-contract=fast", "-shared", "-fPIC", f"-DWIDTH={width}",
                           f"-DCHAINS={chains}", "-funroll-loops", "-o", str(library), str(source)]
                if subprocess.run([compiler, *options], capture_output=True, check=False).returncode:
                    continue
                run = ctypes.CDLL(str(library)).chains
                run.argtypes, run.restype = [ctypes.c_long, ctypes.c_float], ctypes.c_float
                rounds = 2_000_000
                run(rounds // 10, 0.5)
                for _ in range(5):
                    cpu_ms, _ = timed(lambda run=run, rounds=rounds: run(rounds, 0.5))  # type: ignore[misc]
                    best = max(best, rounds * chains * (width // 4) / cpu_ms / 1e6)
    return best or None


def machine_record() -> dict[str, Any]:
    """What the figures depend on: processor, versions, commit, command."""
    from spikec.compiler.reproduce.stored import machine_record as record  # not there where only peers are

    return record(["python", str(Path("benchmarks", Path(sys.argv[0]).name)), *sys.argv[1:]])


def write_result(name: str, parameters: dict[str, Any], figures: Any) -> Path:
    """Writes `benchmarks/results/NAME.json` atomically, the machine's record with it."""
    RESULTS.mkdir(exist_ok=True)
    target = RESULTS / f"{name}.json"
    content = {"name": name, "machine": machine_record(), "parameters": parameters, "figures": figures}
    text = json.dumps(rounded(content), indent=1, ensure_ascii=False) + "\n"
    temporary = target.with_suffix(f".{os.getpid()}.tmp")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, target)
    print(f"wrote {target.relative_to(HERE.parent)}", flush=True)
    return target


def read_result(name: str) -> dict[str, Any] | None:
    """The stored result, or None where it was never measured."""
    path = RESULTS / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def arguments(description: str | None) -> argparse.ArgumentParser:
    """Command line that every measurement has: `--quick` for a check that it works, `--full` for figures."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--quick", action="store_true", help="few samples, small sizes; writes NAME-quick.json")
    size.add_argument("--full", action="store_true", help="all samples and sizes (the default)")
    return parser


def data_folder() -> Path | None:
    """The data folder that `SPIKEC_DATA` names, or None."""
    named = os.environ.get("SPIKEC_DATA")
    return Path(named) if named and Path(named).is_dir() else None


def rounded(value: Any) -> Any:
    """As results hold it: six digits, lists."""
    from spikec.compiler.reproduce.stored import rounded as six_digits

    return six_digits(value)
