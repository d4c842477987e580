"""Networks on DYNAP-SE2: the unit map there and back, placement within its limits, weights in a core's levels, and the
configuration, followed event by event."""

from __future__ import annotations

import ast
import json
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

import spikec
from spikec.compiler.pipeline import lower
from spikec.ir import nodes as ir
from spikec.ir.analog.dpi import linear_error
from spikec.ir.analog.dpi_run import simulate_dpi
from spikec.ir.diagnostics import BadInputError, Diagnostics, DoesNotFitError, SpikecError, UnsupportedError
from spikec.ir.events import Events
from spikec.ir.exact import simulate_exact
from spikec.ir.network import Dense, Network
from spikec.runtime.analog.dpi import run_dpi
from spikec.targets.dynapse2 import bias, limits
from spikec.targets.dynapse2.check import CheckedConfiguration, verify_configuration
from spikec.targets.dynapse2.cores import Held, dpi_network, effective_network, hold, hold_again
from spikec.targets.dynapse2.emit import CONFIG, READ_ME, RUN, configuration, dynapse2_files
from spikec.targets.dynapse2.place import Placement, place
from spikec.targets.dynapse2.units import Circuit, Operating, biases_of, circuit_of, currents_of

QUICK = hypothesis.settings(deadline=None, max_examples=25, derandomize=True)


def cuba(n: int, tau: float = 2e-3, **settings: Any) -> ir.CubaLIF:
    given = {"tau_mem": tau, "tau_syn": tau / 2, "w_in": tau / 2, "r": 1.0, "v_threshold": 1.0} | settings
    return ir.CubaLIF(shape=(n,), **given)


def chain(*sizes: int, seed: int = 0, recurrent: bool = False, sparse: float = 0.0,
          node: Callable[..., ir.CubaLIF | ir.LIF] = cuba, **settings: Any) -> spikec.Graph:
    """Layers in a row; of the weights, a share is zero."""
    random = np.random.default_rng(seed)

    def weight(rows: int, columns: int) -> np.ndarray:
        drawn = random.normal(0.5, 1.0, (rows, columns)) / np.sqrt(columns)
        return np.where(random.random((rows, columns)) < sparse, 0.0, drawn)

    nodes: dict[str, ir.Node] = {"in": ir.Input(shape=(sizes[0],))}
    edges, before = [], "in"
    for number, (source, target) in enumerate(pairwise(sizes)):
        nodes |= {f"w{number}": ir.Linear(weight=weight(target, source)), f"n{number}": node(target, **settings)}
        edges += [(before, f"w{number}"), (f"w{number}", f"n{number}")]
        before = f"n{number}"
    if recurrent:
        nodes["r"] = ir.Linear(weight=weight(sizes[1], sizes[1]))
        edges += [("n0", "r"), ("r", "n0")]
    nodes["out"] = ir.Output(shape=(sizes[-1],))
    return spikec.Graph(nodes, (*edges, (before, "out")))


def held_of(graph: spikec.Graph, **options: Any) -> Held:
    return hold(place(lower(graph), **options))


def checked(held: Held, document: dict[str, Any] | None = None) -> CheckedConfiguration:
    placement = held.placement
    where = {name: (placement.core[name], placement.slot[name]) for name in placement.core}
    return verify_configuration(document or json.loads(dynapse2_files(held)[CONFIG]), placement.network,
                                effective_network(held), where)


def weights_of(network: Network) -> np.ndarray:
    return np.concatenate([np.asarray(each.connection.weight).reshape(-1) for each in network.projections])


def codes(error: pytest.ExceptionInfo[SpikecError]) -> list[str]:
    return [each.code for each in error.value.diagnostics]


# ---- the bias generator ------------------------------------------------------------------------------------------


