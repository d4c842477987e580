"""784-512-10 in five frameworks, each in the mode that it recommends for speed, with the surrogate gradient that the
clock target knows by another name. Each is trained on the number of output spikes, and trains what the clock does:
weights and biases of the two linear layers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

INPUTS, HIDDEN, OUTPUTS = 784, 512, 10


@dataclass(frozen=True, slots=True)
class Contestant:
    """`mode`: how the framework goes through time. `module` is what `from_torch` reads, its layout `layout`.
    `counts(raster)`: (batch, outputs) spikes of a raster (batch, steps, inputs) that `prepared` has brought into the
    framework's layout. `surrogate`: the clock's settings for the same gradient, empty where it has none; `dt`: for
    `from_torch`; `hidden`: name of the first layer of neurons."""

    framework: str
    mode: str
    module: nn.Module
    layout: str
    counts: Callable[[Tensor], Tensor]
    prepared: Callable[[Tensor], Tensor]
    surrogate: dict[str, Any] = field(default_factory=dict)
    dt: float | None = 1e-3
    hidden: str = "1"


def linears_alone(module: nn.Module) -> nn.Module:
    """sinabs would train time constants besides, Rockpool thresholds and a second bias: gradients that the other side
    of the comparison does not compute."""
    module.requires_grad_(False)
    for each in module.modules():
        if isinstance(each, nn.Linear):
            each.requires_grad_(True)
    return module


def first(raster: Tensor) -> Tensor:
    """(steps, batch, inputs)."""
    return raster.transpose(0, 1).contiguous()


def same(raster: Tensor) -> Tensor:
    return raster


def _linears() -> tuple[nn.Linear, nn.Linear]:
    torch.manual_seed(0)
    return nn.Linear(INPUTS, HIDDEN), nn.Linear(HIDDEN, OUTPUTS)


def snntorch(hoist: bool) -> Contestant:
    """Leaky. Step by step, as its tutorials have it; `hoist`: layer by layer, each Linear on all steps at once."""
    import snntorch as snn
    from snntorch import surrogate

    gradient = surrogate.fast_sigmoid(slope=25)
    one, two = _linears()
    cells = [snn.Leaky(beta=0.9, spike_grad=gradient, init_hidden=True) for _ in range(2)]
    module = nn.Sequential(one, cells[0], two, cells[1])

    def stepped(raster: Tensor) -> Tensor:
        for each in cells:
            each.reset_hidden()
        return torch.stack([module(column) for column in raster]).sum(0)

    def hoisted(raster: Tensor) -> Tensor:
        for layer, each in ((one, cells[0]), (two, cells[1])):
            each.reset_hidden()
            raster = torch.stack([each(column) for column in layer(raster)])
        return raster.sum(0)

    return Contestant("snntorch", "layer by layer, Linear over time" if hoist else "step by step", module, "step",
                      hoisted if hoist else stepped, first,
                      {"surrogate": "fast_sigmoid", "sharpness": 25.0, "detach_reset": True})


def norse() -> Contestant:
    """LIF over time."""
    import norse.torch as norse

    one, two = _linears()
    module = norse.SequentialState(one, norse.LIF(), two, norse.LIF())

    def counts(raster: Tensor) -> Tensor:
        found: Tensor = module(raster)[0]
        return found.sum(0)

    # Its superspike takes no account of alpha: the derivative is 1 / (1 + |u|)^2.
    return Contestant("norse", "LIF over time", module, "time_first", counts, first,
                      {"surrogate": "fast_sigmoid", "sharpness": 1.0, "detach_reset": False}, None)


def spikingjelly() -> Contestant:
    """LIFNode in multi-step mode; on a CPU its backend is torch."""
    from spikingjelly.activation_based import functional, neuron, surrogate

    one, two = _linears()
    cells = [neuron.LIFNode(tau=5.0, surrogate_function=surrogate.ATan(), step_mode="m")
             for _ in range(2)]
    module = nn.Sequential(one, cells[0], two, cells[1])

    def counts(raster: Tensor) -> Tensor:
        functional.reset_net(module)
        found: Tensor = module(raster)
        return found.sum(0)

    return Contestant("spikingjelly", "multi-step", module, "time_first", counts, first,
                      {"surrogate": "atan", "sharpness": 2.0, "detach_reset": False})


def sinabs() -> Contestant:
    """LIFSqueeze: layers see (batch * steps, ...)."""
    import sinabs.activation as activation
    import sinabs.layers as sl

    one, two = _linears()
    # By default its surrogate is scaled by 1 / grad_width.
    gradient = activation.SingleExponential(grad_width=0.5, grad_scale=0.5)
    cells = [sl.LIFSqueeze(tau_mem=10.0, batch_size=1, spike_fn=activation.SingleSpike, norm_input=False,
                           surrogate_grad_fn=gradient) for _ in range(2)]
    module = linears_alone(nn.Sequential(one, cells[0], two, cells[1]))

    def counts(raster: Tensor) -> Tensor:
        for each in cells:
            each.batch_size = len(raster)
            each.reset_states()
        found: Tensor = module(raster.flatten(0, 1))
        return found.unflatten(0, (len(raster), -1)).sum(1)

    return Contestant("sinabs", "squeezed", module, "folded", counts, same,
                      {"surrogate": "exponential", "sharpness": 2.0, "detach_reset": False})


def rockpool() -> Contestant:
    """LIFTorch. Its surrogate is one-sided; the clock has none such, so gradients are not compared."""
    from rockpool.nn.modules.torch import LIFTorch
    from rockpool.parameters import Constant

    taus = {"tau_mem": Constant(10e-3), "tau_syn": Constant(5e-3)}

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc1, self.fc2 = _linears()
            self.lif1, self.lif2 = LIFTorch(HIDDEN, **taus), LIFTorch(OUTPUTS, **taus)

        def forward(self, raster: Tensor) -> Tensor:
            hidden, _, _ = self.lif1(self.fc1(raster))
            out: Tensor = self.lif2(self.fc2(hidden))[0]
            return out

    module = Net()
    linears_alone(module)

    def counts(raster: Tensor) -> Tensor:
        for each in (module.lif1, module.lif2):
            each.reset_state()
        found: Tensor = module(raster)
        return found.sum(1)

    return Contestant("rockpool", "LIFTorch over time", module, "batch_first", counts, same, {}, None,
                      hidden="lif1")


def contestants() -> Iterator[Contestant]:
    """All of them."""
    yield from (snntorch(False), snntorch(True), norse(), spikingjelly(), sinabs(), rockpool())
