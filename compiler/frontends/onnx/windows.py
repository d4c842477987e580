"""What operators over windows of a plain ONNX network become: convolutions, pools, means over an image, padding."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ....ir import nodes
from ....ir.nodes import Array
from ....ir.shapes import same_padding
from .constants import Refusal
from .importing import Import, Rule, Signal, known, want
from .program import Operation

__all__ = ["WINDOWS"]


def _conv(model: Import, operation: Operation, signal: Any, weight: Any, bias: Any = None) -> Signal:
    want(isinstance(signal, Signal) and known(weight, bias), "a convolution of a signal with a constant kernel")
    axes = weight.ndim - 2
    if axes not in (1, 2) or len(signal.shape) != axes + 1:
        raise Refusal("a convolution over other than one or two axes", value=f"kernel {weight.shape}",
                      limit=f"a sample is {signal.shape}")
    settings = operation.settings
    if tuple(settings.get("kernel_shape", weight.shape[2:])) != weight.shape[2:]:
        raise Refusal("the stated kernel_shape is not that of the weights", "SC240", value=settings["kernel_shape"],
                      limit=weight.shape[2:], remedy="Export the model again.")
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
    want(isinstance(signal, Signal) and known(axes), "a mean over constant axes")
    listed = operation.settings.get("axes", ()) if axes is None else axes.reshape(-1).tolist()
    rank = len(signal.shape) + 1
    if sorted(int(axis) % rank for axis in listed) != list(range(2, rank)):
        raise Refusal("a mean over other than all axes of the image", value=tuple(listed), limit=signal.shape)
    mean = _global_mean(model, operation, signal)
    return mean if operation.settings.get("keepdims", 1) else model.reshape(operation, mean, mean.shape[:1])


def _pad(model: Import, operation: Operation, signal: Any, pads: Any = None, value: Any = None,
         axes: Any = None) -> Signal:
    want(isinstance(signal, Signal) and known(pads, value, axes), "a padding of constant width")
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


def _numbers(settings: dict[str, Any], name: str, axes: int) -> tuple[int, ...]:
    given = tuple(settings.get(name, (1,) * axes))
    if len(given) != axes or min(given) < 1:
        raise Refusal(f"{name} is malformed", value=given)
    return given


WINDOWS: Mapping[str, Rule] = {
    "Conv": _conv, "AveragePool": _pool(nodes.AvgPool2d), "MaxPool": _pool(nodes.MaxPool2d),
    "GlobalAveragePool": _global_mean, "ReduceMean": _reduce_mean, "Pad": _pad,
}
