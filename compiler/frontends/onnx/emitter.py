"""The parts of an ONNX model under construction: operations, constants, and names for the values between them.

Operations go to one of two places: `once`, before time begins, or the body that computes one column of time.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import onnx
from onnx import helper, numpy_helper

from ....ir.nodes import Array

__all__ = ["OPSET", "DType", "Emitter"]

OPSET = 18
DType = Literal["float64", "float32"]


class Emitter:
    """`dtype`: of the arithmetic. `constants` are those of the model, by name; `columns` and `once` its operations."""

    def __init__(self, dtype: DType, reserved: set[str]) -> None:
        self.dtype: np.dtype[Any] = np.dtype(dtype)
        self.elements = int(helper.np_dtype_to_tensor_dtype(self.dtype))
        self.once: list[onnx.NodeProto] = []
        self.columns: list[onnx.NodeProto] = []
        self.constants: dict[str, Array] = {}
        self.parameters: set[str] = set()
        self._names, self._uses = set(reserved), dict[str, int]()
        self._known: dict[Any, str] = {}

    def fresh(self, base: str) -> str:
        """A name of a value that is not taken, made from `base`."""
        name = base
        while name in self._names:
            self._uses[base] = self._uses.get(base, 0) + 1
            name = f"{base}_{self._uses[base]}"
        self._names.add(name)
        return name

    def add(self, kind: str, inputs: list[str], base: str, once: bool = False, outputs: list[str] | None = None,
            domain: str | None = None, **settings: Any) -> str:
        """One operation; returns its first output. `base`: the name that its values are called after."""
        outputs = [self.fresh(f"{base}/{kind}")] if outputs is None else outputs
        node = helper.make_node(kind, inputs, outputs, name=outputs[0], domain=domain, **settings)
        (self.once if once else self.columns).append(node)
        return outputs[0]

    def constant(self, array: Any, base: str) -> str:
        """A constant of the model: numbers in the type of the arithmetic, whole numbers as int64."""
        values = np.asarray(array)
        values = values.astype(self.dtype if values.dtype.kind == "f" else np.int64)
        name = self.fresh(base)
        self.constants[name] = values
        return name

    def number(self, value: float | int) -> str:
        """A single number, the same constant wherever it is used; whole numbers are int64."""
        key = ("number", type(value), value)
        if key not in self._known:
            self._known[key] = self.constant(np.asarray(value), f"/{value!r}")
        return self._known[key]

    def numbers(self, *values: int) -> str:
        """A list of whole numbers, such as a shape."""
        key = ("numbers", values)
        if key not in self._known:
            self._known[key] = self.constant(np.asarray(values, dtype=np.int64), f"/{list(values)}")
        return self._known[key]

    def parameter(self, node: str, field: str, array: Array, cast: bool = True) -> str:
        """A parameter of a node, stored bit by bit as the node has it; cast to the type of the arithmetic."""
        key = f"{node}.{field}"
        if key not in self.parameters:
            self.parameters.add(key)
            self.constants[key] = array
        if not cast or array.dtype == self.dtype or array.dtype.kind != "f":
            return key
        if key not in self._known:
            self._known[key] = self.add("Cast", [key], key, once=True, to=self.elements)
        return self._known[key]

    def initializers(self) -> list[onnx.TensorProto]:
        return [numpy_helper.from_array(np.ascontiguousarray(array).reshape(array.shape), name)
                for name, array in self.constants.items()]

    def value_info(self, name: str, shape: tuple[int | str, ...]) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, self.elements, shape)
