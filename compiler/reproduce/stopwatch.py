"""CPU time of a training that may be interrupted: kept beside its checkpoint."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from ...ir.npz import write_atomically

__all__ = ["Stopwatch"]


def _beside(checkpoint: Path) -> Path:
    return checkpoint.with_name(f"{checkpoint.name}.seconds")


class Stopwatch:
    """CPU seconds of all threads of the process within it, and of the calls before, since the training began. Written
    at the end of every epoch and when it is left; of a process that was killed, the time since its last epoch is
    missing, as is what it did there."""

    def __init__(self, checkpoint: Path, fresh: bool) -> None:
        self._checkpoint, self._file = checkpoint, _beside(checkpoint)
        self._earlier = 0.0
        self._began: float | None = None
        if fresh or not checkpoint.exists():
            self.forget(checkpoint)
        with suppress(OSError, ValueError):
            told = json.loads(self._file.read_text())
            self._earlier = float(told) if isinstance(told, int | float) else 0.0

    @property
    def seconds(self) -> float:
        """CPU seconds until now."""
        return self._earlier + (0.0 if self._began is None else time.process_time() - self._began)

    @property
    def wall(self) -> float:
        """Seconds of the clock on the wall, from any origin."""
        return time.perf_counter()

    def lap(self) -> None:
        """Writes the seconds until now."""
        write_atomically(self._file, json.dumps(self.seconds).encode())

    @staticmethod
    def forget(checkpoint: Path) -> None:
        """Removes what was written of the training of this checkpoint."""
        _beside(checkpoint).unlink(missing_ok=True)

    def __enter__(self) -> Stopwatch:
        self._began = time.process_time()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self._earlier, self._began = self.seconds, None
        if error is None or self._checkpoint.exists():
            self.lap()
        else:  # nothing was trained that could go on
            self.forget(self._checkpoint)
