"""The engine on the machine: threads, the kernel cache, the module in PyTorch's hands, and input that is wrong."""

from __future__ import annotations

import copy
import io
import multiprocessing
import os
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from engine_nets import DURATION, make, neuron, stimulus

import spikec
from spikec.ir import nodes as ir
from spikec.ir.diagnostics import BadInputError, SpikecError, SpikecWarning, UnsupportedError
from spikec.ir.events import Events
from spikec.ir.graph import Graph, same_graph
from spikec.runtime import jit
from spikec.runtime.losses import FirstSpikeCrossEntropy
from spikec.runtime.threads import get_threads, set_threads


def problem(seed: int = 0, **options: Any) -> tuple[Graph, Events]:
    rng = np.random.default_rng(seed)
    if options.get("recurrent"):
        options.setdefault("refractory", 3e-3)  # no runaway activity
    graph = make("CubaLIF", rng, **options)
    return graph, stimulus(6, rng, batch=7)


# --- threads ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    "options",
    [
        {"n": 40},
        {"recurrent": True},
        {"wires": "sparse", "delay": "synapse"},
        {"readout": True, "refractory": 1e-3},
    ],
)
def test_results_do_not_depend_on_the_number_of_threads(options: dict[str, Any], dtype: torch.dtype) -> None:
    graph, events = problem(**options)
    program, seen = spikec.compile(graph), []
    try:
        for threads in (1, 2, 3, 5):
            set_threads(threads)
            assert get_threads() == threads
            module = program.module(dtype=dtype)
            for parameter in module.parameters():
                parameter.requires_grad_(True)
            times = torch.tensor(events.times, requires_grad=True)
            out = module(Events(times, events.indices, events.offsets), duration=DURATION)
            hidden = out.events("hidden").times
            loss = (hidden * torch.cos(torch.arange(len(hidden)))).sum() + (out.voltage("last", [0.02, 0.05])).sum()
            loss.backward()
            seen.append(
                [hidden.detach(), times.grad, *(each.grad for each in module.parameters() if each.grad is not None)]
            )
    finally:
        set_threads(0)
    assert len(seen[0][0]) > 10
    for other in seen[1:]:
        assert len(other) == len(seen[0])
        assert all(torch.equal(one, two) for one, two in zip(seen[0], other, strict=True))


# --- the kernel cache ------------------------------------------------------------------------------------------------

SCRIPT = """
import numpy as np, spikec, sys
from spikec.ir.diagnostics import SpikecError
from spikec.ir import nodes as ir
graph = spikec.Graph({"in": ir.Input(shape=(1,)), "fc": ir.Linear(weight=[[12.0]]),
                      "n": ir.CubaLIF(shape=(1,), tau_mem=2.0, tau_syn=1.0), "out": ir.Output(shape=(1,))},
                     (("in", "fc"), ("fc", "n"), ("n", "out")))
try:
    found = spikec.compile(graph).run(spikec.Events.from_samples([([0.0], [0])]), duration=5.0)
    print("times", *found.spikes["out"].times.round(9))
except SpikecError as error:
    print("diagnostic", *(each.code for each in error.diagnostics))
"""
TIMES = "times 0.19247498 0.434599927 0.76366993 1.294860802"


def start(cache: Path, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT],
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "SPIKEC_CACHE": str(cache), **environment},
    )


def said(process: subprocess.Popen[str]) -> str:
    out, error = process.communicate(timeout=120)
    assert process.returncode == 0, error
    return out.strip()


def test_the_kernel_cache(tmp_path: Path) -> None:
    """Two processes at once on an empty cache; then a damaged library, a damaged digest, a library that is cut off."""
    cache = tmp_path / "new" / "cache"
    both = [start(cache), start(cache)]
    assert [said(each) for each in both] == [TIMES, TIMES]
    libraries = sorted(cache.glob("*.so"))
    assert libraries
    assert not list(cache.glob(".new-*"))
    damaged = libraries[0].read_bytes()
    libraries[0].write_bytes(damaged[:5000] + b"\x00" * 64 + damaged[5064:])
    libraries[-1].with_suffix(".sha256").write_text("0" * 64)
    assert said(start(cache)) == TIMES
    assert libraries[0].read_bytes() == damaged or len(libraries[0].read_bytes()) > 5064
    libraries[0].write_bytes(damaged[:1000])
    libraries[-1].with_suffix(".sha256").unlink()
    assert said(start(cache)) == TIMES
    times = {each: each.stat().st_mtime_ns for each in cache.iterdir()}
    assert said(start(cache)) == TIMES
    assert times == {each: each.stat().st_mtime_ns for each in cache.iterdir()}  # nothing was compiled again


