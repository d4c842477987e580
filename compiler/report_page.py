"""A report on a program as one self-contained HTML page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..ir.npz import write_atomically
from ..targets.loihi.program import LoihiProgram
from ..targets.loihi.report import LoihiReport
from .chip_figures import chip_figures
from .driver import AnyProgram
from .page import check_page, rendered

__all__ = ["page", "save_page"]


def save_page(program: AnyProgram, report: Any, path: str | Path) -> None:
    """Writes the page of a program's report.

    Raises:
        BadInputError: as `check_page`, or the file cannot be written (SC522).
    """
    write_atomically(check_page(path), page(program, report).encode())


def page(program: AnyProgram, report: Any) -> str:
    """The text of the page."""
    title = f"spikec: a program for {program.target}"
    if not (isinstance(report, LoihiReport) and isinstance(program, LoihiProgram)):
        tables, headline = getattr(report, "tables", None), getattr(report, "headline", None)
        shown = tuple(chip_figures(program, report))
        if tables is None or headline is None:
            return rendered(title, f"{report}", figures=shown)
        return rendered(title, headline, tables(), figures=shown)
    from ..targets.loihi.figures import figures

    heading, _, drawn = report.core_map().partition("\n")
    return rendered(title, report.headline, report.tables(), ((heading, drawn),), figures(report, program.quantised))
