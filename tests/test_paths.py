"""Whatever takes a path says so where it is given none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import spikec
from spikec import BadInputError, Builder, Discretization, Events, Graph
from spikec.compiler.frontends import load_model
from spikec.ir.event_files import read_events, read_samples, write_events
from spikec.ir.npz import read_npz, write_npz
from spikec.ir.text import read, write
from spikec.runtime.datasets import fetch


def graph() -> Graph:
    net = Builder(Discretization(1e-3))
    cells = net.cubalif("cells", 2, tau_mem=20e-3, tau_syn=5e-3)
    net.connect(net.input("in", 3), cells, weight=np.ones((2, 3)))
    net.output("out", cells)
    return net.build()


def compared() -> Any:
    return spikec.validate(graph(), graph(), "random:0.1:3", samples=1)


TAKERS: dict[str, Callable[[Any], object]] = {
    "load": spikec.load,
    "from_nir": spikec.from_nir,
    "from_onnx": spikec.from_onnx,
    "load_model": load_model,
    "to_nir": lambda path: spikec.to_nir(graph(), path, extensions=True),
    "to_onnx": lambda path: spikec.to_onnx(graph(), path),
    "save, event": lambda path: spikec.compile(graph()).save(path),
    "save, clock": lambda path: spikec.compile(graph(), target="clock").save(path),
    "read_events": lambda path: read_events(path, ["in"]),
    "read_samples": lambda path: read_samples(path, ["in"]),
    "write_events": lambda path: write_events(path, {"in": Events.from_samples([])}),
    "text, read": read,
    "text, write": lambda path: write(graph(), path),
    "npz, read": lambda path: read_npz(path),
    "npz, write": lambda path: write_npz(path, {}),
    "plot": lambda path: compared().plot(path),
}
# None is a choice of these, and stands for none.
OPTIONAL: dict[str, Callable[[Any], object]] = {
    "dump_ir, event": lambda path: spikec.compile(graph(), dump_ir=path),
    "dump_ir, clock": lambda path: spikec.compile(graph(), target="clock", dump_ir=path),
    "checkpoint": lambda path: spikec.Trainer(spikec.compile(graph()), "spike-time", checkpoint=path),
    "fetch": lambda path: fetch((), path),
}
WRITERS = ("to_nir", "to_onnx", "save, event", "save, clock", "write_events", "text, write", "npz, write")


@pytest.mark.filterwarnings("ignore:SC209")
@pytest.mark.parametrize("given", [3, ["net"], np.ones(1), "", "a\0b"], ids=repr)
@pytest.mark.parametrize("taker", [*TAKERS, *OPTIONAL])
def test_what_is_no_path_is_told(taker: str, given: object) -> None:
    told = repr(given) if isinstance(given, str) else type(given).__name__
    with pytest.raises(BadInputError) as caught:
        {**TAKERS, **OPTIONAL}[taker](given)
    found = [fault for fault in caught.value.diagnostics if fault.code == "SC525"]
    assert [fault.value for fault in found] == [told]
    assert found[0].remedy


@pytest.mark.filterwarnings("ignore:SC209")
@pytest.mark.parametrize("taker", TAKERS)
def test_none_is_no_path(taker: str) -> None:
    with pytest.raises(BadInputError, match=r"SC525.*NoneType"):
        TAKERS[taker](None)


@pytest.mark.filterwarnings("ignore:SC209")
@pytest.mark.parametrize("taker", WRITERS)
def test_the_root_is_no_file_to_write(taker: str) -> None:
    with pytest.raises(BadInputError, match=r"SC522|SC122"):
        TAKERS[taker]("/")


def test_a_folder_may_be_given_in_any_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    program = spikec.compile(graph())
    program.save("net")
    program.save(Path("net"))
    assert spikec.load(tmp_path / "net").target == "event"
