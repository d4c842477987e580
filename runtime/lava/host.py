"""What runs in Lava's interpreter, as a file of its own that needs nothing of spikec: it imports Lava once, then runs
one program after another, each in a fork, so that what one leaves behind never reaches the next.

It reads requests from stdin and answers on stdout, one JSON object a line. Where stdin closes, the process that asked
is gone: the host ends its whole process group, which Lava's processes are part of, and itself.
"""

import json
import os
import select
import signal
import sys
import time
import traceback
from typing import Any

POLL = 0.01
"""Seconds between two looks at a program that runs."""
GRACE = 2.0
"""Seconds that the process group has to end by itself before it is killed."""


def import_lava() -> None:
    """Lava 0.10 leaves an unhashable default in a dataclass, which Python 3.11 and later refuse; hashable, it does."""
    import dataclasses
    import importlib

    original = dataclasses.dataclass

    def patched(cls=None, /, **options):  # type: ignore[no-untyped-def]
        if cls is not None and cls.__name__ == "ByteEncoder":
            options["unsafe_hash"] = True
        return original(cls, **options)

    dataclasses.dataclass = patched
    try:
        importlib.import_module("lava.magma.compiler.var_model")
    finally:
        dataclasses.dataclass = original


def versions() -> dict[str, str]:
    """Of what decides over results."""
    from importlib.metadata import version

    import numpy
    import scipy

    return {"python": sys.version.split()[0], "lava": version("lava-nc"), "numpy": numpy.__version__,
            "scipy": scipy.__version__}


def probe() -> None:
    """Two steps of one neuron, which fires in the second."""
    import numpy
    from lava.magma.core.run_conditions import RunSteps
    from lava.magma.core.run_configs import Loihi2SimCfg
    from lava.proc.dense.process import Dense
    from lava.proc.io.sink import RingBuffer as Sink
    from lava.proc.io.source import RingBuffer as Source
    from lava.proc.lif.process import LIF
    from lava.utils.weightutils import SignMode

    source, sink = Source(data=numpy.ones((1, 2), dtype=numpy.int32)), Sink(shape=(1,), buffer=2)
    dense = Dense(weights=numpy.array([[100]]), sign_mode=SignMode.MIXED)
    neuron = LIF(shape=(1,), du=4095, dv=4095, vth=50)
    for start, end in ((source.s_out, dense.s_in), (dense.a_out, neuron.a_in), (neuron.s_out, sink.a_in)):
        start.connect(end)
    try:
        neuron.run(condition=RunSteps(num_steps=2), run_cfg=Loihi2SimCfg(select_tag="fixed_pt"))
        spikes = sink.data.get().ravel().tolist()
    finally:
        neuron.stop()
    if spikes != [0, 1]:
        raise ValueError(f"the spikes of the probe are {spikes} instead of [0, 1]")


def say(**message: Any) -> None:
    print(json.dumps(message), flush=True)


class Requests:
    """Lines of stdin, read without buffering so that its end is seen while a program runs."""

    def __init__(self) -> None:
        self.pending = b""

    def take(self) -> dict[str, Any] | None:
        """The next request; None at the end."""
        while b"\n" not in self.pending:
            if not self.read():
                return None
        line, _, self.pending = self.pending.partition(b"\n")
        request: dict[str, Any] = json.loads(line)
        return request

    def read(self) -> bool:
        """Reads what is there, waiting for it; False at the end."""
        text = os.read(0, 1 << 16)
        self.pending += text
        return bool(text)

    def closed(self) -> bool:
        """Whether the other side is gone; waits POLL seconds at most."""
        ready, _, _ = select.select([0], [], [], POLL)
        return bool(ready) and not self.read()


def import_the_rest() -> None:
    """What programs import, once for all of them; where it fails, the program that needs it says so."""
    from contextlib import suppress
    from importlib import import_module

    models = ("dense.models", "sparse.models", "lif.models", "io.reset", "io.sink", "io.source")
    with suppress(Exception):
        for name in ("lava.magma.compiler.compiler", "lava.magma.runtime.runtime",
                     *(f"lava.proc.{each}" for each in models), "scipy.sparse"):
            import_module(name)


def serve() -> None:
    import_lava()
    say(ready=versions())
    import_the_rest()
    requests = Requests()
    while (request := requests.take()) is not None:
        child = os.fork()
        if child == 0:
            os._exit(run(request.get("program"), request.get("arguments", [])))
        status = None
        while status is None:
            if requests.closed():
                end_all()
            done, code = os.waitpid(child, os.WNOHANG)
            status = code if done else None
        say(exit=os.waitstatus_to_exitcode(status))


def run(program: str | None, arguments: list[str]) -> int:
    """Runs a program as `python program arguments` does, or the probe where there is none; returns its exit code."""
    import runpy

    try:
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        if program is None:
            probe()
        else:
            sys.argv = [program, *arguments]
            runpy.run_path(program, run_name="__main__")
        code = 0
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
        if code and not isinstance(stop.code, int):
            print(stop.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    return code


def end_all() -> None:
    """Ends the process group. Terminated first: the process that tracks shared memory survives it, and removes what
    the others leave behind."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.killpg(0, signal.SIGTERM)
    time.sleep(GRACE)
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    serve()
