"""Losses against torch's own autograd and finite differences, and their behaviour when outputs are silent."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
import torch
from torch import Tensor

from spikec.ir.diagnostics import BadInputError
from spikec.ir.events import Events
from spikec.runtime import losses as losses_module
from spikec.runtime.losses import (
    FirstSpikeCrossEntropy,
    IntegratedVoltageCrossEntropy,
    SpikeCountMSE,
    SpikeTimeMSE,
    VoltageMaxCrossEntropy,
)

INF = float("inf")
DURATION = 0.06


@dataclass
class FakeOut:
    """Outputs of a network that holds given tensors."""

    times: Tensor | None = None
    voltage: Tensor | None = None
    outputs: tuple[str, ...] = ("out",)
    duration: float = DURATION
    pushed: Tensor = field(init=False)

    def __post_init__(self) -> None:
        source = self.times if self.times is not None else self.voltage
        assert source is not None
        self.pushed = torch.zeros(source.shape[:2], dtype=source.dtype, requires_grad=True)

    def first_spike(self, name: str) -> Tensor:
        return self.times if self.times.ndim == 2 else self.times[..., 0]

    def spike_times(self, name: str, k: int) -> Tensor:
        return self.times[..., :k]

    def voltage_max(self, name: str) -> Tensor:
        return self.voltage

    def voltage_integral(self, name: str, decay: float | None = None) -> Tensor:
        return self.voltage * (DURATION if decay is None else decay)

    def push(self, name: str) -> Tensor:
        return self.pushed


@pytest.fixture(autouse=True, params=["numpy", "torch"])
def library(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The formulas run on numpy for what is on the host, on torch for what is on a device: here both, on the host."""
    if request.param == "torch":
        monkeypatch.setattr(losses_module, "_arrays", lambda *tensors: (torch, [each.detach() for each in tensors]))
        monkeypatch.setattr(losses_module, "_count", lambda size, device: torch.arange(size, device=device))


@pytest.fixture
def times() -> Tensor:
    generator = torch.Generator().manual_seed(3)
    drawn = 0.01 + 0.003 * torch.rand(7, 4, generator=generator, dtype=torch.float64)
    drawn[0, 1] = drawn[2, 3] = INF  # silent, not labels
    return drawn.requires_grad_()


LABELS = torch.tensor([0, 1, 2, 3, 0, 1, 2])


def test_first_spike_value_and_gradient_are_those_of_the_formula(times: Tensor) -> None:
    loss = FirstSpikeCrossEntropy(tau0=1e-3, alpha=0.01, tau1=5e-3)
    result = loss(FakeOut(times), LABELS)
    (gradient,) = torch.autograd.grad(result.value, times)

    free = times.detach().clone().requires_grad_()
    log_sum = torch.stack([torch.logsumexp(-row[row.isfinite()] / 1e-3, 0) for row in free])
    label = free[torch.arange(7), LABELS]
    expected = (label / 1e-3 + log_sum + 0.01 * (torch.exp(label / 5e-3) - 1)).mean()
    (expected_gradient,) = torch.autograd.grad(expected, free)
    torch.testing.assert_close(result.value, expected, rtol=1e-13, atol=0)
    torch.testing.assert_close(gradient, expected_gradient, rtol=1e-12, atol=1e-12)
    assert not result.silent.any()
    assert result.predicted.tolist() == times.argmin(1).tolist()


def test_first_spike_gradcheck_with_silent_labels_and_a_saturated_regulariser(times: Tensor) -> None:
    # tau1 = 0.5 ms puts every label beyond t = 20 tau1, where the regulariser is linear
    voiced = times.detach()[times.isfinite().all(1)].requires_grad_()
    labels = LABELS[: len(voiced)]
    for tau1 in (5e-3, 0.5e-3):
        loss = FirstSpikeCrossEntropy(tau0=1e-3, alpha=1e-7, tau1=tau1)
        value = lambda t, loss=loss: loss(FakeOut(t), labels).value  # noqa: E731
        assert torch.autograd.gradcheck(value, voiced, eps=1e-9, rtol=1e-5)


