"""`spikec data get`: fetches a data set to the data folder."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn

from ...ir.diagnostics import BadInputError, Diagnostic
from ...runtime import datasets
from .console import JsonOption, errors, print_json, print_table, say

app = typer.Typer(help="Data sets for training and benchmarks.", no_args_is_help=True)


@app.command("get")
def get(
    name: Annotated[str, typer.Argument(metavar="NAME", help=f"One of {', '.join(datasets.DATASETS)}.")],
    mirror: Annotated[
        str | None, typer.Option(metavar="URL", help="Base address to fetch from instead of the known ones.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Fetch a data set into SPIKEC_DATA (or the cache), and check it."""
    if name not in datasets.DATASETS:
        raise BadInputError(Diagnostic("SC540", f"there is no data set '{name}'",
                                       remedy=f"Data sets: {', '.join(datasets.DATASETS)}."))
    with Progress(TextColumn("{task.description}"), BarColumn(), DownloadColumn(), console=errors(),
                  disable=json) as bars:
        task = bars.add_task(name, total=None)
        files = datasets.fetch(datasets.DATASETS[name], mirror=mirror,
                               progress=lambda done, total: bars.update(task, completed=done, total=total))
    if json:
        print_json({"name": name, "files": [str(file) for file in files]})
    else:
        for file in files:
            say(file)


@app.command("list")
def listing(json: JsonOption = False) -> None:
    """List the data sets, and which of them are present."""
    present = {name: datasets.is_present(name) for name in datasets.DATASETS}
    if json:
        print_json({"folder": str(datasets.data_folder()), "present": present})
    else:
        print_table(("data set", "present"), [(name, "yes" if there else "no") for name, there in present.items()])
        say(f"data folder: {datasets.data_folder()}")
