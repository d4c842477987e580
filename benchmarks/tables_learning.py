"""The tables and aims of what is measured of local learning; `tables.py` writes them."""

from __future__ import annotations

from collections.abc import Callable
from statistics import mean, stdev
from typing import Any

from table_parts import NotMeasured, figures, measured, number, table

__all__ = ["AIMS", "SOURCES", "TABLES"]

SOURCES = ("learning_loihi", "learning_loihi_digits", "learning_lava")

FEW = 5
"""Runs that are told of one by one."""

_NAMES = {
    "sleep": "feedback learnt in sleep, each synapse rounds by itself",
    "sleep-lava": "feedback learnt in sleep, one random number for all (as Lava)",
    "transposed": "feedback copied from the weights (baseline)",
    "fixed": "random feedback for ever (baseline)",
    "frozen": "hidden layer frozen (baseline)",
    "surrogate": "surrogate gradients, float32 (baseline)",
}


def loihi(name: str) -> str:
    """What is learnt in Loihi's integers, online; runs one by one where there are few."""
    found, rows = figures(name), []
    for variant, row in _NAMES.items():
        runs = [run for run in found["runs"] if run["variant"] == variant]
        if not runs:
            continue
        accuracies = [run["accuracy"] for run in runs]
        last = [run["epochs"][-1] for run in runs if run.get("epochs")]
        angles = [each["angle"] for each in last if each["angle"] is not None]
        each_one = (", ".join(f"{each:.2f}" for each in accuracies) if len(accuracies) <= FEW else
                    f"± {stdev(accuracies):.2f} of {len(accuracies)} runs")
        rows.append((row, f"{mean(accuracies):.2f}", each_one,
                     f"{mean(angles):.0f}" if angles else "",
                     number(mean(run["cpu_s"] for run in runs) / 60)))
    head = ("how it learns", "test accuracy, %, mean", "of each run", "angle of feedback, degrees", "CPU minutes")
    shown = next((run for run in found["runs"] if "columns_a_sample" in run), None)
    columns = "" if shown is None else (
        f"{shown['columns_a_sample']} columns a sample, in training and test alike, and "
        f"{shown['columns_of_sleep_a_sample']:.1f} of sleep where feedback is learnt so.")
    return "\n\n".join(filter(None, [table(head, rows), columns, measured(name)]))


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


def lava() -> str:
    """Learning in Lava, and how long it takes."""
    found, speed = figures("learning_lava")["trains"], figures("learning_lava")["speed"]
    differing = ", ".join(f"{count} of {what}" for what, count in found["differing"].items())
    told = (f"Two classes, {'-'.join(map(str, found['network']))}: {found['before']:.2f} % of {found['tested']} test "
            f"images before, {found['after']:.2f} % after {found['images']} images ({found['columns']:,} columns) in "
            f"Lava; counts that are alike are no answer. Beside the emulator: {differing} differ.")
    names = {"synapse": "emulator, each synapse rounds by itself", "lava": "emulator, rounding as Lava",
             "no learning": "emulator, without learning", "Lava": "Lava 0.10"}
    rows = [(names[who], number(each["wall_ms"]), number(each["cpu_ms"]) if who != "Lava" else "")
            for who, each in speed["ms_a_sample"].items()]
    return "\n\n".join([
        told, table((f"{'-'.join(map(str, speed['network']))}, online", "ms a sample", "of CPU time"), rows),
        f"All on one core, Lava's processes too. Lava takes {number(speed['ratio'])} times as long; "
        f"an epoch of MNIST takes the emulator {number(speed['epoch_s'])} s.", measured("learning_lava")])


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


def _mean(variant: str, name: str = "learning_loihi", least: int = 3) -> float:
    accuracies = [run["accuracy"] for run in figures(name)["runs"] if run["variant"] == variant]
    if len(accuracies) < least:
        raise NotMeasured(name)
    return mean(accuracies)


def _float(variant: str) -> float:
    return _mean(variant, "learning_digits", 25)


def _digits(variant: str) -> float:
    return _mean(variant, "learning_loihi_digits", 25)


TABLES: dict[str, Callable[[], str]] = {
    "learning_loihi": lambda: loihi("learning_loihi"), "learning_lava": lava, "continual": continual,
    "learning_loihi_digits": lambda: loihi("learning_loihi_digits"),
    "learning_mnist": lambda: of_float("mnist"), "learning_digits": lambda: of_float("digits"),
}

AIMS: tuple[tuple[str, str, Callable[[], float], Callable[[float], bool], str], ...] = (
    ("MNIST learnt online in Loihi's integers, one hidden layer, feedback learnt in sleep, %", "≥ 96.5",
     lambda: _mean("sleep"), lambda x: x >= 96.5, "{:.2f}"),
    ("The same, rounding as Lava does", "≥ 96.5", lambda: _mean("sleep-lava"), lambda x: x >= 96.5, "{:.2f}"),
    ("Digits learnt so, 64-128-10, 5 folds and 5 seeds, %", "≥ 96.5", lambda: _digits("sleep"), lambda x: x >= 96.5,
     "{:.2f}"),
    ("The same, points below ideal feedback (copied)", "≤ 1", lambda: _digits("transposed") - _digits("sleep"),
     lambda x: x <= 1, "{:.2f}"),
    ("Two classes learnt in Lava itself, %", "> 95", lambda: _trains()["after"], lambda x: x > 95, "{:.2f}"),
    ("Weights, tags and spikes of that which differ from the emulator's", "0",
     lambda: float(sum(_trains()["differing"].values())), lambda x: x == 0, "{:.0f}"),
    ("One online sample, 784-100-10, 20 columns, with sleep, ms on one core", "< 0.5",
     lambda: float(figures("learning_lava")["speed"]["ms_a_sample"]["synapse"]["wall_ms"]), lambda x: x < 0.5,
     "{:.2f}"),
    ("The same, times faster than Lava", "≥ 150", lambda: float(figures("learning_lava")["speed"]["ratio"]),
     lambda x: x >= 150, "{:.0f}"),
    ("MNIST learnt in float32, two hidden layers, feedback learnt in sleep, %", "≥ 98.2",
     lambda: _mean("sleep", "learning_mnist"), lambda x: x >= 98.2, "{:.2f}"),
    ("Digits learnt in float32 so, points below surrogate gradients, 5 folds and 5 seeds", "≤ 0.5",
     lambda: _float("surrogate") - _float("sleep"), lambda x: x <= 0.5, "{:.2f}"),
)
"""As in `tables.py`."""


def _trains() -> Any:
    return figures("learning_lava")["trains"]
