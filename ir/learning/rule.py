"""The learning rule: plasticity as a part of what a network is. This page is the whole of it.

A synapse of a plastic projection has a weight w and two tags, t and d, which start every sample at zero. A rule says
how they change, as sums of products of what is known where the synapse is:

    x0          1 where the source spikes now, else 0        x1, x2      traces of the source's spikes
    y0          1 where the target spikes now, else 0        y1, y2, y3  traces, gates or the membrane of the target
    e           the error dendrite of the target             r           the reward, one number for all, at the end
    w, t, d     the synapse itself                           numbers     `0.5`, `2^-7`, `3*2^-4`

When an update is applied: at every `step`, at a spike of the source (`pre`) or of the target (`post`), where an `error`
spike reaches the target's dendrite, or at the end of a `sample`. On a grid a `step` is a column; in continuous time the
products are integrated, per `LearningRule.interval`. At one instant traces come first, with the spikes of that
instant; then every update reads what was there before any of them, and all are applied at once. `x0` and `y0` are what
`pre` and `post` multiply by.

Samples pass through `phases`; what has no error (Hebb, STDP) has one phase. `ir/learning/checks.py` says what is legal,
`ir/learning/step.py` what it means on a grid, and `ir/learning/exact.py` in continuous time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = [
    "VARIABLES", "Error", "Factor", "Feedback", "Gate", "LearningRule", "Noise", "Phase", "Tau", "Term", "Trace",
    "Update", "When",
]

When = Literal["step", "pre", "post", "error", "sample"]
Tau = float | Literal["tau_mem", "tau_syn"] | None
"""Seconds; or the time constant of the target's neurons; None: no decay."""
VARIABLES = ("x0", "x1", "x2", "y0", "y1", "y2", "y3", "e", "r", "w", "t", "d")


@dataclass(frozen=True, slots=True)
class Trace:
    """A trace of spikes, named x1, x2 (of the source) or y1, y2, y3 (of the target): it decays with `tau` and takes
    `impulse` at a spike. `of`: another trace that it follows in the place of spikes: on a grid it takes
    `impulse` times that trace in every column. `phases`: those in which it takes spikes; () means all. It starts every
    sample at zero."""

    name: str
    tau: Tau
    impulse: float = 1.0
    of: str = "spikes"
    phases: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Gate:
    """y1, y2 or y3 as a function of the target's membrane V before its reset, with u = |V - centre|:
    `box`: height where u < width, else 0. `triangle`: height max(0, 1 - u / width). `fast_sigmoid`: height /
    (1 + u / width)^2. `membrane`: V itself. `centre` None: the threshold."""

    name: str
    shape: Literal["box", "triangle", "fast_sigmoid", "membrane"]
    width: float = 1.0
    centre: float | None = None
    height: float = 1.0


@dataclass(frozen=True, slots=True)
class Factor:
    """`variable + offset`, or the sign of a variable."""

    variable: str
    offset: float = 0.0
    sign: bool = False


@dataclass(frozen=True, slots=True)
class Term:
    """`coefficient` times the product of `factors`."""

    coefficient: float
    factors: tuple[Factor, ...]


@dataclass(frozen=True, slots=True)
class Update:
    """`variable` (w, t or d) takes the sum of `terms`, `when` it says. `phases`: those in which it happens; () means
    all but those with noise. `every` k: of steps, each 2^k-th column counted from the start of the sample."""

    variable: Literal["w", "t", "d"]
    when: When
    terms: tuple[Term, ...]
    phases: tuple[str, ...] = ()
    every: int = 0


@dataclass(frozen=True, slots=True)
class Error:
    """What the outputs have done wrong, err (n_out,), from `start` seconds of a phase that teaches.

    `code`: `softmax`: softmax of `slope` times the spikes counted so far - onehot of the label. `count`: (spikes
    counted so far - target) / steps, target `high` for the label's neuron and `low` for the others. `spike`: spikes of
    this step - those of a teacher, who fires for the label's neuron every `period` steps, from `start` on. `trace`: a
    trace of the outputs' spikes with `tau` - the trace of the teacher's. `local`: of each layer by itself: fixed random
    readout of a trace of its own spikes with `tau` - onehot. `reward`: none but r, 1 where the label's output has fired
    most and else 0, less its running mean.

    `spikes`: err drives two integrate-and-fire error interneurons an output, of threshold `threshold`, reset by
    subtraction, and their ternary spikes (+1, 0, -1) are what is fed back; else err itself is. `margin`: no error is
    fed back where |err| is not above it (error-triggered).
    `dendrite_tau`: None: the dendrite sums over the sample; 0.0: it holds what came last.
    """

    code: Literal["softmax", "count", "spike", "trace", "local", "reward"]
    spikes: bool = False
    threshold: float = 1.0
    start: float = 0.0
    margin: float = 0.0
    tau: float | None = None
    dendrite_tau: float | None = None
    period: int = 2
    high: float = 0.5
    low: float = 0.0
    slope: float = 1.0


