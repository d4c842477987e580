"""What Loihi can do with each kind of node, through Lava's fixed-point processes. Limits are those that nengo-loihi
asserts before it loads a chip, and those of brian2-loihi's bit-exact model."""

from __future__ import annotations

from ..chips import CHIP_RULES, lava_rules
from ..conditions import MEMBRANES, fan_in_beyond
from ..support import Capacity, Limit, Rule, Support

__all__ = ["SUPPORT"]

LONGEST_DELAY = Limit(62, "steps", "brian2-loihi 0.5.2, delays 0..62")
IN_AXONS = Limit(4096, "axons into a core", "nengo-loihi 1.1.0, nengo_loihi/block.py, MAX_IN_AXONS")
NEURONS = Limit(131_072, "neurons, 128 cores of 1024 compartments",
                "nengo-loihi 1.1.0, nengo_loihi/block.py, MAX_COMPARTMENTS; 128 cores: en.wikichip.org, Loihi")

SUPPORT = Support(
    (*CHIP_RULES, *lava_rules(LONGEST_DELAY),
     Rule(MEMBRANES, "unsupported", "more sources than reach a core, and a neuron cannot be split",
          fan_in_beyond(IN_AXONS), limit=IN_AXONS, measured=True)),
    (Capacity(lambda model: model.neurons, NEURONS),),
    "judged by published facts; what Lava's fixed-point models can say is taken for what the chip does",
)
