"""What a Loihi 1 chip has, and what its cores hold: what nengo-loihi asserts before it loads a chip."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from ...ir.chip import Chip, ChipLimit, LearningCosts, SynapseMemory

__all__ = ["COMPARTMENTS", "LOIHI1"]

_BLOCK = "nengo-loihi 1.1.0, nengo_loihi/block.py"
_OBJECTS = "nengo-loihi 1.1.0, nengo_loihi/hardware/nxsdk_objects.py and builder.py"
_LAVA = "Lava 0.10, lava/magma/core/learning/constants.py"
_MESH = "SANA-FE, arch/loihi.yaml: 32 tiles, 8 by 4, of 4 cores"

COMPARTMENTS: Mapping[str, tuple[str, ...]] = MappingProxyType({
    "dendrite": (
        "soma: u, v and the spikes; what it says of itself is in its traces y1 to y3",
        "dendrite: the error E, a sum of 24 bits of its own, which no spike resets; asleep, when it is cleared, the "
        "count N"),
    "teacher": (
        "soma: u, v and the spikes; what it says of itself is in its traces y1 to y3",
        "error neuron: the spikes less the teacher's, against a threshold of their own; it sends the error spikes; "
        "asleep, when it is cleared, the count N, which it sends",
        "dendrite: the error E, a sum of 24 bits of the error spikes, which no spike resets"),
    "reward": (
        "soma: u, v and the spikes; what it says of itself is in its traces y1 to y3",
        "reward: the error E, a sum of 24 bits of the rewards, which no spike resets"),
})
"""What the compartments of a learning neuron (`ir/integer/plastic.py`) are for. One has u, v and a threshold of its own
(Davies et al. 2018), so what is summed apart from v, or tested against another threshold, has one of its own."""

LOIHI1 = Chip(
    name="loihi1",
    cores=ChipLimit(value=128, unit="cores a chip", verified=True,
                    source="Davies et al. 2018, IEEE Micro 38(1), doi:10.1109/MM.2018.112130359"),
    width=ChipLimit(value=8, unit="routers", source=_MESH, verified=True),
    height=ChipLimit(value=4, unit="routers", source=_MESH, verified=True),
    at_router=ChipLimit(value=4, unit="cores a router", source=_MESH, verified=True),
    limits=MappingProxyType({
        "neurons": ChipLimit(value=1024, unit="compartments", source=f"{_BLOCK}, MAX_COMPARTMENTS", verified=True),
        "in_axons": ChipLimit(value=4096, unit="axons", source=f"{_BLOCK}, MAX_IN_AXONS", verified=True),
        "out_axons": ChipLimit(value=4096, unit="axons", source=f"{_BLOCK}, MAX_OUT_AXONS", verified=True),
        "synapse_bits": ChipLimit(value=16384 * 64, unit="bits", source=f"{_BLOCK}, MAX_SYNAPSE_BITS", verified=True),
        "compartment_formats": ChipLimit(
            value=31, unit="pairs of du and dv", source=f"{_OBJECTS}: fewer than MAX_COMPARTMENT_CFGS, 32",
            verified=True),
        "threshold_formats": ChipLimit(
            value=7, unit="values of vth", source=f"{_OBJECTS}: fewer than MAX_VTH_CFGS, 8", verified=True),
        "synapse_formats": ChipLimit(
            value=7, unit="formats", verified=True,
            source="nengo-loihi 1.1.0, nengo_loihi/hardware/nxsdk_objects.py: MAX_SYNAPSE_CFGS, 8, of which the first "
                   "stays unused"),
        "trace_formats": ChipLimit(
            value=3, unit="pairs of impulse and tau", verified=True,
            source="nengo-loihi 1.1.0, nengo_loihi/hardware/validate.py, validate_core: stdp_pre_cfgs, whose comment "
                   "says that the number is to be checked"),
    }),
    memory=SynapseMemory(
        word=64, header=10, group=64, index_bits=10, weight_bits=(1, 2, 3, 4, 5, 6, 8), verified=True,
        source=f"{_BLOCK}, SynapseConfig.bits_per_axon, with the 10 bits that index 1024 compartments"),
    learning=LearningCosts(
        in_slots=ChipLimit(
            value=2, unit="input axons", verified=True,
            source=f"{_BLOCK}, Synapse.idxs_per_synapse; the second has the trace of the source "
                   "(nengo_loihi/hardware/builder.py, build_synapse: singleTraceEntry)"),
        out_slots=ChipLimit(
            value=2, unit="output axons", verified=True,
            source=f"{_BLOCK}, Axon.slots_per_axon of pop32, whose spikes choose among weights: the nearest to a value "
                   "that spikes of this chip have"),
        tag_bits=ChipLimit(value=9, unit="bits", source=f"{_LAVA}: W_TAG_1_S, with the sign", verified=True),
        second_tag_bits=ChipLimit(value=8, unit="bits", source=f"{_LAVA}: W_TAG_2_U", verified=True),
        compartments=COMPARTMENTS,
    ),
)
