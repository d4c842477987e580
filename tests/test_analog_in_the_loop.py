"""An analog chip in the loop: exact gradients at its spikes and weights, what is trained on it, and what a user's own
measurement may do wrong."""

from __future__ import annotations

import copy
import pickle
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from analog_nets import OWN, net, the_chip, with_figures
from cli_commands import say, say_json
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import spikec
from spikec import Events, Graph, Trainer, losses
from spikec.ir import nodes as ir
from spikec.ir.diagnostics import BadInputError, SpikecError, SpikecWarning
from spikec.ir.event_files import write_events
from spikec.ir.graph import Discretization
from spikec.ir.npz import write_npz
from spikec.ir.text import write
from spikec.runtime.analog.in_the_loop import MeasureError
from spikec.runtime.checkpoint import read_checkpoint
from spikec.targets.analog.program import AnalogProgram

DURATION = 0.04
QUIET: dict[str, Any] = {"mismatch": "none", "noise": False}


@pytest.fixture(autouse=True)
def _quiet(one_thread: None) -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SpikecWarning)  # of weights that are cut off
        yield


def compiled(graph: Graph, target: str = "brainscales2", stamp: float | None = None, **options: Any) -> AnalogProgram:
    """`stamp`: of the chip's time, in the place of its own."""
    program = spikec.compile(graph, target, **options)
    assert isinstance(program, AnalogProgram)
    if stamp is None:
        return program
    return AnalogProgram(graph, target, program._lower, program._given, chip=with_figures(program.chip,
                                                                                       time__stamp=stamp))


def stimulus(graph: Graph, seed: int = 0, batch: int = 2, per_sample: int = 40) -> dict[str, Events]:
    rng, (name,) = np.random.default_rng(seed), graph.inputs
    n = int(np.prod(graph.nodes[name].shape))
    return {name: Events.from_samples([(rng.uniform(0, 0.8 * DURATION, per_sample), rng.integers(0, n, per_sample))
                                       for _ in range(batch)])}


# ---- gradients ----
def every_loss(out: Any, program: AnalogProgram) -> Tensor:
    """All that populations offer, with fixed random weights: times, first times, membranes; maxima and integrals."""
    rng = torch.Generator().manual_seed(0)

    def weighted(value: Tensor) -> Tensor:
        weight = torch.randn(value.shape, generator=rng, dtype=torch.float64)
        return (weight * torch.where(torch.isfinite(value), value, 0)).sum()

    total = torch.zeros((), dtype=torch.float64)
    for name, each in program.network.populations.items():
        if each.spiking:
            total = total + 20 * weighted(out.spike_times(name, 12)) + 10 * weighted(out.first_spike(name))
            total = total + 0.3 * weighted(out.voltage(name, [0.2 * DURATION, 0.5 * DURATION]))
        else:
            total = total + weighted(out.voltage_max(name)) + 30 * weighted(out.voltage_integral(name))
    return total


def gradients(module: Any, program: AnalogProgram, events: Mapping[str, Events]) -> tuple[dict[str, Tensor], Any]:
    """Of the loss, by every weight, delay and input time; and the outputs."""
    module.zero_grad()
    times = {name: torch.tensor(each.times, requires_grad=True) for name, each in events.items()}
    out = module({name: Events(times[name], each.indices, each.offsets) for name, each in events.items()},
                 duration=DURATION)
    every_loss(out, program).backward()
    found = {name: each.grad for name, each in module.named_parameters() if each.grad is not None}
    return {**found, **{name: each.grad for name, each in times.items() if each.grad is not None}}, out


def both(program: AnalogProgram, events: Mapping[str, Events]) -> tuple[dict[str, tuple[Tensor, Tensor]], int]:
    """By weights, delays and input times, the gradient in the loop and that of the event target for the network that
    the chip holds; and how many spikes there were."""
    train = ("weight", "delay") if any(each.delay is not None for each in program.network.projections) else ("weight",)
    found, out = gradients(program.module(torch.float64, train, guard=1e-6), program, events)
    held = the_chip(program)
    wanted, _ = gradients(spikec.compile(held).module(torch.float64, train), program, events)
    pairs = {name: (found[name], wanted[name]) for name in events}
    through = [name for name, node in held.nodes.items() if isinstance(node, ir.Linear)]
    for each, name in zip(program.network.projections, through, strict=True):
        pairs[f"{each.name}.weight"] = found[f"{each.name}.weight"], wanted[f"{name}.weight"]
        if each.delay is not None:
            (mine,), (other,) = program.graph.sources[each.name], held.sources[name]
            pairs[f"{mine}.delay"] = found[f"{mine}.delay"], wanted[f"{other}.delay"]
    return pairs, sum(out.total_spikes(name) for name, each in program.network.populations.items() if each.spiking)


