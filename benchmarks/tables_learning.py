"""The tables and aims of what is measured of local learning; `tables.py` writes them."""

from __future__ import annotations

from collections.abc import Callable
from statistics import mean
from typing import Any

from table_parts import NotMeasured, figures, measured, number, table

__all__ = ["AIMS", "SOURCES", "TABLES"]

SOURCES = ("learning_loihi", "learning_lava")

_NAMES = {
    "sleep": "feedback learnt in sleep, each synapse rounds by itself",
    "sleep-lava": "feedback learnt in sleep, one random number for all (as Lava)",
    "transposed": "feedback copied from the weights (baseline)",
    "fixed": "random feedback for ever (baseline)",
    "frozen": "hidden layer frozen (baseline)",
    "surrogate": "surrogate gradients, float32 (baseline)",
}


def loihi() -> str:
    """MNIST in Loihi's integers, online."""
    found, rows = figures("learning_loihi"), []
    for variant, name in _NAMES.items():
        runs = [run for run in found["runs"] if run["variant"] == variant]
        if not runs:
            continue
        accuracies = [run["accuracy"] for run in runs]
        last = [run["epochs"][-1] for run in runs if run.get("epochs")]
        angles = [each["angle"] for each in last if each["angle"] is not None]
        rows.append((name, f"{mean(accuracies):.2f}", ", ".join(f"{each:.2f}" for each in accuracies),
                     f"{mean(angles):.0f}" if angles else "",
                     number(mean(run["cpu_s"] for run in runs) / 60)))
    head = ("how it learns", "test accuracy, %, mean", "of each seed", "angle of feedback, degrees", "CPU minutes")
    shown = next((run for run in found["runs"] if "columns_a_sample" in run), None)
    columns = "" if shown is None else (
        f"{shown['columns_a_sample']} columns a sample, in training and test alike, and "
        f"{shown['columns_of_sleep_a_sample']:.1f} of sleep where feedback is learnt so.")
    return "\n\n".join(filter(None, [table(head, rows), columns, measured("learning_loihi")]))


_FLOAT = {
    "sleep": "feedback learnt in sleep", "kolen_pollack": "feedback by Kolen-Pollack",
    "transposed": "feedback copied from the weights (baseline)", "fixed": "random feedback for ever (baseline)",
    "frozen": "hidden layers frozen (baseline)", "surrogate": "surrogate gradients (baseline)",
}


def of_float(task: str) -> str:
    """BioGrad in float32, variants on the same seeds and folds."""
    name = f"learning_{task}"
    found, rows = figures(name), []
    for variant, row in found["summary"].items():
        last = [run["epochs"][-1] for run in found["runs"] if run["variant"] == variant and run.get("epochs")]
        angles = [mean(each["angles"][layer] for each in last) for layer in last[0]["angles"]] if last else []
        less, deviation = row["less_than_sleep"], row["deviation"]
        rows.append((_FLOAT[variant], f"{row['mean']:.2f}", "" if deviation is None else f"{deviation:.2f}",
                     str(row["runs"]), "" if less is None or variant == "sleep" else f"{-less:+.2f}",
                     ", ".join(f"{angle:.0f}" for angle in angles)))
    head = ("how it learns", "test accuracy, %, mean", "deviation", "runs", "beside sleep, same seed and fold, points",
            "angle of feedback, degrees")
    return f"{table(head, rows)}\n\n{measured(name)}"


def _of_float(task: str, variant: str, least: int) -> float:
    row = figures(f"learning_{task}")["summary"].get(variant)
    if row is None or row["runs"] < least:
        raise NotMeasured(f"learning_{task}")
    return float(row["mean"])


def lava() -> str:
    """Learning in Lava, and how long it takes."""
    found, speed = figures("learning_lava")["trains"], figures("learning_lava")["speed"]
    differing = ", ".join(f"{count} of {what}" for what, count in found["differing"].items())
    told = (f"Two classes, {'-'.join(map(str, found['network']))}: {found['before']:.2f} % of {found['tested']} test "
            f"images before, {found['after']:.2f} % after {found['images']} images ({found['columns']:,} columns) in "
            f"Lava. Beside the emulator: {differing} differ.")
    names = {"synapse": "emulator, each synapse rounds by itself", "lava": "emulator, rounding as Lava",
             "no learning": "emulator, without learning", "Lava": "Lava 0.10"}
    rows = [(names[who], number(each["wall_ms"]), number(each["cpu_ms"]) if who != "Lava" else "")
            for who, each in speed["ms_a_sample"].items()]
    return "\n\n".join([
        told, table((f"{'-'.join(map(str, speed['network']))}, online", "ms a sample", "of CPU time"), rows),
        f"Lava takes {number(speed['ratio'])} times as long; an epoch of MNIST takes the emulator "
        f"{number(speed['epoch_s'])} s.", measured("learning_lava")])


