"""One step of a traced model -> nodes of a graph: every value of the trace as a `Signal`, a `State` or a constant."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from torch import fx

from ....ir.diagnostics import Diagnostic, SpikecError
from ..builder import Handle
from .conversion import Argument, Conversion, Signal, State
from .functional import AFTER_TIME
from .operations import OPERATIONS, unsupported
from .places import SAME, Place, Steps, first_input, keeps_state, nodes_in, operation
from .registry import Leaf
from .trace import line_of, shape_of

__all__ = ["BROKEN", "Walk"]

BROKEN = object()
"""The value of what could not be converted; its fault has been told, and what follows from it has none of its own."""

_ZEROS = ("zeros", "zeros_like", "new_zeros")


class Walk:
    """Converts what the outputs and the neurons need, in the order of the trace, each value once."""

    def __init__(self, conversion: Conversion, steps: Steps, leaves: Mapping[str, Leaf]) -> None:
        self.conversion, self.steps, self.leaves = conversion, steps, leaves
        self.root = steps.trace.root
        self.values: dict[int, Any] = {}
        self.under_way: set[int] = set()
        self.promised: dict[int, Handle] = {}
        self.anew: list[fx.Node] = []

    def run(self, outputs: list[fx.Node]) -> None:
        """Converts what `outputs` and all neurons need."""
        needed = self._needed(outputs)
        for node in self.steps.trace.graph.nodes:
            if node.op != "output" and self.steps.places[node].key in needed:
                self._of(self.steps.places[node].key)
        if self.anew:
            self.conversion.faults.add(
                "SC226", "forward is one step and starts from zeros at every call; the graph carries the states on from"
                f" step to step{line_of(self.anew[0])}", node=str(self.anew[0].target), severity="warning",
                value=", ".join(str(call.target) for call in self.anew),
                remedy="Hand the states in and out of forward, or loop over all steps in it.")
        kept: dict[str, tuple[Handle, ...]] = {}
        for key, promise in self.promised.items():
            value = self.values[key]
            first = value[0] if isinstance(value, tuple) else value
            if isinstance(first, Signal):
                self.conversion.builder.keep(promise, *first.handles)
                kept[promise.name] = first.handles
        for key, value in self.values.items():  # what was taken of neurons before they were there, as their spikes
            if isinstance(value, Signal):
                self.values[key] = Signal(tuple(
                    found for each in value.handles for found in kept.get(each.name, (each,))))

    def value(self, node: fx.Node) -> Any:
        """What a node of the trace gives."""
        return self._of(self.steps.places[node].key)

    def _needed(self, outputs: list[fx.Node]) -> set[int]:
        calls = {key: calls[-1] for key, calls in self.steps.neurons.items()}
        waiting = [*(self.steps.places[node].key for node in outputs), *calls]
        needed: set[int] = set()
        while waiting:
            key = waiting.pop()
            if key in needed:
                continue
            needed.add(key)
            inputs = first_input(calls[key]) if key in calls else _arguments(self.steps.nodes[key])
            waiting.extend(self.steps.places[each].key for each in nodes_in(inputs))
        return needed

    def _of(self, key: int) -> Any:
        if key in self.values:
            return self.values[key]
        node = self.steps.nodes[key]
        if key not in self.steps.neurons:
            self.values[key] = self._guarded(node, self._stateless)
        elif key in self.under_way:
            return self._promise(key, node)
        else:
            self.under_way.add(key)
            self.values[key] = self._guarded(node, self._neurons)
        return self.values[key]

    def _guarded(self, node: fx.Node, convert: Callable[[fx.Node], Any]) -> Any:
        """What `convert` makes of a node; a fault is noted, and the walk goes on, to find the others too."""
        conversion = self.conversion
        try:
            return convert(node)
        except SpikecError as error:
            conversion.faults.extend([found if found.node else self._placed(node, found)
                                      for found in error.diagnostics if not any(
                                          found is other for other in conversion.faults.found)])
            return BROKEN

    def _placed(self, node: fx.Node, found: Diagnostic) -> Diagnostic:
        where = node.name if node.op != "call_module" else str(node.target)
        return replace(found, node=where, message=found.message + line_of(node))

    def _promise(self, key: int, node: fx.Node) -> Any:
        """What neurons will give whose input is being converted: they are part of it, a step later."""
        if key not in self.promised:
            shape = shape_of(node)
            if shape is None:
                self.conversion.fail("SC225", f"the shape of neurons in a loop is unknown{line_of(node)}",
                                     node=str(node.target), remedy="Pass sample=, one batch as forward takes it.")
                return BROKEN
            self.promised[key] = self.conversion.builder.promise(str(node.target), shape[1:])
        spikes = Signal((self.promised[key],))
        whole = all(operation(user) == "getitem" for user in node.users)
        return (spikes, *(State(str(node.target), "state") for _ in range(3))) if whole else spikes

    def _neurons(self, node: fx.Node) -> Any:
        calls = self.steps.neurons[self.steps.places[node].key]
        path, last = str(node.target), calls[-1]
        self._check_start(path, calls[0])
        source, *states = (*last.args, *last.kwargs.values())
        given = self._argument(source, self.steps.places[last])
        if given is BROKEN:
            return BROKEN
        self._enter(last, source)
        inputs = (given, *(None if state is None else State(path, "state") for state in states))
        return self.leaves[path].convert(self.conversion, self.root.get_submodule(path), path, inputs)

    def _stateless(self, node: fx.Node) -> Any:
        if node.op == "placeholder":
            return Argument(str(node.target))
        if node.op == "get_attr":
            return operator.attrgetter(str(node.target))(self.root)
        place = self.steps.places[node]
        name = operation(node)
        if name and name not in OPERATIONS:
            self.conversion.line = line_of(node)
            raise unsupported(self.conversion, node.name, f"the operation '{name}' has no counterpart in a graph",
                              remedy=AFTER_TIME if name in ("sum", "max", "amax") else
                              "docs/importing.md lists those that have.")
        arguments, named = (self._argument(each, place) for each in (tuple(node.args), dict(node.kwargs)))
        if _is_broken(arguments) or _is_broken(named):
            return BROKEN
        self._enter(node, first_input(node))
        path = str(node.target)
        if node.op == "call_module":
            return self.leaves[path].convert(self.conversion, self.root.get_submodule(path), path,
                                             (*arguments, *named.values())) if path in self.leaves else BROKEN
        return OPERATIONS[name](self.conversion, node.name, *arguments, **named)

    def _argument(self, value: Any, place: Place) -> Any:
        """The value of an argument, as old as it is where it is taken."""
        def resolved(each: fx.Node) -> Any:
            older = self.steps.places[each]
            found = self._of(older.key)
            if place.time is None or older.time is None or not isinstance(found, Signal):
                return found
            return self.conversion.delayed(found, place.time - older.time)

        return fx.node.map_arg(value, resolved)

    def _enter(self, node: fx.Node, source: Any) -> None:
        """Tells the converters about the node under conversion."""
        place = self.steps.places[node]
        inputs = [self.steps.places[each] for each in nodes_in(source)]
        self.conversion.line = line_of(node)
        self.conversion.lead = 1 if place.time is not None else max((each.lead for each in inputs), default=1)
        shape = shape_of(node)
        self.conversion.gives = None if shape is None else shape[place.lead:]

    def _check_start(self, path: str, call: fx.Node) -> None:
        """Faults where neurons start from something else than rest, or where `forward` is one step and starts anew."""
        waiting = nodes_in(((*call.args, *call.kwargs.values())[1:],))
        alone = len(call.args) + len(call.kwargs) == 1 and call.op == "call_module"
        origins = ["zeros"] if alone and line_of(call) and not keeps_state(self.steps, call) else []
        while waiting:
            each = waiting.pop()
            name = operation(each)
            constant: Any = operator.attrgetter(str(each.target))(self.root) if each.op == "get_attr" else None
            if each.op == "get_attr" and not bool(constant.any()):
                origins.append("zeros")
            elif each.op == "placeholder":
                origins.append("argument")
            elif name in _ZEROS:
                origins.append("zeros")
            elif each.op == "call_function" and (
                    name in (*SAME, "getitem", "getattr") or isinstance(each.target, type)):
                waiting.extend(nodes_in((each.args, each.kwargs)))  # a type: a named tuple of states
            elif each.op == "call_method" and name in SAME:
                waiting.extend(nodes_in(each.args[:1]))
            else:
                self.conversion.fail(
                    "SC223", f"the neurons start from a state other than zero{line_of(call)}", node=path,
                    value=None if constant is not None else name or str(each.target),
                    remedy="Start from zeros, or from what the module starts from itself.")
                return
        if "zeros" in origins and "argument" not in origins and self.steps.layout == "step" and not self.steps.looped:
            self.anew.append(call)


def _arguments(node: fx.Node) -> Any:
    return node.args, node.kwargs


def _is_broken(value: Any) -> bool:
    if isinstance(value, (tuple, list)):
        return any(map(_is_broken, value))
    return _is_broken(tuple(value.values())) if isinstance(value, dict) else value is BROKEN