def distance(pairs: Mapping[str, tuple[Tensor, Tensor]]) -> float:
    """Largest deviation, in units of the largest gradient of the same parameter."""
    return max(float((found - wanted).abs().max() / (wanted.abs().max() + 1e-9)) for found, wanted in pairs.values())


@given(target=st.sampled_from(OWN), seed=st.integers(0, 2**32 - 1), rows=st.integers(1, 3),
       options=st.fixed_dictionaries({"kind": st.sampled_from(["CubaLIF", "LIF"]), "recurrent": st.booleans(),
                                      "delay": st.booleans(), "bias": st.booleans(), "readout": st.booleans(),
                                      "refractory": st.sampled_from([0.0, 1e-3, 7e-3])}))
@settings(max_examples=30)
def test_gradients_are_those_of_the_event_target_at_the_weights_that_the_chip_holds(
        target: str, seed: int, rows: int, options: dict[str, Any]) -> None:
    graph = net(seed, **options)
    program = compiled(graph, target, stamp=0.0, rows=rows, **QUIET)
    pairs, _ = both(program, stimulus(graph, seed))
    assert distance(pairs) < 1e-9
    assert ("wait.delay" in pairs) == options["delay"]


def test_nets_of_these_really_fire_and_have_gradients() -> None:
    for seed in range(4):
        graph = net(seed, recurrent=True, delay=True, readout=False)
        pairs, spikes = both(compiled(graph, stamp=0.0, **QUIET), stimulus(graph, seed))
        assert spikes > 20 and set(pairs) == {"in", "fc.weight", "fc2.weight", "loop.weight", "wait.delay",
                                              "later.delay"}
        assert all(float(wanted.abs().max()) > 1e-6 for _, wanted in pairs.values()) and distance(pairs) < 1e-9


@pytest.mark.parametrize("options", [{}, {"recurrent": True}, {"delay": True}, {"kind": "LIF"}])
def test_with_finer_stamps_gradients_come_to_them(options: dict[str, Any]) -> None:
    graph = net(5, **options)
    far = [distance(both(compiled(graph, stamp=stamp, **QUIET), stimulus(graph, 5, per_sample=12))[0])
           for stamp in (8e-11, 8e-13, 8e-15)]
    assert far[0] > far[1] > far[2] and far[2] < 1e-4
    assert far[0] / far[2] > 1e3  # first order


# ---- weights of the chip, and what adds up behind them ----
def sent_codes(module: Any, events: Mapping[str, Events]) -> dict[str, Any]:
    """What goes out to the chip in a run."""
    module(events, duration=DURATION)
    return {name: codes.copy() for name, codes in module._loop.sent.items()}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_changes_smaller_than_a_step_add_up_behind_the_codes(dtype: torch.dtype) -> None:
    graph = net(1)
    program, events = compiled(graph, full_scale=2.0, **QUIET), stimulus(graph)
    module = program.module(dtype)
    weight, held = module.get_parameter("fc.weight"), program.held.projections[0]
    assert all(np.array_equal(codes, program.codes[name]) for name, codes in sent_codes(module, events).items())
    with torch.no_grad():  # from the middle of a step, a fifth of one at a time
        weight.copy_(torch.from_numpy(held.codes * held.step[:, None]))
        seen = []
        for _ in range(4):
            weight.add_(torch.from_numpy(np.broadcast_to(0.2 * held.step[:, None], held.codes.shape).copy()).to(dtype))
            seen.append(sent_codes(module, events)["fc"] - held.codes)
    assert [int(each.max()) for each in seen] == [int(each.min()) for each in seen] == [0, 0, 1, 1]
    assert np.array_equal(program.recompile(module.to_graph()).codes["fc"], held.codes + 1)


def test_the_codes_that_are_sent_are_those_that_gradients_see() -> None:
    """In float32, with weights that are made of others and lie on the edge between two codes."""
    graph = net(2)
    scaled = scaled_by(graph, 1 / 3)
    program = compiled(scaled, **QUIET)
    held = program.held.projections[0]
    module = program.module()
    with torch.no_grad():
        edge = (held.codes + 0.5 * np.sign(held.codes)) * held.step[:, None] * 3
        module.get_parameter("fc.weight").copy_(torch.from_numpy(edge))
    codes = sent_codes(module, stimulus(graph))
    kept = module._values.weight(0).detach().double().numpy().T
    assert np.array_equal(np.rint(kept / held.step[:, None]), codes["fc"])


def scaled_by(graph: Graph, factor: float) -> Graph:
    """The same network, whose first weights are stated larger, and a Scale makes them what they were."""
    n = graph.nodes["fc"].weight.shape[0]  # type: ignore[attr-defined]
    nodes: dict[str, ir.Node] = {
        **graph.nodes, "scale": ir.Scale(scale=np.full(n, factor)),
        "fc": ir.Linear(weight=np.asarray(graph.nodes["fc"].weight) / factor)}  # type: ignore[attr-defined]
    edges = [each for each in graph.edges if each != ("fc", "hidden")]
    return Graph(nodes, (*edges, ("fc", "scale"), ("scale", "hidden")))


def boxed(graph: Graph) -> Graph:
    """The same, with boxes of 2 ms in the place of impulses."""
    weights = {name: ir.Linear(weight=np.asarray(graph.nodes[name].weight) * 500)  # type: ignore[attr-defined]
               for name in ("fc", "fc2")}
    return Graph({**graph.nodes, **weights}, graph.edges, Discretization(dt=2e-3, spike="box"))


FORMS: dict[str, Callable[[Graph], Graph]] = {"as it is": lambda graph: graph,
                                              "scaled": lambda graph: scaled_by(graph, 0.25), "box": boxed}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_weights_beyond_the_range_find_back(form: str, dtype: torch.dtype) -> None:
    """Whatever a weight is made of, the gradients by which it would go further are none, and the others pass."""
    program = compiled(FORMS[form](net(3)), **QUIET)
    held = program.held.projections[0]
    module = program.module(dtype)
    largest = torch.from_numpy(program.chip.levels * held.step[:, None] * np.ones(held.codes.shape)).to(dtype)
    unit = {"as it is": 1.0, "scaled": 4.0, "box": 500.0}[form]
    label = module.get_parameter("fc.weight")
    for sign in (1, -1):
        for way in (1, -1):
            with torch.no_grad():
                label.copy_(1.5 * sign * largest * unit)
            module.zero_grad()
            (way * module._values.weight(0).sum()).backward()  # a step against it goes -way
            led_back = way == sign
            assert label.grad is not None and bool((label.grad != 0).all()) == bool((label.grad != 0).any()) == led_back
            assert np.array_equal(sent_codes(module, stimulus(program.graph))["fc"],
                                  np.full(held.codes.shape, sign * program.chip.levels))
    # and an optimizer brings them back within it
    module.zero_grad()
    with torch.no_grad():
        label.copy_(1.5 * largest * unit)
    optimizer = torch.optim.Adam([label], lr=0.05 * float((largest * unit).max()))
    for _ in range(12):
        optimizer.zero_grad()
        module._values.weight(0).sum().backward()
        optimizer.step()
    assert bool((label.abs() < 0.99 * largest * unit).any(1).all())


def test_parameters_that_are_weights_are_kept_within_the_range() -> None:
    graph = net(4, delay=True)
    program = compiled(graph, rows={"fc": 2}, **QUIET)
    module = program.module(train=["weight", "delay"])
    assert program.delays is not None
    with torch.no_grad():
        for name in ("fc.weight", "fc2.weight", "wait.delay"):
            module.get_parameter(name).mul_(100)
    trained = module.to_graph()
    for each in program.held.projections:
        weight = np.asarray(trained.nodes[each.name].weight)  # type: ignore[attr-defined]
        bound = program.chip.levels * each.rows * each.step[:, None]
        assert np.abs(weight / bound).max() <= 1 + 1e-6
    assert np.allclose(trained.nodes["wait"].delay, program.delays[1])  # type: ignore[attr-defined]
    assert [each.clipped for each in program.recompile(trained).held.projections] == [0, 0]


def test_a_weight_that_does_not_train_stays() -> None:
    program = compiled(net(4), full_scale=0.05, **QUIET)
    module = program.module(train=["fc2.weight"])
    assert np.array_equal(module.to_graph().nodes["fc"].weight, program.graph.nodes["fc"].weight)


def test_what_circuits_are_set_to_does_not_change() -> None:
    graph = net(0)
    for train in (["hidden.tau_mem", "weight"], ["hidden.v_threshold"]):
        module = compiled(graph, **QUIET).module(train=train)
        module(stimulus(graph), duration=DURATION)
        with torch.no_grad():
            module.get_parameter(train[0]).mul_(1.01)
        with pytest.raises(BadInputError, match="SC488"):
            module(stimulus(graph), duration=DURATION)
        fresh = compiled(graph, **QUIET).module(train=train)  # also where it is so from the start
        fresh.load_state_dict(module.state_dict())
        with pytest.raises(BadInputError, match="SC488"):
            fresh(stimulus(graph), duration=DURATION)


def test_copies_are_modules_of_their_own_on_the_same_chip() -> None:
    graph = net(2, recurrent=True)
    program, events = compiled(graph, **QUIET), stimulus(graph)
    module = program.module(torch.float64)
    twin, again = copy.deepcopy(module), pickle.loads(pickle.dumps(module))
    with torch.no_grad():
        module.get_parameter("fc.weight").zero_()
    assert module(events, duration=DURATION).total_spikes("hidden") == 0
    outs = [each(events, duration=DURATION) for each in (twin, again, program.module(torch.float64))]
    assert outs[0].total_spikes("hidden") > 5
    for out in outs[1:]:
        assert torch.equal(out.events("hidden").times, outs[0].events("hidden").times)
    fresh = program.module(torch.float64).to_graph()
    assert np.array_equal(twin.to_graph().nodes["fc"].weight, fresh.nodes["fc"].weight)  # type: ignore[attr-defined]
    out = twin(events, duration=DURATION)
    out.first_spike("hidden").nan_to_num(posinf=0).sum().backward()
    assert twin.get_parameter("fc.weight").grad is not None and module.get_parameter("fc.weight").grad is None


# ---- training ----
LOSS = losses.FirstSpikeCrossEntropy(tau0=1e-3)
TAUS = {"tau_mem": 12e-3, "tau_syn": 6e-3, "w_in": 6e-3}


def which_first(seed: int = 0, hidden: int = 16, drive: float = 24.0) -> Graph:
    """2 inputs and a bias - hidden - 2 outputs."""
    rng = np.random.default_rng(seed)
    nodes: dict[str, ir.Node] = {
        "in": ir.Input(shape=(3,)), "fc1": ir.Linear(weight=rng.normal(2.0, 0.9, (hidden, 3))),
        "hidden": ir.CubaLIF(shape=(hidden,), **TAUS),
        "fc2": ir.Linear(weight=rng.normal(drive, 3.0, (2, hidden)) / hidden),
        "label": ir.CubaLIF(shape=(2,), **TAUS), "out": ir.Output(shape=(2,))}
    return Graph(nodes, tuple(zip(nodes, list(nodes)[1:], strict=False)))


def task(samples: int, seed: int = 0) -> tuple[Events, np.ndarray[Any, Any]]:
    """Two times and a bias; the label is which of the two comes first."""
    rng = np.random.default_rng(seed)
    times = rng.uniform(0, 15e-3, (samples, 2))
    full = np.concatenate([times, np.zeros((samples, 1))], 1)
    return Events.from_samples([(each, np.arange(3)) for each in full]), times.argmin(1)


def trainer_of(program: Any, loss: Any = LOSS, **settings: Any) -> Trainer:
    return Trainer(program, loss, **{"lr": 1e-2, "epochs": 3, "batch_size": 20, "duration": DURATION,
                                     "progress": False, **settings})


def test_in_the_loop_beats_copying_on_every_chip() -> None:
    """Trained for the model, then copied to chips as they leave the fab; and trained on from there on each."""
    data, held_out = task(160), task(200, seed=1)
    ideal = trainer_of(spikec.compile(which_first()), lr=2e-2, epochs=6)
    ideal.fit(data)
    assert (ideal.evaluate(held_out).accuracy or 0) > 0.9
    scores = []
    for chip in range(5):
        program = spikec.compile(ideal.program.graph, "brainscales2", seed=chip, mismatch="uncalibrated",
                                 full_scale=3.0)
        trainer = trainer_of(program)
        copied = trainer.evaluate(held_out)
        history = trainer.fit(data)
        learnt = trainer.evaluate(held_out)
        assert learnt.loss is not None and copied.loss is not None and learnt.loss < copied.loss
        assert history[-1].train.loss < history[0].train.loss
        scores.append((copied.accuracy, learnt.accuracy))
        # what was learnt is in the program: on the same chip it does as well
        assert trainer_of(trainer.program).evaluate(held_out).accuracy == pytest.approx(learnt.accuracy, abs=0.03)
    copied_mean, learnt_mean = np.mean(scores, axis=0)
    print(f"accuracy copied {copied_mean:.3f}, in the loop {learnt_mean:.3f}")
    assert learnt_mean > 0.94 > copied_mean + 0.03 and all(learnt > copied for copied, learnt in scores)


@pytest.mark.parametrize("silent", ["push", "bump", "both"])
@pytest.mark.parametrize("target", OWN)
def test_silent_neurons_come_to_fire(target: str, silent: Any) -> None:
    program = spikec.compile(which_first(drive=0.0), target, full_scale=3.0)
    data = task(60)
    loss = losses.FirstSpikeCrossEntropy(tau0=1e-3, silent=silent, strength=100.0)
    trainer = trainer_of(program, loss, lr=2e-2, epochs=12)
    before = trainer.evaluate(data)
    trainer.fit(data)
    after = trainer.evaluate(data)
    assert before.spikes["label"] == 0 and before.silent == 1 and after.silent == 0 and after.spikes["label"] > 1


@pytest.mark.parametrize("target", OWN)
def test_after_a_training_the_program_has_the_codes_that_the_chip_had(target: str) -> None:
    program = spikec.compile(which_first(), target, full_scale=3.0, **QUIET)
    assert isinstance(program, AnalogProgram)
    trainer = trainer_of(program, epochs=1)
    trainer.fit(task(60))
    events, _ = task(8, seed=5)
    codes = sent_codes(trainer.module, {"in": events})
    again = trainer.program
    assert all(np.array_equal(codes[name], each) for name, each in again.codes.items())
    assert any(not np.array_equal(program.codes[name], each) for name, each in again.codes.items())
    one, two = trainer.module(events, duration=DURATION).events("label"), again.run(events, DURATION).spikes["label"]
    assert np.allclose(one.times.detach(), two.times, rtol=0, atol=1e-12) and len(two.times) > 8


# ---- what a user's measurement may do wrong ----
class Chip:
    """A chip of the user's own: the emulated one without noise, which goes wrong at one of its runs."""

    def __init__(self, program: AnalogProgram, wrong: int | None = None, how: Callable[..., Any] | None = None) -> None:
        self.emulator, self.wrong, self.how, self.calls = program.emulator(), wrong, how, 0

    def __call__(self, codes: Any, spikes: Any, duration: float, **more: Any) -> Any:
        self.calls += 1
        found = self.emulator.measure(codes, spikes, duration, **more)
        return self.how(found, duration) if self.how is not None and self.calls - 1 == self.wrong else found


def raises(*given: Any) -> Any:
    raise ConnectionError("the chip is gone")


def altered(change: Callable[[Events, float], Any]) -> Callable[..., Any]:
    """Other spikes of the population `label`."""
    return lambda found, duration: {**found, "label": change(found["label"], duration)}


def with_times(change: Callable[[Any, float], Any]) -> Callable[..., Any]:
    return altered(lambda events, duration: Events(change(events.times.copy(), duration), events.indices,
                                                   events.offsets))


def first(times: Any, value: float) -> Any:
    times[0] = value
    return times


FAULTS: dict[str, tuple[Callable[..., Any], str, type[SpikecError]]] = {
    "a population less": (lambda found, _: {"hidden": found["hidden"]}, "SC486", BadInputError),
    "no mapping": (lambda found, _: [found["hidden"], found["label"]], "SC486", BadInputError),
    "nothing": (lambda *_: None, "SC486", BadInputError),
    "a raster": (altered(lambda *_: np.zeros((20, 5, 2))), "SC486", BadInputError),
    "another batch": (altered(lambda events, _: events.take([0, 1])), "SC486", BadInputError),
    "not a number": (with_times(lambda times, _: first(times, np.nan)), "SC485", BadInputError),
    "infinite": (with_times(lambda times, _: first(times, np.inf)), "SC485", BadInputError),
    "unsorted": (with_times(lambda times, end: first(times, end)), "SC485", BadInputError),
    "negative": (with_times(lambda times, _: first(times, -1e-9)), "SC485", BadInputError),
    "after the end": (with_times(lambda times, end: np.full_like(times, 1.01 * end)), "SC485", BadInputError),
    "whole numbers": (with_times(lambda times, _: np.ones(len(times), np.int64)), "SC485", BadInputError),
    "texts": (with_times(lambda times, _: np.array(["a"] * len(times))), "SC485", BadInputError),
    "a neuron that is not there": (altered(lambda events, _: Events(events.times, events.indices + 2,
                                                                    events.offsets)), "SC485", BadInputError),
    "raises": (raises, "SC377", MeasureError),
    "divides by zero": (lambda *_: 1 / 0, "SC377", MeasureError),
}


@pytest.fixture(scope="module")
def ready() -> AnalogProgram:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SpikecWarning)
        return compiled(which_first(), full_scale=3.0, **QUIET)


@pytest.fixture(scope="module")
def uninterrupted(ready: AnalogProgram) -> dict[str, Any]:
    """What a training gives that nothing goes wrong in: 3 batches an epoch and one of validation."""
    trainer = trainer_of(ready, epochs=2)
    trainer.fit(task(60), task(40, seed=1))
    return {name: each.clone() for name, each in trainer.module.state_dict().items()}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_faulty_answer_is_told_and_the_training_resumed(fault: str, ready: AnalogProgram, tmp_path: Path,
                                                         uninterrupted: dict[str, Any]) -> None:
    """In the middle of the second epoch: what was learnt before is in the checkpoint, and gives the same bits."""
    how, code, kind = FAULTS[fault]
    data, file = (task(60), task(40, seed=1)), tmp_path / "training"
    trainer = trainer_of(ready, measure=Chip(ready, 4 + 2, how), epochs=2, checkpoint=file)
    with pytest.raises(kind) as caught:
        trainer.fit(*data)
    assert {each.code for each in caught.value.diagnostics} == {code}
    state = read_checkpoint(file)
    assert (state["epoch"], state["batch"]) == (1, 2)
    again = trainer_of(ready, measure=Chip(ready), epochs=2, checkpoint=file)
    again.fit(*data, resume=True)
    trainer.fit(*data)  # and it goes on in the process where it stopped
    for name, wanted in uninterrupted.items():
        assert torch.equal(again.module.state_dict()[name], wanted), name
        assert torch.equal(trainer.module.state_dict()[name], wanted), name


@pytest.mark.parametrize("at", [0, 3])
def test_it_may_fail_at_its_first_run_or_while_it_validates(at: int, ready: AnalogProgram, tmp_path: Path,
                                                            uninterrupted: dict[str, Any]) -> None:
    data, file = (task(60), task(40, seed=1)), tmp_path / "training"
    trainer = trainer_of(ready, measure=Chip(ready, at, raises), epochs=2, checkpoint=file)
    with pytest.raises(MeasureError, match="the chip is gone"):
        trainer.fit(*data)
    assert file.exists() == (at > 0)  # of nothing learnt, nothing is written
    again = trainer_of(ready, measure=Chip(ready), epochs=2, checkpoint=file)
    history = again.fit(*data)
    assert len(history.records) == 2 and all(each.validation is not None for each in history)
    assert all(torch.equal(again.module.state_dict()[name], each) for name, each in uninterrupted.items())


def test_a_chip_that_hangs_is_given_up(ready: AnalogProgram, tmp_path: Path) -> None:
    waits = threading.Event()
    file = tmp_path / "training"
    chip = Chip(ready, 2, lambda *_: waits.wait(30))
    trainer = trainer_of(ready, measure=chip, time_limit=1.0, epochs=1, checkpoint=file)
    begun = time.perf_counter()
    with pytest.raises(MeasureError, match=r"SC377.*does not come back.*limit: 1 s"):
        trainer.fit(task(60))
    waits.set()
    assert time.perf_counter() - begun < 10 and read_checkpoint(file)["batch"] == 2
    with pytest.raises(MeasureError, match="does not come back"):
        ready.run(task(2)[0], DURATION, measure=lambda *_: time.sleep(2), time_limit=0.1)


def test_a_checkpoint_belongs_to_its_chip(ready: AnalogProgram, tmp_path: Path) -> None:
    """Another serial number, other rows, or a chip of the user's: none goes on from what was learnt elsewhere."""
    file = tmp_path / "training"
    trainer_of(ready, epochs=1, checkpoint=file).fit(task(60))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SpikecWarning)
        others = [compiled(which_first(), **{"full_scale": 3.0, **QUIET, **other})
                  for other in ({"seed": 1}, {"full_scale": 2.0}, {"mismatch": "published"}, {"noise": True})]
    for other in others:
        with pytest.raises(BadInputError, match=r"SC508.*another program"):
            trainer_of(other, epochs=2, checkpoint=file).fit(task(60))
    with pytest.raises(BadInputError, match=r"SC508.*another measured"):
        trainer_of(ready, epochs=2, checkpoint=file, measure=Chip(ready)).fit(task(60))
    assert len(trainer_of(ready, epochs=2, checkpoint=file).fit(task(60)).records) == 2


def test_what_a_trainer_measures_on_is_its_argument(ready: AnalogProgram) -> None:
    """It cannot be slipped in where it has no effect, and is refused where there is no chip."""
    trainer = trainer_of(ready)
    with pytest.raises(AttributeError, match="module"):
        trainer.module = ready.module(measure=Chip(ready))  # type: ignore[misc]
    for program, asked in ((ready, {"measure": 3}), (ready, {"measure": Chip(ready), "time_limit": -1.0}),
                           (ready, {"time_limit": 1.0}), (spikec.compile(which_first()), {"measure": Chip(ready)})):
        with pytest.raises(BadInputError, match="SC504"):
            trainer_of(program, **asked)


