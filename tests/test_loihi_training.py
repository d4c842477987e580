"""Training through the integer program: the forward pass is the chip's, bit for bit, and the backward pass is that of
autograd through a plain rewrite of the same equations at the same states."""

from __future__ import annotations

import copy
import pickle
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from cuda_on_host import run_kernel
from torch import Tensor

import spikec
from spikec import BadInputError, Discretization, Graph
from spikec.ir import nodes as ir
from spikec.ir.integer.network import IntegerConv, IntegerProjection, IntegerSparse, held_weight
from spikec.ir.integer.step import IntegerResult, simulate_integer
from spikec.runtime import gpu
from spikec.runtime.clock.surrogates import SURROGATES, Surrogate, slope
from spikec.runtime.integer.module import IntegerModule
from spikec.runtime.integer.reverse import reverse_source
from spikec.runtime.nvrtc import compile_cuda, missing_packages
from spikec.targets.loihi.program import LoihiProgram

STEPS, BATCH = 14, 3
GRID = Discretization(1e-3, integrator="decay")


def cuba(n: int | tuple[int, ...], **changes: Any) -> ir.CubaLIF:
    shape = (n,) if isinstance(n, int) else n
    given = {"tau_mem": np.full(shape, 8e-3), "tau_syn": np.full(shape, 4e-3), "r": np.ones(shape),
             "v_leak": np.zeros(shape), "v_threshold": np.ones(shape), "w_in": np.full(shape, 4e-3), **changes}
    return ir.CubaLIF(shape=shape, reset="zero", **given)


def readout(n: int) -> ir.CubaLI:
    return ir.CubaLI(shape=(n,), tau_mem=np.full(n, 8e-3), tau_syn=np.full(n, 4e-3), r=np.ones(n), v_leak=np.zeros(n),
                     w_in=np.full(n, 4e-3))


def dense(rng: np.random.Generator, n_target: int, n_source: int, size: float = 1.0) -> ir.Affine:
    return ir.Affine(weight=size * rng.normal(0.15, 0.5, (n_target, n_source)),
                     bias=rng.normal(0, 0.02, n_target))


def graph_of(nodes: dict[str, Any], edges: list[tuple[str, str]]) -> Graph:
    return Graph(nodes=nodes, edges=edges, discretization=GRID)


def network(kind: str, seed: int = 0) -> Graph:
    rng = np.random.default_rng(seed)
    nodes: dict[str, Any] = {"in": ir.Input(shape=(9,))}
    edges: list[tuple[str, str]] = []
    hidden: Any = cuba(6, v_threshold=rng.uniform(0.7, 1.3, 6), v_reset=rng.uniform(-0.1, 0.1, 6))
    first: Any = dense(rng, 6, 9)
    if kind == "subtract":
        hidden = ir.LIF(shape=(6,), tau=np.full(6, 8e-3), r=np.full(6, 8e-3), v_leak=np.zeros(6),
                        v_threshold=rng.uniform(0.7, 1.3, 6), reset="subtract")
    elif kind == "single":
        first = ir.Scale(scale=rng.normal(1.2, 0.4, 9))
        hidden = cuba(9)
    if kind == "sparse":
        first = ir.SparseLinear(size=(6, 9), indptr=np.array([0, 2, 5, 5, 9, 10, 12]),
                                indices=np.array([0, 3, 1, 4, 8, 0, 2, 5, 7, 6, 3, 8]), weight=rng.normal(0.5, 0.6, 12))
    elif kind == "conv":
        nodes["in"] = ir.Input(shape=(2, 5, 4))
        first = ir.Conv2d(input_shape=(5, 4), weight=rng.normal(0.2, 0.5, (4, 1, 3, 2)), stride=(2, 1), padding=(1, 1),
                          dilation=(1, 1), groups=2, bias=rng.normal(0, 0.02, 4))
        hidden = cuba((4, 3, 5))
    nodes |= {"first": first, "hidden": hidden}
    edges += [("in", "first")]
    if kind in ("delay", "synaptic"):
        size = 9
        nodes["late"] = ir.Delay(delay=1e-3 * rng.integers(0, 4, size))
        edges = [("in", "late"), ("late", "first")]
    edges += [("first", "hidden")]
    n = int(np.prod(hidden.shape))
    if kind == "conv":
        nodes["flat"] = ir.Flatten(start_dim=0, end_dim=-1)
        edges += [("hidden", "flat"), ("flat", "second")]
    else:
        edges += [("hidden", "second")]
    if kind in ("recurrent", "cycle"):
        nodes["back"] = dense(rng, n, n, 0.6)
        edges += [("hidden", "back"), ("back", "hidden")]
    if kind == "cycle":
        nodes |= {"other": cuba(4), "there": dense(rng, 4, n), "again": dense(rng, n, 4, 0.6)}
        nodes["hold"] = ir.Delay(delay=np.full(n, 2e-3))
        edges += [("hidden", "hold"), ("hold", "there"), ("there", "other"), ("other", "again"), ("again", "hidden")]
    nodes |= {"second": dense(rng, 3, n), "out": readout(3), "shown": ir.Output(shape=(3,))}
    edges += [("second", "out"), ("out", "shown")]
    return graph_of(nodes, edges)


