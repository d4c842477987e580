"""SpikingJelly's neurons and layers as graphs, against SpikingJelly itself."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("spikingjelly", reason="SpikingJelly is not installed")

from side_by_side import Array, assert_same, drive, seeded  # noqa: E402
from spikingjelly.activation_based import functional, layer, neuron, surrogate  # noqa: E402
from torch import nn  # noqa: E402

import spikec  # noqa: E402
from spikec.compiler.frontends.pytorch.frontend import from_torch  # noqa: E402
from spikec.ir import nodes  # noqa: E402
from spikec.ir.diagnostics import BadInputError, UnsupportedError  # noqa: E402
from spikec.ir.graph import Graph  # noqa: E402

INPUTS, NEURONS = 6, 12
DT = 1e-3


_seeded = seeded(1)


def _layers(module: nn.Module) -> dict[str, nn.Module]:
    return {name: part for name, part in module.named_modules() if hasattr(part, "neuronal_charge")
            or isinstance(part, (neuron.BaseNode, neuron.ActivationAwareIFNode))}


def _stepped(module: nn.Module, raster: Array) -> tuple[dict[str, Array], dict[str, Array]]:
    """Spikes and membranes of every neuron module, run step by step as SpikingJelly's users do."""
    module = copy.deepcopy(module).eval()
    functional.reset_net(module)
    spikes: dict[str, list[Any]] = {name: [] for name in _layers(module)}
    membranes: dict[str, list[Any]] = {name: [] for name in spikes}

    def record(name: str) -> Callable[..., None]:
        def hook(part: Any, given: Any, returned: Any) -> None:
            spikes[name].append(returned)
            membranes[name].append(part.v)

        return hook

    for name, part in _layers(module).items():
        part.register_forward_hook(record(name))
    with torch.no_grad():
        for step in range(raster.shape[1]):
            module(torch.from_numpy(raster[:, step]))
    spiked, moved = ({name: torch.stack(steps, 1).numpy() for name, steps in seen.items()}
                     for seen in (spikes, membranes))
    return spiked, moved


def _imported(module: nn.Module, shape: tuple[int, ...] = (INPUTS,)) -> Graph:
    graph = from_torch(module, input_shape=shape, dt=DT)
    assert graph.metadata["import.check"] == "faithful on its grid"
    return graph


SPIKING: dict[str, tuple[Callable[[Any], nn.Module], float]] = {
    "IF": (lambda reset: neuron.IFNode(v_reset=reset), 1.0),
    "IF, strong": (lambda reset: neuron.IFNode(v_threshold=0.4, v_reset=reset), 20.0),
    "LIF": (lambda reset: neuron.LIFNode(v_reset=reset), 3.0),
    "LIF, input whole": (lambda reset: neuron.LIFNode(decay_input=False, v_reset=reset, v_threshold=0.6), 1.0),
    "LIF, long": (lambda reset: neuron.LIFNode(tau=70.0, v_reset=reset), 30.0),
    "LIF, long, input whole": (lambda reset: neuron.LIFNode(tau=70.0, decay_input=False, v_reset=reset), 1.0),
    "ParametricLIF": (lambda reset: neuron.ParametricLIFNode(3.3, v_reset=reset), 4.0),
    "ParametricLIF, input whole": (lambda reset: neuron.ParametricLIFNode(
        3.3, decay_input=False, v_reset=reset, surrogate_function=surrogate.ATan()), 1.0),
    "CUBALIF": (lambda reset: neuron.CUBALIFNode(v_reset=reset), 1.0),
    "RAF": (lambda reset: neuron.RAFNode(v_reset=reset), 3.0),
    "ActivationAwareIF": (lambda reset: neuron.ActivationAwareIFNode(
        torch.linspace(0.5, 1.5, NEURONS), torch.linspace(-0.1, 0.1, NEURONS), v_reset=reset, channel_dim=1), 1.0),
}
OTHERS: dict[str, tuple[Callable[[Any], nn.Module], float]] = {
    "HalfThresholdIF": (lambda reset: neuron.HalfThresholdIFNode(v_threshold=1.3), 1.0),
    "SimpleIF": (lambda reset: neuron.SimpleIFNode(v_reset=None), 1.0),
    "SimpleLIF": (lambda reset: neuron.SimpleLIFNode(2.5, True, v_reset=0.2), 4.0),
    "OTTTLIF": (lambda reset: neuron.OTTTLIFNode(), 2.0),
    "SLTTLIF": (lambda reset: neuron.SLTTLIFNode(), 4.0),
    "one threshold of ActivationAwareIF": (lambda reset: neuron.ActivationAwareIFNode(0.7), 1.0),
}


