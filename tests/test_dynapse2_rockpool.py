"""DYNAP-SE2 against Rockpool 3.1.0, in an interpreter of its own: the bias generator, the configuration read back by
its reader, over-full networks, and DPI neurons against DynapSim."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from rockpool_here import ask_rockpool
from test_dynapse2 import chain, codes, held_of, wide

import spikec
from spikec.compiler.pipeline import lower
from spikec.ir import nodes as ir
from spikec.ir.analog.dpi import DpiNetwork, DpiPopulation, DpiProjection
from spikec.ir.analog.dpi_run import simulate_dpi
from spikec.ir.diagnostics import DoesNotFitError
from spikec.runtime.analog.dpi import run_dpi
from spikec.targets.dynapse2.bias import BIASES, current_of
from spikec.targets.dynapse2.cores import Held, dpi_network
from spikec.targets.dynapse2.emit import dynapse2_files
from spikec.targets.dynapse2.limits import C_MEM, DARK, KAPPA, THERMAL
from spikec.targets.dynapse2.place import place

PICO = 1e-12


def dynapsim(leak: np.ndarray, gain: np.ndarray, threshold: np.ndarray, refractory: np.ndarray, dc: np.ndarray,
             tau_syn: np.ndarray, dt: float, charge: np.ndarray) -> DpiPopulation:
    """Neurons as DynapSim 3.1.0 has them, which differ from the published ones in this: the adaptation's current is
    never below the dark one, and adds to the leak; the leak is taken off the inflow before that is cut off, and once
    more after; a synapse in every step gets what the dark current brings in a pulse (`charge` of it)."""
    n = len(leak)
    total = leak + DARK
    zero = np.zeros(n)
    return DpiPopulation(
        tau_mem=C_MEM * THERMAL / (KAPPA * leak) * (leak / total) ** 2, tau_exc=tau_syn, tau_inh=tau_syn, gain=gain,
        leak=total, dc=dc - total + charge * DARK / -np.expm1(-dt / tau_syn), dark=np.full(n, DARK),
        threshold=threshold, refractory=refractory, feedback=DARK / total * leak / total,
        exponent=np.full(n, KAPPA / (KAPPA + 1)), surge=zero, surge_at=zero, surge_width=zero)


def test_the_bias_generator_is_known_to_eight_percent() -> None:
    table = ask_rockpool("biases", names=list(BIASES))
    off = []
    for name in BIASES:
        ours = np.array([[current_of(name, coarse, fine) for fine in range(256)] for coarse in range(6)])
        off.append(np.abs(ours / table[name] - 1)[:, 16:])
    assert np.max(off) < 0.08 and np.mean(off) < 0.025


def test_dpi_neurons_are_those_of_dynapsim_as_its_step_goes_to_zero() -> None:
    """With its defaults: each spike is a few steps later, and those add up, whatever the step."""
    random = np.random.default_rng(0)
    n, channels, length = 6, 4, 0.25
    weights = random.uniform(0.05, 0.2, (channels, n))
    times, indices = random.integers(60, 240, 60) * 1e-3, random.integers(0, channels, 60)
    events = spikec.Events.from_samples([(times, indices)])
    each = np.ones(n)
    leak = KAPPA**-1 * THERMAL * C_MEM / 20e-3 * each
    mean = []
    for dt in (1e-4, 2.5e-5):
        charge = -np.expm1(-10e-6 / 10e-3 * each)
        neurons = dynapsim(leak, 4 * leak, 1e-7 * each, 1e-3 * each, DARK * each, 10e-3 * each, dt, charge)
        # Weights are in units of Iscale, 10 nA; the synapses' gain is 100.
        network = DpiNetwork(inputs={"in": (channels,)}, populations={"a": neurons}, projections=(
            DpiProjection(name="p", source="in", target="a", weight=weights.T * 1e-8 * 100 * charge[0]),))
        ours = simulate_dpi(network, {"in": events}, length)["a"]
        raster = np.zeros((round(length / dt), channels))
        np.add.at(raster, (np.rint(times / dt).astype(int), indices), 1)
        found = ask_rockpool("simulate", dt=dt, raster=raster, weights=weights)["spikes"]
        off = []
        for neuron in range(n):
            theirs = (np.flatnonzero(found[:, neuron]) + 1) * dt
            wanted = ours.times[ours.indices == neuron]
            assert 0 <= len(wanted) - len(theirs) <= 1 and len(theirs) >= 4
            late = theirs - wanted[:len(theirs)]
            assert (late > 0).all() and (late < 8 * dt * (1 + np.arange(len(late)))).all()
            off.append(late[:4].mean())
        mean.append(np.mean(off))
    assert mean[1] < 0.3 * mean[0]


def written(held: Held, folder: Path) -> Path:
    for name, content in dynapse2_files(held).items():
        (folder / name).write_bytes(content)
    return folder


def recurrent_net(inhibit: bool) -> spikec.Graph:
    """One population that all inputs reach: what Rockpool's reader can tell from a network of layers."""
    random = np.random.default_rng(4)
    low = -0.6 if inhibit else 0.05
    weight, own = random.uniform(low, 1.0, (24, 8)), random.uniform(low, 0.3, (24, 24)) / 4
    node = ir.CubaLIF(shape=(24,), tau_mem=4e-3, tau_syn=2e-3, w_in=2e-3, r=1.0, v_threshold=1.0, refractory=2e-3)
    return spikec.Graph(
        {"in": ir.Input(shape=(8,)), "w": ir.Linear(weight=weight), "a": node, "r": ir.Linear(weight=own),
         "out": ir.Output(shape=(24,))},
        (("in", "w"), ("w", "a"), ("a", "r"), ("r", "a"), ("a", "out")))


