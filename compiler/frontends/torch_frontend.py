"""PyTorch model -> graph.

The model's `forward` computes one time step, as snnTorch's do: a tensor with a batch axis goes in, spikes come out.
States are kept by the neurons (init_hidden=True), or go in as further arguments and come out again. The graph has the
neurons' states by itself, so those arguments disappear.
"""

from __future__ import annotations

import operator
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ...ir.checks import verify
from ...ir.diagnostics import BadInputError, Diagnostic, Diagnostics, SpikecWarning, UnsupportedError
from ...ir.graph import Discretization, Graph
from ...ir.nodes import SPIKING
from .bias_scaling import scale_biases
from .conversion import NO_CONVERTER, Argument, Conversion, Signal, State
from .registry import Leaf, leaf_of, qualified_name
from .torch_operations import OPERATIONS, unsupported

if TYPE_CHECKING:
    from torch import fx, nn

__all__ = ["from_torch"]


def from_torch(module: nn.Module, sample: Any = None, dt: float | None = None,
               input_shape: tuple[int, ...] | None = None, check: bool = True) -> Graph:
    """The graph of a PyTorch model, with the discretisation that its framework implies.

    `module`: its `forward` takes one time step (batch, *shape); layers of torch.nn and neurons of snnTorch, sums
    between them. Taken as in eval mode. `dt`: seconds a step; snnTorch does not know it, so it must be given where
    there are such neurons. `sample`: what `forward` takes, one tensor or a tuple; or `input_shape`: its shape without
    the batch axis; neither is needed where the first layer is Linear. Biases, which the model adds once a step, become
    constant currents of the same effect.

    With `check`, model and graph run side by side on random spikes, step by step (`simulate_step`), in float64; the
    metadata say how that went (`import.check`), and a `SpikecWarning` (SC224) names the first neuron and step that
    differ. The event target runs the graph in continuous time, where spikes differ: docs/importing.md says how much.

    Raises:
        UnsupportedError: a module (SC220), an operation (SC221, SC226) or a setting (SC223) that a graph cannot
            express; all of them are named.
        BadInputError: `dt` (SC222) or the input's shape (SC225) is missing, `module` is none (SC232), or the graph is
            not legal (NaN weights, …; SC101 to SC117).
    """
    from .torch_trace import private_copy, trace

    _check_arguments(module, sample, dt, input_shape)
    traced = trace(private_copy(module))
    leaves = _leaves(traced)
    conversion = Conversion(dt, _shapes(traced, sample, input_shape), _spikes_unused(traced))
    returned = _Walk(conversion, traced, leaves).run()
    _add_outputs(conversion, returned)
    discretization = _discretization(conversion)
    _raise(conversion)
    graph = conversion.builder.build().replace(discretization=discretization)
    graph = verify(scale_biases(graph, conversion.bias_scales, conversion.faults))
    _raise(conversion)
    for found in conversion.faults.found:
        warnings.warn(str(found), SpikecWarning, stacklevel=2)
    if check and graph.discretization is not None:
        from .import_check import check_import

        graph = check_import(graph, traced, leaves, {key: handle.name for key, handle in conversion.inputs.items()})
    return graph


def _check_arguments(module: Any, sample: Any, dt: Any, input_shape: Any) -> None:
    from torch import nn

    faults = Diagnostics()
    if not isinstance(module, nn.Module):
        faults.add("SC232", "from_torch takes a torch.nn.Module", value=type(module).__name__,
                   remedy="Give the module itself, not its class, file or state_dict.")
    if dt is not None and not (isinstance(dt, int | float | np.number) and np.isfinite(dt) and dt > 0):
        faults.add("SC222", "dt must be positive", value=dt, remedy="It is in seconds.")
    samples = sample if isinstance(sample, tuple | list) else (sample,)
    if sample is not None and not all(hasattr(one, "shape") for one in samples[:1]):
        faults.add("SC225", "sample is no tensor", value=type(samples[0]).__name__,
                   remedy="Give one batch as forward takes it, (batch, *shape), or input_shape=(…).")
    whole = isinstance(input_shape, tuple | list) and all(
        isinstance(size, int | np.integer) and size > 0 for size in input_shape)
    if input_shape is not None and not whole:
        faults.add("SC225", "input_shape is a tuple of sizes, without the batch axis", value=repr(input_shape))
    faults.raise_if_errors()


def _leaves(traced: fx.GraphModule) -> dict[str, Leaf]:
    """The registry's entry for every module that the trace calls, by its path in the model."""
    leaves: dict[str, Leaf] = {}
    faults: dict[str, Diagnostic] = {}
    for node in traced.graph.nodes:
        if node.op != "call_module":
            continue
        module, name = traced.get_submodule(str(node.target)), str(node.target)
        leaf = leaf_of(module)
        if leaf is None:
            faults[name] = Diagnostic(
                "SC220", f"there is no converter for {qualified_name(type(module))}", name, remedy=NO_CONVERTER)
        elif leaf.advance is not None and name in leaves:
            faults[name] = Diagnostic(
                "SC226", "the neurons are called more than once: forward runs over several time steps", name,
                remedy="Let forward compute one step, for instance with num_steps = 1.")
        else:
            leaves[name] = leaf
    if faults:
        raise UnsupportedError(*faults.values())
    return leaves