def test_with_a_limit_answers_and_errors_are_the_same(ready: AnalogProgram) -> None:
    events, _ = task(3)
    one, two = (ready.run(events, DURATION, measure=Chip(ready), time_limit=limit).spikes["label"]
                for limit in (30.0, float("inf")))
    assert np.array_equal(one.times, two.times) and len(one.times)
    with pytest.raises(MeasureError, match="the chip is gone"):
        ready.run(events, DURATION, measure=raises, time_limit=30.0)

    def refuses(*given: Any) -> Any:
        ready.run(events, -1.0)

    for limit in (30.0, float("inf")):  # a diagnostic of its own stays what it is
        with pytest.raises(BadInputError, match="duration"):
            ready.run(events, DURATION, measure=refuses, time_limit=limit)


def test_times_that_rounding_puts_beyond_the_end_are_at_the_end(ready: AnalogProgram) -> None:
    """As float32 does, of a duration that it has not."""
    end = 0.0371
    answer = {"hidden": Events.from_samples([((), ())]),
              "label": Events(np.array([np.nextafter(np.float32(end / 1000), np.float32(1))], np.float32),
                              np.array([0]), np.array([0, 1]))}
    found = ready.run(task(1)[0], end, measure=lambda *_: answer).spikes["label"]
    assert found.times.tolist() == [end]


def test_inputs_that_come_onto_the_chip_after_the_end_are_no_fault(ready: AnalogProgram) -> None:
    crowd = {"in": Events.from_samples([(np.full(400, 0.9999 * DURATION), np.arange(400) % 3)])}
    program = compiled(which_first(), full_scale=3.0)
    out = program.module()(crowd, duration=DURATION)
    assert out.total_spikes("label") == 0


def test_the_trainer_tells_why_it_failed_where_the_checkpoint_cannot_be_written(ready: AnalogProgram,
                                                                                tmp_path: Path) -> None:
    def gone(*given: Any) -> Any:
        (tmp_path / "room" / "training").unlink(missing_ok=True)
        (tmp_path / "room").rmdir()
        return raises()

    (tmp_path / "room").mkdir()
    trainer = trainer_of(ready, measure=Chip(ready, 1, gone), epochs=1, checkpoint=tmp_path / "room" / "training")
    with pytest.raises(MeasureError, match="the chip is gone"):
        trainer.fit(task(60))


def test_a_loss_that_is_no_number_leaves_the_checkpoint_from_before(ready: AnalogProgram, tmp_path: Path) -> None:
    calls: list[int] = []

    def loss(out: Any, labels: Tensor) -> Any:
        calls.append(1)
        return LOSS(out, labels).value * (float("nan") if len(calls) == 5 else 1.0)

    trainer = trainer_of(ready, loss, epochs=2, checkpoint=tmp_path / "training")
    with pytest.raises(BadInputError, match="SC507"):
        trainer.fit(task(60))
    state = read_checkpoint(tmp_path / "training")
    assert (state["epoch"], state["batch"]) == (1, 0)


def test_noise_goes_on_where_a_training_is_resumed(tmp_path: Path) -> None:
    """Also where it is stopped while it validates; runs of a validation that is done again count once."""
    program = spikec.compile(which_first(), "brainscales2", full_scale=3.0)
    data = task(60), task(40, seed=1)
    whole = trainer_of(program, epochs=3)
    whole.fit(*data)
    parts = trainer_of(program, epochs=3, checkpoint=tmp_path / "training", callbacks=lambda *_: True)
    parts.fit(*data)  # one epoch
    failing, calls = trainer_of(program, epochs=3, checkpoint=tmp_path / "training", evaluation_batch=20), 0
    measure = failing.module._loop.asked.measure.__self__

    answer = failing._step.answer

    def fails(*given: Any) -> Any:
        nonlocal calls
        calls += 1
        found = answer(*given)
        if calls == 2:
            raise ConnectionError("gone")
        return found

    failing._step.answer = fails  # type: ignore[method-assign]
    with pytest.raises(ConnectionError):
        failing.fit(*data, resume=True)
    state = read_checkpoint(tmp_path / "training")
    assert (state["epoch"], state["batch"], state["runs"]) == (1, 3, 3 + 1 + 3) and measure.runs == 7
    again = trainer_of(program, epochs=3, checkpoint=tmp_path / "training")
    again.fit(*data, resume=True)
    for name, wanted in whole.module.state_dict().items():
        assert torch.equal(again.module.state_dict()[name], wanted), name
    other = trainer_of(program, epochs=3)  # and noise matters
    other.module.runs = 100
    other.fit(*data)
    assert any(not torch.equal(other.module.state_dict()[name], each)
               for name, each in whole.module.state_dict().items())


# ---- on the command line ----
MODEL = """
import numpy as np
from spikec import Builder

def make():
    draw = np.random.default_rng(0)
    net = Builder()
    source = net.input("in", 3)
    hidden = net.cubalif("hidden", 8, tau_mem=12e-3, tau_syn=6e-3)
    digit = net.cubalif("digit", 2, tau_mem=12e-3, tau_syn=6e-3)
    net.connect(source, hidden, weight=draw.normal(3.0, 1.0, (8, 3)))
    net.connect(hidden, digit, weight=draw.normal(3.0, 1.0, (2, 8)))
    net.output("out", digit)
    return net.build()
"""


def write_task(name: str) -> None:
    events, labels = task(40)
    write_npz(name, {"times": events.times, "indices": events.indices, "offsets": events.offsets, "labels": labels})


@pytest.mark.parametrize("target", OWN)
def test_the_commands_train_for_a_chip(place: Path, target: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("chip.py").write_text(MODEL)
    write_task("data.npz")
    options = ["train", "chip.py:make", "--target", target, "--data", "data.npz", "-o", "trained", "--batch-size", "20",
               "--duration", f"{DURATION}"]
    code, told = say_json(capsys, *options, "--epochs", "1")
    assert code == 0 and told["target"] == target and len(told["history"]) == 1
    code, more = say_json(capsys, *options, "--epochs", "2")  # it goes on
    assert code == 0 and more["resumed_after"] == 1 and more["history"][0] == told["history"][0]
    program = spikec.load("trained")
    assert isinstance(program, AnalogProgram) and program.target == target
    write_events("in.npz", {"in": task(3)[0]})
    assert say(capsys, "run", "trained", "-i", "in.npz", "--duration", f"{DURATION}")[0] == 0


@pytest.mark.parametrize("target", [*OWN, "event", "clock"])
def test_options_of_other_programs_are_named(place: Path, target: str, capsys: pytest.CaptureFixture[str]) -> None:
    graph = which_first()
    write(replace(graph, discretization=Discretization(dt=1e-3)) if target == "clock" else graph, "net.spk")
    assert say(capsys, "compile", "net.spk", "--target", target, "-o", "out")[0] == 0
    write_events("in.npz", {"in": task(3)[0]})
    code, told = say_json(capsys, "run", "out", "-i", "in.npz", "--duration", "0.04", "--backend", "lava", "--drain")
    assert code == 4 and [each["code"] for each in told["diagnostics"]] == ["SC550", "SC550"]
    assert [each["node"] for each in told["diagnostics"]] == ["--backend", "--drain"]
    assert say(capsys, "run", "out", "-i", "in.npz", "--duration", "0.04")[0] == 0


def answers(times: Any, indices: Any) -> Any:
    """What measures, and gives these spikes of the one population, in microseconds on the chip."""
    def measure(codes: Any, spikes: Any, duration: float) -> dict[str, Events]:
        return {"h": Events(np.asarray(times) * 1e-6, np.asarray(indices), np.array([0, len(times)]))}

    return measure


def one_layer() -> tuple[AnalogProgram, Events]:
    builder = spikec.Builder()
    x, h = builder.input("x", 4), builder.cubalif("h", 3, tau_mem=12e-3, tau_syn=6e-3, refractory=2e-3)
    x.connect(h, weight=np.full((3, 4), 0.3))
    builder.output("o", h)
    return compiled(builder.build()), Events.from_samples([((1e-3,), (0,))])


@pytest.mark.parametrize(("times", "indices", "told"), [
    ([1.0, 1.0, 2.0], [0, 0, 1], "1 of 3; neuron 0 at 0.001 s and 0 s later"),
    ([1.0, 1.5, 1.9], [2, 0, 2], "1 of 3; neuron 2 at 0.001 s and 0.0009 s later"),
    ([1.0, 1.0, 2.5], [0, 1, 0], None), ([1.0, 2.1, 4.0], [0, 0, 0], None)])
def test_spikes_that_are_closer_than_a_neuron_fires_are_told(times: Any, indices: Any, told: str | None) -> None:
    program, events = one_layer()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = program.run(events, 30e-3, measure=answers(times, indices))
    assert len(found.spikes["o"].times) == len(times)
    assert [str(each.message) for each in caught if "SC486" in str(each.message) and str(told) in str(each.message)
            ] == [str(each.message) for each in caught] and len(caught) == (told is not None)


def test_complex_times_and_characters_that_do_not_print_are_no_answer() -> None:
    program, events = one_layer()
    with pytest.raises(BadInputError, match=r"SC485 at 'h'.*real numbers.*complex128"):
        program.run(events, 30e-3, measure=answers([1.0 + 2j], [0]))

    def fails(*given: Any) -> Any:
        raise ValueError("a\x1b[31mred\nnext\x00")

    with pytest.raises(MeasureError) as caught:
        program.run(events, 30e-3, measure=fails)
    assert "ValueError: a\\x1b[31mred" in str(caught.value) and str(caught.value).isprintable()
