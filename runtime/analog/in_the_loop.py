"""The chip in the loop: weights go out in the chip's numbers, spikes come back in its time, and gradients are those of
the nominal model, with the weights that the chip holds, at the measured times (`runtime/measured.py`).

What is measured by is a callable, `Measure`; the emulator's `measure` is one, and a user's chip another. How a chip
holds weights is its `Coding`: whole steps (`StepCoding`), or whatever else it has.
"""

from __future__ import annotations

import math
import threading
import warnings
from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import replace
from typing import Any, Protocol, cast

import numpy as np
import torch
from torch import Tensor

from ...ir.analog.network import AnalogNetwork, codes_of
from ...ir.derived import Apply, Expr, Leaf, expr_of
from ...ir.diagnostics import Diagnostic, Diagnostics, SpikecError, SpikecWarning, first_line
from ...ir.events import Events
from ...ir.graph import Graph
from ...ir.network import Dense, Network, Projection
from ...ir.nodes import Array
from ..engine import Values
from ..measured import GUARD, MeasuredModule

__all__ = ["AnalogModule", "Asked", "Coding", "InTheLoop", "Measure", "MeasureError", "StepCoding",
           "close_spikes", "on_scale"]

_ROUNDING = 1e-6
"""Of times, relative: they may be of float32."""
_WELL_WITHIN = 0.5
"""Of a refractory period: circuits differ, and stamps round."""

Measure = Callable[..., Mapping[str, Events]]
"""One run on a chip: `measure(codes, spikes, duration) -> spikes`, or, where the network has delays, `measure(codes,
spikes, duration, delays=delays)`.

`codes`: by projection, int32 (n_target, n_source), weights in the chip's numbers, signed. `spikes`: of every input, in
seconds on the chip; `duration` likewise. `delays`: by projection that has any, (n_source,), seconds on the chip. Gives
the spikes of every spiking population over the batch, in seconds on the chip, ascending within each sample, none after
`duration`; and of inputs, if it likes, the same events at the times at which they really went in. Where it is a method
of what counts its `runs`, as the emulator does, a training's checkpoint holds that number, and sets it.
"""


class MeasureError(SpikecError):
    """What measures fails. A training can be resumed from its checkpoint."""

    exit_code = 3


class Asked:
    """`measure`, whose faults are diagnostics. `time_limit`: seconds that one run may take.

    Raises:
        MeasureError: from a call, `measure` raises, or does not come back in time (SC377).
    """

    def __init__(self, measure: Measure, time_limit: float = math.inf) -> None:
        self.measure, self.time_limit = measure, time_limit

    @property
    def runs(self) -> int:
        """How many `measure` has made, where it counts them; else 0."""
        return int(getattr(getattr(self.measure, "__self__", None), "runs", 0))

    @runs.setter
    def runs(self, value: int) -> None:
        counting: Any = getattr(self.measure, "__self__", None)
        if hasattr(counting, "runs"):
            counting.runs = value

    def __call__(self, *given: Any, **settings: Any) -> Any:
        if math.isinf(self.time_limit):
            return self._answer(*given, **settings)
        found: list[tuple[Any, BaseException | None]] = []

        def work() -> None:
            try:
                found.append((self._answer(*given, **settings), None))
            except BaseException as error:  # of whatever kind, it is for the thread that asked
                found.append((None, error))

        # a daemon: what hangs in a driver cannot be ended from here, and must not keep the program from ending
        thread = threading.Thread(target=work, name="measure", daemon=True)
        thread.start()
        thread.join(self.time_limit)
        if not found:
            raise MeasureError(Diagnostic("SC377", "the measurement does not come back", limit=f"{self.time_limit:g} s",
                                          remedy="Reset the chip, and resume the training from its checkpoint."))
        answer, error = found[0]
        if error is not None:
            raise error
        return answer

    def _answer(self, *given: Any, **settings: Any) -> Any:
        try:
            return self.measure(*given, **settings)
        except SpikecError:
            raise
        except Exception as error:
            raise MeasureError(Diagnostic("SC377", "the measurement fails",
                                          value=f"{type(error).__name__}: {first_line(error)}",
                                          remedy="Mend it, and resume the training from its checkpoint.")) from error