def test_silent_label_is_counted_pushed_and_lets_others_fire_later(times: Tensor) -> None:
    labels = LABELS.clone()
    labels[0] = 1  # the silent one
    out = FakeOut(times)
    result = FirstSpikeCrossEntropy(strength=3.0)(out, labels)
    result.value.backward()
    assert result.silent.tolist() == [True] + [False] * 6
    assert result.value.isfinite()
    assert times.grad.isfinite().all()
    assert times.grad[0, 1] == 0
    assert times.grad[0].sum() < 0  # a descent step delays what fired instead
    expected = torch.zeros(7, 4, dtype=torch.float64)
    expected[0, 1] = -3.0 / 7
    torch.testing.assert_close(out.pushed.grad, expected)


@pytest.mark.parametrize("silent", [None, "push", "bump", "both"])
@pytest.mark.parametrize("loss_kind", [FirstSpikeCrossEntropy, SpikeTimeMSE])
def test_all_silent_is_finite(loss_kind: type, silent: str | None) -> None:
    times = torch.full((3, 2), INF, dtype=torch.float64, requires_grad=True)
    options = {"targets": [[0.01, 0.02], [0.02, 0.01]]} if loss_kind is SpikeTimeMSE else {}
    result = loss_kind(silent=silent, **options)(FakeOut(times), torch.tensor([0, 1, 1]))
    result.value.backward()
    assert result.value.isfinite()
    assert result.value > 0
    assert (times.grad == 0).all()
    assert result.silent.any(-1).all() if result.silent.ndim > 1 else result.silent.all()
    assert result.predicted.tolist() == [-1, -1, -1]


@pytest.mark.parametrize("loss", [
    FirstSpikeCrossEntropy(), SpikeTimeMSE(targets=[[0.01, INF], [INF, 0.01]]),
    SpikeTimeMSE(targets=[[[0.01, 0.02], [INF, INF]], [[INF, INF], [0.01, 0.02]]])])
def test_a_sample_without_any_spike_has_no_prediction(loss) -> None:  # type: ignore[no-untyped-def]
    """One that is silent where it should fire, but fires elsewhere, has one."""
    times = torch.tensor([[[INF, INF], [INF, INF]], [[INF, INF], [0.01, INF]], [[0.01, 0.02], [INF, INF]]],
                         dtype=torch.float64, requires_grad=True)
    first_alone = not isinstance(loss, SpikeTimeMSE) or loss.targets.ndim == 2
    result = loss(FakeOut(times[..., 0] if first_alone else times), torch.tensor([0, 0, 0]))
    assert result.predicted.tolist() == [-1, 1, 0]


def test_long_times_do_not_overflow() -> None:
    times = torch.tensor([[30.0, 31.0]], dtype=torch.float64, requires_grad=True)
    out = FakeOut(times, duration=40.0)
    result = FirstSpikeCrossEntropy(tau1=1e-3)(out, torch.tensor([1]))
    result.value.backward()
    assert result.value.isfinite()
    assert times.grad.isfinite().all()


@pytest.mark.parametrize(
    ("loss", "expected_of"),
    [
        (VoltageMaxCrossEntropy(scale=2.5), lambda v: v * 2.5),
        (IntegratedVoltageCrossEntropy(decay=0.02, scale=3.0), lambda v: v * 3.0),
        (IntegratedVoltageCrossEntropy(scale=2.0), lambda v: v * 2.0),
    ],
)
def test_voltage_losses_are_torchs_cross_entropy(loss, expected_of) -> None:  # type: ignore[no-untyped-def]
    voltage = torch.randn(7, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).requires_grad_()
    result = loss(FakeOut(voltage=voltage), LABELS)
    (gradient,) = torch.autograd.grad(result.value, voltage)
    free = voltage.detach().clone().requires_grad_()
    expected = torch.nn.functional.cross_entropy(expected_of(free), LABELS)
    torch.testing.assert_close(result.value, expected, rtol=1e-13, atol=0)
    torch.testing.assert_close(gradient, torch.autograd.grad(expected, free)[0], rtol=1e-12, atol=1e-15)
    assert torch.autograd.gradcheck(lambda v: loss(FakeOut(voltage=v), LABELS).value, voltage)
    assert result.predicted.tolist() == voltage.argmax(1).tolist()


