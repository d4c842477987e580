"""What a Loihi 1 chip has, and what its cores hold: what nengo-loihi asserts before it loads a chip."""

from __future__ import annotations

from types import MappingProxyType

from ...ir.chip import Chip, ChipLimit, SynapseMemory

__all__ = ["LOIHI1"]

_BLOCK = "nengo-loihi 1.1.0, nengo_loihi/block.py"
_OBJECTS = "nengo-loihi 1.1.0, nengo_loihi/hardware/nxsdk_objects.py and builder.py"
_MESH = "SANA-FE, arch/loihi.yaml: 32 tiles, 8 by 4, of 4 cores"

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
    }),
    memory=SynapseMemory(
        word=64, header=10, group=64, index_bits=10, weight_bits=(1, 2, 3, 4, 5, 6, 8), verified=True,
        source=f"{_BLOCK}, SynapseConfig.bits_per_axon, with the 10 bits that index 1024 compartments"),
)
