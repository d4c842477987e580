"""Figures by matplotlib, which is an extra."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..ir.diagnostics import BadInputError, Diagnostic

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["new_figure", "require_matplotlib"]


def require_matplotlib() -> None:
    """Nothing, if figures can be drawn.

    Raises:
        BadInputError: matplotlib is missing (SC532).
    """
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError as error:
        raise BadInputError(Diagnostic("SC532", "matplotlib is not installed",
                                       remedy='pip install "spikec[plot]"')) from error


def new_figure(width: float, height: float) -> Figure:
    """An empty figure, in inches, that is laid out by what it holds.

    Raises:
        BadInputError: matplotlib is missing (SC532).
    """
    require_matplotlib()
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")