def test_a_cache_that_cannot_be_written(tmp_path: Path) -> None:
    place = tmp_path / "file"
    place.write_text("no folder")  # holds for root too, unlike permissions
    assert said(start(place)) == TIMES


def test_no_compiler_and_one_that_fails(tmp_path: Path) -> None:
    empty = tmp_path / "bin"
    empty.mkdir()
    (empty / "python").symlink_to(sys.executable)
    failing = tmp_path / "cc"
    failing.write_text('#!/bin/sh\ncase "$*" in *--version*) echo broken 1.0;; *) echo no >&2; exit 1;; esac\n')
    failing.chmod(0o755)
    missing = start(tmp_path / "a", PATH=str(empty), CC="")
    broken = start(tmp_path / "b", CC=str(failing))
    absent = start(tmp_path / "c", CC=str(tmp_path / "nowhere"))
    said_missing = said(missing)
    ziglang = (
        subprocess.run([sys.executable, "-m", "ziglang", "version"], capture_output=True, check=False).returncode == 0
    )
    assert said_missing == (TIMES if ziglang else "diagnostic SC421")
    assert said(broken) == "diagnostic SC422"
    assert said(absent) == TIMES  # another compiler is there


# --- templates -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "template", sorted(path.name for path in (Path(jit.__file__).parent / "kernels").glob("*.jinja"))
)
def test_templates_declare_what_they_use(template: str) -> None:
    """Exactly what they use themselves and through what they include; parts may lean on their includer's."""
    declared, used = jit.declared_variables(template), jit.undeclared_variables(template)
    assert declared <= used, f"declared in vain: {sorted(declared - used)}"
    rendered = template in ("events.jinja", "sweep.jinja") or template.startswith("loop_")
    if rendered:
        assert used == declared, f"not declared: {sorted(used - declared)}"


def test_a_template_is_given_exactly_its_variables() -> None:
    with pytest.raises(SpikecError) as caught:
        jit.render("events.jinja", gather_fields=[])
    assert caught.value.diagnostics[0].code == "SC420"


# --- the module in PyTorch -------------------------------------------------------------------------------------------


def gradients(module: Any, events: Events) -> tuple[torch.Tensor, list[torch.Tensor]]:
    module.zero_grad()
    first = module(events, duration=DURATION).spike_times("out", 3)
    torch.where(torch.isfinite(first), first, 0).sum().backward()
    return first.detach(), [each.grad.clone() for each in module.parameters() if each.grad is not None]


def equal(one: tuple[torch.Tensor, list[torch.Tensor]], two: tuple[torch.Tensor, list[torch.Tensor]]) -> bool:
    return torch.equal(one[0], two[0]) and all(torch.equal(a, b) for a, b in zip(one[1], two[1], strict=True))


def test_a_state_dict_goes_round() -> None:
    graph, events = problem()
    program = spikec.compile(graph)
    module, other = program.module(dtype=torch.float64), program.module(dtype=torch.float64)
    with torch.no_grad():
        module.fc.weight.mul_(1.05)
    buffer = io.BytesIO()
    torch.save(module.state_dict(), buffer)
    buffer.seek(0)
    assert not equal(gradients(module, events), gradients(other, events))
    other.load_state_dict(torch.load(buffer, weights_only=True))
    assert equal(gradients(module, events), gradients(other, events))


def test_a_write_through_data_counts() -> None:
    graph, events = problem()
    module = spikec.compile(graph).module(dtype=torch.float64)

    def spikes() -> int:
        with torch.no_grad():
            return len(module(events, duration=DURATION).events("hidden"))

    before = spikes()
    for name in ("hidden.v_threshold", "fc.weight"):
        value = module.get_parameter(name).data
        kept = value.clone()
        value.mul_(0.5 if name == "fc.weight" else 2.0)
        assert spikes() < before, name
        value.copy_(kept)
        assert spikes() == before, name


