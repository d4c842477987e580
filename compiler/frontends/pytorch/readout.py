"""What `forward` returns -> the output nodes of a graph.

A graph gives the spikes of every step. What a model makes of them in the end, such as their sum over time, the last
step or a softmax, is left to whoever reads the output, and said by a warning.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import is_dataclass
from typing import Any

import torch
from torch import fx

from ....ir.graph import Graph
from ....ir.nodes import Flatten, Neuron, Output, is_spiking
from ....ir.shapes import infer_shapes
from ..builder import Handle
from .conversion import Argument, Conversion, Signal, State
from .places import SUMS, Steps, attribute, operation
from .registry import Layout
from .trace import is_several, line_of
from .walk import BROKEN, Walk

__all__ = ["Returned", "add_outputs", "end_layouts", "returned_by", "unflattened"]

_OVER_TIME = ("sum", "mean", "max", "amax", "median", "count_nonzero")
_AT_THE_END = ("softmax", "log_softmax", "argmax", "squeeze", "Softmax", "LogSoftmax")
_SCALINGS = ("truediv", "div", "mul", "itruediv", "imul", "multiply", "divide")

Returned = list[tuple[str, Any, tuple[str, ...]]]
"""Name or empty, the value (a node of the trace, or a constant), what of the model is left out."""


def returned_by(steps: Steps) -> Returned:
    """What `forward` returns, without what it does to spikes over time."""
    (output,) = (node for node in steps.trace.graph.nodes if node.op == "output")
    found: Returned = []
    whole: set[fx.Node] = set()
    for key, value in _flat(_joined(steps, output.args[0], whole), ""):
        if isinstance(value, fx.Node):
            listed = value in whole
            value, left_out = _stripped(steps, value)
            place = steps.places[value]
            if listed:
                pass
            elif steps.looped and place.time is not None and not left_out:
                left_out = ("all steps but the last" if place.time == steps.length - 1 else
                            f"all steps but step {place.time}",)
            elif steps.looped and place.part not in (None, (0, steps.length)):
                left_out = (_steps_named(*place.part), *left_out)
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
    if not isinstance(shown[0][1] if shown else None, State):
        _tell_states(conversion, walk, returned)
    if not shown and not any(value is BROKEN for _, value, _, _ in values):
        conversion.fail("SC226", "forward returns no spikes and no membrane")
    seen: dict[str, list[Handle]] = {}
    for number, (key, value, node, left_out) in enumerate(shown):
        name = conversion.builder.free_name(key or ("output" if len(shown) == 1 else f"output_{number}"))
        if isinstance(value, State):
            conversion.fail("SC226", f"forward returns '{value.name}' of neurons that spike; the output shows spikes",
                            node=value.owner, severity="warning",
                            remedy=f"Probe '{value.owner}.v' for the membrane.")
            handles = [conversion.builder.handle(value.owner)]
        else:
            handles = list(conversion.signal(value, name).handles)
        if len(handles) > 1 and not conversion.grids:
            conversion.fail("SC226", f"a sum is returned, and an output shows one node{line_of(node)}", node=name)
            continue
        if key or handles not in seen.values():
            conversion.builder.add(name, Output(shape=handles[0].shape), *handles)
            seen[name] = handles
        else:
            name = next(other for other, shown in seen.items() if shown == handles)
        if left_out:
            _tell(conversion, name, left_out)


def end_layouts(steps: Steps) -> dict[str, Layout]:
    """The layout of what each module returns that is called for one value, as far as known."""
    found: dict[str, Layout] = {}
    calls: dict[str, list[int]] = {}
    for node in steps.trace.graph.nodes:
        if node.op != "call_module" or str(node.target) in steps.layouts:
            continue
        path, place = str(node.target), steps.places[node]
        calls.setdefault(path, []).append(place.key)
        axis: dict[int | None, Layout] = {0: "time_first", 1: "batch_first"}
        if place.time is not None or (steps.layout == "step" and not steps.loops):
            found[path] = "step"
        elif place.part not in (None, (0, steps.length)):
            calls[path].append(-1)  # only some steps
        elif place.lead == 2 and place.axis in axis:
            found[path] = axis[place.axis]
        elif place.lead == 1 and steps.layout == "folded":
            found[path] = "folded"
    return {path: layout for path, layout in found.items() if len(set(calls[path])) == 1 and (
        len(calls[path]) == (steps.length if layout == "step" and steps.loops else 1))}


def unflattened(conversion: Conversion, graph: Graph) -> Graph:
    """The graph whose outputs show neurons where they show the flattened spikes of neurons, which a warning tells."""
    for output in graph.outputs:
        passed: list[str] = []
        sources = graph.sources[output]
        while len(sources) == 1 and isinstance(graph.nodes[sources[0]], Flatten):
            passed += sources
            sources = graph.sources[sources[0]]
        if not passed or len(sources) != 1 or not isinstance(graph.nodes[sources[0]], Neuron):
            continue
        _tell(conversion, output, ("flatten",))
        shape = infer_shapes(graph)[0][sources[0]].output
        edges = tuple((source, target) for source, target in graph.edges if target != output)
        graph = graph.with_nodes({output: Output(shape=shape)}).replace(edges=(*edges, (sources[0], output)))
        for name in passed:
            graph = graph if graph.targets[name] else graph.without([name])
    return graph


def _tell(conversion: Conversion, name: str, left_out: tuple[str, ...]) -> None:
    conversion.fail("SC227", "the output gives every step; the model goes on from there", node=name,
                    value=", ".join(left_out), severity="warning", remedy="Do the rest with what the program returns.")


def _tell_states(conversion: Conversion, walk: Walk, returned: Returned) -> None:
    """Says which states are returned beside the spikes, by a `forward` that loops over time; others hand their states
    on by returning them."""
    if not walk.steps.loops:
        return
    states = [found for found in (walk.value(each) for _, each, _ in returned if isinstance(each, fx.Node))
              if isinstance(found, State)]
    owners = list(dict.fromkeys(state.owner for state in states if state.owner in conversion.grids and is_spiking(
        conversion.builder.node(state.owner))))
    if owners:
        conversion.fail("SC227", "forward returns states of neurons beside spikes; the output shows the spikes",
                        node=owners[0], severity="warning", value=", ".join(dict.fromkeys(
                            f"{state.owner}: {state.name}" for state in states if state.owner in owners)),
                        remedy=f"For membranes, probe {', '.join(repr(f'{owner}.v') for owner in owners)}.")


def _steps_named(first: int, count: int) -> str:
    return f"all steps but step {first}" if count == 1 else f"all steps but {first} to {first + count - 1}"


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
            left_out.append(_taken(node.args[1]))
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


def _taken(index: Any) -> str:
    """What an index takes of a sequence."""
    last = index[-1] if isinstance(index, tuple) else index
    if not isinstance(last, slice):
        return f"all steps but step {last}"
    parts = [last.start, last.stop, *([] if last.step is None else [last.step])]
    return f"all steps but [{':'.join('' if part is None else str(part) for part in parts)}]"


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
        return len(parts) == place.axis + 1 and isinstance(parts[-1], (int, slice)) and all(
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


def _joined(steps: Steps, value: Any, whole: set[fx.Node]) -> Any:
    """What is returned, with the last element in the place of a list that has the same of every step; it joins
    `whole`."""
    if isinstance(value, fx.Node) and isinstance(value.target, type):
        value = _fields_of(value)
    if isinstance(value, Mapping):
        return {key: _joined(steps, each, whole) for key, each in value.items()}
    if not isinstance(value, (tuple, list)):
        return value
    if steps.loops and value and all(isinstance(each, fx.Node) for each in value):
        places = [steps.places[each] for each in value]
        if [place.time for place in places] == list(range(steps.length)) and len({place.key for place in places}) == 1:
            whole.add(value[-1])
            return value[-1]
    return [_joined(steps, each, whole) for each in value]


def _fields_of(node: fx.Node) -> Any:
    """What a named tuple or a dataclass is made of, by name; the node itself where it makes neither."""
    if hasattr(node.target, "_fields"):
        return dict(zip(node.target._fields, node.args, strict=True))
    return dict(node.kwargs) if is_dataclass(node.target) else node


def _flat(value: Any, key: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for inner, each in value.items():
            yield from _flat(each, str(inner))
    elif isinstance(value, (tuple, list)):
        for each in value:
            yield from _flat(each, key)
    else:
        yield key, value
