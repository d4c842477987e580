"""Whether all steps of a loop over time do the same, so that one of them stands for all."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
from torch import fx

from ....ir.diagnostics import Diagnostics
from .places import SAME, SUMS, Steps, attribute, first_input, is_stateful, nodes_in, operation, structure
from .trace import line_of

__all__ = ["begins", "check_loop"]


def check_loop(steps: Steps, faults: Diagnostics) -> None:
    """Finds out how many steps there are, and adds a fault (SC226) for all that keeps one from standing for all."""
    steps.length = max(len(calls) for calls in steps.neurons.values())
    anew = [keys for keys in steps.chains.values() if len(keys) > 1 and len({_inputs(steps, key) for key in keys}) == 1]
    for keys in anew:
        _fail(faults, "the neurons start from a new state at every call", steps.neurons[keys[1]][0], value=len(keys),
              remedy="Hand each call the state that the call before returned.")
    for key, calls in steps.neurons.items():
        if any(key in keys for keys in anew):
            continue
        if len(calls) != steps.length:
            _fail(faults, "the neurons are not called at every step", calls[-1],
                  value=f"{len(calls)} of {steps.length} steps", remedy="Call all neurons once a step.")
            continue
        _check_inputs(steps, calls, faults)
        changed = next((call for before, call in pairwise(calls) if not _continues(before, call)), None)
        if changed is not None:
            _fail(faults, "the state that goes into the neurons is not the one that they returned", changed,
                  remedy="Hand each call the state that the call before returned, in the same order.")
    for name, axis in steps.time_axes.items():
        whole = [call for calls in steps.neurons.values() for call in calls for each in nodes_in(first_input(call))
                 if steps.places[each].time is None and name in steps.roots[steps.places[each].key]]
        if whole:
            _fail(faults, f"input '{name}' is used both step by step and whole", whole[0], value=f"axis {axis}")


def begins(steps: Steps, first: Any, steady: Any, last: int) -> bool:
    """Whether `first`, of step 0, is `steady`, of step `last`, with zeros for what is older than the start."""
    if not isinstance(steady, fx.Node):
        if isinstance(steady, (list, tuple)) and isinstance(first, (list, tuple)) and len(first) == len(steady):
            return all(begins(steps, one, other, last) for one, other in zip(first, steady, strict=True))
        return not isinstance(first, fx.Node) and structure(steps, first, None) == structure(steps, steady, None)
    place = steps.places[steady]
    older = place.time is not None and place.time < last
    if isinstance(first, fx.Node):
        begun = steps.places[first]
        if begun.key == place.key and (place.time is None or begun.time == place.time - last):
            return True
        if older and _is_start(steps, first):
            return True
        alike = first.op == steady.op and first.op.startswith("call") and first.target == steady.target
        if alike and not is_stateful(steps, first) and first.kwargs.keys() == steady.kwargs.keys():
            return begins(steps, [*first.args, *first.kwargs.values()], [*steady.args, *steady.kwargs.values()], last)
    elif older and (first is None or first == 0):
        return True
    if operation(steady) not in SUMS:
        return False
    return any(begins(steps, first, kept, last) and _are_older(steps, left, last)
               for kept, left in (steady.args, steady.args[::-1]))


def _check_inputs(steps: Steps, calls: list[fx.Node], faults: Diagnostics) -> None:
    made = [structure(steps, first_input(call), step) for step, call in enumerate(calls)]
    odd = next((step for step in range(1, len(calls)) if made[step] != made[-1]), None)
    if odd is not None:
        _fail(faults, "the steps of the loop over time differ from each other", calls[odd], value=f"step {odd}",
              remedy="Let every step do the same; what depends on its number has no place in a graph.")
    elif not begins(steps, first_input(calls[0]), first_input(calls[-1]), len(calls) - 1):
        _fail(faults, "the first step of the loop over time differs from the others", calls[0],
              remedy="Let it do the same, with zeros for what comes from before the start.")
    for each in nodes_in(first_input(calls[-1])):
        time = steps.places[each].time
        if time is not None and time >= len(calls):
            _fail(faults, "a step takes what comes later", calls[-1], value=f"step {time} of {len(calls)}")


def _inputs(steps: Steps, key: int) -> tuple[int, ...]:
    """What neurons are called with first, whichever the step."""
    return tuple(steps.places[each].key for each in nodes_in(first_input(steps.neurons[key][0])))


def _are_older(steps: Steps, value: Any, last: int) -> bool:
    times = [steps.places[each].time for each in nodes_in(value)]
    return bool(times) and all(time is not None and time < last for time in times)


def _is_start(steps: Steps, node: fx.Node) -> bool:
    """Whether a value is zeros, or comes from outside as a state does."""
    if node.op != "get_attr":
        return node.op == "placeholder"
    value = attribute(steps.trace, node)
    return isinstance(value, torch.Tensor) and not bool(value.any())


def _continues(before: fx.Node, call: fx.Node) -> bool:
    """Whether the state that goes into `call` is what `before` returned, in the order in which it did."""
    handed = [_origin(each) for each in nodes_in(((*call.args, *call.kwargs.values())[1:],))]
    if any(origin is not before for origin, _ in handed):
        return False
    return all(one is not None and other == one + 1 for (_, one), (_, other) in pairwise(handed))


def _origin(node: fx.Node) -> tuple[fx.Node | None, int | None]:
    """The call of a module that a value is an element of, and which."""
    index = None
    while node.op != "call_module":
        name, given = operation(node), node.args[0] if node.args else None
        if not isinstance(given, fx.Node) or name not in (*SAME, "getitem"):
            return None, None
        if name == "getitem":
            if index is not None:
                return None, None
            index = node.args[1] if isinstance(node.args[1], int) else None
        node = given
    return node, index


def _fail(faults: Diagnostics, message: str, node: fx.Node, **facts: Any) -> None:
    faults.add("SC226", message + line_of(node), node=str(node.target), **facts)
