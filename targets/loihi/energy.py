"""Energy and time by counts of operations: a model estimate, not measured.

A column costs its synaptic operations, an update of every neuron (an active one where the membrane changes, if the run
kept its membranes; else all are taken for active), a message for every spike to another core, and its hops over
routers of one chip. It takes as long as the core with most to do, at mean activity, whose operations follow each other,
and a barrier, which grows with the number of tiles in use. What a profile has no figure for is left out, and named.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ...ir.mapping import ChipMapping
from ...ir.nodes import Array
from .counts import Counts
from .energy_profile import EnergyProfile
from .flows import Flows

__all__ = ["LABEL", "EnergyEstimate", "estimate"]

LABEL = "model estimate, not measured"
_TILES = 32
"""Of a chip: for as many the profile's longest barrier is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EnergyEstimate:
    """Joules and seconds a column, by `profile`. `dynamic`: by part. `static`: None where the profile has
    no power, or no time. `columns`: of an inference; None where only rates are known. `left_out`: what the profile or
    the report does not know. `by_population`: dynamic energy of synapses onto, and of updates of, each population."""

    profile: EnergyProfile
    dynamic: Mapping[str, float]
    static: float | None
    seconds: float | None
    columns: int | None
    by_population: Mapping[str, float]
    left_out: tuple[str, ...]

    @property
    def joules(self) -> float:
        """Of a column, dynamic and, where it is known, static."""
        return sum(self.dynamic.values()) + (self.static or 0.0)

    @property
    def joules_per_inference(self) -> float | None:
        """None where only rates are known."""
        return None if self.columns is None else self.joules * self.columns

    @property
    def seconds_per_inference(self) -> float | None:
        """None where only rates are known, or the profile has no times."""
        return None if self.columns is None or self.seconds is None else self.seconds * self.columns

    @property
    def energy_delay(self) -> float | None:
        """Joule seconds of an inference."""
        joules, seconds = self.joules_per_inference, self.seconds_per_inference
        return None if joules is None or seconds is None else joules * seconds

    def as_dict(self) -> dict[str, Any]:
        """Plain values; powers under the names of Lava's profiler."""
        power = {} if not self.seconds else {
            "total_power": self.joules / self.seconds, "dynamic_power": sum(self.dynamic.values()) / self.seconds,
            "static_total_power": None if self.static is None else self.static / self.seconds}
        return {"label": LABEL, **asdict(self), "joules_per_step": self.joules, "avg_time_per_step": self.seconds,
                "joules_per_inference": self.joules_per_inference,
                "seconds_per_inference": self.seconds_per_inference, "energy_delay_product": self.energy_delay, **power}


def estimate(counts: Counts, profile: EnergyProfile, mapping: ChipMapping | None = None,
             flows: Flows | None = None) -> EnergyEstimate:
    """What counts cost by a profile; without a mapping neither messages, hops nor time are known."""
    left_out: list[str] = []

    def cost(kind: str, name: str) -> float:
        found = profile.value(kind, name)
        if found is None:
            left_out.append(f"{kind} of {name}")
        return found or 0.0

    columns = max(counts.steps, 1)
    synapse, active, inactive = (cost("energy", name) for name in _UPDATES)
    updates = {each.name: counts.activity.updates.get(each.name, np.full(each.neurons, float(columns))) / columns
               for each in counts.populations}
    arriving = {name: each / columns for name, each in counts.arriving.items()}
    by_population = {name: float(arriving[name].sum() * synapse + changed.sum() * active
                                 + (len(changed) - changed.sum()) * inactive) for name, changed in updates.items()}
    changed = sum(float(each.sum()) for each in updates.values())
    dynamic = {"synapses": counts.effective / columns * synapse,
               "neurons": changed * active + (counts.neurons - changed) * inactive}
    seconds = static = None
    if mapping is not None and flows is not None:
        dynamic["spikes"] = (flows.between + flows.inputs) * cost("energy", "spike")
        dynamic["hops"] = (flows.east_west * cost("energy", "hop_east_west")
                           + flows.north_south * cost("energy", "hop_north_south"))
        if flows.between_chips:
            left_out.append("spikes between chips")
        seconds = _seconds(profile, mapping, arriving, updates, left_out)
        power = profile.value("power", "static_per_chip"), profile.value("power", "static_per_core")
        if power == (None, None):
            left_out.append("static power")
        elif seconds is not None:
            static = seconds * ((power[0] or 0.0) * mapping.chips_used + (power[1] or 0.0) * len(mapping.cores))
    else:
        left_out.append("spikes and hops between cores, and time: there is no mapping")
    return EnergyEstimate(
        profile=profile, dynamic=dynamic, static=static, seconds=seconds,
        columns=counts.steps if counts.samples else None, by_population=by_population, left_out=tuple(left_out))


_UPDATES = ("synaptic_operation", "neuron_update_active", "neuron_update_inactive")


def _seconds(profile: EnergyProfile, mapping: ChipMapping, arriving: Mapping[str, Array],
             updates: Mapping[str, Array], left_out: list[str]) -> float | None:
    """Of a column; None where the profile has no time at all."""
    times = [profile.value("time", name) for name in _UPDATES]
    if None in times:
        left_out.append("time: the profile lacks one of its operations")
        return None
    synapse, active, inactive = (each or 0.0 for each in times)
    busy = [sum(float(arriving[name][kept].sum()) * synapse + float(updates[name][kept].sum()) * active
                + (len(kept) - float(updates[name][kept].sum())) * inactive for name, kept in core.parts.items())
            for core in mapping.cores]
    first, last = (profile.value("time", name) for name in ("barrier_one_tile", "barrier_all_tiles"))
    if first is None or last is None:
        left_out.append("time of the barrier")
        return max(busy, default=0.0)
    if mapping.chips_used > 1:
        left_out.append("time of the barrier between chips")
    tiles = len({(core.chip, core.x, core.y) for core in mapping.cores})
    return max(busy, default=0.0) + first + (last - first) * min(tiles - 1, _TILES - 1) / (_TILES - 1)
