"""A process of Lava that notes variables and spikes of many others: Lava's own probes are a process for each.

It has a folder of its own, since Lava executes every file beside a process when it looks for models.
"""

from __future__ import annotations

import numpy as np
from lava.magma.core.decorator import implements, requires
from lava.magma.core.model.py.model import PyLoihiProcessModel
from lava.magma.core.model.py.ports import PyInPort, PyRefPort
from lava.magma.core.model.py.type import LavaPyType
from lava.magma.core.process.ports.ports import InPort, RefPort
from lava.magma.core.process.process import AbstractProcess
from lava.magma.core.process.variable import Var
from lava.magma.core.resources import CPU
from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol


def recorder(variables, ports, steps):
    """A recorder that is connected, and its model. Its `data` is (steps, all variables, then all spikes, in a row)."""
    seen, heard = ([f"{kind}{number}" for number in range(len(each))]
                   for kind, each in (("seen", variables), ("heard", ports)))
    shapes = [each.shape for each in (*variables, *ports)]

    class Recorder(AbstractProcess):
        def __init__(self):
            super().__init__()
            for name, shape in zip((*seen, *heard), shapes, strict=True):
                setattr(self, name, (RefPort if name in seen else InPort)(shape))
            self.data = Var((steps, sum(map(np.prod, shapes))))

    class Model(PyLoihiProcessModel):
        data: np.ndarray = LavaPyType(np.ndarray, np.int32)

        def run_spk(self):
            self.spikes = [getattr(self, name).recv() for name in heard]

        def post_guard(self):
            return True

        def run_post_mgmt(self):
            found = [*(getattr(self, name).read() for name in seen), *self.spikes]
            self.data[self.time_step - 1] = np.concatenate([each.ravel() for each in found])

    for name in seen:
        setattr(Model, name, LavaPyType(PyRefPort.VEC_DENSE, int))
    for name in heard:
        setattr(Model, name, LavaPyType(PyInPort.VEC_DENSE, np.int32))
    made = Recorder()
    for name, variable in zip(seen, variables, strict=True):
        getattr(made, name).connect_var(variable)
    for name, port in zip(heard, ports, strict=True):
        port.connect(getattr(made, name))
    return made, implements(proc=Recorder, protocol=LoihiProtocol)(requires(CPU)(Model))
