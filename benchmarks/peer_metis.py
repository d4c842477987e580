"""METIS at work on one graph: reads the .npz that mapping.py writes, and adds the part of each vertex and the times.

    python benchmarks/peer_metis.py GRAPH.npz
"""

from __future__ import annotations

import sys
import time

import numpy as np
import pymetis


def main() -> None:
    path = sys.argv[1]
    with np.load(path) as told:
        given = {name: told[name] for name in told.files}
    parts = int(given["parts"])
    adjacency = pymetis.CSRAdjacency(given["begins"], given["neighbours"])
    while True:
        cpu, wall = time.process_time(), time.perf_counter()
        _, part = pymetis.part_graph(parts, adjacency=adjacency, eweights=given["weights"])
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        if np.bincount(part).max() <= int(given["most"]):
            break
        parts += 1
    np.savez(path, part=np.array(part), cpu_s=cpu, wall_s=wall)


if __name__ == "__main__":
    main()
