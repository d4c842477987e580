"""The user's own module, run on spikes in float64: what its neurons give in every step."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from ....ir.nodes import Array
from .places import Steps
from .registry import Layout, Leaf, leaf_of
from .trace import private_copy, rooted, shape_of
from .wide import Wide, widen_buffers

__all__ = ["Given", "call_source", "fixed_sizes", "run_source"]


@dataclass(frozen=True, slots=True)
class Given:
    """(batch, time, *shape) of one neuron node: what its module returns first, and its membrane where it shows it. In
    float64, or in float32 where that says the same."""

    first: Array
    last: Array | None


def run_source(module: nn.Module, steps: Steps, leaves: Mapping[str, Leaf], origins: Mapping[str, str],
               raster: Mapping[str, Array]) -> dict[str, Given]:
    """What each neuron node gets from its module, for `raster`, (batch, time, *shape) by parameter of `forward`.
    `origins`: the path of the module of each node. The module is left as it is."""
    root = rooted(private_copy(module))
    widen_buffers(root)
    paths = dict.fromkeys(origins.values())
    recorded: dict[str, list[Any]] = {path: [] for path in paths}
    for path in paths:
        root.get_submodule(path).register_forward_hook(_recorder(recorded[path]))
    batch, columns = next(iter(raster.values())).shape[:2]
    with torch.no_grad(), Wide(nn.Module.parameters(root)):
        if steps.layout == "step" and not steps.loops:
            states: dict[tuple[str, int], Any] = {}
            for column in range(columns):
                with _stepped(root, leaves, states):
                    call_source(root, {name: values[:, column] for name, values in raster.items()})
        else:
            for path in steps.layouts:
                _reset(root.get_submodule(path))
            call_source(root, {name: _laid_out(steps, name, values) for name, values in raster.items()})
    layouts = {path: steps.ends.get(path) or _layout(root.get_submodule(path)) for path in paths}
    return _by_node(steps, origins, recorded, layouts, batch)


def fixed_sizes(steps: Steps, of_sample: bool = False) -> tuple[int | None, int | None]:
    """(batch, time) that the model insists on, None where it does not: a loop's length, or what a module that takes
    both in one axis needs to tell them apart. `of_sample`: those of the sample that it was traced with, too."""
    if of_sample:
        for node in steps.trace.graph.nodes:
            shape = shape_of(node) if node.op == "placeholder" else None
            if shape is not None:
                axis = steps.time_axes.get(str(node.target))
                return (shape[0], steps.length if steps.loops else None) if axis is None else (
                    shape[1 - axis], shape[axis])
    batch, time = None, steps.length if steps.loops else _presented(steps)
    for part in nn.Module.modules(steps.trace.root):
        if type(part).__module__.startswith("sinabs.layers."):
            batch = _positive(getattr(part, "batch_size", None)) or batch
            time = _positive(getattr(part, "num_timesteps", None)) or time
    return batch, time


def _presented(steps: Steps) -> int | None:
    """How often `forward` presents its input, where the trace tells it."""
    axis = {"time_first": 0, "batch_first": 1}.get(steps.layout) if steps.repeated else None
    if axis is None:
        return None
    shapes = [shape_of(calls[0]) for calls in steps.neurons.values()]
    return next((shape[axis] for shape in shapes if shape is not None), None)


def _positive(value: Any) -> int | None:
    return value if isinstance(value, int) and value > 0 else None


def call_source(root: nn.Module, inputs: Mapping[str, Array]) -> Any:
    """`forward` with the inputs, and None for states without a default."""
    parameters = list(inspect.signature(root.forward).parameters.values())
    given: dict[str, Any] = {name: torch.from_numpy(np.array(values, order="C")) for name, values in inputs.items()}
    for parameter in parameters:
        if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD) and (
                parameter.default is parameter.empty):
            given.setdefault(parameter.name, None)
    placed = []  # as far as they can be given by place: hooks before `forward` are handed these alone
    for parameter in parameters:
        if parameter.kind is parameter.KEYWORD_ONLY or parameter.name not in given:
            break
        placed.append(given.pop(parameter.name))
    return root(*placed, **given)


def _laid_out(steps: Steps, name: str, values: Array) -> Array:
    axis = steps.time_axes.get(name)
    if axis is not None:
        return values.swapaxes(0, 1) if axis == 0 else values
    if steps.layout == "folded" and not steps.repeated:
        return values.reshape(-1, *values.shape[2:])
    return values[:, 0]


@contextmanager
def _stepped(root: nn.Module, leaves: Mapping[str, Leaf], states: dict[tuple[str, int], Any]) -> Iterator[None]:
    """Neurons that take one step get their states from here, whatever `forward` hands them."""
    replaced = []
    for path, leaf in leaves.items():
        if leaf.advance is not None:
            module: Any = root.get_submodule(path)
            replaced.append((module, module.forward))
            module.forward = _Advanced(module, leaf.advance, path, states)
    try:
        yield
    finally:
        for module, forward in replaced:
            module.forward = forward


class _Advanced:
    """In the place of a module's `forward` for one step."""

    def __init__(self, module: Any, advance: Any, path: str, states: dict[tuple[str, int], Any]) -> None:
        self.module, self.advance, self.path, self.states = module, advance, path, states
        self.forward = module.forward
        self.calls, self.running = 0, False

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        if self.running:
            return self.forward(*arguments, **named)
        at = (self.path, self.calls)
        self.calls += 1
        self.running = True
        self.module.forward = self.forward
        hooks, self.module._forward_hooks = self.module._forward_hooks, type(self.module._forward_hooks)()
        try:
            returned, self.states[at] = self.advance(self.module, (*arguments, *named.values())[0], self.states.get(at))
        finally:
            self.running = False
            self.module.forward = self
            self.module._forward_hooks = hooks
        return returned


