"""The plastic network: an integer network whose projections learn, in the numbers of Loihi's cores.

What a column (Lava's time step) does, in this order, with every spike a column on its way, as in `ir/integer.py`:

    1  what arrives at somas (a) and dendrites (b) is summed: the weights as they were when the spike was sent
    2  neurons: the soma as ever; of a learning neuron, with v taken before its reset, and signals of this column,

         h = gate_value where |v - (threshold << 6)| < gate_width << 6, else 0
         q = 0                                             E = E + b                           of `dendrite`
         acc = acc + spike - teacher in a column of `teach`; q = 1 where acc >= error_threshold, -1 where acc <= -it,
         else 0; acc = acc - q error_threshold             E = E + q                           of `teacher`
         N = N + count_step (noise of `dendrite`, spike of `teacher`) while asleep; clipped to +-127
         up = min(max(E, 0) >> shift << gain, 127), down = min(max(-E, 0) >> shift << gain, 127), E of 24 bits, wrapped

       what it says of itself:  y0 = 1 in a column of `update` or `clear`, else 0 (`says_spikes`: its soma's spikes)
         to its forward synapses       y1 = h (`says_spikes`: 1 in a column of `update` or `clear`, else 0), y2 = up,
                                       y3 = down  (both 0 where the column is no `update`, but for `holds`)
         to its feedback synapses      y1 = 0, y2 = max(N, 0), y3 = max(-N, 0) in a column of `mirror`, else 0
         spikes: the soma's; while asleep those of `dendrite` are its noise: -1, 0, 1
         error spikes: q; in a column of `mirror` 2 N; both only of `teacher`
       after that, E = 0, acc = 0 and N = 0 where the column is an `update`, a `clear` or, for N, a `mirror`; and E = 0
       in every column of what `holds`: its error is that of one column
    3  learning: every plastic projection takes the spikes of its source and what its target says, in this column, and
       changes w, t and d by `ir/integer_learning_step.py`

The signals are inputs of the network, and reach learning neurons in the column in which they are given: `control` (one
number for all: a sum of `UPDATE`, `CLEAR`, `MIRROR`, `ASLEEP`, `TEACH`), by population `teacher` (0, 1) and `noise`
(-1, 0, 1). A plastic projection onto a dendrite takes error spikes, whole numbers with a sign (`message_bits` 8): its
x1 is then half of that in the place of an impulse (`IntegerRule.graded`): 2 N leaves N, and +-1 leaves 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from .integer import IntegerNetwork, IntegerProjection
from .integer_learning import IntegerRule

__all__ = ["ASLEEP", "CLEAR", "MIRROR", "TEACH", "UPDATE", "LearningNeuron", "PlasticNetwork"]

UPDATE, CLEAR, MIRROR, ASLEEP, TEACH = 1, 2, 4, 8, 16
"""What a column is, as bits of the signal `control`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LearningNeuron:
    """What the neurons of a population have besides their somas. `error`: where it comes from: a `teacher`, or their
    `dendrite`. `gate_width` and `error_threshold` are at least 1; `gate_value` 1..127; `shift` 0..16, `gain` 0..7,
    `count_step` 1..64. `says_spikes`, `holds`: see above."""

    error: Literal["teacher", "dendrite"]
    gate_width: int
    gate_value: int = 1
    shift: int = 0
    gain: int = 0
    count_step: int = 1
    error_threshold: int = 1
    says_spikes: bool = False
    holds: bool = False


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
