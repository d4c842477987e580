"""Where a neuron of free form goes from a given state, by scipy's DOP853 (Hairer, Nørsett & Wanner, order 8) with a
tolerance of 1e-12: no code of the engine, whose oracle this is. Spikes are looked for between the steps' ends, too."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.integrate import DOP853
from scipy.optimize import brentq, minimize_scalar

from .systems import State, System

__all__ = ["Course", "LostError"]

RTOL = 1e-12
MAX_STEPS = 20_000
"""Steps from one event of a neuron to the next."""
LARGEST = 1e12
"""What no state goes beyond."""
_LOOKS = 12
_PART = 1e-6
_TIGHTEST = 4 * float(np.finfo(np.float64).eps)


class LostError(Exception):
    """The integration cannot go on: the message says why, `time` how far it came."""

    def __init__(self, message: str, time: float) -> None:
        super().__init__(message)
        self.message, self.time = message, time


class Course:
    """A neuron from the state `start` on; times are seconds from there. `held`: it is refractory."""

    def __init__(self, system: System, start: State, held: bool) -> None:
        self.system, self.start = system, start
        self._still = system.held if held else ()
        self._level = None if held else system.level
        self._below = self._level is None or self._level(start) <= 0
        self._steps: list[tuple[float, Any, float, Any]] = []
        self._solver: Any = None
        self._crossing: float | None = None
        self._sizes = np.abs(np.array(start))

    def crossing(self, until: float) -> float | None:
        """When the neuron fires, if it does up to `until`.

        Raises:
            LostError: the state grows without bound, or the steps become too small or too many.
        """
        if self._level is not None:
            self._go(until)
        return self._crossing if self._crossing is not None and self._crossing <= until else None

    def at(self, time: float) -> State:
        """The state at a time up to the first spike."""
        if time <= 0:
            return self.start
        self._go(time)
        for begin, state, end, _ in reversed(self._steps):
            if begin < time:
                return self._exact(begin, state, min(time, end) if end < time else time)
        return self.start

    def highest(self, until: float) -> tuple[float, float]:
        """The largest value that the neuron shows up to `until`, and when."""
        show = self.system.show["v"]
        best = (show(self.start), 0.0)
        self._go(until)
        for begin, _, end, dense in self._steps:
            end = min(end, until)
            if end <= begin:
                continue
            times = np.linspace(begin, end, _LOOKS + 1)
            values = [show(dense(time)) for time in times]
            top = int(np.argmax(values))
            low, high = times[max(top - 1, 0)], times[min(top + 1, _LOOKS)]
            found = minimize_scalar(lambda time, dense=dense: -show(dense(time)), bounds=(low, high), method="bounded",
                                    options={"xatol": 1e-12 * (high - low) + 1e-300})
            best = max(best, (values[top], -float(times[top])), (-float(found.fun), -float(found.x)),
                       key=lambda pair: pair[0])
        return best[0], abs(best[1])

    def _go(self, until: float) -> None:
        """Steps until a time, or the first spike."""
        if self._solver is None:
            self._solver = self._begun(0.0, np.array(self.start), until)
        solver = self._solver
        while solver.t < until and self._crossing is None:
            begin, state = float(solver.t), solver.y.copy()
            self._step(solver)
            dense = solver.dense_output()
            self._steps.append((begin, state, float(solver.t), dense))
            if self._level is not None:
                self._look(begin, state, float(solver.t), dense)

    def _step(self, solver: Any) -> None:
        solver.atol = self._small(solver.y, solver.h_abs)
        before = solver.t
        message = solver.step()
        if solver.status == "failed" or solver.t == before:
            raise LostError(f"the steps of the integration become too small ({message})", before)
        if not np.isfinite(solver.y).all() or np.abs(solver.y).max() > LARGEST:
            raise LostError(f"a state passes {LARGEST:g}", solver.t)
        if len(self._steps) > MAX_STEPS:
            raise LostError(f"more than {MAX_STEPS} steps lie between two events", solver.t)

    def _small(self, state: Any, step: float) -> Any:
        """What is a small error of each state in a step: of its largest size so far, since it may pass zero, and of
        what the others move it, since it may start there."""
        self._sizes = np.maximum(self._sizes, np.abs(state))
        return RTOL * np.maximum(1e-3 * self._sizes, step * self._moves) + 1e-300

    def _moved(self, state: Any) -> Any:
        """By how much each rate changes if other states change by all of their size."""
        here, moved = self._rate(0.0, state), np.zeros(len(state))
        for number in np.flatnonzero(state):
            other = state.copy()
            other[number] *= 1 + _PART
            moved += np.abs(self._rate(0.0, other) - here) / _PART
        return np.where(np.isfinite(moved), moved, 0.0)

    def _begun(self, time: float, state: Any, until: float) -> Any:
        span = max(until - time, 1e-300)
        first = span * 0.05 if np.isfinite(span) else 1e-6
        self._moves = self._moved(state)
        return DOP853(self._rate, time, state, np.inf, rtol=RTOL, atol=self._small(state, first), first_step=first)

    def _rate(self, time: float, state: Any) -> Any:
        rate = list(self.system.rate(state.tolist()))
        for number in self._still:
            rate[number] = 0.0
        return np.array(rate)

    def _exact(self, begin: float, state: Any, time: float) -> State:
        """The state at `time`, stepped to from `begin`: more exact than between the ends of a step."""
        if time <= begin:
            return tuple(state.tolist())
        solver = DOP853(self._rate, begin, state, time, rtol=RTOL, atol=self._small(state, time - begin),
                        first_step=time - begin)
        while solver.status == "running":
            self._step(solver)
        return tuple(solver.y.tolist())

    def _look(self, begin: float, state: Any, end: float, dense: Callable[[float], Any]) -> None:
        """Whether the level rises above zero within a step."""
        of_state = self._level
        if of_state is None:
            return

        def level(time: float) -> float:
            return of_state(dense(time).tolist())

        times = np.linspace(begin, end, _LOOKS + 1).tolist()
        levels = [level(time) for time in times]
        near = 1e-3 * (times[1] - begin)
        for number in range(1, len(times)):
            before, now = levels[number - 1], levels[number]
            low, high = times[number - 1], times[number]
            if self._below and now > 0:
                self._crossing = self._root(of_state, begin, state, low, high)
                return
            rises = levels[number - 2] < before if number > 1 else level(low + near) > before
            falls = levels[number + 1] < now if number < _LOOKS else level(high - near) > now
            if self._below and rises and falls:
                top = minimize_scalar(lambda time: -level(time), bounds=(low, high), method="bounded",
                                      options={"xatol": 1e-9 * (high - low) + 1e-300})
                if top.fun < 0 and of_state(self._exact(begin, state, float(top.x))) > 0:
                    self._crossing = self._root(of_state, begin, state, low, float(top.x))
                    return
            self._below |= now <= 0

    def _root(self, of_state: Callable[[State], float], begin: float, state: Any, low: float, high: float) -> float:
        def exact(time: float) -> float:
            return of_state(self._exact(begin, state, time))

        if exact(high) <= 0:
            return high
        if exact(low) >= 0:
            return low
        return float(brentq(exact, low, high, xtol=1e-300, rtol=_TIGHTEST))
