"""ANN to SNN conversion: rates against activations within their bound, latencies to rounding, and what is refused."""

from __future__ import annotations

import dataclasses
import warnings
from itertools import pairwise
from math import prod
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from torch import nn

import spikec
from spikec.compiler.ann import convert_ann
from spikec.compiler.ann_conversion import LayerError
from spikec.ir import nodes as ir
from spikec.ir.activations import activations, walk
from spikec.ir.derived import Derived
from spikec.ir.diagnostics import BadInputError, SpikecWarning, UnsupportedError
from spikec.ir.graph import Graph
from spikec.ir.shapes import infer_shapes
from spikec.ir.stateless import through
from spikec.ir.step import simulate_step
from spikec.passes.calibration import activation_scales
from spikec.passes.convert_ann import ConvertToRates, RectifyOutputs
from spikec.passes.convert_ann_latency import ConvertToLatencies
from spikec.passes.latency_plan import plan_latencies
from spikec.passes.manager import PassManager
from spikec.passes.maxima import MaximaAsRectifiers


def chain(*layers: tuple[str, ir.Node], shape: tuple[int, ...], skips: tuple[tuple[str, str], ...] = ()) -> Graph:
    """in -> layers -> out, and edges besides."""
    nodes = {"in": ir.Input(shape=shape), **dict(layers)}
    names = list(nodes)
    edges = [*pairwise(names), *skips]
    size = infer_shapes(Graph(nodes, tuple(edges)))[0][names[-1]].output
    return Graph({**nodes, "out": ir.Output(shape=size)}, (*edges, (names[-1], "out")))


def random_net(seed: int, images: bool, maxima: bool = True) -> Graph:
    """Dense layers, or convolutions with BatchNorm, pools and a skip connection, then a dense one."""
    rng = np.random.default_rng(seed)

    def weight(*shape: int) -> np.ndarray:
        return rng.normal(0.1, 1.0, shape) / np.sqrt(prod(shape[1:]))

    if not images:
        return chain(
            ("fc1", ir.Affine(weight=weight(9, 5), bias=rng.normal(0, 0.2, 9))), ("r1", ir.Relu()),
            ("fc2", ir.Affine(weight=weight(9, 9), bias=rng.normal(0, 0.2, 9))), ("r2", ir.Relu()),
            ("fc3", ir.Linear(weight=weight(4, 9))), shape=(5,), skips=(("r1", "r2"),))
    pool: ir.Node = ir.AvgPool2d(kernel_size=(2, 2), stride=(2, 2))
    if maxima and rng.random() < 0.5:
        pool = ir.MaxPool2d(kernel_size=(3, 2), stride=(2, 2), padding=(1, 0))
    return chain(
        ("conv1", ir.Conv2d(weight=weight(4, 2, 3, 3), padding=(1, 1))),
        ("norm1", ir.BatchNorm(mean=rng.normal(0, 0.3, 4), variance=rng.uniform(0.5, 2, 4),
                               gamma=rng.uniform(0.5, 1.5, 4), beta=rng.normal(0, 0.2, 4))),
        ("r1", ir.Relu()), ("pool", pool),
        ("norm2", ir.BatchNorm(mean=rng.normal(0, 0.3, 4), variance=rng.uniform(0.5, 2, 4),
                               gamma=rng.uniform(0.5, 1.5, 4), beta=rng.normal(0, 0.2, 4))),
        ("conv2", ir.Conv2d(weight=weight(4, 2, 3, 3), bias=rng.normal(0, 0.2, 4), padding=(1, 1), groups=2)),
        ("r2", ir.Relu()), ("flat", ir.Flatten()), ("fc", ir.Affine(weight=weight(4, 36), bias=rng.normal(0, 0.2, 4))),
        shape=(2, 6, 6), skips=(("pool", "r2"),))


def samples(graph: Graph, count: int, seed: int = 0, low: float = 0.0) -> np.ndarray:
    node = graph.nodes["in"]
    assert isinstance(node, ir.Input)
    return np.random.default_rng(seed).uniform(low, 1.0, (count, *node.shape))


