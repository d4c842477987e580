"""What other frameworks' own importers make of the files written for them, step by step beside `simulate_step`."""

from __future__ import annotations

import contextlib
import io
import os
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest
import torch

from spikec.compiler.frontends.builder import Builder
from spikec.compiler.frontends.nir.importers import IMPORTERS, SUBTRACTING
from spikec.compiler.frontends.nir.reader import from_nir
from spikec.compiler.frontends.nir.writer import to_nir
from spikec.ir import nodes
from spikec.ir.diagnostics import SpikecWarning, UnsupportedError
from spikec.ir.graph import Discretization, Graph
from spikec.ir.step import simulate_step

ROOT = Path(os.environ.get("SPIKEC_DATA", "")) / "nir_models"
needs_data = pytest.mark.skipif(not os.environ.get("SPIKEC_DATA") or not ROOT.is_dir(),
                                reason="SPIKEC_DATA does not name a folder with nir_models")
STEPS = 500
DT = 1e-3
Array = Any
pytestmark = pytest.mark.usefixtures("one_thread")


# ---- the importers themselves: a step of each, and where it keeps the membrane

class Imported:
    """A framework's import of a file: `step` takes one column of one sample, `membrane` a node's state after it."""

    def __init__(self, reader: str, path: Path, dt: float, subtract: bool = False) -> None:
        pytest.importorskip({"spikingjelly": "spikingjelly", "sinabs": "sinabs", "norse": "norse",
                             "snntorch": "snntorch"}[reader], reason=f"{reader} is not installed")
        pytest.importorskip("nirtorch", reason="the importers need nirtorch")
        self.reader, self.state = reader, None
        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.module = getattr(self, f"_{reader}")(path, dt, subtract)

    def _snntorch(self, path: Path, dt: float, subtract: bool) -> Any:
        from snntorch.import_nir import import_from_nir

        return import_from_nir(nir.read(path))

    def _norse(self, path: Path, dt: float, subtract: bool) -> Any:
        import norse.torch
        from norse.torch.functional.reset import reset_subtract

        return norse.torch.from_nir(nir.read(path), dt=dt, **({"reset_method": reset_subtract} if subtract else {}))

    def _sinabs(self, path: Path, dt: float, subtract: bool) -> Any:
        from sinabs.nir import from_nir as sinabs_from_nir

        return sinabs_from_nir(nir.read(path), batch_size=1)

    def _spikingjelly(self, path: Path, dt: float, subtract: bool) -> Any:
        from spikingjelly.activation_based.nir_exchange import import_from_nir

        return import_from_nir(path, dt=dt)

    def step(self, column: Array) -> Array:
        given = torch.tensor(column, dtype=torch.float32)
        batched = self.reader in ("sinabs", "spikingjelly")
        with torch.no_grad():
            arguments = (given[None] if batched else given, *(() if self.state is None else (self.state,)))
            found, self.state = self.module(*arguments)
        return (found[0] if batched else found).numpy().copy()

    def membrane(self, name: str, nested: bool) -> Array:
        if self.reader == "snntorch":
            part = self.module.get_submodule(f"{name}.lif" if nested else name)
            found = part.mem
        elif self.reader == "sinabs":
            found = self.module.get_submodule(name).v_mem[0]
        elif self.reader == "norse":
            state = self.state.state[name]
            found = (state[0][1] if isinstance(state[0], tuple) and len(state[0]) == 2 else state[0]).v
        else:
            found = self.state[name][0][0]
        return found.detach().numpy().copy()


