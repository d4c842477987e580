"""Neuron nodes -> populations."""

from __future__ import annotations

from math import prod
from typing import Any, Literal

import numpy as np

from ..ir.derived import apply, leaf
from ..ir.flow.flow import BIAS, Flow, dynamics_of, values_of
from ..ir.network import Population
from ..ir.nodes import IF, LIF, SPIKING, Array, CubaLI, CubaLIF, FlowNeuron, I, Membrane, is_spiking, params

__all__ = ["flowing", "population"]

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


def flowing(name: str, node: FlowNeuron, bias: Array | None) -> Population:
    """The same of a neuron node that need not be linear."""
    shape, dynamics = node.shape or (), dynamics_of(node, biased=bias is not None)
    values, starts = ({each: _flat(leaf(value, name, f"{each}0" if start else each)) for each, value in given.items()}
                      for start, given in enumerate(values_of(node)))
    zeros = np.zeros(prod(shape))
    if bias is not None:
        values[BIAS] = bias
    starts = {each: starts.get(each, zeros) for each in dynamics.states}
    refractory = getattr(node, "refractory", None)
    return Population(
        name=name, kind="flow", shape=shape, spiking=is_spiking(node), r=zeros + 1, v0=starts[dynamics.shown],
        bias=zeros if bias is None else bias,
        refractory=None if refractory is None or not is_spiking(node) else _flat(leaf(refractory, name, "refractory")),
        flow=Flow(dynamics=dynamics, values={each: values[each] for each in dynamics.parameters}, start=starts))


def _flat(values: Array) -> Array:
    return apply("widen", apply("reshape", values, static=((-1,),)))
