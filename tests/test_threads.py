"""The pool of threads: every task once, whoever asks, also after a fork and at the end of the program."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from spikec.ir.diagnostics import BadInputError
from spikec.runtime import jit
from spikec.runtime.threads import get_threads, run_tasks, set_threads

MARK = """
#include <stdint.h>
typedef struct { int64_t *marks; int64_t *cost; } Args;
void mark(const Args *A, int64_t first, int64_t last)
{
    for (int64_t task = first; task < last; ++task) {
        volatile int64_t spent = 0;
        while (spent < A->cost[0]) spent += 1;
        A->marks[task] += task + 1;
    }
}
"""


@pytest.fixture(autouse=True)
def four_threads() -> Iterator[None]:
    set_threads(4)
    yield
    set_threads(0)


def marks(tasks: int, cost: int = 200) -> list[int]:
    """What `tasks` tasks leave behind."""
    array, price = (ctypes.c_int64 * max(tasks, 1))(), ctypes.c_int64(cost)
    arguments = jit.arguments_type((("int64_t *", "marks", 0), ("int64_t *", "cost", 0)))()
    arguments.marks, arguments.cost = ctypes.addressof(array), ctypes.addressof(price)
    run_tasks(jit.compile_c(MARK).mark, arguments, tasks)
    return list(array)[:tasks]


@pytest.mark.parametrize("threads", [1, 2, 3, 4, 1000])
@pytest.mark.parametrize("tasks", [0, 1, 2, 7, 64, 65, 5000])
def test_every_task_is_done_once(tasks: int, threads: int) -> None:
    set_threads(threads)
    for _ in range(20):
        assert marks(tasks) == list(range(1, tasks + 1))


def test_several_threads_may_ask_at_once() -> None:
    wrong: list[int] = []

    def ask(tasks: int) -> None:
        for _ in range(200):
            if marks(tasks) != list(range(1, tasks + 1)):
                wrong.append(tasks)

    askers = [threading.Thread(target=ask, args=(tasks,)) for tasks in (3, 50, 51, 400)]
    for asker in askers:
        asker.start()
    for asker in askers:
        asker.join(60)
    assert not any(asker.is_alive() for asker in askers)
    assert wrong == []


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of forking with threads about
def test_a_forked_child_has_threads_of_its_own() -> None:
    """Also where the fork happens in the middle of another thread's job."""
    stop = threading.Event()

    def keep_busy() -> None:
        while not stop.is_set():
            marks(64, cost=5000)

    busy = threading.Thread(target=keep_busy)
    busy.start()
    try:
        for _ in range(20):
            child = os.fork()
            if child == 0:
                good = all(marks(50) == list(range(1, 51)) for _ in range(5))
                workers = len(os.listdir("/proc/self/task")) - 1
                os._exit(0 if good and workers == 3 else 1)
            _, status = os.waitpid(child, 0)
            assert status == 0
    finally:
        stop.set()
        busy.join(60)
    assert marks(50) == list(range(1, 51))


def test_idle_threads_do_not_keep_the_program_from_ending() -> None:
    text = "import test_threads; test_threads.set_threads(4); assert test_threads.marks(50) == list(range(1, 51))"
    done = subprocess.run([sys.executable, "-c", text], cwd=os.path.dirname(__file__), timeout=60, check=False)
    assert done.returncode == 0


@pytest.mark.parametrize("number", [-1, 2.5, "a", None, True])
def test_what_is_no_number_of_threads_is_refused(number: Any) -> None:
    with pytest.raises(BadInputError, match=f"SC424.*{number!r}"):
        set_threads(number)
    assert get_threads() == 4
