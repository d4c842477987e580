"""Whether an imported network without spikes gives what its source gives: both run on the same random values."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from ....ir.activations import activations
from ....ir.graph import Graph
from ....ir.nodes import Array
from ....ir.shapes import infer_shapes
from .conversion import Conversion
from .import_run import call_source
from .trace import private_copy, rooted
from .wide import Wide, widen_buffers

__all__ = ["first_layer_that_differs"]

SAMPLES = 3
TOLERANCE = 1e-7
"""Relative to the largest value of a layer."""


def first_layer_that_differs(graph: Graph, module: nn.Module, conversion: Conversion) -> tuple[str, str] | None:
    """The first layer whose values differ from those of the module of its name, and how; None if none does.

    Raises:
        SpikecError: the graph cannot be run without spikes.
        Exception: what the module raises on random values.
    """
    rng = np.random.default_rng(0)
    shapes = infer_shapes(graph)[0]
    inputs = {name: rng.standard_normal((SAMPLES, *shapes[handle.name].output))
              for name, handle in conversion.inputs.items()}
    theirs = _layers(module, graph, inputs)
    ours = activations(graph, {conversion.inputs[name].name: values for name, values in inputs.items()}, nodes=theirs)
    for name, mine in ours.items():
        other = theirs[name]
        if other.shape != mine.shape:
            return name, f"shape {mine.shape[1:]} where the source has {other.shape[1:]}"
        gap = float(np.abs(mine - other).max(initial=0.0))
        if not gap <= TOLERANCE * max(1.0, float(np.abs(other).max(initial=0.0))):
            return name, f"values differ by up to {gap:.2g}"
    return None


def _layers(module: nn.Module, graph: Graph, inputs: dict[str, Array]) -> dict[str, Array]:
    """What each module gives that has a node of its name, in float64. One that is called again shows its first call."""
    root = rooted(private_copy(module))
    widen_buffers(root)
    seen: dict[str, Array] = {}
    for name, part in nn.Module.named_modules(root):
        if name in graph.nodes:
            part.register_forward_hook(_recorder(seen, name))
    with torch.no_grad(), Wide(nn.Module.parameters(root)):
        call_source(root, inputs)
    return seen


def _recorder(seen: dict[str, Array], name: str) -> Any:
    def hook(module: nn.Module, arguments: Any, returned: Any) -> None:
        if isinstance(returned, torch.Tensor):
            seen.setdefault(name, returned.detach().double().numpy().copy())

    return hook
