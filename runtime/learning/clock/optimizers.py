"""What synapses make of the changes that a rule asks for: a state of their own, of nothing but their own changes.

A rule with one of these is still local, and needs two numbers more a synapse; no chip has them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from ....ir.diagnostics import Diagnostics
from ....ir.facts import is_number
from ....ir.nodes import Array

__all__ = ["LocalOptimizer", "Optimized", "optimizer_named"]

Kind = Literal["sgd", "momentum", "adam"]


@dataclass(frozen=True, slots=True)
class LocalOptimizer:
    """`kind`: `sgd`: changes as they are. `momentum`: m := momentum m + change. `adam` (Kingma, Ba 2014): `step` times
    the running mean of changes over the root of that of their squares, both corrected for their start, so that the
    rate in the rule has no effect. `momentum` and `square`: what the means keep; `floor`: is added to the root.
    `decay`: of a weight, is lost at every update; biases lose nothing. The learner's `rate` multiplies all of it.
    """

    kind: Kind = "sgd"
    step: float = 1e-3
    momentum: float = 0.9
    square: float = 0.999
    floor: float = 1e-8
    decay: float = 0.0


def optimizer_named(given: Any, faults: Diagnostics) -> LocalOptimizer:
    """One by its kind, or as it is; what is wrong of it is added to `faults` (SC403)."""
    chosen: Any = LocalOptimizer(given) if isinstance(given, str) else given  # type: ignore[arg-type]
    if not isinstance(chosen, LocalOptimizer) or chosen.kind not in get_args(Kind):
        faults.add("SC403", "there is no such optimizer of synapses", value=repr(given)[:80],
                   limit=f"{', '.join(get_args(Kind))}, or a LocalOptimizer")
        return LocalOptimizer()
    for each in fields(LocalOptimizer)[1:]:
        value = getattr(chosen, each.name)
        most = math.inf if each.name in ("step", "floor") else 1.0
        if not (is_number(value) and 0 <= value < most):
            faults.add("SC403", f"{each.name} of the optimizer is out of range", value=repr(value)[:80],
                       limit="a finite number >= 0" if most == math.inf else "0 to below 1")
    return chosen


class Optimized:
    """The states of all synapses that learn, by kind of table ("weights", "biases") and projection."""

    def __init__(self, optimizer: LocalOptimizer, tables: Mapping[str, Mapping[str, Tensor]]) -> None:
        self.optimizer = optimizer
        self.names = {"sgd": (), "momentum": ("mean",), "adam": ("mean", "square")}[optimizer.kind]
        self.states = {(state, what, name): torch.zeros_like(each) for state in self.names
                       for what, table in tables.items() for name, each in table.items()}
        self.updates = {(what, name): 0 for what, table in tables.items() for name in table}

    def change(self, what: str, name: str, change: Tensor, value: Tensor) -> Tensor:
        """What is added to `value`, for what the rule asks for."""
        chosen = self.optimizer
        if chosen.kind == "momentum":
            change = self.states["mean", what, name].mul_(chosen.momentum).add_(change).clone()
        elif chosen.kind == "adam":
            self.updates[what, name] += 1
            count = self.updates[what, name]
            mean = self.states["mean", what, name].lerp_(change, 1 - chosen.momentum)
            square = self.states["square", what, name].mul_(chosen.square).addcmul_(change, change,
                                                                                    value=1 - chosen.square)
            root = (square / (1 - chosen.square**count)).sqrt_().add_(chosen.floor)
            change = torch.div(mean, root, out=root).mul_(chosen.step / (1 - chosen.momentum**count))
        if chosen.decay and what == "weights":
            change = change - chosen.decay * value
        return change

    def state(self) -> dict[str, Array]:
        """Empty of what keeps nothing."""
        if not self.names:
            return {}
        found = {"/".join(key): each.detach().cpu().numpy().copy() for key, each in self.states.items()}
        counts = torch.tensor(list(self.updates.values())).numpy()
        return {**found, "updates": counts}

    def load(self, state: Mapping[str, Array]) -> None:
        """What `state` has given."""
        for key, each in self.states.items():
            each.copy_(torch.from_numpy(state["/".join(key)].copy()))
        if self.names:
            self.updates = dict(zip(self.updates, map(int, state["updates"]), strict=True))
