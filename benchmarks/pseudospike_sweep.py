"""Loss and gradient as one weight moves a spike through the end of the run, with pseudospikes and without.

    python benchmarks/pseudospike_sweep.py [--quick | --full]

Small networks of theta or QIF neurons of time constant 1 s; the weight from the input to the first neuron is moved. In
"output" that neuron is the output, in "hidden" it feeds the output. Recorded at values around the crossing: the loss
with pseudospikes (`PseudospikeCrossEntropy`) and its slope in the weight; the loss of ordinary spikes alone
(`FirstSpikeCrossEntropy`); and the largest change of loss and of gradient across the crossing, by steps that shrink.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from common import arguments, pin, write_result

import spikec

DURATION = 1.5
INPUT = spikec.Events.from_samples([(np.array([0.1]), np.array([0]))])
NETS: dict[str, tuple[tuple[str, ...], list[Any], tuple[float, float]]] = {
    "theta output": (("theta",), [[[0.5], [0.2]]], (-1.5, 1.0)),
    "qif output": (("qif",), [[[6.0], [4.0]]], (2.0, 6.0)),
    "theta hidden": (("theta", "theta"), [[[0.5], [-3.0]], [[0.8, 0.3], [0.2, -0.4]]], (-1.5, 1.0)),
    "qif hidden": (("qif", "qif"), [[[6.0], [4.0]], [[3.0, 4.0], [2.0, -1.0]]], (2.0, 4.5)),
}
STEPS = (1e-2, 1e-3, 1e-4, 1e-5, 1e-6)


class Sweep:
    """One network, and its loss where the weight has a value."""

    def __init__(self, kinds: tuple[str, ...], weights: list[Any]) -> None:
        net = spikec.Builder()
        source = net.input("in", 1)
        for number, (kind, weight) in enumerate(zip(kinds, weights, strict=True)):
            layer = getattr(net, kind)(f"l{number}", len(weight), tau=np.linspace(1.0, 1.2, len(weight)))
            net.connect(source, layer, weight=np.array(weight))
            source = layer
        net.output("out", source)
        self.module = spikec.compile(net.build()).module(dtype=torch.float64)
        self.weight = self.module.get_parameter("in_l0.weight")

    def run(self, value: float) -> Any:
        self.weight.data[0, 0] = value
        return self.module(INPUT, duration=DURATION)

    def loss(self, value: float) -> tuple[float, np.ndarray[Any, Any]]:
        """With pseudospikes, and its gradient in all weights."""
        self.module.zero_grad()
        loss = spikec.losses.PseudospikeCrossEntropy(tau0=1.0)(self.run(value), torch.tensor([0])).value
        loss.backward()
        found = [each.grad.reshape(-1) for each in self.module.parameters() if each.grad is not None]
        return loss.item(), torch.cat(found).numpy()

    def ordinary(self, value: float) -> float:
        """The loss of ordinary spikes alone."""
        loss = spikec.losses.FirstSpikeCrossEntropy(tau0=1.0, alpha=0.01, tau1=DURATION, silent=None)
        return float(loss(self.run(value), torch.tensor([0])).value.detach())

    def crossing(self, low: float, high: float) -> tuple[float, float]:
        """The two neighbouring values between which the first spike of the first layer comes or goes."""
        def count(value: float) -> int:
            return int(self.run(value).total_spikes("l0"))

        first = count(low)
        while np.nextafter(low, high) < high:
            middle = (low + high) / 2
            low, high = (middle, high) if count(middle) == first else (low, middle)
        return low, high


def measured(kinds: tuple[str, ...], weights: list[Any], span: tuple[float, float], count: int) -> dict[str, Any]:
    """What is recorded of one network, at `count` weights."""
    sweep = Sweep(kinds, weights)
    low, high = sweep.crossing(*span)
    values = low + np.linspace(-0.5, 0.5, count) + 1e-9
    told = [sweep.loss(value) for value in values]
    pairs = [(sweep.loss(low - step), sweep.loss(high + step)) for step in STEPS]
    return {
        "crossing": low, "weights": values.tolist(), "loss": [loss for loss, _ in told],
        "slope": [gradient[0] for _, gradient in told], "loss_of_spikes": [sweep.ordinary(value) for value in values],
        "steps": list(STEPS), "change_of_loss": [abs(after[0] - before[0]) for before, after in pairs],
        "change_of_gradient": [np.abs(after[1] - before[1]).max() for before, after in pairs],
    }


def main() -> None:
    options = arguments(__doc__).parse_args()
    pin(1)
    figures = {name: measured(*net, 5 if options.quick else 41) for name, net in NETS.items()}
    for name, told in figures.items():
        print(f"{name}: loss {told['change_of_loss'][0]:.1e} to {told['change_of_loss'][-1]:.1e}, "
              f"gradient {told['change_of_gradient'][0]:.1e} to {told['change_of_gradient'][-1]:.1e}")
    write_result("pseudospike_sweep-quick" if options.quick else "pseudospike_sweep",
                 {"duration_s": DURATION, "nets": list(NETS)}, figures)


if __name__ == "__main__":
    main()
