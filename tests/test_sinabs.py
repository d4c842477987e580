"""sinabs' neurons as graphs, against sinabs itself: every spike of 1,000 random steps, and the membrane."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
sinabs = pytest.importorskip("sinabs", reason="sinabs is not installed")

import sinabs.activation as sina  # noqa: E402
import sinabs.layers as sl  # noqa: E402
from side_by_side import Array, behind_weights, seeded, three_samples  # noqa: E402
from sinabs.layers.alif import ALIFSqueeze  # noqa: E402
from torch import nn  # noqa: E402

from spikec.compiler.frontends.pytorch.frontend import from_torch  # noqa: E402
from spikec.ir import nodes  # noqa: E402
from spikec.ir.diagnostics import BadInputError, UnsupportedError  # noqa: E402
from spikec.ir.graph import Discretization, Graph  # noqa: E402
from spikec.ir.step import simulate_step  # noqa: E402

DT = 1e-3
BATCH = 3
INPUTS, SIZE = 6, 5


_seeded = seeded(2)


def _widened(module: nn.Module) -> nn.Module:
    """In float64, with what comes in made float64 again at every layer: sinabs gives its spikes in float32."""
    def widen(_: nn.Module, inputs: tuple[Any, ...]) -> Any:
        return tuple(each.double() if torch.is_tensor(each) else each for each in inputs)

    for part in module.modules():
        part.register_forward_pre_hook(widen)
    return module.double().eval()


def _run(module: nn.Module, raster: Array) -> tuple[Array, Array]:
    """Spikes and membranes of the last module; `record_states` shows the membrane of another moment where neurons are
    recurrent or adaptive."""
    membranes, last = [], module[-1]
    reset, low = last.reset_fn, -np.inf if last.min_v_mem is None else float(last.min_v_mem)

    def record(*given: Any) -> Any:
        state = reset(*given)
        membranes.append(state["v_mem"].double().clamp(min=low))
        return state

    last.reset_fn = record
    with torch.no_grad():
        if hasattr(last, "squeeze_forward"):
            spikes = module(torch.from_numpy(raster).flatten(0, 1)).unflatten(0, raster.shape[:2])
        else:
            spikes = module(torch.from_numpy(raster))
    return spikes.double().numpy(), torch.stack(membranes, 1).numpy() if membranes else spikes.double().numpy()


def _assert_same(module: nn.Sequential, graph: Graph, raster: Array, atol: float = 1e-9) -> Array:
    spikes, membranes = _run(_widened(module), raster)
    ours, last = simulate_step(graph, raster), str(len(module) - 1)
    np.testing.assert_array_equal(ours.spikes[last], spikes)
    np.testing.assert_allclose(ours.voltage[last], membranes, rtol=0, atol=atol * max(1.0, np.abs(membranes).max()))
    assert 0.001 < (spikes > 0).mean() < 0.999
    return spikes


def _imported(module: nn.Sequential, **options: Any) -> Graph:
    folded = any(hasattr(part, "squeeze_forward") for part in module.modules())
    shape = options.pop("shape", (INPUTS,))
    sample = torch.zeros(BATCH * 5, *shape) if folded else torch.zeros(2, 5, *shape)
    return from_torch(module, sample=sample, dt=DT, **options)


EACH = torch.linspace(2.0, 30.0, SIZE)
CELLS: dict[str, Callable[..., nn.Module]] = {
    "IAF": lambda **options: sl.IAF(**options),
    "IAF with a current": lambda **options: sl.IAF(tau_syn=5.0, **options),
    "LIF": lambda **options: sl.LIF(tau_mem=10.0, **options),
    "LIF, input not normed": lambda **options: sl.LIF(tau_mem=10.0, norm_input=False, **options),
    "LIF of many time constants": lambda **options: sl.LIF(tau_mem=EACH, norm_input=False, **options),
    "LIF with a current": lambda **options: sl.LIF(tau_mem=12.0, tau_syn=4.0, norm_input=False, **options),
    "LIF with many currents": lambda **options: sl.LIF(tau_mem=EACH, tau_syn=EACH.flip(0), **options),
    "LIF of trained factors": lambda **options: sl.LIF(tau_mem=8.0, tau_syn=3.0, train_alphas=True, **options),
    "LIF without leak": lambda **options: sl.LIF(tau_mem=float("inf"), norm_input=False, **options),
}
RULES: dict[str, dict[str, Any]] = {
    "many": {}, "one": {"spike_fn": sina.SingleSpike}, "at most one": {"spike_fn": sina.MaxSpike(1)},
    "any number": {"spike_fn": sina.MaxSpike()},
    "many, to zero": {"reset_fn": sina.MembraneReset()},
    "one, to zero": {"spike_fn": sina.SingleSpike, "reset_fn": sina.MembraneReset()},
    "half taken": {"reset_fn": sina.MembraneSubtract(subtract_value=0.5)},
    "clipped": {"min_v_mem": -0.25}, "one, clipped": {"spike_fn": sina.SingleSpike, "min_v_mem": 0.0},
    "other thresholds": {"spike_threshold": torch.tensor([0.25, 0.5, 1.0, 1.5, 2.0])},
}


PAIRS = [(cells, rule) for cells in CELLS for rule in RULES
         if rule in ("many", "one, to zero") or cells in ("IAF", "LIF with many currents")]


@pytest.mark.parametrize(("cells", "rule"), PAIRS)
def test_every_neuron_and_every_rule(cells: str, rule: str) -> None:
    module = behind_weights(CELLS[cells](**RULES[rule]), 6.0 if "LIF" in cells else 2.0)
    spikes = _assert_same(module, _imported(module), three_samples())
    assert spikes.max() > 1 or "one" in rule


def test_what_nodes_of_continuous_time_can_say_they_say() -> None:
    graph = _imported(behind_weights(sl.LIF(tau_mem=10.0, min_v_mem=-1.0)))
    node = graph.nodes["1"]
    assert type(node) is nodes.LIF
    np.testing.assert_allclose(node.tau, 10 * DT, rtol=1e-12)
    np.testing.assert_array_equal(node.v_min, -1)
    assert graph.discretization == Discretization(DT, integrator="decay", fires="at", spikes="many")
    assert type(_imported(behind_weights(sl.LIF(tau_mem=10.0, tau_syn=5.0))).nodes["1"]) is nodes.CubaLIF
    assert type(_imported(behind_weights(sl.IAF())).nodes["1"]) is nodes.IF
    assert type(_imported(behind_weights(sl.IAF(reset_fn=sina.MembraneReset()))).nodes["1"]) is nodes.StepNeuron
    assert type(_imported(behind_weights(sl.ExpLeak(tau_mem=10.0))).nodes["1"]) is nodes.LI


# ---- recurrent kinds

def _connection(bias: bool, shape: tuple[int, ...] = (SIZE,)) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(SIZE, SIZE, bias=bias), nn.Unflatten(1, shape))


RECURRENT: dict[str, Callable[[nn.Module], nn.Module]] = {
    "IAF": lambda back: sl.IAFRecurrent(rec_connect=back, spike_fn=sina.SingleSpike, min_v_mem=-1.0),
    "IAF with a current": lambda back: sl.IAFRecurrent(rec_connect=back, tau_syn=3.0, min_v_mem=-1.0),
    "LIF": lambda back: sl.LIFRecurrent(tau_mem=EACH, rec_connect=back),
    "LIF with a current": lambda back: sl.LIFRecurrent(tau_mem=5.0, tau_syn=3.0, rec_connect=back),
    "ALIF": lambda back: sl.ALIFRecurrent(tau_mem=EACH, tau_adapt=EACH * 3, rec_connect=back),
    "ALIF with a current": lambda back: sl.ALIFRecurrent(
        tau_mem=EACH, tau_adapt=EACH * 3, tau_syn=4.0, rec_connect=back, norm_input=False),
}


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("kind", RECURRENT)
def test_recurrent_neurons(kind: str, bias: bool) -> None:
    """A bias in the connection is there from the second step on."""
    module = behind_weights(RECURRENT[kind](_connection(bias)), 8.0)
    graph = _imported(module)
    _assert_same(module, graph, three_samples())
    assert ("1.rec_connect.1", "1") in graph.edges


def test_a_convolution_is_a_recurrent_connection() -> None:
    back = nn.Sequential(nn.Conv2d(2, 3, 3, padding=1), nn.Dropout(0.5), nn.Conv2d(3, 2, 1))
    with torch.no_grad():
        back[0].weight.mul_(0.3)
    module = nn.Sequential(sl.LIFRecurrent(tau_mem=5.0, norm_input=False, rec_connect=back)).eval()
    _assert_same(module, _imported(module, shape=(2, 4, 3)), three_samples((2, 4, 3)))


# ---- adaptive thresholds

ADAPTIVE: dict[str, dict[str, Any]] = {
    "as it comes": {}, "not normed": {"norm_input": False}, "with a current": {"tau_syn": 4.0},
    "with a current, not normed": {"tau_syn": 3.0, "norm_input": False},
    "trained": {"tau_syn": 5.0, "train_alphas": True, "adapt_scale": 0.5},
    "to zero": {"reset_fn": sina.MembraneReset()}, "fixed step": {"reset_fn": sina.MembraneSubtract(0.5)},
    "at most one": {"spike_fn": sina.MaxSpike(1), "adapt_scale": torch.linspace(0, 3, SIZE)},
    "clipped": {"min_v_mem": -0.5}, "thresholds": {"spike_threshold": torch.tensor([0.25, 0.5, 1.0, 1.5, 2.0])},
}


@pytest.mark.parametrize("setting", ADAPTIVE)
def test_adaptive_neurons(setting: str) -> None:
    """Time constants by neuron: with one for all, sinabs keeps the threshold's trace in float32."""
    module = behind_weights(sl.ALIF(tau_mem=EACH, tau_adapt=EACH.flip(0) * 4, **ADAPTIVE[setting]), 12.0)
    assert isinstance(_imported(module).nodes["1"], nodes.StepNeuron)
    _assert_same(module, _imported(module), three_samples())


