"""docs/conformance.md, written from results.json."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
RESULTS = HERE / "results.json"
PAGE = HERE.parents[1] / "docs" / "conformance.md"

HEAD = """# Conformance

One set of small networks, run through every way in and every target, beside what it came from. `make conformance` runs
all of it in an environment of pinned frameworks, fails where one is missing or a number is off, and writes this page
from `tests/conformance/results.json`. `make test` runs a small part of it (`tests/test_conformance.py`).

"""
FRAMEWORKS = """## Networks of PyTorch frameworks

Two layers, 6-5-4, random weights, three samples of {steps:,} random steps. The framework runs its own module;
`from_torch` imports it; every target runs the graph. Both in float64, but for the column *clock, float32*.

- *reference*: `simulate_step`. *clock*: the clock target. *onnx*: onnxruntime on the model that `to_onnx` writes.
  *nir*: the reference again, on the graph written by `to_nir(extensions=True)` and read back. Each says in how many
  places (sample, step, neuron) a spike differs from the framework's own run, and the largest difference of a membrane,
  of the larger of 1 and the largest membrane. The limits are 0 and {membrane:.0e}.
- *clock, float32*: beside the framework in float32, each sample up to the first step in which a spike differs: sums in
  another order differ in the last digit, so that a membrane at its threshold falls on either side. It says how many of
  the three samples end early, and the largest difference of a membrane until then (limit {single:.0e}).
- *event*: continuous time, which is another model ([what differs](importing.md#what-differs-in-continuous-time)): the
  number of spikes of all neurons in the first {event_steps} steps, and by how much it is off. It has no limit: a neuron
  that is driven hard fires once a step on the grid, and as often as its equation says in continuous time.

"""
OWN = """## spikec's own networks

Every neuron on every grid, made by the builder. *text*, *nir*, *onnx file*: written, read back, and run by the
reference. *clock*, *onnx*: as above. All are compared with the reference on the grid, {steps:,} steps. *event*: the
event target beside the reference in continuous time, {exact_steps} steps: samples whose spikes differ, and the largest
difference of a spike's time in seconds; where only the grid differs from a row above, it is that row's.

"""
PUBLIC = """## Public NIR files

The graphs of the NIR paper (Pedersen et al., Nature Communications 15:8122, 2024), read by `from_nir` on the grid that
is stated, at most {steps:,} random steps. All are compared with the reference on that grid, as above; three of
them (LIF, the CNN, one Braille network) are run beside Norse and sinabs in `tests/test_nir_dialects.py`.

"""


def page(results: Mapping[str, Any]) -> str:
    """The page."""
    limits = results["limits"]
    parts = [HEAD, _versions(results), FRAMEWORKS.format(**limits)]
    for framework in dict.fromkeys(row["framework"] for row in results["frameworks"]):
        rows = [row for row in results["frameworks"] if row["framework"] == framework]
        parts.append(_framework(framework, rows))
    parts += [OWN.format(**limits), _own(results["networks"]), PUBLIC.format(**limits), _own(results["public"])]
    return "".join(parts)


def read() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(RESULTS.read_text(encoding="utf-8"))
    return found


def _versions(results: Mapping[str, Any]) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in results["versions"].items())
    rows = [*results["frameworks"], *results["networks"], *results["public"]]
    failed = sum(bool(row["failures"]) for row in rows)
    state = f"{len(rows)} networks, {failed} of them fail" if failed else f"{len(rows)} networks, none fails"
    return f"{state}. At commit `{results['commit']}`, {results['day']}: {versions}.\n\n"


def _framework(framework: str, rows: list[Mapping[str, Any]]) -> str:
    head = ("neuron", "settings", "", "reference", "clock", "clock, float32", "onnx", "nir", "event", "verdict")
    notes: dict[str, int] = {}
    lines = [
        (f"`{row['kind']}`", row["settings"], "recurrent" if row["recurrent"] else "",
         *(_cell(row["targets"].get(column), notes) for column in ("reference", "clock", "clock32", "onnx", "nir")),
         _event(row["targets"].get("event"), notes), _verdict(row, notes))
        for row in rows
    ]
    equal = sum(row["verdict"] == "equal" for row in rows)
    refused = sum(row["verdict"].startswith("refused") for row in rows)
    text = f"{len(rows)} networks: {equal} equal, {refused} refused, {len(rows) - equal - refused} other."
    fired = [row["activity"] for row in rows if row.get("activity") is not None]
    text += f" Every neuron fires, in {100 * min(fired):.1f} % of the steps at least." if fired else ""
    return f"### {framework} {rows[0]['version']}\n\n{text}\n\n{_table(head, lines)}\n\n{_notes(notes)}"


def _own(rows: list[Mapping[str, Any]]) -> str:
    columns = tuple(dict.fromkeys(column for row in rows for column in row["targets"]))
    notes: dict[str, int] = {}
    lines = [(f"`{row['kind']}`", row["settings"], *(_cell(row["targets"].get(column), notes) for column in columns),
              _verdict(row, notes)) for row in rows]
    names = {"from_onnx": "onnx file", "clock32": "clock, float32"}
    head = ("neuron", "grid and network", *(names.get(column, column) for column in columns), "verdict")
    return f"{_table(head, lines)}\n\n{_notes(notes)}" if rows else "Not run: the files are not there.\n"


def _cell(found: Any, notes: dict[str, int]) -> str:
    if found is None:
        return "–"
    if isinstance(found, str):
        return _note(found, notes)
    apart = "" if found["membrane"] is None else f", {found['membrane']:.0e}" if found["membrane"] else ", 0"
    return f"{found['wrong']}{apart}"


def _event(found: Any, notes: dict[str, int]) -> str:
    if not isinstance(found, dict) or "event" not in found:
        return _cell(found, notes)
    gap = 100 * (found["event"] / max(found["framework"], 1) - 1)
    return f"{found['framework']:,} → {found['event']:,} ({gap:+.1f} %)"


def _verdict(row: Mapping[str, Any], notes: dict[str, int]) -> str:
    if row["failures"]:
        return f"**fails** {_note('; '.join(row['failures']), notes)}"
    text, _, reason = str(row["verdict"]).partition(": ")
    return f"{text} {_note(reason, notes)}" if reason else text


def _note(text: str, notes: dict[str, int]) -> str:
    """A reference to a note; each text is said once below its table. A code alone stays in the cell."""
    code, separator, _ = text.partition(", ")
    number = notes.setdefault(text, len(notes) + 1)
    return f"{code} ({number})" if separator and code.startswith("SC") else f"({number})"


def _notes(notes: Mapping[str, int]) -> str:
    return "".join(f"{number}. {text}\n" for text, number in notes.items()) + ("\n" if notes else "")


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    lines = [list(head), *(list(row) for row in rows)]
    lines.insert(1, ["---"] * len(lines[0]))
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
