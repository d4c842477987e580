"""What an import costs beyond the framework: networks of 10 million parameters, from PyTorch and from files.

    python benchmarks/importing.py [--quick | --full]

`from_torch` takes snnTorch's neurons, with `sample` and the check, as it does by default; `from_nir` reads the file
that `to_nir` writes of the same network, and `from_onnx` that of the network with rectifiers in the place of neurons,
which torch.onnx exports. Each import runs in a process of its own, on one thread, after that of a small network of the
same layers, so that the libraries are there; medians. Memory is the largest resident size during the import less that
before it, as a multiple of the parameters in float32; the graph's own copy of them is in it. Linux: it reads /proc.
"""

from __future__ import annotations

import gc
import json
import statistics
import tempfile
import warnings
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import snntorch
import torch
from common import arguments, pin, run_part, timed, write_result
from torch import nn

import spikec

SAMPLES = 3
DT = 1e-3
ROUTES = ("torch", "nir", "onnx")
SIZES: dict[str, dict[str, tuple[int, ...]]] = {
    "full": {"mlp": (784, 3050, 2500, 10), "conv": (3, 32, 64, 128, 1220, 10)},
    "quick": {"mlp": (784, 300, 250, 10), "conv": (3, 32, 16, 32, 120, 10)},
    "small": {"mlp": (8, 6, 5, 4), "conv": (3, 8, 2, 3, 5, 4)},
}
"""Of the MLP its layers; of the other channels and height of its images, the channels of two convolutions, of 3 by 3
each and with a mean over 2 by 2 behind it, and the layers after them."""


def network(kind: str, size: str, spiking: bool) -> tuple[nn.Sequential, tuple[int, ...]]:
    """The module, and the shape of one sample."""
    torch.manual_seed(0)

    def cells() -> nn.Module:
        return snntorch.Leaky(beta=0.9, init_hidden=True) if spiking else nn.ReLU()

    numbers = SIZES[size][kind]
    parts: list[nn.Module] = []
    if kind == "conv":
        channels, image, first, second, *numbers_after = numbers
        parts += [nn.Conv2d(channels, first, 3, padding=1), cells(), nn.AvgPool2d(2),
                  nn.Conv2d(first, second, 3, padding=1), cells(), nn.AvgPool2d(2), nn.Flatten()]
        shape, numbers = (channels, image, image), (second * (image // 4) ** 2, *numbers_after)
    else:
        shape = numbers[:1]
    for inputs, outputs in pairwise(numbers):
        parts += [nn.Linear(inputs, outputs), cells()]
    return nn.Sequential(*(parts if spiking else parts[:-1])), shape


def stored(folder: Path, kind: str, size: str, route: str) -> Path:
    """The file that a route reads."""
    return folder / f"{kind}-{size}.{route}"


def write_files(folder: Path, kind: str, size: str) -> dict[str, int]:
    """Writes what the routes read, and gives the number of parameters of each."""
    net, shape = network(kind, size, spiking=True)
    spikec.to_nir(spikec.from_torch(net, dt=DT, sample=torch.zeros(1, *shape), check=False),
                  stored(folder, kind, size, "nir"), extensions=True)
    plain, _ = network(kind, size, spiking=False)
    torch.onnx.export(plain.eval(), (torch.zeros(1, *shape),), str(stored(folder, kind, size, "onnx")), dynamo=False)
    return {"parameters": parameters_of(net)}


def parameters_of(net: nn.Module) -> int:
    return sum(each.numel() for each in net.parameters())


def importer(folder: Path, kind: str, size: str, route: str) -> tuple[Callable[[], spikec.Graph], float]:
    """The import, and the seconds of a forward run of its module, which is the framework's own time."""
    if route != "torch":
        read = {"nir": spikec.from_nir, "onnx": spikec.from_onnx}[route]
        return lambda: read(stored(folder, kind, size, route)), 0.0
    net, shape = network(kind, size, spiking=True)
    sample = torch.zeros(1, *shape)
    with torch.no_grad():
        _, wall_ms = timed(lambda: net(sample))
    for part in net:
        if isinstance(part, snntorch.Leaky):
            part.reset_mem()
    return lambda: spikec.from_torch(net, dt=DT, sample=sample), wall_ms / 1e3


def measure_import(folder: Path, kind: str, size: str, route: str) -> dict[str, Any]:
    """One import: seconds, and the memory beyond what was there before it."""
    importer(folder, kind, "small", route)[0]()
    work, framework = importer(folder, kind, size, route)
    kept: list[spikec.Graph] = []
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak starts anew
    before = resident("VmRSS")
    cpu_ms, wall_ms = timed(lambda: kept.append(work()))
    return {"wall_s": wall_ms / 1e3, "cpu_s": cpu_ms / 1e3, "framework_s": framework,
            "memory_mib": resident("VmHWM") - before, "check": kept[0].metadata.get("import.check")}


def resident(name: str) -> float:
    """A size of this process, MiB."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:")) / 1024


def in_a_process(*values: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(run_part("importing.py", "--point", *values).splitlines()[-1])
    return found


def summarised(points: list[dict[str, Any]], parameters: int) -> dict[str, Any]:
    """Medians of the samples of one route."""
    found = {name: statistics.median(point[name] for point in points)
             for name in ("wall_s", "cpu_s", "framework_s", "memory_mib")}
    times = [point["memory_mib"] * 2**20 / (4 * parameters) for point in points]
    return {**found, "beyond_framework_s": statistics.median(
                point["wall_s"] - point["framework_s"] for point in points),
            "memory_times_parameters": statistics.median(times), "memory_times_parameters_samples": times,
            "check": points[0]["check"], "samples": len(points)}


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--point", nargs="+", help="one measurement, printed as JSON")
    options = parser.parse_args()
    if options.point:
        pin(1)
        warnings.simplefilter("ignore")
        what, folder, kind, size, *route = options.point
        found = (write_files(Path(folder), kind, size) if what == "write" else
                 measure_import(Path(folder), kind, size, *route))
        print(json.dumps(found))
        return
    size, samples = ("quick", 1) if options.quick else ("full", SAMPLES)
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        for kind in SIZES[size]:
            in_a_process("write", folder, kind, "small")
            figures[kind] = {"sizes": SIZES[size][kind], **in_a_process("write", folder, kind, size), "routes": {}}
        points: dict[tuple[str, str], list[dict[str, Any]]] = {}
        for _ in range(samples):
            for kind in figures:
                for route in ROUTES:
                    point = in_a_process("import", folder, kind, size, route)
                    points.setdefault((kind, route), []).append(point)
                    print(f"  {kind} from_{route}: " + ", ".join(
                        f"{name} {value:.3g}" for name, value in point.items() if isinstance(value, float)), flush=True)
    for (kind, route), found in points.items():
        figures[kind]["routes"][route] = summarised(found, figures[kind]["parameters"])
    write_result("importing-quick" if options.quick else "importing", {"samples": samples, "seed": 0}, figures)


if __name__ == "__main__":
    main()
