"""Other simulators of Loihi on the same networks: nengo-loihi's emulator and brian2-loihi; u, v and spikes.

    python benchmarks/loihi_peers.py [--quick | --full]

Each is installed in an environment of its own, as in peers.py. Networks are random: an input, two populations of leaky
integrate-and-fire neurons, recurrent or not, dense or sparse, all sign modes, exponents -2 to 3, decays from none to
all. They hold what a peer knows too: nengo-loihi has biases and no delays, brian2-loihi has delays and no biases.
Registers do not overflow in them: there the simulators differ from each other. Weights are such as all hold exactly:
brian2-loihi rounds each weight that is shifted right, Lava their sum.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from common import HERE, arguments, write_result
from peers import Peer

from spikec.ir.integer.network import (
    IntegerDense,
    IntegerNetwork,
    IntegerPopulation,
    IntegerProjection,
    IntegerSparse,
    held_weight,
)
from spikec.ir.integer.step import IntegerResult, simulate_integer
from spikec.runtime.integer.engine import IntegerEngine

PEERS = (
    Peer("nengo_loihi", "peer_nengo_loihi.py", (("nengo-loihi==1.1.0", "nengo==4.1.0", "numpy==1.26.4"),)),
    Peer("brian2_loihi", "peer_brian2_loihi.py", (("brian2-loihi==0.5.2", "Brian2==2.9.0", "numpy==2.2.6"),)),
)
Case = tuple[IntegerNetwork, np.ndarray]
INPUTS, STEPS = 30, 300
HIGHEST = 1 << 20
"""Of what arrives, times 64: nengo-loihi stops where 21 bits do not hold it."""


def random_network(seed: int, peer: str) -> Case:
    """A network that the peer knows, and a raster, in which some neurons fire and no register overflows."""
    for attempt in range(100):
        rng = np.random.default_rng([seed, attempt])
        sizes = {"x": INPUTS, "a": int(rng.integers(5, 40)), "b": int(rng.integers(1, 20))}
        biased = peer == "nengo_loihi"
        populations = {name: IntegerPopulation(
            name=name, shape=(sizes[name],), du=int(rng.choice([0, 4095, rng.integers(4096)])),
            dv=int(rng.choice([0, 4095, rng.integers(4096)])), threshold=int(rng.integers(1, 2000)),
            bias=rng.integers(-300, 300, sizes[name]) if biased and rng.random() < 0.5 else None,
            bias_exponent=int(rng.integers(0, 4))) for name in "ab"}
        projections = tuple(_projection(rng, source, target, sizes, peer) for source, target in ("xa", "ab", "aa", "ba")
                            if source + target in ("xa", "ab") or rng.random() < 0.4)
        network = IntegerNetwork(inputs={"x": (INPUTS,)}, populations=populations, projections=projections,
                                 outputs={"out": "b"}, dt=1e-3)
        raster = (rng.random((1, STEPS, INPUTS)) < rng.choice([0.02, 0.1, 0.3])).astype(np.uint8)
        if _is_fair(network, simulate_integer(network, {"x": raster})):
            return network, raster
    raise SystemExit(f"no fair network from seed {seed}")


def _projection(rng: np.random.Generator, source: str, target: str, sizes: dict[str, int],
                peer: str) -> IntegerProjection:
    exponent = int(rng.choice([0, 0, -2, 1, 3]))
    sign = str(rng.choice(["mixed", "mixed", "excitatory", "inhibitory"]))
    step = max(2 if sign == "mixed" else 1, 1 << max(-exponent, 0))
    low, high = {"mixed": (-200, 200), "excitatory": (0, 200), "inhibitory": (-200, 0)}[sign]
    weight = rng.integers(low, high + 1, (sizes[target], sizes[source])) // step * step
    connection: IntegerDense | IntegerSparse = IntegerDense(weight=weight)
    if rng.random() < 0.4:
        rows, columns = np.nonzero(rng.random(weight.shape) < 0.3)
        indptr = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=len(weight)))])
        connection = IntegerSparse(indptr=indptr, indices=columns, weight=weight[rows, columns])
    late = int(rng.choice([0, 0, 1, 5])) if peer == "brian2_loihi" else 0
    return IntegerProjection(
        name=source + target, source=source, target=target, connection=connection, exponent=exponent, sign=sign,
        delay=np.full(connection.weight.shape, late) if late else None)


def _is_fair(network: IntegerNetwork, result: IntegerResult) -> bool:
    fired = sum(int(each.sum()) for each in result.spikes.values())
    arrives = max(sum(int(np.abs(full_weight(each)).sum(1).max()) * 2.0**each.exponent for each in incoming)
                  for incoming in network.incoming.values()) * 64
    most = max(int(np.abs(each.astype(np.int64)).max()) for state in (result.u, result.v) for each in state.values())
    return fired > 50 and arrives < HIGHEST and most < (1 << 23) - (1 << 20)


def full_weight(projection: IntegerProjection) -> np.ndarray:
    """(post, pre), as it is held."""
    held, connection = held_weight(projection), projection.connection
    if not isinstance(connection, IntegerSparse):
        return held
    rows = np.repeat(np.arange(len(connection.indptr) - 1), np.diff(connection.indptr))
    columns = int(connection.indices.max(initial=-1)) + 1
    full = np.zeros((len(connection.indptr) - 1, columns), dtype=held.dtype)
    full[rows, connection.indices] = held
    return full


def run_peer(peer: Peer, cases: list[Case]) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The versions there, and u, v and spikes (steps, n) by "case/population/variable"."""
    arrays: dict[str, np.ndarray] = {}
    told = []
    for number, (network, raster) in enumerate(cases):
        arrays[f"{number}/raster"] = raster[0]
        for name, population in network.populations.items():
            if population.bias is not None:
                arrays[f"{number}/{name}/bias"] = population.bias << population.bias_exponent
        for projection in network.projections:
            held = np.zeros((network.size(projection.target), network.size(projection.source)), dtype=np.int64)
            full = full_weight(projection)
            held[:, :full.shape[1]] = full
            arrays[f"{number}/{projection.name}"] = held
        told.append({
            "populations": {name: {"n": each.n, "du": each.du, "dv": each.dv, "threshold": each.threshold}
                            for name, each in network.populations.items()},
            "projections": [{"name": each.name, "source": each.source, "target": each.target, "sign": each.sign,
                             "exponent": each.exponent, "delay": 0 if each.delay is None else int(each.delay.max())}
                            for each in network.projections]})
    with tempfile.TemporaryDirectory() as folder:
        given, made = Path(folder, "cases.npz"), Path(folder, "results.npz")
        np.savez(given, cases=np.array(json.dumps(told)), **arrays)
        subprocess.run([peer.install(), HERE / peer.script, given, made], check=True)
        with np.load(made) as found:
            results = dict(found)
    return json.loads(str(results.pop("versions"))), results


