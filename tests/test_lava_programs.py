"""Programs for Lava: what is written, what is read again, and that Lava runs them bit for bit as the oracle says."""

from __future__ import annotations

import ast
import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from integer_nets import random_case
from lava_here import lava_python, members, shared_memory

from spikec.ir.diagnostics import BadInputError, UnsupportedError
from spikec.ir.integer.network import (
    IntegerConv,
    IntegerDense,
    IntegerNetwork,
    IntegerPopulation,
    IntegerProjection,
    IntegerSparse,
)
from spikec.ir.integer.step import IntegerResult, simulate_integer
from spikec.runtime.lava.environment import LavaError
from spikec.runtime.lava.worker import LavaWorker
from spikec.targets.lava.program import LavaProgram

ALL = ("spikes", "u", "v")


def population(name: str, *shape: int, **settings: Any) -> IntegerPopulation:
    return IntegerPopulation(name=name, shape=shape, **{"du": 1000, "dv": 300, "threshold": 90} | settings)


def dense(name: str, source: str, target: str, post: int, pre: int, **settings: Any) -> IntegerProjection:
    weight = np.random.default_rng(post).integers(-60, 100, (post, pre))
    return IntegerProjection(name=name, source=source, target=target, connection=IntegerDense(weight=weight),
                             **settings)


def small(**names: str) -> IntegerNetwork:
    """One of each kind of projection; `names` of input and populations."""
    told = {"x": "x", "a": "a", "b": "b", "out": "out"} | names
    x, a, b = told["x"], told["a"], told["b"]
    draw = np.random.default_rng(1)
    conv = IntegerConv(weight=draw.integers(-100, 100, (2, 2, 2, 2)), input_shape=(2, 4, 4), output_shape=(2, 2, 3),
                       stride=(2, 1))
    sparse = IntegerSparse(indptr=np.array([0, 2, 3, 3]), indices=np.array([0, 5, 11]), weight=draw.integers(1, 90, 3))
    return IntegerNetwork(
        inputs={x: (2, 4, 4)},
        populations={a: population(a, 2, 2, 3, u0=np.arange(12) * 500),
                     b: population(b, 3, bias=np.array([5, -3, 0]), bias_exponent=2, v0=np.array([-9000, 0, 9000]))},
        projections=(
            IntegerProjection(name=x + a, source=x, target=a, connection=conv, exponent=1),
            IntegerProjection(name=a + b, source=a, target=b, connection=sparse, sign="excitatory"),
            dense(b + b, b, b, 3, 3, delay=np.arange(9).reshape(3, 3)),
            dense(x + b, x, b, 3, 32, message_bits=4, weight_bits=6),
        ), outputs={told["out"]: b}, dt=1e-3)


def spikes(network: IntegerNetwork, samples: int = 2, steps: int = 20) -> dict[str, Any]:
    draw = np.random.default_rng(4)
    return {name: (draw.random((samples, steps, *shape)) < 0.3).astype(np.uint8) for name, shape in
            network.inputs.items()}


@pytest.fixture(scope="module")
def worker() -> Iterator[LavaWorker]:
    with LavaWorker(lava_python()) as worker:
        yield worker


def assert_same(found: IntegerResult, wanted: IntegerResult) -> None:
    for variable in ("spikes", "u", "v"):
        mine, theirs = getattr(found, variable), getattr(wanted, variable)
        assert set(mine) == set(theirs)
        for name, array in mine.items():
            assert array.dtype == theirs[name].dtype
            assert np.array_equal(array, theirs[name]), f"{variable} of {name}"


def test_the_program_is_what_a_reader_expects(golden: Callable[[str, str], None]) -> None:
    text = LavaProgram(small()).files["program.py"].decode()
    golden("lava_program.txt", text.replace(f"spikec {version('spikec')}", "spikec VERSION"))


def test_equal_networks_are_equal_bytes() -> None:
    assert LavaProgram(small()).files == LavaProgram(small()).files


def test_a_saved_program_comes_back(tmp_path: Path) -> None:
    for number, network in enumerate([small(), *(random_case(seed)[0] for seed in range(8))]):
        program = LavaProgram(network)
        program.save(tmp_path / str(number))
        again = LavaProgram.load(tmp_path / str(number))
        assert again.files == program.files
        rasters = spikes(network, 1, 30)
        assert_same(simulate_integer(again.network, rasters), simulate_integer(network, rasters))
        assert again.network.inputs == network.inputs
        assert again.network.outputs == network.outputs