@QUICK
@hypothesis.given(st.sampled_from(sorted(bias.BIASES)), st.floats(np.log(1e-13), np.log(1e-5)))
def test_the_nearest_bias_is_the_nearest(name: str, logarithm: float) -> None:
    current = float(np.exp(logarithm))
    coarse, fine = bias.nearest_bias(name, current)
    every = np.array([[bias.current_of(name, one, two) for two in range(256)] for one in range(6)])
    if current < every[0, 15]:
        assert abs(every[coarse, fine] - current) == np.abs(every - current).min()
    else:
        assert fine >= 16 and abs(every[coarse, fine] - current) <= np.abs(every[:, 16:] - current).min() * (1 + 1e-9)
    if every[0, 16] <= current <= every[5, 255]:
        assert abs(every[coarse, fine] / current - 1) < 0.035


# ---- units -------------------------------------------------------------------------------------------------------


def exact_circuit(wanted: dict[str, float]) -> Circuit:
    """The circuit of currents that are not rounded."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("spikec.targets.dynapse2.units.current_of", lambda name, current: current)
        return circuit_of({name: (current,) for name, current in wanted.items()})  # type: ignore[misc]


@QUICK
@hypothesis.given(st.floats(5e-4, 5e-2), st.floats(0.1, 3), st.floats(0.2, 4), st.floats(0, 2), st.floats(0.1, 5),
                  st.floats(0, 5e-3))
def test_units_there_and_back(tau: float, ratio: float, threshold: float, below: float, gain: float,
                              refractory: float) -> None:
    """Currents that are not rounded make the neuron of the model again: its time constants, its resting value, and what
    a spike does to it in thresholds."""
    graph = chain(2, 3, tau=tau, tau_syn=tau * ratio, v_threshold=threshold, v_reset=-below, r=gain, w_in=0.3,
                  refractory=refractory)
    network = lower(graph)
    currents = currents_of(network)["n0"]
    circuit = exact_circuit(biases_of(currents, 1, np.ones(4) * 1e-9, Operating()))
    assert circuit.tau_mem == pytest.approx(tau) and circuit.tau_exc == pytest.approx(tau * ratio)
    assert circuit.tau_inh == pytest.approx(tau * ratio)
    if refractory > 1e-6:
        assert circuit.refractory == pytest.approx(refractory)
    lasting = circuit.gain * (circuit.dc / circuit.leak - 1)
    assert lasting / circuit.threshold == pytest.approx(below / (threshold + below), abs=1e-9)
    # What one spike of weight w brings the membrane to, without leak, over the way from reset to threshold.
    weight = 0.7
    of_model = gain * 0.3 * weight / tau / (threshold + below)
    amperes = weight * float(currents.jump[1])
    of_circuit = circuit.gain / circuit.leak * amperes * circuit.tau_exc / circuit.tau_mem / circuit.threshold
    assert of_circuit == pytest.approx(of_model)


def test_the_effective_network_is_near_the_model() -> None:
    held = held_of(chain(12, 20, 5, refractory=1e-3))
    found, model = effective_network(held), held.placement.network
    assert np.corrcoef(weights_of(found), weights_of(model))[0, 1] > 0.99
    assert np.linalg.norm(weights_of(found) - weights_of(model)) < 0.1 * np.linalg.norm(weights_of(model))
    assert held.errors[0] < 0.08 and len(held.errors) == held.placement.cores == 1
    for name, each in found.populations.items():
        plain = model.populations[name]
        for field in ("tau_mem", "tau_syn", "refractory"):
            np.testing.assert_allclose(getattr(each, field), getattr(plain, field), rtol=0.03)
        np.testing.assert_allclose(each.v_leak, 0, atol=0.03)
        np.testing.assert_array_equal(each.v_reset, 0)


def test_the_effective_network_is_what_the_circuits_do() -> None:
    """Without feedback and with a high ratio of threshold to gain, DPI neurons fire as the linear network does."""
    graph = chain(8, 10, 4, seed=3, tau=1e-3, refractory=1e-3)
    network = lower(graph)
    held = hold(place(network, operating=Operating(gain=2e-12, threshold=1e-9)))
    random = np.random.default_rng(0)
    events = spikec.Events.from_samples([(random.uniform(0, 0.05, 500), random.integers(0, 8, 500))])
    effective = effective_network(held)
    weights = [each.connection.weight for each in effective.projections]
    neurons = {name: effective.populations[name] for name in ("n0", "n1")}
    linear = spikec.Graph({
        "in": ir.Input(shape=(8,)), "out": ir.Output(shape=(4,)),
        **{f"w{number}": ir.Linear(weight=weight) for number, weight in enumerate(weights)},
        **{name: cuba(each.n, tau_mem=each.tau_mem, tau_syn=each.tau_syn, w_in=each.w_in, r=each.r,
                      refractory=each.refractory, v_leak=each.v_leak, v_reset=each.v_reset, reset="v_reset",
                      v0=each.v0)
           for name, each in neurons.items()}}, graph.edges)
    wanted = simulate_exact(linear, events, 0.05).spikes
    found = run_dpi(dpi_network(held, feedback=False), {"in": events}, 0.05)
    assert len(wanted["n0"]) > 50
    for name in found:
        assert abs(len(found[name]) - len(wanted[name])) <= 0.05 * len(wanted[name]) + 1
    first, second = (np.sort(each["n0"].times)[:40] for each in (wanted, found))
    assert np.median(np.abs(first - second)) < 5e-5


@pytest.mark.parametrize(("tau", "bound", "differ"), [(1e-3, 0.12, 0.1), (5e-3, 0.35, 0.1), (20e-3, 0.85, 0.1)])
def test_how_far_the_circuits_are_from_the_model(tau: float, bound: float, differ: float) -> None:
    """With the circuits' feedback and at most linear thresholds: the stated bound, and counts of spikes."""
    graph = chain(12, 16, tau=tau, refractory=1e-3, seed=7)
    held = held_of(graph)
    assert linear_error(held.circuits[0].neurons(1))[0] < bound
    random = np.random.default_rng(1)
    events = spikec.Events.from_samples([(random.uniform(0, 25 * tau, 600), random.integers(0, 12, 600))])
    wanted = len(simulate_exact(graph, events, 25 * tau).spikes["n0"])
    assert wanted > 100
    assert abs(len(run_dpi(dpi_network(held), {"in": events}, 25 * tau)["n0"]) / wanted - 1) < differ


