"""Rules that hold for every chip, and those of the two that are reached through Lava."""

from __future__ import annotations

from ..ir.nodes import (
    FLOWS,
    GRADED,
    IF,
    LI,
    LIF,
    READOUTS,
    SPIKING,
    CubaLI,
    CubaLIF,
    Delay,
    I,
    MaxPool2d,
    Output,
    Relu,
    StepNeuron,
    Threshold,
)
from .conditions import (
    CONNECTIONS,
    FOLDED,
    MEMBRANES,
    WEIGHTED,
    WIRES,
    above,
    biased,
    bounded,
    delayed_beyond,
    differing,
    feeds_neurons,
    fires_often,
    in_continuous_time,
    off_grid,
    resets_off_rest,
    shows_no_neuron,
    subtracts,
)
from .support import Limit, Rule

__all__ = ["CHIP_RULES", "lava_rules"]

CHIP_RULES = (
    Rule(WIRES, "faithful"),
    Rule((Output,), "unsupported", "an output shows one neuron node", shows_no_neuron),
    Rule((MaxPool2d,), "unsupported", "a maximum over spikes; use SumPool2d or AvgPool2d"),
    Rule((Threshold,), "unsupported", "a threshold without a membrane; use a spiking neuron"),
    Rule((Relu,), "unsupported", "a rectifier of a network without spikes; convert it to spiking neurons first"),
    Rule(GRADED, "unsupported", "graded currents in the place of spikes; use event"),
    Rule((StepNeuron,), "unsupported", "an update rule that the chip's neurons do not have"),
    Rule(FLOWS, "unsupported", "a differential equation that the chip's neurons do not have; use LIF, CubaLIF or IF"),
    Rule(SPIKING, "unsupported", "the membrane has a lower bound of its own", bounded),
    Rule(READOUTS, "unsupported", "the membrane of a readout feeds other nodes", feeds_neurons),
    Rule(MEMBRANES, "unsupported", "several spikes in one step", fires_often),
)

_LIF = "Lava 0.10.0, lava/proc/lif/models.py, AbstractPyLifModelFixed"
_DENSE = "Lava 0.10.0, lava/proc/dense/models.py"


def lava_rules(longest_delay: Limit) -> tuple[Rule, ...]:
    """What a program for Lava's fixed-point processes can say. `longest_delay`: of a synapse, in steps."""
    return (
        Rule(WEIGHTED, "approximate",
             "weights become integers of 8 bits, -256..254 in steps of 2 where signs are mixed, with one exponent",
             source=_DENSE),
        Rule(FOLDED, "approximate", "folded into the weights of a connection, and rounded with them", source=_DENSE),
        Rule(CONNECTIONS, "approximate", "the bias becomes a 13-bit mantissa with an exponent of 0..7", biased,
             source=_LIF),
        Rule((LIF, CubaLIF), "approximate", "decays of 12 bits, states of 24 bits, a threshold of 17 bits",
             source=_LIF),
        Rule((IF,), "approximate", "states of 24 bits, a threshold of 17 bits", source=_LIF),
        Rule((I, LI, CubaLI), "approximate", "a neuron whose threshold is out of reach, read by a probe; 24 bits",
             source=_LIF),
        Rule(MEMBRANES, "unsupported", "runs in steps, and the model states no grid: give --dt and --spike",
             in_continuous_time),
        Rule(MEMBRANES, "approximate", "one decay and one threshold a population: neurons that differ are grouped",
             differing("tau", "tau_mem", "tau_syn", "v_threshold"), source=_LIF),
        Rule((IF, LIF), "approximate", "reset by subtraction: the membrane is held in the current, from which each "
             "spike takes the threshold", subtracts, source=_LIF),
        Rule((CubaLIF,), "approximate", "a reset by subtraction becomes one to zero: what was above the threshold is "
             "lost", subtracts, source=_LIF),
        Rule(SPIKING, "approximate", "the distance from the reset value to the resting one becomes a bias, of 13 bits "
             "with an exponent", resets_off_rest, source=_LIF),
        Rule(SPIKING, "unsupported", "a refractory period; Lava's fixed-point neurons have none",
             above("refractory", 0.0), source="Lava 0.10.0, lava/proc/lif/models.py: LIFRefractory floating_pt only"),
        Rule((Delay,), "faithful", "becomes the delay of the synapses after it"),
        Rule((Delay, *WEIGHTED), "approximate", "a delay is rounded to whole steps", off_grid),
        Rule((Delay, *WEIGHTED), "unsupported", "a delay is longer than synapses have", delayed_beyond(longest_delay),
             limit=longest_delay),
    )
