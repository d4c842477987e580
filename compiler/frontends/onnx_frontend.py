"""ONNX models. They come with another version: until then, a clear refusal."""

from __future__ import annotations

from pathlib import Path

from ...ir.diagnostics import Diagnostic, UnsupportedError
from ...ir.graph import Graph

__all__ = ["from_onnx"]


def from_onnx(path: str | Path) -> Graph:
    """The graph of an ONNX file.

    Raises:
        UnsupportedError: always, in this version (SC230).
    """
    raise UnsupportedError(Diagnostic("SC230", f"'{path}' cannot be read: this version has no ONNX front end",
                                      remedy="Export the model as NIR, or give the torch module as FILE.py:NAME."))