def _beside(graph: Graph, reader: str, tmp_path: Path, hidden: tuple[str, ...] = ("cells",), rate: float = 0.3,
            steps: int = STEPS) -> None:
    """Runs importer and reference; their spikes must be the same, their membranes within 1e-5."""
    path = tmp_path / "a.nir"
    to_nir(graph, path, reader=reader)
    assert "spikec.reader" in nir.read(path).metadata
    subtract = any(getattr(node, "reset", "") == "subtract" for node in graph.nodes.values())
    grid = graph.discretization
    assert grid is not None
    imported = Imported(reader, path, grid.dt, subtract and reader == "norse")
    raster = (np.random.default_rng(5).random((steps, *graph.nodes["in"].shape)) < rate).astype(float)
    expected = simulate_step(graph, raster[None])
    recurrent = {name for name in hidden if any(name in graph.targets[target] for target in graph.targets[name])}
    given, membranes = [], {name: [] for name in hidden}
    for column in raster:
        given.append(imported.step(column))
        for name in hidden:
            membranes[name].append(imported.membrane(name, name in recurrent))
    for name, found in membranes.items():
        wanted = expected.voltage[name][0]
        np.testing.assert_allclose(np.array(found), wanted, rtol=0, atol=1e-5 * max(1.0, np.abs(wanted).max()))
    if "out" not in expected.spikes:
        np.testing.assert_allclose(np.array(given), expected.voltage["out"][0], atol=1e-5)
        return
    np.testing.assert_array_equal(np.array(given).reshape(expected.spikes["out"][0].shape), expected.spikes["out"][0])
    assert 0.01 < np.mean(given) < 2


def _net(grid: Discretization, kind: str, recurrent: bool = False, size: int = 5, **parameters: Any) -> Graph:
    rng = np.random.default_rng(size)
    net = Builder(grid)
    x = net.input("in", 4)
    minimum = parameters.pop("v_min", None)
    cells = getattr(net, kind)("cells", size, **parameters)
    net.connect(x, cells, weight=np.float32(rng.normal(0.3, 0.6, (size, 4))), bias=np.float32(rng.normal(0, 0.1, size)),
                name="fc")
    if recurrent:
        net.connect(cells, cells, weight=np.float32(rng.normal(-0.1, 0.3, (size, size))),
                    bias=np.float32(rng.normal(0, 0.05, size)), name="back")
    net.output("out", cells)
    return _clipped(net.build(), minimum)


def _clipped(graph: Graph, minimum: float | None) -> Graph:
    return graph.with_nodes({name: replace(node, v_min=minimum) for name, node in graph.nodes.items()
                             if isinstance(node, nodes.IF) and minimum is not None})


def _grid(**fields: Any) -> Discretization:
    return Discretization(DT, **fields)


LEAKY = {"tau": 5e-3, "r": 5e-3}
CUBA = {"tau_mem": 5e-3, "tau_syn": 2e-3, "r": 2.0}
CASES: dict[str, tuple[tuple[str, ...], Callable[[bool], Graph]]] = {
    "leaky, delta": (("snntorch", "norse", "spikingjelly"), lambda again: _net(
        _grid(integrator="decay"), "lif", again, reset="zero", **LEAKY)),
    "leaky, box, Euler": (("snntorch", "norse", "spikingjelly"), lambda again: _net(
        _grid(spike="box", integrator="euler"), "lif", again, reset="zero", tau=4e-3, r=4.0)),
    "leaky, closed form, each its own": (("snntorch", "norse"), lambda again: _net(
        _grid(), "lif", again, reset="zero", tau=np.linspace(3e-3, 9e-3, 5), r=np.linspace(4e-3, 6e-3, 5),
        v_leak=0.05)),
    "leaky, fires at the threshold": (("snntorch", "norse", "spikingjelly"), lambda again: _net(
        _grid(integrator="decay", fires="at"), "lif", again, reset="zero", **LEAKY)),
    "leaky, reset value": (("spikingjelly",), lambda again: _net(
        _grid(integrator="decay"), "lif", again, v_reset=-0.25, v0=-0.25, **LEAKY)),
    "leaky, subtracting": (("norse",), lambda again: _net(
        _grid(integrator="decay"), "lif", again, reset="subtract", **LEAKY)),
    "leaky, many spikes": (("sinabs",), lambda again: _net(
        _grid(integrator="decay", spikes="many"), "lif", again, reset="subtract", **LEAKY)),
    "without leak": (("snntorch", "norse", "spikingjelly"), lambda again: _net(
        _grid(), "if_", again, reset="zero", v_threshold=2.0)),
    "without leak, box": (("snntorch", "norse", "spikingjelly"), lambda again: _net(
        _grid(spike="box", integrator="euler"), "if_", again, reset="zero", r=1000.0, v_threshold=2.0)),
    "without leak, subtracting": (("norse",), lambda again: _net(
        _grid(), "if_", again, reset="subtract", v_threshold=2.0)),
    "without leak, many spikes": (("sinabs",), lambda again: _net(
        _grid(spikes="many"), "if_", again, reset="subtract", v_threshold=2.0, v_min=-2.0)),
    "current-based, delta": (("snntorch", "norse", "spikingjelly"), lambda again: _net(
        _grid(integrator="decay"), "cubalif", again, reset="zero", **CUBA)),
    "current-based, box, semi-implicit": (("snntorch", "norse", "spikingjelly"), lambda again: _net(
        _grid(spike="box", integrator="semi"), "cubalif", again, reset="zero", w_in=1.5, **CUBA)),
    "current-based, subtracting": (("norse",), lambda again: _net(
        _grid(spike="box", integrator="semi"), "cubalif", again, reset="subtract", w_in=1.5, **CUBA)),
}
RUNS = [(case, reader, again) for case, (readers, _) in CASES.items() for reader in readers for again in (False, True)]


