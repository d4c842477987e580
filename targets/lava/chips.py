"""What of a plastic network a chip could not run as Lava's simulation does, as data: each part with its reason."""

from __future__ import annotations

from dataclasses import dataclass

from ...ir.integer.plastic import PlasticNetwork

__all__ = ["ChipLimit", "chip_limits"]

LOIHI1, LOIHI2 = "loihi1", "loihi2"


@dataclass(frozen=True, slots=True)
class ChipLimit:
    """`chip`: loihi1 or loihi2; `node`: a population or a projection; `verdict`: "cannot", or "untested" where nothing
    that is public speaks against it."""

    chip: str
    node: str
    verdict: str
    reason: str


def chip_limits(plastic: PlasticNetwork) -> tuple[ChipLimit, ...]:
    """By part of the network, for each chip."""
    found: list[ChipLimit] = []

    def add(node: str, one: tuple[str, str], two: tuple[str, str]) -> None:
        found.extend((ChipLimit(LOIHI1, node, *one), ChipLimit(LOIHI2, node, *two)))

    for name, neuron in plastic.neurons.items():
        add(name, ("cannot", "its neurons have a gate at the threshold and an error of their own, and say y1 to y3: "
                   "compartments do not, and the chip's post traces follow spikes"),
            ("cannot", "its neurons are a process for CPUs; the chip needs them in its microcode, for which nothing "
             "public exists"))
        if neuron.error == "dendrite":
            add(name, ("cannot", "asleep, its neurons send spikes with a sign: spikes of Loihi 1 have no value"),
                ("untested", "asleep, its neurons send spikes with a sign, as graded spikes"))
    for each in plastic.feedback:
        add(each.name, ("cannot", "error spikes have a value and a sign: spikes of Loihi 1 have none"),
            ("untested", "error spikes have a value and a sign, as graded spikes"))
    for each in (*plastic.network.projections, *plastic.feedback):
        rule = plastic.rules.get(each.name)
        if rule is None:
            continue
        if rule.three_factor:
            add(each.name, ("cannot", "its rule takes y1 to y3 from the neuron: those of Loihi 1 are traces of spikes"),
                ("untested", "its rule takes y1 to y3 from the neuron"))
        else:
            both = "untested", "its rule is of two factors and its processes are of Lava's library"
            add(each.name, both, both)
        if each.sign == "mixed":
            add(each.name, ("cannot", "in Lava, weights of either sign become odd when they learn; those of the chip "
                            "are even"), ("untested", "in Lava, weights of either sign become odd when they learn"))
    return tuple(found)
