"""snnTorch's neurons against their graphs on the grid: every spike of 1,000 random steps, and the membrane."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
snntorch = pytest.importorskip("snntorch")

from side_by_side import behind_weights, seeded, three_samples  # noqa: E402
from torch import nn  # noqa: E402

import spikec  # noqa: E402
from spikec.compiler.frontends.pytorch.frontend import from_torch  # noqa: E402
from spikec.ir import nodes  # noqa: E402
from spikec.ir.diagnostics import SpikecWarning, UnsupportedError  # noqa: E402
from spikec.ir.graph import Discretization, Graph  # noqa: E402
from spikec.ir.step import simulate_step  # noqa: E402

DT = 1e-3
STEPS = 1000
SIZE = 5


_seeded = seeded(3, "Inhibition is an unstable feature")


def _doubled(module: nn.Module) -> nn.Module:
    """In float64, with surrogate functions that keep it."""
    for part in module.modules():
        if hasattr(part, "spike_grad"):
            part.spike_grad = lambda value: (value > 0).to(value.dtype)
    return module.double().eval()


def _net(cells: nn.Module, gain: float = 2.0) -> nn.Module:
    return _doubled(behind_weights(cells, gain))


def _run(module: nn.Module, raster: np.ndarray[Any, Any]) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Spikes and membranes of a model whose last module keeps its states."""
    spikes, membranes = [], []
    with torch.no_grad():
        for step in range(raster.shape[1]):
            spikes.append(module(torch.from_numpy(raster[:, step])))
            membranes.append(module[-1].mem)
    return torch.stack(spikes, 1).numpy(), torch.stack(membranes, 1).numpy()


def _assert_same(module: nn.Module, graph: Graph, raster: np.ndarray[Any, Any], busy: bool = True) -> None:
    spikes, membranes = _run(module, raster)
    ours = simulate_step(graph, raster)
    last = str(len(module) - 1)
    np.testing.assert_array_equal(ours.spikes[last], spikes)
    scale = max(1.0, float(np.abs(membranes).max()))
    np.testing.assert_allclose(ours.voltage[last], membranes, rtol=0, atol=1e-9 * scale)
    if busy:
        assert 0 < spikes.mean() < 1


PER_NEURON = torch.linspace(0.3, 0.95, SIZE)
FACTORS: dict[str, dict[str, Any]] = {
    "one": {"beta": 0.9, "alpha": 0.8},
    "each": {"beta": PER_NEURON, "alpha": PER_NEURON.flip(0), "threshold": torch.linspace(0.2, 1.5, SIZE)},
    "learned": {"beta": 0.7, "alpha": 0.6, "learn_beta": True, "learn_alpha": True, "learn_threshold": True},
    "outside": {"beta": torch.tensor([-0.5, 0.0, 0.5, 1.0, 1.5]), "alpha": torch.tensor([0.9, 1.5, 0.0, -1.0, 0.3])},
    "memoryless": {"beta": 0.0, "alpha": 0.0},
    "no threshold": {"beta": 0.8, "alpha": 0.3, "threshold": 0.0},
    "negative": {"beta": 0.8, "alpha": 0.3, "threshold": torch.linspace(-0.4, 0.3, SIZE)},
}
KINDS = [
    (kind, reset, delayed, factors)
    for kind, reset, delayed, factors in itertools.product(
        ["Leaky", "Synaptic", "RLeaky", "RSynaptic"], ["subtract", "zero", "none"], [True, False], FACTORS)
    if delayed or (kind != "RSynaptic" and (reset, factors) != ("zero", "negative"))
    if factors in ("each", "negative") or ((delayed or reset == "subtract") and (
        factors == "outside" or reset == "zero" or kind == "Synaptic"))
]


def _options(kind: str, factors: str) -> dict[str, Any]:
    options = dict(FACTORS[factors], init_hidden=True)
    if "Synaptic" not in kind:
        options = {name: value for name, value in options.items() if "alpha" not in name}
    if kind.startswith("R"):
        options["linear_features"] = SIZE
    return options


@pytest.mark.parametrize(("kind", "reset", "delayed", "factors"), KINDS)
def test_every_reset_of_every_kind(kind: str, reset: str, delayed: bool, factors: str) -> None:
    cells = getattr(snntorch, kind)(**_options(kind, factors), reset_mechanism=reset, reset_delay=delayed)
    module = _net(cells)
    unbounded = factors == "outside" or (reset == "none" and kind.startswith("R"))
    steps = 60 if unbounded else STEPS
    _assert_same(module, from_torch(module, dt=DT), three_samples((6,), steps), busy=not unbounded)


