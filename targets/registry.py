"""The targets by name: what each can do, as data. Nothing is imported until a target is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ..ir.diagnostics import BadInputError, Diagnostic, UnsupportedError

__all__ = ["TARGETS", "Target", "target_named"]


@dataclass(frozen=True, slots=True)
class Target:
    """`status`: whether it can be compiled for in this version. `gradients`: how programs for it train by them, and
    `rules`: how by local rules. `drift`: of what computes otherwise than the model says, the share of a layer's spikes
    that counts of neurons may differ by."""

    name: str
    summary: str
    status: Literal["available", "planned"]
    time: Literal["continuous", "steps"]
    gradients: str
    rules: str
    checked_against: str
    drift: float | None = None


TARGETS: dict[str, Target] = {
    target.name: target
    for target in (
        Target("event", "event-driven simulator on the CPU, exact in time; CUDA kernels are generated, not run yet",
               "available", "continuous",
               "exact (adjoint over recorded events)", "at events", "the numpy reference in continuous time"),
        Target("clock", "fixed-step simulator with any stated discretisation, on the CPU; CUDA kernels are generated, "
               "not run yet", "available", "steps",
               "surrogate", "in steps", "the source framework, step by step"),
        Target("loihi1", "Intel Loihi, as a generated Lava program", "available", "steps",
               "chip in the loop, surrogate", "on chip", "Lava's fixed-point models, bit by bit", drift=0.2),
        Target("loihi2", "Intel Loihi 2, as a generated Lava program", "available", "steps",
               "chip in the loop, surrogate", "on chip", "Lava's fixed-point models, bit by bit", drift=0.2),
        Target("xylo", "SynSense Xylo, as a specification that its simulator takes", "available", "steps",
               "chip in the loop", "none", "the vendor's bit-exact simulator, bit by bit", drift=0.2),
        Target("brainscales2", "BrainScaleS-2, as an emulated chip and generated scripts", "available", "continuous",
               "chip in the loop", "on chip, modelled", "an emulator with the published mismatch and noise", drift=0.5),
        Target("generic_analog", "an analog chip of the user's own description, emulated", "available", "continuous",
               "chip in the loop", "none", "an emulator with the mismatch and noise of its description", drift=0.5),
        Target("dynapse2", "DYNAP-SE2, as an emulated chip and a generated configuration", "available", "continuous",
               "chip in the loop", "none", "an emulator of its circuits with the published mismatch", drift=0.5),
    )
}


def target_named(name: str) -> Target:
    """The target of that name.

    Raises:
        BadInputError: there is none.
        UnsupportedError: it is planned, and this version cannot compile for it.
    """
    target = TARGETS.get(name)
    if target is None:
        raise BadInputError(Diagnostic("SC530", f"there is no target '{name}'",
                                       remedy=f"Targets: {', '.join(TARGETS)}."))
    if target.status == "planned":
        available = ", ".join(each.name for each in TARGETS.values() if each.status == "available")
        raise UnsupportedError(Diagnostic("SC531", f"the target '{name}' is planned; this version has it not",
                                          remedy=f"Available: {available}."))
    return target
