"""What learns on a program's emulated BrainScaleS-2, or on a chip in its place; and what a folder keeps of it."""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, Self

from ...ir.diagnostics import BadInputError, Diagnostic, Diagnostics, SpikecWarning, UnsupportedError
from ...ir.events import Events
from ...ir.facts import is_number, is_whole
from ...ir.learning.checks import verify_rule
from ...ir.learning.rule import LearningRule
from ...ir.learning.text import parse, to_text
from ...ir.network import Network
from ...ir.nodes import Array
from ...ir.rules.catalogue import rule_named
from ...passes.ppu_rules import GateReads, PpuChoices
from ...runtime.analog.in_the_loop import Asked, on_scale
from ...runtime.analog.run import check_measurement
from ...runtime.measured import checked_spikes
from .emulated_reads import EmulatedReads
from .learner import Measure, PpuLearner

if TYPE_CHECKING:
    from ..analog.program import AnalogProgram

__all__ = ["Learning", "learning_files", "ppu_learner"]

LABEL = "generated, not run on silicon"
KERNELS = "rule_kernels.json"
_MOST_READS = 64


@dataclass(frozen=True, slots=True)
class Learning:
    """What a program learns by, as a folder keeps it: all but the chip."""

    rule: LearningRule
    output: str | None = None
    projections: tuple[str, ...] | None = None
    seed: int = 0
    choices: PpuChoices | None = None

    def as_dict(self) -> dict[str, Any]:
        """Plain values, which `of` reads."""
        return {"rule": to_text(self.rule), "output": self.output, "seed": self.seed,
                "projections": None if self.projections is None else list(self.projections),
                "choices": None if self.choices is None else asdict(self.choices)}

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> Self:
        """From plain values of others.

        Raises:
            BadInputError: the rule or a choice is malformed.
            KeyError, TypeError, ValueError: so is another part.
        """
        names = told["projections"]
        if not all(isinstance(each, str) for each in (told["rule"], *([] if names is None else names))):
            raise TypeError("a rule and projections are texts")
        choices = told["choices"]
        if choices is not None:
            gate = choices["gate"]
            choices = PpuChoices(**{**choices, "gate": None if gate is None else GateReads(**gate)})
        return cls(verify_rule(parse(told["rule"])), told["output"], None if names is None else tuple(names),
                   told["seed"], choices)


def ppu_learner(program: AnalogProgram, rule: LearningRule | str, *, output: str | None = None,
                projections: Iterable[str] | None = None, seed: int = 0, choices: PpuChoices | None = None,
                measure: Measure | None = None, time_limit: float = math.inf) -> PpuLearner:
    """The learner of a program for `brainscales2`. Sensors deviate as the chip's circuits do: not at all where the
    program was compiled with mismatch "none", else by a pattern of the same serial number; their reads are noisy where
    the program's runs are.

    Args:
        rule: or the name of one of the library.
        output, projections, seed: as of other learners.
        choices: how the rule is held.
        measure: a chip in the place of the emulated one; its membranes are not read.
        time_limit: seconds that one run of `measure` may take.

    Raises:
        BadInputError: the program is for another chip (SC403), or as `PpuLearner`; a choice is out of range (SC533);
            there is no such rule (SC514). From the learner: `measure` gives other spikes than it should (SC485, SC486).
        UnsupportedError, DoesNotFitError: as `PpuLearner`; the program runs in parts (SC362).
        MeasureError: from the learner, `measure` fails (SC377).
    """
    if program.target != "brainscales2":
        raise BadInputError(Diagnostic("SC403", "this chip has no plasticity processor", value=program.target,
                                       limit="brainscales2"))
    faults = Diagnostics()
    check_measurement(0, measure, time_limit, faults)
    _check_choices(choices, faults)
    faults.raise_if_errors()
    if program.held.schedule is not None:
        raise UnsupportedError(Diagnostic(
            "SC362", "a network that runs in parts does not learn on the chip: no part sees the others' weights",
            value=f"{len(program.held.schedule.runs)} runs", limit="1", remedy="Make it smaller."))
    named = verify_rule(rule_named(rule, program.target) if isinstance(rule, str) else rule)
    emulator = program.emulator(seed if is_whole(seed) and seed >= 0 else 0)  # what is no seed, the learner tells
    chip: Any = Asked(emulator.measure) if measure is None else _Plugged(program.network, measure, time_limit)
    return PpuLearner(
        program.graph, program.network, named, chip,
        {each.name: each.step for each in program.held.projections}, output=output, projections=projections, seed=seed,
        chip=None if program.options.mismatch == "none" else program.options.seed, choices=choices,
        reads=EmulatedReads(emulator) if measure is None else None, codes=program.codes,
        noise=program.options.noise, speed_up=program.speed_up)


def learning_files(program: AnalogProgram, learning: Learning) -> dict[str, bytes]:
    """The kernels of what would go on learning on a program, and which projection each is of."""
    with warnings.catch_warnings():  # they were issued when it learnt
        warnings.simplefilter("ignore", SpikecWarning)
        learner = ppu_learner(program, learning.rule, output=learning.output, projections=learning.projections,
                              seed=learning.seed, choices=learning.choices)
    files, listed = {}, []
    for number, (name, text) in enumerate(learner.kernels().items()):
        file = f"rule_kernel_{number}.hpp"
        files[file] = text.encode()
        listed.append({"file": file, "projection": name})
    told = {"label": LABEL, "rule": learning.rule.name, "kernels": listed}
    return {**files, KERNELS: json.dumps(told, indent=1).encode() + b"\n"}


class _Plugged:
    """A user's chip, whose answers are looked at."""

    def __init__(self, network: Network, measure: Measure, time_limit: float) -> None:
        self._network, self._asked = network, Asked(measure, time_limit)

    @property
    def runs(self) -> int:
        return self._asked.runs

    @runs.setter
    def runs(self, value: int) -> None:
        self._asked.runs = value

    def __call__(self, codes: Mapping[str, Array], spikes: Mapping[str, Events],
                 duration: float) -> Mapping[str, Events]:
        found = on_scale(self._asked(codes, spikes, duration), 1.0, duration, spikes)
        return checked_spikes(self._network, found, spikes, duration)


def _check_choices(choices: Any, faults: Diagnostics) -> None:
    """Reports what is no `PpuChoices`, and every part of it that is out of range (SC533)."""
    if choices is None:
        return
    if not isinstance(choices, PpuChoices):
        faults.add("SC533", "choices are PpuChoices", value=type(choices).__name__, limit="passes.ppu_rules.PpuChoices")
        return
    gate: Any = choices.gate
    if not (gate is None or isinstance(gate, GateReads)):
        faults.add("SC533", "a gate is read by GateReads, or not at all", value=type(gate).__name__)
    elif gate is not None:
        if not (is_whole(gate.reads) and 1 <= gate.reads <= _MOST_READS):
            faults.add("SC533", "reads of a membrane are out of range", value=repr(gate.reads)[:80],
                       limit=f"1..{_MOST_READS}")
        for name in ("rest", "per_unit"):
            value = getattr(gate, name)
            if not (is_number(value) and math.isfinite(value)):
                faults.add("SC533", f"{name} of a gate is no number", value=repr(value)[:80])
    for each in fields(PpuChoices):
        value = getattr(choices, each.name)
        if each.type == "bool" and not isinstance(value, bool):
            faults.add("SC533", f"{each.name} is a truth value", value=repr(value)[:80])
        if each.type == "float" and not (is_number(value) and 0 < value < math.inf):
            faults.add("SC533", f"{each.name} is out of range", value=repr(value)[:80], limit="> 0")
