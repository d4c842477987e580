"""Commands in a process group of their own: read line by line with a time limit, and ended with all that they started.

Lava forks a process for each of its Processes, so killing the first one would leave the others behind.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

__all__ = ["Expired", "ProcessGroup"]

_POLL = 0.2
_GRACE = 2.0
_TAIL = 4000


class Expired(Exception):
    """A command said nothing until its time was up."""


class ProcessGroup:
    """A running command. Within `with`, nothing of it outlives the block.

    Raises:
        OSError: it cannot be started.
    """

    def __init__(self, command: Sequence[str | Path], environment: Mapping[str, str] | None = None) -> None:
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as the command
        self._pending = b""
        self._said = 0
        try:
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors, env=environment,
                start_new_session=True, bufsize=0)
        except OSError:
            self._errors.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.end()

    @property
    def group(self) -> int:
        """The number of the process group, which is that of its first process."""
        return self._process.pid

    @property
    def code(self) -> int | None:
        """Exit code of the first process, negative where a signal ended it; None while it runs."""
        return self._process.poll()

    def send(self, line: str) -> None:
        """Raises:
            OSError: the command reads no more.
        """
        if self._process.stdin is not None:
            self._process.stdin.write(line.encode() + b"\n")

    def read_line(self, deadline: float = float("inf")) -> str | None:
        """The next line of stdout, without its end; None where there is none any more.

        Raises:
            Expired: `deadline`, a time of `time.monotonic`, is reached.
        """
        stream = self._process.stdout
        while b"\n" not in self._pending and stream is not None:
            wait = min(deadline - time.monotonic(), _POLL)
            if wait <= 0:
                raise Expired
            # What was started may hold the pipe open when the first process is gone.
            gone = self.code is not None
            if not select.select([stream], [], [], 0 if gone else wait)[0]:
                if gone:
                    return None
            elif text := os.read(stream.fileno(), 1 << 16):
                self._pending += text
            else:
                return None
        line, _, self._pending = self._pending.partition(b"\n")
        return line.decode(errors="replace")

    def wait(self, deadline: float) -> int:
        """Reads what is left, and returns the exit code.

        Raises:
            Expired: `deadline`, a time of `time.monotonic`, is reached.
        """
        while self.read_line(deadline) is not None:
            pass
        while (code := self.code) is None:
            if time.monotonic() > deadline:
                raise Expired
            time.sleep(0.01)
        return code

    def forget(self) -> None:
        """What was written to stderr so far is no longer part of its tail."""
        self._said = os.fstat(self._errors.fileno()).st_size

    def tail(self) -> str:
        """The end of what was written to stderr since `forget`."""
        # The file's position is the command's too, and is left alone.
        start = max(self._said, os.fstat(self._errors.fileno()).st_size - _TAIL)
        return os.pread(self._errors.fileno(), _TAIL, start).decode(errors="replace").strip()

    def end(self) -> None:
        """Ends every process of the group. They are asked to terminate first: Python's tracker of shared memory ignores
        that, and removes what the others leave behind before it ends by itself."""
        for number, patience in ((signal.SIGTERM, _GRACE), (signal.SIGKILL, 10 * _GRACE)):
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self.group, number)
            limit = time.monotonic() + patience
            while (left := self._left()) and time.monotonic() < limit:
                time.sleep(0.01)
            if not left:
                break
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._errors):
            if stream is not None:
                with suppress(OSError):
                    stream.close()

    def _left(self) -> bool:
        """Whether a process of the group still runs."""
        if self._process.poll() is None:
            return True
        if Path("/proc/self/stat").exists():
            return any(group == self.group for group in _running_groups())
        try:
            os.killpg(self.group, 0)
        except OSError:
            return False
        return True


def _running_groups() -> Iterator[int]:
    """The process group of each process that is not a zombie (one whose parent is gone is nobody's to wait for)."""
    for entry in os.scandir("/proc"):
        if entry.name.isdecimal():
            with suppress(OSError, ValueError, IndexError):
                state, _, group, *_ = Path(entry.path, "stat").read_text().rpartition(")")[2].split()
                if state not in "ZX":
                    yield int(group)
