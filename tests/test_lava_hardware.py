"""What a program for Lava runs on a chip, as far as it goes without one: its processes, wired up through adapters."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import numpy as np
from lava_here import lava_python
from test_lava_programs import small, spikes

from spikec.ir.integer.step import simulate_integer
from spikec.targets.lava.program import LavaProgram

ADAPTERS = """
import numpy
from lava.magma.core.decorator import implements, requires
from lava.magma.core.model.py.model import PyLoihiProcessModel
from lava.magma.core.model.py.ports import PyInPort, PyOutPort
from lava.magma.core.model.py.type import LavaPyType
from lava.magma.core.process.ports.ports import InPort, OutPort
from lava.magma.core.process.process import AbstractProcess
from lava.magma.core.resources import CPU
from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol

class Adapter(AbstractProcess):
    def __init__(self, *, shape, num_message_bits=0):
        super().__init__()
        print(type(self).__name__, shape, num_message_bits, flush=True)
        self.inp, self.out = InPort(shape), OutPort(shape)

class PyToNxAdapter(Adapter):
    pass

class NxToPyAdapter(Adapter):
    pass

class Model(PyLoihiProcessModel):
    inp: PyInPort = LavaPyType(PyInPort.VEC_DENSE, numpy.int32)
    out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, numpy.int32)
    def run_spk(self):
        self.out.send(self.inp.recv())

@implements(proc=PyToNxAdapter, protocol=LoihiProtocol)
@requires(CPU)
class ToModel(Model):
    pass

@implements(proc=NxToPyAdapter, protocol=LoihiProtocol)
@requires(CPU)
class FromModel(Model):
    pass
"""


def no_chip(place: Path) -> Path:
    """A folder with what lava-loihi adds to Lava: adapters that hand on what they get, and no models for chips."""
    classes = "class AbstractCProcessModel: pass\nclass CLoihiProcessModel: pass\nclass AbstractNcProcessModel: pass"
    for name, text in (("proc/embedded_io/spike.py", ADAPTERS), ("magma/core/model/c/model.py", classes),
                       ("magma/core/model/nc/model.py", classes)):
        path = place / "lava" / name
        path.parent.mkdir(parents=True)
        path.write_text(text)
    return place


def test_what_a_chip_would_run_is_wired_up(tmp_path: Path) -> None:
    """Lava's configurations for chips fall back on its simulation where there are no models for chips."""
    network = small()
    LavaProgram(network).save(tmp_path / "saved")
    rasters = spikes(network)
    np.savez(tmp_path / "in.npz", p0=rasters["x"].reshape(2, 20, 32))

    def call(*arguments: str, paths: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run([lava_python(), tmp_path / "saved" / "program.py", "--input", "in.npz", "--output",
                               "out.npz", *arguments], cwd=tmp_path, capture_output=True, text=True, timeout=120,
                              check=False, env={**os.environ, "PYTHONPATH": paths})

    missing = call("--hardware", "loihi2")
    assert missing.returncode == 1 and "needs Intel's lava-loihi" in missing.stderr
    assert "spikes alone" in call("--hardware", "loihi2", "--record", "p1.v").stderr
    assert "UNTESTED" in call("--help").stdout
    for chip in ("loihi1", "loihi2"):
        done = call("--hardware", chip, "--record", "spikes", paths=str(no_chip(tmp_path / chip)))
        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines() == 2 * ["PyToNxAdapter (32,) 4", "NxToPyAdapter (3,) 0",
                                                "NxToPyAdapter (12,) 0"]
        wanted = simulate_integer(network, rasters).spikes
        with np.load(tmp_path / "out.npz") as found:
            assert np.array_equal(found["p1.spikes"], wanted["a"])
            assert np.array_equal(found["p2.spikes"], wanted["b"])
    manifest = json.loads((tmp_path / "saved" / "manifest.json").read_text())
    assert manifest["untested"] == ["program.py --hardware loihi1", "program.py --hardware loihi2"]
