"""Scales of the activations of a network without spikes, from data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

from ..ir.activations import walk
from ..ir.graph import Graph
from ..ir.nodes import Array, Relu

__all__ = ["activation_scales"]


def activation_scales(graph: Graph, data: Any | Mapping[str, Any], percentile: float = 99.9,
                      per: Literal["layer", "channel"] = "channel") -> tuple[dict[str, Array], tuple[str, ...]]:
    """For every Relu node the activation that stands for one spike a step: the `percentile` of its positive values
    over the data (Rueckauer et al. 2017, Front. Neurosci. 11:682, section 2.2.2; 100 is the maximum of Diehl et al.
    2015), at most its ceiling. Of the whole `layer`, a number, or of each `channel` (first axis; Kim et al. 2020,
    AAAI), (C, 1, …); a channel that is never positive takes that of its layer. Also the names of layers that are never
    positive at all, whose scale is 1.

    Arguments and errors as for `ir.activations.activations`.
    """
    scales: dict[str, Array] = {}
    silent: list[str] = []
    for name, values in walk(graph, data):
        node = graph.nodes[name]
        if not isinstance(node, Relu):
            continue
        positive = values[values > 0]
        whole = np.percentile(positive, percentile) if positive.size else np.float64(1.0)
        if not positive.size:
            silent.append(name)
        scale: Array = np.asarray(whole)
        if per == "channel":
            channels = (channel[channel > 0] for channel in values.swapaxes(0, 1))
            each = [np.percentile(channel, percentile) if channel.size else whole for channel in channels]
            scale = np.reshape(each, (-1,) + (1,) * (values.ndim - 2))
        scales[name] = scale if node.ceiling is None else np.minimum(scale, node.ceiling)
    return scales, tuple(silent)
