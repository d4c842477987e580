"""Compiled folders: `manifest.json` with the format, versions, target and the SHA-256 of every other file. They hold
data only: no pickle, no machine code. Reading checks names, sizes and hashes before any file is parsed."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ..ir.diagnostics import BadInputError, Diagnostic, Diagnostics
from ..ir.npz import write_atomically
from ..ir.paths import path_of

__all__ = [
    "FORMAT", "GRAPH", "MANIFEST", "VERSION", "check_artefact", "check_remade", "require_folder", "write_artefact",
]

FORMAT = "spikec-program"
VERSION = 1
MANIFEST = "manifest.json"
GRAPH = "graph.spk"
"""The model graph in a compiled folder; its arrays lie beside it."""
_MANIFEST_LIMIT = 1 << 20
_COMPILE_AGAIN = "Compile the model again, or restore the folder from a copy."


def write_artefact(folder: str | Path, target: str, fill: Callable[[Path], None], **facts: Any) -> None:
    """Lets `fill` write its files into a new folder beside the place, adds the manifest, to which `facts` are added,
    and renames: the folder appears whole or not at all. A compiled folder that stands there is replaced; anything else
    is left alone.

    Raises:
        BadInputError: no path (SC525), or the place is taken by something else or cannot be written (SC522); what was
            there stays as it was.
    """
    place = require_folder(folder)
    token = secrets.token_hex(6)
    fresh, old = (place.with_name(f".{place.name}.{token}.{kind}") for kind in ("new", "old"))
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        fresh.mkdir()
        fill(fresh)
        listing = {path.name: {"sha256": _sha256(path), "size": path.stat().st_size}
                   for path in sorted(fresh.iterdir())}
        manifest = {"format": FORMAT, "version": VERSION, "spikec": version("spikec"), "target": target,
                    **facts, "files": listing}
        write_atomically(fresh / MANIFEST, json.dumps(manifest, indent=2).encode() + b"\n")
        if place.exists():
            os.rename(place, old)
        os.rename(fresh, place)
    except OSError as error:
        raise BadInputError(Diagnostic("SC522", f"'{folder}' cannot be written: {error.strerror or error}",
                                       remedy="Nothing was changed; free space or pick another place.")) from error
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
        if old.exists():
            _settle(old, place)


def require_folder(folder: str | Path) -> Path:
    """The absolute path of a compiled folder that can be written there; folders around it may still have to be made.

    Raises:
        BadInputError: no path (SC525), or the place is taken by something else or cannot be written (SC522).
    """
    place = path_of(folder, "a folder to write").absolute()
    if not place.name:
        raise BadInputError(Diagnostic("SC522", f"'{folder}' cannot become a compiled folder",
                                       remedy="Name a folder in it."))
    try:
        if place.exists() and not _replaceable(place):
            raise BadInputError(Diagnostic("SC522", f"'{folder}' exists and is no compiled folder",
                                           remedy="Pick another folder, or remove it."))
        around = next(each for each in place.parents if each.exists())
    except OSError as error:
        raise BadInputError(Diagnostic("SC522", f"'{folder}' cannot be written: {error.strerror or error}",
                                       remedy="Pick another place.")) from error
    if not around.is_dir() or not os.access(around, os.W_OK | os.X_OK):
        why = "write-protected" if around.is_dir() else "no folder"
        raise BadInputError(Diagnostic("SC522", f"'{folder}' cannot be written: '{around}' is {why}",
                                       remedy="Pick another place."))
    return place


def check_remade(folder: Path, files: Mapping[str, bytes], source: str) -> None:
    """Raises BadInputError with every one of `files`, made again of `source`, that the folder has not so (SC520)."""
    faults = Diagnostics()
    for name, content in files.items():
        if not (folder / name).is_file() or (folder / name).read_bytes() != content:
            faults.add("SC520", f"'{folder / name}' is not what is made of {source}", remedy="Compile the model again.")
    faults.raise_if_errors()


def check_artefact(folder: str | Path) -> str:
    """Compares a compiled folder with its manifest, and returns the name of its target.

    Raises:
        BadInputError: no path (SC525), no compiled folder, an unknown format or version, or every file that is missing,
            unknown, of another size or damaged.
    """
    place = path_of(folder, "a compiled folder", remedy="Give what Program.save wrote.")
    listing, target = _read_manifest(place)
    faults = Diagnostics()
    try:
        present = {entry.name: entry for entry in os.scandir(place) if entry.name != MANIFEST}
        for name in sorted(present.keys() - listing.keys()):
            faults.add("SC520", f"'{name}' in '{place}' is not in its manifest", remedy="Remove it.")
        for name, facts in listing.items():
            entry = present.get(name)
            if entry is None:
                faults.add("SC520", f"'{name}' is missing from '{place}'", remedy=_COMPILE_AGAIN)
            elif not entry.is_file(follow_symlinks=False):
                faults.add("SC520", f"'{name}' in '{place}' is not a plain file", remedy=_COMPILE_AGAIN)
            elif entry.stat().st_size != facts["size"]:
                faults.add("SC520", f"'{name}' in '{place}' has another size than its manifest says",
                           value=entry.stat().st_size, limit=facts["size"], remedy=_COMPILE_AGAIN)
            elif _sha256(Path(entry.path)) != facts["sha256"]:
                faults.add("SC520", f"'{name}' in '{place}' is damaged: its SHA-256 differs from the manifest's",
                           remedy=_COMPILE_AGAIN)
    except OSError as error:
        faults.add("SC523", f"'{place}' cannot be read: {error}")
    faults.raise_if_errors()
    return target


def _read_manifest(place: Path) -> tuple[dict[str, dict[str, Any]], str]:
    """The file listing and the target that the manifest states."""
    path = place / MANIFEST
    if not path.is_file():
        raise BadInputError(Diagnostic("SC520", f"'{place}' is no compiled folder: it has no {MANIFEST}",
                                       remedy="Make one with spikec compile MODEL -o DIR."))
    try:
        with open(path, "rb") as stream:
            text = stream.read(_MANIFEST_LIMIT + 1)
        if len(text) > _MANIFEST_LIMIT:
            raise ValueError(f"it is longer than {_MANIFEST_LIMIT} bytes")
        manifest = json.loads(text)
    except (OSError, ValueError, RecursionError) as error:
        raise BadInputError(Diagnostic("SC520", f"'{path}' cannot be read: {error}", remedy=_COMPILE_AGAIN)) from error
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise BadInputError(Diagnostic("SC521", f"'{path}' is not the manifest of a compiled folder"))
    if manifest.get("version") != VERSION:
        raise BadInputError(Diagnostic("SC521", f"'{place}' has a format version that this spikec does not know",
                                       value=str(manifest.get("version")), limit=str(VERSION),
                                       remedy="Load it with the spikec that wrote it, or compile the model again."))
    listing, target = manifest.get("files"), manifest.get("target")
    if not (isinstance(listing, dict) and isinstance(target, str)
            and all(_legal(name, facts) for name, facts in listing.items())):
        raise BadInputError(Diagnostic("SC520", f"'{path}' is malformed", remedy=_COMPILE_AGAIN))
    return listing, target


def _legal(name: str, facts: Any) -> bool:
    plain = name not in ("", ".", "..", MANIFEST) and not {"/", "\\", "\0"} & set(name)
    return plain and isinstance(facts, dict) and type(facts.get("size")) is int and isinstance(facts.get("sha256"), str)


def _replaceable(place: Path) -> bool:
    return place.is_dir() and not place.is_symlink() and ((place / MANIFEST).is_file() or not any(place.iterdir()))


def _settle(old: Path, place: Path) -> None:
    """Removes the former folder where the new one stands, and puts it back where none does."""
    if place.exists():
        shutil.rmtree(old, ignore_errors=True)
    else:
        with suppress(OSError):
            os.rename(old, place)


def _sha256(path: Path) -> str:
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
