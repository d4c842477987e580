"""The handle of an integer network as a program for Lava: saved, loaded, run."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any, Self

import numpy as np

from ...ir.diagnostics import BadInputError, Diagnostic, Diagnostics
from ...ir.integer import (
    IntegerConnection,
    IntegerConv,
    IntegerDense,
    IntegerNetwork,
    IntegerPopulation,
    IntegerProjection,
    IntegerSparse,
)
from ...ir.integer_checks import verify_integer
from ...ir.integer_inputs import Rasters, check_rasters
from ...ir.integer_step import IntegerResult
from ...ir.nodes import Array
from ...ir.npz import read_npz, write_atomically
from ...ir.paths import path_of
from ...runtime.lava.worker import LavaWorker
from ..artefact import check_artefact, write_artefact
from .emit import NETWORK, PARAMETERS, PROGRAM, UNTESTED, keys_of, program_files

__all__ = ["LavaProgram"]

TARGET = "lava"
_VARIABLES = ("spikes", "u", "v")
_WRITE_AGAIN = "Write it again from its network."


class LavaProgram:
    """`network`: what it runs; `files`: the program by file name.

    Raises:
        BadInputError: the network is malformed (SC101 to SC142).
        UnsupportedError: Lava has no process for a part of it (SC559).
    """

    def __init__(self, network: IntegerNetwork) -> None:
        self.network = verify_integer(network)
        self.files: Mapping[str, bytes] = program_files(network)

    @cached_property
    def keys(self) -> Mapping[str, str]:
        """The names of inputs and populations in the program."""
        return keys_of(self.network)

    def save(self, folder: str | Path) -> None:
        """Writes the folder: the program, its parameters, the network that it is made from, and a manifest of hashes.

        Raises:
            BadInputError: no path (SC525), or the place is taken by something else or cannot be written (SC522); what
                was there stays.
        """
        write_artefact(folder, TARGET, self._fill, untested=UNTESTED)

    def _fill(self, place: Path) -> None:
        for name, content in self.files.items():
            write_atomically(place / name, content)

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """The program of a folder. Nothing in it is executed: its network is read, the program is made of it again, and
        every file is to be that, byte by byte.

        Raises:
            BadInputError: no program for Lava, or a damaged one, or one that was changed (SC520, SC521, SC523), or of
                another version of spikec.
        """
        place = path_of(folder, "a program for Lava")
        if check_artefact(place) != TARGET:
            raise BadInputError(Diagnostic("SC521", f"'{place}' is no program for Lava"))
        try:
            told = json.loads((place / NETWORK).read_bytes())
            if told["spikec"] != version("spikec"):
                raise BadInputError(Diagnostic("SC521", f"'{place}' was written by another version of spikec",
                                               value=str(told["spikec"])[:40], limit=version("spikec"),
                                               remedy=_WRITE_AGAIN))
            program = cls(_network(told, read_npz(place / PARAMETERS)))
        except (OSError, KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
            if isinstance(error, BadInputError):
                raise
            raise BadInputError(Diagnostic("SC520", f"'{place / NETWORK}' describes no network: {error!r}",
                                           remedy=_WRITE_AGAIN)) from error
        faults = Diagnostics()
        for name, content in program.files.items():
            if not (place / name).is_file() or (place / name).read_bytes() != content:
                faults.add("SC520", f"'{place / name}' is not what is made of the network beside it",
                           remedy=_WRITE_AGAIN)
        faults.raise_if_errors()
        return program

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
            found = self._found(held, steps, record, worker or LavaWorker(), worker is None, time_limit, patience,
                                progress)
        shown = dict.fromkeys(self.network.outputs.values())
        asked = {variable: self.network.populations if variable in record else shown if variable == "spikes" else ()
                 for variable in _VARIABLES}
        taken = {variable: {name: found[f"{self.keys[name]}.{variable}"] if found
                            else np.zeros((batch, steps, self.network.size(name)), np.int32) for name in names}
                 for variable, names in asked.items()}
        return IntegerResult(spikes={name: array.astype(np.uint8) for name, array in taken["spikes"].items()},
                             u=taken["u"], v=taken["v"])

    def _found(self, rasters: Mapping[str, Array], steps: int, record: Sequence[str], worker: LavaWorker, alone: bool,
               time_limit: float, patience: float, progress: Callable[[float], None] | None) -> dict[str, Array]:
        import tempfile

        try:
            with tempfile.TemporaryDirectory(prefix="spikec-lava-") as scratch:
                self._fill(Path(scratch))
                return worker.run(Path(scratch, PROGRAM), rasters, steps=steps, record=record, time_limit=time_limit,
                                  patience=patience, progress=progress)
        finally:
            if alone:
                worker.close()


def _network(told: Any, arrays: Mapping[str, Array]) -> IntegerNetwork:
    """The network that `network.json` and the parameters describe; whether it is legal is not looked at."""
    names = {key: each["name"] for kind in ("inputs", "populations") for key, each in told[kind].items()}
    populations = {each["name"]: IntegerPopulation(
        name=each["name"], shape=tuple(each["shape"]), du=each["du"], dv=each["dv"], threshold=each["threshold"],
        bias=arrays.get(f"{key}_bias"), bias_exponent=each["bias_exponent"], u0=arrays.get(f"{key}_u0"),
        v0=arrays.get(f"{key}_v0"),
    ) for key, each in told["populations"].items()}
    projections = tuple(IntegerProjection(
        name=each["name"], source=names[each["source"]], target=names[each["target"]],
        connection=_connection(key, each, arrays), exponent=each["exponent"], weight_bits=each["weight_bits"],
        sign=each["sign"], delay=arrays.get(f"{key}_delay"), message_bits=each["message_bits"],
    ) for key, each in told["projections"].items())
    return IntegerNetwork(
        inputs={each["name"]: tuple(each["shape"]) for each in told["inputs"].values()}, populations=populations,
        projections=projections, outputs={name: names[key] for name, key in told["outputs"].items()}, dt=told["dt"])


def _connection(key: str, told: Mapping[str, Any], arrays: Mapping[str, Array]) -> IntegerConnection:
    weight = arrays[f"{key}_weight"]
    if told["kind"] == "dense":
        return IntegerDense(weight=weight)
    if told["kind"] == "sparse":
        return IntegerSparse(indptr=arrays[f"{key}_indptr"], indices=arrays[f"{key}_indices"], weight=weight)
    pairs = {name: tuple(told[name]) for name in ("input_shape", "output_shape", "stride", "padding", "dilation")}
    return IntegerConv(weight=weight, groups=told["groups"], **pairs)
