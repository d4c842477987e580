"""What tables are written with: figures of stored results, rows, and what was measured when."""

from __future__ import annotations

from typing import Any

from common import read_result


class NotMeasured(Exception):
    """A figure whose measurement has not been run."""


class Unsettled(NotMeasured):
    """A measurement that does not settle whether its aim is met; the text says what it found."""


def figures(name: str) -> Any:
    """The figures of one stored result."""
    stored = read_result(name)
    if stored is None:
        raise NotMeasured(name)
    return stored["figures"]


def table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """A markdown table."""
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join("| " + " | ".join(row) + " |" for row in lines)


def measured(*names: str) -> str:
    """Commit and day of each of these results that is there, by day."""
    stands: dict[tuple[str, str], list[str]] = {}
    for name in names:
        stored = read_result(name)
        if stored is not None:
            record = stored["machine"]
            changes = " with uncommitted changes" if record["uncommitted_changes"] else ""
            stand = (record["started"][:10], f"{_commits(stored)}{changes}")
            stands.setdefault(stand, []).append(name.replace("_", " "))
    if not stands:
        return "Not measured yet."
    if len(stands) == 1:
        ((day, commit),) = stands
        return f"Measured at {commit}, {day}."
    parts = "; ".join(f"{', '.join(held)} at {commit}, {day}" for (day, commit), held in sorted(stands.items()))
    return f"Measured at different commits: {parts}."


def _commits(stored: dict[str, Any]) -> str:
    """Of all runs, where each says its own; else of the result."""
    own, runs = stored["machine"]["commit"], stored.get("figures")
    runs = runs.get("runs", []) if isinstance(runs, dict) else []
    found = dict.fromkeys(run.get("commit", own) for run in runs if isinstance(run, dict)) or {own: None}
    return " and ".join(f"`{each[:7]}`" for each in found)


def number(value: float) -> str:
    """Three significant digits, thousands separated."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) >= 1e-3 or value == 0 else f"{value:.0e}"
