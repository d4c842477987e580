"""The graph under construction while a traced model is walked: values that stand for tensors, how nodes are added."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np

from ....ir.diagnostics import BadInputError, Diagnostic, Diagnostics, UnsupportedError
from ....ir.graph import Discretization
from ....ir.nodes import Array, Delay, Flatten, Input, Neuron, Node
from ..builder import Builder, Handle
from ..sums import each_once
from .registry import leaf_of, qualified_name

__all__ = ["NO_CONVERTER", "Argument", "Conversion", "Signal", "State", "array_of", "numbers_of", "wide_numbers_of"]

NO_CONVERTER = "Replace it, or give one with spikec.compiler.frontends.register."


@dataclass(frozen=True, slots=True)
class Signal:
    """Spikes or currents: the sum of what `handles` give."""

    handles: tuple[Handle, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        return self.handles[0].shape


@dataclass(frozen=True, slots=True)
class State:
    """A state variable of the neurons in module `owner`; the graph carries it by itself."""

    owner: str
    name: str


@dataclass(frozen=True, slots=True)
class Argument:
    """A parameter of the model's `forward`: an input if something takes it as a signal, a state otherwise."""

    name: str


@dataclass(slots=True)
class Conversion:
    """`dt`: seconds a step, if given. `shapes`: of the inputs, by parameter of `forward`, as far as known.
    `spikes_unused`: modules whose spikes nothing takes.

    About the value under conversion: `lead`, how many axes stand before those of a sample in it (batch, or time and
    batch); `gives`, the shape of one sample of the result, where known; `line` of the user's code. What converters of
    neurons leave here, by node: `grids`, what its framework's grid means, `bias_scales`, what turns a bias into a
    constant current, and `origins`, the path of its module. `late`: delay nodes, by how many steps."""

    dt: float | None
    shapes: dict[str, tuple[int, ...]]
    spikes_unused: frozenset[str] = frozenset()
    builder: Builder = field(default_factory=Builder)
    faults: Diagnostics = field(default_factory=Diagnostics)
    lead: int = 1
    gives: tuple[int, ...] | None = None
    line: str = ""
    grids: dict[str, Discretization] = field(default_factory=dict)
    origins: dict[str, str] = field(default_factory=dict)
    late: dict[str, int] = field(default_factory=dict)
    bias_scales: dict[str, Array] = field(default_factory=dict)
    inputs: dict[str, Handle] = field(default_factory=dict)

    def signal(self, value: Any, where: str, shape: tuple[int, ...] | None = None) -> Signal:
        """`value` as a signal; a parameter of `forward` becomes an input. `shape`: what the taker expects, if it says.

        Raises:
            UnsupportedError: it is none.
        """
        if isinstance(value, Signal):
            return value
        if isinstance(value, Argument):
            return Signal((self._input(value.name, where, shape),))
        if isinstance(value, tuple) and value and isinstance(value[0], Signal):
            message = "a tuple of spikes and states is used as a signal"
            remedy = "Unpack it in `forward`, or set init_hidden=True."
        else:
            message, remedy = "a value that is no spike train of this model is used as a signal", None
        self.fail("SC226", message, node=where, value=type(value).__name__, remedy=remedy)
        raise self._stop()

    def add(self, name: str, node: Node, *signals: Signal) -> Signal:
        """Adds a node under `name`, or `name_2` and so on where a module is used again."""
        handles = [handle for signal in signals for handle in signal.handles]
        return Signal((self.builder.add(self.builder.free_name(name), node, *handles),))

    def neuron(self, name: str, node: Neuron, signal: Signal, grid: Discretization,
               bias_scale: Array | float = 1.0) -> Signal:
        """Adds neurons whose framework steps them as `grid` says.

        `bias_scale`, one for all or one a neuron: what turns a bias, which the framework adds once a step, into the
        constant current of the same effect. It is 1 where a spike is a box.
        """
        cells = self.add(name, node, signal)
        placed = cells.handles[0]
        self.grids[placed.name] = grid
        self.origins[placed.name] = name
        self.bias_scales[placed.name] = np.broadcast_to(np.asarray(bias_scale, dtype=np.float64), placed.shape)
        return cells

    def call(self, module: Any, path: str, inputs: tuple[Any, ...], lead: int | None = None) -> Any:
        """What `module`, a child of a module under conversion, returns: converted by its own leaf. `path`: its path in
        the model, which names its nodes. `lead`: how many axes stand before those of a sample in what the child gets,
        where its parent folds time and batch into one.

        Raises:
            UnsupportedError: there is no converter for it.
        """
        leaf = leaf_of(module)
        if leaf is None:
            self.fail("SC220", f"there is no converter for {qualified_name(type(module))}", node=path,
                      remedy=NO_CONVERTER)
            raise self._stop()
        outside, self.lead = self.lead, self.lead if lead is None else lead
        try:
            return leaf.convert(self, module, path, inputs)
        finally:
            self.lead = outside

    def delayed(self, signal: Signal, steps: int) -> Signal:
        """`signal`, `steps` time steps later."""
        if steps == 0:
            return signal
        handles = []
        for handle in signal.handles:
            name = f"{handle.name.removeprefix('promise ')}.late{steps}"
            if name not in self.late:
                self.builder.add(name, Delay(delay=np.full(handle.shape, float(steps))), handle)
                self.late[name] = steps
            handles.append(self.builder.handle(name))
        return Signal(tuple(handles))

    def sum(self, signals: Iterable[Signal], where: str) -> Signal:
        """The sum of signals of one shape."""
        parts = list(signals)
        handles = [handle for part in parts for handle in part.handles]
        if len({handle.shape for handle in handles}) > 1:
            self.fail("SC226", "a sum of different shapes spreads one of them, which a graph does not", node=where,
                      value=", ".join(str(handle.shape) for handle in handles))
        return Signal(each_once(self.builder, handles, lambda handle, count: self.builder.free_name(
            f"{handle.name}.times{count}")))

    def flatten(self, signal: Signal, name: str, start: int, end: int) -> Signal:
        """Flatten with axes counted with those in front of a sample (`lead`), as torch does."""
        axes = len(signal.shape) + self.lead
        first, last = (axis + axes if axis < 0 else axis for axis in (start, end))
        if first < self.lead:
            self.fail("SC226", "the batch axis cannot be flattened away" if self.lead == 1 else
                      "the axes of time and batch cannot be flattened away", node=name, value=(start, end),
                      remedy=f"Start at axis {self.lead}.")
            raise self._stop()
        if len(signal.shape) == 1 or first == last:
            return signal
        return self.add(name, Flatten(start_dim=first - self.lead, end_dim=last - self.lead), signal)

    def step_length(self, what: str, where: str) -> float | None:
        """Seconds a step, for `what` (plural, as "sinabs' neurons") that counts in steps; None, with a fault, where it
        is not given."""
        if self.dt is None:
            self.fail("SC222", f"{what} count in steps, and the length of a step is not given", node=where,
                      remedy="Pass dt=… in seconds.")
        return self.dt

    def fail(self, code: str, message: str, **facts: Any) -> None:
        if self.line and self.line not in message:
            message += self.line
        self.faults.add(code, message, **facts)

    def _stop(self) -> UnsupportedError:
        return UnsupportedError(*self.faults.errors)

    def _input(self, name: str, where: str, shape: tuple[int, ...] | None) -> Handle:
        if name not in self.inputs:
            known = self.shapes.get(name, shape)
            if known is None:
                self.fail("SC225", f"the shape of input '{name}' is unknown", node=where,
                          remedy="Pass input_shape=(…) without the batch axis, or sample=.")
                raise BadInputError(*self.faults.errors)
            if not known or prod(known) < 1:
                self.fail("SC225", "an input has at least one axis besides the batch axis", node=name, value=known)
                raise BadInputError(*self.faults.errors)
            self.inputs[name] = self.builder.add(self.builder.free_name("input" if not self.inputs else name),
                                                 Input(shape=known))
        return self.inputs[name]


def array_of(tensor: Any) -> Array:
    """A tensor's values as an array of their own; half precisions become float64. It is read-only, so that a node can
    take it as it is.

    Raises:
        UnsupportedError: they are complex (SC223).
    """
    plain = tensor.detach().cpu()
    if plain.is_complex():
        raise UnsupportedError(Diagnostic("SC223", "values are complex, and those of a graph are real", value=str(
            plain.dtype), remedy="Give real weights, as twice as many features."))
    array = np.array(plain.numpy() if str(plain.dtype) in ("torch.float32", "torch.float64") else
                     plain.double().numpy())
    array.setflags(write=False)
    return array


def numbers_of(value: Any) -> Array:
    """A parameter that is a tensor or plain numbers, as an array: a tensor's in its own precision, others float64."""
    return array_of(value) if hasattr(value, "detach") else np.asarray(value, dtype=np.float64)


def wide_numbers_of(value: Any) -> Array:
    """The same in float64, to compute with."""
    return numbers_of(value).astype(np.float64)
