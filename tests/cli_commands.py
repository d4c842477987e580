"""A model file and the ways to say a command, for tests of the command line."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from spikec import Events
from spikec.compiler.cli import app


def some_events(samples: int = 3, seed: int = 1) -> Events:
    draw = np.random.default_rng(seed)
    return Events.from_samples([(draw.uniform(0, 20e-3, 12), draw.integers(0, 4, 12)) for _ in range(samples)])


def say(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of one command."""
    capsys.readouterr()
    code = app.main(arguments)
    return code, *capsys.readouterr()


def say_json(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, Any]:
    code, out, _ = say(capsys, *arguments, "--json")
    assert out.count("\n") == 1, "one line, one object"
    return code, json.loads(out)


MODEL = """
import numpy as np
from spikec import Builder

def make(outputs=1):
    draw = np.random.default_rng(0)
    net = Builder()
    source = net.input("in", 4)
    hidden = net.cubalif("hidden", 6, tau_mem=20e-3, tau_syn=5e-3)
    digit = net.cubalif("digit", 3, tau_mem=20e-3, tau_syn=5e-3)
    net.connect(source, hidden, weight=draw.normal(3.0, 1.0, (6, 4)))
    net.connect(hidden, digit, weight=draw.normal(2.0, 1.0, (3, 6)))
    net.output("out", digit)
    if outputs == 2:
        net.output("inner", hidden)
    return net.build()

def two():
    return make(2)

def jumps():
    net = Builder()
    source = net.input("in", 64)
    net.output("out", net.connect(source, net.lif("hidden", 10, tau=20e-3), weight=np.full((10, 64), 30e-3)))
    return net.build()

def ambiguous():
    net = Builder()
    source = net.input("in", (1, 4, 4))
    pooled = net.max_pool2d("pool", source, kernel_size=2)
    hidden = net.cubalif("hidden", pooled.shape, tau_mem=20e-3, tau_syn=5e-3)
    net.connect(pooled, hidden)
    net.output("out", hidden)
    return net.build()

def raises():
    raise ValueError("not this")
"""
READOUT = """
import spikec

def make(inputs=4):
    net = spikec.Builder()
    source = net.input("in", inputs)
    hidden = net.cubalif("hidden", 6, tau_mem=20e-3, tau_syn=5e-3)
    digit = net.cubali("digit", 3, tau_mem=20e-3, tau_syn=5e-3)
    source.connect(hidden, weight=spikec.normal(3.0, 1.0, seed=0))
    hidden.connect(digit, weight=spikec.normal(2.0, 1.0, seed=1))
    net.output("out", digit)
    return net.build()

def wide():
    return make(64)
"""
