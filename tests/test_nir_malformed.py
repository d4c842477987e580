"""NIR files that are malformed are named, with every fault."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from nir_files import CHAIN, chain_parts, written_file

from spikec.compiler.frontends.nir.file import Limits
from spikec.compiler.frontends.nir.reader import from_nir
from spikec.ir.diagnostics import BadInputError


def _broken(name: str, **fields: Any) -> Callable[[Path], Path]:
    return lambda folder: written_file(folder / "a.nir", chain_parts(**{name: fields}), CHAIN)


def _edit(change: Callable[[h5py.File, Path], None]) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        path = written_file(folder / "a.nir", chain_parts(), CHAIN)
        with h5py.File(path, "r+") as file:
            change(file, folder)
        return path

    return make


def _soft(file: h5py.File, folder: Path) -> None:
    del file["node/nodes/fc/weight"]
    file["node/nodes/fc/weight"] = h5py.SoftLink("/node/nodes/cells/tau")


def _external_link(file: h5py.File, folder: Path) -> None:
    del file["node/nodes/fc/weight"]
    with h5py.File(folder / "other.h5", "w") as other:
        other["weight"] = np.ones((3, 2))
    file["node/nodes/fc/weight"] = h5py.ExternalLink(str(folder / "other.h5"), "weight")


def _external_storage(file: h5py.File, folder: Path) -> None:
    del file["node/nodes/fc/weight"]
    (folder / "secret").write_bytes(bytes(48))
    file["node/nodes/fc"].create_dataset("weight", (3, 2), "f8", external=[(str(folder / "secret"), 0, 48)])


def _virtual(file: h5py.File, folder: Path) -> None:
    del file["node/nodes/fc/weight"]
    layout = h5py.VirtualLayout((3, 2), "f8")
    layout[...] = h5py.VirtualSource(str(folder / "x.h5"), "w", shape=(3, 2))
    file["node/nodes/fc"].create_virtual_dataset("weight", layout)


def _circle(file: h5py.File, folder: Path) -> None:
    del file["node/nodes/cells"]
    file["node/nodes/cells"] = file["node"]


def _huge(file: h5py.File, folder: Path) -> None:
    del file["node/nodes/fc/weight"]
    file["node/nodes/fc"].create_dataset("weight", (1 << 20, 1 << 20), "f8", chunks=(1, 1 << 10), compression="gzip")


def _deep(folder: Path) -> Path:
    inner: dict[str, Any] = chain_parts()["cells"]
    ends = {"i": {"type": "Input", "shape": [3]}, "o": {"type": "Output", "shape": [3]}}
    for _ in range(30):
        inner = {"nodes": {**ends, "x": inner}, "edges": [("i", "x"), ("x", "o")]}
    return written_file(folder / "a.nir", chain_parts(cells=inner), CHAIN)


def _bytes(content: bytes) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        (folder / "a.nir").write_bytes(content)
        return folder / "a.nir"

    return make


LIF_FIELDS = {key: value for key, value in chain_parts()["cells"].items() if key != "type"}
MALFORMED: dict[str, tuple[str, Callable[[Path], Path]]] = {
    "empty": ("SC203", _bytes(b"")),
    "text": ("SC203", _bytes(b"not HDF5 at all" * 100)),
    "absent": ("SC203", lambda folder: folder / "absent.nir"),
    "a folder": ("SC203", lambda folder: folder),
    "no node": ("SC205", _edit(lambda file, folder: file.move("node", "edon"))),
    "no nodes": ("SC205", _edit(lambda file, folder: file["node"].pop("nodes"))),
    "no edges": ("SC205", _edit(lambda file, folder: file["node"].pop("edges"))),
    "no type": ("SC205", _edit(lambda file, folder: file["node/nodes/fc"].pop("type"))),
    "no tau": ("SC205", _edit(lambda file, folder: file["node/nodes/cells"].pop("tau"))),
    "type is a number": ("SC206", _broken("fc", type=3, weight=np.ones((3, 2)))),
    "type is empty": ("SC206", _broken("fc", type="", weight=np.ones((3, 2)))),
    "type is unknown": ("SC207", _broken("fc", type="Izhikevich", weight=np.ones((3, 2)))),
    "root is a node of a graph": ("SC205", _edit(lambda file, folder: (file["node"].pop("type"),
                                                            file["node"].create_dataset("type", data="LIF")))),
    "weight is text": ("SC206", _broken("fc", type="Linear", weight="heavy")),
    "weight is complex": ("SC206", _broken("fc", type="Linear", weight=np.ones((3, 2), complex))),
    "weight is a vector": ("SC206", _broken("fc", type="Linear", weight=np.ones(6))),
    "weight is a record": ("SC206", _broken("fc", type="Linear", weight=np.zeros((3, 2), [("a", "f8")]))),
    "weight is empty": ("SC107", _broken("fc", type="Linear", weight=np.ones((0, 2)))),
    "weight is NaN": ("SC104", _broken("fc", type="Linear", weight=np.full((3, 2), np.nan))),
    "bias too short": ("SC107", _broken("fc", type="Affine", weight=np.ones((3, 2)), bias=np.ones(2))),
    "tau negative": ("SC103", _broken("cells", type="LIF", **{**LIF_FIELDS, "tau": np.full(3, -1.0)})),
    "parameters disagree": ("SC107", _broken("cells", type="LIF", **{**LIF_FIELDS, "r": np.ones(2)})),
    "shape negative": ("SC102", _broken("in", type="Input", shape=[-2])),
    "shape absurd": ("SC102", _broken("in", type="Input", shape=[1 << 40, 1 << 40])),
    "shape fractional": ("SC206", _broken("in", type="Input", shape=[1.5])),
    "shape enormous": ("SC206", _broken("in", type="Input", shape=np.ones(1000, np.int64))),
    "edge to nowhere": ("SC101", lambda folder: written_file(folder / "a.nir", chain_parts(),
                                                             [*CHAIN, ("in", "ghost")])),
    "edge twice": ("SC108", lambda folder: written_file(folder / "a.nir", chain_parts(), [*CHAIN, CHAIN[0]])),
    "edges are numbers": ("SC206", _edit(lambda file, folder: (file["node"].pop("edges"), file["node"].create_dataset(
        "edges", data=np.ones((3, 2)))))),
    "soft link": ("SC208", _edit(_soft)),
    "external link": ("SC208", _edit(_external_link)),
    "external storage": ("SC208", _edit(_external_storage)),
    "virtual data": ("SC208", _edit(_virtual)),
    "nested in a circle": ("SC211", _edit(_circle)),
    "nested too deep": ("SC211", _deep),
    "a terabyte": ("SC204", _edit(_huge)),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_malformed_files_are_named(case: str, tmp_path: Path) -> None:
    code, make = MALFORMED[case]
    path = make(tmp_path)
    with pytest.raises(BadInputError) as caught:
        from_nir(path)
    assert code in {found.code for found in caught.value.diagnostics}


def test_every_fault_of_a_file_is_reported_at_once(tmp_path: Path) -> None:
    parts = chain_parts(fc={"type": "Linear"}, cells={"type": "Quadratic"}, out={"type": "Output", "shape": "three"})
    with pytest.raises(BadInputError) as caught:
        from_nir(written_file(tmp_path / "a.nir", parts, [*CHAIN, ("nobody", "out")]))
    assert [found.code for found in caught.value.diagnostics] == ["SC207", "SC205", "SC206", "SC101"]


def test_the_limits_hold(tmp_path: Path) -> None:
    path = written_file(tmp_path / "a.nir", chain_parts(), CHAIN)
    from_nir(path, limits=Limits(data=1000, nodes=5, edges=3))
    for limits in (Limits(data=100), Limits(nodes=3), Limits(edges=2)):
        with pytest.raises(BadInputError, match="SC204"):
            from_nir(path, limits=limits)