def test_a_deep_copy_is_on_its_own() -> None:
    graph, events = problem(recurrent=True)
    module = spikec.compile(graph).module(dtype=torch.float64)
    before = gradients(module, events)
    twin = copy.deepcopy(module)
    assert equal(gradients(twin, events), before)
    with torch.no_grad():
        twin.fc.weight.mul_(1.1)
    assert not equal(gradients(twin, events), before)
    assert equal(gradients(module, events), before)


def test_the_type_follows_to() -> None:
    graph, events = problem()
    program = spikec.compile(graph)
    module = program.module()
    assert module.fc.weight.dtype == torch.float32
    narrow = gradients(module, events)
    assert narrow[0].dtype == torch.float64
    wide = gradients(module.to(torch.float64), events)
    assert module.fc.weight.dtype == module.fc.weight.grad.dtype == torch.float64
    assert not torch.equal(narrow[0], wide[0])
    assert equal(gradients(module.double(), events), wide)
    assert gradients(module.float(), events)[1][0].dtype == torch.float32


def work(module: Any, events: tuple[Any, ...], answers: Any) -> None:
    torch.set_num_threads(1)  # as torch's own workers do: its OpenMP threads do not survive a fork
    found = gradients(module, Events(*events))
    answers.put([found[0].numpy(), *(each.numpy() for each in found[1])])


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_module_in_another_process(method: str) -> None:
    graph, events = problem(recurrent=True)
    module = spikec.compile(graph).module(dtype=torch.float64)
    set_threads(2)  # with threads of its own before the fork
    try:
        before = gradients(module, events)
        context = multiprocessing.get_context(method)
        answers = context.Queue()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of forking with threads about
            process = context.Process(
                target=work, args=(module, (events.times, events.indices, events.offsets), answers)
            )
            process.start()
        found = answers.get(timeout=120)
        process.join(60)
    finally:
        set_threads(0)
    assert process.exitcode == 0
    assert all((one == two.numpy()).all() for one, two in zip(found, [before[0], *before[1]], strict=True))


@pytest.mark.parametrize("options", [{}, {"recurrent": True}, {"wires": "sparse"}])
def test_gradients_of_gradients_are_refused(options: dict[str, Any]) -> None:
    graph, events = problem(**options)
    module = spikec.compile(graph).module(dtype=torch.float64)
    out = module(events, duration=DURATION)
    first = out.spike_times("out", 2)
    total = torch.where(torch.isfinite(first), first, 0).sum()
    (gradient,) = torch.autograd.grad(total, module.fc.weight, create_graph=True)
    with pytest.raises(RuntimeError, match=r"once_differentiable|does not require grad"):
        gradient.sum().backward()


def test_the_graph_of_an_untouched_module_is_the_graph() -> None:
    rng = np.random.default_rng(0)
    for dtype in (torch.float32, torch.float64):
        graph = make("CubaLIF", rng, wires="conv", delay="synapse", refractory=1e-3)
        module = spikec.compile(graph).module(dtype=dtype)
        assert same_graph(module.to_graph(), graph)
        with torch.no_grad():
            module.fc2.weight[0, 1] = 7.0
        changed = module.to_graph()
        assert changed.nodes["fc2"].weight[0, 1] == 7.0
        assert changed.nodes["fc2"].weight.dtype == graph.nodes["fc2"].weight.dtype
        assert not same_graph(changed, graph)
        assert same_graph(changed.with_nodes({"fc2": graph.nodes["fc2"]}), graph)


def test_a_trained_graph_runs_as_its_module() -> None:
    graph, events = problem()
    program = spikec.compile(graph)
    module = program.module(dtype=torch.float64)
    optimizer = torch.optim.Adam([each for each in module.parameters() if each.requires_grad], lr=0.01)
    for _ in range(3):
        gradients(module, events)
        optimizer.step()
    found = spikec.compile(module.to_graph()).run(events, duration=DURATION)
    with torch.no_grad():
        wanted = module(events, duration=DURATION).events("out")
    assert np.array_equal(found.spikes["out"].times, wanted.times.numpy())
    before = program.run(events, duration=DURATION).spikes["out"].times
    assert len(before) != len(wanted.times) or not np.array_equal(before, wanted.times.numpy())


