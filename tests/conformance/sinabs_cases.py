"""sinabs' layers, over (batch, time, ...) and squeezed: spikes one or many, resets, synapses, normed input, a floor."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sinabs.activation as activation
import sinabs.layers as sl
import torch
from torch import Tensor, nn

from .case import HIDDEN, INPUTS, OUTPUTS, Case, Layout, Recorder, Trace, batch_first, drive, linear

MODULES = ("sinabs",)


class Watch:
    """A reset rule that keeps the membranes it leaves. What sinabs 2.0.3 records of ALIF and of recurrent layers is the
    membrane of the next step before its reset: the states go on in the dict that was recorded."""

    def __init__(self, rule: Any) -> None:
        self.rule = rule
        self.membranes: list[Tensor] = []

    def __call__(self, spikes: Tensor, state: Any, threshold: Any) -> Any:
        after = self.rule(spikes, state, threshold)
        self.membranes.append(after["v_mem"].clone())
        return after


def _membrane(module: nn.Module, returned: Any) -> Tensor:
    if isinstance(module.reset_fn, Watch):
        return torch.stack(module.reset_fn.membranes, 1)
    found: Tensor = module.recordings["v_mem"]
    return found


def _spiking(module: nn.Module) -> bool:
    return not isinstance(module, sl.ExpLeak)


def play(module: nn.Module, raster: Tensor) -> Mapping[str, Trace]:
    for part in module.modules():
        if isinstance(part, (sl.ALIF, sl.LIFRecurrent, sl.ALIFRecurrent)):
            part.reset_fn = Watch(part.reset_fn)
    recorder = Recorder(module, (sl.StatefulLayer,), _membrane, _spiking)
    module(raster)
    return recorder.traces(batch_first)


def play_squeezed(module: nn.Module, raster: Tensor) -> Mapping[str, Trace]:
    recorder = Recorder(module, (sl.StatefulLayer,), _membrane, _spiking)
    batch, steps, _ = raster.shape
    for part in module.modules():
        if isinstance(part, sl.StatefulLayer):
            part.batch_size = batch
    module(raster.flatten(0, 1))

    def joined(values: list[Tensor]) -> Tensor:
        return values[0].reshape(batch, steps, -1)

    return recorder.traces(joined)


def _case(kind: str, settings: str = "defaults", gain: float = 1.0, refused: str | None = None,
          **options: Any) -> Case:
    recurrent, squeezed = "Recurrent" in kind, "Squeeze" in kind

    def cells(size: int) -> nn.Module:
        given = dict(options)
        if recurrent:
            given["rec_connect"] = nn.Linear(size, size, bias=False)
            drive(given["rec_connect"].weight, 0.2 * gain)
        if squeezed:
            given["batch_size"] = 2
        made: nn.Module = getattr(sl, kind)(record_states=True, **given)
        return made

    def build() -> nn.Module:
        first = sl.IAFSqueeze(batch_size=2, record_states=True) if squeezed else sl.IAF(record_states=True)
        readout = kind.startswith("ExpLeak")
        return nn.Sequential(linear(INPUTS, HIDDEN, gain), first if readout else cells(HIDDEN),
                             linear(HIDDEN, OUTPUTS, gain), cells(OUTPUTS))

    layout: Layout = "folded" if squeezed else "batch_first"
    return Case(kind=kind, settings=settings, layout=layout, recurrent=recurrent, refused=refused,
                play=None if refused else play_squeezed if squeezed else play,
                build=build)


def _rules() -> list[tuple[str, dict[str, Any]]]:
    return [
        ("MultiSpike, MembraneSubtract", {}),
        ("SingleSpike, MembraneSubtract", {"spike_fn": activation.SingleSpike}),
        ("SingleSpike, MembraneReset", {"spike_fn": activation.SingleSpike, "reset_fn": activation.MembraneReset()}),
        ("MultiSpike, MembraneReset", {"reset_fn": activation.MembraneReset()}),
    ]


def cases() -> list[Case]:
    found = []
    for rule, options in _rules():
        found += [_case("IAF", rule, 0.5, **options),
                  _case("LIF", f"tau_mem=10, {rule}", 5.0, tau_mem=10.0, **options),
                  _case("LIF", f"tau_mem=10, norm_input=False, {rule}", 1.0, tau_mem=10.0, norm_input=False,
                        **options)]
    found += [
        _case("IAF", "tau_syn=4", 0.2, tau_syn=torch.tensor(4.0)),
        _case("LIF", "tau_mem=10, tau_syn=4", 2.0, tau_mem=10.0, tau_syn=4.0),
        _case("LIF", "tau_mem=10, tau_syn=4, norm_input=False, SingleSpike", 0.5, tau_mem=10.0, tau_syn=4.0,
              norm_input=False, spike_fn=activation.SingleSpike),
        _case("IAF", "min_v_mem=−0.5", 0.5, min_v_mem=-0.5),
        _case("LIF", "tau_mem=10, min_v_mem=−0.5, threshold 0.7", 4.0, tau_mem=10.0, min_v_mem=-0.5,
              spike_threshold=torch.tensor(0.7)),
        _case("LIF", "tau_mem=10, train_alphas=True", 4.0, tau_mem=10.0, train_alphas=True),
        _case("IAF", "MaxSpike(2)", 0.8, spike_fn=activation.MaxSpike(2), refused="SC223"),
        _case("IAFSqueeze", "defaults", 0.5), _case("IAFSqueeze", "min_v_mem=−1", 0.5, min_v_mem=-1.0),
        _case("LIFSqueeze", "tau_mem=10", 4.0, tau_mem=10.0),
        _case("IAFRecurrent", "defaults", 0.4), _case("LIFRecurrent", "tau_mem=10", 5.0, tau_mem=10.0),
        _case("IAFRecurrent", "SingleSpike", 0.4, spike_fn=activation.SingleSpike),
        _case("LIFRecurrent", "tau_mem=10, tau_syn=4, SingleSpike", 2.0, tau_mem=10.0, tau_syn=4.0,
              spike_fn=activation.SingleSpike),
        _case("ExpLeak", "tau_mem=10", tau_mem=10.0), _case("ExpLeakSqueeze", "tau_mem=10", tau_mem=10.0),
        _case("ExpLeak", "tau_mem=10, norm_input=True", tau_mem=10.0, norm_input=True),
    ]
    adapt = {"tau_mem": torch.tensor(10.0), "tau_adapt": torch.tensor(20.0)}
    return [
        *found,
        _case("ALIF", "tau_mem=10, tau_adapt=20", 6.0, **adapt),
        _case("ALIF", "tau_mem=10, tau_adapt=20, MembraneReset", 6.0, reset_fn=activation.MembraneReset(), **adapt),
        _case("ALIF", "tau_mem=10, tau_adapt=20, tau_syn=4, norm_input=False", 0.5, tau_syn=torch.tensor(4.0),
              norm_input=False, **adapt),
        _case("ALIFRecurrent", "tau_mem=10, tau_adapt=20", 6.0, **adapt),
    ]
