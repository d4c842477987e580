"""The node kinds: what a network can be made of. Data only; what goes in and out is in `shapes`, what is legal in
`checks`, what each node means in `exact` and `step`.

The 18 primitives of NIR 1.0 under NIR's names and with NIR's fields, plus what NIR lacks (sparse weights, delays per
connection, refractory period, reset rule, initial state, BatchNorm, MaxPool2d, Relu). Units are SI: seconds for every
time; voltages and currents are plain numbers. Equations are those of the NIR paper (Pedersen et al. 2024, table 1).
`StepNeuron` alone is stated on a grid, `Relu` alone belongs to networks without spikes. `QIF`, `Theta` and `Equations`
are stated in continuous time alone; what they mean is in `flow`. `GradedTheta` and `GradedLI` send currents in the
place of spikes; what they mean is in `graded`.
"""

from __future__ import annotations

import operator
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, dataclass, field, fields, replace
from types import MappingProxyType
from typing import Any, Literal, NamedTuple, TypeVar

import numpy as np

from .diagnostics import Diagnostics
from .flow.statements import state_names, stated
from .grid import Discretization

__all__ = [
    "FLOWS", "GRADED", "IF", "LI", "LIF", "NEURONS", "NODE_KINDS", "QIF", "READOUTS", "SPIKING", "About", "Affine",
    "Array", "AvgPool2d", "BatchNorm", "Conv1d", "Conv2d", "CubaLI", "CubaLIF", "Delay", "Equations", "Flatten",
    "FlowNeuron", "Graded", "GradedLI", "GradedTheta", "I", "Input", "Linear", "MaxPool2d", "Membrane", "Neuron",
    "Node", "Output", "Padding", "Pair", "Relu", "Reset", "Scale", "SparseLinear", "StepNeuron", "SumPool2d", "Theta",
    "Threshold", "about", "is_memoryless", "is_spiking", "made", "param", "param_names", "params", "settings",
    "with_params",
]

Array = np.ndarray[Any, np.dtype[Any]]
Reset = Literal["zero", "v_reset", "subtract"]
"""What a spike does to the membrane: V := 0, V := v_reset, or V := V - v_threshold."""
Pair = tuple[int, int]
Padding = Pair | Literal["same", "valid"]


