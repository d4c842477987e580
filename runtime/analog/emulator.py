"""An emulated chip: the event engine over a network whose circuits deviate, with noise from run to run, delays that
jitter, and links with a clock. A network in several runs goes over the links between them: what one run recorded, at
its time stamps, is sent to the next.

It gives what the chip gives: when each neuron fired, in steps of the time stamps. Nothing else that it knows comes out
but through `membrane`, which reads as the chip's converter does.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...ir.analog.chip import AnalogChip
from ...ir.analog.network import AnalogNetwork
from ...ir.analog.schedule import Schedule
from ...ir.diagnostics import Diagnostics, SpikecWarning
from ...ir.events import Events
from ...ir.network import Network
from ...ir.nodes import Array
from ..cells import Cell
from ..engine import Activity, Engine, Values, as_spikes
from ..signals import Spikes, SweepResult, cut_off
from .device import Device

__all__ = ["Emulator", "Links", "on_stamps"]

_RUN, _READ = 1 << 62, 1 << 61
"""Kinds of noise, in the second word of the generator's key: none is that of a device's patterns."""


@dataclass(slots=True)
class Links:
    """What the links to the chip did; all sources of a run share them. `sent`: events to the chip, in each run that
    takes them; `replayed`: those of them that an earlier run recorded; `late`: those that waited for others; `longest`:
    the longest wait, seconds on the chip; `lost`: those that were still waiting at the run's end."""

    sent: int = 0
    replayed: int = 0
    late: int = 0
    longest: float = 0.0
    lost: int = 0

    def add(self, other: Links) -> None:
        """What they did besides."""
        self.sent, self.replayed = self.sent + other.sent, self.replayed + other.replayed
        self.late, self.lost = self.late + other.late, self.lost + other.lost
        self.longest = max(self.longest, other.longest)


_Trains = tuple[tuple[Tensor | None, dict[str, Spikes]], ...]
"""Which neurons (None: all), and the spikes of each source as they come to these."""


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
        self._told: set[str] = set()
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
        before = self.links.lost
        values = _Held(self.network, dtype, self._weights(codes, dtype), self._cells(draw, dtype), delays or {})
        activity = self.engine.begin(values, {name: as_spikes(each) for name, each in spikes.items()}, duration)
        schedule = self.held.schedule
        play = self._at_once if schedule is None else partial(self._run_by_run, schedule)
        heard, sent = play(activity, spikes, draw)
        self._tell(activity, self.links.lost - before)
        return _Heard(self.engine, values, activity.spikes, activity.batch, activity.duration, None, activity.results,
                      heard=heard), sent

    def _at_once(self, activity: Activity, spikes: Mapping[str, Events],
                 draw: np.random.Generator) -> tuple[dict[str, _Trains], dict[str, Events]]:
        """Everything is on the chip. Gives what each population hears, and the inputs as they went in."""
        sent, told = self._sent(spikes, activity.duration)
        self.links.add(told)
        passed = {name: self._jittered(name, as_spikes(each), draw) for name, each in sent.items()}
        activity.spikes |= passed
        playing = replace(activity, spikes=passed)
        for stage in self.engine.stages:
            if any(self.network.populations[name].spiking for name in stage.populations):
                for name, result in self.engine.stage_run(stage, playing, stage.populations).items():
                    activity.results[name], activity.spikes[name] = result, result.spikes
                    passed[name] = self._jittered(name, result.spikes, draw)
        return dict.fromkeys(self.network.populations, ((None, passed),)), sent

    def _run_by_run(self, schedule: Schedule, activity: Activity, spikes: Mapping[str, Events],
                    draw: np.random.Generator) -> tuple[dict[str, _Trains], dict[str, Events]]:
        """One run after the other; each has the link for itself, and the same sources come alike to all that take
        them."""
        trains: dict[tuple[str, ...], tuple[dict[str, Spikes], Links, dict[str, Events]]] = {}
        played: dict[tuple[tuple[str, ...], tuple[str, ...]], dict[str, SweepResult]] = {}
        parts: dict[str, list[tuple[Array, SweepResult]]] = {}
        heard: dict[str, _Trains] = {}
        arrived = dict(spikes)
        for run in schedule.runs:
            key = run.sources
            if key not in trains:
                events = {name: spikes[name] if name in spikes else self._recorded(name, activity, parts)
                          for name in key}
                given, told = self._sent(events, activity.duration)
                told.replayed = sum(len(each.times) for name, each in events.items() if name not in spikes)
                trains[key] = {name: self._jittered(name, as_spikes(each), draw)
                               for name, each in given.items()}, told, given
            passed, told, given = trains[key]
            self.links.add(told)
            for name in spikes.keys() & set(key):  # where they differ from run to run, those of the first
                arrived[name] = given[name] if arrived[name] is spikes[name] else arrived[name]
                activity.spikes[name] = passed[name]
            for part in run.parts:
                mask = torch.zeros(self.network.size(part.population), dtype=torch.bool)
                mask[torch.from_numpy(part.neurons)] = True
                heard[part.population] = (*heard.get(part.population, ()), (mask, passed))
                if self.network.populations[part.population].spiking:
                    stage = self.engine.stage_of[part.population]
                    if (key, stage.populations) not in played:
                        played[key, stage.populations] = self.engine.stage_run(
                            stage, replace(activity, spikes=passed), stage.populations)
                    parts.setdefault(part.population, []).append(
                        (part.neurons, played[key, stage.populations][part.population]))
        for name, found in parts.items():
            activity.spikes[name] = _of_parts(found, self.network.size(name))
            activity.results[name] = replace(found[0][1], spikes=activity.spikes[name],
                                             truncated=any(each.truncated for _, each in found))
        return heard, arrived

    def _recorded(self, name: str, activity: Activity, parts: Mapping[str, list[tuple[Array, SweepResult]]]) -> Events:
        """The spikes of a population at the stamps at which earlier runs recorded them."""
        spikes = _of_parts(parts[name], self.network.size(name))
        return _sorted(on_stamps(spikes.times.numpy(), self._stamp), spikes.indices.numpy(), spikes.offsets.numpy())

    def _tell(self, activity: Activity, lost: int) -> None:
        """Warns of what is lost in a run, once for each kind."""
        faults = Diagnostics()
        if lost and "SC379" not in self._told:
            faults.add("SC379", "events are lost on the chip's links: they were still waiting when the run ended",
                       value=f"{lost} of this run", severity="warning",
                       limit=f"{self.chip['time.inputs_a_stamp']:g} events in {self.chip['time.stamp']:g} s",
                       remedy="Spread the events, or run for longer; result.links counts them.")
        cut = [name for name, each in activity.results.items() if each.truncated]
        if cut and "SC408" not in self._told:
            faults.extend([replace(cut_off(cut, self.engine.stage_of[cut[0]].kernel.limits, True),
                                   severity="warning")])
        for each in faults.found:
            self._told.add(each.code)
            warnings.warn(str(each), SpikecWarning, stacklevel=4)

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

    @property
    def _stamp(self) -> float:
        """Seconds of the model."""
        return self.chip["time.stamp"] * self.held.speed_up if self.links_on else 0.0

    def _sent(self, events: Mapping[str, Events], duration: float) -> tuple[dict[str, Events], Links]:
        """The events of all sources of a run as they come onto the chip, and what the link did: it takes a few at each
        stamp, whosever they are, and the others wait."""
        stamp, capacity = self._stamp, int(self.chip["time.inputs_a_stamp"])
        told = Links(sent=sum(len(each.times) for each in events.values()))
        if stamp == 0 or not events:
            return dict(events), told
        order = list(events.values())
        times = np.concatenate([each.times for each in order])
        samples = np.concatenate([np.repeat(np.arange(each.batch), np.diff(each.offsets)) for each in order])
        slots = np.floor(times / stamp + 1e-9).astype(np.int64)
        line, given = np.lexsort((times, samples)), np.empty_like(slots)
        ends = np.searchsorted(samples[line], np.arange(order[0].batch + 1))
        for first, last in pairwise(ends):
            here = line[first:last]
            given[here] = _queued(slots[here], capacity)
        told.late = int((given > slots).sum())
        told.longest = float((given - slots).max(initial=0)) * self.chip["time.stamp"]
        told.lost = int(((given * stamp > duration) & (times <= duration)).sum())
        bounds = np.cumsum([0, *(len(each.times) for each in order)])
        return {name: Events(given[first:last] * stamp, each.indices, each.offsets) for (name, each), first, last in
                zip(events.items(), bounds[:-1], bounds[1:], strict=True)}, told

    def stamped(self, spikes: Spikes, duration: float) -> Events:
        times = on_stamps(spikes.times.numpy(), self._stamp)
        return Events(np.minimum(times, duration), spikes.indices.numpy(), spikes.offsets.numpy())