def raster_of(graph: Graph, seed: int = 1, steps: int = STEPS, density: float = 0.35) -> np.ndarray[Any, Any]:
    shape = graph.nodes[graph.inputs[0]].shape  # type: ignore[union-attr]
    return (np.random.default_rng(seed).random((BATCH, steps, *shape)) < density).astype(np.uint8)


KINDS = ("dense", "sparse", "conv", "delay", "recurrent", "cycle", "single", "subtract")


@pytest.mark.parametrize("kind", KINDS)
def test_the_forward_pass_is_the_integer_program(kind: str) -> None:
    graph = network(kind)
    program = spikec.compile(graph, target="loihi2")
    raster = raster_of(graph)
    out = program.module()(raster, record=("hidden",))
    late = program.latency
    expected = simulate_integer(program.quantised.network, {"in": raster}, STEPS + late)
    for name in ("hidden", "out"):
        record = program.quantised.populations[name]
        window = slice(record.latency, record.latency + STEPS)
        membrane = expected.v[name][:, window] / record.scale + record.offset
        np.testing.assert_allclose(out.voltage(name).detach(), membrane, rtol=1e-6)
    window = slice(program.latency_of("hidden"), program.latency_of("hidden") + STEPS)
    np.testing.assert_array_equal(out.spikes("hidden").detach(), expected.spikes["hidden"][:, window])
    assert out.total_spikes("hidden") > 5
    first = out.first_spike("hidden")
    flags = expected.spikes["hidden"][:, window]
    np.testing.assert_allclose(first, np.where(flags.any(1), (flags.argmax(1) + 1) * GRID.dt, np.inf))


class _Spike(torch.autograd.Function):
    """1 where the chip fired; backward the surrogate at the membrane it is given."""

    @staticmethod
    def forward(ctx: Any, above: Tensor, fired: Tensor, surrogate: Surrogate) -> Tensor:
        ctx.save_for_backward(above)
        ctx.surrogate = surrogate
        return fired

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        return gradient * slope(ctx.surrogate, ctx.saved_tensors[0]), None, None


def full_matrices(projection: IntegerProjection, weight: Tensor, n_source: int) -> dict[int, Tensor]:
    """(n_target, n_source) by the columns that a spike takes, from the weights in their layout."""
    connection = projection.connection
    if isinstance(connection, IntegerConv):
        images = torch.eye(n_source, dtype=torch.float64).view(n_source, *connection.input_shape)
        return {1: torch.nn.functional.conv2d(images, weight, None, connection.stride, connection.padding,
                                              connection.dilation, connection.groups).flatten(1).t()}
    delay = np.zeros(weight.shape, int) if projection.delay is None else np.asarray(projection.delay)
    found = {}
    for each in np.unique(delay):
        chosen = weight * torch.from_numpy(np.asarray(delay == each).astype(float))
        if isinstance(connection, IntegerSparse):
            rows = np.repeat(np.arange(len(connection.indptr) - 1), np.diff(connection.indptr))
            full = torch.zeros((len(connection.indptr) - 1, n_source), dtype=torch.float64)
            columns = torch.from_numpy(np.asarray(connection.indices).astype(np.int64))
            chosen = full.index_put((torch.from_numpy(rows), columns), chosen)
        found[1 + int(each)] = chosen
    return found


