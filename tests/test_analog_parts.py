"""Networks that are larger than an analog chip: schedules of runs against a checker that counts again, all runs against
the network as a whole, one run at a time against all of them, and what is refused."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from itertools import pairwise
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from analog_nets import TOML, cuba, net, with_figures
from hypothesis import given, settings
from hypothesis import strategies as st

import spikec
from spikec.ir import nodes as ir
from spikec.ir.analog.schedule import Part, Run, Schedule
from spikec.ir.diagnostics import BadInputError, DoesNotFitError, SpikecWarning
from spikec.ir.events import Events
from spikec.ir.graph import Graph
from spikec.ir.network import Dense, Network
from spikec.passes.chip_parts import check_schedule
from spikec.runtime.analog.emulator import Emulator
from spikec.runtime.analog.replay import replayed
from spikec.targets.analog.check import check_analog_program
from spikec.targets.analog.program import AnalogProgram

DURATION = 0.04
QUIET: dict[str, Any] = {"mismatch": "none", "noise": False}


@pytest.fixture(autouse=True)
def _quiet(one_thread: None) -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SpikecWarning)  # of weights that are cut off
        yield


@pytest.fixture(scope="module")
def chip_of(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The file of a chip with fewer circuits, of fewer inputs."""
    folder = tmp_path_factory.mktemp("chips")

    @cache
    def made(target: str, circuits: int, fan_in: int, merged: int) -> Path:
        text = TOML[target]
        for name, value in (("circuits", circuits), ("fan_in", fan_in), ("merged", merged)):
            before, after = text.split(f"[neurons.{name}]\nvalue = ")
            text = f"{before}[neurons.{name}]\nvalue = {value}\n" + after.split("\n", 1)[1]
        file = folder / f"{target}-{circuits}-{fan_in}-{merged}.toml"
        file.write_text(text, encoding="utf-8")
        return file

    return made


def compiled(graph: Graph, target: str = "brainscales2", **options: Any) -> AnalogProgram:
    program = spikec.compile(graph, target, **options)
    assert isinstance(program, AnalogProgram)
    return program


def with_stamp(program: AnalogProgram, stamp: float) -> AnalogProgram:
    """The same on a chip of which time has a coarser grid."""
    return AnalogProgram(program.graph, program.target, program._lower, program._given,
                         chip=with_figures(program.chip, time__stamp=stamp))


def schedule_of(program: AnalogProgram) -> Schedule:
    assert program.held.schedule is not None
    return program.held.schedule


def shape_of(schedule: Schedule) -> list[dict[str, int]]:
    return [{part.population: len(part.neurons) for part in run.parts} for run in schedule.runs]


def stimulus(graph: Graph, seed: int = 0, batch: int = 2, per_channel: float = 4.0) -> dict[str, Events]:
    rng, found = np.random.default_rng(seed), {}
    for name in graph.inputs:
        n = int(np.prod(graph.nodes[name].shape))
        count = int(per_channel * n)
        found[name] = Events.from_samples([(rng.uniform(0, 0.8 * DURATION, count), rng.integers(0, n, count))
                                           for _ in range(batch)])
    return found


def layers(*sizes: int, seed: int = 0, gain: float = 3.0) -> Graph:
    """Layers of spiking neurons, all to all."""
    rng = np.random.default_rng(seed)
    nodes: dict[str, ir.Node] = {"in": ir.Input(shape=(sizes[0],))}
    for number, (before, n) in enumerate(pairwise(sizes), 1):
        nodes[f"fc{number}"] = ir.Linear(weight=rng.uniform(-0.3, 1.0, (n, before)) * gain / np.sqrt(before))
        nodes[f"l{number}"] = cuba(n, rng)
    nodes["out"] = ir.Output(shape=(sizes[-1],))
    return Graph(nodes, tuple(pairwise(nodes)))


