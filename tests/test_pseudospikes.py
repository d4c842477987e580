"""Spikes after the end of a run: what they are, that times stay continuous as spikes leave through it, the loss."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from interrupting import interrupt_at
from torch.nn.functional import conv2d, cross_entropy

import spikec
from spikec.compiler.cli.losses import choose_loss
from spikec.ir import nodes as ir
from spikec.ir.diagnostics import BadInputError, UnsupportedError
from spikec.ir.events import Events
from spikec.ir.graph import Graph
from spikec.runtime.interruption import TrainingInterrupted

pytestmark = pytest.mark.usefixtures("one_thread")
LABELS = torch.tensor([0, 2, 1])
LOSS = spikec.losses.PseudospikeCrossEntropy(tau0=1.0, gamma=0.1)


def layered(kinds: Sequence[str], weights: Sequence[Any], **start: Any) -> Any:
    """in -> l0 -> l1 ... -> out, as a module in float64; time constants about 1 s."""
    net = spikec.Builder()
    source = net.input("in", np.shape(weights[0])[1])
    for number, (kind, weight) in enumerate(zip(kinds, weights, strict=True)):
        n = len(weight)
        v0 = {"v0": start.get(kind, np.linspace(0.3, 0.6, n) if kind == "theta" else 0.0)}
        layer = getattr(net, kind)(f"l{number}", n, tau=np.linspace(1.0, 1.2, n), **v0)
        net.connect(source, layer, weight=np.asarray(weight, dtype=np.float64))
        source = layer
    net.output("out", source)
    return spikec.compile(net.build()).module(dtype=torch.float64, train=("weight", "v0", "tau"))


def drawn(kinds: Sequence[str], sizes: Sequence[int], seed: int = 1, spread: float = 0.5) -> Any:
    rng = np.random.default_rng(seed)
    pairs = zip(kinds, sizes, (4, *sizes), strict=False)
    return layered(kinds, [rng.normal(0.2, spread, (n, before)) if kind == "theta" else
                           rng.normal(2.0, 4 * spread, (n, before)) for kind, n, before in pairs])


def stimulus(seed: int, duration: float, events: int = 9) -> Events:
    rng = np.random.default_rng(seed)
    return Events.from_samples([(np.sort(rng.uniform(0, 0.7 * duration, events)), rng.integers(0, 4, events))
                                for _ in range(3)])


ONE = Events.from_samples([(np.array([0.1]), np.array([0]))])


def differences(module: Any, value: Callable[[], torch.Tensor], step: float = 1e-5) -> None:
    """Gradients of every parameter, along random directions, against central differences within 1e-6."""
    module.zero_grad()
    value().backward()
    generator = torch.Generator().manual_seed(5)
    for parameter in module.parameters():
        if not parameter.requires_grad:
            continue
        kept = parameter.detach().clone()
        for _ in range(2):
            way = torch.randn(kept.shape, dtype=torch.float64, generator=generator)
            found = []
            for moved in (step, -step):
                parameter.data.copy_(kept + moved * way)
                with torch.no_grad():
                    found.append(value().item())
            slope = (found[0] - found[1]) / (2 * step)
            assert float((parameter.grad * way).sum()) == pytest.approx(slope, rel=1e-6, abs=1e-6)
        parameter.data.copy_(kept)


KINDS = [("theta",) * 3, ("qif",) * 3, ("theta", "qif", "theta"), ("qif", "theta", "qif")]


@pytest.mark.parametrize("kinds", KINDS)
@pytest.mark.parametrize("fires", ["all", "some", "none"])
def test_gradients_are_those_of_differences(kinds: tuple[str, ...], fires: str) -> None:
    """Of outputs that are ordinary spikes, pseudospikes, or both."""
    module = drawn(kinds, (5, 4, 3), spread={"all": 0.1, "some": 1.0, "none": 0.5}[fires])
    events = stimulus(2, 2.0)

    def share(duration: float) -> float:
        return float(torch.isfinite(module(events, duration=duration).first_spike("out")).double().mean())

    reach = [duration for duration in np.arange(0.1, 5, 0.3)
             if (share(duration) == 0 if fires == "none" else share(duration) == 1 if fires == "all"
                 else 0.1 < share(duration) < 0.95)]
    assert reach, "the task has to be another one"
    duration = reach[len(reach) // 2]
    scale = torch.linspace(1, 2, 27, dtype=torch.float64).view(3, 3, 3)

    def value() -> torch.Tensor:
        out = module(events, duration=duration)
        return LOSS(out, LABELS).value + (scale * out.pseudospike_times("out", 3)).mean()

    differences(module, value)


@pytest.mark.parametrize("kinds", KINDS)
def test_a_silent_layer_in_the_middle_learns(kinds: tuple[str, ...]) -> None:
    """Every weight has a gradient, those into and out of the layer that never fires too."""
    module = drawn(kinds, (5, 4, 3), spread=0.2)
    module.get_parameter("l0_l1.weight").data.neg_().sub_(0.2)
    events = stimulus(3, 1.5)
    module.zero_grad()
    out = module(events, duration=1.5)
    assert out.total_spikes("l1") == 0
    LOSS(out, LABELS).value.backward()
    for name in ("in_l0.weight", "l0_l1.weight", "l1_l2.weight"):
        assert (module.get_parameter(name).grad != 0).all(), name
    differences(module, lambda: LOSS(module(events, duration=1.5), LABELS).value)


def test_theta_neurons_go_on_as_published() -> None:
    """Against phases, Phi and H as the paper has them."""
    module, events, duration = drawn(("theta",) * 3, (5, 4, 3)), stimulus(2, 1.0), 1.0
    out = module(events, duration=duration)
    rate = np.zeros((3, 0))
    for number in range(3):
        tau = module.get_parameter(f"l{number}.tau").detach().numpy()
        weight = None if number == 0 else module.get_parameter(f"l{number - 1}_l{number}.weight").detach().numpy()
        v = out.end(f"l{number}")["v"].detach().numpy() + (0 if weight is None else rate @ weight.T)
        phase, period = tau * (np.arctan(v - 0.5) + np.pi / 2), np.pi * tau
        rate = phase / period
    assert not np.isfinite(out.first_spike("out").detach().numpy()).any()
    found = out.pseudospike_times("out", 2).detach().numpy()
    assert found[..., 0] == pytest.approx(duration + period - phase, rel=1e-12)
    assert found[..., 1] == pytest.approx(duration + 2 * period - phase, rel=1e-12)


def test_qif_neurons_go_on_with_the_current_that_is_left() -> None:
    module, events = drawn(("qif",), (3,)), stimulus(2, 1.0)
    out = module(events, duration=1.0)
    v, i = (out.end("out")[name].detach().numpy() for name in "vi")
    tau, root = module.get_parameter("l0.tau").detach().numpy(), np.sqrt(10 * np.log1p(np.exp(i / 10)))
    phase, period = tau * (np.arctan((v - 0.5) / root) + np.pi / 2) / root, np.pi * tau / root
    found = out.pseudospike_times("out", 3).detach().numpy()
    fired = np.isfinite(out.spike_times("out", 3).detach().numpy())
    number = np.arange(1, 4) - fired.sum(2, keepdims=True)
    expected = 1.0 + number * period[..., None] - phase[..., None]
    assert found[~fired] == pytest.approx(expected[~fired], rel=1e-12)
    assert 0 < fired.sum() < fired.size


def test_without_input_a_theta_neuron_fires_when_it_would_have() -> None:
    module, events = drawn(("theta",), (3,)), stimulus(2, 1.0)
    later = module(events, duration=12.0).spike_times("out", 3)
    torch.testing.assert_close(module(events, duration=1.0).pseudospike_times("out", 3), later, rtol=1e-12, atol=1e-12)


def test_less_drive_is_later() -> None:
    for kind, weights in (("theta", (2.0, 0.5, -1.0, -4.0)), ("qif", (2.0, 0.5, -4.0, -200.0, -1e5))):
        modules = [layered((kind,), [[[weight]]]) for weight in weights]
        found = [module(ONE, duration=0.5).pseudospike_times("out").item() for module in modules]
        assert (np.diff(found) > 0).all()
        assert np.isfinite(found).all()


def crossing(module: Any, duration: float, low: float, high: float, watched: str) -> tuple[float, float]:
    """The value of the first weight between `low` and `high` at which a spike of `watched` leaves, from both sides."""
    weight = module.get_parameter("in_l0.weight")

    def count(value: float) -> int:
        weight.data[0, 0] = value
        return int(module(ONE, duration=duration).total_spikes(watched))

    below = count(low)
    assert count(high) == below + 1
    while np.nextafter(low, high) < high:
        middle = (low + high) / 2
        low, high = (middle, high) if count(middle) == below else (low, middle)
    return low, high


def at(module: Any, value: float, duration: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Loss and its whole gradient where the first weight has a value."""
    module.get_parameter("in_l0.weight").data[0, 0] = value
    module.zero_grad()
    loss = LOSS(module(ONE, duration=duration), torch.tensor([0])).value
    loss.backward()
    return loss.detach(), torch.cat([each.grad.reshape(-1) for each in module.parameters() if each.grad is not None])