@pytest.mark.parametrize(("case", "reader", "again"), RUNS)
def test_an_importer_gives_the_numbers_of_the_grid(case: str, reader: str, again: bool, tmp_path: Path) -> None:
    _beside(CASES[case][1](again), reader, tmp_path)


def test_every_rule_was_run() -> None:
    kinds = {"lif": nodes.LIF, "if_": nodes.IF, "cubalif": nodes.CubaLIF}
    ran = {(reader, type(make(False).nodes["cells"])) for readers, make in CASES.values() for reader in readers}
    ran.add(("sinabs", nodes.LI))  # below
    stated = {(reader, kind) for table in (IMPORTERS, SUBTRACTING) for reader, importer in table.items()
              for kind in importer.neurons}
    assert set(kinds.values()) < {kind for _, kind in ran}
    assert ran == stated


def test_sinabs_reads_a_readout(tmp_path: Path) -> None:
    net = Builder(_grid(integrator="decay"))
    cells = net.li("cells", 3, tau=6e-3, r=6e-3)
    net.connect(net.input("in", 4), cells, weight=np.float32(np.random.default_rng(1).normal(size=(3, 4))), bias=0.25)
    net.output("out", cells)
    _beside(net.build(), "sinabs", tmp_path)


def _image(grid: Discretization, kind: str, **parameters: Any) -> Graph:
    """Convolution, pool, Flatten, two layers of neurons, one of them recurrent."""
    minimum = parameters.pop("v_min", None)
    rng = np.random.default_rng(3)
    net = Builder(grid)
    x = net.conv2d("conv", net.input("in", (2, 8, 8)), weight=np.float32(rng.normal(0.1, 0.3, (3, 2, 3, 3))),
                   bias=np.float32([0.1, 0.0, -0.1]), stride=2, padding=1)
    first = net.add("first", _like(kind, (3, 4, 4), **parameters), x)
    flat = net.flatten("flat", net.sum_pool2d("pool", first, 2))
    cells = getattr(net, kind)("cells", 6, **parameters)
    net.connect(flat, cells, weight=np.float32(rng.normal(0.1, 0.4, (6, 12))), name="fc")
    net.connect(cells, cells, weight=np.float32(rng.normal(-0.1, 0.3, (6, 6))), name="back")
    last = getattr(net, kind)("last", 2, **parameters)
    net.connect(cells, last, weight=np.float32(rng.normal(0.4, 0.4, (2, 6))), name="readout")
    net.output("out", last)
    return _clipped(net.build(), minimum)


