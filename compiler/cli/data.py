"""`spikec data get`: fetches a data set to the data folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
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
    if name == "digits":
        datasets.load_digits()
        _say_got(name, [], False, "digits come with scikit-learn, which is installed: nothing to fetch", json)
        return
    if name not in datasets.DATASETS:
        raise BadInputError(Diagnostic("SC540", f"there is no data set '{name}'",
                                       remedy=f"Data sets: {', '.join(datasets.DATASETS)}; digits come with "
                                       "scikit-learn."))
    fetched = False
    with Progress(TextColumn("{task.description}"), BarColumn(), DownloadColumn(), console=errors(),
                  disable=json) as bars:
        task = bars.add_task(name, total=None)

        def progress(done: int, total: int | None) -> None:
            nonlocal fetched
            fetched = True
            bars.update(task, completed=done, total=total)

        files = datasets.fetch(datasets.DATASETS[name], mirror=mirror, progress=progress)
    _say_got(name, files, fetched, f"{name}: fetched" if fetched else f"{name}: present and sound, nothing to fetch",
             json)


def _say_got(name: str, files: Sequence[Path], fetched: bool, outcome: str, json: bool) -> None:
    if json:
        print_json({"name": name, "files": [str(file) for file in files], "fetched": fetched})
        return
    for file in files:
        say(file)
    say(outcome)


@app.command("list")
def listing(json: JsonOption = False) -> None:
    """List the data sets, and which of them are present."""
    present = {name: datasets.is_present(name) for name in datasets.DATASETS}
    if json:
        print_json({"folder": str(datasets.data_folder()), "present": present})
    else:
        print_table(("data set", "present"), [(name, "yes" if there else "no") for name, there in present.items()])
        say(f"data folder: {datasets.data_folder()}")
