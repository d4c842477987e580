"""Yin-Yang with 30 hidden neurons on an emulated BrainScaleS-2, trained in the loop as was published of the chip.

    python benchmarks/analog_published.py [--quick] [--seeds N] [--only NAME ...] [--fresh]

The settings are those of DelGrad's runs (fastAndDeep 33e4876, experiment_pretrained/yin_yang_*/config.yaml): first
spikes, one a neuron, tau_mem = tau_syn = 6 us, inputs that go into five rows each, 300 epochs of Adam on batches of 40,
a mean square of label times relative to the right one's. The chip is emulated with the spreads that were published
with them, and with nothing else; no second calibration. What was published of validation accuracies, means of the last
three epochs of single runs: 0.856 on the chip and 0.867 in their noise-aware simulation, 0.912 and 0.924 with axonal
delays, 0.967 without noise in a setting of its own.

    ideal           that setting: tau_mem = 2 tau_syn, weights of any size, no chip, continuous time
    noiseless       the chip's setting, without noise and spreads
    weights         the emulated chip, trained by the published gradient (`published_gradient.py`)
    delays          likewise, with an axonal delay for each input and each hidden neuron
    own_weights, own_delays     the same trained by spikec's own gradient in the loop
    larger          as `weights`, with all figures of noise 2.6 times as large: as if they were stated of a threshold of
                    1, and not of 2.6

Accuracies are means of the last three epochs, of the validation split, as published, and of the test split.
"""

from __future__ import annotations

import re
import statistics
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import arguments, data_folder, read_result, write_result
from published_gradient import FirstSpikes

import spikec
import spikec.targets.brainscales2
from spikec import Events, Graph, datasets
from spikec.ir.analog.network import codes_of

Labelled = tuple[Events, np.ndarray[Any, np.dtype[np.int64]]]
THRESHOLD = 2.6
"""That the published weights are stated at. Here thresholds are 1, and weights so many times smaller."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Times in seconds of the model, a thousand times those of the chip. Weights at a threshold of 1: `first`, `second`
    are mean and standard deviation of what they are drawn from. `missing`: shares of samples that hidden and label
    neurons may be silent in before their weights are raised."""

    tau_mem: float = 6e-3
    tau_syn: float = 6e-3
    early: float = 0.15
    late: float = 2.0
    copies: int = 5
    hidden: int = 30
    first: tuple[float, float] = (1.0 / THRESHOLD, 0.12 / THRESHOLD)
    second: tuple[float, float] = (0.075 / THRESHOLD, 0.15 / THRESHOLD)
    missing: tuple[float, float] = (0.05, 0.05)
    bump: float = 0.0005 / THRESHOLD
    full_scale: float = 2.1 / THRESHOLD
    apart: float = 0.3
    lr: float = 0.002 / THRESHOLD
    delay_lr: float = 0.002 * 0.375
    bound: float = 0.2 * THRESHOLD
    gamma: float = 0.95
    step: int = 20
    batch: int = 40
    evaluation: int = 200
    epochs: int = 300
    duration: float = 60e-3
    refractory: float = 30e-3


CHIP = Settings()
# There the leak is 0.5, and so a weight moves the membrane by half of what it does here at tau_mem = 2 tau_syn.
IDEAL = Settings(tau_mem=12e-3, copies=1, first=(1.0, 2.0), second=(1.0, 2.0), missing=(0.3, 0.0), bump=0.001,
                 apart=0.2, lr=0.04, batch=150, duration=120e-3, refractory=119e-3)
RUNS = {"ideal": IDEAL, "noiseless": CHIP, "weights": CHIP, "delays": CHIP, "own_weights": CHIP, "own_delays": CHIP,
        "larger": CHIP}
PUBLISHED = {"ideal": 96.7, "weights": 85.6, "delays": 91.2}
"""Per cent of the validation split: means of the last three epochs of one run each, on the chip but for `ideal`."""


