"""The text of a lowered network, for reading: what `print(network)` shows and what `--dump-ir` writes.

Numbers have six digits; an array that does not fit a line shows its type, its shape and its range.
"""

from __future__ import annotations

from dataclasses import fields

import numpy as np

from .network import Network, Population, Projection
from .nodes import Array
from .text_values import compact, literal, quoted, record_text

__all__ = ["network_to_text"]

VERSION = 1
SHOWN = 8
"""Elements of an array that are shown one by one."""


def network_to_text(network: Network) -> str:
    """One line for each input, population, projection and output, then the schedule, one component a line."""
    head = [f"spikec-network {VERSION}"]
    if network.discretization is not None:
        head.append(record_text(network.discretization))
    parts = (
        head,
        [f"input {quoted(name)}{list(shape)}" for name, shape in network.inputs.items()],
        [_population(name, population) for name, population in network.populations.items()],
        [_projection(projection) for projection in network.projections],
        [f"output {quoted(name)} = {quoted(population)}" for name, population in network.outputs.items()],
        [f"step {number}: {', '.join(map(quoted, names))}" for number, names in enumerate(network.schedule)],
    )
    return "\n".join("\n".join(part) + "\n" for part in parts if part)


def _population(name: str, population: Population) -> str:
    facts = [
        f"{entry.name}={_array(compact(value, (population.n,)))}"
        for entry in fields(population) if isinstance(value := getattr(population, entry.name), np.ndarray)
    ]
    if population.flow is not None:
        given = {**population.flow.values, **{f"{name}0": each for name, each in population.flow.start.items()}}
        facts = [f"{name}={_array(compact(value, (population.n,)))}" for name, value in given.items()]
    role = "readout"
    if population.spiking:
        role = "spiking"
        if population.flow is None:
            facts.append(f"reset={population.reset}")
    kind = population.kind if population.flow is None else population.flow.dynamics.name
    return f"{role} {quoted(name)}{list(population.shape)} = {kind}({', '.join(facts)})"


def _projection(projection: Projection) -> str:
    connection = projection.connection
    facts = [
        f"{entry.name}={_array(value) if isinstance(value, np.ndarray) else literal(value)}"
        for entry in fields(connection) for value in (getattr(connection, entry.name),)
    ]
    if projection.delay is not None:
        facts.append(f"delay per {projection.delay_per}={_array(projection.delay)}")
    return (f"{quoted(projection.name)}: {quoted(projection.source)} -> {quoted(projection.target)} = "
            f"{type(connection).__name__.lower()}({', '.join(facts)})")


def _array(value: Array) -> str:
    kind = f"f{8 * value.itemsize}" if value.dtype.kind == "f" else "i64"
    head = f"{kind}[{', '.join(map(str, value.shape))}]" if value.shape else ""
    if value.size > SHOWN:
        return f"{head} {value.min():.6g}..{value.max():.6g}"
    items = ", ".join(f"{item:.6g}" for item in value.reshape(-1))
    return f"{head}({items})" if head else items
