"""What a target can do with each node of a model: rules as data, one entry a rule, and how they are applied.

A target states `Support` in its folder. Every rule whose kinds and condition fit a node gives a verdict; the node's is
the worst of them, and all reasons are told. Rules look at settings and at ranges of parameters, so judging takes no
time; for a target that is available, compiling has the last word.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Literal

from ..ir.graph import Discretization
from ..ir.nodes import Neuron, Node
from .model import Model
from .registry import TARGETS

__all__ = [
    "Capacity", "Judgement", "Limit", "Load", "Reason", "Rule", "Subject", "Support", "Verdict", "judge", "loads",
    "support_of",
]

Verdict = Literal["faithful", "approximate", "unsupported"]
_RANK: Mapping[Verdict, int] = {"faithful": 0, "approximate": 1, "unsupported": 2}


@dataclass(frozen=True, slots=True)
class Limit:
    """One number of a target, and where it is published."""

    value: float
    unit: str
    source: str


@dataclass(frozen=True, slots=True)
class Subject:
    """One node of a model. `grid`: its own, or the graph's, or None in continuous time."""

    name: str
    node: Node
    model: Model

    @property
    def grid(self) -> Discretization | None:
        own = self.node.grid if isinstance(self.node, Neuron) else None
        return own or self.model.graph.discretization


Condition = Callable[[Subject], str | None]
"""What a rule is about in a node, as text (its value; may be empty), or None where the rule does not apply."""


def _always(subject: Subject) -> str | None:
    return ""


@dataclass(frozen=True, slots=True)
class Rule:
    """What becomes of nodes of these kinds that meet the condition. `source`: where the fact is published, for chips;
    `limit`: the number that the value is held against. `measured`: compiling looks at this itself, with the numbers of
    the case, and a refusal is left to it."""

    kinds: tuple[type[Node], ...]
    verdict: Verdict
    reason: str = ""
    when: Condition = _always
    limit: Limit | None = None
    source: str = ""
    measured: bool = False


@dataclass(frozen=True, slots=True)
class Capacity:
    """What there is of something on one chip, and how much of it a model needs."""

    needs: Callable[[Model], int]
    limit: Limit


@dataclass(frozen=True, slots=True)
class Support:
    """The rules of a target, and the capacities of one chip. `note`: what all of its verdicts rest on."""

    rules: tuple[Rule, ...]
    capacities: tuple[Capacity, ...] = ()
    note: str = ""


@dataclass(frozen=True, slots=True)
class Reason:
    text: str
    source: str = ""


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a target can do with one node, and why not more. `refusals`: reasons not to compile it at all."""

    verdict: Verdict
    reasons: tuple[Reason, ...] = ()
    refusals: tuple[Reason, ...] = ()


@dataclass(frozen=True, slots=True)
class Load:
    """What a model takes of one chip, in `unit`; `fits` is false where it is more than there is."""

    unit: str
    value: int
    limit: float
    source: str

    @property
    def fits(self) -> bool:
        return self.value <= self.limit


def support_of(target: str) -> Support:
    """The rules of a target of the registry."""
    found: Support = import_module(f".{TARGETS[target].name}.support", __package__).SUPPORT
    return found


def judge(support: Support, model: Model) -> dict[str, Judgement]:
    """The judgement on every node, by name. A node that no rule speaks of is unsupported."""
    return {name: _judged(support, Subject(name, node, model)) for name, node in model.graph.nodes.items()}


def loads(support: Support, model: Model) -> tuple[Load, ...]:
    """What a model takes of one chip."""
    return tuple(Load(each.limit.unit, each.needs(model), each.limit.value, each.limit.source)
                 for each in support.capacities)


def _judged(support: Support, subject: Subject) -> Judgement:
    verdict: Verdict | None = None
    reasons: dict[Reason, Verdict] = {}
    refusals: list[Reason] = []
    for rule in support.rules:
        value = rule.when(subject) if type(subject.node) in rule.kinds else None
        if value is None:
            continue
        if verdict is None or _RANK[rule.verdict] > _RANK[verdict]:
            verdict = rule.verdict
        if rule.reason:
            reason = Reason(_text(rule, value), rule.source or (rule.limit.source if rule.limit else ""))
            reasons[reason] = rule.verdict
            if rule.verdict == "unsupported" and not rule.measured:
                refusals.append(reason)
    if verdict is None:
        unknown = (Reason(f"no rule for {type(subject.node).__name__}"),)
        return Judgement("unsupported", unknown, unknown)
    return Judgement(verdict, tuple(sorted(reasons, key=lambda reason: -_RANK[reasons[reason]])), tuple(refusals))


def _text(rule: Rule, value: str) -> str:
    facts = [value] if value else []
    if rule.limit is not None:
        facts.append(f"limit {rule.limit.value:,g} {rule.limit.unit}".rstrip())
    return f"{rule.reason} ({'; '.join(facts)})" if facts else rule.reason