def param(unit: str = "1", default: Any = ..., trained: bool = False) -> Any:
    """A numeric parameter of a node. `trained`: optimised by default when the network is trained."""
    metadata = {"param": True, "unit": unit, "trained": trained}
    return field(metadata=metadata) if default is ... else field(default=default, metadata=metadata)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Node:
    """Base of all node kinds. Parameters become read-only arrays; float32 and float64 keep their type, the rest
    become float64.

    Raises:
        BadInputError: what is given for a parameter is no array of numbers. Everything else is judged by `checks`.
    """

    def __post_init__(self) -> None:
        faults = Diagnostics()
        for entry in fields(self):
            given = getattr(self, entry.name)
            if entry.metadata.get("param") and not given is entry.default is None:
                label = f"{type(self).__name__}.{entry.name}"
                object.__setattr__(self, entry.name, _frozen_array(given, label, "fiub", faults))
        faults.raise_if_errors()


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Input(Node):
    """Where spikes come in; `shape` of one sample, without batch or time."""

    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Output(Node):
    """Where spikes, or the membrane of a readout, go out."""

    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Linear(Node):
    """y = W x. `weight` (out, in); `delay` (out, in) seconds, optional."""

    weight: Array = param(trained=True)
    delay: Array | None = param("s", None)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Affine(Linear):
    """y = W x + b. `bias` (out,): a constant current."""

    bias: Array = param(trained=True)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class SparseLinear(Node):
    """y = W x, W (out, in) = `size` in CSR: row i holds `weight[indptr[i]:indptr[i+1]]` at columns `indices[...]`.
    `bias` (out,) and `delay` (nnz,) are optional."""

    size: Pair
    indptr: tuple[int, ...] | Array
    indices: tuple[int, ...] | Array
    weight: Array = param(trained=True)
    bias: Array | None = param(default=None, trained=True)
    delay: Array | None = param("s", None)

    def __post_init__(self) -> None:
        super(SparseLinear, self).__post_init__()
        faults = Diagnostics()
        for name in ("indptr", "indices"):
            object.__setattr__(self, name, _frozen_array(getattr(self, name), f"SparseLinear.{name}", "iu", faults))
        faults.raise_if_errors()


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Scale(Node):
    """y = scale * x, element by element."""

    scale: Array = param(trained=True)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class BatchNorm(Node):
    """y = gamma (x - mean) / sqrt(variance + eps) + beta over the first axis (channels). Not in NIR. The target
    event folds it into its neighbours."""

    mean: Array = param()
    variance: Array = param()
    gamma: Array = param(trained=True)
    beta: Array = param(trained=True)
    eps: float = 1e-5


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Conv1d(Node):
    """Cross-correlation as torch.nn.Conv1d, one sample: (C_in, L) -> (C_out, L'). `weight` (C_out, C_in/groups, K)."""

    weight: Array = param(trained=True)
    bias: Array | None = param(default=None, trained=True)
    input_shape: int | None = None
    stride: int = 1
    padding: int | Literal["same", "valid"] = 0
    dilation: int = 1
    groups: int = 1


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Conv2d(Node):
    """Cross-correlation as torch.nn.Conv2d, one sample: (C_in, H, W) -> (C_out, H', W').
    `weight` (C_out, C_in/groups, KH, KW)."""

    weight: Array = param(trained=True)
    bias: Array | None = param(default=None, trained=True)
    input_shape: Pair | None = None
    stride: Pair = (1, 1)
    padding: Padding = (0, 0)
    dilation: Pair = (1, 1)
    groups: int = 1


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class SumPool2d(Node):
    """Sum over windows, (C, H, W) -> (C, H', W'); zero padding."""

    kernel_size: Pair
    stride: Pair
    padding: Pair = (0, 0)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class AvgPool2d(SumPool2d):
    """Mean over windows; padded zeros count, as torch's default."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class MaxPool2d(SumPool2d):
    """Maximum over windows. Not in NIR; over impulses it has no meaning without a stated rule."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Flatten(Node):
    """Axes `start_dim` to `end_dim` (inclusive) of one sample become one. There is no batch axis."""

    start_dim: int = 0
    end_dim: int = -1


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Delay(Node):
    """y(t) = x(t - delay), element by element; `delay` in seconds, the shape of x or a scalar."""

    delay: Array = param("s")


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Threshold(Node):
    """y = 1 where x > threshold, else 0."""

    threshold: Array = param()


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Relu(Node):
    """y = max(x, 0), at most `ceiling` where there is one. Of networks without spikes: ANN conversion replaces it."""

    ceiling: Array | None = param(default=None)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Neuron(Node):
    """Base of everything with a state. `grid`: what its grid means, where that differs from the graph's."""

    shape: tuple[int, ...] | None = None
    grid: Discretization | None = None


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Membrane(Neuron):
    """Base of what is linear in continuous time, and has a form on grids too. `v0`: the membrane at t = 0. Scalars are
    spread over `shape`; without `shape`, it is that of the parameters broadcast together. In the equations S is the sum
    of what comes in."""

    v0: Array = param(default=0.0)
    r: Array = param(default=1.0)

    def __post_init__(self) -> None:
        super(Membrane, self).__post_init__()
        _spread(self, params(self), _common_shape(params(self)) if self.shape is None else self.shape)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class I(Membrane):  # noqa: E742  (NIR's name)
    """Integrator: dV/dt = r S."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class LI(Membrane):
    """Leaky integrator: tau dV/dt = (v_leak - V) + r S."""

    tau: Array = param("s")
    v_leak: Array = param(default=0.0)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class CubaLI(Membrane):
    """Current-based leaky integrator: tau_syn dI/dt = -I + w_in S; tau_mem dV/dt = (v_leak - V) + r I."""

    tau_mem: Array = param("s")
    tau_syn: Array = param("s")
    v_leak: Array = param(default=0.0)
    w_in: Array = param(default=1.0)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class IF(I):
    """Integrate and fire: I; a spike when V > v_threshold, then `reset`; after it the membrane is held at its reset
    value for `refractory` seconds. `v_min`: the membrane is kept at or above it (on a grid: after the reset)."""

    v_threshold: Array = param(default=1.0)
    v_reset: Array = param(default=0.0)
    refractory: Array = param("s", 0.0)
    v_min: Array | None = param(default=None)
    reset: Reset = "v_reset"


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class LIF(LI):
    """Leaky integrate and fire: LI with threshold, reset and refractory period as in `IF`."""

    v_threshold: Array = param(default=1.0)
    v_reset: Array = param(default=0.0)
    refractory: Array = param("s", 0.0)
    v_min: Array | None = param(default=None)
    reset: Reset = "v_reset"


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class CubaLIF(CubaLI):
    """Current-based leaky integrate and fire: CubaLI with threshold, reset and refractory period as in `IF`."""

    v_threshold: Array = param(default=1.0)
    v_reset: Array = param(default=0.0)
    refractory: Array = param("s", 0.0)
    v_min: Array | None = param(default=None)
    reset: Reset = "v_reset"


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class StepNeuron(Neuron):
    """A neuron stated on a grid, for what no equation above says. K states s, of which the first is the membrane; in
    one column, with x the sum of what comes in (spikes and constant currents alike), f = 1 or 0 as `late` says:

        s* = (a + f late_a) s + (b + f late_b) x + (c + f late_c)
        n  = 1 where s*_0 > v_threshold + threshold_gain . s*, else 0  (`Discretization.fires`, `.spikes`: or >=, or
             as often as the threshold fits)
        s  = s* + [n > 0] (reset_a s* + reset_c) + (n spike_c + f late_after);   s_0 = max(s_0, v_min)

    `late` "fired": f = 1 if it fired in the column before; "above": if the test above holds for s as the column before,
    or the start, has left it. Matrices are (K, K), vectors (K,), for all neurons, or with the axes of `shape` after
    these, for each. What is left out is zero; without `v_threshold` it is a readout, and f = 0. States start at zero,
    the membrane at `v0`.
    """

    v0: Array = param(default=0.0)
    a: Array = param()
    b: Array = param()
    c: Array | None = param(default=None)
    late_a: Array | None = param(default=None)
    late_b: Array | None = param(default=None)
    late_c: Array | None = param(default=None)
    late_after: Array | None = param(default=None)
    reset_a: Array | None = param(default=None)
    reset_c: Array | None = param(default=None)
    spike_c: Array | None = param(default=None)
    v_threshold: Array | None = param(default=None)
    threshold_gain: Array | None = param(default=None)
    v_min: Array | None = param(default=None)
    late: Literal["fired", "above"] = "fired"

    def __post_init__(self) -> None:
        super(StepNeuron, self).__post_init__()
        own = {name: getattr(self, name) for name in ("v0", "v_threshold", "v_min")}
        _spread(self, {name: value for name, value in own.items() if value is not None}, self.shape)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class FlowNeuron(Neuron):
    """Base of what is stated in continuous time alone, as a differential equation that need not be linear. Impulses
    only: a spike is no current of some length here. Scalars are spread as those of a `Membrane`."""

    def __post_init__(self) -> None:
        super(FlowNeuron, self).__post_init__()
        _spread(self, params(self), _common_shape(params(self)) if self.shape is None else self.shape)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class QIF(FlowNeuron):
    """Quadratic integrate and fire with a current that decays: tau dV/dt = V (V - 1) + I, (tau / 2) dI/dt = -I. An
    impulse of weight w moves I by w. A spike is V = +inf, after which V comes from -inf; I goes on. Without current V
    rests at 0, and at 1 it runs away. Klos & Memmesheimer, Phys Rev Lett 2025 (arXiv 2309.14523). It takes no constant
    current."""

    v0: Array = param(default=0.0)
    tau: Array = param("s")


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Theta(FlowNeuron):
    """Oscillating theta neuron: tau dV/dt = V (V - 1) + i0 + b with the constant current b that comes in; i0 + b > 1/4,
    so that it fires by itself, with period pi tau / sqrt(i0 + b - 1/4). An impulse of weight w moves V by w. A spike
    is V = +inf, as of `QIF`. `v0` = 1/2 is the middle of a period. Klos & Memmesheimer (arXiv 2309.14523), whose
    i0 is 5/4."""

    v0: Array = param(default=0.5)
    tau: Array = param("s")
    i0: Array = param(default=1.25)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Equations(FlowNeuron):
    """A neuron that is written as text, read by `flow.statements`, never evaluated:

        equations   dv/dt = (v_rest - v + r*i)/tau : volt (unless refractory)     one line a state
                    di/dt = -i/tau_syn : amp
                    tau : second (trained)                     units of parameters, where any are stated
        threshold   v > theta                                  without it, a readout
        reset       v = v_reset; u += d                        what a spike does
        receive     i += w                                     what an impulse of weight w does; "i" alone means that

    `values`: its parameters by name, and the state at t = 0 as `v0`, `i0` and so on (zero where none is given). A
    constant current acts as impulses at that rate.
    """

    equations: str
    threshold: str | None = None
    reset: str = ""
    receive: str = "i"
    refractory: Array = param("s", 0.0)
    values: Mapping[str, Array] = field(default_factory=dict, metadata={"values": True})

    def __post_init__(self) -> None:
        given = dict(self.values) if isinstance(self.values, Mapping) else {}
        faults = Diagnostics()
        for state in state_names(self.equations):
            given.setdefault(f"{state}0", np.zeros(()))
        values = {name: _frozen_array(value, f"Equations.{name}", "fiub", faults) for name, value in given.items()}
        faults.raise_if_errors()
        object.__setattr__(self, "values", MappingProxyType(values))
        super(Equations, self).__post_init__()

    def __reduce__(self) -> Any:
        return _equations_again, (type(self), {entry.name: getattr(self, entry.name) for entry in fields(self)}
                                  | {"values": dict(self.values)})


def _equations_again(kind: type[Equations], given: dict[str, Any]) -> Equations:
    return kind(**given)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Graded(Neuron):
    """Base of neurons that send a graded current s in the place of spikes: tau_syn ds/dt = -s + g(v) dv/dt, with a gate
    g that is open over a stretch `zone` of the membrane and has the integral 1 (Huh & Sejnowski, NeurIPS 2018, arXiv
    1706.04698). A full passage adds the charge 1, a half one half of it, the way back takes it off. s is in 1/s. What
    comes in, S, is the sum of signals, of such currents and of impulses."""

    v0: Array = param(default=0.0)
    tau: Array = param("s")
    tau_syn: Array = param("s")
    zone: Array = param()
    r: Array = param(default=1.0)

    def __post_init__(self) -> None:
        super(Graded, self).__post_init__()
        _spread(self, params(self), _common_shape(params(self)) if self.shape is None else self.shape)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class GradedTheta(Graded):
    """Theta neuron (quadratic integrate and fire, V = tan(v / 2)) with a graded synapse:
    tau dv/dt = (1 - cos v) + (1 + cos v) r S. The angle v goes round; a spike is its passage of pi, about which the
    gate lies, `zone` radians wide. Nothing diverges and nothing is reset. `v0`: the angle at t = 0."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class GradedLI(Graded):
    """Leaky membrane with a graded synapse, which never resets: tau dv/dt = (v_leak - v) + r S. The gate lies about
    `v_gate`, `zone` wide, in units of the membrane."""

    v_leak: Array = param(default=0.0)
    v_gate: Array = param(default=1.0)


