"""The emulator against the plain meaning of integer networks: u, v and spikes, bit for bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from cuda_on_host import run_kernel
from hypothesis import given, settings
from integer_nets import Case, cases, random_case

from spikec.ir.diagnostics import BadInputError
from spikec.ir.integer.network import IntegerDense, IntegerNetwork, IntegerPopulation, IntegerProjection, IntegerSparse
from spikec.ir.integer.step import IntegerResult, simulate_integer
from spikec.runtime import gpu, jit
from spikec.runtime.integer import engine as engine_module
from spikec.runtime.integer import kernels
from spikec.runtime.integer.engine import IntegerEngine
from spikec.runtime.nvrtc import compile_cuda, missing_packages
from spikec.runtime.threads import set_threads


def agree(found: IntegerResult, wanted: IntegerResult) -> None:
    for key in ("u", "v", "spikes"):
        for name, values in getattr(wanted, key).items():
            np.testing.assert_array_equal(getattr(found, key)[name], values, f"{key} of {name}")


def emulate(case: Case, **options: Any) -> IntegerResult:
    network, rasters = case
    return IntegerEngine(network, **options).run(rasters, states=network.populations)


@settings(max_examples=150)
@given(cases())
def test_random_networks(case: Case) -> None:
    agree(emulate(case), simulate_integer(*case))


@pytest.mark.parametrize("seed", range(6))
def test_any_number_of_threads_gives_the_same(seed: int) -> None:
    """And so many columns of samples that spikes are listed in groups."""
    case = random_case(seed, batch=50)
    wanted = simulate_integer(*case)
    try:
        for threads in (1, 2, 5):
            set_threads(threads)
            agree(emulate(case), wanted)
    finally:
        set_threads(0)


def deep(rng: np.random.Generator, sizes: tuple[int, ...], spread: int) -> IntegerNetwork:
    """Dense layers, `spread` wide in weights."""
    names = ["x", *(f"h{number}" for number in range(1, len(sizes)))]
    return IntegerNetwork(
        inputs={"x": (sizes[0],)},
        populations={name: IntegerPopulation(name=name, shape=(n,), du=int(rng.integers(4096)), dv=300, threshold=900)
                     for name, n in zip(names[1:], sizes[1:], strict=True)},
        projections=tuple(
            IntegerProjection(name=f"to_{target}", source=source, target=target, exponent=exponent,
                              connection=IntegerDense(weight=rng.integers(-spread, spread, (post, pre))))
            for source, target, pre, post, exponent in zip(names, names[1:], sizes, sizes[1:], (0, -1, 2),
                                                           strict=False)),
        outputs={"out": names[-1]}, dt=1e-3)


@pytest.mark.parametrize(("density", "batch"), [(0.05, 20), (0.9, 20), (1.0, 3)])
def test_sums_of_many_rows(density: float, batch: int) -> None:
    """More rows than 16 bits can hold the sum of, blocks that neurons do not fill, groups and not."""
    rng = np.random.default_rng(4)
    network = deep(rng, (700, 300, 40, 10), 256)
    if density == 1.0:  # all of one sign, and all that there is
        network = deep(rng, (700, 300, 40, 10), 1)
        for each in network.projections:
            each.connection.weight[...] = 255
    raster = rng.random((batch, 30, 700)) < density
    wanted = simulate_integer(network, {"x": raster})
    assert wanted.spikes["h3"].any()
    agree(IntegerEngine(network).run({"x": raster}, states=network.populations), wanted)


@pytest.mark.parametrize("kind", [np.uint8, np.int64, bool])
def test_spikes_of_any_value_and_type(kind: type[Any]) -> None:
    rng = np.random.default_rng(5)
    network = deep(rng, (60, 20), 100)
    raster = (rng.integers(0, 3, (30, 40, 60)) * (rng.random((30, 40, 60)) < 0.2)).astype(kind)
    agree(IntegerEngine(network).run({"x": raster}, states=["h1"]), simulate_integer(network, {"x": raster}))


@pytest.mark.parametrize("seed", range(40))
def test_a_stream_goes_on(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """In parts of any length, of rasters that end early, bit for bit as one long run."""
    monkeypatch.setattr(engine_module, "_MOST_BYTES", 20_000 if seed % 2 else 1 << 26)
    network, rasters = random_case(seed, batch=7, steps=24)
    rasters = {name: raster[:, :24 - 5 * (name == "y")] for name, raster in rasters.items()}
    whole, engine, state, parts = simulate_integer(network, rasters), IntegerEngine(network), None, []
    stops = sorted(np.random.default_rng(seed).integers(0, 24, 3))
    for first, stop in zip((0, *stops), (*stops, 24), strict=True):
        given = {name: raster[:, first:stop] for name, raster in rasters.items()}
        parts.append(engine.run(given, stop - first, states=network.populations, state=state, keep_state=True))
        state = parts[-1].state
    agree(IntegerResult(**{field: {name: np.concatenate([getattr(part, field)[name] for part in parts], axis=1)
                                   for name in network.populations} for field in ("spikes", "u", "v")}), whole)
    assert state is not None and whole.state is not None
    for field in ("u", "v", "under_way"):
        for name, wanted in getattr(whole.state, field).items():
            np.testing.assert_array_equal(getattr(state, field)[name], wanted, f"{field} of {name}")


def test_a_state_that_was_given_stays() -> None:
    network, rasters = random_case(3, batch=2)
    state = simulate_integer(network, rasters).state
    assert state is not None
    before = {name: array.copy() for name, array in state.v.items()}
    engine = IntegerEngine(network)
    agree(engine.run(rasters, states=network.populations, state=state), simulate_integer(network, rasters, state=state))
    assert all(np.array_equal(before[name], array) for name, array in state.v.items())
    assert engine.run(rasters, state=state).state is None


def test_a_batch_may_be_run_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_module, "_MOST_BYTES", 20_000)
    for seed in range(3):
        case = random_case(seed, batch=23)
        agree(emulate(case), simulate_integer(*case))


def test_what_is_not_asked_for_is_not_kept() -> None:
    network, rasters = random_case(1)
    result = IntegerEngine(network).run(rasters, 5, spikes=["c"], states=["b"])
    assert (set(result.spikes), set(result.u), set(result.v)) == ({"c"}, {"b"}, {"b"})
    assert result.spikes["c"].shape == (1, 5, 6)
    agree(result, IntegerResult(spikes={"c": simulate_integer(network, rasters, 5).spikes["c"]}, u={}, v={}))
    assert IntegerEngine(network).run(rasters, 0).spikes["c"].shape == (1, 0, 6)
    with pytest.raises(BadInputError, match="SC403 at 'nobody'"):
        IntegerEngine(network).run(rasters, states=["nobody"])


def test_an_engine_serves_many_runs() -> None:
    network, rasters = random_case(7, batch=4)
    engine, states = IntegerEngine(network), network.populations
    first = engine.run(rasters, states=states)
    other = {name: raster[:2, :3] for name, raster in rasters.items()}
    agree(engine.run(other, 9, states=states), simulate_integer(network, other, 9))
    agree(engine.run(rasters, states=states), first)


@pytest.mark.parametrize("seed", range(12))
def test_the_text_for_gpus_gives_the_same(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Compiled as C++ and run on the host, with CPU tensors: this checks its logic, not a GPU."""
    monkeypatch.setattr(kernels, "HOSTS", frozenset())
    monkeypatch.setattr(engine_module, "HOSTS", frozenset())
    monkeypatch.setattr(gpu, "launch", run_kernel)
    network, rasters = random_case(seed, batch=2)
    whole, engine = simulate_integer(network, rasters), IntegerEngine(network)
    agree(emulate((network, rasters)), whole)
    begun = engine.run({name: raster[:, :5] for name, raster in rasters.items()}, keep_state=True)
    rest = engine.run({name: raster[:, 5:] for name, raster in rasters.items()}, state=begun.state, states=["b"])
    np.testing.assert_array_equal(rest.v["b"], whole.v["b"][:, 5:])


