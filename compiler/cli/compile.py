"""`spikec compile`: from a model to a compiled folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .console import JsonOption, print_json, say
from .models import DtOption, ModelArgument, SampleOption, SpikeOption, TargetOption, chosen_target, open_program


def command(
    model: ModelArgument,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="The compiled folder to write.")],
    target: TargetOption = None,
    dt: DtOption = None,
    spike: SpikeOption = None,
    sample: SampleOption = None,
    dump_ir: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write the text of the graph after each pass.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Compile a model for a target and write it as a folder."""
    program = open_program(model, chosen_target(model, target), dt, spike, sample, dump_ir)
    program.save(output)
    if json:
        print_json({"folder": str(output), "report": program.report().as_dict()})
    else:
        say(program.report())
        say(f"wrote {output}")