READOUTS: tuple[type[Membrane], ...] = (I, LI, CubaLI)
SPIKING: tuple[type[Membrane], ...] = (IF, LIF, CubaLIF)
FLOWS: tuple[type[FlowNeuron], ...] = (QIF, Theta, Equations)
GRADED: tuple[type[Graded], ...] = (GradedTheta, GradedLI)
NEURONS: tuple[type[Neuron], ...] = (*READOUTS, *SPIKING, StepNeuron, *FLOWS)
NODE_KINDS: dict[str, type[Node]] = {
    kind.__name__: kind
    for kind in (Input, Output, Linear, Affine, SparseLinear, Scale, BatchNorm, Conv1d, Conv2d, SumPool2d, AvgPool2d,
                 MaxPool2d, Flatten, Delay, Threshold, Relu, *NEURONS, *GRADED)
}


def is_spiking(node: Node) -> bool:
    """Whether a node sends spikes, or graded currents in their place; other neurons are readouts."""
    if isinstance(node, StepNeuron):
        return node.v_threshold is not None
    if isinstance(node, Equations):
        return node.threshold is not None
    return isinstance(node, (*SPIKING, QIF, Theta, *GRADED))


def is_memoryless(node: Node) -> bool:
    """Whether a node is a readout that shows what reaches it, and keeps nothing."""
    return isinstance(node, StepNeuron) and node.v_threshold is None and len(node.a) == 1 and not any(
        value is not None and bool(np.any(value)) for value in (node.a, node.c, node.v0)) and bool(
        (node.b == 1).all()) and node.v_min is None


