"""A trace of many time steps -> the trace of one.

A `forward` that loops over time calls its layers once a step. Every value of such a trace gets a `Place`: what it is,
whichever the step (`key`), and of which step it is (`time`). The k-th call of neurons, counted along the state that is
handed from call to call, is step k. A value of a step refers to others by key and by how many steps these are older, so
two calls do the same if their keys and ages are equal; the last call stands for all, once that is verified.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import fx

from ....ir.diagnostics import Diagnostics
from .loop import begins, check_loop
from .places import (
    LEADING,
    SAME,
    Place,
    Steps,
    attribute,
    element_of,
    first_input,
    is_stateful,
    keeps_state,
    nodes_in,
    operation,
    option,
    structure,
)
from .registry import Layout
from .trace import Trace, is_several, line_of, shape_of

__all__ = ["steps_of"]


def steps_of(trace: Trace, layouts: Mapping[str, Layout], faults: Diagnostics) -> Steps:
    """The places of all values of a trace. `layouts` of its neurons, by path. What cannot be said as one step,
    repeated, is a fault (SC226)."""
    _refuse_overwritten(trace, faults)
    placing = _Placing(Steps(trace, next(iter(layouts.values()), "step"), layouts), faults)
    for node in trace.graph.nodes:
        if node.op != "output":
            placing.steps.places[node] = placing.place(node)
    if placing.steps.looped and not placing.refuse_late_axes():
        check_loop(placing.steps, faults)
    return placing.steps


def _refuse_overwritten(trace: Trace, faults: Diagnostics) -> None:
    """What is changed in place is the result only; where the value before is used later, that would be another one."""
    order = {node: number for number, node in enumerate(trace.graph.nodes)}
    for node in trace.graph.nodes:
        given = node.args[0] if node.args else None
        if isinstance(given, fx.Node) and _is_in_place(node) and any(order[user] > order[node] for user in given.users):
            faults.add("SC226", f"a value is changed in place and used by its former name{line_of(node)}",
                       node=node.name, remedy="Use what the operation returns, as in y = y + 1.")


def _is_in_place(node: fx.Node) -> bool:
    name = operation(node)
    if node.op == "call_method":
        return name.endswith("_") and not name.endswith("__") and name not in SAME
    augmented = name in ("iadd", "isub", "imul", "itruediv", "ifloordiv", "ipow", "imatmul")
    return augmented or bool(node.kwargs.get("inplace"))


class _Placing:
    def __init__(self, steps: Steps, faults: Diagnostics) -> None:
        self.trace, self.steps, self.faults = steps.trace, steps, faults
        self.keys: dict[Any, int] = {}
        self.roots, self.chains = steps.roots, steps.chains
        calls = [str(node.target) for node in self.trace.graph.nodes if is_stateful(self.steps, node)]
        self.steps.looped = steps.layout == "step" and len(set(calls)) < len(calls)
        self.behind: dict[int, dict[int, fx.Node]] = {}
        """By the key of a value, its elements along axes that do not lead, by number."""
        self.turned: list[fx.Node] = []
        self.lifted = steps.layout != "step" and any(map(_lifts, self.trace.graph.nodes))

    # ---- places

    def place(self, node: fx.Node) -> Place:
        if node.op == "placeholder":
            lead = 1 if self.lifted else LEADING[self.steps.layout]
            place = self._defined(node, ("input", str(node.target)), lead=lead)
            self.roots[place.key] = frozenset([str(node.target)])
            return place
        if node.op == "get_attr":
            return self._defined(node, self._constant(node))
        if is_stateful(self.steps, node):
            return self._neurons(node)
        if node.op != "call_module":
            alias = self._alias(node, operation(node))
            if alias is not None:
                return alias
        parts = [self.steps.places[each] for each in nodes_in((node.args, node.kwargs))]
        times = [part.time for part in parts if part.time is not None]
        time = max(times, default=None)
        label = operation(node) or str(node.target)
        key = (node.op, label, structure(self.steps, (tuple(node.args), dict(node.kwargs)), time))
        lead = 1 if time is not None else max((part.lead for part in parts), default=1)
        axes = {part.axis for part in parts if part.axis is not None}
        taken = {part.part for part in parts if part.time is None and part.axis is not None}
        if len(taken) > 1:
            self._fail("sequences of different steps are taken together", node)
        return replace(self._defined(node, key, time, lead), axis=axes.pop() if len(axes) == 1 else None,
                       swapped=time is None and any(part.swapped for part in parts),
                       part=taken.pop() if time is None and len(taken) == 1 else None)

    def _defined(self, node: fx.Node, structure: Any, time: int | None = None, lead: int = 1) -> Place:
        key = self.keys.setdefault(structure, len(self.keys))
        self.steps.nodes.setdefault(key, node)
        made_of = (self.roots.get(self.steps.places[each].key, frozenset()) for each in
                   nodes_in((node.args, node.kwargs)) if each in self.steps.places)
        self.roots.setdefault(key, frozenset().union(*made_of))
        return Place(key, time, lead)

    def _constant(self, node: fx.Node) -> Any:
        value = attribute(self.trace, node)
        if not isinstance(value, torch.Tensor) or isinstance(value, torch.nn.Parameter):
            return "get_attr", str(node.target)
        content = value.detach().cpu().contiguous().numpy().tobytes()
        return "constant", tuple(value.shape), str(value.dtype), hashlib.sha256(content).hexdigest()

    def _neurons(self, node: fx.Node) -> Place:
        path = str(node.target)
        before = self._handed(node)
        if before is not None:
            key = self.steps.places[before].key
        elif len(node.args) + len(node.kwargs) == 1 and path in self.chains and keeps_state(self.steps, node):
            key = self.chains[path][0]
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
        """The earlier call of the same module whose state goes into this one, changed on the way or not."""
        waiting = nodes_in(((*node.args, *node.kwargs.values())[1:],))
        while waiting:
            each = waiting.pop()
            if not is_stateful(self.steps, each):
                waiting.extend(nodes_in((each.args, each.kwargs)))
            elif each.target == node.target:
                return each
        return None

    def _fail(self, message: str, node: fx.Node, **facts: Any) -> None:
        self.faults.add("SC226", message + line_of(node), node=str(node.target), **facts)

    def refuse_late_axes(self) -> bool:
        """Whether time is an axis behind the first two, which is a fault: that is where steps were taken, or what was
        brought to the front."""
        length = max(len(calls) for calls in self.steps.neurons.values())
        late = [*self.turned, *(taken[0] for taken in self.behind.values() if len(taken) == length and 0 in taken)]
        for node in late:
            self.faults.add("SC226", f"time is another axis than the first or the second{line_of(node)}",
                            node=node.name, remedy="Let forward take (time, batch, …) or (batch, time, …); permute "
                            "the input outside of it.")
        return bool(late)

    # ---- other names for the same

    def _alias(self, node: fx.Node, name: str) -> Place | None:
        """The place of a value that is another one, seen at a step, as a sequence, or with its leading axes changed."""
        given = node.args[0] if node.args else None
        if name in ("stack", "cat", "concat"):
            return self._sequence(node, name)
        if not isinstance(given, fx.Node):
            return None
        place = self.steps.places[given]
        if name in SAME and not _cuts_off(node):
            return place
        if place.time is not None or (name == "getitem" and is_stateful(self.steps, given) and is_several(given)):
            return None
        if name in ("transpose", "swapaxes", "permute", "movedim"):
            if self.steps.looped and self.roots[place.key] and _brings_forward(name, node, shape_of(given)):
                self.turned.append(node)
            return _swapped(place, name, node)
        if name in ("view", "reshape") and shape_of(node) is not None and shape_of(node) == shape_of(given):
            return place
        if _lifts(node) and self.lifted:
            self.steps.repeated = True
            return replace(place, lead=2, axis=option(node, 1, "dim", 0))
        if name in ("repeat", "expand", "tile") and place.lead == 2 and self.steps.repeated:
            return place
        if self.steps.layout in ("time_first", "batch_first", "folded"):
            return self._refolded(node, name, place, shape_of(given), shape_of(node))
        return self._step_taken(node, name, given) if self.steps.looped else None

    def _sequence(self, node: fx.Node, name: str) -> Place | None:
        """Steps that are stacked. Of unsqueezed ones, `cat` does the same."""
        parts: Any = node.args[0] if node.args else None
        if not isinstance(parts, (list, tuple)) or not parts or not all(isinstance(part, fx.Node) for part in parts):
            return None
        axis = option(node, 1, "dim", option(node, 1, "axis", 0))
        if name != "stack":
            if not all(operation(part) == "unsqueeze" and option(part, 1, "dim", 0) == axis for part in parts):
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
        if places[0].key != last.key and not begins(self.steps, parts[0], parts[-1], last.time):
            return None
        return Place(last.key, None, 2, axis, part=(times[0] or 0, len(times)))

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
        axis, step = element_of(node, name, option(given, 1, "dim", 0) if unbound else 0)
        place, shape = self.steps.places[source], shape_of(source)
        if axis is not None and axis < 0 and shape is not None:
            axis += len(shape)
        if axis is not None and axis not in (0, 1) and self.roots[place.key]:
            self.behind.setdefault(place.key, {})[step] = node
        if axis not in (0, 1) or (place.axis is not None and place.axis != axis):
            return None
        if step < 0:
            if shape is None:
                return None
            step += shape[axis]
        self._along(place, axis, node)
        return Place(place.key, step + (0 if place.part is None else place.part[0]))


def _cuts_off(node: fx.Node) -> bool:
    """Whether a cast is to whole numbers, as far as it says so."""
    return any(isinstance(each, torch.dtype) and not each.is_floating_point for each in (
        *node.args, *node.kwargs.values()))


def _lifts(node: fx.Node) -> bool:
    """Whether this makes one pattern a sequence: unsqueezed and repeated, or stacked with itself."""
    if operation(node) == "unsqueeze" and option(node, 1, "dim", 0) in (0, 1):
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


def _brings_forward(name: str, node: fx.Node, shape: tuple[int, ...] | None) -> bool:
    """Whether an exchange of axes puts another one among the first two, as far as sizes are known."""
    if shape is None:
        return False
    rest = [*node.args[1:], *node.kwargs.values()]
    given: Any = rest[0] if len(rest) == 1 and isinstance(rest[0], (list, tuple)) else rest
    if not all(isinstance(each, int) for each in given):
        return False
    axes = [each % len(shape) for each in given]
    if name == "permute":
        return set(axes[:2]) != {0, 1}
    return len({axis < 2 for axis in axes}) == 2