nets = st.builds(random_net, st.integers(0, 10_000), st.booleans())


# The reference without spikes

def test_activations_are_those_of_torch() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 3, 3),
        nn.ReLU6(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(12, 5)).double().eval()
    with torch.no_grad():
        net[1].running_mean.normal_()
        net[1].running_var.uniform_(0.5, 2)
        net[4].weight *= 20
    value = {name: tensor.detach().numpy() for name, tensor in net.state_dict().items()}
    graph = chain(
        ("c1", ir.Conv2d(weight=value["0.weight"], padding=(1, 1))),
        ("bn", ir.BatchNorm(mean=value["1.running_mean"], variance=value["1.running_var"], gamma=value["1.weight"],
                            beta=value["1.bias"])),
        ("r1", ir.Relu()), ("mp", ir.MaxPool2d(kernel_size=(2, 2), stride=(2, 2))),
        ("c2", ir.Conv2d(weight=value["4.weight"], bias=value["4.bias"])), ("r2", ir.Relu(ceiling=6.0)),
        ("ap", ir.AvgPool2d(kernel_size=(2, 2), stride=(2, 2))), ("fl", ir.Flatten()),
        ("fc", ir.Affine(weight=value["8.weight"], bias=value["8.bias"])), shape=(2, 12, 12))
    data = torch.randn(7, 2, 12, 12, dtype=torch.float64)
    found = activations(graph, data, ["r2", "out"])
    assert found["out"] == pytest.approx(net(data).detach().numpy(), abs=1e-12)
    assert found["r2"] == pytest.approx(net[:6](data).detach().numpy(), abs=1e-12)
    assert (found["r2"] == 6).any()


def test_data_and_nodes_that_are_not_there_are_told() -> None:
    graph = random_net(0, False)
    for data, match in ((np.zeros((3, 4)), r"SC403 at 'in'.*\(3, 4\)"), (np.full((2, 5), np.nan), "finite"),
                        ({"x": np.zeros((2, 5))}, r"SC403 at 'x'(.|\n)*SC403 at 'in'"), ("text", "numbers")):
        with pytest.raises(BadInputError, match=match):
            activations(graph, data)
    with pytest.raises(BadInputError, match=r"SC403 at 'nobody'"):
        activations(graph, samples(graph, 2), ["nobody"])


# Maxima

@settings(max_examples=25)
@given(rows=st.integers(1, 3), columns=st.integers(1, 3), stride=st.integers(1, 2), padded=st.booleans(),
       seed=st.integers(0, 999))
