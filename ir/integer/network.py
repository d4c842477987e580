"""The integer network: populations and projections in the numbers that a Loihi core holds.

What these mean, bit for bit, is what Lava 0.10 computes under `fixed_pt` (lava/proc/{lif,dense,sparse,conv}/models.py,
lava/utils/weightutils.py); `ir/integer/step.py` states it, `ir/integer/checks.py` says what is legal.

In column n of a raster, which is Lava's time step n + 1, with >> of magnitudes and all sums modulo 2^32:

    u = wrap(sign(u) (|u| (4095 - du) >> 12) + (a << 6))        a: what arrives; wrap: 2^24 off a u > 2^23,
    v = clip(sign(v) (|v| (4096 - dv) >> 12) + u + bias)        2^24 onto a u <= -2^23; clip: to +-(2^23 - 1)
    a spike where v > threshold << 6, and v = 0 there;          bias = mantissa << bias_exponent

Before the first column, u = u0 and v = v0, and nothing is under way. A spike, of an input or of a population, arrives
one column later, and `delay` columns more.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from math import prod
from types import MappingProxyType
from typing import Literal

import numpy as np

from ..nodes import Array, Pair

__all__ = [
    "LARGEST_MEMBRANE", "IntegerConnection", "IntegerConv", "IntegerDense", "IntegerNetwork", "IntegerPopulation",
    "IntegerProjection", "IntegerSparse", "Sign", "held_weight",
]

Sign = Literal["mixed", "excitatory", "inhibitory"]
LARGEST_MEMBRANE = 2**23 - 1
"""What v is clipped to, of either sign (lava/proc/lif/models.py, AbstractPyLifModelFixed)."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class IntegerPopulation:
    """`n` neurons. `du`, `dv` 0..4095: decays of current and membrane, of 4096; `threshold` 0..2^17-1: Lava's vth;
    `bias` (n,) -4096..4095 or None: its mantissa; `bias_exponent` 0..7. `u0`, `v0` (n,), as wide as the registers, or
    None for zeros: current and membrane before the first column."""

    name: str
    shape: tuple[int, ...]
    du: int
    dv: int
    threshold: int
    bias: Array | None = None
    bias_exponent: int = 0
    u0: Array | None = None
    v0: Array | None = None

    @property
    def n(self) -> int:
        return prod(self.shape)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class IntegerDense:
    """All to all: `weight` (post, pre)."""

    weight: Array


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class IntegerSparse:
    """CSR over target rows: row i holds `weight[indptr[i]:indptr[i+1]]` at source columns `indices[...]`, ascending."""

    indptr: Array
    indices: Array
    weight: Array


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class IntegerConv:
    """A stencil: cross-correlation (C_in, H, W) -> (C_out, H', W'), torch's meaning and layout, padding alike on both
    sides. `weight` (C_out, C_in/groups, KH, KW). What it sums is wrapped to 24 bits, modulo 2^24."""

    weight: Array
    input_shape: tuple[int, int, int]
    output_shape: tuple[int, int, int]
    stride: Pair = (1, 1)
    padding: Pair = (0, 0)
    dilation: Pair = (1, 1)
    groups: int = 1


IntegerConnection = IntegerDense | IntegerSparse | IntegerConv


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class IntegerProjection:
    """Synapses from `source` (an input or a population) to `target` (a population).

    What arrives is the sum of the weights as they are held (`held_weight`), then shifted by `exponent` -8..7: left, or
    right with the floor. Spikes of different delays are summed and shifted apart. A convolution has no delay, and no
    negative exponent: Lava's `Conv` ignores exponent, sign and bits, so it is given weights that are held and shifted.

    `weight_bits` 1..8; `delay` 0..63 in the layout of `connection.weight`, or None; `message_bits` 0: a spike is what
    is not zero; b in 1..24: weights are multiplied by the value of the spike, of magnitude below 2^b, which only an
    input may send.
    """

    name: str
    source: str
    target: str
    connection: IntegerConnection
    exponent: int = 0
    weight_bits: int = 8
    sign: Sign = "mixed"
    delay: Array | None = None
    message_bits: int = 0


@dataclass(frozen=True, eq=False, kw_only=True)
class IntegerNetwork:
    """`inputs`: shape by name. `outputs`: by name of an output, the population it shows. `dt`: seconds a column."""

    inputs: Mapping[str, tuple[int, ...]]
    populations: Mapping[str, IntegerPopulation]
    projections: tuple[IntegerProjection, ...]
    outputs: Mapping[str, str]
    dt: float

    def __post_init__(self) -> None:
        for name in ("inputs", "populations", "outputs"):
            object.__setattr__(self, name, MappingProxyType(dict(getattr(self, name))))

    @cached_property
    def incoming(self) -> Mapping[str, tuple[IntegerProjection, ...]]:
        """The projections onto each population, in order."""
        return {name: tuple(each for each in self.projections if each.target == name) for name in self.populations}

    def size(self, name: str) -> int:
        """Number of channels of an input, or of neurons of a population."""
        return prod(self.inputs[name]) if name in self.inputs else self.populations[name].n


def held_weight(projection: IntegerProjection) -> Array:
    """int32: the weights clipped to what their sign allows, without the low bits that are not kept: two's complement is
    rounded down, a magnitude towards zero."""
    weight = np.asarray(projection.connection.weight, dtype=np.int64)
    if projection.sign == "mixed":
        magnitude, lost = np.clip(weight, -256, 255), 9 - projection.weight_bits
    else:
        weight = -weight if projection.sign == "inhibitory" else weight
        magnitude, lost = np.clip(weight, 0, 255), 8 - projection.weight_bits
    held = magnitude >> lost << lost
    return (-held if projection.sign == "inhibitory" else held).astype(np.int32)
