"""Nodes without state on the clock do what their reference (`ir/stateless.py`) says, kind by kind."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from spikec.ir import nodes, stateless
from spikec.runtime.clock import stateless as clocked

RNG = np.random.default_rng(3)


def drawn(*shape: int) -> Any:
    return RNG.normal(size=shape)


def conv(weight: tuple[int, ...], **settings: Any) -> nodes.Node:
    kind: Any = nodes.Conv2d if len(weight) == 4 else nodes.Conv1d
    return kind(weight=drawn(*weight), bias=drawn(weight[0]), **settings)


CASES: list[tuple[nodes.Node, tuple[int, ...]]] = [
    (nodes.Output(shape=(4,)), (4,)),
    (nodes.Delay(delay=np.full(4, 2e-3)), (4,)),
    (nodes.Linear(weight=drawn(3, 4)), (4,)),
    (nodes.Affine(weight=drawn(3, 4), bias=drawn(3)), (4,)),
    (nodes.SparseLinear(size=(3, 4), indptr=(0, 2, 2, 3), indices=(0, 3, 1), weight=drawn(3)), (4,)),
    (nodes.SparseLinear(size=(3, 4), indptr=(0, 2, 2, 3), indices=(0, 3, 1), weight=drawn(3), bias=drawn(3)), (4,)),
    (nodes.Scale(scale=drawn(4)), (4,)),
    (nodes.BatchNorm(mean=drawn(2), variance=drawn(2) ** 2, gamma=drawn(2), beta=drawn(2), eps=0.01), (2, 5, 6)),
    (nodes.BatchNorm(mean=drawn(4), variance=drawn(4) ** 2, gamma=drawn(4), beta=drawn(4)), (4,)),
    (conv((4, 1, 3), stride=2, padding=1, groups=2), (2, 9)),
    (conv((3, 2, 4), padding="same", dilation=2), (2, 9)),
    (conv((4, 1, 3, 2), stride=(2, 1), padding=(1, 0), dilation=(1, 2), groups=2), (2, 7, 8)),
    (conv((3, 2, 2, 3), padding="same"), (2, 5, 6)),
    (conv((3, 2, 2, 3), padding="valid"), (2, 5, 6)),
    (nodes.SumPool2d(kernel_size=(3, 2), stride=(2, 2), padding=(1, 1)), (2, 7, 8)),
    (nodes.AvgPool2d(kernel_size=(3, 2), stride=(2, 2), padding=(1, 1)), (2, 7, 8)),
    (nodes.MaxPool2d(kernel_size=(3, 2), stride=(2, 2), padding=(1, 1)), (2, 7, 8)),
    (nodes.Threshold(threshold=np.array([-1.0, 0.0, 0.5, 1.0])), (4,)),
    (nodes.Flatten(start_dim=1, end_dim=-1), (2, 5, 6)),
]


def test_every_kind_but_rectifiers_is_compared() -> None:
    """Rectifiers belong to networks without spikes, which the clock refuses."""
    assert {type(node) for node, _ in CASES} == set(clocked.FUNCTIONS) == set(stateless.FUNCTIONS) - {nodes.Relu}


@pytest.mark.parametrize(("node", "shape"), CASES, ids=lambda each: type(each).__name__)
@pytest.mark.parametrize("constant", [False, True])
def test_a_node_gives_what_its_reference_gives(node: nodes.Node, shape: tuple[int, ...], constant: bool) -> None:
    pattern = drawn(3, *shape)
    own = {name: torch.from_numpy(np.array(value)) for name, value in nodes.params(node).items()}
    given = clocked.through(node, torch.from_numpy(pattern), own, constant)
    np.testing.assert_allclose(given.numpy(), stateless.through(node, pattern, constant), rtol=1e-12, atol=1e-13)
