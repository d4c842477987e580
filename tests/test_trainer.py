"""Training through the engine itself: a small problem is learnt, resumed to the same bits, and survives silence."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from interrupting import interrupt_at

import spikec
from spikec.ir.graph import same_graph
from spikec.runtime.bump import WeightBump
from spikec.runtime.checkpoint import read_checkpoint, write_checkpoint
from spikec.runtime.interruption import TrainingInterrupted
from spikec.runtime.optimizers import FusedAdam, FusedAdamW

TAUS = {"tau_mem": 20e-3, "tau_syn": 10e-3}
DURATION = 60e-3
REACH = 4.0  # the weight of one impulse that reaches the threshold: 1 over the peak of e^(-t/20 ms) - e^(-t/10 ms)


def blobs(count: int, seed: int) -> tuple[spikec.Events, np.ndarray]:
    """Three clouds in the square, as latencies of both coordinates and their mirror images, and a bias spike."""
    draw = np.random.default_rng(seed)
    labels = draw.integers(0, 3, count)
    points = np.array([[0.2, 0.2], [0.8, 0.3], [0.4, 0.8]])[labels] + draw.normal(0, 0.07, (count, 2))
    return spikec.encoders.yin_yang(points.clip(0, 1)), labels


def program(readout: str = "spikes", scale: float = 1.0) -> spikec.Program:
    draw = np.random.default_rng(7)
    net = spikec.Builder()
    source = net.input("in", 5)
    hidden = net.cubalif("hidden", 30, **TAUS)
    last = (net.cubalif if readout == "spikes" else net.cubali)("label", 3, **TAUS)
    net.connect(source, hidden, weight=scale * draw.normal(1.0, 0.5, (30, 5)), name="fc1")
    net.connect(hidden, last, weight=scale * draw.normal(0.5, 0.2, (3, 30)), name="fc2")
    net.output("out", last)
    return spikec.compile(net.build())


def trainer(loss: Any = None, readout: str = "spikes", scale: float = 1.0, **options: Any) -> spikec.Trainer:
    options = {"lr": 1e-2, "epochs": 3, "batch_size": 20, "duration": DURATION, "progress": False, **options}
    return spikec.Trainer(program(readout, scale), loss or spikec.losses.FirstSpikeCrossEntropy(), **options)


def bits(one: spikec.Trainer) -> list[bytes]:
    return [value.detach().numpy().tobytes() for value in one.module.parameters()]


TABLE = 0.01 + 0.02 * (1 - np.eye(3))


@pytest.mark.parametrize(
    ("loss", "readout"),
    [
        (spikec.losses.FirstSpikeCrossEntropy(), "spikes"),
        (spikec.losses.SpikeTimeMSE(targets=TABLE, tau=5e-3), "spikes"),
        (spikec.losses.VoltageMaxCrossEntropy(scale=3.0), "voltage"),
        (spikec.losses.IntegratedVoltageCrossEntropy(decay=30e-3, scale=10.0), "voltage"),
    ],
)
def test_every_loss_learns_a_small_problem(loss: Any, readout: str) -> None:
    duration = DURATION if readout == "spikes" else 35e-3  # where late spikes matter least, none vanishes suddenly
    one = trainer(loss, readout, epochs=8, lr=5e-3, duration=duration)
    before = one.evaluate(blobs(100, seed=2))
    history = one.fit(blobs(300, seed=1), blobs(100, seed=2))
    assert history[-1].validation.accuracy >= 0.6
    assert history[-1].validation.loss < 0.75 * before.loss
    assert history[-1].validation.spikes["hidden"] > 0


def test_the_trained_program_does_what_the_trainer_measured() -> None:
    one = trainer(epochs=2, dtype=torch.float64)
    one.fit(blobs(200, seed=1))
    events, labels = blobs(60, seed=2)
    measured = one.evaluate((events, labels))
    spikes = one.program.run(events, duration=DURATION).spikes["out"]
    first = [next(iter(spikes.sample(number)[1]), -1) for number in range(spikes.batch)]
    assert np.mean(first == labels) == pytest.approx(measured.accuracy)
    assert len(spikes) / spikes.batch == pytest.approx(measured.spikes["label"])
    assert not same_graph(one.program.graph, program().graph)


@pytest.mark.parametrize("batch", [4, 25])
def test_interrupted_and_resumed_is_bit_identical(tmp_path: Path, batch: int) -> None:
    data, options = blobs(230, seed=1), {"input_dropout": 0.1, "scheduler": "cosine"}
    whole = trainer(**options)
    whole.fit(data)
    broken = trainer(checkpoint=tmp_path / "checkpoint", **options)
    seen = interrupt_at(broken, batch)
    with pytest.raises(TrainingInterrupted):
        broken.fit(data)
    assert len(seen) == batch
    resumed = trainer(checkpoint=tmp_path / "checkpoint", **options)
    resumed.fit(data)
    assert bits(resumed) == bits(whole)


def test_a_checkpoint_is_of_one_model_and_of_one_data_set(tmp_path: Path) -> None:
    """Parameters that learn come from the checkpoint, so only they may begin elsewhere."""
    data, options = blobs(40, seed=1), {"epochs": 1, "checkpoint": tmp_path / "checkpoint"}
    trainer(**options).fit(data)
    assert len(trainer(scale=0.9, **options).fit(data)) == 1
    graph = program().graph
    higher = replace(graph.nodes["hidden"], v_threshold=np.full(30, 0.5))
    later = replace(data[0], times=data[0].times + 1e-3)
    uneven = replace(higher, v_threshold=np.linspace(1, 2, 30))
    for model, given, differs in ((graph.with_nodes({"hidden": higher}), data, "model"),
                                  (graph.with_nodes({"hidden": uneven}), data, "constants"),
                                  (graph, (later, data[1]), "data")):
        other = spikec.Trainer(spikec.compile(model), spikec.losses.FirstSpikeCrossEntropy(), lr=1e-2, batch_size=20,
                               duration=DURATION, progress=False, **options)
        with pytest.raises(spikec.BadInputError, match=f"SC508.*another {differs}"):
            other.fit(given)


def test_a_checkpoint_that_lacks_something_is_damaged(tmp_path: Path) -> None:
    file = tmp_path / "checkpoint"
    trainer(epochs=1, checkpoint=file).fit(blobs(40, seed=1))
    whole = read_checkpoint(file)
    for name in ("settings", "epoch", "history", "module", "optimizer"):
        write_checkpoint(file, {key: value for key, value in whole.items() if key != name})
        with pytest.raises(spikec.BadInputError, match=f"SC509.*{name}"):
            trainer(epochs=2, checkpoint=file).fit(blobs(40, seed=1))


def test_clipping_spares_what_feeds_a_readout() -> None:
    moved = {}
    for readout in ("spikes", "voltage"):
        loss = spikec.losses.FirstSpikeCrossEntropy() if readout == "spikes" else spikec.losses.VoltageMaxCrossEntropy()
        one = trainer(loss, readout, optimizer="sgd", lr=1.0, gradient_clip=1e-6, epochs=1)
        before = {name: value.detach().clone() for name, value in one.module.named_parameters()}
        one.fit(blobs(20, seed=1))
        moved[readout] = {name: float((value.detach() - before[name]).norm(dim=1).max())
                          for name, value in one.module.named_parameters() if value.requires_grad}
    assert moved["spikes"]["fc1.weight"] == pytest.approx(1e-6, rel=0.2)
    assert moved["spikes"]["fc2.weight"] == pytest.approx(1e-6, rel=0.2)
    assert moved["voltage"]["fc1.weight"] == pytest.approx(1e-6, rel=0.2)
    assert moved["voltage"]["fc2.weight"] > 1e-3


@pytest.mark.parametrize(("ours", "torchs"), [(FusedAdam, torch.optim.Adam), (FusedAdamW, torch.optim.AdamW)])
def test_the_order_of_memory_changes_no_update(ours: Any, torchs: Any) -> None:
    moved = []
    for optimizer in (lambda given: ours(given, lr=1e-2), lambda given: torchs(given, lr=1e-2, fused=True)):
        one = trainer(optimizer=optimizer, lr=None, epochs=2)
        assert not one.module.fc1.weight.is_contiguous()
        one.fit(blobs(60, seed=1))
        moved.append(bits(one))
        assert one.optimizer.state[one.module.fc1.weight]["exp_avg"].shape == one.module.fc1.weight.shape
    assert moved[0] == moved[1]


def test_spikes_are_counted_as_the_weights_change() -> None:
    one = trainer(lr=1e-12, epochs=1)
    data = blobs(50, seed=1)
    record = one.fit(data)[0]
    assert record.train.spikes == one.evaluate(data).spikes
    assert record.as_dict()["train"]["spikes"]["hidden"] > 1


def test_a_silent_network_is_counted_and_stays_finite() -> None:
    loss = spikec.losses.FirstSpikeCrossEntropy(silent=None)
    one = trainer(loss, scale=0.05, epochs=1)
    before = bits(one)
    record = one.fit(blobs(60, seed=1))[0]
    assert record.train.silent == 1.0
    assert record.train.accuracy == 0.0  # not that of class 0
    assert record.train.spikes == {"hidden": 0.0, "label": 0.0}
    assert np.isfinite(record.train.loss)
    assert bits(one) == before


@pytest.mark.parametrize("remedy", ["push", "bump", "both"])
def test_silent_labels_learn_to_fire(remedy: Any) -> None:
    draw = np.random.default_rng(7)
    net = spikec.Builder()
    hidden = net.cubalif("hidden", 30, **TAUS)
    label = net.cubalif("label", 3, **TAUS)
    net.connect(net.input("in", 5), hidden, weight=draw.normal(1.0, 0.5, (30, 5)), name="fc1")
    net.connect(hidden, label, weight=draw.normal(0.02, 0.01, (3, 30)), name="fc2")
    net.output("out", label)
    silent = spikec.compile(net.build())
    loss = spikec.losses.FirstSpikeCrossEntropy(silent=remedy)
    one = spikec.Trainer(silent, loss, lr=1e-2, epochs=8, batch_size=20, duration=DURATION, progress=False,
                         gradient_clip=0.1)
    assert one.evaluate(blobs(100, seed=2)).silent == 1.0
    history = one.fit(blobs(300, seed=1), blobs(100, seed=2))
    assert history[-1].validation.silent < 0.02
    assert history[-1].validation.accuracy >= 0.95


def test_a_bump_raises_what_leads_to_the_first_silent_layer_and_doubles() -> None:
    loss = spikec.losses.FirstSpikeCrossEntropy(silent="bump")
    one = trainer(loss, scale=0.05, epochs=1, batch_size=60)
    before = [value.detach().clone() for value in one.module.parameters() if value.requires_grad]
    one.fit(blobs(120, seed=1))
    after = [value.detach() for value in one.module.parameters() if value.requires_grad]
    grown = torch.tensor(2e-4 * REACH)  # then twice that
    torch.testing.assert_close((after[0] - before[0]).mean(), 3 * grown, rtol=1e-4, atol=0)
    assert torch.equal(after[1], before[1])


def test_a_bump_doubles_for_those_alone_that_stay_silent() -> None:
    """And follows the weights that there were at first, not those that it has raised."""
    compiled = program()
    module = compiled.module()
    bump = WeightBump(compiled.graph, compiled.network, module)
    count = compiled.network.size("hidden")
    silent = [torch.arange(count) < 2, torch.arange(count) < 1]
    weight = module.get_parameter("fc1.weight")
    steps = [weight.detach().clone()]
    for rows in silent:
        out = SimpleNamespace(spike_count=lambda name, rows=rows: (~rows).expand(4, -1).to(torch.int64))
        bump.apply(out, "out", torch.zeros(4, dtype=torch.bool), torch.zeros(4, dtype=torch.int64))
        steps.append(weight.detach().clone())
    unit = torch.tensor(2e-4 * REACH)
    torch.testing.assert_close((steps[1] - steps[0])[:2].mean(), unit, rtol=1e-4, atol=0)
    torch.testing.assert_close((steps[2] - steps[1])[0].mean(), 2 * unit, rtol=1e-4, atol=0)
    assert torch.equal(steps[2][1:], steps[1][1:]) and torch.equal(steps[2][2:], steps[0][2:])
    assert (bump.factors["hidden"] / 2e-4).tolist()[:3] == [4.0, 1.0, 1.0]  # the second was 2
    for _ in range(20):
        bump.apply(out, "out", torch.zeros(4, dtype=torch.bool), torch.zeros(4, dtype=torch.int64))
    assert float(bump.factors["hidden"].max()) == pytest.approx(1 / 5)  # five inputs, and the whole way at most


@pytest.mark.parametrize("share", [None, 0.5])
def test_which_hidden_neurons_are_bumped_is_the_users_to_say(share: float | None) -> None:
    """Of the first one fires in six of ten samples, the second in none."""
    loss = spikec.losses.FirstSpikeCrossEntropy(silent="both")
    one = trainer(loss, epochs=1, batch_size=10, **({} if share is None else {"bump_above": share}))
    weight = one.module.get_parameter("fc1.weight")
    before = weight.detach().clone()
    fired = torch.ones(10, one._network.size("hidden"), dtype=torch.int64)
    fired[6:, 0], fired[:, 1] = 0, 0
    out = SimpleNamespace(spike_count=lambda name: fired)
    one._step._bump.apply(out, "out", torch.zeros(10, dtype=torch.bool), torch.zeros(10, dtype=torch.int64))
    raised = (weight.detach() > before).all(1).tolist()
    assert raised == [share is None, True] + [False] * (len(raised) - 2)


def test_a_first_step_does_not_import_a_compiler() -> None:
    """torch's optimizers import `torch._dynamo` when they are first used, which takes longer than the rest together."""
    code = """
import sys, torch
from spikec.runtime.optimizers import make_optimizer
for name in ("adam", "adamw"):
    parameter = torch.nn.Parameter(torch.ones(3, 2))
    optimizer = make_optimizer(name, [parameter], 0.1)
    parameter.grad = torch.ones(3, 2)
    optimizer.step()
    optimizer.zero_grad()
    optimizer.load_state_dict(optimizer.state_dict())
    assert (parameter < 1).all() and parameter.grad is None
print("torch._dynamo" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_a_checkpoint_whose_bytes_have_changed_is_damaged(tmp_path: Path) -> None:
    file = tmp_path / "checkpoint"
    trainer(epochs=1, checkpoint=file).fit(blobs(40, seed=1))
    with zipfile.ZipFile(file) as records:
        largest = max(records.infolist(), key=lambda each: each.file_size)
    content = bytearray(file.read_bytes())
    content[largest.header_offset + 200] ^= 1
    file.write_bytes(content)
    with pytest.raises(spikec.BadInputError, match=r"SC509.*checksum"):
        trainer(epochs=2, checkpoint=file).fit(blobs(40, seed=1))


def test_what_cannot_be_trained_is_told_at_once() -> None:
    with pytest.raises(spikec.BadInputError, match=r"SC412.*refractory is fixed"):
        program().module(train=("weight", "refractory"))
    net = spikec.Builder()
    cells = net.equations("cells", 3, spikec.equations.adex())
    net.connect(net.input("in", 5), cells, weight=spikec.normal(1e-9, 1e-10, seed=1))
    net.output("out", cells)
    with pytest.raises(spikec.BadInputError, match="SC409") as caught:
        spikec.Trainer(spikec.compile(net.build()), "pseudospike", lr=1e-11)
    (told,) = caught.value.diagnostics
    assert "pseudospike" not in str(told.limit)
    assert "clock" not in str(told.remedy)
