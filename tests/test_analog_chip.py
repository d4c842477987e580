"""Descriptions of analog chips: what a file may say, and that all that it says wrong is told at once."""

from __future__ import annotations

import re
import tomllib
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from analog_nets import OWN, TOML, net
from as_installed import ROOT
from hypothesis import given, settings
from hypothesis import strategies as st

import spikec
from spikec.ir.analog.chip import BASES, AnalogChip
from spikec.ir.diagnostics import BadInputError, SpikecError
from spikec.targets.analog.configuration import chip_from_json, chip_to_json
from spikec.targets.analog.description import ABSENT, FIGURES, SPANS, SPREADS, own_chip, read_chip, uniform_chip

NEEDED = [*(name for name, field in FIGURES.items() if field.needed),
          *(f"span.{name}" for name, field in SPANS.items() if field.needed)]
LEAST = {"neurons": {"circuits": 8, "fan_in": 4}, "weights": {"levels": 7, "full_scale": 1.0},
         "time": {"speed_up": 1.0}, "span": {"tau_mem": (1e-6, 1.0), "tau_syn": (1e-6, 1.0), "refractory": (0.0, 1.0)}}


def written(chip: dict[str, Any]) -> str:
    """TOML of nested tables."""
    lines: list[str] = []

    def value(entry: Any) -> str:
        if isinstance(entry, bool):
            return str(entry).lower()
        if isinstance(entry, str):
            return '"' + entry.replace("\\", "\\\\").replace('"', '\\"') + '"'
        if isinstance(entry, list):
            return "[" + ", ".join(map(value, entry)) + "]"
        if isinstance(entry, dict):
            return "{" + ", ".join(f"{key} = {value(each)}" for key, each in entry.items()) + "}"
        return repr(entry)

    for name, entry in chip.items():
        lines.append(f"{name} = {value(entry)}")
    return "\n".join(lines) + "\n"


def least() -> dict[str, Any]:
    """The smallest description that is one."""
    def entry(name: str, given: Any) -> dict[str, Any]:
        unit = (SPANS[name.removeprefix("span.")] if name.startswith("span.") else FIGURES[name]).unit
        numbers = dict(zip(("low", "high"), given, strict=True)) if isinstance(given, tuple) else {"value": given}
        return {**numbers, "unit": unit, "source": "a test", "basis": "given"}

    return {group: {name: entry(f"{group}.{name}", given) for name, given in entries.items()}
            for group, entries in LEAST.items()}


def read(text: str | bytes, folder: Path) -> AnalogChip:
    file = folder / "chip.toml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_chip(file)


def faults(text: str | bytes, folder: Path) -> list[tuple[str, str | None, str]]:
    """Code, place and message of all that is told."""
    with pytest.raises(BadInputError) as caught:
        read(text, folder)
    return [(each.code, each.node, each.message) for each in caught.value.diagnostics]


def altered(change: Any, folder: Path) -> list[tuple[str, str | None, str]]:
    chip = least()
    change(chip)
    return faults(written(chip), folder)


@pytest.mark.parametrize("name", OWN)
def test_every_number_of_our_own_chips_has_a_source(name: str) -> None:
    chip, told = own_chip(name), tomllib.loads(TOML[name])
    assert chip.name == name and chip.title and chip.note
    stated = [each for group, entries in told.items() if isinstance(entries, dict) for each in entries.values()]
    stated = [one for each in stated for one in ([each] if "source" in each else each.values())]
    assert len(stated) > 25
    for each in stated:
        assert each["basis"] in BASES and len(each["source"]) > 10, each
        if each["basis"] in ("code", "run", "paper"):  # a file, a commit, or a publication
            assert re.search(r"\.(py|h|yaml)|\([0-9a-f]{7}\)|\d{4}", each["source"]), each
    bases = {"assumed"} if name == "generic_analog" else {"code", "web", "assumed"}
    assert {each["basis"] for each in stated} == bases
    for figure in chip.figures.values():
        assert figure.source
    for spread in chip.spreads.values():
        for part in (spread.before, spread.left, spread.mean, spread.std):
            assert part.source


