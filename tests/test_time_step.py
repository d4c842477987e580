"""A `dt` that is no length of a step is told in the same words wherever it is given, under the code of the place."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import spikec
from spikec import BadInputError, Builder, Discretization, Events, Graph
from spikec.compiler.frontends import load_model
from spikec.ir.decay import leaky_from_beta, synaptic_from_alpha_beta
from spikec.ir.text import write

WRONG: list[Any] = [np.array([1e-3, 2e-3]), torch.tensor(1e-3), "1e-3", 1j, True, [1e-3], float("nan"), float("inf"), 0,
                    -1.0]
RASTER = np.zeros((1, 5, 3))


def graph(discretization: Any = None, stated: Any = None) -> Graph:
    net = Builder(discretization)
    cells = net.cubalif("cells", 2, tau_mem=20e-3, tau_syn=5e-3)
    net.connect(net.input("in", 3), cells, weight=np.ones((2, 3)))
    net.output("out", cells)
    return net.build(stated)


def rectifier() -> Graph:
    return spikec.from_torch(nn.Sequential(nn.Linear(3, 2), nn.ReLU()))


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    spikec.to_nir(graph(), folder / "net.nir")
    with pytest.warns(spikec.SpikecWarning, match="SC209"):  # it comes back by spikec alone
        spikec.to_nir(graph(Discretization(1e-3)), folder / "grid.nir")
    spikec.to_onnx(graph(Discretization(1e-3)), folder / "net.onnx")
    write(graph(), folder / "net.spk")
    return folder


GRIDS: dict[str, Callable[[Path, Any], object]] = {
    "Builder": lambda folder, grid: graph(grid),
    "Builder.build": lambda folder, grid: graph(None, grid),
    "from_nir": lambda folder, grid: spikec.from_nir(folder / "net.nir", grid),
    "from_nir, stored": lambda folder, grid: spikec.from_nir(folder / "grid.nir", grid),
    "from_onnx": lambda folder, grid: spikec.from_onnx(folder / "net.onnx", grid),
    "to_onnx": lambda folder, grid: spikec.to_onnx(graph(), folder / "out.onnx", grid),
    "to_nir": lambda folder, grid: spikec.to_nir(graph().replace(discretization=grid), folder / "out.nir"),
    "load_model": lambda folder, grid: load_model(folder / "net.spk", grid),
    "compile, event": lambda folder, grid: spikec.compile(graph().replace(discretization=grid)),
    "compile, clock": lambda folder, grid: spikec.compile(graph().replace(discretization=grid), target="clock"),
}
STEPS: dict[str, tuple[str, Callable[[Path, Any], object]]] = {
    "from_torch": ("SC222", lambda folder, dt: spikec.from_torch(nn.Linear(3, 2), dt=dt)),
    "load_model": ("SC222", lambda folder, dt: load_model(folder / "net.spk", dt=dt)),
    "from_dense": ("SC103", lambda folder, dt: Events.from_dense(RASTER, dt)),
    "encoders": ("SC103", lambda folder, dt: spikec.encoders.spikes(RASTER, dt)),
    "run": ("SC405", lambda folder, dt: spikec.compile(graph()).run(RASTER, dt=dt)),
    "module": ("SC405", lambda folder, dt: spikec.compile(graph()).module()(RASTER, dt=dt)),
    "validate": ("SC550", lambda folder, dt: spikec.validate(graph(), graph(), dt=dt)),
    "validate, spike": ("SC550", lambda folder, dt: spikec.validate(graph(), graph(), dt=dt, spike="box")),
    "convert_ann": ("SC311", lambda folder, dt: spikec.convert_ann(rectifier(), np.ones((4, 3)), steps=4, dt=dt)),
    "leaky": ("SC103", lambda folder, dt: leaky_from_beta(0.9, dt)),
    "synaptic": ("SC103", lambda folder, dt: synaptic_from_alpha_beta(0.8, 0.9, dt)),
}
NEEDED = ("from_dense", "encoders", "convert_ann", "leaky", "synaptic")


def told(code: str, call: Callable[[], object], value: object) -> None:
    with pytest.raises(BadInputError) as caught:
        call()
    found = [(fault.code, fault.value) for fault in caught.value.diagnostics if "dt must be positive" in fault.message]
    assert found == [(code, repr(value))]


@pytest.mark.parametrize("value", [*WRONG, None], ids=repr)
@pytest.mark.parametrize("place", GRIDS)
def test_a_discretisation_with_a_wrong_step_is_told(files: Path, place: str, value: Any) -> None:
    told("SC116", lambda: GRIDS[place](files, Discretization(value)), value)


@pytest.mark.parametrize("value", WRONG, ids=repr)
@pytest.mark.parametrize("place", STEPS)
def test_a_wrong_step_is_told(files: Path, place: str, value: Any) -> None:
    code, call = STEPS[place]
    told(code, lambda: call(files, value), value)


@pytest.mark.parametrize("place", NEEDED)
def test_a_step_that_is_needed_and_missing_is_told(files: Path, place: str) -> None:
    code, call = STEPS[place]
    told(code, lambda: call(files, None), None)


@pytest.mark.parametrize("given", [1e-3, 0, np.ones(2), "grid"], ids=repr)
@pytest.mark.parametrize("place", GRIDS)
def test_what_is_no_discretisation_is_told(files: Path, place: str, given: Any) -> None:
    with pytest.raises(BadInputError, match="SC116: the discretization is none"):
        GRIDS[place](files, given)


@pytest.mark.parametrize("name", ["duration", "tolerance_time", "tolerance_voltage"])
@pytest.mark.parametrize("value", ["1", [1.0], float("nan"), -1.0], ids=repr)
def test_other_numbers_of_a_comparison_are_told(name: str, value: Any) -> None:
    with pytest.raises(BadInputError, match=f"SC550: {name.replace('_', ' ')} is out of range"):
        spikec.validate(graph(), graph(), **{name: value})
