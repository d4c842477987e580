"""SpikingJelly's neurons (`spikingjelly.activation_based.neuron`) on their grid, in both step modes.

With x what arrives in a step, spikes as impulses, and u the value that the membrane leaks towards (v_reset, 0 where
that is None), all of them then spike where v >= v_threshold and are reset in the same step:

    IFNode                    v := v + x                              IF: r = 1; a bias is bias / dt
    LIFNode, decay_input      v := v + (x - (v - u)) / tau            LIF: v_leak = u, r = tau_mem / tau
    LIFNode, no decay_input   v := v - (v - u) / tau + x              LIF: v_leak = u, r = tau_mem
    ParametricLIFNode         LIFNode with 1 / tau = sigmoid(w)
    CUBALIFNode               c := c_decay c + x;  v := v_decay v + c CubaLIF, as snnTorch's Synaptic
    RAFNode                   (u, v) := e^(b dt) R(omega dt) (u, v) + (x, 0)         StepNeuron

A step leaves 1 - 1/tau of a membrane, so its time constant is tau_mem = -dt / ln(1 - 1/tau): the decay of a step, and
of any longer time, is then that of the framework in continuous time too (`Discretization.integrator` = "decay").
v_reset = None is a reset by subtraction.

Whether a neuron fires at its threshold is asked of its surrogate function, and whether a class steps as its base does,
of its methods: classes of the framework and of users that replace the step have no converter.

Written from the behaviour of SpikingJelly 2.0.0 (activation_based/functional/neuron.py and neuron/).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ....ir import nodes
from ....ir.decay import leaky_from_beta, synaptic_from_alpha_beta
from ....ir.diagnostics import BadInputError
from ....ir.grid import Discretization
from ....ir.nodes import Array, Neuron
from ..connections import spread
from .conversion import NO_CONVERTER, Conversion, Signal, array_of, numbers_of, wide_numbers_of
from .registry import Layout, Leaf, qualified_name
from .spikingjelly_layers import LAYERS

__all__ = ["LEAVES"]

Shape = tuple[int, ...]
Made = tuple[Neuron, Array | float]
"""A neuron node, and what turns a bias into a constant current."""

_PACKAGE = "spikingjelly.activation_based.neuron"
_STEP = ("forward", "single_step_forward", "multi_step_forward", "functional_forward", "single_step_functional_forward",
         "multi_step_functional_forward", "materialize_states", "neuronal_charge", "neuronal_fire", "neuronal_reset")


def _if(module: Any, name: str, shape: Shape, dt: float) -> Made:
    return nodes.IF(shape=shape, **_firing(module, name, shape)), 1 / dt


def _aware_if(module: Any, name: str, shape: Shape, dt: float) -> Made:
    """IF of a threshold and an offset per channel: it fires from v_threshold - v_offset on, and a subtraction takes
    v_threshold off."""
    # `channel_dim` counts the batch axis of one step.
    axis = module.channel_dim if module.channel_dim < 0 else module.channel_dim - 1
    threshold, offset = (
        spread(name, label, _along(wide_numbers_of(getattr(module, label)), axis, shape), shape)
        for label in ("v_threshold", "v_offset"))
    if module.v_reset is not None:
        return nodes.IF(shape=shape, v0=_start(module), v_threshold=threshold - offset,
                        v_reset=numbers_of(module.v_reset)), 1 / dt
    if not offset.any():
        return nodes.IF(shape=shape, v0=_start(module), v_threshold=threshold, reset="subtract"), 1 / dt
    return nodes.StepNeuron(shape=shape, v0=_start(module), a=np.ones((1, 1)), b=np.ones(1), spike_c=-threshold[None],
                            v_threshold=threshold - offset), 1.0


def _lif(module: Any, name: str, shape: Shape, dt: float) -> Made:
    return _leaky(module, name, shape, dt, 1 / numbers_of(module.tau))


def _parametric_lif(module: Any, name: str, shape: Shape, dt: float) -> Made:
    return _leaky(module, name, shape, dt, array_of(module.w.detach().double().sigmoid()))


def _leaky(module: Any, name: str, shape: Shape, dt: float, lost: Array) -> Made:
    """`lost`: 1 / tau, the part of the membrane that a step takes."""
    found = leaky_from_beta(1 - lost, dt, node=name)
    share = lost if module.decay_input else 1.0
    leak = numbers_of(0.0 if module.v_reset is None else module.v_reset)
    return nodes.LIF(shape=shape, tau=found.params["tau"], r=found.params["r"] * share, v_leak=leak,
                     **_firing(module, name, shape)), found.bias_scale


def _cuba_lif(module: Any, name: str, shape: Shape, dt: float) -> Made:
    found = synaptic_from_alpha_beta(module.c_decay, module.v_decay, dt, node=name)
    settings: dict[str, Any] = {**found.params, **_firing(module, name, shape)}
    return nodes.CubaLIF(shape=shape, **settings), found.bias_scale


def _resonator(module: Any, name: str, shape: Shape, dt: float) -> Made:
    """States v, which fires, and u, which the input drives. Its own dt, with b and omega, is of the module's units."""
    kept = math.exp(module.b * module.dt)
    cosine, sine = (kept * turn(module.omega * module.dt) for turn in (math.cos, math.sin))
    firing = _firing(module, name, shape)
    subtract = module.v_reset is None
    return nodes.StepNeuron(
        shape=shape, v0=firing["v0"], a=np.array([[cosine, sine], [-sine, cosine]]), b=np.array([0.0, 1.0]),
        reset_a=None if subtract else np.diag([-1.0, 0.0]),
        reset_c=None if subtract else np.array([module.v_reset, 0.0]),
        spike_c=np.array([-module.v_threshold, 0.0]) if subtract else None, v_threshold=module.v_threshold,
    ), 1.0


