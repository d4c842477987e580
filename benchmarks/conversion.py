"""What a network loses when its activations become spikes: the CNN of examples/train_cnn.py on MNIST.

    python benchmarks/conversion.py [--quick | --full] [--model FILE]

Accuracy on the 10,000 test images after each number of steps, from one run, and how far each layer is from its
activations; the same on fewer images for other options, and for latencies on the target event. The network is trained
first, where FILE (default: benchmarks/results/mnist_cnn.pt, which git ignores) is not there. Calibration: the first 500
training images; nothing is chosen on the test set.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import HERE, RESULTS, arguments, data_folder, write_result

import spikec
from spikec import datasets
from spikec.compiler.ann_rates import RateConversion
from spikec.runtime.datasets import Split

sys.path.insert(0, str(HERE.parent / "examples"))
import train_cnn

STEPS = (4, 8, 16, 32)
CALIBRATION = 500
VARIANTS: dict[str, dict[str, Any]] = {
    "membrane starts at 0": {"initial": 0.0},
    "one scale a layer": {"per": "layer"},
    "scale: the maximum": {"percentile": 100},
    "many spikes a step": {"spikes": "many"},
    "input as regular spikes": {"encoding": "regular", "input_range": (0, 1)},
    "input as Poisson spikes": {"encoding": "poisson", "input_range": (0, 1)},
    "outputs as spikes": {"readout": "spikes"},
    "LIF, 100 ms": {"neuron": "lif", "tau": 0.1},
}


def main() -> int:
    parser = arguments(__doc__)
    parser.add_argument("--model", type=Path, default=RESULTS / "mnist_cnn.pt")
    options = parser.parse_args()
    if data_folder() is None:
        print("MNIST is not there: SPIKEC_DATA names no folder")
        return 1
    whole, some, few = (200, 100, 4) if options.quick else (10_000, 1000, 50)
    net = trained(options.model, quick=options.quick)
    data = datasets.load_mnist()
    calibration = train_cnn.pixels(data.train)[:CALIBRATION]
    graph = spikec.from_torch(net, sample=calibration[:1])

    def rates(test: Split, **changes: Any) -> dict[str, Any]:
        conversion = spikec.convert_ann(graph, calibration, steps=STEPS[-1], **changes)
        return {**over_steps(conversion, net, test), "layers": conversion.as_dict()}

    figures: dict[str, Any] = {}

    def store(**found: Any) -> None:
        """Writes what there is: what follows takes long."""
        figures.update(found)
        write_result("conversion-quick" if options.quick else "conversion",
                     {"steps": STEPS, "calibration": CALIBRATION, "variants": VARIANTS}, figures)

    store(rate=rates(data.test[:whole]))
    store(latency=latencies(graph, net, calibration, data.test[:few]))
    for name, changes in VARIANTS.items():
        store(variants={**figures.get("variants", {}), name: rates(data.test[:some], **changes)})
    return 0


def trained(file: Path, quick: bool) -> torch.nn.Sequential:
    """The network, from the file or trained now."""
    net = train_cnn.network()
    if file.exists():
        net.load_state_dict(torch.load(file, weights_only=True))
        return net.eval()
    net = train_cnn.train(epochs=1 if quick else 4)
    if not quick:
        torch.save(net.state_dict(), file)
    return net


def over_steps(conversion: RateConversion, net: torch.nn.Module, test: Split) -> dict[str, Any]:
    """Accuracy of both, and points lost after each number of steps."""
    right = np.zeros(len(STEPS))
    places = np.array(STEPS) - 1
    for start in range(0, len(test), 500):
        part = test[start:start + 500]
        (said,) = conversion.over_time(train_cnn.pixels(part)).values()
        right += (said[:, places].argmax(2) == part.labels[:, None]).sum(0)
        print(f"{start + len(part)}/{len(test)}: {np.round(100 * right / (start + len(part)), 2)}", flush=True)
    accuracy, before = 100 * right / len(test), train_cnn.accuracy(net, test)
    return {"samples": len(test), "ann": before, "accuracy": dict(zip(map(str, STEPS), accuracy, strict=True)),
            "lost": dict(zip(map(str, STEPS), before - accuracy, strict=True))}


def latencies(graph: spikec.Graph, net: torch.nn.Module, calibration: torch.Tensor, test: Split) -> dict[str, Any]:
    """Accuracy of single spikes in continuous time, and the largest difference of an output."""
    conversion = spikec.convert_ann(graph, calibration, code="latency", input_range=(0, 1), check=2)
    images = train_cnn.pixels(test)
    (said,) = conversion.run(images).values()
    with torch.no_grad():
        wanted = net.double()(images.double()).numpy()
    net.float()
    return {"samples": len(test), "ann": train_cnn.accuracy(net, test),
            "accuracy": 100 * float((said.argmax(1) == test.labels).mean()),
            "largest_difference": float(np.abs(said - wanted).max()), "layers": conversion.as_dict()}


if __name__ == "__main__":
    sys.exit(main())
