"""Mappings of networks onto Loihi's cores beside METIS and greedy filling: spikes between cores, hops, time.

    python benchmarks/mapping.py [--quick | --full] [--only local]

Needs METIS as pymetis: pip install pymetis==2025.2.2; `make bench` installs it in an environment of its own.

Networks have neurons in a random order, which says nothing of who is near whom; every neuron sends alike. All are of
one population that reaches itself, or of a stack of convolutions. METIS cuts the graph of the neurons, synapses for
weights, into as many parts as spikec uses cores, or the fewest more of which none has more neurons than a core; its
parts lie on the mesh in their order. It knows no other limit. Greedy filling takes neurons
in their order, fills core after core up to all limits, and lays cores in order. All three are counted by the checker
of mappings, which has no part in making them.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from common import HERE, arguments, timed, write_result
from peers import Peer

from spikec.ir.diagnostics import Diagnostics, DoesNotFitError
from spikec.ir.integer.network import (
    IntegerConv,
    IntegerDense,
    IntegerNetwork,
    IntegerPopulation,
    IntegerProjection,
    IntegerSparse,
)
from spikec.ir.mapping import ChipMapping, CoreContent
from spikec.targets.loihi.map_network import fill_network, map_network
from spikec.targets.loihi.mapping_check import check_mapping
from spikec.targets.loihi.place import places_of
from spikec.targets.loihi1.limits import LOIHI1

METIS = Peer("metis", "peer_metis.py", (("numpy>=1.26", "pymetis==2025.2.2"),))
CHIPS = 16
FAN_OUT = 20


@dataclass(frozen=True)
class Case:
    """A network to map: its kind, as the table groups it, and how it is made."""

    kind: str
    neurons: int
    make: Callable[[], IntegerNetwork]


def population(name: str, shape: tuple[int, ...]) -> IntegerPopulation:
    return IntegerPopulation(name=name, shape=shape, du=4095, dv=128, threshold=100)


def recurrent(source: np.ndarray, target: np.ndarray, n: int, seed: int) -> IntegerNetwork:
    """Neurons in a random order; a synapse from each `source` to each `target`, double ones once."""
    order = np.random.default_rng(seed).permutation(n)
    keys = np.unique(order[target] * n + order[source])
    sparse = IntegerSparse(indptr=np.concatenate([[0], np.cumsum(np.bincount(keys // n, minlength=n))]),
                           indices=keys % n, weight=np.full(len(keys), 2))
    dense = IntegerDense(weight=np.full((n, 1), 2))
    return IntegerNetwork(
        inputs={"x": (1,)}, populations={"a": population("a", (n,))}, outputs={"out": "a"}, dt=1e-3,
        projections=(IntegerProjection(name="xa", source="x", target="a", connection=dense),
                     IntegerProjection(name="aa", source="a", target="a", connection=sparse)))


def random(n: int) -> IntegerNetwork:
    rng = np.random.default_rng(n)
    source = np.repeat(np.arange(n), FAN_OUT)
    return recurrent(source, rng.integers(0, n, len(source)), n, 1)


def line(n: int, reach: float) -> IntegerNetwork:
    """Neurons on a ring; targets at normally distributed distances."""
    rng = np.random.default_rng(n)
    source = np.repeat(np.arange(n), FAN_OUT)
    return recurrent(source, (source + np.rint(rng.normal(0, reach, len(source))).astype(int)) % n, n, 2)


def sheet(n: int, reach: float) -> IntegerNetwork:
    """Neurons on a torus; likewise along both axes."""
    rng = np.random.default_rng(n)
    side = round(n ** 0.5)
    source = np.repeat(np.arange(side * side), FAN_OUT)
    moved = [np.rint(rng.normal(0, reach, len(source))).astype(int) for _ in range(2)]
    target = (source // side + moved[0]) % side * side + (source % side + moved[1]) % side
    return recurrent(source, target, side * side, 3)


def convolutions(channels: int, side: int, layers: int) -> IntegerNetwork:
    """Kernels of 3 x 3, the image as large from layer to layer."""
    populations, projections, source, read = {}, [], "x", 2
    for layer in range(layers):
        name = f"c{layer}"
        populations[name] = population(name, (channels, side, side))
        conv = IntegerConv(weight=np.full((channels, read, 3, 3), 2), input_shape=(read, side, side),
                           output_shape=(channels, side, side), padding=(1, 1))
        projections.append(IntegerProjection(name=f"to {name}", source=source, target=name, connection=conv))
        source, read = name, channels
    return IntegerNetwork(inputs={"x": (2, side, side)}, populations=populations, projections=tuple(projections),
                          outputs={"out": source}, dt=1e-3)


CASES = {
    "random 1k": Case("random", 1_000, lambda: random(1_000)),
    "random 10k": Case("random", 10_000, lambda: random(10_000)),
    "random 100k": Case("random", 100_000, lambda: random(100_000)),
    "ring 10k": Case("local", 10_000, lambda: line(10_000, 100.0)),
    "ring 100k": Case("local", 100_000, lambda: line(100_000, 300.0)),
    "sheet 2k": Case("local", 2_000, lambda: sheet(2_000, 2.0)),
    "sheet 10k": Case("local", 10_000, lambda: sheet(10_000, 3.0)),
    "sheet 100k": Case("local", 100_000, lambda: sheet(100_000, 3.0)),
    "convolutions 4k": Case("convolutional", 4_096, lambda: convolutions(8, 16, 2)),
    "convolutions 12k": Case("convolutional", 12_288, lambda: convolutions(16, 16, 3)),
    "convolutions 98k": Case("convolutional", 98_304, lambda: convolutions(16, 32, 6)),
}
QUICK = ("random 1k", "sheet 2k", "convolutions 4k")


def graph(network: IntegerNetwork) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The neurons of all populations, one after the other, in CSR, symmetric: begins, neighbours, synapses."""
    first, total = {}, 0
    for name, each in network.populations.items():
        first[name] = total
        total += each.n
    keys = []
    for each in network.projections:
        if each.source in network.inputs:
            continue
        target, source = _synapses(each)
        keys.append((source + first[each.source]) * total + target + first[each.target])
    source, target = np.divmod(np.concatenate(keys), total)
    apart = source != target
    both = np.concatenate([source[apart] * total + target[apart], target[apart] * total + source[apart]])
    pairs, weights = np.unique(both, return_counts=True)
    begins = np.concatenate([[0], np.cumsum(np.bincount(pairs // total, minlength=total))])
    return begins, pairs % total, weights


def _synapses(projection: IntegerProjection) -> tuple[np.ndarray, np.ndarray]:
    connection = projection.connection
    if isinstance(connection, IntegerSparse):
        return np.repeat(np.arange(len(connection.indptr) - 1), np.diff(connection.indptr)), connection.indices
    assert isinstance(connection, IntegerConv)
    features, channels = connection.weight.shape[:2]
    _, height, width = connection.output_shape
    places = np.arange(height * width).reshape(height, width)
    pairs = []
    for down in (-1, 0, 1):
        for right in (-1, 0, 1):
            rows, columns = (slice(max(0, -by), length - max(0, by)) for by, length in ((down, height), (right, width)))
            there = places[rows, columns].ravel()
            pairs.append(np.stack([there, there + down * width + right]))
    target, source = np.concatenate(pairs, axis=1)
    shape = (features, channels, len(target))
    return (np.broadcast_to(np.arange(features)[:, None, None] * height * width + target, shape).ravel(),
            np.broadcast_to(np.arange(channels)[:, None] * height * width + source, shape).ravel())


def by_metis(network: IntegerNetwork, parts: int) -> tuple[np.ndarray, dict[str, float]]:
    """The part of each neuron, in `parts` or the fewest more of which none has too many neurons; times of METIS."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "graph.npz")
        begins, neighbours, weights = graph(network)
        np.savez(path, begins=begins, neighbours=neighbours, weights=weights, parts=parts,
                 most=LOIHI1.limits["neurons"].value)
        python = sys.executable if importlib.util.find_spec("pymetis") else str(METIS.install())
        subprocess.run([python, str(HERE / METIS.script), str(path)], check=True)
        with np.load(path) as done:
            return done["part"], {"cpu_s": float(done["cpu_s"]), "wall_s": float(done["wall_s"])}


def in_order(network: IntegerNetwork, part: np.ndarray) -> ChipMapping:
    """Parts on cores in the order of chips, rows of the mesh and routers."""
    part = np.unique(part, return_inverse=True)[1].ravel()
    parts, chip = int(part.max()) + 1, replace(LOIHI1, chips=CHIPS)
    places = places_of(chip, -(-parts // chip.cores.value))
    places = places[np.lexsort((places[:, 3], places[:, 1], places[:, 2], places[:, 0]))]
    ends = np.cumsum([each.n for each in network.populations.values()])[:-1]
    of = dict(zip(network.populations, np.split(part, ends), strict=True))
    return ChipMapping(chip=chip, cores=tuple(
        CoreContent(parts={name: np.flatnonzero(own == number) for name, own in of.items() if (own == number).any()},
                    chip=int(places[number, 0]), x=int(places[number, 1]), y=int(places[number, 2]),
                    core=int(places[number, 3]), loads={}) for number in range(parts)))


def counted(network: IntegerNetwork, mapping: ChipMapping) -> dict[str, Any]:
    """Packets and hops by the checker, and the resources that cores have too little of."""
    faults = Diagnostics()
    found = check_mapping(network, mapping, faults)
    assert found is not None, [str(fault) for fault in faults.found]
    over = sorted(name for name, limit in mapping.chip.limits.items() if found.loads[name].max() > limit.value)
    return {"cores": len(mapping.cores), "packets": found.packets, "hops": found.hops, "exceeds": over}


def measured_case(case: Case) -> dict[str, Any]:
    network = case.make()
    chip = replace(LOIHI1, chips=CHIPS)
    made: list[ChipMapping] = []
    cpu, wall = timed(lambda: made.append(map_network(network, chip)))
    rows = {"spikec": {**counted(network, made[0]), "cpu_s": cpu / 1e3, "wall_s": wall / 1e3}}
    part, times = by_metis(network, len(made[0].cores))
    rows["metis"] = {**counted(network, in_order(network, part)), **times}
    try:
        cpu, wall = timed(lambda: made.append(fill_network(network, replace(LOIHI1, chips=CHIPS * 8))))
        rows["greedy"] = {**counted(network, made[1]), "cpu_s": cpu / 1e3, "wall_s": wall / 1e3}
    except DoesNotFitError as error:
        rows["greedy"] = {"refused": str(error)}
    synapses = sum(len(each.connection.indices) if isinstance(each.connection, IntegerSparse) else
                   len(_synapses(each)[0]) for each in network.projections if each.source not in network.inputs)
    return {"kind": case.kind, "neurons": sum(each.n for each in network.populations.values()), "synapses": synapses,
            "rows": rows}


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--only", help="cases whose name has this in it")
    options = parser.parse_args()
    warm = sheet(200, 2.0)
    map_network(warm, LOIHI1)  # the kernel is compiled, once a machine, in a second or so
    found = {}
    for name, case in CASES.items():
        if (options.quick and name not in QUICK) or (options.only and options.only not in name):
            continue
        found[name] = measured_case(case)
        print(name, {who: {key: row.get(key) for key in ("cores", "packets", "hops", "cpu_s", "wall_s", "exceeds")}
                     for who, row in found[name]["rows"].items()}, flush=True)
    if options.only is None:
        write_result("mapping-quick" if options.quick else "mapping",
                     {"chip": LOIHI1.name, "chips": CHIPS, "fan_out": FAN_OUT, "threads": 1,
                      "load": list(os.getloadavg())}, found)


if __name__ == "__main__":
    main()