def test_no_text_of_the_user_is_code(tmp_path: Path) -> None:
    """Names that would end a string, a comment or a line stand in network.json alone."""
    evil = '"""\nimport os; os.abort()\n# \\ \' {{ 7 * 7 }}'
    names = {"x": evil, "a": evil + "a", "b": "b'\"", "out": evil + "out"}
    program, plain = LavaProgram(small(**names)), LavaProgram(small())
    assert program.files["program.py"] == plain.files["program.py"]
    assert program.files["README.md"] == plain.files["README.md"]
    ast.parse(program.files["program.py"])
    program.save(tmp_path / "evil")
    assert list(LavaProgram.load(tmp_path / "evil").network.populations) == [names["a"], names["b"]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    LavaProgram(small()).save(tmp_path / "saved")
    return tmp_path / "saved"


def seal(folder: Path) -> None:
    """Makes the manifest agree with what lies in the folder."""
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"] = {path.name: {"sha256": sha256(path.read_bytes()).hexdigest(), "size": path.stat().st_size}
                         for path in folder.iterdir() if path.name != "manifest.json"}
    (folder / "manifest.json").write_text(json.dumps(manifest))


@pytest.mark.parametrize("name", ["program.py", "README.md", "parameters.npz", "network.json"])
def test_a_changed_file_is_refused(name: str, folder: Path) -> None:
    (folder / name).write_bytes((folder / name).read_bytes() + b"\n")
    with pytest.raises(BadInputError, match=name) as caught:
        LavaProgram.load(folder)
    assert caught.value.diagnostics[0].code == "SC520"


@pytest.mark.parametrize("name", ["program.py", "README.md", "network.json"])
def test_a_changed_file_is_refused_even_where_the_manifest_agrees(name: str, folder: Path) -> None:
    mark = folder.parent / "executed"
    (folder / name).write_bytes((folder / name).read_bytes() + f"\n\n\nopen({str(mark)!r}, 'w')".encode())
    if name == "network.json":
        (folder / name).write_bytes(LavaProgram(small()).files[name].replace(b'"du": 1000', b'"du": 1001', 1))
    seal(folder)
    with pytest.raises(BadInputError) as caught:
        LavaProgram.load(folder)
    assert {each.code for each in caught.value.diagnostics} == {"SC520"}
    assert not mark.exists()


@pytest.mark.parametrize(("old", "new", "code"), [
    ('"populations": {', '"populations": [', "SC520"),
    ('"source": "p0"', '"source": "p9"', "SC520"),
    ('"du": 1000', '"du": 100000', "SC140"),
    ('"du": 1000', '"du": "1000"', "SC140"),
    ('"kind": "sparse"', '"kind": "dense"', "SC107"),
    ('"stride": [', '"stride": ["x", ', "SC520"),
    (f'"spikec": "{version("spikec")}"', '"spikec": "0.0.1"', "SC521"),
])
def test_a_network_that_is_none(old: str, new: str, code: str, folder: Path) -> None:
    text = (folder / "network.json").read_text()
    assert old in text
    (folder / "network.json").write_text(text.replace(old, new, 1))
    seal(folder)
    with pytest.raises(BadInputError) as caught:
        LavaProgram.load(folder)
    assert code in {each.code for each in caught.value.diagnostics}


def test_what_stands_in_the_way_stays(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "text").write_text("mine")
    with pytest.raises(BadInputError, match="is no compiled folder"):
        LavaProgram(small()).save(tmp_path / "mine")
    assert [path.name for path in tmp_path.rglob("*")] == ["mine", "text"]


def test_a_full_disk_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(BadInputError, match="No space left"):
        LavaProgram(small()).save(tmp_path / "saved")
    assert list(tmp_path.iterdir()) == []


def test_convolutions_that_see_different_channels_are_refused() -> None:
    network = small()
    other = IntegerConv(weight=np.ones((1, 4, 1, 2), int), input_shape=(4, 1, 3), output_shape=(1, 1, 2))
    populations = {**network.populations, "c": population("c", 2)}
    second = IntegerProjection(name="ac", source="a", target="c", connection=other)
    with pytest.raises(UnsupportedError, match="'ac'") as caught:
        LavaProgram(replace(network, populations=populations, projections=(*network.projections, second)))
    assert caught.value.diagnostics[0].code == "SC559"


