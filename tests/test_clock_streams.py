"""States of streams on the clock: taken up in any arithmetic, and refused by what they do not belong to. Rasters of all
kinds of arrays: taken as the numbers that they are, or refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from test_clock import DT, deep_net
from test_step_form import graph_of, neuron

import spikec
from spikec import BadInputError, Discretization, Graph
from spikec.ir import nodes as ir


def delayed(columns: int, refractory: float = 0.0) -> Graph:
    rng = np.random.default_rng(0)
    nodes = {"in": ir.Input(shape=(3,)), "fc": ir.Linear(weight=rng.normal(0.3, 1.0, (4, 3)) * DT),
             "a": ir.LIF(shape=(4,), tau=9e-3, r=9e-3, reset="subtract", refractory=refractory),
             "late": ir.Delay(delay=np.full(4, columns * DT)), "rec": ir.Linear(weight=rng.normal(0, 0.3, (4, 4)) * DT),
             "b": ir.LIF(shape=(4,), tau=9e-3, r=9e-3, reset="subtract"), "out": ir.Output(shape=(4,))}
    edges = (("in", "fc"), ("fc", "a"), ("a", "rec"), ("rec", "a"), ("a", "late"), ("late", "b"), ("b", "out"))
    return Graph(nodes, edges, Discretization(DT, integrator="decay"))


@pytest.mark.parametrize(("first", "second"), [(torch.float64, torch.float32), (torch.float32, torch.float64)])
def test_a_state_goes_on_in_another_arithmetic(first: torch.dtype, second: torch.dtype) -> None:
    rng = np.random.default_rng(1)
    graph = deep_net(rng, Discretization(DT, integrator="decay", reset="next"))
    program = spikec.compile(graph, target="clock")
    raster = (rng.random((2, 30, 1, 8, 8)) < 0.2) * 1.0
    whole = program.run(raster, probes={"o.v": None}).probes["o.v"]
    begun = program.run(raster[:, :12], dtype=first)
    ended = program.run(raster[:, 12:], dtype=second, state=begun.state, probes={"o.v": None}).probes["o.v"]
    np.testing.assert_allclose(ended, whole[:, 12:], atol=1e-3)
    module = program.module(dtype=second)
    shown = module(raster[:, 12:], state=begun.state).voltage("o").detach().numpy()
    np.testing.assert_allclose(shown, whole[:, 12:], atol=1e-3)


@pytest.mark.parametrize("other", [delayed(5), delayed(2, refractory=3 * DT),
                                   delayed(2).replace(discretization=Discretization(DT, delay=3, integrator="decay"))])
def test_a_state_of_another_network_is_told(other: Graph) -> None:
    raster = np.ones((2, 10, 3))
    state = spikec.compile(delayed(2), target="clock").run(raster).state
    with pytest.raises(BadInputError, match=r"SC403.*another network"):
        spikec.compile(other, target="clock").run(raster, state=state)


def test_a_state_serves_a_network_that_was_trained_on() -> None:
    graph = delayed(2)
    weight = graph.nodes["fc"].weight * 1.5  # type: ignore[attr-defined]
    raster = np.ones((2, 10, 3))
    state = spikec.compile(graph, target="clock").run(raster).state
    trained = graph.with_nodes({"fc": ir.Linear(weight=weight)})
    assert spikec.compile(trained, target="clock").run(raster, state=state).state is not None


def plain(seed: int = 5) -> tuple[Any, np.ndarray[Any, Any]]:
    rng = np.random.default_rng(seed)
    graph = graph_of(neuron("CubaLIF", rng, "zero", 0.0, None), Discretization(DT), rng.normal(0.3, 1.0, (6, 4)),
                     np.zeros(6))
    return spikec.compile(graph, target="clock"), (rng.random((3, 40, 4)) < 0.4) * 1.0


ARRAYS = {
    "big-endian": lambda x: x.astype(">f8"), "reversed twice": lambda x: x[:, ::-1].copy()[:, ::-1],
    "longdouble": lambda x: x.astype(np.longdouble), "half": lambda x: x.astype(np.float16),
    "big-endian counts": lambda x: x.astype(">i4"), "bool": lambda x: x.astype(bool),
    "read-only": lambda x: np.broadcast_to(x, x.shape), "every other": lambda x: np.repeat(x, 2, axis=1)[:, ::2],
    "list": lambda x: x.tolist(), "requires grad": lambda x: torch.from_numpy(x).requires_grad_(),
    "transposed": lambda x: torch.from_numpy(x.transpose(1, 0, 2).copy()).transpose(0, 1),
    "unsigned": lambda x: x.astype(np.uint16),
}


@pytest.mark.parametrize("kind", ARRAYS)
def test_rasters_of_any_numbers_are_the_same(kind: str) -> None:
    program, raster = plain()
    expected, found = program.run(raster), program.run(ARRAYS[kind](raster))
    assert expected.spikes["n"].times.size > 20
    np.testing.assert_array_equal(found.spikes["n"].times, expected.spikes["n"].times)
    np.testing.assert_array_equal(found.spikes["n"].indices, expected.spikes["n"].indices)


WRONG = {
    "complex": lambda x: torch.from_numpy(x) * (1 + 1j), "numpy complex": lambda x: x * 1j,
    "sparse": lambda x: torch.from_numpy(x).to_sparse(), "meta": lambda x: torch.from_numpy(x).to("meta"),
    "NaN that requires grad": lambda x: torch.from_numpy(np.where(x > 0, np.nan, x)).requires_grad_(),
    "inf that requires grad": lambda x: torch.from_numpy(np.where(x > 0, np.inf, x)).requires_grad_(),
    "NaN": lambda x: np.where(x > 0, np.nan, x), "texts": lambda x: x.astype(str),
}


@pytest.mark.parametrize("kind", WRONG)
def test_what_is_no_raster_of_numbers_is_told(kind: str) -> None:
    program, raster = plain()
    for run in (program.run, program.module()):
        with pytest.raises(BadInputError, match="SC405"):
            run(WRONG[kind](raster))
