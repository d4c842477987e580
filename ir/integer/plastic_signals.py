"""The signals of a plastic network's run: what each column is, rewards, what teachers say, and the noise of sleep."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..diagnostics import Diagnostics
from ..facts import first_of
from ..nodes import Array
from .plastic import ASLEEP, CLEAR, LARGEST_REWARD, MIRROR, TEACH, UPDATE, PlasticNetwork

__all__ = ["Signals", "check_signals", "said"]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Signals:
    """By column of a run: `control` (time,), sums of UPDATE, CLEAR, MIRROR, ASLEEP and TEACH, and `reward` (time,),
    -63..63; by population, `teacher` (time, n), 0 or 1, and `noise` (time, n), -1, 0 or 1. What is not given, or ends
    early, is zero."""

    control: Array | None = None
    reward: Array | None = None
    teacher: Mapping[str, Array] = field(default_factory=dict)
    noise: Mapping[str, Array] = field(default_factory=dict)


def check_signals(plastic: PlasticNetwork, signals: Signals, columns: int) -> tuple[Array, Array, dict[str, Array]]:
    """`control` and `reward` (columns,), and of each population with a teacher or a dendrite what that asks for,
    (columns, n), int64.

    Raises:
        BadInputError: with every fault at once (SC403).
    """
    faults = Diagnostics()
    control = _numbers("control", None, signals.control, (), 0, UPDATE | CLEAR | MIRROR | ASLEEP | TEACH, columns,
                       faults)
    reward = _numbers("reward", None, signals.reward, (), -LARGEST_REWARD, LARGEST_REWARD, columns, faults)
    if reward.any() and not any(neuron.error == "reward" for neuron in plastic.neurons.values()):
        faults.add("SC403", "no population takes a reward", limit=", ".join(plastic.neurons) or "none learns")
    found = {}
    for key, kind, low in (("teacher", "teacher", 0), ("noise", "dendrite", -1)):
        given: Mapping[str, Any] = getattr(signals, key)
        takes = [name for name, neuron in plastic.neurons.items() if neuron.error == kind]
        for name in sorted(set(given) - set(takes)):
            faults.add("SC403", f"the population takes no {key}", node=name, limit=", ".join(takes) or "none does")
        for name in takes:
            shape = (plastic.network.populations[name].n,)
            found[name] = _numbers(key, name, given.get(name), shape, low, 1, columns, faults)
    faults.raise_if_errors()
    return control, reward, found


def said(signals: Signals) -> int:
    """Columns of the longest signal."""
    given = [signals.control, signals.reward, *signals.teacher.values(), *signals.noise.values()]
    return max((len(each) for each in given if each is not None), default=0)


def _numbers(key: str, node: str | None, given: Any, shape: tuple[int, ...], low: int, high: int, columns: int,
             faults: Diagnostics) -> Array:
    filled = np.zeros((columns, *shape), dtype=np.int64)
    if given is None:
        return filled
    values = np.asarray(given)
    if values.dtype.kind not in "iub" or values.ndim != 1 + len(shape) or values.shape[1:] != shape:
        faults.add("SC403", f"{key} holds whole numbers by column", node=node, value=f"{values.dtype}{values.shape}",
                   limit=("time", *shape))
    elif (outside := (values < low) | (values > high)).any():
        faults.add("SC403", f"{key} is not within its values", node=node, limit=f"{low}..{high}",
                   value=first_of(values, outside, *("column", "neuron")[:values.ndim]))
    else:
        filled[:len(values)] = values[:columns]
    return filled
