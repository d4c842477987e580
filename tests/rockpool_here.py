"""Where tests find Rockpool 3.1.0, in an interpreter of its own, and how they ask it (rockpool_side.py).

Rockpool is under the AGPL, and is only ever called, in another process. To make the environment:

    python3.11 -m venv ~/.cache/spikec/rockpool
    ~/.cache/spikec/rockpool/bin/pip install rockpool==3.1.0 jax==0.10.2 numpy scipy

Never install `samna` beside it: the package of that name on PyPI runs an installer when it is imported.
"""

from __future__ import annotations

import atexit
import json
import os
import subprocess
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

__all__ = ["ask_rockpool"]

SIDE = Path(__file__).with_name("rockpool_side.py")
STATED = os.environ.get("SPIKEC_ROCKPOOL_PYTHON")
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")


@cache
def _interpreter() -> tuple[str, str]:
    """Its path, or why there is none."""
    path = Path(STATED) if STATED else CACHE / "spikec" / "rockpool" / "bin" / "python"
    if not path.exists():
        return "", f"there is no {path}; set SPIKEC_ROCKPOOL_PYTHON, or make it as rockpool_here.py says"
    asked = "from importlib.metadata import version; print(version('rockpool'))"
    done = subprocess.run([path, "-c", asked], capture_output=True, text=True, check=False)
    found = done.stdout.strip()
    return (str(path), "") if found == "3.1.0" else ("", f"{path} has rockpool {found or 'not at all'}, not 3.1.0")


@cache
def _worker(interpreter: str) -> subprocess.Popen[str]:
    """One process for all questions: importing Rockpool takes seconds."""
    worker = subprocess.Popen([interpreter, SIDE], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL, text=True, env={**os.environ, "JAX_PLATFORMS": "cpu"})
    atexit.register(worker.kill)
    return worker


def ask_rockpool(task: str, folder: Path | None = None, **asked: Any) -> dict[str, np.ndarray]:
    """What rockpool_side.py finds for a task; the test is skipped where there is no Rockpool. Arrays among `asked` are
    handed over as such; `folder` has the files of a program."""
    interpreter, why = _interpreter()
    if not interpreter:
        pytest.skip(f"needs Rockpool 3.1.0: {why}")
    with tempfile.TemporaryDirectory() as scratch:
        given, found = Path(scratch, "given.npz"), Path(scratch, "found.npz")
        plain = {name: value for name, value in asked.items() if not isinstance(value, np.ndarray)}
        arrays = {name: value for name, value in asked.items() if isinstance(value, np.ndarray)}
        np.savez(given, **arrays, asked=json.dumps(plain | {"task": task, "folder": str(folder or "")}))
        worker = _worker(interpreter)
        assert worker.stdin is not None and worker.stdout is not None
        print(json.dumps([str(given), str(found)]), file=worker.stdin, flush=True)
        answer = worker.stdout.readline()
        assert answer, f"Rockpool's process ended with {worker.wait(timeout=60)}"
        assert not json.loads(answer), json.loads(answer)
        with np.load(found) as archive:
            return dict(archive)
