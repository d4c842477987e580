"""What an analog chip is, in numbers: how many circuits, what they can be set to, how they differ from each other.
Every number names its source, and what it rests on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

__all__ = ["BASES", "AnalogChip", "Basis", "Figure", "Span", "Spread"]

Basis = Literal["code", "run", "web", "paper", "assumed", "given"]
"""What a number rests on: the code of the chip's own software, a run of it, a web page, a paper, nothing but a guess
that stands for what is not published, or what the user gave."""
BASES: tuple[str, ...] = get_args(Basis)


@dataclass(frozen=True, slots=True)
class Figure:
    """One number of a chip."""

    value: float
    unit: str
    source: str
    basis: Basis


@dataclass(frozen=True, slots=True)
class Span:
    """What something can be set to, both ends included."""

    low: float
    high: float
    unit: str
    source: str
    basis: Basis


@dataclass(frozen=True, slots=True)
class Spread:
    """How a quantity differs from circuit to circuit of one chip, by a fixed pattern, as fractions of its nominal value
    (of potentials: of the distance from rest to threshold).

    `before`: standard deviation where nothing is calibrated. `left`: the fraction of that which a calibration may leave
    at most, by the vendor's own tests. `mean`, `std`: what was published of calibrated chips.
    """

    before: Figure
    left: Figure
    mean: Figure
    std: Figure


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AnalogChip:
    """A chip whose neurons are circuits: `tau_mem dV/dt = (leak - V) + I`, `tau_syn dI/dt = -I`.

    Args:
        name, title: as users write it, and in reports.
        figures: by dotted name, as `targets/analog/description.py` lists them: `neurons.circuits` (on the chip),
            `neurons.fan_in` (signed inputs of one circuit), `neurons.merged` (circuits that can be one neuron),
            `weights.levels` (magnitudes above zero), `weights.full_scale` (what the largest weight adds to the synaptic
            current, in distances from rest to threshold), `time.speed_up` (model time over chip time), `time.stamp`
            (seconds; resolution of spike times), `time.inputs_a_stamp`, `readout.*`, `calibration.*`, `noise.*`.
        spans: `tau_mem`, `tau_syn`, `refractory` in seconds on the chip; `potential` in steps of the readout; `delay`,
            in time constants of the synapse, of the neurons that stand for delays; `dac`, potentials of the lowest and
            the highest code, absent for the converter's range; `gain`, over the nominal one, to which a bias can bring
            a circuit's synapses; absent where there are none.
        spreads: by quantity: `threshold`, `leak`, `reset`, `tau_mem`, `tau_syn`, `gain` (of one circuit's synapses
            together), `weight` (of each synapse).
    """

    name: str
    title: str
    note: str
    figures: Mapping[str, Figure]
    spans: Mapping[str, Span]
    spreads: Mapping[str, Spread]

    def __getitem__(self, name: str) -> float:
        """The value of a figure."""
        return self.figures[name].value

    @property
    def levels(self) -> int:
        return int(self["weights.levels"])

    @property
    def circuits(self) -> int:
        return int(self["neurons.circuits"])

    @property
    def fan_in(self) -> int:
        return int(self["neurons.fan_in"])
