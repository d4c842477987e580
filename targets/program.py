"""What the programs of all targets have in common: the model graph, and what is saved of it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

from ..ir.graph import Graph
from ..ir.npz import write_atomically
from ..ir.text import write
from .artefact import GRAPH, write_artefact

__all__ = ["GraphProgram"]


class GraphProgram(ABC):
    """`graph`: the model as the user stated it."""

    target: ClassVar[str]

    def __init__(self, graph: Graph) -> None:
        self.graph = graph

    def save(self, folder: str | Path) -> None:
        """Writes the compiled folder: the model graph as text, its arrays, what `files` gives, a manifest with the
        hashes of all.

        Raises:
            BadInputError: no path (SC525), or the place is taken by something else or cannot be written (SC522); what
                was there stays.
        """
        write_artefact(folder, self.target, self._fill)

    def _fill(self, place: Path) -> None:
        write(self.graph, place / GRAPH)
        for name, content in self.files().items():
            write_atomically(place / name, content)

    def files(self) -> dict[str, bytes]:
        """All files of the folder but the graph and the manifest, by name."""
        return {}

    def told(self) -> Mapping[str, Any]:
        """What beside the graph decides what the program computes, as plain values: its options, and what of the chip
        was chosen for its first weights. The checkpoint of a training is of one such program alone."""
        return {}

    def recompile(self, graph: Graph) -> Self:
        """A program of the same target for another graph, as `module.to_graph()` gives one.

        Raises:
            BadInputError, UnsupportedError: as `compile`.
        """
        return self._like(graph)

    @abstractmethod
    def _like(self, graph: Graph) -> Self:
        """A program for `graph`, made as this one was."""
