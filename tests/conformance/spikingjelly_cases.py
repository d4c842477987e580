"""SpikingJelly's neurons, one step at a time and over time: soft and hard resets, decaying input or not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from spikingjelly.activation_based import functional, layer, neuron, surrogate
from torch import Tensor, nn

from .case import HIDDEN, INPUTS, OUTPUTS, Case, Recorder, Trace, by_step, driven, linear, time_first

MODULES = ("spikingjelly",)
NEURONS = (neuron.BaseNode, neuron.SimpleBaseNode, neuron.NonSpikingBaseNode, neuron.ActivationAwareIFNode)


def _membrane(module: nn.Module, returned: Any) -> Tensor | None:
    if module.step_mode == "m":
        kept = getattr(module, "v_seq", None)
        return kept if isinstance(kept, Tensor) else None
    return module.v if isinstance(module.v, Tensor) else None  # type: ignore[return-value]


def play_steps(module: nn.Module, raster: Tensor) -> Mapping[str, Trace]:
    functional.reset_net(module)
    recorder = Recorder(module, NEURONS, _membrane)
    for column in raster.unbind(1):
        module(column)
    return recorder.traces(by_step)


def play_sequence(module: nn.Module, raster: Tensor) -> Mapping[str, Trace]:
    functional.reset_net(module)
    recorder = Recorder(module, NEURONS, _membrane)
    module(raster.transpose(0, 1))
    return recorder.traces(time_first)


def _settings(options: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value}" if not isinstance(value, surrogate.SurrogateFunctionBase)
                     else f"{name}={type(value).__name__}" for name, value in options.items()) or "defaults"


def _case(kind: str, mode: str = "s", gain: float = 1.0, refused: str | None = None, back: str = "",
          **options: Any) -> Case:
    """`back`: the container that feeds the neurons' spikes back."""
    def cells(size: int) -> nn.Module:
        made: nn.Module = getattr(neuron, kind)(**options)
        if mode == "m" and not back:  # the container goes through the steps
            made.step_mode = "m"
            if hasattr(made, "store_v_seq"):
                made.store_v_seq = True
        if back == "LinearRecurrentContainer":
            container = layer.LinearRecurrentContainer(made, size, size, step_mode=mode)
            driven(container.rc, 0.2 * gain)
            with torch.no_grad():
                container.rc.weight[:, :size] += torch.eye(size)
            return container
        if back == "ElementWiseRecurrentContainer":
            return layer.ElementWiseRecurrentContainer(made, torch.add, step_mode=mode)
        return made

    def build() -> nn.Module:
        return nn.Sequential(linear(INPUTS, HIDDEN, gain), cells(HIDDEN), linear(HIDDEN, OUTPUTS, gain), cells(OUTPUTS))

    text = f"{_settings(options)}; {'multi-step' if mode == 'm' else 'single step'}" + (f"; in {back}" if back else "")
    return Case(kind=kind, settings=text, build=build, play=None if refused else play_sequence if mode == "m" else
                play_steps, layout="time_first" if mode == "m" else "step", recurrent=bool(back), refused=refused)


def cases() -> list[Case]:
    found = []
    for mode in ("s", "m"):
        for reset in (0.0, None, -0.3):
            found.append(_case("IFNode", mode, 0.5, v_reset=reset))
            for decay in (True, False):
                found += [
                    _case("LIFNode", mode, 3.0 if decay else 1.0, tau=3.0, decay_input=decay, v_reset=reset),
                    _case("ParametricLIFNode", mode, 3.0 if decay else 1.0, init_tau=3.0, decay_input=decay,
                          v_reset=reset),
                ]
            found.append(_case("CUBALIFNode", mode, v_reset=reset))
            found.append(_case("RAFNode", mode, 2.0, v_reset=reset))
        found += [
            _case("LIFNode", mode, 2.0, tau=3.0, v_threshold=0.6,
                  surrogate_function=surrogate.ATan()),
            _case("SimpleIFNode", mode, 0.5), _case("SimpleLIFNode", mode, 2.0, tau=3.0, decay_input=True),
            _case("SimpleLIFNode", mode, tau=3.0, decay_input=False),
        ]
    found += [
        _case("HalfThresholdIFNode", "s", 0.5), _case("ActivationAwareIFNode", "s", 0.5),
        _case("OTTTLIFNode", "s"), _case("SLTTLIFNode", "s", 2.0),
        _case("IFNode", "s", 0.5, back="LinearRecurrentContainer"),
        _case("IFNode", "m", 0.5, back="LinearRecurrentContainer"),
        _case("LIFNode", "s", back="LinearRecurrentContainer", tau=3.0, decay_input=False, v_reset=None),
        _case("LIFNode", "m", back="LinearRecurrentContainer", tau=3.0, decay_input=False, v_reset=None),
        _case("LIFNode", "m", 2.0, back="ElementWiseRecurrentContainer", tau=3.0),
        _case("ParametricLIFNode", "m", 2.0, back="LinearRecurrentContainer", init_tau=3.0),
    ]
    # Their steps are no linear equations, or not of one step.
    for kind in ("QIFNode", "EIFNode", "IzhikevichNode", "KLIFNode", "ComplementaryLIFNode"):
        found.append(_case(kind, refused="SC220"))
    found.append(Case(kind="PSN", settings="T=3", layout="time_first", refused="SC220",
                      build=lambda: nn.Sequential(linear(INPUTS, HIDDEN), neuron.PSN(T=3))))
    return found
