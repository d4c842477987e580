"""What learns on a program's emulated BrainScaleS-2, or on a chip in its place."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from ...ir.diagnostics import BadInputError, Diagnostic
from ...ir.learning.checks import verify_rule
from ...ir.learning.rule import LearningRule
from ...ir.rules.catalogue import rule_named
from ...passes.ppu_rules import PpuChoices
from .emulated_reads import EmulatedReads
from .learner import Measure, PpuLearner

if TYPE_CHECKING:
    from ..analog.program import AnalogProgram

__all__ = ["ppu_learner"]


def ppu_learner(program: AnalogProgram, rule: LearningRule | str, *, output: str | None = None,
                projections: Iterable[str] | None = None, seed: int = 0, choices: PpuChoices | None = None,
                measure: Measure | None = None) -> PpuLearner:
    """The learner of a program for `brainscales2`. Sensors deviate as the chip's circuits do: not at all where the
    program was compiled with mismatch "none", else by a pattern of the same serial number.

    Args:
        rule: or the name of one of the library.
        measure: a chip in the place of the emulated one; its membranes are not read.

    Raises:
        BadInputError: the program is for another chip (SC403), or as `PpuLearner`; there is no such rule (SC514).
        UnsupportedError, DoesNotFitError: as `PpuLearner`.
    """
    if program.target != "brainscales2":
        raise BadInputError(Diagnostic("SC403", "this chip has no plasticity processor", value=program.target,
                                       limit="brainscales2"))
    named = verify_rule(rule_named(rule) if isinstance(rule, str) else rule)
    emulator = program.emulator(seed)
    asked = choices or PpuChoices(speed_up=program.speed_up)
    return PpuLearner(
        program.graph, program.network, named, measure or emulator.measure,
        {each.name: each.step for each in program.held.projections}, output=output, projections=projections, seed=seed,
        chip=None if program.options.mismatch == "none" else program.options.seed, choices=asked,
        reads=EmulatedReads(emulator) if measure is None else None, codes=program.codes)