@pytest.mark.parametrize(("case", "reset"), [
    *((case, reset) for case in SPIKING for reset in (0.0, None)), *((case, None) for case in OTHERS)])
def test_neurons_spike_as_in_spikingjelly(case: str, reset: float | None) -> None:
    make, height = {**SPIKING, **OTHERS}[case]
    module = nn.Sequential(layer.Linear(INPUTS, NEURONS), make(reset)).double()
    raster = drive((INPUTS,), height=height)
    spikes, membranes = _stepped(module, raster)
    assert_same(_imported(module), raster, spikes, membranes)


def test_a_threshold_that_is_met_exactly_fires() -> None:
    module = nn.Sequential(nn.Linear(INPUTS, 3, bias=False), neuron.IFNode(v_threshold=2.0)).double()
    nn.init.ones_(module[0].weight)
    graph = _imported(module)
    assert graph.discretization is not None
    assert graph.discretization.fires == "at"
    raster = (drive((INPUTS,)) > 0).astype(float)
    spikes, membranes = _stepped(module, raster)
    assert_same(graph, raster, spikes, membranes)
    assert membranes["1"].max() < 2


def test_a_surrogate_function_that_fires_above_the_threshold_is_seen() -> None:
    class Above(surrogate.Sigmoid):
        def forward(self, x: Any) -> Any:
            return (x > 0).to(x)

    module = nn.Sequential(nn.Linear(INPUTS, 3, bias=False), neuron.IFNode(2.0, surrogate_function=Above())).double()
    nn.init.ones_(module[0].weight)
    graph = _imported(module)
    assert graph.discretization is not None
    assert graph.discretization.fires == "above"
    raster = (drive((INPUTS,)) > 0).astype(float)
    assert_same(graph, raster, *_stepped(module, raster))


