"""Networks written by hand.

    net = Builder()
    x = net.input("in", 784)
    h = net.cubalif("hidden", 350, tau_mem=20e-3, tau_syn=5e-3)
    o = net.cubali("label", 10, tau_mem=20e-3, tau_syn=5e-3)
    net.connect(x, h, weight=normal(0.08, 0.04, seed=1), name="fc1")
    net.connect(h, o, weight=normal(0.0, 0.1, seed=2), name="fc2")
    net.output("out", o)
    graph = net.build()

A call with a wrong argument raises at once; what only the whole network can show, `build` reports all together.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

import numpy as np

from ...ir import nodes
from ...ir.checks import check, verify
from ...ir.conform import conforms
from ...ir.diagnostics import BadInputError, Diagnostics
from ...ir.graph import Discretization, Edge, Graph
from ...ir.nodes import Array, Node, Padding, Pair, Reset
from ...ir.ranges import check_name
from ...ir.shapes import infer_shapes
from .connections import dense_node, is_sparse, sparse_node, spread, values_of
from .initialisers import Initialiser

__all__ = ["Builder", "Handle"]

_OF_EDGES = ("SC106", "SC112", "SC155")
"""What a node that is looked at by itself cannot be asked yet; the last, since a bias may add to its current."""

Size = int | tuple[int, ...]
Number = float | Array


@dataclass(frozen=True, slots=True)
class Handle:
    """A node of the network under construction: `name`, and the `shape` of one sample that leaves it."""

    name: str
    shape: tuple[int, ...]
    builder: Builder = field(repr=False, compare=False)

    def connect(self, target: Handle, **arguments: Any) -> Handle:
        """As `Builder.connect`; returns the target, so that layers chain."""
        return self.builder.connect(self, target, **arguments)


class Builder:
    """Collects nodes and edges; `build` checks them and returns the `Graph`.

    Times in seconds. A `shape` is that of one sample, a number or a tuple. A parameter of a neuron is a scalar or an
    array that spreads over its shape. Weights are arrays or initialisers (`normal`, `uniform`). `reset`: "zero",
    "v_reset" or "subtract". Below, S is the sum of what is connected to a neuron. `discretization` and `metadata` go
    into the graph. Every method but `build`, `node`, `replace`, `sources`, `keep` and `free_name` returns the
    `Handle` of a node.

    Raises:
        BadInputError: from every method, at once, where an argument is wrong (SC201, or the code of the rule that it
            breaks, SC102 to SC115, of a text SC133 to SC137, of a graded zone SC455) or a name is taken (SC202). `add`
            looks at shapes alone: what else is wrong with a node that is given whole, `build` reports.
    """

    def __init__(self, discretization: Discretization | None = None,
                 metadata: Mapping[str, str | int | float | bool] | None = None) -> None:
        self._nodes: dict[str, Node] = {}
        self._handles: dict[str, Handle] = {}
        self._edges: list[Edge] = []
        self._discretization = discretization
        self._metadata = dict(metadata or {})

    # ---- ends of the network

    def input(self, name: str, shape: Size) -> Handle:
        """Where events come in; `shape` of one sample."""
        shape = self._shape(name, shape)
        return self._add(name, nodes.Input(shape=shape), shape)

    def output(self, name: str, source: Handle) -> Handle:
        """Where the spikes of `source`, the membrane of a readout, or a `linear` of graded currents go out."""
        return self._after(name, source, nodes.Output(shape=self._known(source, name).shape))

    # ---- neurons

    def lif(self, name: str, shape: Size, *, tau: Number, r: Number = 1.0, v_leak: Number = 0.0,
            v_threshold: Number = 1.0, v_reset: Number = 0.0, reset: Reset = "v_reset", refractory: Number = 0.0,
            v0: Number = 0.0) -> Handle:
        """tau dV/dt = (v_leak - V) + r S: leaky integrate and fire."""
        return self._neuron(name, nodes.LIF, shape, tau=tau, r=r, v_leak=v_leak, v_threshold=v_threshold,
                            v_reset=v_reset, reset=reset, refractory=refractory, v0=v0)

    def if_(self, name: str, shape: Size, *, r: Number = 1.0, v_threshold: Number = 1.0, v_reset: Number = 0.0,
            reset: Reset = "v_reset", refractory: Number = 0.0, v0: Number = 0.0) -> Handle:
        """dV/dt = r S: integrate and fire."""
        return self._neuron(name, nodes.IF, shape, r=r, v_threshold=v_threshold, v_reset=v_reset, reset=reset,
                            refractory=refractory, v0=v0)

    def cubalif(self, name: str, shape: Size, *, tau_mem: Number, tau_syn: Number, w_in: Number | None = None,
                r: Number = 1.0, v_leak: Number = 0.0, v_threshold: Number = 1.0, v_reset: Number = 0.0,
                reset: Reset = "v_reset", refractory: Number = 0.0, v0: Number = 0.0) -> Handle:
        """tau_syn dI/dt = -I + w_in S; tau_mem dV/dt = (v_leak - V) + r I: current-based leaky integrate and fire.
        Without `w_in` it is tau_syn, so that a spike moves I by its weight."""
        return self._neuron(name, nodes.CubaLIF, shape, tau_mem=tau_mem, tau_syn=tau_syn,
                            w_in=tau_syn if w_in is None else w_in, r=r, v_leak=v_leak, v_threshold=v_threshold,
                            v_reset=v_reset, reset=reset, refractory=refractory, v0=v0)

    def integrator(self, name: str, shape: Size, *, r: Number = 1.0, v0: Number = 0.0) -> Handle:
        """dV/dt = r S: a readout that never spikes."""
        return self._neuron(name, nodes.I, shape, r=r, v0=v0)

    def li(self, name: str, shape: Size, *, tau: Number, r: Number = 1.0, v_leak: Number = 0.0,
           v0: Number = 0.0) -> Handle:
        """tau dV/dt = (v_leak - V) + r S: a readout that never spikes."""
        return self._neuron(name, nodes.LI, shape, tau=tau, r=r, v_leak=v_leak, v0=v0)

    def cubali(self, name: str, shape: Size, *, tau_mem: Number, tau_syn: Number, w_in: Number | None = None,
               r: Number = 1.0, v_leak: Number = 0.0, v0: Number = 0.0) -> Handle:
        """As `cubalif`, without spikes: a readout. Without `w_in` it is tau_syn."""
        return self._neuron(name, nodes.CubaLI, shape, tau_mem=tau_mem, tau_syn=tau_syn,
                            w_in=tau_syn if w_in is None else w_in, r=r, v_leak=v_leak, v0=v0)

    def qif(self, name: str, shape: Size, *, tau: Number, v0: Number = 0.0) -> Handle:
        """tau dV/dt = V (V - 1) + I, (tau / 2) dI/dt = -I: quadratic integrate and fire, whose spikes come and go at
        the end of a run only. A spike moves I by its weight."""
        return self._neuron(name, nodes.QIF, shape, tau=tau, v0=v0)

    def theta(self, name: str, shape: Size, *, tau: Number, i0: Number = 1.25, v0: Number = 0.5) -> Handle:
        """tau dV/dt = V (V - 1) + i0: a neuron that oscillates, with period pi tau / sqrt(i0 - 1/4). A spike moves V by
        its weight."""
        return self._neuron(name, nodes.Theta, shape, tau=tau, i0=i0, v0=v0)

    def equations(self, name: str, shape: Size, equations: Any = None, /, *, threshold: str | None = None,
                  reset: str = "", receive: str = "i", refractory: Number = 0.0, **values: Any) -> Handle:
        """A neuron that is written as text: "dv/dt = (v_rest - v)/tau", one line a state; see `docs/equations.md`.
        `values`: its parameters by name, and starts of its states as `v0`. A record of `spikec.equations` in the place
        of the text states all of it; what is given beside it takes the place of its own."""
        if "equations" in values:
            if equations is not None:
                _fail("a parameter may not be called this", name, value="equations", remedy="Call it otherwise.")
            equations = values.pop("equations")
        if isinstance(equations, Mapping):
            _check_record(name, equations)
            given = {"threshold": threshold, "reset": reset, "receive": receive, "refractory": refractory}
            usual = {"threshold": None, "reset": "", "receive": "i", "refractory": 0.0}
            own = {key: value for key, value in given.items()
                   if not isinstance(value, str | int | float | None) or value != usual[key]}
            stated = {**equations, **own, **values}
            return self.equations(name, shape, stated.pop("equations"), **stated)
        _check_texts(name, equations=equations, threshold=threshold, reset=reset, receive=receive)
        shape = self._shape(name, shape)
        held: dict[str, Any] = {key: spread(name, key, values_of(name, key, value, shape), shape)
                                for key, value in {"refractory": refractory, **values}.items()}
        texts: dict[str, Any] = {"threshold": threshold, "reset": reset, "receive": receive}
        node = nodes.Equations(shape=shape, equations=equations, refractory=held.pop("refractory"), values=held,
                               **texts)
        return self._add(name, node, shape)

    def graded_theta(self, name: str, shape: Size, *, tau: Number, tau_syn: Number, zone: Number = 1.0, r: Number = 1.0,
                     v0: Number = 0.0) -> Handle:
        """tau dv/dt = (1 - cos v) + (1 + cos v) r S, tau_syn ds/dt = -s + g(v) dv/dt: a theta neuron that sends the
        graded current s. `zone`: radians about the spike at v = pi in which its gate is open."""
        return self._neuron(name, nodes.GradedTheta, shape, tau=tau, tau_syn=tau_syn, zone=zone, r=r, v0=v0)

    def graded_li(self, name: str, shape: Size, *, tau: Number, tau_syn: Number, zone: Number = 1.0, r: Number = 1.0,
                  v_leak: Number = 0.0, v_gate: Number = 1.0, v0: Number = 0.0) -> Handle:
        """tau dv/dt = (v_leak - v) + r S, tau_syn ds/dt = -s + g(v) dv/dt: a leaky membrane that sends the graded
        current s, and never resets. `zone`: width of the gate about `v_gate`."""
        return self._neuron(name, nodes.GradedLI, shape, tau=tau, tau_syn=tau_syn, zone=zone, r=r, v_leak=v_leak,
                            v_gate=v_gate, v0=v0)

    # ---- between neurons

    def connect(self, source: Handle, target: Handle, *, weight: Any = None, bias: Any = None, delay: Any = None,
                name: str | None = None) -> Handle:
        """A connection from `source` to `target`, which may be the same. Returns the target.

        `weight`: a dense (out, in) array, an initialiser, a scipy sparse matrix, or (rows, columns, values) with
        rows in the target; without it the two are joined as they are. `bias`: (out,), a scalar or an initialiser.
        `delay`: seconds, one for all or one per weight, in the order of the weights. `name`: of the node in between,
        by default `source_target`.
        """
        self._known(source, "connect")
        self._known(target, "connect")
        if weight is None:
            if bias is not None or delay is not None or name is not None:
                _fail("a connection without weight carries no bias, delay or name", target.name,
                      remedy="Give a weight, or insert a `delay` node.")
            self._edges.append((source.name, target.name))
            return target
        if len(target.shape) != 1:
            _fail("a weight matrix feeds a target with one axis", target.name, value=target.shape)
        name = name if name is not None else self.free_name(f"{source.name}_{target.name}")
        self.linear(name, source, weight=weight, n_out=target.shape[0], bias=bias, delay=delay)
        self._edges.append((name, target.name))
        return target

    def linear(self, name: str, source: Handle, *, weight: Any, n_out: int | None = None, bias: Any = None,
               delay: Any = None) -> Handle:
        """y = W x + bias as a node of its own; arguments as for `connect`. `n_out`: rows, where `weight` is an
        initialiser or (rows, columns, values)."""
        shape = self._known(source, name).shape
        if len(shape) != 1:
            _fail("a weight matrix takes a source with one axis", name, value=shape, remedy="Put `flatten` before it.")
        n_in = shape[0]
        make = sparse_node if is_sparse(weight) else dense_node
        return self._after(name, source, make(name, weight, bias, delay, n_in, n_out))

    def conv1d(self, name: str, source: Handle, *, weight: Any, channels: int | None = None,
               kernel_size: int | None = None, bias: Any = None, stride: int = 1, padding: Any = 0, dilation: int = 1,
               groups: int = 1) -> Handle:
        """torch.nn.Conv1d over (C, L). `channels` and `kernel_size`: where `weight` is an initialiser."""
        weight = self._kernel(name, source, weight, channels, None if kernel_size is None else (kernel_size,), groups)
        return self._after(name, source, nodes.Conv1d(
            weight=weight, bias=_bias(name, bias, weight), input_shape=source.shape[-1], stride=stride,
            padding=padding, dilation=dilation, groups=groups))

    def conv2d(self, name: str, source: Handle, *, weight: Any, channels: int | None = None,
               kernel_size: int | Pair | None = None, bias: Any = None, stride: int | Pair = 1,
               padding: int | Padding = 0, dilation: int | Pair = 1, groups: int = 1) -> Handle:
        """torch.nn.Conv2d over (C, H, W). `channels` and `kernel_size`: where `weight` is an initialiser."""
        size = None if kernel_size is None else _pair(name, kernel_size)
        weight = self._kernel(name, source, weight, channels, size, groups)
        return self._after(name, source, nodes.Conv2d(
            weight=weight, bias=_bias(name, bias, weight), input_shape=_last_two(source.shape),
            stride=_pair(name, stride), padding=padding if isinstance(padding, str) else _pair(name, padding),
            dilation=_pair(name, dilation), groups=groups))

    def sum_pool2d(self, name: str, source: Handle, kernel_size: int | Pair, stride: int | Pair | None = None,
                   padding: int | Pair = 0) -> Handle:
        """Sum over windows of (C, H, W); without `stride` the windows do not overlap."""
        return self._pool(name, nodes.SumPool2d, source, kernel_size, stride, padding)

    def avg_pool2d(self, name: str, source: Handle, kernel_size: int | Pair, stride: int | Pair | None = None,
                   padding: int | Pair = 0) -> Handle:
        """Mean over windows of (C, H, W)."""
        return self._pool(name, nodes.AvgPool2d, source, kernel_size, stride, padding)

    def max_pool2d(self, name: str, source: Handle, kernel_size: int | Pair, stride: int | Pair | None = None,
                   padding: int | Pair = 0) -> Handle:
        """Maximum over windows of (C, H, W); targets that have no rule for it refuse it."""
        return self._pool(name, nodes.MaxPool2d, source, kernel_size, stride, padding)

    def flatten(self, name: str, source: Handle, start_dim: int = 0, end_dim: int = -1) -> Handle:
        """Axes `start_dim` to `end_dim` of one sample become one; there is no batch axis."""
        return self._after(name, source, nodes.Flatten(start_dim=start_dim, end_dim=end_dim))

    def delay(self, name: str, source: Handle, delay: Number) -> Handle:
        """y(t) = x(t - delay), seconds."""
        return self._after(name, source, nodes.Delay(delay=values_of(name, "delay", delay)))

    def scale(self, name: str, source: Handle, scale: Number) -> Handle:
        """y = scale x, element by element; a scalar is spread over the shape."""
        return self._after(name, source, nodes.Scale(
            scale=spread(name, "scale", values_of(name, "scale", scale), self._known(source, name).shape)))

    def threshold(self, name: str, source: Handle, threshold: Number) -> Handle:
        """y = 1 where x > threshold, else 0."""
        return self._after(name, source, nodes.Threshold(
            threshold=spread(name, "threshold", values_of(name, "threshold", threshold),
                             self._known(source, name).shape)))

    def batch_norm(self, name: str, source: Handle, *, mean: Number, variance: Number, gamma: Number = 1.0,
                   beta: Number = 0.0, eps: float = 1e-5) -> Handle:
        """y = gamma (x - mean) / sqrt(variance + eps) + beta over the first axis."""
        channels = self._known(source, name).shape[:1]
        given = {"mean": mean, "variance": variance, "gamma": gamma, "beta": beta}
        values: dict[str, Any] = {
            key: spread(name, key, values_of(name, key, value), channels) for key, value in given.items()}
        return self._after(name, source, nodes.BatchNorm(
            **values, eps=float(spread(name, "eps", values_of(name, "eps", eps), ()))))

    def add(self, name: str, node: Node, *sources: Handle) -> Handle:
        """Any node of `spikec.ir.nodes`, fed by `sources`."""
        known = [self._known(source, name) for source in sources]
        given = known[0].shape if known else getattr(node, "shape", None)
        if given is None:
            _fail(f"the shape of {type(node).__name__} follows from its source, and none is given", name)
        handle = self._add(name, node, given, known[0].name if known else "source", whole=False)
        self._edges.extend((source.name, name) for source in known)
        return handle

    def handle(self, name: str) -> Handle:
        """The handle of a node by its name."""
        if not isinstance(name, str) or name not in self._handles:
            _fail("there is no node of this name", name)
        return self._handles[name]

    def node(self, name: str) -> Node:
        """The node of this name."""
        return self._nodes[self.handle(name).name]

    def replace(self, name: str, node: Node) -> None:
        """Puts a node of the same shape in the place of another."""
        self._nodes[self.handle(name).name] = node

    def sources(self, name: str) -> tuple[Handle, ...]:
        """The nodes that feed a node."""
        return tuple(self._handles[source] for source, target in self._edges if target == name)

    def promise(self, name: str, shape: Size) -> Handle:
        """The handle of a node that is yet to come, for cycles; `keep` says what it is."""
        return Handle(f"promise {name}", self._shape(name, shape), self)

    def keep(self, promise: Handle, *sources: Handle) -> None:
        """Lets the edges of a promise start at `sources`."""
        self._edges = [edge for source, target in self._edges for edge in (
            ((each.name, target) for each in sources) if source == promise.name else ((source, target),))]

    def build(self, discretization: Discretization | None = None) -> Graph:
        """The graph, checked. `discretization`: in the place of the builder's own.

        Raises:
            BadInputError: with every fault of the network (SC101 to SC117, SC131 to SC139, SC155).
        """
        grid = self._discretization if discretization is None else discretization
        return verify(Graph(self._nodes, tuple(self._edges), grid, self._metadata))

    # ---- inner workings

    def _neuron(self, name: str, kind: type[nodes.Neuron], shape: Size, reset: Reset | None = None,
                **given: Any) -> Handle:
        shape = self._shape(name, shape)
        values: dict[str, Any] = {
            key: spread(name, key, values_of(name, key, value, shape), shape) for key, value in given.items()}
        options: dict[str, Any] = {} if reset is None else {"reset": reset}
        return self._add(name, kind(shape=shape, **values, **options), shape)

    def _pool(self, name: str, kind: type[nodes.SumPool2d], source: Handle, kernel_size: int | Pair,
              stride: int | Pair | None, padding: int | Pair) -> Handle:
        size = _pair(name, kernel_size)
        return self._after(name, source, kind(
            kernel_size=size, stride=size if stride is None else _pair(name, stride), padding=_pair(name, padding)))

    def _kernel(self, name: str, source: Handle, weight: Any, channels: int | None, size: tuple[int, ...] | None,
                groups: int) -> Array:
        known = self._known(source, name).shape
        if not conforms(groups, int) or groups < 1:
            _fail("groups is a positive whole number", name, value=repr(groups))
        if not isinstance(weight, Initialiser):
            return values_of(name, "weight", weight)
        if channels is None or size is None:
            _fail("an initialiser of a convolution needs `channels` and `kernel_size`", name)
        return values_of(name, "weight", weight, (channels, known[0] // groups, *size))

    def _after(self, name: str, source: Handle, node: Node) -> Handle:
        handle = self._add(name, node, self._known(source, name).shape, source.name)
        self._edges.append((source.name, name))
        return handle

    def _add(self, name: str, node: Node, given: tuple[int, ...], source: str = "source", whole: bool = True) -> Handle:
        """`given`: the shape of what is fed to the node, by the node `source`. `whole`: all rules are looked at that
        are about the node alone, not those of shapes only."""
        _check_name(name)
        if name in self._nodes:
            _fail("there is already a node of this name", name, code="SC202", remedy="Choose another name.")
        handle = Handle(name, _shape_after(name, node, given, source, whole), self)
        self._nodes[name] = node
        self._handles[name] = handle
        return handle

    def _known(self, handle: Handle, where: str) -> Handle:
        if not isinstance(handle, Handle):
            _fail("a source or target is what `input`, `lif`, … returned", where, value=type(handle).__name__)
        if handle.builder is not self:
            _fail("the node belongs to another builder", handle.name)
        return handle

    def free_name(self, name: str) -> str:
        """`name`, or `name_2` and so on where it is taken."""
        _check_name(name)
        number, free = 1, name
        while free in self._nodes:
            number += 1
            free = f"{name}_{number}"
        return free

    def _shape(self, name: str, shape: Size) -> tuple[int, ...]:
        sizes = shape if isinstance(shape, (tuple, list)) else (shape,)
        if not sizes or not all(isinstance(size, (int, np.integer)) and size > 0 for size in sizes):
            _fail("a shape is one or more positive whole numbers", name, value=repr(shape))
        return tuple(int(size) for size in sizes)


def _check_name(name: str) -> None:
    faults = Diagnostics()
    check_name(name, faults)
    faults.raise_if_errors()


def _check_record(name: str, record: Mapping[Any, Any]) -> None:
    wrong = [key for key in record if not isinstance(key, str)]
    if wrong:
        _fail("what is in a record of equations has a name", name, value=repr(wrong[0])[:80])
    if "equations" not in record:
        _fail("a record of equations has a text under 'equations'", name,
              value=", ".join(record)[:80] or "nothing", remedy="See `spikec.equations` for what is in one.")


def _check_texts(name: str, **texts: Any) -> None:
    """Raises BadInputError (SC201) with all that are no text; a threshold may be None."""
    faults = Diagnostics()
    for key, text in texts.items():
        if not isinstance(text, str) and not (text is None and key == "threshold"):
            faults.add("SC201", "equations are text" if key == "equations" else f"'{key}' is text", node=name,
                       value=type(text).__name__, remedy="Leave it out where a spike does nothing." if
                       key == "reset" and text is None else None)
    faults.raise_if_errors()


def _shape_after(name: str, node: Node, shape: tuple[int, ...], source: str, whole: bool) -> tuple[int, ...]:
    source = source if source != name else f"{source} "  # the node that is fed may be called so
    pair = Graph({source: nodes.Input(shape=shape), name: node}, ((source, name),))
    known, faults = infer_shapes(pair)
    if whole or name not in known:  # the rules of shapes pass over what other rules report
        own = [found for found in check(pair) if found.node == name and found.code not in _OF_EDGES]
        faults = own if whole and own else faults or own
    if faults:
        raise BadInputError(*faults)
    return known[name].output


def _bias(name: str, bias: Any, weight: Array) -> Array | None:
    if bias is None:
        return None
    return spread(name, "bias", values_of(name, "bias", bias, weight.shape[:1]), weight.shape[:1])


def _pair(name: str, value: Any) -> Pair:
    pair = value if isinstance(value, (tuple, list)) else (value, value)
    if len(pair) != 2 or not all(isinstance(each, (int, np.integer)) for each in pair):
        _fail("one whole number or a pair of them is needed", name, value=repr(value))
    return int(pair[0]), int(pair[1])


def _last_two(shape: tuple[int, ...]) -> Pair | None:
    return (shape[-2], shape[-1]) if len(shape) >= 2 else None


def _fail(message: str, node: str | None = None, code: str = "SC201", **facts: Any) -> NoReturn:
    faults = Diagnostics()
    faults.add(code, message, node=node, **facts)
    raise BadInputError(*faults.found)
