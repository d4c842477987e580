"""What the nodes without state do to tensors of rows (rows, *shape), differentiably: one function per kind, in a table.

The meaning is that of `ir/stateless.py`, which is the oracle: impulses go through the linear part, constant currents
through all of a node.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ...ir.nodes import (
    Affine,
    AvgPool2d,
    BatchNorm,
    Conv1d,
    Conv2d,
    Delay,
    Flatten,
    Linear,
    MaxPool2d,
    Node,
    Output,
    Scale,
    SparseLinear,
    SumPool2d,
    Threshold,
)
from ...ir.shapes import window

__all__ = ["FUNCTIONS", "through"]

Parameters = Mapping[str, Tensor]


def through(node: Node, rows: Tensor, parameters: Parameters, constant: bool = False) -> Tensor:
    """What `node` makes of `rows`; `parameters` are its own, by name, in the type of the rows. Delays are left to the
    caller."""
    return FUNCTIONS[type(node)](node, rows, parameters, constant)


def _same(node: Node, rows: Tensor, p: Parameters, constant: bool) -> Tensor:
    return rows


def _linear(node: Linear, rows: Tensor, p: Parameters, constant: bool) -> Tensor:
    return F.linear(rows, p["weight"], p.get("bias") if constant else None)


def _sparse(node: SparseLinear, rows: Tensor, p: Parameters, constant: bool) -> Tensor:
    made: dict[str, Any] = {"dtype": torch.int64, "device": rows.device}
    lengths = torch.as_tensor(np.diff(node.indptr), **made)
    places = torch.stack([torch.repeat_interleave(torch.arange(node.size[0], device=rows.device), lengths),
                          torch.as_tensor(np.array(node.indices), **made)])
    matrix = torch.sparse_coo_tensor(places, p["weight"], node.size, check_invariants=False)
    result: Tensor = torch.sparse.mm(matrix, rows.t()).t()
    return result + p["bias"] if constant and "bias" in p else result


def _scale(node: Scale, rows: Tensor, p: Parameters, constant: bool) -> Tensor:
    return rows * p["scale"]


def _batch_norm(node: BatchNorm, rows: Tensor, p: Parameters, constant: bool) -> Tensor:
    each = (-1,) + (1,) * (rows.dim() - 2)
    factor = (p["gamma"] / torch.sqrt(p["variance"] + node.eps)).view(each)
    return factor * (rows - p["mean"].view(each)) + p["beta"].view(each) if constant else factor * rows


def _conv1d(node: Conv1d, rows: Tensor, p: Parameters, constant: bool) -> Tensor:
    return F.conv1d(rows, p["weight"], p.get("bias") if constant else None, node.stride, node.padding, node.dilation,
                    node.groups)


def _conv2d(node: Conv2d, rows: Tensor, p: Parameters, constant: bool) -> Tensor:
    return F.conv2d(rows, p["weight"], p.get("bias") if constant else None, node.stride, node.padding, node.dilation,
                    node.groups)


def _mean_pool(node: AvgPool2d, rows: Tensor, p: Parameters, constant: bool) -> Tensor:
    return F.avg_pool2d(rows, node.kernel_size, node.stride, node.padding)


def _sum_pool(node: SumPool2d, rows: Tensor, p: Parameters, constant: bool) -> Tensor:
    size = window(node).kernel
    return F.avg_pool2d(rows, node.kernel_size, node.stride, node.padding) * float(size[0] * size[1])


def _max_pool(node: MaxPool2d, rows: Tensor, p: Parameters, constant: bool) -> Tensor:
    return F.max_pool2d(rows, node.kernel_size, node.stride, node.padding)


def _threshold(node: Threshold, rows: Tensor, p: Parameters, constant: bool) -> Tensor:
    return torch.zeros_like(rows) if constant else (rows > p["threshold"]).to(rows.dtype)


def _flatten(node: Flatten, rows: Tensor, p: Parameters, constant: bool) -> Tensor:
    axes = rows.dim() - 1
    return rows.flatten(1 + node.start_dim % axes, 1 + node.end_dim % axes)


FUNCTIONS: dict[type[Node], Callable[[Any, Tensor, Parameters, bool], Tensor]] = {
    Output: _same, Delay: _same, Linear: _linear, Affine: _linear, SparseLinear: _sparse, Scale: _scale,
    BatchNorm: _batch_norm, Conv1d: _conv1d, Conv2d: _conv2d, SumPool2d: _sum_pool, AvgPool2d: _mean_pool,
    MaxPool2d: _max_pool, Threshold: _threshold, Flatten: _flatten,
}
