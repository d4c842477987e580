"""The event engine says what the reference meaning says: random networks, a grid of every make, and the edges."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from engine_nets import BOX, DURATION, KINDS, conforms, make, neuron, same_run, same_spikes, stimulus, unit
from hypothesis import given, settings
from strategies import Case, cases

import spikec
from spikec.ir import nodes as ir
from spikec.ir.diagnostics import BadInputError, UnsupportedError
from spikec.ir.events import Events
from spikec.ir.exact import simulate_exact
from spikec.ir.graph import Graph

# --- random networks -------------------------------------------------------------------------------------------------


def check(case: Case) -> None:
    try:
        conforms(case.graph, case.events, case.duration)
    except (BadInputError, UnsupportedError):  # a refusal of the one is a refusal of the other
        with pytest.raises((BadInputError, UnsupportedError)):
            simulate_exact(case.graph, case.events, case.duration)


@settings(max_examples=14)
@given(case=cases())
def test_random_networks(case: Case) -> None:
    check(case)


@settings(max_examples=8)
@given(case=cases(discretization=BOX))
def test_random_networks_of_box_spikes(case: Case) -> None:
    check(case)


@settings(max_examples=6)
@given(case=cases(neurons=("CubaLIF",), recurrent=True, readout=False, convolutions=False, ratios=(1.0, 2.0, 1 + 1e-9)))
def test_random_recurrent_networks(case: Case) -> None:
    check(case)


@settings(max_examples=6)
@given(case=cases(grid=1e-3))
def test_many_events_at_one_instant(case: Case) -> None:
    check(case)


# --- every make ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wires", ["dense", "sparse", "conv"])
@pytest.mark.parametrize("recurrent", [False, True])
@pytest.mark.parametrize("box", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_every_make(kind: str, box: bool, recurrent: bool, wires: str) -> None:
    fired = 0
    choices = itertools.product(("v_reset", "zero", "subtract"), (0.0, 2.5e-3))
    for number, (reset, refractory) in enumerate(choices):
        delay = ("none", "source", "synapse")[(number + recurrent + 2 * box) % 3]
        rng = np.random.default_rng([KINDS.index(kind), box, recurrent, len(wires), number])
        graph = make(
            kind,
            rng,
            wires=wires,
            recurrent=recurrent,
            delay=delay,
            box=box,
            reset=reset,
            refractory=refractory,
            readout=bool(number % 2),
            spread=number % 3 > 0,
        )
        channels = 12 if wires == "conv" else 6
        found = conforms(graph, stimulus(channels, rng, batch=1, per_sample=11), label=f"{reset} {refractory} {delay}")
        fired += len(found.spikes["hidden"])
    assert fired > 6 * 3


# --- streams ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "box", "recurrent", "delay", "refractory"),
    [
        ("CubaLIF", False, False, "none", 0.0),
        ("CubaLIF", False, True, "synapse", 2e-3),
        ("CubaLIF", True, False, "source", 2e-3),
        ("CubaLIF", True, True, "synapse", 0.0),
        ("LIF", False, True, "source", 3e-3),
        ("LIF", True, False, "source", 0.0),
        ("IF", True, True, "synapse", 3e-3),
        ("IF", False, False, "source", 0.0),
    ],
)
def test_runs_one_after_the_other_are_one_run(
    kind: str, box: bool, recurrent: bool, delay: str, refractory: float
) -> None:
    rng = np.random.default_rng(3)
    graph = make(kind, rng, recurrent=recurrent, delay=delay, box=box, refractory=refractory, readout=True)
    whole = stimulus(6, rng, per_sample=18)
    program, grid = spikec.compile(graph), np.linspace(0, DURATION, 31)
    wanted = program.run(whole, duration=DURATION, probes={"hidden.v": grid, "last.v": grid})
    assert len(wanted.spikes["hidden"]) > 8
    cuts, state = [0.0, 0.0213, 0.0222, 0.041, DURATION], None
    times, indices, samples, voltages = [], [], [], []
    for start, stop in itertools.pairwise(cuts):
        part = []
        for sample in range(whole.batch):
            t, i = whole.sample(sample)
            here = (t > start) & (t <= stop) if start else t <= stop
            part.append((t[here] - start, i[here]))
        inside = grid[(grid >= start) & (grid < stop)] - start
        found = program.run(
            Events.from_samples(part), duration=stop - start, state=state, probes={"hidden.v": inside, "last.v": inside}
        )
        state = found.state
        times.append(found.spikes["hidden"].times + start)
        indices.append(found.spikes["hidden"].indices)
        samples.append(np.repeat(np.arange(2), np.diff(found.spikes["hidden"].offsets)))
        voltages.append(found.probes)
    number = np.concatenate(samples)
    joined = Events.from_samples(
        [(np.concatenate(times)[number == k], np.concatenate(indices)[number == k]) for k in (0, 1)]
    )
    same_spikes(joined, wanted.spikes["hidden"])
    for probe in ("hidden.v", "last.v"):
        whole_course = np.concatenate([voltage[probe] for voltage in voltages], axis=1)
        assert np.abs(whole_course - wanted.probes[probe][:, : whole_course.shape[1]]).max() < 1e-9
    for name in ("hidden", "last"):
        for part_name in ("u", "j", "c"):
            one, two = (getattr(result.state.populations[name], part_name) for result in (found, wanted))
            assert np.abs(np.asarray(one - two)).max() < 1e-8


def test_a_start_above_threshold_fires_once_and_not_again_when_going_on() -> None:
    for wires in ("dense", "sparse"):
        rng = np.random.default_rng(0)
        graph = make("CubaLIF", rng, wires=wires, v0=1.5, reset="subtract", bias=False)
        found = conforms(graph, stimulus(6, rng))
        first = found.spikes["hidden"].sample(0)[0][:5]
        assert (first == 0).all()
        silent = Events.from_samples([((), ()), ((), ())])
        program = spikec.compile(graph)
        ended = program.run(silent, duration=0.0)
        assert len(ended.spikes["hidden"]) == 10
        assert len(program.run(silent, duration=0.0, state=ended.state).spikes["hidden"]) == 0


# --- edges -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("wires", ["dense", "sparse"])
@pytest.mark.parametrize("box", [False, True])
def test_inputs_at_zero_together_at_the_end_and_after_it(kind: str, wires: str, box: bool) -> None:
    rng = np.random.default_rng(8)
    graph = make(kind, rng, wires=wires, box=box, bias=False, reset="subtract", refractory=1e-3)
    times = np.array([0, 0, 0, 0, 0.004, 0.004, 0.004, 0.008, 0.008, 0.016, 0.03, 0.03, 0.03, 0.0301, 0.05])
    indices = np.array([0, 1, 1, 5, 2, 2, 3, 0, 4, 1, 0, 1, 2, 3, 4])
    events = Events.from_samples([(times, indices), (times[:3], indices[:3]), ((), ())])
    # probes on events, twice at one time, at both ends, and out of order
    grid = np.array([0.016, 0.0, 0.004, 0.03, 0.004, 0.01, 0.008, 0.03])
    found = conforms(graph, events, 0.03, grid)
    assert len(found.spikes["hidden"]) > 3
    assert (np.asarray(found.spikes["hidden"].times) <= 0.03).all()


@pytest.mark.parametrize("wires", ["dense", "sparse"])
def test_a_spike_at_the_very_end_counts(wires: str) -> None:
    graph = make("LIF", np.random.default_rng(1), wires=wires, bias=False, n=3)
    events = Events.from_samples([(np.full(12, 0.02), np.tile(np.arange(6), 2))])
    found = conforms(graph, events, 0.02)
    assert (found.spikes["hidden"].times == 0.02).all()
    assert len(found.spikes["hidden"])


@pytest.mark.parametrize("wires", ["dense", "sparse", "conv"])
def test_nothing_in_nothing_out(wires: str) -> None:
    rng = np.random.default_rng(4)
    graph = make("CubaLIF", rng, wires=wires, bias=False, readout=True)
    silent = conforms(graph, Events.from_samples([((), ())] * 3))
    assert len(silent.spikes["hidden"]) == 0
    program = spikec.compile(graph)
    for duration in (None, 0.05):
        empty = program.run(Events.from_samples([]), duration=duration, probes={"last.v": [0.0, 0.01]})
        assert empty.spikes["hidden"].batch == 0
        assert empty.probes["last.v"].shape == (0, 2, 3)
        assert empty.voltage_max["out"][0].shape == (0, 3)
    mixed = [((), ()), stimulus(12 if wires == "conv" else 6, rng, batch=1).sample(0), ((), ())]
    conforms(graph, Events.from_samples(mixed))


@pytest.mark.parametrize("duration", [0.0, 1e-9])
def test_a_very_short_run(duration: float) -> None:
    for wires in ("dense", "sparse"):
        conforms(
            make("LIF", np.random.default_rng(2), wires=wires, v0=1.1), stimulus(6, np.random.default_rng(2)), duration
        )


def test_without_a_duration_everything_that_can_happen_does() -> None:
    for wires, delay in (("dense", "source"), ("sparse", "synapse")):
        rng = np.random.default_rng(5)
        graph = make("CubaLIF", rng, wires=wires, delay=delay, bias=False)
        events = stimulus(6, rng)
        found = spikec.compile(graph).run(events)
        same_spikes(found.spikes["last"], simulate_exact(graph, events, 5.0).spikes["last"])
        assert len(found.spikes["last"])


def several_inputs(wires: str, rng: np.random.Generator) -> Graph:
    hidden, last = neuron("CubaLIF", (4,), rng), neuron("LIF", (3,), rng)

    def linear(rows: int, columns: int, target: ir.Neuron, gain: float) -> ir.Node:
        weight = rng.uniform(-0.1, 1.0, (rows, columns)) * unit(target)[:, None] * gain
        if wires == "dense":
            return ir.Linear(weight=weight)
        return ir.SparseLinear(
            size=(rows, columns),
            indptr=np.arange(rows + 1) * columns,
            indices=np.tile(np.arange(columns), rows),
            weight=weight.reshape(-1),
        )

    nodes = {
        "a": ir.Input(shape=(3,)),
        "b": ir.Input(shape=(2,)),
        "wa": linear(4, 3, hidden, 0.7),
        "wb": linear(4, 2, hidden, 0.7),
        "hidden": hidden,
        "wh": linear(3, 4, last, 0.4),
        "skip": linear(3, 3, last, 0.3),
        "last": last,
        "back": ir.Linear(weight=rng.normal(0, 0.2, (4, 3)) * unit(hidden)[:, None]),
        "out": ir.Output(shape=(3,)),
        "seen": ir.Output(shape=(4,)),
    }
    edges = [
        ("a", "wa"),
        ("wa", "hidden"),
        ("b", "wb"),
        ("wb", "hidden"),
        ("hidden", "wh"),
        ("wh", "last"),
        ("a", "skip"),
        ("skip", "last"),
        ("last", "out"),
        ("hidden", "seen"),
    ]
    if wires == "feedback":
        edges += [("last", "back"), ("back", "hidden")]
    else:
        del nodes["back"]
    return Graph(nodes, tuple(edges))


@pytest.mark.parametrize("wires", ["dense", "sparse", "feedback"])
def test_several_inputs_skip_connections_and_feedback(wires: str) -> None:
    rng = np.random.default_rng(11)
    graph = several_inputs(wires, rng)
    events = {"a": stimulus(3, rng, 3), "b": stimulus(2, rng, 3, per_sample=9)}
    found = conforms(graph, events)
    assert len(found.spikes["last"]) > 5
    assert (
        found.spikes["seen"] is found.spikes["hidden"]
        or (found.spikes["seen"].times == found.spikes["hidden"].times).all()
    )


@settings(max_examples=5)
@given(case=cases(neurons=("CubaLIF",), delays=True, convolutions=False))
def test_the_thread_of_a_stream_in_random_networks(case: Case) -> None:
    """Two halves against the reference's two halves: states agree where they are handed over."""
    half = case.duration / 2
    program = spikec.compile(case.graph)
    first = {
        name: events.take(range(events.batch), keep=np.asarray(events.times) <= half)
        for name, events in case.events.items()
    }
    late = {
        name: events.take(range(events.batch), keep=np.asarray(events.times) > half)
        for name, events in case.events.items()
    }
    late = {name: Events(events.times - half, events.indices, events.offsets) for name, events in late.items()}
    one, two = program.run(first, duration=half), simulate_exact(case.graph, first, half)
    same_run(one, two, "first")
    same_run(
        program.run(late, duration=half, state=one.state),
        simulate_exact(case.graph, late, half, state=two.state),
        "second",
    )


