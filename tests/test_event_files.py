"""Files of events: what is read, and what is said of malformed ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from cli_commands import some_events

import spikec
from spikec.ir.event_files import read_events, read_samples, write_events
from spikec.ir.npz import read_npz, write_npz

FAULTY: dict[str, dict[str, np.ndarray]] = {
    "lacks the array 'offsets'": {"times": np.zeros(1), "indices": np.zeros(1, np.int64)},
    "wrong type": {"times": np.zeros(1, np.int64), "indices": np.zeros(1, np.int64), "offsets": np.array([0, 1])},
    "not one-dimensional": {"times": np.zeros((1, 1)), "indices": np.zeros(1, np.int64), "offsets": np.array([0, 1])},
    "unknown array": {"times": np.zeros(1), "indices": np.zeros(1, np.int64), "offsets": np.array([0, 1]),
                      "spikes": np.zeros(2)},
    "holds events of 'other'": {"other/times": np.zeros(1), "other/indices": np.zeros(1, np.int64),
                                "other/offsets": np.array([0, 1])},
    "holds no events": {},
}


@pytest.mark.parametrize("said", FAULTY)
def test_malformed_events_are_told(said: str, tmp_path: Path) -> None:
    write_npz(tmp_path / "in.npz", FAULTY[said])
    with pytest.raises(spikec.BadInputError) as error:
        read_events(tmp_path / "in.npz", ["in"])
    assert said in str(error.value)
    assert {diagnostic.code for diagnostic in error.value.diagnostics} == {"SC524"}
    assert all(diagnostic.remedy for diagnostic in error.value.diagnostics)


def test_an_empty_batch_may_be_written_as_lists(tmp_path: Path) -> None:
    np.savez(tmp_path / "in.npz", times=[], indices=[], offsets=[0])
    events = read_events(tmp_path / "in.npz", ["in"])["in"]
    assert (events.batch, len(events), events.indices.dtype) == (0, 0, np.int64)


def test_events_without_a_name_need_a_single_input(tmp_path: Path) -> None:
    write_events(tmp_path / "in.npz", {"in": some_events()})
    with pytest.raises(spikec.BadInputError, match="does not name its node"):
        read_events(tmp_path / "in.npz", ["a", "b"])


def test_labels_lie_beside_the_events(tmp_path: Path) -> None:
    write_events(tmp_path / "in.npz", {"in": some_events()})
    with pytest.raises(spikec.BadInputError, match=r"labels.*one whole number a sample"):
        read_samples(tmp_path / "in.npz", ["in"])


@pytest.mark.parametrize("data", [
    b"", b"PK\x03\x04", b"no zip at all" * 9,
])
def test_a_damaged_npz_is_told(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "in.npz").write_bytes(data)
    with pytest.raises(spikec.BadInputError) as error:
        read_events(tmp_path / "in.npz", ["in"])
    assert error.value.diagnostics[0].code == "SC523"


def test_an_npz_with_objects_or_false_sizes_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "objects.npz", times=np.array([{}], dtype=object), allow_pickle=True)
    good = tmp_path / "good.npz"
    np.savez(good, times=np.zeros(4))
    (tmp_path / "false.npz").write_bytes(good.read_bytes().replace(b"'shape': (4,), ", b"'shape': (9**9,)"[:15]))
    for name in ("objects.npz", "false.npz"):
        with pytest.raises(spikec.BadInputError) as error:
            read_npz(tmp_path / name)
        assert {diagnostic.code for diagnostic in error.value.diagnostics} == {"SC523"}
    with pytest.raises(spikec.BadInputError, match="too many bytes"):
        read_npz(good, limit=10)