@dataclass(frozen=True, slots=True)
class Feedback:
    """How the error reaches hidden layers. An output neuron's dendrite takes its own err; that of hidden layer l takes
    B_l err, B_l (n_l, n_out): `direct`, from the outputs to every layer; or B_l E_(l+1) at the end of a sample, E
    masked where the gate of the layer above stayed shut: `layered`.

    `kind`: `learned`: B starts random and changes by `updates`, in which the source is the output neuron (its
    spikes or, where a phase has noise, its counts) and the target the hidden one; `kolen_pollack`: it takes the
    transpose of its forward projection's update, and both decay by `decay` of themselves at a sample's end;
    `fixed`: random for ever; `transposed`: a copy of the transposed product of the forward weights at every update
    (a baseline, not local); `none`: hidden layers do not learn. `start`: of `learned`: from `random` or `transposed`.
    `scale`: standard deviation of a random start, times that of the transposed product.
    """

    kind: Literal["learned", "kolen_pollack", "fixed", "transposed", "none"] = "learned"
    path: Literal["direct", "layered"] = "direct"
    start: Literal["random", "transposed"] = "random"
    scale: float = 1.0
    decay: float = 0.0
    traces: tuple[Trace, ...] = ()
    updates: tuple[Update, ...] = ()


@dataclass(frozen=True, slots=True)
class Noise:
    """Spikes that drive a hidden layer in the place of its own: of each neuron, positive ones and negative ones, each
    in a column with probability p, one p for all, drawn from `low`..`high` anew each time. `held`: drawn once, and the
    same in every column of a sample, for layers that answer to nothing shorter. What is above runs as ever. In updates
    of the feedback, x1 is then the outputs' spike count, y1 the number of positive minus negative spikes."""

    low: float = 0.1
    high: float = 0.9
    held: bool = False


@dataclass(frozen=True, slots=True)
class Phase:
    """A part of every sample, or, with `every` n, of every n-th one, for `duration` seconds. `teach`: the error is
    computed. `inject`: a current of so much times its dendrite into each neuron. `noise`: instead of the sample's
    spikes: a sleep phase, layer after layer, from the last hidden one to the first. Without noise, phases see the same
    input spikes, and time goes on; states start at rest with each sample and each sleep."""

    name: str
    duration: float
    teach: bool = False
    inject: float = 0.0
    noise: Noise | None = None
    samples: int = 1
    every: int = 1


@dataclass(frozen=True, slots=True)
class LearningRule:
    """`name`; `source`: the paper and its equation. `variables`: what x1 .. y3 are; `updates`. `error` and `feedback`:
    None for what has no third factor. `phases` in order. `bounds`: what weights are clipped to after every update.
    `interval`: seconds that a `step` term counts as one step in continuous time. `units`: `model`: of the model graph's
    weights, membranes and seconds; `chip`: of the integers that a core holds (traces 0..127, weights in LSB,
    membranes in `threshold << 6`), columns for seconds. `average`: with several samples at once, updates are averaged
    (else summed). `bias`: biases learn too, as a synapse whose source's traces are those of a spike in every step.
    """

    name: str
    source: str
    updates: tuple[Update, ...]
    variables: tuple[Trace | Gate, ...] = ()
    error: Error | None = None
    feedback: Feedback | None = None
    phases: tuple[Phase, ...] = ()
    bounds: tuple[float, float] | None = None
    interval: float = 1e-3
    units: Literal["model", "chip"] = "model"
    average: bool = True
    bias: bool = False

    def __str__(self) -> str:
        from .text import to_text

        return to_text(self)
