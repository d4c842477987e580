"""The values of a trace, by what they are and of which time step: what `torch_steps` finds out, others read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import fx

from .registry import Layout
from .trace import Trace

__all__ = [
    "LEADING", "SAME", "SUMS", "Place", "Steps", "attribute", "element_of", "first_input", "is_stateful",
    "keeps_state", "nodes_in", "operation", "option", "structure",
]

LEADING: Mapping[Layout, int] = {"step": 1, "time_first": 2, "batch_first": 2, "folded": 1}
"""Axes before those of a sample."""
SAME = ("clone", "contiguous", "detach", "double", "float", "to", "type_as", "requires_grad_", "type", "cpu")
"""Operations that leave a value what it is."""
SUMS = ("add", "iadd", "add_", "radd")


@dataclass(frozen=True, slots=True)
class Place:
    """`key`: what a value is. `time`: of which step; None if of none (a constant) or of all (a whole sequence). `lead`:
    how many axes stand before those of a sample. `axis`: of a sequence, which of them is time, as far as known.
    `swapped`: time and batch have been exchanged since the input. `part`: of a sequence of some steps only, the first
    of them and how many there are."""

    key: int
    time: int | None = None
    lead: int = 1
    axis: int | None = None
    swapped: bool = False
    part: tuple[int, int] | None = None


@dataclass(slots=True)
class Steps:
    """`layout` of all neurons, `layouts` by the path of each module that has one. `places` of the values. `nodes`: by
    key, the node that stands for all of this key. `neurons`: by key, the calls of these neurons. `looped`: whether
    neurons are called again, `length`: how many times. `time_axes`: the inputs that are sequences, and the axis of time
    in them. `repeated`: whether `forward` itself presents its input at every step. `roots`: by key, the inputs that a
    value is made of, without neurons in between. `chains`: by path, the neurons that one module computes. `ends`: the
    layouts of layers that an output shows, by path."""

    trace: Trace
    layout: Layout
    layouts: Mapping[str, Layout]
    places: dict[fx.Node, Place] = field(default_factory=dict)
    nodes: dict[int, fx.Node] = field(default_factory=dict)
    neurons: dict[int, list[fx.Node]] = field(default_factory=dict)
    looped: bool = False
    length: int = 0
    time_axes: dict[str, int] = field(default_factory=dict)
    repeated: bool = False
    roots: dict[int, frozenset[str]] = field(default_factory=dict)
    chains: dict[str, list[int]] = field(default_factory=dict)
    ends: dict[str, Layout] = field(default_factory=dict)

    @property
    def loops(self) -> bool:
        """Whether `forward` takes several steps by itself."""
        return self.length > 1


def operation(node: fx.Node) -> str:
    """The name of the function or method that a node calls; empty for others."""
    if node.op not in ("call_function", "call_method"):
        return ""
    return str(node.target) if isinstance(node.target, str) else getattr(node.target, "__name__", str(node.target))


def nodes_in(value: Any) -> list[fx.Node]:
    """The nodes in nested arguments."""
    found: list[fx.Node] = []
    fx.node.map_arg(value, found.append)
    return found


def first_input(node: fx.Node) -> Any:
    """What a module is called with."""
    return next(iter((*node.args, *node.kwargs.values())), None)


def is_stateful(steps: Steps, node: fx.Node) -> bool:
    """Whether a node is a call of neurons."""
    return node.op == "call_module" and str(node.target) in steps.layouts


def keeps_state(steps: Steps, node: fx.Node) -> bool:
    """Whether neurons that are handed no state go on from where they were; those of Norse start anew."""
    return not type(steps.trace.root.get_submodule(str(node.target))).__module__.startswith("norse.")


def structure(steps: Steps, value: Any, time: int | None) -> Any:
    """Arguments, as of step `time`, as something to compare: nodes by key and age."""
    if isinstance(value, fx.Node):
        place = steps.places[value]
        return "node", place.key, None if time is None or place.time is None else time - place.time
    if isinstance(value, (tuple, list)):
        return tuple(structure(steps, each, time) for each in value)
    if isinstance(value, dict):
        return tuple((name, structure(steps, each, time)) for name, each in sorted(value.items()))
    if isinstance(value, slice):
        return "slice", *(structure(steps, each, time) for each in (value.start, value.stop, value.step))
    return type(value).__name__, str(value)


def attribute(trace: Trace, node: fx.Node) -> Any:
    """The tensor that a node reads."""
    found: Any = trace.root
    for part in str(node.target).split("."):
        found = getattr(found, part)
    return found


def option(node: fx.Node, position: int, name: str, default: int) -> int:
    """A whole number among the arguments of a call, by position or name."""
    value = node.args[position] if len(node.args) > position else node.kwargs.get(name, default)
    return value if isinstance(value, int) else default


def element_of(node: fx.Node, name: str, axis: int) -> tuple[int | None, int]:
    """(axis, number) of the one element along an axis that an index or `name` takes; no axis where it is something
    else. `axis`: that of the first index. Axes behind an ellipsis are counted from the end."""
    if name == "select":
        return option(node, 1, "dim", 0), option(node, 2, "index", 0)
    if name != "getitem":
        return None, 0
    parts: Any = node.args[1] if isinstance(node.args[1], tuple) else (node.args[1],)
    numbers = [place for place, part in enumerate(parts) if isinstance(part, int)]
    if len(numbers) != 1 or any(part not in (slice(None), Ellipsis) for part in parts if not isinstance(part, int)):
        return None, 0
    if Ellipsis in parts[:numbers[0]]:
        return numbers[0] - len(parts), parts[numbers[0]]
    return numbers[0] + axis, parts[numbers[0]]
