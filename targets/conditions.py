"""Conditions that rules of several targets share: what of a node a target may have to approximate or to refuse."""

from __future__ import annotations

import numpy as np

from ..ir.conform import stored
from ..ir.flow.flow import takes_current
from ..ir.graph import Graph
from ..ir.nodes import (
    GRADED,
    IF,
    LI,
    LIF,
    READOUTS,
    SPIKING,
    Affine,
    Array,
    AvgPool2d,
    BatchNorm,
    Conv1d,
    Conv2d,
    CubaLIF,
    Flatten,
    FlowNeuron,
    Input,
    Linear,
    Neuron,
    Node,
    Output,
    Scale,
    SparseLinear,
    SumPool2d,
    is_spiking,
    params,
)
from ..ir.wiring import Wiring
from .support import Condition, Limit, Subject

__all__ = [
    "CONNECTIONS", "FOLDED", "MEMBRANES", "WEIGHTED", "WIRES", "above", "after_bias", "beside_graded", "biased",
    "bounded", "boxed", "current_refused", "delayed", "delayed_beyond", "differing", "fan_in_beyond", "feeds_neurons",
    "fires_often", "in_continuous_time", "larger_than", "mixes_spikes", "off_grid", "on_a_grid", "resets",
    "resets_above_rest", "resets_off_rest", "shows_more_than", "shows_no_neuron", "subtracts", "tau_outside", "uneven",
]

WIRES: tuple[type[Node], ...] = (Input, Output, Flatten)
WEIGHTED: tuple[type[Node], ...] = (Linear, Affine, SparseLinear, Conv1d, Conv2d)
FOLDED: tuple[type[Node], ...] = (Scale, BatchNorm, SumPool2d, AvgPool2d)
CONNECTIONS = (*WEIGHTED, *FOLDED)
MEMBRANES: tuple[type[Node], ...] = (*READOUTS, *SPIKING)


def on_a_grid(subject: Subject) -> str | None:
    """The model states a grid."""
    grid = subject.grid
    return None if grid is None else f"dt {grid.dt:g} s, {grid.integrator}, {grid.spike}"


def in_continuous_time(subject: Subject) -> str | None:
    """The model states no grid."""
    return "" if subject.grid is None else None


def subtracts(subject: Subject) -> str | None:
    """A spike takes the threshold off the membrane."""
    return "" if getattr(subject.node, "reset", None) == "subtract" else None


def resets(subject: Subject) -> str | None:
    """A spike takes the membrane to a value, whatever it was."""
    return None if getattr(subject.node, "reset", "subtract") == "subtract" else ""


def resets_off_rest(subject: Subject) -> str | None:
    """A spike takes the membrane to another value than its resting one."""
    reset, rest = _reset_and_rest(subject)
    return f"reset to {_span(reset)}, rest at {_span(rest)}" if np.any(reset != rest) else None


def resets_above_rest(subject: Subject) -> str | None:
    """A spike takes the membrane to above its resting value."""
    reset, rest = _reset_and_rest(subject)
    return f"reset to {_span(reset)}, rest at {_span(rest)}" if np.any(reset > rest) else None


def _reset_and_rest(subject: Subject) -> tuple[Array, Array]:
    """The values; both zero where a spike subtracts, or there is none."""
    node, zero = subject.node, np.zeros(1)
    if not isinstance(node, IF | LIF | CubaLIF) or node.reset == "subtract":
        return zero, zero
    return stored(node.v_reset) if node.reset == "v_reset" else zero, zero if isinstance(node, IF) else (
        stored(node.v_leak))


def above(name: str, limit: float) -> Condition:
    """The largest value of a parameter (of a refractory period: seconds) is above `limit`."""

    def condition(subject: Subject) -> str | None:
        value = getattr(subject.node, name, None)
        return None if value is None or _range(stored(value))[1] <= limit else _span(value)

    return condition


def bounded(subject: Subject) -> str | None:
    """The membrane has a lower bound."""
    return None if getattr(subject.node, "v_min", None) is None else ""


def fires_often(subject: Subject) -> str | None:
    """Several spikes in one column of the grid."""
    return "" if subject.grid is not None and subject.grid.spikes == "many" else None


def mixes_spikes(subject: Subject) -> str | None:
    """The node's grid reads a spike in another way than the graph's."""
    own, common = subject.grid, subject.model.graph.discretization
    if own is None or own.spike == (common.spike if common is not None else "delta"):
        return None
    return own.spike


def biased(subject: Subject) -> str | None:
    """A bias that is not zero."""
    bias = getattr(subject.node, "beta" if isinstance(subject.node, BatchNorm) else "bias", None)
    return "" if bias is not None and np.any(stored(bias)) else None


def boxed(subject: Subject) -> str | None:
    """Spikes are currents of one step."""
    return "" if subject.grid is not None and subject.grid.spike == "box" else None