def test_odd_names_nest_and_collide_with_nothing() -> None:
    rng = np.random.default_rng(0)
    graph = make("CubaLIF", rng)
    rename = {"fc": "a.b", "hidden": "forward", "fc2": "_modules", "last": "a.training"}
    nodes = {rename.get(name, name): node for name, node in graph.nodes.items()}
    odd = Graph(nodes, tuple((rename.get(a, a), rename.get(b, b)) for a, b in graph.edges))
    module, plain = spikec.compile(odd).module(dtype=torch.float64), spikec.compile(graph).module(dtype=torch.float64)
    events = stimulus(6, rng)
    assert equal(gradients(module, events), gradients(plain, events))
    assert sorted(module.parameter_map().values()) == sorted(
        (rename.get(n, n), p) for n, p in plain.parameter_map().values()
    )
    assert set(module.parameter_map()) == {name for name, _ in module.named_parameters()}
    assert same_graph(module.to_graph(), odd)


# --- silence, and too much -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"recurrent": True}, {"wires": "sparse"}])
def test_silent_outputs_give_finite_losses_and_gradients(options: dict[str, Any]) -> None:
    graph, events = problem(bias=False, **options)
    quiet = graph.with_nodes({"fc2": ir.Linear(weight=graph.nodes["fc2"].weight * 1e-3)})
    module = spikec.compile(quiet).module(dtype=torch.float64)
    for parameter in module.parameters():
        parameter.requires_grad_(True)
    target = torch.arange(events.batch) % 3
    value = FirstSpikeCrossEntropy()(module(events, duration=DURATION), target).value
    assert bool(torch.isfinite(value))
    value.backward()
    assert bool((module.fc2.weight.grad != 0).any())  # silent labels are pushed
    out = module(events, duration=DURATION)
    first = out.first_spike("out")
    assert bool(torch.isinf(first).all())
    (torch.softmax(-first.clamp(max=DURATION) / 0.01, 1)[:, 0].sum() + (1 / first).sum()).backward()
    for name, parameter in module.named_parameters():
        assert parameter.grad is None or bool(torch.isfinite(parameter.grad).all()), name


@pytest.mark.parametrize("options", [{"n": 20}, {"recurrent": True}, {"wires": "sparse"}])
def test_a_cap_on_spikes_is_never_silent(options: dict[str, Any]) -> None:
    graph, events = problem(**options)
    program = spikec.compile(graph)
    whole = program.run(events, duration=DURATION)
    assert not whole.truncated
    for stage in program.engine.stages:
        stage.kernel.limit = 3
    with pytest.warns(SpikecWarning, match="SC408"):
        cut = program.run(events, duration=DURATION)
    assert cut.truncated
    assert 0 < len(cut.spikes["hidden"]) < len(whole.spikes["hidden"])
    module = program.module(dtype=torch.float64)
    for stage in module._engine.stages:
        stage.kernel.limit = 3
    out = module(events, duration=DURATION)
    assert out.truncated
    out.events("hidden").times.sum().backward()
    assert bool(torch.isfinite(module.fc.weight.grad).all())


def test_buffers_grow_when_a_net_is_busier_than_thought() -> None:
    for wires in ("dense", "sparse"):
        rng = np.random.default_rng(1)
        graph = make("CubaLIF", rng, wires=wires, n=3, bias=False)
        program, few = spikec.compile(graph), stimulus(6, rng, batch=1, per_sample=2)
        program.run(few, duration=DURATION)
        many = stimulus(6, rng, batch=2, per_sample=400)
        grown, fresh = program.run(many, duration=DURATION), spikec.compile(graph).run(many, duration=DURATION)
        assert len(grown.spikes["hidden"]) > 300
        assert np.array_equal(grown.spikes["hidden"].times, fresh.spikes["hidden"].times)


# --- what is wrong is said -------------------------------------------------------------------------------------------


