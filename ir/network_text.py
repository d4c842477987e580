"""The text of a lowered network, for reading: what `print(network)` shows and what `--dump-ir` writes.

Numbers and arrays as in `text`; an array that does not fit a line shows its type, its shape and its range.
"""

from __future__ import annotations

from dataclasses import fields

import numpy as np

from .network import Network, Population, Projection
from .nodes import Array
from .text_values import array_text, array_type, compact, literal, quoted, record_text

__all__ = ["network_to_text"]

VERSION = 1


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
    role = "readout"
    if population.spiking:
        role = "spiking"
        facts.append(f"reset={population.reset}")
    return f"{role} {quoted(name)}{list(population.shape)} = {population.kind}({', '.join(facts)})"


def _projection(projection: Projection) -> str:
    connection = projection.connection
    facts = [
        f"{entry.name}={_array(value) if isinstance(value, np.ndarray) else literal(value)}"
        for entry in fields(connection) for value in (getattr(connection, entry.name),)
    ]
    if projection.delay is not None:
        facts.append(f"delay per {projection.delay_per}={_array(compact(projection.delay, projection.delay.shape))}")
    return (f"{quoted(projection.name)}: {quoted(projection.source)} -> {quoted(projection.target)} = "
            f"{type(connection).__name__.lower()}({', '.join(facts)})")


def _array(value: Array) -> str:
    short = array_text(value)
    if short is not None:
        return short
    return f"{array_type(value)} {literal(float(np.nanmin(value)))}..{literal(float(np.nanmax(value)))}"