@pytest.mark.parametrize("inhibit", [False, True])
def test_the_configuration_is_read_back(inhibit: bool, tmp_path: Path) -> None:
    """The emitted program sets it; Rockpool's reader makes a network of it, whose weights and parameters are those that
    were meant, up to the bias generator's line."""
    held = held_of(recurrent_net(inhibit), watch="all")
    folder = written(held, tmp_path)
    found = ask_rockpool("read", folder, dt=1e-3)
    layout = ask_rockpool("layout", folder)
    assert layout["other"] == 0 and layout["same"] > 24 * 20
    placement, circuit = held.placement, held.circuits[0]
    slots = {tuple(address): column for column, address in enumerate(found["addresses"].tolist())}
    columns = [slots[0, 0, int(slot)] for slot in placement.slot["a"]]
    both: list[tuple[float, float]] = []
    meant = {each.name: each.weight for each in dpi_network(held).projections}
    for name, source, tags, weights in (("in", "in", found["tags_in"], found["weights_in"]),
                                        ("a", "a", found["tags_rec"], found["weights_rec"])):
        rows = [tags.tolist().index(tag) for tag in placement.tags[source].tolist()]
        theirs = weights[:len(tags)][rows][:, columns].T
        (wanted,) = (meant[each.name] for each in placement.network.projections if each.source == name)
        ours = np.where(wanted > 0, wanted / circuit.jump_exc, wanted / circuit.jump_inh)
        assert ((theirs > 0) == (ours > 0)).all() and ((theirs < 0) == (ours < 0)).all()
        assert np.corrcoef(theirs.ravel(), ours.ravel())[0, 1] > 0.995
        assert np.linalg.norm(theirs - ours) < 0.06 * np.linalg.norm(ours)
        (model,) = (each.connection.weight for each in placement.network.projections if each.source == name)
        both += [(value, float(of_model)) for value, of_model in zip(theirs.ravel(), np.ravel(model), strict=True)]
    read, model = np.array(both).T
    assert np.corrcoef(read, model)[0, 1] > 0.985
    for name, value in (("Itau_mem", circuit.leak), ("Igain_mem", circuit.gain), ("Ispkthr", circuit.threshold),
                        ("Idc", circuit.dc)):
        np.testing.assert_allclose(found[name], value, rtol=0.08, err_msg=name)


def test_the_network_read_back_fires_as_the_kernel_says(tmp_path: Path) -> None:
    """Without inhibition, with the parameters that Rockpool reads: DynapSim has steps, the kernel has none."""
    held = held_of(recurrent_net(False), watch="all")
    folder, dt, length = written(held, tmp_path), 2e-5, 0.1
    random = np.random.default_rng(1)
    times, indices = random.integers(10, 90, 60) * 1e-3, random.integers(0, 8, 60)
    raster = np.zeros((round(length / dt), 8))
    np.add.at(raster, (np.rint(times / dt).astype(int), indices), 1)
    placement = held.placement
    found = ask_rockpool("read", folder, dt=dt, raster=raster, input_tags=placement.tags["in"].tolist())
    slots = {tuple(address): column for column, address in enumerate(found["addresses"].tolist())}
    columns = [slots[0, 0, int(slot)] for slot in placement.slot["a"]]
    tau_syn = 24.5e-12 * THERMAL / (KAPPA * found["Itau_syn"][columns])
    charge = -np.expm1(-(0.5e-12 * 0.7 / found["Ipulse"][columns]) / tau_syn)
    jump = (found["Igain_syn"] / found["Itau_syn"])[columns] * charge
    neurons = dynapsim(*(found[name][columns] for name in ("Itau_mem", "Igain_mem", "Ispkthr")),
                       1.5e-12 * 0.7 / found["Iref"][columns], found["Idc"][columns], tau_syn, dt, charge)
    paths = []
    for source, tags, weights in (("in", found["tags_in"], found["weights_in"]),
                                  ("a", found["tags_rec"], found["weights_rec"])):
        rows = [tags.tolist().index(tag) for tag in placement.tags[source].tolist()]
        paths.append(DpiProjection(name=source, source=source, target="a",
                                   weight=weights[:len(tags)][rows][:, columns].T * jump[:, None]))
    ours = run_dpi(DpiNetwork(inputs={"in": (8,)}, populations={"a": neurons}, projections=tuple(paths)),
                   {"in": spikec.Events.from_samples([(times, indices)])}, length)["a"]
    theirs = found["spikes"][:, columns]
    assert theirs.sum() > 100
    assert abs(theirs.sum() - len(ours)) <= 0.02 * len(ours)
    counts = np.bincount(ours.indices, minlength=24)
    assert np.abs(theirs.sum(0) - counts).max() <= 2


def test_over_full_networks_are_refused_by_both() -> None:
    for inputs, fits in ((64, True), (65, False)):
        graph = wide(inputs, 4, inputs)
        found = ask_rockpool("allocate", masks=np.full((inputs, 4), 15))
        assert (str(found["refused"]) == "") is fits
        if fits:
            assert place(lower(graph)).cores == 1 and found["entries"] == 64
        else:
            with pytest.raises(DoesNotFitError) as refused:
                place(lower(graph))
            assert codes(refused) == ["SC350"]


def test_a_chain_of_layers_keeps_its_layout(tmp_path: Path) -> None:
    layout = ask_rockpool("layout", written(held_of(chain(6, 30, 5), watch="all"), tmp_path))
    assert layout["other"] == 0 and layout["same"] > 6 * 30
