"""Odd models: each comes in as it is, or is refused with its file and line."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
snntorch = pytest.importorskip("snntorch")
import torch.nn.functional as F  # noqa: E402
from torch import nn  # noqa: E402

from spikec.compiler.frontends.pytorch.frontend import from_torch  # noqa: E402
from spikec.ir.diagnostics import SpikecWarning, UnsupportedError  # noqa: E402
from spikec.ir.step import simulate_step  # noqa: E402

DT = 1e-3
BATCH, STEPS = 3, 12
Forward = Callable[[Any, Any], Any]


@pytest.fixture(autouse=True)
def _seeded() -> Iterator[None]:
    torch.manual_seed(1)
    with warnings.catch_warnings():
        warnings.simplefilter("error", SpikecWarning)
        yield


class Odd(nn.Module):
    """`forward` is given; one step, with neurons that keep their states."""

    def __init__(self, forward: Forward) -> None:
        super().__init__()
        self.fc, self.fc2, self.bias = nn.Linear(12, 12), nn.Linear(12, 12), nn.Parameter(torch.randn(12))
        self.lif, self.lif2 = (snntorch.Leaky(0.9, threshold=0.4, init_hidden=True) for _ in range(2))
        self.conv, self.channels, self.own = nn.Conv2d(1, 3, 3), nn.Parameter(torch.randn(3, 1, 1)), forward

    def forward(self, x: Any) -> Any:
        return self.own(self, x)


def _aliased(model: Any, x: Any) -> Any:
    current = model.fc(x)
    kept = current
    current.mul_(3.0)
    return model.lif(kept)


def _augmented(model: Any, x: Any) -> Any:
    current = model.fc(x)
    current += 0.5
    current *= 2
    return model.lif(current)


FAITHFUL: dict[str, Forward] = {
    "a bias for each feature": lambda model, x: model.lif(model.fc(x) + model.bias),
    "a bias for all": lambda model, x: model.lif(0.3 + model.fc(x)),
    "a bias that is subtracted": lambda model, x: model.lif(model.fc(x) - model.bias),
    "a value taken from a bias": lambda model, x: model.lif(model.bias - model.fc(x)),
    "silence as input": lambda model, x: model.lif2(1 - model.lif(model.fc(x))),
    "changes in place": _augmented,
    "a product in place": lambda model, x: model.lif(model.fc(x).mul_(2.0)),
    "a layer that is used twice": lambda model, x: model.lif2(model.fc(model.lif(model.fc(x)))),
    "dropout in training mode": lambda model, x: model.lif(F.dropout(model.fc(x), 0.5, model.training)),
}


@pytest.mark.parametrize("case", FAITHFUL)
def test_odd_models_are_imported_faithfully(case: str) -> None:
    model = Odd(FAITHFUL[case]).train()
    graph = from_torch(model, torch.rand(BATCH, 12), dt=DT)
    assert graph.metadata["import.check"] == "faithful on its grid"
    raster = (torch.rand(BATCH, STEPS, 12) < 0.4).float() * 1.5
    model.eval()
    for cells in (model.lif, model.lif2):
        cells.reset_mem()
    with torch.no_grad():
        theirs = torch.stack([model(raster[:, step]) for step in range(STEPS)], 1).numpy()
    assert theirs.any()
    np.testing.assert_array_equal(simulate_step(graph, raster.numpy()).spikes["output"], theirs)


def test_a_bias_for_each_channel_of_an_image() -> None:
    model = Odd(lambda model, x: model.lif(model.conv(x) + model.channels))
    graph = from_torch(model, torch.rand(BATCH, 1, 5, 5), dt=DT)
    assert graph.metadata["import.check"] == "faithful on its grid"


def test_views_of_samples_are_checked() -> None:
    """The check hands over samples without gaps between them, as data loaders do."""
    model = Odd(lambda model, x: model.lif(model.fc(x.view(x.shape[0], -1))))
    graph = from_torch(model, torch.rand(BATCH, 3, 4), dt=DT)
    assert graph.metadata["import.check"] == "faithful on its grid"


REFUSED: dict[str, tuple[str, Forward]] = {
    "another name of what is changed": ("SC226.*changed in place", _aliased),
    "dropout that is always on": ("SC226.*eval mode", lambda model, x: model.lif(F.dropout(model.fc(x), 0.5))),
    "random numbers": ("SC221.*random", lambda model, x: model.lif(model.fc(x) + torch.rand(12))),
    "a sum of features": ("SC226.*no counterpart", lambda model, x: model.lif(model.fc(x).sum(1, keepdim=True))),
    "a cast": ("SC226.*whole numbers", lambda model, x: model.lif(model.fc(x).to(torch.int32).float())),
    "bounds for each neuron": ("SC223.*numbers", lambda model, x: model.lif(
        model.fc(x).clamp(min=torch.zeros(12), max=torch.ones(12)))),
    "a bias for each neuron of an image": ("SC226.*one a channel", lambda model, x: model.lif(
        model.conv(x) + torch.arange(27.0).view(3, 3, 3))),
}


@pytest.mark.parametrize("case", REFUSED)
def test_odd_models_are_refused_with_file_and_line(case: str) -> None:
    text, forward = REFUSED[case]
    image = "image" in case
    with pytest.raises(UnsupportedError, match=text + r".*test_torch_odd\.py:\d+"):
        from_torch(Odd(forward), torch.rand(BATCH, 1, 5, 5) if image else torch.rand(BATCH, 12), dt=DT)


def test_any_number_of_arguments_is_refused() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc, self.lif = nn.Linear(12, 4), snntorch.Leaky(0.9, init_hidden=True)

        def forward(self, *steps: Any) -> Any:
            return torch.stack([self.lif(self.fc(each)) for each in steps])

    with pytest.raises(UnsupportedError, match=r"SC221.*any number of arguments.*Name its parameters"):
        from_torch(Net(), tuple(torch.rand(5, BATCH, 12)), dt=DT)


@pytest.mark.parametrize("parameter", ["weight", "bias"])
def test_complex_parameters_are_refused(parameter: str) -> None:
    """Their imaginary parts were dropped."""
    model = nn.Sequential(nn.Linear(12, 4), snntorch.Leaky(0.9, init_hidden=True))
    setattr(model[0], parameter, nn.Parameter(getattr(model[0], parameter).to(torch.complex64) * (1 + 1j)))
    with pytest.raises(UnsupportedError, match="SC223 at '0': values are complex"):
        from_torch(model, dt=DT)


def _sequence() -> nn.Sequential:
    return nn.Sequential(nn.Linear(12, 20), snntorch.Leaky(0.9, threshold=0.5, init_hidden=True))


WRAPPERS: dict[str, Callable[[nn.Module], nn.Module]] = {
    "DataParallel": nn.DataParallel,
    "AveragedModel": torch.optim.swa_utils.AveragedModel,
    "compile": torch.compile,
    "a compiled layer": lambda model: nn.Sequential(torch.compile(model[0]), nn.DataParallel(model[1])),
}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_wrappers_are_looked_into(wrapper: str) -> None:
    model = _sequence()
    graph = from_torch(WRAPPERS[wrapper](model), dt=DT)
    assert graph.metadata["import.check"] == "faithful on its grid"
    assert list(graph.nodes) == list(from_torch(model, dt=DT).nodes)


def test_a_step_that_starts_from_zeros_is_told() -> None:
    """The module forgets at every call, and the graph does not."""
    class Once(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc, self.lif = nn.Linear(12, 20), snntorch.Leaky(0.9, threshold=0.5)

        def forward(self, x: Any) -> Any:
            return self.lif(self.fc(x), self.lif.reset_mem())[0]

    with pytest.warns(SpikecWarning, match=r"SC226 at 'lif': .*zeros at every call.*test_torch_odd\.py:\d+"):
        from_torch(Once(), torch.rand(BATCH, 12), dt=DT)


STARTS: dict[str, Callable[[Any, Any, Any], Any]] = {
    "computed from the input": lambda model, x, mem: model.first(x),
    "changed on the way": lambda model, x, mem: mem * 0.5,
    "ones": lambda model, x, mem: torch.ones(BATCH, 20),
}


@pytest.mark.parametrize("case", STARTS)
def test_states_from_elsewhere_are_refused(case: str) -> None:
    """The check hands each call the state of the call before, so it would not see them."""
    class Step(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc, self.first, self.lif = nn.Linear(12, 20), nn.Linear(12, 20), snntorch.Leaky(0.9)

        def forward(self, x: Any, mem: Any) -> Any:
            return self.lif(self.fc(x), STARTS[case](self, x, mem))

    with pytest.raises(UnsupportedError, match=r"SC223 at 'lif': .*other than zero.*test_torch_odd\.py:\d+"):
        from_torch(Step(), (torch.rand(BATCH, 12), torch.zeros(BATCH, 20)), dt=DT)


def test_cells_of_norse_start_anew_without_a_state() -> None:
    norse = pytest.importorskip("norse.torch", reason="needs Norse")

    class Net(nn.Module):
        def __init__(self, steps: int) -> None:
            super().__init__()
            self.fc, self.cells, self.steps = nn.Linear(12, 20), norse.LIFCell(), steps

        def forward(self, x: Any) -> Any:
            found = [self.cells(self.fc(each))[0] for each in (x if self.steps > 1 else [x])]
            return torch.stack(found) if self.steps > 1 else found[0]

    with pytest.raises(UnsupportedError, match="SC226 at 'cells': the neurons start from a new state at every call"):
        from_torch(Net(4), torch.rand(4, BATCH, 12))
    with pytest.warns(SpikecWarning, match="SC226 at 'cells': .*zeros at every call"):
        from_torch(Net(1), torch.rand(BATCH, 12))
