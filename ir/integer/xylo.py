"""The integer network of SynSense's Xylo: hidden neurons and outputs in the numbers that the chip holds.

What it means, bit for bit, is what xylosim 0.1.3 computes (its `v2` core: XyloIAFNeuron.cpp, XyloLayer.cpp);
`ir/integer/xylo_step.py` states it. In every column, with n the input events of the column (15 of a channel at most), s
the spikes of the hidden neurons in the column before, and dec(x, k) = x - (x >> k), where a decay of zero becomes one
towards zero:

    I = dec(I + n W_in 2^shift_in + s W_rec 2^shift_rec, dash_syn)   each source's sum clipped to 16 bits, in order
    V = clip(V + clip(clip(dec(V, dash_mem) - V + I) + bias))        to 16 bits
    s = the times that the threshold fits into V, 31 at most (1 of an output neuron); V = V - s threshold

An output neuron takes spikes of hidden neurons only, those of the column before. A hidden neuron may have an alias:
another one that fires whatever it fires, too. Xylo has a second synaptic current for each hidden neuron, which is not
used here: no neuron of a model has two.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from types import MappingProxyType
from typing import Any

import numpy as np

from ..diagnostics import BadInputError, Diagnostics
from ..nodes import Array

__all__ = [
    "LARGEST_STATE", "MOST_DASH", "MOST_EVENTS", "MOST_OUT_SPIKES", "MOST_SHIFT", "MOST_SPIKES", "SMALLEST_STATE",
    "XyloNetwork", "XyloNeurons", "check_xylo", "verify_xylo",
]

SMALLEST_STATE, LARGEST_STATE = -(2**15), 2**15 - 1
"""What currents and membranes are clipped to (XyloIAFNeuron.h, BITS_STATE)."""
MOST_EVENTS, MOST_SPIKES, MOST_OUT_SPIKES = 15, 31, 1
"""Of an input channel, a hidden and an output neuron in one column (XyloIAFNeuron.h, MAX_NUM_...)."""
MOST_DASH = 15
"""A decay has 4 bits (XyloIAFNeuron.h)."""
MOST_SHIFT = 8
"""By which a weight of 8 bits stays within 16."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class XyloNeurons:
    """`n` neurons, every array (n,): `dash_mem` 0..15 and `dash_syn` 0..15, shifts by which membrane and current decay;
    `threshold` 1..32767; `bias` of 16 bits, which every column adds to the membrane."""

    dash_mem: Array
    dash_syn: Array
    threshold: Array
    bias: Array

    @property
    def n(self) -> int:
        return len(self.threshold)


@dataclass(frozen=True, eq=False, kw_only=True)
class XyloNetwork:
    """`w_in` (inputs, hidden), `w_rec` (hidden, hidden), `w_out` (hidden, outputs): rows are sources, -128..127; a zero
    is no synapse. `shift_...` 0..8: bits by which the weights of a matrix are shifted to the left. `alias` (hidden,):
    the number of a neuron's alias, -1 for none; None: there are none. `dt`: seconds a column."""

    w_in: Array
    w_rec: Array
    w_out: Array
    hidden: XyloNeurons
    outputs: XyloNeurons
    shift_in: int = 0
    shift_rec: int = 0
    shift_out: int = 0
    alias: Array | None = None
    dt: float = 1e-3

    @property
    def n_in(self) -> int:
        return len(self.w_in)

    @property
    def fan_out(self) -> Array:
        """(hidden,): synapses of each hidden neuron, onto hidden and output neurons."""
        counts: Array = (self.w_rec != 0).sum(1) + (self.w_out != 0).sum(1)
        return counts

    @property
    def shifted(self) -> Mapping[str, Array]:
        """The matrices by name, int32, as they arrive."""
        return MappingProxyType({name: np.asarray(getattr(self, name), dtype=np.int32) << getattr(self, shift)
                                 for name, shift in (("w_in", "shift_in"), ("w_rec", "shift_rec"),
                                                     ("w_out", "shift_out"))})


def verify_xylo(network: XyloNetwork) -> XyloNetwork:
    """The network itself.

    Raises:
        BadInputError: it is malformed, with every fault (SC140, SC348).
    """
    faults = Diagnostics()
    check_xylo(network, faults)
    faults.raise_if_errors(BadInputError)
    return network


def check_xylo(network: XyloNetwork, faults: Diagnostics) -> None:
    """Adds a diagnostic for every array of the wrong form (SC348), and for every number that its field does not hold
    (SC140)."""
    n, n_out = network.hidden.n, network.outputs.n
    forms = {"w_in": (network.n_in, n), "w_rec": (n, n), "w_out": (n, n_out)}
    arrays: dict[str, tuple[Any, tuple[int, ...], int, int]] = {
        name: (getattr(network, name), form, -128, 127) for name, form in forms.items()}
    for block, neurons, size in (("hidden", network.hidden, n), ("outputs", network.outputs, n_out)):
        limits = {"dash_mem": (0, MOST_DASH), "dash_syn": (0, MOST_DASH), "threshold": (1, LARGEST_STATE),
                  "bias": (SMALLEST_STATE, LARGEST_STATE)}
        arrays |= {f"{block}.{entry.name}": (getattr(neurons, entry.name), (size,), *limits[entry.name])
                   for entry in fields(XyloNeurons)}
    if network.alias is not None:
        arrays["alias"] = network.alias, (n,), -1, n - 1
    for name, (values, form, least, most) in arrays.items():
        _check_array(name, values, form, least, most, faults)
    for name in ("shift_in", "shift_rec", "shift_out"):
        shift = getattr(network, name)
        if not (isinstance(shift, int | np.integer) and 0 <= shift <= MOST_SHIFT):
            faults.add("SC140", "a shift of weights is a small whole number", node=name, value=repr(shift),
                       limit=f"0..{MOST_SHIFT}")
    if not network.dt > 0:
        faults.add("SC140", "dt is a time", node="dt", value=repr(network.dt), limit="> 0 s")
    alias = network.alias
    if isinstance(alias, np.ndarray) and alias.shape == (n,) and (alias == np.arange(n)).any():
        faults.add("SC348", "a neuron is no alias of itself", node="alias", value=int(np.argmax(alias == np.arange(n))))


def _check_array(name: str, values: object, form: tuple[int, ...], least: int, most: int, faults: Diagnostics) -> None:
    if not isinstance(values, np.ndarray) or values.dtype.kind not in "iu" or values.shape != form:
        met = f"{values.dtype} {values.shape}" if isinstance(values, np.ndarray) else type(values).__name__
        faults.add("SC348", "an array of a network for Xylo is of another form", node=name, value=met,
                   limit=f"whole numbers {form}")
    elif values.size and (int(values.min()) < least or int(values.max()) > most):
        low, high = int(values.min()), int(values.max())
        faults.add("SC140", "a number does not fit the field of the chip that holds it", node=name,
                   value=low if low < least else high, limit=f"{least}..{most}")
