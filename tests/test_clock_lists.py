"""Lists of spikes, one by one and in groups: they hold what the rows hold, and both ways give the same sums."""

from __future__ import annotations

import gc
from typing import Any

import numpy as np
import pytest
import torch
from test_clock import DT, compared
from test_step_form import graph_of, neuron

import spikec
from spikec import Discretization, Events
from spikec.runtime.clock import lists as clock_lists
from spikec.runtime.clock.lists import CODES, GROUP, lists_of, sums_of_groups, turned

ROWS = (30, 20)
"""Columns and samples: enough for groups."""


def flags(n: int, rate: float, seed: int = 0) -> np.ndarray[Any, Any]:
    """(time, batch, n)."""
    return np.random.default_rng(seed).random((*ROWS, n)) < rate


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.float64])
@pytest.mark.parametrize(("n", "rate"),
                         [(1, 0.5), (3, 0.9), (64, 0.1), (130, 0.3), (257, 1.0), (1024, 0.02), (65, 0.0)])
@pytest.mark.parametrize("time_first", [True, False])
def test_lists_hold_what_the_rows_hold(dtype: torch.dtype, n: int, rate: float, time_first: bool) -> None:
    dense = torch.from_numpy(flags(n, rate)).to(dtype)
    given = dense if time_first else dense.transpose(0, 1).contiguous()
    lists = lists_of(given, time_first, flags=False)
    assert lists.grouped
    assert lists.entries == int((lists.ends - lists.begins).sum()) <= -(-n // GROUP) * len(dense.reshape(-1, n))
    torch.testing.assert_close(lists.dense(torch.float64), dense.reshape(-1, n).double(), rtol=0, atol=0)


def test_what_is_no_spike_or_too_wide_or_too_few_is_listed_one_by_one() -> None:
    wide = torch.from_numpy(flags(clock_lists._MOST_GROUPED + 1, 0.1)).to(torch.uint8)
    graded = torch.from_numpy(flags(40, 0.2) * np.random.default_rng(1).normal(size=(*ROWS, 40)))
    few = torch.from_numpy(flags(40, 0.2)[:5]).to(torch.uint8)
    for dense in (wide, graded, few):
        lists = lists_of(dense, True, flags=False)
        assert not lists.grouped
        found = lists.dense(torch.float64)
        torch.testing.assert_close(found, dense.reshape(-1, dense.shape[2]).double(), rtol=0, atol=0)
    bad = graded.clone()
    bad[0, 0, 0] = float("nan")
    assert not lists_of(bad, True, flags=False).grouped


@pytest.mark.parametrize("n", [5, 64, 203])
def test_lists_by_index_are_the_same_entries(n: int) -> None:
    lists = lists_of(torch.from_numpy(flags(n, 0.2)).to(torch.uint8), True, flags=True)
    by_index = turned(lists)
    row = np.repeat(np.arange(len(lists.begins)), (lists.ends - lists.begins).numpy())
    bounds = zip(lists.begins.tolist(), lists.ends.tolist(), strict=True)
    place = np.concatenate([np.arange(begin, end) for begin, end in bounds])
    wanted = sorted(zip(lists.indices.numpy()[place].tolist(), row.tolist(), strict=True))
    index = np.repeat(np.arange(lists.table), np.diff(by_index.starts.numpy()))
    assert list(zip(index.tolist(), by_index.rows.tolist(), strict=True)) == wanted


@pytest.mark.parametrize("laid", ["by source", "by neuron"])
@pytest.mark.parametrize(("n_source", "n", "lanes"), [(8, 16, 16), (9, 21, 16), (3, 130, 144), (6, 50, 16)])
def test_sums_of_groups(laid: str, n_source: int, n: int, lanes: int) -> None:
    weight = torch.from_numpy(np.random.default_rng(3).normal(size=(n_source, n)))
    weight = weight if laid == "by source" else weight.t().contiguous().t()
    blocks = -(-n // lanes)
    table = sums_of_groups(weight, blocks, lanes).numpy().reshape(blocks, -1, CODES, lanes)
    whole = np.zeros((-(-n_source // GROUP) * GROUP, blocks * lanes))
    whole[:n_source, :n] = weight.numpy()
    for chosen in range(CODES):
        members = [member for member in range(GROUP) if chosen >> member & 1]
        expected = whole.reshape(-1, GROUP, blocks, lanes)[:, members].sum(1).transpose(1, 0, 2)
        np.testing.assert_allclose(table[:, :, chosen], expected, atol=1e-14)


@pytest.mark.parametrize("n_source", [4, 33, 130])
def test_gathered_groups_give_the_reference_and_its_spikes(n_source: int) -> None:
    rng = np.random.default_rng(n_source)
    node = neuron("CubaLIF", rng, "zero", 2e-3, None)
    weight = rng.normal(0.3, 1.0, (6, n_source)) / np.sqrt(n_source)
    graph = graph_of(node, Discretization(DT), weight, rng.normal(0, 0.2, 6))
    assert compared(graph, flags(n_source, 0.3).transpose(1, 0, 2) * 1.0) > 100


def gradients(monkeypatch: pytest.MonkeyPatch, enough: int, given: Any, threads: int = 1) -> list[torch.Tensor]:
    """Counts and gradients of two layers and of an input's weights, with groups from `enough` rows on."""
    monkeypatch.setattr(clock_lists, "_ENOUGH_ROWS", enough)
    torch.manual_seed(0)
    snn = pytest.importorskip("snntorch", reason="the networks are snnTorch's")
    net = torch.nn.Sequential(torch.nn.Linear(50, 21), snn.RLeaky(beta=0.9, linear_features=21, init_hidden=True),
                              torch.nn.Linear(21, 10), snn.Leaky(beta=0.8, init_hidden=True)).double()
    torch.nn.init.normal_(net[0].weight, 0.1, 0.3)
    torch.nn.init.normal_(net[2].weight, 0.1, 0.3)
    graph = spikec.from_torch(net, dt=DT, check=False)
    module = spikec.compile(graph, target="clock").module(dtype=torch.float64)
    spikec.set_threads(threads)
    try:
        out = module(given, duration=ROWS[0] * DT).spike_count(graph.outputs[0])
        (out * torch.linspace(-1, 1, 10)).sum().backward()
    finally:
        spikec.set_threads(0)
    return [out.detach(), *(each.grad for each in module.parameters() if each.grad is not None)]


def test_gradients_by_groups_are_those_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    raster = torch.from_numpy(flags(50, 0.3).transpose(1, 0, 2).copy()).double()
    single, grouped = (gradients(monkeypatch, enough, raster) for enough in (1 << 40, 1))
    assert len(single) == len(grouped) > 5
    assert single[0].sum() > 100
    for one, other in zip(single, grouped, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)
    assert any(one.ne(other).any() for one, other in zip(single[1:], grouped[1:], strict=True)), "summed in one order"


def test_neither_threads_nor_the_form_of_the_input_change_a_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    raster = flags(50, 0.3).transpose(1, 0, 2)
    sample, column, index = np.nonzero(raster)
    events = Events((column + 1) * DT, index, np.searchsorted(sample, np.arange(len(raster) + 1)))
    first = gradients(monkeypatch, 1, torch.from_numpy(raster.copy()).double())
    for other in (gradients(monkeypatch, 1, torch.from_numpy(raster.copy()).double(), threads=3),
                  gradients(monkeypatch, 1, events),
                  gradients(monkeypatch, 1, torch.from_numpy(raster.transpose(1, 0, 2).copy()).transpose(0, 1))):
        assert all(torch.equal(one, each) for one, each in zip(first, other, strict=True))


def test_a_training_step_leaves_nothing_to_the_collector(monkeypatch: pytest.MonkeyPatch) -> None:
    """What one step records is as large as all its columns: it must be free when the outputs are."""
    raster = torch.from_numpy(flags(50, 0.3).transpose(1, 0, 2).copy()).double()
    gradients(monkeypatch, 1, raster)
    gc.collect()
    before = gc.isenabled()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        gradients(monkeypatch, 1, raster)
        gc.collect()
        kept = [type(each).__name__ for each in gc.garbage if type(each).__name__ in ("_Plan", "SpikeLists", "Start")]
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        if before:
            gc.enable()
    assert not kept