@pytest.mark.parametrize(("kind", "options"), [
    ("Leaky", {"beta": 0.9}), ("Leaky", {"beta": 1.0}), ("Leaky", {"beta": 0.0, "threshold": 0.3}),
    ("Leaky", {"beta": PER_NEURON, "threshold": torch.linspace(0.2, 1.5, SIZE)}),
    ("Synaptic", {"alpha": 0.7, "beta": 0.8, "threshold": 0.6}),
    ("RLeaky", {"beta": 0.8, "linear_features": SIZE}), ("RLeaky", {"beta": 0.9, "all_to_all": False, "V": -0.7}),
])
def test_a_subtraction_at_once_goes_by_the_membrane_that_is_left(kind: str, options: dict[str, Any],
                                                                 tmp_path: Path) -> None:
    """Membranes above twice the threshold, where snnTorch takes it off in step after step and gives it back: the
    reference, `clock` and the graph written as ONNX and read back, against the module."""
    module = _net(getattr(snntorch, kind)(**options, reset_mechanism="subtract", reset_delay=False, init_hidden=True),
                  gain=8.0)
    raster = three_samples((6,))
    spikes, membranes = _run(module, raster)
    over = membranes > module[-1].threshold.double().numpy()
    assert (over[:, 4:] & over[:, 3:-1] & over[:, 2:-2] & over[:, 1:-3]).sum() > 30, "above it for several steps"
    assert over.mean() < 0.9 and ((spikes == 0) & over).sum() > 10, "above it without a spike"
    graph = from_torch(module, dt=DT)
    node = graph.nodes["1"]
    assert isinstance(node, nodes.StepNeuron) and node.late == "above"
    assert graph.metadata["import.check"] == "faithful on its grid"
    scale = max(1.0, float(np.abs(membranes).max()))
    ours = simulate_step(graph, raster)
    np.testing.assert_array_equal(ours.spikes["1"], spikes)
    np.testing.assert_allclose(ours.voltage["1"], membranes, rtol=0, atol=1e-12 * scale)
    result = spikec.compile(graph, target="clock").run(raster, probes={"1.v": None})
    expected = spikec.Events.from_dense(spikes, DT)
    np.testing.assert_array_equal(result.spikes["1"].indices, expected.indices)
    np.testing.assert_allclose(result.spikes["1"].times, expected.times, rtol=1e-12)
    np.testing.assert_allclose(result.probes["1.v"], membranes, rtol=0, atol=1e-12 * scale)
    spikec.to_onnx(graph, tmp_path / "net.onnx")
    again = simulate_step(spikec.from_onnx(tmp_path / "net.onnx"), raster)
    np.testing.assert_array_equal(again.spikes["1"], spikes)


@pytest.mark.parametrize("reset", ["subtract", "zero", "none"])
@pytest.mark.parametrize("factors", [
    {"alpha": 0.9, "beta": 0.8}, {"alpha": 0.5, "beta": 0.4, "threshold": 0.3},
    {"alpha": PER_NEURON, "beta": PER_NEURON - 0.2, "threshold": torch.linspace(0.2, 1.0, SIZE)},
    {"alpha": 1.0, "beta": 0.6}, {"alpha": 0.7, "beta": 0.0},
    {"alpha": 0.9, "beta": 0.8, "threshold": torch.linspace(-0.3, 0.2, SIZE)},
])
def test_alpha(reset: str, factors: dict[str, Any]) -> None:
    module = _net(snntorch.Alpha(**factors, reset_mechanism=reset, init_hidden=True))
    graph = from_torch(module, dt=DT)
    assert isinstance(graph.nodes["1"], nodes.StepNeuron)
    _assert_same(module, graph, three_samples((6,)))