def random_graph(seed: int, delays: bool, loops: bool) -> Graph:
    """Populations in layers with random edges between any of them, some back, some with delays; all are shown."""
    rng = np.random.default_rng(seed)
    sizes = {f"i{k}": int(rng.integers(1, 8)) for k in range(rng.integers(1, 3))}
    inputs = list(sizes)
    sizes |= {f"p{k}": int(rng.integers(1, 10)) for k in range(rng.integers(2, 6))}
    names = [name for name in sizes if name not in inputs]
    nodes: dict[str, ir.Node] = {name: ir.Input(shape=(sizes[name],)) for name in inputs}
    nodes |= {name: cuba(sizes[name], rng) for name in names}
    edges: list[tuple[str, str]] = []
    wanted = {(inputs[k % len(inputs)], name) for k, name in enumerate(names) if k == 0 or rng.random() < 0.4}
    wanted |= {(inputs[k], names[0]) for k in range(len(inputs))}
    for place, name in enumerate(names):
        wanted |= {(before, name) for before in names[:place] if rng.random() < 0.5}
        if not any(target == name for _, target in wanted):
            wanted.add((names[place - 1], name))
        if loops:
            wanted |= {(after, name) for after in names[place:place + 2] if rng.random() < 0.25}
    for source, target in sorted(wanted):
        back = source in names and names.index(source) >= names.index(target)
        weight = rng.uniform(-0.3, 1.0, (sizes[target], sizes[source])) * (0.3 if back else 4.0) / sizes[source] ** 0.5
        nodes[f"{source}-{target}"] = ir.Linear(weight=weight)
        before = source
        if delays and rng.random() < 0.3:
            before = f"{source}-{target}-wait"
            tau = float(np.asarray(nodes[target].tau_syn)[0])  # type: ignore[attr-defined]
            nodes[before] = ir.Delay(delay=rng.uniform(2.0, 3.4, sizes[source]) * tau)
            edges.append((source, before))
        edges += [(before, f"{source}-{target}"), (f"{source}-{target}", target)]
    for name in names:
        nodes[f"{name}-out"] = ir.Output(shape=(sizes[name],))
        edges.append((name, f"{name}-out"))
    return Graph(nodes, tuple(edges))


def restricted(network: Network, run: Run) -> Network:
    """The part of a network that is in a run, as a network of its own."""
    neurons = {part.population: part.neurons for part in run.parts}
    populations = {}
    for name, which in neurons.items():
        each = network.populations[name]
        values = {field: getattr(each, field) for field in (
            "r", "bias", "v0", "tau_mem", "tau_syn", "v_leak", "w_in", "v_threshold", "v_reset", "refractory")}
        populations[name] = replace(each, shape=(len(which),), **{
            field: np.asarray(value)[which] for field, value in values.items() if value is not None})
    projections = tuple(replace(each, connection=Dense(weight=np.asarray(each.connection.weight)[neurons[each.target]]))
                        for each in network.projections if each.target in neurons)
    components = tuple(each for each in network.schedule if each[0] in neurons)
    return Network({name: (network.size(name),) for name in run.sources}, populations, projections,
                   {name: name for name in neurons}, None, components)


def one_by_one(program: AnalogProgram) -> Any:
    """A chip that holds one run of a program at a time: its circuits deviate as those of the program's device."""
    schedule = schedule_of(program)
    numbers = {id(run): number for number, run in enumerate(schedule.runs)}
    seen: list[int] = []

    def measure_one(run: Run, codes: Any, spikes: Any, duration: float, **settings: Any) -> Any:
        number = numbers[id(run)]
        seen.append(number)
        chip = Emulator(restricted(program.network, run), program.held.in_run(number), program.device, False)
        found = chip.measure(codes, spikes, duration, **settings)
        return {part.population: found[part.population] for part in run.parts if part.population in found}

    return replayed(schedule, measure_one), seen


# ---- 784 inputs -----------------------------------------------------------------------------------------------------
def test_784_150_10_is_cut_as_the_formula_says() -> None:
    graph = layers(784, 150, 10)
    with pytest.raises(DoesNotFitError, match=r"SC375.*1070: l1 1050, l2 20.*partition=True"):
        compiled(graph)
    program = compiled(graph, partition=True, **QUIET)
    schedule = schedule_of(program)
    circuits = ceil(784 / 128)
    most = 512 // circuits
    assert (circuits, most) == (7, 73)
    assert shape_of(schedule) == [{"l1": most}, {"l1": most}, {"l1": 150 - 2 * most}, {"l2": 10}]
    assert [run.circuits for run in schedule.runs] == [73 * 7, 73 * 7, 4 * 7, 10 * ceil(150 / 128)]
    assert [run.sources for run in schedule.runs] == [("in",)] * 3 + [("l1",)]
    assert program.held.used == 1070 and program.held.populations["l1"].place.shape == (150, 7)
    assert program.held.populations["l1"].run.tolist() == [0] * 73 + [1] * 73 + [2] * 4  # type: ignore[union-attr]
    # each run begins at the first circuit: neurons 0, 73 and 146 share theirs
    assert (program.held.populations["l1"].place[[0, 73, 146]] == np.arange(7)).all()