def on_stamps(times: Array, stamp: float) -> Array:
    """Times at the stamp that they fall into, its end; as they are where `stamp` is 0."""
    return times if stamp == 0 else np.ceil(times / stamp - 1e-9) * stamp


@dataclass(slots=True)
class _Heard(Activity):
    """`heard`: by population, what its neurons hear: of those of each run, the spikes of their sources as these come
    through the neurons that delay them, and from run to run. `spikes` are as they were fired."""

    heard: dict[str, _Trains] = field(default_factory=dict)

    def readout(self, name: str, **wanted: Any) -> SweepResult:
        def heard(spikes: dict[str, Spikes]) -> SweepResult:
            taken = Activity(self.engine, self.values, spikes, self.batch, self.duration, self.state, self.results)
            return taken.readout(name, **wanted)

        (_, first), *others = {id(each[1]): each for each in self.heard[name]}.values()
        found = heard(first)
        for mask, spikes in others:
            result = heard(spikes)
            if mask is None:
                found = result
                continue
            mine = torch.stack([each for each, of in self.heard[name] if of is spikes and each is not None]).any(0)
            joined: dict[str, Any] = {part: torch.where(mine, getattr(result, part), getattr(found, part))
                                      for part in ("probes", "highest", "highest_times", "integral")
                                      if getattr(result, part) is not None}
            found = replace(found, **joined)
        return found


def _of_parts(parts: list[tuple[Array, SweepResult]], n: int) -> Spikes:
    """The spikes of a population whose neurons did in several runs what these results say."""
    if len(parts) == 1 or all(each is parts[0][1] for _, each in parts):
        return parts[0][1].spikes
    times, indices, samples = [], [], []
    for neurons, result in parts:
        mine = np.zeros(n, dtype=bool)
        mine[neurons] = True
        spikes = result.spikes
        kept = mine[spikes.indices.numpy()]
        times.append(spikes.times.numpy()[kept])
        indices.append(spikes.indices.numpy()[kept])
        samples.append(np.repeat(np.arange(len(spikes.offsets) - 1), np.diff(spikes.offsets.numpy()))[kept])
    counts = sum(np.bincount(each, minlength=len(parts[0][1].spikes.offsets) - 1) for each in samples)
    sample = np.concatenate(samples)
    order = np.argsort(sample, kind="stable")
    return as_spikes(_sorted(np.concatenate(times)[order], np.concatenate(indices)[order],
                             np.concatenate([[0], np.cumsum(counts)])))


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
