"""What a case is: a small network of a framework, and how the framework itself runs it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

Array = np.ndarray[Any, np.dtype[np.float64]]
Layout = Literal["step", "time_first", "batch_first", "folded"]

DT = 1e-3
STEPS = 1000
INPUTS = 6
HIDDEN = 5
OUTPUTS = 4
RATES = (0.05, 0.3, 0.9)
"""Spikes per input and step, of each sample."""


@dataclass(frozen=True, slots=True)
class Trace:
    """What one neuron module did: `spikes` (batch, time, *shape), of readouts None; `membrane` likewise, None where the
    module shows none."""

    spikes: Array | None
    membrane: Array | None


Play = Callable[[nn.Module, Tensor], Mapping[str, Trace]]
"""The framework's own run of a module on a raster (batch, time, inputs): the trace of every neuron module, by path."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """`build`: the network, in float32, its weights drawn after `torch.manual_seed(0)`. `refused`: the code of the
    diagnostic with which `from_torch` must refuse it. `steps`: fewer where the framework's own membranes grow without
    bound."""

    kind: str
    settings: str
    build: Callable[[], nn.Module]
    play: Play | None = None
    layout: Layout = "step"
    recurrent: bool = False
    dt: float | None = DT
    refused: str | None = None
    steps: int = STEPS


def raster(steps: int = STEPS, inputs: int = INPUTS) -> Array:
    """(batch, steps, inputs): random spikes, a rate a sample."""
    rng = np.random.default_rng(7)
    rates = np.array(RATES).reshape(-1, 1, 1)
    return (rng.random((len(RATES), steps, inputs)) < rates).astype(np.float64)


def sample(layout: Layout, steps: int = 3, batch: int = 2) -> Tensor:
    """What the forward of a module of this layout takes."""
    sizes = {"step": (batch,), "time_first": (steps, batch), "batch_first": (batch, steps), "folded": (batch * steps,)}
    return torch.zeros(*sizes[layout], INPUTS)


def build(case: Case) -> nn.Module:
    """The network with the same weights each time."""
    torch.manual_seed(0)
    return case.build().eval()


def linear(inputs: int, outputs: int, gain: float = 1.0, bias: bool = True) -> nn.Linear:
    """A layer that makes all neurons of threshold 1 fire, some often and some seldom."""
    layer = nn.Linear(inputs, outputs, bias=bias)
    driven(layer, gain)
    return layer


def driven(layer: nn.Linear, gain: float) -> None:
    """The same for a layer that a framework has made."""
    drive(layer.weight, gain)
    if layer.bias is not None:
        with torch.no_grad():
            layer.bias.mul_(0.1 * gain)


def drive(weight: Tensor, gain: float = 1.0) -> None:
    """Weights (neurons, inputs) of both signs, whose sum over the inputs is positive for each neuron: from 0.9 to 1.5
    times `gain`. As they are drawn, every third neuron is inhibited whatever its inputs do."""
    with torch.no_grad():
        sums = torch.linspace(0.9, 1.5, weight.shape[0]) * gain / weight.shape[1]
        weight.copy_(2 * gain * (weight - weight.mean(1, keepdim=True)) + sums[:, None])


@contextmanager
def double_precision() -> Iterator[None]:
    """Frameworks compute in float64: several make spikes and records of float32 whatever comes in, by `.float()` and by
    the default type."""
    single, default = torch.Tensor.float, torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    torch.Tensor.float = torch.Tensor.double  # type: ignore[method-assign, assignment]
    try:
        yield
    finally:
        torch.Tensor.float = single  # type: ignore[method-assign]
        torch.set_default_dtype(default)


class Recorder:
    """Collects what neuron modules give, by path. `membrane(module, returned)` is the membrane after the call."""

    def __init__(self, module: nn.Module, kinds: tuple[type, ...],
                 membrane: Callable[[Any, Any], Tensor | None], spiking: Callable[[Any], bool] = lambda module: True):
        self.given: dict[str, list[tuple[Tensor | None, Tensor | None]]] = {}
        self.hooks = [part.register_forward_hook(self._hook(name, membrane, spiking))
                      for name, part in module.named_modules() if isinstance(part, kinds)]

    def _hook(self, name: str, membrane: Callable[[Any, Any], Tensor | None], spiking: Callable[[Any], bool]) -> Any:
        seen = self.given.setdefault(name, [])

        def hook(module: nn.Module, arguments: Any, returned: Any) -> None:
            spikes = returned[0] if isinstance(returned, tuple) else returned
            voltage = membrane(module, returned)
            seen.append((spikes.detach().clone() if spiking(module) else None,
                         None if voltage is None else voltage.detach().clone()))

        return hook

    def traces(self, joined: Callable[[list[Tensor]], Tensor]) -> dict[str, Trace]:
        """`joined`: the values of all calls as one of (batch, time, *shape)."""
        for hook in self.hooks:
            hook.remove()
        return {name: Trace(*(None if any(each is None for each in column) else joined(list(column)).double().numpy()
                              for column in zip(*seen, strict=True)))
                for name, seen in self.given.items() if seen}


def by_step(values: list[Tensor]) -> Tensor:
    """A call a step."""
    return torch.stack(values, 1)


def time_first(values: list[Tensor]) -> Tensor:
    """A call for all steps, or the calls that a container makes, one a step."""
    return values[0].transpose(0, 1) if len(values) == 1 else by_step(values)


def batch_first(values: list[Tensor]) -> Tensor:
    return values[0]