TWO = [[0.8, 0.3], [0.2, -0.4]]
STRONG = [[3.0, 4.0], [2.0, -1.0]]


@pytest.mark.parametrize(("kinds", "weights", "span", "smooth"), [
    (("theta",), [[[0.5], [0.2]]], (-1.5, 1.0), True),
    (("qif",), [[[6.0], [4.0]]], (2.0, 6.0), True),
    (("qif", "qif"), [[[6.0], [4.0]], STRONG], (2.0, 4.5), True),
    (("qif", "qif", "qif"), [[[6.0], [4.0]], STRONG, STRONG], (2.0, 4.5), True),
    (("theta", "qif"), [[[0.5], [0.2]], STRONG], (-1.5, 1.0), True),
    (("theta", "theta"), [[[0.5], [-3.0]], TWO], (-1.5, 1.0), False),
    (("qif", "theta"), [[[6.0], [4.0]], TWO], (2.0, 4.5), False),
])
def test_a_spike_leaves_through_the_end(kinds: tuple[str, ...], weights: Any, span: tuple[float, float],
                                        smooth: bool) -> None:
    """Loss and gradient from both sides: their differences shrink with the step. Between theta neurons that is so of
    the loss, and of the gradient through weights behind the spike."""
    duration = 1.5
    module = layered(kinds, weights, theta=np.linspace(0.3, 0.2, 2) if len(kinds) == 1 else 0.5)
    low, high = crossing(module, duration, *span, "l0")
    steps = 10.0 ** -np.arange(2, 7)
    losses, gradients = [], []
    for step in steps:
        before, after = at(module, low - step, duration), at(module, high + step, duration)
        losses.append(float((before[0] - after[0]).abs()))
        gradients.append(float((before[1] - after[1]).abs().max()))
        scale = float(before[1].abs().max())
    assert scale > 1e-3
    assert losses[0] > 0
    assert (np.array(losses) < 3 * scale * steps + 1e-12).all()
    if smooth:
        assert (np.array(gradients) < 10 * steps).all()
    else:
        assert gradients[-1] > 1e-3


