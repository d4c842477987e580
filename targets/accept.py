"""Whether a model asks for what a chip cannot do, by the rules that `spikec targets` shows."""

from __future__ import annotations

from ..ir.checks import verify
from ..ir.diagnostics import Diagnostics, UnsupportedError
from ..ir.graph import Graph
from .model import Model
from .support import Support, judge, support_of

__all__ = ["accept"]

_SIMULATORS = ("clock", "event")
"""Which are named to those whom a chip refuses, where they take the node."""


def accept(graph: Graph, target: str, faults: Diagnostics, support: Support | None = None) -> None:
    """Raises UnsupportedError with every node of which the target's rules say so (SC324), but for what compiling
    measures itself. `support`: rules of a variant of the target, in the place of its own."""
    model = Model(verify(graph))
    found = judge(support or support_of(target), model)
    refused = {name: judgement.refusals[0] for name, judgement in found.items() if judgement.refusals}
    others = {name: judge(support_of(name), model) for name in _SIMULATORS} if refused else {}
    for name, reason in refused.items():
        taken = " or ".join(each for each, judged in others.items() if not judged[name].refusals)
        faults.add("SC324", f"{target} cannot do this: {reason.text}", node=name,
                   value=type(graph.nodes[name]).__name__,
                   remedy=f"Change the model, or compile for {taken}." if taken else "Change the model.")
    faults.raise_if_errors(UnsupportedError)
