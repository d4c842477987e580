"""A small chip, and networks laid on it by hand, for tests of what a report says."""

from __future__ import annotations

import numpy as np

from spikec.ir.chip import RESOURCES, Chip, ChipLimit, LearningCosts, SynapseMemory
from spikec.ir.integer.network import IntegerNetwork
from spikec.ir.mapping import ChipMapping, CoreContent


def limit(value: int) -> ChipLimit:
    return ChipLimit(value=value, unit="", source="a test", verified=False)


def small_chip(chips: int = 2) -> Chip:
    memory = SynapseMemory(word=64, header=10, group=60, index_bits=8, weight_bits=(1, 2, 4, 8), source="a test",
                           verified=False)
    learning = LearningCosts(in_slots=limit(2), out_slots=limit(2), tag_bits=limit(9), second_tag_bits=limit(8),
                             compartments={})
    return Chip(name="loihi1", learning=learning, cores=limit(24), width=limit(3), height=limit(2), at_router=limit(4),
                limits={name: limit(100 * (1 + len(name))) for name in RESOURCES}, memory=memory, chips=chips)


def scattered(network: IntegerNetwork, seed: int, cores: int = 7, chips: int = 2) -> ChipMapping:
    """Every neuron on a core drawn at random."""
    rng = np.random.default_rng(seed)
    chip = small_chip(chips)
    drawn = {name: rng.integers(0, cores, each.n) for name, each in network.populations.items()}
    contents = []
    for number in range(cores):
        parts = {name: np.flatnonzero(where == number) for name, where in drawn.items() if (where == number).any()}
        if not parts:
            continue
        place = rng.integers(0, (chips, 3, 2, 4))
        contents.append(CoreContent(parts=parts, chip=int(place[0]), x=int(place[1]), y=int(place[2]),
                                    core=int(place[3]), loads={name: int(rng.integers(0, 100)) for name in RESOURCES}))
    return ChipMapping(chip=chip, cores=tuple(contents))