def events_with(times: Any, indices: Any = None, offsets: Any = None) -> Events:
    count = len(times)
    return Events(
        np.asarray(times, dtype=float),
        np.zeros(count, dtype=np.int64) if indices is None else np.asarray(indices),
        np.asarray([0, count] if offsets is None else offsets),
    )


@pytest.mark.parametrize(
    "bad",
    [
        events_with([np.nan]),
        events_with([np.inf]),
        events_with([-0.001]),
        events_with([0.02, 0.01]),
        events_with([0.01], [6]),
        events_with([0.01], [-1]),
        events_with([0.01], [0, 1]),
        events_with([0.01], None, [0, 2]),
        events_with([0.01], None, [1, 1]),
        events_with([0.01], None, []),
        Events(np.zeros((1, 1)), np.zeros((1, 1), int), np.array([0, 1])),
        {"nowhere": events_with([0.01])},
        {},
        np.zeros((1, 4, 6)),
        "events",
        None,
        Events(None, None, None),
        Events([0.01], ["a"], [0, 1]),
        events_with([0.01], [0.5]),
        events_with([0.01], [np.nan]),
    ],
)
def test_malformed_events_are_diagnosed(bad: Any) -> None:
    graph, _ = problem()
    program = spikec.compile(graph)
    for call in (program.run, program.module()):
        with pytest.raises(BadInputError) as caught:
            call(bad, duration=DURATION)
        assert caught.value.diagnostics
        assert all(each.code.startswith("SC") for each in caught.value.diagnostics)


@pytest.mark.parametrize(
    "arguments",
    [
        {"duration": np.nan},
        {"duration": -1.0},
        {"duration": np.inf},
        {"duration": "long"},
        {"duration": 0.05, "probes": {"hidden.v": [0.06]}},
        {"duration": 0.05, "probes": {"hidden.v": [np.nan]}},
        {"duration": 0.05, "probes": {"hidden.v": [-0.01]}},
        {"duration": 0.05, "probes": {"nobody.v": [0.01]}},
        {"duration": 0.05, "probes": {"hidden.x": [0.01]}},
        {"duration": 0.05, "probes": {"hidden.v": "now"}},
        {"duration": 0.05, "state": "of mind"},
        {"duration": 0.05, "probes": ["hidden.v"]},
        {"duration": 0.05, "dtype": torch.float16},
        {"duration": 0.05, "durations": 0.05},
        {},
    ],
)
def test_malformed_requests_are_diagnosed(arguments: dict[str, Any]) -> None:
    graph, events = problem(recurrent=True)
    with pytest.raises(BadInputError) as caught:
        spikec.compile(graph).run(events, **arguments)
    assert caught.value.diagnostics


def test_what_is_said_of_events() -> None:
    program = spikec.compile(problem()[0])
    for wrong, said in (
        ({"events": events_with([0.01], [6])}, "an event index is out of range (value: sample 0, position 0: 6"),
        ({"events": events_with([0.1, 0.2, 0.1], None, [0, 1, 3])}, "sample 1, position 1: 0.1 after 0.2"),
        ({"events": np.zeros((1, 4, 5)), "dt": 1e-3}, "(1, 4, 5); limit: (batch, time, 6)"),
        ({"events": np.zeros((4, 6)), "dt": 1e-3}, "(4, 6); limit: (batch, time, 6)"),
        ({"events": "events", "dt": 1e-3}, "SC405 at 'in': input is neither"),
    ):
        with pytest.raises(BadInputError) as caught:
            program.run(duration=DURATION, **wrong)
        assert said in str(caught.value)
    assert len(program.run(np.ones((1, 4, 6)), duration=DURATION, dt=1e-3).spikes) > 0


def test_settings_of_a_module_are_checked() -> None:
    program = spikec.compile(problem()[0])
    module = program.module()
    for wrong in (lambda: program.module(dtype=torch.float16), lambda: program.module(dtype=torch.int32),
                  lambda: program.module(train=["foo"]), module.half):
        with pytest.raises(BadInputError, match="SC412"):
            wrong()
    assert {parameter.dtype for parameter in module.parameters()} == {torch.float32}
    assert program.module(train="weight").fc.weight.requires_grad


