"""What the event target can do with each kind of node."""

from __future__ import annotations

from ...ir.nodes import FLOWS, GRADED, READOUTS, SPIKING, Delay, MaxPool2d, Output, Relu, StepNeuron, Threshold
from ..conditions import (
    CONNECTIONS,
    MEMBRANES,
    WIRES,
    beside_graded,
    bounded,
    boxed,
    current_refused,
    feeds_neurons,
    mixes_spikes,
    on_a_grid,
    shows_no_neuron,
)
from ..support import Rule, Support

__all__ = ["SUPPORT"]

SUPPORT = Support((
    Rule((*WIRES, *CONNECTIONS, Delay, *MEMBRANES, *FLOWS, *GRADED), "faithful"),
    Rule((*MEMBRANES, *FLOWS), "approximate", "runs in continuous time, exact for the equation; the model states steps",
         on_a_grid),
    Rule((*MEMBRANES, *FLOWS), "unsupported", "neurons of another kind beside some that send graded currents",
         beside_graded),
    Rule(GRADED, "unsupported", "graded currents are of continuous time; the model states steps", on_a_grid),
    Rule((Output,), "unsupported", "an output shows one neuron node", shows_no_neuron),
    Rule((MaxPool2d,), "unsupported", "a maximum over impulses has no meaning in continuous time"),
    Rule((Threshold,), "unsupported", "a threshold over impulses has no meaning in continuous time"),
    Rule((StepNeuron,), "unsupported", "stated on a grid, not in continuous time"),
    Rule((Relu,), "unsupported", "a rectifier of a network without spikes; convert it to spiking neurons first"),
    Rule(SPIKING, "unsupported", "a lower bound of the membrane is kept on a grid only", bounded),
    Rule(FLOWS, "unsupported", "takes spikes as impulses, not as currents of one step", boxed),
    Rule(FLOWS, "unsupported", "no constant current; use Linear, or Equations", current_refused),
    Rule((*MEMBRANES, *FLOWS), "unsupported", "neurons that take spikes as impulses and as currents are mixed",
         mixes_spikes),
    Rule((*READOUTS, *FLOWS), "unsupported", "the membrane of a readout feeds other nodes", feeds_neurons),
))
