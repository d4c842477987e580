"""Norse's neurons: cells, which take a step, and modules over time; feedforward and recurrent."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import norse.torch as norse
import torch
from norse.torch.functional.iaf import IAFParameters
from norse.torch.functional.leaky_integrator import LIParameters
from norse.torch.functional.leaky_integrator_box import LIBoxParameters
from norse.torch.functional.lif import LIFParameters
from norse.torch.functional.lif_box import LIFBoxParameters
from norse.torch.functional.lif_refrac import LIFRefracParameters
from norse.torch.functional.lsnn import LSNNParameters
from norse.torch.functional.reset import reset_subtract
from norse.torch.module.snn import SNN, SNNCell, SNNRecurrent, SNNRecurrentCell
from torch import Tensor, nn

from .case import HIDDEN, INPUTS, OUTPUTS, Case, Recorder, Trace, by_step, drive, linear, time_first

MODULES = ("norse",)
NEURONS = (SNN, SNNCell, SNNRecurrent, SNNRecurrentCell, norse.LILinearCell)
READOUTS = ("LI", "LICell", "LIBoxCell", "LILinearCell")


def _membrane(module: nn.Module, returned: Any) -> Tensor:
    state = returned[1]
    found: Tensor = getattr(state, "lif", state).v
    return found


def _spiking(module: nn.Module) -> bool:
    return type(module).__name__ not in READOUTS


def play_steps(module: nn.Module, raster: Tensor) -> Mapping[str, Trace]:
    recorder = Recorder(module, NEURONS, _membrane, _spiking)
    state = None
    for column in raster.unbind(1):
        _, state = module(column, state)
    return recorder.traces(by_step)


def play_columns(module: nn.Module, raster: Tensor) -> Mapping[str, Trace]:
    """A module over time, given a sequence of one column after another: IAF shows no membrane but the last."""
    recorder = Recorder(module, NEURONS, _membrane, _spiking)
    state = None
    for column in raster.transpose(0, 1).split(1):
        _, state = module(column, state)
    return recorder.traces(lambda values: torch.cat([each.reshape(raster.shape[0], 1, -1) for each in values], 1))


def play_sequence(module: nn.Module, raster: Tensor) -> Mapping[str, Trace]:
    recorder = Recorder(module, NEURONS, _membrane, _spiking)
    module(raster.transpose(0, 1))
    return recorder.traces(time_first)


def _net(kind: str, make: Callable[[int, int], nn.Module], recurrent: bool, gain: float) -> nn.Module:
    """A recurrent module has the weights of its inputs itself. Readouts are the last layer, after neurons that fire."""
    if kind in READOUTS:
        first = norse.LIFBoxCell() if kind.endswith("Cell") else norse.LIF(record_states=True)
        between = () if recurrent else (linear(HIDDEN, OUTPUTS),)
        return norse.SequentialState(linear(INPUTS, HIDDEN, 8.0), first, *between, make(HIDDEN, OUTPUTS))
    if recurrent:
        first, last = make(INPUTS, HIDDEN), make(HIDDEN, OUTPUTS)
        for each in (first, last):
            drive(each.input_weights, gain)
            drive(each.recurrent_weights, 0.2 * gain)
        return norse.SequentialState(first, last)
    return norse.SequentialState(linear(INPUTS, HIDDEN, gain), make(HIDDEN, HIDDEN), linear(HIDDEN, OUTPUTS, gain),
                                 make(OUTPUTS, OUTPUTS))


def _case(kind: str, settings: str = "defaults", gain: float = 1.0, **options: Any) -> Case:
    recurrent, cell = "Recurrent" in kind or kind == "LILinearCell", kind.endswith("Cell")

    def make(inputs: int, outputs: int) -> nn.Module:
        sizes = (inputs, outputs) if recurrent else ()
        given = {name: value() if callable(value) else value for name, value in options.items()}
        if not cell and kind != "IAF":
            given["record_states"] = True
        made: nn.Module = getattr(norse, kind)(*sizes, **given)
        return made

    return Case(kind=kind, settings=settings, build=lambda: _net(kind, make, recurrent, gain),
                play=play_columns if kind == "IAF" else play_steps if cell else play_sequence,
                layout="step" if cell else "time_first", recurrent="Recurrent" in kind, dt=None)


def _lif(**values: Any) -> Callable[[], Any]:
    return lambda: LIFParameters(**{name: torch.as_tensor(value) for name, value in values.items()})


def _of(kind: Any, **values: Any) -> Callable[[], Any]:
    return lambda: kind(**{name: torch.as_tensor(value) if isinstance(value, float) else value
                           for name, value in values.items()})


def cases() -> list[Case]:
    other = {"tau_mem_inv": 1 / 8e-3, "tau_syn_inv": 1 / 3e-3, "v_leak": 0.1, "v_reset": -0.2, "v_th": 0.8}
    said = "tau_mem=8 ms, tau_syn=3 ms, v_leak=0.1, v_reset=−0.2, v_th=0.8"
    found = []
    for kind in ("LIFCell", "LIF", "LIFRecurrentCell", "LIFRecurrent"):
        found += [_case(kind, gain=2.0), _case(kind, said, gain=1.5, p=_lif(**other)),
                  _case(kind, f"{said}, dt=0.5 ms", gain=2.0, p=_lif(**other), dt=5e-4)]
    boxed = {name: value for name, value in other.items() if name != "tau_syn_inv"}
    box_said = said.replace("tau_syn=3 ms, ", "")
    found += [
        _case("LIFBoxCell", gain=8.0), _case("LIFBoxCell", box_said, gain=6.0, p=_of(LIFBoxParameters, **boxed)),
        _case("LIFBoxCell", "reset_method=reset_subtract", gain=8.0,
              p=_of(LIFBoxParameters, reset_method=reset_subtract)),
        _case("IAFCell", gain=0.3), _case("IAF", gain=0.3),
        _case("IAF", "v_reset=−0.3, v_th=0.9", gain=0.3, p=_of(IAFParameters, v_th=0.9, v_reset=-0.3)),
    ]
    for kind in ("LIFRefracCell", "LIFRefracRecurrentCell", "LIFRefracRecurrent"):
        found += [_case(kind, gain=2.0), _case(kind, "rho_reset=3", gain=2.0, p=_of(
            LIFRefracParameters, lif=LIFParameters(), rho_reset=3.0))]
    readout = {"tau_mem_inv": 1 / 8e-3, "tau_syn_inv": 1 / 3e-3, "v_leak": 0.1}
    for kind in ("LICell", "LI", "LILinearCell"):
        found += [_case(kind), _case(kind, "tau_mem=8 ms, tau_syn=3 ms, v_leak=0.1", p=_of(LIParameters, **readout))]
    found += [_case("LIBoxCell"), _case("LIBoxCell", "tau_mem=8 ms, v_leak=0.1", p=_of(
        LIBoxParameters, tau_mem_inv=1 / 8e-3, v_leak=0.1))]
    for kind in ("LSNNCell", "LSNN", "LSNNRecurrentCell", "LSNNRecurrent"):
        found += [_case(kind, gain=40.0), _case(kind, "tau_adapt=100 ms, beta=0.3", gain=3.0, p=_of(
            LSNNParameters, tau_adapt_inv=10.0, beta=0.3))]
    # Their membranes are no linear equations.
    return [*found, *(_refused(kind) for kind in ("LIFEx", "LIFExCell", "LIFAdEx", "LIFAdExCell", "LIFAdExRefracCell")),
            _refused("IzhikevichCell", norse.functional.izhikevich.tonic_spiking)]


def _refused(kind: str, *arguments: Any) -> Case:
    return Case(kind=kind, settings="defaults", dt=None, refused="SC220",
                layout="step" if kind.endswith("Cell") else "time_first",
                build=lambda: norse.SequentialState(linear(INPUTS, HIDDEN), getattr(norse, kind)(*arguments)))
