"""The plastic network: an integer network whose projections learn, in the numbers of Loihi's cores.

What a column (Lava's time step) does, in this order, every spike being a column on its way (`ir/integer/network.py`):

    1  what arrives at somas (a) and dendrites (b) is summed: the weights as they were when the spike was sent
    2  neurons: the soma as ever; of a learning neuron, with v taken before its reset, and signals of this column,

         h = gate_value where |v - (threshold << 6)| < gate_width << 6, else 0
         q = 0                                             E = E + b                           of `dendrite`
         acc = acc + spike - teacher in a column of `teach`; q = 1 where acc >= error_threshold, -1 where acc <= -it,
         else 0; acc = acc - q error_threshold             E = E + q                           of `teacher`
                                                           E = E + reward                      of `reward`
         N = N + count_step (noise of `dendrite`, spike of `teacher`) while asleep; clipped to +-127
         up = min(max(E, 0) >> shift << gain, 127), down = min(max(-E, 0) >> shift << gain, 127), E of 24 bits, wrapped
         R = R (4096 - trace_decay) >> 12, then, if the soma spikes, min(R + (trace_impulse << 6), 127 << 6)

       what it says of itself:  y0 = 1 in a column of `update` or `clear`, else 0 (`says_spikes`: its soma's spikes)
         to its forward synapses       y1 = h (`says_spikes`: MARK in a column of `update` or `clear`, else 0), y2 = up,
                                       y3 = down  (both 0 where the column is no `update`, but for `holds`)
                                       with a trace_impulse, y1 = R >> 6
           of `reward`                 y1 = h, or R >> 6; in a column of `update` or `clear` y3 = MARK and y2 = MARK
                                       + min(up, 63) - min(down, 63), the latter two in an `update` alone; else 0
         to its feedback synapses      y1 = 0, y2 = max(N, 0), y3 = max(-N, 0) in a column of `mirror`, else 0
         spikes: the soma's; while asleep those of `dendrite` are its noise: -1, 0, 1
         error spikes: q; in a column of `mirror` 2 N; both only of `teacher`
       after that, E = 0, acc = 0, R = 0 and N = 0 where the column is an `update`, a `clear` or, for N, a `mirror`;
       and E = 0 in every column of what `holds`: its error is that of one column
    3  learning: every plastic projection takes the spikes of its source and what its target says, in this column, and
       changes w, t and d by `ir/integer/learning_step.py`

The signals are inputs of the network, and reach learning neurons in the column in which they are given: `control` (one
number for all: a sum of `UPDATE`, `CLEAR`, `MIRROR`, `ASLEEP`, `TEACH`), `reward` (one for all: -63..63), by population
`teacher` (0, 1) and `noise` (-1, 0, 1). A plastic projection onto a dendrite takes error spikes, whole numbers with a
sign (`message_bits` 8): its x1 is then half of that in the place of an impulse (`IntegerRule.graded`): 2 N leaves N,
and +-1 leaves 0. A rule takes a reward, which has a sign, as (y2 - MARK) y3: MARK is a power of two, so the shift of a
product with it loses nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from .learning import IntegerRule
from .network import IntegerNetwork, IntegerProjection

__all__ = [
    "ASLEEP", "CLEAR", "LARGEST_REWARD", "MARK", "MIRROR", "TEACH", "UPDATE", "LearningNeuron", "PlasticNetwork",
]

UPDATE, CLEAR, MIRROR, ASLEEP, TEACH = 1, 2, 4, 8, 16
"""What a column is, as bits of the signal `control`."""
MARK, LARGEST_REWARD = 64, 63
"""What neurons say where a column is an update or a clear; what they say of a reward at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LearningNeuron:
    """What the neurons of a population have besides their somas. `error`: where it comes from: a `teacher`, their
    `dendrite`, or a `reward`, which is told to all alike. `gate_width` and `error_threshold` are at least 1;
    `gate_value` 1..127; `shift` 0..16, `gain` 0..7, `count_step` 1..64. `says_spikes`, `holds`: see above.
    `trace_impulse` 0..127: of the trace of their own spikes, that they say in the place of a gate; 0: they have none;
    `trace_decay` 0..4096."""

    error: Literal["teacher", "dendrite", "reward"]
    gate_width: int
    gate_value: int = 1
    shift: int = 0
    gain: int = 0
    count_step: int = 1
    error_threshold: int = 1
    says_spikes: bool = False
    holds: bool = False
    trace_impulse: int = 0
    trace_decay: int = 0


@dataclass(frozen=True, eq=False, kw_only=True)
class PlasticNetwork:
    """`network`: the populations, and the projections onto their somas, static or plastic. `feedback`: projections from
    populations with a teacher (their error spikes) onto dendrites. `rules`: by name of a dense projection of either
    kind, without delays; of three factors where the target learns, else of two; graded if it is feedback. `neurons`: by
    population. A projection in neither mapping stays as it is."""

    network: IntegerNetwork
    feedback: tuple[IntegerProjection, ...] = ()
    rules: Mapping[str, IntegerRule]
    neurons: Mapping[str, LearningNeuron]

    def __post_init__(self) -> None:
        for name in ("rules", "neurons"):
            object.__setattr__(self, name, MappingProxyType(dict(getattr(self, name))))
