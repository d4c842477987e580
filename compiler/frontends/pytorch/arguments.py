"""What `from_torch` is given: a module in a mode, a sample, sizes."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import fx, nn

from ....ir.diagnostics import Diagnostics
from ....ir.facts import check_dt

__all__ = ["check_arguments", "check_mode", "sample_for"]


def check_arguments(module: Any, sample: Any, dt: Any, input_shape: Any) -> None:
    """Raises:
        BadInputError: one of them is malformed (SC222, SC225, SC232).
    """
    faults = Diagnostics()
    if not isinstance(module, nn.Module):
        faults.add("SC232", "from_torch takes a torch.nn.Module", value=type(module).__name__,
                   remedy="Give the module itself, not its class, file or state_dict.")
    elif isinstance(module, torch.jit.ScriptModule):
        faults.add("SC232", "a compiled module cannot be traced", value=type(module).__name__,
                   remedy="Give the module that torch.jit compiled.")
    elif any(tensor.is_meta for part in nn.Module.modules(module)
             for tensor in (*part._parameters.values(), *part._buffers.values()) if tensor is not None):
        faults.add("SC232", "the parameters of the module have no values", value="device meta",
                   remedy="Move it to a device with module.to_empty, and load its parameters.")
    if dt is not None:
        check_dt(dt, "SC222", faults)
    samples = sample if isinstance(sample, tuple | list) else (sample,)
    if sample is not None and not all(hasattr(one, "shape") for one in samples[:1]):
        faults.add("SC225", "sample is no tensor", value=type(samples[0]).__name__,
                   remedy="Give one batch as forward takes it, (batch, *shape), or input_shape=(…).")
    whole = isinstance(input_shape, tuple | list) and all(
        isinstance(size, int | np.integer) and size > 0 for size in input_shape)
    if input_shape is not None and not whole:
        faults.add("SC225", "input_shape is a tuple of sizes, without the batch axis", value=repr(input_shape))
    faults.raise_if_errors()


def sample_for(module: nn.Module, sample: Any) -> Any:
    """The sample in the precision of the module's parameters, where they have one in common: it tells sizes alone."""
    kinds = {parameter.dtype for part in nn.Module.modules(module) for parameter in part._parameters.values()
             if parameter is not None and parameter.is_floating_point()}
    if len(kinds) != 1:
        return sample
    (kind,) = kinds
    return fx.node.map_aggregate(sample, lambda each: each.to(kind) if isinstance(
        each, torch.Tensor) and each.is_floating_point() else each)


def check_mode(module: nn.Module, faults: Diagnostics) -> None:
    """Adds a warning (SC228) where a layer of `module` does something else while it is trained than afterwards."""
    layers = {name or "the model": part for name, part in nn.Module.named_modules(module)
              if part.training and _minds_mode(part)}
    if layers:
        name, part = next(iter(layers.items()))
        more = f" and {len(layers) - 1} more" if len(layers) > 1 else ""
        faults.add("SC228", "the module is in train mode, and is imported as in eval mode", node=name,
                   value=f"{type(part).__name__}{more}", severity="warning", remedy="Call module.eval() before.")


def _minds_mode(part: nn.Module) -> bool:
    names = [kind.__name__ for kind in type(part).__mro__]
    return any("BatchNorm" in name for name in names) or (
        any("Dropout" in name for name in names) and getattr(part, "p", 1.0) != 0)
