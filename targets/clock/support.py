"""What the clock target can do with each kind of node."""

from __future__ import annotations

from ...ir.nodes import FLOWS, GRADED, NEURONS, READOUTS, Delay, MaxPool2d, Output, Relu, Threshold
from ..conditions import (
    CONNECTIONS,
    WIRES,
    after_bias,
    feeds_neurons,
    in_continuous_time,
    off_grid,
    shows_no_neuron,
    uneven,
)
from ..support import Rule, Support

__all__ = ["SUPPORT"]

SUPPORT = Support((
    Rule((*WIRES, *CONNECTIONS, Delay, MaxPool2d, Threshold, *NEURONS), "faithful"),
    Rule(NEURONS, "unsupported", "runs in steps, and the model states no grid: give --dt and --spike",
         in_continuous_time),
    Rule((*CONNECTIONS, Delay, *NEURONS), "approximate", "rounded to whole steps", off_grid),
    Rule((Output,), "unsupported", "an output shows one neuron node", shows_no_neuron),
    Rule(GRADED, "unsupported", "graded currents are of continuous time; use event"),
    Rule((Relu,), "unsupported", "a rectifier of a network without spikes; convert it to spiking neurons first"),
    Rule(FLOWS, "unsupported", "stated in continuous time, not on a grid"),
    Rule((Threshold,), "unsupported", "a threshold over a sum of impulses and a constant current", after_bias),
    Rule((MaxPool2d,), "unsupported", "a maximum over impulses and constant currents that differ in a window", uneven),
    Rule(READOUTS, "unsupported", "the membrane of a readout feeds other nodes", feeds_neurons),
))
