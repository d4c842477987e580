"""SpikingJelly's layers (`spikingjelly.activation_based.layer`): those of torch.nn with a step mode."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ...ir import nodes
from .conversion import Conversion, Signal
from .registry import Leaf
from .torch_layers import LEAVES as PLAIN

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
    if conversion.dt is None:
        conversion.fail("SC222", "the delay counts in steps, and the length of a step is not given", node=name,
                        remedy="Pass dt=… in seconds.")
        return source
    return conversion.add(name, nodes.Delay(delay=np.full(source.shape, module.delay_steps * conversion.dt)), source)


LAYERS: Mapping[str, Leaf] = {
    **{f"{_PACKAGE}.stateless_wrapper.{name}": PLAIN[f"torch.nn.modules.{plain}.{name}"] for name, plain in (
        ("Linear", "linear"), ("Flatten", "flatten"), ("Conv1d", "conv"), ("Conv2d", "conv"), ("AvgPool2d", "pooling"),
        ("MaxPool2d", "pooling"),
    )},
    **{f"{_PACKAGE}.bn.{name}": PLAIN[f"torch.nn.modules.batchnorm.{name[-11:]}"]
       for name in ("BatchNorm1d", "BatchNorm2d", "ThresholdDependentBatchNorm1d", "ThresholdDependentBatchNorm2d")},
    **{f"{_PACKAGE}.dropout.{name}": Leaf(_nothing) for name in ("Dropout", "Dropout2d")},
    f"{_PACKAGE}.misc.VotingLayer": Leaf(_voting),
    f"{_PACKAGE}.misc.Delay": Leaf(_delay),
}
