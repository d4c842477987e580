"""The network of a learner, run column by column: what every neuron gave, and the membranes before their resets.

What depends on the inputs alone is computed for all columns at once, unless weights change on the way.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ....ir.learning.layout import LearningLayout
from ....ir.nodes import Affine, Input, Neuron, Output, is_spiking, params
from ....ir.step_form import step_form
from ....ir.wiring import Wiring
from ...arenas import empty
from ...clock.engine import ClockEngine, by_delay
from ...clock.stateless import through
from .neurons import Neurons

__all__ = ["Forward"]


class Forward:
    """`start`, then `advance` for each column. `weights` and `biases` of plastic projections are those of the learner,
    and may change between columns. `spikes` (columns, batch, n) by input and spiking node; `reached` and `bars` by
    neuron node of `watch`: membranes before the reset and thresholds."""

    def __init__(self, engine: ClockEngine, layout: LearningLayout, weights: Mapping[str, Tensor],
                 biases: Mapping[str, Tensor], watch: Collection[str], dtype: torch.dtype,
                 device: torch.device) -> None:
        self.engine, self.graph, self.layout, self.watch = engine, engine.graph, layout, frozenset(watch)
        self.weights, self.biases, self.dtype, self.device = weights, biases, dtype, device
        self.neurons = {name: Neurons(step_form(node, engine.grid), engine.shapes[name].output, dtype, device)
                        for name, node in self.graph.nodes.items() if isinstance(node, Neuron)}
        self.own = {name: {param: torch.from_numpy(np.array(value)).to(device, dtype)
                           for param, value in params(node).items()}
                    for name, node in self.graph.nodes.items() if not isinstance(node, Neuron)}
        self.parts = {name: by_delay(node, self.own[name], engine.grid.dt) for name, node in self.graph.nodes.items()
                      if not isinstance(node, Input | Output | Neuron) and name not in weights}
        fixed = {name: node for name, node in self.graph.nodes.items() if name in biases}
        unbiased: Any = {name: Affine(weight=node.weight, bias=np.zeros_like(node.bias))
                         for name, node in fixed.items() if isinstance(node, Affine)}
        wiring = Wiring(self.graph.with_nodes(unbiased)) if unbiased else engine.wiring
        self.fixed = {name: torch.from_numpy(np.array(wiring.constant[wiring.span[name]])).to(device, dtype)
                      for name in self.neurons}

    def start(self, batch: int, columns: int, inputs: Mapping[str, Tensor], silent: Collection[str] = (),
              hoist: bool = True) -> None:
        """To rest. `inputs` (columns, batch, n) by node: of input nodes, and of those whose spikes are replaced.
        `silent`: nodes that give nothing. `hoist`: weights stay as they are."""
        self.batch, self.silent, self.replaced = batch, frozenset(silent), dict(inputs)
        self.sent: dict[str, dict[int, Tensor | None]] = {name: {} for name in self.graph.nodes}
        self.spikes = dict(inputs)
        self.reached, self.bars = {}, {}
        for name, neurons in self.neurons.items():
            if name in inputs or name in self.silent:
                continue
            neurons.start(batch)
            if is_spiking(self.graph.nodes[name]):
                self.spikes[name] = empty((columns, batch, neurons.n), self.dtype, self.device)
            if name in self.watch:
                self.reached[name] = empty((columns, batch, neurons.n), self.dtype, self.device)
                if any(each is not None for each in neurons.gain):
                    self.bars[name] = empty((columns, batch, neurons.n), self.dtype, self.device)
        self.hoisted: dict[str, Tensor] = {}
        if hoist:
            self._hoist(columns)
        self.constant = {name: self._constant(name) for name in self.neurons} if hoist else None

    def advance(self, column: int, injected: Mapping[str, Tensor]) -> None:
        """Takes the next column. `injected` (batch, n): currents into neurons."""
        for name in self.engine.order:
            node = self.graph.nodes[name]
            if name in self.replaced:
                given: Tensor | None = self.replaced[name][column]
            elif name in self.hoisted:
                given = self.hoisted[name][column]
            elif name in self.silent or isinstance(node, Input | Output):
                given = None
            elif isinstance(node, Neuron):
                given = self._neurons(name, column, injected.get(name))
            elif name in self.weights:
                arriving = self._arriving(name, column, 0)
                given = None if arriving is None else F.linear(arriving, self.weights[name])
            else:
                given = self._through(name, column)
            self.sent[name][column] = given
            self.sent[name].pop(column - self.engine.memory.get(name, 0) - 1, None)

    def voltage(self, name: str) -> Tensor:
        """(batch, n): the membrane of a neuron node in the last column, before its reset."""
        return self.neurons[name].reached

    def _neurons(self, name: str, column: int, injected: Tensor | None) -> Tensor | None:
        neurons = self.neurons[name]
        constant = self._constant(name) if self.constant is None else self.constant[name]
        if injected is not None:
            constant = injected if constant is None else constant + injected
        spikes = self.spikes[name][column] if name in self.spikes else None
        reached = self.reached[name][column] if name in self.reached else None
        neurons.advance(self._arriving(name, column, 0), constant, spikes, reached)
        if name in self.bars:
            self.bars[name][column] = torch.as_tensor(neurons.bar)
        return spikes

    def _constant(self, name: str) -> Tensor | None:
        total = self.fixed[name]
        for plastic in self.layout.plastic:
            if plastic.target == name and plastic.name in self.biases:
                total = total + self.biases[plastic.name]
        return total if bool(total.any()) else None

    def _arriving(self, name: str, column: int, back: int) -> Tensor | None:
        """(batch, n): the sum over edges; None: nothing."""
        total: Tensor | None = None
        for source in self.graph.sources[name]:
            late = back + (self.engine.grid.delay if (source, name) in self.engine.recurrent else 0)
            given = self.sent[source].get(column - late)
            if given is not None:
                flat = given.reshape(self.batch, -1)
                total = flat if total is None else total + flat
        return total

    def _through(self, name: str, column: int) -> Tensor | None:
        total: Tensor | None = None
        for back, (part, own) in self.parts[name].items():
            arriving = self._arriving(name, column, back)
            if arriving is not None:
                made = through(part, arriving.view(self.batch, *self.engine.shapes[name].input), own)
                total = made if total is None else total + made
        return total

    def _hoist(self, columns: int) -> None:
        """Stateless nodes that depend on what is given alone."""
        for name in self.engine.order:
            node, sources = self.graph.nodes[name], self.graph.sources[name]
            if isinstance(node, Input | Output | Neuron) or len(sources) != 1 or (
                    sources[0], name) in self.engine.recurrent:
                continue
            given = self.hoisted.get(sources[0], self.replaced.get(sources[0]))
            if given is None:
                continue
            given = given[:1] if columns > 1 and not given.stride(0) else given  # the same in every column
            rows = given.reshape(len(given) * self.batch, *self.engine.shapes[name].input)
            if name in self.weights:
                made = F.linear(rows, self.weights[name])
            elif list(self.parts[name]) == [0]:
                made = through(node, rows, self.own[name])
            else:
                continue
            self.hoisted[name] = made.reshape(len(given), self.batch, *made.shape[1:]).expand(
                columns, self.batch, *made.shape[1:])