def main() -> int:
    parser = arguments(__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", nargs="+", choices=tuple(RUNS), default=tuple(RUNS))
    parser.add_argument("--fresh", action="store_true", help="forget the runs that are done")
    options = parser.parse_args()
    if data_folder() is None:
        print("Yin-Yang is not there: SPIKEC_DATA names no folder")
        return 1
    torch.set_num_threads(1)
    name = "analog_published-quick" if options.quick else "analog_published"
    settings = {key: replace(each, epochs=3) if options.quick else each for key, each in RUNS.items()}
    parameters = {key: {field: list(value) if isinstance(value, tuple) else value
                        for field, value in asdict(each).items()} for key, each in settings.items()}
    stored = None if options.fresh else read_result(name)
    runs = stored["figures"]["runs"] if stored and stored["parameters"] == parameters else []
    for seed in range(options.seeds):
        for kind in options.only:
            if any((run["kind"], run["seed"]) == (kind, seed) for run in runs):
                continue
            runs.append(trained(kind, settings[kind], seed))
            write_result(name, parameters, {"runs": runs, "summary": summary(runs)})
    return 0


def summary(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Mean and standard deviation over seeds, per cent."""
    found = {}
    for kind in RUNS:
        mine = [run for run in runs if run["kind"] == kind]
        if mine:
            found[kind] = {"seeds": len(mine), "published_validation": PUBLISHED.get(kind), **{
                split: {"mean": statistics.mean(values), "std": statistics.stdev(values) if len(values) > 1 else 0.0}
                for split in ("validation", "test") if (values := [run[split] for run in mine])}}
    return found


def encoded(settings: Settings, copies: int) -> dict[str, Labelled]:
    """Each coordinate as one spike, early to late in time constants; no bias. By split."""
    data, found = datasets.load_yin_yang(), {}
    for split in ("train", "validation", "test"):
        points = np.asarray(getattr(data, split).inputs, np.float64)
        points = np.concatenate([points, 1 - points], 1) if points.shape[1] == 2 else points
        times = np.tile((settings.early + points * (settings.late - settings.early)) * settings.tau_syn, (1, copies))
        order = np.argsort(times, 1, kind="stable")
        offsets = np.arange(len(times) + 1) * times.shape[1]
        found[split] = (Events(np.take_along_axis(times, order, 1).reshape(-1), order.reshape(-1), offsets),
                        np.asarray(getattr(data, split).labels, np.int64))
    return found


def network(settings: Settings, seed: int, delays: bool) -> Graph:
    """4 inputs, each `copies` times, 30 hidden neurons, 3 labels. With delays the copies of an input share one, and so
    one weight, the sum of theirs: equal spikes, equal gradients."""
    draw = np.random.default_rng([seed, 1])
    inputs = 4 if delays else 4 * settings.copies
    taus = {"tau_mem": settings.tau_mem, "tau_syn": settings.tau_syn, "refractory": settings.refractory}
    first = draw.normal(*settings.first, (settings.hidden, 4 * settings.copies))
    if delays:
        first = first.reshape(settings.hidden, settings.copies, 4).sum(1)
    net = spikec.Builder()
    hidden, label = net.cubalif("hidden", settings.hidden, **taus), net.cubalif("label", 3, **taus)

    def late(name: str, source: Any, n: int) -> Any:
        share = 1 / (1 + np.exp(-draw.normal(0, 0.5, n)))
        return net.delay(name, source, (2.0 + 1.5 * share) * settings.tau_syn) if delays else source

    net.connect(late("d1", net.input("points", inputs), inputs), hidden, weight=first, name="fc1")
    net.connect(late("d2", hidden, settings.hidden), label,
                weight=draw.normal(*settings.second, (3, settings.hidden)), name="fc2")
    net.output("out", label)
    return net.build()


def compiled(kind: str, settings: Settings, seed: int) -> Any:
    """The program of a run. A chip for each seed."""
    graph = network(settings, seed, kind.endswith("delays"))
    if kind == "ideal":
        return spikec.compile(graph)
    options: dict[str, Any] = {"full_scale": settings.full_scale, "seed": seed}
    if kind == "noiseless":
        options |= {"mismatch": "none", "noise": False}
    options["rows"] = {"fc1": settings.copies} if kind.endswith("delays") else 1
    if kind == "larger":
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "chip.toml")
            path.write_text(larger_noise(), encoding="utf-8")
            return spikec.compile(graph, "brainscales2", chip=path, **options)
    return spikec.compile(graph, "brainscales2", **options)


def larger_noise() -> str:
    """The description of the chip, with the published figures of noise as multiples of the threshold."""
    text = (Path(spikec.targets.brainscales2.__file__).parent / "chip.toml").read_text(encoding="utf-8")
    for name in ("noise.threshold", "spread.threshold.mean", "spread.threshold.std"):
        def more(found: re.Match[str]) -> str:
            return f"{found[1]}{float(found[2]) * THRESHOLD:.6g}"

        text, count = re.subn(rf"(\[{re.escape(name)}\]\nvalue = )([0-9.]+)", more, text)
        assert count == 1, name
    return text


class Published:
    """Times of all layers in units of the time constant, by the published gradient at the chip's spikes. Called as a
    module is; what it has to be trained is the module's own parameters."""

    def __init__(self, program: Any, module: Any, settings: Settings) -> None:
        self.module, self.settings, self.chip = module, settings, program.emulator()
        self.held, self.delayed = program.held, any(each.delay is not None for each in program.held.projections)

    def __call__(self, events: Events) -> tuple[torch.Tensor, torch.Tensor]:
        """First spikes of hidden and label neurons, (batch, n) each."""
        settings, speed = self.settings, self.held.speed_up
        codes, weights, late = {}, [], {}
        for each in self.held.projections:
            weight = self.module.get_parameter(f"{each.name}.weight")
            bound = torch.from_numpy(each.step[:, None]) * 63 * each.rows
            weight.data.clamp_(-bound, bound)
            codes[each.name] = codes_of(weight.detach().numpy(), each.step[:, None], 63 * each.rows)
            # the gradient is that of the rounded weights, and goes to the exact ones
            weights.append(weight + (torch.from_numpy(codes[each.name] * each.step[:, None]) - weight).detach())
        waits = []
        for each, name in zip(self.held.projections, ("d1", "d2"), strict=True):
            if self.delayed:
                delay = self.module.get_parameter(f"{name}.delay")
                delay.data.clamp_(2.0 * settings.tau_syn, 3.5 * settings.tau_syn)
                late[each.name] = delay.detach().numpy() / speed
            waits.append(delay / settings.tau_syn if self.delayed else 0.0)
        sent = Events(events.times / speed, events.indices, events.offsets)
        found = self.chip.measure(codes, {"points": sent}, settings.duration / speed, late)
        unit = settings.tau_syn / speed
        times = {name: first(found[name], n) / unit for name, n in
                 (("points", len(self.held.projections[0].codes[0])), ("hidden", settings.hidden), ("label", 3))}
        hidden = FirstSpikes.apply(times["points"] + waits[0], weights[0], times["hidden"], 1.0, settings.bound)
        label = FirstSpikes.apply(hidden + waits[1], weights[1], times["label"], 1.0, settings.bound)
        return hidden, label


class Own:
    """The same by a module of the program."""

    def __init__(self, module: Any, settings: Settings) -> None:
        self.module, self.settings = module, settings

    def __call__(self, events: Events) -> tuple[torch.Tensor, torch.Tensor]:
        out = self.module(events, self.settings.duration)
        return out.first_spike("hidden") / self.settings.tau_syn, out.first_spike("out") / self.settings.tau_syn


def first(events: Events, n: int) -> torch.Tensor:
    """(batch, n), +inf where silent."""
    sample = np.repeat(np.arange(len(events.offsets) - 1), np.diff(events.offsets))
    times = np.full((len(events.offsets) - 1, n), np.inf)
    np.minimum.at(times, (sample, events.indices), events.times)
    return torch.from_numpy(times)


def trained(kind: str, settings: Settings, seed: int) -> dict[str, Any]:
    """One run; accuracies in per cent."""
    torch.manual_seed(seed)
    program, begun, delays = compiled(kind, settings, seed), time.process_time(), kind.endswith("delays")
    module = program.module(dtype=torch.float64, train=("weight", "delay") if delays else ("weight",))
    published = kind in ("weights", "delays", "larger")
    net: Any = Published(program, module, settings) if published else Own(module, settings)
    data = encoded(settings, 1 if delays else settings.copies)
    optimizer = torch.optim.Adam(list(_groups(module, settings, delays)))
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, settings.step, settings.gamma)
    raised = Bump(settings)
    order = np.random.default_rng([seed, 2])
    events, labels = data["train"]
    course: list[float] = []
    last: dict[str, list[float]] = {"validation": [], "test": []}
    for epoch in range(settings.epochs):
        shuffled = order.permutation(len(labels))
        for start in range(0, len(labels), settings.batch):
            chosen = shuffled[start:start + settings.batch]
            hidden, label = net(events.take(chosen))
            loss = apart(label, torch.from_numpy(labels[chosen]), settings.apart)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            raised.apply(module, hidden, label)
        scheduler.step()
        if epoch % 25 == 24:
            course.append(accuracy(net, data["validation"], settings))
            print(f"  {kind}, seed {seed}, epoch {epoch + 1}: {course[-1]:.2f} %, {time.process_time() - begun:.0f} s",
                  flush=True)
        if epoch >= settings.epochs - 3:
            for split, found in last.items():
                found.append(accuracy(net, data[split], settings))
    run = {"kind": kind, "seed": seed, "cpu_s": time.process_time() - begun, "raised": raised.times, "course": course,
           **{split: statistics.mean(found) for split, found in last.items()}}
    print(f"{kind}, seed {seed}: validation {run['validation']:.2f} %, test {run['test']:.2f} %", flush=True)
    return run


def _groups(module: torch.nn.Module, settings: Settings, delays: bool) -> Iterable[dict[str, Any]]:
    for name, parameter in module.named_parameters():
        if not parameter.requires_grad:
            continue
        if name.endswith("delay"):
            yield {"params": [parameter], "lr": settings.delay_lr * settings.tau_syn}
        else:  # the sum of five weights moves five times as far
            yield {"params": [parameter], "lr": settings.lr * (settings.copies if delays and name[:3] == "fc1" else 1)}


def apart(times: torch.Tensor, labels: torch.Tensor, wanted: float) -> torch.Tensor:
    """Half the square of what wrong labels come less than `wanted` after the right one, in time constants; 100 for a
    sample with a silent label, which has no gradient (LossFunctionShiftInvariantMSE of the publication)."""
    right = times.gather(1, labels[:, None])
    target = wanted * (1 - torch.nn.functional.one_hot(labels, times.shape[1]))
    whole = torch.isfinite(times).all(1, keepdim=True)
    error = torch.where(whole, torch.where(whole, times, 0.0) - torch.where(whole, right, 0.0) - target, 0.0)
    return (0.5 * (error**2).sum(1) + torch.where(whole[:, 0], 0.0, 100.0)).mean()


class Bump:
    """Raises the weights of neurons that were silent in some sample, of the first layer that misses more spikes than it
    may; twice as much each time in a row."""

    def __init__(self, settings: Settings) -> None:
        self.settings, self.times, self.last, self.value = settings, 0, "", settings.bump

    @torch.no_grad()
    def apply(self, module: torch.nn.Module, hidden: torch.Tensor, label: torch.Tensor) -> None:
        for name, times, most in (("fc1", hidden, self.settings.missing[0]), ("fc2", label, self.settings.missing[1])):
            silent = ~torch.isfinite(times)
            if float(silent.double().mean()) > most:
                self.value = 2 * self.value if self.last == name else self.settings.bump
                self.last, self.times = name, self.times + 1
                module.get_parameter(f"{name}.weight")[silent.any(0)] += self.value
                return
        self.last = ""


@torch.no_grad()
def accuracy(net: Any, data: Labelled, settings: Settings) -> float:
    """Per cent of samples whose label fires first, in batches as they were published: noise is drawn for each."""
    events, labels = data
    right = 0
    for start in range(0, len(labels), settings.evaluation):
        chosen = np.arange(start, min(start + settings.evaluation, len(labels)))
        times = net(events.take(chosen))[1].numpy()
        right += int((np.where(np.isfinite(times.min(1)), times.argmin(1), -1) == labels[chosen]).sum())
    return 100 * right / len(labels)


if __name__ == "__main__":
    sys.exit(main())
