"""Runs programs for Lava in the interpreter that has it. The process is kept from one run to the next, so that Lava is
imported once; where a run fails, all of its processes are ended, and the next run starts afresh."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn, Self

from ...ir.diagnostics import Diagnostic
from ...ir.nodes import Array
from ...ir.npz import read_npz, write_npz
from .environment import LavaError, find_lava, lava_host
from .processes import Expired, ProcessGroup

__all__ = ["LavaWorker"]

_START = 120.0
"""Seconds in which Lava is imported."""


class LavaWorker:
    """A process that runs programs. `interpreter`: that of `find_lava` unless stated. Use it within `with`, or `close`
    it; where this process ends, however it does, its worker ends too."""

    def __init__(self, interpreter: str | Path | None = None) -> None:
        self._interpreter = None if interpreter is None else Path(interpreter)
        self._group: ProcessGroup | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Ends every process of it. A later run starts it again."""
        if self._group is not None:
            self._group.end()
            self._group = None

    @property
    def group(self) -> int | None:
        """The number of its process group; None where nothing runs."""
        return None if self._group is None else self._group.group

    def run(self, program: str | Path, rasters: Mapping[str, Array], *, steps: int | None = None,
            record: Sequence[str] = (), options: Sequence[str] = (), time_limit: float = float("inf"),
            patience: float = 300.0, progress: Callable[[float], None] | None = None) -> dict[str, Array]:
        """Runs a program on the arrays that it takes: rasters, (samples, steps, channels) by its own names of inputs,
        and of one that learns, its signals and weights.

        Args:
            program: `program.py` of a folder whose files are what they should be: it is executed.
            steps: to run, at least as many as the rasters have; None: as many.
            record: of the variables that the program has, as "v" of all populations, or as "p1.v" of one.
            options: of the program's own, besides.
            time_limit: seconds for the whole run.
            patience: seconds that it may go on without 100 more steps, or with its end.
            progress: is told what part is done, from 0 to 1.

        Returns:
            Its results, int32 arrays by "p1.spikes" and the like.

        Raises:
            LavaError: the run fails (SC557) or takes too long (SC558); Lava is missing (SC553) or does not work
                (SC556). Nothing of it runs on.
            BadInputError: SPIKEC_LAVA_PYTHON names no interpreter for Lava (SC554), or the rasters cannot be written,
                as where the disk is full (SC522).
        """
        start = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="spikec-lava-") as scratch:
            given, made = Path(scratch, "in.npz"), Path(scratch, "out.npz")
            write_npz(given, rasters)
            arguments = ["--input", str(given), "--output", str(made), "--progress", "--record", ",".join(record),
                         *(() if steps is None else ("--steps", str(steps))), *options]
            try:
                self._run(Path(program), arguments, start + time_limit, patience, progress or (lambda part: None))
                if not made.exists():
                    raise LavaError(Diagnostic("SC557", "the Lava program wrote no results", value=str(program)))
                return read_npz(made, "the results of the Lava program")
            except BaseException:
                self.close()
                raise

    def _run(self, program: Path, arguments: list[str], limit: float, patience: float,
             progress: Callable[[float], None]) -> None:
        if self._group is None or self._group.code is not None:
            self.close()
            self._group, _ = lava_host(self._interpreter or find_lava(), min(limit, time.monotonic() + _START))
        group = self._group
        try:
            group.forget()
            group.send(json.dumps({"program": str(program), "arguments": arguments}))
            while (line := group.read_line(min(limit, time.monotonic() + patience))) is not None:
                said = _object(line)
                if "done" in said:
                    progress(said["done"])
                elif said.get("exit") == 0:
                    return
                elif "exit" in said:
                    _failed(group, program, said["exit"])
        except Expired:
            why = "its time is up" if time.monotonic() >= limit else f"it got no further for {patience:g} s"
            raise LavaError(Diagnostic(
                "SC558", f"the Lava program was ended: {why}", value=str(program), limit=_told(group.tail()),
                remedy="Give more time (time_limit, patience), fewer samples or fewer steps.")) from None
        except OSError as error:
            raise LavaError(Diagnostic("SC557", f"the Lava program cannot be started: {error.strerror or error}",
                                       value=str(program))) from error
        _failed(group, program, group.code)


def _failed(group: ProcessGroup, program: Path, code: int | None) -> NoReturn:
    how = f"is killed by signal {-code}" if code is not None and code < 0 else f"fails with exit code {code}"
    raise LavaError(Diagnostic("SC557", f"the Lava program {how}", value=str(program), limit=_told(group.tail()),
                               remedy=f"Run it by hand to see more: python {program}"))


def _told(text: str) -> str:
    return f"it said:\n{text}" if text else "it said nothing"


def _object(line: str) -> dict[str, Any]:
    """A line as a JSON object; whatever else is printed is passed over."""
    try:
        said = json.loads(line)
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}