def test_what_a_gradient_loses_between_theta_neurons() -> None:
    """A pulse at t moves the phase p to H(p, w) and that by T - t: a slope 1 - H_p(p, w) that a rate has not."""
    duration, weight = 1.5, 0.8
    module = layered(("theta", "theta"), [[[0.5]], [[weight]]], theta=0.2)
    low, high = crossing(module, duration, -1.0, 4.0, "l0")

    def slope(value: float, watched: str) -> tuple[float, float]:
        parameter = module.get_parameter("in_l0.weight")
        parameter.data[0, 0] = value
        out = module(ONE, duration=duration)
        module.zero_grad()
        out.pseudospike_times(watched).sum().backward()
        return float(parameter.grad), float(out.end("l1")["v"].detach())

    (before, v), (after, _) = slope(low, "l1"), slope(high, "l1")
    rate = lambda v: v * v - v + 1.25  # noqa: E731
    lost = (1 - rate(v) / rate(v + weight)) * slope(high, "l0")[0]
    assert after - before == pytest.approx(lost, rel=1e-6)
    assert abs(lost) > 0.01


def test_connections_of_every_form_say_the_same() -> None:
    rng, strides = np.random.default_rng(4), {"stride": (2, 1), "padding": (1, 2)}
    kernel, entry = rng.normal(0, 0.5, (3, 2, 3, 3)), rng.normal(0.3, 0.3, (2, 2, 1, 1))
    images = torch.eye(40, dtype=torch.float64).view(-1, 2, 4, 5)
    dense = conv2d(images, torch.from_numpy(kernel), **strides).flatten(1).T.numpy()
    kept = dense != 0
    sparse = ir.SparseLinear(size=dense.shape, indptr=np.concatenate([[0], np.cumsum(kept.sum(1))]),
                             indices=np.nonzero(kept)[1], weight=dense[kept])
    times = np.sort(rng.uniform(0, 0.8, 12))
    events, found = Events.from_samples([(times, rng.integers(0, 40, 12)), (times, rng.integers(0, 40, 12))]), []
    for node, shape in ((ir.Linear(weight=dense), (42,)), (sparse, (42,)),
                        (ir.Conv2d(weight=kernel, input_shape=(4, 5), **strides), (3, 2, 7))):
        nodes: dict[str, ir.Node] = {
            "in": ir.Input(shape=(2, 4, 5)), "fc": ir.Conv2d(weight=entry, input_shape=(4, 5)),
            "a": ir.Theta(shape=(2, 4, 5), tau=1.0), "c": node, "b": ir.Theta(shape=shape, tau=1.0),
            "out": ir.Output(shape=shape)}
        edges = [("in", "fc"), ("fc", "a"), ("c", "b"), ("b", "out")]
        if len(shape) == 1:
            nodes["flat"] = ir.Flatten()
            edges += [("a", "flat"), ("flat", "c")]
        else:
            edges.append(("a", "c"))
        module = spikec.compile(Graph(nodes=nodes, edges=edges)).module(dtype=torch.float64)
        found.append(module(events, duration=1.0).pseudospike_times("out"))
    assert found[0].std() > 0.1
    for each in found[1:]:
        torch.testing.assert_close(each, found[0], rtol=1e-12, atol=1e-12)


