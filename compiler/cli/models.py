"""What the commands that take a MODEL share: its spelling, its options, and how it is opened."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ...ir.diagnostics import BadInputError, Diagnostic, Diagnostics
from ...ir.graph import Graph
from ...targets.registry import target_named
from .console import say_error

if TYPE_CHECKING:
    from ..driver import AnyProgram

__all__ = ["DtOption", "ModelArgument", "OptionOption", "SampleOption", "SpikeOption", "TargetOption", "chosen_target",
           "open_graph", "open_program", "parse_sample"]

ModelArgument = Annotated[str, typer.Argument(
    metavar="MODEL", help="file.py:callable (runs that code), a .nir, .onnx or .spk file, or a compiled folder.")]
TargetOption = Annotated[str | None, typer.Option(
    "--target", "-t", help="See `spikec targets`. By default that of a compiled folder, else event.")]
DtOption = Annotated[float | None, typer.Option(
    help="Seconds of a time step: of a torch model, or, with --spike, of the grid that a file was meant for.")]
SpikeOption = Annotated[str | None, typer.Option(
    metavar="delta|box", help="What a spike of a file means on its grid, with --dt: an impulse, or a current of 1 for "
    "dt. Without both, a NIR file is read in continuous time.")]

SampleOption = Annotated[list[str] | None, typer.Option(
    metavar="N,N,…", help="Sizes of what forward of a torch model takes, all axes in its order: 25,1,784. For a loop "
    "whose length comes from the input, or a first layer that does not tell its shape. Once for each input.")]
OptionOption = Annotated[list[str] | None, typer.Option(
    "--option", metavar="NAME=VALUE", help="An option of the target, as its page has them; as often as there are any. "
    "An entry of one: --option rows.fc1=4.")]
_MOST_SAMPLED = 1 << 28


def parse_sample(texts: list[str] | None) -> tuple[Any, ...] | None:
    """Tensors of zeros of the sizes that `--sample` gives.

    Raises:
        BadInputError: naming every text that is none, or too large to be tried.
    """
    if not texts:
        return None
    faults = Diagnostics()
    sizes = []
    for text in texts:
        parts = text.split(",")
        size = tuple(int(part) for part in parts if part.strip().isdecimal())
        if len(size) != len(parts) or not 1 <= prod(size) <= _MOST_SAMPLED:
            faults.add("SC550", "--sample reads N,N,…: the sizes of what forward takes", value=text,
                       limit=f"whole numbers >= 1, {_MOST_SAMPLED} values at most",
                       remedy="Write --sample 25,1,784 for 25 steps of one sample of 784 values.")
        sizes.append(size)
    faults.raise_if_errors()
    import torch

    return tuple(torch.zeros(size) for size in sizes)


def open_graph(model: str, dt: float | None, spike: str | None, sample: list[str] | None = None) -> Graph:
    """The graph that MODEL names. A NIR file without a grid is read in continuous time, which is said.

    Raises:
        BadInputError: no such model, malformed, or options that do not belong together.
        UnsupportedError: a model that spikec cannot read.
    """
    from ...ir.text import read
    from ...targets.artefact import GRAPH, check_artefact
    from ..frontends.models import is_folder, load_model, refuse_sample, stated_grid

    discretization = stated_grid(dt, spike)
    given = parse_sample(sample)
    if is_folder(model):
        refuse_sample(model, given)
        if dt is not None:
            raise BadInputError(Diagnostic("SC550", f"'{model}' is a compiled folder, which states its grid itself",
                                           remedy="Give --dt and --spike when the model is compiled."))
        check_artefact(model)
        return read(Path(model) / GRAPH)
    graph = load_model(model, discretization, dt, given)
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
    from ..frontends.models import is_folder

    if target is not None:
        target_named(target)
        return target
    return check_artefact(model) if is_folder(model) else "event"


def open_program(model: str, target: str, dt: float | None, spike: str | None, sample: list[str] | None = None,
                 options: Mapping[str, Any] | None = None) -> AnyProgram:
    """The program that MODEL compiles to; a compiled folder of that target as it is, where no options are given.
    Errors as `open_graph`, and those of `spikec.compile`."""
    from ...targets.artefact import check_artefact
    from ..driver import compile, load
    from ..frontends.models import is_folder

    graph = open_graph(model, dt, spike, sample)
    if not options and is_folder(model) and check_artefact(model) == target:
        return load(model)
    return compile(graph, target, **(options or {}))

