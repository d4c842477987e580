"""PyTorch model -> graph.

The model's `forward` is traced (`torch_trace`), a loop over time steps is folded to one of them (`torch_steps`,
`torch_loop`), and that step is walked once (`torch_walk`), each module and operation by its converter. The graph has
the neurons' states by itself, so states that `forward` hands on disappear. What `forward` makes of the spikes in the
end is left out (`torch_readout`). Then module and graph are run side by side (`import_check`).
"""

from __future__ import annotations

import operator
import warnings
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from torch import fx, nn

from ....ir.checks import verify
from ....ir.columns import recurrent_edges
from ....ir.diagnostics import BadInputError, SpikecWarning, UnsupportedError
from ....ir.graph import Discretization, Graph
from ....ir.nodes import Delay, is_spiking
from ....ir.readouts import with_readouts
from .arguments import check_arguments, check_mode, sample_for
from .bias_scaling import scale_biases
from .conversion import NO_CONVERTER, Conversion
from .filled import stack_filled
from .hooks import check_hooks, without_hooks
from .import_check import check_import, check_plain
from .own_neurons import refuse_own_neurons
from .places import Steps
from .readout import add_outputs, end_layouts, returned_by, unflattened
from .registry import Layout, Leaf, leaf_of, qualified_name
from .source import Source
from .steps import steps_of
from .trace import Trace, line_of, private_copy, shape_of, trace
from .walk import Walk

__all__ = ["from_torch", "import_module"]


def from_torch(module: nn.Module, sample: Any = None, dt: float | None = None,
               input_shape: tuple[int, ...] | None = None, check: bool = True) -> Graph:
    """The graph of a PyTorch model, with the discretisation that its framework implies.

    `module`: layers of torch.nn, neurons of snnTorch, Norse, SpikingJelly, sinabs or Rockpool, sums between them. Its
    `forward` takes one time step (batch, *shape), or whole sequences, in the layout that its neurons take, or by a loop
    over time, which is folded to one step. Taken as in eval mode. `dt`: seconds a step; needed where the framework does
    not know it. `sample`: what `forward` takes, one tensor or a tuple, with all leading axes: a loop that reads sizes
    needs it; or `input_shape`: that of one sample in one step; neither is needed where the first layer is Linear.
    Biases, which the model adds once a step, become constant currents of the same effect.

    With `check`, model and graph run side by side on random spikes, step by step (`simulate_step`), in float64; the
    metadata say how that went (`import.check`), and a `SpikecWarning` (SC224) names the first neuron and step that
    differ. The event target runs the graph in continuous time, where spikes differ: docs/importing.md says how much.

    Raises:
        UnsupportedError: a module (SC220), an operation (SC221, SC226), a setting or a hook (SC223) that a graph
            cannot express; all of them are named.
        BadInputError: `dt` (SC222) or the input's shape (SC225) is missing or wrong, `module` is none (SC232), or the
            graph is not legal (NaN weights, …; SC101 to SC117).
    """
    return import_module(module, sample, dt, input_shape, check).graph


def import_module(module: nn.Module, sample: Any = None, dt: float | None = None,
                  input_shape: tuple[int, ...] | None = None, check: bool = True) -> Source:
    """The module beside its graph. Arguments and errors as for `from_torch`."""
    check_arguments(module, sample, dt, input_shape)
    with without_hooks(private_copy(module)) as bare:
        traced = trace(bare, sample_for(module, sample))
    conversion = Conversion(dt, {}, _spikes_unused(traced))
    check_mode(module, conversion.faults)
    leaves = _leaves(traced, conversion)
    if refuse_own_neurons(traced, leaves.values(), conversion):
        _raise(conversion)
    stack_filled(traced)
    steps = steps_of(traced, _layouts(traced, leaves, conversion), conversion.faults)
    conversion.shapes = _shapes(steps, input_shape)
    if any(found.code == "SC226" for found in conversion.faults.errors):
        _raise(conversion)  # what the steps are is not known, so no operation could be judged
    walk = Walk(conversion, steps, leaves)
    returned = returned_by(steps)
    walk.run([each for _, each, _ in returned if isinstance(each, fx.Node)])
    add_outputs(conversion, walk, returned)
    discretization = _discretization(conversion)
    _raise(conversion)
    graph = _settled(conversion, conversion.builder.build(discretization))
    if discretization is not None:
        graph = _shown(conversion, steps, graph)
    graph = verify(scale_biases(graph, conversion.bias_scales, conversion.faults))
    check_hooks(graph, module, steps, leaves, conversion)
    _raise(conversion)
    for found in conversion.faults.found:
        warnings.warn(str(found), SpikecWarning, stacklevel=3)
    graph = graph.replace(metadata={**graph.metadata, **_metadata(steps)})
    if check and graph.discretization is not None:
        graph = check_import(graph, module, steps, leaves, conversion)
    elif check:
        graph = check_plain(graph, module, conversion)
    return Source(graph, module, steps, leaves, conversion.origins,
                  {name: handle.name for name, handle in conversion.inputs.items()})


def _leaves(traced: Trace, conversion: Conversion) -> dict[str, Leaf]:
    """The registry's entry for every module that the trace calls, by its path in the model."""
    leaves: dict[str, Leaf] = {}
    told: set[str] = set()
    for node in traced.graph.nodes:
        if node.op != "call_module" or str(node.target) in told:
            continue
        name = str(node.target)
        module = traced.root.get_submodule(name)
        leaf = leaf_of(module)
        if leaf is not None:
            leaves[name] = leaf
        else:
            told.add(name)
            conversion.fail("SC220", f"there is no converter for {qualified_name(type(module))}{line_of(node)}",
                            node=name, remedy=NO_CONVERTER)
    return leaves


