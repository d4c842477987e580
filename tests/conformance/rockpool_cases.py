"""Rockpool's torch modules: LIF by time constants, decays and bit shifts, with and without recurrent weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from rockpool.nn.modules.torch import ExpSynTorch, LIFBitshiftTorch, LIFNeuronTorch, LIFTorch, aLIFTorch
from rockpool.nn.modules.torch.lif_torch import PeriodicExponential
from rockpool.parameters import Constant
from torch import Tensor, nn

from .case import HIDDEN, INPUTS, OUTPUTS, Case, Trace, linear

MODULES = ("rockpool",)
KINDS = {"LIFTorch": LIFTorch, "LIFNeuronTorch": LIFNeuronTorch, "LIFBitshiftTorch": LIFBitshiftTorch,
         "aLIFTorch": aLIFTorch, "ExpSynTorch": ExpSynTorch}


class Net(nn.Module):
    """Two layers. Rockpool's modules return their output, their states, and what they recorded."""

    def __init__(self, gain: float, first: Callable[[int], nn.Module], cells: Callable[[int], nn.Module]) -> None:
        super().__init__()
        self.fc1, self.lif1 = linear(INPUTS, HIDDEN, gain), first(HIDDEN)
        self.fc2, self.lif2 = linear(HIDDEN, OUTPUTS, gain), cells(OUTPUTS)

    def forward(self, x: Tensor) -> Tensor:
        hidden, _, _ = self.lif1(self.fc1(x))
        out, _, _ = self.lif2(self.fc2(hidden))
        return out


def play(module: nn.Module, raster: Tensor) -> Mapping[str, Trace]:
    """Layer by layer: only `evolve` of a layer itself records its states."""
    found = {}
    value = raster
    for name, part in module.named_children():
        if isinstance(part, nn.Linear):
            value = part(value)
            continue
        value, _, states = part.evolve(value, record=True)
        spiking = not isinstance(part, ExpSynTorch)
        membrane = states.get("vmem") if spiking else value
        found[name] = Trace(value.detach().double().numpy() if spiking else None,
                            None if membrane is None else membrane.detach().double().numpy())
    return found


def _case(kind: str, settings: str = "defaults", gain: float = 1.0, refused: str | None = None,
          **options: Any) -> Case:
    """Rockpool's neurons know their step, so none is given."""
    def cells(size: int) -> nn.Module:
        given = {name: value(size) if callable(value) and not isinstance(value, type) else value
                 for name, value in options.items()}
        made: nn.Module = KINDS[kind](shape=(size,), **given)
        return made

    return Case(kind=kind, settings=settings, layout="batch_first", dt=None, recurrent=bool(options.get("has_rec")),
                refused=refused, play=None if refused else play,
                build=lambda: Net(gain, LIFNeuronTorch if kind == "ExpSynTorch" else cells, cells))


def _spread(low: float, high: float) -> Any:
    return lambda size: torch.linspace(low, high, size)


def cases() -> list[Case]:
    bitshifts = {"tau_mem": _spread(16e-3, 16e-3), "tau_syn": _spread(4e-3, 4e-3)}
    taus = {"tau_mem": Constant(10e-3), "tau_syn": Constant(4e-3)}
    return [
        _case("LIFTorch", "defaults", 0.3),
        _case("LIFTorch", "tau_mem=10 ms, tau_syn=4 ms", 0.4, **taus),
        _case("LIFTorch", "threshold and bias: one a neuron", 0.4, threshold=_spread(0.4, 1.5), bias=_spread(-0.1, 0.2),
              **taus),
        _case("LIFTorch", "max_spikes_per_dt=1", 0.4, max_spikes_per_dt=torch.tensor(1.0), **taus),
        _case("LIFTorch", "spike_generation_fn=PeriodicExponential", 0.4, spike_generation_fn=PeriodicExponential,
              **taus),
        _case("LIFTorch", "leak_mode='decays', alpha=0.9, beta=0.7", 0.4, leak_mode="decays", alpha=Constant(0.9),
              beta=Constant(0.7)),
        _case("LIFTorch", "leak_mode='bitshifts', dash_mem=3, dash_syn=2", 0.4, leak_mode="bitshifts",
              dash_mem=Constant(3.0), dash_syn=Constant(2.0)),
        _case("LIFTorch", "has_rec=True", 0.3, has_rec=True,
              w_rec=lambda size: 0.02 * torch.randn(size, size), **taus),
        _case("LIFTorch", "dt=0.5 ms", 0.4, dt=5e-4, **taus),
        _case("LIFTorch", "noise_std=0.1", 0.4, noise_std=0.1, refused="SC223", **taus),
        _case("LIFBitshiftTorch", "max_spikes_per_dt=31", 0.3, refused="SC223", **bitshifts),
        _case("LIFBitshiftTorch", "max_spikes_per_dt=2**16", 0.3, max_spikes_per_dt=torch.tensor(2.0**16), **bitshifts),
        _case("LIFNeuronTorch", "defaults", 1.0), _case("LIFNeuronTorch", "tau_mem=10 ms", 1.0, tau_mem=10e-3),
        _case("aLIFTorch", "defaults", 0.4),
        _case("ExpSynTorch", "defaults"), _case("ExpSynTorch", "tau=4 ms", tau=4e-3),
    ]
