"""`spikec report`: what a compiled folder is made of, where it lies on the chip, and what a run of it costs."""

from __future__ import annotations

from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ...ir.diagnostics import BadInputError, Diagnostic, Diagnostics
from .console import JsonOption, print_json, say

if TYPE_CHECKING:
    from ...targets.loihi.program import LoihiProgram
    from ..driver import AnyProgram


def command(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A compiled folder.")],
    html: Annotated[
        Path | None, typer.Option(metavar="FILE.html", help="Write one self-contained page, with figures.")
    ] = None,
    data: Annotated[Path | None, typer.Option(
        "--data", "-d", metavar="FILE.npz|FILE.npy", help="Events (times, indices, offsets; labels, if there are), or "
        "a raster (batch, time, *shape): the program and its model are run on them. Loihi only.")] = None,
    duration: Annotated[float | None, typer.Option(
        help="Seconds of a sample of the data; by default up to the last event.")] = None,
    profile: Annotated[Path | None, typer.Option(
        metavar="FILE.toml|FILE.json", help="Joules and seconds of operations, with their sources, instead of the "
        "published ones. Loihi only.")] = None,
    json: JsonOption = False,
) -> None:
    """Report what a compiled folder is made of and, for Loihi, its numbers, mapping, traffic, operations and energy."""
    from ..driver import load
    from ..page import check_page
    from ..report_page import save_page

    if html is not None:
        check_page(html)
    program = load(folder)
    report = _report(program, data, duration, profile)
    if html is not None:
        save_page(program, report, html)
    if json:
        print_json({"folder": str(folder), "html": None if html is None else str(html), "report": report.as_dict()})
        return
    say(report)
    if html is not None:
        say(f"\nwrote {html}")


def _report(program: AnyProgram, data: Path | None, duration: float | None, profile: Path | None) -> Any:
    from ...targets.loihi.energy_profile import read_profile
    from ...targets.loihi.measurement import measure
    from ...targets.loihi.program import LoihiProgram
    from ...targets.loihi.report import LoihiReport

    faults = Diagnostics()
    given = {"--data": data, "--duration": duration, "--profile": profile}
    if not isinstance(program, LoihiProgram):
        for name in (name for name, value in given.items() if value is not None):
            faults.add("SC550", f"{name} is for reports on loihi1 and loihi2", value=f"target {program.target}",
                       remedy=f"Leave {name} out.")
        faults.raise_if_errors()
        return program.report()
    if duration is not None and data is None:
        faults.add("SC550", "--duration is that of data", remedy="Give --data FILE, or leave --duration out.")
        faults.raise_if_errors()
    figures = None if profile is None else read_profile(profile)
    measurement = None if data is None else measure(program, *_read(data, program, duration))
    return LoihiReport.of(program, measurement, figures)


def _read(file: Path, program: LoihiProgram, duration: float | None) -> tuple[Any, float | None, Any]:
    """Data, duration and labels.

    Raises:
        BadInputError: the file is neither events nor a raster (SC550), or malformed (SC523, SC524).
    """
    from ...ir.event_files import read_labelled
    from ..stimulus import read_raster

    if file.suffix == ".npy":
        return read_raster(file), duration, None
    if file.suffix != ".npz":
        raise BadInputError(Diagnostic("SC550", f"'{file}' is no data of a report", value=file.suffix or "no suffix",
                                       limit=".npz of events, .npy of a raster"))
    events, labels = read_labelled(file, program.graph.inputs)
    if duration is None:
        dt = program.grid.dt
        duration = ceil(max(float(each.numpy().times.max(initial=0.0)) for each in events.values()) / dt - 1e-6) * dt
    return events, duration, labels