def test_a_leaky_population_has_a_short_synapse() -> None:
    def lif(n: int) -> ir.LIF:
        return ir.LIF(shape=(n,), tau=4e-3, r=4e-3, v_threshold=1.0)

    held = held_of(chain(6, 8, node=lif))
    found = effective_network(held)
    assert found.populations["n0"].kind == "cuba"
    np.testing.assert_allclose(found.populations["n0"].tau_syn, 0.4e-3, rtol=0.03)
    np.testing.assert_allclose(weights_of(found), weights_of(held.placement.network), rtol=0, atol=0.1)


def test_boxes_carry_their_charge() -> None:
    grid = spikec.Discretization(dt=1e-3, spike="box", integrator="exact")
    plain, boxed = (lower(chain(3, 4)), replace(lower(chain(3, 4)), discretization=grid))
    np.testing.assert_allclose(currents_of(boxed)["n0"].jump, currents_of(plain)["n0"].jump * 1e-3)


@pytest.mark.parametrize("settings", [
    {"v_reset": 0.5}, {"reset": "subtract"}, {"v_leak": 2.0}, {"r": 0.0}, {"w_in": 0.0}])
def test_what_the_circuits_cannot_do(settings: dict[str, Any]) -> None:
    with pytest.raises(UnsupportedError) as refused:
        place(lower(chain(3, 4, **settings)))
    assert codes(refused) == ["SC352"]


def test_everything_that_the_circuits_cannot_do_is_told() -> None:
    nodes = {"in": ir.Input(shape=(2,)), "w": ir.Affine(weight=np.ones((3, 2)), bias=np.ones(3)), "a": cuba(3),
             "d": ir.Linear(weight=np.ones((3, 3)), delay=np.full((3, 3), 1e-3)),
             "b": ir.IF(shape=(3,), r=1.0, v_threshold=1.0), "v": ir.Linear(weight=np.ones((2, 3))),
             "c": ir.LI(shape=(2,), tau=1e-2, r=1.0),
             "out": ir.Output(shape=(2,))}
    edges = (("in", "w"), ("w", "a"), ("a", "d"), ("d", "b"), ("b", "v"), ("v", "c"), ("c", "out"))
    with pytest.raises(UnsupportedError) as refused:
        place(lower(spikec.Graph(nodes, edges)))
    told = {each.node: each.message for each in refused.value.diagnostics}
    assert set(codes(refused)) == {"SC352"} and len(told) == 4
    assert "bias" in told["a"] and "leak" in told["b"] and "readout" in told["c"]


