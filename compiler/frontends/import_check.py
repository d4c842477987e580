"""Whether an imported graph does on its grid what its source does: both run side by side on the same random spikes.

The source is the user's own torch code, layer by layer as traced, in float64; the graph is run by `simulate_step`. What
a target makes of the graph in continuous time is another question, which docs/importing.md answers.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import fx

from ...ir.diagnostics import Diagnostic, SpikecWarning, UnsupportedError
from ...ir.graph import Graph
from ...ir.nodes import SPIKING, Array, Input, Neuron
from ...ir.step import StepResult, simulate_step
from .registry import Leaf

__all__ = ["check_import"]

STEPS = 20
DRIVES = ((0.1, 1.0), (0.4, 1.0), (0.9, 1.0), (0.5, 8.0))
"""Spikes per input and step, and their height, of each sample. The last fires neurons that single spikes do not."""
TIE = 1e-9
"""Membranes this near to threshold, relative to it, may fall on either side by rounding."""


def check_import(graph: Graph, traced: fx.GraphModule, leaves: Mapping[str, Leaf], inputs: Mapping[str, str]) -> Graph:
    """The graph with what was found in its metadata: `import.check` is `faithful on its grid`, `differs` or
    `not possible`, and `import.check.fired` the share of neurons that spiked meanwhile. `inputs`: the input node of
    each parameter of `forward`. Leaves `traced` in float64.

    Warns:
        SpikecWarning: (SC224) the first neuron and step that differ, or why there was no check.
    """
    rng = np.random.default_rng(0)
    raster = {name: _spikes(node.shape, rng) for name, node in graph.nodes.items() if isinstance(node, Input)}
    try:
        ours = simulate_step(graph, raster)
    except UnsupportedError as error:
        return _said(graph, "not possible", f"the graph could not be compared with its source: {error}")
    theirs = _Stepper(traced.double(), leaves, inputs).run_steps(raster)
    difference = _first_difference(graph, ours, theirs)
    names = [name for name, node in graph.nodes.items() if isinstance(node, SPIKING)]
    fired = [ours.spikes[name].any(axis=(0, 1)).reshape(-1) for name in names]
    share = float(np.concatenate(fired).mean()) if fired else 1.0
    graph = graph.replace(metadata={**graph.metadata, "import.check.fired": round(share, 4)})
    if difference is None:
        return graph.replace(metadata={**graph.metadata, "import.check": "faithful on its grid"})
    return _said(graph, "differs", "the graph differs from its source", **difference)


def _said(graph: Graph, verdict: str, message: str, **facts: str) -> Graph:
    found = Diagnostic("SC224", message, severity="warning", **facts)
    warnings.warn(str(found), SpikecWarning, stacklevel=4)
    return graph.replace(metadata={**graph.metadata, "import.check": verdict})


def _spikes(shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    rates, heights = (np.array(column).reshape(-1, *(1,) * (len(shape) + 1)) for column in zip(*DRIVES, strict=True))
    return np.where(rng.random((len(DRIVES), STEPS, *shape)) < rates, heights, 0.0)


@dataclass(frozen=True, slots=True)
class _Trajectory:
    """(batch, time, *shape) of one neuron module."""

    spikes: Array
    membrane: Array | None


class _Stepper(fx.Interpreter):
    """The traced module, one step after another; the states of its neurons are kept here."""

    def __init__(self, traced: fx.GraphModule, leaves: Mapping[str, Leaf], inputs: Mapping[str, str]) -> None:
        super().__init__(traced)
        self.leaves = leaves
        self.inputs = inputs
        self.states: dict[str, Any] = {}
        self.given: dict[str, torch.Tensor] = {}
        self.seen: dict[str, list[tuple[torch.Tensor, ...]]] = {}

    def run_steps(self, raster: Mapping[str, Array]) -> dict[str, _Trajectory]:
        steps = next(iter(raster.values())).shape[1]
        with torch.no_grad():
            for step in range(steps):
                self.given = {name: torch.from_numpy(values[:, step]) for name, values in raster.items()}
                self.run()
        return {name: _Trajectory(
            torch.stack([each[0] for each in seen], 1).numpy(),
            torch.stack([each[-1] for each in seen], 1).numpy() if len(seen[0]) > 1 else None,
        ) for name, seen in self.seen.items()}

    def placeholder(self, target: Any, args: Any, kwargs: Any) -> Any:
        return self.given.get(self.inputs.get(str(target), ""))

    def call_function(self, target: Any, args: Any, kwargs: Any) -> Any:
        if getattr(target, "__name__", "") in ("_assert", "_assert_is_none"):
            return None  # they compare arguments of `forward` with the defaults that the trace was made for
        return super().call_function(target, args, kwargs)

    def call_module(self, target: Any, args: Any, kwargs: Any) -> Any:
        advance = self.leaves[str(target)].advance
        if advance is None:
            return super().call_module(target, args, kwargs)
        value = (*args, *kwargs.values())[0]
        returned, self.states[target] = advance(self.fetch_attr(target), value, self.states.get(target))
        # A framework's spikes may be float32, whatever comes in.
        parts = tuple(part.double() for part in (returned if isinstance(returned, tuple) else (returned,)))
        self.seen.setdefault(str(target), []).append(parts)
        return parts if isinstance(returned, tuple) else parts[0]


def _first_difference(graph: Graph, ours: StepResult, theirs: Mapping[str, _Trajectory]) -> dict[str, str] | None:
    """What to say about the earliest step at which a neuron differs. A sample ends where a membrane is so near to
    threshold that rounding decides."""
    alive = np.full(len(DRIVES), STEPS)
    wrong: list[tuple[int, str, tuple[int, ...], str]] = []
    for name, node in graph.nodes.items():
        if name not in theirs or not isinstance(node, Neuron):
            continue
        spiking = isinstance(node, SPIKING)
        mine = ours.spikes[name] if spiking else ours.voltage[name]
        other = theirs[name].spikes if spiking else theirs[name].membrane
        if other is None:
            continue
        scale = 1.0 if spiking else max(1.0, float(np.abs(other).max()))
        differs = np.abs(mine - other) > 1e-7 * scale
        for sample, step, *place in sorted(np.argwhere(differs).tolist(), key=lambda found: found[1]):
            at = (sample, step, *place)
            if step >= alive[sample]:
                continue
            if spiking and _tie(node, ours.voltage[name][at], tuple(place)):
                alive[sample] = step
                continue
            wrong.append((step, name, tuple(place), f"{mine[at]:g} where the source has {other[at]:g}"))
            break
    if not wrong:
        return None
    first, node_name, neuron, values = min(wrong, key=lambda found: found[0])
    return {"node": node_name, "value": f"neuron {neuron}, step {first}: {values}",
            "remedy": "docs/importing.md says what each setting of this layer becomes; from_torch is not to be trusted "
            "with this layer until the two agree."}


def _tie(node: Any, voltage: float, place: tuple[int, ...]) -> bool:
    threshold = float(node.v_threshold[place])
    return abs(voltage - threshold) <= TIE * max(1.0, abs(threshold))
