"""Networks for the tests of analog chips, the graph that an emulated chip is, and a chip's description to alter."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from spikec.ir import nodes as ir
from spikec.ir.analog.chip import AnalogChip, Figure
from spikec.ir.graph import Graph
from spikec.targets.analog import description
from spikec.targets.analog.check import graph_of_chip
from spikec.targets.analog.program import AnalogProgram

OWN = ("brainscales2", "generic_analog")
_TARGETS = Path(description.__file__).parent.parent
TOML = {name: (_TARGETS / name / "chip.toml").read_text(encoding="utf-8") for name in OWN}
"""spikec's own descriptions."""


def cuba(n: int, rng: np.random.Generator, **settings: Any) -> ir.CubaLIF:
    """Neurons within the ranges of both chips, thresholds near 1, whose synapses add a weight to the current."""
    tau_syn = np.full(n, rng.uniform(4e-3, 8e-3))
    values = {"shape": (n,), "tau_syn": tau_syn, "w_in": tau_syn, "tau_mem": tau_syn * rng.uniform(1.2, 2.5, n),
              "v_threshold": rng.uniform(0.8, 1.2, n), "v_leak": rng.uniform(-0.05, 0.05, n),
              "v_reset": rng.uniform(0.0, 0.1, n)}
    return ir.CubaLIF(**(values | settings))


def net(seed: int = 0, *, kind: str = "CubaLIF", recurrent: bool = False, delay: bool = False, bias: bool = False,
        refractory: float = 0.0, readout: bool = True, n: int = 5, n_in: int = 4) -> Graph:
    """in -> (delay) -> hidden (-> recurrence) -> readout, whose hidden neurons fire some times in 60 ms."""
    rng = np.random.default_rng(seed)
    hidden: ir.Neuron
    if kind == "LIF":
        hidden = ir.LIF(shape=(n,), tau=rng.uniform(8e-3, 15e-3, n), v_leak=rng.uniform(-0.05, 0.05, n),
                        v_reset=rng.uniform(0.0, 0.1, n), v_threshold=rng.uniform(0.8, 1.2, n), refractory=refractory)
        unit, hold = np.asarray(hidden.tau), 1.0
    else:
        hidden = cuba(n, rng, refractory=refractory)
        unit, hold = np.full(n, 2.5), float(np.asarray(hidden.w_in)[0])
    nodes: dict[str, ir.Node] = {"in": ir.Input(shape=(n_in,))}
    if delay:
        tau = float(np.asarray(getattr(hidden, "tau_syn", 3e-4)).reshape(-1)[0])
        nodes["wait"] = ir.Delay(delay=rng.uniform(2.0, 3.2, n_in) * tau)
    weight = rng.uniform(-0.05, 0.45, (n, n_in)) * unit[:, None]
    nodes["fc"] = ir.Affine(weight=weight, bias=rng.uniform(0.0, 0.1, n) / hold) if bias else ir.Linear(weight=weight)
    nodes["hidden"] = hidden
    edges = []
    if recurrent:
        wait = rng.uniform(2.0, 3.2, n) * (3e-4 if kind == "LIF" else float(np.asarray(hidden.tau_syn)[0]))
        nodes["loop"] = ir.Linear(weight=rng.normal(-0.1, 0.2, (n, n)) * unit[:, None])
        edges = [("hidden", "loop"), ("loop", "hidden")]
        if delay:
            nodes["later"] = ir.Delay(delay=wait)
            edges = [("hidden", "later"), ("later", "loop"), ("loop", "hidden")]
    nodes["fc2"] = ir.Linear(weight=rng.uniform(-0.2, 1.0, (3, n)) * 2)
    nodes["last"] = ir.CubaLI(shape=(3,), tau_mem=8e-3, tau_syn=5e-3, w_in=5e-3) if readout else cuba(3, rng)
    nodes["out"] = ir.Output(shape=(3,))
    chain = [name for name in nodes if name not in ("loop", "later")]
    return Graph(nodes, (*edges, *pairwise(chain)))


def the_chip(program: AnalogProgram) -> Graph:
    """The graph that the emulated chip with a program on it is, noise and links apart."""
    return graph_of_chip(program.emulator())


def with_figures(chip: AnalogChip, **values: float) -> AnalogChip:
    """A chip with other figures; their dots are double underscores."""
    return replace(chip, figures={**chip.figures, **{
        name.replace("__", "."): Figure(value, "", "a test", "given") for name, value in values.items()}})