def test_rasters_are_events() -> None:
    rng = np.random.default_rng(0)
    graph = make("CubaLIF", rng, bias=False)
    raster = (rng.random((2, 30, 6)) < 0.15).astype(float)
    raster[0, 3, 2] = 2
    program = spikec.compile(graph)
    dense, sparse = (
        program.run(raster, duration=DURATION, dt=1e-3),
        program.run(Events.from_dense(raster, 1e-3), duration=DURATION),
    )
    assert len(dense.spikes["out"])
    same_spikes(dense.spikes["out"], sparse.spikes["out"], within=1e-300)
    same_spikes(dense.spikes["out"], simulate_exact(graph, Events.from_dense(raster, 1e-3), DURATION).spikes["out"])


def test_float32_runs_close_to_float64() -> None:
    import torch

    rng = np.random.default_rng(9)
    for recurrent in (False, True):
        program, events = spikec.compile(make("CubaLIF", rng, recurrent=recurrent)), stimulus(6, rng)
        wide, narrow = (program.run(events, duration=DURATION, dtype=dtype) for dtype in (torch.float64, torch.float32))
        for name in ("hidden", "last"):
            same_spikes(narrow.spikes[name], wide.spikes[name], within=1e-4 * DURATION)
        assert narrow.spikes["last"].times.dtype == np.float64
