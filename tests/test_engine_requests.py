"""What a run is asked for: times, states, numbers of spikes; and activity that would not end."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import spikec


def test_what_is_asked_of_outputs_is_checked() -> None:
    program = spikec.compile(small_readout())
    out = program.module()(three_samples(), duration=0.02)
    faulty = {
        "SC407": [*(lambda t=t: out.voltage("o", t) for t in ([0.05], [np.nan], "now"))],
        "SC403": [*(lambda k=k: out.spike_times("h", k) for k in (0, -1, "a")),
                  *(lambda decay=decay: out.voltage_integral("o", decay) for decay in (0, "a"))],
    }
    for code, calls in faulty.items():
        for call in calls:
            with pytest.raises(spikec.BadInputError, match=code):
                call()
    late, early = (out.voltage("o", times) for times in ([0.02, 0.01], [0.01, 0.02]))
    assert torch.equal(late, early.flip(1))


def test_a_loss_on_an_output_that_is_not_there_is_named() -> None:
    loss = spikec.losses.VoltageMaxCrossEntropy(output="elsewhere")
    trainer = spikec.Trainer(spikec.compile(small_readout()), loss, duration=0.02, epochs=1)
    with pytest.raises(spikec.BadInputError, match=r"SC409.*elsewhere"):
        trainer.fit((three_samples(), torch.tensor([0, 1, 2])))


def test_a_state_goes_with_networks_of_its_form_only() -> None:
    spiking, readout = spikec.compile(small_readout(spiking=True)), spikec.compile(small_readout())
    state = spiking.run(three_samples(), duration=0.02).state
    with pytest.raises(spikec.BadInputError, match="another network"):
        readout.run(three_samples(), duration=0.02, state=state)
    with pytest.raises(spikec.BadInputError, match="number of samples") as caught:
        spiking.run(three_samples().take([0]), duration=0.02, state=state)
    assert len(caught.value.diagnostics) == 1


def test_an_excitation_that_feeds_itself_is_cut_off_soon() -> None:
    rng = np.random.default_rng(0)
    net = spikec.Builder()
    source, cells = net.input("i", 10), net.cubalif("h", 40, tau_mem=20e-3, tau_syn=10e-3)
    net.connect(source, cells, weight=rng.normal(0.3, 0.2, (40, 10)))
    net.connect(cells, cells, weight=rng.uniform(0, 1, (40, 40)))
    net.output("o", cells)
    program = spikec.compile(net.build())
    events = spikec.Events.from_samples([(np.sort(rng.uniform(0, 0.1, 100)), rng.integers(0, 10, 100))])
    with pytest.warns(spikec.SpikecWarning, match=r"SC408.*within the shortest time constant"):
        result = program.run(events, duration=0.1)
    assert result.truncated and len(result.spikes["o"]) < 200_000


def small_readout(spiking: bool = False) -> spikec.Graph:
    net = spikec.Builder()
    times = {"tau_mem": 20e-3, "tau_syn": 10e-3}
    source, hidden = net.input("i", 5), net.cubalif("h", 8, **times)
    last = net.cubalif("o", 3, **times) if spiking else net.cubali("o", 3, **times)
    source.connect(hidden, weight=spikec.normal(0.5, 0.2, seed=1))
    hidden.connect(last, weight=spikec.normal(0.5, 0.2, seed=2))
    net.output("out", last)
    return net.build()


def three_samples() -> spikec.Events:
    return spikec.Events.from_samples([([1e-3, 2e-3, 3e-3], [0, 1, 2]), ([2e-3, 4e-3], [3, 4]), ([], [])])


def test_a_result_is_shown_by_names_and_sizes() -> None:
    result = spikec.compile(small_readout()).run(three_samples(), duration=0.02, probes={"h.v": [0.01]})
    shown = repr(result)
    assert len(shown) < 500 and "probes={'h.v': (3, 1, 8)}" in shown and "voltage_max={'o': (3, 3)" in shown
