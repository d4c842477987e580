"""The text of the kernel of graded synapses, and the arguments that it is given."""

from __future__ import annotations

import functools
from math import factorial

from scipy.integrate import RK45

from ...ir.dormand_prince import ERROR, NODES, STAGES
from ...ir.graded.gate import PEAK
from .. import jit

__all__ = ["FIELDS", "LANES", "attempts_of", "graded_source"]

LANES = 8
"""Samples side by side."""
_SCRATCH = 1 << 21
"""Bytes that a chunk of attempts is kept in while it is gone back through: what a core's cache holds."""
_TERMS = 12
"""Of the series of sine and cosine, whose error on (-pi / 2, pi / 2) is then below rounding."""

FIELDS: tuple[tuple[str, str, int], ...] = (
    *(("int64_t", name, 0) for name in ("n", "padded", "circles", "batch", "samples", "channels", "recurrent", "most",
                                        "capacity", "failed")),
    *(("double", name, 0) for name in ("dt", "tolerance")),
    *(("const double *", name, 0) for name in ("weight", "transposed", "tau", "tau_syn", "zone", "drive", "jumps",
                                               "arrivals", "to_currents")),
    ("const int64_t *", "offsets", 0), ("const int32_t *", "columns", 0),
    *(("double *", name, 0) for name in ("state", "time", "control", "lengths", "begins", "currents", "membranes",
                                         "passed_at", "adjoint", "to_drive", "to_weight", "to_tau", "to_syn", "to_zone",
                                         "to_jumps")),
    *(("int64_t *", name, 0) for name in ("next", "event", "since", "running", "counts", "faults")),
    *(("int32_t *", name, 0) for name in ("intervals", "landed", "struck", "passed")),
)


def attempts_of(neurons: int) -> int:
    """Attempts of a chunk: as many as the cache holds the stages of."""
    each = 8 * LANES * max(neurons, 1) * 5 * (len(STAGES) - 1)
    return min(max(_SCRATCH // each, 16), 256)


@functools.cache
def graded_source(attempts: int) -> str:
    """C text: `play` goes on with blocks of samples, `play_back` goes back through a chunk."""
    return jit.render(
        "graded.jinja", fields=jit.structure(FIELDS), lanes=LANES, stages=STAGES, nodes=NODES, errors=ERROR,
        dense=[list(map(float, row)) for row in RK45.P], gate=PEAK, attempts=attempts,
        sine=[(-1) ** k / factorial(2 * k + 1) for k in range(_TERMS)],
        cosine=[(-1) ** k / factorial(2 * k) for k in range(_TERMS)],
    )
