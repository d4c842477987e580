"""What Xylo can do with each kind of node. The update rule is that of xylosim, equal bit by bit on random networks."""

from __future__ import annotations

from ...ir.chip import ChipLimit
from ...ir.nodes import IF, LI, LIF, CubaLI, CubaLIF, Delay, I, Input
from ..chips import CHIP_RULES
from ..conditions import (
    CONNECTIONS,
    FOLDED,
    MEMBRANES,
    WEIGHTED,
    above,
    biased,
    delayed,
    fires_often,
    in_continuous_time,
    larger_than,
    resets,
    shows_more_than,
)
from ..support import Capacity, Limit, Rule, Subject, Support
from .limits import VARIANTS, XyloChip

__all__ = ["SUPPORT", "support_for"]

_SHEET = "rockpool.ai, Xylo overview"
_RULE = "xylosim 0.1.3, version 2: its update rule"


def _fires_once(subject: Subject) -> str | None:
    """One spike in a column of the grid at most."""
    return "" if fires_often(subject) is None and subject.grid is not None else None


def _limit(of: ChipLimit) -> Limit:
    return Limit(of.value, of.unit, of.source)


def support_for(chip: XyloChip) -> Support:
    """The rules of a variant."""
    inputs, outputs = _limit(chip.inputs), _limit(chip.outputs)
    rules = (
        *(rule for rule in CHIP_RULES if rule.when is not fires_often),
        Rule((Input,), "unsupported", "more input channels than there are", larger_than(inputs), limit=inputs,
             measured=True),
        Rule(MEMBRANES, "unsupported", "shown by an output, and more neurons than outputs", shows_more_than(outputs),
             limit=outputs, measured=True),
        Rule(MEMBRANES, "unsupported", "runs in steps, and the model states no grid: give --dt and --spike",
             in_continuous_time),
        Rule(WEIGHTED, "approximate", "weights become integers of 8 bits with one shift a matrix", source=_SHEET),
        Rule(FOLDED, "approximate", "folded into the weights of a connection, and rounded with them", source=_SHEET),
        Rule(CONNECTIONS, "approximate", "the bias becomes an integer that is added once a step", biased,
             source=_RULE),
        Rule((CubaLIF,), "approximate", "states of 16 bits; both decays become shifts by a power of two",
             source=_RULE),
        Rule((CubaLI,), "approximate", "an output neuron whose threshold is out of reach, read by its membrane",
             source="rockpool.ai, XyloSim: output_mode Vmem"),
        Rule((CubaLIF,), "approximate", "a hidden neuron may fire up to 31 times in a step, where the model's fires "
             "once", _fires_once, source=_RULE),
        Rule((CubaLIF,), "approximate", "an output neuron fires once in a step at most", fires_often, source=_RULE),
        Rule((LIF, IF, LI, I), "unsupported", "a membrane without a synaptic current; every synapse of the chip "
             "decays", source=_RULE),
        Rule((CubaLIF,), "unsupported", "the chip's neurons are reset by subtraction", resets, source=_RULE),
        Rule((CubaLIF,), "unsupported", "a refractory period; the chip's neurons have none", above("refractory", 0.0),
             source=_RULE),
        Rule((Delay,), "unsupported", "delays; the chip has none", source=_RULE),
        Rule(WEIGHTED, "unsupported", "delays; the chip has none", delayed, source=_RULE),
    )
    return Support(
        rules, (Capacity(lambda model: model.hidden, _limit(chip.hidden)),
                Capacity(lambda model: model.fan_out, _limit(chip.fan_out))),
        f"judged for the variant {chip.name}; others: {', '.join(name for name in VARIANTS if name != chip.name)}")


SUPPORT = support_for(VARIANTS["audio3"])
