"""Lava's side of loihi_speed.py: a script for the interpreter that has Lava (and no spikec).

    python peer_lava.py PROGRAM_FOLDER RASTER.npz

builds the network of a folder that spikec wrote, with a sink for the spikes of its outputs, and runs it: for each line
of stdin, a number of steps, it prints a JSON line with the seconds, wall and CPU, of all of Lava's processes together.
Compiling and starting are not part of that.
"""

from __future__ import annotations

import json
import os
import runpy
import sys
import time
from pathlib import Path

import numpy as np

TICKS = os.sysconf("SC_CLK_TCK")


def cpu_seconds(processes):
    total = time.process_time()
    for process in processes:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        total += (int(fields[11]) + int(fields[12])) / TICKS
    return total


def main():
    folder, raster = Path(sys.argv[1]), np.load(sys.argv[2])
    program = runpy.run_path(str(folder / "program.py"))
    program["import_lava"]()
    from lava.magma.core.run_conditions import RunSteps
    from lava.magma.core.run_configs import Loihi2SimCfg
    from lava.proc.io.sink import RingBuffer as Sink
    from lava.proc.io.source import RingBuffer as Source

    with np.load(folder / "parameters.npz") as file:
        parameters = dict(file)
    sources = {key: Source(data=np.ascontiguousarray(raster[key].T)) for key in raster.files}
    processes = program["build"](parameters, {key: source.s_out for key, source in sources.items()})
    (output,) = program["OUTPUTS"]
    sink = Sink(shape=(program["POPULATIONS"][output],), buffer=100)
    processes[output].s_out.connect(sink.a_in)
    settings = Loihi2SimCfg(select_tag="fixed_pt")
    sink.create_runtime(run_cfg=settings)
    actors = [each.pid for each in sink.runtime._messaging_infrastructure.actors]
    for line in sys.stdin:
        steps = int(line)
        cpu, wall = cpu_seconds(actors), time.perf_counter()
        sink.run(condition=RunSteps(num_steps=steps), run_cfg=settings)
        wall, cpu = time.perf_counter() - wall, cpu_seconds(actors) - cpu
        print(json.dumps({"steps": steps, "wall_s": wall, "cpu_s": cpu}), flush=True)
    sink.stop()


if __name__ == "__main__":
    main()
