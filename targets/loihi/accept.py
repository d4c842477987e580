"""Whether a model asks for what the chip cannot do, by the rules that `spikec targets` shows."""

from __future__ import annotations

from ...ir.checks import verify
from ...ir.diagnostics import Diagnostics, UnsupportedError
from ...ir.graph import Graph
from ..loihi1.support import IN_AXONS
from ..model import Model
from ..support import judge, support_of

__all__ = ["accept"]


def accept(graph: Graph, target: str, faults: Diagnostics) -> None:
    """Raises UnsupportedError with every node of which the target's rules say so (SC324)."""
    verify(graph)
    for name, judgement in judge(support_of(target), Model(graph)).items():
        # Whether a neuron has too many sources for a core, the mapping tells, with the numbers of that core.
        reasons = [each for each in judgement.reasons if each.source != IN_AXONS.source]
        if judgement.verdict == "unsupported" and len(reasons) == len(judgement.reasons):
            faults.add("SC324", f"{target} cannot do this: {reasons[0].text}", node=name,
                       value=type(graph.nodes[name]).__name__,
                       remedy="Change the model, or compile for clock or event.")
    faults.raise_if_errors(UnsupportedError)
