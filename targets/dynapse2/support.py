"""What DYNAP-SE2 can do with each kind of node."""

from __future__ import annotations

from ...ir.nodes import IF, LIF, READOUTS, SPIKING, CubaLIF, Delay, I
from ..chips import CHIP_RULES
from ..conditions import (
    CONNECTIONS,
    FOLDED,
    MEMBRANES,
    WEIGHTED,
    biased,
    delayed,
    differing,
    fan_in_beyond,
    on_a_grid,
    resets_above_rest,
    resets_off_rest,
    subtracts,
)
from ..support import Capacity, Limit, Rule, Support

__all__ = ["SUPPORT"]

_DEFAULTS = "rockpool 3.1.0, devices/dynapse/lookup/defaults.py"
_MISMATCH = "rockpool 3.1.0, transform/mismatch.py"
_SIMULATION = "rockpool 3.1.0, devices/dynapse/simulation/dynapsim.py"
FAN_IN = Limit(64, "synapses of a neuron", _DEFAULTS)
NEURONS = Limit(1024, "neurons, 4 cores of 256", _DEFAULTS)
TAGS = Limit(2048, "tags: one an input, two a neuron", _DEFAULTS)

SUPPORT = Support(
    (
        *CHIP_RULES,
        Rule(WEIGHTED, "approximate", "weights become sums of four currents of a core: 16 levels and a sign",
             source=_DEFAULTS),
        Rule(FOLDED, "approximate", "folded into the weights of a connection, and rounded with them",
             source=_DEFAULTS),
        Rule(CONNECTIONS, "unsupported", "a bias of each neuron; the constant current is one for a core of 256", biased,
             source=_DEFAULTS),
        Rule((CubaLIF,), "approximate", "analog DPI circuits, whose membrane is not linear; they differ by about 10 %",
             source=_MISMATCH),
        Rule((LIF,), "approximate", "analog DPI circuits, and a short synapse in place of an impulse",
             source=_SIMULATION),
        Rule((I, IF), "unsupported", "a membrane without a leak", source=_SIMULATION),
        Rule(tuple(kind for kind in READOUTS if kind is not I), "unsupported", "the chip's outputs are spikes",
             source=_DEFAULTS),
        Rule(MEMBRANES, "approximate", "runs in continuous time; the model states steps", on_a_grid),
        Rule(MEMBRANES, "approximate", "values that differ between neurons: those neurons lie on other cores, of "
             "256 neurons each that share them", differing("tau", "tau_mem", "tau_syn", "refractory"),
             source=_DEFAULTS),
        Rule(MEMBRANES, "approximate", "values that differ between neurons are absorbed into the weights",
             differing("v_threshold", "r", "w_in"), source=_DEFAULTS),
        Rule(SPIKING, "unsupported", "reset by subtraction; the circuits are reset to a value", subtracts,
             source=_SIMULATION),
        Rule(SPIKING, "approximate", "the distance from the reset value to the resting one becomes the constant "
             "current of a core", resets_off_rest, source=_SIMULATION),
        Rule(SPIKING, "unsupported", "reset above the resting value; the circuits are reset to their lowest current",
             resets_above_rest, source=_SIMULATION),
        Rule(MEMBRANES, "unsupported", "more synapses than a neuron has", fan_in_beyond(FAN_IN), limit=FAN_IN,
             measured=True),
        Rule((Delay,), "unsupported", "delays; Rockpool sets none", source=_SIMULATION),
        Rule(WEIGHTED, "unsupported", "delays; Rockpool sets none", delayed, source=_SIMULATION),
    ),
    (Capacity(lambda model: model.neurons, NEURONS),
     Capacity(lambda model: model.inputs + 2 * model.neurons, TAGS)),
    "judged by published facts, as Rockpool's DynapSim states them; no chip was asked",
)
