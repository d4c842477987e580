"""Malformed and hostile ONNX files are diagnostics."""

from __future__ import annotations

import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from onnx_files import op, saved, single

import spikec
from spikec import BadInputError, Discretization, SpikecError, SpikecWarning, UnsupportedError
from spikec.compiler.frontends.onnx.file import OnnxLimits


def test_names_with_paths_or_code_are_names(tmp_path: Path) -> None:
    names = ["../../etc/passwd", "__import__('os').system('true')", "a\nb\x00c", "/conv1/Gemm", "", "x" * 4000]
    nodes, last = [], "x"
    for number, name in enumerate(names):
        nodes.append(op("Gemm", last, "w", to=f"h{number}", name=name))
        last = f"h{number}"
    graph = spikec.from_onnx(saved(tmp_path, [*nodes, op("Relu", last)], [3], w=single(3, 3)))
    assert list(graph.nodes)[1:5] == ["etc.passwd", "__import____os__.system__true__", "a_b_c", "conv1"]
    assert all(name.isascii() and name.isprintable() and len(name) <= 255 for name in graph.nodes)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="SC203"):
        spikec.from_onnx(tmp_path / "absent.onnx")
    with pytest.raises(BadInputError, match="SC203"):
        spikec.from_onnx(tmp_path)


@pytest.mark.parametrize("content", [b"", b"\x80\x04cos\nsystem\n", b"\x89HDF\r\n\x1a\n" + bytes(100), b"<html>" * 50,
                                     bytes(1000), b"\xff" * 1000])
def test_other_files(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "net.onnx").write_bytes(content)
    with pytest.raises(BadInputError, match=r"SC20[35]"):
        spikec.from_onnx(tmp_path / "net.onnx")


def tensor(name: str, dims: Sequence[int], raw: bytes = b"", kind: int = TensorProto.FLOAT, **more: Any) -> TensorProto:
    return TensorProto(name=name, dims=dims, data_type=kind, raw_data=raw, **more)


@pytest.mark.parametrize(("weight", "code"), [
    (tensor("w", [1 << 40, 1 << 20]), "SC204"), (tensor("w", [2**31, 2**31, 0]), "SC204"),
    (tensor("w", [-4, 3]), "SC204"),
    (tensor("w", [4, 3], bytes(44)), "SC206"), (tensor("w", [4, 3], bytes(52)), "SC206"),
    (tensor("w", [4, 3], kind=TensorProto.STRING), "SC206"), (tensor("w", [4, 3], bytes(48), kind=77), "SC206"),
    (tensor("w", [4, 3], np.full(12, np.nan, np.float32).tobytes()), "SC104"),
    (tensor("w", [4, 3], np.full(12, np.inf, np.float32).tobytes()), "SC104"),
    (tensor("w", [1] * 40, bytes(4)), "SC204"),
])
def test_malformed_tensors(weight: TensorProto, code: str, tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match=code):
        spikec.from_onnx(saved(tmp_path, [op("Gemm", "x", "w")], [4], w=weight))


def outside(location: str, **entries: str) -> TensorProto:
    weight = TensorProto(name="w", dims=[4, 3], data_type=TensorProto.FLOAT, data_location=TensorProto.EXTERNAL)
    for key, value in {"location": location, **entries}.items():
        weight.external_data.add(key=key, value=value)
    return weight


def test_external_data_in_the_folder_are_read(tmp_path: Path) -> None:
    weight = single(4, 3)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "w.bin").write_bytes(bytes(8) + weight.tobytes() + bytes(5))
    graph = spikec.from_onnx(saved(tmp_path, [op("Gemm", "x", "w", name="fc")], [4],
                                   w=outside("data/w.bin", offset="8", length="48")))
    np.testing.assert_array_equal(graph.nodes["fc"].weight, weight.T)


@pytest.mark.parametrize(("entry", "code"), [
    (outside("../secret.bin"), "SC208"), (outside("/etc/passwd"), "SC208"), (outside("link.bin"), "SC208"),
    (outside("folder/secret.bin"), "SC208"), (outside("C:\\secret.bin"), "SC208"), (outside("..\\secret.bin"), "SC208"),
    (outside(""), "SC208"), (outside("absent.bin"), "SC208"), (outside("a\x00b"), "SC208"), (outside("."), "SC208"),
    (outside("short.bin"), "SC206"), (outside("long.bin", offset="-4"), "SC206"),
    (outside("long.bin", offset="60"), "SC206"), (outside("long.bin", length="1000000000000"), "SC206"),
    (outside("long.bin", offset="many"), "SC203"),
])
def test_external_data_that_leave_the_folder_or_lie(entry: TensorProto, code: str, tmp_path: Path) -> None:
    (tmp_path / "secret.bin").write_bytes(bytes(48))
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "link.bin").symlink_to(tmp_path / "secret.bin")
    (folder / "folder").symlink_to(tmp_path, target_is_directory=True)
    (folder / "short.bin").write_bytes(bytes(20))
    (folder / "long.bin").write_bytes(bytes(100))
    with pytest.raises(BadInputError, match=code):
        spikec.from_onnx(saved(folder, [op("Gemm", "x", "w")], [4], w=entry))


