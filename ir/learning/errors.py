"""What the outputs of one sample have done wrong, column by column, as `learning_step` says it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..nodes import Array
from .layout import LearningLayout
from .rule import Error

__all__ = ["Errors"]


class Errors:
    """err of one sample, and what of it is fed back: by the output and, where each layer has its own, by hidden layer.
    Error interneurons are here too."""

    def __init__(self, error: Error, layout: LearningLayout, dt: float, columns: int,
                 label: int) -> None:
        self.error, self.output = error, layout.output
        self.names = (self.output, *(layout.above if error.code == "local" else ()))
        n = layout.size[self.output]
        self.onehot = (np.arange(n) == label).astype(np.float64)
        self.counted, self.columns = np.zeros(n), columns
        self.kept = 1.0 if error.tau is None else float(np.exp(-dt / error.tau)) if error.tau > 0 else 0.0
        self.traces = {name: np.zeros(layout.size[name]) for name in self.names}
        self.taught = np.zeros(n)
        self.up = {name: np.zeros(n) for name in self.names}
        self.down = {name: np.zeros(n) for name in self.names}

    def column(self, given: Mapping[str, Array], feedback: Mapping[str, Array], since: int | None
               ) -> tuple[dict[str, Array], dict[str, Array]]:
        """err, and what is fed back. `given`: spikes by layer; `feedback` by layer; `since`: columns since the error
        began in this phase; None: there is none now."""
        self.counted = self.counted + given[self.output]
        for name in self.names:
            self.traces[name] = self.kept * self.traces[name] + given[name]
        teacher = self.onehot * (since is not None and since % self.error.period == 0)
        self.taught = self.kept * self.taught + teacher
        zero = np.zeros_like(self.onehot)
        if since is None:
            return dict.fromkeys(self.names, zero), dict.fromkeys(self.names, zero)
        err = {name: self._err(name, given, feedback, teacher) for name in self.names}
        return err, {name: self._fed_back(name, each) for name, each in err.items()}

    def _err(self, name: str, given: Mapping[str, Array], feedback: Mapping[str, Array], teacher: Array) -> Array:
        error = self.error
        if error.code == "softmax":
            raised = np.exp(error.slope * (self.counted - self.counted.max()))
            result = raised / raised.sum() - self.onehot
        elif error.code == "count":
            result = (self.counted - np.where(self.onehot > 0, error.high, error.low)) / self.columns
        elif error.code == "spike":
            result = given[self.output] - teacher
        elif error.code == "trace":
            result = self.traces[self.output] - self.taught
        elif error.code == "local":
            trace = self.traces[name]
            result = (trace if name == self.output else feedback[name].T @ trace) - self.onehot
        else:
            result = np.zeros_like(self.onehot)
        return np.asarray(result)

    def _fed_back(self, name: str, err: Array) -> Array:
        error = self.error
        err = np.where(np.abs(err) > error.margin, err, 0.0)
        if not error.spikes:
            return err
        self.up[name], self.down[name] = self.up[name] + err, self.down[name] - err
        up, down = self.up[name] > error.threshold, self.down[name] > error.threshold
        self.up[name] = self.up[name] - error.threshold * up
        self.down[name] = self.down[name] - error.threshold * down
        return up.astype(np.float64) - down