def _layouts(traced: Trace, leaves: Mapping[str, Leaf], conversion: Conversion) -> dict[str, Layout]:
    """The layouts of the neurons, by path, which all are that of the model."""
    layouts: dict[str, Layout] = {}
    for name, leaf in leaves.items():
        layout = None if leaf.time is None else leaf.time(traced.root.get_submodule(name))
        if layout is not None:
            layouts[name] = layout
    if len(set(layouts.values())) > 1:
        first = {layout: name for name, layout in reversed(layouts.items())}
        conversion.fail("SC223", "some neurons take one step, and some whole sequences, or in another order of axes",
                        value=", ".join(f"{name}: {layout}" for layout, name in first.items()),
                        remedy="Give all of them the same layout.")
    return layouts


def _shapes(steps: Steps, input_shape: tuple[int, ...] | None) -> dict[str, tuple[int, ...]]:
    """The shapes of one sample of the inputs, as far as known."""
    inputs = [node for node in steps.trace.graph.nodes if node.op == "placeholder"]
    shapes = {}
    for node in inputs:
        shape, name = shape_of(node), str(node.target)
        if shape is not None:
            shapes[name] = shape[max(steps.places[node].lead, 2 if name in steps.time_axes else 1):]
    if input_shape is not None and inputs:
        shapes[str(inputs[0].target)] = tuple(int(size) for size in input_shape)
    return shapes


def _metadata(steps: Steps) -> dict[str, str | int]:
    """How a sequence goes through the model: its layout, whether `forward` takes one step or loops over how many, and
    whether its input is presented at every step."""
    found: dict[str, str | int] = {"import.layout": steps.layout}
    if steps.length > 1:
        axes = set(steps.time_axes.values())
        found["import.layout"] = {0: "time_first", 1: "batch_first"}[axes.pop()] if len(axes) == 1 else "step"
        found["import.steps"] = steps.length
    if steps.repeated or (steps.length > 1 and not steps.time_axes):
        found["import.input"] = "presented at every step"
    return found


def _settled(conversion: Conversion, graph: Graph) -> Graph:
    """The graph with the delays of values that a step takes from earlier ones: left to the grid where it delays such an
    edge anyway, since it closes a cycle, else a `Delay` node."""
    if not conversion.late or graph.discretization is None:
        return graph
    dt, own = graph.discretization.dt, graph.discretization.delay
    shapes = {name: conversion.builder.handle(name).shape for name in conversion.late}
    graph = graph.with_nodes({name: Delay(delay=np.full(shapes[name], steps * dt))
                              for name, steps in conversion.late.items()})
    recurrent = recurrent_edges(graph, dt)
    for name, steps in conversion.late.items():
        (source,), targets = graph.sources[name], graph.targets[name]
        direct = {(source, target) for target in targets}
        if steps != own or direct & set(graph.edges):
            continue
        shorter = graph.without([name])
        shorter = shorter.replace(edges=(*shorter.edges, *sorted(direct)))
        if recurrent_edges(shorter, dt) == recurrent | direct:
            graph, recurrent = shorter, recurrent | direct
    return graph


def _shown(conversion: Conversion, steps: Steps, graph: Graph) -> Graph:
    """The graph with a readout where an output shows a layer. What it shows is compared with what a module returns, if
    that is called for one value."""
    graph = unflattened(conversion, graph)
    complete = with_readouts(graph)
    ends = end_layouts(steps)
    for name in complete.nodes.keys() - graph.nodes.keys():
        conversion.bias_scales[name] = np.ones(1)
        sources = complete.sources[name]
        if len(sources) == 1 and sources[0] in ends:
            conversion.origins[name] = sources[0]
            steps.ends[sources[0]] = ends[sources[0]]
    return complete


def _spikes_unused(traced: Trace) -> frozenset[str]:
    """Modules that return a tuple of which nothing takes the first element."""
    used: dict[str, bool] = {}
    for node in traced.graph.nodes:
        if node.op == "call_module":
            path = str(node.target)
            used[path] = used.get(path, False) or not all(
                user.target is operator.getitem and (user.args[1] != 0 or not user.users) for user in node.users)
    return frozenset(path for path, taken in used.items() if not taken)


def _discretization(conversion: Conversion) -> Discretization | None:
    """The grid that most neurons have; the others keep their own. When a spike or a reset happens does not matter to a
    readout."""
    nodes = {name: conversion.builder.node(name) for name in conversion.grids}
    spiking = [grid for name, grid in conversion.grids.items() if is_spiking(nodes[name])]
    if not conversion.grids:
        return None
    (common, _), *_ = Counter(spiking or conversion.grids.values()).most_common(1)
    for name, grid in conversion.grids.items():
        if not is_spiking(nodes[name]):
            grid = replace(grid, reset=common.reset, fires=common.fires, spikes=common.spikes)
        if grid != common:
            conversion.builder.replace(name, replace(nodes[name], grid=grid))  # type: ignore[call-arg]
    return common


def _raise(conversion: Conversion) -> None:
    user = ("SC103", "SC107", "SC201", "SC222", "SC225")
    kind = BadInputError if all(found.code in user for found in conversion.faults.errors) else UnsupportedError
    conversion.faults.raise_if_errors(kind)
