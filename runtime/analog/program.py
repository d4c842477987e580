"""What a run needs to know of a program for an analog chip, whatever made it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from ...ir.analog.chip import AnalogChip
from ...ir.analog.network import AnalogNetwork
from ...ir.network import Network
from ...ir.nodes import Array
from .emulator import Emulator

__all__ = ["AnalogRunnable"]


class AnalogRunnable(Protocol):
    """`network`: in the form of the chip's circuits; `held`: in their numbers; `codes`: weights in steps."""

    network: Network
    held: AnalogNetwork
    chip: AnalogChip

    @property
    def codes(self) -> Mapping[str, Array]: ...

    def emulator(self, seed: int = 0) -> Emulator: ...
