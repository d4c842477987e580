"""Random networks for hypothesis: legal graphs of every kind that really spike, and stimuli for them.

    @given(case=cases(neurons=("CubaLIF",), recurrent=True))
    def test_engine(case): ... case.graph, case.events, case.duration

Weights are drawn in units of the threshold: the post-synaptic potential of one spike has a peak of a fraction of it, so
layers fire a few times in `DURATION` whatever the time constants. Every structural choice is hypothesis's and shrinks;
arrays come from one drawn seed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import prod
from typing import Any

import numpy as np
from hypothesis import strategies as st

from spikec.ir import nodes as ir
from spikec.ir.events import Events
from spikec.ir.graph import Discretization, Graph
from spikec.ir.shapes import infer_shapes

DURATION = 0.06
"""Seconds that the networks are made for."""
SPIKING = ("CubaLIF", "LIF", "IF")
READOUT = {"CubaLIF": "CubaLI", "LIF": "LI", "IF": "I"}

ODD_NAMES = (
    "0", "1.weight", "-1", "1e5", "inf", "nan.x", "none", "true", "metadata", "arrays", "discretization",
    "spikec-graph", "a b", "a-b", "a->b", "->", "#", "@x", "x=1", "(", ",", '"', "\\", "'", "é", "Ω.µ", "神経",
    "a/b", "self", "weight",
)
"""Legal names that a text form, a file or a module tree might trip over."""

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Case:
    """A network and what it is fed: `events` by input node."""

    graph: Graph
    events: dict[str, Events]
    duration: float = DURATION


@st.composite
def graphs(
    draw: st.DrawFn,
    neurons: Sequence[str] = SPIKING,
    resets: Sequence[str] = ("v_reset", "zero", "subtract"),
    recurrent: bool | None = None,
    convolutions: bool | None = None,
    sparse: bool | None = None,
    delays: bool | None = None,
    stateless: bool | None = None,
    readout: bool | None = None,
    biases: bool | None = None,
    skip: bool | None = None,
    layers: int | None = None,
    discretization: Discretization | None = None,
    ratios: Sequence[float] | None = None,
) -> Graph:
    """A legal graph of one to three layers of the given neuron kinds.

    `recurrent`: layers feed themselves (delta neurons always with a delay, so that no spike causes another at its own
    instant); `convolutions`: starts with convolutions and pools; `sparse`, `delays`, `biases`: connections may be CSR,
    delayed, biased; `stateless`: Scale, BatchNorm and Delay nodes in between; `readout`: ends in neurons without a
    threshold; `skip`: a second path around a layer; `ratios`: tau_mem / tau_syn is one of these. None: any.
    """
    options = {"recurrent": recurrent, "convolutions": convolutions, "sparse": sparse, "delays": delays,
               "stateless": stateless, "readout": readout, "biases": biases, "skip": skip}
    chosen = {name: draw(st.booleans(), label=name) if value is None else value for name, value in options.items()}
    writer = _Writer(draw, np.random.default_rng(draw(st.integers(0, 2**32 - 1), label="seed")), chosen, tuple(neurons),
                     tuple(resets), discretization, ratios)
    return writer.write(draw(st.integers(1, 3), label="layers") if layers is None else layers)


@st.composite
def stimuli(
    draw: st.DrawFn,
    graph: Graph,
    batch: int | None = None,
    duration: float = DURATION,
    grid: float | None = None,
    per_channel: float = 4.0,
) -> dict[str, Events]:
    """Events for every input of a graph, some `per_channel` to each channel, at random times or on a grid
    (at most one in a channel and a step, at dt, 2 dt, …)."""
    batch = draw(st.integers(1, 3), label="batch") if batch is None else batch
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1), label="stimulus"))
    events = {}
    for name in graph.inputs:
        samples = []
        for _ in range(batch):
            channels = prod(graph.nodes[name].shape)
            count = int(rng.poisson(per_channel * channels))
            times, indices = rng.uniform(0, 0.9 * duration, count), rng.integers(0, channels, count)
            if grid is not None:
                steps = np.unique(np.stack([np.ceil(times / grid).astype(int).clip(1), indices]), axis=1)
                times, indices = steps[0] * grid, steps[1]
            samples.append((times, indices))
        events[name] = Events.from_samples(samples)
    return events


@st.composite
def cases(
    draw: st.DrawFn, batch: int | None = None, duration: float = DURATION, grid: float | None = None, **options: Any
) -> Case:
    """A graph with `options` of `graphs`, and a stimulus for it."""
    graph = draw(graphs(**options))
    return Case(graph, draw(stimuli(graph, batch, duration, grid)), duration)


@st.composite
def any_graphs(draw: st.DrawFn) -> Graph:
    """Legal graphs for what only moves them about (text, files): odd names, float32 parameters, metadata."""
    graph = draw(graphs(discretization=draw(st.none() | discretizations())))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1), label="names"))
    first = draw(node_names(), label="name")
    others = [*ODD_NAMES, *(f"n{number}" for number in range(len(graph.nodes)))]
    names = [first, *(str(name) for name in rng.permutation(others) if name != first)]
    rename = dict(zip(graph.nodes, names, strict=False))
    single = {name for name in graph.nodes if rng.random() < 0.4}
    nodes = {rename[name]: in_float32(node) if name in single else node for name, node in graph.nodes.items()}
    values = st.text(max_size=12) | st.integers() | st.floats(allow_nan=False) | st.booleans()
    metadata = draw(st.dictionaries(st.text(max_size=12), values, max_size=3))
    return Graph(nodes, tuple((rename[a], rename[b]) for a, b in graph.edges), graph.discretization, metadata)


def discretizations() -> st.SearchStrategy[Discretization]:
    """Any legal record of a grid."""
    return st.builds(
        Discretization, dt=st.sampled_from([1e-4, 1e-3, 0.1 / 3]), unit=st.sampled_from(["s", "ms"]),
        spike=st.sampled_from(["delta", "box"]), integrator=st.sampled_from(["exact", "euler", "semi", "decay"]),
        reset=st.sampled_from(["same", "next"]), delay=st.integers(0, 3), fires=st.sampled_from(["above", "at"]),
    )


def node_names() -> st.SearchStrategy[str]:
    """Legal names, plain and odd."""
    plain = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,6}(\.[a-z0-9]{1,3}){0,2}", fullmatch=True)
    printable = st.characters(categories=("L", "M", "N", "P", "S"), include_characters=" ")
    odd = st.text(printable, min_size=1, max_size=8).filter(lambda name: all(name.split(".")))
    return plain | odd


def in_float32(node: ir.Node) -> ir.Node:
    """The node with its parameters in float32."""
    return replace(node, **{name: value.astype(np.float32) for name, value in ir.params(node).items()})


def psp_peak(node: ir.Neuron, spike: str = "delta", dt: float = 0.0) -> np.ndarray:
    """How far one spike of weight 1 moves the membrane from rest, at its most; per neuron."""
    if isinstance(node, ir.CubaLI):
        mem, syn = node.tau_mem, node.tau_syn
        apart = np.where(np.isclose(mem, syn, rtol=1e-6), syn * 1.001, mem)
        top = apart * syn / (apart - syn) * np.log(apart / syn)
        effect = node.r * node.w_in / (apart - syn) * (np.exp(-top / apart) - np.exp(-top / syn))
    elif isinstance(node, ir.LI):
        effect = node.r / node.tau
    else:
        effect = node.r
    return effect * dt if spike == "box" else effect


@dataclass
class _Writer:
    """Writes one graph, layer by layer."""

    draw: st.DrawFn
    rng: np.random.Generator
    options: dict[str, bool]
    neurons: tuple[str, ...]
    resets: tuple[str, ...]
    discretization: Discretization | None
    ratios: Sequence[float] | None
    nodes: dict[str, ir.Node] = field(default_factory=dict)
    edges: list[tuple[str, str]] = field(default_factory=list)

    def write(self, layers: int) -> Graph:
        kind = self.draw(st.sampled_from(self.neurons), label="neurons")
        path = [self.add("input", ir.Input(shape=self._input_shape()))]
        for number in range(layers):
            readout = self.options["readout"] and number == layers - 1
            path.append(self._layer(number, path[-1], READOUT[kind] if readout else kind))
            if number and self.options["skip"]:
                self._skip(number, path[-3], path[-1])
        self.add("output", ir.Output(shape=self.nodes[path[-1]].shape), path[-1])
        return Graph(self.nodes, tuple(self.edges), self.discretization)

    def add(self, name: str, node: ir.Node, *sources: str) -> str:
        self.nodes[name] = node
        self.edges.extend((source, name) for source in sources)
        return name

    def shape_of(self, name: str) -> Shape:
        if isinstance(self.nodes[name], ir.Neuron | ir.Input):
            return self.nodes[name].shape
        return infer_shapes(Graph(self.nodes, tuple(self.edges)))[0][name].output

    def chance(self, option: str) -> bool:
        return self.options[option] and self.draw(st.booleans(), label=option)

    def size(self, low: int, high: int) -> int:
        return self.draw(st.integers(low, high))

    def _input_shape(self) -> Shape:
        if not self.options["convolutions"]:
            return (self.size(2, 6),)
        image = (self.size(5, 9), self.size(5, 8)) if self.chance("convolutions") else (self.size(6, 12),)
        return self.size(1, 3), *image

    def _layer(self, number: int, last: str, kind: str) -> str:
        shape = self.shape_of(last)
        if len(shape) > 1 and (number == 0 or self.chance("convolutions")):
            synapses, shape = self._convolution(number, last, shape)
        else:
            if len(shape) > 1:
                last, shape = self.add(f"flatten{number}", ir.Flatten(), last), (prod(shape),)
            synapses, shape = self._linear(number, last, shape)
        synapses = self._after(number, synapses, shape)
        neuron = self._neuron(kind, shape)
        name = self.add(f"{kind.lower()}{number}", neuron, synapses)
        self._scale_weights(synapses, neuron)
        if self.options["recurrent"] and isinstance(neuron, ir.CubaLIF | ir.LIF | ir.IF) and len(shape) == 1:
            self._recurrence(number, name, neuron)
        return name

    def _linear(self, number: int, last: str, shape: Shape) -> tuple[str, Shape]:
        size = self.size(1, 6)
        return self.add(f"fc{number}", self._synapses(size, shape[0], allow_delay=True), last), (size,)

    def _synapses(self, rows: int, columns: int, allow_delay: bool, force_delay: bool = False) -> ir.Node:
        """Weights in units of the threshold; `_scale_weights` turns them into the neuron's."""
        weight = self._weights((rows, columns), columns)
        delay = None
        if force_delay or (allow_delay and self.chance("delays")):
            delay = self.rng.uniform(1e-3, 8e-3, (rows, columns))
        bias = self.rng.uniform(-0.2, 0.4, rows) if self.chance("biases") else None
        if self.chance("sparse"):
            kept = self.rng.random((rows, columns)) < 0.7
            return ir.SparseLinear(
                size=(rows, columns), indptr=np.concatenate([[0], np.cumsum(kept.sum(1))]), indices=np.nonzero(kept)[1],
                weight=weight[kept], bias=bias, delay=None if delay is None else delay[kept],
            )
        if bias is None:
            return ir.Linear(weight=weight, delay=delay)
        return ir.Affine(weight=weight, bias=bias, delay=delay)

    def _weights(self, shape: Shape, fan_in: int) -> np.ndarray:
        return self.rng.uniform(-0.2 if fan_in > 1 else 0.4, 1.0, shape) * np.clip(4.0 / fan_in, 0.1, 1.5)

    def _convolution(self, number: int, last: str, shape: Shape) -> tuple[str, Shape]:
        axes = len(shape) - 1
        groups = self.draw(st.sampled_from([group for group in (1, 2, 3) if shape[0] % group == 0]))
        kernel = tuple(self.size(1, min(3, size)) for size in shape[1:])
        channels = groups * self.size(1, 2)
        fan_in = (shape[0] // groups, *kernel)
        weight = self._weights((channels, *fan_in), prod(fan_in))

        def each(low: int, *high: int) -> Any:
            numbers = tuple(self.size(low, most) for most in high)
            return numbers if axes == 2 else numbers[0]

        padding = self.draw(st.sampled_from(["numbers", "same", "valid"]), label="padding")
        settings = {
            "weight": weight, "groups": groups,
            "bias": self.rng.uniform(-0.2, 0.4, channels) if self.chance("biases") else None,
            "padding": each(0, *[1] * axes) if padding == "numbers" else padding,
            "stride": each(1, *[1 if padding == "same" else 2] * axes),
            "dilation": each(1, *(2 if 2 * taps < size else 1 for taps, size in zip(kernel, shape[1:], strict=True))),
        }
        if self.draw(st.booleans(), label="input_shape"):
            settings["input_shape"] = shape[1] if axes == 1 else shape[1:]
        name = self.add(f"conv{number}", (ir.Conv1d if axes == 1 else ir.Conv2d)(**settings), last)
        shape = self.shape_of(name)
        if axes == 2 and min(shape[1:]) >= 2 and self.draw(st.booleans(), label="pool"):
            pool = self.draw(st.sampled_from([ir.SumPool2d, ir.AvgPool2d]))
            stride, padding = (self.size(1, 2), 2), (0, self.size(0, 1))
            name = self.add(f"pool{number}", pool(kernel_size=(2, 2), stride=stride, padding=padding), name)
        return name, self.shape_of(name)

    def _after(self, number: int, last: str, shape: Shape) -> str:
        """Stateless nodes between synapses and neurons."""
        if self.chance("stateless"):
            channels = shape[:1]
            last = self.add(f"norm{number}", ir.BatchNorm(
                mean=self.rng.uniform(-0.1, 0.1, channels), variance=self.rng.uniform(0.8, 1.2, channels),
                gamma=self.rng.uniform(0.8, 1.2, channels), beta=self.rng.uniform(-0.1, 0.1, channels),
            ), last)
        if self.chance("stateless"):
            spread = self.draw(st.sampled_from([(), shape]))
            last = self.add(f"scale{number}", ir.Scale(scale=self.rng.uniform(0.8, 1.2, spread)), last)
        if self.chance("stateless") and self.options["delays"]:
            spread = self.draw(st.sampled_from([(), shape]))
            last = self.add(f"wait{number}", ir.Delay(delay=self.rng.uniform(1e-3, 4e-3, spread)), last)
        return last

    def _neuron(self, kind: str, shape: Shape) -> ir.Neuron:
        spread = shape if self.draw(st.booleans(), label="per neuron") else ()

        def around(low: float, high: float) -> np.ndarray:
            return self.rng.uniform(low, high, spread)

        threshold = around(0.5, 1.5)
        settings: dict[str, Any] = {"shape": shape, "r": around(0.5, 2.0)}
        if kind not in ("IF", "I"):
            settings["v_leak"] = threshold * around(-0.2, 0.4) if self.draw(st.booleans(), label="v_leak") else 0.0
        if kind in ("LIF", "LI"):
            settings["tau"] = around(8e-3, 25e-3)
        elif kind in ("CubaLIF", "CubaLI"):
            settings["tau_syn"] = around(3e-3, 9e-3)
            ratios = self.ratios or self.draw(st.sampled_from([(1.0,), (2.0,), None]), label="tau_mem / tau_syn")
            ratio = around(1.2, 4.0) if ratios is None else self.draw(st.sampled_from(ratios))
            settings["tau_mem"] = settings["tau_syn"] * ratio
            settings["w_in"] = self.draw(st.sampled_from([settings["tau_syn"], np.asarray(1.0)]), label="w_in")
        if self.draw(st.booleans(), label="v0"):
            settings["v0"] = threshold * around(0.0, 0.8)
        if kind in SPIKING:
            settings["v_threshold"] = threshold
            settings["reset"] = self.draw(st.sampled_from(self.resets), label="reset")
            if settings["reset"] == "v_reset":
                settings["v_reset"] = threshold * around(-0.3, 0.3)
            if self.draw(st.booleans(), label="refractory"):
                settings["refractory"] = around(1e-3, 4e-3)
        return getattr(ir, kind)(**settings)

    def _scale_weights(self, last: str, neuron: ir.Neuron, gain: float = 1.0) -> None:
        """Turns weights and biases in units of the threshold into those of the neuron that they end at."""
        name = last
        while not hasattr(self.nodes[name], "weight"):
            name = next(source for source, target in self.edges if target == name)
        synapses = self.nodes[name]
        record = self.discretization
        height = getattr(neuron, "v_threshold", np.ones(neuron.shape)) - getattr(neuron, "v_leak", 0.0)
        per_spike = height / (psp_peak(neuron, record.spike, record.dt) if record else psp_peak(neuron))
        held = neuron.r * (neuron.w_in if isinstance(neuron, ir.CubaLI) else 1.0)
        per_bias = height / (held * (DURATION if isinstance(neuron, ir.I) else 1.0))
        if not isinstance(synapses, ir.Linear | ir.SparseLinear):
            per_spike, per_bias = per_spike.mean(), per_bias.mean()
        elif isinstance(synapses, ir.SparseLinear):
            per_spike = np.repeat(per_spike, np.diff(synapses.indptr))
        else:
            per_spike = per_spike[:, None]
        changes = {"weight": synapses.weight * per_spike * gain}
        if getattr(synapses, "bias", None) is not None:
            changes["bias"] = synapses.bias * per_bias
        self.nodes[name] = replace(synapses, **changes)

    def _recurrence(self, number: int, name: str, neuron: ir.Neuron) -> None:
        size = neuron.shape[0]
        impulsive = not isinstance(neuron, ir.CubaLIF)
        loop = self.add(f"loop{number}", self._synapses(size, size, allow_delay=True, force_delay=impulsive), name)
        self.edges.append((loop, name))
        # Weaker than the way forward, and rather inhibitory, so that activity does not run away.
        self.nodes[loop] = replace(self.nodes[loop], weight=self.rng.uniform(-0.8, 0.4, self.nodes[loop].weight.shape))
        self._scale_weights(loop, neuron, gain=0.5)

    def _skip(self, number: int, entry: str, last: str) -> None:
        source, target = self.shape_of(entry), self.nodes[last]
        if len(source) > 1 or len(target.shape) > 1:
            return
        path = self.add(f"skip{number}", self._synapses(target.shape[0], source[0], allow_delay=True), entry)
        self.edges.append((path, last))
        self._scale_weights(path, target, gain=0.5)