def test_the_loss_is_that_of_the_formula() -> None:
    module, events = drawn(("theta",), (3,)), stimulus(2, 1.7)
    out = module(events, duration=1.7)
    times = out.pseudospike_times("out")[..., 0].detach()
    ordinary = out.first_spike("out").detach()
    for tau1 in (None, 0.9):
        result = spikec.losses.PseudospikeCrossEntropy(tau0=0.3, gamma=0.2, tau1=tau1)(out, LABELS)
        label = times[torch.arange(3), LABELS]
        expected = cross_entropy(-times / 0.3, LABELS) + 0.2 * (torch.exp(label / (tau1 or 1.7)) - 1).mean()
        torch.testing.assert_close(result.value.detach(), expected, rtol=1e-13, atol=0)
    assert result.predicted.tolist() == times.argmin(1).tolist()
    assert result.silent.tolist() == torch.isinf(ordinary[torch.arange(3), LABELS]).tolist()
    silent = torch.isinf(ordinary).all(1)
    assert result.by_spikes.tolist() == torch.where(silent, -1, ordinary.argmin(1)).tolist()


def trainer(**options: Any) -> spikec.Trainer:
    net, rng = spikec.Builder(), np.random.default_rng(0)
    hidden, label = net.theta("hidden", 8, tau=20e-3), net.theta("label", 3, tau=20e-3)
    net.connect(net.input("in", 6), hidden, weight=rng.uniform(-0.2, 0.2, (8, 6)))
    net.connect(hidden, label, weight=rng.uniform(-0.2, 0.2, (3, 8)))
    net.output("out", label)
    settings = {"epochs": 3, "batch_size": 10, "lr": 0.05, "duration": 20e-3, "progress": False, **options}
    return spikec.Trainer(spikec.compile(net.build()), "pseudospike", **settings)


