"""Forward hooks, which a trace does not follow: those that look on are passed by, those that change values are refused.

Which of the two a hook is shows when the module runs: each is called on random spikes, and what it returns and leaves
behind is compared with what it got. The hooks by which torch.nn.utils computes weights (weight and spectral norm,
pruning) are followed instead: the weights of the graph are those that they give.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import fx, nn

from ....ir.diagnostics import first_line
from ....ir.graph import Graph
from ....ir.shapes import infer_shapes
from .conversion import Conversion
from .import_run import fixed_sizes, run_source
from .places import Steps
from .registry import Leaf
from .trace import private_copy

__all__ = ["check_hooks", "without_hooks"]

COLUMNS = 3
"""Steps that hooks are tried for, where the model takes any number: states are there from the second on."""
HEIGHT = 8.0
"""Of these spikes: neurons that stay silent show little."""
EVERY = "every module"
_REMEDY = "Do the same in forward, by layers and sums, and remove the hook."
_everywhere: Any = torch.nn.modules.module
_GLOBAL = (_everywhere._global_forward_pre_hooks, _everywhere._global_forward_hooks)

Wrap = Callable[[Any, str, bool], Any]
"""(hook, path of its module, whether it is called after `forward`) -> what stands in its place, None for nothing."""


@contextmanager
def without_hooks(copied: nn.Module) -> Iterator[nn.Module]:
    """`copied`, a copy of the user's module, without hooks, and no hook on every module meanwhile."""
    with torch.no_grad():
        for part in nn.Module.modules(copied):
            for hook in part._forward_pre_hooks.values():
                if _module_of(hook).startswith("torch.nn.utils."):
                    hook(part, None)
    with _replaced(copied, lambda hook, path, after: None):
        yield copied


def check_hooks(graph: Graph, module: nn.Module, steps: Steps, leaves: Mapping[str, Leaf],
                conversion: Conversion) -> None:
    """Adds a fault (SC223) for each forward hook of `module`, and of all modules, that changes values."""
    copied, found = private_copy(module), set[tuple[str, str]]()
    if not any(_GLOBAL) and not any(_is_users(hook) for part in nn.Module.modules(copied) for table in _tables(part)
                                    for hook in table.values()):
        return
    reason = ""
    for extent in dict.fromkeys((fixed_sizes(steps), fixed_sizes(steps, of_sample=True))):
        try:
            with _replaced(copied, lambda hook, path, after: _watched(hook, path, after, found)):
                run_source(copied, steps, leaves, {}, _raster(graph, conversion, extent))
            break
        except Exception as error:  # the user's own code, which may insist on the sizes of the sample
            reason = first_line(error)
    else:
        conversion.faults.add("SC223", "forward hooks are left out, and could not be tried on random spikes",
                              value=reason, severity="warning", remedy=_REMEDY)
    for path, what in sorted(found):
        conversion.faults.add("SC223", f"a forward hook changes {what}", node=path, remedy=_REMEDY)


def _tables(part: nn.Module) -> tuple[dict[int, Any], dict[int, Any]]:
    return part._forward_pre_hooks, part._forward_hooks


def _module_of(hook: Any) -> str:
    return str(getattr(hook, "__module__", ""))


def _is_users(hook: Any) -> bool:
    return not _module_of(hook).startswith("torch.nn.")


@contextmanager
def _replaced(copied: nn.Module, wrap: Wrap) -> Iterator[None]:
    """With `wrap` of each hook in its place. The hooks of the copy stay so, those of all modules come back."""
    for path, part in nn.Module.named_modules(copied):
        for after, table in enumerate(_tables(part)):
            _wrap(table, wrap, path or "the model", bool(after))
    kept = [dict(table) for table in _GLOBAL]
    try:
        for after, table in enumerate(_GLOBAL):
            _wrap(table, wrap, EVERY, bool(after))
        yield
    finally:
        for table, hooks in zip(_GLOBAL, kept, strict=True):
            table.clear()
            table.update(hooks)


def _wrap(table: dict[int, Any], wrap: Wrap, path: str, after: bool) -> None:
    for number, hook in list(table.items()):
        if _is_users(hook):
            table[number] = wrap(hook, path, after)
            if table[number] is None:
                del table[number]


def _watched(hook: Any, path: str, after: bool, found: set[tuple[str, str]]) -> Any:
    """A function in the place of `hook` that notes in `found` what it changes."""

    def watched(module: nn.Module, *given: Any) -> Any:
        values = [(each.clone(), each._version) for each in _tensors(given)]
        before = {place: (each, each.detach().clone()) for place, each in _weights(module)}
        returned = hook(module, *given)
        if any(new._version != version or not torch.equal(old, new) for (old, version), new in zip(
                values, _tensors(given), strict=True)) or (
                returned is not None and not _is_same(returned, given, after)):
            found.add((path, "what its module gives" if after else "what its module gets"))
        for place, now in _weights(module):
            kept, old = before.get(place, (now, now))
            if not torch.equal(old, now):
                found.add((path, "parameters, buffers or states"))
                kept.data.copy_(old)  # parameters are the user's own
        return returned

    return watched


def _is_same(returned: Any, given: tuple[Any, ...], after: bool) -> bool:
    """Whether a hook returns what it got. After `forward`: the last it got; before: all of it, alone or in a tuple."""
    if after:
        wanted: Any = given[-1]
    else:
        wanted = given if len(given) > 1 else given[0]
        if len(given) == 1 and not isinstance(returned, tuple):
            returned = (returned,)
    ours, theirs = _tensors(returned), _tensors(wanted)
    return len(ours) == len(theirs) and all(map(_is_view, ours, theirs))


def _is_view(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Whether both are the same memory, read the same way."""
    return one is other or (one.data_ptr(), one.shape, one.stride(), one.dtype) == (
        other.data_ptr(), other.shape, other.stride(), other.dtype)


def _tensors(value: Any) -> list[torch.Tensor]:
    found: list[torch.Tensor] = []
    fx.node.map_aggregate(value, lambda each: found.append(each) if isinstance(each, torch.Tensor) else None)
    return found


def _weights(module: nn.Module) -> Iterator[tuple[tuple[int, str], torch.Tensor]]:
    """Parameters and buffers, by module and name."""
    for part in nn.Module.modules(module):
        for name, tensor in (*part._parameters.items(), *part._buffers.items()):
            if tensor is not None:
                yield (id(part), name), tensor


def _raster(graph: Graph, conversion: Conversion, extent: tuple[int | None, int | None]) -> dict[str, Any]:
    """Random spikes (batch, time, *shape) by parameter of `forward`."""
    rng, shapes = np.random.default_rng(0), infer_shapes(graph)[0]
    batch, columns = extent[0] or 2, extent[1] or COLUMNS
    return {name: np.where(rng.random((batch, columns, *shapes[handle.name].output)) < 0.5, HEIGHT, 0.0)
            for name, handle in conversion.inputs.items()}
