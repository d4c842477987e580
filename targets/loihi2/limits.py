"""What a Loihi 2 chip has, and what its cores hold. No allocator of the chip is public: where nothing is published, a
core is taken to hold what one of Loihi 1 holds."""

from __future__ import annotations

from types import MappingProxyType

from ...ir.chip import Chip, ChipLimit, LearningCosts, SynapseMemory
from ..loihi1.limits import COMPARTMENTS

__all__ = ["LOIHI2"]

_LOIHI1 = "as on Loihi 1 (targets/loihi1/limits.py), since none is published"
_MESH = "fbhtechinfo.com on Intel's announcement of 2021: 128 cores in a mesh of 8 by 16"

LOIHI2 = Chip(
    name="loihi2",
    cores=ChipLimit(value=128, unit="cores a chip", source="open-neuromorphic.org, Loihi 2", verified=False),
    width=ChipLimit(value=16, unit="routers", source=_MESH, verified=False),
    height=ChipLimit(value=8, unit="routers", source=_MESH, verified=False),
    at_router=ChipLimit(value=1, unit="cores a router", source=_MESH, verified=False),
    limits=MappingProxyType({
        "neurons": ChipLimit(
            value=1024, unit="neurons", verified=False,
            source=f"{_LOIHI1}; the 1 million neurons a chip of open-neuromorphic.org are 8192 a core of the smallest "
                   "model"),
        "in_axons": ChipLimit(value=4096, unit="axons", source=_LOIHI1, verified=False),
        "out_axons": ChipLimit(value=4096, unit="axons", source=_LOIHI1, verified=False),
        "synapse_bits": ChipLimit(value=16384 * 64, unit="bits", source=_LOIHI1, verified=False),
        "compartment_formats": ChipLimit(value=31, unit="pairs of du and dv", source=_LOIHI1, verified=False),
        "threshold_formats": ChipLimit(value=7, unit="values of vth", source=_LOIHI1, verified=False),
        "synapse_formats": ChipLimit(value=7, unit="formats", source=_LOIHI1, verified=False),
        "trace_formats": ChipLimit(value=3, unit="pairs of impulse and tau", source=_LOIHI1, verified=False),
    }),
    memory=SynapseMemory(word=64, header=10, group=64, index_bits=10, weight_bits=(1, 2, 3, 4, 5, 6, 8),
                         source=_LOIHI1, verified=False),
    learning=LearningCosts(
        in_slots=ChipLimit(value=2, unit="input axons", source=_LOIHI1, verified=False),
        out_slots=ChipLimit(
            value=1, unit="output axons", verified=False,
            source="open-neuromorphic.org, Loihi 2: spikes carry a value; what else that takes is not published"),
        tag_bits=ChipLimit(value=9, unit="bits", source=_LOIHI1, verified=False),
        second_tag_bits=ChipLimit(value=8, unit="bits", source=_LOIHI1, verified=False),
        compartments=COMPARTMENTS,
    ),
)
