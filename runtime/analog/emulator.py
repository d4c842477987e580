"""An emulated chip: the event engine over a network whose circuits deviate, with noise from run to run, delays that
jitter, and links with a clock. A network in several runs goes over the links between them: what one run recorded, at
its time stamps, is sent to the next.

It gives what the chip gives: when each neuron fired, in steps of the time stamps. Nothing else that it knows comes out
but through `membrane`, which reads as the chip's converter does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...ir.analog.chip import AnalogChip
from ...ir.analog.network import AnalogNetwork
from ...ir.events import Events
from ...ir.network import Network
from ...ir.nodes import Array
from ..cells import Cell
from ..engine import Activity, Engine, Values, as_spikes
from ..signals import Spikes, SweepResult
from .device import Device

__all__ = ["Emulator", "Links", "on_stamps"]

_RUN, _READ = 1 << 62, 1 << 61
"""Kinds of noise, in the second word of the generator's key: none is that of a device's patterns."""


@dataclass(slots=True)
class Links:
    """What the links did since this was made. `sent`: events to the chip, in each run that takes them; `replayed`:
    those of them that an earlier run recorded; `late`: those that waited for others; `longest`: the longest wait,
    seconds on the chip; `lost`: those that came after the run's end."""

    sent: int = 0
    replayed: int = 0
    late: int = 0
    longest: float = 0.0
    lost: int = 0


class Emulator:
    """`network`: in the chip's form, what the chip is to be. `held`: the same in its numbers. `noise`: whether runs
    differ; with the same `seed` the first run is the same, and so are those after it. `links_on`: whether the links
    have a clock; without, events come as they are, at once."""

    def __init__(self, network: Network, held: AnalogNetwork, device: Device, noise: bool = True,
                 seed: int = 0) -> None:
        self.held, self.device, self.noise, self.seed = held, device, noise, seed
        self.network = device.perturbed(network, held)
        self.engine = Engine(self.network)
        self.links, self.links_on = Links(), True
        self.runs = 0
        self._sent_to = dict.fromkeys(held.inputs, 1) if held.schedule is None else held.schedule.sent
        self._factors = [device.synapses(held, number) for number in range(len(held.projections))]
        self._relayed = {each.source: float(np.asarray(network.populations[each.target].tau_syn).mean())
                         for each in network.projections if each.delay is not None}

    @property
    def chip(self) -> AnalogChip:
        return self.device.chip

    def measure(self, codes: Mapping[str, Array], spikes: Mapping[str, Events], duration: float,
                delays: Mapping[str, Array] | None = None) -> dict[str, Events]:
        """One run on the chip. `codes`: weights in steps, (n_target, n_source), by projection. `spikes`: of the inputs,
        seconds on the chip; `duration` likewise. `delays`: by projection, (n_source,), where they are not those that
        were compiled. Gives the spikes of every spiking population, and the inputs' at the
        times at which they went in."""
        speed = self.held.speed_up
        given = {name: _scaled(each, speed) for name, each in spikes.items()}
        late = {name: np.asarray(each) * speed for name, each in (delays or {}).items()}
        activity, sent = self.run(codes, given, duration * speed, late)
        shown = {name: self.stamped(activity.spikes[name], activity.duration)
                 for name, each in self.network.populations.items() if each.spiking}
        return {name: _scaled(each, 1 / speed) for name, each in (*sent.items(), *shown.items())}

    def run(self, codes: Mapping[str, Array], spikes: Mapping[str, Events], duration: float,
            delays: Mapping[str, Array] | None = None,
            dtype: torch.dtype = torch.float64) -> tuple[Activity, dict[str, Events]]:
        """One run, in the model's time: what all populations did, and the inputs as they went in. Of a network in
        several runs: all of them."""
        draw = np.random.Generator(np.random.Philox(key=[self.seed, _RUN | self.runs]))
        self.runs += 1
        sent = {name: self._sent(each, duration, self._sent_to.get(name, 0)) for name, each in spikes.items()}
        values = _Held(self.network, dtype, self._weights(codes, dtype), self._cells(draw, dtype), delays or {})
        activity = self.engine.begin(values, {name: as_spikes(each) for name, each in sent.items()}, duration)
        for name, each in tuple(activity.spikes.items()):
            activity.spikes[name] = self._jittered(name, each, draw)
        for stage in self.engine.stages:
            if any(self.network.populations[name].spiking for name in stage.populations):
                for name, result in self.engine.stage_run(stage, activity, stage.populations).items():
                    activity.results[name] = result
                    activity.spikes[name] = self._jittered(name, self._replayed(name, result.spikes, duration), draw)
        activity = _Passed(self.engine, values, activity.spikes, activity.batch, activity.duration, None,
                           activity.results, passed=dict(activity.spikes))
        for name in self.network.populations:
            if name in activity.results:
                activity.spikes[name] = activity.results[name].spikes
        return activity, sent

    def membrane(self, activity: Activity, name: str, times: Array) -> Array:
        """(batch, times, n) of a population's membranes, in the model's volts, as the chip's converter reads them: in
        whole steps within its range, each channel with an offset, each read with noise."""
        chip, held = self.chip, self.held.populations[name]
        rest, top = chip["readout.leak"], chip["readout.threshold"]
        leak = np.asarray(self.network.populations[name].v_leak) - held.span * self.device.of("leak", held)
        true = rest + (activity.voltage(name, times).numpy() - leak) / held.span * (top - rest)
        true = true + self.device.offsets[held.place[:, 0]]
        if self.noise:
            number = list(self.network.populations).index(name)
            draw = np.random.Generator(np.random.Philox(key=[self.seed, _READ | number << 40 | self.runs]))
            true = true + chip["readout.noise"] * draw.standard_normal(true.shape)
        read = np.clip(np.rint(true), 0, 2 ** chip["readout.bits"] - 1)
        return np.asarray(leak + (read - rest) / (top - rest) * held.span)

    def _weights(self, codes: Mapping[str, Array], dtype: torch.dtype) -> list[Tensor]:
        """(n_source, n_target) of each projection, as the kernels read them."""
        made = []
        for each, factors in zip(self.held.projections, self._factors, strict=True):
            weight = codes[each.name] * each.step[:, None]
            made.append(torch.from_numpy(weight if factors is None else weight * factors).to(dtype).t().contiguous())
        return made

    def _cells(self, draw: np.random.Generator, dtype: torch.dtype) -> dict[str, tuple[Cell, bool]]:
        """Of every population, with the thresholds of this run."""
        fixed, std, found = self.engine.constants(dtype), self.chip["noise.threshold"], {}
        for name, each in self.network.populations.items():
            cell, uniform = fixed.cell(name)
            if self.noise and each.spiking and std:
                moved = torch.from_numpy(std * self.held.populations[name].span * draw.standard_normal(each.n))
                cell = replace(cell, theta=cell.theta + moved.to(dtype))
            found[name] = cell, uniform
        return found

    def _jittered(self, name: str, spikes: Spikes, draw: np.random.Generator) -> Spikes:
        """The spikes of a source as the neurons that delay its axons pass them on."""
        std = self.chip["noise.delay"] * self._relayed.get(name, 0.0) if self.noise else 0.0
        if std == 0 or not len(spikes.times):
            return spikes
        times = (spikes.times.numpy() + std * draw.standard_normal(len(spikes.times))).clip(0)
        return as_spikes(_sorted(times, spikes.indices.numpy(), spikes.offsets.numpy()))

    def _replayed(self, name: str, spikes: Spikes, duration: float) -> Spikes:
        """The spikes of a population as the runs after its own take them."""
        runs = self._sent_to.get(name, 0)
        if not runs:
            return spikes
        self.links.replayed += runs * len(spikes.times)
        recorded = on_stamps(spikes.times.numpy(), self._stamp)
        events = _sorted(recorded, spikes.indices.numpy(), spikes.offsets.numpy())
        return as_spikes(self._sent(events, duration, runs))

    @property
    def _stamp(self) -> float:
        """Seconds of the model."""
        return self.chip["time.stamp"] * self.held.speed_up if self.links_on else 0.0

    def _sent(self, events: Events, duration: float, runs: int) -> Events:
        """The events of a source as they come onto the chip, in so many runs: a few at each stamp, the others wait."""
        stamp, capacity = self._stamp, int(self.chip["time.inputs_a_stamp"])
        self.links.sent += runs * len(events.times)
        if stamp == 0:
            return events
        slots = np.floor(events.times / stamp + 1e-9).astype(np.int64)
        given = np.concatenate([_queued(slots[first:last], capacity) for first, last in
                                zip(events.offsets[:-1], events.offsets[1:], strict=True)] or [slots])
        self.links.late += runs * int((given > slots).sum())
        self.links.longest = max(self.links.longest, float((given - slots).max(initial=0)) * self.chip["time.stamp"])
        self.links.lost += runs * int((given * stamp > duration).sum())
        return Events(given * stamp, events.indices, events.offsets)

    def stamped(self, spikes: Spikes, duration: float) -> Events:
        times = on_stamps(spikes.times.numpy(), self._stamp)
        return Events(np.minimum(times, duration), spikes.indices.numpy(), spikes.offsets.numpy())


