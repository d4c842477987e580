"""From a model graph to a program, and from a compiled folder back to one."""

from __future__ import annotations

from pathlib import Path

from ..ir.graph import Graph
from ..ir.text import read
from ..targets.artefact import check_artefact
from ..targets.event.program import GRAPH, Program
from ..targets.registry import target_named
from .pipeline import lower

__all__ = ["compile", "load"]


def compile(graph: Graph, target: str = "event", dump_ir: str | Path | None = None) -> Program:
    """Lowers `graph` and makes a program for `target`. `dump_ir`: a folder for the text of the graph after each pass.

    Raises:
        BadInputError: the graph is malformed, or there is no such target.
        UnsupportedError: the graph asks for what the target cannot do, or the target is only planned.
    """
    target_named(target)
    return Program(graph, lower(graph, None if dump_ir is None else Path(dump_ir)), lower)


def load(folder: str | Path) -> Program:
    """The program that `Program.save` wrote. The folder is checked, its data is read, and the code is made again:
    nothing in it is executed.

    Raises:
        BadInputError: no compiled folder, an unknown version, or files that are missing, unknown or damaged.
    """
    target = check_artefact(folder)
    return compile(read(Path(folder) / GRAPH), target)
