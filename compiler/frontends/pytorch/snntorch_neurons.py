"""snnTorch's neurons: Leaky, Synaptic, Alpha, Lapicque, RLeaky, RSynaptic -> neuron nodes on their grid.

`ir.decay` has the formulas of Leaky and Synaptic. In continuous time (the event target) the graph of a `Synaptic` is a
CubaLIF with tau_syn = -dt/ln(alpha), tau_mem = -dt/ln(beta): its current charges the membrane all through a step where
snnTorch adds it at the end, spikes do not fall on the grid, and a reset is at once. Membranes differ by terms of order
dt/tau, and a neuron that is driven hard may spike more often than once a step.

With reset_delay=False and reset by subtraction, a membrane that is still above its threshold after a reset needs twice
the threshold for the next spike (`mem_reset` sees the old membrane, and takes the threshold off the new one before the
test), so what a step does depends on the membrane that was left, not on the spike. So it does where a threshold is
negative, above which a membrane is before the first spike. Both are StepNeurons, of `late` "above".

Written from the behaviour of snnTorch 1.0.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ....ir import nodes
from ....ir.diagnostics import BadInputError
from ....ir.graph import Discretization
from ....ir.nodes import Array
from ..connections import spread
from .conversion import Conversion, Signal, State, array_of, wide_numbers_of
from .decaying import Cell, Firing, place, step_neuron
from .layers import convolution, linear
from .registry import Leaf

__all__ = ["LEAVES"]

_RESETS: Mapping[str, Any] = {"_base_sub": "subtract", "_base_zero": "zero", "_base_int": "none"}
_STATES: Mapping[str, tuple[str, ...]] = {
    "Leaky": ("mem",), "Lapicque": ("mem",), "Synaptic": ("syn", "mem"), "Alpha": ("syn_exc", "syn_inh", "mem"),
    "RLeaky": ("spk", "mem"), "RSynaptic": ("spk", "syn", "mem"),
}
"""What a neuron carries from step to step, in the order of `forward`."""


def _convert(conversion: Conversion, module: Any, name: str, arguments: tuple[Any, ...]) -> Any:
    expected = getattr(module, "linear_features", None)
    source = conversion.signal(arguments[0], name, None if expected is None else (expected,))
    # The rule that `forward` follows is chosen when the module is made, and stays.
    reset = _RESETS[module.state_function.__name__]
    silent = reset == "none" and name in conversion.spikes_unused
    if not _fit(conversion, module, name, reset):
        return _returned(module, name, source, source)
    dt = conversion.step_length("snnTorch's neurons", name)
    if dt is None:
        return _returned(module, name, source, source)
    # But for Leaky, a reset to zero that comes one step late also takes what arrives in that step.
    firing = None if silent else Firing(
        threshold=array_of(module.threshold), reset=reset, late=_delayed(module), held=_kind(module) != "Leaky",
        left=_by_what_is_left(module, reset))
    if _kind(module) == "Alpha":
        cells = _alpha(conversion, module, name, source, dt, firing)
    elif _kind(module) == "Lapicque":
        cells = place(conversion, name, source, dt, _circuit(module), firing, "euler")
    else:
        cells = place(conversion, name, source, dt, Cell(
            beta=_factor(module.beta), alpha=_factor(module.alpha) if hasattr(module, "alpha") else None), firing)
    spikes = cells if silent else _graded(conversion, module, name, cells)
    if hasattr(module, "recurrent") and not silent:
        _recurrence(conversion, module, name, spikes, cells)
    return _returned(module, name, spikes, cells if silent else State(cells.handles[0].name, "mem"))


def _kind(module: Any) -> str:
    """The name of the neuron's class in snnTorch, also where the user's is derived from it."""
    return next(kind.__name__ for kind in type(module).__mro__ if kind.__module__.startswith("snntorch._neurons."))


def _factor(factor: Any) -> Array:
    """Clamped, as in snnTorch's `forward`."""
    return np.clip(wide_numbers_of(factor), 0, 1)


def _delayed(module: Any) -> bool:
    """RSynaptic leaves `reset_delay=False` without effect where states are passed in, and fails where they are not."""
    return getattr(module, "reset_delay", True) or _kind(module) == "RSynaptic"


def _by_what_is_left(module: Any, reset: str) -> bool:
    """Whether resets by the membrane that a step has left are others than resets by its spikes."""
    return bool((array_of(module.threshold) < 0).any()) if _delayed(module) else reset == "subtract"


