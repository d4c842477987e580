"""The graphs of the NIR paper, in the folder that SPIKEC_DATA names, each on one grid of a framework that reads it.
What is compared is the reference and the other ways to run a graph on that grid; not the frameworks."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import spikec
from spikec.ir import nodes

from .case import STEPS, Array
from .compare import compared
from .networks import WAYS
from .suite import Row, exact, said, told
from .targets import on_reference

PAPER = spikec.Discretization(1e-4, spike="box", integrator="semi")
"""With the step of the NIR paper, in which a spike is a current of 1 for 0.1 ms, as the importers of Norse and snnTorch
compute it: membranes move under the new current. Only the Braille networks have one."""
SINABS = spikec.Discretization(1e-3, integrator="decay", fires="at", spikes="many")


@dataclass(frozen=True, slots=True)
class File:
    """`refused`: the code of the diagnostic, which must name `edge`. `rate`: spikes an input and step."""

    path: str
    grid: spikec.Discretization = PAPER
    rate: float = 0.1
    steps: int = STEPS
    refused: str | None = None
    edge: str = ""


FILES = (
    File("01_lif/lif_norse.nir", rate=0.5), File("01_lif/lif_rockpool.nir", rate=0.5),
    File("01_lif/debug_spike_representation/two_lif_neurons.nir", rate=0.5),
    File("02_cnn/cnn_sinabs.nir", SINABS, 0.05, 30),
    File("03_rnn/braille_noDelay_bias_zero.nir"), File("03_rnn/braille_noDelay_noBias_subtract.nir"),
    File("03_rnn/extras/braille_noDelay_bias_zero_subgraph.nir", refused="SC101", edge="lif"),
    File("03_rnn/extras/braille_noDelay_noBias_subtract_subgraph.nir", refused="SC101", edge="lif"),
)


def folder() -> Path | None:
    named = os.environ.get("SPIKEC_DATA")
    return Path(named, "nir_models") if named and Path(named, "nir_models").is_dir() else None


def row(place: Path, file: File, steps: int = STEPS, ways: tuple[str, ...] = tuple(WAYS)) -> Row:
    """What a file gives, or how it is refused."""
    found = Row("nir", "", Path(file.path).name, _grid(file))
    try:
        with told() as found.told:
            graph = spikec.from_nir(place / file.path, file.grid)
    except spikec.SpikecError as error:
        found.verdict = f"refused: {said(error)}"
        told_edge = any(each.code == file.refused and file.edge in str(each) for each in error.diagnostics)
        if not told_edge:
            found.failures.append(said(error))
        return found
    if file.refused:
        found.failures.append(f"should be refused with {file.refused}")
    values = _raster(graph, file, min(steps, file.steps))
    theirs = on_reference(graph, values)
    for way in ways:
        exact(found, way, lambda way=way: compared(WAYS[way](graph, values), theirs))  # type: ignore[misc]
    found.verdict = "differs" if found.failures else "equal"
    return found


def _grid(file: File) -> str:
    grid = file.grid
    return f"dt {grid.dt * 1e3:g} ms, {grid.integrator}, {grid.spike}, fires {grid.fires}, spikes {grid.spikes}"


def _raster(graph: spikec.Graph, file: File, steps: int) -> Array:
    rng = np.random.default_rng(5)
    node = graph.nodes[graph.inputs[0]]
    shape = node.shape if isinstance(node, nodes.Input) else ()
    return (rng.random((2, steps, *shape)) < file.rate).astype(np.float64)
