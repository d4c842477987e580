"""Kernels on all host cores. Tasks are split the same way whatever the number of threads: results do not depend on
it."""

from __future__ import annotations

import ctypes
import functools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

__all__ = ["get_threads", "run_tasks", "set_threads"]

_threads = 0


def set_threads(number: int) -> None:
    """Number of CPU threads of the kernels; 0 means all the cores this process may use."""
    global _threads
    _threads = max(0, int(number))


def get_threads() -> int:
    """Number of CPU threads in use: `set_threads`, else SPIKEC_THREADS, else the cores this process may use."""
    if _threads:
        return _threads
    chosen = os.environ.get("SPIKEC_THREADS", "")
    return int(chosen) if chosen.isdigit() and int(chosen) > 0 else len(os.sched_getaffinity(0))


@functools.cache
def _pool(process: int, threads: int) -> ThreadPoolExecutor:
    # keyed by process, since threads do not survive a fork
    return ThreadPoolExecutor(threads, thread_name_prefix="spikec")


def run_tasks(entry: Callable[..., Any], arguments: ctypes.Structure, tasks: int) -> None:
    """Calls `entry(arguments, first, last)` over all tasks, in parallel where there are cores and tasks."""
    address, whole = ctypes.c_void_p(ctypes.addressof(arguments)), ctypes.c_int64
    threads = min(get_threads(), tasks)
    if threads <= 1:
        if tasks:
            entry(address, whole(0), whole(tasks))
        return
    pieces = min(tasks, 4 * threads)
    bounds = [tasks * piece // pieces for piece in range(pieces + 1)]
    upcoming = iter(range(pieces))

    def work() -> None:
        for piece in upcoming:  # a range iterator hands each piece to one thread
            entry(address, whole(bounds[piece]), whole(bounds[piece + 1]))

    others = [_pool(os.getpid(), threads - 1).submit(work) for _ in range(threads - 1)]
    work()
    for other in others:
        other.result()
