"""The clock engine: a model graph over all columns of a batch.

What is not recurrent is run node by node over the whole of time: stateless nodes by torch on all rows at once,
populations by the kernel (`scan`), which gathers the weights of spikes itself where they are few. A recurrent component
that is one population with one matrix runs within the kernel too; any other is stepped, one column after the other.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, cast

import networkx as nx
import numpy as np
import torch
from torch import Tensor

from ...ir.columns import columns_of_grid, delay_columns
from ...ir.diagnostics import BadInputError, Diagnostic
from ...ir.graph import Discretization, Graph
from ...ir.nodes import (
    Affine,
    Conv1d,
    Conv2d,
    Delay,
    Flatten,
    Input,
    Linear,
    Neuron,
    Node,
    Output,
    Scale,
    SparseLinear,
    is_spiking,
    params,
)
from ...ir.step_form import step_form
from ...ir.wiring import Wiring
from .cell import Cell, FlatForm, flat_form
from .lists import SpikeLists, lists_of
from .scan import MAX_SOURCES, Scanned, Start, Want, runs_on_host, scan
from .state import ClockState, form_of
from .stateless import through
from .surrogates import Surrogate

__all__ = ["ClockActivity", "ClockEngine", "Parameters", "Signal", "by_delay"]

SPARSE = 0.25
"""Share of elements that are not zero above which a matrix product over all rows is faster than gathering rows."""

Parameters = Mapping[tuple[str, str], Tensor]


@dataclass(slots=True)
class Signal:
    """What a node gives over all columns: `dense` (time, batch, *shape), made when it is asked for, and for spikes
    `lists` of them and the `carrier` of their gradient."""

    shape: tuple[int, ...]
    flags: Tensor | None = None
    carrier: Tensor | None = None
    binary: bool = True
    tensor: Tensor | None = None
    found: SpikeLists | None = None

    def dense(self, dtype: torch.dtype, batch: int) -> Tensor:
        if self.tensor is None and self.flags is not None:
            self.tensor = _Dense.apply(self.carrier, self.flags, dtype).reshape(-1, batch, *self.shape)
        elif self.tensor is None and self.found is not None:
            self.tensor = self.found.dense(dtype).reshape(-1, batch, *self.shape)
        return cast(Tensor, self.tensor)

    def lists(self) -> SpikeLists | None:
        """The spikes as lists, or None where they are too many, or no spikes."""
        if self.found is None and self.flags is not None:
            self.found = lists_of(self.flags, time_first=True, flags=self.binary)
        return self.found


class _Dense(torch.autograd.Function):
    """Flags as numbers; the gradient goes to their carrier."""

    @staticmethod
    def forward(ctx: Any, carrier: Tensor, flags: Tensor, dtype: torch.dtype) -> Tensor:
        return flags.to(dtype)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        return gradient, None, None


@dataclass(slots=True)
class ClockActivity:
    """A run: what every neuron node did. `scanned` by node."""

    engine: ClockEngine
    steps: int
    batch: int
    dtype: torch.dtype
    scanned: Mapping[str, Scanned]
    signals: Mapping[str, Signal]
    state: ClockState

    @property
    def shown_by(self) -> Mapping[str, str]:
        """The node that each output node shows."""
        return self.engine.wiring.shown_by

    @property
    def spiking(self) -> dict[str, bool]:
        """By neuron node, whether it spikes."""
        return {name: is_spiking(self.engine.graph.nodes[name]) for name in self.engine.neurons}

    @property
    def dt(self) -> float:
        """Seconds a column."""
        return self.engine.grid.dt

    def flags(self, node: str) -> Tensor:
        """(time, batch, n) of a spiking node: uint8, or counts where there may be many."""
        return self.scanned[node].flags

    def spikes(self, node: str) -> Tensor:
        """(time, batch, n) of a spiking node, in the type of the run; differentiable by the surrogate."""
        found = self.signals[node].dense(self.dtype, self.batch)
        return found.reshape(self.steps, self.batch, -1)

    def membrane(self, node: str) -> Tensor | None:
        """(time, batch, n) after each column, where it was asked for."""
        return self.scanned[node].shown


class ClockEngine:
    """Runs one graph on its grid.

    Raises:
        BadInputError: the graph is not legal, or states no discretisation (SC403).
        UnsupportedError: what has no meaning on a grid (SC302 to SC304).
    """

    def __init__(self, graph: Graph) -> None:
        self.wiring = Wiring(graph)
        self.wiring.refuse_on_a_grid()
        if graph.discretization is None:
            raise BadInputError(Diagnostic(
                "SC403", "the target clock needs a grid, and the graph states none",
                remedy="Give one: graph.replace(discretization=spikec.Discretization(dt=…)), or dt=… when importing."))
        self.graph = graph
        self.grid: Discretization = graph.discretization
        self.shapes = self.wiring.shapes
        self.order, self.recurrent = columns_of_grid(graph, self.grid)
        self.neurons = self.wiring.neurons
        self._forms: dict[tuple[str, torch.dtype, torch.device], tuple[dict[str, Tensor], FlatForm]] = {}

    @cached_property
    def components(self) -> tuple[tuple[str, ...], ...]:
        """Strongly connected components in topological order, each in the order in which its nodes act."""
        view: nx.DiGraph = nx.DiGraph()
        view.add_nodes_from(self.graph.nodes)
        view.add_edges_from(self.graph.edges)
        position = {name: number for number, name in enumerate(self.order)}
        condensed = nx.condensation(view)
        members = {number: tuple(sorted(condensed.nodes[number]["members"], key=position.__getitem__))
                   for number in condensed}
        key = {number: str(min(position[name] for name in names)).zfill(9) for number, names in members.items()}
        return tuple(members[number] for number in nx.lexicographical_topological_sort(condensed, key=key.__getitem__))

    @cached_property
    def memory(self) -> dict[str, int]:
        """How many of its last columns each node's takers look back to."""
        longest: dict[str, int] = {}
        for source, target in self.graph.edges:
            columns = delay_columns(self.graph.nodes[target], self.grid.dt)
            back = 0 if columns is None or not columns.size else int(columns.max())
            back += self.grid.delay if (source, target) in self.recurrent else 0
            longest[source] = max(longest.get(source, 0), back)
        return {name: back for name, back in longest.items() if back}

    @cached_property
    def form(self) -> tuple[Any, ...]:
        """See `form_of`."""
        return form_of(self.graph, self.grid, self.shapes)

    def flat_form(self, name: str, own: Mapping[str, Tensor], dtype: torch.dtype, device: torch.device) -> FlatForm:
        """The form of a neuron node with these parameters; kept as long as they stay as they are, unless one of them is
        trained. Values are compared: a write through `.data` leaves no other trace."""
        trained = torch.is_grad_enabled() and any(value.requires_grad for value in own.values())
        kept = self._forms.get((name, dtype, device))
        if kept is not None and not trained and all(torch.equal(kept[0][param], own[param]) for param in own):
            return kept[1]
        node: Any = self.graph.nodes[name]
        wide = {param: value.to(torch.float64) for param, value in own.items()}
        form = flat_form(step_form(node, self.grid, wide, torch), self.shapes[name].output, dtype, device)
        if not trained:
            self._forms[name, dtype, device] = ({param: value.detach().clone() for param, value in own.items()}, form)
        return form

    def run(self, inputs: Mapping[str, Signal], steps: int, batch: int, parameters: Parameters, dtype: torch.dtype,
            surrogate: Surrogate, train: bool, show: frozenset[str], state: ClockState | None) -> ClockActivity:
        """Simulates `steps` columns. `inputs` by input node; `show`: neuron nodes whose membrane is wanted after each
        column."""
        run = _Run(self, inputs, steps, batch, parameters, dtype, surrogate, train, show, state)
        run.play()
        return run.activity()


