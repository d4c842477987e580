"""Where tests find Lava, and an interpreter with a stand-in for it, for tests of what surrounds a run."""

from __future__ import annotations

import sys
import venv
from contextlib import suppress
from functools import cache
from pathlib import Path

import pytest

from spikec.ir.diagnostics import SpikecError
from spikec.runtime.lava.environment import check_lava, find_lava

__all__ = ["lava_python", "members", "shared_memory", "stand_in"]


try:
    STATED: Path | SpikecError = find_lava()  # now: tests change the variables that name it
except SpikecError as missing:
    STATED = missing


@cache
def _found() -> tuple[str, str]:
    try:
        return (check_lava(STATED).interpreter, "") if isinstance(STATED, Path) else ("", str(STATED))
    except SpikecError as error:
        return "", str(error)


def lava_python() -> Path:
    """The interpreter that has Lava, by SPIKEC_LAVA_PYTHON or from `spikec lava install`; else the test is skipped."""
    interpreter, why = _found()
    if not interpreter:
        pytest.skip(f"needs Lava: {why}")
    return Path(interpreter)


def stand_in(place: Path, version: str = "0.10.0") -> Path:
    """An interpreter in which importing Lava works, and nothing of it is there."""
    venv.create(place, with_pip=False)
    (site,) = place.glob("lib/python*/site-packages")
    module = site / "lava" / "magma" / "compiler"
    module.mkdir(parents=True)
    (module / "var_model.py").touch()
    about = site / f"lava_nc-{version}.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: lava-nc\nVersion: {version}\n")
    (site / "dependencies.pth").write_text("\n".join(path for path in sys.path if path.endswith("-packages")) + "\n")
    return place / "bin" / "python"


def members(group: int) -> list[int]:
    """The processes of a group that are no zombies."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, number, *_ = entry.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(number) == group and state not in "ZX":
            found.append(int(entry.parent.name))
    return found


def shared_memory(group: int) -> set[str]:
    """The blocks of shared memory that the processes of a group have mapped: other tests may run Lava beside them."""
    found: set[str] = set()
    for process in members(group):
        with suppress(OSError):
            maps = Path(f"/proc/{process}/maps").read_text()
            found.update(line.split("/dev/shm/")[1].split()[0] for line in maps.splitlines() if "/dev/shm/psm_" in line)
    return found
