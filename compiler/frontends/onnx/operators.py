"""What each operator of a plain ONNX network becomes: one function per operator, in the table `RULES`.

Tensors there have the batch axis in front, the graph has none. Meanings: https://onnx.ai/onnx/operators.
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
from onnx import TensorProto

from ....ir import nodes
from ....ir.nodes import Array
from .constants import BATCH, Refusal, quantiser
from .importing import Import, Rule, Signal, known, want
from .program import Operation
from .windows import WINDOWS

__all__ = ["RULES"]


# ---- matrices

def _gemm(model: Import, operation: Operation, signal: Any, weight: Any, bias: Any = None) -> Signal:
    settings = operation.settings
    want(isinstance(signal, Signal) and known(weight, bias), "a product of a signal and a constant matrix")
    if settings.get("transA", 0):
        raise Refusal("the signal is transposed before the product")
    matrix = weight if settings.get("transB", 0) else weight.T
    matrix = _times(matrix, settings.get("alpha", 1.0))
    if bias is not None:
        bias = _times(bias, settings.get("beta", 1.0))
    return _linear(model, operation, signal, matrix, bias)


def _matmul(model: Import, operation: Operation, signal: Any, weight: Any) -> Signal:
    want(isinstance(signal, Signal) and known(weight) and weight.ndim == 2,
          "a product of a signal and a constant matrix, in this order")
    bias = None
    follower = model.only_taker(operation.outputs[0])
    if follower is not None and (follower.domain, follower.kind) == ("", "Add"):
        other = [model.values.get(name) for name in follower.inputs if name != operation.outputs[0]]
        if len(other) == 1 and isinstance(other[0], np.ndarray) and other[0].shape in (
                (), (1,), weight.shape[1:], (1, *weight.shape[1:])):
            bias = other[0]
            follower.kind, follower.inputs = "Identity", (operation.outputs[0],)
    return _linear(model, operation, signal, weight.T, bias)


def _linear(model: Import, operation: Operation, signal: Signal, weight: Array, bias: Array | None) -> Signal:
    if len(signal.shape) != 1:
        raise Refusal("a matrix over one axis of several", value=signal.shape, limit="samples of one axis",
                      remedy="Put a Flatten before it, or use a convolution of width 1.")
    weight = np.ascontiguousarray(weight)
    weight.flags.writeable = False  # a node copies what others could write to
    if bias is None:
        return model.add(operation, nodes.Linear(weight=weight), signal)
    if bias.size != 1 and (bias.size != weight.shape[0] or bias.shape[-1] != bias.size):
        raise Refusal("a bias has one value, or one for each output", value=bias.shape, limit=weight.shape[:1])
    bias = np.broadcast_to(bias.reshape(-1), weight.shape[:1])
    return model.add(operation, nodes.Affine(weight=weight, bias=bias), signal)


# ---- element by element

def _relu(model: Import, operation: Operation, signal: Signal) -> Signal:
    return model.add(operation, nodes.Relu(), signal)


def _clip(model: Import, operation: Operation, signal: Any, low: Any = None, high: Any = None) -> Signal:
    want(isinstance(signal, Signal) and known(low, high), "a clip between constants")
    least = float(operation.settings.get("min", -np.inf) if low is None else low.reshape(()))
    most = float(operation.settings.get("max", np.inf) if high is None else high.reshape(()))
    if least != 0 or not most > 0:
        raise Refusal("a clip that does not begin at 0 is no rectifier", value=f"{least:g} to {most:g}")
    unbounded = most == np.inf or most >= np.finfo(np.float32).max
    return model.add(operation, nodes.Relu(ceiling=None if unbounded else np.asarray(most)), signal)


def _batch_norm(model: Import, operation: Operation, signal: Any, *arrays: Any) -> Signal:
    want(isinstance(signal, Signal) and len(arrays) == 4 and known(*arrays), "a normalisation by constants")
    if operation.settings.get("training_mode", 0):
        raise Refusal("a normalisation by the statistics of the batch", remedy="Export the model in eval mode.")
    gamma, beta, mean, variance = arrays
    return model.add(operation, nodes.BatchNorm(
        gamma=gamma, beta=beta, mean=mean, variance=variance,
        eps=float(np.float32(operation.settings.get("epsilon", 1e-5)))), signal)


def _sum(model: Import, operation: Operation, *signals: Any) -> Signal:
    total: Any = signals[0]
    for signal in signals[1:]:
        total = _add(model, operation, total, signal)
    return _nothing(model, operation, total)


def _larger(model: Import, operation: Operation, left: Any, right: Any) -> Signal:
    """A maximum with zero."""
    signal, bound = (left, right) if isinstance(left, Signal) else (right, left)
    if isinstance(bound, Signal) or np.any(bound != 0):
        raise Refusal("a maximum with other than 0 is no rectifier")
    return _relu(model, operation, signal)


def _smaller(model: Import, operation: Operation, left: Any, right: Any) -> Signal:
    """A ceiling of what is rectified."""
    signal, bound = (left, right) if isinstance(left, Signal) else (right, left)
    if isinstance(bound, Signal) or not all(isinstance(model.node(handle), nodes.Relu) for handle in signal.handles):
        raise Refusal("a minimum of other than a rectified signal and a constant")
    return model.add(operation, nodes.Relu(ceiling=_beside(bound, signal)), signal)


def _add(model: Import, operation: Operation, left: Any, right: Any) -> Signal:
    if isinstance(left, Signal) and isinstance(right, Signal):
        if left.shape != right.shape:
            raise Refusal("a sum of different shapes spreads one of them, which a graph does not",
                          value=f"{left.shape}, {right.shape}")
        return model.sum(operation, left, right)
    signal, constant = (left, right) if isinstance(left, Signal) else (right, left)
    return _shift(model, operation, signal, constant)


def _subtract(model: Import, operation: Operation, left: Any, right: Any) -> Signal:
    if isinstance(right, Signal):
        return _add(model, operation, left, model.add(operation, nodes.Scale(scale=np.asarray(-1.0)), right))
    return _shift(model, operation, left, -right)


def _multiply(model: Import, operation: Operation, left: Any, right: Any) -> Signal:
    if isinstance(left, Signal) and isinstance(right, Signal):
        raise Refusal("a product of two signals")
    signal, constant = (left, right) if isinstance(left, Signal) else (right, left)
    return model.add(operation, nodes.Scale(scale=_beside(constant, signal)), signal)


def _divide(model: Import, operation: Operation, left: Any, right: Any) -> Signal:
    if isinstance(right, Signal):
        raise Refusal("a division by a signal")
    with np.errstate(all="ignore"):
        inverse = (1 / right).astype(right.dtype if right.dtype.kind == "f" else np.float64)
    return model.add(operation, nodes.Scale(scale=_beside(inverse, left)), left)


def _negative(model: Import, operation: Operation, signal: Signal) -> Signal:
    return model.add(operation, nodes.Scale(scale=np.asarray(-1.0)), signal)


def _shift(model: Import, operation: Operation, signal: Signal, constant: Array) -> Signal:
    """A constant added to a signal, as a normalisation that does nothing else: variance + eps = 1 exactly."""
    constant = _beside(constant, signal)
    if not constant.any():
        return signal
    if constant.ndim == len(signal.shape) and prod(constant.shape[1:]) != 1:
        raise Refusal("a constant that differs within a channel is added", value=constant.shape, limit=signal.shape)
    if constant.ndim < len(signal.shape) and constant.size > 1:
        raise Refusal("a constant that differs within a channel is added", value=constant.shape, limit=signal.shape)
    channels = signal.shape[:1]
    constant = np.broadcast_to(constant.reshape(-1), channels)
    plain = {"mean": np.zeros(channels), "variance": np.full(channels, 1 - 2.0**-10), "gamma": np.ones(channels)}
    return model.add(operation, nodes.BatchNorm(**plain, beta=constant, eps=2.0**-10), signal)


def _beside(constant: Array, signal: Signal) -> Array:
    """A constant operand without the batch axis."""
    while constant.ndim > len(signal.shape) and constant.shape[0] == 1:
        constant = constant[0]
    if constant.ndim > len(signal.shape) or np.broadcast_shapes(constant.shape, signal.shape) != signal.shape:
        raise Refusal("a constant does not spread over one sample", value=constant.shape, limit=signal.shape)
    return constant


# ---- shapes

def _flatten(model: Import, operation: Operation, signal: Signal) -> Signal:
    axis = operation.settings.get("axis", 1)
    if axis not in (1, -len(signal.shape)):
        raise Refusal("the batch axis is put together with others", value=f"axis {axis}", remedy="Flatten from axis 1.")
    return model.reshape(operation, signal, (prod(signal.shape),))


def _reshape(model: Import, operation: Operation, signal: Any, shape: Any) -> Signal:
    want(isinstance(signal, Signal) and known(shape), "a reshape to a constant shape")
    sizes, copies = [int(size) for size in shape.reshape(-1)], not operation.settings.get("allowzero", 0)
    full = (BATCH, *signal.shape)
    sizes = [full[axis] if size == 0 and copies and axis < len(full) else size for axis, size in enumerate(sizes)]
    first, rest = sizes[0], sizes[1:]
    stated = prod(size for size in rest if size != -1)
    if rest.count(-1) == 1 and first != -1 and stated > 0 and prod(signal.shape) % stated == 0:
        rest[rest.index(-1)] = prod(signal.shape) // stated
    if first not in (BATCH, -1, model.batch) or any(size < 1 for size in rest) or prod(rest) != prod(signal.shape):
        raise Refusal("a reshape that does not keep the batch axis in front", value=tuple(
            "batch" if size == BATCH else size for size in sizes), limit=("batch", *signal.shape))
    return model.reshape(operation, signal, tuple(rest))


def _squeeze(model: Import, operation: Operation, signal: Any, axes: Any = None) -> Signal:
    want(isinstance(signal, Signal) and known(axes), "a squeeze of constant axes")
    listed = operation.settings.get("axes") if axes is None else axes.reshape(-1).tolist()
    rank = len(signal.shape) + 1
    gone = {int(axis) % rank for axis in listed} if listed is not None else {
        axis + 1 for axis, size in enumerate(signal.shape) if size == 1}
    if 0 in gone or any(signal.shape[axis - 1] != 1 for axis in gone):
        raise Refusal("a squeeze of the batch axis, or of one that is longer than 1", value=sorted(gone))
    return model.reshape(operation, signal, tuple(
        size for axis, size in enumerate(signal.shape) if axis + 1 not in gone))


def _transpose(model: Import, operation: Operation, signal: Signal) -> Signal:
    order = operation.settings.get("perm")
    if order is None or list(order) != list(range(len(signal.shape) + 1)):
        raise Refusal("axes of a signal change places", value=order)
    return signal


# ---- what changes nothing, or is left out

def _nothing(model: Import, operation: Operation, signal: Signal, *_: Any) -> Signal:
    return signal


def _dropout(model: Import, operation: Operation, signal: Any, ratio: Any = None, training: Any = None) -> Signal:
    want(isinstance(signal, Signal) and known(ratio, training), "a dropout by constants")
    ratio = operation.settings.get("ratio", 0.5) if ratio is None else ratio
    if training is not None and np.any(training) and np.any(np.asarray(ratio) != 0):
        raise Refusal("a dropout that is on draws random numbers", remedy="Export the model in eval mode.")
    passed: Signal = signal
    return passed


def _cast(model: Import, operation: Operation, signal: Signal) -> Signal:
    if operation.settings.get("to") not in (TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16,
                                            TensorProto.BFLOAT16):
        raise Refusal("a signal is cut to whole numbers")
    return signal


def _softmax(model: Import, operation: Operation, signal: Signal) -> Signal:
    if not model.ends(operation.outputs[0]):
        raise Refusal("a softmax inside of the network")
    model.warn(operation, f"{operation.kind} at the end is left out: the order of the outputs stays, their values "
               "are those before it")
    return signal


def _quantize(model: Import, operation: Operation, signal: Any, scale: Any, zero: Any = None,
              width: Any = None) -> Signal:
    """Quantize, or Quantize and Dequantize in one (Quant): rounding is left out, the range is kept where it is that of
    a rectifier."""
    want(isinstance(signal, Signal) and known(scale, zero, width), "a quantiser of constant steps")
    if operation.kind == "QuantizeLinear" and any(
            taker.kind != "DequantizeLinear" for taker in model.takers[operation.outputs[0]]):
        raise Refusal("integers are computed with", remedy="Export the network with QuantizeLinear and "
                      "DequantizeLinear in pairs (QDQ).")
    step, shift, least, most = quantiser(operation, scale, zero, width)
    if scale.size != 1 or shift.size != 1:
        raise Refusal("a signal is quantised with several steps", value=scale.shape)
    low, high = (float((end - shift.reshape(())) * step.reshape(())) for end in (least, most))
    levels = f"{most - least + 1:.0f} levels of {float(step.reshape(())):g}, {low:g} to {high:g}"
    result: Signal
    sources = [model.node(handle) for handle in signal.handles]
    rectified = all(isinstance(source, nodes.Relu) for source in sources)
    if rectified and all(source.ceiling is not None and (source.ceiling <= high * (1 + 1e-6)).all()
                         for source in sources if isinstance(source, nodes.Relu)):
        result = signal
    elif low == 0 or rectified:
        result = model.add(operation, nodes.Relu(ceiling=np.asarray(high)), signal)
    elif all(isinstance(source, nodes.Input) for source in sources) or model.ends(_dequantised(model, operation)):
        result = signal
    else:
        raise Refusal("a quantiser whose range does not begin at 0 is no rectifier", value=levels,
                      remedy="Quantise after the Relu, or without a sign.")
    model.warn(operation, "values are not rounded to the steps of the quantiser", value=levels,
               remedy="Rounding comes back with the number of time steps of the converted network.")
    return result


def _dequantised(model: Import, operation: Operation) -> str:
    """The value after a quantiser and the operation that undoes it."""
    taker = model.only_taker(operation.outputs[0]) if operation.kind == "QuantizeLinear" else None
    return operation.outputs[0] if taker is None else taker.outputs[0]


def _dequantize(model: Import, operation: Operation, signal: Any, *scales: Any) -> Signal:
    """After the Quantize of the same signal, whose integers have stayed what they stand for."""
    giver = model.givers.get(operation.inputs[0])
    if giver is None or giver.kind != "QuantizeLinear" or giver.inputs[1:] != operation.inputs[1:]:
        raise Refusal("integers are computed with between two quantisers, or come in",
                      remedy="Export the network with QuantizeLinear and DequantizeLinear in pairs (QDQ).")
    return _nothing(model, operation, signal)


def _times(array: Array, factor: float) -> Array:
    return array if factor == 1 else array * array.dtype.type(factor)


RULES: dict[str, Rule] = {
    "Gemm": _gemm, "MatMul": _matmul, **WINDOWS, "BatchNormalization": _batch_norm,
    "Relu": _relu, "Clip": _clip, "Max": _larger, "Min": _smaller, "Add": _add, "Sum": _sum, "Sub": _subtract,
    "Mul": _multiply, "Div": _divide, "Neg": _negative, "Flatten": _flatten, "Reshape": _reshape,
    "Squeeze": _squeeze, "Transpose": _transpose, "Identity": _nothing, "Dropout": _dropout, "Cast": _cast,
    "Softmax": _softmax, "LogSoftmax": _softmax, "QuantizeLinear": _quantize, "DequantizeLinear": _dequantize,
    "qonnx.Quant": _quantize,
}
