"""Reports as self-contained HTML pages: tables, and figures as SVG. Everything that a user named is escaped, and
nothing is fetched or executed where it is shown."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from ..ir.diagnostics import BadInputError, Diagnostic
from ..ir.paths import path_of, require_place
from ..runtime.drawing import require_matplotlib
from ..targets.tables import Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["check_page", "rendered"]

_SHARE = re.compile(r"\d+/\d+ (\d+)%$")


def check_page(path: str | Path) -> Path:
    """The path of a page that can be made here.

    Raises:
        BadInputError: no path (SC525), another suffix (SC550), no file can be written there (SC522), or matplotlib is
            missing (SC532).
    """
    target = path_of(path, "a page to write")
    if target.suffix not in (".html", ".htm"):
        raise BadInputError(Diagnostic("SC550", f"'{path}' is no page that can be written",
                                       value=target.suffix or "no suffix", limit=".html, .htm"))
    require_place(target)
    require_matplotlib()
    return target


def rendered(title: str, headline: str, tables: Iterable[Table] = (), texts: Iterable[tuple[str, str]] = (),
             figures: Iterable[tuple[str, Figure]] = ()) -> str:
    """The text of a page; texts and figures with their titles."""
    import jinja2

    environment = jinja2.Environment(loader=jinja2.FileSystemLoader(Path(__file__).parent), autoescape=True,
                                     undefined=jinja2.StrictUndefined)
    environment.filters["share"] = _share
    return environment.get_template("report.jinja").render(
        title=title, headline=headline, tables=tuple(tables), texts=tuple(texts),
        figures=[(name, _svg(figure)) for name, figure in figures], version=version("spikec")) + "\n"


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
