"""Reports on programs for Loihi: what they say agrees with the program, and with a run of it and of its model."""

from __future__ import annotations

import json
import re
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cli_commands import say, say_json
from loihi_mappings import scattered

import spikec
from spikec import BadInputError, Builder, Discretization, Events, Graph
from spikec.ir.event_files import write_events
from spikec.ir.npz import read_npz, write_npz
from spikec.targets.loihi.energy import LABEL
from spikec.targets.loihi.measurement import measure
from spikec.targets.loihi.program import LoihiProgram
from spikec.targets.loihi.report import LoihiReport
from spikec.targets.tables import Table

HOSTILE = "<script>alert('$x$')</script>&amp;"
STEPS, SAMPLES = 30, 6


@pytest.fixture(autouse=True)
def _mapped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neurons anywhere on a small chip, so that what is said of a mapping does not depend on the mapper."""
    monkeypatch.setattr(LoihiProgram, "mapping", property(lambda self: scattered(self.quantised.network, 1)),
                        raising=False)


def network(name: str = "hidden", readout: bool = False) -> Graph:
    rng = np.random.default_rng(0)
    net = Builder(Discretization(1e-3))
    image = net.input("in", (2, 6, 6))
    conv = net.conv2d("conv", image, weight=rng.normal(0.05, 0.3, (4, 2, 3, 3)), padding=1, stride=2)
    hidden = net.cubalif(name, conv.shape, tau_mem=20e-3, tau_syn=np.repeat([5e-3, 8e-3], 18).reshape(4, 3, 3))
    conv.connect(hidden)
    fc = net.linear("fc", net.flatten("flat", hidden), weight=rng.normal(0.1, 0.4, (3, 36)))
    digit = (net.cubali if readout else net.cubalif)("digit", 3, tau_mem=20e-3, tau_syn=5e-3)
    fc.connect(digit)
    net.output("out", digit)
    return net.build()


def raster(rate: float = 0.2) -> Any:
    return (np.random.default_rng(3).random((SAMPLES, STEPS, 2, 6, 6)) < rate) * 1.0


@cache
def compiled(**options: Any) -> LoihiProgram:
    program = spikec.compile(network(**options), "loihi1", calibration=raster())
    assert isinstance(program, LoihiProgram)
    return program


def test_a_report_says_what_the_program_is_made_of() -> None:
    program = compiled()
    report = LoihiReport.of(program)
    told = json.loads(json.dumps(report.as_dict(), allow_nan=False))
    integer = program.quantised.network
    assert [row["name"] for row in told["populations"]] == list(integer.populations)
    assert told["neurons"] == 39
    for row in told["populations"]:
        population = integer.populations[row["name"]]
        assert (row["threshold"], row["du"], row["dv"]) == (population.threshold, population.du, population.dv)
        assert row["membrane"][1] == 1 - population.dv / 4096
    for row, each in zip(told["projections"], integer.projections, strict=True):
        assert (row["exponent"], row["sign"], row["weights"]) == (each.exponent, each.sign, each.connection.weight.size)
    assert sum(sum(core["parts"].values()) for core in told["cores"]) == 39
    first = told["layers"][0]
    assert [first[key] for key in ("name", "type", "width", "height", "channels")] == ["in", "Input", 6, 6, 2]
    assert sum(core["activity"]["syn_ops"] for core in told["cores"]) == pytest.approx(
        told["counts"]["SynapticOperations"]["Effective_ACs"])
    traffic = told["traffic"]
    assert sum(core["activity"]["axon_out"] for core in told["cores"]) == pytest.approx(traffic["spikes_between_cores"])
    assert sum(core["activity"]["spikes_in"] for core in told["cores"]) == pytest.approx(
        traffic["spikes_between_cores"] + traffic["spikes_from_inputs"])
    assert told["counts"]["samples"] == 0 and told["measurement"] is None
    assert told["energy"]["label"] == LABEL and told["energy"]["joules_per_inference"] is None
    text = str(report)
    assert "Per core distribution:" in text and LABEL in text and "Davies" in text
    for name in (*integer.populations, "AxonIn", "Synapses", "SQNR dB"):
        assert name in text


def test_without_rates_operations_are_not_known() -> None:
    program = spikec.compile(network(), "loihi1")
    report = LoihiReport.of(program)
    assert report.counts is None and report.energy is None
    assert "calibration" in str(report)
    assert report.as_dict()["traffic"]["rates_known"] is False


def test_loihi_2_has_no_energy_without_a_profile() -> None:
    program = spikec.compile(network(), "loihi2", calibration=raster())
    report = LoihiReport.of(program)
    assert report.counts is not None and report.energy is None
    assert "--profile" in str(report)


@pytest.mark.parametrize("readout", [False, True])
def test_a_measurement_is_a_run_of_both(readout: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    program = compiled(readout=readout)
    labels = np.array([0, 1, 2, 0, 1, 2])
    found = measure(program, raster(), labels=labels)
    model = spikec.compile(program.graph, "clock").run(raster())
    chip = program.run(raster(), drain=True)
    by_name = {each.name: each for each in found.drifts}
    for name in by_name:
        assert by_name[name].model.sum() * SAMPLES == pytest.approx(len(model.spikes[name]))
        late = program.latency_of(name)
        times = chip.spikes[name].times
        inside = (times > (late + 0.5) * 1e-3) & (times < (late + STEPS + 0.5) * 1e-3)
        assert by_name[name].chip.sum() * SAMPLES == pytest.approx(inside.sum())
    assert set(by_name) == {"hidden"} if readout else {"hidden", "digit"}
    answers = (model.voltage_max["out"][0].argmax(1) if readout else np.stack(
        [np.bincount(model.spikes["out"].sample(sample)[1], minlength=3) for sample in range(SAMPLES)]).argmax(1))
    assert found.accuracy["out"][0] == pytest.approx((np.asarray(answers) == labels).mean())
    report = LoihiReport.of(program, found)
    states = program.engine.run(program.inputs.rasters(raster())[0], STEPS + program.latency,
                                states=tuple(program.quantised.network.populations))
    for row in report.populations:
        assert row.peaks == tuple(np.abs(values[row.name]).max() / (2**23 - 1) for values in (states.u, states.v))
    assert "Accuracy" in str(report) and report.energy is not None and report.energy.columns == STEPS + program.latency
    monkeypatch.setattr("spikec.targets.loihi.measurement._BYTES", 1)
    single = measure(program, raster(), labels=labels)
    assert single.peaks == found.peaks
    assert single.accuracy == found.accuracy
    for name, sent in found.activity.spikes.items():
        np.testing.assert_allclose(single.activity.spikes[name], sent)
    for name, changed in found.activity.updates.items():
        np.testing.assert_allclose(single.activity.updates[name], changed)


def test_labels_that_do_not_fit() -> None:
    with pytest.raises(BadInputError, match="SC506"):
        measure(compiled(), raster(), labels=np.zeros(2))


def test_the_core_map_shows_every_core_once() -> None:
    report = LoihiReport.of(compiled())
    drawn = report.core_map()
    cells = "".join(re.findall(r"^  ([A-Za-z.# ]+)$", drawn, re.MULTILINE))
    places = {(core.chip, core.x, core.y, core.core) for core in report.cores}
    assert len(re.findall(r"[A-Za-z]", cells)) == len(places)
    assert cells.count(".") == report.chips_used * 24 - len(places)


def test_tables_of_text() -> None:
    table = Table("T", ("name", "n"), (("a", "1"), ("bb", "-12.5")), ("note",))
    assert str(table) == "T\nname      n\n----  -----\na         1\nbb    -12.5\nnote"
    assert str(Table("T", (), (), ("note",))) == "T\nnote"
    long = str(Table("", ("n",), tuple((f"{number}",) for number in range(70)), ("note",))).splitlines()
    assert long[-3:] == ["59", "… and 10 rows more.", "note"]


def test_networks_in_which_nothing_happens() -> None:
    pytest.importorskip("matplotlib")
    from spikec.compiler.report_page import page

    net = Builder(Discretization(1e-3))
    hidden = net.connect(net.input("in", 4), net.cubalif("hidden", 3, tau_mem=20e-3, tau_syn=5e-3),
                         weight=np.zeros((3, 4)))
    net.output("out", hidden)
    program = spikec.compile(net.build(), "loihi1")
    found = measure(program, np.zeros((2, 5, 4)), labels=np.zeros(2, dtype=np.int64))
    report = LoihiReport.of(program, found)
    assert found.accuracy == {"out": (1.0, 1.0)} and found.drifts[0].relative is None
    assert report.counts is not None and report.counts.effective == 0
    assert "image/svg" in page(program, report)
    json.dumps(report.as_dict(), allow_nan=False)
    empty = measure(program, np.zeros((0, 5, 4)))
    assert (empty.samples, empty.accuracy) == (0, {})
    assert str(LoihiReport.of(program, empty))


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, Any]]] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def test_the_page_is_whole_and_names_are_escaped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                 capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    from spikec.compiler.report_page import page

    monkeypatch.chdir(tmp_path)
    program = compiled(name=HOSTILE)
    program.save("net")
    np.save("raster.npy", raster())
    code, out, _ = say(capsys, "report", "net", "--data", "raster.npy", "--html", "page.html")
    assert code == 0 and "wrote page.html" in out
    written = Path("page.html").read_text()
    report = LoihiReport.of(program, measure(program, raster()))
    assert page(program, report) == written
    found = _Tags()
    found.feed(written)
    tags = [tag for tag, _ in found.found]
    assert written.startswith("<!doctype html>") and tags.count("img") == 7
    assert not {"script", "link", "iframe"} & set(tags)
    sources = [attributes["src"] for _, attributes in found.found if "src" in attributes]
    assert len(sources) == 7 and all(each.startswith("data:image/svg+xml;base64,") for each in sources)
    assert not any(name.startswith("on") for _, attributes in found.found for name in attributes)
    assert any(HOSTILE in text for text in found.text)
    assert "http" not in re.sub(r"base64,[^\"]*", "", written)
    for table in report.tables():
        assert table.title in "".join(found.text)


def test_a_page_that_cannot_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from spikec.compiler.page import check_page

    with pytest.raises(BadInputError, match="SC550"):
        check_page(tmp_path / "report.pdf")
    monkeypatch.setitem(__import__("sys").modules, "matplotlib.figure", None)
    with pytest.raises(BadInputError, match="SC532"):
        check_page(tmp_path / "report.html")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    compiled().save("net")
    write_events("data.npz", {"in": Events.from_dense(raster(), 1e-3)})
    write_npz("labelled.npz", read_npz("data.npz") | {"labels": np.arange(SAMPLES) % 3})
    np.save("raster.npy", raster())
    return "net"


def test_the_command(folder: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = say(capsys, "report", folder)
    assert code == 0 and "Per core distribution:" in out and "Core map" in out
    code, told = say_json(capsys, "report", folder, "--data", "labelled.npz", "--duration", f"{STEPS * 1e-3}")
    assert code == 0
    measured = told["report"]["measurement"]
    assert measured["samples"] == SAMPLES and set(measured["accuracy"]) == {"out"}
    code, same = say_json(capsys, "report", folder, "--data", "raster.npy")
    assert code == 0
    assert same["report"]["measurement"]["drift"] == measured["drift"]
    assert same["report"]["measurement"]["accuracy"] == {}
    code, told = say_json(capsys, "report", folder, "--data", "data.npz")
    assert code == 0 and told["report"]["counts"]["steps"] <= STEPS + 5


def test_an_own_profile(folder: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("own.toml").write_text('[energy.synaptic_operation]\nvalue = 1e-12\nsource = "our own measurement"\n')
    code, told = say_json(capsys, "report", folder, "--profile", "own.toml")
    assert code == 0
    assert told["report"]["energy"]["profile"]["figures"]["energy"] == {
        "synaptic_operation": {"value": 1e-12, "source": "our own measurement"}}
    assert told["report"]["energy"]["dynamic"]["synapses"] == pytest.approx(
        told["report"]["counts"]["SynapticOperations"]["Effective_ACs"] * 1e-12)


@pytest.mark.parametrize(("arguments", "code"), [
    (("nothing",), "SC520"), (("net", "--html", "page.pdf"), "SC550"), (("net", "--data", "data.txt"), "SC550"),
    (("net", "--duration", "1"), "SC550"), (("net", "--profile", "none.toml"), "SC523"),
    (("net", "--data", "none.npz"), "SC523"),
])
def test_what_the_command_refuses(folder: str, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...],
                                  code: str) -> None:
    exit_code, told = say_json(capsys, "report", *arguments)
    assert exit_code == 4
    assert [each["code"] for each in told["diagnostics"]] == [code]
    assert not Path("page.pdf").exists()


@pytest.mark.parametrize("target", ["event", "clock"])
def test_other_targets_report_too(target: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                  capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    monkeypatch.chdir(tmp_path)
    program = spikec.compile(network(name="a<b>c"), target)
    program.save("net")
    code, out, _ = say(capsys, "report", "net", "--html", "page.html")
    assert code == 0 and str(program.report()) in out
    assert "a&lt;b&gt;c" in Path("page.html").read_text()
    assert say_json(capsys, "report", "net")[1]["report"]["target"] == target
    code, told = say_json(capsys, "report", "net", "--data", "raster.npy", "--profile", "own.toml")
    assert code == 4 and [each["code"] for each in told["diagnostics"]] == ["SC550", "SC550"]


def test_the_weights_that_are_drawn_are_those_of_the_model_and_their_rounding() -> None:
    from spikec.targets.loihi.figures import _both

    program = compiled()
    for each in program.quantised.network.projections:
        wanted, held, largest = _both(program.quantised, each)
        record = program.quantised.projections[each.name]
        step = 2 * 2.0**each.exponent / np.abs(record.factor).min()
        assert wanted.size == each.connection.weight.size and np.abs(wanted).max() > 10 * step
        inside = np.abs(wanted) < 250 / 2 * step
        assert np.abs(wanted - held)[inside].max() <= step / 2 + 1e-12
        assert np.abs(held).max() <= largest * 257 / 255
