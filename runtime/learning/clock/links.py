"""What changes by a rule: each plastic projection, and each feedback matrix that learns, with its plan."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ....ir.learning.layout import LearningLayout, columns_of_phase, kept_in_a_step
from ....ir.learning.rule import Gate, LearningRule, Phase, Trace, Update
from ...clock.engine import ClockEngine
from .plan import Product, is_linear, products_of

__all__ = ["Link", "Schedule", "links_of", "reads_gates"]


class Schedule:
    """Phases without noise, column by column."""

    def __init__(self, rule: LearningRule, dt: float) -> None:
        self.phases = tuple(phase for phase in rule.phases if phase.noise is None)
        self.lasts = tuple(columns_of_phase(phase, dt) for phase in self.phases)
        self.columns = sum(self.lasts)
        self.noisy = frozenset(phase.name for phase in rule.phases if phase.noise is not None)
        self.start = 0 if rule.error is None else round(rule.error.start / dt)
        shown = tuple(phase for phase in self.phases if not phase.inject) or self.phases
        self.answering = [phase in shown for _, phase, _ in self]

    def __iter__(self) -> Iterator[tuple[int, Phase, int | None]]:
        """Column of the sample, its phase, and the columns since the error began there, None where there is none."""
        column = 0
        for phase, last in zip(self.phases, self.lasts, strict=True):
            for within in range(last):
                yield column, phase, within - self.start if phase.teach and within >= self.start else None
                column += 1

    def taking(self, phases: Sequence[str]) -> list[bool]:
        """By column, whether its phase is one of these; () means all."""
        return [not phases or phase.name in phases for _, phase, _ in self]

    def happens(self, update: Update) -> tuple[bool, ...]:
        """By column, whether an update happens; of one at the end of a sample, whether it does at all."""
        if update.when == "sample":
            return (not update.phases or not self.noisy.issuperset(update.phases),)
        every = 2**update.every if update.when == "step" else 1
        return tuple(taken and (column + 1) % every == 0
                     for column, taken in enumerate(self.taking(update.phases)))


@dataclass(frozen=True, slots=True)
class Link:
    """`kind`: weights or feedback; `name`: of the projection, or the hidden layer. `kept`, `taking`: see `Variables`.
    `linear`: its tags can be eliminated. `changes`: its weights change on the way through a sample."""

    kind: str
    name: str
    source: str
    target: str
    late: int
    bias: bool
    variables: tuple[Trace | Gate, ...]
    step: tuple[Product, ...]
    sample: tuple[Product, ...]
    kept: dict[str, Any]
    taking: dict[str, list[bool]]

    @property
    def linear(self) -> bool:
        return is_linear(self.step, self.sample)

    @property
    def changes(self) -> bool:
        return any(each.variable == "w" for each in self.step)


def links_of(engine: ClockEngine, rule: LearningRule, layout: LearningLayout, schedule: Schedule, dtype: torch.dtype,
             device: torch.device) -> list[Link]:
    """All of them, projections first."""
    feedback, found = rule.feedback, []
    for plastic in layout.plastic:
        if plastic.target in layout.hidden and feedback is not None and feedback.kind == "none":
            continue
        found.append(_link("weights", plastic.name, plastic.source, plastic.target, plastic.late, plastic.bias,
                           rule.variables, rule.updates, engine, schedule, dtype, device))
    if feedback is not None and feedback.kind == "learned":
        awake = tuple(each for each in feedback.updates if any(schedule.happens(each)))
        for layer, above in layout.above.items() if awake else ():
            found.append(_link("feedback", layer, above, layer, 0, False, feedback.traces, awake, engine, schedule,
                               dtype, device))
    return found


def _link(kind: str, name: str, source: str, target: str, late: int, bias: bool,
          variables: tuple[Trace | Gate, ...], updates: tuple[Update, ...], engine: ClockEngine, schedule: Schedule,
          dtype: torch.dtype, device: torch.device) -> Link:
    node: Any = engine.graph.nodes[target]
    kept: dict[str, Any] = {}
    for each in variables:
        if isinstance(each, Trace):
            share = np.broadcast_to(np.asarray(kept_in_a_step(each.tau, node, engine.grid), dtype=np.float64),
                                    engine.shapes[target].output).reshape(-1)
            same = share.size and (share == share[0]).all()
            kept[each.name] = float(share[0]) if same else torch.from_numpy(np.array(share)).to(device, dtype)
    taking = {each.name: schedule.taking(each.phases) for each in variables if isinstance(each, Trace)}
    happens: Callable[[Update], tuple[bool, ...]] = schedule.happens
    return Link(kind, name, source, target, late, bias, variables, products_of(updates, "step", happens),
                products_of(updates, "sample", happens), kept, taking)


def reads_gates(links: Sequence[Link]) -> set[str]:
    """The populations whose membranes a rule reads."""
    found = set()
    for link in links:
        gates = {each.name for each in link.variables if isinstance(each, Gate)}
        if any(atom.variable in gates for each in (*link.step, *link.sample) for atom in each.post):
            found.add(link.target)
    return found
