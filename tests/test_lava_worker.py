"""The worker that runs programs for Lava: whatever happens to a program, it ends as a diagnostic, and nothing runs on.

The programs here need nothing of Lava but that it can be imported, so a stand-in does.
"""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from lava_here import members, stand_in

from spikec.ir.diagnostics import BadInputError
from spikec.runtime.lava.environment import LavaError
from spikec.runtime.lava.worker import LavaWorker

RASTERS = {"p0": np.ones((1, 4, 2), np.int32)}
DOUBLE = """
import json, sys
import numpy
given, made = sys.argv[2], sys.argv[4]
with numpy.load(given) as file:
    raster = file["p0"]
for part in (0.0, 0.5):
    print(json.dumps({"done": part}), flush=True)
print("what a library prints")
numpy.savez(made, **{"p1.spikes": numpy.repeat(2 * raster, 100, axis=1)})
"""
# As Lava does: a process for each Process, which wait for one that never comes. One of them does not listen.
HANG = """
import os, signal, time
for number in range(3):
    if os.fork() == 0:
        if number == 0:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        time.sleep(600)
{}
time.sleep(600)
"""


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return stand_in(tmp_path_factory.mktemp("stand_in") / "lava")


@pytest.fixture
def worker(python: Path) -> Iterator[LavaWorker]:
    with LavaWorker(python) as worker:
        yield worker


def program(place: Path, text: str) -> Path:
    path = place / "program.py"
    path.write_text(text)
    return path


def group_of(worker: LavaWorker) -> int:
    assert worker.group is not None
    return worker.group


def test_a_worker_stays_from_run_to_run(worker: LavaWorker, tmp_path: Path) -> None:
    told: list[float] = []
    made = worker.run(program(tmp_path, DOUBLE), RASTERS, progress=told.append)
    assert (made["p1.spikes"] == 2).all()
    assert made["p1.spikes"].shape == (1, 400, 2)
    assert told == [0.0, 0.5]
    first = group_of(worker)
    worker.run(tmp_path / "program.py", RASTERS)
    assert worker.group == first
    worker.close()
    assert members(first) == []


def test_a_program_that_hangs_is_ended_with_all_it_started(worker: LavaWorker, tmp_path: Path) -> None:
    worker.run(program(tmp_path, DOUBLE), RASTERS)
    group = group_of(worker)
    start = time.monotonic()
    with pytest.raises(LavaError, match=r"got no further for 1 s") as caught:
        worker.run(program(tmp_path, HANG.format("")), RASTERS, patience=1.0)
    assert caught.value.diagnostics[0].code == "SC558"
    assert time.monotonic() - start < 10
    assert members(group) == []
    assert worker.group is None
    worker.run(program(tmp_path, DOUBLE), RASTERS)


def test_a_run_has_a_time_limit(worker: LavaWorker, tmp_path: Path) -> None:
    """Progress alone does not go on for ever."""
    worker.run(program(tmp_path, DOUBLE), RASTERS)
    endless = 'import time\nwhile True: print(\'{"done": 0.1}\', flush=True); time.sleep(0.05)'
    with pytest.raises(LavaError, match="its time is up") as caught:
        worker.run(program(tmp_path, endless), RASTERS, time_limit=2.0, patience=1.0)
    assert caught.value.diagnostics[0].code == "SC558"


@pytest.mark.parametrize(("text", "message"), [
    ("raise ValueError('weights are wrong')", "exit code 1(.|\n)*ValueError: weights are wrong"),
    ("import sys; sys.exit('no such thing')", "exit code 1(.|\n)*no such thing"),
    ("import sys; sys.exit(3)", "exit code 3"),
    ("import os; os.kill(os.getpid(), 9)", "killed by signal 9"),
    ("import os; os._exit(7)", "exit code 7(.|\n)*said nothing"),
    ("this is no Python", "SyntaxError"),
], ids=["raises", "says", "exits", "killed", "vanishes", "malformed"])
def test_a_program_that_fails_says_why(text: str, message: str, worker: LavaWorker, tmp_path: Path) -> None:
    with pytest.raises(LavaError, match=message) as caught:
        worker.run(program(tmp_path, text), RASTERS)
    assert caught.value.diagnostics[0].code == "SC557"
    assert caught.value.exit_code == 3
    assert worker.group is None


