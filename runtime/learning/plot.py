"""How learning went, as a figure: accuracy, errors, alignment, saturation, updates and rates over the epochs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from ..drawing import new_figure
from ..history import EpochRecord

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["draw"]

# Of the palette of Okabe and Ito, which is told apart by everyone.
_COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442")
_STYLES = ("-", "--", ":", "-.")
_LEARNING = (  # field of the figures, title, factor
    ("angles", "angle between feedback and forward weights, degrees", 1.0),
    ("norms", "norm of feedback over that of forward weights", 1.0),
    ("saturated", "weights at their bounds, %", 100.0),
    ("saturated_traces", "traces at the most that they hold, %", 100.0),
    ("updated", "changes of a synapse in a sample, mean", 1.0),
    ("norm", "norm of weights", 1.0),
    ("rates", "spikes a neuron and second", 1.0),
)


def draw(records: Iterable[EpochRecord]) -> Figure:
    """A figure of what the records of a training hold: its loss or errors, accuracy, and, where a rule learnt, the
    fields of `LearningFigures`, each over the epochs.

    Raises:
        BadInputError: matplotlib is missing (SC532).
    """
    panels = {title: lines for title, lines in _panels(list(records)) if lines}
    rows = max(1, -(-len(panels) // 2))
    figure = new_figure(11, 0.5 + 2.6 * rows)
    from matplotlib.ticker import MaxNLocator

    grid: Any = figure.subplots(rows, 2, squeeze=False, sharex=True).flatten()
    for axes, (title, lines) in zip(grid, panels.items(), strict=False):
        for number, (name, points) in enumerate(lines.items()):
            epochs, values = zip(*points, strict=True)
            axes.plot(epochs, values, _STYLES[number // len(_COLOURS) % len(_STYLES)], marker="o", markersize=3,
                      color=_COLOURS[number % len(_COLOURS)], label=name.replace("$", r"\$"))
        if min(axes.get_ylim()) > 0 and not title.startswith("accuracy"):
            axes.set_ylim(bottom=0)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_title(title, fontsize=9, loc="left")
        axes.legend(fontsize=7)
        axes.grid(alpha=0.3)
    for axes in grid[len(panels):]:
        axes.set_axis_off()
    for axes in grid[max(0, len(panels) - 2):len(panels)]:
        axes.set_xlabel("epoch")
        axes.tick_params(labelbottom=True)
    return figure


Lines = dict[str, list[tuple[int, float]]]


def _panels(records: list[EpochRecord]) -> Iterable[tuple[str, Lines]]:
    """Titles, and of each the lines by name, as points (epoch from 1, value)."""
    accuracy: Lines = {}
    wrong: Lines = {}
    for record in records:
        for split, figures in (("training", record.train), ("validation", record.validation)):
            if figures is None:
                continue
            losses = {} if figures.loss is None else {"loss": figures.loss}
            if figures.accuracy is not None:
                accuracy.setdefault(split, []).append((record.epoch + 1, 100 * figures.accuracy))
            for name, value in {**losses, **figures.errors}.items():
                wrong.setdefault(f"{name}, {split}", []).append((record.epoch + 1, value))
    yield "accuracy, %", accuracy
    yield "loss" if all(name.startswith("loss,") for name in wrong) else "error", wrong
    for field, title, factor in _LEARNING:
        lines: Lines = {}
        for record in records:
            for name, value in getattr(record.learning, field, {}).items():
                lines.setdefault(name, []).append((record.epoch + 1, factor * value))
        yield title, lines