def test_what_rests_on_nothing_says_so() -> None:
    chip = own_chip("brainscales2")
    assert {name for name, each in chip.figures.items() if each.basis == "assumed"} == {
        "time.inputs_a_stamp", "readout.noise", "calibration.reach"}
    assert all(each.before.basis == "assumed" for each in chip.spreads.values())
    assert "silicon" in chip.note


def test_the_least_description_is_enough(tmp_path: Path) -> None:
    chip = read(written(least()), tmp_path)
    assert chip.name == "chip" and chip.circuits == 8 and chip.fan_in == 4 and chip.levels == 7
    assert chip.figures["readout.bits"].source == ABSENT and chip["readout.bits"] == 24
    assert set(chip.spans) == {"tau_mem", "tau_syn", "refractory"}
    assert all(each.before.value == each.std.value == 0 and each.left.value == 1 for each in chip.spreads.values())
    assert set(chip.spreads) == set(SPREADS)
    with pytest.raises(KeyError):
        chip["neurons.colour"]


def test_the_page_lists_every_field() -> None:
    """Names, units and what is needed, in the table of `docs/brainscales2.md`."""
    page = (ROOT / "docs" / "brainscales2.md").read_text(encoding="utf-8")
    groups = "neurons|weights|time|readout|calibration|noise|span"
    rows = [row.split(" | ") for row in re.findall(rf"^\| (`(?:{groups})\..*) \|$", page, re.MULTILINE)]
    told = {name: (row[1], row[-1]) for row in rows for name in re.findall(r"`([\w.]+)`", row[0])}
    fields = {**FIGURES, **{f"span.{name}": field for name, field in SPANS.items()}}
    assert told.keys() == fields.keys()
    for name, field in fields.items():
        unit, absent = told[name]
        assert unit == field.unit or (not field.unit and unit.startswith("(none")), name
        assert (absent == "needed") == field.needed, name
    assert all(f"`{name}`" in page for name in SPREADS) and all(f"`{basis}`" in page for basis in BASES)


def test_what_a_description_leaves_out_is_in_the_report(tmp_path: Path) -> None:
    (tmp_path / "chip.toml").write_text(written(least()))
    report = spikec.compile(net(n=3), target="generic_analog", chip=tmp_path / "chip.toml").report()
    assert len(report.perfect) == 3 and "[spread.*]" in str(report) and "tau_mem ms" in str(report)
    own = spikec.compile(net(n=3), target="generic_analog").report()
    assert own.perfect == () and "says nothing" not in str(own)


def test_all_that_is_missing_is_told_at_once(tmp_path: Path) -> None:
    told = faults("", tmp_path)
    assert [node for _, node, _ in told] == NEEDED
    with pytest.raises(BadInputError) as caught:
        read("", tmp_path)
    for each in caught.value.diagnostics:  # each remedy is what the field wants: written so, the description is one
        assert f"[{each.node}]" in str(each.remedy)
    lines = [re.sub(r" with (.*), unit", r"\n\1, unit", re.split(r" \(or |Write ", str(each.remedy))[1]).replace(
        ", ", "\n") for each in caught.value.diagnostics]
    chip = read("\n".join(lines), tmp_path)
    assert chip.circuits == 512 and chip.spans["tau_mem"].high == 6e-5
    assert {code for code, _, _ in told} == {"SC370"}


@pytest.mark.parametrize(("name", "wrong", "said"), [
    ("value", -1, "out of what can be"), ("value", 1e30, "out of what can be"), ("value", 8.5, "out of what can be"),
    ("value", float("nan"), "out of what can be"), ("value", float("inf"), "out of what can be"),
    ("value", True, "out of what can be"), ("value", "many", "out of what can be"),
    ("value", [8], "out of what can be"), ("value", {"a": 1}, "out of what can be"),
    ("value", 10**400, "out of what can be"), ("value", -10**400, "out of what can be"),
    ("unit", "neurons", "unit is another"), ("unit", 3, "unit is another"), ("source", "", "names its source"),
    ("source", "  ", "names its source"), ("source", 7, "names its source"), ("basis", "hearsay", "rests on"),
    ("basis", ["code"], "rests on"), ("basis", {"code": 1}, "rests on"), ("basis", 1, "rests on"),
    ("colour", "red", "is a table of"),
])
def test_a_number_that_is_none(tmp_path: Path, name: str, wrong: Any, said: str) -> None:
    def change(chip: dict[str, Any]) -> None:
        chip["neurons"]["circuits"][name] = wrong

    ((code, node, message),) = altered(change, tmp_path)
    assert (code, node) == ("SC370", "neurons.circuits") and said in message


