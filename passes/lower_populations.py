"""Neuron nodes -> populations."""

from __future__ import annotations

from math import prod
from typing import Any, Literal

import numpy as np

from ..ir.derived import apply, leaf
from ..ir.network import Population
from ..ir.nodes import IF, LIF, SPIKING, Array, CubaLI, CubaLIF, I, Membrane, params

__all__ = ["population"]

_OTHER_NAMES = {"tau": "tau_mem"}
"""Parameters that the network calls by another name."""


def population(name: str, node: Membrane, bias: Array | None) -> Population:
    """The population of one neuron node; `bias` (n,) is the constant current that its connections bring, if any."""
    shape = node.shape or ()
    kind: Literal["integrator", "leaky", "cuba"] = (
        "cuba" if isinstance(node, CubaLI) else "integrator" if isinstance(node, I) else "leaky"
    )
    values: dict[str, Any] = {
        _OTHER_NAMES.get(param, param): _flat(leaf(value, name, param)) for param, value in params(node).items()
        if param != "v_min"
    }
    if isinstance(node, (IF, LIF, CubaLIF)):
        values["reset"] = node.reset
    return Population(
        name=name, kind=kind, shape=shape, spiking=isinstance(node, SPIKING),
        bias=np.zeros(prod(shape)) if bias is None else bias, **values,
    )


def _flat(values: Array) -> Array:
    return apply("widen", apply("reshape", values, static=((-1,),)))
