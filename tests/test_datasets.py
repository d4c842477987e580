"""Data sets: fetched from a local server, checked by content, read without trust in their sizes."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import struct
import threading
import wave
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from spikec import BadInputError
from spikec.runtime import datasets
from spikec.runtime.datasets import Part
from spikec.runtime.fetch import download


@dataclass
class Server:
    """A file server on the loopback; `cut`: names whose transfer ends half way; `asked`: what was asked for."""

    files: dict[str, bytes] = field(default_factory=dict)
    cut: set[str] = field(default_factory=set)
    asked: list[str] = field(default_factory=list)
    url: str = ""


@pytest.fixture
def server() -> Iterator[Server]:
    state = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            name = self.path.lstrip("/")
            state.asked.append(name)
            if name not in state.files:
                self.send_error(404)
                return
            content = state.files[name]
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content[: len(content) // 2] if name in state.cut else content)

        def log_message(self, *_: object) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=http.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    state.url = f"http://127.0.0.1:{http.server_port}"
    yield state
    http.shutdown()
    http.server_close()
    thread.join()


def idx(array: np.ndarray) -> bytes:
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


def idx_part(array: np.ndarray, *urls: str) -> tuple[Part, bytes]:
    content = idx(array)
    part = Part("mnist/some.gz", urls, hashlib.sha256(content).hexdigest(), 1 << 20, datasets._idx(len(content)))
    return part, gzip.compress(content)


PIXELS = np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4)


def codes(error: pytest.ExceptionInfo[BadInputError]) -> list[str]:
    return [diagnostic.code for diagnostic in error.value.diagnostics]


def test_a_part_is_fetched_once_and_read_back(server: Server, tmp_path: Path) -> None:
    part, packed = idx_part(PIXELS, f"{server.url}/some.gz")
    server.files["some.gz"] = packed
    (path,) = datasets.fetch((part,), tmp_path)
    datasets.fetch((part,), tmp_path)
    assert server.asked == ["some.gz"]
    assert path.read_bytes() == packed
    assert np.array_equal(datasets._unpack(part, packed, "some.gz")["idx"], PIXELS)
    assert os.listdir(path.parent) == ["some.gz"]


def test_another_packing_of_the_same_content_is_the_same_content(server: Server, tmp_path: Path) -> None:
    part, _ = idx_part(PIXELS, f"{server.url}/some.gz")
    server.files["some.gz"] = gzip.compress(idx(PIXELS), compresslevel=1, mtime=7)
    datasets.fetch((part,), tmp_path)


def test_a_wrong_checksum_leaves_nothing_behind(server: Server, tmp_path: Path) -> None:
    part, _ = idx_part(PIXELS, f"{server.url}/some.gz")
    server.files["some.gz"] = gzip.compress(idx(PIXELS + 1))
    with pytest.raises(BadInputError) as error:
        datasets.fetch((part,), tmp_path)
    assert codes(error) == ["SC542"]
    assert not list(tmp_path.rglob("*.gz"))


def test_a_damaged_file_is_fetched_again(server: Server, tmp_path: Path) -> None:
    part, packed = idx_part(PIXELS, f"{server.url}/some.gz")
    server.files["some.gz"] = packed
    (path,) = datasets.fetch((part,), tmp_path)
    path.write_bytes(packed[:-16])
    datasets.fetch((part,), tmp_path)
    assert path.read_bytes() == packed


def test_an_interrupted_download_is_told_and_the_next_mirror_is_asked(server: Server, tmp_path: Path) -> None:
    part, packed = idx_part(PIXELS, f"{server.url}/first/some.gz")
    server.files |= {"first/some.gz": packed, "second/some.gz": packed}
    server.cut.add("first/some.gz")
    with pytest.raises(BadInputError) as error:
        datasets.fetch((part,), tmp_path)
    assert codes(error) == ["SC541"]
    assert f"of {len(packed)} bytes" in str(error.value)
    assert not list(tmp_path.rglob("*.gz"))
    (path,) = datasets.fetch((replace(part, urls=(*part.urls, f"{server.url}/second/some.gz")),), tmp_path)
    assert path.read_bytes() == packed


def test_offline_and_not_found_name_the_address_and_the_way_out(server: Server, tmp_path: Path) -> None:
    one, _ = idx_part(PIXELS, f"{server.url}/absent.gz")
    two = replace(one, file="mnist/two.gz", urls=("http://127.0.0.1:9/some.gz",))
    with pytest.raises(BadInputError) as error:
        datasets.fetch((one, two), tmp_path)
    assert codes(error) == ["SC541", "SC541"], "every part is tried"
    assert "absent.gz" in str(error.value)
    assert "SPIKEC_DATA" in str(error.value)


def test_a_mirror_is_asked_instead_of_the_known_addresses(server: Server, tmp_path: Path) -> None:
    part, packed = idx_part(PIXELS, "http://127.0.0.1:9/deep/below/some.gz")
    server.files["copy/some.gz"] = packed
    datasets.fetch((part,), tmp_path, mirror=f"{server.url}/copy/")
    assert server.asked == ["copy/some.gz"]


def test_a_download_ends_at_its_limit(server: Server) -> None:
    server.files["long"] = bytes(100_000)
    with pytest.raises(BadInputError, match="longer"):
        download(f"{server.url}/long", limit=70_000)


def test_a_folder_that_cannot_be_written_is_told(server: Server, tmp_path: Path) -> None:
    part, packed = idx_part(PIXELS, f"{server.url}/some.gz")
    server.files["some.gz"] = packed
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(BadInputError) as error:
        datasets.fetch((part,), tmp_path / "file")
    assert codes(error) == ["SC522"]


@pytest.mark.parametrize("damage", [
    lambda data: gzip.compress(data[:4] + struct.pack(">3I", 2**31, 2**31, 2**31) + data[16:]),
    lambda data: gzip.compress(data[:3] + b"\x02" + data[4:]),
    lambda data: gzip.compress(b"\0\0\x0d\x03" + data[4:]),
    lambda data: gzip.compress(data + bytes(1 << 24)),
    lambda data: gzip.compress(data)[:-20],
    lambda data: b"not gzip at all",
    lambda data: b"",
])
def test_malformed_idx_is_a_diagnostic(damage, tmp_path: Path) -> None:
    part, _ = idx_part(PIXELS)
    with pytest.raises(BadInputError) as error:
        datasets._unpack(part, damage(idx(PIXELS)), "some.gz")
    assert codes(error)[0] in ("SC542", "SC543")


def recordings_zip(takes: dict[str, np.ndarray], rate: int = 8000) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("fsdd-1/README.md", "text")
        for name, samples in takes.items():
            sound = io.BytesIO()
            with wave.open(sound, "wb") as out:
                out.setparams((1, 2, rate, 0, "NONE", ""))
                out.writeframes(samples.astype("<i2").tobytes())
            archive.writestr(f"fsdd-1/recordings/{name}.wav", sound.getvalue())
    return stream.getvalue()


def test_an_archive_of_recordings_becomes_one_npz(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    takes = {name: rng.integers(-900, 900, size).astype(np.int16)
             for name, size in (("7_theo_2", 50), ("0_lucas_10", 30), ("0_lucas_9", 20))}
    ordered = [takes[name] for name in ("0_lucas_10", "0_lucas_9", "7_theo_2")]
    content = b"".join([np.concatenate(ordered).tobytes(), np.array([0, 30, 50, 100]).tobytes(), bytes([0, 0, 7]),
                        np.array(["lucas", "lucas", "theo"], "<U8").tobytes(), bytes([10, 9, 2])])
    server.files["all.zip"] = recordings_zip(takes)
    part = replace(datasets.DATASETS["fsdd"][0], urls=(f"{server.url}/all.zip",),
                   sha256=hashlib.sha256(content).hexdigest())
    monkeypatch.setitem(datasets.DATASETS, "fsdd", (part,))
    monkeypatch.setenv("SPIKEC_DATA", str(tmp_path))
    assert not datasets.is_present("fsdd")
    datasets.fetch((part,))
    assert datasets.is_present("fsdd")
    found = datasets.load_fsdd()
    assert found.speakers.tolist() == ["lucas", "lucas", "theo"]
    assert found.labels.tolist() == [0, 0, 7]
    assert np.array_equal(found.audio[found.offsets[2] : found.offsets[3]], takes["7_theo_2"])


@pytest.mark.parametrize("data", [b"no zip", recordings_zip({}), recordings_zip({"1_a_0": np.zeros(3)}, rate=16000)])
def test_a_malformed_archive_is_a_diagnostic(data: bytes) -> None:
    with pytest.raises(BadInputError) as error:
        datasets._recordings_from_zip(data)
    assert codes(error) == ["SC543"]


def test_what_is_not_present_names_the_command_for_every_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPIKEC_DATA", str(tmp_path))
    with pytest.raises(BadInputError) as error:
        datasets.load_mnist()
    assert codes(error) == ["SC540"] * 4
    assert "spikec data get mnist" in str(error.value)


def test_the_cache_is_the_data_folder_unless_one_is_stated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SPIKEC_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert datasets.data_folder() == tmp_path / "spikec" / "data"
    monkeypatch.setenv("SPIKEC_DATA", str(tmp_path / "mine"))
    assert datasets.data_folder() == tmp_path / "mine"


def test_digits_split_without_overlap() -> None:
    pytest.importorskip("sklearn")
    digits = datasets.load_digits()
    assert [len(split) for split in (digits.train, digits.validation, digits.test)] == [1297, 200, 300]
    assert digits.train.inputs.shape == (1297, 8, 8)
    everything = np.concatenate([split.inputs.reshape(len(split), -1)
                                 for split in (digits.train, digits.validation, digits.test)])
    from sklearn.datasets import load_digits

    assert np.array_equal(np.sort(everything, axis=0), np.sort(load_digits().data, axis=0))
    assert np.array_equal(datasets.load_digits().test.labels, digits.test.labels)


@pytest.mark.parametrize("name", sorted(datasets.DATASETS))
def test_the_real_files_pass_their_checksums_through_a_mirror(
    name: str, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not datasets.is_present(name):
        pytest.skip(f"the data set '{name}' is not present (SPIKEC_DATA)")
    parts = datasets.DATASETS[name]
    here = datasets.data_folder()
    server.files = {part.urls[0].rsplit("/", 1)[1]: (here / part.file).read_bytes() for part in parts}
    if name == "fsdd":
        found = datasets.load_fsdd()
        server.files = {"26eb9aaf7.zip": recordings_zip({
            f"{found.labels[i]}_{found.speakers[i]}_{found.index[i]}": found.audio[start:stop]
            for i, (start, stop) in enumerate(pairwise(found.offsets))
        })}
    datasets.fetch(parts, tmp_path, mirror=server.url)
    monkeypatch.setenv("SPIKEC_DATA", str(tmp_path))
    if name == "fsdd":
        assert np.bincount(datasets.load_fsdd().labels).tolist() == [300] * 10
        return
    found = {"mnist": datasets.load_mnist, "yin-yang": datasets.load_yin_yang}[name]()
    sizes = {"mnist": (55_000, 5_000, 10_000), "yin-yang": (5_000, 1_000, 1_000)}[name]
    assert (len(found.train), len(found.validation), len(found.test)) == sizes
    assert found.train.labels.max() == found.classes - 1
    assert found.train.inputs.max() <= found.peak
