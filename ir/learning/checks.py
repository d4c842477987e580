"""What a legal learning rule is. One small function per question, all of them asked, all faults reported, each at its
place: `updates[1].terms[0]`.

`RULES` lists them in the order of their reports. They see only parts whose fields are of their declared types, and
never raise.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, is_dataclass
from functools import cached_property
from typing import Any

from ..conform import expected, malformed
from ..diagnostics import BadInputError, Diagnostic, Diagnostics
from .rule import VARIABLES, Error, Factor, Feedback, Gate, LearningRule, Noise, Phase, Term, Trace, Update
from .terms import MAX_TERMS, term_text

__all__ = ["RULES", "check_rule", "verify_rule"]

TRACES = ("x1", "x2", "y1", "y2", "y3")
LARGEST = sys.float_info.max
MAX_NAME = 100
MAX_SOURCE = 1000
MAX_PARTS = 64
"""Updates, and phases, of a rule."""
MAX_FACTORS = 8

Bound = tuple[str, Callable[[Any], bool]]
POSITIVE: Bound = ("finite, > 0", lambda value: 0 < value <= LARGEST)
NOT_NEGATIVE: Bound = ("finite, >= 0", lambda value: 0 <= value <= LARGEST)
NOT_ZERO: Bound = ("finite, not 0", lambda value: 0 < abs(value) <= LARGEST)
FINITE: Bound = ("finite", lambda value: abs(value) <= LARGEST)
SHARE: Bound = ("0 to 1", lambda value: 0 <= value <= 1)
COUNT: Bound = ("1 to 2^20", lambda value: 1 <= value <= 2**20)
RANGES: dict[type, dict[str, Bound]] = {
    Trace: {"tau": POSITIVE, "impulse": NOT_ZERO},
    Gate: {"width": POSITIVE, "centre": FINITE, "height": NOT_ZERO},
    Term: {"coefficient": NOT_ZERO},
    Factor: {"offset": FINITE},
    Update: {"every": ("0 to 20", lambda value: 0 <= value <= 20)},
    Error: {"threshold": POSITIVE, "start": NOT_NEGATIVE, "margin": NOT_NEGATIVE, "tau": POSITIVE,
            "dendrite_tau": NOT_NEGATIVE, "period": COUNT, "high": FINITE, "low": FINITE, "slope": POSITIVE},
    Feedback: {"scale": POSITIVE, "decay": ("0 to below 1", lambda value: 0 <= value < 1)},
    Noise: {"low": SHARE, "high": SHARE},
    Phase: {"duration": POSITIVE, "inject": FINITE, "samples": COUNT, "every": COUNT},
    LearningRule: {"interval": POSITIVE},
}


def check_rule(rule: LearningRule) -> list[Diagnostic]:
    """Every fault of a rule, warnings included; an empty list for a legal one. Never raises."""
    given: Any = rule  # whatever a caller without a type checker hands over
    if not isinstance(given, LearningRule):
        return [Diagnostic("SC111", "this is no LearningRule", value=type(given).__name__,
                           remedy="`spikec.rules` has a library of them.")]
    faults = Diagnostics()
    case = _Case(rule)
    for ask in RULES:
        ask(case, faults)
    return faults.found


def verify_rule(rule: LearningRule) -> LearningRule:
    """The rule itself, if it is legal.

    Raises:
        BadInputError: with every fault at once (SC111, SC151 to SC153).
    """
    faults = Diagnostics(check_rule(rule))
    faults.raise_if_errors(BadInputError)
    return rule


@dataclass(frozen=True)
class _Case:
    """A rule under check: its sound parts, by place."""

    rule: LearningRule

    @cached_property
    def parts(self) -> list[tuple[str, Any]]:
        return list(_parts("", self.rule))

    def of(self, kind: type[Any], *, feedback: bool | None = None) -> Iterator[tuple[str, Any]]:
        """The sound parts of a kind. `feedback`: only those of it, or only the others."""
        for place, part in self.parts:
            if isinstance(part, kind) and not malformed(part) and \
                    feedback in (None, place.startswith("feedback.")):
                yield place, part

    @cached_property
    def phases(self) -> dict[str, Phase]:
        return {phase.name: phase for _, phase in self.of(Phase)}

    @cached_property
    def error(self) -> Error | None:
        return next((error for _, error in self.of(Error)), None)

    @cached_property
    def feedback(self) -> Feedback | None:
        return next((feedback for _, feedback in self.of(Feedback)), None)

    @property
    def has_dendrite(self) -> bool:
        """Whether there is an e: true where that cannot be told."""
        return self.error.code != "reward" if self.error else self.rule.error is not None

    def noisy(self, update: Update) -> bool:
        """Whether an update happens in a phase with noise."""
        return any(name in self.phases and self.phases[name].noise is not None for name in update.phases)

    def terms(self, update: Update) -> Iterator[tuple[int, Term]]:
        """The sound terms of an update, with sound factors."""
        for number, term in enumerate(update.terms):
            if not malformed(term) and not any(map(malformed, term.factors)):
                yield number, term


def _parts(place: str, part: Any) -> Iterator[tuple[str, Any]]:
    """A dataclass and all that it holds, by place."""
    yield place, part
    for entry in fields(part):
        value = getattr(part, entry.name)
        inside = f"{place}.{entry.name}" if place else entry.name
        if is_dataclass(value) and not isinstance(value, type):
            yield from _parts(inside, value)
        elif isinstance(value, tuple):
            for number, item in enumerate(value):
                if is_dataclass(item) and not isinstance(item, type):
                    yield from _parts(f"{inside}[{number}]", item)


def _types(case: _Case, faults: Diagnostics) -> None:
    for place, part in case.parts:
        for name, value in malformed(part).items():
            faults.add("SC111", f"{name} is of the wrong type", node=_at(place), value=repr(value)[:80],
                       limit=expected(type(part), name))


def _names(case: _Case, faults: Diagnostics) -> None:
    rule = case.rule
    for name, text, most, least in (("name", rule.name, MAX_NAME, 1), ("source", rule.source, MAX_SOURCE, 0)):
        if isinstance(text, str) and not (text.isprintable() and least <= len(text) <= most):
            faults.add("SC151", f"the {name} of a rule is printable text", node=name, value=repr(text[:40]),
                       limit=f"{least} to {most} characters")
    seen: set[str] = set()
    for place, phase in case.of(Phase):
        if not (phase.name.isprintable() and 1 <= len(phase.name) <= MAX_NAME):
            faults.add("SC151", "the name of a phase is printable text", node=place, value=repr(phase.name[:40]),
                       limit=f"1 to {MAX_NAME} characters")
        if phase.name in seen:
            faults.add("SC151", "two phases have one name", node=place, value=phase.name[:40])
        seen.add(phase.name)


def _sizes(case: _Case, faults: Diagnostics) -> None:
    for name, items in (("updates", case.rule.updates), ("phases", case.rule.phases)):
        if isinstance(items, tuple) and len(items) > MAX_PARTS:
            faults.add("SC153", f"too many {name}", node=name, value=len(items), limit=MAX_PARTS)
    for place, update in case.of(Update):
        if not 1 <= len(update.terms) <= MAX_TERMS:
            faults.add("SC153", "an update is a sum of terms", node=place, value=f"{len(update.terms)} terms",
                       limit=f"1 to {MAX_TERMS}")
        for number, term in case.terms(update):
            if len(term.factors) > MAX_FACTORS:
                faults.add("SC153", "too many factors", node=f"{place}.terms[{number}]", value=term_text(term)[:80],
                           limit=MAX_FACTORS)


def _ranges(case: _Case, faults: Diagnostics) -> None:
    texts = {place: term_text(term)[:80] for place, term in case.of(Term)
             if not any(map(malformed, term.factors))}
    for kind, bounds in RANGES.items():
        for place, part in case.of(kind):
            for name, (limit, legal) in bounds.items():
                value = getattr(part, name)
                if value is None or isinstance(value, str) or legal(value):
                    continue
                text = texts.get(place.partition(".factors")[0])
                faults.add("SC153", f"{name} is out of range", node=_at(place),
                           value=f"{value!r:.80}" + (f" in {text}" if text else ""), limit=limit)
    for place, noise in case.of(Noise):
        if noise.low > noise.high:
            faults.add("SC153", "the probabilities of noise go from low to high", node=place,
                       value=f"{noise.low!r} to {noise.high!r}")
    bounds_of = case.rule.bounds
    if "bounds" not in malformed(case.rule) and bounds_of is not None and \
            not -LARGEST <= bounds_of[0] < bounds_of[1] <= LARGEST:
        faults.add("SC153", "bounds are two finite numbers, the lower one first", node="bounds",
                   value=f"{bounds_of!r:.80}")


def _declared(case: _Case, faults: Diagnostics) -> None:
    """Traces and gates: names, each once; what follows what."""
    for feedback in (False, True):
        seen: dict[str, Trace | Gate] = {}
        for place, each in case.of(Trace | Gate, feedback=feedback):  # type: ignore[arg-type]
            names = TRACES if isinstance(each, Trace) else TRACES[2:]
            if each.name not in names:
                faults.add("SC152", "there is no such variable to declare", node=place, value=repr(each.name[:40]),
                           limit=", ".join(names))
            if each.name in seen:
                faults.add("SC151", f"{each.name[:40]} is declared twice", node=place)
            seen[each.name] = each
        for place, trace in case.of(Trace, feedback=feedback):
            _check_followed(place, trace, seen, faults)


def _check_followed(place: str, trace: Trace, declared: dict[str, Trace | Gate], faults: Diagnostics) -> None:
    if trace.of == "spikes":
        return
    followed = declared.get(trace.of)
    if not isinstance(followed, Trace) or trace.of[:1] != trace.name[:1]:
        faults.add("SC152", f"{trace.name[:40]} follows what is no trace of the same neuron", node=place,
                   value=repr(trace.of[:40]), limit=", ".join(
                       name for name, each in declared.items()
                       if isinstance(each, Trace) and name[:1] == trace.name[:1] and name != trace.name) or "'spikes'")
        return
    passed = [trace.name]
    while isinstance(followed, Trace) and followed.of != "spikes":
        if followed.name in passed:
            faults.add("SC151", "traces follow each other in a circle", node=place,
                       value=" of ".join([*passed, followed.name]))
            return
        passed.append(followed.name)
        followed = declared.get(followed.of)


def _phases(case: _Case, faults: Diagnostics) -> None:
    if isinstance(case.rule.phases, tuple) and all(phase.noise is not None for phase in case.phases.values()):
        faults.add("SC151", "no phase shows the sample", node="phases", remedy="Phase('present', duration) does.")
    for place, phase in case.of(Phase):
        if phase.noise is not None:
            if phase.teach or phase.inject:
                faults.add("SC151", "a phase with noise has no label to teach by", node=place, value=phase.name)
            if not any(phase.name in update.phases for _, update in case.of(Update, feedback=True)):
                faults.add("SC151", "nothing is learned in a phase with noise", node=place, value=phase.name,
                           remedy="Give the feedback an update in it.")
        elif phase.samples != 1:
            faults.add("SC151", "samples are counted in phases with noise alone", node=place, value=phase.samples)
        if phase.inject and not (case.has_dendrite and phase.teach):
            faults.add("SC151", "what is injected is the dendrite, in a phase that teaches", node=place,
                       value=phase.name)
    for place, part in (*case.of(Trace), *case.of(Update)):
        for name in part.phases:
            if name not in case.phases:
                faults.add("SC151", "there is no such phase", node=place, value=repr(name[:40]),
                           limit=", ".join(case.phases)[:80])
        if len(set(part.phases)) != len(part.phases):
            faults.add("SC151", "a phase is named twice", node=place, value=", ".join(part.phases)[:80])
    noisy = {name for name, phase in case.phases.items() if phase.noise is not None}
    for place, part in (*case.of(Trace), *case.of(Update, feedback=False)):
        if noisy.intersection(part.phases):
            faults.add("SC151", "in a phase with noise nothing but feedback learns", node=place,
                       value=", ".join(part.phases)[:80])
    for place, update in case.of(Update, feedback=True):
        if case.noisy(update) and (update.when != "sample" or not noisy.issuperset(update.phases)):
            faults.add("SC151", "an update by noise happens at the end of a sample, in phases with noise alone",
                       node=place, value=f"at {update.when}, in {', '.join(update.phases)}"[:80])


def _variables(case: _Case, faults: Diagnostics) -> None:
    """Every factor is there where its update happens."""
    for feedback in (False, True):
        declared = {each.name for _, each in case.of(Trace | Gate, feedback=feedback)}  # type: ignore[arg-type]
        changed = {update.variable for _, update in case.of(Update, feedback=feedback)} | {"w"}
        for place, update in case.of(Update, feedback=feedback):
            for number, term in case.terms(update):
                for variable in dict.fromkeys(factor.variable for factor in term.factors):
                    lacking = _lacking(case, update, variable, declared, changed, feedback)
                    if lacking:
                        faults.add("SC152", f"{variable[:40]}: {lacking}", node=f"{place}.terms[{number}]",
                                   value=term_text(term)[:80])


def _lacking(case: _Case, update: Update, variable: str, declared: set[str], changed: set[str],
             feedback: bool) -> str | None:
    """Why an update knows nothing of a variable."""
    if variable not in VARIABLES:
        return f"no variable of a rule; those are {', '.join(VARIABLES)}"
    if feedback and case.noisy(update):
        return None if variable in ("x1", "y1", "w") else "with noise there are x1, y1 and w alone"
    if variable in TRACES and variable not in declared:
        return "declared neither as a trace nor as a gate"
    if variable in ("t", "d") and variable not in changed:
        return "no update changes this tag, so it stays at zero"
    if variable in ("x0", "y0") and update.when == "sample":
        return "the end of a sample is no instant of a spike"
    if variable == "e" and not case.has_dendrite:
        return "the rule has no error that is fed back"
    if variable == "r":
        if feedback or (case.rule.error is None or (case.error is not None and case.error.code != "reward")):
            return "the rule has no reward; Error('reward') gives one"
        if update.when != "sample":
            return "the reward is there at the end of a sample"
    return None


def _updates(case: _Case, faults: Diagnostics) -> None:
    forward = [update for _, update in case.of(Update, feedback=False)]
    if isinstance(case.rule.updates, tuple) and not any(update.variable == "w" for update in forward):
        faults.add("SC151", "the rule changes no weight", node="updates")
    read = {factor.variable for update in forward for _, term in case.terms(update) for factor in term.factors
            if factor.variable != update.variable}
    for place, update in case.of(Update):
        if update.variable not in ("w", *read) or (place.startswith("feedback.") and update.variable != "w"):
            faults.add("SC151", f"the tag {update.variable} is changed, but nothing else reads it", node=place,
                       severity="error" if place.startswith("feedback.") else "warning")
        if update.every and update.when != "step":
            faults.add("SC151", "`every` is of updates in every step", node=place, value=f"at {update.when}")
        if update.when == "error" and not case.has_dendrite:
            faults.add("SC151", "no error ever reaches a dendrite to update at", node=place)
        for number, term in case.terms(update):
            if any(factor.sign and factor.offset for factor in term.factors):
                faults.add("SC151", "a factor is a sign, or a variable and an offset", node=f"{place}.terms[{number}]",
                           value=term_text(term)[:80])
            late = case.feedback is not None and case.feedback.path == "layered" and update.when != "sample"
            if late and any(factor.variable == "e" for factor in term.factors):
                faults.add("SC151", "layered feedback is there at the end of a sample alone",
                           node=f"{place}.terms[{number}]", value=term_text(term)[:80],
                           remedy="Use path='direct', or update at 'sample'.")


def _error(case: _Case, faults: Diagnostics) -> None:
    error = case.error
    teaching = [phase for phase in case.phases.values() if phase.teach]
    if error is None:
        if case.rule.error is None and teaching:
            faults.add("SC151", "a phase teaches, but the rule has no error", node="phases", value=teaching[0].name)
        return
    if error.code in ("trace", "local") and error.tau is None:
        faults.add("SC151", f"an error of '{error.code}' is of traces, and needs their tau", node="error")
    if error.code not in ("trace", "local") and error.tau is not None:
        faults.add("SC151", f"an error of '{error.code}' has no traces", node="error", value=f"tau={error.tau!r}",
                   remedy="dendrite_tau is that of the dendrite.")
    if error.code != "softmax" and error.slope != 1.0:
        faults.add("SC151", f"an error of '{error.code}' has no slope", node="error", value=f"slope={error.slope!r}")
    if error.code == "count" and not error.low < error.high:
        faults.add("SC151", "the label's neuron is meant to fire more than the others", node="error",
                   value=f"high={error.high!r}, low={error.low!r}")
    if error.code == "reward":
        return
    if not teaching:
        faults.add("SC151", "no phase teaches, so the error is never computed", node="error",
                   remedy="Phase(..., teach=True)")
    elif error.start >= max(phase.duration for phase in teaching):
        faults.add("SC151", "the error starts when every phase that teaches is over", node="error",
                   value=f"start={error.start!r}", limit=f"< {max(phase.duration for phase in teaching)!r}")


def _feedback(case: _Case, faults: Diagnostics) -> None:
    feedback, error = case.feedback, case.error
    if feedback is None:
        if case.rule.feedback is None and error is not None and case.has_dendrite:
            faults.add("SC151", "an error is fed back, but the rule does not say how", node="feedback",
                       remedy="Feedback('none'): the outputs' layer alone learns.")
        return
    if not case.has_dendrite:
        faults.add("SC151", "there is no error to feed back", node="feedback", value=feedback.kind)
    for name, stated, kind in (("updates", feedback.updates, "learned"), ("traces", feedback.traces, "learned"),
                               ("start", feedback.start != "random", "learned"),
                               ("decay", feedback.decay, "kolen_pollack")):
        if stated and feedback.kind != kind:
            faults.add("SC151", f"{name} is of feedback that is '{kind}'", node="feedback", value=feedback.kind)
    if feedback.kind == "learned" and not feedback.updates:
        faults.add("SC151", "learned feedback has no update", node="feedback")
    if feedback.path == "layered" and not any(True for _ in case.of(Gate, feedback=False)):
        faults.add("SC151", "layered feedback passes where a gate was open, and there is no gate", node="feedback")
    if error is not None and error.code == "local" and (feedback.path, feedback.kind) not in (
            ("direct", "fixed"), ("direct", "none")):
        faults.add("SC151", "a local error comes back by its own fixed readout", node="feedback",
                   value=f"{feedback.kind}, {feedback.path}", remedy="Feedback('fixed')")


def _at(place: str) -> str:
    return place.partition(".factors")[0] or "rule"


RULES: tuple[Callable[[_Case, Diagnostics], None], ...] = (
    _types, _names, _sizes, _ranges, _declared, _phases, _variables, _updates, _error, _feedback,
)
