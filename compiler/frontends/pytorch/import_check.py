"""Whether an imported graph does on its grid what its source does: both run side by side on the same random spikes.

The source is the user's own module, in float64; the graph is run by `simulate_step`. What a target makes of the graph
in continuous time is another question, which docs/importing.md answers.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from torch import nn

from ....ir.diagnostics import Diagnostic, SpikecError, SpikecWarning, first_line
from ....ir.graph import Graph
from ....ir.nodes import Array, Conv1d, Conv2d, Linear, Neuron, Scale, SparseLinear, is_spiking
from ....ir.shapes import infer_shapes
from ....ir.step import StepResult, simulate_step
from .conversion import Conversion
from .import_plain import first_layer_that_differs
from .import_run import Given, fixed_sizes, run_source
from .places import Steps
from .registry import Leaf

__all__ = ["check_import", "check_plain"]

STEPS = 20
DRIVES = ((0.5, 8.0), (0.4, 1.0), (0.9, 1.0), (0.1, 1.0))
"""Spikes per input and step, and their height, of each sample. The first fires neurons that single spikes do not."""
STRENGTHS = (1.0, 32.0, 1024.0)
"""What the heights are multiplied with, one after another as long as no neuron spikes."""
WEIGHTS = 5e7
"""Weights that a check may read: large networks are checked for fewer steps, but for at least `FEWEST`."""
WORK = 4e8
"""Products of a weight and a value that it may take: of large images, fewer samples are checked."""
VALUES = 1 << 19
"""Values of neurons that a run may keep, of a state: of large images, samples are run one after another."""
FEWEST = 4
TIE = 1e-9
"""Membranes this near to threshold, relative to it, may fall on either side by rounding."""

Difference = tuple[int, str, tuple[int, ...], str]
"""(step, node, neuron, values)."""


def check_import(graph: Graph, module: nn.Module, steps: Steps, leaves: Mapping[str, Leaf],
                 conversion: Conversion) -> Graph:
    """The graph with what was found in its metadata: `import.check` is `faithful on its grid`, `differs` or
    `not possible`, `import.check.steps` how many steps were compared, and `import.check.fired` the share of neurons
    that spiked meanwhile.

    Warns:
        SpikecWarning: (SC224) the first neuron and step that differ, why there was no check, or that nothing spiked.
    """
    runs: list[_Compared] = []
    for extent in dict.fromkeys((_extent(graph, steps), _extent(graph, steps, of_sample=True))):
        try:
            runs = []
            for strength in STRENGTHS:
                if not runs or (runs[0].fired and not any(np.any(fired) for run in runs for fired in run.fired)):
                    runs += _side_by_side(graph, module, steps, leaves, conversion, extent, strength)
            break
        except SpikecError as error:
            return _said(graph, "not possible", f"the graph could not be compared with its source: {error}")
        except Exception as error:  # the user's own code, which may insist on the sizes of the sample
            reason = first_line(error)
    else:
        return _said(graph, "not possible", f"the source could not be run on random spikes: {reason}")
    difference = _first_difference(runs)
    fired = [np.any(each, axis=0) for each in zip(*(run.fired for run in runs), strict=True)]
    graph = graph.replace(metadata={
        **graph.metadata, "import.check.steps": extent.columns,
        "import.check.fired": round(float(np.concatenate(fired).mean()), 4) if fired else 1.0})
    if difference is None and fired and not any(map(np.any, fired)):
        return _said(graph, "faithful on its grid", "no neuron spiked in the check, so spikes and resets were compared "
                     "in silence", remedy="Give biases or weights that let neurons fire, as training does, and import "
                     "again; or compare on your own data with spikec validate.")
    if difference is None:
        return graph.replace(metadata={**graph.metadata, "import.check": "faithful on its grid"})
    return _said(graph, "differs", "the graph differs from its source", **difference)


def _side_by_side(graph: Graph, module: nn.Module, steps: Steps, leaves: Mapping[str, Leaf], conversion: Conversion,
                  extent: _Extent, strength: float) -> list[_Compared]:
    """What differs in runs on inputs that are `strength` times as high as `DRIVES` says."""
    inputs = {name: handle.name for name, handle in conversion.inputs.items()}
    runs = []
    for raster in _rasters(graph, steps, inputs, extent):
        raster = {name: values * strength for name, values in raster.items()}
        theirs = run_source(module, steps, leaves, conversion.origins, raster)
        ours = simulate_step(graph, {inputs[name]: values for name, values in raster.items()})
        runs.append(_compared(graph, ours, theirs))
        del ours, theirs  # they may be as large as the weights
    return runs


def check_plain(graph: Graph, module: nn.Module, conversion: Conversion) -> Graph:
    """The same for a network without spikes, whose layers are compared on random values: `import.check` is `faithful`,
    `differs` or `not possible`.

    Warns:
        SpikecWarning: (SC224) the first layer that differs, or why there was no check.
    """
    try:
        difference = first_layer_that_differs(graph, module, conversion)
    except SpikecError as error:
        return _said(graph, "not possible", f"the graph could not be compared with its source: {error}")
    except Exception as error:  # the user's own code, on values that we made
        return _said(graph, "not possible", f"the source could not be run on random values: {first_line(error)}")
    if difference is None:
        return graph.replace(metadata={**graph.metadata, "import.check": "faithful"})
    return _said(graph, "differs", "the graph differs from its source", node=difference[0], value=difference[1])


def _rasters(graph: Graph, steps: Steps, inputs: Mapping[str, str], extent: _Extent) -> Iterator[dict[str, Array]]:
    """Inputs (batch, time, *shape) of one run after another, by parameter of `forward`."""
    rng = np.random.default_rng(0)
    shapes = infer_shapes(graph)[0]
    for first in range(0, extent.samples, extent.batch):
        drives = [DRIVES[(first + number) % len(DRIVES)] for number in range(extent.batch)]
        yield {name: _spikes(drives, extent.columns, shapes[node].output, rng,
                             name in steps.time_axes or not (steps.loops or steps.repeated))
               for name, node in inputs.items()}


@dataclass(frozen=True, slots=True)
class _Extent:
    """How much is run: `samples` in all, `batch` of them at a time, for `columns` steps."""

    samples: int
    batch: int
    columns: int


def _extent(graph: Graph, steps: Steps, of_sample: bool = False) -> _Extent:
    """Fewer samples and steps where the network is large, and as many as the model insists on, or as its sample has."""
    fixed, columns = fixed_sizes(steps, of_sample)
    weights, work, values = _work(graph)
    columns = columns or max(FEWEST, min(STEPS, int(WEIGHTS / max(1, weights)), int(WORK / max(1, work))))
    batch = fixed or max(1, min(len(DRIVES), int(WORK / max(1, work * columns))))
    rounds = max(1, min(int(WEIGHTS / max(1, weights * columns)), int(WORK / max(1, work * batch * columns))))
    at_once = fixed or max(1, min(batch, int(VALUES / max(1, values * columns))))
    return _Extent(min(len(DRIVES), batch * rounds), at_once, columns)


def _work(graph: Graph) -> tuple[int, int, int]:
    """How many weights there are, and in one step, how many products of a weight and a value, and how many values of
    neurons."""
    shapes = infer_shapes(graph)[0]
    weights, products, values = 0, 0, 0
    for name, node in graph.nodes.items():
        if isinstance(node, (Linear, SparseLinear, Conv1d, Conv2d)):
            weights += node.weight.size
            products += node.weight.size * prod(shapes[name].output[1:])
        elif isinstance(node, Neuron):
            values += prod(shapes[name].output)
    return weights, products, values


def _said(graph: Graph, verdict: str, message: str, **facts: str) -> Graph:
    found = Diagnostic("SC224", message, severity="warning", **facts)
    warnings.warn(str(found), SpikecWarning, stacklevel=5)
    return graph.replace(metadata={**graph.metadata, "import.check": verdict})


def _spikes(drives: list[tuple[float, float]], columns: int, shape: tuple[int, ...], rng: np.random.Generator,
            varying: bool) -> Array:
    """(batch, time, *shape); the same at every step if not `varying`."""
    rates, heights = (np.array(column).reshape(-1, *(1,) * (len(shape) + 1)) for column in zip(*drives, strict=True))
    values = np.where(rng.random((len(drives), columns if varying else 1, *shape)) < rates, heights, 0.0)
    return np.broadcast_to(values, (len(drives), columns, *shape))


@dataclass(frozen=True, slots=True)
class _Compared:
    """What is kept of one run: the `wrong` of `_differences`, and which neurons of each spiking node `fired`."""

    wrong: list[Difference]
    fired: list[Array]


def _compared(graph: Graph, ours: StepResult, theirs: Mapping[str, Given]) -> _Compared:
    return _Compared(_differences(graph, ours, theirs),
                     [ours.spikes[name].any(axis=(0, 1)).reshape(-1) for name, node in graph.nodes.items()
                      if is_spiking(node)])


def _first_difference(runs: list[_Compared]) -> dict[str, str] | None:
    """What to say about the earliest step at which a neuron differs. A sample ends where a membrane is so near to
    threshold that rounding decides."""
    wrong = [found for run in runs for found in run.wrong]
    if not wrong:
        return None
    first, node_name, neuron, values = min(wrong, key=lambda found: found[0])
    return {"node": node_name, "value": f"neuron {neuron}, step {first}: {values}",
            "remedy": "docs/importing.md says what each setting of this layer becomes; from_torch is not to be trusted "
            "with this layer until the two agree."}


def _differences(graph: Graph, ours: StepResult, theirs: Mapping[str, Given]) -> list[Difference]:
    """The first difference of each node."""
    wrong: list[Difference] = []
    alive: dict[int, int] = {}
    for name, node in graph.nodes.items():
        if name not in theirs or not isinstance(node, Neuron):
            continue
        spiking = is_spiking(node)
        mine = ours.spikes[name] if spiking else ours.voltage[name]
        height = graph.nodes.get(f"{name}.graded")  # what a module multiplies its spikes with
        if isinstance(height, Scale):
            mine = mine * height.scale
        other = theirs[name].first if spiking or theirs[name].last is None else theirs[name].last
        if other is None or other.shape != mine.shape:
            wrong.append((0, name, (), f"shape {mine.shape} where the source has "
                                       f"{None if other is None else other.shape}"))
            continue
        scale = 1.0 if spiking else max(1.0, float(np.abs(other).max(initial=0.0)))
        differs = ~(np.abs(mine - other) <= 1e-6 * scale)  # some modules give float32, whatever comes in
        for sample, step, *place in sorted(np.argwhere(differs).tolist(), key=lambda found: found[1]):
            at = (sample, step, *place)
            if step >= alive.get(sample, step + 1):
                continue
            if spiking and _tie(graph, name, node, ours, at):
                alive[sample] = step
                continue
            wrong.append((step, name, tuple(place), f"{mine[at]:g} where the source has {other[at]:g}"))
            break
    return wrong


def _tie(graph: Graph, name: str, node: Any, ours: StepResult, at: tuple[int, ...]) -> bool:
    """Whether a membrane is so near to its threshold that rounding decides."""
    grid: Any = node.grid or graph.discretization
    threshold = float(np.broadcast_to(node.v_threshold, node.shape)[at[2:]])
    voltage = float(ours.voltage[name][at])
    if grid.reset == "same" and getattr(node, "reset", None) == "subtract" and ours.spikes[name][at]:
        voltage += threshold * float(ours.spikes[name][at])
    return abs(voltage - threshold) <= TIE * max(1.0, abs(threshold))
