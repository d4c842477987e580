"""One result as a self-contained HTML page: its figures, its seeds, how they stand to what is published and to the aim,
and their losses as they were trained."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...ir.npz import write_atomically
from ...runtime.drawing import new_figure
from ...targets.tables import Table
from ..page import check_page, rendered
from .config import Config
from .figures import table

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["result_page", "save_result"]


def save_result(config: Config, stored: Mapping[str, Any], path: str | Path) -> None:
    """Writes the page of what `reproduce` gave.

    Raises:
        BadInputError: no path (SC525), another suffix than .html (SC550), matplotlib is missing (SC532), or the file
            cannot be written (SC522).
    """
    write_atomically(check_page(path), result_page(config, stored).encode())


def result_page(config: Config, stored: Mapping[str, Any]) -> str:
    """The text of the page."""
    runs = stored["figures"]["runs"]
    head, rows = table(config, stored)
    return rendered(f"spikec reproduce {config.name}", config.title,
                    (Table("The result", head, tuple(rows)), _seeds(config, runs)),
                    (("In what it differs from the paper", config.differs),) if config.differs else (),
                    (*_losses(runs), ("Seeds", _spread(config, runs))))


def _seeds(config: Config, runs: Sequence[Mapping[str, Any]]) -> Table:
    key = config.measure.key
    return Table("Seeds", ("seed", f"{config.measure.name}, %", "epochs", "CPU s", "commit", "started"), tuple(
        (str(run["seed"]), f"{100 * run[key]:.2f}", str(run["epochs"]),
         f"{run['training_cpu_s']:.0f}" if run.get("training_cpu_s") is not None else "–",
         str(run.get("commit"))[:7] + ("*" if run.get("uncommitted_changes") else ""), str(run.get("started", "–")))
        for run in runs), ("Of a commit with a star, the tree had changes.",))


def _losses(runs: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, Figure]]:
    """Where runs keep any: a local rule has no loss."""
    curves = [(run["seed"], run["loss_curve"]) for run in runs if run.get("loss_curve")]
    if not curves:
        return
    figure = new_figure(7.0, 3.2)
    axes: Axes = figure.add_subplot()
    for seed, curve in curves:
        axes.plot(range(1, len(curve) + 1), curve, linewidth=0.8, label=f"seed {seed}")
    if min(min(curve) for _, curve in curves) > 0:
        axes.set_yscale("log")
    # as many values as epochs, or one a step
    steps = any(len(run["loss_curve"]) > run["epochs"] for run in runs if run.get("loss_curve"))
    axes.set(xlabel="step" if steps else "epoch", ylabel="loss in training")
    if len(curves) <= 10:
        axes.legend(fontsize="x-small", ncols=2)
    yield "Losses", figure


def _spread(config: Config, runs: Sequence[Mapping[str, Any]]) -> Figure:
    figure = new_figure(7.0, 1.6)
    axes: Axes = figure.add_subplot()
    found = [100 * run[config.measure.key] for run in runs]
    axes.plot(found, [0.0] * len(found), "o", alpha=0.5, label="seeds")
    axes.axvline(config.aim.percent, linestyle="--", color="0.4", label="aim")
    if config.published is not None:
        axes.axvline(config.published.percent, color="tab:red", label="published")
    axes.set(xlabel=f"{config.measure.name}, %", yticks=[])
    axes.legend(fontsize="x-small", loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure
