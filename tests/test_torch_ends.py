"""What the outputs of an imported model show: layers after the last neurons, and some of the steps."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
snntorch = pytest.importorskip("snntorch")
from snntorch import utils  # noqa: E402
from torch import nn  # noqa: E402

import spikec  # noqa: E402
from spikec.compiler.frontends.pytorch.frontend import from_torch  # noqa: E402
from spikec.ir.diagnostics import SpikecWarning, UnsupportedError  # noqa: E402
from spikec.ir.graph import Graph, same_graph  # noqa: E402
from spikec.ir.nodes import LI, is_memoryless  # noqa: E402
from spikec.ir.readouts import with_readouts, without_readouts  # noqa: E402
from spikec.ir.step import simulate_step  # noqa: E402

DT = 1e-3
STEPS, BATCH = 7, 3


@pytest.fixture(autouse=True)
def _seeded() -> Iterator[None]:
    torch.manual_seed(5)
    with warnings.catch_warnings():
        warnings.simplefilter("error", SpikecWarning)
        yield


class Loop(nn.Module):
    """`ends` makes what is returned of the module, and of the spikes of all steps."""

    def __init__(self, ends: Callable[[Any, list[Any]], Any]) -> None:
        super().__init__()
        self.fc, self.lif = nn.Linear(12, 20), snntorch.Leaky(0.9, threshold=0.5)
        self.out, self.skip = nn.Linear(20, 4), nn.Linear(20, 4, bias=False)
        self.ends = ends

    def forward(self, x: Any) -> Any:
        mem, spikes = self.lif.reset_mem(), []
        for each in x:
            spk, mem = self.lif(self.fc(each), mem)
            spikes.append(spk)
        return self.ends(self, spikes)


def _raster(shape: tuple[int, ...] = (12,)) -> Any:
    return (np.random.default_rng(1).random((BATCH, STEPS, *shape)) < 0.4).astype(float)


def _returned(model: nn.Module, raster: Any) -> Any:
    """(batch, time, n) of a loop that returns all steps."""
    with torch.no_grad():
        return model(torch.from_numpy(raster).float().transpose(0, 1)).transpose(0, 1).numpy()


ENDS: dict[str, Callable[[Any, list[Any]], Any]] = {
    "a layer at every step": lambda model, spikes: torch.stack([model.out(each) for each in spikes]),
    "a layer after the loop": lambda model, spikes: model.out(torch.stack(spikes)),
    "scaled spikes": lambda model, spikes: torch.stack([each * 3 for each in spikes]),
    "a sum of two layers": lambda model, spikes: torch.stack([model.out(each) + model.skip(each) for each in spikes]),
}


@pytest.mark.parametrize("ends", ENDS)
def test_an_output_after_the_last_neurons_shows_what_forward_returns(ends: str) -> None:
    model, raster = Loop(ENDS[ends]), _raster()
    graph = from_torch(model, torch.rand(STEPS, BATCH, 12), dt=DT)
    assert graph.metadata["import.check"] == "faithful on its grid"
    theirs = _returned(model, raster)
    assert np.ptp(theirs) > 0.1
    np.testing.assert_allclose(simulate_step(graph, raster).voltage["output"], theirs, atol=1e-5)
    run = spikec.compile(graph, target="clock").run(raster, probes={"output.v": None})
    np.testing.assert_allclose(run.probes["output.v"], theirs, atol=1e-5)


def test_a_model_of_single_steps_may_end_in_a_layer() -> None:
    model = nn.Sequential(nn.Linear(12, 20), snntorch.Leaky(0.9, threshold=0.5, init_hidden=True), nn.Linear(20, 4))
    graph, raster = from_torch(model, dt=DT), _raster()
    utils.reset(model)
    with torch.no_grad():
        theirs = torch.stack([model(torch.from_numpy(raster[:, step]).float()) for step in range(STEPS)], 1).numpy()
    np.testing.assert_allclose(simulate_step(graph, raster).voltage["output"], theirs, atol=1e-5)


def test_the_check_sees_the_layer_at_the_end() -> None:
    """A layer that does something else than its class is found by comparing what it returns."""
    model = Loop(ENDS["a layer at every step"])
    forward = model.out.forward
    model.out.forward = lambda value: forward(value) + 1.0
    with pytest.warns(SpikecWarning, match="SC224 at 'output.readout'"):
        graph = from_torch(model, torch.rand(STEPS, BATCH, 12), dt=DT)
    assert graph.metadata["import.check"] == "differs"


def test_gradients_reach_the_layer_at_the_end() -> None:
    model = Loop(ENDS["a layer at every step"])
    graph, raster = from_torch(model, torch.rand(STEPS, BATCH, 12), dt=DT), _raster()
    module = spikec.compile(graph, target="clock").module()
    (module(torch.from_numpy(raster), dt=DT).voltage("output") ** 2).mean().backward()
    theirs = model(torch.from_numpy(raster).float().transpose(0, 1))
    (theirs ** 2).mean().backward()
    ours = dict(module.named_parameters())["out.weight"].grad
    torch.testing.assert_close(ours, model.out.weight.grad)


def test_continuous_time_says_what_to_put_in_the_place_of_the_readout() -> None:
    graph = from_torch(Loop(ENDS["a layer at every step"]), torch.rand(STEPS, BATCH, 12), dt=DT)
    with pytest.raises(UnsupportedError, match=r"SC306 at 'output.readout'.*LI, CubaLI or I"):
        spikec.compile(graph)
    changed = graph.with_nodes({"output.readout": LI(shape=(4,), tau=np.full(4, 5e-3), r=np.ones(4),
                                                     v_leak=np.zeros(4))})
    assert spikec.compile(changed).run(_raster(), dt=DT, duration=STEPS * DT).voltage_max["output"]


def test_graphs_from_elsewhere_get_readouts() -> None:
    net = spikec.Builder(spikec.Discretization(DT))
    cells = net.lif("lif", 3, tau=5e-3)
    net.connect(net.input("in", 2), cells, weight=np.full((3, 2), 9.0))
    net.output("out", net.linear("fc", cells, weight=np.eye(3)[:2]))
    net.output("spikes", cells)
    graph = net.build()
    with pytest.raises(UnsupportedError, match=r"SC303 at 'out'.*spikec\.with_readouts"):
        spikec.compile(graph, target="clock")
    complete = spikec.with_readouts(graph)
    assert complete.sources["out"] == ("out.readout",) and complete.sources["spikes"] == ("lif",)
    assert is_memoryless(complete.nodes["out.readout"]) and with_readouts(complete) is complete
    run = simulate_step(complete, np.ones((1, 4, 2)))
    np.testing.assert_array_equal(run.voltage["out"], run.spikes["lif"][..., :2])
    assert run.spikes["lif"].any() and same_graph(without_readouts(complete), graph)


def test_files_of_nir_state_the_layer_itself(tmp_path: Path) -> None:
    graph = from_torch(Loop(ENDS["a layer at every step"]), torch.rand(STEPS, BATCH, 12), dt=DT)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SpikecWarning)
        spikec.to_nir(graph, tmp_path / "net.nir", extensions=True)
        again = spikec.from_nir(tmp_path / "net.nir")
    assert again.sources["output"] == ("out",)
    raster = _raster()
    np.testing.assert_allclose(simulate_step(with_readouts(again), raster).voltage["output"],
                               simulate_step(graph, raster).voltage["output"], atol=1e-9)


def test_flattened_spikes_are_shown_as_spikes() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 3), snntorch.Leaky(0.9, threshold=0.2, init_hidden=True), nn.Flatten())
    with pytest.warns(SpikecWarning, match=r"SC227 at 'output'.*flatten"):
        graph = from_torch(model, input_shape=(1, 5, 5), dt=DT)
    assert graph.sources["output"] == ("1",)
    assert len(spikec.compile(graph, target="clock").run(_raster((1, 5, 5))).spikes["output"])


PARTS: dict[str, tuple[str, Callable[[Any, list[Any]], Any]]] = {
    "without the first": ("all steps but 1 to 6", lambda model, spikes: torch.stack(spikes[1:])),
    "the first two": ("all steps but 0 to 1", lambda model, spikes: torch.stack(spikes[:2])),
    "one": ("all steps but step 2", lambda model, spikes: spikes[2]),
    "the last of a stack": ("all steps but step 6", lambda model, spikes: torch.stack(spikes[-1:])),
    "joined": ("all steps but 1 to 6", lambda model, spikes: torch.cat([each.unsqueeze(0) for each in spikes[1:]])),
    "summed": ("all steps but 1 to 6, sum over time", lambda model, spikes: torch.stack(spikes[1:]).sum(0)),
    "a layer on some": ("all steps but 2 to 6", lambda model, spikes: model.out(torch.stack(spikes[2:]))),
    "sliced": (r"all steps but \[1:\]", lambda model, spikes: torch.stack(spikes)[1:]),
    "under another name": ("all steps but step 0", lambda model, spikes: {"all": torch.stack(spikes), "a": spikes[0]}),
}


@pytest.mark.parametrize("case", PARTS)
def test_steps_that_are_left_out_are_told(case: str) -> None:
    text, ends = PARTS[case]
    with pytest.warns(SpikecWarning, match=f"SC227.*{text}"):
        graph: Graph = from_torch(Loop(ends), torch.rand(STEPS, BATCH, 12), dt=DT)
    assert graph.metadata["import.check"] == "faithful on its grid"


def test_a_list_of_every_step_is_every_step() -> None:
    graph = from_torch(Loop(lambda model, spikes: spikes), torch.rand(STEPS, BATCH, 12), dt=DT)
    assert graph.outputs == ("output",) and graph.sources["output"] == ("lif",)


def test_sequences_of_different_steps_are_not_taken_together() -> None:
    model = Loop(lambda model, spikes: torch.stack(spikes[1:]) - torch.stack(spikes[:-1]))
    with pytest.raises(UnsupportedError, match=r"SC226.*different steps.*test_torch_ends.py:\d+"):
        from_torch(model, torch.rand(STEPS, BATCH, 12), dt=DT)


def test_a_second_loop_counts_from_the_first_step_of_its_sequence() -> None:
    """The second layer sees the first a step ahead, and calls for one step less: refused, where it was a step off."""
    class Shifted(Loop):
        def forward(self, x: Any) -> Any:
            later, mem, returned = super().forward(x), self.lif.reset_mem(), []
            for each in later:
                spk, mem = self.second(self.out(each), mem)
                returned.append(spk)
            return torch.stack(returned)

    model = Shifted(lambda model, spikes: torch.stack(spikes[1:]))
    model.second = snntorch.Leaky(0.9, threshold=0.5)
    with pytest.raises(UnsupportedError, match="SC226 at 'second'"):
        from_torch(model, torch.rand(STEPS, BATCH, 12), dt=DT)
