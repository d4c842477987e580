"""NIR files that mean harm cost neither memory nor time, and are graphs or diagnostics."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nir_files import CHAIN, ROOT, chain_parts, filled, rich_graph, written_file

from spikec.compiler.frontends.nir.file import Limits
from spikec.compiler.frontends.nir.reader import from_nir
from spikec.compiler.frontends.nir.writer import to_nir
from spikec.ir.diagnostics import BadInputError, SpikecError, SpikecWarning
from spikec.ir.graph import same_graph


@pytest.mark.parametrize(("index", "size"), [(0, 0), (0, 8), (1, 1 << 63), (1, (1 << 64) - 16), (7, 1 << 20)])
def test_a_heap_without_end_is_not_walked(index: int, size: int, tmp_path: Path) -> None:
    """The HDF5 library would not come back from some of these."""
    path = written_file(tmp_path / "a.nir", chain_parts(), CHAIN)
    content = bytearray(path.read_bytes())
    for heap in (at for at in range(len(content)) if content[at:at + 4] == b"GCOL"):
        content[heap + 16:heap + 18] = index.to_bytes(2, "little")
        content[heap + 24:heap + 32] = size.to_bytes(8, "little")
    path.write_bytes(content)
    with pytest.raises(BadInputError, match="SC203"):
        from_nir(path)


@pytest.mark.parametrize("length", [1, 9, 1 << 16, (1 << 32) - 1])
def test_a_text_of_another_length_than_its_own_is_not_allocated(length: int, tmp_path: Path) -> None:
    path = written_file(tmp_path / "a.nir", chain_parts(), CHAIN)
    with h5py.File(path) as file:
        at = file["node/nodes/fc/type"].id.get_offset()
    content = bytearray(path.read_bytes())
    assert int.from_bytes(content[at:at + 4], "little") == len("Linear")
    content[at:at + 4] = length.to_bytes(4, "little")
    path.write_bytes(content)
    with pytest.raises(BadInputError, match="SC203 at 'fc'"):
        from_nir(path)


def test_a_file_behind_a_user_block_is_read(tmp_path: Path) -> None:
    plain = written_file(tmp_path / "a.nir", chain_parts(), CHAIN)
    with h5py.File(plain) as source, h5py.File(tmp_path / "b.nir", "w", userblock_size=512) as target:
        source.copy("node", target)
    assert same_graph(from_nir(tmp_path / "b.nir"), from_nir(plain))


def test_texts_of_fixed_length_are_read(tmp_path: Path) -> None:
    path = written_file(tmp_path / "a.nir", chain_parts(), CHAIN)
    expected = from_nir(path)
    with h5py.File(path, "r+") as file:
        del file["node/edges"], file["node/nodes/fc/type"]
        file["node/edges"] = np.array(CHAIN, dtype="S8")
        file["node/nodes/fc/type"] = np.bytes_("Linear")
    assert same_graph(from_nir(path), expected)


def test_one_group_linked_many_times_is_not_read_without_end(tmp_path: Path) -> None:
    """Hard links can make a small file an exponentially large tree."""
    path = tmp_path / "a.nir"
    with h5py.File(path, "w") as file:
        previous = file.create_group("base")
        filled(previous, {"x": {"type": "Input", "shape": [1]}}, [])
        for level in range(12):
            group = file.create_group(f"level{level}")
            filled(group, {}, [])
            group.create_group("nodes")
            for copy in range(10):
                group[f"nodes/n{copy}"] = previous
            previous = group
        file["node"] = previous
    with pytest.raises(BadInputError, match="SC204"):
        from_nir(path, limits=Limits(nodes=200))


@pytest.fixture(scope="module")
def real_file(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    source = ROOT / "03_rnn/braille_noDelay_bias_zero.nir"
    if os.environ.get("SPIKEC_DATA") and source.is_file():
        return source.read_bytes()
    path = tmp_path_factory.mktemp("nir") / "a.nir"
    to_nir(rich_graph(), path, extensions=True)
    return path.read_bytes()


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_damaged_file_is_a_graph_or_a_diagnostic(data: st.DataObject, real_file: bytes, tmp_path: Path) -> None:
    content = bytearray(real_file)
    if data.draw(st.booleans()):
        del content[data.draw(st.integers(0, len(content))):]
    for _ in range(data.draw(st.integers(0, 4))):
        if content:
            at = data.draw(st.integers(0, len(content) - 1))
            content[at] = data.draw(st.integers(0, 255))
    (tmp_path / "a.nir").write_bytes(bytes(content))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SpikecWarning)
        try:
            found: Any = from_nir(tmp_path / "a.nir", limits=Limits(data=1 << 24)).nodes
        except SpikecError as error:
            found = error.diagnostics
    assert found


FUZZ = """
import faulthandler, random, resource, sys, time, warnings
faulthandler.enable()
from spikec.compiler.frontends.nir.file import Limits
from spikec.compiler.frontends.nir.reader import from_nir
from spikec.ir.diagnostics import SpikecError

warnings.simplefilter("ignore")
resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
source, path, count = open(sys.argv[1], "rb").read(), sys.argv[2], int(sys.argv[3])
dice, refused = random.Random(20260101), 0
for number in range(count):
    content = bytearray(source)
    if number % 4 == 0:
        del content[number * len(source) // count:]
    elif number % 4 == 1:
        at = dice.randrange(len(content))
        content[at:at + dice.choice((0, 1, 8))] = dice.randbytes(dice.choice((0, 1, 8, 64)))
    for _ in range(dice.choice((1, 2, 4, 16)) if number % 4 > 1 else 0):
        at, width = dice.randrange(len(content)), dice.choice((1, 2, 4, 8))
        content[at:at + width] = dice.choice((b"\\xff" * width, bytes(width), dice.randbytes(width)))
    with open(path, "wb") as file:
        file.write(content)
    start = time.process_time()
    try:
        from_nir(path, limits=Limits(data=1 << 26))
    except SpikecError as error:
        refused += 1
        assert all(found.code.startswith("SC") and str(found) for found in error.diagnostics)
    assert time.process_time() - start < 5, number
print(refused)
"""


@pytest.mark.parametrize("layout", ["earliest", "latest"])
def test_mutated_files_cost_neither_crash_nor_memory_nor_time(layout: str, tmp_path: Path) -> None:
    """In a process of its own, with bounded memory: the HDF5 library is C."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SpikecWarning)
        to_nir(rich_graph(), tmp_path / "a.nir", extensions=True)
    if layout == "latest":
        with h5py.File(tmp_path / "a.nir") as old, h5py.File(tmp_path / "b.nir", "w", libver="latest") as new:
            old.copy("node", new)
        (tmp_path / "b.nir").replace(tmp_path / "a.nir")
    run = subprocess.run([sys.executable, "-c", FUZZ, tmp_path / "a.nir", tmp_path / "c.nir", "150"],
                         capture_output=True, text=True, timeout=300, check=False)
    assert run.returncode == 0, run.stderr[-2000:]
    assert int(run.stdout) > 40
