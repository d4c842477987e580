"""One result is trained by one process at a time."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ...ir.diagnostics import BadInputError, Diagnostic

__all__ = ["alone"]


@contextmanager
def alone(file: Path) -> Iterator[None]:
    """Within it, no other process holds this file's lock, which is a file beside it that goes when this ends. Where the
    process is killed the system gives it back. Systems without such locks do without.

    Raises:
        BadInputError: another process holds it (SC583).
    """
    lock = file.with_name(f".{file.name}.lock")
    held = _held(lock)
    try:
        yield
    finally:
        if held is not None:
            lock.unlink(missing_ok=True)
            os.close(held)


def _held(lock: Path) -> int | None:
    try:
        import fcntl
    except ImportError:
        return None
    while True:
        try:
            held = os.open(lock, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError:  # that nothing can be written there is told when the first run is stored
            return None
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(held)
            raise BadInputError(Diagnostic(
                "SC583", "another process trains this result, and keeps it in the same folder", value=str(lock),
                remedy="Wait for it, or give another --output.")) from None
        except OSError:
            os.close(held)
            return None
        with suppress(OSError):
            if os.stat(lock).st_ino == os.fstat(held).st_ino:
                return held
        os.close(held)  # the one that held it has removed it in between