def param_names(node: Node | type[Node]) -> Iterator[str]:
    """Names of the numeric parameters, in the order of declaration; those of a text after those of its kind."""
    yield from (entry.name for entry in fields(node) if entry.metadata.get("param"))
    if isinstance(node, Equations):
        yield from node.values


def params(node: Node) -> dict[str, Array]:
    """The numeric parameters that are set, by name."""
    found = {entry.name: getattr(node, entry.name) for entry in fields(node)
             if entry.metadata.get("param") and getattr(node, entry.name) is not None}
    return {**found, **node.values} if isinstance(node, Equations) else found


_N = TypeVar("_N", bound=Node)


def with_params(node: _N, values: Mapping[str, Any]) -> _N:
    """The node with other values of some parameters."""
    if not isinstance(node, Equations):
        return replace(node, **values)
    own = {name: value for name, value in values.items() if name not in node.values}
    nested = {name: value for name, value in values.items() if name in node.values}
    return replace(node, **own, values={**node.values, **nested})


def made(kind: type[_N], values: Mapping[str, Any]) -> _N:
    """A node of a kind, from its settings and parameters by name."""
    own = {entry.name for entry in fields(kind)}
    nested = {name: value for name, value in values.items() if name not in own}
    stated = {name: value for name, value in values.items() if name in own}
    return kind(**stated, **({"values": nested} if nested else {}))