@pytest.mark.skipif(bool(missing_packages()), reason=f"needs {', '.join(missing_packages())}")
def test_the_text_compiles_for_gpus() -> None:
    assert compile_cuda(kernels.integer_source("cuda", 1), "sm_90")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available() or bool(missing_packages()),
                    reason=", ".join(["needs a CUDA device", *missing_packages()]))
@pytest.mark.parametrize("seed", range(30))
def test_a_gpu_gives_the_same(seed: int) -> None:
    case = random_case(seed, batch=50)
    agree(emulate(case, device="cuda"), simulate_integer(*case))


def test_the_text_is_compiled_once_a_width() -> None:
    assert kernels.integer_source("c", 32) is kernels.integer_source("c", 32)
    assert "LANES 32" in kernels.integer_source("c", 32)
    assert jit.declared_variables("integer.jinja") == {
        "machine", "lanes", "together", "path_fields", "population_fields", "fields"}


@pytest.mark.parametrize(("batch", "time", "steps"), [(0, 5, 5), (3, 0, 4), (3, 4, 0), (600, 1, 3)])
def test_sizes_at_the_edge(batch: int, time: int, steps: int) -> None:
    network, rasters = random_case(2, batch=max(batch, 1), steps=max(time, 1))
    given_rasters = {name: raster[:batch, :time] for name, raster in rasters.items()}
    found = IntegerEngine(network).run(given_rasters, steps, states=network.populations)
    agree(found, simulate_integer(network, given_rasters, steps))
    assert found.v["b"].shape[:2] == (batch, steps)


