"""`spikec reproduce`: a headline result anew, beside the published figure."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from ...ir.diagnostics import BadInputError, Diagnostic, Diagnostics
from .console import JsonOption, print_diagnostics, print_json, print_table, say, say_error
from .interrupts import Interrupted

__all__ = ["command"]


def command(
    name: Annotated[str | None, typer.Argument(
        metavar="[NAME|FILE.toml]", help="One of --list, or a configuration of your own.")] = None,
    listing: Annotated[bool, typer.Option("--list", help="List the results, and what is stored of them.")] = False,
    seeds: Annotated[int | None, typer.Option(
        help="How many trainings, from seed 0; by default as many as the result is stated over.")] = None,
    epochs: Annotated[int | None, typer.Option(
        help="Other than the configuration's; what comes out has a name of its own.")] = None,
    quick: Annotated[bool, typer.Option(
        "--quick", help="A trial: a few hundred samples, two epochs, one seed; kept as NAME-quick.")] = False,
    data: Annotated[Path | None, typer.Option(metavar="DIR", help="Folder of data sets, in place of SPIKEC_DATA.")
                    ] = None,
    output: Annotated[Path | None, typer.Option(
        "--output", "-o", metavar="DIR", help="Folder of results: benchmarks/results in a clone, else ./reproduced."
        )] = None,
    fresh: Annotated[bool, typer.Option(
        "--fresh/--resume", help="Train all seeds again, or go on where the last call stopped (the default).")] = False,
    html: Annotated[Path | None, typer.Option(
        "--html", metavar="FILE.html", help="A page with the seeds and their losses; needs matplotlib.")] = None,
    json: JsonOption = False,
) -> None:
    """Train a headline result anew and set it beside the published figure. Interrupted, it goes on when it is called
    again."""
    from ..page import check_page
    from ..reproduce.config import config_named, names
    from ..reproduce.drawn import save_result
    from ..reproduce.figures import numbers, row, table
    from ..reproduce.runner import file_of, output_folder, reproduce

    folder = output_folder() if output is None else output
    if listing or name is None:
        if name is not None:
            raise _misused("--list is of all results", name, "Leave NAME out.")
        if html is not None:
            raise _misused("--html is of one result", str(html), "Give a NAME.")
        if not listing:
            raise _misused("a NAME is missing", "", f"One of {', '.join(names())}; or --list.")
        _list([config_named(each) for each in names()], folder, json)
        return
    _check(seeds, epochs, data)
    if html is not None:
        check_page(html)
    config = config_named(name)
    with _data(data):
        try:
            stored = reproduce(config, seeds=seeds, epochs=epochs, quick=quick, output=folder, fresh=fresh,
                               progress=not json, command=["spikec", *sys.argv[1:]],
                               say=(lambda line: None) if json else say_error)
        except KeyboardInterrupt as stop:
            again = "The same command without --fresh" if fresh else "The same command"
            raise Interrupted(f"the runs that are done, and what was trained since, are kept in '{folder}'",
                              f"{again} goes on from there.") from stop
    if html is not None:
        save_result(config, stored, html)
    if json:
        print_json({**stored, "file": str(file_of(folder, stored["name"])), "row": row(config, stored),
                    "percent": numbers(config, stored)})
        return
    print_table(*table(config, stored))
    say(f"kept in {file_of(folder, stored['name'])}")


def _list(configs: list[Any], folder: Path, json: bool) -> None:
    from ..reproduce.figures import numbers, row
    from ..reproduce.runner import current

    rows = []
    for config in configs:
        stored, faults = None, list[Diagnostic]()
        try:
            stored = current(config, folder)
        except BadInputError as error:  # the others are there nevertheless
            faults = list(error.diagnostics)
        rows.append((config, {**row(config, stored), **({"ours": "cannot be used"} if faults else {})},
                     numbers(config, stored), faults))
    if json:
        print_json({"folder": str(folder), "results": [
            {"name": config.name, "title": config.title, **told, "percent": percent,
             "diagnostics": [each.as_dict() for each in faults]} for config, told, percent, faults in rows]})
        return
    print_table(("name", "result", "published, %", "aim, %", "ours, %"),
                [(config.name, config.title, told["published"], told["aim"], told["ours"])
                 for config, told, *_ in rows])
    print_diagnostics(replace(each, severity="warning") for *_, faults in rows for each in faults)


def _check(seeds: int | None, epochs: int | None, data: Path | None) -> None:
    from ..reproduce.reader import MOST_EPOCHS, MOST_SEEDS

    faults = Diagnostics()
    for option, value, most in (("--seeds", seeds, MOST_SEEDS), ("--epochs", epochs, MOST_EPOCHS)):
        if value is not None and not 1 <= value <= most:
            faults.add("SC550", f"{option} is out of range", value=value, limit=f"1..{most}")
    if data is not None and not data.is_dir():
        faults.add("SC550", "--data is no folder", value=str(data),
                   remedy="Name the folder that has mnist/, yin_yang/ or fsdd/; `spikec data get NAME` fetches one.")
    faults.raise_if_errors()


@contextmanager
def _data(folder: Path | None) -> Iterator[None]:
    """Within it, data sets are those of `folder`."""
    before = os.environ.get("SPIKEC_DATA")
    if folder is not None:
        os.environ["SPIKEC_DATA"] = str(folder)
    try:
        yield
    finally:
        if folder is not None:
            if before is None:
                del os.environ["SPIKEC_DATA"]
            else:
                os.environ["SPIKEC_DATA"] = before


def _misused(message: str, value: str, remedy: str) -> BadInputError:
    return BadInputError(Diagnostic("SC550", message, value=value or None, remedy=remedy))