class Coding(Protocol):
    """How a chip holds the weights of a network. Those of a projection are float64, laid out as its
    `connection.weight`."""

    @property
    def speed_up(self) -> float:
        """Model time over chip time."""

    def codes(self, network: Network) -> dict[str, Array]:
        """By projection, what `Measure` takes."""

    def rounded(self, number: int, weight: Array) -> Array:
        """What the chip holds of the weights of projection `number`."""

    def bounds(self, number: int) -> tuple[Array, Array]:
        """The least and the greatest weight that the chip holds, of each, or what broadcasts to that."""


class StepCoding:
    """Weights in whole steps, `levels` of them on each of a projection's rows at most."""

    def __init__(self, held: AnalogNetwork, levels: int) -> None:
        self.speed_up = held.speed_up
        self._held, self._levels = held, levels

    def codes(self, network: Network) -> dict[str, Array]:
        return {each.name: self._steps(number, np.asarray(projection.connection.weight, np.float64)).astype(np.int32)
                for number, (each, projection) in enumerate(zip(self._held.projections, network.projections,
                                                                strict=True))}

    def rounded(self, number: int, weight: Array) -> Array:
        return np.asarray(self._steps(number, weight) * self._held.projections[number].step[:, None])

    def bounds(self, number: int) -> tuple[Array, Array]:
        each = self._held.projections[number]
        most = self._levels * each.rows * each.step[:, None]
        return -most, most

    def _steps(self, number: int, weight: Array) -> Array:
        each = self._held.projections[number]
        return np.asarray(codes_of(weight, each.step[:, None], self._levels * each.rows))


class InTheLoop:
    """Called with a network in the chip's form, it hands its weights to `measure` in the chip's numbers, and gives the
    spikes in the model's time. `network`: what the chip is set up to; `coding`: how it holds weights. `time_limit`:
    seconds that one run may take.

    Raises:
        BadInputError: of a network whose circuits are others (SC488).
        MeasureError: `measure` raises, or does not come back in time (SC377).
    """

    def __init__(self, network: Network, coding: Coding, measure: Measure, time_limit: float = math.inf) -> None:
        self.coding, self.asked, self._network = coding, Asked(measure, time_limit), network
        self.sent: dict[str, Array] = {}
        """The codes of the last run."""
        self._told = False

    def __call__(self, network: Network, events: Mapping[str, Events], duration: float) -> Any:
        self._check_circuits(network)
        speed = self.coding.speed_up
        delays = {each.name: np.asarray(each.delay, np.float64) / speed for each in network.projections
                  if each.delay is not None}
        self.sent = self.coding.codes(network)
        given = {name: _timed(each, 1 / speed) for name, each in events.items()}
        found = self.asked(self.sent, given, duration / speed, **({"delays": delays} if delays else {}))
        spikes = on_scale(found, speed, duration, events)
        if not self._told and (close := close_spikes(network, spikes)) is not None:
            self._told = True
            warnings.warn(str(close), SpikecWarning, stacklevel=4)
        return spikes

    def _check_circuits(self, network: Network) -> None:
        """Raises BadInputError where circuits are to be what the chip is not set up to (SC488)."""
        faults = Diagnostics()
        for name, then in self._network.populations.items():
            for field in ("tau_mem", "tau_syn", "refractory", "v_leak", "v_threshold", "v_reset", "r", "w_in"):
                first, now = getattr(then, field), getattr(network.populations[name], field)
                # parameters may be of float32, and a potential a sum of them
                if first is not None and not np.allclose(now, first, rtol=1e-5, atol=1e-6 * np.abs(first).max()):
                    faults.add("SC488", f"{field} has changed, for which the chip is not set up", node=name,
                               remedy="Train weights and delays, or compile again with "
                                      "program.recompile(module.to_graph()).")
        faults.raise_if_errors()


