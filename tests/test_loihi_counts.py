"""Operations of integer networks: against unrolled matrices, against loops over spikes, and against NeuroBench."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from integer_nets import random_case

from spikec.ir.integer.network import (
    IntegerConv,
    IntegerDense,
    IntegerNetwork,
    IntegerPopulation,
    IntegerProjection,
    IntegerSparse,
    held_weight,
)
from spikec.ir.integer.step import IntegerResult, simulate_integer
from spikec.targets.loihi.counts import Activity, Counts
from spikec.targets.loihi.operations import Synapses


def matrix_of(projection: IntegerProjection, n_source: int, n_target: int) -> Any:
    """The weights as they are held, unrolled to (n_target, n_source), by torch."""
    torch = pytest.importorskip("torch")
    held, connection = held_weight(projection), projection.connection
    if isinstance(connection, IntegerDense):
        return held
    if isinstance(connection, IntegerSparse):
        full = np.zeros((n_target, n_source), dtype=np.int64)
        for row in range(n_target):
            for place in range(connection.indptr[row], connection.indptr[row + 1]):
                full[row, connection.indices[place]] = held[place]
        return full
    images = torch.eye(n_source, dtype=torch.float64).reshape(n_source, *connection.input_shape)
    out = torch.nn.functional.conv2d(images, torch.from_numpy(held.astype(float)), None, connection.stride,
                                     connection.padding, connection.dilation, connection.groups)
    return out.reshape(n_source, n_target).T.numpy()


def counted(network: IntegerNetwork, rasters: Any, result: IntegerResult) -> Counts:
    return Counts.count(network, Activity.of(network, rasters, result))


@pytest.mark.parametrize("seed", range(12))
def test_operations_are_those_of_the_unrolled_matrix(seed: int) -> None:
    network, rasters = random_case(seed, batch=3)
    result = simulate_integer(network, rasters)
    found = counted(network, rasters, result)
    rng = np.random.default_rng(seed)
    for each, row in zip(network.projections, found.projections, strict=True):
        sizes = network.size(each.source), network.size(each.target)
        there = matrix_of(each, *sizes) != 0
        sent = rng.integers(0, 9, sizes[0]).astype(float)
        np.testing.assert_array_equal(Synapses.of(each).operations(sent), there @ sent)
        assert Synapses.of(each).count == there.sum()
        source = rasters.get(each.source)
        spikes = (np.asarray(source) if source is not None else result.spikes[each.source]).reshape(3, -1, sizes[0])
        acs = macs = 0
        for column in range(spikes.shape[1]):
            taken = sum(int(there[:, neuron].sum()) for sample in range(3)
                        for neuron in np.flatnonzero(spikes[sample, column]))
            beyond = each.message_bits and (np.abs(spikes[:, column]) > 1).any()
            macs, acs = macs + taken * bool(beyond), acs + taken * (not beyond)
        assert (row.effective_acs, row.effective_macs) == pytest.approx((acs / 3, macs / 3))
        if isinstance(each.connection, IntegerConv):
            ones = IntegerConv(**{name: getattr(each.connection, name) for name in each.connection.__slots__}
                               | {"weight": np.full_like(each.connection.weight, 2)})
            whole = matrix_of(IntegerProjection(name="", source="", target="", connection=ones), *sizes)
            assert Synapses.of(each).dense(*sizes) == np.count_nonzero(whole)
        assert row.dense == Synapses.of(each).dense(*sizes) * spikes.shape[1]
    assert found.effective == pytest.approx(sum(each.sum() for each in found.arriving.values()))


def test_membranes_that_change() -> None:
    network, rasters = random_case(4, batch=3)
    result = simulate_integer(network, rasters)
    found = counted(network, rasters, result)
    total = 0.0
    for row in found.populations:
        v, spikes = result.v[row.name], result.spikes[row.name]
        updates = v[:, 0].size
        for column in range(1, v.shape[1]):
            updates += int((v[:, column] != v[:, column - 1]).sum())
        assert row.membrane_updates == pytest.approx(updates / 3)
        assert row.activation_sparsity == pytest.approx((spikes == 0).mean())
        assert row.spikes == pytest.approx(spikes.sum() / 3)
        assert row.silent == (spikes.sum((0, 1)) == 0).sum()
        total += updates / 3
    assert found.membrane_updates == pytest.approx(total)
    blind = IntegerResult(spikes=result.spikes, u={}, v={})
    assert counted(network, rasters, blind).membrane_updates is None


def test_rates_give_the_counts_of_a_column() -> None:
    network, rasters = random_case(5, batch=4)
    result = simulate_integer(network, rasters)
    activity = Activity.of(network, rasters, result)
    whole = Counts.count(network, activity)
    rates = {name: each / activity.steps for name, each in activity.spikes.items()}
    column = Counts.count(network, Activity.of_rates(network, rates))
    assert (column.samples, column.steps) == (0, 1)
    assert column.effective * activity.steps == pytest.approx(whole.effective)
    assert column.activation_sparsity == pytest.approx(whole.activation_sparsity)
    assert column.membrane_updates is None


def test_the_parameters_of_a_network() -> None:
    weight = np.array([[16, 0, 32], [0, 0, -48]])
    population = IntegerPopulation(name="a", shape=(2,), du=4095, dv=0, threshold=5, bias=np.array([1, 2]))
    network = IntegerNetwork(inputs={"x": (3,)}, populations={"a": population}, projections=(IntegerProjection(
        name="xa", source="x", target="a", connection=IntegerDense(weight=weight), delay=np.ones_like(weight),
        weight_bits=6),), outputs={"out": "a"}, dt=1e-3)
    found = Counts.count(network, Activity.of_rates(network, {"x": np.array([1, 0.5, 0])}))
    assert found.parameter_count == 6 + 6 + 2
    assert found.footprint == 5 + 5 + 4  # 36 bits each of weights and of delays, 32 of biases, in whole bytes
    assert found.connection_sparsity == 0.5
    assert found.effective == 1.0
    assert found.as_dict()["SynapticOperations"] == {"Effective_MACs": 0.0, "Effective_ACs": 1.0, "Dense": 6.0}


def test_neurobench_counts_the_same() -> None:
    """An integer network of two layers without leak, and snnTorch's with the same weights: silent in the first column
    and in the last two, in which spikes arrive on the chip."""
    pytest.importorskip("neurobench", reason="the package neurobench is not installed")
    snn, torch = pytest.importorskip("snntorch"), pytest.importorskip("torch")
    from neurobench.benchmarks import Benchmark
    from neurobench.metrics.static import ConnectionSparsity, ParameterCount
    from neurobench.metrics.workload import ActivationSparsity, MembraneUpdates, SynapticOperations
    from neurobench.models import SNNTorchModel

    rng = np.random.default_rng(3)
    weights = [2 * rng.integers(-20, 30, shape) * (rng.random(shape) < 0.7) for shape in ((12, 20), (5, 12))]
    raster = (rng.random((6, 30, 20)) < 0.2).astype(np.int64)
    raster[:, 0] = raster[:, -2:] = 0
    populations = {name: IntegerPopulation(name=name, shape=(len(weight),), du=4095, dv=0, threshold=90)
                   for name, weight in zip("ab", weights, strict=True)}
    network = IntegerNetwork(
        inputs={"x": (20,)}, populations=populations, outputs={"out": "b"}, dt=1e-3,
        projections=tuple(IntegerProjection(name=source + target, source=source, target=target,
                                            connection=IntegerDense(weight=weight))
                          for source, target, weight in zip("xa", "ab", weights, strict=True)))
    result = simulate_integer(network, {"x": raster})
    found = counted(network, {"x": raster}, result)

    layers: list[Any] = []
    for weight in weights:
        linear = torch.nn.Linear(weight.shape[1], weight.shape[0], bias=False)
        linear.weight.data = torch.from_numpy(weight).float()
        layers += [linear, snn.Leaky(beta=1.0, threshold=90.0, reset_mechanism="zero", init_hidden=True,
                                     reset_delay=False)]
    layers[-1].output = True
    data = torch.utils.data.TensorDataset(torch.from_numpy(raster).float(), torch.zeros(len(raster)))
    reported = Benchmark(
        SNNTorchModel(torch.nn.Sequential(*layers)), torch.utils.data.DataLoader(data, batch_size=len(raster)), [], [],
        [[ParameterCount, ConnectionSparsity], [SynapticOperations, ActivationSparsity, MembraneUpdates]],
    ).run(quiet=True)
    told = found.as_dict()
    assert {name: told[name] for name in reported} == {name: pytest.approx(value) for name, value in reported.items()}
    assert told["SynapticOperations"]["Effective_ACs"] > 1000