def _like(kind: str, shape: tuple[int, ...], **parameters: Any) -> nodes.Neuron:
    return {"lif": nodes.LIF, "if_": nodes.IF, "cubalif": nodes.CubaLIF}[kind](shape=shape, **parameters)


@pytest.mark.parametrize("reader", ["snntorch", "norse", "spikingjelly"])
def test_images_and_layers(reader: str, tmp_path: Path) -> None:
    graph = _image(_grid(integrator="decay"), "lif", reset="zero", **LEAKY)
    _beside(graph, reader, tmp_path, ("first", "cells", "last"), steps=100)


def test_images_and_layers_of_sinabs(tmp_path: Path) -> None:
    graph = _image(_grid(spikes="many"), "if_", reset="subtract", v_threshold=2.0, v_min=-2.0)
    _beside(graph, "sinabs", tmp_path, ("first", "cells", "last"), rate=0.1, steps=100)


def test_a_skip_connection_is_read_by_who_can(tmp_path: Path) -> None:
    net = Builder(_grid(integrator="decay"))
    x = net.input("in", 4)
    first = net.lif("first", 4, reset="zero", **LEAKY)
    net.connect(x, first, weight=np.float32(np.random.default_rng(2).normal(0.4, 0.5, (4, 4))), name="fc")
    cells = net.lif("cells", 3, reset="zero", **LEAKY)
    net.connect(first, cells, weight=np.float32(np.random.default_rng(3).normal(0.2, 0.5, (3, 4))), name="fc2")
    net.connect(x, cells, weight=np.float32(np.random.default_rng(4).normal(0.1, 0.3, (3, 4))), name="skip")
    net.output("out", cells)
    graph = net.build()
    for reader in ("snntorch", "spikingjelly"):
        _beside(graph, reader, tmp_path, ("first", "cells"))
    with pytest.raises(UnsupportedError, match="skip connections"):
        to_nir(graph, tmp_path / "b.nir", reader="norse")


REFUSED: dict[str, tuple[str, str, Callable[[], Graph]]] = {
    "nobody": ("tensorspike", "not known", lambda: CASES["leaky, delta"][1](False)),
    "Lava": ("lava", "no importer of Lava", lambda: CASES["leaky, delta"][1](False)),
    "no grid": ("norse", "SC403", lambda: CASES["leaky, delta"][1](False).replace(discretization=None)),
    "reset": ("snntorch", "another reset", lambda: CASES["leaky, subtracting"][1](False)),
    "reset value": ("norse", "resets to zero", lambda: CASES["leaky, reset value"][1](False)),
    "late reset": ("norse", "in the step of the spike", lambda: _net(
        _grid(integrator="decay", reset="next"), "lif", reset="zero", **LEAKY)),
    "one spike": ("sinabs", "many spikes", lambda: CASES["leaky, subtracting"][1](False)),
    "many spikes": ("norse", "one spike", lambda: CASES["leaky, many spikes"][1](False)),
    "no clipping": ("sinabs", "minus the threshold", lambda: _net(
        _grid(spikes="many"), "if_", reset="subtract", v_threshold=2.0)),
    "clipping": ("norse", "lower bound", lambda: _net(_grid(), "if_", reset="zero", v_min=-2.0)),
    "refractory": ("snntorch", "refractory", lambda: _net(
        _grid(integrator="decay"), "lif", reset="zero", refractory=2e-3, **LEAKY)),
    "explicit Euler": ("norse", "after the input", lambda: _net(
        _grid(spike="box", integrator="euler"), "cubalif", reset="zero", w_in=1.0, **CUBA)),
    "late box": ("norse", "in its own step", lambda: _net(_grid(spike="box"), "lif", reset="zero", **LEAKY)),
    "resting potential": ("norse", "resting potential", lambda: _net(
        _grid(spike="box", integrator="semi"), "cubalif", reset="zero", v_leak=0.1, w_in=1.0, **CUBA)),
    "start": ("snntorch", "starts a membrane", lambda: _net(
        _grid(integrator="decay"), "lif", reset="zero", v0=0.5, **LEAKY)),
    "kind": ("sinabs", "no such node", lambda: CASES["current-based, delta"][1](False)),
    "thresholds": ("snntorch", "takes one 'v_threshold'", lambda: _net(
        _grid(integrator="decay"), "lif", reset="zero", v_threshold=np.linspace(1, 2, 5), **LEAKY)),
    "time constants": ("spikingjelly", "takes one 'tau'", lambda: CASES["leaky, closed form, each its own"][1](False)),
    "long step": ("spikingjelly", "cannot be given", lambda: _net(
        _grid(integrator="decay", spikes="one"), "lif", reset="zero", tau=1e-9, r=1e-9)),
    "slow recurrence": ("norse", "one step over a recurrent", lambda: _net(
        _grid(integrator="decay", delay=2), "lif", True, reset="zero", **LEAKY)),
    "name": ("norse", "attribute", lambda: _renamed(CASES["leaky, delta"][1](False), "fc", "forward")),
    "two names": ("snntorch", "two names the same", lambda: _renamed(
        _renamed(CASES["leaky, delta"][1](False), "fc", "a.b"), "in", "a_b")),
}


