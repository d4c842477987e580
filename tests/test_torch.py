"""Models of torch.nn and snnTorch as graphs, against the models themselves."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
snntorch = pytest.importorskip("snntorch")

from side_by_side import seeded  # noqa: E402
from torch import nn  # noqa: E402

from spikec.compiler.frontends.pytorch import import_check, registry  # noqa: E402
from spikec.compiler.frontends.pytorch.bias_scaling import scale_biases  # noqa: E402
from spikec.compiler.frontends.pytorch.frontend import from_torch  # noqa: E402
from spikec.ir import nodes  # noqa: E402
from spikec.ir.diagnostics import BadInputError, Diagnostics, SpikecWarning, UnsupportedError  # noqa: E402
from spikec.ir.graph import Discretization, Graph  # noqa: E402
from spikec.ir.step import simulate_step  # noqa: E402

DT = 1e-3


_seeded = seeded(1)


def _raster(shape: tuple[int, ...], steps: int = 30, batch: int = 3, rate: float = 0.5) -> np.ndarray[Any, Any]:
    return (np.random.default_rng(5).random((batch, steps, *shape)) < rate).astype(np.float64)


def _doubled(cells: Callable[[], Any]) -> Any:
    """A module's neurons with a surrogate function that keeps float64."""
    module = cells()
    for part in module.modules():
        if hasattr(part, "spike_grad"):
            part.spike_grad = lambda value: (value > 0).to(value.dtype)
    return module.double().eval()