def test_784_150_10_trains_in_the_loop() -> None:
    program = compiled(layers(784, 150, 10), partition=True)
    module = program.module()
    rng = np.random.default_rng(0)
    events = {"in": Events.from_samples([(rng.uniform(0, 0.02, 400), rng.integers(0, 784, 400)) for _ in range(3)])}
    optimizer = torch.optim.SGD(module.parameters(), lr=1e-1)
    before = {name: each.detach().clone() for name, each in module.named_parameters()}
    out = module(events, duration=DURATION)
    first = out.first_spike("l2")
    assert torch.isfinite(first).any() and out.total_spikes("l1") > 100
    torch.where(torch.isfinite(first), first, 0).sum().backward()
    optimizer.step()
    moved = {name: float((each - before[name]).abs().sum()) for name, each in module.named_parameters()}
    assert all(moved[name] > 0 for name in ("fc1.weight", "fc2.weight")), moved
    again = program.recompile(module.to_graph())
    assert isinstance(again, AnalogProgram) and shape_of(schedule_of(again)) == shape_of(schedule_of(program))
    # every part of the first layer learns, whichever run it was in
    grads = dict(module.named_parameters())["fc1.weight"].grad
    assert grads is not None and all(float(grads[run].abs().sum()) > 0 for run in (slice(0, 73), slice(73, 146)))


# ---- schedules ------------------------------------------------------------------------------------------------------
CHIPS = {"circuits": st.integers(8, 30), "fan_in": st.sampled_from([3, 8, 20]), "merged": st.sampled_from([20, 40])}