class _Run:
    def __init__(self, engine: ClockEngine, inputs: Mapping[str, Signal], steps: int, batch: int,
                 parameters: Parameters, dtype: torch.dtype, surrogate: Surrogate, train: bool, show: frozenset[str],
                 state: ClockState | None) -> None:
        self.engine, self.graph, self.grid = engine, engine.graph, engine.grid
        self.steps, self.batch, self.dtype, self.parameters = steps, batch, dtype, parameters
        self.want = {name: Want(train, name in show, surrogate) for name in engine.neurons}
        self.device = next((each.device for each in parameters.values()), torch.device("cpu"))
        self.state = state
        self.signals: dict[str, Signal] = dict(inputs)
        self.scanned: dict[str, Scanned] = {}
        self.constant: dict[str, Tensor] = {}
        self.cells: dict[str, Cell] = {}
        self.values: dict[str, dict[str, Tensor]] = {}

    def play(self) -> None:
        self._constants()
        for names in self.engine.components:
            if len(names) == 1 and (names[0], names[0]) not in self.engine.recurrent:
                self._hoisted(names[0])
            elif (own := self._own_matrix(names)) is not None:
                self._within(*own)
            else:
                self._stepped(names)

    def activity(self) -> ClockActivity:
        sent = {name: self._last_columns(name, back) for name, back in self.engine.memory.items()}
        state = ClockState({name: _detached(scanned.end) for name, scanned in self.scanned.items()}, sent,
                           self.engine.form)
        return ClockActivity(self.engine, self.steps, self.batch, self.dtype, self.scanned, self.signals, state)

    # Parameters and constants

    def _of(self, name: str) -> dict[str, Tensor]:
        """The parameters of a stateless node, in the type of the run."""
        if name not in self.values:
            self.values[name] = {param: self.parameters[name, param].to(self.dtype)
                                 for param in params(self.graph.nodes[name])}
        return self.values[name]

    def _constants(self) -> None:
        """The constant current that arrives at each node, (*shape), float64; without an entry there is none."""
        for name in self.engine.wiring.order:
            node = self.graph.nodes[name]
            if isinstance(node, Input | Neuron):
                continue
            biased = getattr(node, "bias", None) is not None or type(node).__name__ == "BatchNorm"
            if name not in self.constant and not biased:
                continue
            shapes, given = self.engine.shapes[name], self.constant.get(name)
            if given is None and isinstance(node, Affine | SparseLinear | Conv1d | Conv2d):  # nothing but the bias
                bias = self.parameters[name, "bias"].to(torch.float64)
                made = bias.view(-1, *(1,) * (len(shapes.output) - 1)).expand(shapes.output)
            else:
                given = torch.zeros(shapes.input, dtype=torch.float64, device=self.device) if given is None else given
                own = {param: self.parameters[name, param].to(torch.float64) for param in params(node)}
                made = through(node, given[None], own, constant=True)[0]
            for target in self.graph.targets[name]:
                self.constant[target] = self.constant[target] + made if target in self.constant else made

    def _cell(self, name: str) -> Cell:
        if name not in self.cells:
            own = {param: self.parameters[name, param] for param in params(self.graph.nodes[name])}
            constant = self.constant.get(name)
            form = self.engine.flat_form(name, own, self.dtype, self.device)
            self.cells[name] = form.driven(None if constant is None else constant.reshape(-1))
        return self.cells[name]

    def _start(self, name: str) -> Start:
        if self.state is not None:
            return self.state.populations[name]
        cell = self._cell(name)
        n = cell.v0.shape[0]
        layout = (self.batch, n)
        made: dict[str, Any] = {"dtype": self.dtype, "device": self.device}
        states = torch.zeros((cell.states, *layout), **made)
        states = torch.cat([cell.v0.expand(1, *layout), states[1:]])
        fired = torch.zeros(layout, **made)
        if cell.resets_late:
            bound = cell.terms["theta"]
            fired = ((states[0] >= bound) if cell.at else (states[0] > bound)).detach().to(self.dtype)
        left = torch.zeros(layout, dtype=torch.int32, device=self.device)
        if cell.rest is not None:
            left = torch.where(fired > 0, cell.rest, left)
        return Start(states, fired, torch.zeros(layout, **made), left)

    # Over all of time

    def _hoisted(self, name: str) -> None:
        node = self.graph.nodes[name]
        if isinstance(node, Input):
            if name not in self.signals:
                shape = self.engine.shapes[name].output
                zeros = torch.zeros((self.steps, self.batch, *shape), dtype=self.dtype, device=self.device)
                self.signals[name] = Signal(shape, tensor=zeros)
        elif isinstance(node, Neuron):
            self._population(name, None, 0, frozenset())
        elif isinstance(node, Output):
            self.signals[name] = self.signals[self.graph.sources[name][0]]
        elif isinstance(node, Flatten) and len(self.graph.sources[name]) == 1:
            given = self.signals[self.graph.sources[name][0]]
            shape = self.engine.shapes[name].output
            tensor = None if given.tensor is None else given.tensor.reshape(self.steps, self.batch, *shape)
            self.signals[name] = replace(given, shape=shape, tensor=tensor)
        elif not self._gathered(name):
            self.signals[name] = Signal(self.engine.shapes[name].output, tensor=self._rows_through(name, node))

    def _gathered(self, name: str) -> bool:
        """Whether the kernels of all takers of this node gather its weights themselves."""
        return self._matrix(name) is not None and all(
            isinstance(self.graph.nodes[target], Neuron) for target in self.graph.targets[name])

    def _matrix(self, name: str) -> tuple[str, SpikeLists] | None:
        """The one source and its lists, of a node that is a matrix over few spikes."""
        node, sources = self.graph.nodes[name], self.graph.sources[name]
        if type(node) not in (Linear, Affine) or delay_columns(node, self.grid.dt) is not None or len(sources) != 1:
            return None
        if sources[0] not in self.signals or (sources[0], name) in self.engine.recurrent:
            return None
        lists = self.signals[sources[0]].lists()
        if lists is None or lists.entries > SPARSE * self.steps * self.batch * lists.n:
            return None
        return sources[0], lists

    def _made(self, name: str) -> None:
        """Sees to it that a node's signal is there, which the kernels of its takers were thought to gather."""
        if name not in self.signals:
            self.signals[name] = Signal(self.engine.shapes[name].output,
                                        tensor=self._rows_through(name, self.graph.nodes[name]))

    def _rows_through(self, name: str, node: Node) -> Tensor:
        """(time, batch, *shape) of what a stateless node gives."""
        made = []
        for back, (part, own) in by_delay(node, self._of(name), self.grid.dt).items():
            given = self._arriving(name, back)
            made.append(through(part, given.reshape(-1, *given.shape[2:]), own))
        return _sum(made).view(self.steps, self.batch, *self.engine.shapes[name].output)

    def _arriving(self, name: str, back: int = 0) -> Tensor:
        """(time, batch, *shape): the sum over edges, `back` columns late."""
        return _sum([self._late(source, back + self._lag(source, name)) for source in self.graph.sources[name]])

    def _lag(self, source: str, target: str) -> int:
        """Columns that a spike takes over an edge."""
        return self.grid.delay if (source, target) in self.engine.recurrent else 0

    def _late(self, source: str, back: int) -> Tensor:
        given = self.signals[source].dense(self.dtype, self.batch)
        if not back:
            return given
        return torch.cat([self._before(source)[-back:], given])[:self.steps]

    def _before(self, name: str) -> Tensor:
        """(memory, batch, *shape): what a node gave before the first column."""
        if self.state is not None:
            return self.state.sent[name].to(self.dtype)
        shape = (self.engine.memory[name], self.batch, *self.engine.shapes[name].output)
        return torch.zeros(shape, dtype=self.dtype, device=self.device)

    def _last_columns(self, name: str, back: int) -> Tensor:
        found = torch.cat([self._before(name), self.signals[name].dense(self.dtype, self.batch)])[-back:]
        return found.detach()

    def _population(self, name: str, own: Tensor | None, delay: int, within: frozenset[str]) -> None:
        """Scans a neuron node; edges from nodes `within` its component are `own`."""
        gathered: list[tuple[SpikeLists, Tensor, Tensor | None]] = []
        dense: list[Tensor] = []
        for source in self.graph.sources[name]:
            if source in within:
                continue
            matrix = None if source in self.signals else self._matrix(source)
            if matrix is not None and len(gathered) < MAX_SOURCES:
                origin, lists = matrix
                gathered.append((lists, self._of(source)["weight"].t(), self.signals[origin].carrier))
            else:
                self._made(source)
                dense.append(self._late(source, self._lag(source, name)))
        drive = None
        if dense:
            drive = _sum(dense).reshape(self.steps, self.batch, -1)
        scanned = scan(self._cell(name), self.steps, self.batch, drive, gathered, own, delay, self._start(name),
                       self.want[name])
        self._keep(name, scanned)

    def _keep(self, name: str, scanned: Scanned) -> None:
        self.scanned[name] = scanned
        shape, node = self.engine.shapes[name].output, self.graph.nodes[name]
        if is_spiking(node):
            self.signals[name] = Signal(shape, scanned.flags, scanned.carrier, not self._cell(name).many)
        elif scanned.shown is not None:
            self.signals[name] = Signal(shape, tensor=scanned.shown.view(self.steps, self.batch, *shape))
        else:
            empty = torch.zeros((self.steps, self.batch, 0), dtype=self.dtype, device=self.device)
            self.signals[name] = Signal((0,), tensor=empty)  # nothing takes it

    # Recurrent components

    def _own_matrix(self, names: tuple[str, ...]) -> tuple[str, str, int] | None:
        """(population, matrix, delay) of a component that is one spiking population and one matrix over its spikes."""
        if len(names) != 2 or not runs_on_host(self.device):
            return None
        neurons = [name for name in names if is_spiking(self.graph.nodes[name])]
        others = [name for name in names if name not in neurons]
        if len(neurons) != 1 or self._cell(neurons[0]).many or (neurons[0], neurons[0]) in self.graph.edges:
            return None
        neuron, matrix = neurons[0], others[0]
        node = self.graph.nodes[matrix]
        if type(node) not in (Linear, Affine) or self.graph.sources[matrix] != (neuron,):
            return None
        late = sum(edge in self.engine.recurrent for edge in ((neuron, matrix), (matrix, neuron)))
        columns = delay_columns(node, self.grid.dt)
        same = 0 if columns is None else int(columns.max())
        if columns is not None and (columns != same).any():
            return None
        delay = late * self.grid.delay + same
        return (neuron, matrix, delay) if delay > 0 and self.graph.targets[matrix] == (neuron,) else None

    def _within(self, neuron: str, matrix: str, delay: int) -> None:
        self._population(neuron, self._of(matrix)["weight"].t(), delay, frozenset({matrix}))
        flags = self.signals[neuron].dense(self.dtype, self.batch)
        # What the matrix gives is needed only where something else looks back at it.
        if matrix in self.engine.memory:
            self.signals[matrix] = Signal(self.engine.shapes[matrix].output,
                                           tensor=through(self.graph.nodes[matrix], flags.reshape(
                                               -1, flags.shape[-1]), self._of(matrix)).view(
                                                   self.steps, self.batch, -1))

    def _stepped(self, names: tuple[str, ...]) -> None:
        """A recurrent component, one column after the other."""
        inside = frozenset(names)
        past = {name: list(self._before(name).unbind(0)) for name in names if name in self.engine.memory}
        sent: dict[str, list[Tensor]] = {name: [] for name in names}
        starts = {name: self._start(name) for name in names if isinstance(self.graph.nodes[name], Neuron)}
        parts = {name: by_delay(self.graph.nodes[name], self._of(name), self.grid.dt) for name in names
                 if name not in starts}
        for source in {source for name in names for source in self.graph.sources[name]} - inside:
            self._made(source)
        outside = {(source, name, back): self._late(source, back) for name in names
                   for back in parts.get(name, (0,))
                   for source in self.graph.sources[name] if source not in inside}
        pieces: dict[str, list[Scanned]] = {name: [] for name in starts}

        def gave(source: str, column: int) -> Tensor:
            return sent[source][column] if column >= 0 else past[source][column]

        def arriving(name: str, column: int, back: int) -> Tensor:
            return _sum([gave(source, column - back - self._lag(source, name)) if source in inside
                         else outside[source, name, back][column] for source in self.graph.sources[name]])

        for column in range(self.steps):
            for name in names:
                shape = self.engine.shapes[name].output
                if name in starts:
                    drive = arriving(name, column, 0).reshape(1, self.batch, -1)
                    scanned = scan(self._cell(name), 1, self.batch, drive, (), None, 0, starts[name], self.want[name])
                    starts[name] = scanned.end
                    pieces[name].append(scanned)
                    given = _Dense.apply(scanned.carrier, scanned.flags, self.dtype)[0].view(self.batch, *shape)
                else:
                    made = [through(part, arriving(name, column, back), own)
                            for back, (part, own) in parts[name].items()]
                    given = _sum(made)
                sent[name].append(given)
        for name in names:
            dense = torch.stack(sent[name])
            if name in starts:
                shown = ([each.shown for each in pieces[name]] if self.want[name].show else None)
                flags = torch.cat([each.flags for each in pieces[name]])
                self.scanned[name] = Scanned(flags, dense, None if shown is None else torch.cat(shown),  # type: ignore[arg-type]
                                             starts[name])
            self.signals[name] = Signal(self.engine.shapes[name].output, tensor=dense)


def _sum(tensors: Sequence[Tensor]) -> Tensor:
    """Of at least one, from the first to the last."""
    return functools.reduce(torch.add, tensors)


def by_delay(node: Node, own: dict[str, Tensor], dt: float) -> dict[int, tuple[Node, dict[str, Tensor]]]:
    """A node without state as a sum of nodes without delay, with their parameters, by the delay of each in columns."""
    columns = delay_columns(node, dt)
    if columns is None:
        return {0: (node, own)}
    found: dict[int, tuple[Node, dict[str, Tensor]]] = {}
    for each in np.unique(columns):
        mask = torch.as_tensor(np.asarray(columns == each))
        if isinstance(node, Delay):
            found[int(each)] = (_SCALE, {"scale": mask.to(own["delay"])})
        else:
            found[int(each)] = (node, {**own, "weight": own["weight"] * mask.to(own["weight"])})
    return found


_SCALE = Scale(scale=np.ones(()))


def _detached(start: Start) -> Start:
    return Start(start.states.detach(), start.fired, start.lagged, start.left, start.past)