def test_adaptive_neurons_of_one_time_constant_keep_their_trace_in_float32() -> None:
    module = behind_weights(sl.ALIF(tau_mem=10.0, tau_adapt=40.0), 12.0)
    _assert_same(module, _imported(module, check=False), three_samples(), atol=1e-5)


# ---- readouts, layers, networks

def test_readouts() -> None:
    for cells in (sl.ExpLeak(tau_mem=8.0), sl.ExpLeak(tau_mem=EACH, norm_input=True),
                  sl.LIF(tau_mem=8.0, tau_syn=3.0, spike_fn=None)):
        module = behind_weights(cells)
        graph, raster = _imported(module), three_samples()
        shown, _ = _run(_widened(module), raster)
        np.testing.assert_allclose(simulate_step(graph, raster).voltage["output"], shown, rtol=0, atol=1e-9)


def test_squeezed_layers_pools_and_crops() -> None:
    module = nn.Sequential(
        sl.Cropping2dLayer(((1, 2), (0, 1))), nn.Conv2d(2, 4, 3, padding=1),
        sl.IAFSqueeze(batch_size=BATCH, min_v_mem=-1.0), sl.SumPool2d(2), nn.Conv2d(4, 3, 2),
        sl.LIFSqueeze(tau_mem=6.0, batch_size=BATCH), nn.Flatten(), nn.Linear(3 * 1 * 2, SIZE),
        ALIFSqueeze(tau_mem=EACH, tau_adapt=EACH, batch_size=BATCH))
    with torch.no_grad():
        for part in (module[1], module[4], module[7]):
            part.weight.mul_(6)
    graph = _imported(module, shape=(2, 7, 7))
    _assert_same(module, graph, three_samples((2, 7, 7), 300))


