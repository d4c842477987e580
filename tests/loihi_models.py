"""Small models for Loihi, with weights that a core holds exactly."""

from __future__ import annotations

from typing import Any

import numpy as np

from spikec import Discretization, Graph
from spikec.ir import nodes as ir

__all__ = ["GRID", "STEPS", "graph_of", "integrators", "layers", "raster_of", "whole"]

GRID = Discretization(1e-3)
STEPS = 120


def whole(rng: np.random.Generator, *shape: int, most: int = 60) -> Any:
    """Weights that a core holds exactly beside a threshold of one: even 64ths."""
    return 2 * rng.integers(-most // 2, most // 2 + 1, shape) / 64


def integrators(n: int, **changes: Any) -> ir.IF:
    return ir.IF(shape=(n,), r=np.ones(n), reset="zero", **changes)


def layers(weights: list[Any], grid: Discretization = GRID, **changes: Any) -> dict[str, Any]:
    nodes: dict[str, Any] = {"in": ir.Input(shape=(weights[0].shape[1],))}
    edges, last = [], "in"
    for number, weight in enumerate(weights):
        nodes |= {f"fc{number}": ir.Linear(weight=weight), f"n{number}": integrators(len(weight), **changes)}
        edges += [(last, f"fc{number}"), (f"fc{number}", f"n{number}")]
        last = f"n{number}"
    nodes["out"] = ir.Output(shape=(len(weights[-1]),))
    return {"nodes": nodes, "edges": [*edges, (last, "out")], "grid": grid}


def graph_of(parts: dict[str, Any]) -> Graph:
    return Graph(parts["nodes"], tuple(parts["edges"]), parts["grid"])


def raster_of(rng: np.random.Generator, n: int, rate: float = 0.3) -> Any:
    return (rng.random((3, STEPS, n)) < rate) * 1.0