def test_what_can_be_recorded_is_said() -> None:
    with pytest.raises(BadInputError, match="spikes, u, v"):
        LavaProgram(small()).run(spikes(small()), record=("w",))


def test_nothing_runs_for_no_samples_or_no_steps() -> None:
    program = LavaProgram(small())
    for shape in ((0, 5, 32), (2, 0, 32)):
        found = program.run({"x": np.zeros(shape, int)}, record=("u",))
        assert found.spikes["b"].shape == (*shape[:2], 3)
        assert found.u["a"].shape == (*shape[:2], 12)


# From here on Lava runs.


@pytest.mark.parametrize("seed", range(6))
def test_lava_runs_random_networks_as_the_oracle_does(seed: int, worker: LavaWorker) -> None:
    network, rasters = random_case(100 + seed, batch=1 + seed % 2)
    found = LavaProgram(network).run(rasters, record=ALL, worker=worker)
    assert_same(found, simulate_integer(network, rasters))


def test_every_sample_starts_from_rest_in_several_runs_too(worker: LavaWorker, tmp_path: Path) -> None:
    """Five samples, two of them in a run of Lava."""
    network = small()
    program = LavaProgram(network)
    program.save(tmp_path / "saved")
    path = tmp_path / "saved" / "program.py"
    text, changed = re.subn(r"LARGEST = .*", f"LARGEST = {2 * 21 * 32}", path.read_text())
    assert changed == 1
    path.write_text(text)
    rasters = spikes(network, 5)
    found = worker.run(path, {"p0": rasters["x"].reshape(5, 20, 32).astype(np.int32)}, record=("p1.spikes", "p2.v"))
    wanted = simulate_integer(network, rasters)
    assert wanted.spikes["b"].any(axis=(1, 2)).all()
    assert set(found) == {"p1.spikes", "p2.spikes", "p2.v"}
    for key, array in (("p1.spikes", wanted.spikes["a"]), ("p2.spikes", wanted.spikes["b"]),
                       ("p2.v", wanted.v["b"])):
        assert np.array_equal(found[key], array)


def test_parts_without_a_connection_and_without_an_input_run_too(worker: LavaWorker) -> None:
    bias = np.array([3, 9])
    network = IntegerNetwork(
        inputs={"x": (3,), "unused": (2,)},
        populations={"a": population("a", 2), "alone": population("alone", 2, bias=bias, bias_exponent=7),
                     "b": population("b", 2, bias=bias, bias_exponent=7)},
        projections=(dense("xa", "x", "a", 2, 3), dense("bb", "b", "b", 2, 2)),
        outputs={"first": "a", "second": "alone", "third": "b"}, dt=1e-3)
    rasters = spikes(network)
    found = LavaProgram(network).run(rasters, worker=worker, record=ALL)
    assert_same(found, simulate_integer(network, rasters))
    driven = replace(network, inputs={}, projections=network.projections[1:])
    found = LavaProgram(driven).run({}, 15, worker=worker, record=ALL)
    assert found.spikes["b"].any()
    assert_same(found, simulate_integer(driven, {}, 15))


def test_a_value_that_is_not_zero_is_a_spike(worker: LavaWorker) -> None:
    """However large: what goes to Lava has 32 bits."""
    network = replace(small(), projections=small().projections[:2])
    raster = spikes(network)["x"].astype(np.int64) << 40
    found = LavaProgram(network).run({"x": raster[:, :15]}, 20, worker=worker, record=ALL)
    assert found.u["a"].any()
    assert_same(found, simulate_integer(network, {"x": raster[:, :15]}, 20))


@pytest.mark.parametrize("delay", [None, 0, 7])
@pytest.mark.parametrize("entries", [0, 2])
def test_matrices_without_weights(entries: int, delay: int | None, worker: LavaWorker) -> None:
    """None at all, or such as their sign does not let them hold."""
    connection = IntegerSparse(indptr=np.array([0, 0, 0, entries]), indices=np.arange(entries),
                               weight=np.full(entries, -5))
    network = small()
    nothing = replace(network.projections[1], connection=connection,
                      delay=None if delay is None else np.full(entries, delay))
    network = replace(network, projections=(network.projections[0], nothing, *network.projections[2:]))
    rasters = spikes(network, 1)
    found = LavaProgram(network).run(rasters, worker=worker, record=ALL)
    assert_same(found, simulate_integer(network, rasters))


