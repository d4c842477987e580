"""The bias generator: how a core makes its currents, from six coarse ranges and 256 fine steps in each.

The currents are those that Rockpool 3.1.0 publishes of the generator (`devices/dynapse/lookup/paramgen.py`: 256 for
each of six ranges and two types of transistors; `scaling.py`: a factor for each bias). A range is a straight line but
for steps at every sixteenth fine value. What stands here is that line, fitted to the relative deviation for fine values
from 1 on, so a current is known to about 8 % from fine value 16 on (`tests/test_dynapse2_rockpool.py` measures it), and
fine values below 16 are taken only for currents that nothing else makes.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ...ir.nodes import Array

__all__ = ["BIASES", "COARSE", "FINE", "current_of", "nearest_bias", "reach"]

COARSE, FINE = 6, 256
_FIRST = 16
"""Fine values below are off the line by more."""
_LINES: Mapping[str, Array] = {
    "N": np.array([[2.799e-13, 3.146e-13], [2.260e-12, 6.673e-13], [1.806e-11, 5.072e-12], [1.442e-10, 5.205e-11],
                   [1.149e-09, 5.004e-10], [8.962e-09, 2.715e-09]]),
    "P": np.array([[2.613e-13, 2.363e-13], [2.113e-12, 5.499e-13], [1.697e-11, 4.385e-12], [1.362e-10, 4.573e-11],
                   [1.093e-09, 4.398e-10], [8.729e-09, 1.859e-09]]),
}
"""By type, of each range: amperes of a fine step, and at fine value 0."""

BIASES: Mapping[str, float] = {
    "SOIF_LEAK_N": 0.61, "SOIF_GAIN_N": 1.05, "SOIF_DC_P": 0.38, "SOIF_SPKTHR_P": 0.38, "SOIF_REFR_N": 1.05,
    "SYPD_EXT_N": 0.92, "SOAD_W_N": 0.92,
    "DEAM_ETAU_P": 0.2, "DEAM_EGAIN_P": 0.68, "DEGA_ITAU_P": 0.2, "DEGA_IGAIN_P": 0.68,
    "SYAM_W0_P": 0.22, "SYAM_W1_P": 0.22, "SYAM_W2_P": 0.22, "SYAM_W3_P": 0.22,
}
"""The biases that are set, by name, and what of the generator's current each gets. The last letter is the transistor's
type. Of the membrane: leak, gain, constant current, threshold, refractory period; how long a synapse is open; the
weight of the adaptation, which is not used; leak and gain of the synapses that excite and inhibit; the four currents
that weights are made of."""


def current_of(name: str, coarse: int, fine: int) -> float:
    """Amperes of a bias."""
    step, first = _LINES[name[-1]][coarse]
    return float(BIASES[name] * (first + step * fine))


def nearest_bias(name: str, current: float) -> tuple[int, int]:
    """Coarse and fine value of the nearest current, of fine values on the line where it can be had there."""
    lines = _LINES[name[-1]] * BIASES[name]
    fine = np.rint((current - lines[:, 1]) / lines[:, 0])
    if current >= lines[0, 1] + (_FIRST - 0.5) * lines[0, 0]:
        fine = np.clip(fine, _FIRST, FINE - 1)
    else:
        fine = np.clip(fine, 0, FINE - 1)
    coarse = int(np.abs(lines[:, 1] + lines[:, 0] * fine - current).argmin())
    return coarse, int(fine[coarse])


def reach(name: str) -> tuple[float, float]:
    """The least and the largest current of a bias."""
    return current_of(name, 0, 0), current_of(name, COARSE - 1, FINE - 1)
