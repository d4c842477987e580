"""Operations of an ONNX model whose operands are all known: weights that are transposed, reshaped or quantised before
they are used, shapes that are taken apart and put together. One function per operator, in the table `FOLDS`.

A size of the batch axis is unknown: `BATCH` stands for it among the integers of a shape, and may be moved about but
not computed with. Quantisers follow the ONNX specification (QuantizeLinear, DequantizeLinear) and that of QONNX
(Quant, BipolarQuant; https://github.com/fastmachinelearning/qonnx/tree/main/docs/qonnx-custom-ops).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any

import numpy as np
import onnx

from ....ir.nodes import Array
from .program import Operation

__all__ = ["BATCH", "FOLDS", "QONNX_DOMAINS", "Folder", "Refusal", "operator", "quantiser"]

BATCH = int(np.iinfo(np.int64).min)
QONNX_DOMAINS = ("qonnx.custom_op.general", "onnx.brevitas", "finn.custom_op.general")


class Refusal(Exception):
    """An operation cannot be taken in; the parts of the diagnostic that says so."""

    def __init__(self, message: str, code: str = "SC226", **facts: Any) -> None:
        super().__init__(message)
        self.message, self.code, self.facts = message, code, facts


def operator(operation: Operation) -> str:
    """The key of an operation in the tables: the name of its operator, quantisers of QONNX under `qonnx.`."""
    if operation.domain == "":
        return operation.kind
    domain = "qonnx" if operation.domain in QONNX_DOMAINS else operation.domain
    return f"{domain}.{operation.kind}"


class Folder:
    """Computes constants, within a budget of bytes."""

    def __init__(self, budget: int) -> None:
        self.left = budget

    def fold(self, operation: Operation, operands: Sequence[Array | None]) -> Array:
        """The (first) output of an operation of `FOLDS`.

        Raises:
            Refusal: it is malformed, or too large.
        """
        try:
            with np.errstate(all="ignore"):
                return np.asarray(FOLDS[operator(operation)](self, operation, *operands))
        except (ValueError, TypeError, IndexError, KeyError, AttributeError, OverflowError, MemoryError) as error:
            raise Refusal(f"the operation cannot be computed: {str(error)[:200]}", "SC240", value=operation.kind,
                          remedy="onnx.checker.check_model tells more.") from error

    def room(self, size: int, dtype: Any) -> None:
        """Takes `size` elements from the budget.

        Raises:
            Refusal: it is used up.
        """
        self.left -= size * np.dtype(dtype).itemsize
        if self.left < 0:
            raise Refusal("computing the constants of the model takes too much memory", "SC204")


def quantiser(operation: Operation, scale: Array, zero: Array | None, width: Array | None = None,
              ) -> tuple[Array, Array, float, float]:
    """Step and zero point of a quantiser, and the least and greatest integer that it knows.

    Raises:
        Refusal: its settings are malformed.
    """
    zero = np.zeros(()) if zero is None else zero
    if operation.kind == "Quant":
        bits = float(np.asarray(width).reshape(-1)[0]) if width is not None and width.size == 1 else 0.0
        if not 1 <= bits <= 64:
            raise Refusal("a quantiser has one bit width, from 1 to 64", value=bits)
        signed, narrow = bool(operation.settings.get("signed", 1)), bool(operation.settings.get("narrow", 0))
        low = -(2 ** (bits - 1)) + narrow if signed else 0.0
        high = 2 ** (bits - 1) - 1 if signed else 2**bits - 1 - narrow
    else:
        kind = _integers(operation, zero)
        low, high = float(np.iinfo(kind).min), float(np.iinfo(kind).max)
    if not (np.isfinite(scale).all() and (scale > 0).all()):
        raise Refusal("the step of a quantiser is positive", value=scale.reshape(-1)[:4])
    return scale, zero.astype(np.float64), low, high


def _integers(operation: Operation, zero: Array | None) -> np.dtype[Any]:
    """The type that a quantiser gives: that of its zero point, or what it states, or uint8."""
    stated = operation.settings.get("output_dtype", 0)
    kind = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(stated)) if stated else np.dtype(np.uint8)
    if zero is not None and zero.dtype.kind in "iu":
        kind = zero.dtype
    if kind.kind not in "iu":
        raise Refusal("a quantiser gives other than integers", value=kind)
    return kind


def _axes(operation: Operation, axes: Array | None) -> tuple[int, ...] | None:
    given = operation.settings.get("axes") if axes is None else axes.reshape(-1).tolist()
    return None if given is None else tuple(int(axis) for axis in given)


def _identity(folder: Folder, operation: Operation, data: Array, *_: Any) -> Array:
    return data


def _constant(folder: Folder, operation: Operation) -> Array:
    for name, kind in (("value", None), ("value_float", np.float32), ("value_floats", np.float32),
                       ("value_int", np.int64), ("value_ints", np.int64)):
        if operation.settings.get(name) is not None:
            return np.asarray(operation.settings[name], dtype=kind)
    raise Refusal("the constant holds no numbers")


def _cast(folder: Folder, operation: Operation, data: Array, *_: Any) -> Array:
    kind = onnx.helper.tensor_dtype_to_np_dtype(operation.settings["to"])
    if np.dtype(kind).kind not in "fiub":
        raise Refusal("a constant is cast to what is no number", value=kind)
    if kind == np.float16:
        kind = np.dtype(np.float32)
    if (data == BATCH).any() and kind != np.int64:
        raise Refusal("the size of the batch axis is computed with")
    folder.room(data.size, kind)
    return data.astype(kind)


def _reshape(folder: Folder, operation: Operation, data: Array, shape: Array, *_: Any) -> Array:
    zero_is_zero = operation.settings.get("allowzero", 0)
    sizes = [data.shape[axis] if size == 0 and not zero_is_zero else int(size) for axis, size in enumerate(shape)]
    return data.reshape(sizes)


def _transpose(folder: Folder, operation: Operation, data: Array) -> Array:
    return data.transpose(operation.settings.get("perm"))


def _squeeze(folder: Folder, operation: Operation, data: Array, axes: Array | None = None) -> Array:
    return np.squeeze(data, _axes(operation, axes))


def _unsqueeze(folder: Folder, operation: Operation, data: Array, axes: Array | None = None) -> Array:
    return np.expand_dims(data, _axes(operation, axes) or ())


def _concat(folder: Folder, operation: Operation, *parts: Array) -> Array:
    folder.room(sum(part.size for part in parts), parts[0].dtype)
    return np.concatenate(parts, axis=operation.settings["axis"])


def _gather(folder: Folder, operation: Operation, data: Array, indices: Array) -> Array:
    axis = operation.settings.get("axis", 0)
    folder.room(prod(data.shape) // max(data.shape[axis], 1) * indices.size, data.dtype)
    return np.take(data, indices, axis=axis)


def _slice(folder: Folder, operation: Operation, data: Array, *bounds: Array | None) -> Array:
    listed = [operation.settings.get(key) for key in ("starts", "ends", "axes", "steps")]
    listed = [None if bound is None else bound.reshape(-1).tolist() for bound in bounds] if bounds else listed
    starts, ends, axes, steps = (*listed, None, None)[:4]
    if starts is None or ends is None:
        raise Refusal("a slice without beginning and end", "SC240")
    view = [slice(None)] * data.ndim
    for number, (start, end) in enumerate(zip(starts, ends, strict=True)):
        step = int(steps[number]) if steps else 1
        axis = int(axes[number]) if axes else number
        backwards = step < 0 and end < -data.shape[axis]
        view[axis] = slice(int(start), None if backwards else int(end), step)
    return data[tuple(view)]


def _arithmetic(compute: Callable[[Array, Array], Array]) -> Callable[..., Array]:
    def fold(folder: Folder, operation: Operation, left: Array, right: Array) -> Array:
        if any(each.dtype.kind in "iu" and (each == BATCH).any() for each in (left, right)):
            raise Refusal("the size of the batch axis is computed with")
        folder.room(prod(np.broadcast_shapes(left.shape, right.shape)), np.result_type(left, right))
        return compute(left, right)

    return fold


def _divide(left: Array, right: Array) -> Array:
    if left.dtype.kind == "f":
        return left / right
    return np.trunc(left / right).astype(left.dtype)


def _unary(compute: Callable[[Array], Array]) -> Callable[..., Array]:
    def fold(folder: Folder, operation: Operation, data: Array) -> Array:
        folder.room(data.size, data.dtype)
        return compute(data)

    return fold


def _rectified(data: Array) -> Array:
    rectified: Array = np.maximum(data, data.dtype.type(0))
    return rectified


def _dropout(folder: Folder, operation: Operation, data: Array, ratio: Array | None = None,
             training: Array | None = None) -> Array:
    if training is not None and np.any(training) and (ratio is None or np.any(ratio != 0)):
        raise Refusal("a dropout that is on draws random numbers", remedy="Export the model in eval mode.")
    return data


def _along(operation: Operation, values: Array, data: Array) -> Array:
    """Steps of a quantiser so that they spread over its data: along `axis`, in blocks where there is a block size."""
    if values.size == 1:
        return values.reshape(())
    axis, block = operation.settings.get("axis", 1), operation.settings.get("block_size", 0)
    if block:
        values = np.repeat(values, min(block, data.shape[axis]), axis=axis)
        values = values[(*(slice(0, size) for size in data.shape),)]
    elif values.ndim == 1:
        values = values.reshape([values.size if number == axis % data.ndim else 1 for number in range(data.ndim)])
    if np.broadcast_shapes(values.shape, data.shape) != data.shape:
        raise Refusal("the quantiser has more steps than its data", value=values.shape, limit=data.shape)
    return values


def _quantize(folder: Folder, operation: Operation, data: Array, scale: Array, zero: Array | None = None) -> Array:
    step, shift, low, high = quantiser(operation, scale, zero)
    folder.room(2 * data.size, np.float64)
    kind = _integers(operation, zero)
    levels: Array = np.rint(data / _along(operation, step, data)) + _along(operation, shift, data)
    return np.clip(levels, low, high).astype(kind)


def _dequantize(folder: Folder, operation: Operation, data: Array, scale: Array, zero: Array | None = None) -> Array:
    folder.room(2 * data.size, np.float64)
    shift = np.zeros(()) if zero is None else _along(operation, zero.astype(np.float64), data)
    values: Array = ((data - shift) * _along(operation, scale, data)).astype(scale.dtype)
    return values


_ROUNDING: Mapping[str, Callable[[Array], Array]] = {
    "ROUND": np.rint, "HALF_EVEN": np.rint, "CEIL": np.ceil, "UP": np.ceil, "FLOOR": np.floor, "DOWN": np.floor,
    "ROUND_TO_ZERO": np.trunc,
}


def _quant(folder: Folder, operation: Operation, data: Array, scale: Array, zero: Array, width: Array) -> Array:
    step, shift, low, high = quantiser(operation, scale, zero, width)
    rounding = str(operation.settings.get("rounding_mode", "ROUND")).upper()
    if rounding not in _ROUNDING:
        raise Refusal("the quantiser rounds in an unknown way", value=rounding, limit=", ".join(_ROUNDING))
    if np.broadcast_shapes(data.shape, step.shape, shift.shape) != data.shape:
        raise Refusal("the quantiser has more steps than its data", value=step.shape, limit=data.shape)
    folder.room(3 * data.size, np.float64)
    levels = np.clip(_ROUNDING[rounding](data / step + shift), low, high)
    return ((levels - shift) * step).astype(data.dtype)


def _bipolar(folder: Folder, operation: Operation, data: Array, scale: Array) -> Array:
    folder.room(prod(np.broadcast_shapes(data.shape, scale.shape)), data.dtype)
    return (np.where(data >= 0, 1.0, -1.0) * scale).astype(data.dtype)


FOLDS: Mapping[str, Callable[..., Array]] = {
    "Constant": _constant, "Identity": _identity, "Dropout": _dropout, "Cast": _cast, "Reshape": _reshape,
    "Transpose": _transpose, "Squeeze": _squeeze, "Unsqueeze": _unsqueeze, "Concat": _concat, "Gather": _gather,
    "Slice": _slice, "Add": _arithmetic(np.add), "Sub": _arithmetic(np.subtract), "Mul": _arithmetic(np.multiply),
    "Div": _arithmetic(_divide), "Sqrt": _unary(np.sqrt), "Neg": _unary(np.negative),
    "Relu": _unary(_rectified),
    "QuantizeLinear": _quantize, "DequantizeLinear": _dequantize, "qonnx.Quant": _quant,
    "qonnx.BipolarQuant": _bipolar,
}
