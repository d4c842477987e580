"""A torch module -> its trace, one call a layer: torch.fx with every known module class, and every class of a library,
as a leaf. The user's own modules are looked into."""

from __future__ import annotations

import copy
import inspect
from typing import Any

import torch
from torch import fx, nn

from ...ir.diagnostics import Diagnostic, UnsupportedError
from .registry import leaf_of, qualified_name

__all__ = ["private_copy", "trace"]

_LIBRARIES = ("torch", "snntorch", "norse", "sinabs", "spikingjelly", "rockpool")
_CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)


def private_copy(module: nn.Module) -> nn.Module:
    """A copy in eval mode. States that a run left in the module, which torch refuses to copy, are detached."""
    memo: dict[int, Any] = {}
    for part in module.modules():
        for tensor in (*part._buffers.values(), *vars(part).values()):
            if isinstance(tensor, torch.Tensor) and not tensor.is_leaf:
                memo[id(tensor)] = tensor.detach().clone()
    return copy.deepcopy(module, memo).eval()


def trace(module: nn.Module) -> fx.GraphModule:
    """The trace of `module`, whose `forward` takes one time step.

    Raises:
        UnsupportedError: its `forward` cannot be traced.
    """
    root = nn.Sequential(module) if leaf_of(module) is not None else module
    defaults = {
        name: parameter.default for name, parameter in inspect.signature(root.forward).parameters.items()
        if parameter.default is not parameter.empty and isinstance(parameter.default, (int, float, str, type(None)))
    }
    tracer = _Tracer()
    try:
        graph = tracer.trace(root, concrete_args=defaults or None)
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UnsupportedError(Diagnostic(
            "SC221", f"forward of {qualified_name(type(module))} cannot be traced: {reason[:200]}",
            remedy="It should compute one time step, without branches on tensor values, of layers and sums.",
        )) from error
    return fx.GraphModule(tracer.root, graph)


class _Tracer(fx.Tracer):
    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        library = type(m).__module__.partition(".")[0] in _LIBRARIES and not isinstance(m, _CONTAINERS)
        return library or leaf_of(m) is not None