def test_a_maximum_is_rewritten_exactly(rows: int, columns: int, stride: int, padded: bool, seed: int) -> None:
    rng = np.random.default_rng(seed)
    pool = ir.MaxPool2d(kernel_size=(rows, columns), stride=(stride, stride),
                        padding=(rows // 2, columns // 2) if padded else (0, 0))
    behind = rng.random() < 0.5
    layers = (("pool", pool), ("relu", ir.Relu())) if behind else (("relu", ir.Relu()), ("pool", pool))
    graph = chain(*layers, shape=(2, 5, 6))
    data = rng.normal(size=(4, 2, 5, 6))
    rewritten = PassManager((MaximaAsRectifiers(),)).run(graph)
    assert not any(isinstance(node, ir.MaxPool2d) for node in rewritten.nodes.values())
    assert activations(rewritten, data)["out"] == pytest.approx(activations(graph, data)["out"], abs=1e-12)


def test_a_maximum_over_a_padded_border_of_negative_values_is_refused() -> None:
    pool = ir.MaxPool2d(kernel_size=(3, 3), stride=(2, 2), padding=(1, 1))
    graph = chain(("one", pool), ("bn", ir.BatchNorm(mean=np.zeros(2), variance=np.ones(2), gamma=np.ones(2),
                                                     beta=np.ones(2))), ("two", pool), shape=(2, 9, 9))
    with pytest.raises(UnsupportedError, match=r"SC310 at 'one'(.|\n)*SC310 at 'two'"):
        convert_ann(graph, np.zeros((2, 2, 9, 9)))


# Rates

def bounds(conversion: Any, prepared: Graph) -> dict[str, np.ndarray]:
    """How many times `scale / steps` the spikes of a layer may differ from its activation, in units of the source.

    What a layer is fed has differed from a constant current, summed over time, by d at most: |W| times the bounds of
    what feeds it. Then its spikes are worth T a within 3 d + m: a membrane ends at most d below zero, and at most
    2 d above the threshold, since the mean of what it is fed is below that.
    """
    found: dict[str, np.ndarray] = {}
    shapes = infer_shapes(prepared)[0]
    for name, _ in walk(prepared, {"in": np.zeros((1, *prepared.nodes["in"].shape))}):
        node = prepared.nodes[name]
        if isinstance(node, ir.Input):
            found[name] = np.zeros(shapes[name].output)
            continue
        arriving = sum(found[source] for source in prepared.sources[name])
        if isinstance(node, ir.Relu):
            found[name] = 3 * arriving + np.broadcast_to(conversion.scales[name], shapes[name].output)
        else:
            changes = {key: np.abs(value) for key, value in ir.params(node).items() if key in ("weight", "scale")}
            if isinstance(node, ir.BatchNorm):
                changes = {"gamma": np.abs(node.gamma)}
            found[name] = through(dataclasses.replace(node, **changes), arriving[None])[0]
    return found


@settings(max_examples=8, phases=[Phase.generate])
@given(graph=nets, steps=st.sampled_from([64, 256, 1024]))
def test_rates_approach_activations_within_the_bound(graph: Graph, steps: int) -> None:
    data = samples(graph, 4)
    conversion = quiet(graph, data, steps=steps, percentile=100)
    prepared = PassManager((MaximaAsRectifiers(),)).run(graph)
    limit = bounds(conversion, prepared)
    said, _ = conversion.layers(data)
    for name, activation in walk(prepared, data):
        if name in said:
            assert (np.abs(said[name] - activation) <= limit[name] / steps * (1 + 1e-3) + 1e-5).all(), name


@settings(max_examples=6, phases=[Phase.generate])
@given(graph=nets, low=st.sampled_from([0.0, -1.0]))
def test_the_first_layer_is_within_half_a_spike(graph: Graph, low: float) -> None:
    data = samples(graph, 5, low=low)
    conversion = quiet(graph, data, steps=50, percentile=100)
    said, spikes = conversion.layers(data)
    expected = activations(graph, data, ["r1"])["r1"]
    scale = np.broadcast_to(conversion.scales["r1"], expected.shape[1:])
    assert (np.abs(said["r1"] - expected) <= 0.5 * scale / 50 + 1e-5).all()
    assert spikes["r1"] == pytest.approx((said["r1"] / scale).mean() * 50)


@settings(max_examples=6, phases=[Phase.generate])
@given(graph=nets)
def test_errors_fall_as_steps_grow_and_the_largest_output_stays(graph: Graph) -> None:
    data = samples(graph, 24)
    errors = {steps: quiet(graph, data, steps=steps, check=24, percentile=100) for steps in (32, 512)}
    for name in errors[32].errors:
        few, many = errors[32].errors[name], errors[512].errors[name]
        assert many.difference <= 0.35 * few.difference + 1e-6
    expected = activations(graph, data)["out"]
    told = errors[512].run(data)["out"]
    assert (told.argmax(1) == expected.argmax(1)).mean() >= 0.9


@pytest.mark.parametrize("options", [
    {}, {"normalise": "thresholds"}, {"spikes": "many", "percentile": 60}, {"neuron": "lif", "tau": 0.02},
    {"readout": "spikes"}, {"per": "layer"}, {"dt": 1.0}])
def test_the_target_runs_what_the_reference_says(options: dict[str, Any]) -> None:
    """`layers` against spikes counted in the oracle of the grid."""
    graph = random_net(3, True)
    data = samples(graph, 3)
    conversion = quiet(graph, data, steps=20, **options)
    raster = conversion.encode(data)["in"].astype(np.float64)
    expected = simulate_step(conversion.graph, raster)
    said, _ = conversion.layers(data)
    for name, spikes in expected.spikes.items():
        if name in said and name not in graph.outputs:
            assert said[name] == pytest.approx(spikes.sum(axis=1) / 20 * conversion.scales[name], abs=1e-6)
    program = spikec.compile(conversion.graph, target="clock")
    if "readout" not in options:
        dt = conversion.graph.discretization.dt
        result = program.run(raster, probes={"out.v": [20 * dt]})
        assert result.probes["out.v"].reshape(3, 4) / 20 == pytest.approx(conversion.run(data)["out"], abs=1e-5)
        assert conversion.over_time(data)["out"][:, 9] == pytest.approx(expected.voltage["out"][:, 9] / 10, abs=1e-5)


def test_weights_carry_the_scales_or_thresholds_do() -> None:
    graph = random_net(5, True, maxima=False)
    data = samples(graph, 6)
    weights, thresholds = (quiet(graph, data, normalise=how).graph for how in ("weights", "thresholds"))
    assert (weights.nodes["r1"].v_threshold == 1).all()
    scale = activation_scales(graph, data)[0]["r1"]
    assert thresholds.nodes["r1"].v_threshold == pytest.approx(np.broadcast_to(scale, (4, 6, 6)))
    ratio = thresholds.nodes["conv1"].weight / weights.nodes["conv1"].weight
    assert ratio == pytest.approx(np.broadcast_to(scale[..., None], ratio.shape))
    assert not any(isinstance(node, ir.BatchNorm) and name == "norm1" for name, node in weights.nodes.items())
    for node in [*weights.nodes.values(), *thresholds.nodes.values()]:
        assert not any(isinstance(value, Derived) for value in ir.params(node).values())


def test_scales_are_percentiles_of_what_is_positive() -> None:
    graph = chain(("relu", ir.Relu(ceiling=[9.0, 9.0, 2.0])), shape=(3,))
    data = np.array([[1, -4, 1], [2, -3, 3], [3, -2, 5], [4, -1, 7], [-9, 0, 0]], dtype=float)
    scales, silent = activation_scales(graph, data, 100)
    assert scales["relu"].tolist() == [4, 4, 2] and silent == ()  # the second channel takes its layer's
    scales, _ = activation_scales(graph, data, 50, "layer")
    assert scales["relu"].tolist() == [2.0, 2.0, 2.0]
    assert activation_scales(graph, -np.abs(data))[1] == ("relu",)


def test_a_ceiling_is_a_rate_of_one() -> None:
    graph = chain(("relu", ir.Relu(ceiling=2.0)), ("fc", ir.Linear(weight=np.eye(3))), shape=(3,))
    data = np.array([[0.5, 1.5, 5.0], [3.0, 2.5, -1.0]])
    conversion = quiet(graph, data, steps=200, percentile=100)
    assert conversion.run(data)["out"] == pytest.approx(data.clip(0, 2), abs=0.01)
    with pytest.raises(UnsupportedError, match=r"SC310 at 'relu'.*once a step"):
        convert_ann(graph, data, spikes="many")


def test_many_spikes_a_step_are_not_clipped() -> None:
    graph = chain(("relu", ir.Relu()), ("fc", ir.Linear(weight=np.eye(2))), shape=(2,))
    data = np.array([[0.5, 0.6], [0.7, 30.0]])
    one, many = (quiet(graph, data, percentile=50, per="layer", spikes=spikes, check=2) for spikes in ("one", "many"))
    assert one.run(data)["out"][1, 1] < 1 and one.errors["relu"].clipped > 0
    assert many.run(data)["out"] == pytest.approx(data, abs=0.01)


def test_leaky_neurons_are_within_their_bound() -> None:
    graph = chain(("relu", ir.Relu()), ("fc", ir.Linear(weight=np.eye(50))), shape=(50,))
    data = np.linspace(-1, 1, 50)[None]
    steps, tau = 400, 0.05
    conversion = quiet(graph, data, steps=steps, neuron="lif", tau=tau, per="layer", percentile=100)
    assert type(conversion.graph.nodes["relu"]) is ir.LIF
    gap = np.abs(conversion.run(data)["out"] - data.clip(0))
    assert gap.max() <= 0.5 * -np.expm1(-1e-3 / tau) + 1 / steps
    assert gap.max() > 1 / steps, "a leak costs something"


def test_spikes_as_input() -> None:
    graph = random_net(2, False)
    data = samples(graph, 40)
    expected = activations(graph, data)["out"]
    gap = {}
    for encoding in ("current", "regular", "poisson"):
        conversion = quiet(graph, data, steps=400, encoding=encoding, input_range=(0, 1))
        raster = conversion.encode(data)["in"]
        assert raster.shape == (40, 400, 5) and raster.mean(axis=1) == pytest.approx(data, abs=0.1)
        assert encoding == "current" or set(np.unique(raster)) == {0.0, 1.0}
        gap[encoding] = np.abs(conversion.run(data)["out"] - expected).mean()
        part = conversion.encode(data[7:9], first_sample=7)["in"] if encoding == "poisson" else None
        assert part is None or (part == raster[7:9]).all()
    assert gap["current"] < 0.02 and gap["regular"] < 0.02 and gap["current"] < gap["poisson"] < 0.15
    with pytest.raises(BadInputError, match=r"SC511 at 'in'.*sample 1, element 2: 1\.5"):
        conversion.encode(np.array([[0.0] * 5, [0, 0, 1.5, 0, 0]]))
    with pytest.raises(BadInputError, match=r"SC311 at 'in'.*below zero"):
        convert_ann(graph, -data, encoding="regular")


def test_rates_run_in_continuous_time_too() -> None:
    """Boxes and integrators mean the same there; the target event takes the spikes of an encoded input."""
    graph = random_net(1, False)
    data = samples(graph, 4)
    conversion = quiet(graph, data, steps=300, encoding="regular", input_range=(0, 1))
    program = spikec.compile(conversion.graph, target="event")
    result = program.run(conversion.encode(data)["in"], dt=1e-3, duration=0.3, probes={"out.v": [0.3]})
    expected = activations(graph, data)["out"]
    assert result.probes["out.v"].reshape(4, 4) / 300 == pytest.approx(expected, abs=0.04)


def test_an_output_of_spikes_and_what_it_cannot_show() -> None:
    graph = chain(("fc", ir.Affine(weight=np.eye(3), bias=np.zeros(3))), shape=(3,))
    data = np.array([[1.0, 0.5, -0.5], [-1.0, -0.5, -0.2]])
    with pytest.warns(SpikecWarning, match=r"SC312 at 'out'.*50\.0 % of samples"):
        conversion = convert_ann(graph, data, readout="spikes", steps=100, percentile=100)
    assert conversion.run(data)["out"] == pytest.approx(data.clip(0), abs=0.01)
    assert [type(conversion.graph.nodes[name]) for name in conversion.graph.sources["out"]] == [ir.IF]
    with pytest.warns(SpikecWarning, match=r"SC312 at 'relu'.*active"):
        convert_ann(chain(("relu", ir.Relu()), shape=(2,)), -np.ones((2, 2)))


# Latencies

@settings(max_examples=6, phases=[Phase.generate])
@given(graph=nets, low=st.sampled_from([0.0, -0.5]), readout=st.sampled_from(["membrane", "spikes"]))
def test_latencies_are_exact(graph: Graph, low: float, readout: str) -> None:
    data = samples(graph, 3, low=low)
    conversion = quiet(graph, data, code="latency", readout=readout, input_range=(low, 1.0))
    fresh = samples(graph, 5, seed=1, low=low)
    said, spikes = conversion.layers(fresh)
    prepared = PassManager((MaximaAsRectifiers(), *((RectifyOutputs(),) if readout == "spikes" else ()))).run(graph)
    for name, activation in walk(prepared, fresh):
        if name in said:
            assert said[name] == pytest.approx(activation, abs=1e-6)
    assert set(spikes.values()) <= {1.0} and max(each.difference for each in conversion.errors.values()) < 1e-6
    result = conversion.program.run(conversion.encode(fresh), duration=conversion.duration)
    for name in said:
        if isinstance(conversion.graph.nodes.get(name), ir.IF):
            size = prod(conversion.graph.nodes[name].shape)
            assert sorted(result.spikes[name].indices.tolist()) == sorted([*range(size)] * 5), "one spike each"


def test_latencies_take_signals_of_one_axis_and_two() -> None:
    rng = np.random.default_rng(0)
    graph = chain(("conv", ir.Conv1d(weight=rng.normal(size=(3, 2, 3)), bias=rng.normal(size=3), padding=1)),
                  ("relu", ir.Relu()), ("flat", ir.Flatten()), ("fc", ir.Linear(weight=rng.normal(size=(2, 15)))),
                  shape=(2, 5))
    data = samples(graph, 6)
    conversion = quiet(graph, data, code="latency", unit=1e-2)
    assert conversion.run(data)["out"] == pytest.approx(activations(graph, data)["out"], abs=1e-7)
    with pytest.raises(BadInputError, match=r"SC511 at 'in'.*sample 0, element \(1, 2\): 7\.0"):
        conversion.run(np.where(np.arange(10).reshape(1, 2, 5) == 7, 7.0, 0.5))


def test_latencies_refuse_what_they_cannot_show() -> None:
    graph = chain(("a", ir.Relu(ceiling=1.0)), ("b", ir.Relu(ceiling=2.0)), shape=(3,))
    with pytest.raises(UnsupportedError, match=r"SC310 at 'a'.*ceiling(.|\n)*SC310 at 'b'"):
        convert_ann(graph, np.ones((2, 3)) * [1, 2, 3], code="latency")
    with pytest.raises(BadInputError, match=r"SC311: neuron(.|\n)*SC311: spikes"):
        convert_ann(graph, np.ones((2, 3)), code="latency", neuron="lif", tau=0.1, spikes="many")
    with pytest.raises(BadInputError, match=r"SC311 at 'in'.*the same"):
        convert_ann(chain(("r", ir.Relu()), shape=(3,)), np.zeros((2, 3)), code="latency")
    deep = [(f"{kind}{number}", node) for number in range(8)
            for kind, node in (("fc", ir.Linear(weight=np.full((40, 40), 0.5) * (-1) ** np.arange(40))),
                               ("r", ir.Relu()))]
    with pytest.warns(SpikecWarning, match=r"SC312 at 'r7'.*told apart"):
        convert_ann(chain(*deep, shape=(40,)), np.random.default_rng(0).uniform(0, 1, (4, 40)), code="latency")


# Refusals and reports

def test_everything_that_cannot_be_converted_is_told_at_once() -> None:
    graph = chain(("n", ir.IF(shape=(3,))), ("t", ir.Threshold(threshold=0.0)), ("d", ir.Delay(delay=1.0)),
                  ("fc", ir.Linear(weight=np.eye(3), delay=np.ones((3, 3)))), ("r", ir.Relu(ceiling=0.0)), shape=(3,))
    with pytest.raises(UnsupportedError) as caught:
        convert_ann(graph, np.ones((2, 3)))
    assert [found.node for found in caught.value.diagnostics] == ["n", "t", "d", "fc", "r"]
    assert {found.code for found in caught.value.diagnostics} == {"SC310"}


def test_options_are_checked_together() -> None:
    graph = random_net(0, False)
    with pytest.raises(BadInputError) as caught:
        convert_ann(graph, samples(graph, 2), code="phase", steps=0, dt=-1, percentile=0.5, per="pixel",  # type: ignore
                    initial=1.0, neuron="lif", check=0, seed=-1, input_range=(1, 0), unit=0)
    told = [found.message for found in caught.value.diagnostics]
    for word in ("code", "per", "steps", "dt", "percentile", "initial", "tau", "check", "seed", "input_range", "unit"):
        assert any(word in message for message in told), word
    with pytest.raises(BadInputError, match=r"SC232.*int"):
        convert_ann(3, None)  # type: ignore
    with pytest.raises(UnsupportedError, match=r"SC302.*convert_ann"):
        spikec.compile(graph, target="event")


def test_passes_alone_refuse_what_others_are_to_do_first() -> None:
    graph = chain(("r", ir.Relu()), ("p", ir.MaxPool2d(kernel_size=(2, 2), stride=(2, 2))), shape=(1, 4, 4))
    with pytest.raises(UnsupportedError, match=r"SC310 at 'r'.*scale(.|\n)*SC310 at 'p'.*maxima-as-rectifiers"):
        PassManager((ConvertToRates(),)).run(graph)
    with pytest.raises(UnsupportedError, match=r"SC310 at 'p'"):
        PassManager((ConvertToLatencies(),)).run(graph)
    plan = plan_latencies(chain(("r", ir.Relu()), shape=(2,)), {"in": (-1.0, 3.0)})
    assert (plan["in"].end, plan["in"].last, plan["r"].start) == (3.0, 4.0, 4.0)


def test_the_errors_are_a_table_and_numbers() -> None:
    graph = random_net(4, True)
    data = samples(graph, 10)
    conversion = quiet(graph, data, steps=40, check=4)
    assert list(conversion.as_dict()) == list(conversion.errors) and "out" in conversion.errors
    lines = str(conversion).splitlines()
    assert lines[0].split()[:3] == ["layer", "neurons", "correlation"] and len(lines) == len(conversion.errors) + 1
    said, activation = conversion.layers(data[:4])[0]["r1"], activations(graph, data[:4], ["r1"])["r1"]
    found = conversion.errors["r1"]
    assert found.difference == pytest.approx(np.abs(said - activation).mean())
    assert found.correlation == pytest.approx(np.corrcoef(said.reshape(-1), activation.reshape(-1))[0, 1])
    flat = np.ones((2, 3))
    assert LayerError.between(flat, flat, 1.0, None).correlation == 1
    assert LayerError.between(flat, 2 * flat, 1.0, None).clipped == 1


def test_a_trained_network_keeps_its_accuracy() -> None:
    """Digits of scikit-learn, with a maximum: rates, and latencies to the last sample."""
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    digits = spikec.datasets.load_digits()
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 12, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(192, 10))
    images, labels = torch.tensor(digits.train.inputs[:, None] / 16).float(), torch.tensor(digits.train.labels)
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
    for _ in range(8):
        for chosen in torch.randperm(len(images)).split(100):
            loss = nn.functional.cross_entropy(net(images[chosen]), labels[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    value = {name: tensor.detach().numpy() for name, tensor in net.state_dict().items()}
    graph = chain(
        ("conv", ir.Conv2d(weight=value["0.weight"], bias=value["0.bias"], padding=(1, 1))), ("relu", ir.Relu()),
        ("pool", ir.MaxPool2d(kernel_size=(2, 2), stride=(2, 2))), ("flat", ir.Flatten()),
        ("fc", ir.Affine(weight=value["4.weight"], bias=value["4.bias"])), shape=(1, 8, 8))
    test = digits.test.inputs[:, None] / 16
    expected = activations(graph, test)["out"].argmax(1)
    accuracy = (expected == digits.test.labels).mean()
    assert accuracy > 0.93
    rates = quiet(graph, images[:200], steps=64)
    assert (rates.run(test)["out"].argmax(1) == digits.test.labels).mean() >= accuracy - 0.01
    latencies = quiet(graph, images[:20], code="latency", input_range=(0, 1), check=1)
    assert (latencies.run(test[:20])["out"].argmax(1) == expected[:20]).all()


def quiet(*arguments: Any, **options: Any) -> Any:
    """`convert_ann`, whose warnings are errors except that layers are silent on few random samples."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", "SC312")
        return convert_ann(*arguments, **options)