def current_refused(subject: Subject) -> str | None:
    """A constant current arrives at a neuron that has no meaning for one."""
    node = subject.node
    return None if not isinstance(node, FlowNeuron) or takes_current(node) else after_bias(subject)


delayed = above("delay", 0.0)


def off_grid(subject: Subject) -> str | None:
    """A delay or a refractory period that is no whole number of steps of the model's grid."""
    if subject.grid is None:
        return None
    for name in ("delay", "refractory"):
        value = getattr(subject.node, name, None)
        if value is not None:
            steps = stored(value) / subject.grid.dt
            if (np.abs(steps - np.rint(steps)) > 1e-6).any():
                return f"{name} {_span(value)} s, dt {subject.grid.dt:g} s"
    return None


def after_bias(subject: Subject) -> str | None:
    """A constant current arrives: there is a bias between the node and the neurons or inputs before it."""
    graph, seen = subject.model.graph, set[str]()
    waiting = list(graph.sources[subject.name])
    while waiting:
        name = waiting.pop()
        node = graph.nodes[name]
        if name in seen or isinstance(node, (Input, Neuron)):
            continue
        seen.add(name)
        if biased(Subject(name, node, subject.model)) is not None:
            return name
        waiting += graph.sources[name]
    return None


def uneven(subject: Subject) -> str | None:
    """A maximum over constant currents that differ within a window."""
    found = after_bias(subject)
    return found if found is not None and Wiring(subject.model.graph).has_uneven_windows(subject.name) else None


def delayed_beyond(limit: Limit) -> Condition:
    """A delay of more steps than `limit`."""

    def condition(subject: Subject) -> str | None:
        delay = getattr(subject.node, "delay", None)
        if delay is None or subject.grid is None:
            return None
        steps = round(_range(stored(delay))[1] / subject.grid.dt)
        return f"{steps} steps" if steps > limit.value else None

    return condition


def fan_in_beyond(limit: Limit) -> Condition:
    """More sources at one neuron than `limit`."""

    def condition(subject: Subject) -> str | None:
        fan = subject.model.fan_in(subject.name)
        return f"{fan:,} at one neuron" if fan > limit.value else None

    return condition


def larger_than(limit: Limit) -> Condition:
    """A node of more elements than `limit`."""

    def condition(subject: Subject) -> str | None:
        size = subject.model.size(subject.name)
        return f"{size:,}" if size > limit.value else None

    return condition


def shows_more_than(limit: Limit) -> Condition:
    """A node that an output shows, of more neurons than `limit`."""

    def condition(subject: Subject) -> str | None:
        size = subject.model.size(subject.name)
        return f"{size:,}" if subject.name in subject.model.shown and size > limit.value else None

    return condition


def tau_outside(name: str, low: Limit, high: Limit, speed_up: float) -> Condition:
    """A time constant outside `low` to `high` after division by `speed_up`; integrators are left to their own rule."""

    def condition(subject: Subject) -> str | None:
        tau = getattr(subject.node, "tau" if name == "tau_mem" and isinstance(subject.node, LI) else name, None)
        if tau is None:
            return None
        least, most = _range(stored(tau) / speed_up)
        return None if low.value <= least and most <= high.value else f"{name} {_span(tau)} s in the model"

    return condition


def differing(*names: str) -> Condition:
    """One of these parameters differs between the neurons of a node."""

    def condition(subject: Subject) -> str | None:
        found = [name for name, value in params(subject.node).items()
                 if name in names and len({*_range(stored(value))}) > 1]
        return ", ".join(found) or None

    return condition


def shows_no_neuron(subject: Subject) -> str | None:
    """An output that shows something else than one neuron node."""
    graph, sources = subject.model.graph, subject.model.graph.sources[subject.name]
    if _graded(graph):  # an output is a readout of currents
        return None
    while len(sources) == 1 and isinstance(graph.nodes[sources[0]], Flatten):
        sources = graph.sources[sources[0]]
    one = len(sources) == 1 and isinstance(graph.nodes[sources[0]], Neuron)
    return None if one else ", ".join(sources) or "nothing"


def beside_graded(subject: Subject) -> str | None:
    """There are neurons that send graded currents."""
    return "" if _graded(subject.model.graph) else None


def _graded(graph: Graph) -> bool:
    return any(isinstance(node, GRADED) for node in graph.nodes.values())


def feeds_neurons(subject: Subject) -> str | None:
    """A readout whose membrane goes on to other nodes than outputs."""
    graph = subject.model.graph
    if is_spiking(subject.node):
        return None
    on = [name for name in graph.targets[subject.name] if not isinstance(graph.nodes[name], (Output, Flatten))]
    return ", ".join(on) or None


def _range(values: Array) -> tuple[float, float]:
    return (float(values.min()), float(values.max())) if values.size else (0.0, 0.0)


def _span(value: Array) -> str:
    low, high = _range(stored(value))
    return f"{low:.4g}" if low == high else f"{low:.4g}..{high:.4g}"
