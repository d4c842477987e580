"""The emulated chip as the plasticity processor's learner reads it: spikes, and membranes as its converter has them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ...ir.events import Events
from ...ir.nodes import Array
from ...runtime.analog.emulator import Emulator

__all__ = ["EmulatedReads"]


class EmulatedReads:
    """See `learner.Reads`. One run on an `Emulator` for each call."""

    def __init__(self, emulator: Emulator) -> None:
        self.emulator = emulator

    def __call__(self, codes: Mapping[str, Array], spikes: Mapping[str, Events], duration: float,
                 times: Array) -> tuple[Mapping[str, Events], Mapping[str, Array]]:
        chip, held = self.emulator.chip, self.emulator.held
        speed, rest, top = held.speed_up, chip["readout.leak"], chip["readout.threshold"]
        given = {name: _scaled(each, speed) for name, each in spikes.items()}
        activity, sent = self.emulator.run(codes, given, duration * speed)
        shown, reads = dict(sent), {}
        for name, each in self.emulator.network.populations.items():
            if each.spiking:
                shown[name] = self.emulator.stamped(activity.spikes[name], activity.duration)
                population = held.populations[name]
                leak = np.asarray(each.v_leak) - population.span * self.emulator.device.of("leak", population)
                volts = self.emulator.membrane(activity, name, np.minimum(np.asarray(times) * speed, activity.duration))
                reads[name] = np.rint(rest + (volts[0] - leak) / population.span * (top - rest)).astype(np.int64)
        return {name: _scaled(each, 1 / speed) for name, each in shown.items()}, reads


def _scaled(events: Events, factor: float) -> Events:
    return Events(np.asarray(events.times) * factor, np.asarray(events.indices), np.asarray(events.offsets))
