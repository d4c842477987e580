"""Ctrl-C: a command that it ends says on one line of stderr what is kept and how to go on, with `--json` also as the
one object on stdout; its exit code is 130. What has answered is not interrupted any more.

Only light modules are imported here, so that `spikec/__main__.py` is ready for Ctrl-C before the heavy ones are."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, ClassVar

from ...ir.diagnostics import Diagnostic, SpikecError

__all__ = ["EXIT_CODE", "Interrupted", "answered", "asked", "failure", "keeps_checkpoint", "leave", "leaves_at_once",
           "line_of", "raises"]

EXIT_CODE = 130


class Interrupted(SpikecError):
    """Ctrl-C within a command. It is no KeyboardInterrupt, which typer ends a command by without a word."""

    exit_code: ClassVar[int] = EXIT_CODE

    def __init__(self, kept: str = "no file is left half-written", remedy: str = "Give the same command again."
                 ) -> None:
        super().__init__(Diagnostic("SC571", f"interrupted: {kept}", remedy=remedy))


def line_of(interrupted: Interrupted) -> str:
    """What is said on stderr."""
    (fault,) = interrupted.diagnostics
    return f"spikec: {fault.message}. {fault.remedy}"


def failure(code: int, diagnostics: Sequence[Diagnostic]) -> dict[str, Any]:
    """What `--json` prints of a command that failed."""
    return {"ok": False, "exit_code": code, "diagnostics": [each.as_dict() for each in diagnostics]}


@contextmanager
def keeps_checkpoint(checkpoint: Path, fresh: bool) -> Iterator[None]:
    """Within it, a training whose state is written to `checkpoint`.

    Raises:
        Interrupted: in the place of KeyboardInterrupt.
    """
    try:
        yield
    except KeyboardInterrupt as stop:
        if not checkpoint.exists():
            raise Interrupted("nothing of the training was written yet") from stop
        again = "The same command without --fresh" if fresh else "The same command"
        raise Interrupted(f"the training is kept in '{checkpoint}'", f"{again} goes on from there.") from stop


# Of a process that is one command; before `leaves_at_once` is called none of what follows does anything.


class _Process:
    """`ours`: Ctrl-C is for the command to handle. `asked`: it came."""

    ours = False
    asked = False


def leaves_at_once() -> None:
    """While modules are read in, not all of which bear an exception, Ctrl-C ends the process at once."""
    _Process.ours = True
    signal.signal(signal.SIGINT, _leave)


def raises() -> None:
    """From here on Ctrl-C raises KeyboardInterrupt, as Python does, and `asked` tells of it."""
    if _Process.ours:
        signal.signal(signal.SIGINT, _raise)


def answered() -> None:
    """The command has done and said what it was to: Ctrl-C cannot unsay it."""
    if _Process.ours:
        signal.signal(signal.SIGINT, signal.SIG_IGN)


def asked() -> bool:
    """Whether Ctrl-C came. Code that it hits may turn KeyboardInterrupt into an exception of its own."""
    return _Process.asked


def leave() -> int:
    """Tells of Ctrl-C where no command is there to do it; gives the exit code."""
    stop = Interrupted("nothing was changed")
    if "--json" in sys.argv[1:]:
        os.write(1, f"{json.dumps(failure(EXIT_CODE, stop.diagnostics))}\n".encode())
    os.write(2, f"{line_of(stop)}\n".encode())
    return EXIT_CODE


def _leave(number: int, frame: FrameType | None) -> None:
    os._exit(leave())


def _raise(number: int, frame: FrameType | None) -> None:
    _Process.asked = True
    raise KeyboardInterrupt