def _run_hidden(module: nn.Module, raster: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The spikes of a model with init_hidden, step by step, as a user would run it."""
    with torch.no_grad():
        steps = [module(torch.from_numpy(raster[:, step])) for step in range(raster.shape[1])]
    return torch.stack([each[0] if isinstance(each, tuple) else each for each in steps], 1).numpy()


def _assert_same(module: nn.Module, graph: Graph, raster: np.ndarray[Any, Any]) -> None:
    theirs = _run_hidden(copy.deepcopy(module), raster)
    ours = simulate_step(graph, raster).spikes["output"]
    np.testing.assert_array_equal(ours, theirs)
    assert 0 < theirs.mean() < 1
    assert graph.metadata["import.check"] == "faithful on its grid"


# ---- neurons, against a loop over the module written here

KINDS = [
    (kind, reset, delayed, dense)
    for kind, reset, delayed, dense in itertools.product(
        ["Leaky", "Synaptic", "RLeaky", "RSynaptic"], ["subtract", "zero"], [True, False], [True, False])
    if (kind != "RSynaptic" or delayed)  # snnTorch 1.0 fails there
    and (dense or kind.startswith("R"))
]


@pytest.mark.parametrize(("kind", "reset", "delayed", "dense"), KINDS)
def test_neurons_spike_as_in_snntorch(kind: str, reset: str, delayed: bool, dense: bool) -> None:
    options: dict[str, Any] = {"beta": torch.rand(7) * 0.5 + 0.45, "threshold": torch.rand(7) * 0.5 + 0.2,
                               "reset_mechanism": reset, "reset_delay": delayed, "init_hidden": True}
    if "Synaptic" in kind:
        options["alpha"] = torch.rand(7) * 0.5 + 0.3
    if kind.startswith("R"):
        options |= {"linear_features": 7} if dense else {"all_to_all": False, "V": torch.rand(7) - 0.5}
    module = _doubled(lambda: nn.Sequential(nn.Linear(9, 7), getattr(snntorch, kind)(**options)))
    graph = from_torch(module, dt=DT)
    assert graph.discretization == Discretization(DT, integrator="decay", reset="next" if delayed else "same")
    _assert_same(module, graph, _raster((9,)))


def test_the_membrane_of_a_synaptic_layer_is_that_of_snntorch() -> None:
    cells = snntorch.Synaptic(alpha=0.8, beta=0.9, threshold=0.6)
    module = _doubled(lambda: nn.Sequential(nn.Linear(5, 4), cells))
    graph = from_torch(module, dt=DT)
    raster = _raster((5,))
    result = simulate_step(graph, raster)
    syn = mem = torch.zeros(3, 4, dtype=torch.float64)
    for step in range(raster.shape[1]):
        spikes, syn, mem = module[1](module[0](torch.from_numpy(raster[:, step])), syn, mem)
        np.testing.assert_array_equal(result.spikes["1"][:, step], spikes.detach().numpy())
        np.testing.assert_allclose(result.voltage["1"][:, step], mem.detach().numpy(), rtol=0, atol=1e-11)
        np.testing.assert_allclose(result.current["1"][:, step], syn.detach().numpy(), rtol=0, atol=1e-11)


def test_a_synaptic_layer_is_a_cubalif_with_its_time_constants() -> None:
    module = nn.Sequential(nn.Linear(2, 3, bias=False), snntorch.Synaptic(alpha=0.8, beta=0.9, init_hidden=True))
    node = from_torch(module, dt=DT).nodes["1"]
    assert isinstance(node, nodes.CubaLIF)
    np.testing.assert_allclose(node.tau_syn, -DT / np.log(0.8), rtol=1e-6)
    np.testing.assert_allclose(node.tau_mem, -DT / np.log(0.9), rtol=1e-6)
    np.testing.assert_array_equal(node.w_in, node.tau_syn)
    assert node.reset == "subtract"


def test_a_neuron_without_leak_is_an_integrator() -> None:
    module = _doubled(lambda: nn.Sequential(nn.Linear(4, 3), snntorch.Leaky(beta=1.0, init_hidden=True)))
    graph = from_torch(module, dt=DT)
    assert isinstance(graph.nodes["1"], nodes.IF)
    _assert_same(module, graph, _raster((4,)))


# ---- whole models

class Explicit(nn.Module):
    """States go in and out, as in snnTorch's tutorials; the second layer is a readout."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(6, 5), nn.Linear(5, 2)
        self.lif1 = snntorch.RSynaptic(alpha=0.9, beta=0.8, linear_features=5)
        self.lif2 = snntorch.Leaky(beta=0.95, reset_mechanism="none")

    def forward(self, x: Any, spk1: Any, syn1: Any, mem1: Any, mem2: Any) -> Any:
        spk1, syn1, mem1 = self.lif1(self.fc1(x), spk1, syn1, mem1)
        _, mem2 = self.lif2(self.fc2(spk1), mem2)
        return mem2, (spk1, syn1, mem1)


def test_explicit_states_and_a_readout() -> None:
    module = _doubled(Explicit)
    graph = from_torch(module, dt=DT)
    assert set(graph.edges) == {
        ("input", "fc1"), ("fc1", "lif1"), ("lif1", "lif1.recurrent"), ("lif1.recurrent", "lif1"), ("lif1", "fc2"),
        ("fc2", "lif2"), ("lif2", "output_0"), ("lif1", "output_1")}
    assert isinstance(graph.nodes["lif2"], nodes.LI)
    assert graph.metadata["import.check"] == "faithful on its grid"
    raster = _raster((6,), rate=0.9)
    result = simulate_step(graph, raster)
    zeros = [torch.zeros(3, size, dtype=torch.float64) for size in (5, 5, 5, 2)]
    spk1, syn1, mem1, mem2 = zeros
    for step in range(raster.shape[1]):
        mem2, (spk1, syn1, mem1) = module(torch.from_numpy(raster[:, step]), spk1, syn1, mem1, mem2)
        np.testing.assert_array_equal(result.spikes["output_1"][:, step], spk1.detach().numpy())
        np.testing.assert_allclose(result.voltage["output_0"][:, step], mem2.detach().numpy(), rtol=0, atol=1e-10)
    assert result.spikes["output_1"].any()


class Convolutional(nn.Module):
    """Convolutions, BatchNorm, pools, a skip connection, and one time step in the style of a loop."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.norm = nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.lif1, self.pool = snntorch.Leaky(0.8, threshold=0.4), nn.AvgPool2d(2)
        self.conv2 = nn.Conv2d(4, 4, 3, padding="same", groups=2)
        self.lif2 = snntorch.RLeaky(0.7, threshold=0.3, conv2d_channels=4, kernel_size=3)
        self.drop, self.fc = nn.Dropout(0.5), nn.Linear(4 * 4 * 3, 6)
        self.lif3 = snntorch.Synaptic(alpha=0.5, beta=0.9, threshold=0.5)

    def forward(self, x: Any) -> Any:
        mem1, (spk2, mem2), (syn3, mem3) = self.lif1.reset_mem(), self.lif2.reset_mem(), self.lif3.reset_mem()
        recorded = []
        for _ in range(1):
            spk1, mem1 = self.lif1(self.norm(self.conv1(x)), mem1)
            pooled = self.pool(spk1)
            spk2, mem2 = self.lif2(self.conv2(pooled) + pooled * 0.5, spk2, mem2)
            spk3, syn3, mem3 = self.lif3(self.fc(self.drop(spk2.view(x.size(0), -1))), syn3, mem3)
            recorded.append(spk3)
        return torch.stack(recorded, dim=0)


@pytest.mark.parametrize("given", [{"input_shape": (2, 8, 6)}, {"sample": torch.zeros(5, 2, 8, 6)}])
def test_a_convolutional_model(given: dict[str, Any]) -> None:
    module = Convolutional()
    with torch.no_grad():
        module.norm(torch.randn(50, 4, 8, 6) * 2 + 1)  # statistics that matter
        for name in ("weight", "bias"):
            getattr(module.norm, name).copy_(torch.rand(4) + 0.5)
    module.eval()
    with pytest.warns(SpikecWarning, match=r"SC226 at 'lif1'.*zeros at every call.*lif1, lif2, lif3"):
        graph = from_torch(module, dt=DT, **given)
    assert graph.metadata["import.check"] == "faithful on its grid"
    assert graph.metadata["import.check.fired"] > 0.5
    assert graph.nodes["input"].shape == (2, 8, 6)
    kinds = {name: type(node).__name__ for name, node in graph.nodes.items()}
    assert kinds == {"input": "Input", "conv1": "Conv2d", "norm": "BatchNorm", "lif1": "LIF", "pool": "AvgPool2d",
                     "conv2": "Conv2d", "mul": "Scale", "lif2": "LIF", "lif2.recurrent": "Conv2d", "view": "Flatten",
                     "fc": "Affine", "lif3": "CubaLIF", "output": "Output"}


def test_layers_of_one_dimension_and_functions() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.norm, self.fc = nn.Conv1d(2, 3, 5, stride=2), nn.BatchNorm1d(3), nn.Linear(12, 4)
            self.same = nn.Identity()
            self.a, self.b = (snntorch.Leaky(0.8, threshold=0.3, init_hidden=True) for _ in range(2))

        def forward(self, x: Any, scale: float = 0.5, mem: Any = None) -> Any:
            assert mem is None
            spikes = self.a(self.norm(self.conv(x)))
            flat = torch.flatten(self.same(spikes), 1)
            return {"label": self.b(self.fc(torch.add(flat, flat)) / 2 * scale + 0)}

    graph = from_torch(Net().eval(), dt=DT, input_shape=(2, 11))
    assert graph.outputs == ("label",)
    assert graph.metadata["import.check"] == "faithful on its grid"


def test_inner_modules_and_shared_layers() -> None:
    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(4, 4)
            self.lif = snntorch.Leaky(0.9, init_hidden=True, threshold=0.4)

        def forward(self, x: Any) -> Any:
            return self.lif(self.fc(x)) + x

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.blocks = nn.Sequential(Block(), Block())
            self.head, self.out = nn.Linear(4, 2), snntorch.Leaky(0.9, init_hidden=True, output=True)

        def forward(self, x: Any) -> Any:
            return self.out(self.head(self.blocks(x)))

    graph = from_torch(Net(), dt=DT)
    assert ("blocks.0.lif", "blocks.1.fc") in graph.edges
    assert ("input", "blocks.1.fc") in graph.edges
    assert ("input", "head") in graph.edges
    assert graph.metadata["import.check"] == "faithful on its grid"


def test_two_inputs_and_two_outputs() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.left, self.right = nn.Linear(3, 2), nn.Linear(4, 2)
            self.a, self.b = (snntorch.Leaky(0.9, init_hidden=True, threshold=0.3) for _ in range(2))

        def forward(self, x: Any, y: Any) -> Any:
            first = self.a(self.left(x) + self.right(y))
            return first, self.b(self.right(y))

    graph = from_torch(Net(), dt=DT)
    assert {name: graph.nodes[name].shape for name in graph.inputs} == {"input": (3,), "y": (4,)}
    assert graph.outputs == ("output_0", "output_1")
    assert graph.metadata["import.check"] == "faithful on its grid"
    assert {("right", "a"), ("right", "b")} <= set(graph.edges), "computed once, as it is the same"


def test_a_model_that_ran_is_left_as_it_was() -> None:
    module = nn.Sequential(nn.Linear(3, 2), snntorch.Leaky(0.9, init_hidden=True), nn.Dropout(0.9)).train()
    for _ in range(3):
        module(torch.rand(4, 3))  # leaves a state in the neurons that carries a gradient
    before = {name: value.clone() for name, value in module.state_dict().items()}
    memory = module[1].mem
    with pytest.warns(SpikecWarning, match="SC228 at '2'"):
        graph = from_torch(module, dt=DT)
    assert module.training
    assert module[1].mem is memory
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    with torch.no_grad():
        module[0].weight += 1
    assert not np.array_equal(graph.nodes["0"].weight, module[0].weight.detach().numpy())


def test_without_neurons_there_is_no_grid() -> None:
    graph = from_torch(nn.Linear(3, 2))
    assert graph.discretization is None
    np.testing.assert_array_equal(graph.nodes["0"].bias, np.float64(graph.nodes["0"].bias))


# ---- the check after the import

def test_the_check_finds_a_wrong_converter(monkeypatch: pytest.MonkeyPatch) -> None:
    """A converter that reads beta as if it were 0.05 larger is caught, and told by neuron and step."""
    from spikec.compiler.frontends.pytorch import decaying

    right = decaying.leaky_from_beta
    monkeypatch.setattr(decaying, "leaky_from_beta",
                        lambda beta, *rest, **more: right(beta + 0.05, *rest, **more))
    module = nn.Sequential(nn.Linear(6, 5), snntorch.Leaky(0.8, init_hidden=True, threshold=0.3))
    with pytest.warns(SpikecWarning, match=r"SC224 at '1'.*neuron \(\d,\), step \d+: [01] where the source has [01]"):
        graph = from_torch(module, dt=DT)
    assert graph.metadata["import.check"] == "differs"


def test_the_check_finds_a_wrong_readout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(import_check, "simulate_step", lambda graph, raster: simulate_step(graph.with_nodes(
        {"lif2": nodes.LI(shape=(2,), tau=0.02, r=0.02)}), raster))
    with pytest.warns(SpikecWarning, match="SC224 at 'lif2'"):
        assert from_torch(Explicit(), dt=DT).metadata["import.check"] == "differs"


def test_a_tie_at_threshold_is_no_difference() -> None:
    """Ten spikes of weight 0.1 reach the threshold of 1 but for rounding."""
    module = nn.Sequential(nn.Linear(1, 1, bias=False), snntorch.Leaky(1.0, init_hidden=True))
    with torch.no_grad():
        module[0].weight.fill_(0.1)
    assert from_torch(module, dt=DT).metadata["import.check"] == "faithful on its grid"


def test_a_subtraction_that_leaves_too_much_is_compared_too() -> None:
    """Drive so strong that the membrane stays above threshold after the reset."""
    module = _doubled(lambda: nn.Sequential(nn.Linear(3, 4), snntorch.Leaky(0.9, init_hidden=True, threshold=0.05)))
    graph = from_torch(module, dt=DT)
    assert graph.metadata["import.check"] == "faithful on its grid"


def test_snntorch_asks_for_twice_the_threshold_after_a_subtraction_at_once() -> None:
    cells = snntorch.Leaky(beta=1.0, reset_delay=False)
    spikes, mem = cells(torch.tensor([3.0]), torch.zeros(1))
    assert (spikes.item(), mem.item()) == (1.0, 2.0)
    spikes, mem = cells(torch.tensor([-0.5]), mem)
    assert (spikes.item(), mem.item()) == (0.0, 1.5), "above the threshold of 1, and no spike"
    module = nn.Sequential(nn.Linear(1, 1, bias=False), snntorch.Leaky(beta=1.0, reset_delay=False, init_hidden=True))
    with torch.no_grad():
        module[0].weight.fill_(1.0)
    ours = simulate_step(from_torch(module, dt=DT), np.array([3.0, -0.5]).reshape(1, 2, 1))
    assert ours.spikes["1"].ravel().tolist() == [1.0, 0.0]
    assert ours.voltage["1"].ravel().tolist() == [2.0, 1.5]


# ---- what cannot be said

class _Swish(nn.Module):
    def forward(self, x: Any) -> Any:
        return torch.sigmoid(x) * x


class _Loop(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc, self.lif = nn.Linear(3, 2), snntorch.Leaky(0.9)

    def forward(self, x: Any) -> Any:
        mem = self.lif.reset_mem()
        for _ in range(3):
            spikes, mem = self.lif(self.fc(x), mem)
        return spikes


class _Branch(nn.Module):
    def forward(self, x: Any) -> Any:
        return x if x.sum() > 0 else -x


class _TupleUsed(_Loop):
    def forward(self, x: Any) -> Any:
        return self.fc(self.lif(self.fc(x)))


class _Picks(_Loop):
    def forward(self, x: Any) -> Any:
        return self.fc(x)[:, 0]


class _ReturnsSum(_Loop):
    def forward(self, x: Any) -> Any:
        return self.fc(x) + self.lif(self.fc(x))[0]


class _ReturnsNothing(_Loop):
    def forward(self, x: Any) -> Any:
        self.fc(x)


def _leaky(**options: Any) -> nn.Module:
    return nn.Sequential(nn.Linear(3, 2), snntorch.Leaky(**{"beta": 0.9, "init_hidden": True, **options}))


def _nan() -> nn.Module:
    module = _leaky()
    with torch.no_grad():
        module[0].weight[0, 0] = float("nan")
    return module


FAULTS: dict[str, tuple[type[Exception], str, Callable[[], nn.Module]]] = {
    "unknown module": (UnsupportedError, r"SC220 at '1'.*GELU.*frontends\.register", lambda: nn.Sequential(
        nn.Linear(3, 2), nn.GELU())),
    "unknown neuron": (UnsupportedError, "SC220.*slstm.SLSTM", lambda: nn.Sequential(
        nn.Linear(3, 2), snntorch.SLSTM(2, 2, init_hidden=True))),
    "unknown function": (UnsupportedError, "SC226.*'sigmoid'", _Swish),
    "branch on values": (UnsupportedError, "SC221.*_Branch", _Branch),
    "tuple as signal": (UnsupportedError, "SC226 at 'fc'.*tuple", _TupleUsed),
    "picked channels": (UnsupportedError, "SC226.*picked", _Picks),
    "bias for neurons and an output": (UnsupportedError, "SC223.*a bias reaches neurons of different decay factors",
                                       _ReturnsSum),
    "nothing returned": (UnsupportedError, "SC226.*returns no spikes", _ReturnsNothing),
    "inhibition": (UnsupportedError, "SC223 at '1'.*inhibition", lambda: _leaky(inhibition=True)),
    "quantised states": (UnsupportedError, "SC223.*quantised", lambda: _leaky(state_quant=lambda value: value)),
    "beta of another size": (BadInputError, "SC201 at '1'.*beta", lambda: _leaky(beta=torch.rand(3))),
    "odd padding": (UnsupportedError, "SC223.*zeros", lambda: nn.Conv2d(1, 1, 3, padding=1, padding_mode="circular")),
    "ceil mode": (UnsupportedError, "SC223.*ceil_mode", lambda: nn.AvgPool2d(2, ceil_mode=True)),
    "batch statistics": (UnsupportedError, "SC223.*batch", lambda: nn.BatchNorm2d(1, track_running_stats=False)),
    "batch flattened": (UnsupportedError, "SC226.*batch axis", lambda: nn.Flatten(0)),
    "NaN weight": (BadInputError, "SC104 at '0'", _nan),
}


@pytest.mark.parametrize("case", FAULTS)
@pytest.mark.filterwarnings("ignore:Inhibition")
def test_what_a_graph_cannot_express_is_named(case: str) -> None:
    kind, text, make = FAULTS[case]
    module = make()
    shape = (1, 4, 4) if isinstance(module, (nn.Conv2d, nn.AvgPool2d, nn.BatchNorm2d, nn.Flatten)) else (3,)
    with pytest.raises(kind, match=text) as caught:
        from_torch(module, dt=DT, input_shape=shape)
    assert caught.value.diagnostics


def test_all_unknown_modules_are_named_together() -> None:
    with pytest.raises(UnsupportedError) as caught:
        from_torch(nn.Sequential(nn.Linear(3, 2), nn.Tanh(), nn.GELU()))
    assert [found.node for found in caught.value.diagnostics] == ["1", "2"]


def test_dt_and_shape_are_asked_for() -> None:
    with pytest.raises(BadInputError, match=r"SC222 at '1'.*dt="):
        from_torch(_leaky())
    with pytest.raises(BadInputError, match="dt must be positive"):
        from_torch(_leaky(), dt=-1.0)
    with pytest.raises(BadInputError, match=r"SC225.*input_shape"):
        from_torch(nn.Sequential(nn.Conv2d(1, 1, 3), snntorch.Leaky(0.9, init_hidden=True)), dt=DT)


def test_a_returned_membrane_of_spiking_neurons_is_a_warning() -> None:
    class Net(_Loop):
        def forward(self, x: Any, mem: Any) -> Any:
            return self.lif(self.fc(x), mem)[1]

    with pytest.warns(SpikecWarning, match=r"SC226 at 'lif'.*Probe 'lif\.v'"):
        assert from_torch(Net(), dt=DT).edges[-1] == ("lif", "output")


def test_other_frameworks_plug_in(monkeypatch: pytest.MonkeyPatch) -> None:
    class Doubling(nn.Module):
        def forward(self, x: Any) -> Any:
            return 2 * x

    class Derived(Doubling):
        pass

    class Overriding(Doubling):
        def forward(self, x: Any) -> Any:
            return 3 * x

    def convert(conversion: Any, module: Any, name: str, arguments: Any) -> Any:
        source = conversion.signal(arguments[0], name)
        return conversion.add(name, nodes.Scale(scale=np.full(source.shape, 2.0)), source)

    monkeypatch.setattr(registry, "_registered", {})
    registry.register(registry.qualified_name(Doubling), registry.Leaf(convert))
    assert from_torch(nn.Sequential(Derived(), nn.Linear(2, 1)), input_shape=(2,)).nodes["0"].scale[0] == 2
    graph = from_torch(nn.Sequential(Overriding(), nn.Linear(2, 1)), input_shape=(2,))
    assert "0" not in graph.nodes  # looked into instead: its forward is another
    assert graph.nodes["mul"].scale[0] == 3


# ---- biases as currents

def _biased(*decays: float) -> tuple[Graph, dict[str, Any]]:
    parts: dict[str, nodes.Node] = {
        "in": nodes.Input(shape=(2,)), "fc": nodes.Affine(weight=np.ones((2, 2)), bias=np.array([1.0, 2.0]))}
    edges = [("in", "fc")]
    scales = {}
    for number, decay in enumerate(decays):
        parts |= {f"n{number}": nodes.LIF(shape=(2,), tau=1e-2), f"o{number}": nodes.Output(shape=(2,))}
        edges += [("fc", f"n{number}"), (f"n{number}", f"o{number}")]
        scales[f"n{number}"] = np.asarray(decay) * np.ones(2)
    return Graph(parts, tuple(edges)), scales


def test_a_bias_takes_the_factor_of_its_neurons() -> None:
    faults = Diagnostics()
    graph, _ = _biased(1.0)
    scaled = scale_biases(graph, {"n0": np.array([3.0, 5.0])}, faults)
    np.testing.assert_array_equal(scaled.nodes["fc"].bias, [3.0, 10.0])
    graph, scales = _biased(4.0, 4.0)
    np.testing.assert_array_equal(scale_biases(graph, scales, faults).nodes["fc"].bias, [4.0, 8.0])
    assert not faults.found


def test_a_bias_for_neurons_of_different_factors_is_refused() -> None:
    faults = Diagnostics()
    scale_biases(*_biased(4.0, 5.0), faults)
    assert [found.code for found in faults.found] == ["SC223"]


def test_biases_with_a_decay_of_each_neuron_behind_a_convolution() -> None:
    """A factor for each channel can be followed, one for each pixel cannot."""
    def make(shape: tuple[int, ...]) -> nn.Module:
        return nn.Sequential(nn.Conv2d(1, 3, 3), snntorch.Leaky(torch.rand(shape) * 0.5 + 0.4, init_hidden=True))

    assert from_torch(make((3, 1, 1)), dt=DT, input_shape=(1, 5, 4)).metadata["import.check"] == "faithful on its grid"
    with pytest.raises(UnsupportedError, match=r"SC223 at '0'.*decay factors"):
        from_torch(make((3, 3, 2)), dt=DT, input_shape=(1, 5, 4))


@pytest.mark.parametrize(
    ("code", "arguments"),
    [
        ("SC232", {"module": "abc"}),
        ("SC225", {"sample": "x"}),
        ("SC225", {"input_shape": "x"}),
        ("SC222", {"dt": "1 ms"}),
    ],
)
def test_wrong_arguments_are_diagnosed(code: str, arguments: dict[str, Any]) -> None:
    with pytest.raises(BadInputError) as caught:
        from_torch(**{"module": nn.Linear(3, 2), "dt": DT, **arguments})
    assert [found.code for found in caught.value.diagnostics] == [code]
