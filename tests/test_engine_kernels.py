"""Kernels on the machine: their cache, compilers, templates, and memory that is not there."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from engine_nets import DURATION
from engine_problem import problem

import spikec
from spikec.ir.diagnostics import SpikecError
from spikec.runtime import jit

SCRIPT = """
import numpy as np, spikec, sys
from spikec.ir.diagnostics import SpikecError
from spikec.ir import nodes as ir
graph = spikec.Graph({"in": ir.Input(shape=(1,)), "fc": ir.Linear(weight=[[12.0]]),
                      "n": ir.CubaLIF(shape=(1,), tau_mem=2.0, tau_syn=1.0), "out": ir.Output(shape=(1,))},
                     (("in", "fc"), ("fc", "n"), ("n", "out")))
try:
    found = spikec.compile(graph).run(spikec.Events.from_samples([([0.0], [0])]), duration=5.0)
    print("times", *found.spikes["out"].times.round(9))
except SpikecError as error:
    print("diagnostic", *(each.code for each in error.diagnostics))
"""
TIMES = "times 0.19247498 0.434599927 0.76366993 1.294860802"


def start(cache: Path, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT],
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "SPIKEC_CACHE": str(cache), **environment},
    )


def test_the_kernel_cache(tmp_path: Path) -> None:
    """Two processes at once on an empty cache; then a damaged library, a damaged digest, a library that is cut off."""
    cache = tmp_path / "new" / "cache"
    both = [start(cache), start(cache)]
    assert [said(each) for each in both] == [TIMES, TIMES]
    libraries = sorted(cache.glob("*.so"))
    assert libraries
    assert not list(cache.glob(".new-*"))
    damaged = libraries[0].read_bytes()
    libraries[0].write_bytes(damaged[:5000] + b"\x00" * 64 + damaged[5064:])
    libraries[-1].with_suffix(".sha256").write_text("0" * 64)
    assert said(start(cache)) == TIMES
    assert libraries[0].read_bytes() == damaged or len(libraries[0].read_bytes()) > 5064
    libraries[0].write_bytes(damaged[:1000])
    libraries[-1].with_suffix(".sha256").unlink()
    assert said(start(cache)) == TIMES
    times = {each: each.stat().st_mtime_ns for each in cache.iterdir()}
    assert said(start(cache)) == TIMES
    assert times == {each: each.stat().st_mtime_ns for each in cache.iterdir()}  # nothing was compiled again


def test_a_cache_that_cannot_be_written(tmp_path: Path) -> None:
    place = tmp_path / "file"
    place.write_text("no folder")  # holds for root too, unlike permissions
    assert said(start(place)) == TIMES


def test_no_compiler_and_one_that_fails(tmp_path: Path) -> None:
    empty = tmp_path / "bin"
    empty.mkdir()
    (empty / "python").symlink_to(sys.executable)
    failing = tmp_path / "cc"
    failing.write_text('#!/bin/sh\ncase "$*" in *--version*) echo broken 1.0;; *) echo no >&2; exit 1;; esac\n')
    failing.chmod(0o755)
    missing = start(tmp_path / "a", PATH=str(empty), CC="")
    broken = start(tmp_path / "b", CC=str(failing))
    absent = start(tmp_path / "c", CC=str(tmp_path / "nowhere"))
    said_missing = said(missing)
    ziglang = (
        subprocess.run([sys.executable, "-m", "ziglang", "version"], capture_output=True, check=False).returncode == 0
    )
    assert said_missing == (TIMES if ziglang else "diagnostic SC421")
    assert said(broken) == "diagnostic SC422"
    assert said(absent) == TIMES  # another compiler is there


@pytest.mark.parametrize(
    "template", sorted(path.name for path in (Path(jit.__file__).parent / "kernels").glob("*.jinja"))
)
def test_templates_declare_what_they_use(template: str) -> None:
    """Exactly what they use themselves and through what they include; parts may lean on their includer's."""
    declared, used = jit.declared_variables(template), jit.undeclared_variables(template)
    assert declared <= used, f"declared in vain: {sorted(declared - used)}"
    rendered = template in ("events.jinja", "sweep.jinja") or template.startswith(("clock", "loop_"))
    if rendered:
        assert used == declared, f"not declared: {sorted(used - declared)}"


def test_a_template_is_given_exactly_its_variables() -> None:
    with pytest.raises(SpikecError) as caught:
        jit.render("events.jinja", gather_fields=[])
    assert caught.value.diagnostics[0].code == "SC420"

def said(process: subprocess.Popen[str]) -> str:
    out, error = process.communicate(timeout=600)
    assert process.returncode == 0, error
    return out.strip()


@pytest.mark.parametrize("options", [{}, {"recurrent": True}, {"wires": "sparse"}])
def test_a_kernel_without_memory_says_so(options: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    graph, events = problem(**options)
    program = spikec.compile(graph)
    module = program.module(dtype=torch.float64, train=("weight", "tau_mem"))
    out = module(events, duration=DURATION)
    if options:
        monkeypatch.setattr("spikec.runtime.loop._scratch", lambda *_: 1 << 60)
        with pytest.raises(SpikecError, match=r"SC423.*fewer"):
            program.run(events, duration=DURATION)
    else:
        out._activity.results["hidden"].end.arguments.longest = 1 << 50
    with pytest.raises(SpikecError, match=r"SC423.*fewer"):
        out.events("hidden").times.sum().backward()
