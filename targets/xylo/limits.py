"""What each variant of Xylo has. Every number names where it is published; what xylosim computes with is in
`ir/integer/xylo.py`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from ...ir.chip import ChipLimit

__all__ = ["VARIANTS", "XyloChip"]

_SHEET = "rockpool.ai/devices/xylo-overview"
_SIMULATOR = "xylosim 0.1.3, src/v2/cpp/XyloIAFNeuron.h"


@dataclass(frozen=True, slots=True, kw_only=True)
class XyloChip:
    """`inputs`, `hidden`, `outputs`: channels and neurons. `synapse_states`: currents of a hidden neuron, of which one
    is used. `fan_out`: synapses of one hidden neuron or input channel; `mean_fan_out`: of all hidden neurons on the
    average, those that the chip has. Then bits of weights, of states and thresholds; events of an input channel, spikes
    of a hidden neuron and of an output neuron in one step; and the shifts of decays, 0 to `dash`."""

    name: str
    inputs: ChipLimit
    hidden: ChipLimit
    outputs: ChipLimit
    synapse_states: ChipLimit
    fan_out: ChipLimit
    mean_fan_out: ChipLimit
    weight_bits: ChipLimit
    state_bits: ChipLimit
    threshold_bits: ChipLimit
    input_events: ChipLimit
    hidden_spikes: ChipLimit
    output_spikes: ChipLimit
    dash: ChipLimit

    @property
    def synapses(self) -> int:
        """Of all hidden neurons together."""
        return self.mean_fan_out.value * self.hidden.value


def _sheet(value: int, unit: str) -> ChipLimit:
    return ChipLimit(value=value, unit=unit, source=_SHEET, verified=True)


def _simulated(value: int, unit: str) -> ChipLimit:
    return ChipLimit(value=value, unit=unit, source=_SIMULATOR, verified=True)


def _chip(name: str, hidden: int, outputs: int, states: int, fan_out: int, mean: int) -> XyloChip:
    return XyloChip(
        name=name, inputs=_sheet(16, "input channels"), hidden=_sheet(hidden, "hidden neurons"),
        outputs=_sheet(outputs, "output neurons"), synapse_states=_sheet(states, "currents of a hidden neuron"),
        fan_out=_sheet(fan_out, "synapses of one neuron or input"),
        mean_fan_out=_sheet(mean, "synapses of a hidden neuron, on the average"),
        weight_bits=_sheet(8, "bits"), state_bits=_sheet(16, "bits"), threshold_bits=_sheet(16, "bits"),
        input_events=_simulated(15, "events of a channel and step"),
        hidden_spikes=_simulated(31, "spikes of a hidden neuron and step"),
        output_spikes=_simulated(1, "spikes of an output neuron and step"),
        dash=_simulated(15, "bits that a decay shifts by"))


VARIANTS: Mapping[str, XyloChip] = MappingProxyType({
    "audio2": _chip("audio2", 1000, 8, 2, 64, 32),
    "audio3": _chip("audio3", 1000, 8, 2, 64, 32),
    "imu": _chip("imu", 496, 16, 1, 512, 64),
})
