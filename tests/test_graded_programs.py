"""Graded synapses as a kind of the compiler: text, folders, what is refused, and every diagnostic."""

from __future__ import annotations

import re
from math import inf, nan, pi
from typing import Any

import numpy as np
import pytest
import torch
from as_installed import ROOT
from cli_commands import say
from graded_nets import DT, graph, signals

import spikec
from spikec.ir.text import parse, to_arrays, to_text
from spikec.runtime.graded.losses import IntegratedSquaredError
from spikec.targets.event.graded import GradedProgram


@pytest.fixture(scope="module")
def program() -> GradedProgram:
    return spikec.compile(graph())


def codes(error: pytest.ExceptionInfo) -> list[str]:
    return [each.code for each in error.value.diagnostics]


def test_text_and_folders_keep_every_bit(tmp_path, program):
    assert to_text(parse(to_text(program.graph), to_arrays(program.graph))) == to_text(program.graph)
    program.save(tmp_path / "folder")
    loaded = spikec.load(tmp_path / "folder")
    assert isinstance(loaded, GradedProgram)
    given = signals()
    assert torch.equal(loaded.run(given, dt=DT).signals["out"], program.run(given, dt=DT).signals["out"])
    assert "7 neurons with graded synapses" in str(program.report())


def test_convolutions_and_scales_are_folded():
    net = spikec.Builder()
    source = net.input("in", (1, 4, 4))
    kernel = np.arange(9.0).reshape(1, 1, 3, 3) / 9
    flat = net.flatten("flat", net.scale("scale", net.conv2d("conv", source, weight=kernel), 0.5))
    neurons = net.graded_theta("h", 4, tau=5e-3, tau_syn=1e-2)
    net.connect(flat, neurons)
    net.output("out", neurons)
    program = spikec.compile(net)
    image = np.random.default_rng(0).uniform(0, 1, (1, 1, 4, 4))
    steady = np.repeat(image[:, None], 11, 1)
    drive = torch.nn.functional.conv2d(torch.from_numpy(image), torch.from_numpy(kernel)).reshape(1, 1, 4) / 2
    net = spikec.Builder()
    neurons = net.graded_theta("h", 4, tau=5e-3, tau_syn=1e-2)
    net.connect(net.input("in", 4), neurons, weight=np.eye(4))
    net.output("out", neurons)
    plain = spikec.compile(net).run(drive.expand(1, 11, 4), dt=DT).signals["out"]
    np.testing.assert_allclose(program.run(steady, dt=DT).signals["out"], plain, atol=1e-9)


@pytest.mark.parametrize("target", ["clock", "loihi1", "loihi2", "xylo", "brainscales2", "dynapse2", "generic_analog"])
def test_other_targets_refuse_with_a_remedy(target):
    with pytest.raises(spikec.UnsupportedError) as error:
        spikec.compile(graph(), target)
    assert set(codes(error)) == {"SC463"}
    assert "Compile for event" in str(error.value)


def test_a_gpu_is_refused(program):
    with pytest.raises(spikec.SpikecError) as error:
        program.module().to("meta")
    assert codes(error) == ["SC463"] and "meta" in str(error.value)
    module = program.module()
    assert module.double().theta.tau.dtype == torch.float64


@pytest.mark.parametrize(("changes", "code"), [
    ({"zone": 0.0}, "SC103"), ({"zone": 2 * pi + 0.01}, "SC455"), ({"zone": nan}, "SC104"), ({"tau": -1.0}, "SC103"),
    ({"tau_syn": 0.0}, "SC103"), ({"zone": [1.0, 2.0]}, "SC201")])
def test_parameters_that_no_synapse_can_have(changes, code):
    def made() -> spikec.Graph:
        net = spikec.Builder()
        neurons = net.graded_theta("h", 3, **{"tau": 5e-3, "tau_syn": 1e-2, **changes})
        net.connect(net.input("in", 3), neurons)
        net.output("out", neurons)
        return net.build()

    with pytest.raises(spikec.BadInputError) as error:
        made()
    assert code in codes(error)


def test_a_zone_that_training_widens_is_told(program):
    module = program.module(dtype=torch.float64)
    with torch.no_grad():
        module.theta.zone[1] = 7.0
    with pytest.raises(spikec.BadInputError) as error:
        module(signals(), dt=DT)
    assert codes(error) == ["SC455"]
    assert "neuron 1" in str(error.value)


