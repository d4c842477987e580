"""What metadata of a NIR file say: the user's own, and spikec's, which carry what NIR cannot say.

Flat, one number or text a key. Spikec's own begin with `spikec.`: `spikec.discretization.<field>` of the graph (and
`spikec.reader`, where it was written for one importer), `spikec.grid.<field>` of a neuron node with a grid of its own,
and `spikec.<field>` of a node for what NIR has no field for. Metadata of others say nothing about what a graph does;
a time step in them is told, never used.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields as dataclass_fields
from typing import Any

from ....ir.diagnostics import Diagnostics
from ....ir.graph import Discretization, Graph
from .file import EXTENSION, RawNode, Value

__all__ = ["CALL", "DISCRETIZATION", "GRID", "READER", "read_grid", "read_metadata", "report_steps", "split_metadata",
           "written_grid"]

DISCRETIZATION = f"{EXTENSION}discretization."
"""Of the graph."""
GRID = "grid."
"""Of a neuron node, after `EXTENSION`."""
READER = f"{EXTENSION}reader"
CALL = f"{EXTENSION}call"
"""Of a file that is written for one importer: which one, and how it is called."""

Plain = str | int | float | bool


def read_metadata(root: RawNode, flat: Mapping[str, RawNode], faults: Diagnostics) -> dict[str, Plain]:
    """The metadata of others: of the graph, and of each node under "node/key"."""
    metadata: dict[str, Plain] = {}
    for prefix, values in (("", root.metadata), *((f"{name}/", raw.metadata) for name, raw in flat.items())):
        for key, value in values.items():
            if key.startswith(EXTENSION):
                continue
            plain = _plain(value)
            if plain is None:
                faults.add("SC206", f"metadata '{key}' is a list and was left out", node=prefix.rstrip("/") or None,
                           severity="warning")
            else:
                metadata[prefix + key] = plain
    return metadata


def read_grid(metadata: Mapping[str, Value], prefix: str, node: str | None,
              faults: Diagnostics) -> Discretization | None:
    """The grid that spikec wrote under `prefix`; None where there is none."""
    stored = {key.removeprefix(prefix): value for key, value in metadata.items() if key.startswith(prefix)}
    names = [entry.name for entry in dataclass_fields(Discretization)]
    if not stored:
        return None
    plain: dict[str, Any] = {key: _plain(value) for key, value in stored.items()}
    if "dt" not in stored or not stored.keys() <= set(names) or None in plain.values():
        faults.add("SC206", "the stored discretization is malformed", node=node, value=", ".join(sorted(stored)),
                   limit=", ".join(names), remedy="Was the file edited, or written by a newer spikec?")
        return None
    return Discretization(**plain)


def written_grid(grid: Discretization | None, prefix: str) -> dict[str, Plain]:
    """A grid as metadata, which `read_grid` reads."""
    if grid is None:
        return {}
    return {f"{prefix}{entry.name}": getattr(grid, entry.name) for entry in dataclass_fields(grid)}


def report_steps(metadata: Mapping[str, Plain], grid: Discretization | None, faults: Diagnostics) -> None:
    """Tells of every time step in the metadata of others that `grid` does not state."""
    for key, value in metadata.items():
        if key.rsplit("/", 1)[-1].lower() == "dt" and (grid is None or value != grid.dt):
            faults.add("SC210", "the metadata speak of a time step, which says nothing of how it was used",
                       value=f"{key} = {value}", limit=None if grid is None else f"dt = {grid.dt}", severity="warning",
                       remedy="Pass discretization=Discretization(dt=…), if the model was made on a grid."
                       if grid is None else "What you stated is taken.")


def split_metadata(graph: Graph, faults: Diagnostics) -> tuple[dict[str, Plain], dict[str, dict[str, Plain]]]:
    """The metadata of a graph as a file holds them: of the graph itself, and of each node."""
    of_graph: dict[str, Plain] = {}
    of_nodes: dict[str, dict[str, Plain]] = {}
    for key, value in graph.metadata.items():
        node, separator, inner = key.partition("/")
        if inner.startswith(EXTENSION) or key.startswith(EXTENSION):
            faults.add("SC209", f"keys of metadata that begin with '{EXTENSION}' are spikec's own", value=key)
        elif not separator:
            of_graph[key] = value
        elif node in graph.nodes and inner and "/" not in inner:
            of_nodes.setdefault(node, {})[inner] = value
        else:
            faults.add("SC209", "the key of metadata cannot hold '/', but between a node's name and its own key",
                       value=key)
    return of_graph, of_nodes


def _plain(value: Value) -> Plain | None:
    """One number or text; None for lists."""
    if isinstance(value, str):
        return value
    number: Plain | None = value.reshape(-1)[0].item() if value.size == 1 else None
    return number