# ---- placement ---------------------------------------------------------------------------------------------------


def test_a_network_that_just_fits() -> None:
    held = held_of(wide(64, 192))
    found = checked(held)
    assert found.synapses == 64 and sum(found.neurons.values()) == 192


def wide(inputs: int, neurons: int, per_neuron: int = 64, **settings: Any) -> spikec.Graph:
    random = np.random.default_rng(5)
    weight = np.zeros((neurons, inputs))
    for row in weight:
        row[random.permutation(inputs)[:per_neuron]] = random.normal(0.3, 1, per_neuron)
    return spikec.Graph({"in": ir.Input(shape=(inputs,)), "w": ir.Linear(weight=weight), "a": cuba(neurons, **settings),
                         "out": ir.Output(shape=(neurons,))}, (("in", "w"), ("w", "a"), ("a", "out")))


def test_too_much_is_refused_all_at_once() -> None:
    with pytest.raises(DoesNotFitError) as refused:
        place(lower(wide(80, 1100, 70)))
    assert codes(refused) == ["SC351", "SC350", "SC351"]
    cores, synapses, tags = refused.value.diagnostics
    assert cores.value == "5 cores" and "4 cores" in str(cores.limit)
    assert "neuron 0" in synapses.message and "70 synapses; 1100 neurons" in str(synapses.value)
    assert synapses.limit == "64 of a neuron" and "2280" in str(tags.value)
    placed = place(lower(wide(40, 1000, 10)))
    assert placed.cores == 4 and place(lower(wide(40, 1000, 10)), chips=4).cores == 4
    with pytest.raises(BadInputError) as wrong:
        place(lower(wide(4, 4, 2)), chips=5)
    assert codes(wrong) == ["SC533"]


