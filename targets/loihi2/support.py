"""What Loihi 2 can do with each kind of node, through Lava's fixed-point processes. No allocator of the chip is
public: its capacities come from secondary sources."""

from __future__ import annotations

from ..chips import CHIP_RULES, lava_rules
from ..support import Capacity, Limit, Support

__all__ = ["SUPPORT"]

LONGEST_DELAY = Limit(63, "steps", "Lava 0.10.0, lava/proc/dense/models.py, DelayDense: 6 bits")
NEURONS = Limit(1_000_000, "neurons, for the smallest neuron model", "open-neuromorphic.org, Loihi 2")
SYNAPSES = Limit(120_000_000, "synapses", "open-neuromorphic.org, Loihi 2")

SUPPORT = Support(
    (*CHIP_RULES, *lava_rules(LONGEST_DELAY)),
    (Capacity(lambda model: model.neurons, NEURONS),
     Capacity(lambda model: model.synapses, SYNAPSES)),
    "judged by published facts; microcode for other neurons is not public, limits of a core neither",
)
