"""SpikingJelly's layers (`spikingjelly.activation_based.layer`): those of torch.nn with a step mode."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ....ir import nodes
from .containers import children_in_turn, fed_back, in_turn
from .conversion import Conversion, Signal, array_of
from .layers import LEAVES as PLAIN
from .registry import Layout, Leaf

__all__ = ["LAYERS"]

Arguments = tuple[Any, ...]

_PACKAGE = "spikingjelly.activation_based.layer"


def _nothing(conversion: Conversion, module: Any, name: str, arguments: Arguments) -> Any:
    """In eval mode, Dropout hands on what it gets."""
    return arguments[0]


def _voting(conversion: Conversion, module: Any, name: str, arguments: Arguments) -> Signal:
    """The mean over groups of `voting_size` neighbours; what is left over at the end has no vote."""
    source = conversion.signal(arguments[0], name)
    size, features = int(module.voting_size), source.shape[-1]
    weight = np.zeros((features // size, features))
    for group in range(features // size):
        weight[group, group * size:(group + 1) * size] = 1 / size
    return conversion.add(name, nodes.Linear(weight=weight), source)


def _delay(conversion: Conversion, module: Any, name: str, arguments: Arguments) -> Signal:
    source = conversion.signal(arguments[0], name)
    dt = conversion.step_length("delays", name)
    if dt is None:
        return source
    return conversion.add(name, nodes.Delay(delay=np.full(source.shape, module.delay_steps * dt)), source)


def _flatten(conversion: Conversion, module: Any, name: str, arguments: Arguments) -> Signal:
    """In mode "m", the axes of time and batch count as one."""
    more = conversion.lead - 1 if module.step_mode == "m" else 0
    start, end = (axis if axis < 0 else axis + more for axis in (module.start_dim, module.end_dim))
    return conversion.flatten(conversion.signal(arguments[0], name), name, start, end)


def _container(conversion: Conversion, module: Any, name: str, arguments: Arguments) -> Any:
    """The children at every step, or at all steps at once: the same, where they have no state."""
    lead = 1 if _mode(module) == "m" else None
    return children_in_turn(conversion, module, name, arguments[0], lead)


def _linear_recurrent(conversion: Conversion, module: Any, name: str, arguments: Arguments) -> Signal:
    """sub_module(W [x; y] + b), with its own output y of the step before."""
    width = module.rc.in_features - module.sub_module_out_features
    source = conversion.signal(arguments[0], name, (width,))
    weight = array_of(module.rc.weight)
    bias = None if module.rc.bias is None else array_of(module.rc.bias).astype(np.float64)
    arriving = conversion.add(f"{name}.rc", nodes.Linear(weight=weight[:, :width]) if bias is None else
                              nodes.Affine(weight=weight[:, :width], bias=bias), source)

    def inner(before: Signal) -> Signal:
        back = conversion.add(f"{name}.rc.back", nodes.Linear(weight=weight[:, width:]), before)
        return _inside(conversion, module, name, (arriving, back))

    return fed_back(conversion, name, (module.sub_module_out_features,), inner)


def _element_wise_recurrent(conversion: Conversion, module: Any, name: str, arguments: Arguments) -> Signal:
    """sub_module(y + x), with its own output y of the step before."""
    import torch

    source = conversion.signal(arguments[0], name)
    before, given = torch.linspace(-3, 3, 64).double(), torch.linspace(2, -1, 64).double().square()
    if not torch.equal(module.element_wise_function(before, given), before + given):
        conversion.fail("SC223", "what is fed back is not added to the input", node=name,
                        value=f"element_wise_function={module.element_wise_function}", limit="y + x")
        return source
    return fed_back(conversion, name, source.shape, lambda y: _inside(conversion, module, name, (source, y)))


def _inside(conversion: Conversion, module: Any, name: str, parts: tuple[Signal, ...]) -> Signal:
    given: Signal = in_turn(conversion, module.sub_module, f"{name}.sub_module", conversion.sum(parts, name), lead=1)
    return given


def _layout(module: Any) -> Layout | None:
    """Of a container, by its own mode; None without neurons in it."""
    memories = {memory for part in module.modules() for memory in getattr(part, "_memories", ())}
    if not memories - {"mask"}:  # that of Dropout
        return None
    return "time_first" if _mode(module) == "m" else "step"


def _mode(module: Any) -> str:
    """Containers that know one mode only have no attribute for it."""
    mode: str = getattr(module, "step_mode", "m")
    return mode


def _advance(module: Any, value: Any, state: Any) -> tuple[Any, Any]:
    if state is None:
        for part in module.modules():
            if hasattr(part, "_memories"):
                part.reset()
    return module(value), True


LAYERS: Mapping[str, Leaf] = {
    **{f"{_PACKAGE}.stateless_wrapper.{name}": PLAIN[f"torch.nn.modules.{plain}.{name}"] for name, plain in (
        ("Linear", "linear"), ("Conv1d", "conv"), ("Conv2d", "conv"), ("AvgPool2d", "pooling"),
        ("MaxPool2d", "pooling"), ("AvgPool1d", "pooling"), ("AdaptiveAvgPool2d", "pooling"),
    )},
    **{f"{_PACKAGE}.bn.{name}": PLAIN[f"torch.nn.modules.batchnorm.{name[-11:]}"]
       for name in ("BatchNorm1d", "BatchNorm2d", "ThresholdDependentBatchNorm1d", "ThresholdDependentBatchNorm2d")},
    **{f"{_PACKAGE}.dropout.{name}": Leaf(_nothing) for name in ("Dropout", "Dropout2d")},
    f"{_PACKAGE}.misc.VotingLayer": Leaf(_voting),
    f"{_PACKAGE}.misc.Delay": Leaf(_delay),
    f"{_PACKAGE}.stateless_wrapper.Flatten": Leaf(_flatten),
    **{f"{_PACKAGE}.container.{name}": Leaf(convert, _advance, _layout) for name, convert in (
        ("MultiStepContainer", _container), ("SeqToANNContainer", _container), ("StepModeContainer", _container),
        ("LinearRecurrentContainer", _linear_recurrent),
        ("ElementWiseRecurrentContainer", _element_wise_recurrent),
    )},
}
