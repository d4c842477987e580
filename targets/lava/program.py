"""The handle of an integer network as a program for Lava: saved, loaded, run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any, ClassVar, Self

import numpy as np

from ...ir.diagnostics import BadInputError, Diagnostic
from ...ir.integer.checks import verify_integer
from ...ir.integer.inputs import Rasters, check_rasters
from ...ir.integer.network import IntegerNetwork
from ...ir.integer.step import IntegerResult
from ...ir.nodes import Array
from ...runtime.lava.worker import LavaWorker
from .emit import FORMAT, UNTESTED, program_files
from .folder import LavaFolder
from .parts import keys_of
from .reading import network_of

__all__ = ["LavaProgram"]

_VARIABLES = ("spikes", "u", "v")


class LavaProgram(LavaFolder):
    """`network`: what it runs; `files`: the program by file name.

    Raises:
        BadInputError: the network is malformed (SC101 to SC142).
        UnsupportedError: Lava has no process for a part of it (SC559).
    """

    FORMAT: ClassVar[str] = FORMAT

    def __init__(self, network: IntegerNetwork) -> None:
        self.network = verify_integer(network)
        super().__init__(program_files(network), {"untested": UNTESTED})

    @classmethod
    def _read(cls, told: Any, arrays: Mapping[str, Array]) -> Self:
        return cls(network_of(told, arrays))

    @cached_property
    def keys(self) -> Mapping[str, str]:
        """The names of inputs and populations in the program."""
        return keys_of(self.network)

    def run(self, inputs: Rasters, steps: int | None = None, *, record: Sequence[str] = (),
            worker: LavaWorker | None = None, time_limit: float = float("inf"), patience: float = 300.0,
            progress: Callable[[float], None] | None = None) -> IntegerResult:
        """Runs the network in Lava, every sample from before its first column.

        Args:
            inputs, steps: as `simulate_integer`.
            record: of "u" and "v", and "spikes" of the populations that no output shows.
            worker: what runs it; without one, Lava is started for this run alone.
            time_limit, patience, progress: as `LavaWorker.run`.

        Raises:
            BadInputError: a raster is malformed (SC403), or `record` has an unknown name (SC407).
            LavaError: as `LavaWorker.run`.
        """
        rasters, batch, steps = check_rasters(self.network, inputs, steps)
        if unknown := sorted(set(record) - set(_VARIABLES)):
            raise BadInputError(Diagnostic("SC407", "this cannot be recorded", value=", ".join(unknown),
                                           limit=", ".join(_VARIABLES)))
        found: dict[str, Array] = {}
        if batch and steps:
            graded = {each.source for each in self.network.projections if each.message_bits}
            held = {self.keys[name]: (raster if name in graded else raster != 0)[:, :steps].astype(np.int32)
                    for name, raster in rasters.items()}
            found = self._found(worker, held, steps, record, (), time_limit, patience, progress)
        shown = dict.fromkeys(self.network.outputs.values())
        asked = {variable: self.network.populations if variable in record else shown if variable == "spikes" else ()
                 for variable in _VARIABLES}
        taken = {variable: {name: found[f"{self.keys[name]}.{variable}"] if found
                            else np.zeros((batch, steps, self.network.size(name)), np.int32) for name in names}
                 for variable, names in asked.items()}
        return IntegerResult(spikes={name: array.astype(np.uint8) for name, array in taken["spikes"].items()},
                             u=taken["u"], v=taken["v"])
