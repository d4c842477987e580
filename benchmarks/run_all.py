"""Every measurement, then the tables.

    python benchmarks/run_all.py --quick     that all of it works: minutes; results are NAME-quick.json, no tables
    python benchmarks/run_all.py --full      the figures: on a quiet machine, days, without the grid

Parts, each callable alone: steps.py, convolution.py, scaling.py, importing.py, gradients.py, all of
`spikec reproduce --list`, time_to_accuracy.py (its grid is not run here, see there), conversion.py, mapping.py,
loihi_mnist.py, loihi_in_the_loop.py, loihi_peers.py, learning_float.py, learning_loihi.py, continual.py, loihi_speed.py
and learning_lava.py (where Lava is there), xylo_speed.py (where xylosim is), plasticity_processor.py,
flow_speed.py, equations_speed.py, pseudospike_sweep.py, linear_digits.py, analog_in_the_loop.py, analog_published.py,
dynapse2_in_the_loop.py, tables.py. Not run here: clock_speed.py, which needs all frameworks beside spikec, as `make
conformance` installs them, and gpu.py.
MNIST and Yin-Yang are read from the folder that SPIKEC_DATA names.
"""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec

from common import HERE, arguments, data_folder, read_result

from spikec.compiler.reproduce.config import names

PARTS = ("steps.py", "convolution.py", "scaling.py", "importing.py", "gradients.py", "loihi_peers.py", "mapping.py",
         "continual.py", "plasticity_processor.py", "flow_speed.py", "equations_speed.py", "pseudospike_sweep.py")
LOCAL = ("learning_float.py", "learning_loihi.py")
ANALOG = ("analog_in_the_loop.py", "analog_published.py", "dynapse2_in_the_loop.py")


def main() -> int:
    options = arguments(__doc__).parse_args()
    size = "--quick" if options.quick else "--full"
    failed = []
    for script in PARTS:
        failed += _run(script, size)
    lava = not subprocess.run([sys.executable, "-m", "spikec", "lava", "check"], check=False).returncode
    if lava:
        failed += _run("loihi_speed.py", size)
    if find_spec("xylosim") is not None:
        failed += _run("xylo_speed.py", size)
    for script in LOCAL:
        failed += _run(script, size, "--task", "digits")
    if data_folder() is not None:
        for name in names():
            failed += _command("reproduce", name, *(["--quick"] if options.quick else []))
        failed += _run("linear_digits.py", size)
        failed += _run("conversion.py", size)
        failed += _run("loihi_mnist.py", size)
        failed += _run("loihi_in_the_loop.py", size)
        for script in (*LOCAL, *ANALOG):
            failed += _run(script, size)
        if lava:
            failed += _run("learning_lava.py", size)
        if read_result("time_to_accuracy_grid") is not None:
            failed += _run("time_to_accuracy.py", size)
    if not options.quick:
        failed += _run("tables.py")
    for script in failed:
        print(f"failed: {script}")
    return 1 if failed else 0


def _command(*words: str) -> list[str]:
    print(f"== spikec {' '.join(words)}", flush=True)
    done = subprocess.run([sys.executable, "-m", "spikec", *words], check=False)
    return [f"spikec {' '.join(words)}"] if done.returncode else []


def _run(script: str, *options: str) -> list[str]:
    print(f"== {script}", flush=True)
    return [script] if subprocess.run([sys.executable, HERE / script, *options], check=False).returncode else []


if __name__ == "__main__":
    sys.exit(main())