def on_stamps(times: Array, stamp: float) -> Array:
    """Times at the stamp that they fall into, its end; as they are where `stamp` is 0."""
    return times if stamp == 0 else np.ceil(times / stamp - 1e-9) * stamp


@dataclass(slots=True)
class _Passed(Activity):
    """`passed`: the spikes of each source as they came to its targets: through the neurons that delay them, and from
    run to run. `spikes` are as they were fired."""

    passed: dict[str, Spikes] = field(default_factory=dict)

    def readout(self, name: str, **wanted: Any) -> SweepResult:
        taken = Activity(self.engine, self.values, self.passed, self.batch, self.duration, self.state, self.results)
        return taken.readout(name, **wanted)


class _Held(Values):
    """Values that are given, not computed from parameters."""

    def __init__(self, network: Network, dtype: torch.dtype, weights: list[Tensor],
                 cells: Mapping[str, tuple[Cell, bool]], delays: Mapping[str, Array]) -> None:
        super().__init__(network, dtype)
        self._weights, self._cells_given, self._delays = weights, cells, delays

    def weight(self, number: int) -> Tensor:
        return self._weights[number]

    def cell(self, name: str) -> tuple[Cell, bool]:
        return self._cells_given[name]

    def delay(self, number: int) -> Tensor | None:
        given = self._delays.get(self.network.projections[number].name)
        return super().delay(number) if given is None else torch.from_numpy(np.array(given, np.float64))


def _queued(slots: Array, capacity: int) -> Array:
    """Ascending slots, put off until no more than `capacity` are alike."""
    place = np.arange(len(slots)) // capacity
    moved = slots - place
    for first in range(min(capacity, len(slots))):
        moved[first::capacity] = np.maximum.accumulate(moved[first::capacity])
    return np.asarray(np.maximum.accumulate(moved + place)) if len(slots) else slots


def _scaled(events: Events, factor: float) -> Events:
    times: Any = np.asarray(events.times) * factor
    return Events(times, events.indices, events.offsets)


def _sorted(times: Array, indices: Array, offsets: Array) -> Events:
    """Events whose times have moved within their samples, ascending again."""
    sample = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    order = np.lexsort((indices, times, sample))
    return Events(times[order], indices[order], offsets)