def test_neurons_of_other_kinds_grids_and_delays_are_refused():
    def made(other: bool = False, delay: float | None = None, grid: bool = False) -> spikec.Graph:
        net = spikec.Builder(spikec.Discretization(dt=1e-3) if grid else None)
        source = net.input("in", 2)
        neurons = net.graded_theta("h", 2, tau=5e-3, tau_syn=1e-2)
        net.connect(source, neurons, weight=np.eye(2), delay=delay)
        if other:
            spiking = net.cubalif("spiking", 2, tau_mem=1e-2, tau_syn=5e-3)
            net.connect(neurons, spiking, weight=np.eye(2))
            net.output("more", spiking)
        net.output("out", neurons)
        return net.build()

    for options, code in (({"other": True}, "SC456"), ({"delay": 2e-3}, "SC457"), ({"grid": True}, "SC457")):
        with pytest.raises(spikec.UnsupportedError) as error:
            spikec.compile(made(**options))
        assert code in codes(error), options


@pytest.mark.parametrize(("arguments", "code"), [
    ({"signals": np.full((1, 11, 2), nan)}, "SC459"), ({"signals": np.full((1, 11, 2), inf)}, "SC459"),
    ({"signals": np.zeros((1, 11, 3))}, "SC458"), ({"signals": np.zeros((11, 2))}, "SC458"),
    ({"signals": np.zeros((1, 1, 2))}, "SC458"), ({"signals": "text"}, "SC458"), ({"signals": {}}, "SC458"),
    ({"signals": {"other": np.zeros((1, 11, 2))}}, "SC458"), ({"signals": np.zeros((0, 11, 2))}, "SC458"),
    ({"dt": None}, "SC460"), ({"dt": -1e-3}, "SC460"), ({"dt": nan}, "SC460"), ({"dt": 0.05}, "SC461"),
    ({"duration": 0.02}, "SC462"), ({"duration": -1}, "SC462"), ({"duration": 0.0105}, "SC462"),
    ({"signals": spikec.Events.from_samples([([0.0], [0])])}, "SC462"),
    ({"signals": spikec.Events.from_samples([([0.0], [5])]), "duration": 0.01}, "SC405"),
    ({"tolerance": 0.0}, "SC403"), ({"tolerance": 1.0}, "SC403"), ({"state": 3}, "SC403"),
    ({"probes": {"theta.v": [0.1]}}, "SC407")])
def test_runs_that_are_asked_for_wrongly(program, arguments, code):
    with pytest.raises(spikec.BadInputError) as error:
        program.run(**{"signals": np.zeros((1, 11, 2)), "dt": DT, **arguments})
    assert code in codes(error)


@pytest.mark.parametrize(("arguments", "codes_of"), [
    ({"signals": np.full((1, 11, 2), nan)}, ["SC459"]), ({"signals": np.zeros((1, 11, 3))}, ["SC458"]),
    ({"signals": {}}, ["SC458"]), ({"signals": np.zeros((11, 2)), "duration": 0.01}, ["SC458"]),
    ({"signals": spikec.Events.from_samples([([0.0], [5])])}, ["SC405", "SC462"])])
def test_one_fault_is_told_once(program, arguments, codes_of):
    """How long a run is follows from the signals: nothing is said of it where they are wrong."""
    with pytest.raises(spikec.BadInputError) as error:
        program.run(**{"dt": DT, **arguments})
    assert codes(error) == codes_of


def test_what_changes_too_fast_is_told_and_never_hangs(program):
    with pytest.raises(spikec.BadInputError) as error:
        program.run(np.full((2, 11, 2), 1e12), dt=DT)
    assert set(codes(error)) == {"SC464"}
    assert "neuron" in str(error.value) and "sample 0" in str(error.value)