class _Convolutional(nn.Module):
    """Layer wrappers, two neuron classes, a branch, and votes."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            layer.Conv2d(2, 4, 3, padding=1), layer.BatchNorm2d(4), neuron.LIFNode(), layer.MaxPool2d(2))
        self.branch = nn.Sequential(layer.Conv2d(4, 4, 3, padding=1, groups=2), layer.AvgPool2d(3, 1, 1))
        self.joint = neuron.IFNode(v_reset=None)
        self.classes = nn.Sequential(layer.Flatten(), layer.Dropout(0.5), layer.Linear(64, 12, bias=False),
                                     neuron.ParametricLIFNode(), layer.VotingLayer(4))
        with torch.no_grad():
            self.features[1].running_mean.uniform_(-0.2, 0.2)
            self.features[1].running_var.uniform_(0.01, 0.3)
            self.classes[2].weight.mul_(4)
        self.out = neuron.IFNode(v_threshold=0.5)

    def forward(self, x: Any) -> Any:
        x = self.features(x)
        return self.out(self.classes(self.joint(x + self.branch(x))))


def test_a_convolutional_model() -> None:
    module = _Convolutional().double().eval()
    raster = drive((2, 8, 8), rate=0.2, steps=60)
    assert_same(_imported(module, (2, 8, 8)), raster, *_stepped(module, raster))


def test_a_delay_is_in_whole_steps() -> None:
    module = nn.Sequential(layer.Delay(3), nn.Linear(INPUTS, NEURONS), neuron.IFNode()).double()
    raster = drive((INPUTS,))
    graph = _imported(module)
    node = graph.nodes["0"]
    assert isinstance(node, nodes.Delay)
    np.testing.assert_allclose(node.delay, 3 * DT)
    assert_same(graph, raster, *_stepped(module, raster))


@pytest.mark.parametrize(("decay_input", "r"), [(True, 1.0 / 4), (False, 1.0)])
def test_the_time_constant_is_that_of_the_decay(decay_input: bool, r: float) -> None:
    module = nn.Sequential(nn.Linear(INPUTS, 3), neuron.LIFNode(tau=4.0, decay_input=decay_input, v_reset=0.3))
    node = _imported(module).nodes["1"]
    assert isinstance(node, nodes.LIF)
    np.testing.assert_allclose(np.exp(-DT / node.tau), 1 - 1 / 4)
    np.testing.assert_allclose(node.r / node.tau, r)  # an impulse of weight w moves the membrane by r w / tau
    np.testing.assert_array_equal(node.v_leak, 0.3)


@pytest.mark.parametrize("cells", [neuron.IFNode(), neuron.LIFNode(), neuron.LIFNode(4.0, decay_input=False)],
                         ids=["IF", "LIF", "LIF, input whole"])
def test_impulses_alone_give_the_same_spikes_in_continuous_time(cells: nn.Module) -> None:
    module = nn.Sequential(nn.Linear(INPUTS, NEURONS, bias=False), cells).double()
    raster = drive((INPUTS,), height=3.0, steps=100)
    spikes, _ = _stepped(module, raster)
    assert spikes["1"].sum() > 50
    event = spikec.compile(_imported(module)).run(raster, dt=DT, duration=100 * DT).spikes["1"]
    for sample, theirs in enumerate(spikes["1"]):
        times, neurons = event.sample(sample)
        ours = np.zeros_like(theirs)
        np.add.at(ours, (np.rint(times / DT).astype(int) - 1, neurons), 1)
        np.testing.assert_array_equal(ours, theirs)


def _refused(module: nn.Module, **options: Any) -> str:
    with pytest.raises((UnsupportedError, BadInputError)) as caught:
        from_torch(module, input_shape=(INPUTS,), **options)
    return str(caught.value)


def test_dt_is_asked_for() -> None:
    assert "SC222 at '1'" in _refused(nn.Sequential(nn.Linear(INPUTS, 3), neuron.IFNode()))


def test_a_smooth_surrogate_function_is_refused() -> None:
    cells = neuron.LIFNode(surrogate_function=surrogate.Sigmoid(spiking=False))
    assert "SC223 at '1'" in _refused(nn.Sequential(nn.Linear(INPUTS, 3), cells), dt=DT)


class _OwnStep(neuron.LIFNode):
    def single_step_functional_forward(self, inputs: Any, states: Any, **kwargs: Any) -> Any:
        (spike,), (v,) = super().single_step_functional_forward(inputs, states)
        return (1 - spike,), (v,)


class _OwnCharge(neuron.SimpleLIFNode):
    def neuronal_charge(self, x: Any) -> None:
        self.v = self.v + x * x


class _OwnName(neuron.LIFNode):
    def extra_repr(self) -> str:
        return "own"


@pytest.mark.parametrize("cells", [
    _OwnStep(), _OwnCharge(2.0, True), neuron.LIAFNode(torch.relu, True), neuron.ILIFNode(), neuron.QIFNode(),
    neuron.KLIFNode(), neuron.TernaryIFNode(), neuron.ComplementaryLIFNode()], ids=lambda cells: type(cells).__name__)
def test_neurons_with_a_step_of_their_own_have_no_converter(cells: nn.Module) -> None:
    said = _refused(nn.Sequential(nn.Linear(INPUTS, 3), cells), dt=DT)
    assert "SC220 at '1'" in said
    assert type(cells).__name__ in said


def test_a_class_that_leaves_the_step_alone_is_known() -> None:
    assert isinstance(_imported(nn.Sequential(nn.Linear(INPUTS, 3), _OwnName())).nodes["1"], nodes.LIF)


# ---- whole sequences, (time, batch, …)


def _whole(module: nn.Module, raster: Array) -> tuple[dict[str, Array], dict[str, Array]]:
    """Spikes and membranes of every neuron module of a model that takes (time, batch, …)."""
    module = copy.deepcopy(module).eval()
    functional.reset_net(module)
    spikes: dict[str, list[Any]] = {}
    membranes: dict[str, list[Any]] = {}

    def record(name: str) -> Callable[..., None]:
        def hook(part: Any, given: Any, returned: Any) -> None:
            spikes.setdefault(name, []).append(returned)
            membranes.setdefault(name, []).append(part.v_seq if part.step_mode == "m" else part.v)

        return hook

    for name, part in _layers(module).items():
        part.store_v_seq = part.step_mode == "m"
        part.register_forward_hook(record(name))
    with torch.no_grad():
        module(torch.from_numpy(raster.swapaxes(0, 1)))
    found = [{name: (each[0] if len(each) == 1 else torch.stack(each)).swapaxes(0, 1).numpy()
              for name, each in seen.items()} for seen in (spikes, membranes)]
    return found[0], found[1]


def _assert_sequence(module: nn.Module, shape: tuple[int, ...], raster: Array) -> None:
    module = module.double().eval()
    graph = from_torch(module, sample=torch.zeros(3, 2, *shape, dtype=torch.float64), dt=DT)
    assert graph.metadata["import.check"] == "faithful on its grid"
    assert_same(graph, raster, *_whole(module, raster))


def test_a_convolutional_model_of_sequences() -> None:
    module = _Convolutional()
    functional.set_step_mode(module, "m")
    _assert_sequence(module, (2, 8, 8), drive((2, 8, 8), rate=0.2, steps=60))


@pytest.mark.parametrize("case", SPIKING)
def test_neurons_over_sequences(case: str) -> None:
    make, height = SPIKING[case]
    module = nn.Sequential(layer.Linear(INPUTS, NEURONS), make(-0.4))
    functional.set_step_mode(module, "m")
    _assert_sequence(module, (INPUTS,), drive((INPUTS,), height=height))


def test_containers_over_sequences() -> None:
    module = nn.Sequential(
        layer.SeqToANNContainer(nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4)),
        layer.MultiStepContainer(neuron.IFNode(), nn.AvgPool2d(2), neuron.LIFNode(decay_input=False)),
        layer.StepModeContainer(False, "m", nn.Flatten(1), nn.Linear(64, 9)),
        layer.StepModeContainer(True, "m", neuron.ParametricLIFNode(v_threshold=0.1), nn.Linear(9, 5)),
        neuron.IFNode(v_threshold=0.3, step_mode="m")).eval()
    _assert_sequence(module, (2, 8, 8), drive((2, 8, 8), rate=0.3, height=2.0, steps=100))


@pytest.mark.parametrize("mode", ["s", "m"])
@pytest.mark.parametrize("kind", ["linear", "elementwise"])
def test_containers_that_feed_back(mode: str, kind: str) -> None:
    inner = nn.Sequential(nn.Linear(INPUTS, NEURONS), neuron.LIFNode())
    back: nn.Module = layer.LinearRecurrentContainer(inner, INPUTS, NEURONS, step_mode=mode)
    if kind == "elementwise":
        back = layer.ElementWiseRecurrentContainer(
            nn.Sequential(nn.Linear(INPUTS, INPUTS), neuron.IFNode()), lambda y, x: y + x, step_mode=mode)
    size = INPUTS if kind == "elementwise" else NEURONS
    module = nn.Sequential(back, nn.Linear(size, 5), neuron.IFNode(v_reset=None, step_mode=mode)).double()
    raster = drive((INPUTS,), height=2.0)
    if mode == "m":
        _assert_sequence(module, (INPUTS,), raster)
    else:
        assert_same(_imported(module), raster, *_stepped(module, raster))


def test_a_feedback_that_is_no_sum_is_refused() -> None:
    back = layer.ElementWiseRecurrentContainer(neuron.IFNode(), lambda y, x: x * (1 - y))
    said = _refused(nn.Sequential(nn.Linear(INPUTS, 3), back), dt=DT)
    assert "SC223 at '1'" in said
    assert "element_wise_function" in said
