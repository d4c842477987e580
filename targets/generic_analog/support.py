"""What an analog chip of the user's own description can do with each kind of node: what any chip of leaky circuits with
current-based synapses can. Ranges and capacities are those of its description, which compiling looks at."""

from __future__ import annotations

from ...ir.nodes import IF, LI, LIF, SPIKING, CubaLI, CubaLIF, Delay, I
from ..chips import CHIP_RULES
from ..conditions import CONNECTIONS, FOLDED, MEMBRANES, WEIGHTED, biased, delayed, on_a_grid, subtracts
from ..model import Model
from ..support import Capacity, Limit, Rule, Support

__all__ = ["SUPPORT"]

_ANY = "of any chip of leaky circuits; its numbers are those of its description, chip.toml"
CIRCUITS = Limit(4096, "neuron circuits", "assumed: chip.toml, where it can be changed")


def circuits(model: Model) -> int:
    """A circuit for each neuron."""
    return sum(model.size(name) for name in model.neuron_nodes)


SUPPORT = Support(
    (
        *CHIP_RULES,
        Rule(WEIGHTED, "approximate", "weights become whole steps, cut off at the largest", source=_ANY),
        Rule(FOLDED, "approximate", "folded into the weights of a connection, and rounded with them", source=_ANY),
        Rule(CONNECTIONS, "approximate", "the bias moves the potential at rest, where the run starts", biased,
             source=_ANY),
        Rule((CubaLIF,), "approximate", "circuits that differ from each other, and noise", source=_ANY),
        Rule((LIF,), "approximate", "the shortest synapse in place of an impulse, circuits that differ, and noise",
             source=_ANY),
        Rule((CubaLI, LI), "approximate", "the membrane is read by a converter, in steps", source=_ANY),
        Rule((I, IF), "unsupported", "a membrane without a leak", source=_ANY),
        Rule(MEMBRANES, "approximate", "runs in continuous time; the model states steps", on_a_grid, source=_ANY),
        Rule(SPIKING, "unsupported", "reset by subtraction; circuits are reset to a potential", subtracts, source=_ANY),
        Rule((Delay,), "approximate", "a neuron for each delayed axon, with jitter", source=_ANY),
        Rule(WEIGHTED, "approximate", "a neuron for each delayed axon, with jitter", delayed, source=_ANY),
    ),
    (Capacity(circuits, CIRCUITS),),
    "judged by what such circuits are; ranges and capacities are those of the chip that is described",
)
