"""Gradient descent with a differentiable synapse on the two tasks of Huh & Sejnowski (NeurIPS 2018).

    python benchmarks/differentiable_synapse.py [--task encoding|xor] [--quick] [--seeds N] [--fresh]

`encoding`: 30 theta neurons with graded synapses, all to all, take a two-dimensional trajectory that turns within
10 to 50 ms, and a readout of their currents is to follow it (predictive auto-encoding). `xor`: 80 of them hear two
pulses, a delay after each, and a go cue, and say by the sign of their readout whether the pulses differed, about a
second after the start (delayed-memory XOR). Everything about them (sizes, amplitudes, times, constants, the optimizer,
the growing delay) is a choice of this script: the paper's own settings were not at hand, nor a figure to compare with.

A seed draws weights and samples. Finished seeds are kept in the results file and skipped; --fresh starts over. What is
written: the loss of every step, what fresh samples show after the last, CPU seconds.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from common import arguments, pin, read_result, write_result

import spikec
from spikec.runtime.graded.losses import IntegratedSquaredError


@dataclass(frozen=True)
class Settings:
    """Times in seconds. `recurrent`: spread of the recurrent weights times sqrt(n) and a rate of 15 / s. `bias`: the
    range of constant currents at first. `lr`: of weights from the input; those from neurons are smaller by their
    spread, those between neurons by `share` too. `steps`: of the optimizer at most; the last `last` of them, at a rate
    that falls to zero, are made once the longest delay is mastered. `slower`: steps after which the rate is halved
    before that."""

    neurons: int
    inputs: int
    outputs: int
    tau: float
    tau_syn: float
    zone: float
    bias: tuple[float, float]
    inward: float
    recurrent: float
    dt: float
    tolerance: float
    activity: float
    lr: float
    batch: int
    steps: int
    last: int
    slower: float
    share: float
    test: int


class Batch(NamedTuple):
    """`weight`: where the output matters, (samples,) in time; `answer`: of XOR, (batch,)."""

    signals: np.ndarray[Any, Any]
    wanted: np.ndarray[Any, Any]
    weight: np.ndarray[Any, Any]
    answer: np.ndarray[Any, Any] | None


SETTINGS = {
    "encoding": Settings(neurons=30, inputs=2, outputs=2, tau=5e-3, tau_syn=10e-3, zone=2.0, bias=(0.0, 0.3),
                         inward=0.5, recurrent=0.1, dt=1e-3, tolerance=1e-4, activity=1e-6, lr=0.02, batch=16,
                         steps=1200, last=1200, slower=1e9, share=0.1, test=64),
    "xor": Settings(neurons=80, inputs=2, outputs=1, tau=25e-3, tau_syn=100e-3, zone=3.0, bias=(-0.2, 0.2), inward=0.7,
                    recurrent=1.0, dt=10e-3, tolerance=1e-3, activity=1e-7, lr=1e-2, batch=32, steps=1500,
                    last=250, slower=150, share=1.0, test=512),
}
PULSE, WINDOW, DELAY, FIRST_DELAY = 0.1, 0.15, 0.35, 0.05
"""Of XOR: a pulse, the window in which the answer is read, the longest delay after a pulse, and that of the start."""
GROW, MASTERED, HELD, RATE = 1.25, 0.97, 0.99, 15.0


def encoding_batch(draw: np.random.Generator, count: int, settings: Settings) -> Batch:
    """Trajectories of 0.2 s: three sines a channel, periods of 40 to 200 ms, so they turn within 10 to 50 ms."""
    times = np.arange(201) * settings.dt
    shape = (count, settings.inputs, 3, 1)
    period, phase = draw.uniform(0.04, 0.2, shape), draw.uniform(0, 2 * np.pi, shape)
    signal = np.sin(2 * np.pi * times / period + phase).sum(2).transpose(0, 2, 1) / 3**0.5
    weight = (times >= 0.02).astype(float)  # the first 20 ms are those in which the network wakes up
    return Batch(signal, signal, weight, None)


def xor_batch(draw: np.random.Generator, count: int, settings: Settings, delay: float) -> Batch:
    """Pulses of either sign on channel 0, at jittered times, the go cue on channel 1; wanted is -1 or 1 after it."""
    start = 0.02 + draw.uniform(0.0, 0.06, count)
    second = start + PULSE + delay * draw.uniform(0.7, 1.0, count)
    cue = second + PULSE + delay * draw.uniform(0.7, 1.0, count)
    length = 0.08 + 3 * PULSE + 2 * delay + WINDOW + 0.05
    times = np.arange(round(length / settings.dt) + 1) * settings.dt
    signs = draw.choice([-1.0, 1.0], (2, count))

    def pulse(begin: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        return ((times >= begin[:, None]) & (times < begin[:, None] + PULSE)).astype(float)

    signal = np.stack([signs[0, :, None] * pulse(start) + signs[1, :, None] * pulse(second), pulse(cue)], -1)
    answer = -signs[0] * signs[1]
    since = times - cue[:, None] - PULSE
    wanted = answer[:, None] * ((since >= 0) & (since < WINDOW))
    return Batch(signal, wanted[..., None], np.ones(len(times)), answer)


def build(settings: Settings, draw: np.random.Generator) -> spikec.Graph:
    """Input, neurons all to all, readout."""
    n = settings.neurons
    spread = 1 / (n**0.5 * RATE)
    net = spikec.Builder()
    source = net.input("in", settings.inputs)
    neurons = net.graded_theta("neurons", n, tau=settings.tau, tau_syn=settings.tau_syn, zone=settings.zone)
    net.connect(source, neurons, weight=draw.normal(0, settings.inward, (n, settings.inputs)),
                bias=draw.uniform(*settings.bias, n), name="inward")
    net.connect(neurons, neurons, weight=draw.normal(0, settings.recurrent * spread, (n, n)), name="recurrent")
    net.output("out", net.linear("readout", neurons, weight=draw.normal(0, spread, (settings.outputs, n))))
    return net.build()


def train(task: str, settings: Settings, seed: int) -> dict[str, Any]:
    """One seed: what it reached, and how it came there."""
    draw = np.random.default_rng([seed, task == "xor"])
    program: Any = spikec.compile(build(settings, draw))
    module = program.module(dtype=torch.float64, tolerance=settings.tolerance)
    spread = 1 / (settings.neurons**0.5 * RATE)
    groups = [{"params": [module.inward.weight, module.inward.bias], "lr": settings.lr},
              {"params": [module.recurrent.weight], "lr": 2 * spread * settings.lr * settings.share},
              {"params": [module.readout.weight], "lr": 2 * spread * settings.lr}]
    optimizer = torch.optim.Adam(groups, betas=(0.9, 0.99))
    left = settings.last if task == "encoding" else None
    loss = (squared_error if task == "encoding" else answer_error)(settings)
    delay, mastery, losses, begin = FIRST_DELAY, 0.0, [], time.process_time()
    rates = [group["lr"] for group in groups]
    for step in range(settings.steps):
        if left is None and settings.steps - step <= settings.last:
            left = settings.steps - step
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = rate / (1 + step / settings.slower) * (1.0 if left is None else left / settings.last)
        batch = (encoding_batch(draw, settings.batch, settings) if task == "encoding"
                 else xor_batch(draw, settings.batch, settings, delay))
        out = module(batch.signals, dt=settings.dt)
        value = loss(out, batch)
        optimizer.zero_grad()
        value.backward()
        torch.nn.utils.clip_grad_norm_([module.inward.weight, module.inward.bias], 0.1)
        torch.nn.utils.clip_grad_norm_([module.recurrent.weight, module.readout.weight], 0.1 / spread)
        optimizer.step()
        losses.append(value.item())
        if batch.answer is not None:
            mastery = 0.9 * mastery + 0.1 * accuracy(out, batch)
            if mastery > MASTERED and delay < DELAY:  # a longer memory, as soon as the shorter one holds
                delay, mastery = min(DELAY, GROW * delay), 0.85
            elif mastery > HELD and left is None:
                left = settings.last + 1
        if left is not None:
            left -= 1
            if not left:
                break
        if step % 25 == 0:
            spikes = out.total_spikes("neurons") / settings.batch / settings.neurons
            print(f"  {task}, seed {seed}, step {step}: loss {value.item():.4f}, delay {delay:.3f} s, mastery "
                  f"{mastery:.2f}, {spikes:.1f} spikes a neuron", flush=True)
    seconds = time.process_time() - begin
    return {"seed": seed, "losses": losses, "cpu_seconds": seconds, **judged(task, settings, module, seed)}


def squared_error(settings: Settings) -> Callable[[Any, Batch], torch.Tensor]:
    def loss(out: Any, batch: Batch) -> torch.Tensor:
        error = IntegratedSquaredError(activity=settings.activity, weight=batch.weight)
        return error(out, torch.from_numpy(batch.wanted)).value

    return loss


def answer_error(settings: Settings) -> Callable[[Any, Batch], torch.Tensor]:
    """The squared error, all of it in the window of the answer, a tenth before the go cue is over; free after it."""
    def loss(out: Any, batch: Batch) -> torch.Tensor:
        wanted = torch.from_numpy(batch.wanted)
        window = wanted != 0
        before = window.flip(1).cumsum(1).flip(1) > 0
        weight = torch.where(window, 1.0, 0.1) * before
        error = (weight * (out.signal("out") - wanted).square()).sum()
        effort = settings.activity * out.signal("neurons").square().sum()
        return (error + effort) * settings.dt / len(wanted)

    return loss


def accuracy(out: Any, batch: Batch) -> float:
    """Share of samples whose readout has the right sign over the window."""
    said = (out.signal("out").detach() * torch.from_numpy(batch.wanted)).sum((1, 2))
    return float((said > 0).double().mean())


def judged(task: str, settings: Settings, module: Any, seed: int) -> dict[str, Any]:
    """What fresh samples show, at a hundredth of the tolerance that training has."""
    draw = np.random.default_rng([seed, 10_000])
    module.tolerance = settings.tolerance / 100
    with torch.no_grad():
        batch = (encoding_batch(draw, settings.test, settings) if task == "encoding"
                 else xor_batch(draw, settings.test, settings, DELAY))
        out = module(batch.signals, dt=settings.dt)
    spikes = out.total_spikes("neurons") / settings.test / settings.neurons
    found = {"spikes_per_neuron": spikes, "spikes_per_second": spikes / out.duration, "duration": out.duration}
    if batch.answer is not None:
        right = accuracy(out, batch)
        return found | {"accuracy": right, "solved": right >= 0.99}
    matters = torch.from_numpy(batch.weight) > 0
    wanted = torch.from_numpy(batch.wanted)[:, matters]
    error = (out.signal("out")[:, matters] - wanted).square().mean() / wanted.square().mean()
    return found | {"relative_error": float(error), "readout_alone": readout_alone(settings, seed)}


def readout_alone(settings: Settings, seed: int) -> float:
    """The relative error of the network before training, whose readout is fitted by ridge regression."""
    draw = np.random.default_rng([seed, 0])
    program: Any = spikec.compile(build(settings, draw))
    rows = []
    for batch in (encoding_batch(draw, settings.test, settings) for _ in range(2)):
        run = program.run(batch.signals, dt=settings.dt, tolerance=settings.tolerance)
        heard = run.currents["neurons"][:, batch.weight > 0].numpy().reshape(-1, settings.neurons)
        wanted = batch.wanted[:, batch.weight > 0].reshape(-1, settings.outputs)
        rows.append((np.c_[heard, np.ones(len(heard))], wanted))
    (given, shown), (fresh, aim) = rows
    fitted = np.linalg.solve(given.T @ given + 1e3 * np.eye(given.shape[1]), given.T @ shown)
    return float(((fresh @ fitted - aim) ** 2).mean() / (aim**2).mean())


def summary(task: str, runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Over seeds."""
    name = "relative_error" if task == "encoding" else "accuracy"
    values = np.array([run[name] for run in runs])
    found = {"seeds": len(runs), "mean": float(values.mean()),
             "std": float(values.std(ddof=1)) if len(runs) > 1 else 0.0,
             "cpu_seconds": float(np.mean([run["cpu_seconds"] for run in runs])),
             "spikes_per_second": float(np.mean([run["spikes_per_second"] for run in runs]))}
    if task == "encoding":
        return found | {"readout_alone": float(np.mean([run["readout_alone"] for run in runs]))}
    return found | {"solved": sum(run["solved"] for run in runs)}


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--task", choices=sorted(SETTINGS), action="append", help="one of them; by default both")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--fresh", action="store_true", help="forget seeds that are finished")
    chosen = parser.parse_args()
    pin(1)
    spikec.set_threads(1)
    torch.set_num_threads(1)
    for task in chosen.task or sorted(SETTINGS):
        name = f"differentiable_synapse_{task}" + ("-quick" if chosen.quick else "")
        settings = SETTINGS[task]
        if chosen.quick:
            settings = Settings(**{**asdict(settings), "steps": 3, "last": 2, "test": 8, "batch": 4})
        former = None if chosen.fresh else read_result(name)
        same = former is not None and former["parameters"] == written(settings)
        runs = former["figures"]["runs"] if former is not None and same else []
        for seed in range(chosen.seeds):
            if any(run["seed"] == seed for run in runs):
                continue
            runs = [*runs, train(task, settings, seed)]
            write_result(name, written(settings), {"summary": summary(task, runs), "runs": runs})
        print(task, summary(task, runs) if runs else "", file=sys.stderr)


def written(settings: Settings) -> dict[str, Any]:
    """Settings as a results file holds them."""
    return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(settings).items()}


if __name__ == "__main__":
    main()
