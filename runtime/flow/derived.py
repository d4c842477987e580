"""From the equations of a neuron to C: sympy derives flow, Jacobian, adjoint and jumps (`symbolic`), and
`kernels/equations.jinja` puts them into the one form that the kernels of flows call.

Linear equations are moved by the exponential of their matrix, summed to rounding. All others whose rates are analytic
wherever they are finite are moved by their power series in time (`series`), those with a root or a power that is not
whole by Runge-Kutta steps of order 8 (`dormand_prince`); the error of either is held at a tolerance. The adjoint is
that of the very steps that are taken, or, of power series, follows one against time. No text of the user's reaches C:
states are x[0], x[1], …, parameters p[0], p[1], …
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
from importlib import metadata
from pathlib import Path

from ...ir.flow.courses import LARGEST
from ...ir.flow.flow import Dynamics
from .. import jit
from .dormand_prince_8 import ERROR_3, ERROR_5, STAGES, WEIGHTS
from .faults import DIVERGED, GONE, STIFF

__all__ = ["MOST_STEPS", "NoNumberError", "fragment", "is_linear"]

MOST_STEPS = 1 << 17
"""Of one neuron between two events."""
STEPS_TOLERANCE = 1e-11
"""Error of a Runge-Kutta step, relative to the largest size of each state since the last event."""
SERIES_TOLERANCE = 1e-13
"""Likewise the last two terms of a power series."""
ORDER, LEAST_ORDER = 24, 8
"""The last power of a series, and the first at which one may end: a term may be zero by chance."""
TERMS = 20
"""Of the series of the exponential, over steps in which the matrix's norm is 1 at most: 1/20! is 4e-19."""


class NoNumberError(Exception):
    """Equations of which a part is no finite real number, whatever the states are, as 1/(v - v)."""


@functools.lru_cache(maxsize=64)
def fragment(dynamics: Dynamics) -> str:
    """The C text of a dynamics of the name "equations": the functions that the kernels of flows call, and their
    adjoints."""
    blocks = _blocks(dynamics)
    method = "series" if blocks["series"] else "linear" if blocks["law"] else "steps"
    return jit.render(
        "equations.jinja", states=len(dynamics.states), parameters=len(dynamics.parameters),
        readout=dynamics.level is None, method=method,
        held=[int(name in dynamics.held) for name in dynamics.states], blocks=blocks,
        series=json.loads(blocks["series"] or "{}"), order=ORDER, least_order=LEAST_ORDER,
        stages=[sorted(row.items()) for row in STAGES], weights=sorted(WEIGHTS.items()),
        errors=[sorted(ERROR_3.items()), sorted(ERROR_5.items())], most_steps=MOST_STEPS,
        tolerance=SERIES_TOLERANCE if method == "series" else STEPS_TOLERANCE,
        terms=TERMS, limit=LARGEST, diverged=DIVERGED, stiff=STIFF, gone=GONE)


def is_linear(dynamics: Dynamics) -> bool:
    """Whether all rates are linear in the states, with coefficients that are the neuron's own."""
    blocks = _blocks(dynamics)
    return bool(blocks["law"]) and not blocks["series"]


@functools.lru_cache(maxsize=64)
def _blocks(dynamics: Dynamics) -> dict[str, str]:
    """The statements that sympy derives, from the cache of kernels or anew: importing it and deriving take a second."""
    code = b"\0".join((Path(__file__).parent / name).read_bytes() for name in ("series.py", "symbolic.py"))
    told = "\0".join([hashlib.sha256(code).hexdigest(), metadata.version("sympy"), repr(dynamics)])
    folder, name = jit.cache_folder(), f"{hashlib.sha256(told.encode()).hexdigest()}.json"
    if (kept := jit.stored(folder, name)) is not None:
        with contextlib.suppress(OSError):
            found: dict[str, str] = json.loads(kept.read_text())
            return found
    from .symbolic import derive

    blocks = derive(dynamics)
    jit.store(folder, name, json.dumps(blocks).encode())
    return blocks
