"""A network of rectifiers becomes one of neurons that spike once, the larger the activation the earlier."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import numpy as np

from ..ir.activations import refuse_spikes
from ..ir.diagnostics import Diagnostics, UnsupportedError
from ..ir.graph import Discretization, Graph
from ..ir.nodes import IF, Array, Conv1d, Conv2d, I, Input, Linear, MaxPool2d, Neuron, Node, Relu
from ..ir.shapes import Shape, infer_shapes
from .latency_plan import Window, linear_part
from .manager import Pass
from .rewiring import Rewiring

__all__ = ["ConvertToLatencies"]


@dataclass(frozen=True, eq=False)
class ConvertToLatencies(Pass[Graph, Graph]):
    """For continuous time, and exact there: see `latency_plan`, which makes `windows` for this graph.

    Spikes are boxes as long as the whole run, so that each is a current that stays. Every neuron spikes once and is
    refractory from then on. An input `<node>.clock` for each layer of neurons spikes at the start of its window
    (element 0) and at its end (element 1). `unit`: seconds for one unit of the ANN's values. `readout`: what an output
    shows that is fed by one Relu: its spikes, or, like all others, the membrane of a readout at the start of its
    window.
    """

    name: ClassVar[str] = "convert-to-latencies"
    requires: ClassVar[frozenset[str]] = frozenset({"typed"})

    windows: Mapping[str, Window] = field(default_factory=dict)
    unit: float = 1e-3
    readout: Literal["membrane", "spikes"] = "membrane"

    def run(self, graph: Graph) -> Graph:
        """Raises:
            UnsupportedError: the graph holds what has no counterpart among latencies (SC310); all of it.
        """
        refuse_spikes(graph)
        _refuse(graph)
        shapes, _ = infer_shapes(graph)
        wiring = Rewiring(graph.with_nodes({
            name: linear_part(node, len(shapes[name].input)) for name, node in graph.nodes.items()}))
        for name, node in graph.nodes.items():
            shape = shapes[name].output
            if isinstance(node, Relu):
                wiring.nodes[name] = self._neuron(self.windows[name], shape)
                clock = wiring.add(f"{name}.clock", Input(shape=(2,) + (1,) * (len(shape) - 1)))
                drive = wiring.add(f"{name}.drive", _drive(self.windows[name], shape), clock)
                wiring.edges.append((drive, name))
        for name in graph.outputs:
            sources = graph.sources[name]
            if self.readout == "membrane" or len(sources) > 1 or not isinstance(graph.nodes[sources[0]], Relu):
                wiring.before(name, f"{name}.sum", I(shape=shapes[name].input, r=np.array(1 / self.unit),
                                                     v0=self.windows[name].v0))
        return wiring.graph().replace(discretization=Discretization(self.duration, spike="box"))

    @property
    def duration(self) -> float:
        """Seconds until everything has spiked."""
        return self.unit * max(window.last for window in self.windows.values())

    def _neuron(self, window: Window, shape: Shape) -> Neuron:
        return IF(shape=shape, r=np.array(1 / self.unit), v_threshold=np.array(window.end - window.start),
                  v0=window.v0, refractory=np.array(2 * self.duration), reset="zero")


def _drive(window: Window, shape: Shape) -> Node:
    """From the two elements of a clock to every neuron of a layer. A convolution whose kernel is as large as the image,
    padded so that each neuron sees the clock through one weight of its own."""
    weight: Array = np.stack([window.slope, np.full(shape, window.push)], axis=1)
    if len(shape) == 1:
        return Linear(weight=weight)
    weight = np.flip(weight, axis=tuple(range(2, len(shape) + 1)))
    if len(shape) == 2:
        return Conv1d(weight=weight, padding=shape[1] - 1)
    return Conv2d(weight=weight, padding=(shape[1] - 1, shape[2] - 1))


def _refuse(graph: Graph) -> None:
    shapes, _ = infer_shapes(graph)
    faults = Diagnostics()
    for name, node in graph.nodes.items():
        if isinstance(node, MaxPool2d):
            faults.add("SC310", "a maximum has no counterpart among latencies", node=name,
                       remedy="Run the pass maxima-as-rectifiers first, as spikec.convert_ann does.")
        elif isinstance(node, Relu) and node.ceiling is not None:
            faults.add("SC310", "a ceiling has no counterpart among latencies", node=name, value=node.ceiling.min(),
                       remedy="Take code='rate'.")
        elif isinstance(node, Relu) and len(shapes[name].output) > 3:
            faults.add("SC310", "a layer with more than three axes has no clock", node=name,
                       value=shapes[name].output)
    faults.raise_if_errors(UnsupportedError)