@pytest.mark.parametrize(("change", "node", "said"), [
    (lambda chip: chip["span"]["tau_mem"].update(low=2.0, high=1.0), "span.tau_mem", "ends before it begins"),
    (lambda chip: chip["span"]["tau_mem"].pop("high"), "span.tau_mem", "is a table of"),
    (lambda chip: chip["span"].update(tau_mem=3), "span.tau_mem", "is a table of"),
    (lambda chip: chip["neurons"].update(circuits=[1, 2]), "neurons.circuits", "is a table of"),
    (lambda chip: chip.update(neurons=3), "neurons", "group of numbers is a table"),
    (lambda chip: chip.update(spread={"threshold": 3}), "spread.threshold", "group of numbers is a table"),
    (lambda chip: chip.update(spread={"threshold": {"median": 3}}), "spread.threshold.median", "no meaning"),
    (lambda chip: chip.update(spread=[]), "spread", "group of numbers is a table"),
    (lambda chip: chip["neurons"].update(colours=chip["neurons"]["fan_in"]), "neurons.colours", "no meaning"),
    (lambda chip: chip.update(name=3), None, "'name' of a chip is a text"),
    (lambda chip: chip.update(note=["a"]), None, "'note' of a chip is a text"),
    (lambda chip: chip.update(wings={}), None, "unknown entry"),
    (lambda chip: chip.update(readout={"leak": {"value": 5.0, "unit": "LSB", "source": "a", "basis": "given"},
                                       "threshold": {"value": 4.0, "unit": "LSB", "source": "a", "basis": "given"}}),
     "readout.threshold", "above rest"),
])
def test_a_description_that_is_none(tmp_path: Path, change: Any, node: str | None, said: str) -> None:
    told = altered(change, tmp_path)
    assert any(code == "SC370" and where == node and said in message for code, where, message in told), told


def test_several_faults_are_told_together(tmp_path: Path) -> None:
    def change(chip: dict[str, Any]) -> None:
        chip["neurons"]["circuits"]["value"] = 0
        chip["neurons"]["fan_in"]["unit"] = "m"
        del chip["time"]
        chip["span"]["tau_syn"]["source"] = ""
        chip["feathers"] = 2

    told = altered(change, tmp_path)
    assert {node for _, node, _ in told} == {
        None, "neurons.circuits", "neurons.fan_in", "time.speed_up", "span.tau_syn"}


@pytest.mark.parametrize("text", ["value = ", "[neurons\n", b"\xff\xfe\x00", b"\x00", "a = 1\na = 2", "[" * 5000,
                                  "a = " + "[" * 5000, "x = 1979-99-99", "key = " + "9" * 5000])
def test_what_is_no_toml(tmp_path: Path, text: str | bytes) -> None:
    ((code, _, message),) = faults(text, tmp_path)
    assert code == "SC370" and "is no TOML" in message


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    for place, code in ((tmp_path / "none.toml", "SC523"), (tmp_path, "SC523"), (3, "SC525"), (None, "SC525"),
                        ("a\0b", "SC525")):
        with pytest.raises(BadInputError) as caught:
            read_chip(place)  # type: ignore[arg-type]
        assert [each.code for each in caught.value.diagnostics] == [code], place
    assert faults("# " + "x" * (1 << 20), tmp_path)[0][0] == "SC523"


# what a random edit may put in the place of anything
ANYTHING = st.one_of(
    st.integers(-10**20, 10**20), st.floats(), st.booleans(), st.text(max_size=6), st.lists(st.integers(), max_size=2),
    st.dictionaries(st.sampled_from("abc"), st.integers(), max_size=2))