_CONTINUAL = {
    "triggered": "error-triggered: images answered wrong, error spikes, last layer",
    "rehearsed": "the same, with two images of each old class among them",
    "every image": "error spikes of every image, last layer",
    "plain": "the error of every column, every image, last layer",
    "all layers": "images answered wrong, BioGrad on both layers, copied feedback",
    "retrained, 20": "off line, last layer: the 20 and all old images, gradients (bound)",
    "retrained, all": "off line, last layer: all images, gradients (bound)",
}


def continual() -> str:
    """A class learnt on chip from 20 images."""
    parts = []
    for name, found in figures("continual").items():
        rows = []
        for variant, row in found["summary"].items():
            taught = number(row["taught"]) if row["taught"] is not None else ""
            rows.append((_CONTINUAL[variant], _spread(row["old_after"]),
                         f"{row['old_before']['mean'] - row['old_after']['mean']:.1f}", f"{row['most_lost']:.1f}",
                         _spread(row["new_after"]), taught))
        before = found["summary"]["triggered"]
        parts.append("\n\n".join([
            table((f"{name}, how the class is learnt", "old classes, %", "points lost", "most lost in a run",
                   "new class, %", "times an image was taught"), rows),
            f"Before: old classes {_spread(before['old_before'])}, the new one {_spread(before['new_before'])}. Means "
            f"over the ten classes held out and {before['seeds']} seeds, and deviations of the seeds' means."]))
    return "\n\n".join([*parts, measured("continual")])


def _spread(of: dict[str, float | None]) -> str:
    return f"{of['mean']:.1f}" + ("" if of["deviation"] is None else f" ± {of['deviation']:.1f}")


def _mean(variant: str) -> float:
    accuracies = [run["accuracy"] for run in figures("learning_loihi")["runs"] if run["variant"] == variant]
    if len(accuracies) < 3:
        raise NotMeasured("learning_loihi")
    return mean(accuracies)


TABLES: dict[str, Callable[[], str]] = {
    "learning_loihi": loihi, "learning_lava": lava, "continual": continual,
    "learning_mnist": lambda: of_float("mnist"), "learning_digits": lambda: of_float("digits"),
}

AIMS: tuple[tuple[str, str, Callable[[], float], Callable[[float], bool], str], ...] = (
    ("MNIST learnt online in Loihi's integers, one hidden layer, feedback learnt in sleep, %", "≥ 96.5",
     lambda: _mean("sleep"), lambda x: x >= 96.5, "{:.2f}"),
    ("The same, rounding as Lava does", "≥ 96.5", lambda: _mean("sleep-lava"), lambda x: x >= 96.5, "{:.2f}"),
    ("Two classes learnt in Lava itself, %", "> 95", lambda: _trains()["after"], lambda x: x > 95, "{:.2f}"),
    ("Weights, tags and spikes of that which differ from the emulator's", "0",
     lambda: float(sum(_trains()["differing"].values())), lambda x: x == 0, "{:.0f}"),
    ("One online sample, 784-100-10, 20 columns, with sleep, ms on one core", "< 0.5",
     lambda: float(figures("learning_lava")["speed"]["ms_a_sample"]["synapse"]["wall_ms"]), lambda x: x < 0.5,
     "{:.2f}"),
    ("The same, times faster than Lava", "≥ 150", lambda: float(figures("learning_lava")["speed"]["ratio"]),
     lambda x: x >= 150, "{:.0f}"),
    ("MNIST learnt in float32, two hidden layers, feedback learnt in sleep, %", "≥ 98.2",
     lambda: _of_float("mnist", "sleep", 3), lambda x: x >= 98.2, "{:.2f}"),
    ("Digits learnt in float32 so, points below surrogate gradients, 5 folds and 5 seeds", "≤ 0.5",
     lambda: _of_float("digits", "surrogate", 25) - _of_float("digits", "sleep", 25), lambda x: x <= 0.5, "{:.2f}"),
)
"""As in `tables.py`."""


def _trains() -> Any:
    return figures("learning_lava")["trains"]
