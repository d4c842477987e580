"""A spiking network for MNIST whose neurons a Loihi core holds exactly, and its training on the clock target.

784-512-10, no biases. Hidden: leaky integrate and fire, threshold 1, reset to zero, decay 1 - 512/4096 a column.
Output: an integrator that never fires; the class is the one of its largest membrane after the last column.

Code: rates. A pixel of brightness p of 255 has fired floor((p t + phase) / 512) times after t columns, so it fires at
most in every other one; the phase is the pixel's own, the same in every image. In a column 6 to 7 % of 784 pixels fire.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import spikec
from spikec import Discretization, Graph
from spikec.runtime.checkpoint import read_checkpoint, write_checkpoint
from spikec.runtime.datasets import Split
from spikec.targets.clock.program import ClockProgram
from spikec.targets.loihi.program import LoihiProgram

Array = np.ndarray[Any, np.dtype[Any]]
History = list[dict[str, float]]
"""What is recorded of each epoch."""


DT = 1e-3
GRID = Discretization(DT, integrator="decay")
DECAY = 1 - 512 / 4096
READOUT = 1 / 16
"""What a unit of weight adds to an output."""
PIXELS, CLASSES = 784, 10
_PERIOD_BITS = 9
_PHASES = (np.arange(PIXELS) * 317) % (1 << _PERIOD_BITS)  # 317: nearest to the golden section that is odd
_SHIFT = 1
_PART = 1000
"""Images coded at once."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Of a training: Adam, rate of learning along half a cosine to zero, images shifted by up to one pixel and pixels
    left out at random, labels smoothed. `gain`: logits for a unit of the output membranes."""

    hidden: int = 512
    steps: int = 32
    epochs: int = 20
    batch: int = 128
    lr: float = 4e-3
    smoothing: float = 0.1
    dropped: float = 0.1
    gain: float = 4.0
    surrogate: str = "atan"
    sharpness: float = 2.0
    std: tuple[float, float] = (0.08, 0.05)
    seed: int = 0


def network(settings: Settings) -> Graph:
    """The network, untrained."""
    net = spikec.Builder(GRID)
    tau = -DT / np.log(DECAY)
    hidden = net.lif("hidden", settings.hidden, tau=tau, r=tau, reset="zero")
    output = net.integrator("readout", CLASSES, r=READOUT)
    pixels = net.input("pixels", PIXELS)
    first, second = settings.std
    net.connect(pixels, hidden, name="fc1", weight=spikec.normal(0.0, first, seed=2 * settings.seed))
    net.connect(hidden, output, name="fc2", weight=spikec.normal(0.0, second, seed=2 * settings.seed + 1))
    net.output("out", output)
    return net.build()


@cache
def _phases() -> Tensor:
    return torch.from_numpy(_PHASES.astype(np.int16))


def coded(images: Tensor, steps: int) -> Tensor:
    """Images (batch, 784) uint8 -> (batch, steps, 784) uint8 of spikes; at most 126 steps, or 16 bits overflow."""
    time = torch.arange(steps + 1, dtype=torch.int16)[:, None]
    fired = (images.to(torch.int16)[:, None] * time + _phases()) >> _PERIOD_BITS
    return (fired[:, 1:] - fired[:, :-1]).to(torch.uint8)


def flat(split: Split) -> Tensor:
    """(samples, 784) uint8."""
    return torch.from_numpy(np.array(split.inputs).reshape(len(split), PIXELS))


def accuracy(said: Callable[[Tensor], Any], split: Split, steps: int) -> float:
    """Percent that are told right by `said`, which gives membranes (batch, 10) for a raster."""
    right = 0
    for images, labels in zip(flat(split).split(_PART), torch.from_numpy(split.labels).split(_PART), strict=True):
        right += int((torch.as_tensor(said(coded(images, steps))).argmax(1) == labels).sum())
    return 100 * right / len(split)


def membranes(module: nn.Module) -> Callable[[Tensor], Tensor]:
    """What a module, of the clock target or of one for Loihi, has in its outputs after the model's last column."""

    def said(raster: Tensor) -> Tensor:
        voltage: Tensor = module(raster).voltage("out")
        return voltage[:, -1]

    return said


