"""Neurons that `forward` computes itself, line by line: there is no module that says what they are."""

from __future__ import annotations

from collections.abc import Iterable

from .conversion import Conversion
from .places import nodes_in, operation
from .registry import Leaf
from .trace import Trace, line_of

__all__ = ["refuse_own_neurons"]

_COMPARISONS = ("gt", "ge", "lt", "le", "greater", "greater_equal", "less", "less_equal", "heaviside", "sign")


def refuse_own_neurons(trace: Trace, leaves: Iterable[Leaf], conversion: Conversion) -> bool:
    """Whether spikes come from a comparison, in a model without a module of neurons; that is one fault (SC226), in the
    place of those that every single operation of such a neuron would be."""
    if any(leaf.time is not None for leaf in leaves):
        return False
    compared = next((node for node in trace.graph.nodes if operation(node) in _COMPARISONS and nodes_in(node.args)),
                    None)
    if compared is None:
        return False
    conversion.fail("SC226", f"forward computes a neuron itself, by a comparison, and has no module of neurons"
                    f"{line_of(compared)}", node=compared.name,
                    remedy="Put a module in the place of these lines, such as snntorch.Leaky(beta=…), norse.torch."
                    "LIFCell() or SpikingJelly's LIFNode(); or make them a module of your own and give a converter for "
                    "it, as docs/importing.md shows.")
    return True