def test_layers_that_fold_batch_and_time() -> None:
    for module in (
        nn.Sequential(sl.FlattenTime(), nn.Conv2d(1, 3, 3), sl.UnflattenTime(2), sl.IAF(), sl.FlattenTime(),
                      sl.SumPool2d(2), nn.Flatten(), nn.Linear(12, 4), sl.UnflattenTime(2), sl.LIF(tau_mem=5.0)),
        nn.Sequential(sl.Repeat(nn.Conv2d(1, 3, 3)), sl.IAF(), sl.Repeat(nn.Sequential(nn.AvgPool2d(2), nn.Flatten())),
                      nn.Linear(12, 4), sl.LIF(tau_mem=5.0)),
    ):
        graph = from_torch(module, sample=torch.rand(2, 5, 1, 6, 6), dt=DT)
        assert graph.metadata["import.check"] == "faithful on its grid"


def test_branches_are_merged() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.left, self.right, self.merge = nn.Linear(INPUTS, SIZE), nn.Linear(INPUTS, SIZE), sl.Merge()
            self.cells = sl.LIF(tau_mem=5.0)

        def forward(self, x: Any) -> Any:
            return self.cells(self.merge(self.left(x), self.right(x)))

    graph = from_torch(Net(), sample=torch.rand(2, 5, INPUTS), dt=DT)
    assert {("left", "cells"), ("right", "cells")} <= set(graph.edges)
    assert graph.metadata["import.check"] == "faithful on its grid"


