"""The text form of a learning rule: what `print(rule)` shows, and what is kept in files.

    spikec-rule 1
    rule biograd source="Tang et al. (2021)"
    trace x1 tau=tau_mem
    gate y1 box width=0.5
    update t step "x1*y1"
    update w sample "-0.001*e*t"
    error softmax spikes=true start=0.005
    feedback learned
    feedback update w sample "0.0001*x1*y1 - 0.0001*x1*w" phases=(sleep,)
    phase present duration=0.02 teach=true
    phase sleep duration=0.05 noise=(0.1, 0.9) samples=16

One part a line, in the order of the rule; `#` starts a comment. Sums of products are those of `learning_terms`; what
equals its default is left out; numbers read back as the same bits. The parser evaluates nothing, and reports every
fault with line and column.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import MISSING, fields, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from ..conform import conforms, expected, hints, malformed
from ..diagnostics import BadInputError, Diagnostic, Diagnostics
from ..npz import write_atomically
from ..paths import path_of
from ..text_lexer import Fault, Line
from ..text_values import literal, quoted
from .rule import Error, Feedback, Gate, LearningRule, Noise, Phase, Term, Trace, Update
from .terms import terms, terms_text

__all__ = ["parse", "read", "to_text", "write"]

VERSION = 1
MAX_TEXT = 1 << 20
"""Characters of a rule."""
MAX_LINES = 1000
MAX_FAULTS = 50
LEADING: dict[str, tuple[type[Any], tuple[str, ...]]] = {
    "rule": (LearningRule, ("name",)), "trace": (Trace, ("name",)), "gate": (Gate, ("name", "shape")),
    "update": (Update, ("variable", "when", "terms")), "error": (Error, ("code",)), "feedback": (Feedback, ("kind",)),
    "phase": (Phase, ("name",)),
}
"""What a line starts with, what it states, and which fields stand before the named ones."""
HELD = {LearningRule: ("updates", "variables", "error", "feedback", "phases"), Feedback: ("traces", "updates")}
"""Fields that have lines of their own."""


def to_text(rule: LearningRule) -> str:
    """The text form. Total: it shows illegal rules too."""
    return "\n".join([f"spikec-rule {VERSION}", *_lines(rule)]) + "\n"


def parse(text: str) -> LearningRule:
    """The rule that a text form says. It need not be legal: see `learning_checks.verify_rule`.

    Raises:
        BadInputError: naming every fault, with line and column (SC154, SC150).
    """
    return _Document(text).rule()


def write(rule: LearningRule, path: str | Path) -> None:
    """Writes the text form, atomically.

    Raises:
        BadInputError: no path (SC525), or the file cannot be written (SC522).
    """
    write_atomically(path_of(path, "a learning rule"), to_text(rule).encode())


def read(path: str | Path) -> LearningRule:
    """The rule in a file that `write` wrote; as for `parse`, it need not be legal.

    Raises:
        BadInputError: no path (SC525), the file cannot be read, is too large or no text (SC523), or malformed (SC154,
            SC150), naming every fault.
    """
    path = path_of(path, "a learning rule")
    try:
        with open(path, "rb") as stream:
            found = stream.read(MAX_TEXT + 1)
        return parse(found.decode())
    except OSError as error:
        raise BadInputError(Diagnostic("SC523", f"'{path}' cannot be read: {error.strerror or error}")) from error
    except UnicodeDecodeError as error:
        raise BadInputError(Diagnostic("SC523", f"'{path}' is not UTF-8 text", value=str(error.reason))) from error


def _lines(rule: LearningRule) -> Iterator[str]:
    yield _line("rule", rule)
    yield from _each("trace", rule.variables, Trace | Gate)
    yield from _each("update", rule.updates, Update)
    yield from _each("error", (rule.error,), Error)
    yield from _each("feedback", (rule.feedback,), Feedback)
    if isinstance(rule.feedback, Feedback):
        yield from _each("feedback trace", rule.feedback.traces, Trace)
        yield from _each("feedback update", rule.feedback.updates, Update)
    yield from _each("phase", rule.phases, Phase)


def _each(word: str, parts: Any, kind: Any) -> Iterator[str]:
    """The lines of those parts that are of a kind; what else a malformed rule holds is in the line of its owner."""
    for part in parts if isinstance(parts, tuple) else ():
        if isinstance(part, kind):
            yield _line("gate" if isinstance(part, Gate) else word, part)


def _line(word: str, part: Any) -> str:
    kind, leading = LEADING[word.rpartition(" ")[2]]
    texts = [word, *(_value(getattr(part, name)) for name in leading)]
    wrong, held = malformed(part), HELD.get(kind, ())
    for entry in fields(kind):
        value = getattr(part, entry.name)
        told = entry.name in leading or (entry.name in held and entry.name not in wrong)
        if not told and (entry.name in wrong or entry.default is MISSING or value != entry.default):
            texts.append(f"{entry.name}={_value(value)}")
    return " ".join(texts)


def _value(value: Any) -> str:
    if isinstance(value, Noise):
        return literal((value.low, value.high, *(("held",) if value.held else ())))
    if isinstance(value, tuple) and all(_is_term(item) for item in value):
        return json.dumps(terms_text(value))
    return quoted(value) if isinstance(value, str) else literal(value)


def _is_term(item: Any) -> bool:
    return isinstance(item, Term) and not malformed(item) and not any(map(malformed, item.factors))


class _Document:
    """A parsed text. A line with a fault is skipped and the next one is read."""

    def __init__(self, text: str) -> None:
        self.faults = Diagnostics()
        self._parts: dict[str, list[dict[str, Any]]] = {}
        self._variables: list[Trace | Gate] = []
        self._header = False
        if not isinstance(text, str) or len(text) > MAX_TEXT or text.count("\n") > MAX_LINES:
            self.faults.add("SC154", "a learning rule is a short text", limit=f"{MAX_TEXT} characters, {MAX_LINES} "
                            "lines", value=f"{len(text)} characters" if isinstance(text, str) else type(text).__name__)
            return
        for number, line in enumerate(text.split("\n"), start=1):
            if len(self.faults.found) >= MAX_FAULTS:
                self.faults.add("SC154", f"line {number}: too many faults to read on", limit=MAX_FAULTS)
                return
            try:
                self._read(Line(line, number))
            except Fault as fault:
                self.faults.add("SC154", f"line {number}, column {fault.column}: {fault.message}", **fault.facts)
            except BadInputError as error:  # of terms
                for each in error.diagnostics:
                    self.faults.extend([replace(each, message=f"line {number}, in the terms, {each.message}")])
        if not self.faults.found:
            for word in ("rule", "error", "feedback"):
                self._count(word)

    def rule(self) -> LearningRule:
        """The rule.

        Raises:
            BadInputError: naming every fault of the text.
        """
        self.faults.raise_if_errors()

        def made(word: str, kind: type[Any]) -> tuple[Any, ...]:
            return tuple(kind(**values) for values in self._parts.get(word, ()))

        (stated,) = self._parts["rule"]
        error = made("error", Error)
        feedback = [Feedback(**values, traces=made("feedback trace", Trace), updates=made("feedback update", Update))
                    for values in self._parts.get("feedback", ())]
        return LearningRule(**stated, updates=made("update", Update), variables=tuple(self._variables),
                            error=error[0] if error else None, feedback=feedback[0] if feedback else None,
                            phases=made("phase", Phase))

    def _count(self, word: str) -> None:
        found = len(self._parts.get(word, ()))
        if found > 1 or (word == "rule" and not found):
            self.faults.add("SC154", f"a text has {'one' if word == 'rule' else 'at most one'} '{word}' line",
                            value=found)
        parts = [each for each in self._parts if each.startswith(f"{word} ")]
        if parts and not found:
            self.faults.add("SC154", f"'{parts[0]}' needs a '{word}' line")

    def _read(self, line: Line) -> None:
        if line.done:
            return
        column = line.column
        word = line.want("word", "what the line states").text
        if not self._header:
            self._header = True
            if word != "spikec-rule":
                raise Fault(f"the text starts with 'spikec-rule {VERSION}'", column, value=word[:40])
            version = line.whole_number("the version of the text form")
            if version != VERSION:
                raise Fault("unknown version of the text form", column, value=version, limit=VERSION,
                            remedy="Update spikec, or write the file again.")
            line.finish()
            return
        if word not in LEADING:
            near = get_close_matches(word, LEADING, 1)
            raise Fault("this is no line of a rule", column, value=word[:40], limit=", ".join(LEADING),
                        remedy=f"Is '{near[0]}' meant?" if near else None)
        within = word == "feedback" and any(line.next_is("word", inner) for inner in ("trace", "update"))
        inner = line.take().text if within else word
        values = self._fields(line, *LEADING[inner])
        if inner in ("trace", "gate") and not within:
            self._variables.append(LEADING[inner][0](**values))
        else:
            self._parts.setdefault(f"{word} {inner}" if within else word, []).append(values)

    def _fields(self, line: Line, kind: type[Any], leading: tuple[str, ...]) -> dict[str, Any]:
        """The fields of one part, of their declared types."""
        values = {name: self._field(line, kind, name) for name in leading}
        held = HELD.get(kind, ())
        names = [entry.name for entry in fields(kind) if entry.name not in held]
        while not line.done:
            column = line.column
            name = line.name("a name")
            if name not in names or name in values:
                near = get_close_matches(name, names, 1)
                raise Fault(f"'{name[:40]}' is there twice" if name in values else f"there is no '{name[:40]}' here",
                            column, limit=", ".join(names), remedy=f"Is '{near[0]}' meant?" if near else None)
            line.want("sign", "'='", "=")
            values[name] = self._field(line, kind, name)
        lacking = [entry.name for entry in fields(kind)
                   if entry.default is MISSING and entry.name not in (*values, *held)]
        if lacking:
            raise Fault(f"{', '.join(lacking)} must be stated", line.column)
        return values

    def _field(self, line: Line, kind: type[Any], name: str) -> Any:
        column = line.column
        if name == "terms":
            return terms(line.name("a sum of products in quotes"))
        value: Any = line.name("a name") if name == "name" else line.value()
        if name == "noise" and isinstance(value, tuple):
            held = value[2:] == ("held",)
            drawn = value[:2] if held else value
            if conforms(drawn, tuple[float, float]):
                value = Noise(float(drawn[0]), float(drawn[1]), held)
        if not conforms(value, hints(kind)[name]):
            raise Fault(f"{name} is of the wrong type", column, value=repr(value)[:80], limit=expected(kind, name))
        return value
