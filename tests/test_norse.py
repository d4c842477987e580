"""Norse's neurons as graphs, against Norse itself."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
norse = pytest.importorskip("norse.torch", reason="Norse is not installed")

from side_by_side import Array, assert_same, drive, seeded  # noqa: E402
from torch import nn  # noqa: E402

from spikec.compiler.frontends.pytorch.frontend import from_torch  # noqa: E402
from spikec.ir import nodes  # noqa: E402
from spikec.ir.diagnostics import BadInputError, UnsupportedError  # noqa: E402
from spikec.ir.graph import Graph  # noqa: E402

INPUTS, NEURONS = 6, 12


_seeded = seeded(1)


def _tensor(value: Any) -> Any:
    return torch.as_tensor(value, dtype=torch.float32)


def _each(low: float, high: float) -> Any:
    return torch.linspace(low, high, NEURONS)


def _stepped(module: nn.Module, raster: Array) -> tuple[Array, Array]:
    """Spikes and membranes of a layer of weights before a cell, run step by step as Norse's users do."""
    weights, cell = copy.deepcopy(module)
    spikes, membranes, state = [], [], None
    with torch.no_grad():
        for step in range(raster.shape[1]):
            given, state = cell(weights(torch.from_numpy(raster[:, step])), state)
            spikes.append(given)
            membranes.append(getattr(state, "lif", state).v)
    return torch.stack(spikes, 1).numpy(), torch.stack(membranes, 1).numpy()


def _imported(module: nn.Module, **options: Any) -> Graph:
    graph = from_torch(module, input_shape=(INPUTS,), **options)
    assert graph.metadata["import.check"] == "faithful on its grid"
    return graph


LIF, BOX, IAF, LI, REFRAC, LSNN = (norse.LIFParameters, norse.LIFBoxParameters, norse.IAFParameters,
                                   norse.LIParameters, norse.LIFRefracParameters, norse.LSNNParameters)
VOLTAGES: dict[str, Any] = {"v_leak": _tensor(0.2), "v_th": _tensor(0.7), "v_reset": _tensor(-0.3)}
SPIKING: dict[str, tuple[Callable[[], nn.Module], float]] = {
    "LIF": (lambda: norse.LIFCell(), 3.0),
    "LIF, voltages": (lambda: norse.LIFCell(LIF(**VOLTAGES)), 2.0),
    "LIF, leak above threshold": (lambda: norse.LIFCell(LIF(v_leak=_tensor(1.2))), 1.0),
    "LIF, each its own": (lambda: norse.LIFCell(LIF(
        tau_mem_inv=_each(40, 300), tau_syn_inv=_each(900, 80), v_th=_each(0.5, 2), v_reset=_each(-1, 0.4))), 3.0),
    "LIF, double precision": (lambda: norse.LIFCell(LIF(tau_mem_inv=torch.tensor(70.0, dtype=torch.float64)),
                                                    dt=5e-4), 4.0),
    "LIF, plain numbers": (lambda: norse.LIFCell(LIF(tau_mem_inv=30.0, v_th=0.4)), 3.0),
    "LIF, strong": (lambda: norse.LIFCell(), 40.0),
    "LIF, heaviside": (lambda: norse.LIFCell(LIF(method="heaviside")), 3.0),
    "LIFBox": (lambda: norse.LIFBoxCell(), 10.0),
    "LIFBox, voltages": (lambda: norse.LIFBoxCell(BOX(**VOLTAGES)), 6.0),
    "LIFBox, subtraction": (lambda: norse.LIFBoxCell(BOX(reset_method=norse.reset_subtract)), 12.0),
    "LIFBox, each its own": (lambda: norse.LIFBoxCell(BOX(tau_mem_inv=_each(50, 900), v_th=_each(0.2, 1))), 4.0),
    "IAF": (lambda: norse.IAFCell(), 1.0),
    "IAF, voltages": (lambda: norse.IAFCell(IAF(v_th=_tensor(0.7), v_reset=_tensor(-0.3))), 1.0),
    "LIFRefrac": (lambda: norse.LIFRefracCell(), 5.0),
    "LIFRefrac, voltages": (lambda: norse.LIFRefracCell(REFRAC(LIF(**VOLTAGES), rho_reset=_tensor(2.5))), 5.0),
    "LSNN": (lambda: norse.LSNNCell(), 5.0),
    "LSNN, voltages": (lambda: norse.LSNNCell(LSNN(**VOLTAGES, tau_adapt_inv=_tensor(20.0), beta=_tensor(0.3))), 4.0),
    "LIF, recurrent": (lambda: norse.LIFRecurrentCell(NEURONS, 9), 3.0),
    "LIF, recurrent to itself": (lambda: norse.LIFRecurrentCell(NEURONS, 9, LIF(**VOLTAGES), autapses=True), 2.0),
    "LIFRefrac, recurrent": (lambda: norse.LIFRefracRecurrentCell(NEURONS, 9), 3.0),
    "LSNN, recurrent": (lambda: norse.LSNNRecurrentCell(
        NEURONS, 9, LSNN(tau_adapt_inv=_tensor(30.0), beta=_tensor(0.4))), 3.0),
}