def test_losses_and_outputs_tell_what_is_wrong(program):
    out = program.module()(signals(), dt=DT)
    for ask, code in ((lambda: out.signal("nobody"), "SC409"), (lambda: out.events("out"), "SC409"),
                      (lambda: out.first_spike("out"), "SC409"), (lambda: out.spike_times("theta", 2), "SC409"),
                      (lambda: out.voltage_max(name="out"), "SC409"),
                      (lambda: spikec.losses.FirstSpikeCrossEntropy()(out, torch.zeros(2, dtype=int)), "SC409"),
                      (lambda: IntegratedSquaredError()(out, torch.zeros(2, 21, 3)), "SC506"),
                      (lambda: IntegratedSquaredError()(out, torch.full((2, 21, 2), nan)), "SC506"),
                      (lambda: IntegratedSquaredError(weight=torch.ones(5))(out, torch.zeros(2, 21, 2)), "SC506"),
                      (lambda: IntegratedSquaredError(activity=-1.0), "SC501")):
        with pytest.raises(spikec.BadInputError) as error:
            ask()
        assert codes(error) == [code]
    assert out.spike_count("theta").sum() == out.total_spikes("theta") > 0
    with pytest.raises(AttributeError, match="first_spice"):
        out.first_spice  # noqa: B018


def test_the_loss_is_the_integral_that_it_states(program):
    out = program.module(dtype=torch.float64)(signals(), dt=DT)
    wanted = torch.randn(2, 21, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    error = (out.signal("out") - wanted).square().sum(2)
    effort = out.signal("theta").square().sum(2) + out.signal("line").square().sum(2)
    by_hand = torch.trapezoid(error + 0.01 * effort, dx=DT, dim=1).mean() / 2
    assert torch.isclose(IntegratedSquaredError(activity=0.01)(out, wanted).value, by_hand, rtol=1e-12)


def test_the_page_runs():
    page = (ROOT / "docs" / "differentiable-synapse.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert len(blocks) == 2
    space: dict[str, Any] = {}
    exec("\n".join(blocks), space)
    assert isinstance(space["trained"], GradedProgram)
    assert np.isfinite(space["value"].item())


MODEL = """
import numpy as np, spikec
def make():
    net = spikec.Builder()
    neurons = net.graded_theta("hidden", 4, tau=5e-3, tau_syn=1e-2)
    net.connect(net.input("in", 5), neurons, weight=np.ones((4, 5)))
    net.output("out", net.linear("readout", neurons, weight=np.ones((3, 4))))
    return net
"""


@pytest.mark.parametrize("options", [{"loss": "voltage-max", "duration": 0.05}, {"rule": "biograd"}, {}])
def test_a_trainer_says_that_the_loop_is_to_be_written(program, options):
    with pytest.raises(spikec.UnsupportedError) as error:
        spikec.Trainer(program, **options)
    assert codes(error) == ["SC465"]
    assert "docs/differentiable-synapse.md" in str(error.value)


def test_the_command_that_trains_says_so_too(tmp_path, capsys):
    (tmp_path / "net.py").write_text(MODEL)
    for data in ("yin-yang", "no-such-data"):  # none are looked for
        code, _, error = say(capsys, "train", f"{tmp_path / 'net.py'}:make", "--data", data, "-o",
                             str(tmp_path / "out"))
        assert (code, "SC465" in error, error.count("SC")) == (3, True, 1), error
    assert not (tmp_path / "out").exists()


def test_the_command_runs_a_folder_on_impulses(tmp_path, capsys, program):
    program.save(tmp_path / "folder")
    events = spikec.Events.from_samples([([2e-3, 7e-3], [0, 1]), ([5e-3], [0])])
    np.savez(tmp_path / "e.npz", times=events.times, indices=events.indices, offsets=events.offsets)
    arguments = ("run", str(tmp_path / "folder"), "-i", str(tmp_path / "e.npz"), "--duration", "0.03", "-o",
                 str(tmp_path / "o.npz"))
    code, _, error = say(capsys, *arguments, "--dt", str(DT))
    assert code == 0, error
    with np.load(tmp_path / "o.npz") as written:
        np.testing.assert_array_equal(written["probes/out.signal"], program.run(events, 0.03, dt=DT).signals["out"])
    code, _, error = say(capsys, *arguments)
    assert (code, "SC460" in error) == (4, True), error


def test_the_command_runs_a_folder_on_signals(tmp_path, capsys, program):
    program.save(tmp_path / "folder")
    np.save(tmp_path / "x.npy", signals())
    code, _, error = say(capsys, "run", str(tmp_path / "folder"), "-i", str(tmp_path / "x.npy"), "--dt", str(DT),
                         "-o", str(tmp_path / "o.npz"))
    assert code == 0, error
    with np.load(tmp_path / "o.npz") as written:
        np.testing.assert_array_equal(written["probes/out.signal"], program.run(signals(), dt=DT).signals["out"])
