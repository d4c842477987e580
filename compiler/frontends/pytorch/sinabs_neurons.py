"""sinabs' neurons: IAF, LIF, ExpLeak and ALIF, their recurrent and squeezing kinds -> neuron nodes on their grid.

    i := alpha_syn (i + x) or x;   v := alpha v + (1 - alpha) i, or alpha v + i without norm_input

A spike is at the threshold, not only above it; by default there are as many in a step as it fits into v. The reset, and
then the clipping at min_v_mem, are in the same step. What a recurrent connection gives for the spikes of a step joins
the input of the next; its bias is therefore not there in the first step.

Written from the behaviour of sinabs 2.0 (sinabs/layers/functional).
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from ....ir import nodes
from ....ir.diagnostics import BadInputError
from ....ir.graph import Discretization
from ....ir.nodes import Array
from ..connections import spread
from .conversion import Conversion, Signal, array_of, wide_numbers_of
from .decaying import Cell, Firing, join_later, place, step_neuron
from .layers import convolution, linear
from .registry import Layout, Leaf, qualified_name

__all__ = ["LEAVES"]

Arguments = tuple[Any, ...]
_SPIKES = "sinabs.activation.spike_generation"
_RESETS = "sinabs.activation.reset_mechanism"


def _neurons(conversion: Conversion, module: Any, name: str, arguments: Arguments) -> Signal:
    source = conversion.signal(arguments[0], name)
    before = len(conversion.faults.errors)
    firing = _firing(conversion, module, name, getattr(module, "spike_threshold", None))
    later = _first_step_without(conversion, module, name, source.shape)
    dt = conversion.step_length("sinabs' neurons", name)
    if dt is None or len(conversion.faults.errors) > before:
        return source
    beta: Any = _factor(module, "mem")
    alpha = _factor(module, "syn")
    gain = 1 - beta if module.norm_input else 1.0
    cells = place(conversion, name, source, dt, Cell(
        beta=beta, alpha=alpha, gain=gain, kick=1.0 if alpha is None else alpha, later=later), firing)
    _recurrence(conversion, module, name, cells)
    return cells


def _adaptive(conversion: Conversion, module: Any, name: str, arguments: Arguments) -> Signal:
    """ALIF: the threshold is b0 + adapt_scale b, with b the decaying trace of the spikes before."""
    source = conversion.signal(arguments[0], name)
    before, shape = len(conversion.faults.errors), source.shape
    firing = _firing(conversion, module, name, module.b0)
    later = _first_step_without(conversion, module, name, shape)
    if firing is None or firing.many:
        conversion.fail("SC223", "several spikes in a step, each of which takes off a threshold that moves, are no "
                        "linear step", node=name, value="spike_fn=MultiSpike", limit="SingleSpike, MaxSpike(1)",
                        remedy="Use SingleSpike.")
    dt = conversion.step_length("sinabs' neurons", name)
    if firing is None or dt is None or len(conversion.faults.errors) > before:
        return source
    try:
        spreads = {label: spread(name, label, np.asarray(value, dtype=np.float64), shape) for label, value in {
            "tau_mem": _factor(module, "mem"), "tau_syn": _factor(module, "syn"), "tau_adapt": _factor(module, "adapt"),
            "adapt_scale": wide_numbers_of(module.adapt_scale), "threshold": firing.threshold, "taken": firing.taken,
            "min_v_mem": firing.v_min, "bias": later}.items() if value is not None}
    except BadInputError as error:
        conversion.faults.extend(error.diagnostics)
        return source
    node = _alif(spreads, firing, module.norm_input, shape)
    cells = conversion.neuron(name, node, source, Discretization(dt, integrator="decay", fires="at"))
    _recurrence(conversion, module, name, cells)
    return cells


def _alif(given: Mapping[str, Array], firing: Firing, normed: bool, shape: tuple[int, ...]) -> nodes.StepNeuron:
    """States: v, b, i where there is one. Unlike LIF, ALIF keeps the current after it has been normed."""
    beta, fading = given["tau_mem"], given["tau_adapt"]
    gain = 1 - beta if normed else np.ones(shape)
    a = {(0, 0): beta, (1, 1): fading}
    b = {0: gain}
    c: dict[int, Array] = {}
    states = 2
    if "tau_syn" in given:
        kept = gain * given["tau_syn"]
        a |= {(0, 2): kept, (2, 2): kept}
        b, states = {0: kept, 2: kept}, 3
    states = join_later(a, b, c, states, given["bias"])
    entries: dict[str, Mapping[Any, Array]] = {
        "a": a, "b": b, "c": c, "late_c": {1: 1 - fading}, "threshold_gain": {1: given["adapt_scale"]}}
    if firing.reset == "zero":
        entries["reset_a"] = {(0, 0): -np.ones(shape)}
    elif "taken" in given:
        entries["reset_c"] = {0: -given["taken"]}
    else:
        entries |= {"reset_a": {(0, 1): -given["adapt_scale"]}, "reset_c": {0: -given["threshold"]}}
    return step_neuron(shape, states, entries, v_threshold=given["threshold"], v_min=given.get("min_v_mem"))


def _factor(module: Any, which: str) -> Array | None:
    """What a step leaves of the membrane ("mem"), the current ("syn") or the trace ("adapt"); None without one."""
    if module.train_alphas:
        factor = getattr(module, f"alpha_{which}", None)
        return None if factor is None else wide_numbers_of(factor)
    tau = getattr(module, f"tau_{which}", None)
    if tau is not None:
        return np.exp(-1 / wide_numbers_of(tau))
    return np.ones(()) if which == "mem" else None  # IAF


def _firing(conversion: Conversion, module: Any, name: str, threshold: Any) -> Firing | None:
    """When the neurons spike and how they are reset; None for a readout. Faults where a graph cannot say it."""
    if module.spike_fn is None:
        if module.min_v_mem is not None:
            conversion.fail("SC223", "a readout that is shown before its membrane is clipped has no counterpart in a "
                            "graph", node=name, value=f"min_v_mem={float(module.min_v_mem):g}",
                            remedy="Set min_v_mem=None.")
        return None
    at = wide_numbers_of(threshold)
    kind, many = _spikes(conversion, module, name)
    if kind != "SingleSpike" and (at <= 0).any():
        conversion.fail("SC223", "a count of thresholds needs a positive one", node=name, value=at.min(), limit="> 0")
    reset, rule = qualified_name(type(module.reset_fn)), module.reset_fn
    if reset not in (f"{_RESETS}.MembraneSubtract", f"{_RESETS}.MembraneReset"):
        conversion.fail("SC223", "this reset has no counterpart in a graph", node=name, value=reset,
                        limit="MembraneSubtract, MembraneReset")
        return None
    zero = reset.endswith("MembraneReset")
    if zero and rule.reset_value != 0:
        conversion.fail("SC223", "sinabs adds the reset value in every step, with or without a spike; a graph does so "
                        "after spikes only", node=name, value=f"reset_value={rule.reset_value}", limit="0")
    low = None if module.min_v_mem is None else wide_numbers_of(module.min_v_mem)
    taken = None if zero or rule.subtract_value is None else wide_numbers_of(rule.subtract_value)
    return Firing(threshold=at, reset="zero" if zero else "subtract", taken=taken, at=True, many=many, v_min=low)


def _spikes(conversion: Conversion, module: Any, name: str) -> tuple[str, bool]:
    """The rule by which neurons spike, and whether more than once a step."""
    rule = module.spike_fn
    path, _, kind = qualified_name(rule if isinstance(rule, type) else type(rule)).rpartition(".")
    most = getattr(rule, "max_num_spikes_per_bin", None)
    if path != _SPIKES or kind not in ("MultiSpike", "SingleSpike", "MaxSpike"):
        conversion.fail("SC223", "this way to spike has no counterpart in a graph", node=name, value=f"{path}.{kind}",
                        limit="MultiSpike, SingleSpike, MaxSpike")
    elif most not in (None, 1):
        conversion.fail("SC223", "a step of a graph has one spike or as many as there are thresholds in the membrane, "
                        "no other number", node=name, value=f"MaxSpike({most})", limit="MaxSpike(1), MaxSpike(None)")
    return kind, kind != "SingleSpike" and most is None


# ---- recurrent connections

_AS_THEY_ARE = ("torch.nn.modules.linear.Identity", "torch.nn.modules.dropout.Dropout")
_RESHAPING = ("torch.nn.modules.flatten.Flatten", "torch.nn.modules.flatten.Unflatten")
_WEIGHTS: Mapping[str, Any] = {
    "torch.nn.modules.linear.Linear": linear, "torch.nn.modules.conv.Conv1d": convolution,
    "torch.nn.modules.conv.Conv2d": convolution,
}


def _first_step_without(conversion: Conversion, module: Any, name: str, shape: tuple[int, ...]) -> Array:
    """What the recurrent connection gives where nothing spikes: its bias, which the first step has not."""
    back = getattr(module, "rec_connect", None)
    none = np.zeros(shape)
    if back is None:
        return none
    unknown = [path for path, part in _layers(back, f"{name}.rec_connect")
               if qualified_name(type(part)) not in (*_AS_THEY_ARE, *_RESHAPING, *_WEIGHTS)]
    for path in unknown:
        conversion.fail("SC223", "a recurrent connection is made of Linear, Conv1d, Conv2d and changes of shape",
                        node=path)
    if unknown or not any(getattr(part, "bias", None) is not None for _, part in _layers(back, name)):
        return none
    import torch

    try:
        with torch.no_grad():
            given = array_of(copy.deepcopy(back).double().eval()(torch.zeros((1, *shape), dtype=torch.float64)))
    except RuntimeError:
        return none  # its shapes do not fit, as adding it will tell
    return given.reshape(shape) if given.size == none.size else none


def _recurrence(conversion: Conversion, module: Any, name: str, cells: Signal) -> None:
    back, shape = getattr(module, "rec_connect", None), cells.shape
    if back is None or len(cells.handles) != 1 or cells.handles[0].name not in conversion.grids:
        return
    spikes = cells
    for path, part in _layers(back, f"{name}.rec_connect"):
        kind = qualified_name(type(part))
        if kind in _WEIGHTS:
            bare = copy.copy(part)
            bare._parameters = {**part._parameters, "bias": None}
            spikes = _WEIGHTS[kind](conversion, bare, path, (spikes,))
        elif kind.endswith(".Flatten") and len(spikes.shape) > 1:
            spikes = conversion.add(path, nodes.Flatten(start_dim=max(part.start_dim - 1, 0), end_dim=part.end_dim),
                                    spikes)
    if spikes.shape != shape:
        conversion.fail("SC223", "a recurrent connection ends in the shape of its neurons; a graph cannot reshape a "
                        "vector into an image", node=f"{name}.rec_connect", value=spikes.shape, limit=shape,
                        remedy="Use a convolution, or flatten what comes in.")
        return
    conversion.builder.connect(spikes.handles[0], cells.handles[0])


def _layers(module: Any, path: str) -> Iterator[tuple[str, Any]]:
    """The layers of a connection, one after the other, with their paths."""
    if qualified_name(type(module)) != "torch.nn.modules.container.Sequential":
        yield path, module
        return
    for key, part in module.named_children():
        yield from _layers(part, f"{path}.{key}")


# ---- layers without a state

def _sum_pool(conversion: Conversion, module: Any, name: str, arguments: Arguments) -> Signal:
    source = conversion.signal(arguments[0], name)
    if module.ceil_mode:
        conversion.fail("SC223", "a pool with ceil_mode has no counterpart in a graph", node=name)
    size = module.kernel_size
    kernel, stride = (tuple(each) if isinstance(each, (tuple, list)) else (each, each)
                      for each in (size, module.stride or size))
    return conversion.add(name, nodes.SumPool2d(kernel_size=kernel, stride=stride), source)


def _merge(conversion: Conversion, module: Any, name: str, arguments: Arguments) -> Signal:
    parts = [conversion.signal(each, name) for each in arguments]
    return conversion.sum(parts, name)


def _crop(conversion: Conversion, module: Any, name: str, arguments: Arguments) -> Signal:
    """A convolution of each channel by itself, with a single one where the window's corner is kept."""
    source = conversion.signal(arguments[0], name)
    channels, height, width = source.shape
    weight = np.zeros((channels, 1, module.top_crop + module.bottom_crop + 1, module.left_crop + module.right_crop + 1))
    weight[:, 0, module.top_crop, module.left_crop] = 1
    return conversion.add(name, nodes.Conv2d(weight=weight, input_shape=(height, width), groups=channels), source)