def rewritten(program: LoihiProgram, raster: np.ndarray[Any, Any], surrogate: Surrogate,
              weights: dict[str, Tensor], biases: dict[str, Tensor]) -> dict[str, Tensor]:
    """The chip's equations in float64 torch, column by column, at the chip's own states: real weights of the lowered
    network in, spike counts of spiking populations and membranes of readouts out."""
    network, quantised = program.quantised.network, program.quantised
    late = program.latency
    measured: IntegerResult = simulate_integer(network, {"in": raster}, STEPS + late)

    def after_reset(each: IntegerProjection, spikes: Tensor) -> Tensor:
        return spikes.detach() if surrogate.detach_reset and each.name == "hidden.reset" else spikes

    factors = {each.name: quantised.projections[each.name].factor for each in network.projections}
    matrices = {}
    for each in network.projections:
        factor = torch.from_numpy(np.array(factors[each.name]))
        held = torch.from_numpy(held_weight(each) * 2.0**each.exponent)
        if isinstance(each.connection, IntegerConv):
            wanted = weights[each.name] * factor.view(each.connection.output_shape)[:, :1, :1, None]
        elif isinstance(each.connection, IntegerSparse):
            wanted = weights[each.name] * factor.repeat_interleave(torch.from_numpy(np.diff(each.connection.indptr)))
        else:
            wanted = weights[each.name] * factor[:, None]
        through = held + wanted - wanted.detach()
        matrices[each.name] = full_matrices(each, through, network.size(each.source))
    flags = {"in": torch.from_numpy(raster.reshape(BATCH, STEPS, -1).astype(float))}
    flags["in"] = torch.cat([flags["in"], torch.zeros(BATCH, late, flags["in"].shape[2])], 1)
    sent: dict[str, list[Tensor]] = {"in": list(flags["in"].unbind(1))} | {name: [] for name in network.populations}
    shown: dict[str, list[Tensor]] = {name: [] for name in network.populations}
    state = {name: (torch.zeros(BATCH, each.n),) * 2 for name, each in network.populations.items()}
    for column in range(STEPS + late):
        for name, population in network.populations.items():
            record = quantised.populations[name]
            fired = torch.from_numpy(measured.spikes[name][:, column].astype(float))
            real_u = torch.from_numpy(measured.u[name][:, column].astype(float))
            real_v = torch.from_numpy(measured.v[name][:, column].astype(float))
            if column < record.latency:
                state[name] = real_u, real_v
                sent[name].append(fired)
                continue
            arriving = sum((after_reset(each, sent[each.source][column - shift]) @ matrix.t()
                            for each in network.incoming[name]
                            for shift, matrix in matrices[each.name].items() if column >= shift),
                           torch.zeros(BATCH, population.n, dtype=torch.float64))
            u, v = state[name]
            u = u * (4095 - population.du) / 4096 + 64 * arriving
            mantissa = 0 if population.bias is None else torch.from_numpy(
                population.bias * 2.0**population.bias_exponent)
            scale = torch.from_numpy(np.array(record.scale))
            by_bias = torch.from_numpy(np.array(record.by_bias)) * biases[name] * scale
            u = u + (real_u - u).detach()
            before = v
            x = before * (4096 - population.dv) / 4096 + u + mantissa + by_bias - by_bias.detach()
            spike = fired
            if record.latency <= column < record.latency + STEPS and program.split.network.populations[name].spiking:
                above = (x - (population.threshold << 6)) / scale
                spike = _Spike.apply(above, fired, surrogate)
                v = x * (1 - (fired if surrogate.detach_reset else spike))
            else:
                v = x
            v = v + (real_v - v).detach()
            state[name] = u, v
            sent[name].append(spike)
            shown[name].append(v / scale + torch.from_numpy(np.array(record.offset)))
    found = {}
    for name, each in program.split.network.populations.items():
        record = sent[name][quantised.populations[name].latency:] if each.spiking else shown[name]
        found[name] = torch.stack(record[:STEPS], 1)
    return found


