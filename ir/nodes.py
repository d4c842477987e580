"""The node kinds: what a network can be made of. Data only; what goes in and out is in `shapes`, what is legal in
`checks`, what each node means in `exact` and `step`.

The 18 primitives of NIR 1.0 under NIR's names and with NIR's fields, plus what NIR lacks (sparse weights, delays per
connection, refractory period, reset rule, initial state, BatchNorm, MaxPool2d, Relu). Units are SI: seconds for every
time; voltages and currents are plain numbers. Equations are those of the NIR paper (Pedersen et al. 2024, table 1).
`StepNeuron` alone is stated on a grid, `Relu` alone belongs to networks without spikes.
"""

from __future__ import annotations

import operator
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from typing import Any, Literal

import numpy as np

from .diagnostics import Diagnostics
from .grid import Discretization

__all__ = [
    "IF", "LI", "LIF", "NEURONS", "NODE_KINDS", "READOUTS", "SPIKING", "Affine", "Array", "AvgPool2d", "BatchNorm",
    "Conv1d", "Conv2d", "CubaLI", "CubaLIF", "Delay", "Flatten", "I", "Input", "Linear", "MaxPool2d", "Membrane",
    "Neuron", "Node", "Output", "Padding", "Pair", "Relu", "Reset", "Scale", "SparseLinear", "StepNeuron", "SumPool2d",
    "Threshold", "is_memoryless", "is_spiking", "param", "param_names", "params", "settings",
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
    """Base of everything with a membrane. `v0`: the membrane at t = 0. `grid`: what its grid means, where that differs
    from the graph's."""

    shape: tuple[int, ...] | None = None
    grid: Discretization | None = None
    v0: Array = param(default=0.0)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Membrane(Neuron):
    """Base of what is stated in continuous time. Scalars are spread over `shape`; without `shape`, it is that of the
    parameters broadcast together. In the equations S is the sum of what comes in."""

    r: Array = param(default=1.0)

    def __post_init__(self) -> None:
        super(Membrane, self).__post_init__()
        given = params(self)
        shape = self.shape
        if shape is None:
            try:
                shape = np.broadcast_shapes(*(value.shape for value in given.values()))
            except ValueError:
                return  # `checks` reports it, with the name of the node
        _spread(self, given, shape)


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


READOUTS: tuple[type[Membrane], ...] = (I, LI, CubaLI)
SPIKING: tuple[type[Membrane], ...] = (IF, LIF, CubaLIF)
NEURONS: tuple[type[Neuron], ...] = (*READOUTS, *SPIKING, StepNeuron)
NODE_KINDS: dict[str, type[Node]] = {
    kind.__name__: kind
    for kind in (Input, Output, Linear, Affine, SparseLinear, Scale, BatchNorm, Conv1d, Conv2d, SumPool2d, AvgPool2d,
                 MaxPool2d, Flatten, Delay, Threshold, Relu, *NEURONS)
}


def is_spiking(node: Node) -> bool:
    """Whether a node sends spikes; other neurons are readouts."""
    return isinstance(node, SPIKING) or (isinstance(node, StepNeuron) and node.v_threshold is not None)


def is_memoryless(node: Node) -> bool:
    """Whether a node is a readout that shows what reaches it, and keeps nothing."""
    return isinstance(node, StepNeuron) and node.v_threshold is None and len(node.a) == 1 and not any(
        value is not None and bool(np.any(value)) for value in (node.a, node.c, node.v0)) and bool(
        (node.b == 1).all()) and node.v_min is None


def param_names(node: Node | type[Node]) -> Iterator[str]:
    """Names of the numeric parameters, in the order of declaration."""
    return (entry.name for entry in fields(node) if entry.metadata.get("param"))


def params(node: Node) -> dict[str, Array]:
    """The numeric parameters that are set, by name."""
    return {name: getattr(node, name) for name in param_names(node) if getattr(node, name) is not None}


def settings(node: Node) -> dict[str, Any]:
    """Everything else: shapes, strides, the reset rule and so on, by name."""
    return {entry.name: getattr(node, entry.name) for entry in fields(node) if not entry.metadata.get("param")}


def _spread(node: Neuron, given: dict[str, Array], shape: Any) -> None:
    """Spreads parameters over the node's shape; what does not fit is left, for `checks` to report with its name."""
    try:
        shape = tuple(operator.index(size) for size in shape)
    except TypeError:
        return
    object.__setattr__(node, "shape", shape)
    for name, value in given.items():
        try:
            object.__setattr__(node, name, np.broadcast_to(value, shape))
        except ValueError:
            continue


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
