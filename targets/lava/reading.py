"""Integer networks of what `network.json` says and of the arrays beside it; whether they are legal is not looked at."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ...ir.integer.network import (
    IntegerConnection,
    IntegerConv,
    IntegerDense,
    IntegerNetwork,
    IntegerPopulation,
    IntegerProjection,
    IntegerSparse,
)
from ...ir.nodes import Array

__all__ = ["names_of", "network_of", "projections_of"]


def names_of(told: Any) -> dict[str, str]:
    """The names of inputs and populations by their keys."""
    return {key: each["name"] for kind in ("inputs", "populations") for key, each in told[kind].items()}


def network_of(told: Any, arrays: Mapping[str, Array]) -> IntegerNetwork:
    """The network that `network.json` and the parameters describe."""
    names = names_of(told)
    populations = {each["name"]: IntegerPopulation(
        name=each["name"], shape=tuple(each["shape"]), du=each["du"], dv=each["dv"], threshold=each["threshold"],
        bias=arrays.get(f"{key}_bias"), bias_exponent=each["bias_exponent"], u0=arrays.get(f"{key}_u0"),
        v0=arrays.get(f"{key}_v0"),
    ) for key, each in told["populations"].items()}
    return IntegerNetwork(
        inputs={each["name"]: tuple(each["shape"]) for each in told["inputs"].values()}, populations=populations,
        projections=projections_of(told["projections"].items(), names, arrays),
        outputs={name: names[key] for name, key in told["outputs"].items()}, dt=told["dt"])


def projections_of(told: Iterable[tuple[str, Any]], names: Mapping[str, str],
                   arrays: Mapping[str, Array]) -> tuple[IntegerProjection, ...]:
    """Projections by their keys, as they are described. `names`: of their ends."""
    return tuple(IntegerProjection(
        name=each["name"], source=names[each["source"]], target=names[each["target"]],
        connection=_connection(key, each, arrays), exponent=each["exponent"], weight_bits=each["weight_bits"],
        sign=each["sign"], delay=arrays.get(f"{key}_delay"), message_bits=each["message_bits"],
    ) for key, each in told)


def _connection(key: str, told: Mapping[str, Any], arrays: Mapping[str, Array]) -> IntegerConnection:
    weight = arrays[f"{key}_weight"]
    if told["kind"] == "dense":
        return IntegerDense(weight=weight)
    if told["kind"] == "sparse":
        return IntegerSparse(indptr=arrays[f"{key}_indptr"], indices=arrays[f"{key}_indices"], weight=weight)
    pairs = {name: tuple(told[name]) for name in ("input_shape", "output_shape", "stride", "padding", "dilation")}
    return IntegerConv(weight=weight, groups=told["groups"], **pairs)
