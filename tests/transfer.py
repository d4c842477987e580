"""What connections do, in one comparable form: the transfer function.

A unit impulse at element j of a source arrives as impulses of weight w after delay d at the elements i of a target;
sum(w exp(-s d)) over those, as a matrix (targets, sources), says everything about them when it is known for enough s.
A model graph is evaluated by torch's own layers, a network by its documented formats; the two share no code.
"""

from __future__ import annotations

from math import prod

import numpy as np
import torch
from torch.nn import functional

from spikec.ir import nodes as ir
from spikec.ir.graph import Graph
from spikec.ir.network import Conv, Dense, Network, Projection, Sparse

FREQUENCIES = (0.0, 150.0, 700.0)
"""1/s, for delays of some milliseconds."""


def graph_transfer(graph: Graph, s: float) -> dict[tuple[str, str], np.ndarray]:
    """By (source, target): the matrix over all ways between them that meet no other neuron."""
    found = {}
    for source, node in graph.nodes.items():
        if isinstance(node, (ir.Input, *ir.SPIKING)):
            size = prod(node.shape)
            basis = torch.eye(size, dtype=torch.float64).reshape(size, *node.shape)
            for target in graph.targets[source]:
                _follow(graph, source, target, basis, s, found)
    return found


def graph_bias(graph: Graph) -> dict[str, np.ndarray]:
    """The constant current into each neuron node: what arrives when every source is silent."""
    neurons = [name for name, node in graph.nodes.items() if isinstance(node, ir.Neuron)]
    return {name: _arriving(graph, name).reshape(-1).numpy() for name in neurons}


def network_transfer(network: Network, s: float) -> dict[tuple[str, str], np.ndarray]:
    found: dict[tuple[str, str], np.ndarray] = {}
    for projection in network.projections:
        pair = projection.source, projection.target
        found[pair] = found.get(pair, 0.0) + _matrix(projection, network.size(projection.source), s)
    return found


def _arriving(graph: Graph, name: str) -> torch.Tensor:
    total = torch.zeros((), dtype=torch.float64)
    for source in graph.sources[name]:
        node = graph.nodes[source]
        if isinstance(node, ir.Input | ir.Neuron):
            total = total + torch.zeros(1, *node.shape, dtype=torch.float64)
        else:
            total = total + _through(node, _arriving(graph, source), 0.0, constant=True)
    return total


def _follow(graph, source, name, signal, s, found):
    node = graph.nodes[name]
    if isinstance(node, ir.Output):
        return
    if isinstance(node, ir.Neuron):
        total = found.get((source, name), 0.0)
        found[source, name] = total + signal.reshape(len(signal), -1).T.numpy()
        return
    for target in graph.targets[name]:
        _follow(graph, source, target, _through(node, signal, s), s, found)


def _through(node, x, s, constant=False):
    values = {name: torch.tensor(np.array(value), dtype=torch.float64) for name, value in ir.params(node).items()}
    bias = values.get("bias") if constant else None
    late = torch.exp(-s * values["delay"]) if "delay" in values else 1.0
    match node:
        case ir.Linear():
            return functional.linear(x, values["weight"] * late, bias)
        case ir.SparseLinear():
            rows = np.repeat(np.arange(node.size[0]), np.diff(node.indptr))
            dense = torch.zeros(node.size, dtype=torch.float64)
            dense[rows, node.indices.copy()] = values["weight"] * late
            return functional.linear(x, dense, bias)
        case ir.Conv1d():
            return functional.conv1d(x, values["weight"], bias, node.stride, node.padding, node.dilation, node.groups)
        case ir.Conv2d():
            return functional.conv2d(x, values["weight"], bias, node.stride, node.padding, node.dilation, node.groups)
        case ir.AvgPool2d():
            return functional.avg_pool2d(x, node.kernel_size, node.stride, node.padding)
        case ir.SumPool2d():
            pooled = functional.avg_pool2d(x, node.kernel_size, node.stride, node.padding)
            return pooled * prod(node.kernel_size)
        case ir.Scale():
            return x * values["scale"]
        case ir.BatchNorm():
            zero = torch.zeros_like(values["mean"])
            mean, beta = (values["mean"], values["beta"]) if constant else (zero, zero)
            return functional.batch_norm(x, mean, values["variance"], values["gamma"], beta, eps=node.eps)
        case ir.Delay():
            return x * late
        case ir.Flatten():
            first, last = (1 + axis if axis >= 0 else axis for axis in (node.start_dim, node.end_dim))
            return torch.flatten(x, first, last)
    raise AssertionError(f"no rule for {type(node).__name__}")


def _matrix(projection: Projection, n_source: int, s: float) -> np.ndarray:
    connection = projection.connection
    late = 1.0 if projection.delay is None else np.exp(-s * np.asarray(projection.delay))
    weight = np.asarray(connection.weight, np.float64)
    if projection.delay_per == "synapse":
        weight, late = weight * late, 1.0
    match connection:
        case Dense():
            matrix = weight
        case Sparse():
            matrix = np.zeros((len(connection.indptr) - 1, n_source))
            rows = np.repeat(np.arange(len(matrix)), np.diff(connection.indptr))
            np.add.at(matrix, (rows, connection.indices), weight)
        case Conv():
            matrix = _conv_matrix(connection, weight)
    return matrix * late


def _conv_matrix(conv: Conv, weight: np.ndarray) -> np.ndarray:
    size = prod(conv.input_shape)
    basis = torch.eye(size, dtype=torch.float64).reshape(size, *conv.input_shape)
    pads = []
    for axis in (1, 0):  # torch pads the last axis first
        reach = conv.dilation[axis] * (weight.shape[2 + axis] - 1) + 1
        needed = (conv.output_shape[1 + axis] - 1) * conv.stride[axis] + reach
        pads += [conv.padding[axis], needed - conv.padding[axis] - conv.input_shape[1 + axis]]
    padded = functional.pad(basis, pads)
    result = functional.conv2d(padded, torch.tensor(weight), None, conv.stride, 0, conv.dilation, conv.groups)
    assert result.shape[1:] == conv.output_shape
    return result.reshape(size, -1).T.numpy()
