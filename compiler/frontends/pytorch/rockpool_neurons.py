"""Rockpool's torch modules -> neuron nodes on their grid.

    LIFTorch        i := beta (i + x);  v := alpha v + i + bias
    LIFNeuronTorch  v := alpha v + x + bias
    ExpSynTorch     i := beta (i + x)

A neuron spikes at its threshold, as often in a step as that fits into v, and each spike subtracts it. Recurrent spikes
join the input of the next step. A module knows the length of its steps.

Written from the behaviour of Rockpool 3.1 (rockpool/nn/modules/torch).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ....ir import nodes
from ....ir.graph import Discretization
from ....ir.nodes import Array
from .conversion import Conversion, Signal, array_of, wide_numbers_of
from .decaying import Cell, Firing, place, step_neuron
from .registry import Leaf, qualified_name

__all__ = ["LEAVES"]

Arguments = tuple[Any, ...]
_UNBOUNDED = 2**16
"""What Rockpool has for the most spikes in a step where nothing is said."""
_COUNTING = ("StepPWL", "PeriodicExponential")
"""The two functions of Rockpool that make spikes; they differ in their gradients alone."""


def _lif(conversion: Conversion, module: Any, name: str, arguments: Arguments) -> Signal:
    current = _kept(module, "syn", "beta")
    return _recurrence(conversion, module, name, _neurons(conversion, module, name, arguments, Cell(
        beta=_kept(module, "mem", "alpha"), alpha=current, kick=current, bias=wide_numbers_of(module.bias))))


def _adaptive(conversion: Conversion, module: Any, name: str, arguments: Arguments) -> Signal:
    """aLIFTorch: LIFTorch whose own spikes feed a third state, a current with a time constant of its own.

        h := gamma (h + w_ahp spikes);  v := alpha v + i + h + bias
    """
    source = conversion.signal(arguments[0], name, (module.size_in,))
    firing = _firing(conversion, module, name)
    if firing is None:
        return source
    alpha, beta, gamma, bias, weight, threshold = (np.broadcast_to(each, source.shape) for each in (
        _kept(module, "mem", "alpha"), _kept(module, "syn", "beta"),
        np.exp(-module.dt / wide_numbers_of(module.tau_ahp)),
        wide_numbers_of(module.bias), wide_numbers_of(module.w_ahp), firing.threshold))
    node = step_neuron(source.shape, 3, {
        "a": {(0, 0): alpha, (0, 1): beta, (1, 1): beta, (0, 2): gamma, (2, 2): gamma}, "b": {0: beta, 1: beta},
        "c": {0: bias}, "spike_c": {0: -threshold, 2: weight}}, v_threshold=threshold)
    grid = Discretization(float(module.dt), integrator="decay", fires="at", spikes="many" if firing.many else "one")
    return _recurrence(conversion, module, name, conversion.neuron(name, node, source, grid))


def _recurrence(conversion: Conversion, module: Any, name: str, cells: Signal) -> Signal:
    weight = array_of(module.w_rec).T
    if weight.any() and cells.handles[0].name in conversion.grids:
        back = conversion.add(f"{name}.w_rec", nodes.Linear(weight=weight), cells)
        conversion.builder.connect(back.handles[0], cells.handles[0])
    return cells


def _kept(module: Any, which: str, factor: str) -> Array:
    """What a step leaves of the membrane ("mem") or the current ("syn"), from what the module is trained in."""
    if module.leak_mode == "taus" and not qualified_name(type(module)).endswith("LIFBitshiftTorch"):
        kept = np.exp(-module.dt / wide_numbers_of(getattr(module, f"tau_{which}")))
    elif module.leak_mode == "bitshifts":
        kept = 1 - 2.0 ** -wide_numbers_of(getattr(module, f"dash_{which}"))
    else:
        kept = wide_numbers_of(getattr(module, factor))
    return np.ravel(kept)


def _lif_neuron(conversion: Conversion, module: Any, name: str, arguments: Arguments) -> Signal:
    return _neurons(conversion, module, name, arguments, Cell(
        beta=np.exp(-module.dt / wide_numbers_of(module.tau_mem)), bias=wide_numbers_of(module.bias)))


def _neurons(conversion: Conversion, module: Any, name: str, arguments: Arguments, cell: Cell) -> Signal:
    source = conversion.signal(arguments[0], name, (module.size_in,))
    firing = _firing(conversion, module, name)
    return source if firing is None else place(conversion, name, source, float(module.dt), cell, firing)


def _firing(conversion: Conversion, module: Any, name: str) -> Firing | None:
    """When the neurons spike; None where a graph cannot say what the module does, with the faults told."""
    fit = _fit(conversion, module, name)
    if getattr(module, "n_synapses", 1) != 1:
        fit = False
        conversion.fail("SC223", "several synapses into one neuron, each of its own time constant, have no counterpart "
                        "in a graph", node=name, value=f"shape={tuple(module.shape)}",
                        limit="as many inputs as neurons", remedy="Use one synapse a neuron.")
    most = float(module.max_spikes_per_dt)
    if most != 1 and most < _UNBOUNDED:
        fit = False
        conversion.fail("SC223", "a step of a graph has one spike or as many as there are thresholds in the membrane, "
                        "no other number", node=name, value=f"max_spikes_per_dt={most:g}",
                        limit=f"1, or {_UNBOUNDED} (the default)")
    makes = qualified_name(getattr(module.spike_generation_fn, "__self__", type(None)))
    if not makes.startswith("rockpool.") or makes.rpartition(".")[2] not in _COUNTING:
        fit = False
        conversion.fail("SC223", "this way to spike has no counterpart in a graph", node=name, value=makes,
                        limit=", ".join(_COUNTING))
    threshold = wide_numbers_of(module.threshold)
    if (threshold <= 0).any():
        fit = False
        conversion.fail("SC223", "a count of thresholds needs a positive one", node=name, value=threshold.min(),
                        limit="> 0")
    return Firing(threshold=threshold, at=True, many=most != 1) if fit else None


def _exponential_synapse(conversion: Conversion, module: Any, name: str, arguments: Arguments) -> Signal:
    """The current itself comes out, which is what a leaky readout shows."""
    source = conversion.signal(arguments[0], name, (module.size_in,))
    if not _fit(conversion, module, name):
        return source
    kept = np.exp(-module.dt / wide_numbers_of(module.tau))
    return place(conversion, name, source, float(module.dt), Cell(beta=kept, gain=kept))


def _fit(conversion: Conversion, module: Any, name: str) -> bool:
    """Whether nothing is random, and steps are as long as everywhere else in the model."""
    noise, step = float(module.noise_std), float(module.dt)
    if noise:
        conversion.fail("SC223", "noise has no counterpart in a graph", node=name, value=f"noise_std={noise:g}",
                        remedy="Set noise_std=0.")
    others = {grid.dt for grid in conversion.grids.values()} | ({conversion.dt} if conversion.dt else set())
    unlike = [other for other in others if abs(other - step) > 1e-9 * step]
    if unlike:
        conversion.fail("SC222", "the length of a step of this module is not that of the rest", node=name,
                        value=f"dt={step:g}", limit=f"{unlike[0]:g} s",
                        remedy="Make all modules with one dt, and leave out dt= here.")
    return not noise and not unlike


def _linear(conversion: Conversion, module: Any, name: str, arguments: Arguments) -> Signal:
    """Rockpool's weights are (in, out)."""
    source = conversion.signal(arguments[0], name, (module.size_in,))
    weight = array_of(module.weight).T
    if module.bias is None:
        return conversion.add(name, nodes.Linear(weight=weight), source)
    bias = np.broadcast_to(wide_numbers_of(module.bias), (module.size_out,))
    return conversion.add(name, nodes.Affine(weight=weight, bias=bias), source)


_TORCH = "rockpool.nn.modules.torch."
LEAVES: Mapping[str, Leaf] = {
    **{f"{_TORCH}{name}": Leaf(convert, time=lambda module: "batch_first") for name, convert in {
        "lif_torch.LIFTorch": _lif, "lif_bitshift_torch.LIFBitshiftTorch": _lif,
        "ahp_lif_torch.aLIFTorch": _adaptive,
        "lif_neuron_torch.LIFNeuronTorch": _lif_neuron, "exp_syn_torch.ExpSynTorch": _exponential_synapse}.items()},
    f"{_TORCH}linear_torch.LinearTorch": Leaf(_linear),
}
