"""The progress bar of a training."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Any

from .history import EpochRecord, Evaluation

__all__ = ["Display", "figures_text"]

_REFRESH = 0.2  # seconds between updates


class Display:
    """One line a running epoch, one line an epoch that is done. Does nothing where `shown` is false."""

    def __init__(self, shown: bool, epochs: int) -> None:
        self._epochs = epochs
        self._next = 0.0
        self._bar: Any = None
        if shown:
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

            self._bar = Progress(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
                                 TimeRemainingColumn(), TextColumn("{task.fields[figures]}"), transient=True)

    def __enter__(self) -> Display:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        if self._bar is not None:
            self._bar.stop()

    def start(self, epoch: int, batches: int, done: int) -> None:
        if self._bar is not None:
            for task in self._bar.task_ids:
                self._bar.remove_task(task)
            self._bar.add_task(f"epoch {epoch + 1}/{self._epochs}", total=batches, completed=done, figures="")

    @property
    def due(self) -> bool:
        """Whether it is time for an update."""
        return self._bar is not None and time.monotonic() >= self._next

    def update(self, done: int, figures: Evaluation) -> None:
        self._next = time.monotonic() + _REFRESH
        self._bar.update(self._bar.task_ids[-1], completed=done, figures=figures_text(figures))

    def finish(self, record: EpochRecord) -> None:
        if self._bar is not None:
            line = f"epoch {record.epoch + 1}/{self._epochs}  {figures_text(record.train)}"
            if record.validation is not None:
                line += f"  |  validation {figures_text(record.validation)}"
            self._bar.console.print(f"{line}  |  {record.seconds:.2f} s", markup=False, highlight=False,
                                    soft_wrap=True)


def figures_text(figures: Evaluation) -> str:
    """What there is of an evaluation, in one line."""
    parts = [f"loss {figures.loss:.4f}"] if figures.loss is not None else []
    parts += [f"{name} {value:.4f}" for name, value in figures.errors.items()]
    if figures.accuracy is not None:
        parts.append(f"accuracy {100 * figures.accuracy:.2f} %")
    if figures.silent:
        parts.append(f"silent outputs {100 * figures.silent:.1f} %")
    parts += [f"{name} {count:.1f} spikes" for name, count in figures.spikes.items()]
    return ", ".join(parts)
