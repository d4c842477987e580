"""snnTorch's neurons: Leaky, Synaptic, RLeaky, RSynaptic -> LIF and CubaLIF on their grid.

`ir.decay` has the formulas. In continuous time (the event target) the graph of a `Synaptic` is a CubaLIF with
tau_syn = -dt/ln(alpha), tau_mem = -dt/ln(beta): its current charges the membrane all through a step where snnTorch adds
it at the end, spikes do not fall on the grid, and a reset is at once. Membranes differ by terms of order dt/tau, and a
neuron that is driven hard may spike more often than once a step.

With reset_delay=False and reset by subtraction, a membrane that is still above its threshold after a reset needs twice
the threshold for the next spike (`mem_reset` sees the old membrane, and takes the threshold off the new one before the
test). No neuron of the graph has two thresholds, so this is refused.

Written from the behaviour of snnTorch 1.0.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ...ir import nodes
from ...ir.decay import leaky_from_beta, synaptic_from_alpha_beta
from ...ir.diagnostics import BadInputError
from ...ir.graph import Discretization
from ...ir.nodes import Array, Neuron
from .connections import spread
from .conversion import Conversion, Signal, State, array_of
from .registry import Leaf
from .torch_layers import convolution, linear

__all__ = ["LEAVES"]


def _convert(conversion: Conversion, module: Any, name: str, arguments: tuple[Any, ...]) -> Any:
    expected = getattr(module, "linear_features", None)
    source = conversion.signal(arguments[0], name, None if expected is None else (expected,))
    silent = module.reset_mechanism == "none" and name in conversion.spikes_unused
    _refuse_settings(conversion, module, name, silent)
    if conversion.dt is None:
        conversion.fail("SC222", "snnTorch's neurons count in steps, and the length of a step is not given", node=name,
                        remedy="Pass dt=… in seconds.")
        return _returned(module, name, source, source)
    try:
        node, bias_scale = _node(conversion.dt, module, name, source.shape, silent)
    except BadInputError as error:
        conversion.faults.extend(error.diagnostics)
        return _returned(module, name, source, source)
    grid = Discretization(conversion.dt, integrator="decay",
                          reset="next" if module.reset_delay and not silent else "same")
    cells = conversion.neuron(name, node, source, grid, bias_scale)
    if hasattr(module, "recurrent") and not silent:
        _recurrence(conversion, module, name, cells)
    return _returned(module, name, cells, cells if silent else State(cells.handles[0].name, "mem"))


def _refuse_settings(conversion: Conversion, module: Any, name: str, silent: bool) -> None:
    if module.inhibition:
        conversion.fail("SC223", "inhibition (one winner a step) has no counterpart in a graph", node=name,
                        remedy="Set inhibition=False.")
    if module.state_quant:
        conversion.fail("SC223", "quantised states have no counterpart in a graph", node=name,
                        remedy="Set state_quant=False.")
    factor = array_of(module.graded_spikes_factor)
    if (factor != 1).any():
        conversion.fail("SC223", "spikes have height one", node=name, value=f"graded_spikes_factor={factor}",
                        remedy="Multiply the weights of the next layer instead.")
    if module.reset_mechanism == "subtract" and not module.reset_delay:
        conversion.fail("SC223", "with a reset by subtraction in the step of the spike, snnTorch asks for twice the "
                        "threshold where a membrane stays above it; neurons of a graph have one threshold", node=name,
                        value="reset_mechanism='subtract', reset_delay=False",
                        remedy="Set reset_delay=True, or reset_mechanism='zero'.")
    if module.reset_mechanism == "none" and not silent:
        conversion.fail("SC223", "a neuron that spikes is reset", node=name, value="reset_mechanism='none'",
                        limit="'subtract' or 'zero'",
                        remedy="Choose one of these, or return only the membrane for a readout that does not spike.")


def _node(dt: float, module: Any, name: str, shape: tuple[int, ...], silent: bool) -> tuple[Neuron, Array]:
    """The neurons, and the factor of biases on the way into each. Factors are clamped as snnTorch does.

    Raises:
        BadInputError: a factor without a time constant, or values that do not spread over the neurons.
    """
    beta = spread(name, "beta", np.clip(array_of(module.beta), 0, 1), shape)
    cuba = hasattr(module, "alpha")
    if cuba:
        alpha = spread(name, "alpha", np.clip(array_of(module.alpha), 0, 1), shape)
        found = synaptic_from_alpha_beta(alpha, beta, dt, node=name)
    else:
        found = leaky_from_beta(beta, dt, node=name)
    kind: Any = _KINDS[found.kind][0 if silent else 1]
    if silent:
        return kind(shape=shape, **found.params), found.bias_scale
    zero = module.reset_mechanism == "zero"
    # But for Leaky, a reset to zero that comes one step late also takes what arrives in that step.
    held = zero and module.reset_delay and (cuba or hasattr(module, "recurrent"))
    return kind(shape=shape, **found.params, v_threshold=spread(name, "threshold", array_of(module.threshold), shape),
                reset="zero" if zero else "subtract", refractory=dt if held else 0.0), found.bias_scale


_KINDS: Mapping[str, tuple[type[Neuron], type[Neuron]]] = {
    "integrator": (nodes.I, nodes.IF), "leaky": (nodes.LI, nodes.LIF), "cuba": (nodes.CubaLI, nodes.CubaLIF),
}


def _recurrence(conversion: Conversion, module: Any, name: str, cells: Signal) -> None:
    inner, where = module.recurrent, f"{name}.recurrent"
    if not module.all_to_all:
        back = conversion.add(where, nodes.Scale(scale=spread(name, "V", array_of(inner.V), cells.shape)), cells)
    else:
        back = (linear if module.linear_features else convolution)(conversion, inner, where, (cells,))
    conversion.builder.connect(back.handles[0], cells.handles[0])


def _returned(module: Any, name: str, spikes: Signal, membrane: Any) -> Any:
    if module.init_hidden and not module.output:
        return spikes
    synapse = (State(name, "syn"),) if hasattr(module, "alpha") else ()
    return (spikes, *synapse, membrane)


def _advance(module: Any, value: Any, state: Any) -> tuple[Any, Any]:
    if state is None:
        module._init_mem()
    returned = module(value) if module.init_hidden else module(value, *(state or ()))
    if module.init_hidden:
        for name in ("spk", "syn", "mem"):
            if hasattr(module, name):  # surrogate functions give float32 spikes, whatever comes in
                setattr(module, name, getattr(module, name).to(value.dtype))
        return returned, ()
    states = returned if hasattr(module, "recurrent") else returned[1:]
    return returned, tuple(each.to(value.dtype) for each in states)


LEAVES: Mapping[str, Leaf] = {
    f"snntorch._neurons.{name}": Leaf(_convert, _advance, lambda module: "step")
    for name in ("leaky.Leaky", "synaptic.Synaptic", "rleaky.RLeaky", "rsynaptic.RSynaptic")
}
