"""The plain meaning of integer networks, against numbers worked out by hand. Lava itself: test_integer_lava.py."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from integer_nets import random_case

from spikec.ir.integer.network import IntegerDense, IntegerNetwork, IntegerPopulation, IntegerProjection
from spikec.ir.integer.state import columns_under_way
from spikec.ir.integer.step import IntegerResult, simulate_integer


def chain(weight: int, delay: int | None = None, **settings: Any) -> IntegerNetwork:
    """An input, one neuron, and another behind it."""
    connection = IntegerDense(weight=np.array([[weight]]))
    late = None if delay is None else np.array([[delay]])
    of_projection = {name: settings.pop(name) for name in ("exponent", "sign", "message_bits") if name in settings}
    given = {"du": 4095, "dv": 4095, "threshold": 0} | settings
    return IntegerNetwork(
        inputs={"x": (1,)}, populations={name: IntegerPopulation(name=name, shape=(1,), **given) for name in "ab"},
        projections=(
            IntegerProjection(name="xa", source="x", target="a", connection=connection, delay=late, **of_projection),
            IntegerProjection(name="ab", source="a", target="b", connection=connection, delay=late)),
        outputs={"out": "b"}, dt=1e-3)


def fed(network: IntegerNetwork, *values: int) -> IntegerResult:
    return simulate_integer(network, {"x": np.array(values)[None, :, None]})


def test_a_spike_arrives_one_column_later() -> None:
    result = fed(chain(2), 1, 0, 0, 0)
    assert result.spikes["a"][0, :, 0].tolist() == [0, 1, 0, 0]
    assert result.spikes["b"][0, :, 0].tolist() == [0, 0, 1, 0]
    assert result.u["a"][0, :, 0].tolist() == [0, 128, 0, 0]
    assert result.v["a"].max() == 0, "the membrane is reset in the column of the spike"


def test_a_delay_is_added() -> None:
    result = fed(chain(2, 2), 1, *[0] * 7)
    assert np.flatnonzero(result.spikes["a"][0, :, 0]).tolist() == [3]
    assert np.flatnonzero(result.spikes["b"][0, :, 0]).tolist() == [6]


def test_magnitudes_decay_towards_zero() -> None:
    """u: 64 w, then (|u| 2048) >> 12; v: the sum of what was left of it and u."""
    result = fed(chain(-6, du=2047, dv=2048, threshold=1000), 1, *[0] * 11)
    u, v = [0], [0]
    for column in range(1, 12):
        u.append(-384 if column == 1 else -(-u[-1] // 2))
        v.append(-(-v[-1] // 2) + u[-1])
    assert result.u["a"][0, :, 0].tolist() == u
    assert result.v["a"][0, :, 0].tolist() == v
    assert u[-1] == 0


@pytest.mark.parametrize(("exponent", "weight", "sent"), [(3, 10, 80), (-2, 10, 2), (-2, -10, -3), (0, 10, 10)])
def test_sums_are_shifted(exponent: int, weight: int, sent: int) -> None:
    assert fed(chain(weight, exponent=exponent), 1, 0).u["a"][0, 1, 0] == sent << 6


def test_a_graded_spike_is_multiplied() -> None:
    network = chain(-10, message_bits=8)
    assert fed(network, 7, -5, 0).u["a"][0, :, 0].tolist() == [0, -70 << 6, 50 << 6]


def test_a_current_wraps_and_a_membrane_does_not() -> None:
    """255 * 2^7 * 5 << 6 = 10,444,800 > 2^23; what goes over wraps once, and the membrane stops at +-(2^23 - 1)."""
    up = chain(255, exponent=7, sign="excitatory", message_bits=8, threshold=(1 << 17) - 1, dv=0, du=0)
    result = fed(up, 5, 0)
    assert result.u["a"][0, 1, 0] == (255 * 5 << 13) - (1 << 24)
    down = chain(-255, exponent=7, sign="inhibitory", message_bits=8, dv=0, du=0)
    result = fed(down, 4, 4, 4, 4, 0)
    assert result.v["a"].min() == 1 - (1 << 23)
    assert result.u["a"][0, 1, 0] == -255 * 4 << 13
    assert result.u["a"].max() > 0


def test_a_bias_has_an_exponent() -> None:
    network = chain(2, bias=np.array([-3]), bias_exponent=5, threshold=100, dv=0)
    assert fed(network, 0, 0, 0).v["a"][0, :, 0].tolist() == [-96, -192, -288]


def test_a_run_begins_with_what_is_there() -> None:
    """u0 and v0 decay in the first column as in any other, and v0 is compared only after that."""
    network = chain(2, u0=np.array([4096]), v0=np.array([-2049]), du=2047, dv=2048, threshold=100)
    result = fed(network, 0, 0)
    assert result.u["a"][0, :, 0].tolist() == [2048, 1024]
    assert result.v["a"][0, :, 0].tolist() == [1024, 1536]
    over = fed(chain(2, v0=np.array([6401]), dv=1, threshold=100), 0)
    assert not over.spikes["a"].any() and over.v["a"][0, 0, 0] == 6399
    assert fed(chain(2, v0=np.array([6401]), dv=0, threshold=100), 0).spikes["a"].all()


@pytest.mark.parametrize("seed", range(12))
def test_a_stream_goes_on(seed: int) -> None:
    network, rasters = random_case(seed, batch=2, steps=20)
    whole, state, parts = simulate_integer(network, rasters), None, []
    for first, stop in ((0, 7), (7, 7), (7, 9), (9, 20)):
        given = {name: raster[:, first:stop] for name, raster in rasters.items()}
        parts.append(simulate_integer(network, given, stop - first, state))
        state = parts[-1].state
    for field in ("spikes", "u", "v"):
        for name, wanted in getattr(whole, field).items():
            assert np.array_equal(np.concatenate([getattr(part, field)[name] for part in parts], axis=1), wanted)
    assert state is not None and whole.state is not None
    for name, wanted in whole.state.under_way.items():
        assert np.array_equal(state.under_way[name], wanted)
        assert state.under_way[name].shape[1] == columns_under_way(network)[name]


def test_a_raster_may_end_early() -> None:
    network = chain(2)
    long = simulate_integer(network, {"x": np.array([[[1], [0], [0], [0]]])})
    short = simulate_integer(network, {"x": np.array([[[1]]], dtype=bool)}, 4)
    assert np.array_equal(long.spikes["b"], short.spikes["b"]) and long.spikes["b"].any()
