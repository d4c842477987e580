"""What a rule reads at the two ends of a projection, over all columns of a batch: spikes, traces, gates, the dendrite.

Traces are made as far as they are asked for: all after a run, or one after the other where weights change on the way.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor

from ....ir.learning.rule import Gate, Trace

__all__ = ["Variables", "gate_values"]


class Variables:
    """Of one projection. `x0` (columns, batch, pre) as it arrives; `y0`, `reached` (columns, batch, post); `bar`: what
    spreads over that, or None; `kept` by trace, (post,) or a number; `taking` by trace: in which columns it takes
    spikes. `own`: variables that are known otherwise (e, reached, r), by name, as functions of columns.
    """

    def __init__(self, variables: Sequence[Trace | Gate], kept: Mapping[str, Any],
                 taking: Mapping[str, Sequence[bool]], x0: Tensor, y0: Tensor, reached: Tensor | None, bar: Any,
                 own: Mapping[str, Callable[[slice], Tensor]]) -> None:
        self.declared = {each.name: each for each in variables}
        self.kept, self.taking, self.reached, self.bar, self.own = kept, taking, reached, bar, own
        self.made: dict[str, Tensor] = {}
        self.done: dict[str, int] = {}
        self.ends = {"x0": x0, "y0": y0}
        self.final: dict[str, Tensor] = {}
        """(batch, post) of what is another at the end of a sample than after its last column."""

    def rows(self, name: str, columns: slice) -> Tensor:
        """(columns, batch, pre or post) of a variable."""
        if name in self.ends:
            return self.ends[name][columns]
        if name in self.own:
            return self.own[name](columns)
        each = self.declared[name]
        if isinstance(each, Gate):
            bar = self.bar[columns] if isinstance(self.bar, Tensor) and self.bar.ndim == 3 else self.bar
            return gate_values(each, cast(Tensor, self.reached)[columns], bar)
        if self.done.get(name, 0) < columns.stop:
            self._make(name, slice(self.done.get(name, 0), columns.stop))
        return self.made[name][columns]

    def at_end(self, name: str) -> Tensor:
        """(1, batch, pre or post) of a variable at the end of the sample."""
        if name in self.final:
            return self.final[name][None]
        columns = len(self.ends["x0"])
        return self.rows(name, slice(columns - 1, columns))

    def of_bias(self, name: str, columns: slice) -> Tensor:
        """(columns, 1, 1) of a variable of a source that spikes in every column."""
        x0 = self.ends["x0"]
        if "bias" not in self.made:
            self.made["bias"] = torch.ones((len(x0), 1, 1), dtype=x0.dtype, device=x0.device)
        if name == "x0":
            return self.made["bias"][columns]
        label = f"bias {name}"
        if self.done.get(label, 0) < columns.stop:
            self._make(label, slice(self.done.get(label, 0), columns.stop))
        return self.made[label][columns]

    def _make(self, label: str, columns: slice) -> None:
        of_bias, name = label.startswith("bias "), label.removeprefix("bias ")
        each = cast(Trace, self.declared[name])
        end = self.ends[name[0] + "0"]
        if label not in self.made:
            shape = (len(end), 1, 1) if of_bias else end.shape
            self.made[label] = torch.empty(shape, dtype=end.dtype, device=end.device)
        rows = self.made[label]
        self.done[label] = columns.stop
        source = name[0] + "0" if each.of == "spikes" else each.of
        given = self.of_bias(source, columns) if of_bias else self.rows(source, columns)
        kept, taking = self.kept[name], self.taking[name]
        for place, column in enumerate(range(columns.start, columns.stop)):
            if column:
                torch.mul(rows[column - 1], kept, out=rows[column])
            else:
                rows[column].zero_()
            if taking[column]:
                rows[column].add_(given[place], alpha=each.impulse)


def gate_values(gate: Gate, reached: Tensor, bar: Any) -> Tensor:
    """A gate, of membranes before their reset and thresholds."""
    if gate.shape == "membrane":
        return reached
    away = (reached - (bar if gate.centre is None else gate.centre)).abs_()
    if gate.shape == "box":
        box = torch.lt(away, gate.width, out=away)
        return box if gate.height == 1.0 else box.mul_(gate.height)
    if gate.shape == "triangle":
        return away.div_(-gate.width).add_(1).clamp_(min=0).mul_(gate.height)
    return away.div_(gate.width).add_(1).square_().reciprocal_().mul_(gate.height)
