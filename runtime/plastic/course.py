"""What goes into a run of a plastic network, listed by column and checked against the network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ...ir.diagnostics import Diagnostics
from ...ir.integer.inputs import check_rasters
from ...ir.integer.plastic import ASLEEP, CLEAR, LARGEST_REWARD, MIRROR, TEACH, UPDATE, PlasticNetwork
from ...ir.integer.plastic_signals import Signals, check_signals, said
from ...ir.nodes import Array
from .lists import SpikeList

__all__ = ["Course", "check_course", "course_of"]

CONTROLS = UPDATE | CLEAR | MIRROR | ASLEEP | TEACH


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Course:
    """So many `columns`: by input, its spikes; `control` and `reward` (columns,), as of `Signals`; by population, what
    teachers say and the noise. What is missing is silent."""

    columns: int
    inputs: Mapping[str, SpikeList] = field(default_factory=dict)
    control: Array | None = None
    reward: Array | None = None
    teacher: Mapping[str, SpikeList] = field(default_factory=dict)
    noise: Mapping[str, SpikeList] = field(default_factory=dict)

    def part(self, start: int, stop: int) -> Course:
        """The columns from `start` to `stop`."""
        listed = {key: {name: each.part(start, stop) for name, each in getattr(self, key).items()}
                  for key in ("inputs", "teacher", "noise")}
        return Course(columns=stop - start, control=None if self.control is None else self.control[start:stop],
                      reward=None if self.reward is None else self.reward[start:stop], **listed)


def course_of(plastic: PlasticNetwork, inputs: Mapping[str, Any], signals: Signals | None = None,
              steps: int | None = None) -> Course:
    """Lists of rasters (time, n), as `simulate_plastic` takes them.

    Raises:
        BadInputError: with every fault at once (SC403).
    """
    signals = Signals() if signals is None else signals
    given = {name: np.asarray(raster)[None] for name, raster in inputs.items()}
    longest = max([said(signals), *(each.shape[1] for each in given.values() if each.ndim > 1)])
    rasters, _, columns = check_rasters(plastic.network, given, longest if steps is None else steps)
    control, reward, told = check_signals(plastic, signals, columns)
    graded = {each.source for each in plastic.network.projections if each.message_bits}
    lists = {}
    for name, raster in rasters.items():
        values = np.zeros((columns, raster.shape[2]), dtype=np.int64)
        shown = raster[0, :columns]
        values[:len(shown)] = shown if name in graded else shown != 0
        lists[name] = SpikeList.of_raster(values)
    kinds = {name: neuron.error for name, neuron in plastic.neurons.items()}
    listed = {name: SpikeList.of_raster(each) for name, each in told.items()}
    return Course(columns=columns, inputs=lists, control=control, reward=reward,
                  teacher={name: each for name, each in listed.items() if kinds[name] == "teacher"},
                  noise={name: each for name, each in listed.items() if kinds[name] == "dendrite"})


def check_course(plastic: PlasticNetwork, course: Course, windows: Array) -> Course:
    """The same, with a list for each input and learning population.

    Raises:
        BadInputError: with every fault at once (SC403).
    """
    faults, network = Diagnostics(), plastic.network
    bits = {name: max((each.message_bits for each in network.projections if each.source == name), default=0)
            for name in network.inputs}
    kinds = {name: neuron.error for name, neuron in plastic.neurons.items()}
    wanted = {
        "inputs": {name: (1 - (1 << bits[name]), (1 << bits[name]) - 1) if bits[name] else (1, 1) for name in bits},
        "teacher": {name: (1, 1) for name in kinds if kinds[name] == "teacher"},
        "noise": {name: (-1, 1) for name in kinds if kinds[name] == "dendrite"}}
    silent = SpikeList(np.zeros(course.columns + 1, dtype=np.int64), np.zeros(0, dtype=np.int32))
    lists: dict[str, dict[str, SpikeList]] = {}
    for key, bounds in wanted.items():
        given: Mapping[str, SpikeList] = getattr(course, key)
        for name in sorted(set(given) - set(bounds)):
            faults.add("SC403", f"{key} are listed for what takes none", node=name, limit=", ".join(bounds) or "none")
        lists[key] = {name: _checked(key, name, given.get(name, silent), network.size(name), each, course, faults)
                      for name, each in bounds.items()}
    control = _column_numbers("control", course.control, course.columns, (0, CONTROLS), faults)
    most = LARGEST_REWARD if "reward" in kinds.values() else 0
    reward = _column_numbers("reward", course.reward, course.columns, (-most, most), faults)
    if windows.ndim != 2 or windows.shape[1] != 2 or windows.dtype.kind != "i" or (windows.size and (
            (np.diff(windows.reshape(-1)) < 0).any() or (windows[:, 0] == windows[:, 1]).any()
            or windows[0, 0] < 0 or windows[-1, 1] > course.columns)):
        faults.add("SC403", "windows are (start, stop) within the columns, one after the other, none of them empty",
                   value=windows.shape, limit=f"0..{course.columns}")
    faults.raise_if_errors()
    return Course(columns=course.columns, control=control, reward=reward, **lists)


def _column_numbers(key: str, given: Array | None, columns: int, bounds: tuple[int, int],
                    faults: Diagnostics) -> Array:
    numbers = np.zeros(columns, dtype=np.int64) if given is None else np.asarray(given)
    low, high = bounds
    if (numbers.shape != (columns,) or numbers.dtype.kind not in "iu"
            or (numbers.size and not low <= numbers.min() <= numbers.max() <= high)):
        faults.add("SC403", f"{key} is one whole number for each column", value=f"{numbers.dtype}{numbers.shape}",
                   limit=f"({columns},), each {low}..{high}")
        return np.zeros(columns, dtype=np.int64)
    return np.ascontiguousarray(numbers, dtype=np.int64)


def _checked(key: str, name: str, spikes: SpikeList, n: int, bounds: tuple[int, int], course: Course,
             faults: Diagnostics) -> SpikeList:
    begins, channels, values = spikes.begins, spikes.channels, spikes.values
    if (begins.shape != (course.columns + 1,) or begins.dtype != np.int64 or channels.dtype != np.int32
            or begins[0] != 0 or begins[-1] != len(channels) or (np.diff(begins) < 0).any()
            or (values is not None and (values.dtype != np.int32 or values.shape != channels.shape))):
        faults.add("SC403", f"a list of {key} is malformed", node=name, value=(begins.shape, len(channels)),
                   limit=f"int64 begins ({course.columns + 1},), int32 channels and values")
        return spikes
    if not len(channels):
        return spikes
    rises = np.diff(channels) > 0
    starts = begins[1:-1]
    rises[starts[(starts > 0) & (starts < len(channels))] - 1] = True
    if channels.min() < 0 or channels.max() >= n or not rises.all():
        faults.add("SC403", f"channels of {key} ascend within each column", node=name, limit=f"0..{n - 1}",
                   value=(int(channels.min()), int(channels.max())))
    low, high = bounds
    if values is not None and (values.min() < low or values.max() > high or not values.all()):
        faults.add("SC403", f"values of {key} are within their range, and none is zero", node=name,
                   limit=f"{low}..{high}", value=(int(values.min()), int(values.max())))
    return spikes
