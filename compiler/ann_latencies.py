"""A network whose activations are the times of single spikes, on the target event."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ..ir.activations import samples_of
from ..ir.diagnostics import BadInputError, Diagnostics
from ..ir.events import Events
from ..ir.facts import first_of
from ..ir.nodes import Array, is_spiking
from ..ir.shapes import infer_shapes
from ..passes.latency_plan import Window
from .ann_conversion import Conversion

__all__ = ["LatencyConversion"]

BATCH = 64


@dataclass(frozen=True, eq=False, kw_only=True)
class LatencyConversion(Conversion):
    """`windows`: by input, layer and output, when it speaks (`passes.latency_plan`), in units of the values, one of
    which is `unit` seconds. `duration`: seconds a sample takes. Every neuron spikes once."""

    target: ClassVar[str] = "event"
    code: ClassVar[str] = "latency"

    windows: Mapping[str, Window]
    unit: float
    duration: float

    def encode(self, data: Any | Mapping[str, Any]) -> dict[str, Events]:
        """Spikes by input node, those of the clocks included.

        Raises:
            BadInputError: malformed data (SC403), or values outside of the input's range (SC511).
        """
        given = samples_of(self.source, data)
        faults = Diagnostics()
        for name, values in given.items():
            low, high = self.windows[name].end - self.windows[name].last, self.windows[name].end
            slack = 1e-9 * (high - low)
            if not (legal := (values >= low - slack) & (values <= high)).all():
                faults.add("SC511", "a value is outside of the range of its input", node=name,
                           value=first_of(values, ~legal, "sample", "element"), limit=f"{low:g}..{high:g}",
                           remedy="Give convert_ann the range as input_range=.")
        faults.raise_if_errors(BadInputError)
        count = len(next(iter(given.values())))
        events = {name: _single(self.unit * (self.windows[name].end - values.reshape(count, -1)))
                  for name, values in given.items()}
        for name in self.graph.inputs:
            if name not in events:
                (drive,) = self.graph.targets[name]
                (layer,) = self.graph.targets[drive]
                window = self.windows[layer]
                times = self.unit * np.array([[window.start, window.end]])
                events[name] = _single(np.repeat(times, count, axis=0))
        return events

    def layers(self, data: Any | Mapping[str, Any]) -> tuple[dict[str, Array], dict[str, float]]:
        given = samples_of(self.source, data)
        count = len(next(iter(given.values())))
        parts = [self._layers({name: values[start:start + BATCH] for name, values in given.items()})
                 for start in range(0, count, BATCH)]
        said = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        return said, {name: 1.0 for name in said if is_spiking(self.graph.nodes[name])}

    def _layers(self, given: Mapping[str, Array]) -> dict[str, Array]:
        nodes, shapes = self.graph.nodes, infer_shapes(self.graph)[0]
        count = len(next(iter(given.values())))
        readouts = [name for name in self.graph.outputs if not is_spiking(nodes[self.graph.sources[name][0]])]
        result = self.program.run(
            self.encode(given), duration=self.duration,
            probes={f"{name}.v": [self.unit * self.windows[name].start] for name in readouts})
        said = {name: result.probes[f"{name}.v"].reshape(count, *shapes[name].output) for name in readouts}
        for name in [*nodes, *self.graph.outputs]:
            shown = self.graph.sources[name][0] if name in self.graph.outputs else name
            if is_spiking(nodes[shown]):
                said[name] = self._decoded(result.spikes[shown], self.windows[shown], count, shapes[shown].output)
        return said

    def _decoded(self, spikes: Events, window: Window, count: int, shape: tuple[int, ...]) -> Array:
        times = np.full((count, int(np.prod(shape))), np.nan)
        times[np.repeat(np.arange(count), np.diff(spikes.offsets)), spikes.indices] = spikes.times
        values: Array = np.maximum(window.end - times / self.unit, 0.0).reshape(count, *shape)
        return values


def _single(times: Array) -> Events:
    """One spike a channel, at (samples, channels)."""
    order = np.argsort(times, axis=1, kind="stable")
    offsets = np.arange(len(times) + 1, dtype=np.int64) * times.shape[1]
    return Events(np.take_along_axis(times, order, 1).reshape(-1), order.reshape(-1), offsets)
