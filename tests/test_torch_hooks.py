"""Forward hooks of an imported module: those that change values are refused, those that look on change nothing. Train
mode is told, and the precision of a sample does not matter."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import snntorch
import torch
from torch import nn
from torch_models import BATCH, DT, STEPS, TimeFirst

from spikec.compiler.frontends.pytorch.frontend import from_torch
from spikec.ir.diagnostics import SpikecWarning, UnsupportedError
from spikec.ir.graph import same_graph

pytestmark = pytest.mark.usefixtures("seeded")

PLACES = ("", "0", "0.0", "0.1", "1", "2")
"""The model, a container, a layer and neurons in it, a layer, neurons."""


def _neurons() -> snntorch.Leaky:
    return snntorch.Leaky(0.9, threshold=0.3, init_hidden=True)


def _model() -> nn.Module:
    return nn.Sequential(nn.Sequential(nn.Linear(6, 5), _neurons()), nn.Linear(5, 4), _neurons()).eval()


def _doubled(module: nn.Module, given: Any, returned: Any) -> None:
    returned.mul_(2)


def _clamped(module: Any, given: Any) -> None:
    module.weight.data.clamp_(0)


def _at_rest(module: Any, given: Any) -> None:
    module[2].reset_mem()


CHANGES: dict[str, Callable[[nn.Module], Any]] = {
    "what its module gives": lambda part: part.register_forward_hook(lambda module, given, returned: 1 - returned),
    "gives, always": lambda part: part.register_forward_hook(lambda *_: _[-1].clone() * 1, always_call=True),
    "what its module gives, in place": lambda part: part.register_forward_hook(_doubled),
    "what its module gets": lambda part: part.register_forward_pre_hook(lambda module, given: given[0] * 2),
    "what its module gets, in a tuple": lambda part: part.register_forward_pre_hook(
        lambda module, given: (given[0] * 2,)),
    "what its module gets, by name": lambda part: part.register_forward_pre_hook(
        lambda module, given, named: ((given[0] * 2,), named), with_kwargs=True),
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("kind", CHANGES)
def test_a_hook_that_changes_values_is_refused_by_the_path_of_its_module(place: str, kind: str) -> None:
    model = _model()
    CHANGES[kind](model.get_submodule(place))
    with pytest.raises(UnsupportedError, match=r"SC223.*forward hook") as caught:
        from_torch(model, dt=DT, check=False)
    assert [found.node for found in caught.value.diagnostics] == [place or "the model"]
    assert kind.split(",")[0].split()[-1] in caught.value.diagnostics[0].message


def test_hooks_of_a_model_of_whole_sequences_are_refused_all_at_once() -> None:
    model = TimeFirst().eval()
    for part in (model, model.fc1):
        part.register_forward_hook(lambda module, given, returned: returned * 2)
    with pytest.raises(UnsupportedError, match="SC223") as caught:
        from_torch(model, dt=DT, sample=torch.rand(STEPS, BATCH, 12))
    assert [found.node for found in caught.value.diagnostics] == ["fc1", "the model"]


def test_hooks_of_a_network_without_spikes_are_refused() -> None:
    model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    model.register_forward_hook(lambda module, given, returned: -returned)
    with pytest.raises(UnsupportedError, match=r"SC223 at 'the model'"):
        from_torch(model)


@pytest.mark.parametrize("place", PLACES)
def test_a_hook_that_looks_on_changes_nothing(place: str) -> None:
    bare, seen = _model(), []
    graph = from_torch(bare, dt=DT)
    part = bare.get_submodule(place)
    part.register_forward_hook(lambda module, given, returned: seen.append(returned.detach().numpy()))
    part.register_forward_hook(lambda module, given, named, returned: returned, with_kwargs=True)
    part.register_forward_pre_hook(lambda module, given: seen.append(float(given[0].sum())))
    part.register_forward_pre_hook(lambda module, given: given)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        watched = from_torch(bare, dt=DT)
    assert seen
    assert same_graph(watched, graph)
    assert watched.metadata["import.check"] == "faithful on its grid"
    assert len(part._forward_hooks) == len(part._forward_pre_hooks) == 2


def test_a_hook_on_every_module_is_refused_and_stays() -> None:
    handle = nn.modules.module.register_module_forward_hook(
        lambda module, given, returned: returned * 2 if isinstance(module, nn.Sequential) else None)
    try:
        with pytest.raises(UnsupportedError, match="SC223 at 'every module'"):
            from_torch(_model(), dt=DT)
        assert (nn.Sequential()(torch.ones(1)) == 2).all()
    finally:
        handle.remove()


def test_the_hooks_of_a_compiled_module_are_those_of_the_model() -> None:
    compiled: Any = torch.compile(_model())
    compiled.register_forward_hook(lambda module, given, returned: 1 - returned)
    with pytest.raises(UnsupportedError, match=r"SC223 at 'the model'"):
        from_torch(compiled, dt=DT)


def test_a_hook_that_writes_to_parameters_is_refused_and_leaves_them() -> None:
    model = _model()
    weight = model[1].weight.detach().clone()
    model[1].register_forward_pre_hook(_clamped)
    with pytest.raises(UnsupportedError, match=r"SC223 at '1'.*parameters"):
        from_torch(model, dt=DT)
    assert torch.equal(model[1].weight, weight)


def test_a_hook_that_resets_neurons_at_every_step_is_refused() -> None:
    model = _model()
    model.register_forward_pre_hook(_at_rest)
    with pytest.raises(UnsupportedError, match=r"SC223 at 'the model'.*states"):
        from_torch(model, dt=DT)


def test_hooks_that_cannot_be_tried_are_told() -> None:
    def hook(module: nn.Module, given: Any, returned: Any) -> None:
        raise ValueError("not on these values")

    model = _model()
    model.register_forward_hook(hook)
    with pytest.warns(SpikecWarning, match=r"SC223.*could not be tried.*not on these values"):
        from_torch(model, dt=DT, check=False)


@pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning")
@pytest.mark.parametrize("put", [nn.utils.weight_norm, nn.utils.spectral_norm])
def test_weights_that_torch_computes_by_a_hook_are_those_of_now(put: Any) -> None:
    model = _model()
    put(model[1])
    model(torch.zeros(1, 6))
    with torch.no_grad():
        (model[1].weight_g if hasattr(model[1], "weight_g") else model[1].bias).mul_(3.0)
    graph = from_torch(model, dt=DT)
    model(torch.zeros(1, 6))  # computes the weights anew
    assert np.allclose(graph.nodes["1"].weight, model[1].weight.detach().numpy(), rtol=1e-6)
    assert graph.metadata["import.check"] == "faithful on its grid"


# ---- mode and precision

@pytest.mark.parametrize(("layer", "said"), [
    (nn.BatchNorm1d(5), "BatchNorm1d"), (nn.Dropout(0.2), "Dropout"), (nn.Dropout(0.0), None), (nn.Identity(), None)])
def test_train_mode_is_told_where_it_matters(layer: nn.Module, said: str | None) -> None:
    model = nn.Sequential(nn.Linear(6, 5), layer, _neurons()).train()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        from_torch(model, dt=DT)
    found = [str(each.message) for each in caught if "SC228" in str(each.message)]
    assert len(found) == (said is not None)
    assert all("at '1'" in each and f"value: {said}" in each for each in found)
    assert model.training
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        from_torch(model.eval(), dt=DT)


def test_a_sample_is_taken_in_the_precision_of_the_module() -> None:
    model = nn.Sequential(nn.Linear(6, 5), _neurons()).double()
    graph = from_torch(model, dt=DT, sample=torch.rand(2, 6))
    assert graph.metadata["import.check"] == "faithful on its grid"