@pytest.mark.parametrize(("nodes", "text"), [
    ([op("Relu", "b", to="a"), op("Relu", "a", to="b"), op("Add", "x", "b")], "circle"),
    ([op("Relu", "y")], "circle"),
    ([op("Relu", "nothing")], "nothing gives"),
    ([op("Relu", "x"), op("Neg", "x")], "given twice"),
    ([op("Relu", "x", to="x"), op("Neg", "x")], "given twice"),
    ([op("Relu", "x", to="other")], "nothing gives this output"),
    ([op("Gemm", "x")], "Gemm"), ([op("Conv", "x", "w", strides=[0])], "strides|SC"),
    ([op("Relu", "x", "x", "x")], "malformed"), ([op("MaxPool", "x")], "SC240"),
])
def test_malformed_graphs(nodes: list[onnx.NodeProto], text: str, tmp_path: Path) -> None:
    with pytest.raises((BadInputError, UnsupportedError), match=text):
        spikec.from_onnx(saved(tmp_path, nodes, [4], w=single(3, 4, 1)))


def test_constants_of_one_name(tmp_path: Path) -> None:
    model = onnx.load(saved(tmp_path, [op("Gemm", "x", "w")], [4], w=single(4, 3)))
    model.graph.initializer.append(model.graph.initializer[0])
    (tmp_path / "net.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(BadInputError, match="SC240 at 'w'"):
        spikec.from_onnx(tmp_path / "net.onnx")


def calls(name: str, *inner: str) -> onnx.FunctionProto:
    nodes, last = [], "a"
    for number, each in enumerate(inner):
        nodes.append(op(each, last, to=f"v{number}", domain="own"))
        last = f"v{number}"
    nodes.append(op("Identity", last, to="b"))
    return helper.make_function("own", name, ["a"], ["b"], nodes, [helper.make_opsetid("", 18)])


def test_functions_that_call_each_other(tmp_path: Path) -> None:
    functions = [calls("F", "G"), calls("G", "F")]
    with pytest.raises(BadInputError, match=r"SC240.*circle"):
        spikec.from_onnx(saved(tmp_path, [op("F", "x", domain="own")], [4], functions=functions))


def test_functions_that_unfold_without_end(tmp_path: Path) -> None:
    functions = [calls("F0"), *(calls(f"F{n}", *[f"F{n - 1}"] * 10) for n in range(1, 12))]
    path = saved(tmp_path, [op("F11", "x", domain="own")], [4], functions=functions)
    start = time.process_time()
    with pytest.raises(BadInputError, match=r"SC204.*too many nodes"):
        spikec.from_onnx(path, limits=OnnxLimits(nodes=10_000))
    assert time.process_time() - start < 10


def test_constants_that_unfold_without_end(tmp_path: Path) -> None:
    nodes = [op("Concat", f"c{n}", f"c{n}", to=f"c{n + 1}", axis=0) for n in range(60)]
    with pytest.raises(BadInputError, match="SC204"):
        spikec.from_onnx(saved(tmp_path, [*nodes, op("Add", "x", "c60")], [4], c0=single(4)),
                         limits=OnnxLimits(folded=1 << 20))
    nodes = [op("Add", "a", "b", to="c"), op("Gemm", "x", "c")]
    with pytest.raises(BadInputError, match="SC204"):
        spikec.from_onnx(saved(tmp_path, nodes, [4], a=single(100_000, 1), b=single(1, 100_000)))


def field(number: int, content: bytes) -> bytes:
    """A field of a protobuf that holds a message."""
    size, length = len(content), b""
    while size > 127:
        length, size = length + bytes([size & 127 | 128]), size >> 7
    return bytes([number << 3 | 2]) + length + bytes([size]) + content


def test_messages_that_unfold_without_end(tmp_path: Path) -> None:
    model = onnx.load(saved(tmp_path, [op("Relu", "x")], [4]))
    for _ in range(2000):
        model.graph.node.add()
    (tmp_path / "net.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(BadInputError, match=r"SC204.*fields"):
        spikec.from_onnx(tmp_path / "net.onnx", limits=OnnxLimits(fields=1000))
    deep = b""
    for _ in range(100):  # graph of attribute of node of graph of …
        deep = field(1, field(5, field(6, deep)))
    (tmp_path / "net.onnx").write_bytes(field(7, deep))
    with pytest.raises(BadInputError, match=r"SC20[34].*nested"):
        spikec.from_onnx(tmp_path / "net.onnx")


def test_files_that_are_too_large(tmp_path: Path) -> None:
    path = saved(tmp_path, [op("Gemm", "x", "w")], [4], w=single(4, 300))
    with pytest.raises(BadInputError, match=r"SC204.*too large"):
        spikec.from_onnx(path, limits=OnnxLimits(data=1000))
    with open(path, "wb") as stream:
        stream.truncate(1 << 32)  # sparse
    with pytest.raises(BadInputError, match=r"SC204.*external data"):
        spikec.from_onnx(path)


def test_names_and_chains_that_take_long(tmp_path: Path) -> None:
    nodes = [op("Neg", f"v{n}", to=f"v{n + 1}", name="same") for n in range(1500)]
    nodes += [op("Softmax", "v1500", to="w0"), *(op("Identity", f"w{n}", to=f"w{n + 1}") for n in range(5000))]
    nodes += [op("Identity", "x", to="v0"), op("Identity", "w5000")]
    start = time.process_time()
    with pytest.warns(SpikecWarning, match="Softmax"):
        graph = spikec.from_onnx(saved(tmp_path, [nodes[-2], *nodes[:-2], nodes[-1]], [4]))
    assert time.process_time() - start < 10
    assert list(graph.nodes)[1:4] == ["same", "same_2", "same_3"]


def test_packed_numbers_that_unfold(tmp_path: Path) -> None:
    path = saved(tmp_path, [op("Gemm", "x", "w")], [4], w=helper.make_tensor("w", TensorProto.INT64, [4, 3], range(12)))
    with pytest.raises(BadInputError, match=r"SC204.*beside the raw data"):
        spikec.from_onnx(path, limits=OnnxLimits(outline=50))


@pytest.mark.parametrize(("opset", "remedy"), [(5, "version_converter"), (99, "Update the onnx package")])
def test_versions_that_are_not_known(opset: int, remedy: str, tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match=f"SC241.*{remedy}"):
        spikec.from_onnx(saved(tmp_path, [op("Relu", "x")], [4], opset=opset))


def test_versions_of_the_format_that_are_not_known(tmp_path: Path) -> None:
    model = onnx.load(saved(tmp_path, [op("Relu", "x")], [4]))
    for version in (0, 2, 500):
        model.ir_version = version
        (tmp_path / "net.onnx").write_bytes(model.SerializeToString())
        with pytest.raises(BadInputError, match="SC241"):
            spikec.from_onnx(tmp_path / "net.onnx")


@pytest.mark.parametrize("shape", [[], ["n"], [0], [1 << 62, 1 << 62], [3, None]])
def test_inputs_of_unknown_or_impossible_shape(shape: list[Any], tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="SC225"):
        spikec.from_onnx(saved(tmp_path, [op("Relu", "x")], shape))


def subjects(tmp_path: Path) -> list[bytes]:
    nodes = [op("Conv", "x", "w", "b", to="h", pads=[1, 1, 1, 1]), op("Relu", "h", to="r"),
             op("MaxPool", "r", to="p", kernel_shape=[2, 2], strides=[2, 2]), op("Flatten", "p", to="f"),
             op("Gemm", "f", "v", name="fc")]
    plain = saved(tmp_path, nodes, [1, 4, 4], w=single(2, 1, 3, 3), b=single(2), v=single(8, 3)).read_bytes()
    net = spikec.Builder(Discretization(1e-3))
    x, cells = net.input("in", 3), net.lif("cells", 2, tau=1e-2, r=1e-2)
    net.connect(x, cells, weight=single(2, 3))
    net.output("out", cells)
    spikec.to_onnx(net.build(), tmp_path / "net.onnx")
    return [plain, (tmp_path / "net.onnx").read_bytes()]


def read_anyhow(path: Path, data: bytes) -> str:
    """A graph or a diagnostic, and nothing else."""
    path.write_bytes(data)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SpikecWarning)
        try:
            spikec.from_onnx(path)
        except SpikecError as error:
            assert all(found.code for found in error.diagnostics)  # noqa: PT017
            return "refused"
    return "read"


def test_truncated_files_are_diagnostics(tmp_path: Path) -> None:
    for data in subjects(tmp_path):
        found = [read_anyhow(tmp_path / "cut.onnx", data[:length]) for length in range(0, len(data), 17)]
        assert set(found[:-8]) == {"refused"}


@pytest.mark.parametrize("seed", range(4))
def test_files_with_changed_bytes_are_diagnostics_or_graphs(seed: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(seed)
    found = []
    for data in subjects(tmp_path):
        for _ in range(100):
            changed = bytearray(data)
            for at in rng.integers(0, len(data), rng.integers(1, 6)):
                changed[at] = rng.integers(0, 256)
            found.append(read_anyhow(tmp_path / "changed.onnx", bytes(changed)))
    assert set(found) == {"read", "refused"}
