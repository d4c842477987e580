"""What outputs have done wrong, of a batch, column by column; what of it is fed back; and dendrites that take it.

What `ir/learning/errors.py` says of one sample, and `ir/learning/step.py` of dendrites.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ....ir.learning.layout import LearningLayout
from ....ir.learning.rule import Error

__all__ = ["Dendrites", "Errors"]


class Errors:
    """err (batch, n_out) of the output and, where each layer has its own, of hidden layers."""

    def __init__(self, error: Error, layout: LearningLayout, dt: float, columns: int, labels: Tensor,
                 dtype: torch.dtype) -> None:
        self.error, self.output, self.columns = error, layout.output, columns
        self.names = (layout.output, *(layout.above if error.code == "local" else ()))
        n, batch = layout.size[layout.output], len(labels)
        made: dict[str, Any] = {"dtype": dtype, "device": labels.device}
        self.zero = torch.zeros((batch, n), **made)
        self.onehot = torch.nn.functional.one_hot(labels, n).to(dtype)
        self.aim = error.low + (error.high - error.low) * self.onehot
        self.kept = 1.0 if error.tau is None else math.exp(-dt / error.tau) if error.tau > 0 else 0.0
        traced = self.names if error.code in ("trace", "local") else ()
        self.counted, self.taught = self.zero.clone(), self.zero.clone()
        self.traces = {name: torch.zeros((batch, layout.size[name]), **made) for name in traced}
        self.up = {name: self.zero.clone() for name in self.names} if error.spikes else {}
        self.down = {name: self.zero.clone() for name in self.up}
        self.sum_of_errors, self.active = torch.zeros((), dtype=torch.float64, device=labels.device), 0

    def column(self, given: Mapping[str, Tensor], feedback: Mapping[str, Tensor], since: int | None
               ) -> dict[str, Tensor]:
        """What is fed back. `given`: spikes by layer; `since`: columns since the error began in this phase, None where
        there is none now."""
        error = self.error
        if error.code in ("softmax", "count"):
            self.counted += given[self.output]
        for name, trace in self.traces.items():
            trace.mul_(self.kept).add_(given[name])
        teacher = self.onehot if since is not None and since % error.period == 0 else self.zero
        if error.code == "trace":
            self.taught.mul_(self.kept).add_(teacher)
        if since is None:
            return dict.fromkeys(self.names, self.zero)
        err = {name: self._err(name, given, feedback, teacher) for name in self.names}
        self.sum_of_errors += err[self.output].abs().mean()
        self.active += 1
        return {name: self._fed_back(name, each) for name, each in err.items()}

    def _err(self, name: str, given: Mapping[str, Tensor], feedback: Mapping[str, Tensor], teacher: Tensor) -> Tensor:
        code = self.error.code
        if code == "softmax":
            return torch.softmax(self.error.slope * self.counted, 1) - self.onehot
        if code == "count":
            return (self.counted - self.aim) / self.columns
        if code == "spike":
            return given[self.output] - teacher
        if code == "trace":
            return self.traces[self.output] - self.taught
        if code == "local":
            trace = self.traces[name]
            return (trace if name == self.output else trace @ feedback[name]) - self.onehot
        return self.zero

    def _fed_back(self, name: str, err: Tensor) -> Tensor:
        if self.error.margin > 0:
            err = torch.where(err.abs() > self.error.margin, err, self.zero)
        if not self.error.spikes:
            return err
        threshold = self.error.threshold
        fired = []
        for course, sign in ((self.up[name], 1), (self.down[name], -1)):
            course.add_(err, alpha=sign)
            spikes = (course > threshold).to(err.dtype)
            course.sub_(spikes, alpha=threshold)
            fired.append(spikes)
        return fired[0] - fired[1]


class Dendrites:
    """E of the output and the hidden layers over a batch. As long as feedback stays as it is, E of a layer is B times
    what its error comes to under the dendrite's own decay; `live`: it does not, and every layer sums for itself."""

    def __init__(self, error: Error, layout: LearningLayout, layered: bool, dt: float, columns: int, batch: int,
                 live: bool, like: Tensor) -> None:
        self.error, self.layout, self.layered, self.live, self.like = error, layout, layered, live, like
        tau = error.dendrite_tau
        self.kept = 1.0 if tau is None else math.exp(-dt / tau) if tau > 0 else 0.0
        self.names = (layout.output, *(layout.above if error.code == "local" else ()))
        n = layout.size[layout.output]
        self.fed = {name: like.new_zeros((columns, batch, n)) for name in self.names}
        self.came = {name: like.new_zeros((columns, batch, n)) for name in self.names}
        self.own = {name: like.new_zeros((columns, batch, layout.size[name])) for name in (
            layout.above if live and not layered else ())}
        self.ends: dict[str, Tensor] = {}

    def column(self, column: int, back: Mapping[str, Tensor], feedback: Mapping[str, Tensor], active: bool) -> None:
        """Takes what is fed back in a column."""
        kept = 1.0 if not active and self.error.dendrite_tau == 0.0 else self.kept
        for name in self.names:
            self._keep(self.fed[name], column, kept, back[name])
            self.came[name][column] = back[name]
        for name, rows in self.own.items():
            self._keep(rows, column, kept, back.get(name, back[self.layout.output]) @ feedback[name].t())

    def rows(self, name: str, columns: slice, feedback: Mapping[str, Tensor]) -> Tensor:
        """(columns, batch, n): E after these columns."""
        if name == self.layout.output:
            return self.fed[name][columns]
        if name in self.own:
            return self.own[name][columns]
        fed = self.fed.get(name, self.fed[self.layout.output])[columns]
        if name not in self.layout.above or self.layered:
            return fed.new_zeros((*fed.shape[:2], self.layout.size[name]))
        return fed @ feedback[name].t()

    def reached(self, name: str, columns: slice) -> Tensor:
        """(columns, batch, n) or (columns, batch, 1): 1 where an error comes, else 0."""
        came = self.came.get(name, self.came[self.layout.output])[columns] != 0
        if name != self.layout.output:
            came = came.any(2, keepdim=True) & (name in self.layout.above and not self.layered)
        return came.to(self.like.dtype)

    def at_end(self, name: str, feedback: Mapping[str, Tensor]) -> Tensor:
        """(batch, n): E at the end of the sample; of layered feedback what `go_back` has brought."""
        if name not in self.ends:
            last = len(self.fed[self.layout.output])
            self.ends[name] = self.rows(name, slice(last - 1, last), feedback)[0]
        return self.ends[name]

    def go_back(self, feedback: Mapping[str, Tensor], opened: Mapping[str, Tensor | None]) -> None:
        """Layer by layer, from the last to the first, where the gates of the layer above have opened."""
        for name in reversed(self.layout.hidden):
            if name in self.layout.above:
                above = self.layout.above[name]
                error, mask = self.at_end(above, feedback), opened[above]
                self.ends[name] = (error if mask is None else error * mask) @ feedback[name].t()

    def _keep(self, rows: Tensor, column: int, kept: float, comes: Tensor) -> None:
        torch.mul(rows[column - 1], kept, out=rows[column])
        rows[column] += comes
