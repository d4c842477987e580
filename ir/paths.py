"""Arguments that name a file or a folder: as a `Path`, or a diagnostic that says who wanted one."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from .diagnostics import Diagnostics

__all__ = ["check_path", "found_file", "path_of", "require_place"]


def path_of(given: Any, what: str, remedy: str | None = None) -> Path:
    """`given`, a text or path-like, as a path. `what`: what it names, as "the file of an ONNX model".

    Raises:
        BadInputError: it is none (SC525).
    """
    faults = Diagnostics()
    check_path(given, what, faults, remedy)
    faults.raise_if_errors()
    return Path(given)


def require_place(path: Path) -> None:
    """Refuses a path where no file can be written, before there is work whose outcome would be lost.

    Raises:
        BadInputError: it is a folder, the folder that it lies in is not there, or is not to be written in (SC522).
    """
    faults = Diagnostics()
    folder = path.parent
    if path.is_dir():
        faults.add("SC522", f"'{path}' is a folder, not a file", remedy="Name a file in it.")
    elif not folder.is_dir():
        faults.add("SC522", f"'{path}' cannot be written: there is no folder '{folder}'",
                   remedy="Make the folder first.")
    elif not os.access(folder, os.W_OK | os.X_OK):
        faults.add("SC522", f"'{path}' cannot be written: the folder '{folder}' is write-protected",
                   remedy="Pick another place.")
    faults.raise_if_errors()


def found_file(path: str | Path, code: str, faults: Diagnostics) -> bool:
    """Whether a file is there; one that is not, or that is a folder, is reported under `code`."""
    if Path(path).is_file():
        return True
    folder = Path(path).is_dir()
    faults.add(code, f"'{path}' is a folder, not a file" if folder else f"there is no file '{path}'",
               remedy="Name the file in it." if folder else "Check the path.")
    return False


def check_path(given: Any, what: str, faults: Diagnostics, remedy: str | None = None) -> bool:
    """Whether `given` is a path; what is none, another type, bytes, nothing, or a null character within, is reported
    (SC525)."""
    text = os.fspath(given) if isinstance(given, str | os.PathLike) else None
    if not isinstance(text, str):
        value = type(given).__name__
    elif not text or "\0" in text:
        value = repr(text)
    else:
        return True
    faults.add("SC525", f"this is no path of {what}", value=value, limit="a text or a pathlib.Path",
               remedy=remedy or "Give a path, as 'folder/name'.")
    return False
