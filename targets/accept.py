"""Whether a model asks for what a chip cannot do, by the rules that `spikec targets` shows."""

from __future__ import annotations

from ..ir.checks import verify
from ..ir.diagnostics import Diagnostics, UnsupportedError
from ..ir.graph import Graph
from .model import Model
from .support import Support, judge, support_of

__all__ = ["accept"]


def accept(graph: Graph, target: str, faults: Diagnostics, support: Support | None = None) -> None:
    """Raises UnsupportedError with every node of which the target's rules say so (SC324), but for what compiling
    measures itself. `support`: rules of a variant of the target, in the place of its own."""
    verify(graph)
    for name, judgement in judge(support or support_of(target), Model(graph)).items():
        if judgement.refusals:
            faults.add("SC324", f"{target} cannot do this: {judgement.refusals[0].text}", node=name,
                       value=type(graph.nodes[name]).__name__,
                       remedy="Change the model, or compile for clock or event.")
    faults.raise_if_errors(UnsupportedError)
