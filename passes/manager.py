"""What a pass is, and what runs a list of them: in order, with the result of each verified."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

from ..ir.checks import check
from ..ir.diagnostics import BadInputError, Diagnostic, Diagnostics, SpikecError, SpikecWarning
from ..ir.graph import Graph
from ..ir.network import Network
from ..ir.network_checks import check_network
from ..ir.npz import write_atomically
from ..ir.paths import path_of

__all__ = ["Pass", "PassManager"]

Given = TypeVar("Given", Graph, Network)
Made = TypeVar("Made", Graph, Network)


class Pass(ABC, Generic[Given, Made]):
    """graph -> graph. A frozen dataclass with a name, and options as fields; `run` returns a new graph.

    `requires`: the invariants that must hold before, `ensures`: those that hold after. Those in use are

    - `typed`: a legal graph (`ir.checks`) or network (`ir.network_checks`); the manager sees to this one itself
    - `marked`: every parameter knows its node and name (`ir.derived`)
    - `canonical`: what can be folded without lowering is folded
    - `lowered`: a `Network`
    - `scheduled`: its `schedule` is set
    """

    name: ClassVar[str]
    requires: ClassVar[frozenset[str]] = frozenset()
    ensures: ClassVar[frozenset[str]] = frozenset()

    @abstractmethod
    def run(self, graph: Given) -> Made:
        """The new graph.

        Raises:
            UnsupportedError: what the graph asks for cannot be done; with every fault at once.
        """


@dataclass(frozen=True)
class PassManager:
    """Runs `passes` in order.

    Raises:
        ValueError: a pass requires what none before it ensures: the list is wrong, not the graph.
    """

    passes: Sequence[Pass[Any, Any]]

    def __post_init__(self) -> None:
        holds = frozenset({"typed"})
        for each in self.passes:
            if missing := sorted(each.requires - holds):
                raise ValueError(f"pass '{each.name}' requires what no pass before it ensures: {', '.join(missing)}")
            holds |= each.ensures

    def run(self, graph: Graph | Network, dump_dir: str | Path | None = None,
            diagnostics: Diagnostics | None = None) -> Any:
        """The graph (or network) after the last pass.

        `dump_dir`: a folder for the text of the graph before the first pass and after each, `NN_pass.txt`.
        `diagnostics`: collects the warnings; without it they are issued as `SpikecWarning`.

        Raises:
            BadInputError: the graph is not legal, its numbers overflow when they are folded, or the folder cannot be
                written.
            UnsupportedError: from a pass.
            SpikecError: SC301, a pass left a malformed graph behind; its message names the pass.
        """
        folder = None if dump_dir is None else path_of(dump_dir, "a folder for the text of graphs")
        faults = Diagnostics(_faults(graph))
        faults.raise_if_errors()
        _dump(graph, folder, 0, "model")
        for number, each in enumerate(self.passes, start=1):
            try:
                graph = each.run(graph)
            except Exception as error:
                error.add_note(f"in pass '{each.name}', number {number} of {len(self.passes)}")
                raise
            _dump(graph, folder, number, each.name)
            after = _faults(graph)
            _blame(each.name, [fault for fault in after if fault.severity == "error"])
            faults.extend(fault for fault in after if fault not in faults.found)
        if diagnostics is not None:
            diagnostics.extend(faults.found)
        else:
            for found in faults.found:
                warnings.warn(str(found), SpikecWarning, stacklevel=2)
        return graph


def _faults(graph: Graph | Network) -> list[Diagnostic]:
    return check(graph) if isinstance(graph, Graph) else check_network(graph)


def _blame(name: str, errors: list[Diagnostic]) -> None:
    if errors and all(error.code == "SC104" for error in errors):
        raise BadInputError(*(replace(error, message=f"{error.message}, after pass '{name}'") for error in errors))
    if errors:
        raise SpikecError(Diagnostic("SC301", f"pass '{name}' leaves a malformed graph behind",
                                     remedy="This is a fault of spikec; please report it."), *errors)


def _dump(graph: Graph | Network, folder: Path | None, number: int, name: str) -> None:
    if folder is None:
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        text = f"folder '{folder}' cannot be made: {error.strerror or error}"
        raise BadInputError(Diagnostic("SC522", text)) from error
    write_atomically(folder / f"{number:02}_{name}.txt", str(graph).encode())