def check_gradients(program: LoihiProgram, raster: np.ndarray[Any, Any], name: str = "atan",
                    detach: bool = True) -> None:
    """Of a loss on the spike counts of `hidden` and the membranes of `out`, with respect to all that trains."""
    module = program.module(dtype=torch.float64, surrogate=name, detach_reset=detach)
    rng = np.random.default_rng(5)
    on_count = torch.from_numpy(rng.normal(size=program.split.network.size("hidden")))
    on_membrane = torch.from_numpy(rng.normal(size=(STEPS, 3)))
    out = module(raster)
    loss = (out.spike_count("hidden") * on_count).sum() + (out.voltage("out") * on_membrane).sum()
    loss.backward()
    lowered = program.split.network
    weights = {each.name: _leaf(each.connection.weight) for each in lowered.projections}
    biases = {name: _leaf(each.bias) for name, each in lowered.populations.items()}
    found = rewritten(program, raster, Surrogate(name, SURROGATES[name], detach), weights, biases)
    expected = (found["hidden"].sum(1) * on_count).sum() + (found["out"] * on_membrane).sum()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-9)
    expected.backward()
    values = {key: each for key, each in module._values(module._by_node()).items() if each.requires_grad}
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    given = torch.autograd.grad(list(values.values()), trained, [
        (weights if kind_of == "weight" else biases)[name].grad for kind_of, name in values])
    compared = 0
    for parameter, gradient in zip(trained, given, strict=True):
        assert parameter.grad is not None
        torch.testing.assert_close(parameter.grad, gradient, rtol=1e-9, atol=1e-12)
        compared += int((gradient != 0).sum())
    assert compared > 20


@pytest.mark.parametrize("detach", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_gradients_are_autograds_through_the_same_equations(kind: str, detach: bool) -> None:
    graph = network(kind, seed=3)
    check_gradients(spikec.compile(graph, target="loihi2"), raster_of(graph, seed=4), detach=detach)


@pytest.mark.parametrize("name", sorted(SURROGATES.keys() - {"atan"}))
def test_gradients_of_every_surrogate(name: str) -> None:
    graph = network("dense", seed=3)
    check_gradients(spikec.compile(graph, target="loihi2"), raster_of(graph, seed=4), name)


@pytest.mark.parametrize(("place", "value"), [("_FULL", 0), ("SPARSE", 0.0), ("SPARSE", 1.0)])
@pytest.mark.parametrize("kind", ["sparse", "delay", "cycle"])
def test_gradients_by_every_way_to_sum(kind: str, place: str, value: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Matrices that are full or sparse, sources that are lists or not."""
    monkeypatch.setattr(f"spikec.runtime.integer.transposed.{place}", value)
    graph = network(kind, seed=3)
    check_gradients(spikec.compile(graph, target="loihi2"), raster_of(graph, seed=4))


@pytest.mark.parametrize("density", [0.1, 0.6])
def test_gradients_of_spikes_that_carry_values(density: float) -> None:
    graph = network("dense", seed=3)
    program = spikec.compile(graph, target="loihi2", message_bits={"in": 3})
    values = np.random.default_rng(2).integers(-7, 8, (BATCH, STEPS, 9))
    check_gradients(program, np.where(raster_of(graph, density=density), values, 0))


def test_the_text_for_gpus_gives_the_same_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compiled as C++ and run on the host, with CPU tensors: this checks its logic, not a GPU."""
    monkeypatch.setattr("spikec.runtime.integer.reverse.HOSTS", frozenset())
    monkeypatch.setattr(gpu, "launch", run_kernel)
    for kind in ("dense", "cycle"):
        graph = network(kind, seed=3)
        check_gradients(spikec.compile(graph, target="loihi2"), raster_of(graph, seed=4))


@pytest.mark.skipif(bool(missing_packages()), reason=f"needs {', '.join(missing_packages())}")
@pytest.mark.parametrize("spiking", [True, False])
def test_the_text_compiles_for_gpus(spiking: bool) -> None:
    assert compile_cuda(reverse_source("cuda", torch.float32, "atan", False, spiking), "sm_90")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available() or bool(missing_packages()),
                    reason=", ".join(["needs a CUDA device", *missing_packages()]))
@pytest.mark.parametrize("kind", KINDS)
def test_a_gpu_gives_the_same_gradients(kind: str) -> None:
    graph = network(kind, seed=3)
    program, gradients = spikec.compile(graph, target="loihi2"), []
    for device in ("cpu", "cuda"):
        module = program.module(dtype=torch.float64, surrogate="atan").to(device)
        out = module(raster_of(graph, seed=4))
        (out.spike_count("hidden").sum() + out.voltage_max("out").sum()).backward()
        gradients.append([each.grad.cpu() for each in module.parameters() if each.grad is not None])
    torch.testing.assert_close(*gradients)


def _leaf(array: Any) -> Tensor:
    return torch.from_numpy(np.array(array)).requires_grad_()


def test_a_weight_that_is_cut_off_has_no_gradient() -> None:
    graph = network("dense")
    program = spikec.compile(graph, target="loihi2")
    module = program.module(dtype=torch.float64)
    with torch.no_grad():
        module.get_parameter("first.weight")[2, 4] = 50.0
    out = module(raster_of(graph))
    out.spike_count("hidden").sum().backward()
    gradient = module.get_parameter("first.weight").grad
    assert gradient is not None and gradient[2, 4] == 0 and gradient[2, 3] != 0
    held = held_weight(module._setting.chip.network.projections[0])  # type: ignore[union-attr]
    assert held[2, 4] == 254


@pytest.mark.parametrize("kind", KINDS)
def test_a_changed_module_is_the_program_that_is_made_of_it(kind: str) -> None:
    graph = network(kind)
    program = spikec.compile(graph, target="loihi2")
    module, raster = program.module(), raster_of(graph)
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.requires_grad:
                parameter += 0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1))
    out = module(raster)
    again = program.recompile(module.to_graph())
    assert again.plan == program.plan
    result = again.run(raster, drain=True)
    late = again.latency_of("hidden")
    flags = np.zeros((BATCH, STEPS + again.latency, again.network.size("hidden")), dtype=np.uint8)
    events = result.spikes["hidden"]
    sample = np.repeat(np.arange(BATCH), np.diff(events.offsets))
    flags[sample, np.rint(events.times / GRID.dt).astype(int) - 1, events.indices] = 1
    np.testing.assert_array_equal(out.spikes("hidden").detach(), flags[:, late:late + STEPS])