def _repeat(conversion: Conversion, module: Any, name: str, arguments: Arguments) -> Any:
    """A layer that takes (batch * time, ...), applied to (batch, time, ...)."""
    value = arguments[0]
    for path, part in _layers(module.module, f"{name}.module"):
        value = conversion.call(part, path, (value,), lead=1)
    return value


def _time(module: Any) -> Layout:
    return "folded" if hasattr(module, "squeeze_forward") else "batch_first"


LEAVES: Mapping[str, Leaf] = {
    **{f"sinabs.layers.{name}": Leaf(_neurons, time=_time) for name in (
        "iaf.IAF", "iaf.IAFRecurrent", "iaf.IAFSqueeze", "lif.LIF", "lif.LIFRecurrent", "lif.LIFSqueeze",
        "exp_leak.ExpLeak", "exp_leak.ExpLeakSqueeze")},
    **{f"sinabs.layers.alif.{name}": Leaf(_adaptive, time=_time) for name in ("ALIF", "ALIFRecurrent", "ALIFSqueeze")},
    **{f"sinabs.layers.{name}": Leaf(convert) for name, convert in {
        "pool2d.SumPool2d": _sum_pool, "merge.Merge": _merge, "crop2d.Cropping2dLayer": _crop,
        "reshape.Repeat": _repeat}.items()},
}
