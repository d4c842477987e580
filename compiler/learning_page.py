"""How a training went, as one self-contained HTML page: a table of the epochs, what a rule told of the last one,
the rule itself, and a figure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

from ..ir.learning.rule import LearningRule
from ..ir.learning.text import to_text
from ..ir.npz import write_atomically
from ..runtime.history import Evaluation, History
from ..runtime.learning.learner import LearningFigures
from ..targets.tables import Table
from .page import check_page, rendered

__all__ = ["epochs", "last_figures", "learning_page", "save_learning"]

_MEANING = {
    "saturated": "share of weights at their bounds", "updated": "changes of a synapse in a sample, mean",
    "norm": "norm of the weights", "rates": "spikes a neuron and second",
    "saturated_traces": "share of traces at the most that they hold",
    "angles": "degrees between feedback and forward weights", "norms": "norm of feedback over that of forward weights",
}


def save_learning(history: History, rule: LearningRule | None, path: str | Path) -> None:
    """Writes the page; `rule`: None for gradients.

    Raises:
        BadInputError: no path (SC525), another suffix than .html (SC550), matplotlib is missing (SC532), or the file
            cannot be written (SC522).
    """
    write_atomically(check_page(path), learning_page(history, rule).encode())


def learning_page(history: History, rule: LearningRule | None) -> str:
    """The text of the page."""
    texts: tuple[tuple[str, str], ...] = ()
    title, source = "spikec: a training by gradients", ""
    if rule is not None:
        title, source, texts = f"spikec: a training by the rule {rule.name}", rule.source, (("Rule", to_text(rule)),)
    return rendered(title, source, (epochs(history), *last_figures(history)), texts,
                    (("Over the epochs", history.draw()),))


def epochs(history: History) -> Table:
    """A row an epoch: rate, accuracy, loss or errors in training, accuracy in validation, seconds."""
    wrong = [_wrong(record.train) for record in history]
    names = tuple(dict.fromkeys(name for each in wrong for name in each))
    header = ("epoch", "rate", "accuracy, %", *names, "validation, %", "seconds")
    return Table("Epochs", header, tuple(
        (f"{record.epoch + 1}", f"{record.learning_rate:.4g}", _accuracy(record.train),
         *(f"{each[name]:.4f}" if name in each else "-" for name in names), _accuracy(record.validation),
         f"{record.seconds:.2f}") for record, each in zip(history, wrong, strict=True)))


def last_figures(history: History) -> Iterator[Table]:
    """What the learner told of the last epoch, where there is any."""
    last = [record.learning for record in history if record.learning is not None][-1:]
    rows = tuple(row for figures in last for row in _rows(figures))
    if rows:
        yield Table("Figures of the last epoch", ("of", "where", "value"), rows)


def _rows(figures: LearningFigures) -> Iterator[tuple[str, str, str]]:
    for each in fields(figures):
        for place, value in getattr(figures, each.name).items():
            yield _MEANING[each.name], place, f"{value:.4g}"


def _accuracy(figures: Evaluation | None) -> str:
    return "-" if figures is None or figures.accuracy is None else f"{100 * figures.accuracy:.2f}"


def _wrong(figures: Evaluation) -> dict[str, float]:
    return {**({} if figures.loss is None else {"loss": figures.loss}), **figures.errors}
