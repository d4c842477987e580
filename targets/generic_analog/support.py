"""What an analog chip of the user's own description can do with each kind of node: what any chip of leaky circuits with
current-based synapses can. Ranges and capacities are those of its description, which compiling looks at."""

from __future__ import annotations

from ...ir.nodes import IF, LI, LIF, SPIKING, CubaLI, CubaLIF, Delay, I
from ..chips import CHIP_RULES
from ..conditions import CONNECTIONS, FOLDED, MEMBRANES, WEIGHTED, biased, delayed, on_a_grid, subtracts
from ..support import Rule, Support

__all__ = ["SUPPORT"]

SUPPORT = Support(
    (
        *CHIP_RULES,
        Rule(WEIGHTED, "approximate", "weights become whole steps, cut off at the largest"),
        Rule(FOLDED, "approximate", "folded into the weights of a connection, and rounded with them"),
        Rule(CONNECTIONS, "approximate", "the bias moves the potential at rest, where the run starts", biased),
        Rule((CubaLIF,), "approximate", "circuits that differ from each other, and noise"),
        Rule((LIF,), "approximate", "the shortest synapse in place of an impulse, circuits that differ, and noise"),
        Rule((CubaLI, LI), "approximate", "the membrane is read by a converter, in steps"),
        Rule((I, IF), "unsupported", "a membrane without a leak"),
        Rule(MEMBRANES, "approximate", "runs in continuous time; the model states steps", on_a_grid),
        Rule(SPIKING, "unsupported", "reset by subtraction; circuits are reset to a potential", subtracts),
        Rule((Delay,), "approximate", "a neuron for each delayed axon, with jitter"),
        Rule(WEIGHTED, "approximate", "a neuron for each delayed axon, with jitter", delayed),
    ),
    note="judged by what such circuits are; ranges and capacities are those of the chip that is described",
)
