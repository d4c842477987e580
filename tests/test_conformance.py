"""A part of the conformance suite (`make conformance` runs all of it): small networks through the builder, NIR, ONNX
and snnTorch, on the reference, the clock and in continuous time. The other frameworks where they are installed."""

from __future__ import annotations

import importlib
import logging
import statistics
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from conformance import networks, page, public, suite, versions  # noqa: E402
from conformance.compare import compared  # noqa: E402

STEPS = 60
FEW = {"snntorch": 12, "norse": 4, "sinabs": 4, "spikingjelly": 4, "rockpool": 4}
"""How many cases of each framework; the others are more of the same."""


@pytest.fixture(autouse=True)
def _quiet(monkeypatch: pytest.MonkeyPatch) -> Any:
    logging.disable(logging.WARNING)
    yield
    logging.disable(logging.NOTSET)


def _own() -> list[networks.Network]:
    """Every kind on every topology, and every grid with one kind."""
    return [each for number, each in enumerate(networks.networks())
            if number % 5 == 0 or each.settings == "decay, delta; recurrent"]


@pytest.mark.parametrize("network", _own(), ids=lambda each: f"{each.kind} {each.settings}")
def test_own_networks_are_the_same_everywhere(network: networks.Network) -> None:
    row = networks.row(network, STEPS, ("text", "nir", "clock"))
    assert row.failures == []
    assert row.targets["clock"]["spikes"] > 0


@pytest.mark.parametrize("kind", ["IF", "LIF", "CubaLIF"])
@pytest.mark.parametrize("grid", ["decay, delta; recurrent", "exact, box; feedforward"])
def test_own_networks_in_continuous_time(kind: str, grid: str) -> None:
    (network,) = (each for each in networks.networks() if each.kind == kind and each.settings == grid)
    assert networks.row(network, 1, ("event",)).targets["event"]["wrong"] == 0


def test_own_networks_as_onnx_models() -> None:
    pytest.importorskip("onnxruntime", reason="runs the models that to_onnx writes")
    for network in list(networks.networks())[::9]:
        assert networks.row(network, STEPS, ("onnx", "from_onnx")).failures == []


@pytest.mark.parametrize("framework", versions.FRAMEWORKS)
def test_networks_of_a_framework_do_what_the_framework_does(framework: str) -> None:
    pytest.importorskip(framework, reason="a framework that from_torch reads; make conformance installs it")
    cases = importlib.import_module(f"conformance.{framework}_cases").cases()
    for case in cases[::max(1, len(cases) // FEW[framework])]:
        row = suite.run(framework, "", case, frozenset({"reference", "clock"}), STEPS)
        assert row.failures == [], f"{case.kind}, {case.settings}"


@pytest.mark.skipif(public.folder() is None, reason="the public NIR graphs are read from the folder SPIKEC_DATA")
@pytest.mark.parametrize("file", public.FILES, ids=lambda each: each.path)
def test_public_nir_files(file: public.File) -> None:
    place = public.folder()
    assert place is not None
    assert public.row(place, file, 3, ("clock",)).failures == []


def test_what_differs_is_found() -> None:
    network = next(networks.networks())
    values = networks.raster(network, STEPS)
    traces = suite.on_reference(network.graph, values)
    name, trace = next(iter(traces.items()))
    assert trace.spikes is not None and trace.membrane is not None
    other = trace.spikes.copy()
    other[1, 5, 2] += 1
    found = compared({**traces, name: suite.Trace(other, trace.membrane)}, traces)
    assert found.wrong == 1
    assert found.first is not None and f"{name}, neuron (2,), step 5" in found.first
    assert (compared({**traces, name: suite.Trace(trace.spikes, trace.membrane + 0.1)}, traces).membrane or 0) > 1e-3


def test_the_page_is_what_the_results_say() -> None:
    assert page.PAGE.read_text(encoding="utf-8") == page.page(page.read())


def test_the_results_are_of_the_pinned_frameworks_and_none_fails() -> None:
    results = page.read()
    assert results["versions"] == versions.pins()
    assert {row["framework"] for row in results["frameworks"]} == set(versions.FRAMEWORKS)
    failed = [f"{row['framework']} {row['kind']} {row['settings']}: {row['failures']}"
              for part in ("frameworks", "networks", "public") for row in results[part] if row["failures"]]
    assert failed == []


def test_the_page_on_importing_tells_how_far_continuous_time_is_off() -> None:
    found = [row["targets"].get("event") for row in page.read()["frameworks"]]
    ratios = [each["event"] / max(each["framework"], 1) for each in found if isinstance(each, dict)]
    off = [100 * abs(each - 1) for each in ratios]
    text = " ".join((page.PAGE.parent / "importing.md").read_text(encoding="utf-8").split())
    assert f"of the {len(off)} [networks of the conformance suite]" in text
    assert f"half are off by more than {statistics.median(off):.1f} % of their spikes" in text
    beyond = [sum(each > limit for each in off) for limit in (7, 100)]
    assert f"{beyond[0]} by more than 7 %, {beyond[1]} by more than 100 %" in text
    assert f"and one has {float(f'{max(ratios):.2g}'):.0f} times as many" in text


def test_the_readme_names_the_record_that_it_counts() -> None:
    results = page.read()
    readme = " ".join((page.HERE.parents[1] / "README.md").read_text(encoding="utf-8").split())
    assert f"(at commit `{results['commit']}`, {results['day']})" in readme


def test_a_silent_neuron_fails_its_network() -> None:
    spikes = np.ones((3, 100, 4))
    spikes[:, 1:, 2] = 0
    spikes[0, 0, 2] = 0  # 2 of 300 steps
    assert suite.activity({"hidden": suite.Trace(spikes, None)}) == pytest.approx(2 / 300)
    assert suite.silent({"hidden": suite.Trace(spikes, None), "readout": suite.Trace(None, spikes)}) == [
        "hidden: 1 of 4 neurons fire in under 1% of the steps"]
    spikes[:, :2, 2] = 1
    assert suite.silent({"hidden": suite.Trace(spikes, None)}) == []


def test_the_readme_counts_the_networks_of_the_results() -> None:
    rows = page.read()["frameworks"]
    equal = sum(row["verdict"] == "equal" for row in rows)
    refused = sum(row["verdict"].startswith("refused") for row in rows)
    readme = " ".join((page.HERE.parents[1] / "README.md").read_text(encoding="utf-8").split())
    assert f"of {len(rows)} small networks" in readme
    assert f"{equal} do so spike for spike" in readme
    assert f"and {refused} are refused" in readme
