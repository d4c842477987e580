"""Graph -> ONNX model that any runtime can execute: one Scan over time, whose body computes one column.

The model says what `simulate_step` says. Neurons are functions of the model (`onnx_neurons`), nodes without state are
plain operations (`onnx_layers`), recurrent and delayed spikes wait in buffers that Scan carries on. What the graph was
is written beside it as text, so that `from_onnx` can give it back (`onnx_stored`).
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
import onnx
from onnx import helper

from ....ir.checks import verify
from ....ir.columns import columns_of_grid
from ....ir.diagnostics import BadInputError, Diagnostic, Diagnostics, UnsupportedError
from ....ir.graph import Discretization, Graph
from ....ir.nodes import Array, Input, Neuron, Output
from ....ir.npz import write_atomically
from ....ir.paths import path_of
from ....ir.shapes import infer_shapes
from ....ir.wiring import Wiring
from .emitter import OPSET, DType, Emitter
from .file import LARGEST_FILE
from .layers import LONGEST_LAG, Layer
from .neurons import DOMAIN, Cells, Structure, cells_of, function_of
from .stored import description

__all__ = ["build_model", "to_onnx"]

IR_VERSION = 8
BATCH, TIME = "batch", "time"


def to_onnx(graph: Graph, path: str | Path, discretization: Discretization | None = None, *,
            dtype: DType = "float64", membranes: bool = False) -> None:
    """Writes the graph as a model for any ONNX runtime (opset 18), whole or not at all.

    A spiking network takes (batch, time, *shape) for each input node and gives (batch, time, *shape) for each output
    node: its spikes, or the membrane of a readout; the numbers of `simulate_step`. `membranes`: the membranes behind
    outputs of spikes as well, as `<output>.membrane`. A network without neurons takes and gives (batch, *shape).
    `dtype`: of the arithmetic; the parameters are stored as they are. `discretization` instead of the graph's own.

    Raises:
        BadInputError: the graph is not legal (SC101 to SC117), or has neurons and states no grid (SC403); no path
            (SC525), or the file cannot be written (SC522).
        UnsupportedError: what has no meaning on a grid (SC302 to SC304, SC306), or does not fit a file (SC209).
    """
    if discretization is not None:
        graph = replace(graph, discretization=discretization)
    path = path_of(path, "an ONNX file")
    if dtype not in ("float64", "float32"):
        raise BadInputError(Diagnostic("SC209", "a model computes in float64 or float32", value=repr(dtype)))
    verify(graph)
    model, out = build_model(graph, dtype, membranes)
    size = sum(array.size * array.dtype.itemsize for array in out.constants.values())
    if size >= LARGEST_FILE:
        raise UnsupportedError(Diagnostic("SC209", "the model is too large for one ONNX file", value=f"{size} bytes",
                                          limit=f"{LARGEST_FILE} bytes", remedy="Save the graph as .spk."))
    model.graph.initializer.extend(out.initializers())
    helper.set_model_props(model, description(graph, out, dtype, membranes))
    write_atomically(path, model.SerializeToString(deterministic=True))


def build_model(graph: Graph, dtype: DType, membranes: bool) -> tuple[onnx.ModelProto, Emitter]:
    """The model of a legal graph without its constants, and the emitter that holds these.

    Raises:
        BadInputError, UnsupportedError: as `to_onnx`.
    """
    spiking = any(isinstance(node, Neuron) for node in graph.nodes.values())
    ends = {*graph.inputs, *graph.outputs}
    shown = {f"{name}.membrane" for name in graph.outputs} if membranes else set()
    keys = {f"{name}.{field}" for name, node in graph.nodes.items() for field in _fields(node)}
    faults = Diagnostics()
    for name in sorted((ends | shown) & keys | ends & shown):
        faults.add("SC209", "an input or output and a parameter have the same name in the file", node=name,
                   remedy="Rename the node.")
    faults.raise_if_errors(UnsupportedError)
    out = Emitter(dtype, ends | shown | keys)
    writer = _Columns(graph, out, membranes) if spiking else _Plain(graph, out)
    inputs, outputs = writer.write()
    opsets = [helper.make_opsetid("", OPSET), *([helper.make_opsetid(DOMAIN, 1)] if writer.functions else [])]
    main = helper.make_graph(out.once + writer.operations, "spikec", inputs, outputs)
    functions = [function_of(name, structure) for structure, name in writer.functions.items()]
    return helper.make_model(main, opset_imports=opsets, functions=functions, ir_version=IR_VERSION,
                             producer_name="spikec"), out


def _fields(node: Any) -> tuple[str, ...]:
    return tuple(name for name in type(node).__dataclass_fields__ if isinstance(getattr(node, name), np.ndarray))


Ends = tuple[list[onnx.ValueInfoProto], list[onnx.ValueInfoProto]]


class _Plain:
    """A network without neurons and without time."""

    def __init__(self, graph: Graph, out: Emitter) -> None:
        self.graph, self.out = graph, out
        self.shapes = infer_shapes(graph)[0]
        self.functions: dict[Structure, str] = {}
        self.operations: list[onnx.NodeProto] = []

    def write(self) -> Ends:
        given: dict[str, str] = {name: name for name in self.graph.inputs}
        position = {name: number for number, name in enumerate(self.graph.nodes)}
        for name in nx.lexicographical_topological_sort(self.graph.to_networkx(), key=position.__getitem__):
            node = self.graph.nodes[name]
            if not isinstance(node, Input):
                layer = Layer(self.out, name, node, self.shapes[name], None, constant=True)
                if getattr(node, "delay", None) is not None:
                    raise UnsupportedError(Diagnostic("SC209", "a delay in a network without time", node=name))
                arriving = _total(self.out, name, [given[source] for source in self.graph.sources[name]])
                given[name] = layer.applied(arriving, 0)
            if isinstance(node, Output):
                self.out.add("Identity", [given[name]], name, outputs=[name])
        self.operations = self.out.columns
        ends = {name: self.out.value_info(name, (BATCH, *self.shapes[name].output)) for name in self.shapes}
        return [ends[name] for name in self.graph.inputs], [ends[name] for name in self.graph.outputs]


def _total(out: Emitter, name: str, values: list[str]) -> str:
    total = values[0]
    for value in values[1:]:
        total = out.add("Add", [total, value], f"{name}/sum")
    return total


class _Columns:
    """A network in time: the body of the Scan, and what it carries on from column to column."""

    def __init__(self, graph: Graph, out: Emitter, membranes: bool) -> None:
        wiring = Wiring(graph)
        wiring.refuse_on_a_grid()
        grid = graph.discretization
        if grid is None:
            raise BadInputError(Diagnostic("SC403", "no discretisation is stated", remedy="Give one, or set it in the "
                                           "graph."))
        self.graph, self.out, self.grid, self.membranes = graph, out, grid, membranes
        self.wiring, self.shapes = wiring, wiring.shapes
        self.layers = {name: Layer(out, name, node, self.shapes[name], grid.dt, constant=False)
                       for name, node in graph.nodes.items() if not isinstance(node, Input | Neuron)}
        self.order, self.recurrent = columns_of_grid(graph, grid)
        if self.recurrent and grid.delay > LONGEST_LAG:
            raise UnsupportedError(Diagnostic("SC209", "a model holds a buffer for recurrent spikes, which is too long",
                                              value=f"delay={grid.delay}", limit=f"{LONGEST_LAG} columns"))
        self.functions: dict[Structure, str] = {}
        self.operations: list[onnx.NodeProto] = []
        self.states: list[_State] = []
        self.given: dict[str, str] = {}
        self.voltage: dict[str, str] = {}

    def write(self) -> Ends:
        for name in self.graph.inputs:
            self.given[name] = self.out.fresh(f"{name}/column")
        waiting = dict.fromkeys(edge[0] for edge in self.graph.edges if edge in self.recurrent)
        buffers = {source: self._state(f"{source}/waiting", self.shapes[source].output, columns=self.grid.delay)
                   for source in waiting}
        late = {source: self._from(buffer, source, 0) for source, buffer in buffers.items()}
        histories = {name: self._state(f"{name}/arrived", self.shapes[name].input, columns=max(layer.lags))
                     for name, layer in self.layers.items() if max(layer.lags)}
        for name in self.order:
            node = self.graph.nodes[name]
            if isinstance(node, Neuron):
                self._neuron(name, node, self._arriving(name, late))
            elif name in self.layers:
                self.given[name] = self._through(self.layers[name], histories.get(name), late)
        for name, history in histories.items():
            self._push(history, self._arriving(name, late), name)
        for source, buffer in buffers.items():
            self._push(buffer, self.given[source], source)
        return self._scan()

    def _arriving(self, name: str, late: dict[str, str]) -> str:
        """What arrives at a node in this column."""
        return _total(self.out, name, [late[source] if (source, name) in self.recurrent else self.given[source]
                                       for source in self.graph.sources[name]])

    def _through(self, layer: Layer, history: _State | None, late: dict[str, str]) -> str:
        """What a node without state gives: the sum over its delays."""
        if history is None:
            return layer.applied(self._arriving(layer.name, late), 0)
        parts = []
        for lag in layer.lags:
            value = self._from(history, layer.name, history.columns - lag) if lag else self._arriving(layer.name, late)
            parts.append(layer.applied(value, lag))
        return _total(self.out, layer.name, parts)

    def _neuron(self, name: str, node: Neuron, arrived: str) -> None:
        shape = self.shapes[name].input
        cells = cells_of(node, self.grid, self.wiring.constant[self.wiring.span[name]].reshape(shape))
        if cells.lag:
            before = self._state(f"{name}/before", shape)
            before.after, arrived = arrived, before.name
        states = {state: self._state(f"{name}/{state}", shape, start=cells.starts.get(state))
                  for state in cells.structure.carried}
        terms = [self.out.constant(value, f"{name}/{term}") for term, value in cells.terms.items()]
        for state in states.values():
            state.after = self.out.fresh(f"{state.name}_next")
        spikes = [self.out.fresh(f"{name}/spikes")] if cells.structure.fires else []
        self.out.add(self._function(cells), [arrived, *(state.name for state in states.values()), *terms], name,
                     outputs=[*spikes, *(state.after for state in states.values())], domain=DOMAIN)
        self.voltage[name] = states["s0"].after
        self.given[name] = spikes[0] if spikes else states["s0"].after

    def _function(self, cells: Cells) -> str:
        """The name of the function: the kind of the node, numbered where there are several."""
        structure = cells.structure
        if structure not in self.functions:
            same = sum(known.kind == structure.kind for known in self.functions)
            self.functions[structure] = structure.kind if not same else f"{structure.kind}_{same + 1}"
        return self.functions[structure]

    # ---- what is carried on

    def _state(self, base: str, shape: tuple[int, ...], columns: int = 0, start: Array | None = None) -> _State:
        state = _State(self.out.fresh(base), (columns, *shape) if columns else shape, columns, start)
        self.states.append(state)
        return state

    def _from(self, buffer: _State, name: str, column: int) -> str:
        return self.out.add("Gather", [buffer.name, self.out.number(column)], name, axis=1)

    def _push(self, buffer: _State, value: str, name: str) -> None:
        """The buffer without its oldest column and with a new one."""
        wide = self.out.add("Unsqueeze", [value, self.out.numbers(1)], name)
        if buffer.columns > 1:
            rest = self.out.add("Slice", [buffer.name, self.out.numbers(1), self.out.numbers(buffer.columns),
                                          self.out.numbers(1)], name)
            wide = self.out.add("Concat", [rest, wide], name, axis=1)
        buffer.after = wide

    def _scan(self) -> Ends:
        """The Scan around the body, and the ends of the model."""
        out, graph = self.out, self.graph
        shown = {name: self.given[name] for name in graph.outputs}
        if self.membranes:
            shown.update({f"{name}.membrane": self.voltage[source] for name, source in self.wiring.shown_by.items()
                          if self.given[source] != self.voltage[source]})
        columns = {name: out.add("Identity", [value], f"{name}/shown") for name, value in shown.items()}
        after = [out.add("Identity", [state.after], state.name) for state in self.states]
        shapes = {name: self.shapes[name.removesuffix(".membrane") if name not in self.shapes else name].output
                  for name in (*graph.inputs, *shown)}
        body = helper.make_graph(
            out.columns, "column",
            [*(out.value_info(state.name, (BATCH, *state.shape)) for state in self.states),
             *(out.value_info(self.given[name], (BATCH, *shapes[name])) for name in graph.inputs)],
            [*(out.value_info(name, (BATCH, *state.shape)) for name, state in zip(after, self.states, strict=True)),
             *(out.value_info(columns[name], (BATCH, *shapes[name])) for name in shown)])
        batch = out.add("Slice", [out.add("Shape", [graph.inputs[0]], "batch", once=True), out.numbers(0),
                                  out.numbers(1)], "batch", once=True)
        starts = [self._start(state, batch) for state in self.states]
        ends = [out.fresh(f"{state.name}_last") for state in self.states]
        # The reference evaluator of ONNX scans over the first axis only.
        given = [self._swapped(name, len(shapes[name])) for name in graph.inputs]
        scanned = [out.fresh(f"{name}/scanned") for name in shown]
        self.operations = [helper.make_node("Scan", [*starts, *given], [*ends, *scanned], name="time", body=body,
                                            num_scan_inputs=len(given))]
        for value, name in zip(scanned, shown, strict=True):
            self.operations.append(helper.make_node("Transpose", [value], [name], name=name,
                                                    perm=_time_and_batch(len(shapes[name]))))
        info = {name: out.value_info(name, (BATCH, TIME, *shape)) for name, shape in shapes.items()}
        return [info[name] for name in graph.inputs], [info[name] for name in shown]

    def _swapped(self, name: str, axes: int) -> str:
        """An input with time in front of the batch."""
        return self.out.add("Transpose", [name], name, once=True, perm=_time_and_batch(axes))

    def _start(self, state: _State, batch: str) -> str:
        shape = self.out.add("Concat", [batch, self.out.numbers(*state.shape)], state.name, once=True, axis=0)
        value = self.out.number(0.0) if state.start is None else self.out.constant(state.start, f"{state.name}_first")
        return self.out.add("Expand", [value, shape], state.name, once=True)


def _time_and_batch(axes: int) -> list[int]:
    return [1, 0, *range(2, axes + 2)]


class _State:
    """Something that Scan carries on: `name` in the body, `after` the column, `start` before the first."""

    def __init__(self, name: str, shape: tuple[int, ...], columns: int, start: Array | None) -> None:
        self.name, self.shape, self.columns, self.start = name, shape, columns, start
        self.after = ""
