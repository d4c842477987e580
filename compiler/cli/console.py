"""How commands speak: results on stdout, as tables or as one JSON object; diagnostics on stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ...ir.diagnostics import Diagnostic
from .interrupts import answered

__all__ = ["JsonOption", "errors", "print_diagnostics", "print_json", "print_table", "say", "say_error"]

JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]


@cache
def errors() -> Console:
    return Console(stderr=True, soft_wrap=True, highlight=False)


def say(text: object = "") -> None:
    print(text)


def say_error(text: str) -> None:
    errors().print(Text(f"spikec: {text}"))


def print_json(content: Mapping[str, Any]) -> None:
    """The answer of a command, one line of JSON; arrays become lists, anything else unknown its text."""
    line = json.dumps({"ok": True, **content}, default=_plain, allow_nan=False)
    answered()
    print(line, flush=True)


def print_table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """A table as wide as the terminal; nothing in a cell is read as markup."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in header:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*(Text(str(cell)) for cell in row))
    Console(file=sys.stdout, highlight=False, width=None if sys.stdout.isatty() else 160).print(table)


def print_diagnostics(diagnostics: Iterable[Diagnostic]) -> None:
    """Each diagnostic on stderr: code and what is wrong, then the facts and the remedy."""
    for each in diagnostics:
        style = "yellow" if each.severity == "warning" else "red"
        where = f" at '{each.node}'" if each.node is not None else ""
        text = Text.assemble((f"{each.severity} {each.code}", f"bold {style}"), f"{where}: {each.message}")
        for label, fact in (("value", each.value), ("limit", each.limit), ("remedy", each.remedy)):
            if fact:
                text.append(f"\n  {label}: {fact}")
        errors().print(text)


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value.tolist()
    return value.item() if isinstance(value, np.generic) else str(value)
