"""`spikec validate` on networks of graded synapses: the engine against the reference, on signals and on impulses."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cli_commands import MODEL, say, say_json
from graded_nets import DT, graph, signals

import spikec
from spikec.ir.event_files import write_events

FEW = {"seed": 2, "n": 2, "leaky": 1, "bias": 1.5}
GIVEN = signals(batch=1, samples=13)


def changed(node: str, **changes: Any) -> spikec.Graph:
    one = graph(**FEW)
    return one.with_nodes({node: replace(one.nodes[node], **changes)})


def test_the_engine_does_what_the_reference_does(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spikec.compile(graph(**FEW)).save(tmp_path / "folder")
    np.save(tmp_path / "signals.npy", GIVEN)
    code, told = say_json(capsys, "validate", str(tmp_path / "folder"), "--against", "exact", "--data",
                          str(tmp_path / "signals.npy"), "--dt", str(DT))
    assert (code, told["verdict"], told["duration"], told["samples"]) == (0, "spike-exact", 0.012, 1)
    layers = {each["pair"]["a"]: each for each in told["layers"]}
    assert list(layers) == ["theta", "line", "out"]
    assert layers["theta"]["spikes_a"] == layers["theta"]["spikes_b"] == layers["theta"]["agree"] == 2
    assert all(0 < each["membrane"] < 1e-5 for each in layers.values())
    assert any("currents" in note for note in told["notes"])
    code, shown, _ = say(capsys, "validate", str(tmp_path / "folder"), "--against", "exact", "--data",
                         str(tmp_path / "signals.npy"), "--dt", str(DT), "--duration", "0.004",
                         "--plot", str(tmp_path / "page.html"))
    assert (code, "1 samples of 0.004 s" in shown) == (0, True), shown
    assert (tmp_path / "page.html").exists()


def test_impulses_are_compared_up_to_a_sample(tmp_path: Path) -> None:
    events = spikec.Events.from_samples([([1e-3, 5.2e-3], [0, 1]), ([5e-3], [0])])
    write_events(tmp_path / "events.npz", {"in": events}, {})
    for data in (events, str(tmp_path / "events.npz")):
        found = spikec.validate(graph(**FEW), "exact", data, dt=DT)
        assert (found.verdict, found.samples, found.duration) == ("spike-exact", 2, pytest.approx(6e-3))


@pytest.mark.parametrize(("node", "changes", "what"), [
    ("theta", {"tau_syn": np.array([5e-3, 9e-3])}, "membrane"),
    ("of_line", {"weight": np.array([[0.02], [-0.02]])}, "membrane"),
    ("inward", {"bias": np.array([1.9, 1.4])}, "spike")])
def test_another_parameter_is_found(node: str, changes: dict[str, Any], what: str) -> None:
    options = {"tolerance_voltage": 1e9} if what == "spike" else {}
    found = spikec.validate(graph(**FEW), changed(node, **changes), GIVEN, dt=DT, target_b="event", **options)
    assert (found.ok, found.verdict, found.first.what) == (False, "differs", what)
    assert any(f"'{node}'.{next(iter(changes))}" in note for note in found.notes)
    if node == "of_line":
        assert [each.pair.a for each in found.layers if each.first] == ["out"], "neurons hear nothing of it"


def test_what_cannot_be_compared_is_told(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(MODEL)
    spiking = f"{tmp_path / 'net.py'}:make"
    for options, code in (({}, "SC562"), ({"dt": DT, "target_b": "reference"}, "SC561"),
                          ({"dt": DT, "target_b": "clock"}, "SC463"), ({"dt": DT, "target_b": "source"}, "SC561"),
                          ({"dt": DT, "data": np.zeros((1, 9, 3))}, "SC562"), ({"dt": DT, "against": spiking}, "SC560"),
                          ({"dt": DT, "a": spiking}, "SC560"),
                          ({"dt": DT, "data": GIVEN[:, :1]}, "SC458"), ({"dt": 0.05}, "SC461")):
        arguments: dict[str, Any] = {"a": graph(**FEW), "against": graph(**FEW), "data": GIVEN, **options}
        with pytest.raises(spikec.SpikecError) as error:
            spikec.validate(**arguments)
        assert error.value.diagnostics[0].code == code, options
