"""Recordings of event cameras: structured arrays, and tonic's own readers on files made here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import spikec
from spikec import BadInputError, Builder
from spikec.runtime.recordings import from_structured, from_tonic, shape_of

SIZE = (5, 4, 2)
CAMERA = np.dtype([("x", np.int16), ("y", np.int16), ("t", np.int64), ("p", bool)])


def camera(seed: int, count: int = 50) -> Any:
    draw = np.random.default_rng(seed)
    events = np.zeros(count, CAMERA)
    events["x"], events["y"], events["p"] = (draw.integers(0, size, count) for size in SIZE)
    events["t"] = draw.integers(1_000, 50_000, count)
    return events


def test_events_lie_where_a_dense_array_has_them() -> None:
    recordings = [camera(0), camera(1, 30), camera(2, 0)]
    events = from_structured(recordings, SIZE).checked(40)
    assert events.batch == 3
    for sample, recording in enumerate(recordings):
        times, indices = events.sample(sample)
        image = np.zeros(shape_of(SIZE), dtype=int)
        np.add.at(image, (recording["p"].astype(int), recording["y"], recording["x"]), 1)
        assert np.array_equal(np.bincount(indices, minlength=40), image.reshape(-1))
        assert np.allclose(np.sort(recording["t"]) * 1e-6, times, rtol=0, atol=1e-15)


def test_one_array_is_one_sample_and_a_network_takes_it() -> None:
    net = Builder()
    source = net.input("camera", shape_of(SIZE))
    hidden = net.cubalif("hidden", 3, tau_mem=20e-3, tau_syn=5e-3)
    net.connect(net.flatten("flat", source), hidden, weight=np.full((3, 40), 2.0))
    net.output("out", hidden)
    events = from_structured(camera(0), SIZE)
    assert events.batch == 1
    assert len(spikec.compile(net.build()).run(events, duration=0.06).spikes["out"]) > 0


def test_a_window_cuts_and_shifts() -> None:
    recording = camera(3)
    events = from_structured(recording, SIZE, window=(0.010, 0.030))
    inside = recording[(recording["t"] >= 10_000) & (recording["t"] < 30_000)]
    assert 0 < len(events) == len(inside) < len(recording)
    assert np.allclose(events.times, np.sort(inside["t"] - 10_000) * 1e-6, rtol=0, atol=1e-15)
    first = from_structured(recording, SIZE, from_first=True)
    assert first.times[0] == 0
    late = recording.copy()
    late["t"] += 1_700_000_000_000_000
    again = from_structured(late, SIZE, from_first=True)
    assert np.array_equal(again.times, first.times), "large time stamps keep their microseconds"


def test_a_cochlea_has_neither_height_nor_polarities() -> None:
    events = np.zeros(3, np.dtype([("t", int), ("x", int), ("p", int)]))
    events["t"], events["x"], events["p"] = [30, 10, 20], [5, 6, 699], 1
    found = from_structured([events], (700, 1, 1))
    assert found.indices.tolist() == [6, 699, 5]


@pytest.mark.parametrize(("change", "said"), [
    (lambda events: events["x"].__setitem__(7, 5), "event 7: 5"),
    (lambda events: events["y"].__setitem__(2, -1), "event 2: -1"),
    (lambda events: events["t"].__setitem__(4, -3), "event 4"),
])
def test_what_is_outside_is_told_with_its_place(change: Any, said: str) -> None:
    wrong = camera(0)
    change(wrong)
    with pytest.raises(BadInputError, match="SC544") as caught:
        from_structured([camera(1), wrong], SIZE)
    assert "sample 1" in str(caught.value)
    assert said in str(caught.value)


@pytest.mark.parametrize("call", [
    lambda: from_structured(np.zeros((3, 4)), SIZE),
    lambda: from_structured(3, SIZE),
    lambda: from_structured([camera(0)[["x", "t"]]], SIZE),
    lambda: from_structured([camera(0).reshape(5, 10)], SIZE),
    lambda: from_structured([camera(0)], (5, 4)),
    lambda: from_structured([camera(0)], (5, 0, 2)),
    lambda: from_structured([camera(0)], SIZE, window=(0.2, 0.1)),
    lambda: from_structured([camera(0)], SIZE, window=0.1),  # type: ignore[arg-type]
    lambda: from_structured([camera(0)], SIZE, time_unit=0),
    lambda: from_tonic([(camera(0), 1)]),
    lambda: from_tonic([(camera(0), 1.5)], SIZE),
    lambda: from_tonic([camera(0)], SIZE),
])
def test_what_is_malformed_is_told(call: Any) -> None:
    with pytest.raises(BadInputError, match="SC544"):
        call()


def test_signed_polarities_are_told_with_a_remedy() -> None:
    signed = np.zeros(2, np.dtype([("x", int), ("y", int), ("t", int), ("p", np.int8)]))
    signed["p"] = (-1, 1)
    with pytest.raises(BadInputError, match="replace -1 by 0"):
        from_structured([signed], SIZE)


def written_bin(path: Path, events: Any) -> None:
    """The format of N-MNIST: 40 bits an event; x, y, the polarity and 23 bits of microseconds."""
    path.parent.mkdir(parents=True, exist_ok=True)
    times = events["t"].astype(np.uint32)
    columns = [events["x"], events["y"], (events["p"].astype(np.uint32) << 7) | (times >> 16), (times >> 8) & 255,
               times & 255]
    path.write_bytes(np.stack(columns, axis=1).astype(np.uint8).tobytes())


def test_n_mnist_comes_in_through_tonic(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tonic = pytest.importorskip("tonic", reason="pip install tonic", exc_type=ImportError)
    recordings = {3: camera(5), 8: camera(6, 20)}
    for digit, events in recordings.items():
        written_bin(tmp_path / "NMNIST" / "Train" / str(digit) / "00001.bin", events)
    # It asks for the archive and ten thousand files, else it downloads.
    monkeypatch.setattr(tonic.datasets.NMNIST, "_check_exists", lambda self: True)
    dataset = tonic.datasets.NMNIST(str(tmp_path))
    events, labels = from_tonic(dataset)
    assert labels.tolist() == [3, 8]
    expected = from_structured(list(recordings.values()), (34, 34, 2))
    assert np.array_equal(events.times, expected.times)
    assert np.array_equal(events.indices, expected.indices)
    assert np.array_equal(events.offsets, expected.offsets)
    one, label = from_tonic(dataset, samples=[1], window=(0.0, 0.02))
    assert label.tolist() == [8]
    assert one.batch == 1 and len(one) == (recordings[8]["t"] < 20_000).sum()


def test_tonics_transforms_and_wrappers_are_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tonic = pytest.importorskip("tonic", reason="pip install tonic", exc_type=ImportError)
    written_bin(tmp_path / "NMNIST" / "Train" / "4" / "00001.bin", camera(7))
    monkeypatch.setattr(tonic.datasets.NMNIST, "_check_exists", lambda self: True)
    half = tonic.transforms.Downsample(sensor_size=(34, 34, 2), target_size=(17, 17))
    dataset = tonic.MemoryCachedDataset(tonic.datasets.NMNIST(str(tmp_path), transform=half))
    events, labels = from_tonic(dataset, (17, 17, 2))
    recording = camera(7)
    assert labels.tolist() == [4]
    assert 0 < len(events.checked(2 * 17 * 17)) <= len(recording)
    frames = tonic.datasets.NMNIST(str(tmp_path), transform=tonic.transforms.ToFrame((34, 34, 2), n_time_bins=3))
    with pytest.raises(BadInputError, match="without ToFrame"):
        from_tonic(frames)


def test_the_heidelberg_digits_come_in_through_tonic(tmp_path: Path) -> None:
    tonic = pytest.importorskip("tonic", reason="pip install tonic", exc_type=ImportError)
    import h5py

    folder = tmp_path / "SHD"
    folder.mkdir()
    (folder / "shd_train.h5.zip").touch()
    times = [np.array([0.1, 0.2, 0.4], np.float32), np.array([0.05], np.float32)]
    units = [np.array([10, 699, 0]), np.array([350])]
    with h5py.File(folder / "shd_train.h5", "w") as file:
        for name, arrays, kind in (("times", times, np.float32), ("units", units, np.int64)):
            data = file.create_dataset(f"spikes/{name}", (2,), dtype=h5py.vlen_dtype(kind))
            for number, array in enumerate(arrays):
                data[number] = array
        file["labels"] = np.array([7, 19], dtype=np.uint16)
        file["extra/keys"] = np.array([b"zero"])
        file["extra/speaker"] = np.array([1, 2])
    events, labels = from_tonic(tonic.datasets.SHD(str(tmp_path)))
    assert labels.tolist() == [7, 19]
    assert [events.sample(number)[1].tolist() for number in (0, 1)] == [[10, 699, 0], [350]]
    assert np.abs(events.times - [0.1, 0.2, 0.4, 0.05]).max() < 2e-6
