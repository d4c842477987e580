"""What linear classifiers reach on the spectrograms of spoken digits that `spikec reproduce fsdd-recurrent` hears.

    python benchmarks/linear_digits.py [--quick | --full]

Each spectrogram, (80, 40) levels within 0..1, is brought to 20 columns over the part that is not silent, by linear
interpolation, or stays as it is. Official split: takes 0 to 4 are the test part. Logistic regression (L-BFGS, float64)
and least squares, both with an L2 penalty that is chosen on takes 5 to 9; then trained with these too. There is nothing
random.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from common import arguments, pin, write_result
from torch.nn.functional import cross_entropy, one_hot

from spikec.compiler.reproduce.data import spoken_digits

COLUMNS = 20
PENALTIES = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1)
"""Of the squared weights, beside the mean loss of the samples."""


def columns(levels: np.ndarray, count: int) -> np.ndarray:
    """(samples, time, bands) -> (samples, count * bands): each sample over its part that is not silent."""
    rows = []
    for one in levels:
        heard = np.flatnonzero(one.sum(1) > 0)
        last = heard[-1] if len(heard) else 0
        at = np.linspace(0, last, count)
        rows.append(np.stack([np.interp(at, np.arange(last + 1), band[:last + 1]) for band in one.T], 1).ravel())
    return np.array(rows)


def logistic(x: torch.Tensor, labels: torch.Tensor, penalty: float) -> torch.Tensor:
    """Weights with a row for the constant."""
    weight = torch.zeros(x.shape[1], 10, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([weight], max_iter=400, tolerance_grad=1e-7, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = cross_entropy(x @ weight, labels) + penalty * (weight[:-1] ** 2).sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    return weight.detach()


def least_squares(x: torch.Tensor, labels: torch.Tensor, penalty: float) -> torch.Tensor:
    """Of 1 for the class and -1 for all others."""
    ridge = penalty * len(x) * torch.eye(x.shape[1], dtype=torch.float64)
    ridge[-1, -1] = 0
    return torch.linalg.solve(x.T @ x + ridge, x.T @ (2 * one_hot(labels, 10).double() - 1))


def accuracy(weight: torch.Tensor, x: torch.Tensor, labels: torch.Tensor) -> float:
    return float(((x @ weight).argmax(1) == labels).double().mean()) * 100


def main() -> None:
    options = arguments(__doc__).parse_args()
    pin(1)
    torch.set_num_threads(1)
    data = spoken_digits()
    assert data.validation is not None
    labels = [torch.from_numpy(np.asarray(part.labels, np.int64)) for part in (data.train, data.validation, data.test)]
    rows: list[dict[str, Any]] = []
    for name, features in (("20 columns", lambda x: columns(x, COLUMNS)),
                           ("all columns", lambda x: x.reshape(len(x), -1))):
        x = [torch.from_numpy(np.c_[features(np.asarray(part.inputs, np.float64)), np.ones(len(part.labels))])
             for part in (data.train, data.validation, data.test)]
        for kind, fit in (("logistic regression", logistic), ("least squares", least_squares)):
            held_out = {each: accuracy(fit(x[0], labels[0], each), x[1], labels[1])
                        for each in (PENALTIES[2:3] if options.quick else PENALTIES)}
            penalty = max(held_out, key=lambda each: held_out[each])
            weight = fit(torch.cat(x[:2]), torch.cat(labels[:2]), penalty)
            rows.append({"input": name, "classifier": kind, "penalty": penalty, "held_out": held_out[penalty],
                         "test": accuracy(weight, x[2], labels[2]), "samples": len(labels[2])})
            print(rows[-1], flush=True)
    write_result("linear_digits-quick" if options.quick else "linear_digits", {"columns": COLUMNS}, rows)


if __name__ == "__main__":
    main()