def test_the_last_tag_is_the_clock_s() -> None:
    """2,048 tags: 1,024 inputs and 512 neurons, all of them heard and watched."""
    random = np.random.default_rng(0)
    sparse = np.zeros((512, 1024))
    sparse[np.arange(1024) // 2, np.arange(1024)] = 1.0
    ring = np.roll(np.eye(512), 1, axis=0) * random.uniform(0.5, 1, 512)
    graph = spikec.Graph({"in": ir.Input(shape=(1024,)), "w": ir.Linear(weight=sparse), "a": cuba(512),
                          "r": ir.Linear(weight=ring), "out": ir.Output(shape=(512,))},
                         (("in", "w"), ("w", "a"), ("a", "r"), ("r", "a"), ("a", "out")))
    held = held_of(graph)
    assert checked(held).tags == limits.TAGS.value
    assert held.placement.tags["a"][-1] == limits.CLOCK_TAG


def test_a_watched_neuron_has_three_places_left() -> None:
    """One neuron that those of sixteen cores on four chips hear, by as many time constants; then of three chips."""
    heard = np.ones((15, 1))
    for most, fits in ((15, False), (11, True)):
        graph = spikec.Graph({
            "in": ir.Input(shape=(1,)), "w": ir.Linear(weight=np.ones((1, 1))), "a": cuba(1), "b": cuba(15),
            "v": ir.Linear(weight=heard * (np.arange(15) < most)[:, None]), "one": ir.Output(shape=(1,)),
            "other": ir.Output(shape=(15,))},
            (("in", "w"), ("w", "a"), ("a", "v"), ("v", "b"), ("a", "one"), ("b", "other")))
        network = lower(graph)
        tau = (np.arange(15) + 3) * 1e-3
        spread = replace(network, populations=network.populations | {
            "b": replace(network.populations["b"], tau_mem=tau)})
        if fits:
            assert checked(hold(place(spread, chips=4))).destinations == limits.DESTINATIONS.value
            continue
        with pytest.raises(DoesNotFitError) as refused:
            place(spread, chips=4)
        assert codes(refused) == ["SC351"] and "more places" in refused.value.diagnostics[0].message


def test_neurons_that_want_the_same_share_a_core() -> None:
    graph = chain(4, 300, 20, tau=3e-3, sparse=0.9)
    network = lower(graph)
    tau = np.where(np.arange(300) % 2, 3e-3, 5e-3)
    mixed = replace(network, populations={
        "n0": replace(network.populations["n0"], tau_mem=tau), "n1": network.populations["n1"]})
    placed = place(mixed)
    assert placed.cores == 2
    assert len(set(placed.core["n0"][::2])) == len(set(placed.core["n0"][1::2])) == 1
    assert set(placed.core["n1"]) == {placed.core["n0"][1]}
    held = hold(placed)
    assert checked(held).neurons == {(0, 0): 150, (0, 1): 170}


# ---- cores and configuration -------------------------------------------------------------------------------------


@QUICK
@hypothesis.given(st.integers(0, 10**6), st.integers(1, 20), st.integers(1, 30), st.integers(1, 6), st.booleans(),
                  st.floats(0, 0.95), st.sampled_from(["outputs", "all"]))
def test_every_event_is_heard_where_it_is_meant(seed: int, inputs: int, hidden: int, outputs: int, recurrent: bool,
                                                sparse: float, watch: str) -> None:
    held = held_of(chain(inputs, hidden, outputs, seed=seed, recurrent=recurrent, sparse=sparse), watch=watch)
    found = checked(held)
    assert sum(found.neurons.values()) == hidden + outputs
    assert found.synapses <= limits.SYNAPSES.value and found.destinations <= limits.DESTINATIONS.value
    dpi = {each.name: each for each in dpi_network(held).projections}
    circuit = held.circuits[0]
    amperes: dict[Any, float] = {}
    for each in dpi.values():
        for target, source in np.argwhere(each.weight):
            value = each.weight[target, source]
            amperes[(each.source, source), (each.target, target)] = value / (
                circuit.jump_exc if value > 0 else circuit.jump_inh)
    assert found.amperes.keys() == amperes.keys()
    for pair, value in found.amperes.items():
        assert value == pytest.approx(amperes[pair])


def test_several_chips() -> None:
    """Neurons of 12 cores on three chips, recurrent over all of them."""
    network = lower(chain(5, 60, recurrent=True, sparse=0.5, seed=2))
    tau = np.repeat(np.arange(12) + 2.0, 5) * 1e-3
    spread = replace(network, populations={"n0": replace(network.populations["n0"], tau_mem=tau)})
    held = hold(place(spread, chips=3))
    assert held.placement.cores == 12
    found = checked(held)
    assert found.destinations == 4 and sum(found.neurons.values()) == 60
    neurons = [each for chip in configuration(held)["chips"] for core in chip["cores"] for each in core["neurons"]]
    hops = {each["xHop"] for neuron in neurons for each in neuron["destinations"].values()}
    assert hops == {-2, -1, 0, 1, 2, limits.OUTSIDE}


@pytest.mark.parametrize("broken", [
    lambda neuron: neuron["synapses"]["value0"].update(tag=2000),
    lambda neuron: neuron["synapses"]["value0"].update(dendrite=256),
    lambda neuron: neuron["synapses"]["value0"].update(
        dendrite=limits.AMPA + limits.GABA - neuron["synapses"]["value0"]["dendrite"]),
    lambda neuron: neuron["synapses"]["value0"].update(stp=True),
    lambda neuron: neuron["synapses"].pop("value0"),
    lambda neuron: neuron["synapses"].update({f"value{at}": neuron["synapses"]["value0"] for at in range(65)}),
    lambda neuron: neuron["destinations"]["value0"].update(xHop=1),
    lambda neuron: neuron["destinations"]["value0"].update(xHop=9),
    lambda neuron: neuron["destinations"]["value0"]["core"].update(value3=True),
    lambda neuron: neuron["destinations"].update({f"value{at}": neuron["destinations"]["value0"] for at in range(5)}),
    lambda neuron: neuron["destinations"]["value1"].update(tag=limits.CLOCK_TAG),
    lambda neuron: neuron.update(neuron=255),
    lambda neuron: neuron.update(neuron=1),
])
def test_the_checker_sees_what_is_wrong(broken: Callable[[dict[str, Any]], object]) -> None:
    held = held_of(chain(6, 9, 3), watch="all")
    document = json.loads(json.dumps(configuration(held)))
    checked(held, document)
    broken(document["chips"][0]["cores"][0]["neurons"][0])
    with pytest.raises(BadInputError) as refused:
        checked(held, document)
    assert set(codes(refused)) == {"SC354"}


def test_the_checker_sees_shared_cores_and_wrong_biases() -> None:
    held = held_of(chain(6, 9, 3))
    document = json.loads(json.dumps(configuration(held)))
    document["chips"][0]["cores"][0]["parameters"][0]["value"]["fineValue"] = 256
    document["chips"][0]["cores"][0]["parameters"].pop()
    with pytest.raises(BadInputError) as refused:
        checked(held, document)
    told = [each.message for each in refused.value.diagnostics]
    assert "SOIF_LEAK_N has a value" in told[0] and "no currents" in told[1]
    network = held.placement.network
    other = replace(network, populations=network.populations | {
        "n1": replace(network.populations["n1"], tau_mem=np.full(3, 9e-3))})
    with pytest.raises(BadInputError, match="shares a core"):
        checked(replace(held, placement=replace(held.placement, network=other)))


def test_weights_are_assigned_again_without_new_currents() -> None:
    held = held_of(chain(6, 9, 3))
    network = effective_network(held)
    again = hold_again(held, replace(held.placement.network, projections=network.projections))
    for name, masks in held.masks.items():
        np.testing.assert_array_equal(again.masks[name], masks)
    assert max(again.errors) < 1e-9 and again.biases == held.biases
    halves = tuple(replace(each, connection=Dense(weight=np.asarray(each.connection.weight) / 2))
                   for each in network.projections)
    less = hold_again(held, replace(held.placement.network, projections=halves))
    assert 0.4 < np.linalg.norm(weights_of(effective_network(less))) / np.linalg.norm(weights_of(network)) < 0.6


def test_what_is_far_from_the_model_is_told() -> None:
    told = Diagnostics()
    hold(place(lower(chain(6, 9, tau=20e-3, v0=0.5)), diagnostics=told), diagnostics=told)
    assert [each.code for each in told.found] == ["SC355", "SC355"] and not told.errors
    assert "initial membrane" in told.found[0].message and "not linear" in told.found[1].message


def test_a_current_out_of_reach_is_refused() -> None:
    with pytest.raises(UnsupportedError) as refused:
        held_of(chain(2, 3, tau=20.0))
    assert "SC353" in codes(refused) and "SOIF_LEAK_N" in str(refused.value)


def test_the_files() -> None:
    graph = chain(6, 9, 3)
    held = held_of(graph)
    files = dynapse2_files(held)
    assert files == dynapse2_files(held_of(graph)) and set(files) == {CONFIG, RUN, READ_ME}
    ast.parse(files[RUN])
    assert b"not run on silicon" in files[RUN] and b"not run on silicon" in files[READ_ME]
    renamed = held_of(spikec.Graph({
        {"n0": "print(1)", "in": "';import os"}.get(name, name): node for name, node in graph.nodes.items()}, tuple(
            tuple({"n0": "print(1)", "in": "';import os"}.get(name, name) for name in edge) for edge in graph.edges)))
    assert dynapse2_files(renamed)[RUN] == files[RUN]
    assert set(json.loads(dynapse2_files(renamed)[CONFIG])["inputs"]) == {"';import os"}


class Board:
    """A board whose clock is at 5 s, and that answers every event by a spike of the first watched neuron 1 ms later."""

    def __init__(self, tag: int) -> None:
        self.tag, self.waiting, self.sent, self.applied = tag, [], [], []

    def get_model(self) -> Any:
        return SimpleNamespace(clear_error_queue=lambda: None, apply_configuration=self.applied.append)

    def _answers(self, events: list[Any]) -> None:
        for each in events:
            if each.event.tag == limits.CLOCK_TAG:
                self.waiting.append(SimpleNamespace(event=each.event, timestamp=max(each.timestamp, 5_000_000)))
            else:
                self.sent.append(each)
                self.waiting.append(SimpleNamespace(event=SimpleNamespace(tag=self.tag),
                                                    timestamp=each.timestamp + 1000))

    def input_interface_write_events(self, _: int, events: list[Any]) -> None:
        self._answers(events)

    grid_bus_write_events = _answers

    def read_events(self) -> list[Any]:
        found, self.waiting = self.waiting, []
        return found


def test_the_program_drives_a_board() -> None:
    """Against stand-ins for the library and a board: what is sent when, and what becomes of what comes back."""
    held = held_of(chain(6, 9, 3))
    files = dynapse2_files(held)
    program: dict[str, Any] = {"__name__": "run_samna"}
    exec(compile(files[RUN], RUN, "exec"), program)
    document = json.loads(files[CONFIG])

    def core() -> Any:
        return SimpleNamespace(neurons=[SimpleNamespace() for _ in range(256)],
                               parameters={name: SimpleNamespace() for name in bias.BIASES})

    samna = SimpleNamespace(dynapse2=SimpleNamespace(
        Dendrite=int, Dynapse2Destination=SimpleNamespace, Dynapse2Synapse=SimpleNamespace,
        NormalGridEvent=SimpleNamespace, Dynapse2Configuration=lambda: SimpleNamespace(
            chips=[SimpleNamespace(cores=[core() for _ in range(4)])])))
    board = Board(document["watched"][0]["tag"])
    events = spikec.Events.from_samples([([0.01, 0.02], [1, 0]), ([], []), ([0.005], [5])])
    arrays = {f"in/{name}": getattr(events, name) for name in ("times", "indices", "offsets")}
    found = program["packed"](program["run"](samna, board, document, program["samples_of"](document, arrays), 0.1))
    np.testing.assert_array_equal(found["n1/offsets"], [0, 2, 2, 3])
    np.testing.assert_allclose(found["n1/times"], [0.011, 0.021, 0.006], rtol=0, atol=1.1e-6)
    np.testing.assert_array_equal(found["n1/indices"], 0)
    tags = held.placement.tags["in"]
    assert [each.event.tag for each in board.sent] == [tags[1], tags[0], tags[5]]
    assert len(board.applied) == 3
    neuron = board.applied[0].chips[0].cores[0].neurons[0]
    assert len(neuron.synapses) == 64 and len(neuron.destinations) == 4
    with pytest.raises(SystemExit, match="format"):
        program["configure"](samna, document | {"format": "other"})


def test_placements_are_not_touched() -> None:
    placed = place(lower(chain(6, 9, 3)))
    before = deepcopy({name: each.copy() for name, each in placed.core.items()})
    hold(placed)
    assert isinstance(placed, Placement)
    for name, each in before.items():
        np.testing.assert_array_equal(placed.core[name], each)


def test_a_passage_at_the_edge_of_rounding_is_passed() -> None:
    """The kernel once looked for ever for a passage that rounding put just ahead of it."""
    graph = chain(6, 9, 3, seed=1, v_threshold=0.5, refractory=1e-3, recurrent=True)
    rng = np.random.default_rng(0)
    events = {"in": Events.from_samples([(rng.uniform(0, 0.02, 120), rng.integers(0, 6, 120)) for _ in range(2)])}
    network = dpi_network(spikec.compile(graph, "dynapse2", mismatch="none", noise=False).held)
    found, wanted = run_dpi(network, events, 0.0095), simulate_dpi(network, events, 0.0095)
    for name, each in found.items():
        assert len(each.times) == len(wanted[name].times) > 0
        np.testing.assert_allclose(np.sort(each.times), np.sort(wanted[name].times), atol=1e-7)
