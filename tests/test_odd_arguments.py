"""Arguments of other types than are due, and files that are something else: told by what they are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cli_commands import say, say_json, some_events

import spikec
from spikec import BadInputError, Discretization
from spikec.compiler.frontends import Leaf, register
from spikec.compiler.frontends.pytorch import registry
from spikec.compiler.inspection import inspect_graph
from spikec.ir import nodes
from spikec.ir.event_files import write_events


def network(target: str = "clock") -> Any:
    net = spikec.Builder()
    net.output("out", net.connect(net.input("in", 2), net.lif("hidden", 2, tau=1e-2), weight=np.ones((2, 2))))
    return spikec.compile(net.build(Discretization(1e-3)), target)


class Gain: ...


@pytest.mark.parametrize(("name", "leaf", "said"), [
    ("__main__.G", lambda *given: None, "function"), ("x", Leaf(print), "'x'"), (Gain, Leaf(print), "Gain"),
    ("a..B", Leaf(print), "a..B"), ("a.B", Leaf(3), "3"), ("a.B", Leaf(print, time="step"), "'step'"),  # type: ignore[arg-type]
])
def test_a_converter_is_judged_when_it_is_registered(name: Any, leaf: Any, said: str) -> None:
    before = dict(registry._registered)
    with pytest.raises(BadInputError, match="SC220") as caught:
        register(name, leaf)
    assert said in str(caught.value)
    assert registry._registered == before


@pytest.mark.parametrize("grid", [Discretization(dt="1e-4"), Discretization(1e-3, spike="bx")])  # type: ignore[arg-type]
def test_a_malformed_grid_is_told_by_every_step(grid: Discretization, tmp_path: Path) -> None:
    graph = network().graph
    wrong = graph.replace(discretization=grid)
    steps: list[Callable[[], Any]] = [
        lambda: spikec.compile(wrong), lambda: spikec.compile(wrong, "clock"), lambda: inspect_graph(wrong),
        lambda: spikec.validate(wrong, wrong), lambda: spikec.to_nir(wrong, tmp_path / "a.nir"),
        lambda: spikec.to_onnx(wrong, tmp_path / "a.onnx"), lambda: spikec.to_onnx(graph, tmp_path / "a.onnx", grid),
    ]
    for step in steps:
        with pytest.raises(BadInputError, match="SC116"):
            step()


@pytest.mark.parametrize("given", ["in.npz", None, 3])
def test_what_is_no_input_of_a_run_is_named(given: Any) -> None:
    with pytest.raises(BadInputError, match=f"SC405.*Events or an array.*{type(given).__name__}"):
        network().run(given)


@pytest.mark.parametrize("target", ["event", "clock"])
def test_a_dtype_in_quotes_is_shown_in_quotes(target: str) -> None:
    for step in (lambda: network(target).module(dtype="float32"),
                 lambda: network(target).run(np.zeros((1, 2, 2)), dt=1e-3, dtype="float32")):
        with pytest.raises(BadInputError, match="value: 'float32'"):
            step()


@pytest.mark.parametrize("data", [None, "data.npy"])
def test_what_are_no_data_of_a_conversion_is_named(data: Any) -> None:
    graph = spikec.Graph({"in": nodes.Input(shape=(2,)), "fc": nodes.Linear(weight=np.ones((2, 2))),
                          "relu": nodes.Relu(), "out": nodes.Output(shape=(2,))},
                         (("in", "fc"), ("fc", "relu"), ("relu", "out")))
    with pytest.raises(BadInputError, match=rf"array of numbers.*{type(data).__name__}.*\(samples, 2\)"):
        spikec.convert_ann(graph, data)


@pytest.mark.parametrize("read", [spikec.from_nir, spikec.from_onnx])
def test_a_folder_is_told_from_a_missing_file(read: Any, tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="is a folder, not a file"):
        read(tmp_path)
    with pytest.raises(BadInputError, match="there is no file"):
        read(tmp_path / "absent")


@pytest.mark.parametrize("content", [b"", b"hello"])
def test_a_file_that_only_is_named_so_is_no_nir(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "net.nir").write_bytes(content)
    with pytest.raises(BadInputError, match=f"is no HDF5 file.*{len(content)} bytes"):
        spikec.from_nir(tmp_path / "net.nir")


def test_an_empty_name_is_no_folder(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for command in (("inspect", ""), ("compile", "", "-o", "net"), ("validate", "", "--against", "net.py:make")):
        code, _, err = say(capsys, *command)
        assert (code, "SC525" in err, "Give FILE.py:NAME" in err) == (4, True, True), err


def test_a_spike_and_its_step_are_told_apart(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    err = say(capsys, "inspect", "net.py:make", "--spike", "box")[2]
    assert "the grid's step is not" in err and "--dt SECONDS" in err and "no such meaning" not in err, err
    err = say(capsys, "inspect", "net.py:make", "--spike", "bx", "--dt", "1e-3")[2]
    assert "no such meaning" in err and "'bx'" in err and "step is not" not in err, err
    with pytest.raises(BadInputError, match="Give dt too"):
        spikec.validate(network(), network(), spike="box")


def test_a_raster_is_run_as_its_events_are(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    raster = np.zeros((3, 40, 4), np.uint8)
    events = some_events().numpy()
    sample = np.repeat(np.arange(3), np.diff(events.offsets))
    raster[sample, (events.times / 1e-3).astype(int), events.indices] = 1
    np.save("in.npy", raster)
    write_events("in.npz", {"in": spikec.Events.from_dense(raster, 1e-3)})
    for target, options in (("event", ()), ("clock", ("--dt", "1e-3", "--spike", "delta"))):
        assert say(capsys, "compile", "net.py:make", "-t", target, *options, "-o", target)[0] == 0
        step = ("--dt", "1e-3") if target == "event" else ()
        code, told = say_json(capsys, "run", target, "-i", "in.npy", "--duration", "0.04", *step)
        expected = say_json(capsys, "run", target, "-i", "in.npz", "--duration", "0.04")[1]
        assert (code, told["spikes"], told["samples"]) == (0, expected["spikes"], 3)
        assert told["spikes"]["out"] > 0
    assert "--dt SECONDS" in say(capsys, "run", "event", "-i", "in.npy")[2]
    Path("in.csv").write_text("1,2")
    assert ".npy of a raster" in say(capsys, "run", "event", "-i", "in.csv")[2]
