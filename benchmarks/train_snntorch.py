"""One training of snnTorch's `Synaptic` net on latency-coded MNIST until a validation accuracy is reached."""

from __future__ import annotations

import argparse
from types import SimpleNamespace

import numpy as np
import torch
from common import pin
from peer_snntorch import Net
from torch import nn
from training import race, report, split

STEPS, DT, WINDOW = 60, 1e-3, 20e-3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lr", type=float, required=True)
    parser.add_argument("--batch", type=int, required=True)
    parser.add_argument("--target", type=float, required=True)
    parser.add_argument("--limit", type=float, required=True, help="CPU seconds")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    pin(1)
    torch.set_num_threads(1)
    torch.manual_seed(options.seed)
    task = SimpleNamespace(w_hidden=np.empty((350, 784)), w_output=np.empty((10, 350)), w_recurrent=None,
                           dt=DT, tau_mem=20e-3, tau_syn=10e-3)
    net = Net(task, spiking_output=False, hoist=True)
    optimizer = torch.optim.Adam(net.parameters(), lr=options.lr, fused=True)
    images, labels, held_images, held_labels = split()
    train_columns, held_columns = columns(images), columns(held_images)
    targets, held_targets = torch.from_numpy(labels), torch.from_numpy(held_labels)

    def train(chosen: np.ndarray, progress: float) -> None:
        optimizer.zero_grad()
        _, _, membrane = net(raster(train_columns[chosen]))
        nn.functional.cross_entropy(membrane.amax(0), targets[chosen]).backward()
        optimizer.step()

    @torch.no_grad()
    def accuracy() -> float:
        right = 0
        for first in range(0, len(held_columns), 500):
            _, _, membrane = net(raster(held_columns[first:first + 500]))
            right += int((membrane.amax(0).argmax(1) == held_targets[first:first + 500]).sum())
        return right / len(held_columns)

    report(race(train, accuracy, samples=len(images), batch=options.batch, seed=options.seed, target=options.target,
                limit_s=options.limit))


def columns(images: np.ndarray) -> torch.Tensor:
    """(n, 784) int64: the step in which a pixel spikes, `STEPS` where it does not."""
    column = np.minimum((WINDOW * (255.0 - images) / 255.0 / DT).astype(np.int64), STEPS - 1)
    return torch.from_numpy(np.where(images > 1, column, STEPS).astype(np.int64))


def raster(column: torch.Tensor) -> torch.Tensor:
    """(steps, batch, 784) of zeros and ones."""
    dense = torch.zeros(STEPS + 1, *column.shape)
    return dense.scatter_(0, column[None], 1.0)[:STEPS]


if __name__ == "__main__":
    main()
