"""Tables of what `gradients.py` measures."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from table_parts import figures, measured, number, table

SOURCES = ("gradients_differences", "gradients_flows", "gradients_graded", "gradients_sweep")
AGAINST_DIFFERENCES = SOURCES[:3]


def worst() -> float:
    """Of all tensors of all kinds of neurons, against finite differences."""
    return max(figures(name)["worst"] for name in AGAINST_DIFFERENCES)


def gradients() -> str:
    """Worst deviations."""
    found, sweep, other = (figures(f"gradients_{part}") for part in ("differences", "sweep", "identities"))
    flows, graded = figures("gradients_flows"), figures("gradients_graded")
    rows = [(row["kind"], "–" if row["ratio"] is None else number(row["ratio"]), _shape(row), str(row["nets"]),
             f"{row['worst']:.1e}") for row in found["rows"]]
    rest = [(row["kind"], _shape(row), str(row["nets"]), str(row["tensors"]), f"{row['worst']:.1e}")
            for row in (*flows["rows"], *graded["rows"])]
    compared, without = (sum(part[name] for part in (found, flows, graded)) for name in (
        "tensors_compared", "tensors_without_equal_counts"))
    unsettled = sum(part["tensors_without_agreeing_steps"] for part in (found, flows, graded))
    summary = [
        ("nets kept", f"{found['kept']} of {found['drawn']} ({100 * found['kept_fraction']:.1f} %) of the first table, "
                      f"rejected only for dV/dt below {found['min_slope']} thresholds per tau_mem; "
                      f"{flows['nets'] + graded['nets']} of {flows['nets'] + graded['nets']} of the second"),
        ("tensors of all these whose differences settle nothing",
         f"{unsettled} of {compared} where no two steps agree to 1e-6, {without} without steps of equal spike counts"),
        ("sweep of tau_mem / tau_syn, worst of times and derivatives", f"{max(sweep['worst'].values()):.1e}"),
        ("time-shift identity", f"{other['time_shift']:.1e}"), ("scaling identity", f"{other['scaling']:.1e}"),
        ("float32 against float64", f"{other['float32_against_float64']:.1e}"),
    ]
    heading = "worst of max abs(g − FD) / max abs(FD)"
    return "\n\n".join([
        table(("neuron", "tau_mem / tau_syn", "net", "nets", heading), rows),
        table(("neuron", "net", "nets", "tensors", heading), rest),
        table(("check", "found"), summary),
        measured(*SOURCES, "gradients_identities"),
    ])


def _shape(row: dict[str, Any]) -> str:
    return "recurrent" if row["recurrent"] else "feedforward"


def graded_gradients() -> str:
    """Of zones and tolerances."""
    found = figures("gradients_graded")
    rows = [(f"`{row['kind']}`", number(row["zone"]), f"{row['tolerance']:.0e}", f"{row['median']:.0e}",
             f"{row['worst']:.0e}", f"{row['zone_worst']:.0e}", number(row["steps_a_ms"]))
            for row in found["tolerances"]]
    adjoint = [(number(float(zone)), f"{max(each for name, each in apart.items() if name != 'hidden.zone'):.0e}",
                f"{apart['hidden.zone']:.0e}") for zone, apart in found["against_adjoint"].items()]
    return "\n\n".join([
        table(("neurons", "zone", "tolerance", "median of nets", "worst", "worst, by `zone`", "steps a ms"), rows),
        f"At a tolerance of {found['tolerance']:.0e} gradients agree with finite differences to {found['worst']:.1e}, "
        f"over {found['nets']} nets with zones from 0.1 to 2 and all tensors, and with the adjoint equations of the "
        "paper, integrated backwards on their own (DOP853), over 15 ms of one net, to:",
        table(("zone", "worst", "by `zone`"), adjoint),
        measured("gradients_graded"),
    ])


TABLES: dict[str, Callable[[], str]] = {"gradients": gradients, "graded_gradients": graded_gradients}
