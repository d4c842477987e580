"""MNIST on a core's arithmetic, in short: what benchmarks/loihi_mnist.py measures, with a small hidden layer."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from lava_here import lava_python

import spikec
from spikec import Graph, datasets
from spikec.ir.integer.step import simulate_integer
from spikec.ir.nodes import Linear
from spikec.runtime.datasets import Dataset

BENCHMARKS = Path(__file__).resolve().parent.parent / "benchmarks"
STEPS, IMAGES = 32, 100
LAVA_STEPS = 10


@pytest.fixture(scope="module")
def mnist() -> Iterator[ModuleType]:
    """The benchmark's network."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCHMARKS))
        import spiking_mnist

        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        yield spiking_mnist
        torch.set_num_threads(threads)
        sys.modules.pop("spiking_mnist")


@pytest.fixture(scope="module")
def data() -> Dataset:
    if not datasets.is_present("mnist"):
        pytest.skip("needs MNIST: set SPIKEC_DATA, or run `spikec data get mnist`")
    return datasets.load_mnist()


@pytest.fixture(scope="module")
def trained(mnist: ModuleType, data: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Graph:
    """A network trained on a part of the images."""
    settings = mnist.Settings(hidden=64, epochs=3, batch=64, lr=8e-3, smoothing=0.0, dropped=0.0)
    place = tmp_path_factory.mktemp("mnist") / "net.checkpoint"
    graph, history = mnist.trained(settings, data.train[:3200], place)
    again, kept = mnist.trained(settings, data.train[:3200], place)
    assert kept == history
    np.testing.assert_array_equal(_weight(again), _weight(graph))
    return graph


def _weight(graph: Graph) -> Any:
    node = graph.nodes["fc1"]
    assert isinstance(node, Linear)
    return node.weight


def test_a_pixel_fires_as_often_as_it_is_bright(mnist: ModuleType) -> None:
    images = torch.arange(256, dtype=torch.uint8)[:, None].expand(256, mnist.PIXELS).contiguous()
    raster = mnist.coded(images, 64)
    assert float((raster.sum(1) - images / 8).abs().max()) < 1
    assert int((raster[:, 1:] + raster[:, :-1]).max()) == 1  # never in two columns in a row


def test_whole_numbers_cost_little(mnist: ModuleType, data: Dataset, trained: Graph) -> None:
    test = data.test[:2000]
    module = spikec.compile(trained, target="clock").module()
    program = spikec.compile(trained, target="loihi2")
    before = mnist.float_accuracy(module, test, STEPS)
    after = mnist.accuracy(mnist.chip_membranes(program), test, STEPS)
    assert before > 86
    assert abs(before - after) <= 0.5


def test_neurons_of_the_chip_do_what_the_model_says(mnist: ModuleType, data: Dataset, trained: Graph) -> None:
    """All but a few spikes fall into the model's columns, and membranes of outputs are close."""
    raster = mnist.coded(mnist.flat(data.test[:IMAGES]), STEPS)
    program = spikec.compile(trained, target="loihi2")
    found = program.engine.run({"pixels": raster.numpy()}, STEPS + program.latency, states=("readout",))
    with torch.no_grad():
        model = spikec.compile(trained, target="clock").module()(raster)
    late = program.latency_of("hidden")
    ours, theirs = found.spikes["hidden"][:, late:late + STEPS] > 0, model.spikes("hidden").numpy() > 0
    assert theirs.mean() > 0.02
    assert (ours & theirs).sum() > 0.95 * (ours | theirs).sum()
    wanted = model.voltage("out")[:, -1].numpy()
    assert np.abs(mnist.chip_membranes(program)(raster) - wanted).max() < 0.1 * np.abs(wanted).max()


def test_what_is_trained_through_whole_numbers_runs_as_it_was_trained(mnist: ModuleType, data: Dataset,
                                                                      trained: Graph) -> None:
    program = spikec.compile(trained, target="loihi2")
    settings = mnist.Settings(hidden=64, epochs=1, batch=64, lr=1e-3)
    retrained, history = mnist.trained_further(program, settings, data.train[3200:3840])
    assert history[0]["training"] > 80
    became = program.recompile(retrained)
    before, after = (each.quantised.network.incoming["hidden"][0].connection.weight for each in (program, became))
    assert 0.05 < (before != after).mean() < 1
    raster = mnist.coded(mnist.flat(data.test[:IMAGES]), STEPS)
    with torch.no_grad():
        in_training = mnist.membranes(became.module())(raster).numpy()
    np.testing.assert_allclose(mnist.chip_membranes(became)(raster), in_training, rtol=1e-6, atol=1e-6)


def test_the_emulator_is_the_oracle(mnist: ModuleType, data: Dataset, trained: Graph) -> None:
    program = spikec.compile(trained, target="loihi2")
    rasters = {"pixels": mnist.coded(mnist.flat(data.test[:IMAGES]), STEPS).numpy()}
    steps, populations = STEPS + program.latency, ("hidden", "readout")
    ours = program.engine.run(rasters, steps, states=populations)
    oracle = simulate_integer(program.quantised.network, rasters, steps)
    assert ours.spikes["hidden"].sum() > 10 * IMAGES
    for name in populations:
        for what in ("u", "v", "spikes"):
            np.testing.assert_array_equal(getattr(ours, what)[name], getattr(oracle, what)[name])


def test_the_emulator_is_lava(mnist: ModuleType, data: Dataset, trained: Graph,
                              monkeypatch: pytest.MonkeyPatch) -> None:
    """Every u, v and spike of 100 images, in their first columns: Lava does some hundred columns a second here."""
    monkeypatch.setenv("SPIKEC_LAVA_PYTHON", str(lava_python()))
    program = spikec.compile(trained, target="loihi2")
    rasters = {"pixels": mnist.coded(mnist.flat(data.test[:IMAGES]), STEPS)[:, :LAVA_STEPS].numpy()}
    steps, populations = LAVA_STEPS + program.latency, ("hidden", "readout")
    ours = program.engine.run(rasters, steps, states=populations)
    assert ours.spikes["hidden"].sum() > 2 * IMAGES
    lava = program.lava.run(rasters, steps, record=("spikes", "u", "v"), time_limit=120)
    for name in populations:
        for what in ("u", "v", "spikes"):
            np.testing.assert_array_equal(getattr(ours, what)[name], getattr(lava, what)[name])
