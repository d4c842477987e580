"""A process of Lava that plays many rasters, each from a port of its own: Lava's own sources are a process for each."""

from __future__ import annotations

import numpy as np
from lava.magma.core.decorator import implements, requires
from lava.magma.core.model.py.model import PyLoihiProcessModel
from lava.magma.core.model.py.ports import PyOutPort
from lava.magma.core.model.py.type import LavaPyType
from lava.magma.core.process.ports.ports import OutPort
from lava.magma.core.process.process import AbstractProcess
from lava.magma.core.resources import CPU
from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol


def player(rasters):
    """A player of rasters (steps, n), its ports in their order, and its model."""
    names = [f"played{number}" for number in range(len(rasters))]

    class Player(AbstractProcess):
        def __init__(self):
            super().__init__()
            for name, raster in zip(names, rasters, strict=True):
                setattr(self, name, OutPort(raster.shape[1:]))

    class Model(PyLoihiProcessModel):
        def run_spk(self):
            for name, raster in zip(names, rasters, strict=True):
                getattr(self, name).send(raster[self.time_step - 1].astype(np.int32))

    for name in names:
        setattr(Model, name, LavaPyType(PyOutPort.VEC_DENSE, np.int32))
    made = Player()
    return made, [getattr(made, name) for name in names], implements(proc=Player, protocol=LoihiProtocol)(
        requires(CPU)(Model))