def _shapes(traced: fx.GraphModule, sample: Any, input_shape: tuple[int, ...] | None) -> dict[str, tuple[int, ...]]:
    names = [str(node.target) for node in traced.graph.nodes if node.op == "placeholder"]
    if sample is None:
        return {} if input_shape is None else {name: tuple(input_shape) for name in names[:1]}
    samples = sample if isinstance(sample, (tuple, list)) else (sample,)
    return {name: tuple(int(size) for size in one.shape[1:]) for name, one in zip(names, samples, strict=False)
            if hasattr(one, "shape")}


def _spikes_unused(traced: fx.GraphModule) -> frozenset[str]:
    """Modules that return a tuple of which nothing takes the first element."""
    unused = set()
    for node in traced.graph.nodes:
        if node.op == "call_module" and all(
            user.target is operator.getitem and (user.args[1] != 0 or not user.users) for user in node.users
        ):
            unused.add(str(node.target))
    return frozenset(unused)


def _add_outputs(conversion: Conversion, returned: Any) -> None:
    """An output node for each signal that `forward` returns; states are left out, unless there is nothing else."""
    values = list(_flat(returned, ""))
    shown: list[tuple[str, Signal | Argument | State]] = [
        (key, value) for key, value in values if isinstance(value, (Signal, Argument))]
    shown = shown or [(key, value) for key, value in values if isinstance(value, State)]
    if not shown:
        conversion.fail("SC226", "forward returns no spikes and no membrane", value=type(returned).__name__)
    seen: set[str] = set()
    for number, (key, value) in enumerate(shown):
        name = conversion.builder.free_name(key or ("output" if len(shown) == 1 else f"output_{number}"))
        if isinstance(value, State):
            conversion.fail("SC226", f"forward returns '{value.name}' of neurons that spike; the output shows spikes",
                            node=value.owner, severity="warning",
                            remedy=f"Probe '{value.owner}.v' for the membrane.")
            handles = [conversion.builder.handle(value.owner)]
        else:
            handles = list(conversion.signal(value, name).handles)
        if len(handles) > 1:
            conversion.fail("SC226", "a sum is returned, and an output shows one node", node=name)
        elif handles[0].name not in seen:
            seen.add(handles[0].name)
            conversion.builder.output(name, handles[0])


def _flat(value: Any, key: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for inner, each in value.items():
            yield from _flat(each, str(inner))
    elif isinstance(value, (tuple, list)):
        for each in value:
            yield from _flat(each, key)
    else:
        yield key, value


def _discretization(conversion: Conversion) -> Discretization | None:
    """The grid of all neurons; what says when a spike or a reset happens does not matter to a readout."""
    first: dict[Discretization, str] = {}
    for name, grid in conversion.grids.items():
        if isinstance(conversion.builder.node(name), SPIKING):
            first.setdefault(grid, name)
    for name, grid in conversion.grids.items():
        if not any(replace(grid, reset=other.reset) == other for other in first):
            first.setdefault(grid, name)
    if len(first) > 1:
        conversion.fail("SC223", "the neurons of this model mean different things by a step",
                        value="; ".join(f"{name}: {grid}" for grid, name in first.items()),
                        remedy="Give all of them the same settings (for snnTorch, the same reset_delay).")
    return next(iter(first), None)


def _raise(conversion: Conversion) -> None:
    user = ("SC103", "SC107", "SC201", "SC222", "SC225")
    kind = BadInputError if all(found.code in user for found in conversion.faults.errors) else UnsupportedError
    conversion.faults.raise_if_errors(kind)


class _Walk:
    """Goes through the trace once; every tensor is a `Signal`, a `State`, an `Argument` or a constant."""

    def __init__(self, conversion: Conversion, traced: fx.GraphModule, leaves: Mapping[str, Leaf]) -> None:
        self.conversion = conversion
        self.traced = traced
        self.leaves = leaves
        self.values: dict[fx.Node, Any] = {}

    def run(self) -> Any:
        from torch import fx

        for node in self.traced.graph.nodes:
            arguments = fx.node.map_arg((tuple(node.args), dict(node.kwargs)), lambda each: self.values[each])
            if node.op == "output":
                return arguments[0][0]
            self.values[node] = self._value(node, *arguments)
        return None

    def _value(self, node: fx.Node, arguments: tuple[Any, ...], named: dict[str, Any]) -> Any:
        if node.op == "placeholder":
            return Argument(str(node.target))
        if node.op == "get_attr":
            return operator.attrgetter(str(node.target))(self.traced)
        name = str(node.target)
        if node.op == "call_module":
            inputs = (*arguments, *named.values())
            return self.leaves[name].convert(self.conversion, self.traced.get_submodule(name), name, inputs)
        name = name if node.op == "call_method" else getattr(node.target, "__name__", name)
        if name not in OPERATIONS:
            raise unsupported(self.conversion, node.name, f"the operation '{name}' has no counterpart in a graph",
                              limit=", ".join(sorted(OPERATIONS)))
        return OPERATIONS[name](self.conversion, node.name, *arguments, **named)
