"""What the plasticity processors of BrainScaleS-2 (HICANN-X v3) and the sensors that they read have, with sources."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from ...ir.chip import ChipLimit

__all__ = ["PPU", "RANGES"]

_HALCO = "halco (065e894), hicann-dls/vx/v3: ppu.h, synapse.h, cadc.h"
_HANDLES = "grenade (6ac13f3), vx/ppu: synapse_array_view_handle.h, neuron_view_handle.h"
_CALIX = "calix (e573081), calix/spiking/correlation.py"
_PONG = "brainscales2-demos (11e31d8), ts_07-pong"
_HOMEOSTASIS = "brainscales2-demos (11e31d8), ts_11-plasticity_homeostasis"


def _limit(value: int, unit: str, source: str, verified: bool = True) -> ChipLimit:
    return ChipLimit(value=value, unit=unit, source=source, verified=verified)


PPU: Mapping[str, ChipLimit] = MappingProxyType({
    "processors": _limit(2, "one for each half of the synapses", _HALCO),
    "memory": _limit(16 * 1024, "bytes a processor, for program and data", f"{_HALCO}: 4096 words of 32 bits"),
    "columns": _limit(256, "synapses of a row, all at once in the vector unit", _HALCO),
    "rows": _limit(256, "synapse rows of a half, two of them for a signed weight", _HALCO),
    "weight": _limit(63, "the largest weight, 6 bits", "brainscales2-demos (11e31d8), ts_13-network_partitioning"),
    "read": _limit(255, "the largest read of a sensor or a membrane, 8 bits", _HANDLES),
    "counter": _limit(255, "spikes that a counter of a neuron holds, 8 bits", _HANDLES),
    "calibration_bits": _limit(2, "bits a synapse for its amplitude, and as many for its time constant",
                               "haldls (838548a), SynapseQuad: AmpCalib, TimeCalib"),
    "mismatch": _limit(2, "within this factor of the median a synapse counts as calibrated",
                       "calix (e573081), tests/hw/py/test_correlation.py"),
    "baseline": _limit(120, "LSB, the least read of an empty sensor that calix accepts",
                       "calix (e573081), calix/spiking/correlation_measurement.py"),
    "tick": _limit(8, "ns of recorded times", "libnux (39d9647), vx/time.h: the clock of 125 MHz"),
    "clock": _limit(250, "MHz of a processor", _HALCO, verified=False),
    "period": _limit(10_000, "us between updates in the demonstration of homeostasis", _HOMEOSTASIS),
    "update": _limit(2500, "us that the demonstration of Pong schedules for an update of 100 rows", _PONG),
})
"""By name."""

RANGES: Mapping[str, tuple[float, float, str]] = MappingProxyType({
    "amplitude": (0.2, 2.0, f"{_CALIX}, calibrate: LSB of a pair at no distance"),
    "tau": (2e-6, 30e-6, f"{_CALIX}, calibrate: s on the chip"),
})
"""What calix calibrates the sensors to: least, most, source."""
