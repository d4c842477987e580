"""Ctrl-C during a training: what is under way is finished first."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

from .history import History

__all__ = ["InterruptGuard", "TrainingInterrupted"]


class TrainingInterrupted(KeyboardInterrupt):
    """A training was interrupted between two batches. Nothing is lost: `fit` goes on from there, in this process or,
    where there is a `checkpoint`, in the next."""

    def __init__(self, history: History, checkpoint: Path | None) -> None:
        self.history = history
        self.checkpoint = checkpoint
        super().__init__(f"training interrupted; saved in '{checkpoint}'" if checkpoint else "training interrupted")


class InterruptGuard:
    """Within it, the first SIGINT or SIGTERM only sets `requested`; a second one acts as it did before. Outside the
    main thread, where Python delivers no signals, it does nothing."""

    def __init__(self) -> None:
        self.requested = False
        self._former: dict[int, Any] = {}

    def __enter__(self) -> InterruptGuard:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._former[number] = signal.signal(number, self._request)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self._restore()

    def _request(self, number: int, frame: FrameType | None) -> None:
        self.requested = True
        self._restore()

    def _restore(self) -> None:
        while self._former:
            number, handler = self._former.popitem()
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
