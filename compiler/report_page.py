"""A report as one self-contained HTML page: its tables, and its figures as SVG. Everything that a user named is
escaped, and nothing is fetched or executed where it is shown."""

from __future__ import annotations

import base64
import io
import re
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..ir.diagnostics import BadInputError, Diagnostic
from ..ir.npz import write_atomically
from ..ir.paths import path_of
from ..targets.loihi.program import LoihiProgram
from ..targets.loihi.report import LoihiReport
from .driver import AnyProgram

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["check_page", "save_page"]

_SHARE = re.compile(r"\d+/\d+ (\d+)%$")


def check_page(path: str | Path) -> Path:
    """The path of a page that can be made here.

    Raises:
        BadInputError: no path (SC525), another suffix (SC550), or matplotlib is missing (SC532).
    """
    target = path_of(path, "a page to write")
    if target.suffix not in (".html", ".htm"):
        raise BadInputError(Diagnostic("SC550", f"'{path}' is no page that can be written",
                                       value=target.suffix or "no suffix", limit=".html, .htm"))
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError as error:
        raise BadInputError(Diagnostic("SC532", "matplotlib is not installed",
                                       remedy='pip install "spikec[plot]"')) from error
    return target


def save_page(program: AnyProgram, report: Any, path: str | Path) -> None:
    """Writes the page of a program's report.

    Raises:
        BadInputError: as `check_page`, or the file cannot be written (SC522).
    """
    write_atomically(check_page(path), page(program, report).encode())


def page(program: AnyProgram, report: Any) -> str:
    """The text of the page."""
    import jinja2

    environment = jinja2.Environment(loader=jinja2.FileSystemLoader(Path(__file__).parent), autoescape=True,
                                     undefined=jinja2.StrictUndefined)
    environment.filters["share"] = _share
    facts: dict[str, Any] = {"headline": f"{report}", "tables": (), "texts": (), "figures": ()}
    if isinstance(report, LoihiReport) and isinstance(program, LoihiProgram):
        from ..targets.loihi.figures import figures

        title, _, drawn = report.core_map().partition("\n")
        facts = {"headline": report.headline, "tables": tuple(report.tables()), "texts": ((title, drawn),),
                 "figures": [(name, _svg(figure)) for name, figure in figures(report, program.quantised)]}
    return environment.get_template("report.jinja").render(
        title=f"spikec: a program for {program.target}", version=version("spikec"), **facts) + "\n"


def _share(cell: str) -> int | None:
    """How full a resource is, in per cent, of a cell that says so."""
    found = _SHARE.search(cell)
    return min(int(found[1]), 100) if found else None


def _svg(figure: Figure) -> str:
    """Base64 of a picture; the same numbers make the same bytes."""
    from matplotlib import rc_context

    stream = io.BytesIO()
    with rc_context({"svg.hashsalt": "spikec", "svg.fonttype": "none"}):
        figure.savefig(stream, format="svg", metadata={"Date": None})
    return base64.b64encode(stream.getvalue()).decode()