def test_what_a_program_leaves_behind_is_ended_when_it_fails(worker: LavaWorker, tmp_path: Path) -> None:
    worker.run(program(tmp_path, DOUBLE), RASTERS)
    group = group_of(worker)
    with pytest.raises(LavaError):
        worker.run(program(tmp_path, HANG.format("raise ValueError")), RASTERS)
    assert members(group) == []


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_worker_that_is_killed(number: int, worker: LavaWorker, tmp_path: Path) -> None:
    worker.run(program(tmp_path, DOUBLE), RASTERS)
    group = group_of(worker)
    killer = threading.Timer(0.5, os.kill, (group, number))
    killer.start()
    start = time.monotonic()
    with pytest.raises(LavaError, match=f"killed by signal {number}") as caught:
        worker.run(program(tmp_path, HANG.format("")), RASTERS)
    killer.join()
    assert caught.value.diagnostics[0].code == "SC557"
    assert time.monotonic() - start < 10
    assert members(group) == []


def test_a_worker_that_died_between_runs_is_started_again(worker: LavaWorker, tmp_path: Path) -> None:
    worker.run(program(tmp_path, DOUBLE), RASTERS)
    os.kill(group_of(worker), signal.SIGKILL)
    while members(group_of(worker)):
        time.sleep(0.01)
    assert (worker.run(tmp_path / "program.py", RASTERS)["p1.spikes"] == 2).all()


def test_where_its_owner_is_killed_the_worker_ends(python: Path, tmp_path: Path) -> None:
    program(tmp_path, "import os, pathlib; pathlib.Path(__file__).with_name('group').write_text(str(os.getpgrp()))\n"
            + HANG.format(""))
    code = f"""
import numpy
from spikec.runtime.lava.worker import LavaWorker
LavaWorker({str(python)!r}).run({str(tmp_path / "program.py")!r}, {{"p0": numpy.ones((1, 4, 2), int)}})
"""
    with subprocess.Popen([sys.executable, "-c", code]) as owner:
        place = tmp_path / "group"
        while not (place.exists() and place.read_text()):
            time.sleep(0.05)
            assert owner.poll() is None
        group = int(place.read_text())
        assert len(members(group)) > 1
        owner.kill()
    limit = time.monotonic() + 10
    while members(group) and time.monotonic() < limit:
        time.sleep(0.05)
    assert members(group) == []


@contextmanager
def interrupted() -> Iterator[None]:
    """Once, and again after a while: Python drops an interrupt that falls into a callback of its garbage collector."""
    ended = threading.Event()

    def interrupt() -> None:
        pause = 0.5
        while not ended.wait(pause):
            os.kill(os.getpid(), signal.SIGINT)
            pause = 20.0

    threading.Thread(target=interrupt, daemon=True).start()
    try:
        yield
    finally:
        ended.set()


def test_an_interrupt_ends_the_run(worker: LavaWorker, tmp_path: Path) -> None:
    worker.run(program(tmp_path, DOUBLE), RASTERS)
    group = group_of(worker)
    with pytest.raises(KeyboardInterrupt), interrupted():
        worker.run(program(tmp_path, HANG.format("")), RASTERS)
    assert members(group) == []


def test_a_disk_that_is_full_for_the_program(worker: LavaWorker, tmp_path: Path) -> None:
    """A limit on the size of files stands for it."""
    worker.run(program(tmp_path, DOUBLE), RASTERS)
    resource.prlimit(group_of(worker), resource.RLIMIT_FSIZE, (1000, 1000))
    with pytest.raises(LavaError, match=r"OSError(.|\n)*File too large") as caught:
        worker.run(tmp_path / "program.py", RASTERS)
    assert caught.value.diagnostics[0].code == "SC557"


def test_a_disk_that_is_full_for_the_input(worker: LavaWorker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(BadInputError, match="No space left") as caught:
        worker.run(tmp_path / "program.py", RASTERS)
    assert caught.value.diagnostics[0].code == "SC522"
    assert list(tmp_path.iterdir()) == []


def test_a_program_that_writes_nothing(worker: LavaWorker, tmp_path: Path) -> None:
    with pytest.raises(LavaError, match="wrote no results") as caught:
        worker.run(program(tmp_path, "pass"), RASTERS)
    assert caught.value.diagnostics[0].code == "SC557"
