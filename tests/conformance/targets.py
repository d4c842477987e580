"""How each target, and each file format, is asked for the spikes and membranes of every neuron node."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import torch

import spikec
from spikec.ir import nodes
from spikec.ir.step import simulate_step

from .case import Array, Trace


def neurons(graph: spikec.Graph) -> list[str]:
    return [name for name, node in graph.nodes.items() if isinstance(node, nodes.Neuron)]


def shown(graph: spikec.Graph) -> tuple[spikec.Graph, dict[str, str]]:
    """The graph with an output node for every neuron node, and that output by neuron node."""
    outputs = {name: f"all_{number}" for number, name in enumerate(neurons(graph))}
    kept = {name: node for name, node in graph.nodes.items() if name not in graph.outputs}
    added = {output: nodes.Output(shape=graph.nodes[name].shape) for name, output in outputs.items()}
    edges = tuple(edge for edge in graph.edges if edge[1] not in graph.outputs)
    return graph.replace(nodes={**kept, **added}, edges=(*edges, *outputs.items()), metadata={}), outputs


def on_reference(graph: spikec.Graph, values: Array) -> dict[str, Trace]:
    """`simulate_step`, the oracle of the grid."""
    result = simulate_step(graph, values)
    return {name: Trace(result.spikes.get(name), result.voltage[name]) for name in neurons(graph)}


def on_clock(graph: spikec.Graph, values: Array, dtype: torch.dtype = torch.float64) -> dict[str, Trace]:
    """The clock target."""
    every, outputs = shown(graph)
    result = spikec.compile(every, target="clock").run(
        values, dt=_dt(graph), probes={f"{name}.v": None for name in outputs}, dtype=dtype)
    found = {}
    for name, output in outputs.items():
        shape = (*values.shape[:2], *(graph.nodes[name].shape or ()))
        spikes = _raster(result.spikes[output], _dt(graph), shape) if nodes.is_spiking(graph.nodes[name]) else None
        found[name] = Trace(spikes, np.asarray(result.probes[f"{name}.v"], np.float64).reshape(shape))
    return found


def _raster(events: spikec.Events, dt: float, shape: tuple[int, ...]) -> Array:
    """(batch, time, *shape) of numbers of spikes."""
    found = np.zeros((*shape[:2], int(np.prod(shape[2:]))))
    for sample in range(shape[0]):
        times, index = events.numpy().sample(sample)
        np.add.at(found[sample], (np.rint(times / dt).astype(np.int64) - 1, index), 1.0)
    return found.reshape(shape)


def on_nir(graph: spikec.Graph, values: Array) -> dict[str, Trace]:
    """Written as NIR, read again, and run by the reference."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "graph.nir")
        spikec.to_nir(graph, path, extensions=True)
        return on_reference(spikec.from_nir(path), values)


def on_onnx(graph: spikec.Graph, values: Array) -> dict[str, Trace]:
    """Written as ONNX and run by onnxruntime."""
    import onnxruntime

    every, outputs = shown(graph)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "graph.onnx")
        spikec.to_onnx(every, path, membranes=True)
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    names = [each.name for each in session.get_outputs()]
    found = dict(zip(names, session.run(names, {graph.inputs[0]: values}), strict=True))
    return {name: Trace(found[output] if spiking else None, found[f"{output}.membrane" if spiking else output])
            for name, output in outputs.items() for spiking in [nodes.is_spiking(graph.nodes[name])]}


def event_counts(graph: spikec.Graph, values: Array) -> dict[str, int]:
    """Spikes of every neuron node that spikes, in continuous time."""
    every, outputs = shown(graph)
    dt = _dt(graph)
    result = spikec.compile(every).run(values, dt=dt, duration=(values.shape[1] + 0.5) * dt)
    return {name: len(result.spikes[output]) for name, output in outputs.items()
            if nodes.is_spiking(graph.nodes[name])}


def _dt(graph: spikec.Graph) -> float:
    if graph.discretization is None:
        raise ValueError("the graph states no grid")
    return graph.discretization.dt

