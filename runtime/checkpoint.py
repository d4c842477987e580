"""Checkpoints of a training: tensors and plain values in one file, written atomically, read without pickled objects."""

from __future__ import annotations

import io
import pickle
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from ..ir.diagnostics import BadInputError, Diagnostic, Diagnostics, SpikecError
from ..ir.npz import write_atomically

__all__ = ["read_checkpoint", "require_same", "restoring", "write_checkpoint"]

_FORMAT = "spikec.training"
_VERSION = 1
_REMEDY = ("Give the trainer another path. If the file is a checkpoint that may be lost, fit(resume=False) writes over "
           "it.")


def write_checkpoint(path: str | Path, state: Mapping[str, Any]) -> None:
    """Writes `state` (nested dicts, lists, tensors and plain values); the file appears whole or not at all.

    Raises:
        BadInputError: the file cannot be written, or `state` holds other objects; what was there before stays.
    """
    stream = io.BytesIO()
    torch.save({"format": _FORMAT, "version": _VERSION, **state}, stream)
    data = stream.getvalue()
    try:
        torch.load(io.BytesIO(data), weights_only=True, map_location="meta")
    except pickle.UnpicklingError as error:
        raise BadInputError(Diagnostic(
            "SC509", f"the state of the optimizer or the scheduler holds objects that a checkpoint cannot: {error}",
            remedy="Keep tensors and plain values in state_dict().")) from error
    write_atomically(path, data)


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """What `write_checkpoint` wrote, on the CPU.

    Raises:
        BadInputError: no such file, damaged, not a checkpoint of a training, or of an unknown version.
    """
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as records:
                if (torn := records.testzip()) is not None:  # torch does not look at their checksums
                    raise ValueError(f"the checksum of its record '{torn}' is another")
        state = torch.load(path, weights_only=True, map_location="cpu")
    except (OSError, zipfile.BadZipFile, RuntimeError, EOFError, ValueError, KeyError, pickle.UnpicklingError) as error:
        raise BadInputError(Diagnostic(
            "SC509", f"'{path}' cannot be read as a checkpoint: {_why(Path(path), error)}", remedy=_REMEDY)) from error
    if not isinstance(state, dict) or state.get("format") != _FORMAT or state.get("version") != _VERSION:
        found = state.get("version") if isinstance(state, dict) else type(state).__name__
        raise BadInputError(Diagnostic("SC509", f"'{path}' is no checkpoint of a training that this version reads",
                                       value=str(found), limit=f"version {_VERSION}", remedy=_REMEDY))
    return state


@contextmanager
def restoring(path: str | Path) -> Iterator[dict[str, Any]]:
    """What `read_checkpoint` gives, for a training to take its state from within it.

    Raises:
        BadInputError: as `read_checkpoint`; something is missing there, or of another kind or shape (SC509).
    """
    state = read_checkpoint(path)
    try:
        yield state
    except SpikecError:
        raise
    except (AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError) as error:
        lacks = f"{error} is missing" if isinstance(error, KeyError) else str(error).splitlines()[0]
        raise BadInputError(Diagnostic("SC509", f"'{path}' does not hold the whole state of a training: {lacks}",
                                       remedy=_REMEDY)) from error


def _why(path: Path, error: Exception) -> str:
    """In words, where torch has none of its own."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if isinstance(error, ValueError) and "checksum" in str(error):
        return str(error)
    if path.is_dir():
        return "it is a folder"
    if not zipfile.is_zipfile(path):
        return f"its {path.stat().st_size} bytes are another kind of file, or one that was cut off"
    return f"{type(error).__name__} in what it holds"


def require_same(path: str | Path, saved: Mapping[str, Any], ours: Mapping[str, Any]) -> None:
    """Raises BadInputError that names every setting in which the checkpoint and this training differ."""
    faults = Diagnostics()
    for name in sorted({*saved, *ours}):
        if saved.get(name) != ours.get(name):
            value, limit = _unlike(saved.get(name), ours.get(name))
            faults.add("SC508", f"'{path}' was written with another {name}", value=value, limit=limit,
                       remedy="fit(resume=False) starts over; another path keeps both.")
    faults.raise_if_errors()


def _unlike(saved: Any, ours: Any) -> tuple[Any, Any]:
    """Both, or of two texts of several lines the lines that only one of them has."""
    if not (isinstance(saved, str) and isinstance(ours, str) and "\n" in saved + ours):
        return saved, ours
    lines, others = saved.splitlines(), ours.splitlines()
    return _few([line for line in lines if line not in others]), _few([line for line in others if line not in lines])


def _few(lines: list[str], most: int = 6) -> str:
    return "; ".join([line.strip() for line in lines[:most]] + [f"and {len(lines) - most} more"] * (len(lines) > most))