@pytest.mark.parametrize(("circuit", "reset"), [
    ({"beta": 0.9}, "subtract"), ({"beta": 0.9}, "none"), ({"beta": 0.7, "R": 2.0}, "zero"),
    ({"beta": 0.8, "C": 3.0}, "subtract"), ({"R": 5.1, "C": 2.0}, "zero"), ({"R": 5.1, "C": 2.0}, "none"),
    ({"R": 10.0, "C": 0.5, "time_step": 0.1, "threshold": 0.4}, "zero"), ({"R": 3, "C": 1}, "subtract"),
    ({"R": 0.8, "C": 1.0, "time_step": 1.2}, "subtract"), ({"beta": 0.9, "threshold": -0.2}, "subtract"),
])
def test_lapicque(circuit: dict[str, Any], reset: str) -> None:
    module = _net(snntorch.Lapicque(**circuit, reset_mechanism=reset, init_hidden=True))
    graph = from_torch(module, dt=DT)
    _assert_same(module, graph, three_samples((6,)))
    if reset == "none" or circuit.get("threshold", 1.0) < 0:
        return
    node = graph.nodes["1"]
    resistance, capacity, step = (getattr(module[1], each).item() for each in ("R", "C", "time_step"))
    assert isinstance(node, nodes.LIF)
    assert graph.discretization.integrator == "euler"
    np.testing.assert_allclose(node.tau, DT * resistance * capacity / step, rtol=1e-6)
    np.testing.assert_allclose(node.r, DT * resistance, rtol=1e-6)


@pytest.mark.parametrize("kind", ["Leaky", "RLeaky", "Synaptic", "RSynaptic"])
def test_what_lif_and_cubalif_can_say_they_say(kind: str) -> None:
    graph = from_torch(_net(getattr(snntorch, kind)(**_options(kind, "each"))), dt=DT)
    assert type(graph.nodes["1"]) is (nodes.CubaLIF if "Synaptic" in kind else nodes.LIF)
    assert graph.discretization == Discretization(DT, integrator="decay", reset="next")


RECURRENCES: dict[str, dict[str, Any]] = {
    "dense": {"linear_features": SIZE}, "one": {"all_to_all": False, "V": -0.4},
    "each": {"all_to_all": False, "V": torch.linspace(-1, 1, SIZE)},
    "fixed": {"linear_features": SIZE, "learn_recurrent": False},
}


@pytest.mark.parametrize("kind", ["RLeaky", "RSynaptic"])
@pytest.mark.parametrize(("recurrence", "reset"), [*((each, "subtract") for each in RECURRENCES), ("dense", "zero")])
def test_recurrences(kind: str, reset: str, recurrence: str) -> None:
    factors = {"beta": 0.8} if kind == "RLeaky" else {"beta": 0.8, "alpha": 0.4}
    options = factors | RECURRENCES[recurrence] | {"reset_mechanism": reset, "init_hidden": True}
    module = _net(getattr(snntorch, kind)(**options))
    _assert_same(module, from_torch(module, dt=DT), three_samples((6,)))


@pytest.mark.parametrize("kind", ["RLeaky", "RSynaptic"])
def test_convolutional_recurrence(kind: str) -> None:
    factors = {"beta": 0.8} if kind == "RLeaky" else {"beta": 0.8, "alpha": 0.4}
    cells = getattr(snntorch, kind)(**factors, conv2d_channels=3, kernel_size=(3, 1), threshold=0.5, init_hidden=True)
    module = _doubled(nn.Sequential(nn.Conv2d(2, 3, 3), cells))
    _assert_same(module, from_torch(module, dt=DT, input_shape=(2, 5, 6)), three_samples((2, 5, 6)))


@pytest.mark.parametrize(("kind", "delayed"), [
    ("Leaky", True), ("Leaky", False), ("Synaptic", True), ("RLeaky", False)])
@pytest.mark.parametrize("factor", [2.5, torch.linspace(-1, 2, SIZE) + 0.1])
def test_graded_spikes_are_scaled_on_their_way_out(kind: str, delayed: bool, factor: Any) -> None:
    options = _options(kind, "one") | {"reset_mechanism": "zero", "reset_delay": delayed}
    cells = getattr(snntorch, kind)(**options)
    cells.graded_spikes_factor = torch.as_tensor(factor)
    module = nn.Sequential(*_net(cells), nn.Linear(SIZE, 4), snntorch.Leaky(0.8, init_hidden=True)).double()
    _doubled(module)
    graph = from_torch(module, dt=DT)
    np.testing.assert_array_equal(graph.nodes["1.graded"].scale, np.broadcast_to(np.float64(np.float32(factor)), SIZE))
    raster = three_samples((6,))
    spikes, membranes = _run(module, raster)
    ours = simulate_step(graph, raster)
    np.testing.assert_array_equal(ours.spikes["3"], spikes)
    np.testing.assert_allclose(ours.voltage["3"], membranes, rtol=0, atol=1e-9)
    assert 0 < spikes.mean() < 1


