"""The meaning of a learning rule in the chip's numbers, step by step: plain numpy, the oracle of the emulator.

With `rounding="lava"`, number for number what Lava 0.10 computes for a LearningDense that is tagged
`bit_approximate_loihi` (LearningConnectionModelBitApproximate in lava/magma/core/model/py/connection.py,
LearningRuleApplierBitApprox in lava/magma/core/learning/learning_rule_applier.py). All is computed in 64 bits integers,
but for the decay of traces, in doubles as in Lava: exp(-1/tau) is not rounded.

In one step, which is one column of a raster, after the spikes of sources and targets of this column are known:

1. A spike of a neuron that has fired in this epoch already adds its impulse to the traces at once, as if it had come
   before the epoch; the instant of the last spike is kept. Three factors: y1 .. y3 are what the neurons say now.
2. At the end of an epoch, all its steps are gone through: each trace decays, rounded at random, and in the step of the
   last spike takes the impulse and is clipped to 0..127. A product that depends on x0 sees x1, x2 and y1 .. y3 just
   after the last spike of the source in this epoch, one that depends on y0 after that of the target, one of u at the
   end. Three factors: y1 .. y3 stay as they are, but for Lava, which lets them decay with tau 65535 within the epoch,
   and clips them to 0..127 where the target fires.
3. dw, dt and dd are sums of the same old w, t and d, in units of 1/128. Each factor with its offset is clipped to its
   bits, each product and each sum after it to -2^15-1 .. 2^15-1; weights and delays of one sign are cut at zero; then
   all are rounded at random, up or down, and clipped: w to its sign, t to -257..255, d to 0..255.

What a spike sends in this column is the weight before this column's learning, and arrives in the next one. Weights
are `held_weight` before the first column; what is learnt is not truncated: mixed weights become odd, and `weight_bits`
counts no more.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from ..nodes import Array
from .learning import (
    POST_TRACES,
    PRE_TRACES,
    TARGETS,
    WIDTHS,
    IntegerFactor,
    IntegerProduct,
    IntegerRule,
    IntegerTrace,
    shift_of,
)
from .learning_numbers import LavaNumbers, Numbers, OwnNumbers, Rounding, Side
from .network import Sign

__all__ = ["LearningState", "first_learning_state", "learning_step"]

FRACTION = 7
"""Bits of the accumulator below a weight, a tag or a delay."""
ACCUMULATOR = (-(1 << 15) - 1, (1 << 15) - 1)
OF_SIGN = {"mixed": (-256, 255), "excitatory": (0, 255), "inhibitory": (-255, 0)}
OF_TARGET = {"dt": (-257, 255), "dd": (0, 255)}
LARGEST_TRACE = 127
UNHURRIED = IntegerTrace(0, 65535)
"""What Lava does with the traces that a neuron says: Loihi3FLearningRule."""
ABSENT = IntegerTrace(0, 0)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class LearningState:
    """After `step` columns, int64: `weight`, `tag` and `delay` (post, pre), the traces `x` (2, n_pre) and `y`
    (3, n_post), and `tx` (n_pre,) and `ty` (n_post,), the steps 1 .. epoch of the last spikes in the epoch under way,
    0 where there is none."""

    weight: Array
    tag: Array
    delay: Array
    x: Array
    y: Array
    tx: Array
    ty: Array
    step: int = 0


def first_learning_state(weight: Array, tag: Array | None = None, delay: Array | None = None) -> LearningState:
    """Before the first column: `weight` (post, pre) as it is held; tags and delays, or zeros."""
    held = np.array(weight, dtype=np.int64)
    tag, delay = (np.zeros_like(held) if each is None else np.array(each, dtype=np.int64) for each in (tag, delay))
    n_post, n_pre = held.shape
    x, y, tx, ty = (np.zeros(shape, dtype=np.int64) for shape in ((2, n_pre), (3, n_post), n_pre, n_post))
    return LearningState(weight=held, tag=tag, delay=delay, x=x, y=y, tx=tx, ty=ty)


def learning_step(rule: IntegerRule, state: LearningState, pre: Array, post: Array, y: Array | None = None,
                  rounding: Rounding = "lava", *, sign: Sign = "mixed", projection: int = 0) -> LearningState:
    """One column of learning.

    Args:
        rule: a legal one (`rule_faults`).
        state: after the column before.
        pre: (n_pre,) what the sources send in this column: a spike where it is not zero, and its value if the rule is
            `graded`.
        post: (n_post,) the same of the targets, in the same column.
        y: (3, n_post) y1 .. y3 in this column, of a rule of three factors, 0..127.
        rounding: with Lava's random numbers, or with numbers of one's own for each synapse and neuron.
        sign: of the weights.
        projection: its number, which the latter depend on.
    """
    numbers: Numbers = LavaNumbers(rule.seed) if rounding == "lava" else OwnNumbers(rule.seed, projection)
    step = state.step + 1
    instant = (step - 1) % rule.epoch + 1
    x, tx = _spikes(state.x, state.tx, pre != 0, instant, _traces(rule, PRE_TRACES),
                    lambda shape: numbers.again("pre", step, shape))
    if rule.graded:
        x[0] = np.where(pre != 0, np.round(pre / 2).astype(np.int64) & 255, state.x[0])
    y_traces = _traces(rule, POST_TRACES)
    y_own, ty = _spikes(state.y, state.ty, post != 0, instant, y_traces,
                        lambda shape: numbers.again("post", step, shape))
    if rule.three_factor:
        y_own = np.array(y, dtype=np.int64)
    if instant < rule.epoch:
        return replace(state, x=x, y=y_own, tx=tx, ty=ty, step=step)
    x_then = _history(x, tx, _traces(rule, PRE_TRACES), rule.epoch, step, "pre", numbers)
    if rule.three_factor and rounding == "synapse":
        y_then = np.broadcast_to(y_own, (rule.epoch + 1, *y_own.shape))
    else:
        y_then = _history(y_own, ty, y_traces, rule.epoch, step, "post", numbers)
    known = _Known(rule=rule, state=state, x=x_then, y=y_then, tx=tx, ty=ty)
    after = {"dw": state.weight, "dt": state.tag, "dd": state.delay}
    for target in TARGETS:
        if rule.products(target):
            after[target] = _learnt(known, target, after[target], sign, numbers)
    return LearningState(
        weight=after["dw"], tag=after["dt"], delay=after["dd"], x=x_then[-1],
        y=y_own if rule.three_factor else y_then[-1], tx=np.zeros_like(tx), ty=np.zeros_like(ty), step=step)


def _traces(rule: IntegerRule, names: tuple[str, ...]) -> list[IntegerTrace]:
    if rule.three_factor and names is POST_TRACES:
        return [UNHURRIED] * len(names)
    return [rule.traces.get(name, ABSENT) for name in names]


def _spikes(traces: Array, last: Array, fired: Array, instant: int, kinds: list[IntegerTrace],
            numbers: Callable[[tuple[int, ...]], Array]) -> tuple[Array, Array]:
    """Traces and instants of the last spikes, after the spikes of a step."""
    raised = _raised(traces, kinds, numbers(traces.shape))
    return np.where((last > 0) & fired, raised, traces), np.where(fired, instant, last)


def _raised(traces: Array, kinds: list[IntegerTrace], numbers: Array) -> Array:
    """Traces after a spike."""
    impulse = np.array([[each.impulse] for each in kinds], dtype=np.float64)
    whole = np.floor(impulse)
    fraction = np.round((impulse - whole) * 256).astype(np.int64)
    return np.asarray(np.clip(traces + whole.astype(np.int64) + (numbers < fraction), 0, LARGEST_TRACE))


def _history(traces: Array, last: Array, kinds: list[IntegerTrace], epoch: int, step: int, side: Side,
             numbers: Numbers) -> Array:
    """(epoch + 1, traces, n): the traces before the epoch and after each of its steps."""
    tau = np.array([[each.tau] for each in kinds], dtype=np.float64)
    # One call for all traces: numpy may compute exp of a single number otherwise.
    kept = np.exp(np.divide(-1.0, tau, out=np.full_like(tau, -np.inf), where=tau != 0))
    found = [traces]
    for instant in range(1, epoch + 1):
        at = step - epoch + instant
        decayed = kept * found[-1]
        rest = decayed % 1
        whole = np.floor(decayed).astype(np.int64)
        now = whole + (numbers.decay(side, at, step, traces.shape) < rest)
        raised = _raised(now, kinds, numbers.impulse(side, at, step, traces.shape))
        found.append(np.where(last == instant, raised, now))
    return np.stack(found)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class _Known:
    """What the products of an epoch see: `x`, `y` (epoch + 1, traces, n) before it and after each of its steps."""

    rule: IntegerRule
    state: LearningState
    x: Array
    y: Array
    tx: Array
    ty: Array

    def dependency(self, name: str) -> Array:
        """1 where and when a product counts; broadcasts to (post, pre)."""
        if name == "u":
            epochs = (self.state.step + 1) // self.rule.epoch
            return np.asarray(epochs % (1 << self.rule.decimation) == 0).astype(np.int64)
        return (self.tx > 0)[None, :].astype(np.int64) if name == "x0" else (self.ty > 0)[:, None].astype(np.int64)

    def value(self, variable: str, dependency: str) -> Array:
        """Of a variable; broadcasts to (post, pre)."""
        if variable in ("x0", "y0"):
            return self.dependency(variable)
        if variable in ("w", "t", "d"):
            return {"w": self.state.weight, "t": self.state.tag, "d": self.state.delay}[variable]
        of_source = variable in PRE_TRACES
        trace: Array = (self.x if of_source else self.y)[:, int(variable[1]) - 1]
        at = self.ty if dependency == "y0" else self.tx
        if dependency == "u" or of_source == (dependency == "x0"):
            own: Array = trace[-1] if dependency == "u" else trace[at, np.arange(len(at))]
            return own[None, :] if of_source else own[:, None]
        return np.asarray(trace[at] if of_source else trace[at].T)


def _learnt(known: _Known, target: str, old: Array, sign: Sign, numbers: Numbers) -> Array:
    low, high = OF_SIGN[sign] if target == "dw" else OF_TARGET[target]
    sums: Array = old << FRACTION
    for product in known.rule.products(target):
        sums = np.clip(sums + np.clip(_product(known, product), *ACCUMULATOR), *ACCUMULATOR)
    if low == 0:
        sums = np.maximum(sums, 0)
    elif high == 0:
        sums = np.minimum(sums, 0)
    number = numbers.synapse(target, known.state.step + 1, known.rule.epoch, old.shape)
    rest = sums & ((1 << FRACTION) - 1)
    return np.asarray(np.clip((sums >> FRACTION) + (number < rest), low, high))


def _product(known: _Known, product: IntegerProduct) -> Array:
    value = known.dependency(product.dependency) * np.int64(product.mantissa)
    for factor in product.factors:
        value = value * _factor(factor, known.value(factor.variable, product.dependency))
    return np.asarray(value >> shift_of(product) << product.exponent + FRACTION)


def _factor(factor: IntegerFactor, value: Array) -> Array:
    found = value + factor.offset
    most = 1 << WIDTHS[factor.variable]
    return np.asarray(np.sign(found) if factor.sign else np.clip(found, -most, most - 1))
