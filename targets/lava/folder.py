"""The folder of a program for Lava, of whatever kind of network: written, loaded without executing it, and run."""

from __future__ import annotations

import json
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, ClassVar, Self

from ...ir.diagnostics import BadInputError, Diagnostic, Diagnostics
from ...ir.nodes import Array
from ...ir.npz import read_npz, write_atomically
from ...ir.paths import path_of
from ...runtime.lava.worker import LavaWorker
from ..artefact import check_artefact, write_artefact
from .parts import NETWORK, PARAMETERS, PROGRAM

__all__ = ["TARGET", "LavaFolder"]

TARGET = "lava"
_WRITE_AGAIN = "Write it again from its network."


class LavaFolder(ABC):
    """`files`: the program by file name; `marks`: what its manifest says besides."""

    FORMAT: ClassVar[str]
    """What `network.json` calls itself."""

    def __init__(self, files: Mapping[str, bytes], marks: Mapping[str, Any]) -> None:
        self.files, self.marks = files, marks

    def save(self, folder: str | Path) -> None:
        """Writes the folder: the program, its parameters, the network that it is made from, and a manifest of hashes.

        Raises:
            BadInputError: no path (SC525), or the place is taken by something else or cannot be written (SC522); what
                was there stays.
        """
        write_artefact(folder, TARGET, self._fill, **self.marks)

    def _fill(self, place: Path) -> None:
        for name, content in self.files.items():
            write_atomically(place / name, content)

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """The program of a folder. Nothing in it is executed: its network is read, the program is made of it again, and
        every file is to be that, byte by byte.

        Raises:
            BadInputError: no program for Lava, or one of another kind, or a damaged one, or one that was changed
                (SC520, SC521, SC523), or of another version of spikec.
        """
        place = path_of(folder, "a program for Lava")
        if check_artefact(place) != TARGET:
            raise BadInputError(Diagnostic("SC521", f"'{place}' is no program for Lava"))
        try:
            told = json.loads((place / NETWORK).read_bytes())
            if told["format"] != cls.FORMAT:
                raise BadInputError(Diagnostic("SC521", f"'{place}' holds a program of another kind of network",
                                               value=str(told["format"])[:40], limit=cls.FORMAT))
            if told["spikec"] != version("spikec"):
                raise BadInputError(Diagnostic("SC521", f"'{place}' was written by another version of spikec",
                                               value=str(told["spikec"])[:40], limit=version("spikec"),
                                               remedy=_WRITE_AGAIN))
            program = cls._read(told, read_npz(place / PARAMETERS))
        except (OSError, KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
            if isinstance(error, BadInputError):
                raise
            raise BadInputError(Diagnostic("SC520", f"'{place / NETWORK}' describes no network: {error!r}",
                                           remedy=_WRITE_AGAIN)) from error
        faults = Diagnostics()
        for name, content in program.files.items():
            if not (place / name).is_file() or (place / name).read_bytes() != content:
                faults.add("SC520", f"'{place / name}' is not what is made of the network beside it",
                           remedy=_WRITE_AGAIN)
        faults.raise_if_errors()
        return program

    @classmethod
    @abstractmethod
    def _read(cls, told: Any, arrays: Mapping[str, Array]) -> Self:
        """The program of what `network.json` and the parameters say."""

    def _found(self, worker: LavaWorker | None, arrays: Mapping[str, Array], steps: int, record: Sequence[str],
               options: Sequence[str], time_limit: float, patience: float,
               progress: Callable[[float], None] | None) -> dict[str, Array]:
        """What the program, written into a folder of its own for this run, finds; without a worker, one is started for
        it alone."""
        runs = worker or LavaWorker()
        try:
            with tempfile.TemporaryDirectory(prefix="spikec-lava-") as scratch:
                self._fill(Path(scratch))
                return runs.run(Path(scratch, PROGRAM), arrays, steps=steps, record=record, options=options,
                                time_limit=time_limit, patience=patience, progress=progress)
        finally:
            if worker is None:
                runs.close()
