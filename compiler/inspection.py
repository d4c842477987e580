"""What a model is made of, and what each target could do with it: the report of `spikec inspect`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np

from ..ir.checks import verify
from ..ir.conform import stored
from ..ir.diagnostics import BadInputError, Diagnostic
from ..ir.graph import Discretization, Graph
from ..ir.nodes import Array, Neuron, Node, about, params, settings
from ..targets.model import Model
from ..targets.registry import TARGETS
from ..targets.support import Judgement, Load, judge, loads, support_of

__all__ = ["Inspection", "NodeRow", "ParameterRow", "TargetReport", "inspect_graph"]

_SHOWN_ELSEWHERE = ("shape", "grid", "size", "indptr", "indices", "input_shape")


@dataclass(frozen=True, slots=True)
class ParameterRow:
    """A parameter of a node: its range, its unit ("s" or "1"), the numbers that are stored, and whether it is only the
    default of its kind."""

    name: str
    unit: str
    least: float
    most: float
    count: int
    default: bool


@dataclass(frozen=True, slots=True)
class NodeRow:
    """`takes` and `gives`: shapes of one sample, None where they are not known. `count`: numbers that are stored.
    `synapses`: connections between single elements. `grid`: the node's own, where it has one."""

    name: str
    kind: str
    takes: tuple[int, ...] | None
    gives: tuple[int, ...] | None
    count: int
    bytes: int
    synapses: int
    parameters: tuple[ParameterRow, ...]
    settings: dict[str, Any]
    grid: Discretization | None


@dataclass(frozen=True, slots=True)
class TargetReport:
    """What a target could do. `nodes`: the judgement on each. `loads`: what the model takes of one chip. `takes`: no
    node is refused by what the target states; `fits`: one chip holds it."""

    name: str
    status: str
    note: str
    nodes: dict[str, Judgement]
    loads: tuple[Load, ...]

    @property
    def takes(self) -> bool:
        if self.status == "available":  # what compiling measures itself, it tells with the numbers of the case
            return not any(each.refusals for each in self.nodes.values())
        return all(each.verdict != "unsupported" for each in self.nodes.values())

    @property
    def fits(self) -> bool:
        return all(each.fits for each in self.loads)


@dataclass(frozen=True, slots=True)
class Inspection:
    """Rows of the nodes, totals, and reports of targets. `bytes`: of the stored numbers. `verdict`: of the check that
    the importer made, empty where there was none."""

    nodes: tuple[NodeRow, ...]
    targets: tuple[TargetReport, ...]
    discretization: Discretization | None
    metadata: dict[str, str | int | float | bool]
    inputs: int
    neurons: int
    synapses: int
    parameters: int
    bytes: int

    @property
    def verdict(self) -> str:
        return str(self.metadata.get("import.check", ""))

    def as_dict(self) -> dict[str, Any]:
        """Plain values, as `--json` prints them."""
        found = asdict(self)
        for target, report in zip(found["targets"], self.targets, strict=True):
            target |= {"takes": report.takes, "fits": report.fits}
        return found


def inspect_graph(graph: Graph, targets: Iterable[str] | None = None) -> Inspection:
    """What `graph` is made of, and what each of `targets` (without: all of the registry) could do with each node.

    No target is compiled for: verdicts are by the rules that each target states. The cost is one look at every number.

    Raises:
        BadInputError: there is no such target (SC530), or the graph is not legal (SC101 to SC117).
    """
    names = tuple(TARGETS if targets is None else targets)
    unknown = [name for name in names if name not in TARGETS]
    if unknown:
        raise BadInputError(*(Diagnostic("SC530", f"there is no target '{name}'",
                                         remedy=f"Targets: {', '.join(TARGETS)}.") for name in unknown))
    model = Model(verify(graph))
    rows = tuple(_row(name, node, model) for name, node in graph.nodes.items())
    return Inspection(
        nodes=rows,
        targets=tuple(_target(name, model) for name in names),
        discretization=graph.discretization,
        metadata=dict(graph.metadata),
        inputs=model.inputs,
        neurons=model.neurons,
        synapses=sum(row.synapses for row in rows),
        parameters=sum(row.count for row in rows),
        bytes=sum(row.bytes for row in rows),
    )


def _target(name: str, model: Model) -> TargetReport:
    support = support_of(name)
    return TargetReport(name, TARGETS[name].status, support.note, judge(support, model), loads(support, model))


def _row(name: str, node: Node, model: Model) -> NodeRow:
    shapes = model.shapes.get(name)
    kept = {key: stored(value) for key, value in params(node).items()}
    declared = {entry.name: entry for entry in fields(node)}
    return NodeRow(
        name=name,
        kind=type(node).__name__,
        takes=None if shapes is None else shapes.input,
        gives=None if shapes is None else shapes.output,
        count=sum(value.size for value in kept.values()),
        bytes=sum(value.nbytes for value in kept.values()),
        synapses=model.synapses_of(name),
        parameters=tuple(_parameter(key, value, about(node, key).unit, about(node, key).default)
                         for key, value in kept.items() if value.size),
        settings={key: value for key, value in settings(node).items()
                  if key not in _SHOWN_ELSEWHERE and (key == "reset" or value != declared[key].default)},
        grid=node.grid if isinstance(node, Neuron) else None,
    )


def _parameter(name: str, value: Array, unit: str, default: Any) -> ParameterRow:
    least, most = float(np.min(value)), float(np.max(value))
    return ParameterRow(name, unit, least, most, value.size, isinstance(default, float) and least == most == default)