def test_a_state_of_another_net_or_batch_is_diagnosed() -> None:
    graph, events = problem()
    program = spikec.compile(graph)
    state = program.run(events, duration=DURATION).state
    other = spikec.compile(problem(n=9)[0])
    for wrong, given in ((other, events), (program, events.take([0, 1]))):
        with pytest.raises(BadInputError):
            wrong.run(given, duration=DURATION, state=state)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("weight", np.nan),
        ("weight", np.inf),
        ("tau_mem", -1e-3),
        ("tau_mem", 0.0),
        ("tau_syn", np.nan),
        ("v_threshold", np.nan),
        ("refractory", -1e-3),
        ("r", np.inf),
        ("delay", -1e-3),
        ("delay", np.nan),
    ],
)
def test_malformed_parameters_are_diagnosed(field: str, value: float) -> None:
    graph, _ = problem(delay="synapse")
    node = "fc" if field in ("weight", "delay") else "hidden"
    array = np.array(getattr(graph.nodes[node], field))
    array.reshape(-1)[0] = value
    fields = {name: getattr(graph.nodes[node], name) for name in ir.param_names(graph.nodes[node])}
    if node == "hidden":
        fields["shape"], fields["reset"] = graph.nodes[node].shape, graph.nodes[node].reset
    with pytest.raises(BadInputError) as caught:
        spikec.compile(graph.with_nodes({node: type(graph.nodes[node])(**{**fields, field: array})}))
    assert any(each.node == node for each in caught.value.diagnostics)


@pytest.mark.parametrize("grad", [True, False])
@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("hidden.tau_mem", -1e-3, "SC103 at 'hidden': tau_mem must be positive"),
        ("hidden.tau_syn", 0.0, "SC103 at 'hidden': tau_syn must be positive"),
        ("hidden.tau_mem", np.nan, "SC104 at 'hidden': tau_mem"),
        ("hidden.v_threshold", -1.0, "SC103 at 'hidden': v_reset must be below v_threshold"),
        ("hidden.refractory", -1e-3, "SC103 at 'hidden': refractory must not be negative"),
        ("hidden.refractory", 5e-3, "SC412 at 'hidden': refractory is fixed"),
        ("fc.weight", np.nan, "SC104 at 'fc': weight"),
        ("fc.weight", np.inf, "SC104 at 'fc': weight"),
        ("fc.delay", -1e-3, "SC103 at 'fc': delay must not be negative"),
    ],
)
def test_parameters_that_became_illegal_are_named(name: str, value: float, said: str, grad: bool) -> None:
    graph, events = problem(delay="synapse", refractory=1e-3)
    module = spikec.compile(graph).module(train=[name])
    module(events, duration=DURATION)
    with torch.no_grad():
        parameter = module.get_parameter(name)
        parameter[(0,) * parameter.dim()] = value
    with torch.set_grad_enabled(grad), pytest.raises(BadInputError) as caught:
        module(events, duration=DURATION)
    assert said in str(caught.value)


def test_questions_without_an_answer_are_diagnosed() -> None:
    graph, events = problem(readout=True)
    out = spikec.compile(graph).module()(events, duration=DURATION)
    for ask in (
        lambda: out.voltage_max("hidden"),
        lambda: out.voltage_integral("hidden"),
        lambda: out.events("last"),
        lambda: out.first_spike("nobody"),
        lambda: out.voltage("nobody", [0.01]),
        lambda: out.spike_times("out", 2),
    ):
        with pytest.raises(BadInputError) as caught:
            ask()
        assert caught.value.diagnostics[0].code == "SC409"


@pytest.mark.parametrize("kind", ["LIF", "IF"])
@pytest.mark.parametrize("wires", ["dense", "sparse"])
def test_delta_synapses_without_drive_are_refused_for_training(kind: str, wires: str) -> None:
    rng = np.random.default_rng(0)
    program = spikec.compile(make(kind, rng, wires=wires, bias=False))
    program.run(stimulus(6, rng), duration=DURATION)
    with pytest.raises(UnsupportedError) as caught:
        program.module()
    found = caught.value.diagnostics[0]
    assert (found.code, found.node) == ("SC411", "hidden")
    assert "CubaLIF" in found.remedy
    assert "Synaptic" in found.remedy
    spikec.compile(make(kind, rng, wires=wires, bias=False, box=True)).module()