def task(samples: int = 60) -> tuple[Events, np.ndarray[Any, Any]]:
    """Each class has two of the inputs, early; others come late or not."""
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 3, samples)
    values = (np.arange(6) // 2 == labels[:, None]) ^ (rng.random((samples, 6)) < 0.05)
    return spikec.encoders.at_once(values, 1e-3), labels


@pytest.mark.filterwarnings("error:SC519")
def test_a_network_learns_out_of_silence() -> None:
    one, data = trainer(epochs=25), task()
    before = one.evaluate(data)
    assert sum(before.spikes.values()) == 0
    assert before.by_spikes == 0
    assert before.silent == 1
    history = one.fit(data)
    after = one.evaluate(data)
    assert after.accuracy > 0.9
    assert after.by_spikes > 0.9
    assert after.silent < 0.2
    assert history[0].train.by_spikes is not None


@pytest.mark.filterwarnings("error:SC519")
@pytest.mark.parametrize("batch", [2, 8])
def test_interrupted_and_resumed_is_bit_identical(tmp_path: Path, batch: int) -> None:
    def bits(one: spikec.Trainer) -> list[bytes]:
        return [each.detach().numpy().tobytes() for each in one.module.parameters()]

    whole, broken = trainer(), trainer(checkpoint=tmp_path / "checkpoint")
    told = whole.fit(task())
    interrupt_at(broken, batch)
    with pytest.raises(TrainingInterrupted):
        broken.fit(task())
    resumed = trainer(checkpoint=tmp_path / "checkpoint")
    again = resumed.fit(task())
    assert bits(resumed) == bits(whole)
    assert [record.train.by_spikes for record in told] == [record.train.by_spikes for record in again]


def test_all_that_has_no_pseudospikes_is_told() -> None:
    net = spikec.Builder()
    first = net.cubalif("first", 2, tau_mem=0.02, tau_syn=0.01)
    second, last = net.theta("second", 2, tau=0.02), net.theta("last", 2, tau=0.02)
    net.connect(net.input("in", 2), first, weight=np.eye(2))
    net.connect(first, second, weight=np.eye(2))
    net.connect(second, second, weight=np.eye(2), delay=1e-3, name="back")
    net.connect(second, last, weight=np.eye(2), delay=2e-3, name="late")
    net.output("out", last)
    module = spikec.compile(net.build()).module()
    out = module(Events.from_samples([(np.array([1e-3]), np.array([0]))]), duration=0.02)
    with pytest.raises(UnsupportedError) as caught:
        spikec.losses.PseudospikeCrossEntropy()(out, torch.tensor([0]))
    assert {each.code for each in caught.value.diagnostics} == {"SC445"}
    assert {each.node for each in caught.value.diagnostics} == {"first", "second", "back", "late"}
    assert all(each.remedy for each in caught.value.diagnostics)


def test_the_command_takes_the_loss_where_time_is_continuous() -> None:
    network = trainer().program.network
    data: Any = SimpleNamespace(train=task())
    assert choose_loss("pseudospike", network, data, "event") == "pseudospike"
    assert choose_loss("pseudospike", network, data, "event", "exact") == "pseudospike"
    for target, rule in (("clock", None), ("loihi2", "exact")):
        with pytest.raises(BadInputError, match="compile for event, which take this one"):
            choose_loss("pseudospike", network, data, target, rule)


@pytest.mark.parametrize("wrong", [{"tau0": 0}, {"tau0": float("nan")}, {"gamma": -1}, {"tau1": -1}, {"tau1": "x"}])
def test_constants_out_of_range(wrong: dict[str, Any]) -> None:
    with pytest.raises(BadInputError, match="SC501"):
        spikec.losses.PseudospikeCrossEntropy(**wrong)


def test_what_else_is_refused() -> None:
    out = drawn(("theta",), (3,))(stimulus(2, 1.0), duration=1.0)
    for labels in (torch.tensor([0, 1]), torch.tensor([0, 1, 3]), torch.tensor([0.0, 1.0, 2.0])):
        with pytest.raises(BadInputError, match="SC506"):
            LOSS(out, labels)
    with pytest.raises(BadInputError, match="SC403"):
        out.pseudospike_times("out", 0)
    with pytest.raises(BadInputError, match="SC409"):
        out.pseudospike_times("nobody")

    class Other:
        outputs = ("out",)

    with pytest.raises(BadInputError, match="SC409"):
        LOSS(Other(), LABELS)