def _recorder(seen: list[Any]) -> Any:
    def hook(module: nn.Module, arguments: Any, returned: Any) -> Any:
        """A framework's spikes may be float32, whatever comes in."""
        if isinstance(returned, torch.Tensor):
            returned = returned.double()
            seen.append((_kept(returned), None))
            return returned
        parts = [part.double() if isinstance(part, torch.Tensor) else part for part in returned]
        last = parts[-1] if isinstance(parts[-1], torch.Tensor) and parts[-1].shape == parts[0].shape else None
        seen.append((_kept(parts[0]), None if last is None else last.clone()))
        return type(returned)(*parts) if hasattr(returned, "_fields") else type(returned)(parts)

    return hook


def _kept(value: Any) -> Any:
    """A copy, in float32 where that says the same, as of spikes: they are as many as the weights of a large layer."""
    narrow = value.float()
    return narrow if torch.equal(narrow.double(), value) else value.clone()


def _reset(module: Any) -> None:
    """Forgets the state that a run left in a module, by whichever method its framework has for it."""
    for name in ("reset_states", "reset_state", "reset_mem", "reset"):
        if callable(getattr(module, name, None)):
            getattr(module, name)()
            return


def _layout(module: Any) -> Layout:
    """That of the module itself, which a container may call once a step within a model of whole sequences."""
    leaf = leaf_of(module)
    return (leaf.time(module) if leaf is not None and leaf.time is not None else None) or "step"


def _by_node(steps: Steps, origins: Mapping[str, str], recorded: dict[str, list[Any]],
             layouts: Mapping[str, Layout], batch: int) -> dict[str, Given]:
    found: dict[str, Given] = {}
    for path in dict.fromkeys(origins.values()):
        nodes = [node for node, origin in origins.items() if origin == path]
        turns = _turns(steps, path, len(nodes))
        calls: list[list[Any]] = [[] for _ in nodes]
        for number, call in enumerate(recorded.pop(path)):
            calls[turns[number % len(turns)]].append(call)
        for node, own in zip(nodes, calls, strict=True):
            if own:
                first, last = ([call[part] for call in own] for part in (0, 1))
                found[node] = Given(_sequence(layouts[path], first, batch),
                                    None if last[0] is None else _sequence(layouts[path], last, batch))
    return found


def _turns(steps: Steps, path: str, count: int) -> list[int]:
    """Which of the `count` nodes of a module each of its calls belongs to."""
    keys = [steps.places[node].key for node in steps.trace.graph.nodes
            if node.op == "call_module" and node.target == path]
    order = list(dict.fromkeys(keys))
    return [order.index(key) for key in keys] if len(order) == count else list(range(count))


def _sequence(layout: Layout, calls: list[Any], batch: int) -> Array:
    """(batch, time, *shape)."""
    if layout == "step":
        return np.asarray(torch.stack(calls, 1).numpy())
    values = calls[0].numpy()
    if layout == "folded":
        return np.asarray(values.reshape(batch, -1, *values.shape[1:]))
    return np.asarray(values.swapaxes(0, 1) if layout == "time_first" else values)
