"""What can be chosen when a model is compiled for an analog chip."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from ...ir.diagnostics import Diagnostics
from ...ir.facts import is_number, is_whole
from ...passes.analog_codes import MOST_ROWS
from ...runtime.analog.device import MISMATCHES, Mismatch
from ..options import check_flags, check_seed, options_of

__all__ = ["AnalogOptions"]


@dataclass(frozen=True, slots=True, kw_only=True)
class AnalogOptions:
    """`chip`: a description (`.toml`) in the place of spikec's own. `bits`, `cv`: of `generic_analog`, magnitude bits
    of a weight, and the coefficient of variation of everything. `seed`: the serial number of the emulated chip.
    `mismatch`: how its circuits deviate; `noise`: whether runs differ. `speed_up`: model time over chip time; None: the
    chip's. `full_scale`: what the largest weight adds to the synaptic current, in distances from rest to threshold;
    None: the chip's. `rows`: rows a source, by projection (1 of others), or one number for all: larger weights, for
    more inputs; None: as many as the weights need (`rows_chosen`). `partition`: a network that is larger than the chip
    runs in parts, one after the other, and spikes are replayed."""

    chip: str | Path | None = None
    bits: int | None = None
    cv: float | None = None
    seed: int = 0
    mismatch: Mismatch = "published"
    noise: bool = True
    speed_up: float | None = None
    full_scale: float | None = None
    rows: int | Mapping[str, int] | None = None
    partition: bool = False

    @classmethod
    def of(cls, target: str, given: Mapping[str, Any]) -> Self:
        """Options by name.

        Raises:
            BadInputError: naming every option that is unknown or out of range (SC533).
        """
        faults = Diagnostics()
        found = options_of(cls, given, target, faults)
        for name in ("bits", "cv"):
            if getattr(found, name) is not None and target != "generic_analog":
                faults.add("SC533", f"{name} is for generic_analog; this chip's is known", value=target,
                           remedy="Describe a chip of your own in a .toml file: chip=FILE.")
        check_seed(found, faults)
        if found.mismatch not in MISMATCHES:
            faults.add("SC533", "mismatch is not known", value=repr(found.mismatch), limit=", ".join(MISMATCHES))
        check_flags(found, ("noise", "partition"), faults)
        for name in ("speed_up", "full_scale"):
            value = getattr(found, name)
            if value is not None and not (is_number(value) and 0 < value < 1e12):
                faults.add("SC533", f"{name} is out of range", value=repr(value), limit="> 0")
        every = found.rows if isinstance(found.rows, Mapping) else {} if found.rows is None else {"rows": found.rows}
        for name, value in every.items():
            if not (is_whole(value) and 1 <= value <= MOST_ROWS):
                faults.add("SC533", "rows a source are out of range", node=str(name), value=repr(value),
                           limit=f"1..{MOST_ROWS}")
        faults.raise_if_errors()
        # numbers of numpy become plain ones: what runs is what a saved folder says
        values = ((name, getattr(found, name)) for name in ("seed", "bits", "cv", "speed_up", "full_scale"))
        plain: dict[str, Any] = {name: int(value) if is_whole(value) else float(value)
                                 for name, value in values if is_number(value)}
        return replace(found, **plain)

    def rows_of(self, projections: list[str]) -> dict[str, int]:
        """Rows a source of every projection, where the options say them.

        Raises:
            BadInputError: rows are given of a projection that there is not (SC533).
        """
        if not isinstance(self.rows, Mapping):
            return dict.fromkeys(projections, 1 if self.rows is None else int(self.rows))
        faults = Diagnostics()
        for name in sorted(self.rows.keys() - set(projections), key=str):
            faults.add("SC533", "rows names no projection", value=str(name), limit=", ".join(projections))
        faults.raise_if_errors()
        return {name: int(self.rows.get(name, 1)) for name in projections}
