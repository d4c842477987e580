"""A network of rectifiers becomes one of spiking neurons whose rates stand for the activations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import numpy as np

from ..ir.activations import refuse_spikes
from ..ir.diagnostics import Diagnostics, UnsupportedError
from ..ir.graph import Discretization, Graph
from ..ir.nodes import IF, LIF, Array, Flatten, I, MaxPool2d, Neuron, Output, Relu, Scale, SumPool2d
from ..ir.shapes import Shape, Shapes, infer_shapes
from ..ir.stateless import through
from .manager import Pass
from .rewiring import Rewiring

__all__ = ["ConvertToRates", "RectifyOutputs"]


@dataclass(frozen=True)
class RectifyOutputs(Pass[Graph, Graph]):
    """A Relu before every output that does not show one already: what is below zero has no spikes to show it by."""

    name: ClassVar[str] = "rectify-outputs"
    requires: ClassVar[frozenset[str]] = frozenset({"typed"})

    def run(self, graph: Graph) -> Graph:
        wiring = Rewiring(graph)
        for name in graph.outputs:
            if not _shows_rectifier(wiring, name):
                wiring.before(name, f"{name}.relu", Relu())
        return wiring.graph()


@dataclass(frozen=True, eq=False)
class ConvertToRates(Pass[Graph, Graph]):
    """Every Relu becomes a neuron that integrates what arrives, fires at its threshold and subtracts it; every output
    gets a readout that adds up what arrives (Rueckauer et al. 2017, Front. Neurosci. 11:682).

    Values keep the units of the ANN: a spike is a current of 1 for a step (`spike="box"`), and that of a neuron whose
    activation has the scale m stands for m. Over T steps a neuron gives a T / m spikes for the activation a, within
    one, as long as 0 <= a <= m and what it is fed is constant.

    `scales`: what one spike a step stands for, by Relu node, and by input where the input is spikes; they spread over
    the node's shape. `normalise`: what carries the scales. `weights`: thresholds are 1, weights and biases are divided
    by the scale of the layer that they feed and multiplied by that of the layer they come from (Diehl et al. 2015,
    IJCNN). `thresholds`: v_threshold is the scale, and weights are multiplied only. `initial`: the membrane at the
    start, in thresholds; 0.5 makes the expected error smallest (Bu et al. 2022, ICLR). `spikes`: in one step, `one` at
    most, or `many`, which has no activation cut off at m. `tau` (seconds): without it neurons do not leak. With it
    they are LIF, and leak towards half their threshold, where the mean of a firing membrane lies, so that the leak
    takes nothing on average; an activation below m (1 - exp(-dt / tau)) / 2 is lost. `readout`: whether an output that
    shows a Relu shows its spikes.
    """

    name: ClassVar[str] = "convert-to-rates"
    requires: ClassVar[frozenset[str]] = frozenset({"typed"})

    scales: Mapping[str, Array] = field(default_factory=dict)
    dt: float = 1e-3
    tau: float | None = None
    normalise: Literal["weights", "thresholds"] = "weights"
    initial: float = 0.5
    spikes: Literal["one", "many"] = "one"
    readout: Literal["membrane", "spikes"] = "membrane"

    def run(self, graph: Graph) -> Graph:
        """Raises:
            UnsupportedError: the graph holds what has no counterpart among rates (SC310); all of it.
        """
        refuse_spikes(graph)
        self._refuse(graph)
        shapes, _ = infer_shapes(graph)
        wiring = Rewiring(graph)
        for name in graph.outputs:
            if self.readout == "membrane" or not _shows_rectifier(wiring, name):
                wiring.before(name, f"{name}.sum", I(shape=shapes[name].input, r=np.array(1 / self.dt)))
        for name, node in graph.nodes.items():
            if isinstance(node, Relu):
                self._spiking(wiring, name, shapes[name].output)
            if name in self.scales:
                for target in wiring.targets(name):
                    if not isinstance(wiring.nodes[target], Output):
                        _weigh(wiring, name, target, np.asarray(self.scales[name], dtype=np.float64), shapes)
        return wiring.graph().replace(discretization=Discretization(
            self.dt, spike="box", integrator="decay", fires="at", spikes=self.spikes))

    def _refuse(self, graph: Graph) -> None:
        faults = Diagnostics()
        for name, node in graph.nodes.items():
            if isinstance(node, MaxPool2d):
                faults.add("SC310", "a maximum has no counterpart among rates", node=name,
                           remedy="Run the pass maxima-as-rectifiers first, as spikec.convert_ann does.")
            elif isinstance(node, Relu) and name not in self.scales:
                faults.add("SC310", "no scale is given for this rectifier", node=name)
            elif isinstance(node, Relu) and node.ceiling is not None and self.spikes == "many":
                faults.add("SC310", "a rectifier with a ceiling needs neurons that fire once a step", node=name,
                           value=float(node.ceiling.min(initial=np.inf)), remedy="Take spikes='one'.")
        faults.raise_if_errors(UnsupportedError)

    def _spiking(self, wiring: Rewiring, name: str, shape: Shape) -> None:
        """The neuron in the place of a rectifier."""
        scale = np.asarray(self.scales[name], dtype=np.float64)
        threshold = scale
        if self.normalise == "weights":
            threshold = np.ones(())
            wiring.before(name, f"{name}.normalise", Scale(scale=1 / scale))
        wiring.nodes[name] = self._neuron(np.broadcast_to(threshold, shape), shape)

    def _neuron(self, threshold: Array, shape: Shape) -> Neuron:
        if self.tau is None:
            return IF(shape=shape, r=np.array(1 / self.dt), v_threshold=threshold, v0=self.initial * threshold,
                      reset="subtract")
        return LIF(shape=shape, tau=np.array(self.tau), r=np.array(-1 / np.expm1(-self.dt / self.tau)),
                   v_leak=0.5 * threshold, v_threshold=threshold, v0=self.initial * threshold, reset="subtract")


def _shows_rectifier(wiring: Rewiring, output: str) -> bool:
    sources = wiring.sources(output)
    return len(sources) == 1 and isinstance(wiring.nodes[sources[0]], Relu)


def _weigh(wiring: Rewiring, source: str, target: str, scale: Array, shapes: Mapping[str, Shapes]) -> None:
    """Puts the worth of a spike onto an edge, as far behind flattening and pools as it can go, where it is folded."""
    edge = (source, target)
    while True:
        node, onward = wiring.nodes[edge[1]], wiring.targets(edge[1])
        if len(onward) != 1 or len(wiring.sources(edge[1])) != 1:
            break
        if isinstance(node, Flatten):
            spread = np.broadcast_to(scale, shapes[edge[1]].input)
            scale = scale if scale.size == 1 else through(node, spread[None])[0]
        elif not (isinstance(node, SumPool2d) and scale.shape in ((), (shapes[edge[1]].input[0], 1, 1))):
            break
        edge = (edge[1], onward[0])
    wiring.insert(edge, f"{source}.worth", Scale(scale=scale))