def test_a_spike_takes_one_column(worker: LavaWorker) -> None:
    """What `LATENCY` says, of a spike of an input and of a population; each fires its target alone."""
    connection = IntegerDense(weight=np.array([[100]]))
    network = IntegerNetwork(
        inputs={"x": (1,)}, populations={name: population(name, 1, du=4095, dv=4095, threshold=50) for name in "ab"},
        projections=(IntegerProjection(name="xa", source="x", target="a", connection=connection),
                     IntegerProjection(name="ab", source="a", target="b", connection=connection)),
        outputs={"out": "b"}, dt=1e-3)
    raster = np.zeros((1, 6, 1), int)
    raster[0, 1] = 1
    found = LavaProgram(network).run({"x": raster}, worker=worker, record=("spikes",))
    assert np.flatnonzero(found.spikes["a"]).tolist() == [2]
    assert np.flatnonzero(found.spikes["b"]).tolist() == [3]


def test_a_program_stands_alone(tmp_path: Path) -> None:
    """In Lava's interpreter, from another folder, on a raster of one sample without an axis for it."""
    network = small()
    LavaProgram(network).save(tmp_path / "saved")
    raster = spikes(network, 1)["x"].reshape(20, 32)
    np.savez(tmp_path / "in.npz", p0=raster)

    def call(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([lava_python(), tmp_path / "saved" / "program.py", "--input", "in.npz", *arguments],
                              cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)

    done = call("--output", "out.npz", "--record", "u,v", "--steps", "25")
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    wanted = simulate_integer(network, {"x": raster[None]}, 25)
    with np.load(tmp_path / "out.npz") as found:
        assert set(found) == {"p2.spikes", "p1.u", "p2.u", "p1.v", "p2.v"}
        assert np.array_equal(found["p2.spikes"], wanted.spikes["b"][0])
        assert np.array_equal(found["p1.v"], wanted.v["a"][0])
    for arguments in (("--record", "w"), ("--record", "p9.u"), ("--steps", "3")):
        refused = call("--output", "other.npz", *arguments)
        assert refused.returncode == 1
        assert "Traceback" not in refused.stderr
        assert arguments[1] in refused.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.npz", "out.npz", "saved"]


LONG = 100_000


def test_a_run_of_lava_whose_time_is_up_leaves_nothing() -> None:
    network, seen = small(), set()
    with LavaWorker(lava_python()) as worker:
        with pytest.raises(LavaError, match="its time is up") as caught:
            LavaProgram(network).run(spikes(network, 1, LONG), worker=worker, time_limit=6.0,
                                     progress=lambda part: seen.update(shared_memory(worker.group or 0)))
        assert caught.value.diagnostics[0].code == "SC558"
    assert seen, "Lava has shared memory while it runs"
    assert not [name for name in seen if Path("/dev/shm", name).exists()]


def test_a_process_of_lava_that_is_killed_ends_the_run() -> None:
    """The others would wait for it."""
    network, killed = small(), []
    with LavaWorker(lava_python()) as worker:
        def kill(part: float) -> None:
            if part and not killed:
                killed.append(max(members(worker.group or 0)))
                os.kill(killed[0], signal.SIGKILL)

        start = time.monotonic()
        with pytest.raises(LavaError, match="a process of Lava ended") as caught:
            LavaProgram(network).run(spikes(network, 1, LONG), worker=worker, progress=kill, patience=60.0)
        assert caught.value.diagnostics[0].code == "SC557"
        assert time.monotonic() - start < 60


def test_a_fault_within_lava_is_told(worker: LavaWorker, tmp_path: Path) -> None:
    """Lava itself would hang: it waits for the processes that wait for the one that failed."""
    LavaProgram(small()).save(tmp_path / "saved")
    path = tmp_path / "saved" / "program.py"
    text, changed = re.subn(r"delays=", "delays=70 + ", path.read_text())
    assert changed == 1
    path.write_text(text)
    with pytest.raises(LavaError, match="expects values between 0 and 63") as caught:
        worker.run(path, {"p0": np.zeros((1, 5, 32), np.int32)}, patience=60.0)
    assert caught.value.diagnostics[0].code == "SC557"