class AnalogModule(MeasuredModule):
    """A `MeasuredModule` whose weights are those that the chip holds: rounded to its numbers, in the forward pass and
    for the gradient. Its parameters are the exact ones, which add up changes smaller than a step. Where a parameter is
    a weight of a projection as it is, it is kept within what the chip can hold; a weight that is made of several, and
    is beyond that, has the gradients alone that lead back. Delays likewise, within those that the chip makes.
    """

    _shared = MeasuredModule._shared | {"_delays", "_loop"}

    def __init__(self, graph: Graph, network: Network, loop: InTheLoop, delays: tuple[float, float] | None,
                 dtype: torch.dtype = torch.float32, train: Iterable[str] | None = None, guard: float = GUARD) -> None:
        ends = None if delays is None else (delays[0] * (1 + _ROUNDING), delays[1] * (1 - _ROUNDING))
        self.__dict__["_delays"], self.__dict__["_loop"] = ends, loop
        super().__init__(graph, network, loop, dtype, train, guard)
        if train is None:  # a bias is a potential at rest, which runs do not set
            for label, (_, param) in self._map.items():
                self.get_parameter(label).requires_grad_(self.get_parameter(label).requires_grad and param != "bias")

    def forward(self, events: Any, duration: float | None = None, state: Any = None, dt: float | None = None) -> Any:
        """See `MeasuredModule.forward`. `duration` may be left out as on the event target."""
        self._keep_within()
        return super().forward(events, duration, state, dt)

    @property
    def runs(self) -> int:
        """See `Asked.runs`."""
        return cast(InTheLoop, self.__dict__["_loop"]).asked.runs

    @runs.setter
    def runs(self, value: int) -> None:
        self.__dict__["_loop"].asked.runs = value

    def network_now(self) -> Network:
        """See `MeasuredModule.network_now`; weights and delays are those that the chip holds."""
        now, held = super().network_now(), []
        for number, each in enumerate(now.projections):
            weight, delay = _laid_out(each, _array(self._values.weight(number))), self._values.delay(number)
            held.append(replace(each, connection=replace(each.connection, weight=weight),
                                delay=None if delay is None else _array(delay)))
        return replace(now, projections=tuple(held))

    def to_graph(self) -> Graph:
        """See `GraphModule.to_graph`; parameters are within the chip's range."""
        self._keep_within()
        return super().to_graph()

    def _prepare(self) -> None:
        super()._prepare()
        values = _Kept(self._network, self._common_dtype(), self._by_node(), self.__dict__["_loop"].coding,
                       self.__dict__["_delays"])
        self.__dict__.update(_values=values)

    @torch.no_grad()
    def _keep_within(self) -> None:
        coding: Coding = self.__dict__["_loop"].coding
        ends: tuple[float, float] | None = self.__dict__["_delays"]
        owned = {key: self.get_parameter(label) for label, key in self._map.items()}
        for number, projection in enumerate(self._network.projections):
            leaf = expr_of(projection.connection.weight)
            if isinstance(leaf, Leaf) and owned[leaf.node, leaf.param].requires_grad:
                weight = owned[leaf.node, leaf.param]
                weight.clamp_(*(torch.from_numpy(end).to(weight) for end in coding.bounds(number)))
            delay = None if projection.delay is None else _parameter(expr_of(projection.delay))
            if ends is not None and delay is not None and owned[delay.node, delay.param].requires_grad:
                owned[delay.node, delay.param].clamp_(*ends)


class _Rounded(torch.autograd.Function):
    """Values as the chip holds them, `kept`, whose gradients pass as if they were not rounded; but for those by which
    a value that is beyond its range would go further, and of those that have no range."""

    @staticmethod
    def forward(ctx: Any, exact: Tensor, kept: Tensor, low: Tensor, high: Tensor) -> Tensor:
        ctx.save_for_backward(exact, low, high)
        return kept

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        exact, low, high = ctx.saved_tensors
        further = ((exact > high) & (gradient < 0)) | ((exact < low) & (gradient > 0)) | (low == high)
        return gradient.masked_fill(further, 0), None, None, None


