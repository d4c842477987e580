"""What follows the spikes of a model is left out and said; what cannot be one time step is refused with its line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch_models import BATCH, DT, STEPS, Listed, TimeFirst, Two

from spikec.compiler.frontends.pytorch.frontend import from_torch
from spikec.ir.diagnostics import BadInputError, SpikecWarning, UnsupportedError

pytestmark = pytest.mark.usefixtures("seeded")


class Summed(TimeFirst):
    def forward(self, x: Any) -> Any:
        return super().forward(x).sum(0)


class Added(Two):
    def forward(self, x: Any) -> Any:
        mem, total = self.lif1.reset_mem(), 0
        for each in x:
            spikes, mem = self.lif1(self.fc1(each), mem)
            total = total + spikes
        return F.log_softmax(total / len(x), dim=1)


class LastStep(Two):
    def forward(self, x: Any) -> Any:
        mem = self.lif1.reset_mem()
        for each in x:
            spikes, mem = self.lif1(self.fc1(each), mem)
        return spikes


@pytest.mark.parametrize(("make", "said"), [
    (Summed, "sum over time"), (Added, "sum over time, truediv, log_softmax"), (LastStep, "all steps but the last")])
def test_what_follows_the_spikes_is_left_out_and_said(make: Callable[[], nn.Module], said: str) -> None:
    with pytest.warns(SpikecWarning, match=f"SC227 at 'output'.*{said}"):
        graph = from_torch(make(), dt=DT, sample=torch.rand(STEPS, BATCH, 12))
    assert graph.sources["output"][0] in ("lif1", "lif2")
    assert graph.metadata["import.check"] == "faithful on its grid"


RETURNED: dict[str, Callable[[list[Any], list[Any]], Any]] = {
    "a dict": lambda spikes, membranes: {"spk": torch.stack(spikes), "mem": torch.stack(membranes)},
    "stacks": lambda spikes, membranes: (torch.stack(spikes), torch.stack(membranes)),
    "the last membrane": lambda spikes, membranes: (torch.stack(spikes), membranes[-1]),
}


class Both(Two):
    def __init__(self, ends: Callable[[list[Any], list[Any]], Any]) -> None:
        super().__init__()
        self.ends = ends

    def forward(self, x: Any) -> Any:
        mem, spikes, membranes = self.lif1.reset_mem(), [], []
        for each in x:
            spk, mem = self.lif1(self.fc1(each), mem)
            spikes.append(spk)
            membranes.append(mem)
        return self.ends(spikes, membranes)


@pytest.mark.parametrize("case", RETURNED)
def test_membranes_that_are_returned_beside_spikes_are_told(case: str) -> None:
    with pytest.warns(SpikecWarning, match=r"SC227 at 'lif1'.*beside spikes.*probe 'lif1\.v'"):
        graph = from_torch(Both(RETURNED[case]), dt=DT, sample=torch.rand(STEPS, BATCH, 12))
    assert len(graph.outputs) == 1


def test_a_step_that_hands_on_its_states_says_nothing(recwarn: pytest.WarningsRecorder) -> None:
    class Step(Two):
        def forward(self, x: Any, mem: Any = None) -> Any:
            return self.lif1(self.fc1(x), mem)

    from_torch(Step(), dt=DT)
    assert not [each for each in recwarn if issubclass(each.category, SpikecWarning)]


class Forgetful(Two):
    def forward(self, x: Any) -> Any:
        recorded = []
        for each in x:
            spikes, _ = self.lif1(self.fc1(each), self.lif1.reset_mem())
            recorded.append(spikes)
        return torch.stack(recorded)


class Tampered(Two):
    def forward(self, x: Any) -> Any:
        mem, recorded = self.lif1.reset_mem(), []
        for each in x:
            spikes, mem = self.lif1(self.fc1(each), mem)
            mem = mem * 0.5
            recorded.append(spikes)
        return torch.stack(recorded)


class Swapped(Listed):
    def forward(self, x: Any) -> Any:
        syn, mem = self.cells[0].init_synaptic()
        for each in x:
            spikes, syn, mem = self.cells[0](self.layers[0](each), mem, syn)
        return spikes


class Irregular(Two):
    def forward(self, x: Any) -> Any:
        mem, recorded = self.lif1.reset_mem(), []
        for step, each in enumerate(x):
            current = self.fc1(each) * 2 if step == 4 else self.fc1(each)
            spikes, mem = self.lif1(current, mem)
            recorded.append(spikes)
        return torch.stack(recorded)


class Sparse(Two):
    def forward(self, x: Any) -> Any:
        mem1, mem2 = self.lif1.reset_mem(), self.lif2.reset_mem()
        for step, each in enumerate(x):
            spikes, mem1 = self.lif1(self.fc1(each), mem1)
            if step % 2:
                last, mem2 = self.lif2(self.fc2(spikes), mem2)
        return last


class Charged(Two):
    def forward(self, x: Any) -> Any:
        mem = torch.ones(x.shape[1], 20)
        for each in x:
            spikes, mem = self.lif1(self.fc1(each), mem)
        return spikes


class Branching(Two):
    def forward(self, x: Any) -> Any:
        mem = self.lif1.reset_mem()
        for each in x:
            spikes, mem = self.lif1(self.fc1(each), mem)
            if spikes.sum() > 0:
                break
        return spikes


class Reading(Two):
    def forward(self, x: Any) -> Any:
        return self.fc1(x[0]) * x.mean().item()


class Unknown(Two):
    def __init__(self) -> None:
        super().__init__()
        self.gelu = nn.GELU()

    def forward(self, x: Any) -> Any:
        mem, recorded = self.lif1.reset_mem(), []
        for each in x:
            current = torch.tanh(self.gelu(self.fc1(each)))
            spikes, mem = self.lif1(torch.sigmoid(current), mem)
            recorded.append(spikes)
        return torch.stack(recorded)


class LastAxis(Two):
    def forward(self, x: Any) -> Any:
        mem = self.lif1.reset_mem()
        for step in range(x.shape[-1]):
            spikes, mem = self.lif1(self.fc1(x[..., step]), mem)
        return spikes


class BroughtForward(Two):
    def forward(self, x: Any) -> Any:
        mem = self.lif1.reset_mem()
        for each in x.permute(2, 0, 1):
            spikes, mem = self.lif1(self.fc1(each), mem)
        return spikes


class ByHand(Two):
    def forward(self, x: Any) -> Any:
        mem, recorded = torch.zeros(x.shape[1], 20), []
        for each in x:
            mem = 0.9 * mem + self.fc1(each)
            spikes = (mem > 1).float()
            mem = mem - spikes
            recorded.append(spikes)
        return torch.stack(recorded)


class Surrogate(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        spikes = torch.zeros_like(x)
        spikes[x > 0] = 1.0
        return spikes


class ByAFunction(Two):
    def forward(self, x: Any) -> Any:
        mem, recorded = torch.zeros(x.shape[1], 20), []
        for each in x:
            mem = 0.9 * mem + self.fc1(each)
            recorded.append(Surrogate.apply(mem - 1))
        return torch.stack(recorded)


REFUSED: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "forgotten state": (Forgetful, r"SC226 at 'lif1': .*new state at every call.*Hand each call"),
    "changed state": (Tampered, r"SC226 at 'lif1': the state .* not the one that they returned"),
    "swapped states": (Swapped, r"SC226 at 'cells.0': the state .* in the same order"),
    "odd step": (Irregular, r"SC226 at 'lif1': the steps of the loop .* differ.*step 4"),
    "every other step": (Sparse, r"SC226 at 'lif2': .*not called at every step.*4 of 9"),
    "charged membrane": (Charged, r"SC223 at 'lif1': .*state other than zero"),
    "branch on values": (Branching, r"SC221: .*branches on the values .*if spikes\.sum\(\) > 0.*run all its steps"),
    "neuron by hand": (ByHand, r"SC226.*computes a neuron itself.*\(mem > 1\).*snntorch\.Leaky"),
    "neuron by a function": (ByAFunction, r"SC226.*computes a neuron itself.*spikes\[x > 0\].*snntorch\.Leaky"),
    "value read": (Reading, r"SC221: .*x\.mean\(\)\.item\(\)"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_one_step_is_refused_with_its_line(case: str) -> None:
    make, text = REFUSED[case]
    with pytest.raises(UnsupportedError, match=text) as caught:
        from_torch(make(), dt=DT, sample=torch.rand(STEPS, BATCH, 12))
    assert f"{Path(__file__).name}:" in str(caught.value)
    assert len(caught.value.diagnostics) == 1, "the fault itself, and not what follows from it"


def test_everything_unsupported_is_listed_at_once_with_its_line() -> None:
    with pytest.raises(UnsupportedError) as caught:
        from_torch(Unknown(), dt=DT, sample=torch.rand(STEPS, BATCH, 12))
    found = {(each.code, each.node) for each in caught.value.diagnostics}
    assert found == {("SC220", "gelu"), ("SC226", "tanh"), ("SC226", "sigmoid")}
    assert all(f"{Path(__file__).name}:" in each.message for each in caught.value.diagnostics)
    assert "torch.tanh(self.gelu(self.fc1(each)))" in caught.value.diagnostics[0].message


def test_without_a_sample_the_number_of_steps_is_asked_for() -> None:
    with pytest.raises(UnsupportedError, match=r"SC221: .*range\(x\.size\(0\)\).*sample="):
        from_torch(TimeFirst(), dt=DT)


@pytest.mark.parametrize("make", [LastAxis, BroughtForward])
def test_time_behind_the_second_axis_is_refused(make: Callable[[], nn.Module]) -> None:
    with pytest.raises(UnsupportedError, match=r"SC226.*time is another axis .*\(time, batch, …\)") as caught:
        from_torch(make(), dt=DT, sample=torch.rand(BATCH, 12, STEPS))
    assert f"{Path(__file__).name}:" in str(caught.value)
    assert len(caught.value.diagnostics) == 1


def test_a_branch_on_a_size_asks_for_a_sample() -> None:
    class Sized(Two):
        def forward(self, x: Any) -> Any:
            if x.shape[-1] > 3:
                x = x * 2
            return self.lif1(self.fc1(x))

    with pytest.raises(UnsupportedError, match=r"SC221: .*branches on a size.*Pass sample="):
        from_torch(Sized(), dt=DT, input_shape=(12,))
    assert from_torch(Sized(), dt=DT, sample=torch.rand(2, 12)).metadata["import.check"] == "faithful on its grid"


def test_an_option_by_keyword_has_its_default() -> None:
    class Optional(Two):
        def forward(self, x: Any, *, doubled: bool = False) -> Any:
            if doubled:
                x = x * 2
            return self.lif1(self.fc1(x))

    graph = from_torch(Optional(), dt=DT)
    assert set(graph.nodes) == {"input", "fc1", "lif1", "output"}
    assert graph.metadata["import.check"] == "faithful on its grid"


def test_a_sample_that_does_not_fit_is_told_with_the_layer() -> None:
    class Step(Two):
        def forward(self, x: Any) -> Any:
            return self.lif1(self.fc1(x))

    with pytest.raises(BadInputError, match=r"SC225: 'fc1' fails on a value of shape \(2, 21\).*Give one batch"):
        from_torch(Step(), dt=DT, sample=torch.rand(2, 21))
