"""`spikec lava`: the environment that runs Lava."""

from __future__ import annotations

import shlex
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from ...runtime.lava.environment import LavaFacts, check_lava, install_lava
from .console import JsonOption, print_json, say, say_error

app = typer.Typer(help="The environment that runs programs for Loihi in Lava's simulator.", no_args_is_help=True)


@app.command("install")
def install(
    python: Annotated[
        str | None, typer.Option(metavar="PYTHON", help="The interpreter to make it from: 3.10 to 3.13; this one "
                                 "unless stated.")
    ] = None,
    folder: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where to make it; in the user's cache unless stated.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Make an environment with Lava and what it needs, and run two steps in it."""
    facts = install_lava(python, folder, report=None if json else say_error)
    _say_facts(facts, json)
    if folder is not None and not json:
        say(f"export SPIKEC_LAVA_PYTHON={shlex.quote(facts.interpreter)}")


@app.command("check")
def check(
    python: Annotated[
        str | None, typer.Option(metavar="PYTHON", help="The interpreter to check; that of SPIKEC_LAVA_PYTHON or of "
                                 "`spikec lava install` unless stated.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Run two steps in Lava, and say which versions ran them."""
    _say_facts(check_lava(python), json)


def _say_facts(facts: LavaFacts, json: bool) -> None:
    if json:
        print_json({"lava": asdict(facts)})
    else:
        say(f"Lava {facts.lava} runs: Python {facts.python}, numpy {facts.numpy}, scipy {facts.scipy}")
        say(facts.interpreter)
