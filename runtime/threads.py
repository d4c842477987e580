"""Kernels on all host cores. Tasks are split the same way whatever the number of threads: results do not depend on
it.

The threads are C's, not Python's: handing a kernel to a `concurrent.futures` pool costs 50 to 200 us, since the
interpreter's lock goes back and forth, and a training step runs some ten kernels of 50 us to a few ms.
"""

from __future__ import annotations

import ctypes
import functools
import os
from typing import Any

from ..ir.diagnostics import BadInputError, Diagnostic
from ..ir.facts import is_whole
from . import jit
from .environment import warn_once

__all__ = ["check_memory", "get_threads", "pool_source", "run_tasks", "set_threads"]

_MOST_THREADS = 256
_SPIN_NS = 50_000
"""How long an idle thread looks for work before it sleeps: about what waking it costs."""

_threads = 0


def set_threads(number: int) -> None:
    """Number of CPU threads of the kernels; 0 means all the cores this process may use. More threads than cores are
    legal and bring nothing; above 256 there are 256.

    Raises:
        BadInputError: no whole number, or a negative one (SC424).
    """
    global _threads
    if not (is_whole(number) and number >= 0):
        raise BadInputError(Diagnostic("SC424", "the number of threads is out of range", value=repr(number),
                                       limit="a whole number >= 0", remedy="0 stands for all cores."))
    _threads = int(number)


def get_threads() -> int:
    """Number of CPU threads in use: `set_threads`, else SPIKEC_THREADS, else the cores this process may use."""
    if _threads:
        return _threads
    chosen = os.environ.get("SPIKEC_THREADS", "")
    if chosen.isdecimal():
        return int(chosen) or len(os.sched_getaffinity(0))
    if chosen:
        warn_once("SPIKEC_THREADS", chosen, "not a number of threads, so all cores are used",
                  "Set it to a whole number, or 0 for all cores.")
    return len(os.sched_getaffinity(0))


def pool_source() -> str:
    """The text of the pool of threads."""
    return jit.render("threads.jinja", most=_MOST_THREADS, spin_ns=_SPIN_NS)


@functools.cache
def _pool() -> Any:
    return jit.compile_c(pool_source()).run_tasks


def run_tasks(entry: Any, arguments: ctypes.Structure, tasks: int) -> None:
    """Calls `entry(arguments, first, last)`, a function of a kernel library, over all tasks, in parallel where there
    are cores and tasks. May be called from several threads at the same time, and after a fork.

    Raises:
        KernelError: see `check_memory`.
    """
    address, whole = ctypes.c_void_p(ctypes.addressof(arguments)), ctypes.c_int64
    threads = min(get_threads(), tasks)
    if threads > 1:
        _pool()(entry, address, whole(tasks), whole(threads))
    elif tasks:
        entry(address, whole(0), whole(tasks))
    check_memory(arguments)


def check_memory(arguments: ctypes.Structure) -> None:
    """Raises KernelError where the field `failed` says that a kernel found no memory to work in (SC423)."""
    if getattr(arguments, "failed", 0):
        arguments.failed = 0  # they may be used once more
        raise jit.KernelError(Diagnostic("SC423", "there was no memory for a kernel to work in",
                                         remedy="Use fewer samples or events at once, or fewer threads."))