def test_a_split_population_is_one_again() -> None:
    graph = network("recurrent")
    rng = np.random.default_rng(0)
    graph = graph.with_nodes({"hidden": cuba(6, tau_mem=np.array([8, 4, 8, 4, 4, 8]) * 1e-3)})
    program = spikec.compile(graph, target="loihi2")
    assert len(program.split.parts["hidden"]) == 2
    module, raster = program.module(dtype=torch.float64), raster_of(graph)
    out = module(raster, record=("hidden",))
    assert out.spike_count("hidden").shape == (BATCH, 6) and out.voltage("hidden").shape == (BATCH, STEPS, 6)
    result = program.run(raster, drain=True)
    counts = np.zeros((BATCH, 6))
    events = result.spikes["hidden"]
    kept = events.times <= (STEPS + program.latency_of("hidden")) * GRID.dt + 1e-9
    np.add.at(counts, (np.repeat(np.arange(BATCH), np.diff(events.offsets))[kept], events.indices[kept]), 1)
    np.testing.assert_array_equal(out.spike_count("hidden").detach(), counts)
    (out.spike_count("hidden") * torch.from_numpy(rng.normal(size=6))).sum().backward()
    gradient = module.get_parameter("first.weight").grad
    assert gradient is not None and bool((gradient != 0).any(1).all())


def test_parameters_that_do_not_train_are_named() -> None:
    program = spikec.compile(network("dense"), target="loihi2")
    with pytest.raises(BadInputError, match=r"SC480 at 'hidden'.*tau_mem"):
        program.module(train=("weight", "tau_mem"))
    module = program.module()
    with torch.no_grad():
        module.get_parameter("hidden.v_threshold").mul_(2)
    with pytest.raises(BadInputError, match=r"SC480 at 'hidden'.*v_threshold"):
        module(raster_of(network("dense")))
    with pytest.raises(BadInputError, match=r"SC403.*every call starts anew"):
        program.module()(raster_of(network("dense")), state=3)


def test_too_large_a_batch_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spikec.runtime.integer.module.MOST_STATES", 1000)
    with pytest.raises(BadInputError, match=r"SC481.*limit"):
        spikec.compile(network("dense"), target="loihi2").module()(raster_of(network("dense")))


