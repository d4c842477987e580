"""The tables and aims of neurons of phases and of equations; `tables.py` writes them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from table_parts import Unsettled, figures, measured, number, table

__all__ = ["AIMS", "SOURCES", "TABLES"]

SOURCES = ("flow_speed", "equations_speed", "pseudospike_sweep")
_SETTINGS = {"a": "its defaults: float32, Euler, 0.01 ms", "b": "float64, order 8, adaptive"}


def theta() -> str:
    """A training step of theta neurons beside the published method."""
    rows = []
    for row in figures("flow_speed"):
        apart, single = row["apart"], row["peer_dtype"] == "float32"
        spikes = f"number by {100 * apart['spikes']:.2g} %" if single else f"times by {apart['spike_times_s']:.0e} s"
        rows.append((row["input"], str(row["batch"]), number(row["ours"]["cpu_ms"]), row["peer_dtype"],
                     number(row["peer"]["cpu_ms"]), number(row["times_less"]), spikes, f"{apart['gradients']:.0e}"))
    head = ("input", "batch", "spikec, float64, CPU ms a step", "the published method, written here in JAX", "CPU ms",
            "times less", "spikes apart", "gradients apart")
    return f"{table(head, rows)}\n\n{measured('flow_speed')}"


def sweep() -> str:
    """How much a loss of pseudospikes and its gradient change as a spike leaves through the end of the run."""
    found = figures("pseudospike_sweep")
    head = ("neurons, and whose spike leaves", "change of", *(f"over a step of {step:g}" for step in
                                                              next(iter(found.values()))["steps"]))
    rows = [(name, what, *(f"{value:.0e}" for value in told[f"change_of_{what}"]))
            for name, told in found.items() for what in ("loss", "gradient")]
    return f"{table(head, rows)}\n\n{measured('pseudospike_sweep')}"


def equations() -> str:
    """A training step of AdEx neurons beside eventax."""
    rows = []
    for row in figures("equations_speed"):
        case = "-".join(map(str, row["sizes"])), row["loss"]
        rows.append((*case, "spikec", *_side(row["ours"]), "1", "1", ""))
        rows += [(*case, f"eventax {found['versions']['eventax']}, {_SETTINGS[name]}", *_side(found),
                  number(found["times_less_cpu"]), number(found["times_less_wall"]), number(found["least_cpu"]))
                 for name, found in row["eventax"].items()]
    head = ("network", "loss of", "simulator", "error of spike times, s", "neurons with another number of spikes",
            "error of derivatives", "CPU ms a step", "wall ms", "times spikec, CPU", "wall", "least of a round, CPU")
    return f"{table(head, rows)}\n\n{measured('equations_speed')}"


def _side(found: dict[str, Any]) -> tuple[str, ...]:
    """Accuracy and time of one side."""
    accuracy = found["accuracy"]
    return (f"{accuracy['spike_times_s']:.0e}", str(accuracy["other_counts"]), f"{accuracy['derivatives']:.0e}",
            number(found["cpu_ms"]), number(found["wall_ms"]))


def _at_equal_accuracy() -> float:
    """The smallest ratio of medians of CPU time, of all networks and losses."""
    return min(float(row["eventax"]["b"]["times_less_cpu"]) for row in figures("equations_speed"))


def _times_less(limit: float) -> float:
    """The smallest ratio of medians of CPU time, of all cases; whether it is above `limit` is not settled where the
    quartiles of its runs lie on both sides of it."""
    worst = min(figures("flow_speed"), key=lambda row: float(row["times_less"]))
    (low, high), (peer_low, peer_high) = (worst[side]["cpu_ms_quartiles"] for side in ("ours", "peer"))
    least, most, found = peer_low / high, peer_high / low, float(worst["times_less"])
    if least < limit <= most:
        raise Unsettled(f"{found:.1f}; by the quartiles of the runs {least:.1f} to {most:.1f}")
    return found


TABLES: dict[str, Callable[[], str]] = {"flow_speed": theta, "equations_speed": equations, "pseudospike_sweep": sweep}

AIMS: tuple[tuple[str, str, Callable[[], float], Callable[[float], bool], str], ...] = (
    ("Theta neurons, 784-100-100-10, training step, times less CPU time than the published method, written in JAX for "
     "this, least of all cases, float32 and float64", "≥ 10", lambda: _times_less(10), lambda x: x >= 10, "{:.1f}"),
    ("AdEx written as equations, training step at equal accuracy, times less CPU time than eventax, least of all cases",
     "≥ 10", _at_equal_accuracy, lambda x: x >= 10, "{:.1f}"),
)
"""As in `tables.py`."""