def test_spike_time_mse_by_table_and_by_sample() -> None:
    table = torch.tensor([[[0.01, 0.02], [INF, INF]], [[INF, INF], [0.012, INF]]], dtype=torch.float64)
    times = torch.tensor([[[0.011, 0.018], [0.03, INF]], [[0.02, 0.03], [INF, INF]]], dtype=torch.float64)
    times.requires_grad_()
    labels = torch.tensor([0, 1])
    out = FakeOut(times)
    result = SpikeTimeMSE(targets=table, tau=1e-3, strength=2.0)(out, labels)
    missing = (DURATION - 0.012) / 1e-3
    torch.testing.assert_close(result.value, torch.tensor((1.0 + 4.0 + missing**2) / 4, dtype=torch.float64))
    result.value.backward()
    expected = torch.zeros_like(times)
    expected[0, 0] = torch.tensor([1.0, -2.0]) / (2 * 1e-3)
    torch.testing.assert_close(times.grad, expected)
    assert result.silent.tolist() == [[False, False], [False, True]]
    assert out.pushed.grad[1, 1] == -1.0
    assert out.pushed.grad.count_nonzero() == 1
    assert result.predicted[0] == 0

    given = SpikeTimeMSE(tau=1e-3)(FakeOut(times), table[labels])
    torch.testing.assert_close(given.value, result.value)
    assert given.predicted is None


def test_second_missing_spike_is_not_a_silent_neuron() -> None:
    times = torch.tensor([[[0.011, INF]]], dtype=torch.float64, requires_grad=True)
    result = SpikeTimeMSE(targets=[[[0.01, 0.02]]])(FakeOut(times), torch.tensor([0]))
    assert not result.silent.any()
    assert result.value.isfinite()


def test_float32_and_empty_batch() -> None:
    voltage = torch.randn(0, 4, requires_grad=True)
    assert VoltageMaxCrossEntropy()(FakeOut(voltage=voltage), torch.empty(0, dtype=torch.int64)).value == 0
    times = torch.rand(0, 4, requires_grad=True)
    assert FirstSpikeCrossEntropy()(FakeOut(times), torch.empty(0, dtype=torch.int64)).value == 0


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (lambda: FirstSpikeCrossEntropy(tau0=0), "tau0"),
        (lambda: FirstSpikeCrossEntropy(alpha=-1), "alpha"),
        (lambda: VoltageMaxCrossEntropy(scale=float("nan")), "scale"),
        (lambda: IntegratedVoltageCrossEntropy(decay=-1), "decay"),
        (lambda: SpikeTimeMSE(targets=[1.0]), r"wrong shape.*\(1,\)"),
        (lambda: SpikeTimeMSE(targets="a"), "array of times"),
        (lambda: SpikeTimeMSE(targets=[[1.0], [1.0, 2.0]]), "array of times"),
        (lambda: SpikeTimeMSE(targets=[[0.1, float("nan")]]), "class 0, neuron 1: nan"),
        (lambda: SpikeTimeMSE(targets=[[[0.1], [0.2]], [[0.1], [-1.0]]]), r"class 1, neuron 1, spike 0: -1\.0"),
        (lambda: SpikeTimeMSE(tau=0), "tau"),
        (lambda: SpikeTimeMSE(silent="foo"), "silent"),
        (lambda: FirstSpikeCrossEntropy(silent="foo"), "silent"),
        (lambda: FirstSpikeCrossEntropy(tau0="a"), "tau0"),
    ],
)
def test_illegal_constants_are_diagnosed(wrong, told) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(BadInputError, match=f"SC501.*{told}"):
        wrong()


def test_several_outputs_need_a_name() -> None:
    times = torch.rand(2, 2, dtype=torch.float64, requires_grad=True)
    out = FakeOut(times, outputs=("a", "b"))
    with pytest.raises(BadInputError, match="SC502"):
        FirstSpikeCrossEntropy()(out, torch.tensor([0, 1]))
    assert FirstSpikeCrossEntropy(output="a")(out, torch.tensor([0, 1])).value.isfinite()


