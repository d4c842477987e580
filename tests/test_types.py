"""Ruff and the type checker, on the tree as it is installed; and what `import spikec` costs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from as_installed import ROOT, lay_out

# Seconds beyond torch's own import; the aim is 0.5, and what is measured is far below.
IMPORT_LIMIT = 0.5


def run(*command: str, place: Path = ROOT) -> None:
    done = subprocess.run([sys.executable, "-m", *command], cwd=place, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}{done.stderr}"


def test_ruff_has_nothing_to_say() -> None:
    pytest.importorskip("ruff")
    run("ruff", "check", "--no-cache", ".")


def test_types_agree(tmp_path: Path) -> None:
    pytest.importorskip("mypy")
    run("mypy", "--cache-dir", str(ROOT / ".mypy_cache"), "-p", "spikec", place=lay_out(tmp_path))


PROGRAMS = """
from typing import assert_type

import spikec
from spikec.compiler.driver import AnyProgram
from spikec.runtime.clock.module import ClockModule
from spikec.runtime.module import EventModule
from spikec.targets.clock.program import ClockProgram
from spikec.targets.event.program import Program


def programs(graph: spikec.Graph, target: str) -> None:
    assert_type(spikec.compile(graph), Program)
    assert_type(spikec.compile(graph, target="event", dump_ir="folder").module(), EventModule)
    assert_type(spikec.compile(graph, "clock"), ClockProgram)
    assert_type(spikec.compile(graph, target="clock").module(surrogate="fast_sigmoid"), ClockModule)
    assert_type(spikec.compile(graph, "clock").recompile(graph), ClockProgram)
    assert_type(spikec.compile(graph, target), AnyProgram)
"""


def test_the_type_of_a_program_follows_from_its_target(tmp_path: Path) -> None:
    pytest.importorskip("mypy")
    place = lay_out(tmp_path)
    (place / "programs.py").write_text(PROGRAMS)
    run("mypy", "--cache-dir", str(ROOT / ".mypy_cache"), "programs.py", place=place)


def test_importing_spikec_costs_little() -> None:
    code = (
        "import time, torch; start = time.process_time(); import spikec; done = time.process_time() - start\n"
        "import sys; heavy = [m for m in ('rich', 'typer', 'nir', 'h5py', 'onnx', 'jinja2') if m in sys.modules]\n"
        "print(done, *heavy)"
    )
    seconds, *heavy = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    print(f"import spikec: {1e3 * float(seconds):.2f} ms beyond torch's import")
    assert float(seconds) < IMPORT_LIMIT
    assert heavy == [], "imported only when they are used"


def test_every_public_name_is_there() -> None:
    code = "import spikec; print([name for name in spikec.__all__ if getattr(spikec, name, None) is None])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"