@given(seed=st.integers(0, 2**32 - 1), delays=st.booleans(), loops=st.booleans(), chip=st.fixed_dictionaries(CHIPS))
@settings(max_examples=25)
def test_in_parts_it_is_the_network_as_a_whole(chip_of: Any, seed: int, delays: bool, loops: bool,
                                               chip: dict[str, int]) -> None:
    graph, events = random_graph(seed, delays, loops), stimulus(random_graph(seed, delays, loops), seed)
    whole = compiled(graph, "generic_analog", rows=1, **QUIET)
    sizes, program = whole.network.size, None
    try:
        program = compiled(graph, "generic_analog", chip=chip_of("generic_analog", **chip), partition=True, rows=1,
                           **QUIET)
    except DoesNotFitError as error:
        for told in error.diagnostics:  # with numbers, of what cannot be cut
            if told.code == "SC374":
                assert int(str(told.value).split()[-2]) > chip["merged"]
            else:
                assert told.code == "SC375" and int(str(told.value).split(":")[0]) > chip["circuits"]
                loop = [each for each in whole.network.schedule if ", ".join(each) == told.node]
                assert len(loop) == 1 and ("loop" in told.message) == any(
                    each.source in loop[0] and each.target in loop[0] for each in whole.network.projections)
        return
    each = {name: max(1, ceil(sum(sizes(one.source) for one in whole.network.incoming[name]) / chip["fan_in"]))
            for name in whole.network.populations}
    relays = {name: sum(sizes(one.source) for one in whole.network.incoming[name] if one.delay is not None)
              for name in each}
    total = sum(each[name] * sizes(name) + relays[name] for name in each)
    if total <= chip["circuits"]:
        assert program.held.schedule is None
    else:
        schedule = schedule_of(program)
        check_schedule(program.network, program.chip, program.rows, schedule)
        # no more runs than one component after the other takes, and no fewer than there are circuits and layers for
        alone = sum(ceil(sizes(name) / ((chip["circuits"] - relays[name]) // each[name])) if len(members) == 1
                    and each[name] + relays[name] <= chip["circuits"] else 1 for members in whole.network.schedule
                    for name in members[:1])
        depth: dict[str, int] = {}
        for members in whole.network.schedule:
            before = [depth[one.source] for name in members for one in whole.network.incoming[name]
                      if one.source in depth]
            depth |= dict.fromkeys(members, 1 + max(before, default=0))
        assert max(ceil(sum(each[name] * sizes(name) for name in each) / chip["circuits"]),
                   max(depth.values())) <= len(schedule.runs) <= alone
    one, two = (made.run(events, DURATION).spikes for made in (whole, program))
    assert one.keys() == two.keys()
    for name, spikes in one.items():
        assert all(np.array_equal(getattr(spikes, field), getattr(two[name], field))
                   for field in ("times", "indices", "offsets")), name


def test_random_networks_fire_and_are_cut() -> None:
    """What the test above is about is there."""
    fired, cut = 0, 0
    for seed in range(12):
        program = compiled(random_graph(seed, True, True), "generic_analog", **QUIET)
        spikes = program.run(stimulus(program.graph, seed), DURATION).spikes
        fired += all(len(spikes[name].times) for name in program.network.populations)
        cut += any(len(each) > 1 for each in program.network.schedule)
    assert fired >= 6 and cut >= 2


@given(seed=st.integers(0, 2**32 - 1), delays=st.booleans(), loops=st.booleans(),
       mismatch=st.sampled_from(["published", "uncalibrated"]), circuits=st.integers(8, 24),
       stamp=st.sampled_from([8e-9, 2e-7]))
@settings(max_examples=15)
def test_one_run_at_a_time_gives_what_all_of_them_give(chip_of: Any, seed: int, delays: bool, loops: bool,
                                                      mismatch: str, circuits: int, stamp: float) -> None:
    """With stamps, links and deviations: chips that hold one run each, put together by `replayed`."""
    graph = random_graph(seed, delays, loops)
    try:
        program = compiled(graph, chip=chip_of("brainscales2", circuits, 8, 12), partition=True, seed=seed,
                           mismatch=mismatch, noise=False)
    except DoesNotFitError:
        return
    if program.held.schedule is None:
        return
    program, events = with_stamp(program, stamp), stimulus(graph, seed)
    measure, seen = one_by_one(program)
    late = {each.name: each.delay for each in program.held.projections if each.delay is not None}
    chip_time = {name: Events(each.times / 1000, each.indices, each.offsets) for name, each in events.items()}
    one = measure(program.codes, chip_time, DURATION / 1000, **({"delays": late} if late else {}))
    two = program.emulator().measure(program.codes, chip_time, DURATION / 1000)
    assert seen == list(range(len(schedule_of(program).runs)))
    for name, each in program.network.populations.items():
        if each.spiking:
            order = np.lexsort((two[name].indices, two[name].times, np.repeat([0, 1], np.diff(two[name].offsets))))
            assert np.allclose(one[name].times, two[name].times[order], rtol=1e-9, atol=1e-15), name
            assert np.array_equal(one[name].indices, two[name].indices[order]), name
            assert np.array_equal(one[name].offsets, two[name].offsets), name
    # and the same by the interface of a user's chip
    shown = program.run(events, DURATION, measure=measure).spikes
    for name, spikes in program.run(events, DURATION).spikes.items():
        assert np.allclose(np.sort(shown[name].times), np.sort(spikes.times), atol=1e-9), name


def test_what_is_sent_twice_is_counted_twice_and_comes_at_stamps() -> None:
    graph = layers(784, 150, 10)
    program = compiled(graph, partition=True, **QUIET)
    emulator, events = program.emulator(), stimulus(graph, per_channel=0.5)
    activity, sent = emulator.run(program.codes, events, DURATION)
    recorded = len(activity.spikes["l1"].times)
    assert recorded > 500
    assert emulator.links.replayed == recorded and emulator.links.sent == 3 * len(events["in"].times) + recorded
    # the second layer is what one takes that is given the recorded spikes
    stamp = program.chip["time.stamp"] * program.speed_up
    times, indices = (np.asarray(getattr(activity.spikes["l1"], field)) for field in ("times", "indices"))
    seen = emulator.stamped(activity.spikes["l1"], DURATION)
    assert (seen.times >= times - 1e-12).all() and np.abs(seen.times / stamp - np.rint(seen.times / stamp)).max() < 1e-6
    assert np.array_equal(seen.indices, indices) and len(sent) == 1


def test_validate_holds_it_against_the_exact_meaning(chip_of: Any) -> None:
    program = compiled(layers(16, 30, 4), chip=chip_of("brainscales2", 20, 8, 4), partition=True)
    assert len(schedule_of(program).runs) == 4
    check = check_analog_program(program)
    assert check.ok and check.fired["l2"] > 0, str(check)


def test_what_fires_together_waits_on_the_way_to_the_next_run(chip_of: Any) -> None:
    """20 neurons that are alike, on a link that takes 3 spikes in a stamp."""
    hidden = cuba(20, np.random.default_rng(0), tau_mem=np.full(20, 10e-3), v_threshold=np.ones(20),
                  v_leak=np.zeros(20), v_reset=np.zeros(20))
    nodes = {"in": ir.Input(shape=(1,)), "fc": ir.Linear(weight=np.full((20, 1), 6.0)), "hidden": hidden,
             "fc2": ir.Linear(weight=np.full((1, 20), 1.0)), "last": cuba(1, np.random.default_rng(1)),
             "out": ir.Output(shape=(1,))}
    graph = Graph(nodes, tuple(pairwise(nodes)))
    program = compiled(graph, chip=chip_of("brainscales2", 10, 20, 4), partition=True, rows={"fc": 8}, **QUIET)
    assert shape_of(schedule_of(program)) == [{"hidden": 10}, {"hidden": 10}, {"last": 1}]
    emulator = program.emulator()
    activity, _ = emulator.run(program.codes, {"in": Events.from_samples([((1e-3,), (0,))])}, DURATION)
    volleys = len(activity.spikes["hidden"].times) // 20
    assert volleys >= 1 and emulator.links.replayed == 20 * volleys
    assert emulator.links.late == 17 * volleys and emulator.links.longest == pytest.approx(6 * 8e-9)


def test_readouts_see_what_was_replayed() -> None:
    """The membrane of a readout is that of one whose input is the recorded train, not the true one."""
    graph = net(3, n=80, n_in=784)
    program = with_stamp(compiled(graph, partition=True, **QUIET), 8e-7)
    events, grid = stimulus(graph, per_channel=0.3), np.linspace(0, DURATION, 30)
    found = program.run(events, DURATION, probes={"last.v": grid}).probes["last.v"]
    schedule = schedule_of(program)
    run = schedule.runs[-1]
    assert run.sources == ("hidden",) and {part.population for part in run.parts} == {"last"}
    alone = Emulator(restricted(program.network, run), program.held.in_run(len(schedule.runs) - 1), program.device,
                     False)
    hidden = program.run(events, DURATION).spikes["hidden"]
    order = np.lexsort((hidden.indices, hidden.times, np.repeat([0, 1], np.diff(hidden.offsets))))
    activity, _ = alone.run(program.codes, {"hidden": Events(hidden.times[order], hidden.indices[order],
                                                            hidden.offsets)}, DURATION)
    assert np.array_equal(alone.membrane(activity, "last", grid), found) and np.ptp(found) > 0


# ---- the chip's deviations ------------------------------------------------------------------------------------------
@pytest.mark.parametrize("mismatch", ["published", "uncalibrated", "calibrated"])
def test_neurons_meet_the_deviations_of_their_circuits(chip_of: Any, mismatch: str) -> None:
    graph = layers(16, 30, 4)
    program = compiled(graph, chip=chip_of("brainscales2", 20, 8, 4), partition=True, mismatch=mismatch, seed=5)
    held = program.held.populations["l1"]
    assert held.run is not None and held.place.shape == (30, 2) and shape_of(schedule_of(program))[0] == {"l1": 10}
    for name in ("threshold", "tau_mem", "reset"):
        met = program.device.of(name, held)
        if mismatch != "calibrated":
            assert np.array_equal(met[:10], met[10:20]) and np.array_equal(met[:10], met[20:])
        elif name != "threshold":  # what is left depends on what the circuit was calibrated to in its run
            assert not np.array_equal(met[:10], met[10:20])
        if mismatch != "published" or name == "threshold":
            assert len(np.unique(met[:10])) == 10
    factors = program.device.synapses(program.held, 0)
    if factors is not None:  # a place in the column of a circuit, whatever lies there
        assert np.array_equal(factors[:10], factors[10:20]) and len(np.unique(factors[:10])) == factors[:10].size
    if mismatch == "calibrated":
        assert program.calibration is not None and program.device.patterns["leak"].shape == (4, 20)
        assert all(row.circuits == 4 * 20 for row in program.calibration.rows())


def test_noise_differs_from_run_to_run() -> None:
    graph = layers(784, 150, 10)
    program = compiled(graph, partition=True, mismatch="none")
    emulator = program.emulator(2)
    draw = np.random.Generator(np.random.Philox(key=[2, 1 << 62]))
    still, _ = emulator.engine.constants(torch.float64).cell("l1")
    moved = (emulator._cells(draw, torch.float64)["l1"][0].theta - still.theta).numpy()
    # the same circuits, in the first and in the second run
    assert moved.std() > 0 and abs(np.corrcoef(moved[:73], moved[73:146])[0, 1]) < 0.4


@pytest.mark.parametrize("target", ["brainscales2", "generic_analog"])
def test_what_fits_is_not_cut(target: str) -> None:
    for seed, options in enumerate(({}, {"recurrent": True, "delay": True, "readout": False}, {"bias": True})):
        graph = net(seed, **options)
        one, two = (compiled(graph, target, seed=3, partition=partition) for partition in (False, True))
        assert two.held.schedule is None and two.held.populations["hidden"].run is None
        found = [each.run(stimulus(graph), DURATION, probes={"last.v": [0.01, 0.02]}) for each in (one, two)]
        for name in found[0].spikes:
            assert np.array_equal(found[0].spikes[name].times, found[1].spikes[name].times)
        assert np.array_equal(found[0].probes["last.v"], found[1].probes["last.v"])
        files = [{name: content for name, content in each.files().items() if name != "options.json"}
                 for each in (one, two)]
        assert files[0] == files[1] and str(one.report()) == str(two.report()) and "Runs" not in str(one.report())


# ---- packing --------------------------------------------------------------------------------------------------------
def branches() -> Graph:
    """Two chains of their own, of 9 and 3 neurons a layer, which meet at the end."""
    rng = np.random.default_rng(0)
    nodes: dict[str, ir.Node] = {"in": ir.Input(shape=(4,)), "out": ir.Output(shape=(3,))}
    edges = [("c", "out")]
    for name, n, source in (("a1", 9, "in"), ("a2", 9, "a1"), ("b1", 3, "in"), ("b2", 3, "b1"), ("c", 3, "a2"),
                            ("c", 3, "b2")):
        if name not in nodes:
            nodes[name] = cuba(n, rng)
        before = nodes[source].shape[0]  # type: ignore[attr-defined]
        nodes[f"{source}>{name}"] = ir.Linear(weight=rng.uniform(0, 1, (n, before)))
        edges += [(source, f"{source}>{name}"), (f"{source}>{name}", name)]
    return Graph(nodes, tuple(edges))


def test_what_does_not_wait_for_each_other_shares_a_run(chip_of: Any) -> None:
    program = compiled(branches(), "generic_analog", chip=chip_of("generic_analog", 12, 16, 1), partition=True)
    assert shape_of(schedule_of(program)) == [{"a1": 9, "b1": 3}, {"a2": 9, "b2": 3}, {"c": 3}]
    program = compiled(branches(), "generic_analog", chip=chip_of("generic_analog", 10, 16, 1), partition=True)
    assert shape_of(schedule_of(program)) == [{"a1": 9, "b1": 1}, {"a2": 8, "b1": 2}, {"a2": 1, "b2": 3}, {"c": 3}]


def test_a_loop_is_not_cut(chip_of: Any) -> None:
    graph = net(0, n=12, recurrent=True)
    chip = chip_of("generic_analog", 12, 40, 1)
    program = compiled(graph, "generic_analog", chip=chip, partition=True)
    assert shape_of(schedule_of(program)) == [{"hidden": 12}, {"last": 3}]
    with pytest.raises(DoesNotFitError) as caught:
        compiled(graph, "generic_analog", chip=chip_of("generic_analog", 11, 40, 1), partition=True)
    (told,) = caught.value.diagnostics
    assert told.code == "SC375" and told.node == "hidden" and "loop" in told.message
    assert str(told.value) == "12: hidden 12" and str(told.limit).startswith("11 ")
    # neurons that stand for its delays are part of it
    with pytest.raises(DoesNotFitError) as caught:
        compiled(net(0, n=12, recurrent=True, delay=True), "generic_analog", chip=chip, partition=True)
    (told,) = caught.value.diagnostics
    assert str(told.value).startswith("28: hidden 12, ") and str(told.limit).startswith("12 ")


def test_a_neuron_with_its_delays_that_is_larger_than_the_chip(chip_of: Any) -> None:
    graph = net(0, n=6, delay=True)  # 4 delayed axons
    program = compiled(graph, "generic_analog", chip=chip_of("generic_analog", 5, 40, 1), partition=True)
    schedule = schedule_of(program)
    assert shape_of(schedule) == [{"hidden": 1}] * 6 + [{"last": 3}]
    relays = program.held.projections[0].relays
    assert relays is not None and relays.shape == (6, 4) and program.held.used == 6 * 5 + 3
    with pytest.raises(DoesNotFitError) as caught:
        compiled(graph, "generic_analog", chip=chip_of("generic_analog", 4, 40, 1), partition=True)
    (told,) = caught.value.diagnostics
    assert told.code == "SC375" and told.node == "hidden" and str(told.value).startswith("5: hidden 1, ")
    with pytest.raises(DoesNotFitError, match="SC374"):
        compiled(graph, "generic_analog", chip=chip_of("generic_analog", 40, 2, 1), partition=True)


def _tampered(schedule: Schedule) -> Iterator[tuple[str, Schedule]]:
    first, second, *rest = schedule.runs
    part, others = first.parts[0], first.parts[1:]

    def with_first(**values: Any) -> Schedule:
        return replace(schedule, runs=(replace(first, **values), second, *rest))

    yield "each neuron", with_first(parts=(Part(part.population, part.neurons[1:], part.place[1:]), *others))
    yield "each neuron", with_first(parts=(Part(part.population, part.neurons - 1, part.place), *others))
    yield "there is not", with_first(parts=(Part("none", part.neurons, part.place), *others))
    yield "too few circuits", with_first(parts=(Part(part.population, part.neurons, part.place[:, :1]), *others))
    yield "too few circuits", with_first(parts=(Part(part.population, part.neurons, part.place[1:]), *others))
    yield "not on the chip", with_first(parts=(Part(part.population, part.neurons, part.place + 1000), *others))
    yield "not on the chip", with_first(parts=(Part(part.population, part.neurons, part.place - 1), *others))
    yield "two neurons'", with_first(parts=(Part(part.population, part.neurons, part.place * 0), *others))
    yield "what is sent", with_first(sources=())
    yield "what is sent", with_first(sources=(*first.sources, "last"))
    yield "has no neuron for it", with_first(relays={})
    yield "has no neuron for it", with_first(relays={name: each[1:] for name, each in first.relays.items()})
    yield "projections of a run", with_first(projections={})
    yield "no earlier run has recorded", replace(schedule, runs=(rest[-1], first, second, *rest[:-1]))
    yield "another chip", replace(schedule, circuits=3)


def test_the_checker_sees_what_is_wrong(chip_of: Any) -> None:
    program = compiled(net(0, n=12, delay=True), "generic_analog", chip=chip_of("generic_analog", 12, 2, 8),
                       partition=True)
    schedule = schedule_of(program)
    assert len(schedule.runs) > 3

    def told(altered: Schedule) -> str:
        with pytest.raises(DoesNotFitError) as caught:
            check_schedule(program.network, program.chip, program.rows, altered)
        assert {each.code for each in caught.value.diagnostics} == {"SC376"}
        return str(caught.value)

    for said, altered in _tampered(schedule):
        assert said in told(altered), said


def test_the_checker_sees_a_loop_that_was_cut(chip_of: Any) -> None:
    program = compiled(net(0, n=12, recurrent=True), "generic_analog", chip=chip_of("generic_analog", 12, 40, 1),
                       partition=True)
    first, last = schedule_of(program).runs
    (part,) = first.parts
    halves = [replace(first, parts=(Part("hidden", part.neurons[here], part.place[here]),))
              for here in (slice(0, 6), slice(6, 12))]
    with pytest.raises(DoesNotFitError, match="populations of a loop are not in one run"):
        check_schedule(program.network, program.chip, program.rows, Schedule(12, (*halves, last)))


# ---- folders, reports, a chip of the user's -------------------------------------------------------------------------
@pytest.mark.parametrize("target", ["brainscales2", "generic_analog"])
def test_a_saved_program_is_cut_the_same(chip_of: Any, tmp_path: Path, target: str) -> None:
    graph = net(6, n=20, recurrent=False, delay=True, readout=False)
    program = compiled(graph, target, chip=chip_of(target, 16, 3, 8), partition=True, mismatch="calibrated", seed=1)
    program.save(tmp_path / "out")
    again = spikec.load(tmp_path / "out")
    assert isinstance(again, AnalogProgram) and again.options.partition and again.files() == program.files()
    assert shape_of(schedule_of(again)) == shape_of(schedule_of(program))
    assert str(again.report()) == str(program.report())
    one, two = (each.run(stimulus(graph), DURATION).spikes for each in (program, again))
    assert all(np.array_equal(one[name].times, two[name].times) for name in one) and len(one["last"].times)
    # another schedule in the folder is not what is made of the graph
    options = (tmp_path / "out" / "options.json").read_text()
    assert '"partition": true' in options
    (tmp_path / "out" / "options.json").write_text(options.replace('"partition": true', '"partition": false'))
    with pytest.raises(BadInputError, match="SC520"):
        spikec.load(tmp_path / "out")


def test_files_for_one_run_are_left_out_with_the_reason() -> None:
    program = compiled(layers(784, 80, 3), partition=True)
    files = program.files()
    assert not {"run_hxtorch.py", "run_pynn.py", "model.nir"} & files.keys()
    told = json.loads(files["params.json"])
    assert all("3 runs" in told["left_out"][name][0] for name in ("run_hxtorch.py", "run_pynn.py", "model.nir"))
    assert "a network in 3 runs" in files["README.md"].decode()
    assert [(run["sources"], {key: len(each) for key, each in run["populations"].items()}) for run in told["runs"]] == [
        (["i0"], {"p0": 73}), (["i0"], {"p0": 7}), (["p0"], {"p1": 3})]
    assert "runs" not in json.loads(compiled(net(0)).files()["params.json"])


def test_the_report_shows_the_runs() -> None:
    report = compiled(layers(784, 150, 10), partition=True).report()
    assert [(row.neurons, row.circuits, row.sources) for row in report.runs] == [
        ((("l1", 73),), 511, (("in", 784),)), ((("l1", 73),), 511, (("in", 784),)), ((("l1", 4),), 28, (("in", 784),)),
        ((("l2", 10),), 20, (("l1", 150),))]
    text = str(report)
    assert "circuits: 1,070 over 4 runs of 512 (52%)" in text and "\nRuns\n" in text and "99.8%" in text
    assert json.loads(json.dumps(report.as_dict()))["runs"][3]["sources"] == [["l1", 150]]


@pytest.mark.parametrize(("gives", "code"), [
    (lambda run, n, batch: {}, "SC486"),
    (lambda run, n, batch: None, "SC486"),
    (lambda run, n, batch: {"l1": 3, "l2": 3}, "SC486"),
    (lambda run, n, batch: dict.fromkeys(("l1", "l2"), Events.from_samples([((), ())] * (batch + 1))), "SC486"),
    (lambda run, n, batch: dict.fromkeys(("l1", "l2"), Events.from_samples([((1e-6,), (n,))] * batch)), "SC485"),
    (lambda run, n, batch: dict.fromkeys(("l1", "l2"), Events(np.array([np.nan]), np.array([0]), np.array([0, 1, 1]))),
     "SC485"),
    (lambda run, n, batch: dict.fromkeys(("l1", "l2"), Events.from_samples([((1.0,), (0,))] * batch)), "SC485"),
])
def test_measurements_of_a_run_that_are_none(gives: Any, code: str) -> None:
    graph = layers(784, 80, 3)
    program = compiled(graph, partition=True)
    measure = replayed(schedule_of(program), lambda run, codes, spikes, duration: gives(
        run, len(run.parts[0].neurons), next(iter(spikes.values())).batch))
    with pytest.raises(BadInputError, match=code):
        program.run(stimulus(graph, per_channel=0.1), DURATION, measure=measure)


def test_a_run_is_given_its_own_neurons_and_all_of_its_sources() -> None:
    graph = layers(784, 80, 3)
    program = compiled(graph, partition=True, **QUIET)
    seen = []

    def measure_one(run: Run, codes: Any, spikes: Any, duration: float) -> Any:
        seen.append(({name: each.shape for name, each in codes.items()}, list(spikes), run.circuits))
        (part,) = run.parts
        # neuron k of the run fires in the k-th microsecond of the chip; both samples alike
        times = np.arange(len(part.neurons)) * 1e-7
        return {part.population: Events.from_samples([(times, np.arange(len(times)))] * 2)}

    measure = replayed(schedule_of(program), measure_one)
    result = program.run(stimulus(graph, per_channel=0.1), DURATION, measure=measure)
    first, second = program.codes
    assert seen == [({first: (73, 784)}, ["in"], 511), ({first: (7, 784)}, ["in"], 49), ({second: (3, 80)}, ["l1"], 3)]
    times, indices = result.spikes["l1"].sample(1)
    assert sorted(indices) == list(range(80)) and np.array_equal(np.sort(times[np.isin(indices, range(73, 80))]),
                                                                np.sort(times[np.isin(indices, range(7))]))
    assert times[list(indices).index(75)] == pytest.approx(2e-4)


@pytest.mark.parametrize("wrong", [1, "yes", None])
def test_the_option_is_a_truth_value(wrong: Any) -> None:
    with pytest.raises(BadInputError, match="SC533"):
        compiled(net(), partition=wrong)
