"""Whether what runs is what was compiled: the emulator, and xylosim where it is there, against the meaning of the
network, currents, membranes and spikes, bit for bit, on random events: from few to as many as a channel takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ...ir.diagnostics import SpikecError, first_line
from ...ir.integer.xylo import MOST_EVENTS
from ...ir.integer.xylo_step import BLOCKS, XyloResult, simulate_xylo
from ...runtime.xylo.engine import XyloEngine

if TYPE_CHECKING:
    from .program import XyloProgram

__all__ = ["XyloCheck", "check_xylo_program"]

RATES = (0.05, 0.3, 1.0, 6.0)
"""Events of a channel and column, one sample each."""
_COLUMNS = 80


@dataclass(frozen=True, slots=True)
class XyloCheck:
    """`columns`, `samples`: of the stimulus. `fired`: share of each population's neurons that spiked. `emulator`,
    `xylosim`: the first difference, "" where there is none; `xylosim` None where it is not there, and `left_out` says
    why."""

    columns: int
    samples: int
    fired: Mapping[str, float]
    emulator: str
    xylosim: str | None
    left_out: str = ""

    @property
    def ok(self) -> bool:
        """Whether nothing differs."""
        return not (self.emulator or self.xylosim)

    def as_dict(self) -> dict[str, Any]:
        """Plain values, as `--json` prints them."""
        return {"ok": self.ok, **asdict(self)}

    def __str__(self) -> str:
        shares = ", ".join(f"{name} {share:.0%}" for name, share in self.fired.items())
        lines = [f"exact: {self.samples} samples of {self.columns} columns; neurons that fired: {shares}"]
        lines.append("exact: the emulator " + (f"differs: {self.emulator}" if self.emulator else
                                               "equals the network's meaning, I, V and spikes, bit for bit"))
        lines.append(f"exact: xylosim was left out: {self.left_out}" if self.xylosim is None else
                     f"exact: xylosim differs: {self.xylosim}" if self.xylosim else "exact: xylosim does too")
        return "\n".join(lines)


def check_xylo_program(program: XyloProgram, seed: int = 0) -> XyloCheck:
    """Runs the network of a program two ways, and in xylosim where it is installed."""
    from .simulator import simulate_xylosim

    network, rng = program.quantised.network, np.random.default_rng(seed)
    rates = np.reshape(RATES, (-1, 1, 1))
    events = np.minimum(rng.poisson(rates, (len(RATES), _COLUMNS, network.n_in)), MOST_EVENTS).astype(np.uint8)
    expected = simulate_xylo(network, events)
    emulator = _difference(expected, XyloEngine(network).run(events, states=BLOCKS))
    xylosim, left_out = None, ""
    try:
        xylosim = _difference(expected, simulate_xylosim(network, events))
    except SpikecError as error:
        left_out = first_line(error)
    fired = {name: float(expected.spikes[each.block][..., each.place].any((0, 1)).mean())
             for name, each in program.quantised.populations.items() if program.network.populations[name].spiking}
    return XyloCheck(_COLUMNS, len(RATES), fired, emulator, xylosim, left_out)


def _difference(expected: XyloResult, found: XyloResult) -> str:
    """The first column in which the two differ, and where; "" for none."""
    first: tuple[int, str] | None = None
    for what in ("spikes", "i", "v"):
        for block, values in getattr(expected, what).items():
            theirs = getattr(found, what)[block]
            wrong = values != theirs
            if wrong.any():
                column = int(np.argmax(wrong.any((0, 2))))
                sample, neuron = (int(each[0]) for each in np.nonzero(wrong[:, column]))
                told = (f"{what} of {block}, neuron {neuron}, sample {sample}, column {column}: "
                        f"{int(theirs[sample, column, neuron])}, not {int(values[sample, column, neuron])}")
                first = (column, told) if first is None or column < first[0] else first
    return "" if first is None else first[1]
