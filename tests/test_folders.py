"""Compiled folders: what is saved comes back bit by bit, and what is damaged is named."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import spikec
from spikec import BadInputError, Builder, Discretization, Graph
from spikec.ir.graph import same_graph
from spikec.targets.registry import TARGETS


def small_graph(seed: int = 0) -> Graph:
    draw = np.random.default_rng(seed)
    net = Builder(Discretization(1e-3, spike="box"), {"source": "a test"})
    source = net.input("in", 5)
    hidden = net.cubalif("hidden", 7, tau_mem=20e-3, tau_syn=draw.uniform(4e-3, 6e-3, 7))
    label = net.cubali("label", 3, tau_mem=20e-3, tau_syn=5e-3)
    net.connect(source, hidden, weight=draw.normal(0.3, 0.2, (7, 5)).astype(np.float32), name="fc1")
    net.connect(hidden, label, weight=draw.normal(0, 0.2, (3, 7)), name="fc2")
    net.output("out", label)
    return net.build()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    spikec.compile(small_graph()).save(tmp_path / "net")
    return tmp_path / "net"


def codes(error: pytest.ExceptionInfo[BadInputError]) -> list[str]:
    return [diagnostic.code for diagnostic in error.value.diagnostics]


def test_what_is_saved_comes_back_bit_by_bit(folder: Path) -> None:
    program = spikec.load(folder)
    assert same_graph(program.graph, small_graph())
    assert program.target == "event"
    assert sorted(os.listdir(folder)) == ["graph.npz", "graph.spk", "manifest.json"]


def test_the_same_model_makes_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    spikec.compile(small_graph()).save(tmp_path / "again")
    for name in os.listdir(folder):
        assert (folder / name).read_bytes() == (tmp_path / "again" / name).read_bytes()


def test_a_compiled_folder_is_replaced_whole(folder: Path) -> None:
    spikec.compile(small_graph(seed=1)).save(folder)
    assert same_graph(spikec.load(folder).graph, small_graph(seed=1))
    assert os.listdir(folder.parent) == ["net"], "nothing is left beside it"


def test_other_folders_and_files_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("years of work")
    (tmp_path / "file").write_text("also")
    for place in ("thesis", "file"):
        with pytest.raises(BadInputError) as error:
            spikec.compile(small_graph()).save(tmp_path / place)
        assert codes(error) == ["SC522"]
    assert (tmp_path / "thesis" / "chapter.txt").read_text() == "years of work"


def test_a_full_disk_loses_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(BadInputError) as error:
        spikec.compile(small_graph(seed=1)).save(folder)
    assert codes(error) == ["SC522"]
    assert "No space left" in str(error.value)
    monkeypatch.undo()
    assert same_graph(spikec.load(folder).graph, small_graph())
    assert os.listdir(folder.parent) == ["net"]


def test_a_failing_rename_puts_the_old_folder_back(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rename = os.rename

    def failing(source: Path, target: Path) -> None:
        if str(source).endswith(".new"):
            raise OSError(5, "Input/output error")
        rename(source, target)

    monkeypatch.setattr(os, "rename", failing)
    with pytest.raises(BadInputError):
        spikec.compile(small_graph(seed=1)).save(folder)
    assert same_graph(spikec.load(folder).graph, small_graph())
    assert os.listdir(folder.parent) == ["net"]


def test_a_place_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(BadInputError) as error:
        spikec.compile(small_graph()).save(tmp_path / "file" / "net")
    assert codes(error) == ["SC522"]


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-3])


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def link(path: Path) -> None:
    twin = path.with_name("elsewhere")
    path.rename(twin)
    path.symlink_to(twin)


@pytest.mark.parametrize(("damage", "said"), [
    (Path.unlink, "missing"), (cut, "size"), (flip, "damaged"), (link, "not a plain file"),
])
@pytest.mark.parametrize("name", ["graph.spk", "graph.npz"])
def test_a_damaged_file_is_named(folder: Path, name: str, damage: Callable[[Path], None], said: str) -> None:
    damage(folder / name)
    with pytest.raises(BadInputError) as error:
        spikec.load(folder)
    assert codes(error)[0] == "SC520"
    assert any(name in str(each) and said in str(each) for each in error.value.diagnostics)


def test_all_faults_are_named_at_once(folder: Path) -> None:
    flip(folder / "graph.spk")
    (folder / "graph.npz").unlink()
    (folder / "payload.pkl").write_bytes(b"cos\nsystem\n")
    with pytest.raises(BadInputError) as error:
        spikec.load(folder)
    assert codes(error) == ["SC520"] * 3
    assert all(name in str(error.value) for name in ("graph.spk", "graph.npz", "payload.pkl"))


def edit(folder: Path, **changes: object) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(manifest | changes))


@pytest.mark.parametrize(("changes", "code"), [
    ({"version": 99}, "SC521"),
    ({"version": None}, "SC521"),
    ({"format": "something"}, "SC521"),
    ({"files": []}, "SC520"),
    ({"files": {"../escape": {"sha256": "0", "size": 1}}}, "SC520"),
    ({"files": {"graph.spk": {"sha256": "0", "size": "1"}}}, "SC520"),
    ({"target": 7}, "SC520"),
    ({"target": "abacus"}, "SC530"),
])
def test_an_unknown_or_malformed_manifest_is_told(folder: Path, changes: dict[str, object], code: str) -> None:
    edit(folder, **changes)
    with pytest.raises(BadInputError) as error:
        spikec.load(folder)
    assert codes(error) == [code]


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"null", b"\xff\xfe", b"[" * 100_000, b" " * ((1 << 20) + 1)])
def test_a_manifest_that_is_no_manifest_is_told(folder: Path, text: bytes) -> None:
    (folder / "manifest.json").write_bytes(text)
    with pytest.raises(BadInputError) as error:
        spikec.load(folder)
    assert codes(error)[0] in ("SC520", "SC521")


def test_no_folder_is_told(tmp_path: Path) -> None:
    for place in (tmp_path / "absent", tmp_path):
        with pytest.raises(BadInputError, match="no compiled folder"):
            spikec.load(place)


def test_a_planned_target_is_refused_by_load_and_compile(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TARGETS, "abacus", replace(TARGETS["dynapse2"], name="abacus", status="planned"))
    edit(folder, target="abacus")
    with pytest.raises(spikec.UnsupportedError) as error:
        spikec.load(folder)
    assert error.value.diagnostics[0].code == "SC531"
    with pytest.raises(spikec.UnsupportedError):
        spikec.compile(small_graph(), "abacus")


def test_a_link_in_place_of_a_folder_is_not_followed(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(folder)
    with pytest.raises(BadInputError):
        spikec.compile(small_graph(seed=1)).save(tmp_path / "link")
    assert same_graph(spikec.load(folder).graph, small_graph())


def test_the_report_counts_what_is_there() -> None:
    report = spikec.compile(small_graph()).report()
    assert (report.neurons, report.synapses, report.weights) == (10, 7 * 5 + 3 * 7, 56)
    text = str(report)
    assert "spike = box" in text
    assert "in -> hidden" in text
    assert json.loads(json.dumps(report.as_dict()))["populations"][0]["neurons"] == 7


def test_the_report_counts_the_connections_of_a_stencil() -> None:
    """Against the number of nonzero entries of the matrix that the convolution is, with weights that are all one."""
    torch = pytest.importorskip("torch")
    net = Builder()
    source = net.input("in", (2, 5, 4))
    weight = np.ones((3, 2, 3, 2))
    conv = net.conv2d("conv", source, weight=weight, stride=(2, 1), padding=(1, 1), dilation=(1, 2))
    hidden = net.cubalif("hidden", conv.shape, tau_mem=20e-3, tau_syn=5e-3)
    net.connect(conv, hidden)
    net.output("out", hidden)
    units = torch.eye(2 * 5 * 4).reshape(-1, 2, 5, 4)
    matrix = torch.nn.functional.conv2d(units, torch.ones(3, 2, 3, 2), stride=(2, 1), padding=(1, 1), dilation=(1, 2))
    report = spikec.compile(net.build()).report()
    assert report.synapses == int((matrix != 0).sum())
    assert report.weights == weight.size
