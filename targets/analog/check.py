"""Whether what runs is what was compiled: the emulated chip, with its deviations and without its noise, against the
exact meaning of the graph that it is, spike by spike, on random events: from few to many."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ...ir import nodes as ir
from ...ir.events import Events
from ...ir.exact import simulate_exact
from ...ir.graph import Graph
from ...ir.network import Network
from ...ir.nodes import Array

if TYPE_CHECKING:
    from ...runtime.analog.emulator import Emulator
    from .program import AnalogProgram

__all__ = ["AnalogCheck", "check_analog_program", "first_difference", "graph_of_chip"]

COUNTS = (1, 3, 10)
"""Events of an input channel, one sample each."""
TOLERANCE = 1e-9
"""Seconds of the model that a spike may be off, for a run of a second."""
_WORK = 20_000_000
"""Events times synapses that the check goes through; the oracle is plain numpy."""


@dataclass(frozen=True, slots=True)
class AnalogCheck:
    """`samples`, `duration` (seconds of the model): of the stimulus. `fired`: share of each population's neurons that
    spiked. `emulator`: the first difference, "" where there is none."""

    samples: int
    duration: float
    fired: Mapping[str, float]
    emulator: str

    @property
    def ok(self) -> bool:
        """Whether nothing differs."""
        return not self.emulator

    def as_dict(self) -> dict[str, Any]:
        """Plain values, as `--json` prints them."""
        return {"ok": self.ok, **asdict(self)}

    def __str__(self) -> str:
        silent = [f"'{name}'" for name, share in self.fired.items() if not share]
        shares = ", ".join(f"{name} {share:.0%}" for name, share in self.fired.items())
        lines = [f"exact: {self.samples} samples of {self.duration:g} s; neurons that fired: {shares}"]
        lines += [f"exact: no neuron of {', '.join(silent)} fired"] if silent else []
        lines.append("exact: the emulated chip, without its noise, " + (
            f"differs: {self.emulator}" if self.emulator else "equals the network of its circuits, spike by spike"))
        return "\n".join(lines)


def check_analog_program(program: AnalogProgram, seed: int = 0) -> AnalogCheck:
    """Runs a program's chip two ways."""
    emulator, network = program.emulator(), program.network
    emulator.noise = False
    emulator.links_on = program.held.schedule is None  # what is replayed at stamps is another train of spikes
    synapses = max(1, sum(each.codes.size for each in program.held.projections))
    counts = [count for count in COUNTS
              if count == 1 or count * sum(program.held.inputs.values()) * synapses <= _WORK]
    taus = [float(np.asarray(each.tau_mem).max() + np.asarray(each.tau_syn).max())
            for each in network.populations.values()]
    duration = 5 * max(taus) + sum(float(np.asarray(each.delay).max()) for each in network.projections
                                   if each.delay is not None and np.asarray(each.delay).size)
    rng = np.random.default_rng(seed)
    events = {name: Events.from_samples([(rng.uniform(0, duration / 2, count * n), np.repeat(np.arange(n), count))
                                         for count in counts]) for name, n in program.held.inputs.items()}
    activity, sent = emulator.run(program.codes, events, duration)
    wanted = simulate_exact(graph_of_chip(emulator), sent, duration).spikes
    fired, difference = {}, ""
    for name, each in network.populations.items():
        if each.spiking:
            spikes = activity.spikes[name]
            found = Events(spikes.times.numpy(), spikes.indices.numpy(), spikes.offsets.numpy())
            fired[name] = len(np.unique(found.indices)) / each.n
            difference = difference or first_difference(name, found, wanted[name], TOLERANCE * max(1.0, duration))
    return AnalogCheck(len(counts), duration, fired, difference)


def graph_of_chip(emulator: Emulator) -> Graph:
    """The graph that an emulated chip with a program on it is, noise and links apart."""
    weights = []
    for number, each in enumerate(emulator.held.projections):
        factors = emulator.device.synapses(emulator.held, number)
        weight = each.codes * each.step[:, None]
        weights.append(weight if factors is None else weight * factors)
    return _as_graph(emulator.network, weights)


def _as_graph(network: Network, weights: list[Array]) -> Graph:
    """The graph of a network of `cuba` populations and dense projections, with other weights, all shapes flat."""
    nodes: dict[str, ir.Node] = {name: ir.Input(shape=(network.size(name),)) for name in network.inputs}
    edges: list[tuple[str, str]] = []
    for name, each in network.populations.items():
        values = {key: getattr(each, key) for key in ("r", "w_in", "tau_mem", "tau_syn", "v_leak", "v0")}
        if each.spiking:
            values |= {"v_threshold": each.v_threshold, "refractory": each.refractory,
                       "v_reset": 0.0 if each.reset == "zero" else each.v_reset}
        shaped = {key: np.broadcast_to(np.asarray(0.0 if value is None else value, np.float64), (each.n,))
                  for key, value in values.items()}
        made: Any = ir.CubaLIF if each.spiking else ir.CubaLI
        nodes[name] = made(shape=(each.n,), **shaped)

    def fresh(kind: str) -> str:
        number = len(nodes)
        while f"{kind}{number}" in nodes:
            number += 1
        return f"{kind}{number}"

    for axon, weight in zip(network.projections, weights, strict=True):
        before = axon.source
        if axon.delay is not None:
            wait = fresh("delay")
            nodes[wait] = ir.Delay(delay=np.broadcast_to(np.asarray(axon.delay), (weight.shape[1],)))
            edges.append((before, wait))
            before = wait
        through = fresh("linear")
        nodes[through] = ir.Linear(weight=weight)
        edges += [(before, through), (through, axon.target)]
    for name, each in network.populations.items():
        output = fresh("output")
        nodes[output] = ir.Output(shape=(each.n,))
        edges.append((name, output))
    return Graph(nodes, tuple(edges))


def first_difference(name: str, found: Events, wanted: Events, tolerance: float) -> str:
    """The first spike of a population that the two do not have in common; "" where there is none."""
    for sample in range(found.batch):
        mine, its = (each.sample(sample) for each in (found, wanted))
        if len(mine[0]) != len(its[0]):
            return f"{name}, sample {sample}: {len(mine[0])} spikes, and {len(its[0])} are meant"
        order, other = (np.lexsort((each[0], each[1])) for each in (mine, its))
        apart = np.abs(np.asarray(mine[0])[order] - np.asarray(its[0])[other])
        if not np.array_equal(np.asarray(mine[1])[order], np.asarray(its[1])[other]):
            return f"{name}, sample {sample}: other neurons spike"
        if apart.size and apart.max() > tolerance:
            return f"{name}, sample {sample}: a spike is {apart.max():.3g} s off"
    return ""