def compared(cases: list[Case], theirs: dict[str, np.ndarray]) -> dict[str, Any]:
    """How many numbers differ from those of the emulator, which are those of the oracle too."""
    counts = {"compared": 0, "spikes": 0, "differing": dict.fromkeys(("u", "v", "spikes"), 0), "networks_differing": 0}
    for number, (network, raster) in enumerate(cases):
        wanted = simulate_integer(network, {"x": raster})
        result = IntegerEngine(network).run({"x": raster}, states=network.populations)
        differing = 0
        for variable in ("u", "v", "spikes"):
            for name, mine in getattr(result, variable).items():
                if not np.array_equal(mine, getattr(wanted, variable)[name]):
                    raise SystemExit(f"network {number}: the emulator is not what the oracle says")
                wrong = int((mine[0] != theirs[f"{number}/{name}/{variable}"]).sum())
                counts["differing"][variable] += wrong
                differing += wrong
                counts["compared"] += mine[0].size if variable == "u" else 0
                counts["spikes"] += int(mine.sum()) if variable == "spikes" else 0
        counts["networks_differing"] += bool(differing)
    return counts


def main() -> None:
    options = arguments(__doc__).parse_args()
    networks = 4 if options.quick else 60
    figures = {}
    for peer in PEERS:
        cases = [random_network(seed, peer.name) for seed in range(networks)]
        versions, found = run_peer(peer, cases)
        figures[peer.name] = {"versions": versions, "networks": networks, "steps": STEPS, **compared(cases, found)}
        print(peer.name, json.dumps(figures[peer.name]), flush=True)
    name = "loihi_peers-quick" if options.quick else "loihi_peers"
    write_result(name, {"networks": networks, "steps": STEPS}, figures)


if __name__ == "__main__":
    main()