def test_neurons_that_ran_are_taken_without_their_state() -> None:
    module = behind_weights(sl.IAF())
    with torch.no_grad():
        module(10 * torch.rand(7, 20, INPUTS))
    assert _imported(module).metadata["import.check"] == "faithful on its grid"


def test_a_converted_network() -> None:
    analog = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(12, SIZE), nn.ReLU())
    for part in (analog[0], analog[4]):
        with torch.no_grad():
            part.weight.mul_(4)
    network = sinabs.from_torch.from_model(analog, input_shape=(1, 6, 6), batch_size=BATCH)
    whole = from_torch(network, sample=torch.zeros(BATCH * 5, 1, 6, 6), dt=DT)
    assert whole.metadata["import.check"] == "faithful on its grid"
    network.reset_states()  # it ran once, to find its shapes
    module = network.spiking_model
    _assert_same(module, _imported(module, shape=(1, 6, 6)), three_samples((1, 6, 6)))


# ---- what sinabs can and a graph cannot

class _Own(sina.SingleSpike):
    pass


REFUSED: dict[str, tuple[str, Callable[[], nn.Module]]] = {
    "a cap": (r"one spike or as many.*MaxSpike\(3\)", lambda: sl.IAF(spike_fn=sina.MaxSpike(3))),
    "a reset value": ("adds the reset value in every step.*0.25", lambda: sl.LIF(
        tau_mem=5.0, reset_fn=sina.MembraneReset(0.25))),
    "own reset": ("this reset has no counterpart", lambda: sl.LIF(tau_mem=5.0, reset_fn=lambda *given: given[1])),
    "own spikes": ("this way to spike has no counterpart", lambda: sl.LIF(tau_mem=5.0, spike_fn=_Own)),
    "clipped readout": ("readout that is shown before", lambda: sl.ExpLeak(tau_mem=5.0, min_v_mem=0.0)),
    "many of a moving threshold": ("threshold that moves", lambda: sl.ALIF(
        tau_mem=5.0, tau_adapt=5.0, spike_fn=sina.MultiSpike)),
    "no threshold": ("needs a positive one", lambda: sl.IAF(spike_threshold=torch.tensor(0.0))),
    "unknown connection": ("made of Linear, Conv1d, Conv2d", lambda: sl.IAFRecurrent(
        rec_connect=nn.Sequential(nn.Linear(SIZE, SIZE), nn.ReLU()))),
}


@pytest.mark.parametrize("fault", REFUSED)
def test_what_a_graph_cannot_say_is_refused(fault: str) -> None:
    message, cells = REFUSED[fault]
    with pytest.raises(UnsupportedError, match=f"SC223 at '1.*: .*{message}"):
        _imported(behind_weights(cells()))


def test_the_length_of_a_step_is_asked_for() -> None:
    for cells in (sl.IAF(), sl.ALIF(tau_mem=5.0, tau_adapt=5.0)):
        with pytest.raises(BadInputError, match=r"SC222 at '1'.*dt="):
            from_torch(behind_weights(cells), sample=torch.zeros(2, 5, INPUTS))
