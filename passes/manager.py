"""What a pass is, and what runs a list of them."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

from ..ir.checks import check
from ..ir.diagnostics import BadInputError, Diagnostic, Diagnostics, SpikecError, SpikecWarning, UnsupportedError
from ..ir.graph import Graph
from ..ir.network import Network

__all__ = ["Pass", "PassManager"]

Given = TypeVar("Given", Graph, Network)
Made = TypeVar("Made", Graph, Network)


class Pass(ABC, Generic[Given, Made]):
    """graph -> graph. A frozen dataclass: a name, and options as fields. `run` returns a new graph.

    `requires`: invariants that must hold before; `ensures`: those that hold after.
    """

    name: ClassVar[str]
    requires: ClassVar[frozenset[str]] = frozenset()
    ensures: ClassVar[frozenset[str]] = frozenset()

    @abstractmethod
    def run(self, graph: Given) -> Made:
        """The new graph."""


@dataclass(frozen=True)
class PassManager:
    passes: Sequence[Pass[Any, Any]]

    def run(self, graph: Graph, dump_dir: Path | None = None) -> Any:
        for each in self.passes:
            graph = each.run(graph)
        return graph
