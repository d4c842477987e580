"""A network whose activations are rates, on the target clock."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import TYPE_CHECKING, Any, ClassVar, Literal, cast

import numpy as np

from ..ir.activations import samples_of
from ..ir.diagnostics import BadInputError, Diagnostics
from ..ir.facts import first_of
from ..ir.nodes import Array, is_spiking
from ..ir.shapes import infer_shapes
from .ann_conversion import Conversion

if TYPE_CHECKING:
    from ..runtime.clock.module import ClockModule
    from ..runtime.clock.outputs import ClockOutputs

__all__ = ["Encoding", "RateConversion"]

Encoding = Literal["current", "regular", "poisson"]
ROOM = 1 << 25
"""Values of the widest node over all steps that one batch may come to."""


@dataclass(frozen=True, eq=False, kw_only=True)
class RateConversion(Conversion):
    """`steps` a sample. `encoding` of the input: its values as a constant `current`, or spikes at a rate of value /
    scale a step, evenly spaced (`regular`) or drawn (`poisson`; from `seed` and the number of the sample)."""

    target: ClassVar[str] = "clock"
    code: ClassVar[str] = "rate"

    steps: int
    encoding: Encoding = "current"
    seed: int = 0

    def encode(self, data: Any | Mapping[str, Any], first_sample: int = 0) -> dict[str, Array]:
        """Rasters (samples, steps, *shape) by input node. `first_sample`: the number of the first, for random spikes.

        Raises:
            BadInputError: malformed data (SC403), or values outside of 0 to the input's scale (SC511).
        """
        given = samples_of(self.source, data)
        if self.encoding == "current":
            return {name: np.repeat(values.astype(np.float32)[:, None], self.steps, axis=1)
                    for name, values in given.items()}
        faults = Diagnostics()
        for name, values in given.items():
            top = float(self.scales[name])
            if not (legal := (values >= 0) & (values <= top)).all():
                faults.add("SC511", "a value to be encoded as a rate is negative, or above the scale of its input",
                           node=name, value=first_of(values, ~legal, "sample", "element"), limit=f"0..{top:g}",
                           remedy="Give convert_ann the range as input_range=, or take encoding='current'.")
        faults.raise_if_errors(BadInputError)
        encoder = self._regular if self.encoding == "regular" else self._poisson
        return {name: encoder(values / self.scales[name], first_sample, number)
                for number, (name, values) in enumerate(given.items())}

    def layers(self, data: Any | Mapping[str, Any]) -> tuple[dict[str, Array], dict[str, float]]:
        nodes, shapes = self.graph.nodes, infer_shapes(self.graph)[0]
        layers = [name for name, node in nodes.items() if is_spiking(node)]
        counts: dict[str, list[Array]] = {name: [] for name in layers}
        said: dict[str, list[Array]] = {name: [] for name in self.source.outputs}
        for out in self._batches(data):
            for name in layers:
                count = out.spike_count(name).double().numpy()
                counts[name].append(count.reshape(-1, *shapes[name].output))
            for name in said:
                said[name].append(self._over_time(out, name)[:, -1])
        found = {name: np.concatenate(each) for name, each in counts.items()}
        rates = {name: float(count.mean()) for name, count in found.items()}
        decoded = {name: count / self.steps * self.scales[name] for name, count in found.items()}
        return {**decoded, **{name: np.concatenate(each) for name, each in said.items()}}, rates

    def over_time(self, data: Any | Mapping[str, Any]) -> dict[str, Array]:
        """What the outputs say after 1, 2, … steps: (samples, steps, *shape) in units of the source, from one run."""
        said: dict[str, list[Array]] = {name: [] for name in self.source.outputs}
        for out in self._batches(data):
            for name in said:
                said[name].append(self._over_time(out, name))
        return {name: np.concatenate(each) for name, each in said.items()}

    @cached_property
    def _module(self) -> ClockModule:
        return cast("ClockModule", self.program.module())

    def _batches(self, data: Any | Mapping[str, Any]) -> Iterator[ClockOutputs]:
        import torch

        given = samples_of(self.source, data)
        count = len(next(iter(given.values())))
        widest = max(prod(each.output) for each in infer_shapes(self.graph)[0].values())
        size = max(1, ROOM // (widest * self.steps))
        for start in range(0, count, size):
            part = {name: values[start:start + size] for name, values in given.items()}
            with torch.no_grad():
                yield self._module(self.encode(part, start))

    def _over_time(self, out: ClockOutputs, name: str) -> Array:
        """(samples, steps, *shape) of one output."""
        (shown,) = self.graph.sources[name]
        shape = infer_shapes(self.graph)[0][name].output
        steps = np.arange(1, self.steps + 1)[:, None]
        spiking = is_spiking(self.graph.nodes[shown])
        total = out.spikes(name).double().numpy().cumsum(axis=1) if spiking else out.voltage(name).double().numpy()
        values: Array = (total / steps).reshape(*total.shape[:2], *shape)
        return values * self.scales[shown] if spiking else values

    def _regular(self, rates: Array, first_sample: int, number: int) -> Array:
        """Spike k of a rate r comes in the step in which r t passes k - 1/2."""
        ends = rates[:, None] * np.arange(self.steps + 1).reshape(-1, *(1,) * (rates.ndim - 1))
        raster: Array = np.diff(np.floor(ends + 0.5), axis=1).astype(np.float32)
        return raster

    def _poisson(self, rates: Array, first_sample: int, number: int) -> Array:
        """In every step a spike with the probability of the rate: Poisson's on a grid, one a step at most."""
        raster = np.empty((len(rates), self.steps, *rates.shape[1:]), dtype=np.float32)
        for sample, rate in enumerate(rates):
            key = np.array([self.seed, first_sample + sample], dtype=np.uint64)
            draw = np.random.Generator(np.random.Philox(key=key, counter=[0, 0, 0, number]))
            raster[sample] = draw.random((self.steps, *rate.shape)) < rate
        return raster
