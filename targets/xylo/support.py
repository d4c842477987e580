"""What Xylo (Audio 2 and 3) can do with each kind of node. The update rule was derived from xylosim's outputs, equal
bit by bit on random networks."""

from __future__ import annotations

from ...ir.nodes import IF, LIF, READOUTS, CubaLIF, Delay, Input
from ..chips import CHIP_RULES
from ..conditions import (
    CONNECTIONS,
    FOLDED,
    MEMBRANES,
    WEIGHTED,
    above,
    biased,
    delayed,
    in_continuous_time,
    larger_than,
    resets,
    shows_more_than,
)
from ..support import Capacity, Limit, Rule, Support

__all__ = ["SUPPORT"]

_SHEET = "rockpool.ai, Xylo overview"
_RULE = "xylosim 0.1.3, version 2: its update rule"
INPUTS = Limit(16, "input channels", _SHEET)
OUTPUTS = Limit(8, "output neurons", _SHEET)
HIDDEN = Limit(1000, "hidden neurons", _SHEET)
FAN_OUT = Limit(64, "targets of one neuron or input", _SHEET)

SUPPORT = Support(
    (
        *CHIP_RULES,
        Rule((Input,), "unsupported", "more input channels than there are", larger_than(INPUTS), limit=INPUTS),
        Rule(MEMBRANES, "unsupported", "shown by an output, and more neurons than outputs", shows_more_than(OUTPUTS),
             limit=OUTPUTS),
        Rule(WEIGHTED, "approximate", "weights become integers of 8 bits with one shift a matrix", source=_SHEET),
        Rule(FOLDED, "approximate", "folded into the weights of a connection, and rounded with them", source=_SHEET),
        Rule(CONNECTIONS, "approximate", "the bias becomes an integer that is added once a step", biased,
             source=_RULE),
        Rule((CubaLIF,), "approximate", "states of 16 bits; both decays become shifts by a power of two",
             source=_RULE),
        Rule((LIF, IF), "unsupported", "a membrane without a synaptic current; every synapse of the chip decays",
             source=_RULE),
        Rule(READOUTS, "unsupported", "outputs of the chip are spikes", source=_SHEET),
        Rule((CubaLIF,), "unsupported", "the chip's neurons are reset by subtraction", resets, source=_RULE),
        Rule((CubaLIF,), "unsupported", "a refractory period; the chip's neurons have none", above("refractory", 0.0),
             source=_RULE),
        Rule((Delay,), "unsupported", "delays; the chip has none", source=_RULE),
        Rule(WEIGHTED, "unsupported", "delays; the chip has none", delayed, source=_RULE),
        Rule((CubaLIF,), "approximate", "the model states no grid: its dt is yours to give (--dt, --spike)",
             in_continuous_time),
    ),
    (Capacity(lambda model: model.hidden, HIDDEN),
     Capacity(lambda model: model.fan_out, FAN_OUT)),
    "judged by published facts for Audio 2 and 3; one spike a step leaves an output neuron at most",
)
