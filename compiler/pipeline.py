"""The standard way from a model graph to a network, as a list of passes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..ir.diagnostics import Diagnostics
from ..ir.graph import Graph
from ..ir.network import Network
from ..passes.fold import Fold
from ..passes.lower import Lower
from ..passes.manager import Pass, PassManager
from ..passes.mark_parameters import MarkParameters
from ..passes.remove_identity import RemoveIdentity
from ..passes.schedule import Schedule

__all__ = ["CANONICALISE", "LOWER", "canonicalise", "lower"]

CANONICALISE: tuple[Pass[Any, Any], ...] = (MarkParameters(), RemoveIdentity(), Fold())
LOWER: tuple[Pass[Any, Any], ...] = (*CANONICALISE, Lower(), Schedule())


def canonicalise(graph: Graph, dump_dir: str | Path | None = None, diagnostics: Diagnostics | None = None) -> Graph:
    """The graph with everything folded that needs no lowering. Arguments and errors as for `lower`."""
    result: Graph = PassManager(CANONICALISE).run(graph, dump_dir, diagnostics)
    return result


def lower(graph: Graph, dump_dir: str | Path | None = None, diagnostics: Diagnostics | None = None) -> Network:
    """The network that a model graph means, scheduled. Its arrays know the parameters that they came from.

    `dump_dir`: a folder for the text of the graph before and after each pass. `diagnostics` collects warnings, which
    are issued as `SpikecWarning` without it.

    Raises:
        BadInputError: the graph is not legal, or `dump_dir` cannot be written.
        UnsupportedError: the graph holds what has no meaning in continuous time; with all of it at once.
    """
    result: Network = PassManager(LOWER).run(graph, dump_dir, diagnostics)
    return result
