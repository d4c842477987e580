"""Files of settings in TOML, from others: of bounded size, read whole."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from .diagnostics import BadInputError, Diagnostic
from .paths import path_of

__all__ = ["read_toml"]

_LARGEST = 1 << 20
"""Bytes; what people write by hand is far smaller."""


_DEEPEST = 32
"""Tables and lists within each other."""


def _deeper(value: Any, most: int) -> bool:
    inner = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []
    return bool(inner) and (most == 0 or any(_deeper(each, most - 1) for each in inner))


def read_toml(path: str | Path, what: str, code: str, remedy: str | None = None) -> tuple[Path, dict[str, Any]]:
    """The path, and the tables of the file. `what`: what the file is, as "the description of a chip"; `code`, `remedy`:
    of the diagnostic where it is no TOML.

    Raises:
        BadInputError: no path (SC525), not readable or too large (SC523), or no TOML (`code`).
    """
    place = path_of(path, what)
    if place.exists() and not place.is_file() and not place.is_dir():  # a pipe would be waited for
        raise BadInputError(Diagnostic("SC523", f"'{place}' cannot be read: it is no file"))
    try:
        with place.open("rb") as file:
            content = file.read(_LARGEST + 1)
    except OSError as error:
        raise BadInputError(Diagnostic("SC523", f"'{place}' cannot be read: {error.strerror or error}")) from error
    if len(content) > _LARGEST:
        raise BadInputError(Diagnostic("SC523", f"'{place}' is too large for {what}", limit=f"{_LARGEST} bytes"))
    try:
        tables = tomllib.loads(content.decode())
        if _deeper(tables, _DEEPEST):
            raise ValueError(f"its tables are more than {_DEEPEST} deep")
        return place, tables
    except (ValueError, RecursionError) as error:
        raise BadInputError(Diagnostic(code, f"'{place}' is no TOML: {error}", remedy=remedy)) from error