def test_two_layers_of_different_reset_delay() -> None:
    module = _doubled(nn.Sequential(
        nn.Linear(6, 8), snntorch.Leaky(0.9, threshold=0.3, init_hidden=True), nn.Linear(8, 4),
        snntorch.Synaptic(0.6, 0.8, threshold=0.3, reset_mechanism="zero", reset_delay=False, init_hidden=True)))
    graph = from_torch(module, dt=DT)
    grids = [graph.nodes[name].grid or graph.discretization for name in ("1", "3")]
    assert [grid.reset for grid in grids] == ["next", "same"]
    _assert_same(module, graph, three_samples((6,)))


def test_a_readout_that_never_resets() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(6, SIZE)
            self.cells = snntorch.Alpha(0.9, 0.7, reset_mechanism="none")

        def forward(self, x: Any, exc: Any = None, inh: Any = None, mem: Any = None) -> Any:
            _, exc, inh, mem = self.cells(self.fc(x), exc, inh, mem)
            return mem, exc, inh

    module = _doubled(Net())
    graph = from_torch(module, dt=DT, check=False)
    assert graph.nodes["cells"].v_threshold is None
    raster, states, shown = three_samples((6,)), (None, None, None), []
    with torch.no_grad():
        for step in range(STEPS):
            mem, exc, inh = module(torch.from_numpy(raster[:, step]), *states)
            states = exc, inh, mem
            shown.append(mem)
    ours = simulate_step(graph, raster).voltage["cells"]
    np.testing.assert_allclose(ours, torch.stack(shown, 1).numpy(), rtol=0, atol=1e-9)


def test_a_derived_class_is_what_it_is_derived_from() -> None:
    class Mine(snntorch.Lapicque):
        pass

    module = _net(Mine(beta=0.9, init_hidden=True))
    _assert_same(module, from_torch(module, dt=DT), three_samples((6,), 100))


# ---- what snnTorch can and a graph cannot

def _leaky(**options: Any) -> nn.Module:
    return _net(snntorch.Leaky(**{"beta": 0.9, "init_hidden": True, **options}))


def _changed() -> nn.Module:
    module = _leaky()
    module[1].reset_mechanism = "zero"
    return module


REFUSED: dict[str, tuple[str, Callable[[], nn.Module]]] = {
    "inhibition": ("inhibition", lambda: _leaky(inhibition=True)),
    "quantised states": ("quantised states", lambda: _leaky(state_quant=lambda value: value)),
    "negative threshold": ("negative threshold.*value: -0.5", lambda: _leaky(
        threshold=-0.5, reset_delay=False, reset_mechanism="zero")),
    "changed mechanism": ("changed after the neurons were made.*zero after subtract", _changed),
    "hidden RSynaptic": ("snnTorch itself fails", lambda: _net(snntorch.RSynaptic(
        0.5, 0.6, linear_features=SIZE, reset_delay=False, init_hidden=True))),
}


@pytest.mark.parametrize("fault", REFUSED)
def test_what_a_graph_cannot_say_is_refused(fault: str) -> None:
    message, model = REFUSED[fault]
    with pytest.raises(UnsupportedError, match=f"SC223 at '1': .*{message}"):
        from_torch(model(), dt=DT)


def test_a_setting_without_effect_is_told() -> None:
    """RSynaptic of snnTorch 1.0 resets in the next step whatever `reset_delay` says, where states are passed in."""
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(6, SIZE)
            self.cells = snntorch.RSynaptic(0.5, 0.8, linear_features=SIZE, threshold=0.3, reset_delay=False)

        def forward(self, x: Any, spk: Any, syn: Any, mem: Any) -> Any:
            spk, syn, mem = self.cells(self.fc(x), spk, syn, mem)
            return spk, syn, mem

    module = _doubled(Net())
    with pytest.warns(SpikecWarning, match="SC223 at 'cells': reset_delay=False has no effect"):
        graph = from_torch(module, dt=DT, check=False)
    raster, states, fired = three_samples((6,)), [torch.zeros(3, SIZE, dtype=torch.float64)] * 3, []
    with torch.no_grad():
        for step in range(STEPS):
            states = list(module(torch.from_numpy(raster[:, step]), *states))
            fired.append(states[0])
    ours = simulate_step(graph, raster)
    np.testing.assert_array_equal(ours.spikes["cells"], torch.stack(fired, 1).numpy())
    np.testing.assert_allclose(ours.voltage["cells"][:, -1], states[2].numpy(), rtol=0, atol=1e-9)
