"""The neurons of free form of one sample of the reference under way, beside the linear ones (`ir/exact_run.py`)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import numpy as np

from ..diagnostics import BadInputError, Diagnostic, UnsupportedError
from ..nodes import Array, FlowNeuron
from ..wiring import Wiring
from .courses import Course, LostError
from .systems import State, System, systems_of

__all__ = ["Flows"]

_Asked = TypeVar("_Asked")


class Flows:
    """All such neurons of a network, by their numbers among all neurons. `held` is shared with the linear ones: which
    neurons are refractory. `states`: of an earlier run, in the order of `index`."""

    def __init__(self, wiring: Wiring, held: Array, states: Sequence[State] | None = None) -> None:
        self._wiring, self._held = wiring, held
        self.systems: dict[int, System] = {}
        for name in wiring.neurons:
            node, span = wiring.graph.nodes[name], wiring.span[name]
            if isinstance(node, FlowNeuron):
                made = systems_of(node, wiring.constant[span].tolist())
                self.systems |= dict(zip(range(span.start, span.stop), made, strict=True))
        begin = (system.start for system in self.systems.values()) if states is None else states
        self._state: dict[int, State] = dict(zip(self.systems, begin, strict=True))
        self._since = dict.fromkeys(self.systems, 0.0)
        self._course: dict[int, Course] = {}
        self.settle(np.arange(wiring.size))

    @property
    def states(self) -> tuple[State, ...]:
        """Where the neurons are."""
        return tuple(self._state.values())

    def mine(self, index: Array) -> Iterator[int]:
        """Those among some neurons that are of free form."""
        return (neuron for neuron in index.tolist() if neuron in self.systems) if self.systems else iter(())

    def first_crossing(self, now: float, stop: float, others: Array) -> tuple[float, Array]:
        """The first time up to `stop` at which levels rise above zero, and whose; `others` do so at `stop`."""
        found: dict[int, float] = {}
        for neuron in self.systems:
            elapsed = self._followed(neuron, lambda course, since: course.crossing(stop - since))
            if elapsed is not None:
                found[neuron] = min(max(self._since[neuron] + elapsed, now), stop)
        first = min(found.values(), default=stop)
        mine = np.array([neuron for neuron, time in found.items() if time == first], dtype=np.int64)
        return first, mine if first < stop else np.concatenate([others, mine])

    def advance(self, index: Array, time: float) -> None:
        """Moves neurons to the instant `time`; `settle` has to follow."""
        for neuron in self.mine(index):
            self._state[neuron] = self._followed(neuron, lambda course, since: course.at(time - since))
            self._since[neuron] = time

    def kick(self, index: Array, amount: Array) -> None:
        """What summed impulses do, but to states that are held."""
        for neuron, weight in zip(index.tolist(), amount.tolist(), strict=True):
            if neuron in self.systems and weight != 0:
                system, before = self.systems[neuron], self._state[neuron]
                after = system.receive(before, weight)
                kept = system.held if self._held[neuron] else ()
                self._state[neuron] = tuple(before[n] if n in kept else value for n, value in enumerate(after))

    def above(self, index: Array) -> Array:
        """Whether each of some neurons is above its threshold."""
        above = np.zeros(len(index), dtype=bool)
        for number, neuron in enumerate(index.tolist()):
            level = self.systems[neuron].level if neuron in self.systems else None
            above[number] = level is not None and not self._held[neuron] and level(self._state[neuron]) > 0
        return above

    def fire(self, index: Array) -> None:
        """What a spike does to the state.

        Raises:
            BadInputError: the reset does not lower the level (SC137).
        """
        for neuron in self.mine(index):
            system, before = self.systems[neuron], self._state[neuron]
            after = system.fire(before)
            if system.level is not None and np.isfinite(after).all() and not system.level(after) < system.level(before):
                name, number = self._named(neuron)
                raise BadInputError(Diagnostic(
                    "SC137", "the reset does not lower the level that the threshold compares", node=name,
                    value=f"neuron {number}, t = {self._since[neuron]:g} s", remedy="The neuron would stay above its "
                    "threshold: let the reset bring it below where the threshold is by then."))
            self._state[neuron] = after

    def settle(self, index: Array) -> None:
        """What follows from a changed state."""
        for neuron in self.mine(index):
            if not np.isfinite(self._state[neuron]).all():
                raise self._lost(neuron, "a state is no number", self._since[neuron])
            self._course[neuron] = Course(self.systems[neuron], self._state[neuron], bool(self._held[neuron]))

    def shown(self, neuron: int, time: float, state: str) -> float:
        """The value of a state at a time after what happened last."""
        here = self._followed(neuron, lambda course, since: course.at(time - since))
        return self.systems[neuron].show[state](here)

    def highest(self, neuron: int, time: float) -> tuple[float, float]:
        """The largest value of V since what happened last, up to a time, and when it was."""
        value, elapsed = self._followed(neuron, lambda course, since: course.highest(time - since))
        return value, self._since[neuron] + elapsed

    def _followed(self, neuron: int, ask: Callable[[Course, float], _Asked]) -> _Asked:
        try:
            return ask(self._course[neuron], self._since[neuron])
        except LostError as lost:
            raise self._lost(neuron, lost.message, self._since[neuron] + lost.time) from None

    def _named(self, neuron: int) -> tuple[str, int]:
        """The node of a neuron, and its number there."""
        name = next(name for name, span in self._wiring.span.items() if span.start <= neuron < span.stop)
        return name, neuron - self._wiring.span[name].start

    def _lost(self, neuron: int, message: str, time: float) -> UnsupportedError:
        name, number = self._named(neuron)
        return UnsupportedError(Diagnostic(
            "SC138", f"neuron {number} cannot be followed: {message}", node=name,
            value=f"t = {time:g} s", remedy="Lower weights or rates, or state a threshold below the point where the "
            "equations run away."))