def chip_membranes(program: LoihiProgram) -> Callable[[Tensor], Array]:
    """The same of a program for Loihi, in the units of the model."""
    record = program.quantised.populations["readout"]

    def said(raster: Tensor) -> Array:
        result = program.engine.run({"pixels": raster.numpy()}, raster.shape[1] + record.latency, spikes=(),
                                    states=("readout",))
        return result.v["readout"][:, -1] / record.scale

    return said


@torch.no_grad()
def float_accuracy(module: nn.Module, split: Split, steps: int) -> float:
    """Of the clock target."""
    return accuracy(membranes(module), split, steps)


def trained(settings: Settings, data: Split, checkpoint: Path | None = None,
            validation: Split | None = None) -> tuple[Graph, History]:
    """The trained network, and a record of each epoch. With `checkpoint` a training that was interrupted goes on from
    its last epoch, and one that is finished is read."""
    return trained_further(spikec.compile(network(settings), target="clock"), settings, data, checkpoint, validation)


def trained_further(program: ClockProgram | LoihiProgram, settings: Settings, data: Split,
                    checkpoint: Path | None = None, validation: Split | None = None) -> tuple[Graph, History]:
    """The same from a compiled network: through its whole numbers where it is a program for Loihi."""
    module = program.module(surrogate=settings.surrogate, sharpness=settings.sharpness)
    records = fit(module, membranes(module), settings, data, checkpoint, validation)
    return module.to_graph(), records


def fit(module: nn.Module, said: Callable[[Tensor], Tensor], settings: Settings, data: Split,
        checkpoint: Path | None = None, validation: Split | None = None) -> History:
    """Trains a module on what `said` says. What is drawn is a function of seed and epoch alone."""
    optimizer = torch.optim.Adam([each for each in module.parameters() if each.requires_grad], lr=settings.lr)
    batches = len(data) // settings.batch
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, settings.epochs * batches)
    records: History = []
    parts: Mapping[str, Any] = {"module": module, "optimizer": optimizer, "schedule": schedule}
    if checkpoint is not None and checkpoint.exists():
        state = read_checkpoint(checkpoint)
        if state["settings"] != _plain(settings):
            raise SystemExit(f"{checkpoint} is of a training with other settings: {state['settings']}")
        for name, part in parts.items():
            part.load_state_dict(state[name])
        records = state["records"]
    images, labels = flat(data), torch.from_numpy(data.labels)
    for epoch in range(len(records), settings.epochs):
        began, total, right = time.process_time(), 0.0, 0
        draw = torch.Generator().manual_seed(1000 * settings.seed + epoch)
        for chosen in torch.randperm(len(data), generator=draw)[:batches * settings.batch].split(settings.batch):
            shown = augmented(images[chosen], settings.dropped, draw)
            logits = settings.gain * said(coded(shown, settings.steps))
            loss = nn.functional.cross_entropy(logits, labels[chosen], label_smoothing=settings.smoothing)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total, right = total + loss.item(), right + int((logits.argmax(1) == labels[chosen]).sum())
        records.append({"loss": total / batches, "training": 100 * right / (batches * settings.batch),
                        "cpu_s": time.process_time() - began})
        if validation is not None:
            with torch.no_grad():
                records[-1]["validation"] = accuracy(said, validation, settings.steps)
        print(f"epoch {epoch + 1}/{settings.epochs}: " + ", ".join(
            f"{name} {value:.4g}" for name, value in records[-1].items()), flush=True)
        if checkpoint is not None:
            write_checkpoint(checkpoint, {"settings": _plain(settings), "records": records,
                                          **{name: part.state_dict() for name, part in parts.items()}})
    return records


def augmented(images: Tensor, dropped: float, draw: torch.Generator) -> Tensor:
    """Each image shifted, and some of its pixels black."""
    count, side = len(images), 28
    padded = nn.functional.pad(images.reshape(count, side, side), (_SHIFT,) * 4)
    down, across = torch.randint(0, 2 * _SHIFT + 1, (2, count), generator=draw)
    shifted = padded.unfold(1, side, 1).unfold(2, side, 1)[torch.arange(count), down, across].reshape(count, PIXELS)
    return shifted * (torch.rand(shifted.shape, generator=draw) >= dropped)


def _plain(settings: Settings) -> dict[str, Any]:
    return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(settings).items()}
