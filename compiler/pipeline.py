"""The standard way from a model graph to a network, as a list of passes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..ir.diagnostics import Diagnostics
from ..ir.graded.network import GradedNetwork
from ..ir.graph import Graph
from ..ir.network import Network
from ..passes.fold import Fold
from ..passes.lower import Lower
from ..passes.lower_graded import graded_network
from ..passes.manager import Pass, PassManager
from ..passes.mark_parameters import MarkParameters
from ..passes.remove_identity import RemoveIdentity
from ..passes.schedule import Schedule

__all__ = ["canonicalise", "canonicalising", "lower", "lower_graded", "lowering"]


def canonicalising(train_delays: bool = False) -> tuple[Pass[Any, Any], ...]:
    """The passes that fold what needs no lowering."""
    return MarkParameters(), RemoveIdentity(keep_delays=train_delays), Fold()


def lowering(train_delays: bool = False) -> tuple[Pass[Any, Any], ...]:
    """The passes from a model graph to a scheduled network. `train_delays`: delays keep the freedom that the model
    gives them, one for each synapse where it has one, though they may be zero or equal now; this costs time."""
    return *canonicalising(train_delays), Lower(tie_delays=not train_delays), Schedule()


def canonicalise(graph: Graph, dump_dir: str | Path | None = None, diagnostics: Diagnostics | None = None) -> Graph:
    """The graph with everything folded that needs no lowering. Arguments and errors as for `lower`."""
    result: Graph = PassManager(canonicalising()).run(graph, dump_dir, diagnostics)
    return result


def lower(graph: Graph, dump_dir: str | Path | None = None, diagnostics: Diagnostics | None = None,
          train_delays: bool = False) -> Network:
    """The network that a model graph means, scheduled. Its arrays know the parameters that they came from.

    `dump_dir`: a folder for the text of the graph before and after each pass. `diagnostics` collects warnings, which
    are issued as `SpikecWarning` without it. `train_delays`: see `lowering`.

    Raises:
        BadInputError: the graph is not legal, its numbers overflow when they are folded, or `dump_dir` cannot be
            written.
        UnsupportedError: the graph holds what has no meaning in continuous time; with all of it at once.
    """
    result: Network = PassManager(lowering(train_delays)).run(graph, dump_dir, diagnostics)
    return result


def lower_graded(graph: Graph, dump_dir: str | Path | None = None) -> GradedNetwork:
    """The network that a model graph of graded synapses means. Arguments and errors as for `lower`."""
    return graded_network(canonicalise(graph, dump_dir))