def _renamed(graph: Graph, old: str, new: str) -> Graph:
    names = {name: new if name == old else name for name in graph.nodes}
    return Graph({names[name]: node for name, node in graph.nodes.items()},
                 tuple((names[source], names[target]) for source, target in graph.edges), graph.discretization)


@pytest.mark.parametrize("case", REFUSED)
def test_what_an_importer_cannot_do_is_said(case: str, tmp_path: Path) -> None:
    reader, reason, make = REFUSED[case]
    with pytest.raises(UnsupportedError, match=reason):
        to_nir(make(), tmp_path / "a.nir", reader=reader)
    assert not list(tmp_path.iterdir())


@needs_data
@pytest.mark.parametrize(("reader", "reset"), [
    ("snntorch", "zero"), ("norse", "zero"), ("spikingjelly", "zero"), ("norse", "subtract")])
@pytest.mark.parametrize("name", ["bias_zero", "noBias_subtract"])
def test_the_published_recurrent_networks(name: str, reader: str, reset: Any, tmp_path: Path) -> None:
    """On the grid that they were trained on, with either reset, the same spikes everywhere."""
    grid = Discretization(1e-4, spike="box", integrator="semi")
    graph = from_nir(ROOT / f"03_rnn/braille_noDelay_{name}.nir", discretization=grid)
    graph = graph.with_nodes({node: replace(cells, reset=reset) for node, cells in graph.nodes.items()
                              if isinstance(cells, nodes.CubaLIF)})
    to_nir(graph, tmp_path / "a.nir", reader=reader)
    imported = Imported(reader, tmp_path / "a.nir", grid.dt, reset == "subtract")
    raster = (np.random.default_rng(1).random((256, 12)) < 0.2).astype(float)
    expected = simulate_step(graph, raster[None]).spikes["output"][0]
    np.testing.assert_array_equal(np.array([imported.step(column) for column in raster]), expected)
    assert expected.sum() > 50


def test_a_file_for_one_importer_says_so(tmp_path: Path) -> None:
    to_nir(CASES["leaky, delta"][1](True), tmp_path / "a.nir", reader="norse")
    assert "dt=0.001" in nir.read(tmp_path / "a.nir").metadata["spikec.call"]
    with pytest.warns(SpikecWarning, match="SC210.*written for one importer"):
        assert from_nir(tmp_path / "a.nir").discretization is None


def test_weights_that_cannot_take_a_gain_are_named(tmp_path: Path) -> None:
    net = Builder(_grid(spike="box", integrator="euler"))
    net.output("out", net.add("cells", nodes.LIF(shape=(4,), tau=4e-3, r=2.0, reset="zero"), net.input("in", 4)))
    with pytest.raises(UnsupportedError, match="no connection of its own"):
        to_nir(net.build(), tmp_path / "a.nir", reader="snntorch")
