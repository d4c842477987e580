"""The standard way from a model graph to a network."""

from __future__ import annotations

from pathlib import Path

from ..ir.graph import Graph
from ..ir.network import Network
from ..passes.lower import Lower
from ..passes.manager import PassManager
from ..passes.mark_parameters import MarkParameters
from ..passes.schedule import Schedule

__all__ = ["lower"]


def lower(graph: Graph, dump_dir: Path | None = None) -> Network:
    network: Network = PassManager((MarkParameters(), Lower(), Schedule())).run(graph, dump_dir)
    return network
