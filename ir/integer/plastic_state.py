"""Where a run of a plastic network stands after its last column, from which another one goes on with the same bits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..diagnostics import Diagnostics
from ..nodes import Array
from .learning_step import LearningState, first_learning_state
from .network import IntegerProjection, held_weight
from .plastic import PlasticNetwork
from .state import IntegerState, check_state, first_state

__all__ = ["PlasticState", "check_plastic_state", "first_plastic_state", "numbered"]

ERROR = -(1 << 23), (1 << 23) - 1
ARRIVING = -(1 << 31), (1 << 31) - 1
COUNT = -127, 127
TRACE = 0, 127
OWN_TRACE = 0, 127 << 6


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class PlasticState:
    """`network`: of a batch of one. By learning population, (n,) int64: `arriving`, what error spikes that are sent
    bring to the dendrites in the next column (b), `error` E, `balance` acc, `count` N and `trace` R. `learning`: by
    plastic projection; its `step` is the number of columns in which the network learnt, the same of all."""

    network: IntegerState
    arriving: Mapping[str, Array]
    error: Mapping[str, Array]
    balance: Mapping[str, Array]
    count: Mapping[str, Array]
    trace: Mapping[str, Array]
    learning: Mapping[str, LearningState]

    @property
    def step(self) -> int:
        """Columns in which the network learnt: what the next random numbers depend on."""
        return max((each.step for each in self.learning.values()), default=0)


def numbered(plastic: PlasticNetwork) -> dict[str, tuple[int, IntegerProjection]]:
    """All projections by name, each with its number, which random numbers depend on: those onto somas, then those onto
    dendrites, in order."""
    return {each.name: (number, each) for number, each in enumerate((*plastic.network.projections, *plastic.feedback))}


def first_plastic_state(plastic: PlasticNetwork) -> PlasticState:
    """The state before the first column: the weights as they are held."""
    sizes = {name: plastic.network.populations[name].n for name in plastic.neurons}
    projections = numbered(plastic)

    def zeros() -> dict[str, Array]:
        return {name: np.zeros(n, dtype=np.int64) for name, n in sizes.items()}

    return PlasticState(
        network=first_state(plastic.network, 1), arriving=zeros(), error=zeros(), balance=zeros(), count=zeros(),
        trace=zeros(),
        learning={name: first_learning_state(held_weight(projections[name][1])) for name in plastic.rules})


def check_plastic_state(plastic: PlasticNetwork, state: PlasticState) -> PlasticState:
    """The state itself, if it is one of this network.

    Raises:
        BadInputError: with every fault at once (SC403).
    """
    check_state(plastic.network, state.network, 1)
    faults = Diagnostics()
    of_neurons = {name: (plastic.network.populations[name].n,) for name in plastic.neurons}
    for key, bounds in (("arriving", ARRIVING), ("error", ERROR), ("balance", ERROR), ("count", COUNT),
                        ("trace", OWN_TRACE)):
        _check(key, getattr(state, key), of_neurons, {
            name: (0, bounds[1]) if key == "count" and plastic.neurons[name].error == "teacher" else bounds
            for name in of_neurons}, faults)
    projections = {name: projection for name, (_, projection) in numbered(plastic).items() if name in plastic.rules}
    shapes = {name: each.connection.weight.shape for name, each in projections.items()}
    signs = {"mixed": (-256, 255), "excitatory": (0, 255), "inhibitory": (-255, 0)}
    epochs = {name: (0, rule.epoch - 1) for name, rule in plastic.rules.items()}
    wanted: tuple[tuple[str, Any, Any], ...] = (
        ("weight", lambda post, pre: (post, pre), {name: signs[each.sign] for name, each in projections.items()}),
        ("tag", lambda post, pre: (post, pre), dict.fromkeys(shapes, (-257, 255))),
        ("delay", lambda post, pre: (post, pre), dict.fromkeys(shapes, (0, 255))),
        ("x", lambda post, pre: (2, pre), dict.fromkeys(shapes, TRACE)),
        ("y", lambda post, pre: (3, post), dict.fromkeys(shapes, TRACE)),
        ("tx", lambda post, pre: (pre,), epochs), ("ty", lambda post, pre: (post,), epochs))
    for key, shape, bounds in wanted:
        _check(key, {name: getattr(each, key) for name, each in state.learning.items()},
               {name: shape(*each) for name, each in shapes.items()}, bounds, faults)
    steps = {name: each.step for name, each in state.learning.items()}
    if len(set(steps.values())) > 1 or min(steps.values(), default=0) < 0:
        faults.add("SC403", "projections of a state have learnt for different numbers of columns", value=steps)
    faults.raise_if_errors()
    return state


def _check(key: str, arrays: Mapping[str, Array], shapes: Mapping[str, tuple[int, ...]],
           bounds: Mapping[str, tuple[int, int]], faults: Diagnostics) -> None:
    for name in sorted(set(arrays).symmetric_difference(shapes)):
        faults.add("SC403", f"{key} of the state is not of what learns here", node=name, limit=", ".join(shapes))
    for name in [name for name in arrays if name in shapes]:
        array, (low, high) = arrays[name], bounds[name]
        if array.shape != shapes[name] or array.dtype.kind != "i":
            faults.add("SC403", f"{key} of the state has the wrong shape or type", node=name,
                       value=f"{array.dtype}{array.shape}", limit=f"signed integers {shapes[name]}",
                       remedy="A state goes on with the network that it is of.")
        elif array.size and not (low <= array.min() and array.max() <= high):
            faults.add("SC403", f"{key} of the state does not fit what holds it", node=name,
                       value=(int(array.min()), int(array.max())), limit=f"{low}..{high}")

