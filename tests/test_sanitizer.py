"""Kernels under AddressSanitizer: no array is read or written beyond its ends.

A read too far does not fail by itself: it lets what lies there decide, and a training gives other bits the next time.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import numpy as np, torch, spikec

def net(sizes, last, recurrent=False, taus=(20e-3, 10e-3), delay=None):
    draw, build = np.random.default_rng(0), spikec.Builder()
    times = {"tau_mem": taus[0], "tau_syn": taus[1]}
    source, hidden = build.input("in", sizes[0]), build.cubalif("hidden", sizes[1], **times)
    label = getattr(build, last)("label", sizes[2], **times)
    build.connect(source, hidden, weight=draw.normal(1.0, 0.7, (sizes[1], sizes[0])), name="fc1")
    build.connect(hidden, label, weight=draw.normal(0.5, 0.3, (sizes[2], sizes[1])), name="fc2", delay=delay)
    if recurrent:
        build.connect(hidden, hidden, weight=draw.normal(0.0, 0.1, (sizes[1], sizes[1])), name="rec", delay=1e-3)
    build.output("out", label)
    return spikec.compile(build.build())

draw = np.random.default_rng(1)
spikes = 0
for sizes in ((5, 3, 1), (4, 110, 10)):
    events = spikec.Events.from_samples([
        (np.sort(draw.choice([0.0, 1e-3, 2e-3, 5e-3], 2 * sizes[0])), draw.integers(0, sizes[0], 2 * sizes[0]))
        for _ in range(3)])
    for options in (dict(last="cubalif"), dict(last="cubali", taus=(20e-3, 5e-3), delay=1e-3),
                    dict(last="cubalif", recurrent=True)):
        module = net(sizes, **options).module()
        out = module(events, duration=40e-3)
        spikes += int(out.spike_count("hidden").sum())
        if options["last"] == "cubali":
            voltages = out.voltage("out", [3e-3, 9e-3]).sum(1)
            loss = (out.voltage_max("out") + out.voltage_integral("out") + voltages).sum()
        else:
            times = out.first_spike("out")
            loss = torch.where(torch.isfinite(times), times, 0.0).sum()
        loss.backward()
for channels, last in ((2, "cubalif"), (40, "cubalif"), (3, "cubali")):
    build, times = spikec.Builder(), {"tau_mem": 20e-3, "tau_syn": 10e-3}
    made = getattr(build, last)("hidden", (channels, 3, 2), **times)
    weight = draw.normal(1.0, 0.7, (channels, 2, 2, 3))
    build.connect(build.conv2d("conv", build.input("in", (2, 5, 4)), weight=weight, padding=1, stride=2), made)
    build.output("out", made)
    events = spikec.Events.from_samples([(np.sort(draw.uniform(0, 0.03, n)), draw.integers(0, 40, n)) for n in (0, 60)])
    out = spikec.compile(build.build()).module()(events, duration=40e-3)
    if last == "cubalif":
        spikes += len(out.events("hidden").times)
        out.events("hidden").times.sum().backward()
    else:
        (out.voltage_max("out") + out.voltage_integral("out")).sum().backward()
assert spikes > 600, spikes
"""


LEARNING = """
import numpy as np, spikec
from spikec.ir.nodes import LIF
from spikec.ir.rules.catalogue import rule_named

def net(sizes, recurrent):
    draw, build = np.random.default_rng(0), spikec.Builder()
    signal = build.input("in", sizes[0])
    for name, n, before in zip(("hidden", "out"), sizes[1:], sizes):
        ones = np.ones(n)
        cells = LIF(shape=(n,), tau=4e-3 * ones, r=4e-3 * ones, v_leak=0 * ones, v_threshold=ones, reset="zero")
        signal = build.linear(f"to_{name}", signal, weight=draw.uniform(-1, 1.5, (n, before)))
        signal = build.add(name, cells, signal)
        if recurrent and name == "hidden":
            build.connect(signal, signal, weight=draw.uniform(-0.3, 0.3, (n, n)), name="rec")
    build.output("labels", signal)
    return build.build(spikec.Discretization(1e-3))

draw = np.random.default_rng(1)
changed = 0
for sizes in ((3, 1, 2), (20, 70, 10)):
    labels = draw.integers(0, sizes[-1], 6)
    events = spikec.Events.from_samples([
        (np.arange(1, 21) * 1e-3, draw.integers(0, sizes[0], 20)) for _ in labels])
    for target, options in (("loihi1", {"rounding": "synapse"}), ("loihi2", {"rounding": "lava"}), ("event", {})):
        for rule, recurrent in (("biograd", False), ("biograd", True), ("reward_stdp", False)):
            if recurrent and target == "event":
                continue
            own = {"sleep_every": 2} if rule == "biograd" else {}
            learner = spikec.compile(net(sizes, recurrent), target=target).learner(
                rule_named(rule, target, duration=20e-3, **own), **options)
            before = [each.copy() for each in learner.weights.values()]
            learner.learn(events, labels)
            learner.answer(events)
            changed += sum(int((a != b).sum()) for a, b in zip(before, learner.weights.values()))
assert changed > 1000, changed
"""


def library(name: str) -> str:
    done = subprocess.run(["gcc", f"-print-file-name={name}"], capture_output=True, text=True, check=False)
    found = done.stdout.strip()
    return found if Path(found).is_absolute() else ""


@pytest.mark.slow
@pytest.mark.parametrize("script", [SCRIPT, LEARNING], ids=["gradients", "learning"])
def test_kernels_stay_within_their_arrays(script: str, tmp_path: Path) -> None:
    try:
        libraries = [library("libasan.so"), library("libstdc++.so")]
    except FileNotFoundError:
        libraries = [""]
    if not all(libraries):
        pytest.skip("needs gcc and its libasan")
    environment = {
        **os.environ, "CC": "gcc -fsanitize=address -g", "SPIKEC_CACHE": str(tmp_path),
        "LD_PRELOAD": " ".join(libraries), "ASAN_OPTIONS": "detect_leaks=0",
    }
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