@pytest.mark.parametrize("case", SPIKING)
def test_cells_spike_as_in_norse(case: str) -> None:
    make, height = SPIKING[case]
    module = nn.Sequential(nn.Linear(INPUTS, NEURONS), make()).double()
    raster = drive((INPUTS,), height=height)
    spikes, membrane = _stepped(module, raster)
    assert_same(_imported(module), raster, {"1": spikes}, {"1": membrane})


READOUTS: dict[str, Callable[[], nn.Module]] = {
    "LI": lambda: norse.LICell(),
    "LI, leak": lambda: norse.LICell(LI(v_leak=_tensor(0.2), tau_mem_inv=_tensor(33.0), tau_syn_inv=_tensor(700.0))),
    "LIBox": lambda: norse.LIBoxCell(norse.LIBoxParameters(v_leak=_tensor(-0.4))),
    "LILinear": lambda: norse.LILinearCell(NEURONS, 5, LI(v_leak=_tensor(0.1))),
}


@pytest.mark.parametrize("case", READOUTS)
def test_readouts_show_the_membrane_of_norse(case: str) -> None:
    module = nn.Sequential(nn.Linear(INPUTS, NEURONS), READOUTS[case]()).double()
    raster = drive((INPUTS,))
    _, membrane = _stepped(module, raster)
    assert_same(_imported(module), raster, {}, {"1": membrane})


def test_the_time_constants_are_those_of_norse() -> None:
    node = _imported(nn.Sequential(nn.Linear(INPUTS, 3), norse.LIFCell())).nodes["1"]
    assert isinstance(node, nodes.CubaLIF)
    np.testing.assert_allclose(node.tau_mem, 10e-3, rtol=1e-7)
    np.testing.assert_allclose(node.tau_syn, 5e-3, rtol=1e-7)
    np.testing.assert_array_equal(node.w_in, node.tau_syn)
    np.testing.assert_array_equal(node.r, 1)


def test_the_refractory_period_is_in_whole_steps() -> None:
    cell = norse.LIFRefracCell(REFRAC(rho_reset=_tensor(2.5)))
    node = _imported(nn.Sequential(nn.Linear(INPUTS, 3), cell)).nodes["1"]
    np.testing.assert_allclose(node.refractory, 3e-3)


def test_the_step_is_that_of_the_modules() -> None:
    grid = _imported(nn.Sequential(nn.Linear(INPUTS, 3), norse.LIFCell(dt=5e-4))).discretization
    assert grid is not None
    assert (grid.dt, grid.integrator, grid.spike, grid.reset, grid.fires) == (5e-4, "semi", "delta", "same", "above")


def _refused(module: nn.Module, **options: Any) -> str:
    with pytest.raises((UnsupportedError, BadInputError)) as caught:
        from_torch(module, input_shape=(INPUTS,), **options)
    return str(caught.value)


def test_another_dt_than_that_of_the_modules_is_refused() -> None:
    said = _refused(nn.Sequential(nn.Linear(INPUTS, 3), norse.LIFCell()), dt=1e-4)
    assert "SC222 at '1'" in said
    assert "value: 0.001; limit: 0.0001" in said


def test_a_reset_of_the_users_own_is_refused() -> None:
    def halve(spike: Any, voltage: Any, reset: Any, threshold: Any) -> Any:
        return (1 - spike) * voltage + spike * voltage / 2

    said = _refused(nn.Sequential(nn.Linear(INPUTS, 3), norse.LIFBoxCell(BOX(reset_method=halve))))
    assert "SC223 at '1'" in said
    assert "reset_method=halve" in said


