"""Gradients of QIF and theta neurons and of neurons written as text, against finite differences: a part of
`gradients.py`. No net is rejected."""

from __future__ import annotations

from typing import Any

import random_flows
from gradient_trials import STEPS, EventTrial, Tally
from random_flows import KINDS


def flows_part(quick: bool) -> dict[str, Any]:
    """Adjoint against finite differences over random nets (`random_flows`); pseudospikes too, of nets without cycles,
    which they ask for."""
    seeds = 1 if quick else 6
    rows, tally = [], Tally()
    for kind, settings in KINDS.items():
        for recurrent in (False,) if settings.pseudospikes else (False, True):
            row = tally.row(EventTrial(random_flows.draw(kind, recurrent, seed)) for seed in range(seeds))
            rows.append({"kind": kind, "recurrent": recurrent, **row})
            print(f"  {kind:18} {'recurrent' if recurrent else 'feedforward':11} {row['nets']} nets, "
                  f"{row['tensors']:3} tensors: worst {row['worst']:.1e}, steps differ by "
                  f"{row['two_steps_differ_by']:.1e}, {len(row['unsettled'])} not settled", flush=True)
    print(f"  worst {tally.worst:.2e}, {tally.no_step} tensors without a step of equal counts, {tally.unsettled} of "
          f"{tally.compared} where no two steps agree")
    return {"rows": rows, "nets": sum(row["nets"] for row in rows), "steps": STEPS, **tally.figures()}
