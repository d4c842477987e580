"""What the commands that take a MODEL share: its spelling, its options, and how it is opened."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ...ir.diagnostics import BadInputError, Diagnostic
from ...ir.graph import Discretization, Graph
from ...targets.registry import target_named
from .console import say_error

if TYPE_CHECKING:
    from ..driver import AnyProgram

__all__ = ["DtOption", "ModelArgument", "SpikeOption", "TargetOption", "chosen_target", "open_graph", "open_program"]

ModelArgument = Annotated[str, typer.Argument(
    metavar="MODEL", help="file.py:callable (runs that code), a .nir, .onnx or .spk file, or a compiled folder.")]
TargetOption = Annotated[str | None, typer.Option(
    "--target", "-t", help="See `spikec targets`. By default that of a compiled folder, else event.")]
DtOption = Annotated[float | None, typer.Option(
    help="Seconds of a time step: of a torch model, or, with --spike, of the grid that a file was meant for.")]
SpikeOption = Annotated[str | None, typer.Option(
    metavar="delta|box", help="What a spike of a file means on its grid, with --dt: an impulse, or a current of 1 for "
    "dt. Without both, a NIR file is read in continuous time.")]


def open_graph(model: str, dt: float | None, spike: str | None) -> Graph:
    """The graph that MODEL names. A NIR file without a grid is read in continuous time, which is said.

    Raises:
        BadInputError: no such model, malformed, or options that do not belong together.
        UnsupportedError: a model that spikec cannot read.
    """
    from ...ir.text import read
    from ...targets.artefact import GRAPH, check_artefact
    from ..frontends.models import load_model

    discretization = _discretization(dt, spike)
    if Path(model).is_dir():
        if dt is not None:
            raise BadInputError(Diagnostic("SC550", f"'{model}' is a compiled folder, which states its grid itself",
                                           remedy="Give --dt and --spike when the model is compiled."))
        check_artefact(model)
        return read(Path(model) / GRAPH)
    graph = load_model(model, discretization, dt)
    if Path(model).suffix == ".nir" and graph.discretization is None:
        say_error(f"note: '{model}' states no time grid; it is read in continuous time, its spikes as impulses. "
                  "For a model that was made on a grid give --dt SECONDS --spike delta|box")
    return graph


def chosen_target(model: str, target: str | None) -> str:
    """The target that is compiled for: the one that was asked for, that of a compiled folder, or event.

    Raises:
        BadInputError: there is no such target (SC530), or the folder is damaged (SC520, SC521).
        UnsupportedError: the target is only planned (SC531).
    """
    from ...targets.artefact import check_artefact

    if target is not None:
        target_named(target)
        return target
    return check_artefact(model) if Path(model).is_dir() else "event"


def open_program(model: str, target: str, dt: float | None, spike: str | None,
                 dump_ir: Path | None = None) -> AnyProgram:
    """The program that MODEL compiles to. Errors as `open_graph`, and those of `spikec.compile`."""
    from ..driver import compile

    return compile(open_graph(model, dt, spike), target, dump_ir=dump_ir)


def _discretization(dt: float | None, spike: str | None) -> Discretization | None:
    if spike is None:
        return None
    if spike == "delta" and dt is not None:
        return Discretization(dt, spike="delta")
    if spike == "box" and dt is not None:
        return Discretization(dt, spike="box")
    raise BadInputError(Diagnostic("SC550", "--spike is delta or box, and comes with --dt", value=spike))