def _fit(conversion: Conversion, module: Any, name: str, reset: str) -> bool:
    """Whether a graph can say these settings; else they are faults."""
    before = len(conversion.faults.errors)
    if module.inhibition:
        conversion.fail("SC223", "inhibition (one winner a step) has no counterpart in a graph", node=name,
                        remedy="Set inhibition=False.")
    if module.state_quant:
        conversion.fail("SC223", "quantised states have no counterpart in a graph", node=name,
                        remedy="Set state_quant=False.")
    threshold = array_of(module.threshold)
    at_once = not getattr(module, "reset_delay", True)
    if reset != ("subtract", "zero", "none")[int(module.reset_mechanism_val)]:
        conversion.fail("SC223", "the reset mechanism was changed after the neurons were made, and snnTorch goes on "
                        "with the first", node=name, value=f"{module.reset_mechanism} after {reset}",
                        remedy="Make the neurons with the mechanism that is meant.")
    elif at_once and _kind(module) == "RSynaptic":
        if module.init_hidden:
            conversion.fail("SC223", "snnTorch itself fails with this setting", node=name, value="reset_delay=False",
                            remedy="Set reset_delay=True.")
        else:
            conversion.fail("SC223", "reset_delay=False has no effect in this class of snnTorch 1.0", node=name,
                            severity="warning", remedy="Set reset_delay=True, which is what it does.")
    elif at_once and reset == "zero" and (threshold < 0).any():
        conversion.fail("SC223", "a membrane that is reset to zero is above a negative threshold, and snnTorch doubles "
                        "it in the next step without a spike", node=name, value=threshold.min(), limit=">= 0",
                        remedy="Set reset_delay=True.")
    return len(conversion.faults.errors) == before


def _circuit(module: Any) -> Cell:
    """Lapicque's RC circuit, computed as its `forward` does in float64: whole numbers there stay such, and their
    quotients are float32."""
    resistance, capacity, step = (
        value.double() if value.is_floating_point() else value for value in (module.R, module.C, module.time_step))
    beta = 1 - step / (resistance * capacity)
    gain = resistance.double() * (1 / (resistance * capacity)).double() * step.double()
    return Cell(beta=wide_numbers_of(beta), gain=array_of(gain))


def _alpha(conversion: Conversion, module: Any, name: str, source: Signal, dt: float,
           firing: Firing | None) -> Signal:
    """mem is a multiple of the difference of two decaying currents, and has no memory of its own. After a spike, `zero`
    takes all three and what arrives. `subtract` does what the code of snnTorch does, not what its text says: it takes
    the threshold off the first current, clears the second, and adds the old value of that to mem."""
    shape = source.shape
    try:
        alpha = spread(name, "alpha", _factor(module.alpha), shape)
        beta = spread(name, "beta", _factor(module.beta), shape)
        threshold = spread(name, "threshold", wide_numbers_of(module.threshold), shape)
    except BadInputError as error:
        conversion.faults.extend(error.diagnostics)
        return source
    with np.errstate(divide="ignore", invalid="ignore"):
        height = np.log(alpha) / (np.log(beta) - np.log(alpha)) + 1
    a = {(0, 1): height * alpha, (0, 2): height * beta, (1, 1): alpha, (2, 2): beta}
    b = {1: np.ones(shape), 2: -np.ones(shape)}
    entries: dict[str, Mapping[Any, Array]] = {"a": a, "b": b}
    if firing is not None and firing.reset == "zero":
        entries |= {"late_a": {at: -value for at, value in a.items()},
                    "late_b": {at: -value for at, value in b.items()}}
    elif firing is not None and firing.reset == "subtract":
        entries |= {"late_a": {(0, 2): np.ones(shape), (2, 2): -beta}, "late_b": {2: np.ones(shape)},
                    "late_c": {1: -threshold}}
    node = step_neuron(shape, 3, entries, v_threshold=None if firing is None else threshold,
                       late="above" if firing is not None and firing.left else "fired")
    return conversion.neuron(name, node, source, Discretization(dt, integrator="decay", reset="next"))


def _graded(conversion: Conversion, module: Any, name: str, cells: Signal) -> Signal:
    """Spikes of another height than one are multiplied on their way out."""
    factor = wide_numbers_of(module.graded_spikes_factor)
    if (factor == 1).all():
        return cells
    return conversion.add(f"{name}.graded", nodes.Scale(
        scale=spread(name, "graded_spikes_factor", factor, cells.shape)), cells)


def _recurrence(conversion: Conversion, module: Any, name: str, spikes: Signal, cells: Signal) -> None:
    inner, where = module.recurrent, f"{name}.recurrent"
    if not module.all_to_all:
        back = conversion.add(where, nodes.Scale(scale=spread(name, "V", array_of(inner.V), cells.shape)), spikes)
    else:
        back = (linear if module.linear_features else convolution)(conversion, inner, where, (spikes,))
    conversion.builder.connect(back.handles[0], cells.handles[0])


def _returned(module: Any, name: str, spikes: Signal, membrane: Any) -> Any:
    if module.init_hidden and not module.output:
        return spikes
    inner = (State(name, state) for state in _STATES[_kind(module)] if state not in ("spk", "mem"))
    return (spikes, *inner, membrane)


def _advance(module: Any, value: Any, state: Any) -> tuple[Any, Any]:
    if state is None:
        module._init_mem()
    if module.init_hidden:
        returned = module(value)
        for name in _STATES[_kind(module)]:  # surrogate functions give float32 spikes, whatever comes in
            setattr(module, name, getattr(module, name).to(value.dtype))
        return returned, ()
    import torch

    returned = module(value, *(state or (torch.zeros_like(value) for _ in _STATES[_kind(module)])))
    states = returned if hasattr(module, "recurrent") else returned[1:]
    return returned, tuple(each.to(value.dtype) for each in states)


LEAVES: Mapping[str, Leaf] = {
    f"snntorch._neurons.{name.lower()}.{name}": Leaf(_convert, _advance, lambda module: "step") for name in _STATES
}
