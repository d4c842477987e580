"""Norse's neurons: LIF, LIFBox, LIFRefrac, IAF, LI, LIBox and LSNN, their cells and recurrent forms, on Norse's grid.

One step of Norse adds what arrives to the current, moves the membrane by forward Euler under the new current, and lets
the current decay. That is `Discretization.integrator` = "semi", with the current taken before its decay. With
f = dt * tau_inv, x what arrives in the step, and spikes as impulses:

    LIF, LI        i := i + x;  v := v + f_mem (v_leak - v + i);  i := (1 - f_syn) i
                   CubaLIF, CubaLI: tau = dt / f, w_in = tau_syn, r = 1
    LIFBox, LIBox  v := v + f_mem (v_leak - v + x)              LIF, LI: tau_mem = dt / f_mem, r = dt
    IAF            v := v + x                                   IF: r = 1
    LIFRefrac      LIF, silent and with v held for ceil(rho_reset) steps after a spike
    LSNN           LIF in which i acts one step later, and whose threshold b relaxes to v_th and rises by beta at every
                   spike: a StepNeuron with the states v, i and b - v_th

A bias is added once a step in all of them, so it is a constant current of bias / dt.

f is taken as Norse computes it, in the type of the parameter: with the default single precision 0.001 * 100 is
0.10000000149, and a tau of 0.01 would give other membranes in the eighth digit. The membrane starts where the module's
own `state_fallback` puts it.

Written from the behaviour of Norse 1.1.0 (norse/torch/functional/).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ....ir import nodes
from ....ir.grid import Discretization
from ....ir.nodes import Array, Neuron, Reset
from ..connections import spread
from .containers import fed_back, in_turn
from .conversion import Conversion, Signal, State, array_of, numbers_of
from .registry import Leaf

__all__ = ["LEAVES"]

Arguments = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class _Layer:
    """A module under conversion: `parameters` are its `p`, `shape` that of one sample of its neurons."""

    conversion: Conversion
    module: Any
    name: str
    shape: tuple[int, ...]
    dt: float

    def value(self, label: str, parameters: Any = None) -> Array:
        """A parameter, spread over the neurons."""
        given = getattr(self.module.p if parameters is None else parameters, label)
        return spread(self.name, label, numbers_of(given), self.shape)

    def factor(self, label: str, parameters: Any = None) -> Array:
        """dt * tau_inv as Norse computes it."""
        inverse = getattr(self.module.p if parameters is None else parameters, label)
        factor = spread(self.name, label, numbers_of(self.module.dt * inverse), self.shape).astype(np.float64)
        if not (factor > 0).all():
            self.conversion.fail("SC103", "an inverse time constant is positive", node=self.name,
                                 value=f"{label} = {numbers_of(inverse).min():g}")
            return np.ones(self.shape)
        return factor

    def tau(self, label: str, parameters: Any = None) -> Array:
        return self.dt / self.factor(label, parameters)

    def start(self, channels: tuple[int, ...], leading: int) -> Array:
        """The membrane before the first step, of a batch of one. `channels`: the shape that the module takes."""
        import torch

        state = self.module.state_fallback(torch.zeros((1,) * leading + channels, dtype=torch.float64))
        voltage = numbers_of(getattr(state, "lif", state).v)
        if voltage.ndim > len(self.shape):
            voltage = voltage[0]
        return spread(self.name, "v", voltage, self.shape)


def _cuba(layer: _Layer, parameters: Any) -> dict[str, Any]:
    tau_syn = layer.tau("tau_syn_inv", parameters)
    return {"tau_syn": tau_syn, "w_in": tau_syn, "tau_mem": layer.tau("tau_mem_inv", parameters),
            "v_leak": layer.value("v_leak", parameters)}


def _leaky(layer: _Layer) -> dict[str, Any]:
    return {"tau": layer.tau("tau_mem_inv"), "v_leak": layer.value("v_leak"), "r": np.full(layer.shape, layer.dt)}


def _firing(layer: _Layer, parameters: Any = None, reset: Reset = "v_reset") -> dict[str, Any]:
    return {"v_threshold": layer.value("v_th", parameters), "v_reset": layer.value("v_reset", parameters),
            "reset": reset}


def _li(layer: _Layer, v0: Array) -> Neuron:
    return nodes.CubaLI(shape=layer.shape, v0=v0, **_cuba(layer, layer.module.p))


def _li_box(layer: _Layer, v0: Array) -> Neuron:
    return nodes.LI(shape=layer.shape, v0=v0, **_leaky(layer))


def _lif(layer: _Layer, v0: Array) -> Neuron:
    return nodes.CubaLIF(shape=layer.shape, v0=v0, **_cuba(layer, layer.module.p), **_firing(layer))


def _lif_box(layer: _Layer, v0: Array) -> Neuron:
    return nodes.LIF(shape=layer.shape, v0=v0, **_leaky(layer), **_firing(layer, reset=_reset(layer)))


def _iaf(layer: _Layer, v0: Array) -> Neuron:
    return nodes.IF(shape=layer.shape, v0=v0, **_firing(layer))


def _lif_refrac(layer: _Layer, v0: Array) -> Neuron:
    inner = layer.module.p.lif
    return nodes.CubaLIF(shape=layer.shape, v0=v0, **_cuba(layer, inner), **_firing(layer, inner),
                         refractory=layer.dt * np.ceil(np.maximum(layer.value("rho_reset"), 0.0)))


def _lsnn(layer: _Layer, v0: Array) -> Neuron:
    mem, syn, adapt = (layer.factor(f"tau_{part}_inv") for part in ("mem", "syn", "adapt"))
    zero, one = np.zeros(layer.shape), np.ones(layer.shape)
    return nodes.StepNeuron(
        shape=layer.shape, v0=v0,
        a=np.array([[1 - mem, mem, zero], [zero, 1 - syn, zero], [zero, zero, 1 - adapt]]),
        b=np.array([zero, one, zero]), c=np.array([mem * layer.value("v_leak"), zero, zero]),
        reset_a=np.diag([-1.0, 0.0, 0.0]), reset_c=np.array([layer.value("v_reset"), zero, zero]),
        spike_c=np.array([zero, zero, layer.value("beta")]), v_threshold=layer.value("v_th"),
        threshold_gain=np.array([0.0, 0.0, 1.0]),
    )


def _reset(layer: _Layer) -> Reset:
    """What `reset_method` does, seen from what it gives."""
    import torch

    method = layer.module.p.reset_method
    voltage, reset, threshold = torch.tensor([2.5, -1.25]), torch.tensor(0.375), torch.tensor(0.75)
    fired, silent = (method(torch.full((2,), spike), voltage, reset, threshold) for spike in (1.0, 0.0))
    if torch.equal(silent, voltage):
        if torch.equal(fired, torch.full((2,), 0.375)):
            return "v_reset"
        if torch.equal(fired, voltage - threshold):
            return "subtract"
    layer.conversion.fail(
        "SC223", "a spike sets the membrane to v_reset or takes the threshold off", node=layer.name,
        value=f"reset_method={getattr(method, '__name__', method)}", limit="reset_value or reset_subtract")
    return "v_reset"


def _feedforward(make: Callable[[_Layer, Array], Neuron], leading: int) -> Callable[..., Any]:
    def convert(conversion: Conversion, module: Any, name: str, arguments: Arguments) -> Any:
        source = conversion.signal(arguments[0], name)
        layer = _layer(conversion, module, name, source.shape)
        return _placed(layer, make(layer, layer.start(source.shape, leading)), source), State(name, "state")

    return convert


def _recurrent(make: Callable[[_Layer, Array], Neuron], leading: int) -> Callable[..., Any]:
    def convert(conversion: Conversion, module: Any, name: str, arguments: Arguments) -> Any:
        source = conversion.signal(arguments[0], name, (int(module.input_size),))
        arriving = _weights(conversion, module, name, "input_weights", source)
        layer = _layer(conversion, module, name, arriving.shape)
        cells = _placed(layer, make(layer, layer.start(source.shape, leading)), arriving)
        back = _weights(conversion, module, name, "recurrent_weights", cells)
        conversion.builder.connect(back.handles[0], cells.handles[0])
        return cells, State(name, "state")

    return convert


def _li_linear(conversion: Conversion, module: Any, name: str, arguments: Arguments) -> Any:
    source = conversion.signal(arguments[0], name, (module.input_size,))
    arriving = _weights(conversion, module, name, "input_weights", source)
    layer = _layer(conversion, module, name, arriving.shape)
    return _placed(layer, _li(layer, layer.value("v_leak")), arriving), State(name, "state")


def _lift(conversion: Conversion, module: Any, name: str, arguments: Arguments) -> Any:
    """What the module inside does at every step."""
    given = arguments[0][0] if isinstance(arguments[0], tuple) else arguments[0]
    returned = in_turn(conversion, module.lifted_module, f"{name}.lifted_module", given, lead=1)
    return (returned, State(name, "state")) if module.is_stateful else returned


def _convolution(conversion: Conversion, module: Any, name: str, arguments: Arguments) -> Signal:
    """A Conv3d whose third axis is time, with a kernel of one step."""
    source = conversion.signal(arguments[0], name)
    image: Any = source.shape[-2:]
    return conversion.add(name, nodes.Conv2d(
        weight=array_of(module.weight)[..., 0], input_shape=image, stride=module.stride[:2],
        padding=module.padding[:2], dilation=module.dilation[:2], groups=module.groups), source)


def _recurrent_sequential(conversion: Conversion, module: Any, name: str, arguments: Arguments) -> Any:
    """Modules in turn; what one of them gives is added to the input of the next step."""
    source = conversion.signal(arguments[0], name)
    children = list(module.module)
    if not isinstance(module.output_modules, int):
        conversion.fail("SC223", "what several modules give is fed back", node=name,
                        value=f"output_modules={module.output_modules}", limit="one module")
        return source, State(name, "state")
    last = module.output_modules % len(children)

    def inner(before: Signal) -> Signal:
        value: Any = conversion.sum((source, before), name)
        for number, child in enumerate(children):
            value = in_turn(conversion, child, f"{name}.module.{number}", value)
            if number == last:
                given: Signal = value
        return given

    return fed_back(conversion, name, source.shape, inner), State(name, "state")


def _layer(conversion: Conversion, module: Any, name: str, shape: tuple[int, ...]) -> _Layer:
    """The module under conversion; its dt becomes that of the model, unless that is another one already."""
    dt = float(module.dt)
    if conversion.dt is None:
        conversion.dt = dt
    elif not np.isclose(conversion.dt, dt, rtol=1e-9, atol=0):
        conversion.fail("SC222", "Norse's neurons have a dt of their own, and it differs from that of the model",
                        node=name, value=f"{dt:g}", limit=f"{conversion.dt:g}",
                        remedy="Leave dt out, or give all modules the same one.")
    return _Layer(conversion, module, name, shape, dt)


def _placed(layer: _Layer, node: Neuron, source: Signal) -> Signal:
    bias_scale = 1.0 if isinstance(node, nodes.StepNeuron) else 1 / layer.dt
    return layer.conversion.neuron(layer.name, node, source, Discretization(layer.dt, integrator="semi"), bias_scale)


def _weights(conversion: Conversion, module: Any, name: str, label: str, source: Signal) -> Signal:
    return conversion.add(f"{name}.{label}", nodes.Linear(weight=array_of(getattr(module, label))), source)


def _advance(module: Any, value: Any, state: Any) -> tuple[Any, Any]:
    spikes, state = module(value, state)
    return (spikes, getattr(state, "lif", state).v), state


def _advance_sequential(module: Any, value: Any, state: Any) -> tuple[Any, Any]:
    returned = module(value, state)
    return returned, returned[1]


_FORMS: Mapping[str, tuple[Callable[[Any, int], Callable[..., Any]], Callable[[_Layer, Array], Neuron], bool]] = {
    "lif.LIF": (_feedforward, _lif, True), "lif.LIFCell": (_feedforward, _lif, False),
    "lif.LIFRecurrent": (_recurrent, _lif, True), "lif.LIFRecurrentCell": (_recurrent, _lif, False),
    "lif_box.LIFBoxCell": (_feedforward, _lif_box, False),
    "lif_refrac.LIFRefracCell": (_feedforward, _lif_refrac, False),
    "lif_refrac.LIFRefracRecurrent": (_recurrent, _lif_refrac, True),
    "lif_refrac.LIFRefracRecurrentCell": (_recurrent, _lif_refrac, False),
    "iaf.IAF": (_feedforward, _iaf, True), "iaf.IAFCell": (_feedforward, _iaf, False),
    "leaky_integrator.LI": (_feedforward, _li, True), "leaky_integrator.LICell": (_feedforward, _li, False),
    "leaky_integrator_box.LIBoxCell": (_feedforward, _li_box, False),
    "lsnn.LSNN": (_feedforward, _lsnn, True), "lsnn.LSNNCell": (_feedforward, _lsnn, False),
    "lsnn.LSNNRecurrent": (_recurrent, _lsnn, True), "lsnn.LSNNRecurrentCell": (_recurrent, _lsnn, False),
}

LEAVES: Mapping[str, Leaf] = {
    **{f"norse.torch.module.{name}": (
        Leaf(form(make, 2), time=lambda module: "time_first") if sequence else
        Leaf(form(make, 1), _advance, lambda module: "step")
    ) for name, (form, make, sequence) in _FORMS.items()},
    "norse.torch.module.leaky_integrator.LILinearCell": Leaf(_li_linear, _advance, lambda module: "step"),
    "norse.torch.module.lift.Lift": Leaf(_lift, time=lambda module: "time_first" if module.is_stateful else None),
    "norse.torch.module.conv.LConv2d": Leaf(_convolution),
    "norse.torch.module.sequential.RecurrentSequential": Leaf(
        _recurrent_sequential, _advance_sequential, lambda module: "step"),
}
