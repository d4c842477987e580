"""The tables and aims of what is measured of Loihi; `tables.py` writes them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from table_parts import NotMeasured, figures, measured, number, table

__all__ = ["AIMS", "SOURCES", "TABLES"]

SOURCES = ("loihi_mnist", "loihi_speed")


def mnist() -> str:
    """MNIST in whole numbers."""
    parts = [_mnist_of(run) for run in figures("loihi_mnist")["runs"]]
    lava = figures("loihi_mnist")["lava"]
    if lava is not None:
        beside = ", ".join(f"{count} of {what}" for what, count in lava["differing"].items())
        parts.append(f"The emulator beside Lava, {lava['images']} test images, {lava['columns']} columns, all neurons, "
                     f"{lava['compared']:,} numbers each, {lava['spikes']['hidden']:,} hidden spikes: {beside} differ.")
    return "\n\n".join([*parts, measured("loihi_mnist")])


def _mnist_of(run: dict[str, Any]) -> str:
    rows = [("float32, target `clock`", "", f"{run['float']['accuracy']:.2f}", "", "",
             number(run["float"]["hidden_spikes"]))]
    rows += [_row(f"quantised, {row['method']}", "1,000 images" if row["calibrated"] else "none", row)
             for row in run["quantised"]]
    rows += [_row("quantised (mse), trained one epoch further through whole numbers", "none", run["aware"]),
             ("float32, trained as much further", "", f"{run['float_further']['accuracy']:.2f}", "", "",
              number(run["float_further"]["hidden_spikes"]))]
    head = ("network", "calibration", "test accuracy, %", "lost, points", "weights over their rounding, dB",
            "hidden spikes an image")
    return f"Seed {run['seed']}:\n\n{table(head, rows)}"


def _row(name: str, calibration: str, row: dict[str, Any]) -> tuple[str, ...]:
    noise = ", ".join(f"{layer['sqnr']:.1f}" for layer in row["layers"].values())
    return (name, calibration, f"{row['accuracy']:.2f}", f"{row['lost']:.2f}", noise, number(row["hidden_spikes"]))


def _quantised(run: dict[str, Any]) -> dict[str, Any]:
    """By what `compile` does unless told otherwise."""
    found: dict[str, Any] = next(row for row in run["quantised"] if row["method"] == "mse" and not row["calibrated"])
    return found


def _worst(figure: Callable[[dict[str, Any]], float], of: Callable[..., float] = max) -> float:
    """Over the seeds."""
    return of(figure(run) for run in figures("loihi_mnist")["runs"])


def speed() -> str:
    """The emulator beside Lava."""
    found, whole = figures("loihi_speed"), figures("loihi_speed")["test_set"]
    rows = [(name, number(found["sample_steps_per_s"][who]["wall"]), number(found["sample_steps_per_s"][who]["cpu"]))
            for who, name in (("lava", "Lava 0.10, one sample"), ("emulator", "emulator, batch 256, two threads"))]
    rows.append(("times", *(number(found["times_faster"][kind]) for kind in ("wall", "cpu"))))
    low, high = min(found["times_faster_of_rounds"]), max(found["times_faster_of_rounds"])
    return "\n\n".join([
        table(("", "sample-steps a second", "a second of CPU time"), rows),
        f"Medians of {found['a_sample_and_step']['lava']['samples']} rounds; in single rounds {number(low)} to "
        f"{number(high)} times. {whole['images']:,} images over {whole['steps']} steps ({whole['source']}): "
        f"{number(whole['wall_s'])} s; Lava would take {number(whole['lava_extrapolated_s']['wall'] / 60)} minutes, "
        f"{number(whole['times_faster']['wall'])} times as long.", measured("loihi_speed")])


def _differing() -> float:
    lava = figures("loihi_mnist")["lava"]
    if lava is None:
        raise NotMeasured("loihi_mnist")
    return float(sum(lava["differing"].values()))


TABLES: dict[str, Callable[[], str]] = {"loihi_mnist": mnist, "loihi_speed": speed}

AIMS: tuple[tuple[str, str, Callable[[], float], Callable[[float], bool], str], ...] = (
    ("MNIST 784-512-10 on Loihi's integers, points lost by post-training quantisation", "≤ 0.3",
     lambda: _worst(lambda run: float(_quantised(run)["lost"])), lambda x: x <= 0.3, "{:.2f}"),
    ("The same by quantisation-aware training", "≤ 0.1",
     lambda: _worst(lambda run: float(run["aware"]["lost"])), lambda x: x <= 0.1, "{:.2f}"),
    ("Accuracy of that on the integers, %", "≥ 98.0",
     lambda: _worst(lambda run: float(run["aware"]["accuracy"]), min), lambda x: x >= 98.0, "{:.2f}"),
    ("u, v and spikes of it that differ from Lava's over 100 images", "0", _differing, lambda x: x == 0, "{:.0f}"),
    ("Integer emulator, 784-512-10, batch 256, two threads, times Lava's sample-steps a second", "≥ 500",
     lambda: float(figures("loihi_speed")["times_faster"]["wall"]), lambda x: x >= 500, "{:.0f}"),
    ("10,000 images over 32 steps, times faster than Lava would be", "≥ 300",
     lambda: float(figures("loihi_speed")["test_set"]["times_faster"]["wall"]), lambda x: x >= 300, "{:.0f}"),
)
"""As in `tables.py`."""
