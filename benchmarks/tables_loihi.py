"""The tables and aims of what is measured of Loihi; `tables.py` writes them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from table_parts import NotMeasured, figures, measured, number, table

__all__ = ["AIMS", "SOURCES", "TABLES"]

SOURCES = ("loihi_mnist", "loihi_speed", "loihi_peers", "loihi_in_the_loop", "mapping")


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


def peers() -> str:
    """Other simulators of Loihi."""
    rows = []
    for found in figures("loihi_peers").values():
        (name, version), *_ = found["versions"].items()
        differing = ", ".join(f"{count} of {what}" for what, count in found["differing"].items())
        rows.append((f"{name} {version}", str(found["networks"]), f"{found['compared']:,}", f"{found['spikes']:,}",
                     differing))
    head = ("simulator", "networks", "numbers compared, of u, v and spikes each", "spikes among them", "differ")
    return f"{table(head, rows)}\n\n{measured('loihi_peers')}"


def mapping() -> str:
    """Mappings beside METIS and greedy filling."""
    rows = []
    for name, case in figures("mapping").items():
        ours = case["rows"]["spikec"]
        for who, what in (("spikec", "spikec"), ("metis", "METIS, parts in order"), ("greedy", "greedy filling")):
            row = case["rows"][who]
            if "refused" in row:
                rows.append((name, what, "does not fit", "", "", "", "", ""))
                continue
            rows.append((name, what, str(row["cores"]), number(row["packets"]), number(row["hops"]),
                         _times(row["packets"], ours["packets"]), number(row["cpu_s"]),
                         ", ".join(row["exceeds"]) or "none"))
    head = ("network", "by", "cores", "spikes between cores", "hops", "spikes, times spikec's", "CPU s",
            "limits exceeded")
    return f"{table(head, rows)}\n\n{measured('mapping')}"


def _times(theirs: float, ours: float) -> str:
    return f"{theirs / ours:.2f}" if ours else "–"


def _least(who: str, kind: str | None = None) -> float:
    """The smallest ratio of somebody's spikes, or hops, to spikec's; where spikec has none, somebody's are no fewer."""
    ratios = [case["rows"][who][what] / case["rows"]["spikec"][what]
              for case in figures("mapping").values() if kind in (None, case["kind"]) and "packets" in case["rows"][who]
              for what in ("packets", "hops") if case["rows"]["spikec"][what]]
    return float(min(ratios))


def _slowest_mapping() -> float:
    return max(float(case["rows"]["spikec"]["wall_s"]) for case in figures("mapping").values())


def in_the_loop() -> str:
    """Yin-Yang with the chip in the loop."""
    found = figures("loihi_in_the_loop")
    ways = (("further", "trained on the event target, then in the loop"), ("alone", "trained in the loop alone"))
    rows = [("continuous time, target `event`", "", "", _spread(found["summary"]["event"]))]
    rows += [(name, f"{1e3 * grid['dt']:g} ms", *(_spread(grid[way][when]) for when in ("before", "after")))
             for way, name in ways for grid in found["summary"]["grids"]]
    return "\n\n".join([table(("network", "column", "test accuracy before, %", "after, %"), rows),
                        f"Means and standard deviations over {len(found['runs'])} seeds.",
                        measured("loihi_in_the_loop")])


def _spread(of: dict[str, float]) -> str:
    return f"{of['mean']:.2f} ± {of['std']:.2f}"


def _differing() -> float:
    lava = figures("loihi_mnist")["lava"]
    if lava is None:
        raise NotMeasured("loihi_mnist")
    return float(sum(lava["differing"].values()))


TABLES: dict[str, Callable[[], str]] = {"loihi_mnist": mnist, "loihi_speed": speed, "loihi_peers": peers,
                                       "loihi_in_the_loop": in_the_loop, "mapping": mapping}

AIMS: tuple[tuple[str, str, Callable[[], float], Callable[[float], bool], str], ...] = (
    ("MNIST 784-512-10 on Loihi's integers, points lost by post-training quantisation", "≤ 0.3",
     lambda: _worst(lambda run: float(_quantised(run)["lost"])), lambda x: x <= 0.3, "{:.2f}"),
    ("The same by quantisation-aware training", "≤ 0.1",
     lambda: _worst(lambda run: float(run["aware"]["lost"])), lambda x: x <= 0.1, "{:.2f}"),
    ("Accuracy of that on the integers, %", "≥ 98.0",
     lambda: _worst(lambda run: float(run["aware"]["accuracy"]), min), lambda x: x >= 98.0, "{:.2f}"),
    ("u, v and spikes of it that differ from Lava's over 100 images", "0", _differing, lambda x: x == 0, "{:.0f}"),
    ("u, v and spikes that differ from those of nengo-loihi and brian2-loihi, random networks", "0",
     lambda: float(sum(sum(each["differing"].values()) for each in figures("loihi_peers").values())),
     lambda x: x == 0, "{:.0f}"),
    ("Integer emulator, 784-512-10, batch 256, two threads, times Lava's sample-steps a second", "≥ 500",
     lambda: float(figures("loihi_speed")["times_faster"]["wall"]), lambda x: x >= 500, "{:.0f}"),
    ("10,000 images over 32 steps, times faster than Lava would be", "≥ 300",
     lambda: float(figures("loihi_speed")["test_set"]["times_faster"]["wall"]), lambda x: x >= 300, "{:.0f}"),
    ("Mapping, spikes between cores and hops, METIS's over ours, least of all networks", "≥ 1",
     lambda: _least("metis"), lambda x: x >= 1, "{:.2f}"),
    ("The same, greedy filling's over ours, locally connected networks", "≥ 1.3", lambda: _least("greedy", "local"),
     lambda x: x >= 1.3, "{:.2f}"),
    ("Mapping of up to 100,000 neurons and 2 million synapses, slowest, wall s", "< 30", _slowest_mapping,
     lambda x: x < 30, "{:.1f}"),
)
"""As in `tables.py`."""
