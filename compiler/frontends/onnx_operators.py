"""What each operator of a plain ONNX network becomes: one function per operator, in the table `RULES`.

Tensors there have the batch axis in front, the graph has none. Meanings: https://onnx.ai/onnx/operators.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np
from onnx import TensorProto

from ...ir import nodes
from ...ir.nodes import Array
from ...ir.shapes import same_padding
from .onnx_constants import BATCH, Refusal, quantiser
from .onnx_import import Import, Rule, Signal
from .onnx_program import Operation

__all__ = ["RULES"]


# ---- matrices

def _gemm(model: Import, operation: Operation, signal: Any, weight: Any, bias: Any = None) -> Signal:
    settings = operation.settings
    _want(isinstance(signal, Signal) and _known(weight, bias), "a product of a signal and a constant matrix")
    if settings.get("transA", 0):
        raise Refusal("the signal is transposed before the product")
    matrix = weight if settings.get("transB", 0) else weight.T
    matrix = _times(matrix, settings.get("alpha", 1.0))
    if bias is not None:
        bias = _times(bias, settings.get("beta", 1.0))
    return _linear(model, operation, signal, matrix, bias)


def _matmul(model: Import, operation: Operation, signal: Any, weight: Any) -> Signal:
    _want(isinstance(signal, Signal) and _known(weight) and weight.ndim == 2,
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


# ---- windows

def _conv(model: Import, operation: Operation, signal: Any, weight: Any, bias: Any = None) -> Signal:
    _want(isinstance(signal, Signal) and _known(weight, bias), "a convolution of a signal with a constant kernel")
    axes = weight.ndim - 2
    if axes not in (1, 2) or len(signal.shape) != axes + 1:
        raise Refusal("a convolution over other than one or two axes", value=f"kernel {weight.shape}",
                      limit=f"a sample is {signal.shape}")
    settings = operation.settings
    stride, dilation = _numbers(settings, "strides", axes), _numbers(settings, "dilations", axes)
    pads = _pads(operation, signal, weight.shape[2:], stride, dilation)
    padding: Any
    same = [same_padding(size, step) for size, step in zip(weight.shape[2:], dilation, strict=True)]
    if any(before != after for before, after in pads) and pads == same and set(stride) == {1}:
        padding = "same"
    else:
        weight, padding = _even(weight, pads, dilation)
    if axes == 1:
        return model.add(operation, nodes.Conv1d(
            weight=weight, bias=bias, input_shape=signal.shape[1], stride=stride[0],
            padding="same" if padding == "same" else int(padding[0]), dilation=dilation[0],
            groups=settings.get("group", 1)), signal)
    return model.add(operation, nodes.Conv2d(
        weight=weight, bias=bias, input_shape=(signal.shape[1], signal.shape[2]), stride=(stride[0], stride[1]),
        padding=padding, dilation=(dilation[0], dilation[1]), groups=settings.get("group", 1)), signal)


def _even(weight: Array, pads: list[tuple[int, int]], dilation: Sequence[int]) -> tuple[Array, tuple[int, ...]]:
    """Kernel and equal padding on both sides that amount to unequal padding: taps of weight zero reach further out."""
    taps, even = [(0, 0), (0, 0)], []
    for (before, after), step in zip(pads, dilation, strict=True):
        missing = abs(after - before)
        if missing % step:
            raise Refusal("unequal padding that the dilation does not divide", value=(before, after), limit=step)
        taps.append((missing // step, 0) if after > before else (0, missing // step))
        even.append(max(before, after))
    return (np.pad(weight, taps) if any(map(any, taps)) else weight), tuple(even)


def _pool(kind: type[nodes.SumPool2d]) -> Rule:
    def rule(model: Import, operation: Operation, signal: Signal) -> Signal:
        settings = operation.settings
        size = tuple(settings["kernel_shape"])
        axes = len(size)
        if axes not in (1, 2) or len(signal.shape) != axes + 1:
            raise Refusal("a pool over other than one or two axes", value=f"window {size}",
                          limit=f"a sample is {signal.shape}")
        stride = _numbers(settings, "strides", axes)
        if set(_numbers(settings, "dilations", axes)) != {1}:
            raise Refusal("a pool with dilation", value=settings["dilations"])
        if len([name for name in operation.outputs if name]) > 1:
            raise Refusal("a pool that tells where its maxima are")
        pads = _pads(operation, signal, size, stride, (1,) * axes)
        own = any(map(any, pads)) and signal.pads is None
        if own and kind is nodes.AvgPool2d and not settings.get("count_include_pad", 0):
            raise Refusal("a mean that leaves out the padded zeros", value=f"pads {pads}",
                          remedy="Export it with count_include_pad=1, or without padding.")
        if any(before != after for before, after in pads):
            raise Refusal("a pool with unequal padding", value=f"pads {pads}")
        if settings.get("ceil_mode", 0) and any(
                (length + 2 * before - window) % step
                for length, (before, _), window, step in zip(signal.shape[1:], pads, size, stride, strict=True)):
            raise Refusal("a pool whose last window hangs over (ceil_mode)", remedy="Export it with ceil_mode=0.")
        return _pooled(model, operation, signal, kind, size, stride, tuple(before for before, _ in pads))

    return rule


def _pooled(model: Import, operation: Operation, signal: Signal, kind: type[nodes.SumPool2d], size: tuple[int, ...],
            stride: tuple[int, ...], padding: tuple[int, ...]) -> Signal:
    if len(size) == 2:
        return model.add(operation, kind(kernel_size=(size[0], size[1]), stride=(stride[0], stride[1]),
                                         padding=(padding[0], padding[1])), signal)
    if kind is not nodes.AvgPool2d:
        raise Refusal("a maximum over one axis", remedy="Use a pool over images.")
    channels = signal.shape[0]
    model.folder.room(channels * size[0], np.float32)
    mean = np.full((channels, 1, size[0]), 1 / size[0])
    return model.add(operation, nodes.Conv1d(weight=mean, input_shape=signal.shape[1], stride=stride[0],
                                             padding=padding[0], groups=channels), signal)


def _global_mean(model: Import, operation: Operation, signal: Signal) -> Signal:
    image = signal.shape[1:]
    if len(image) not in (1, 2):
        raise Refusal("a mean over other than one or two axes", value=signal.shape)
    return _pooled(model, operation, signal, nodes.AvgPool2d, image, image, (0,) * len(image))


def _reduce_mean(model: Import, operation: Operation, signal: Any, axes: Any = None) -> Signal:
    _want(isinstance(signal, Signal) and _known(axes), "a mean over constant axes")
    listed = operation.settings.get("axes", ()) if axes is None else axes.reshape(-1).tolist()
    rank = len(signal.shape) + 1
    if sorted(int(axis) % rank for axis in listed) != list(range(2, rank)):
        raise Refusal("a mean over other than all axes of the image", value=tuple(listed), limit=signal.shape)
    mean = _global_mean(model, operation, signal)
    return mean if operation.settings.get("keepdims", 1) else model.reshape(operation, mean, mean.shape[:1])


def _pad(model: Import, operation: Operation, signal: Any, pads: Any = None, value: Any = None,
         axes: Any = None) -> Signal:
    _want(isinstance(signal, Signal) and _known(pads, value, axes), "a padding of constant width")
    filled = operation.settings.get("value", 0.0) if value is None else value
    if operation.settings.get("mode", "constant") != "constant" or np.any(np.asarray(filled) != 0):
        raise Refusal("a padding with other than zeros", value=operation.settings.get("mode", "constant"))
    listed = operation.settings.get("pads", ()) if pads is None else pads.reshape(-1).tolist()
    rank = len(signal.shape) + 1
    named = range(rank) if axes is None else [int(axis) % rank for axis in axes.reshape(-1)]
    width = [(0, 0)] * rank
    for number, axis in enumerate(named):
        width[axis] = (int(listed[number]), int(listed[number + len(listed) // 2]))
    if any(map(any, width[:2])) or min(map(min, width)) < 0:
        raise Refusal("a padding of other axes than those of an image", value=width)
    around = (*(before for before, _ in width[2:]), *(after for _, after in width[2:]))
    return Signal(signal.handles, around) if any(around) else Signal(signal.handles)


def _pads(operation: Operation, signal: Signal, kernel: Sequence[int], stride: Sequence[int],
          dilation: Sequence[int]) -> list[tuple[int, int]]:
    """Zeros before and after each axis of the image."""
    axes = len(kernel)
    auto = operation.settings.get("auto_pad", "NOTSET")
    listed = list(operation.settings.get("pads", (0,) * 2 * axes))
    if len(listed) != 2 * axes or min(listed) < 0 or auto not in ("NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"):
        raise Refusal("a padding of unknown form", value=listed if auto == "NOTSET" else auto)
    if auto.startswith("SAME") and signal.pads is None:
        pads = []
        for length, size, step, gap in zip(signal.shape[1:], kernel, stride, dilation, strict=True):
            total = max((-(-length // step) - 1) * step + gap * (size - 1) + 1 - length, 0)
            less, more = total // 2, total - total // 2
            pads.append((less, more) if auto == "SAME_UPPER" else (more, less))
        return pads
    pads = [(0, 0)] * axes if auto == "VALID" else list(zip(listed[:axes], listed[axes:], strict=True))
    if signal.pads is not None:
        if auto.startswith("SAME") or (operation.kind == "AveragePool" and any(map(any, pads))):
            raise Refusal("zeros are padded twice, in two ways", value=auto)
        pads = [(before + more, after + further) for (before, after), more, further
                in zip(pads, signal.pads[:axes], signal.pads[axes:], strict=True)]
    return pads


# ---- element by element

def _relu(model: Import, operation: Operation, signal: Signal) -> Signal:
    return model.add(operation, nodes.Relu(), signal)


def _clip(model: Import, operation: Operation, signal: Any, low: Any = None, high: Any = None) -> Signal:
    _want(isinstance(signal, Signal) and _known(low, high), "a clip between constants")
    least = float(operation.settings.get("min", -np.inf) if low is None else low.reshape(()))
    most = float(operation.settings.get("max", np.inf) if high is None else high.reshape(()))
    if least != 0 or not most > 0:
        raise Refusal("a clip that does not begin at 0 is no rectifier", value=f"{least:g} to {most:g}")
    unbounded = most == np.inf or most >= np.finfo(np.float32).max
    return model.add(operation, nodes.Relu(ceiling=None if unbounded else np.asarray(most)), signal)


def _batch_norm(model: Import, operation: Operation, signal: Any, *arrays: Any) -> Signal:
    _want(isinstance(signal, Signal) and len(arrays) == 4 and _known(*arrays), "a normalisation by constants")
    if operation.settings.get("training_mode", 0):
        raise Refusal("a normalisation by the statistics of the batch", remedy="Export the model in eval mode.")
    gamma, beta, mean, variance = arrays
    return model.add(operation, nodes.BatchNorm(
        gamma=gamma, beta=beta, mean=mean, variance=variance,
        eps=float(np.float32(operation.settings.get("epsilon", 1e-5)))), signal)


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
    _want(isinstance(signal, Signal) and _known(shape), "a reshape to a constant shape")
    sizes, copies = [int(size) for size in shape.reshape(-1)], not operation.settings.get("allowzero", 0)
    full = (BATCH, *signal.shape)
    sizes = [full[axis] if size == 0 and copies and axis < len(full) else size for axis, size in enumerate(sizes)]
    first, rest = sizes[0], sizes[1:]
    known = prod(size for size in rest if size != -1)
    if rest.count(-1) == 1 and first != -1 and known > 0 and prod(signal.shape) % known == 0:
        rest[rest.index(-1)] = prod(signal.shape) // known
    if first not in (BATCH, -1, model.batch) or any(size < 1 for size in rest) or prod(rest) != prod(signal.shape):
        raise Refusal("a reshape that does not keep the batch axis in front", value=tuple(
            "batch" if size == BATCH else size for size in sizes), limit=("batch", *signal.shape))
    return model.reshape(operation, signal, tuple(rest))


def _squeeze(model: Import, operation: Operation, signal: Any, axes: Any = None) -> Signal:
    _want(isinstance(signal, Signal) and _known(axes), "a squeeze of constant axes")
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
    _want(isinstance(signal, Signal) and _known(scale, zero, width), "a quantiser of constant steps")
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


# ----

def _want(given: bool, what: str) -> None:
    if not given:
        raise Refusal(f"only {what} can be taken in")


def _known(*operands: Any) -> bool:
    """Whether operands are constants, or left out."""
    return all(operand is None or isinstance(operand, np.ndarray) for operand in operands)


def _numbers(settings: dict[str, Any], name: str, axes: int) -> tuple[int, ...]:
    given = tuple(settings.get(name, (1,) * axes))
    if len(given) != axes or min(given) < 1:
        raise Refusal(f"{name} is malformed", value=given)
    return given


def _times(array: Array, factor: float) -> Array:
    return array if factor == 1 else array * array.dtype.type(factor)


RULES: dict[str, Rule] = {
    "Gemm": _gemm, "MatMul": _matmul, "Conv": _conv, "AveragePool": _pool(nodes.AvgPool2d),
    "MaxPool": _pool(nodes.MaxPool2d), "GlobalAveragePool": _global_mean, "ReduceMean": _reduce_mean, "Pad": _pad,
    "Relu": _relu, "Clip": _clip, "BatchNormalization": _batch_norm, "Add": _add, "Sub": _subtract,
    "Mul": _multiply, "Div": _divide, "Neg": _negative, "Flatten": _flatten, "Reshape": _reshape,
    "Squeeze": _squeeze, "Transpose": _transpose, "Identity": _nothing, "Dropout": _nothing, "Cast": _cast,
    "Softmax": _softmax, "LogSoftmax": _softmax, "QuantizeLinear": _quantize, "DequantizeLinear": _dequantize,
    "qonnx.Quant": _quantize,
}