def test_a_source_too_wide_for_groups() -> None:
    rng = np.random.default_rng(8)
    network = deep(rng, (1500, 70), 256)
    raster = rng.random((20, 30, 1500)) < 0.1
    agree(IntegerEngine(network).run({"x": raster}, states=["h1"]), simulate_integer(network, {"x": raster}))


@pytest.mark.parametrize(("exponent", "sign", "delayed"), [(3, "inhibitory", False), (-2, "mixed", False),
                                                          (0, "excitatory", True)])
def test_what_neurons_bring_themselves(exponent: int, sign: Any, delayed: bool) -> None:
    """Two such projections and a dense one, over a stream in two parts."""
    rng, n = np.random.default_rng(21), 70
    own = [IntegerProjection(name=f"own{number}", source="a", target="a", exponent=exponent, sign=sign,
                             connection=IntegerSparse(indptr=np.arange(n + 1), indices=np.arange(n),
                                                      weight=rng.integers(-200, 200, n)),
                             delay=np.full(n, 2) if delayed and number else None) for number in range(2)]
    network = IntegerNetwork(
        inputs={"in": (9,)}, outputs={"out": "a"}, dt=1e-3, projections=(*own, IntegerProjection(
            name="fc", source="in", target="a", connection=IntegerDense(weight=rng.integers(-60, 120, (n, 9))))),
        populations={"a": IntegerPopulation(name="a", shape=(n,), du=600, dv=300, threshold=150)})
    raster = (rng.random((5, 40, 9)) < 0.4).astype(np.int8)
    meant = simulate_integer(network, {"in": raster})
    engine = IntegerEngine(network)
    first = engine.run({"in": raster[:, :17]}, states=("a",), keep_state=True)
    second = engine.run({"in": raster[:, 17:]}, states=("a",), state=first.state)
    for what in ("spikes", "u", "v"):
        found = np.concatenate([getattr(first, what)["a"], getattr(second, what)["a"]], axis=1)
        np.testing.assert_array_equal(found, getattr(meant, what)["a"])
    assert meant.spikes["a"].mean() > 0.05
