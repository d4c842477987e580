"""What can go wrong between a model and Lava, from end to end: each is a diagnostic within its time, and it leaves no
process, no folder and no file behind. Stand-ins for Lava's interpreter fail in every way that it can."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cli_commands import say, say_json
from lava_here import stand_in
from loihi_models import graph_of, layers, raster_of, whole

import spikec
from spikec import BadInputError
from spikec.runtime.lava.environment import LavaError
from spikec.targets.loihi.program import LoihiProgram

HANGS = """
import os, signal, time
for number in range(2):
    if os.fork() == 0:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        time.sleep(600)
time.sleep(600)
"""
CRASHES = "import os\nos.fork() or __import__('time').sleep(600)\nos.kill(os.getpid(), 11)"
RAISES = "raise ValueError('no Lava today')"


@pytest.fixture(scope="module")
def program() -> LoihiProgram:
    rng = np.random.default_rng(5)
    return spikec.compile(graph_of(layers([whole(rng, 6, 8), whole(rng, 3, 6)])), target="loihi2")


@pytest.fixture
def raster() -> Any:
    return raster_of(np.random.default_rng(6), 8)


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary files go; Lava is nowhere."""
    for name in ("scratch", "cache"):
        (tmp_path / name).mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "scratch"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("SPIKEC_CACHE", raising=False)
    monkeypatch.delenv("SPIKEC_LAVA_PYTHON", raising=False)
    return tmp_path / "scratch"


@pytest.fixture(scope="module")
def interpreters(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of what SPIKEC_LAVA_PYTHON may name by mistake, and of Lavas that fail when a network is made."""
    place = tmp_path_factory.mktemp("interpreters")
    for name, text in (("old", "echo python 3 9"), ("new", "echo python 3 14"), ("silent", "exit 1")):
        (place / name).write_text(f"#!/bin/sh\n{text}\n")
        (place / name).chmod(0o755)
    venv.create(place / "plain", with_pip=False)
    stand_in(place / "other", "0.9.0")
    for name, text in (("hangs", HANGS), ("crashes", CRASHES), ("raises", RAISES)):
        stand_in(place / name)
        (site,) = (place / name).glob("lib/python*/site-packages")
        for module in ("core/run_configs.py", "core/__init__.py"):
            (site / "lava" / "magma" / module).parent.mkdir(exist_ok=True)
            (site / "lava" / "magma" / module).write_text(text if "configs" in module else "")
    return place


def running(marker: Path) -> list[int]:
    """Processes of interpreters below this folder."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if str(marker).encode() in entry.read_bytes():
                found.append(int(entry.parent.name))
        except OSError:
            continue
    return found


@pytest.mark.parametrize(("name", "code", "exit_code"), [
    ("", "SC553", 3), ("missing", "SC554", 4), ("old", "SC554", 4), ("new", "SC554", 4), ("silent", "SC554", 4),
    ("plain/bin/python", "SC556", 3), ("other/bin/python", "SC556", 3), ("hangs/bin/python", "SC558", 3),
    ("crashes/bin/python", "SC557", 3), ("raises/bin/python", "SC557", 3),
])
def test_a_run_in_lava_that_fails(name: str, code: str, exit_code: int, program: LoihiProgram, raster: Any,
                                  scratch: Path, interpreters: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if name:
        monkeypatch.setenv("SPIKEC_LAVA_PYTHON", str(interpreters / name))
    start = time.monotonic()
    with pytest.raises((LavaError, BadInputError)) as caught:
        program.run(raster, backend="lava", time_limit=3.0)
    assert time.monotonic() - start < 30
    assert [each.code for each in caught.value.diagnostics] == [code]
    assert caught.value.diagnostics[0].remedy
    assert caught.value.exit_code == exit_code
    assert running(interpreters) == []
    assert list(scratch.iterdir()) == []


def test_the_command_says_it(program: LoihiProgram, raster: Any, scratch: Path, interpreters: Path, tmp_path: Path,
                             monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    program.save(tmp_path / "folder")
    np.save(tmp_path / "in.npy", raster)
    call = ("run", str(tmp_path / "folder"), "-i", str(tmp_path / "in.npy"), "-o", str(tmp_path / "out.npz"),
            "--backend", "lava")
    code, told = say_json(capsys, *call)
    assert (code, told["diagnostics"][0]["code"]) == (3, "SC553")
    monkeypatch.setenv("SPIKEC_LAVA_PYTHON", str(interpreters / "old"))
    code, _, told = say(capsys, *call)
    assert code == 4
    assert "Python 3.10 to 3.13" in told
    assert not (tmp_path / "out.npz").exists()
    assert list(scratch.iterdir()) == []


def test_a_disk_that_is_full_for_a_compiled_folder(program: LoihiProgram, tmp_path: Path,
                                                   monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder that stood there stays as it was."""
    program.save(tmp_path / "folder")
    before = {path.name: path.read_bytes() for path in (tmp_path / "folder").iterdir()}

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    for place in ("folder", "other"):
        with pytest.raises(BadInputError, match="No space left") as caught:
            program.save(tmp_path / place)
        assert [each.code for each in caught.value.diagnostics] == ["SC522"]
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]
    assert {path.name: path.read_bytes() for path in (tmp_path / "folder").iterdir()} == before


def test_a_disk_that_is_full_for_lavas_environment(tmp_path: Path) -> None:
    """A limit on the size of files stands for it: pip's own files are larger."""
    command = f"ulimit -f 64; exec '{sys.executable}' -m spikec lava install --folder '{tmp_path / 'made'}'"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 3, done.stderr
    assert re.search("SC555", done.stderr)
    assert [path.name for path in tmp_path.iterdir() if not path.name.startswith(".")] == []
    assert running(tmp_path) == []