@pytest.mark.parametrize(
    "labels",
    [torch.tensor([0.0, 1.0]), torch.eye(2, dtype=torch.int64), torch.tensor([0]), torch.tensor([0, 2]),
     torch.tensor([0, -1]), torch.tensor([True, False]), [0, 1]],
)
@pytest.mark.parametrize(
    "loss", [FirstSpikeCrossEntropy(), VoltageMaxCrossEntropy(), SpikeTimeMSE(targets=[[0.1, 0.2], [0.2, 0.1]])])
def test_malformed_labels_are_diagnosed(loss, labels) -> None:  # type: ignore[no-untyped-def]
    values = torch.rand(2, 2, dtype=torch.float64, requires_grad=True)
    with pytest.raises(BadInputError, match="SC506"):
        loss(FakeOut(values, values), labels)


def test_class_numbers_are_no_wanted_times() -> None:
    out = FakeOut(torch.rand(2, 2, dtype=torch.float64, requires_grad=True))
    with pytest.raises(BadInputError, match=r"SC506.*targets"):
        SpikeTimeMSE()(out, torch.tensor([0, 1]))
    with pytest.raises(BadInputError, match=r"SC506.*sample 1, neuron 0: nan"):
        SpikeTimeMSE()(out, torch.tensor([[0.1, 0.2], [float("nan"), 0.2]]))
    with pytest.raises(BadInputError, match=r"SC506.*shape"):
        SpikeTimeMSE()(out, torch.rand(2, 3))


def test_targets_for_another_number_of_neurons_are_told_as_such() -> None:
    out = FakeOut(torch.rand(2, 3, dtype=torch.float64, requires_grad=True))
    with pytest.raises(BadInputError, match=r"SC501.*wrong shape.*\(2, 2\).*\(classes, 3\)"):
        SpikeTimeMSE(targets=torch.eye(2))(out, torch.tensor([0, 2]))
    with pytest.raises(BadInputError, match=r"SC506.*sample 1: 2; limit: 0\.\.1"):
        SpikeTimeMSE(targets=torch.rand(2, 3))(out, torch.tensor([0, 2]))


# --- counts ----------------------------------------------------------------------------------------------------------


class Counted(FakeOut):
    """Outputs with lists of spikes: 2 samples, 3 neurons, counts ((2, 0, 1), (0, 0, 5))."""

    def __init__(self) -> None:
        super().__init__(torch.linspace(0.01, 0.05, 8, dtype=torch.float64).requires_grad_())
        self.pushed = torch.zeros(2, 3, dtype=torch.float64, requires_grad=True)

    def events(self, name: str) -> Events:
        return Events(self.times, torch.tensor([0, 2, 0, 2, 2, 2, 2, 2]), torch.tensor([0, 3, 8]))

    def spike_count(self, name: str) -> Tensor:
        return torch.tensor([[2.0, 0.0, 1.0], [0.0, 0.0, 5.0]], dtype=torch.float64)


def test_spike_counts_pull_every_spike_of_a_neuron_alike() -> None:
    out = Counted()
    result = SpikeCountMSE(label=4, others=1, slope=2.0)(out, torch.tensor([0, 2]))
    assert result.value.item() == pytest.approx(((4 - 2) ** 2 + 1 + 0 + 1 + 1 + (4 - 5) ** 2) / 2 / 2)
    assert result.predicted.tolist() == [0, 2]
    assert result.silent.tolist() == [[False, True, False], [True, True, False]]
    result.value.backward()
    assert out.times.grad.tolist() == [2.0, 0.0, 2.0, -1.0, -1.0, -1.0, -1.0, -1.0]
    assert out.pushed.grad is None


def test_spike_counts_push_what_is_silent() -> None:
    out = Counted()
    SpikeCountMSE(label=4, others=1, silent="push", strength=3.0)(out, torch.tensor([0, 2])).value.backward()
    assert out.pushed.grad.tolist() == [[0.0, -1.5, 0.0], [-1.5, -1.5, 0.0]]


@pytest.mark.parametrize("wrong", [{"label": 0}, {"others": -1}, {"slope": 0}, {"silent": "shout"}])
def test_spike_counts_with_wrong_constants(wrong: dict) -> None:
    with pytest.raises(BadInputError, match="SC501"):
        SpikeCountMSE(**wrong)
