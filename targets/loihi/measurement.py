"""A program and its model on the same data: what each spikes, how often each is right, and what the chip does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ...ir.diagnostics import BadInputError, Diagnostic
from ...ir.integer.step import IntegerResult
from ...ir.network import Population
from ...ir.nodes import Array
from .calibrate import largest
from .counts import Activity

if TYPE_CHECKING:
    from ...runtime.outputs import Result
    from .program import LoihiProgram

__all__ = ["Drift", "Measurement", "measure"]

_BYTES = 1 << 27
"""Of membranes that are looked at at once."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Drift:
    """Of one population of the model: spikes of each neuron (n,) a sample, in the model and on the chip. `differing`:
    samples and neurons, as a share, of which the number of spikes differs."""

    name: str
    model: Array
    chip: Array
    differing: float

    @property
    def relative(self) -> float | None:
        """Of the number of spikes; None where the model has none."""
        total = float(self.model.sum())
        return None if not total else float(self.chip.sum()) / total - 1


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Measurement:
    """`columns`: of an inference on the chip, with those after the data until its last population has acted.
    `accuracy`: by output, share of right answers of the model and of the chip, where there are labels: the neuron with
    most spikes, of a readout that with the highest membrane. `peaks`: by population of the integer network, the largest
    magnitudes of u and v, in the numbers of the chip."""

    samples: int
    columns: int
    activity: Activity
    drifts: tuple[Drift, ...]
    accuracy: Mapping[str, tuple[float, float]]
    peaks: Mapping[str, tuple[float, float]]

    @property
    def rates(self) -> dict[str, Array]:
        """Spikes a column, (n,), by input and population of the integer network."""
        return {name: each / max(self.activity.steps, 1) for name, each in self.activity.spikes.items()}


def measure(program: LoihiProgram, data: Any, duration: float | None = None, labels: Any = None) -> Measurement:
    """Runs a program in the emulator, and its model by the clock engine, in float64.

    Args:
        data, duration: as of `LoihiProgram.run`.
        labels: one whole number a sample.

    Raises:
        BadInputError: as `LoihiProgram.run`, or labels that do not fit the data (SC506).
    """
    from ..clock.program import ClockProgram

    rasters, steps, batch = program.inputs.rasters(data, duration)
    truth = np.zeros(0, dtype=np.int64) if labels is None else _checked(labels, batch)
    network, populations = program.quantised.network, program.network.populations
    neurons = sum(map(network.size, (*network.inputs, *network.populations)))
    part = max(1, _BYTES // max(1, 8 * (steps + program.latency) * neurons))
    model = ClockProgram(program.graph)
    activities: list[Activity] = []
    peaks = dict.fromkeys(network.populations, (0.0, 0.0))
    sums = {name: np.zeros((2, each.n)) for name, each in populations.items() if each.spiking}
    differing = dict.fromkeys(sums, 0)
    right = {output: np.zeros(2) for output in program.network.outputs} if labels is not None else {}
    for first in range(0, max(batch, 1), part):
        given = {name: raster[first:first + part] for name, raster in rasters.items()}
        found = program.engine.run(given, steps + program.latency, states=tuple(network.populations))
        activities.append(Activity.of(network, given, found))
        peaks = {name: (max(u, largest(found.u[name])), max(v, largest(found.v[name])))
                 for name, (u, v) in peaks.items()}
        wanted = model.run({name: raster.astype(np.float64) for name, raster in given.items()})
        shown = {name: (_of_model(wanted, name, each), _of_chip(program, found, name, each.spiking, steps))
                 for name, each in populations.items()}
        for name, total in sums.items():
            floats, chip = shown[name]
            total += np.stack([floats.sum(axis=0), chip.sum(axis=0)])
            differing[name] += int(np.count_nonzero(floats != chip))
        for output, score in right.items():
            for side, answers in enumerate(shown[program.network.outputs[output]]):
                score[side] += np.count_nonzero(answers.argmax(axis=1) == truth[first:first + part])
    return Measurement(
        samples=batch, columns=steps + program.latency, activity=Activity.joined(activities),
        drifts=tuple(Drift(name=name, model=total[0] / max(batch, 1), chip=total[1] / max(batch, 1),
                           differing=differing[name] / max(1, batch * total.shape[1]))
                     for name, total in sums.items()),
        accuracy={output: (float(score[0]) / batch, float(score[1]) / batch)
                  for output, score in right.items() if batch}, peaks=peaks)


def _of_model(result: Result, name: str, population: Population) -> Array:
    """(batch, n): spikes, of a readout the highest membrane."""
    if not population.spiking:
        return np.asarray(result.voltage_max[name][0])
    events = result.spikes[name].numpy()
    counts = np.zeros((events.batch, population.n), dtype=np.int64)
    np.add.at(counts, (np.repeat(np.arange(events.batch), np.diff(events.offsets)), events.indices), 1)
    return counts


def _of_chip(program: LoihiProgram, found: IntegerResult, name: str, spiking: bool, steps: int) -> Array:
    """The same of the columns that are those of the model, in its units."""
    late = program.latency_of(name)
    kept, records = slice(late, late + steps), program.quantised.populations
    return program.split.whole(name, {
        part: found.spikes[part][:, kept].sum(axis=1, dtype=np.int64) if spiking
        else found.v[part][:, kept].max(axis=1) / records[part].scale + records[part].offset
        for part in program.split.parts.get(name, (name,))})


def _checked(labels: Any, batch: int) -> Array:
    array = np.asarray(labels)
    if array.shape != (batch,) or array.dtype.kind not in "iu":
        raise BadInputError(Diagnostic("SC506", "labels are one whole number a sample",
                                       value=f"{array.dtype} of shape {array.shape}", limit=f"({batch},)"))
    return array