class _Started(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weights, self.cell = nn.Linear(INPUTS, 3), norse.LIFCell()

    def forward(self, sequence: Any) -> Any:
        state, spikes = norse.LIFFeedForwardState(torch.full((3,), 0.5), torch.zeros(3)), []
        for x in sequence:
            x, state = self.cell(self.weights(x), state)
            spikes.append(x)
        return torch.stack(spikes)


def test_a_start_that_is_handed_in_is_refused() -> None:
    with pytest.raises(UnsupportedError) as caught:
        from_torch(_Started(), sample=torch.zeros(4, 2, INPUTS))
    assert "SC223 at 'cell'" in str(caught.value)
    assert "start from a state" in str(caught.value)


@pytest.mark.parametrize("cell", ["LIFExCell", "LIFAdExCell", "CobaLIFCell"])
def test_neurons_whose_step_is_not_linear_have_no_converter(cell: str) -> None:
    size = (NEURONS, 3) if cell == "CobaLIFCell" else ()
    said = _refused(nn.Sequential(nn.Linear(INPUTS, NEURONS), getattr(norse, cell)(*size)))
    assert "SC220 at '1'" in said
    assert cell in said


def test_a_time_constant_below_zero_is_named() -> None:
    said = _refused(nn.Sequential(nn.Linear(INPUTS, 3), norse.LIFCell(LIF(tau_mem_inv=_tensor(-100.0)))))
    assert "SC103 at '1'" in said
    assert "tau_mem_inv = -100" in said


# ---- whole sequences, (time, batch, …)


def _recorded(module: nn.Module, raster: Array) -> tuple[dict[str, Array], dict[str, Array]]:
    """Spikes and membranes of every layer of neurons of a model that takes (time, batch, …)."""
    module = copy.deepcopy(module).eval()
    spikes: dict[str, list[Any]] = {}
    membranes: dict[str, list[Any]] = {}

    def record(name: str) -> Callable[..., None]:
        def hook(part: Any, given: Any, returned: Any) -> None:
            spikes.setdefault(name, []).append(returned[0])
            membranes.setdefault(name, []).append(getattr(returned[1], "lif", returned[1]).v)

        return hook

    for name, part in module.named_modules():
        if hasattr(part, "state_fallback"):
            part.record_states = True
            part.register_forward_hook(record(name))
    with torch.no_grad():
        module(torch.from_numpy(raster.swapaxes(0, 1)))
    # One call for all steps, or one a step.
    found = [{name: (each[0] if len(each) == 1 else torch.stack(each)).swapaxes(0, 1).numpy()
              for name, each in seen.items()} for seen in (spikes, membranes)]
    return found[0], found[1]


def _assert_sequence(module: nn.Module, shape: tuple[int, ...], raster: Array, readouts: tuple[str, ...] = ()) -> None:
    graph = from_torch(module, sample=torch.zeros(3, 2, *shape, dtype=torch.float64))
    assert graph.metadata["import.check"] == "faithful on its grid"
    spikes, membranes = _recorded(module, raster)
    assert_same(graph, raster, {name: each for name, each in spikes.items() if name not in readouts}, membranes)


def test_sequences_of_every_class() -> None:
    module = norse.SequentialState(
        nn.Linear(INPUTS, NEURONS), norse.LIF(LIF(v_leak=_tensor(0.1))), nn.Linear(NEURONS, NEURONS, bias=False),
        norse.LIFRecurrent(NEURONS, 9, LIF(v_th=_tensor(0.3))), nn.Linear(9, 9), norse.IAF(), nn.Linear(9, 7),
        norse.LIFRefracRecurrent(7, 7), nn.Linear(7, 5), norse.LI()).double()
    _assert_sequence(module, (INPUTS,), drive((INPUTS,), height=3.0), readouts=("9",))


def test_sequences_of_adaptive_neurons() -> None:
    p = LSNN(tau_adapt_inv=_tensor(80.0), beta=_tensor(0.4), v_th=_tensor(0.2))
    module = norse.SequentialState(nn.Linear(INPUTS, NEURONS), norse.LSNN(p), norse.LSNNRecurrent(NEURONS, 9, p))
    _assert_sequence(module.double(), (INPUTS,), drive((INPUTS,), height=3.0))


def test_lifted_layers_and_cells() -> None:
    module = norse.SequentialState(
        norse.Lift(nn.Conv2d(2, 4, 3, padding=1)), norse.Lift(norse.LIFBoxCell(BOX(v_th=_tensor(0.1)))),
        norse.Lift(nn.AvgPool2d(2)), norse.LConv2d(4, 4, 3), norse.LIF(LIF(v_th=_tensor(0.2))),
        norse.Lift(nn.Flatten(1)), nn.Linear(16, 5), norse.LIF(LIF(v_th=_tensor(0.1)))).double()
    _assert_sequence(module, (2, 8, 8), drive((2, 8, 8), rate=0.3, height=2.0, steps=150))


class _Looped(nn.Module):
    """Cells in a loop over time, as Norse's users write it."""

    def __init__(self) -> None:
        super().__init__()
        self.cells = norse.SequentialState(nn.Linear(INPUTS, NEURONS), norse.LIFCell(), nn.Linear(NEURONS, 5))
        self.out = norse.LIFRecurrentCell(5, 5)

    def forward(self, sequence: Any) -> Any:
        inner, outer, spikes = None, None, []
        for x in sequence:
            x, inner = self.cells(x, inner)
            x, outer = self.out(x, outer)
            spikes.append(x)
        return torch.stack(spikes)


def test_cells_in_a_loop_over_time() -> None:
    _assert_sequence(_Looped().double(), (INPUTS,), drive((INPUTS,), height=3.0))


def test_a_sequential_that_is_fed_back() -> None:
    module = norse.RecurrentSequential(nn.Linear(INPUTS, NEURONS), norse.LIFCell(), nn.Linear(NEURONS, INPUTS),
                                       norse.LIFBoxCell(BOX(v_th=_tensor(0.1)))).double()
    raster = drive((INPUTS,), height=3.0)
    graph = from_torch(module, input_shape=(INPUTS,))
    assert graph.metadata["import.check"] == "faithful on its grid"
    spikes, state = [], None
    module = copy.deepcopy(module)
    with torch.no_grad():
        for step in range(raster.shape[1]):
            given, state = module(torch.from_numpy(raster[:, step]), state)
            spikes.append(given)
    assert_same(graph, raster, {"output": torch.stack(spikes, 1).numpy()}, {})
