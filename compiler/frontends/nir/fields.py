"""Which fields NIR 1.0 gives each node kind, and how a node of spikec is made of them.

One table, `KINDS`, read by the reader and the writer. The names of the fields are NIR's, which are spikec's too.
What NIR lacks travels in a node's metadata under names that begin with `EXTENSION`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, get_args

import numpy as np

from ....ir.conform import is_shape
from ....ir.diagnostics import Diagnostics
from ....ir.nodes import (
    IF,
    LI,
    LIF,
    SPIKING,
    Affine,
    Array,
    AvgPool2d,
    Conv1d,
    Conv2d,
    CubaLI,
    CubaLIF,
    Delay,
    Flatten,
    I,
    Input,
    Linear,
    Membrane,
    Node,
    Output,
    Reset,
    Scale,
    SparseLinear,
    SumPool2d,
    Threshold,
    param_names,
)
from .file import EXTENSION, RawNode, Value
from .metadata import GRID, read_grid

__all__ = ["KINDS", "NEURON_FIELDS", "Fields", "make_node"]

NEURON_FIELDS: Mapping[type[Membrane], tuple[str, ...]] = {
    I: ("r",),
    LI: ("tau", "r", "v_leak"),
    CubaLI: ("tau_syn", "tau_mem", "r", "v_leak", "w_in"),
    IF: ("r", "v_threshold", "v_reset"),
    LIF: ("tau", "r", "v_leak", "v_threshold", "v_reset"),
    CubaLIF: ("tau_syn", "tau_mem", "r", "v_leak", "v_threshold", "v_reset", "w_in"),
}
# Fields that files of older versions leave out, and the field whose shape and type the missing one takes.
_OPTIONAL = {"v_reset": ("v_threshold", 0.0), "w_in": ("tau_mem", 1.0)}
_SMALL = 64


class Fields:
    """The fields of one node, taken out one by one; what is missing or malformed goes into `faults`."""

    def __init__(self, values: Mapping[str, Value], where: str, faults: Diagnostics) -> None:
        self.values = values
        self.where = where
        self.faults = faults
        self.taken: set[str] = set()

    def array(self, name: str) -> Array | None:
        """A numeric field."""
        value = self._take(name)
        if isinstance(value, str):
            self.faults.add("SC206", f"'{name}' must be numbers", node=self.where, value=repr(value[:40]))
            return None
        return value

    def optional(self, name: str) -> Array | None:
        """A numeric field that may be absent."""
        return self.array(name) if name in self.values else None

    def whole(self, name: str) -> int | None:
        """A field that is one whole number."""
        numbers = self._whole_numbers(name)
        if numbers is not None and len(numbers) != 1:
            self.faults.add("SC206", f"'{name}' must be one number", node=self.where, value=numbers)
            return None
        return None if numbers is None else numbers[0]

    def pair(self, name: str) -> tuple[int, int] | None:
        """A field that is two whole numbers, or one that stands for both."""
        numbers = self._whole_numbers(name)
        if numbers is None:
            return None
        if len(numbers) not in (1, 2):
            self.faults.add("SC206", f"'{name}' must be one or two numbers", node=self.where, value=numbers)
            return None
        return numbers[0], numbers[-1]

    def shape(self, name: str) -> tuple[int, ...] | None:
        """A field that is a shape of one sample."""
        numbers = self._whole_numbers(name)
        if numbers is None or is_shape(numbers):
            return numbers
        self.faults.add("SC102", f"'{name}' is no shape: every axis is positive, and all together fit 32 bits",
                        node=self.where, value=numbers)
        return None

    def text(self, name: str, options: tuple[str, ...]) -> str | None:
        """A field that is one of `options`."""
        value = self._take(name)
        if value is None:
            return None
        if not isinstance(value, str) or value not in options:
            self.faults.add("SC206", f"'{name}' must be one of {', '.join(options)}", node=self.where,
                            value=repr(value)[:40])
            return None
        return value

    def _take(self, name: str) -> Value | None:
        self.taken.add(name)
        if name not in self.values:
            self.faults.add("SC205", f"the field '{name}' is missing", node=self.where)
            return None
        return self.values[name]

    def _whole_numbers(self, name: str) -> tuple[int, ...] | None:
        array = self.array(name)
        if array is None:
            return None
        if array.size > _SMALL or array.ndim > 1 or array.dtype.kind not in "iu":
            floats = array.size <= _SMALL and array.ndim <= 1 and array.dtype.kind == "f"
            if not floats or not np.isfinite(array).all() or (array != np.round(array)).any():
                self.faults.add("SC206", f"'{name}' must be whole numbers", node=self.where,
                                value=f"{array.dtype} {array.shape}")
                return None
        return tuple(int(number) for number in array.reshape(-1))


def make_node(raw: RawNode, faults: Diagnostics) -> tuple[Node | None, set[str]]:
    """The node that a raw one describes, and the names of its fields that say nothing to spikec. None where something
    is missing or malformed, or where the kind is unknown; `faults` then say so."""
    if not raw.kind:
        return None, set()  # the faults already say why
    if raw.kind not in KINDS:
        faults.add("SC207", "NIR has no node of this kind", node=raw.path, value=raw.kind, limit=", ".join(KINDS))
        return None, set()
    before = len(faults.errors)
    fields = Fields(raw.fields, raw.path, faults)
    extra = Fields({key.removeprefix(EXTENSION): value for key, value in raw.metadata.items()
                    if key.startswith(EXTENSION)}, raw.path, faults)
    arguments = KINDS[raw.kind](fields, extra)
    if len(faults.errors) > before:
        return None, set()
    kind: type[Node] = arguments.pop("kind")
    return kind(**arguments), set(raw.fields) - fields.taken


Arguments = dict[str, Any]


def _boundary(kind: type[Node]) -> Callable[[Fields, Fields], Arguments]:
    return lambda fields, extra: {"kind": kind, "shape": fields.shape("shape")}


def _neuron(kind: type[Membrane]) -> Callable[[Fields, Fields], Arguments]:
    def read(fields: Fields, extra: Fields) -> Arguments:
        arguments: Arguments = {"kind": kind}
        for name in NEURON_FIELDS[kind]:
            if name in fields.values or name not in _OPTIONAL:
                arguments[name] = fields.array(name)
                continue
            like, value = _OPTIONAL[name]
            pattern = fields.optional(like)
            if pattern is not None:
                arguments[name] = np.full_like(pattern, value)
        for name in ("v0", "refractory", "v_reset", "v_min"):
            if name in extra.values and name in param_names(kind):
                arguments[name] = extra.array(name)
        arguments["grid"] = read_grid(extra.values, GRID, fields.where, fields.faults)
        if "reset" in extra.values and kind in SPIKING:
            arguments["reset"] = extra.text("reset", get_args(Reset))
        return arguments

    return read


def _linear(fields: Fields, extra: Fields, bias: Array | None = None) -> Arguments:
    weight = fields.array("weight")
    if weight is not None and weight.ndim != 2:
        fields.faults.add("SC206", "'weight' must be (out, in)", node=fields.where, value=weight.shape,
                          remedy="Weights with more axes are not supported.")
    if "indptr" in extra.values:
        return _sparse(fields, extra, weight, bias)
    arguments: Arguments = {"kind": Linear, "weight": weight, "delay": extra.optional("delay")}
    return arguments if bias is None else {**arguments, "kind": Affine, "bias": bias}


def _affine(fields: Fields, extra: Fields) -> Arguments:
    return _linear(fields, extra, fields.array("bias"))


def _sparse(fields: Fields, extra: Fields, weight: Array | None, bias: Array | None) -> Arguments:
    indptr, indices = extra.array("indptr"), extra.array("indices")
    if weight is None or weight.ndim != 2 or indptr is None or indices is None:
        return {}
    rows, columns = weight.shape
    counts = np.diff(indptr)
    legal = (
        indptr.ndim == indices.ndim == 1 and indptr.dtype.kind in "iu" and indices.dtype.kind in "iu"
        and len(indptr) == rows + 1 and indptr[0] == 0 and indptr[-1] == len(indices) and bool((counts >= 0).all())
        and (not len(indices) or (int(indices.min()) >= 0 and int(indices.max()) < columns))
    )
    if not legal:
        fields.faults.add("SC206", "the sparse structure is malformed", node=fields.where)
        return {}
    return {"kind": SparseLinear, "size": (rows, columns), "indptr": indptr, "indices": indices,
            "weight": weight[np.repeat(np.arange(rows), counts), indices], "bias": bias,
            "delay": extra.optional("delay")}


def _conv(kind: type[Conv1d] | type[Conv2d]) -> Callable[[Fields, Fields], Arguments]:
    axes = 1 if kind is Conv1d else 2

    def read(fields: Fields, extra: Fields) -> Arguments:
        sizes = fields.whole if axes == 1 else fields.pair
        weight = fields.array("weight")
        if weight is not None and weight.ndim != axes + 2:
            fields.faults.add("SC206", f"'weight' must have {axes + 2} axes", node=fields.where, value=weight.shape)
        as_text = isinstance(fields.values.get("padding"), str)
        bias = fields.optional("bias")
        return {
            "kind": kind, "weight": weight, "bias": None if "no_bias" in extra.values else bias,
            "input_shape": sizes("input_shape") if "input_shape" in fields.values else None,
            "stride": sizes("stride"), "dilation": sizes("dilation"), "groups": fields.whole("groups"),
            "padding": fields.text("padding", ("same", "valid")) if as_text else sizes("padding"),
        }

    return read


def _pool(kind: type[SumPool2d]) -> Callable[[Fields, Fields], Arguments]:
    return lambda fields, extra: {"kind": kind, **{name: fields.pair(name)
                                                   for name in ("kernel_size", "stride", "padding")}}


def _flatten(fields: Fields, extra: Fields) -> Arguments:
    fields.taken.add("input_type")  # it follows from the source
    return {"kind": Flatten, "start_dim": fields.whole("start_dim"), "end_dim": fields.whole("end_dim")}


def _single(kind: type[Node], name: str) -> Callable[[Fields, Fields], Arguments]:
    return lambda fields, extra: {"kind": kind, name: fields.array(name)}


KINDS: Mapping[str, Callable[[Fields, Fields], Arguments]] = {
    "Input": _boundary(Input), "Output": _boundary(Output), "Linear": _linear, "Affine": _affine,
    "Scale": _single(Scale, "scale"), "Delay": _single(Delay, "delay"), "Threshold": _single(Threshold, "threshold"),
    "Conv1d": _conv(Conv1d), "Conv2d": _conv(Conv2d), "SumPool2d": _pool(SumPool2d), "AvgPool2d": _pool(AvgPool2d),
    "Flatten": _flatten, **{kind.__name__: _neuron(kind) for kind in NEURON_FIELDS},
}
"""For each kind of node in a NIR file, what makes a node's arguments of its fields (and of the extensions)."""