def test_a_delta_cycle_without_delay_that_fires_twice_at_once_is_diagnosed() -> None:
    hidden = neuron("IF", (1,), np.random.default_rng(0), reset="zero")
    graph = Graph(
        {
            "in": ir.Input(shape=(1,)),
            "fc": ir.Linear(weight=[[9.0]]),
            "hidden": hidden,
            "loop": ir.Linear(weight=[[9.0]]),
            "out": ir.Output(shape=(1,)),
        },
        (("in", "fc"), ("fc", "hidden"), ("hidden", "loop"), ("loop", "hidden"), ("hidden", "out")),
    )
    with pytest.raises(SpikecError) as caught:
        spikec.compile(graph).run(Events.from_samples([([0.01], [0])]), duration=DURATION)
    assert caught.value.diagnostics[0].code == "SC401"


def test_a_network_that_can_fire_on_and_on_needs_a_duration() -> None:
    rng = np.random.default_rng(0)
    for graph in (
        make("CubaLIF", rng, recurrent=True, bias=False),
        make("LIF", rng, bias=False).with_nodes({"hidden": ir.LIF(shape=(5,), tau=0.02, v_leak=1.1)}),
    ):
        with pytest.raises(BadInputError) as caught:
            spikec.compile(graph).run(stimulus(6, rng))
        assert caught.value.diagnostics[0].code == "SC402"


def test_ten_million_synapses() -> None:
    n, fan = 1_000_000, 10
    rng = np.random.default_rng(0)
    columns = np.sort(rng.integers(0, 1000, (n, fan)), axis=1)
    columns += np.arange(fan) * 1000  # ten distinct sources each, ascending
    graph = Graph(
        {
            "in": ir.Input(shape=(10_000,)),
            "fc": ir.SparseLinear(
                size=(n, 10_000),
                indptr=np.arange(n + 1) * fan,
                indices=columns.reshape(-1),
                weight=np.full(n * fan, 5.0),
            ),
            "hidden": ir.CubaLIF(shape=(n,), tau_mem=2.0, tau_syn=1.0),
            "out": ir.Output(shape=(n,)),
        },
        (("in", "fc"), ("fc", "hidden"), ("hidden", "out")),
    )
    found = spikec.compile(graph).run(Events.from_samples([([0.5], [4321])]), duration=2.0, dtype=torch.float32)
    reached = np.unique(np.nonzero((columns == 4321).any(axis=1))[0])
    assert np.array_equal(found.spikes["out"].indices, reached)
    assert found.spikes["out"].times == pytest.approx(0.5 + 0.647014262315, abs=1e-5)


@pytest.mark.parametrize("options", [{}, {"recurrent": True}, {"wires": "sparse"}])
def test_a_kernel_without_memory_says_so(options: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    graph, events = problem(**options)
    program = spikec.compile(graph)
    module = program.module(dtype=torch.float64, train=("weight", "tau_mem"))
    out = module(events, duration=DURATION)
    if options:
        monkeypatch.setattr("spikec.runtime.loop._scratch", lambda *_: 1 << 60)
        with pytest.raises(SpikecError, match=r"SC423.*fewer"):
            program.run(events, duration=DURATION)
    else:
        out._activity.results["hidden"].end.arguments.longest = 1 << 50
    with pytest.raises(SpikecError, match=r"SC423.*fewer"):
        out.events("hidden").times.sum().backward()


@pytest.mark.parametrize("move", [lambda module: module.to("cuda:63"), lambda module: module.cuda(63),
                                  lambda module: module.to("meta")])
def test_a_device_that_is_not_there_is_named_and_the_module_stays(move: Any) -> None:
    graph, events = problem()
    module = spikec.compile(graph).module()
    with pytest.raises(BadInputError, match=r"SC412.*cpu.*spikec doctor"):
        move(module)
    assert {parameter.device.type for parameter in module.parameters()} == {"cpu"}
    assert len(module(events, duration=DURATION).events("hidden").times)