@given(data=st.data(), name=st.sampled_from(OWN))
@settings(max_examples=150)
def test_random_edits_are_told_and_never_a_traceback(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject,
                                                     name: str) -> None:
    chip = tomllib.loads(TOML[name])
    for _ in range(data.draw(st.integers(1, 4))):
        table, depth = chip, data.draw(st.integers(0, 3))
        for _ in range(depth):
            inner = [key for key, value in table.items() if isinstance(value, dict)]
            if not inner:
                break
            table = table[data.draw(st.sampled_from(inner))]
        act = data.draw(st.sampled_from(["drop", "change", "add"]))
        if act == "add" or not table:
            table[data.draw(st.sampled_from(["value", "low", "x", "unit", "neurons", "std"]))] = data.draw(ANYTHING)
        elif act == "drop":
            del table[data.draw(st.sampled_from(sorted(table)))]
        else:
            table[data.draw(st.sampled_from(sorted(table)))] = data.draw(ANYTHING)
    text = "\n".join(f"{key} = {each}" for key, each in ((key, _toml(value)) for key, value in chip.items()))
    assert tomllib.loads(text).keys() == chip.keys()
    folder = tmp_path_factory.mktemp("chip")
    found, told = None, set()
    try:
        found = read(text, folder)
    except BadInputError as error:
        told = {each.code for each in error.diagnostics}
    if found is None:
        assert told == {"SC370"}
        return
    # what is accepted can be compiled for, or that is refused in words
    with suppress(SpikecError):
        spikec.compile(net(), name, chip=folder / "chip.toml", mismatch="uncalibrated").report()
    assert chip_to_json(chip_from_json(chip_to_json(found))) == chip_to_json(found)


@given(text=st.text(st.characters(codec="utf-8"), max_size=200) | st.binary(max_size=200))
@settings(max_examples=60)
def test_random_bytes_are_no_chip(tmp_path_factory: pytest.TempPathFactory, text: str | bytes) -> None:
    assert faults(text, tmp_path_factory.mktemp("chip"))


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return {"inf": "inf", "-inf": "-inf", "nan": "nan"}.get(repr(value), repr(value))
    if isinstance(value, str):
        return '"' + "".join(f"\\U{ord(each):08X}" for each in value) + '"'
    if isinstance(value, list):
        return "[" + ", ".join(_toml(each) for each in value) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_toml(key)} = {_toml(each)}" for key, each in value.items()) + "}"
    return str(value)


def test_bits_and_cv() -> None:
    chip = own_chip("generic_analog")
    other = uniform_chip(chip, bits=4, cv=0.3)
    assert other.levels == 15 and other.figures["weights.levels"].basis == "given"
    assert all(each.before.value == each.std.value == 0.3 for each in other.spreads.values())
    assert uniform_chip(chip).figures == chip.figures
    for bits, cv, count in ((0, None, 1), (16, None, 1), (2.5, None, 1), (True, None, 1), (None, -0.1, 1), (None, 3, 1),
                            (None, float("nan"), 1), ("4", "0.1", 2)):
        with pytest.raises(BadInputError) as caught:
            uniform_chip(chip, bits, cv)  # type: ignore[arg-type]
        assert [each.code for each in caught.value.diagnostics] == ["SC533"] * count


def test_a_chip_of_ones_own(tmp_path: Path) -> None:
    file = tmp_path / "my.toml"
    text = TOML["generic_analog"].replace('name = "generic_analog"', 'name = "mine"').replace("value = 63", "value = 3")
    file.write_text(text, encoding="utf-8")
    program = spikec.compile(net(), "generic_analog", chip=file, rows=1)
    assert program.chip.name == "mine" and program.chip.levels == 3
    assert max(abs(each.codes).max() for each in program.held.projections) <= 3
    # a saved folder has the chip in it: the file is not needed again
    program.save(tmp_path / "out")
    file.unlink()
    again = spikec.load(tmp_path / "out")
    assert chip_to_json(again.chip) == chip_to_json(program.chip)  # type: ignore[union-attr]
    with pytest.raises(BadInputError, match="SC523"):
        spikec.compile(net(), "generic_analog", chip=file)
