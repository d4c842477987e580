"""What the host tells the plasticity processor of a sample: how wrong the outputs were, from their spikes alone."""

from __future__ import annotations

from math import ceil
from typing import NamedTuple

import numpy as np

from ...ir.learning.errors import Errors
from ...ir.learning.layout import LearningLayout
from ...ir.learning.rule import LearningRule
from ...ir.nodes import Array

__all__ = ["ThirdFactor", "summed_error", "wanted_spikes"]


class ThirdFactor(NamedTuple):
    """`summed` (n_out,): what an output's dendrite holds at the end of a sample; `size`: the mean of |err|."""

    summed: Array
    size: float


def summed_error(rule: LearningRule, times: Array, neurons: Array, label: int, n_out: int) -> ThirdFactor:
    """The error of the rule's one phase, column by column of `rule.interval`, as a grid has it
    (`ir/learning/errors.py`). `times`, `neurons`: the outputs' spikes, seconds of the model. A spike is in the column
    that ends with it, or next."""
    if rule.error is None:
        return ThirdFactor(np.zeros(n_out), 0.0)
    (phase,) = (each for each in rule.phases if each.noise is None)
    columns = max(1, round(phase.duration / rule.interval))
    raster = np.zeros((columns, n_out))
    column = np.clip(np.ceil(np.asarray(times) / rule.interval - 1e-9).astype(np.int64) - 1, 0, columns - 1)
    np.add.at(raster, (column, np.asarray(neurons, dtype=np.int64)), 1.0)
    errors = Errors(rule.error, LearningLayout((), "out", (), {}, {}, {"out": n_out}), rule.interval, columns, label)
    first = round(rule.error.start / rule.interval)
    summed, size = np.zeros(n_out), 0.0
    for number in range(columns):
        err, fed = errors.column({"out": raster[number]}, {},
                                 number - first if phase.teach and number >= first else None)
        summed, size = summed + fed["out"], size + float(np.abs(err["out"]).mean())
    return ThirdFactor(summed, size / columns)


def wanted_spikes(rule: LearningRule, label: int, n_out: int) -> Array:
    """(n_out,) of the teacher of an error `spike` that begins with the sample."""
    wanted = np.zeros(n_out, dtype=np.int64)
    if rule.error is None:
        return wanted
    (phase,) = (each for each in rule.phases if each.noise is None)
    wanted[label] = ceil(max(1, round(phase.duration / rule.interval)) / rule.error.period)
    return np.minimum(wanted, 255)