def _firing(module: Any, name: str, shape: Shape) -> dict[str, Any]:
    threshold = spread(name, "v_threshold", numbers_of(module.v_threshold), shape)
    reset: dict[str, Any] = {"reset": "subtract"} if module.v_reset is None else {"v_reset": numbers_of(module.v_reset)}
    return {"v0": _start(module), "v_threshold": threshold, **reset}


def _start(module: Any) -> Array:
    """The membrane after `functional.reset_net`."""
    return numbers_of(module.get_reset_value("v"))


def _along(values: Array, axis: int, shape: Shape) -> Array:
    """Values by channel, ready to spread over `shape`."""
    if values.ndim == 0:
        return values
    sizes = [1] * len(shape)
    sizes[axis] = -1
    return values.reshape(sizes)


def _converter(kind: str, make: Callable[[Any, str, Shape, float], Made]) -> Callable[..., Signal]:
    def convert(conversion: Conversion, module: Any, name: str, arguments: tuple[Any, ...]) -> Signal:
        source = conversion.signal(arguments[0], name)
        replaced = _replaced(module, f"{_PACKAGE}.{kind}")
        if replaced is not None:
            conversion.fail("SC220", f"there is no converter for {qualified_name(type(module))}, which has a step of "
                            "its own", node=name, value=replaced, remedy=NO_CONVERTER)
            return source
        fires = _fires(conversion, module, name)
        dt = conversion.step_length("SpikingJelly's neurons", name)
        if dt is None:
            return source
        try:
            node, bias_scale = make(module, name, source.shape, dt)
        except BadInputError as error:
            conversion.faults.extend(error.diagnostics)
            return source
        grid = Discretization(dt, integrator="decay", fires=fires)
        return conversion.neuron(name, node, source, grid, bias_scale)

    return convert


def _replaced(module: Any, base: str) -> str | None:
    """The first method of the step that a class between the module's and `base` replaces."""
    for kind in type(module).__mro__:
        if qualified_name(kind) == base:
            return None
        for method in _STEP:
            if method in vars(kind):
                return f"{qualified_name(kind)}.{method}"
    return None


def _fires(conversion: Conversion, module: Any, name: str) -> Any:
    """Whether the neurons fire "at" their threshold or "above" it, as their surrogate function says in eval mode."""
    import torch

    probe = torch.tensor([-2.0, -1e-6, 0.0, 1e-6, 2.0, 5.0], dtype=torch.float64)
    with torch.no_grad():
        given = module.surrogate_function(probe).double()
    for fires, at in (("at", 1.0), ("above", 0.0)):
        if torch.equal(given, torch.tensor([0.0, 0.0, at, 1.0, 1.0, 1.0], dtype=torch.float64)):
            return fires
    conversion.fail("SC223", "the surrogate function gives something else than spikes", node=name,
                    value=f"surrogate_function={module.surrogate_function}",
                    remedy="Use one of spikingjelly.activation_based.surrogate, with spiking=True.")
    return "at"


def _layout(module: Any) -> Layout:
    return "time_first" if module.step_mode == "m" else "step"


def _advance(module: Any, value: Any, state: Any) -> tuple[Any, Any]:
    if state is None:
        module.reset()
    return module(value), True


_KINDS: Mapping[str, Callable[[Any, str, Shape, float], Made]] = {
    "integrate_and_fire.IFNode": _if, "integrate_and_fire.SimpleIFNode": _if,
    "integrate_and_fire.HalfThresholdIFNode": _if, "integrate_and_fire.ActivationAwareIFNode": _aware_if,
    "lif.LIFNode": _lif, "lif.SimpleLIFNode": _lif, "online_learning.OTTTLIFNode": _lif,
    "online_learning.SLTTLIFNode": _lif, "plif.ParametricLIFNode": _parametric_lif,
    "lif_variants.CUBALIFNode": _cuba_lif, "resonate.RAFNode": _resonator,
}

LEAVES: Mapping[str, Leaf] = {
    **{f"{_PACKAGE}.{kind}": Leaf(_converter(kind, make), _advance, _layout) for kind, make in _KINDS.items()},
    **LAYERS,
}
