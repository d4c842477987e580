"""A trace of many time steps -> the trace of one.

A `forward` that loops over time calls its layers once a step. Every value of such a trace gets a `Place`: what it is,
whichever the step (`key`), and of which step it is (`time`). The k-th call of neurons, counted along the state that is
handed from call to call, is step k. A value of a step refers to others by key and by how many steps these are older, so
two calls do the same if their keys and ages are equal; the last call stands for all, once that is verified.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import fx

from ...ir.diagnostics import Diagnostics
from .registry import Layout
from .torch_trace import Trace, is_several, line_of, shape_of

__all__ = ["Place", "Steps", "first_input", "nodes_in", "operation", "steps_of"]

LEADING: Mapping[Layout, int] = {"step": 1, "time_first": 2, "batch_first": 2, "folded": 1}
"""Axes before those of a sample."""
SAME = ("clone", "contiguous", "detach", "double", "float", "to", "type_as", "requires_grad_", "type", "cpu")
"""Operations that leave a value what it is."""
SUMS = ("add", "iadd", "add_", "radd")


@dataclass(frozen=True, slots=True)
class Place:
    """`key`: what a value is. `time`: of which step; None if of none (a constant) or of all (a whole sequence). `lead`:
    how many axes stand before those of a sample. `axis`: of a sequence, which of them is time, as far as known.
    `swapped`: time and batch have been exchanged since the input."""

    key: int
    time: int | None = None
    lead: int = 1
    axis: int | None = None
    swapped: bool = False


@dataclass(slots=True)
class Steps:
    """`layout` of all neurons, `layouts` by the path of each module that has one. `places` of the values. `nodes`: by key, the node that stands for all of this key.
    `neurons`: by key, the calls of these neurons. `looped`: whether neurons are called again, `length`: how many times.
    `time_axes`: the inputs of which a step is taken at a time, and the axis of time in them. `repeated`: whether
    `forward` itself presents its input at every step."""

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


def steps_of(trace: Trace, layouts: Mapping[str, Layout], faults: Diagnostics) -> Steps:
    """The places of all values of a trace. `layouts` of its neurons, by path. What cannot be said as one step, repeated,
    is a fault (SC226)."""
    placing = _Placing(Steps(trace, next(iter(layouts.values()), "step"), layouts), faults)
    placing.run()
    return placing.steps


class _Placing:
    def __init__(self, steps: Steps, faults: Diagnostics) -> None:
        self.trace, self.steps, self.faults = steps.trace, steps, faults
        self.keys: dict[Any, int] = {}
        self.roots: dict[int, frozenset[str]] = {}
        """Inputs that a value is made of, without neurons in between."""
        self.chains: dict[str, list[int]] = {}
        calls = [str(node.target) for node in self.trace.graph.nodes if self._stateful(node)]
        self.steps.looped = steps.layout == "step" and len(set(calls)) < len(calls)
        self.lifted = steps.layout != "step" and any(map(_lifts, self.trace.graph.nodes))

    def run(self) -> None:
        for node in self.trace.graph.nodes:
            if node.op != "output":
                self.steps.places[node] = self._place(node)
        if self.steps.looped:
            self._verify()

    def _stateful(self, node: fx.Node) -> bool:
        return node.op == "call_module" and str(node.target) in self.steps.layouts

    # ---- places

    def _place(self, node: fx.Node) -> Place:
        if node.op == "placeholder":
            lead = 1 if self.lifted else LEADING[self.steps.layout]
            place = self._defined(node, ("input", str(node.target)), lead=lead)
            self.roots[place.key] = frozenset([str(node.target)])
            return place
        if node.op == "get_attr":
            return self._defined(node, self._constant(node))
        if self._stateful(node):
            return self._neurons(node)
        if node.op != "call_module":
            alias = self._alias(node, operation(node))
            if alias is not None:
                return alias
        parts = [self.steps.places[each] for each in nodes_in((node.args, node.kwargs))]
        times = [part.time for part in parts if part.time is not None]
        time = max(times, default=None)
        label = operation(node) or str(node.target)
        key = (node.op, label, self._structure((tuple(node.args), dict(node.kwargs)), time))
        lead = 1 if time is not None else max((part.lead for part in parts), default=1)
        axes = {part.axis for part in parts if part.axis is not None}
        swapped = time is None and any(part.swapped for part in parts)
        return replace(self._defined(node, key, time, lead), axis=axes.pop() if len(axes) == 1 else None, swapped=swapped)

    def _defined(self, node: fx.Node, structure: Any, time: int | None = None, lead: int = 1) -> Place:
        key = self.keys.setdefault(structure, len(self.keys))
        self.steps.nodes.setdefault(key, node)
        made_of = (self.roots.get(self.steps.places[each].key, frozenset()) for each in
                   nodes_in((node.args, node.kwargs)) if each in self.steps.places)
        self.roots.setdefault(key, frozenset().union(*made_of))
        return Place(key, time, lead)

    def _structure(self, value: Any, time: int | None) -> Any:
        """Arguments as something to compare: nodes by key and age."""
        if isinstance(value, fx.Node):
            place = self.steps.places[value]
            return "node", place.key, None if time is None or place.time is None else time - place.time
        if isinstance(value, (tuple, list)):
            return tuple(self._structure(each, time) for each in value)
        if isinstance(value, dict):
            return tuple((name, self._structure(each, time)) for name, each in sorted(value.items()))
        if isinstance(value, slice):
            return "slice", *(self._structure(each, time) for each in (value.start, value.stop, value.step))
        return type(value).__name__, str(value)

    def _constant(self, node: fx.Node) -> Any:
        value = _attribute(self.trace, node)
        if not isinstance(value, torch.Tensor) or isinstance(value, torch.nn.Parameter):
            return "get_attr", str(node.target)
        content = value.detach().cpu().contiguous().numpy().tobytes()
        return "constant", tuple(value.shape), str(value.dtype), hashlib.sha256(content).hexdigest()

    def _neurons(self, node: fx.Node) -> Place:
        path = str(node.target)
        before = self._handed(node)
        if before is not None:
            key = self.steps.places[before].key
        elif len(node.args) + len(node.kwargs) == 1 and path in self.chains:
            key = self.chains[path][0]  # the module keeps its state itself
        else:
            key = self._defined(node, ("neurons", path, len(self.chains.get(path, ())))).key
            self.chains.setdefault(path, []).append(key)
        calls = self.steps.neurons.setdefault(key, [])
        calls.append(node)
        self.roots[key] = frozenset()
        layout = self.steps.layout
        if layout == "step":
            return Place(key, len(calls) - 1)
        if len(calls) > 1:
            self._fail("neurons that take whole sequences are called twice", node)
        axis = {"time_first": 0, "batch_first": 1}.get(layout)
        for each in nodes_in(first_input(node)):
            place = self.steps.places[each]
            if place.lead != LEADING[layout]:
                self._fail("neurons are given something else than the layout that they take", node, value=layout)
            if axis is not None and not self.steps.repeated:
                self._along(place, axis, node)
        return Place(key, None, LEADING[layout], axis)

    def _along(self, place: Place, axis: int, node: fx.Node) -> None:
        """Notes which axis of the inputs, that a sequence is made of, is time."""
        axis = 1 - axis if place.swapped else axis
        for name in self.roots[place.key]:
            if self.steps.time_axes.setdefault(name, axis) != axis:
                self._fail("an input has its time along two axes", node, value=name)

    def _handed(self, node: fx.Node) -> fx.Node | None:
        """The earlier call of the same module whose state goes into this one."""
        origins = [_origin(each) for each in nodes_in(((*node.args, *node.kwargs.values())[1:],))]
        found = [call for call, _ in origins if call is not None and call.target == node.target and self._stateful(call)]
        return found[0] if found else None

    # ---- other names for the same

    def _alias(self, node: fx.Node, name: str) -> Place | None:
        """The place of a value that is another one, seen at a step, as a sequence, or with its leading axes changed."""
        given = node.args[0] if node.args else None
        if name in ("stack", "cat", "concat"):
            return self._sequence(node, name)
        if not isinstance(given, fx.Node):
            return None
        place = self.steps.places[given]
        if name in SAME:
            return place
        if place.time is not None or (name == "getitem" and self._stateful(given) and is_several(given)):
            return None
        if name in ("transpose", "swapaxes", "permute", "movedim"):
            return _swapped(place, name, node)
        if _lifts(node) and self.lifted:
            self.steps.repeated = True
            return replace(place, lead=2, axis=_option(node, 1, "dim", 0))
        if name in ("repeat", "expand", "tile") and place.lead == 2 and self.steps.repeated:
            return place
        if self.steps.layout in ("time_first", "batch_first", "folded"):
            return self._refolded(node, name, place, shape_of(given), shape_of(node))
        return self._step_taken(node, name, given) if self.steps.looped else None

    def _sequence(self, node: fx.Node, name: str) -> Place | None:
        """Steps that are stacked. Of unsqueezed ones, `cat` does the same."""
        parts = node.args[0] if node.args else None
        if not isinstance(parts, (list, tuple)) or not parts or not all(isinstance(part, fx.Node) for part in parts):
            return None
        axis = _option(node, 1, "dim", _option(node, 1, "axis", 0))
        if name != "stack":
            if not all(operation(part) == "unsqueeze" and _option(part, 1, "dim", 0) == axis for part in parts):
                return None
            parts = [part.args[0] for part in parts]
        places = [self.steps.places[part] for part in parts]
        last = places[-1]
        times = [place.time for place in places]
        if last.time is None:
            if len(set(places)) > 1 or not (self.lifted or len(places) == 1):
                return None
            self.steps.repeated = self.lifted
            return replace(last, lead=2, axis=axis) if self.lifted else last
        if times != list(range(times[0] or 0, (times[0] or 0) + len(times))) or any(
                place.key != last.key for place in places[1:]):
            return None
        if places[0].key != last.key and not self._begins(parts[0], parts[-1], last.time):
            return None
        return Place(last.key, None, 2, axis)

    def _refolded(self, node: fx.Node, name: str, place: Place, before: tuple[int, ...] | None,
                  after: tuple[int, ...] | None) -> Place | None:
        """(T, B, …) as (T * B, …) and back; a sample tells them apart from other reshapes."""
        if name not in ("flatten", "unflatten", "view", "reshape") or before is None or after is None:
            return None
        folded = self.steps.layout == "folded"
        if (place.lead == 2 or folded) and len(before) > 1 and after == (before[0] * before[1], *before[2:]):
            if folded and place.lead == 1:  # the input was a sequence before
                self._along(place, 1, node)
            return replace(place, lead=1)
        if place.lead == 1 and len(after) == len(before) + 1 and after[0] * after[1] == before[0] and (
                after[2:] == before[1:]):
            return replace(place, lead=2, axis=1 if folded else place.axis)
        return None

    def _step_taken(self, node: fx.Node, name: str, given: fx.Node) -> Place | None:
        """The place of a step that is taken from a sequence: x[step], x[:, step], select, an element of unbind."""
        unbound = operation(given) == "unbind"
        source: Any = given.args[0] if unbound else given
        axis, step = _index(node, name, _option(given, 1, "dim", 0) if unbound else 0)
        place = self.steps.places[source]
        if axis is None or axis > 1 or (place.axis is not None and place.axis != axis):
            return None
        if step < 0:
            shape = shape_of(source)
            if shape is None:
                return None
            step += shape[axis]
        self._along(place, axis, node)
        return Place(place.key, step)

    # ---- whether all steps are the same

    def _verify(self) -> None:
        steps = self.steps
        lengths = {key: len(calls) for key, calls in steps.neurons.items()}
        steps.length = max(lengths.values(), default=0)
        anew = {key for keys in self.chains.values() for key in keys if 1 < len(keys) == len(
            [other for other in keys if self._input_key(other) == self._input_key(key)])}
        for key, calls in steps.neurons.items():
            node = calls[-1]
            fresh = len(calls) == 1 and key in anew
            if len(calls) != steps.length or fresh:
                self._fail(
                    "the neurons start again from a new state" if fresh else "the neurons are not called at every step",
                    node, value=f"{len(calls)} of {steps.length} steps",
                    remedy="Hand each call the state that the call before returned." if fresh else
                    "Call all neurons once a step.")
                continue
            if len({self._structure(first_input(call), step) for step, call in enumerate(calls) if step}) > 1:
                self._fail("the steps of the loop over time differ from each other", node,
                           remedy="Let every step do the same; what depends on its number has no place in a graph.")
            elif not self._begins(first_input(calls[0]), first_input(node), steps.length - 1):
                self._fail("the first step of the loop over time differs from the others", calls[0],
                           remedy="Let it do the same, with zeros for what comes from before the start.")
            for each in nodes_in(first_input(node)):
                time = steps.places[each].time
                if time is not None and time >= steps.length:
                    self._fail("a step takes what comes later", node, value=f"step {time} of {steps.length}")
            for before, call in zip(calls, calls[1:], strict=False):
                if not _continues(before, call):
                    self._fail("the state that goes into the neurons is not the one that they returned", call,
                               remedy="Hand each call the state that the call before returned, in the same order.")
                    break
        for name, axis in steps.time_axes.items():
            if any(name in self.roots[steps.places[each].key] and steps.places[each].time is None
                   for calls in steps.neurons.values() for each in nodes_in(first_input(calls[-1]))):
                self._fail("an input is used both step by step and whole", steps.nodes[self.keys["input", name]],
                           value=f"axis {axis}")

    def _input_key(self, neurons: int) -> Any:
        return [self.steps.places[each].key for each in nodes_in(first_input(self.steps.neurons[neurons][0]))]

    def _begins(self, first: Any, steady: Any, last: int) -> bool:
        """Whether `first`, of step 0, is `steady`, of step `last`, with zeros for what is older than the start."""
        places = self.steps.places
        if not isinstance(steady, fx.Node):
            if isinstance(steady, (list, tuple)) and isinstance(first, (list, tuple)) and len(first) == len(steady):
                return all(self._begins(one, other, last) for one, other in zip(first, steady, strict=True))
            return not isinstance(first, fx.Node) and self._structure(first, None) == self._structure(steady, None)
        place = places[steady]
        older = place.time is not None and place.time < last
        if isinstance(first, fx.Node):
            begun = places[first]
            if begun.key == place.key and (place.time is None or begun.time == place.time - last):
                return True
            if older and self._is_zero(first):
                return True
            if first.op == steady.op and first.target == steady.target and not self._stateful(first) and (
                    first.op != "placeholder" and first.op != "get_attr"):
                return self._begins(list(first.args), list(steady.args), last) and first.kwargs.keys() == (
                    steady.kwargs.keys()) and self._begins(
                        list(first.kwargs.values()), list(steady.kwargs.values()), last)
        elif older and (first is None or first == 0):
            return True
        if operation(steady) in SUMS:
            return any(self._begins(first, kept, last) and all(
                places[each].time is not None and places[each].time < last  # type: ignore[operator]
                for each in nodes_in(left)) for kept, left in (steady.args, steady.args[::-1]))
        return False

    def _is_zero(self, node: fx.Node) -> bool:
        if node.op != "get_attr":
            return node.op == "placeholder"
        value = _attribute(self.trace, node)
        return isinstance(value, torch.Tensor) and not bool(value.any())

    def _fail(self, message: str, node: fx.Node, **facts: Any) -> None:
        self.faults.add("SC226", message + line_of(node), node=str(node.target), **facts)


def _continues(before: fx.Node, call: fx.Node) -> bool:
    """Whether the state that goes into `call` is what `before` returned, in the order in which it did."""
    handed = [_origin(each) for each in nodes_in(((*call.args, *call.kwargs.values())[1:],))]
    indices = [index for _, index in handed]
    return all(origin is before for origin, _ in handed) and (
        not indices or (None not in indices and indices == list(range(indices[0] or 0, (indices[0] or 0) + len(indices)))))


def _origin(node: fx.Node) -> tuple[fx.Node | None, int | None]:
    """The call of a module that a value is an element of, and which."""
    index = None
    while node.op != "call_module":
        name, given = operation(node), node.args[0] if node.args else None
        if not isinstance(given, fx.Node) or name not in (*SAME, "getitem") or (name == "getitem" and index is not None):
            return None, None
        if name == "getitem":
            index = node.args[1] if isinstance(node.args[1], int) else None
        node = given
    return node, index


def _attribute(trace: Trace, node: fx.Node) -> Any:
    found: Any = trace.root
    for part in str(node.target).split("."):
        found = getattr(found, part)
    return found


def _option(node: fx.Node, position: int, name: str, default: int) -> int:
    value = node.args[position] if len(node.args) > position else node.kwargs.get(name, default)
    return value if isinstance(value, int) else default


def _lifts(node: fx.Node) -> bool:
    """Whether this makes one pattern a sequence: unsqueezed and repeated, or stacked with itself."""
    if operation(node) == "unsqueeze" and _option(node, 1, "dim", 0) in (0, 1):
        return any(operation(user) in ("repeat", "expand", "tile") for user in node.users)
    parts = node.args[0] if operation(node) == "stack" and node.args else None
    return isinstance(parts, (list, tuple)) and len(parts) > 1 and all(part is parts[0] for part in parts)


def _swapped(place: Place, name: str, node: fx.Node) -> Place | None:
    """The two leading axes exchanged, and nothing else."""
    rest = [*node.args[1:], *node.kwargs.values()]
    order = list(rest[0]) if len(rest) == 1 and isinstance(rest[0], (list, tuple)) else rest
    lead_only = (order[:2] == [1, 0] and order[2:] == list(range(2, len(order))) if name == "permute" else
                 order in ([0, 1], [1, 0]))
    if not lead_only:
        return None
    return replace(place, swapped=not place.swapped, axis=None if place.axis is None else 1 - place.axis)


def _index(node: fx.Node, name: str, axis: int) -> tuple[int | None, int]:
    """(axis, number) of the one element along an axis that is taken; no axis where it is something else."""
    if name == "select":
        return _option(node, 1, "dim", 0), _option(node, 2, "index", 0)
    if name != "getitem":
        return None, 0
    parts: Any = node.args[1] if isinstance(node.args[1], tuple) else (node.args[1],)
    numbers = [place for place, part in enumerate(parts) if isinstance(part, int)]
    if len(numbers) != 1 or any(part not in (slice(None), Ellipsis) for part in parts if not isinstance(part, int)):
        return None, 0
    if Ellipsis in parts[:numbers[0]]:
        return None, 0
    return numbers[0] + axis, parts[numbers[0]]
