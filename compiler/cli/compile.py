"""`spikec compile`: from a model to a compiled folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ...targets.registry import target_named
from .console import JsonOption, print_json, say

MODEL_HELP = "file.py:callable (runs that code), a .nir file, or a model in spikec's text form."


def command(
    model: Annotated[str, typer.Argument(metavar="MODEL", help=MODEL_HELP)],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="The compiled folder to write.")],
    target: Annotated[str, typer.Option("--target", "-t", help="See `spikec targets`.")] = "event",
    dump_ir: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write the text of the graph after each pass.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Compile a model for a target and write it as a folder."""
    from ..driver import compile
    from ..frontends.models import load_model

    target_named(target)
    program = compile(load_model(model), target, dump_ir=dump_ir)
    program.save(output)
    if json:
        print_json({"folder": str(output), "report": program.report().as_dict()})
    else:
        say(program.report())
        say(f"wrote {output}")
