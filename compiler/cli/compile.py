"""`spikec compile`: from a model to a compiled folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ...ir.diagnostics import Diagnostics
from ...ir.graph import Graph
from .console import JsonOption, print_json, say
from .events import read_input
from .models import (
    DtOption,
    ModelArgument,
    OptionOption,
    SampleOption,
    SpikeOption,
    TargetOption,
    chosen_target,
    open_graph,
)
from .pairs import parse_options


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
    calibration: Annotated[Path | None, typer.Option(
        metavar="FILE.npz|FILE.npy", help="For Loihi and Xylo: data on which ranges and rates are measured.")] = None,
    method: Annotated[str | None, typer.Option(
        metavar="mse|minmax|percentile", help="For Loihi: how scales are chosen.")] = None,
    percentile: Annotated[float | None, typer.Option(help="For Loihi: of the method percentile.")] = None,
    weight_bits: Annotated[int | None, typer.Option(help="For Loihi: bits of a weight, 1 to 8.")] = None,
    chips: Annotated[int | None, typer.Option(help="For Loihi: chips that the program may take.")] = None,
    message_bits: Annotated[list[str] | None, typer.Option(
        metavar="INPUT=BITS", help="For loihi2: an input whose spikes carry values.")] = None,
    variant: Annotated[str | None, typer.Option(
        metavar="audio2|audio3|imu", help="For xylo: which chip of the family.")] = None,
    option: OptionOption = None,
    json: JsonOption = False,
) -> None:
    """Compile a model for a target and write it as a folder."""
    from ...targets.artefact import require_folder
    from ..driver import compile

    require_folder(output)
    chosen = chosen_target(model, target)
    graph = open_graph(model, dt, spike, sample)
    given = {"method": method, "percentile": percentile, "weight_bits": weight_bits, "chips": chips,
             "message_bits": _messages(message_bits) if message_bits else None, "variant": variant}
    options = {**parse_options(option), **{name: value for name, value in given.items() if value is not None}}
    if calibration is not None:
        options |= _calibration(calibration, graph)
    program = compile(graph, chosen, dump_ir=dump_ir, **options)
    program.save(output)
    if json:
        print_json({"folder": str(output), "report": program.report().as_dict()})
    else:
        say(program.report())
        say(f"wrote {output}")


def _calibration(file: Path, graph: Graph) -> dict[str, Any]:
    """Data, and how long events last: up to the end of the column of the last one."""
    data, _ = read_input(file, tuple(graph.inputs))
    if not isinstance(data, dict):
        return {"calibration": data}
    grid = graph.discretization
    last = max((float(each.times.max()) for each in data.values() if len(each)), default=0.0)
    return {"calibration": data, "duration": last + (0.0 if grid is None else grid.dt)}


def _messages(texts: list[str]) -> dict[str, int]:
    """`["in=5"]` as {"in": 5}.

    Raises:
        BadInputError: naming every text that is none (SC550).
    """
    faults, found = Diagnostics(), {}
    for text in texts:
        name, _, bits = text.rpartition("=")
        if name and bits.isdecimal() and len(bits) < 4:
            found[name] = int(bits)
        else:
            faults.add("SC550", "--message-bits reads INPUT=BITS", value=text, remedy="Write --message-bits in=5.")
    faults.raise_if_errors()
    return found
