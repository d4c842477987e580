"""What `forward` returns -> the output nodes of a graph.

A graph gives the spikes of every step. What a model makes of them in the end, such as their sum over time, the last
step or a softmax, is left to whoever reads the output, and said by a warning.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import fx

from .conversion import Argument, Conversion, Signal, State
from .torch_places import SUMS, Steps, attribute, operation
from .torch_trace import is_several, line_of
from .torch_walk import BROKEN, Walk

__all__ = ["Returned", "add_outputs", "returned_by"]

_OVER_TIME = ("sum", "mean", "max", "amax", "median", "count_nonzero")
_AT_THE_END = ("softmax", "log_softmax", "argmax", "squeeze", "Softmax", "LogSoftmax")
_SCALINGS = ("truediv", "div", "mul", "itruediv", "imul", "multiply", "divide")

Returned = list[tuple[str, Any, tuple[str, ...]]]
"""Name or empty, the value (a node of the trace, or a constant), what of the model is left out."""


def returned_by(steps: Steps) -> Returned:
    """What `forward` returns, without what it does to spikes over time."""
    (output,) = (node for node in steps.trace.graph.nodes if node.op == "output")
    found: Returned = []
    for key, value in _flat(output.args[0], ""):
        if isinstance(value, fx.Node):
            value, left_out = _stripped(steps, value)
            place = steps.places[value]
            if steps.looped and place.time is not None and not left_out:
                left_out = ("all steps but the last",)
            found.append((key, value, left_out))
        else:
            found.append((key, value, ()))
    return found


def add_outputs(conversion: Conversion, walk: Walk, returned: Returned) -> None:
    """An output node for each signal that `forward` returns; states are left out, unless there is nothing else."""
    values = [(key, walk.value(each) if isinstance(each, fx.Node) else each, each, left_out)
              for key, each, left_out in returned]
    values = [(inner, each, node, left_out) for key, value, node, left_out in values
              for inner, each in _flat(value, key)]
    shown = [entry for entry in values if isinstance(entry[1], (Signal, Argument))]
    shown = shown or [entry for entry in values if isinstance(entry[1], State)]
    conversion.line = ""
    if not shown and not any(value is BROKEN for _, value, _, _ in values):
        conversion.fail("SC226", "forward returns no spikes and no membrane")
    seen: set[str] = set()
    for number, (key, value, node, left_out) in enumerate(shown):
        name = conversion.builder.free_name(key or ("output" if len(shown) == 1 else f"output_{number}"))
        if isinstance(value, State):
            conversion.fail("SC226", f"forward returns '{value.name}' of neurons that spike; the output shows spikes",
                            node=value.owner, severity="warning",
                            remedy=f"Probe '{value.owner}.v' for the membrane.")
            handles = [conversion.builder.handle(value.owner)]
        else:
            handles = list(conversion.signal(value, name).handles)
        if len(handles) > 1:
            conversion.fail("SC226", f"a sum is returned, and an output shows one node{line_of(node)}", node=name)
        elif handles[0].name not in seen:
            seen.add(handles[0].name)
            conversion.builder.output(name, handles[0])
            if left_out:
                conversion.fail("SC227", "the output gives every step; the model goes on from there", node=name,
                                value=", ".join(left_out), severity="warning",
                                remedy="Do the rest with the spikes that the program returns.")


def _stripped(steps: Steps, node: fx.Node) -> tuple[fx.Node, tuple[str, ...]]:
    """The value that a readout is made of, and the operations on it, the first one first."""
    left_out: list[str] = []
    over_time = False
    start = node
    while True:
        name, given = _label(steps, node), node.args[0] if node.args else None
        recorded = _recorded(steps, node)
        if recorded is not None:
            node, over_time = recorded, True
            left_out.append("sum over time")
            continue
        if not isinstance(given, fx.Node) or steps.places[given].lead > 2:
            break
        if name in _OVER_TIME and _is_over_time(steps, node, given):
            over_time = True
            left_out.append(f"{name} over time")
        elif name == "getitem" and _is_over_time(steps, node, given):
            over_time = True
            left_out.append(f"step {node.args[1]!r}")
        elif name in _AT_THE_END:
            left_out.append(name)
        elif name == "getitem" and operation(given) in (*_OVER_TIME, "sort", "topk") and _stripped(steps, given)[1]:
            pass  # the values, or the indices, of a maximum
        elif name in _SCALINGS and not isinstance(node.args[1], fx.Node) and _is_readout(steps, given):
            left_out.append(name)
        else:
            break
        node = given
    if not over_time and any(each in _SCALINGS for each in left_out):
        return start, ()
    return node, tuple(reversed(left_out))


def _label(steps: Steps, node: fx.Node) -> str:
    """The operation, or the class of the module that is called."""
    if node.op != "call_module":
        return operation(node)
    return type(steps.trace.root.get_submodule(str(node.target))).__name__


def _is_readout(steps: Steps, node: fx.Node) -> bool:
    return any("over time" in each for each in _stripped(steps, node)[1])


def _is_over_time(steps: Steps, node: fx.Node, given: fx.Node) -> bool:
    """Whether a reduction, or an index, is along the axis of time."""
    place = steps.places[given]
    if place.time is not None or place.axis is None:
        return False
    if operation(node) == "getitem":
        if is_several(given):
            return False
        index: Any = node.args[1]
        parts = index if isinstance(index, tuple) else (index,)
        return len(parts) == place.axis + 1 and isinstance(parts[-1], int) and all(
            part == slice(None) for part in parts[:-1])
    axis = node.args[1] if len(node.args) > 1 else node.kwargs.get("dim", node.kwargs.get("axis"))
    return axis in (place.axis, [place.axis], (place.axis,))


def _recorded(steps: Steps, node: fx.Node) -> fx.Node | None:
    """The value that a sum runs over all steps of, as `total = total + spikes` gives it."""
    if operation(node) not in SUMS or steps.length < 2:
        return None
    waiting, terms = [node], []
    while waiting:
        each = waiting.pop()
        if operation(each) in SUMS and not each.kwargs:
            waiting.extend(part for part in each.args if isinstance(part, fx.Node))
        elif not _is_start(steps, each):
            terms.append(each)
    places = [steps.places[term] for term in terms]
    same = len({place.key for place in places}) == 1
    return terms[0] if same and sorted(place.time or 0 for place in places) == list(range(steps.length)) else None


def _is_start(steps: Steps, node: fx.Node) -> bool:
    if node.op != "get_attr":
        return False
    value = attribute(steps.trace, node)
    return isinstance(value, torch.Tensor) and not bool(value.any())


def _flat(value: Any, key: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for inner, each in value.items():
            yield from _flat(each, str(inner))
    elif isinstance(value, (tuple, list)):
        for each in value:
            yield from _flat(each, key)
    else:
        yield key, value
