"""Tensors that `forward` fills step by step, as in `out[t] = spikes`, as what they are: stacks of the steps."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field

import torch
from torch import fx

from ....ir.diagnostics import Diagnostic, UnsupportedError
from .places import attribute, element_of, operation
from .trace import Trace, line_of, shape_of

__all__ = ["stack_filled"]

_MAKERS = ("zeros", "zeros_like", "new_zeros", "empty", "empty_like", "new_empty", "ones", "ones_like", "new_ones",
           "full", "full_like", "new_full")


@dataclass(slots=True)
class _Filled:
    """A tensor of `shape`, if known, that is written into. `names`: the nodes of the trace that stand for it."""

    shape: tuple[int, ...] | None
    names: list[fx.Node] = field(default_factory=list)
    writes: list[fx.Node] = field(default_factory=list)


def stack_filled(trace: Trace) -> None:
    """Puts a stack in the place of each tensor that is filled with one value of every step, in order.

    Raises:
        UnsupportedError: a tensor is filled or used in another way (SC226); all of them are named.
    """
    faults = []
    for filled in _all_filled(trace):
        axis = _axis_of_steps(filled)
        if axis is not None and _is_used_afterwards(trace, filled):
            _stack(trace, filled, axis)
            continue
        what = "with something else than every step in turn" if axis is None else "and used before it is full"
        faults.append(Diagnostic("SC226", f"a tensor is filled {what}{line_of(filled.writes[0])}",
                                 remedy="Append every step to a list, and torch.stack it after the loop."))
    if faults:
        raise UnsupportedError(*faults)


def _all_filled(trace: Trace) -> list[_Filled]:
    found: dict[Hashable, _Filled] = {}
    for node in trace.graph.nodes:
        given = node.args[0] if node.args else None
        if isinstance(given, fx.Node) and operation(node) in ("setitem", "__setitem__"):
            constant = given.op == "get_attr"
            key: Hashable = given.target if constant else given
            if key not in found:
                found[key] = _Filled(tuple(attribute(trace, given).shape), [
                    each for each in trace.graph.nodes if each.op == "get_attr" and each.target == given.target
                ]) if constant else _Filled(shape_of(given) if operation(given) in _MAKERS else None, [given])
            found[key].writes.append(node)
    return list(found.values())


def _axis_of_steps(filled: _Filled) -> int | None:
    """The axis along which each element is written once, in order; None where that is not what is done."""
    elements = [element_of(write, "getitem", 0) for write in filled.writes]
    axis = elements[0][0]
    if axis not in (0, 1) or filled.shape is None or len(filled.shape) <= axis:
        return None
    size = filled.shape[axis]
    one = (*filled.shape[:axis], *filled.shape[axis + 1:])
    whole = [(each, number % size) for each, number in elements] == [(axis, number) for number in range(size)]
    values = [write.args[2] for write in filled.writes]
    return axis if whole and all(isinstance(value, fx.Node) and shape_of(value) in (None, one)
                                 for value in values) else None


def _is_used_afterwards(trace: Trace, filled: _Filled) -> bool:
    """Whether the tensor is read only when it is full, and under no other name."""
    order = {node: number for number, node in enumerate(trace.graph.nodes)}
    if any(order[user] < order[filled.writes[-1]] for user in _readers(filled)):
        return False
    if filled.names[0].op != "get_attr":
        return True
    memory = attribute(trace, filled.names[0]).untyped_storage().data_ptr()
    others = {node for node in trace.graph.nodes if node.op == "get_attr"} - set(filled.names)
    tensors = [attribute(trace, other) for other in others]
    return all(tensor.untyped_storage().data_ptr() != memory for tensor in tensors if isinstance(tensor, torch.Tensor))


def _readers(filled: _Filled) -> list[fx.Node]:
    return [user for name in filled.names for user in name.users if user not in filled.writes]


def _stack(trace: Trace, filled: _Filled, axis: int) -> None:
    last = filled.writes[-1]
    with trace.graph.inserting_after(last):
        stack = trace.graph.call_function(torch.stack, ([write.args[2] for write in filled.writes], axis))
    stack.meta.update(line=last.meta.get("line"), shape=filled.shape, several=False)
    for reader in _readers(filled):
        for name in filled.names:
            reader.replace_input_with(name, stack)
    for write in filled.writes:
        trace.graph.erase_node(write)