def test_copies_are_modules_of_their_own() -> None:
    graph = network("dense")
    module, raster = spikec.compile(graph, target="loihi2").module(), raster_of(graph)
    count = module(raster).spike_count("hidden")
    twin, thawed = copy.deepcopy(module), pickle.loads(pickle.dumps(module))
    fresh = spikec.compile(graph, target="loihi2").module()
    with torch.no_grad():
        fresh.get_parameter("first.weight").zero_()
    assert not fresh(raster).spike_count("hidden").any()
    fresh.load_state_dict(module.state_dict())
    for each in (twin, thawed, fresh):
        assert isinstance(each, IntegerModule)
        torch.testing.assert_close(each(raster).spike_count("hidden"), count)
    with torch.no_grad():
        twin.get_parameter("first.weight").zero_()
    assert not twin(raster).spike_count("hidden").any()
    torch.testing.assert_close(module(raster).spike_count("hidden"), count)
    assert module.to_graph().nodes["first"].weight is graph.nodes["first"].weight  # type: ignore[union-attr]


def task(seed: int, samples: int = 120) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Three classes, by which of three groups of channels spikes more."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, samples)
    rate = np.full((samples, 9), 0.15)
    for group in range(3):
        rate[labels == group, 3 * group:3 * group + 3] = 0.3
    return (rng.random((samples, STEPS, 9)) < rate[:, None]).astype(np.uint8), labels


@pytest.mark.parametrize("reset", ["zero", "subtract"])
def test_training_raises_the_accuracy_of_the_chip(reset: str, tmp_path: Path) -> None:
    graph = network("dense", seed=8)
    hidden = cuba(6)
    graph = graph.with_nodes({"hidden": ir.CubaLIF(shape=(6,), reset=reset, **{  # type: ignore[arg-type]
        name: getattr(hidden, name) for name in ("tau_mem", "tau_syn", "r", "v_leak", "v_threshold", "w_in")})})
    with pytest.warns(spikec.SpikecWarning, match="SC322") if reset == "subtract" else nullcontext():
        program = spikec.compile(graph, target="loihi2")
    raster, labels = task(0)
    data = (spikec.Events.from_samples([_events(each) for each in raster]), torch.from_numpy(labels))
    trainer = spikec.Trainer(program, "voltage-max", rule="surrogate", lr=0.02, batch_size=20, epochs=8,
                             duration=STEPS * GRID.dt, progress=False, surrogate={"surrogate": "atan"})
    before = trainer.evaluate(data)
    history = trainer.fit(data)
    after = trainer.evaluate(data)
    assert len(history.records) == 8
    assert after.accuracy > before.accuracy + 0.2 and after.accuracy > 0.75
    trained = trainer.program
    assert isinstance(trained, LoihiProgram)
    membrane = trained.run(raster, drain=True, probes={"out.v": None}).probes["out.v"]
    highest = membrane[:, trained.latency_of("out"):].max(1)
    assert np.mean(highest.argmax(1) == labels) == pytest.approx(after.accuracy, abs=1e-9)


def test_a_training_goes_on_from_its_checkpoint(tmp_path: Path) -> None:
    program = spikec.compile(network("dense", seed=8), target="loihi2")
    raster, labels = task(1, 40)
    data = (spikec.Events.from_samples([_events(each) for each in raster]), torch.from_numpy(labels))
    options: dict[str, Any] = {"lr": 0.01, "batch_size": 10, "duration": STEPS * GRID.dt, "progress": False}
    whole = spikec.Trainer(program, "voltage-max", epochs=4, **options)
    whole.fit(data)
    options |= {"epochs": 4, "checkpoint": tmp_path / "c"}
    spikec.Trainer(program, "voltage-max", callbacks=_stop_after_two, **options).fit(data)
    rest = spikec.Trainer(program, "voltage-max", **options)
    rest.fit(data)
    for one, other in zip(whole.module.parameters(), rest.module.parameters(), strict=True):
        assert torch.equal(one, other)


def _stop_after_two(trainer: Any, record: Any) -> bool:
    return bool(record.epoch == 1)


def _events(raster: np.ndarray[Any, Any]) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    column, index = np.nonzero(raster)
    return (column + 1) * GRID.dt, index
