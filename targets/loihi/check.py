"""Whether what runs is what was compiled: the emulator, and Lava where it is there, against the meaning of the integer
network, u, v and spikes, bit for bit, on a stimulus that is made so that every population fires: random input, and
membranes that start anywhere up to twice their thresholds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ...ir.diagnostics import SpikecError, first_line
from ...ir.integer.network import LARGEST_MEMBRANE, IntegerConv, IntegerNetwork, IntegerProjection
from ...ir.integer.step import IntegerResult, simulate_integer
from ...ir.nodes import Array
from ..lava.program import LavaProgram

if TYPE_CHECKING:
    from .program import LoihiProgram

__all__ = ["ExactCheck", "check_program"]

RATES = (0.02, 0.1, 0.3, 1.0)
"""Spikes of an input channel and column, one sample each."""
_MOST_COLUMNS, _EXTRA = 60, 12
_WORK = 2_000_000_000
"""Synapses times samples and columns that the check goes through."""
_LAVA_WORK = 30_000_000


@dataclass(frozen=True, slots=True)
class ExactCheck:
    """`columns`, `samples`: of the stimulus. `fired`: share of each population's neurons that spiked. `emulator`,
    `lava`: the first difference, "" where there is none; `lava` None where it was not run, and `left_out` says why."""

    columns: int
    samples: int
    fired: Mapping[str, float]
    emulator: str
    lava: str | None
    left_out: str = ""

    @property
    def ok(self) -> bool:
        """Whether nothing differs."""
        return not (self.emulator or self.lava)

    def as_dict(self) -> dict[str, Any]:
        """Plain values, as `--json` prints them."""
        return {"ok": self.ok, **asdict(self)}

    def __str__(self) -> str:
        silent = [f"'{name}'" for name, share in self.fired.items() if not share]
        shares = ", ".join(f"{name} {share:.0%}" for name, share in self.fired.items())
        lines = [f"exact: {self.samples} samples of {self.columns} columns; neurons that fired: {shares}"]
        lines += [f"exact: no neuron of {', '.join(silent)} fired"] if silent else []
        lines.append("exact: the emulator " + (f"differs: {self.emulator}" if self.emulator else
                                               "equals the integer network, u, v and spikes, bit for bit"))
        lines.append(f"exact: Lava was left out: {self.left_out}" if self.lava is None else
                     f"exact: Lava differs: {self.lava}" if self.lava else "exact: Lava does too")
        return "\n".join(lines)


def check_program(program: LoihiProgram, lava: bool | None = None, seed: int = 0) -> ExactCheck:
    """Runs a program's integer network three ways. `lava`: None runs Lava where it is there and quick enough, False
    never, True always.

    Raises:
        LavaError: Lava was asked for and cannot run (SC553 to SC558).
    """
    from ...runtime.integer.engine import IntegerEngine

    network = _stirred(program.quantised.network, seed)
    synapses = max(1, sum(_work(each) for each in network.projections))
    columns = max(program.latency + _EXTRA, min(_MOST_COLUMNS, _WORK // (synapses * len(RATES))))
    rasters = _stimulus(network, columns, seed)
    expected = simulate_integer(network, rasters, columns)
    names = tuple(network.populations)
    mine = IntegerEngine(network).run(rasters, columns, spikes=names, states=names)
    found, left_out = None, ""
    if lava is False:
        left_out = "not asked for"
    elif lava is None and synapses * columns > _LAVA_WORK:
        left_out = f"{synapses:,} synapses take it long"
    else:
        chosen = {name: raster[1:3] for name, raster in rasters.items()}
        try:
            theirs = LavaProgram(network).run(chosen, columns, record=("spikes", "u", "v"))
            found = _difference(expected, theirs, slice(1, 3))
        except SpikecError as error:
            if lava:
                raise
            left_out = first_line(error)
    fired = {name: float(expected.spikes[name].any((0, 1)).mean()) for name in _spiking(program)}
    return ExactCheck(columns, len(RATES), fired, _difference(expected, mine, slice(None)), found, left_out)


def _stirred(network: IntegerNetwork, seed: int) -> IntegerNetwork:
    """The same, its membranes started at random."""
    rng = np.random.default_rng([seed, 1])
    return replace(network, populations={
        name: replace(each, v0=rng.integers(0, min(2 * (each.threshold << 6), LARGEST_MEMBRANE) + 1, each.n))
        for name, each in network.populations.items()})


def _spiking(program: LoihiProgram) -> list[str]:
    return [name for name, each in program.split.network.populations.items() if each.spiking]


def _work(projection: IntegerProjection) -> int:
    """Products of a weight and a spike that one column takes: each delay has its own."""
    connection, size = projection.connection, int(projection.connection.weight.size)
    if isinstance(connection, IntegerConv):
        return size * int(np.prod(connection.output_shape[1:]))
    return size * (1 if projection.delay is None else len(np.unique(projection.delay)))


def _stimulus(network: IntegerNetwork, columns: int, seed: int) -> dict[str, Array]:
    """(samples, columns, n): spikes at `RATES`; where an input's spikes carry values, these are random too."""
    rng, rasters = np.random.default_rng(seed), {}
    for name in network.inputs:
        bits = max((each.message_bits for each in network.projections if each.source == name), default=0)
        spikes = rng.random((len(RATES), columns, network.size(name))) < np.reshape(RATES, (-1, 1, 1))
        values = rng.integers(1, 1 << min(bits, 5), spikes.shape) if bits else 1
        rasters[name] = (spikes * values).astype(np.int32 if bits else np.uint8)
    return rasters


def _difference(expected: IntegerResult, found: IntegerResult, samples: slice) -> str:
    """The first column in which the two differ, and where; "" for none."""
    first: tuple[int, str] | None = None
    for what in ("spikes", "u", "v"):
        theirs = getattr(found, what)
        for name, values in getattr(expected, what).items():
            wrong = values[samples] != theirs[name]
            if not wrong.any():
                continue
            column = int(np.argmax(wrong.any((0, 2))))
            sample, neuron = (int(each[0]) for each in np.nonzero(wrong[:, column]))
            if first is None or column < first[0]:
                first = column, (f"{what} of '{name}', neuron {neuron}, sample {sample}, column {column}: "
                                 f"{int(theirs[name][sample, column, neuron])}, not "
                                 f"{int(values[samples][sample, column, neuron])}")
    return "" if first is None else first[1]