class About(NamedTuple):
    """What a parameter is: its unit, whether it is trained by default, and the value that it has where none is given
    (`MISSING` of dataclasses where there is none)."""

    unit: str
    trained: bool
    default: Any


def about(node: Node, name: str) -> About:
    """What parameter `name` of a node is."""
    for entry in fields(node):
        if entry.name == name and entry.metadata.get("param"):
            return About(entry.metadata["unit"], entry.metadata["trained"], entry.default)
    reading = stated(node) if isinstance(node, Equations) else None
    if reading is None or name not in node.values:  # type: ignore[attr-defined]
        raise KeyError(name)
    start = name.endswith("0") and name[:-1] in reading.states
    unit = reading.units.get(name[:-1] if start else name, "1")
    return About("s" if unit == "second" else unit, name in reading.trained, 0.0 if start else MISSING)


def settings(node: Node) -> dict[str, Any]:
    """Everything else: shapes, strides, the reset rule and so on, by name."""
    return {entry.name: getattr(node, entry.name) for entry in fields(node)
            if not (entry.metadata.get("param") or entry.metadata.get("values"))}


def _common_shape(given: Mapping[str, Array]) -> tuple[int, ...] | None:
    """That of the parameters broadcast together; None where they do not, which `checks` reports with the node's name.
    """
    try:
        return np.broadcast_shapes(*(value.shape for value in given.values()))
    except ValueError:
        return None


def _spread(node: Neuron, given: Mapping[str, Array], shape: Any) -> None:
    """Spreads parameters over the node's shape; what does not fit is left, for `checks` to report with its name."""
    try:
        shape = tuple(operator.index(size) for size in shape)
    except TypeError:
        return
    object.__setattr__(node, "shape", shape)
    nested = {}
    for name, value in given.items():
        try:
            spread = np.broadcast_to(value, shape)
        except ValueError:
            spread = value
        if isinstance(node, Equations) and name in node.values:
            nested[name] = spread
        else:
            object.__setattr__(node, name, spread)
    if nested:
        object.__setattr__(node, "values", MappingProxyType({**node.values, **nested}))  # type: ignore[attr-defined]


def _frozen_array(value: Any, name: str, kinds: str, faults: Diagnostics) -> Array:
    """A read-only array of float32, float64 or int64; `kinds` are those that numpy may make of the value."""
    try:
        array: Array = np.asanyarray(value)
        if array.size and array.dtype.kind not in kinds:
            raise TypeError(f"it is of type {array.dtype}")
        if array.dtype not in (np.float32, np.float64) or "f" not in kinds:
            array = array.astype(np.float64 if "f" in kinds else np.int64, copy=False)
    except (TypeError, ValueError, OverflowError, RuntimeError) as error:
        faults.add("SC111", f"{name} is no array of {'numbers' if 'f' in kinds else 'whole numbers'}", value=error)
        return np.zeros(0)
    if array.flags.writeable:
        if array is value or array.base is not None:
            array = array.copy()
        array.flags.writeable = False
    return array