class _Kept(Values):
    """Values whose weights and delays are `_Rounded`."""

    def __init__(self, network: Network, dtype: torch.dtype, parameters: Mapping[tuple[str, str], Tensor],
                 coding: Coding, delays: tuple[float, float] | None) -> None:
        super().__init__(network, dtype, parameters)
        self._coding, self._ends = coding, delays

    def weight(self, number: int) -> Tensor:
        exact, projection = super().weight(number), self.network.projections[number]
        kept = self._coding.rounded(number, _laid_out(projection, _array(exact)))
        parts = (torch.from_numpy(np.ascontiguousarray(_laid_out(projection, each))).to(exact)
                 for each in (kept, *self._coding.bounds(number)))
        found: Tensor = _Rounded.apply(exact, *parts)
        return found

    def delay(self, number: int) -> Tensor | None:
        exact = super().delay(number)
        if exact is None or self._ends is None:
            return exact
        low, high = (torch.tensor(each).to(exact) for each in self._ends)
        found: Tensor = _Rounded.apply(exact, exact.detach().clamp(low, high), low, high)
        return found


def _parameter(expr: Expr) -> Leaf | None:
    """The parameter whose values these are, in whatever order; None where they are made of several."""
    while isinstance(expr, Apply) and expr.operation in ("widen", "reshape", "broadcast", "take", "columns"):
        (expr,) = expr.arguments
    return expr if isinstance(expr, Leaf) else None


def _array(value: Tensor) -> Array:
    return value.detach().cpu().double().numpy()


def _laid_out(projection: Projection, weight: Array) -> Array:
    """From the engine's layout to the network's, or back: the engine has dense weights by sources."""
    return weight.T if isinstance(projection.connection, Dense) else weight


def close_spikes(network: Network, found: Any) -> Diagnostic | None:
    """A warning where a neuron fires twice at one instant, or well within its refractory period, which no membrane of
    the network does (SC486): time stamps of a chip can tie. `found`: measured spikes in the time of the network; what
    is malformed is left to other checks."""
    for name, each in network.populations.items():
        events = found.get(name) if isinstance(found, Mapping) else None
        if not (each.spiking and isinstance(events, Events)):
            continue
        try:
            plain = events.checked(each.n, name).numpy()
        except SpikecError:
            continue
        sample = np.repeat(np.arange(plain.batch), np.diff(plain.offsets))
        order = np.lexsort((plain.times, plain.indices, sample))
        same = (np.diff(sample[order]) == 0) & (np.diff(plain.indices[order]) == 0)
        hold = 0.0 if each.refractory is None else np.asarray(each.refractory)[plain.indices[order][1:]]
        apart = np.diff(plain.times[order])
        close = same & ((apart == 0) | (apart < _WELL_WITHIN * hold))
        if close.any():
            first = int(np.argmax(close))
            return Diagnostic(
                "SC486", "measured spikes of one neuron are closer than it can fire", node=name, severity="warning",
                value=f"{int(close.sum())} of {len(plain.times)}; neuron {plain.indices[order][first]} at "
                      f"{plain.times[order][first]:.6g} s and {apart[first]:.3g} s later",
                limit="one at an instant, and none within the refractory period",
                remedy="They are taken as they are. Look at the chip's time stamps, and at what collects them.")
    return None


def on_scale(found: Any, factor: float, end: float, inputs: Container[str]) -> Any:
    """What `Measure` gave on another scale of time, on which the run ends at `end`; what is no mapping as it is, for
    the checks to tell."""
    if not isinstance(found, Mapping):
        return found
    return {name: _timed(each, factor, end, name in inputs) for name, each in found.items()}


def _timed(events: Any, factor: float, end: float = math.inf, late: bool = False) -> Any:
    """Events on another scale of time. What rounding puts beyond the end is at the end, and so is, of an input's events
    (`late`), what came onto the chip after it. What is malformed stays as it is, for the checks to tell."""
    if not isinstance(events, Events):
        return events
    times = np.asarray(events.times)
    if times.dtype.kind not in "fiu":
        return events
    scaled: Any = times.astype(np.float64) * factor
    near = (scaled > end) & (late | (scaled <= end * (1 + _ROUNDING)))
    return Events(np.where(near, end, scaled), events.indices, events.offsets)
