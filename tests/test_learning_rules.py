"""Learning rules as data: their terms, their text form, what is legal, and what the library's rules say."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, is_dataclass, replace
from math import exp
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import spikec
from spikec.ir import nodes as ir
from spikec.ir import rules as library
from spikec.ir.diagnostics import BadInputError, UnsupportedError
from spikec.ir.graph import Discretization, Graph
from spikec.ir.learning.checks import check_rule, verify_rule
from spikec.ir.learning.exact import ExactLearning
from spikec.ir.learning.layout import learning_layout
from spikec.ir.learning.rule import (
    VARIABLES,
    Error,
    Factor,
    Feedback,
    Gate,
    LearningRule,
    Noise,
    Phase,
    Term,
    Trace,
    Update,
)
from spikec.ir.learning.terms import term_text, terms, terms_text
from spikec.ir.learning.text import parse, read, to_text, write
from spikec.ir.rules.catalogue import factors
from spikec.passes.plastic import make_plastic

FEW = settings(max_examples=15, deadline=None)


def codes(rule: LearningRule) -> set[str]:
    return {each.code for each in check_rule(rule) if each.severity == "error"}


# Terms


@pytest.mark.parametrize(("text", "found"), [
    ("-0.01*e*t", (Term(-0.01, (Factor("e"), Factor("t"))),)),
    ("2^-4*x1*y0 - 2^-6*x0*y1*(w - 2)", (
        Term(2**-4, (Factor("x1"), Factor("y0"))), Term(-2**-6, (Factor("x0"), Factor("y1"), Factor("w", -2.0))))),
    ("3*2^-4*sgn(w) + (t + 2*2^3)", (Term(3 / 16, (Factor("w", sign=True),)), Term(1.0, (Factor("t", 16.0),)))),
    ("-1", (Term(-1.0, ()),)), ("1e-3", (Term(0.001, ()),)), ("- y3", (Term(-1.0, (Factor("y3"),)),)),
    ("t*0.5*x0*4", (Term(2.0, (Factor("t"), Factor("x0"))),)), ("0", ()),
])
def test_a_sum_of_products_reads_as_it_is_written(text: str, found: tuple[Term, ...]) -> None:
    assert terms(text) == found
    assert terms(terms_text(found)) == found


def test_names_stand_for_numbers_and_products_of_nothing_are_left_out() -> None:
    assert terms("-rate*k*e + low*w*(x1 - k)", rate=0.5, k=4, low=0) == (Term(-2.0, (Factor("e"),)),)
    assert terms("(x1 - k)", k=4) == (Term(1.0, (Factor("x1", -4.0),)),)


@pytest.mark.parametrize(("text", "columns"), [
    ("", [1]), ("x1*q", [4]), ("2e*t + (w - ) - 3^2*x0", [2, 13, 17]), ("x1 y1 + y7", [4, 9]), ("2^-99999", [1]),
    ("2^1024", [1]), ("1e999*t", [1]), ("()", [2]), ("sgn(w + 2)", [7]), ("x1**2 + x1", [4]), ("t + é*w", [5]),
    ("x1*-w", [4]), ("x1 +", [5]), ("__import__", [1]), ("(w - 2", [7]), ("1e200*1e200", [1]), ("- - w", [3]),
])
def test_terms_that_cannot_be_read_are_told_all_at_once_with_their_columns(text: str, columns: list[int]) -> None:
    with pytest.raises(BadInputError) as caught:
        terms(text)
    assert [each.code for each in caught.value.diagnostics] == ["SC150"] * len(columns)
    assert [re.findall(r"^column (\d+): ", each.message) for each in caught.value.diagnostics] == [
        [str(column)] for column in columns]


@pytest.mark.parametrize("arguments", [{"text": 3}, {"text": "x0+" * 4000}, {"text": "+".join(["x0"] * 65)},
                                       {"text": "w", "rate": float("nan")}, {"text": "w", "rate": "1"},
                                       {"text": "w", "e": 1.0}, {"text": "w", "rate": 10**400}])
def test_terms_have_limits(arguments: dict[str, Any]) -> None:
    with pytest.raises(BadInputError, match="SC150"):
        terms(**arguments)


@FEW
@given(st.text("0123456789.e^-+*() wxytdrsgn_", max_size=40))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        found = terms(text)
    except BadInputError:
        return
    assert terms(terms_text(found)) == found


# Random legal rules

numbers = st.floats(1e-300, 1e300) | st.floats(-1e300, -1e-300) | st.sampled_from([1.0, -1.0, 0.5, 2**-9, -3 * 2**-4])
positive = st.floats(1e-6, 1e6)
names = st.text(st.characters(categories=("L", "N", "P", "S", "Zs")), min_size=1, max_size=8).filter(str.isprintable)


@st.composite
def sums(draw: st.DrawFn, variables: tuple[str, ...]) -> tuple[Term, ...]:
    factor = st.builds(Factor, st.sampled_from(variables), st.just(0.0) | numbers) | \
        st.builds(Factor, st.sampled_from(variables), sign=st.just(True))
    product = st.builds(Term, numbers, st.lists(factor, max_size=3).map(tuple))
    return tuple(draw(st.lists(product, min_size=1, max_size=2)))


@st.composite
def legal_rules(draw: st.DrawFn) -> LearningRule:
    tau = st.none() | positive | st.sampled_from(["tau_mem", "tau_syn"])
    shapes = st.sampled_from(["box", "triangle", "fast_sigmoid", "membrane"])
    awake, asleep = draw(st.lists(names, min_size=3, max_size=3, unique=True)), "sleep of learned feedback"
    shown = st.lists(st.sampled_from(awake[:2]), max_size=2, unique=True).map(tuple)
    variables: tuple[Trace | Gate, ...] = (
        Trace("x1", draw(tau), draw(numbers), phases=draw(shown)),
        Trace("x2", draw(tau), of=draw(st.sampled_from(["x1", "spikes"]))),
        Gate("y1", draw(shapes), draw(positive), draw(st.none() | numbers), draw(numbers)),
        Trace("y2", draw(tau), of=draw(st.sampled_from(["y3", "spikes"]))), Trace("y3", draw(tau)))
    code = draw(st.sampled_from([None, "softmax", "count", "spike", "trace", "local", "reward"]))
    error = feedback = None
    if code is not None:
        error = Error(code, draw(st.booleans()), draw(positive), margin=draw(positive), period=draw(st.integers(1, 9)),
                      tau=draw(positive) if code in ("trace", "local") else None,
                      dendrite_tau=draw(st.none() | st.just(0.0) | positive),
                      slope=draw(positive) if code == "softmax" else 1.0)
    kind = draw(st.sampled_from(["fixed", "none"] if code == "local" else
                                ["learned", "kolen_pollack", "fixed", "transposed", "none"]))
    if error is not None and code != "reward":
        learned = kind == "learned"
        feedback = Feedback(
            kind, start=draw(st.sampled_from(["random", "transposed"])) if learned else "random", scale=draw(positive),
            decay=draw(st.floats(0, 0.5)) if kind == "kolen_pollack" else 0.0,
            traces=(Trace("x2", draw(tau)),) * learned,
            updates=(Update("w", "sample", draw(sums(("x1", "y1", "w"))), (asleep,)),
                     Update("w", "post", draw(sums(("x0", "x2", "e", "w"))), draw(shown))) if learned else ())
    everywhere = ("x1", "x2", "y1", "y2", "y3", "w", "t", "d") + (("e",) if feedback is not None else ())
    moments = ["step", "pre", "post", *(["error"] if feedback is not None else [])]
    chosen = draw(st.lists(st.sampled_from(moments), min_size=3, max_size=3))
    updates = [Update(variable, when, draw(sums((*everywhere, "x0", "y0"))), draw(shown),
                      draw(st.integers(0, 20)) if when == "step" else 0)
               for variable, when in zip(("t", "d", "w"), chosen, strict=True)]
    updates.append(Update("w", "sample", draw(sums((*everywhere, "r") if code == "reward" else everywhere))))
    teaches = feedback is not None
    phases = [Phase(awake[0], draw(positive), teach=teaches, inject=draw(numbers) if teaches else 0.0),
              Phase(awake[1], draw(positive), every=draw(st.integers(1, 9)))]
    if feedback is not None and feedback.kind == "learned":
        noise = Noise(0.1, draw(st.floats(0.1, 1.0)), draw(st.booleans()))
        phases.append(Phase(asleep, draw(positive), noise=noise, samples=draw(st.integers(1, 99))))
    return LearningRule(
        draw(names), draw(names), tuple(updates), variables, error, feedback, tuple(phases),
        draw(st.none() | st.just((-1.0, draw(positive)))), draw(positive), draw(st.sampled_from(["model", "chip"])),
        draw(st.booleans()), draw(st.booleans()))


@FEW
@given(legal_rules())
def test_legal_rules_pass_and_read_back_equal(rule: LearningRule) -> None:
    assert codes(rule) == set()
    assert parse(str(rule)) == rule
    assert str(parse(str(rule))) == str(rule)


def places(part: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every field and item in a rule."""
    if path:
        yield path
    if is_dataclass(part):
        for entry in fields(part):
            yield from places(getattr(part, entry.name), (*path, entry.name))
    elif isinstance(part, tuple):
        for number, item in enumerate(part):
            yield from places(item, (*path, number))


def with_value(part: Any, path: tuple[Any, ...], value: Any) -> Any:
    if not path:
        return value
    first, *rest = path
    if isinstance(part, tuple):
        return (*part[:first], with_value(part[first], tuple(rest), value), *part[first + 1:])
    return replace(part, **{first: with_value(getattr(part, first), tuple(rest), value)})


JUNK = [None, 3, -1, 0, 0.0, float("nan"), float("inf"), 10**400, "", "x1", "\n", "sleep", (), ("x",), (1.0, 2.0),
        True, b"x", Factor("q"), Term(0.0, ()), Trace("y1", -1.0, of="y1"), Phase("x", 0.0), object, ["x"], {}]


@FEW
@given(st.data(), legal_rules())
def test_whatever_a_rule_holds_it_is_told_and_shown(data: st.DataObject, rule: LearningRule) -> None:
    for _ in range(data.draw(st.integers(1, 3))):
        rule = with_value(rule, data.draw(st.sampled_from(list(places(rule)))), data.draw(st.sampled_from(JUNK)))
    found = check_rule(rule)
    assert str(rule).startswith("spikec-rule 1\n")
    if not any(each.severity == "error" for each in found):
        assert verify_rule(rule) is rule
        assert parse(str(rule)) == rule
    else:
        with pytest.raises(BadInputError):
            verify_rule(rule)


@FEW
@given(st.data(), legal_rules())
def test_damaged_text_is_read_or_refused(data: st.DataObject, rule: LearningRule) -> None:
    text = str(rule)
    start = data.draw(st.integers(0, len(text)))
    text = text[:start] + data.draw(st.text('0\n"*=(x1 ,#', max_size=3)) + text[start + data.draw(st.integers(0, 5)):]
    told: set[str] = set()
    try:
        found = parse(text)
    except BadInputError as error:
        told = {each.code for each in error.diagnostics}
    if told:
        assert told <= {"SC154", "SC150"}
        return
    check_rule(found)
    assert parse(str(found)) == found


# One fault at a time

BASE = library.biograd()


def with_update(index: int, **changes: Any) -> LearningRule:
    return replace(BASE, updates=tuple(replace(each, **changes) if number == index else each
                                       for number, each in enumerate(BASE.updates)))


def with_terms(text: str, when: Any = "step") -> LearningRule:
    return replace(BASE, updates=(*BASE.updates, Update("w", when, terms(text))))


def with_variables(*more: Trace | Gate) -> LearningRule:
    return replace(BASE, variables=(*BASE.variables, *more))


def with_error(**changes: Any) -> LearningRule:
    return replace(BASE, error=replace(BASE.error, **changes))


def with_feedback(**changes: Any) -> LearningRule:
    return replace(BASE, feedback=replace(BASE.feedback, **changes))


def with_phase(index: int, **changes: Any) -> LearningRule:
    return replace(BASE, phases=tuple(replace(each, **changes) if number == index else each
                                      for number, each in enumerate(BASE.phases)))


MIRROR = BASE.feedback.updates[0] if BASE.feedback else None


@pytest.mark.parametrize(("rule", "code", "node"), [
    (with_terms("x2*t"), "SC152", "updates[2].terms[0]"),
    (with_terms("t + y3"), "SC152", "updates[2].terms[1]"),
    (with_terms("r*t", "sample"), "SC152", "updates[2].terms[0]"),
    (with_terms("t*x0", "sample"), "SC152", "updates[2].terms[0]"),
    (with_terms("d"), "SC152", "updates[2].terms[0]"),
    (replace(library.hebb(), updates=(Update("w", "post", terms("e*x1")),)), "SC152", "updates[0].terms[0]"),
    (replace(library.reward_stdp(), updates=(Update("w", "sample", terms("r*e")),)), "SC152", "updates[0].terms[0]"),
    (replace(library.reward_stdp(), updates=(Update("w", "post", terms("r")),)), "SC152", "updates[0].terms[0]"),
    (with_update(0, terms=(Term(1.0, (Factor("z"),)),)), "SC152", "updates[0].terms[0]"),
    (with_feedback(updates=(replace(MIRROR, terms=terms("x1*x0")),)), "SC152", "feedback.updates[0].terms[0]"),
    (with_variables(Trace("y1", 1.0)), "SC151", "variables[2]"),
    (with_variables(Trace("x0", 1.0)), "SC152", "variables[2]"),
    (with_variables(Gate("x2", "box")), "SC152", "variables[2]"),
    (with_variables(Trace("x2", 1.0, of="y1")), "SC152", "variables[2]"),
    (with_variables(Trace("y2", 1.0, of="x1")), "SC152", "variables[2]"),
    (with_variables(Trace("y2", 1.0, of="y3"), Trace("y3", 1.0, of="y2")), "SC151", "variables[2]"),
    (with_variables(Trace("y2", 1.0, of="y2")), "SC151", "variables[2]"),
    (with_variables(Trace("y2", 0.0)), "SC153", "variables[2]"),
    (with_variables(Trace("y2", 1.0, 0.0)), "SC153", "variables[2]"),
    (with_variables(Trace("y2", 1.0, phases=("x",))), "SC151", "variables[2]"),
    (with_variables(Trace("y2", 1.0, phases=("sleep",))), "SC151", "variables[2]"),
    (with_variables(Gate("y2", "triangle", 0.0)), "SC153", "variables[2]"),
    (with_update(0, when="sometimes"), "SC111", "updates[0]"),
    (with_update(0, terms=()), "SC153", "updates[0]"),
    (with_update(0, terms=(Term(0.0, (Factor("x1"),)),)), "SC153", "updates[0].terms[0]"),
    (with_update(0, terms=(Term(1.0, (Factor("x1", float("inf")),)),)), "SC153", "updates[0].terms[0]"),
    (with_update(0, terms=(Term(1.0, (Factor("x1", 1.0, True),)),)), "SC151", "updates[0].terms[0]"),
    (with_update(0, terms=(Term(1.0, (Factor("x1"),) * 9),)), "SC153", "updates[0].terms[0]"),
    (with_update(0, phases=("nap",)), "SC151", "updates[0]"),
    (with_update(0, phases=("present", "present")), "SC151", "updates[0]"),
    (with_update(0, phases=("sleep",)), "SC151", "updates[0]"),
    (with_update(1, every=2), "SC151", "updates[1]"),
    (with_update(0, every=21), "SC153", "updates[0]"),
    (replace(BASE, updates=BASE.updates[:1]), "SC151", "updates"),
    (with_error(spikes=False, threshold=0.0), "SC153", "error"),
    (replace(library.reward_stdp(), updates=(Update("w", "error", terms("x1")),)), "SC151", "updates[0]"),
    (with_error(tau=0.1), "SC151", "error"), (with_error(code="trace"), "SC151", "error"),
    (with_error(slope=0.0), "SC153", "error"), (with_error(code="count", slope=2.0), "SC151", "error"),
    (with_error(code="count", high=0.0), "SC151", "error"), (with_error(start=0.02), "SC151", "error"),
    (with_error(code="local", tau=0.1), "SC151", "feedback"),
    (with_phase(0, teach=False), "SC151", "error"), (with_phase(0, duration=0.0), "SC153", "phases[0]"),
    (with_phase(0, samples=2), "SC151", "phases[0]"), (with_phase(1, teach=True), "SC151", "phases[1]"),
    (with_phase(1, name="present"), "SC151", "phases[1]"), (with_phase(1, name="a\n"), "SC151", "phases[1]"),
    (with_phase(1, inject=1.0), "SC151", "phases[1]"),
    (with_phase(1, noise=Noise(0.5, 0.2)), "SC153", "phases[1].noise"),
    (with_phase(1, noise=Noise(-0.5, 2.0)), "SC153", "phases[1].noise"),
    (replace(BASE, phases=BASE.phases[1:]), "SC151", "phases"),
    (replace(library.hebb(), phases=(Phase("present", 1.0, teach=True),)), "SC151", "phases"),
    (replace(BASE, feedback=None), "SC151", "feedback"),
    (replace(library.hebb(), feedback=Feedback("fixed")), "SC151", "feedback"),
    (with_feedback(kind="fixed"), "SC151", "feedback"), (with_feedback(updates=()), "SC151", "feedback"),
    (with_feedback(decay=0.1), "SC151", "feedback"), (with_feedback(scale=0.0), "SC153", "feedback"),
    (with_feedback(updates=(replace(MIRROR, variable="t"),)), "SC151", "feedback.updates[0]"),
    (with_feedback(updates=(replace(MIRROR, when="step"),)), "SC151", "feedback.updates[0]"),
    (replace(with_terms("e*x1"), feedback=replace(BASE.feedback, path="layered")), "SC151", "updates[2].terms[0]"),
    (replace(with_feedback(path="layered"), variables=(Trace("x1", 1.0), Trace("y1", 1.0))), "SC151", "feedback"),
    (replace(BASE, bounds=(1.0, -1.0)), "SC153", "bounds"), (replace(BASE, interval=0.0), "SC153", "rule"),
    (replace(BASE, name=""), "SC151", "name"), (replace(BASE, source="x" * 2000), "SC151", "source"),
])
def test_every_fault_is_told_at_its_place(rule: LearningRule, code: str, node: str) -> None:
    found = [each for each in check_rule(rule) if each.severity == "error"]
    assert (code, node) in [(each.code, each.node) for each in found], [str(each) for each in found]


def test_all_faults_come_at_once_and_name_their_terms() -> None:
    rule = replace(with_terms("x2*t + r*w - y0"), bounds=(0.0, 0.0), interval=-1.0)
    found = check_rule(rule)
    assert [(each.code, each.value) for each in found if each.code == "SC152"] == [("SC152", "x2*t"), ("SC152", "r*w")]
    assert sum(each.code == "SC153" for each in found) == 2


def test_a_tag_that_nothing_reads_is_a_warning() -> None:
    rule = replace(BASE, updates=(*BASE.updates, Update("d", "pre", terms("y1 - d"))))
    assert codes(rule) == set()
    assert [(each.code, each.node) for each in check_rule(rule)] == [("SC151", "updates[2]")]


def test_what_is_no_rule_is_told() -> None:
    assert [each.code for each in check_rule("biograd")] == ["SC111"]  # type: ignore[arg-type]


# Text form


def test_the_text_is_what_print_shows() -> None:
    assert str(library.biograd(rate=0.25, width=0.5)) == """\
spikec-rule 1
rule biograd source="Tang, Kumar, Polykretis, Michmizos: BioGrad, arXiv 2110.14092 (2021)"
trace x1 tau=tau_mem
gate y1 box width=0.5
update t step "x1*y1"
update w sample "-0.25*e*t"
error softmax spikes=true start=0.005
feedback learned
feedback update w sample "0.001*x1*y1 - 0.001*x1*w" phases=(sleep,)
phase present duration=0.02 teach=true
phase sleep duration=0.05 noise=(0.1, 0.9) samples=16 every=16
"""


@pytest.mark.parametrize(("text", "message"), [
    ("", "one 'rule' line"), ("rule a source=b\n", "line 1, column 1: the text starts"),
    ("spikec-rule 2\n", "unknown version"), ("spikec-rule 1\nrules a\n", "line 2, column 1: .*Is 'rule' meant"),
    ("spikec-rule 1\nrule a\n", "line 2, column 7: source must be stated"),
    ("spikec-rule 1\nrule a source=b\nrule a source=b\n", "one 'rule' line"),
    ("spikec-rule 1\nrule a source=b\ntrace x1 tau=soon\n", "line 3, column 14: tau is of the wrong type"),
    ("spikec-rule 1\nrule a source=b\nupdate w step \"x1*q\"\n", "line 3, in the terms, column 4"),
    ("spikec-rule 1\nrule a source=b\nupdate w step \"\\q\"\n", "line 3, column 15: malformed text"),
    ("spikec-rule 1\nrule a source=b\nphase p duration=1 duration=2\n", "column 20: 'duration' is there twice"),
    ("spikec-rule 1\nrule a source=b\nphase p length=1\n", "column 9: there is no 'length'"),
    ("spikec-rule 1\nrule a source=b updates=3\n", "there is no 'updates'"),
    ("spikec-rule 1\nrule a source=b\nfeedback trace x1 tau=1\n", "needs a 'feedback' line"),
    ("spikec-rule 1\nrule a source=b\n" + "bad\n" * 60, "too many faults"),
    ("\n" * 1001, "a short text"), ("x" * (1 << 20) + "x", "a short text"),
])
def test_a_malformed_text_is_told_with_line_and_column(text: str, message: str) -> None:
    with pytest.raises(BadInputError, match=message):
        parse(text)


def test_a_rule_goes_through_a_file(tmp_path: Path) -> None:
    rule = library.biograd(eligibility="exact", tau=0.01, dt=1e-3)
    write(rule, tmp_path / "own.rule")
    assert read(tmp_path / "own.rule") == rule
    (tmp_path / "bad").write_bytes(b"\xff")
    for path, code in ((tmp_path / "none", "SC523"), (tmp_path / "bad", "SC523"), (tmp_path, "SC523"), (3, "SC525")):
        with pytest.raises(BadInputError, match=code):
            read(path)  # type: ignore[arg-type]


# The library


@pytest.mark.parametrize("name", library.RULES)
def test_the_library_is_legal_and_reads_back_equal(name: str) -> None:
    rule = library.rule_named(name, "clock")
    assert rule.name == name
    assert check_rule(rule) == []
    assert parse(to_text(rule)) == rule
    assert getattr(library, name)() == rule


@pytest.mark.parametrize("feedback", ["sleep", "kolen_pollack", "fixed", "transposed", "none"])
@pytest.mark.parametrize("name", ["biograd", "e_prop", "superspike"])
def test_feedback_is_said_by_one_word(name: str, feedback: str) -> None:
    rule = library.rule_named(name, feedback=feedback)
    assert rule.feedback is not None
    assert rule.feedback.kind == {"sleep": "learned"}.get(feedback, feedback)
    assert any(phase.noise is not None for phase in rule.phases) == (feedback == "sleep")


@pytest.mark.parametrize(("make", "code", "says"), [
    (lambda: library.rule_named("biograf"), "SC514", "Is 'biograd' meant"),
    (lambda: library.rule_named(3), "SC514", "stdp_pair"),  # type: ignore[arg-type]
    (lambda: library.rule_named("biograd", widht=1), "SC514", "Is 'width' meant"),
    (lambda: library.biograd(width=-1.0), "SC153", "width is out of range"),
    (lambda: library.biograd(rate=float("nan")), "SC150", "'rate' stands for no number"),
    (lambda: library.biograd(rate=0.0), "SC153", "0 terms"),
    (lambda: library.biograd(eligibility="exact"), "SC153", "needs dt as a number"),
    (lambda: library.biograd(eligibility="exact", dt=1e-3), "SC153", "needs tau as a number"),
    (lambda: library.biograd(eligibility="both"), "SC111", "'pre', 'spike', 'exact'"),  # type: ignore[arg-type]
    (lambda: library.biograd(feedback="dfa"), "SC111", "kolen_pollack"),  # type: ignore[arg-type]
    (lambda: library.biograd(oja=3), "SC111", "oja"), (lambda: library.e_prop(dt=0.0), "SC153", "dt"),
    (lambda: library.stdp_pair(bounds=(1.0, 0.0)), "SC153", "bounds"),
])
def test_wrong_arguments_of_the_library_are_told(make: Callable[[], LearningRule], code: str, says: str) -> None:
    with pytest.raises(BadInputError, match=f"{code}.*{says}"):
        make()


# What the library's rules compute, of one synapse on a grid, against the equations of their papers

DT = 1e-3
T = 200
random = np.random.default_rng(7)
PRE, POST = random.random(T) < 0.2, random.random(T) < 0.15
MEMBRANE, ERROR = random.normal(1.0, 0.7, T), random.normal(0.0, 1.0, T)


def run(rule: LearningRule, *, w: float = 0.5, reward: float = 0.0, tau_mem: float = 0.01) -> dict[str, Any]:
    """One synapse under a rule, with the spikes, membrane and error above; `history` of the tags."""
    state = {"w": w, "t": 0.0, "d": 0.0}
    seen: dict[str, float] = {each.name: 0.0 for each in rule.variables}
    history: dict[str, list[float]] = {name: [] for name in state}

    def apply(moments: Mapping[str, float], now: Mapping[str, float]) -> None:
        change = dict.fromkeys(state, 0.0)
        for update in rule.updates:
            for term in update.terms if update.when in moments else ():
                product = term.coefficient * moments[update.when]
                for factor in term.factors:
                    value = now[factor.variable]
                    product *= np.sign(value) if factor.sign else value + factor.offset
                change[update.variable] += product
        for name, value in change.items():
            state[name] += value

    for n in range(T):
        for each in rule.variables:
            if isinstance(each, Gate):
                far = abs(MEMBRANE[n] - 1.0)
                seen[each.name] = {"box": float(far < each.width), "triangle": max(0.0, 1 - far / each.width),
                                   "fast_sigmoid": (1 + far / each.width) ** -2, "membrane": MEMBRANE[n] / each.height,
                                   }[each.shape] * each.height
            else:
                tau = tau_mem if each.tau == "tau_mem" else each.tau
                spikes = (PRE if each.name[0] == "x" else POST)[n] if each.of == "spikes" else seen[each.of]
                kept = seen[each.name] * (exp(-DT / tau) if tau else 1.0)  # type: ignore[operator]
                seen[each.name] = kept + each.impulse * float(spikes)
        now = {**seen, **state, "x0": float(PRE[n]), "y0": float(POST[n]), "e": ERROR[n]}
        apply({"step": 1.0, "pre": now["x0"], "post": now["y0"], "error": 1.0}, now)
        for name, value in state.items():
            history[name].append(value)
    apply({"sample": 1.0}, {**seen, **state, "e": float(ERROR.sum()), "r": reward})
    return {**state, "history": {name: np.array(values) for name, values in history.items()}}


def trace(spikes: Any, tau: float, until: int, before: bool = False) -> float:
    """Sum over spikes up to a column, or before it, of exp(-age / tau)."""
    return float(sum(exp(-(until - n) * DT / tau) for n in np.flatnonzero(spikes) if n < until + (not before)))


def test_pair_stdp_is_a_sum_over_pairs() -> None:
    wanted = sum(0.01 * trace(PRE, 0.02, n) for n in np.flatnonzero(POST))
    wanted -= sum(0.0105 * trace(POST, 0.03, n) for n in np.flatnonzero(PRE))
    found = run(library.stdp_pair(rate=0.01, depression=1.05, tau_minus=0.03))
    assert found["w"] - 0.5 == pytest.approx(wanted, rel=1e-12)


def test_triplet_stdp_is_pfister_and_gerstners() -> None:
    rule = library.stdp_triplet(pair_plus=0.1, pair_minus=0.2, triplet_plus=0.3, triplet_minus=0.4)
    wanted = sum(trace(PRE, 0.0168, n) * (0.1 + 0.3 * trace(POST, 0.125, n, before=True)) for n in np.flatnonzero(POST))
    wanted -= sum(trace(POST, 0.0337, n) * (0.2 + 0.4 * trace(PRE, 0.101, n, before=True)) for n in np.flatnonzero(PRE))
    assert run(rule)["w"] - 0.5 == pytest.approx(wanted, rel=1e-12)


def test_reward_stdp_weighs_pairs_by_their_age() -> None:
    pairs = np.array([POST[n] * trace(PRE, 0.02, n) - 1.05 * PRE[n] * trace(POST, 0.02, n) for n in range(T)])
    wanted = 0.01 * 0.7 * sum(pairs[n] * exp(-(T - 1 - n) * DT / 0.1) for n in range(T))
    assert run(library.reward_stdp(tau_tag=0.1), reward=0.7)["w"] - 0.5 == pytest.approx(wanted, rel=1e-12)


def test_biograds_exact_eligibility_is_the_derivative_of_the_membrane() -> None:
    """d is dV/dw in forward mode, with the gate h for the derivative of a spike and a reset to zero."""
    k = exp(-DT / 0.005)
    slope, tag, wanted = 0.0, 0.0, []
    for n in range(T):
        slope = k * slope + PRE[n]  # dV/dw before the reset
        gate = float(abs(MEMBRANE[n] - 1.0) < 1.0)
        tag += slope * gate
        slope *= 1 - POST[n] - MEMBRANE[n] * gate
        wanted.append((tag, slope))
    found = run(library.biograd(eligibility="exact", tau=0.005, dt=DT, rate=0.125))
    np.testing.assert_allclose(found["history"]["t"], [each for each, _ in wanted], rtol=1e-9)
    np.testing.assert_allclose(found["history"]["d"], [each for _, each in wanted], rtol=1e-9, atol=1e-12)
    assert found["w"] - 0.5 == pytest.approx(-0.125 * ERROR.sum() * wanted[-1][0], rel=1e-9)


def test_biograds_pre_eligibility_forgets_resets_alone() -> None:
    wanted = sum(trace(PRE, 0.01, n) for n in range(T) if abs(MEMBRANE[n] - 1.0) < 1.0)
    assert run(library.biograd())["history"]["t"][-1] == pytest.approx(wanted, rel=1e-9)


def test_e_prop_filters_its_eligibility() -> None:
    psi = 0.3 * np.maximum(0.0, 1 - np.abs(MEMBRANE - 1.0))
    eligibility = psi * [trace(PRE, 0.01, n) for n in range(T)]
    filtered = [sum(eligibility[m] * exp(-(n - m) * DT / 0.02) for m in range(n + 1)) for n in range(T)]
    assert run(library.e_prop(rate=0.25))["w"] - 0.5 == pytest.approx(-0.25 * ERROR @ filtered, rel=1e-9)


def test_superspike_filters_twice() -> None:
    rise, fall = exp(-DT / 0.005), exp(-DT / 0.01)
    psp = current = first = second = wanted = 0.0
    for n in range(T):
        current = current * rise + PRE[n]
        psp = psp * fall + current  # a membrane of 10 ms
        wanted -= 0.25 * ERROR[n] * second
        first, second = rise * first + (1 - rise) * psp * (1 + abs(MEMBRANE[n] - 1.0)) ** -2, \
            fall * second + (1 - fall) * first
    assert run(library.superspike(rate=0.25))["w"] - 0.5 == pytest.approx(wanted, rel=1e-9)


def test_oja_stays_where_hebb_runs_away() -> None:
    hebb, oja = library.hebb(rate=0.01, bounds=None), library.oja(rate=0.01, decay=2.0)
    grown = sum(trace(PRE, 0.02, n) for n in np.flatnonzero(POST))
    assert run(hebb)["w"] - 0.5 == pytest.approx(0.01 * grown, rel=1e-9)
    w = 0.5
    for n in np.flatnonzero(POST):
        w += 0.01 * (trace(PRE, 0.02, n) - 2.0 * trace(POST, 0.02, n) * w)
    assert run(oja)["w"] == pytest.approx(w, rel=1e-9)


def test_one_term_has_a_text() -> None:
    assert term_text(Term(-1.0, (Factor("x1", -2.0),))) == "-(x1 - 2)"
    assert term_text(Term(-(2.0**-9), (Factor("t"), Factor("w", sign=True)))) == "-2^-9*t*sgn(w)"
    assert all(terms(term_text(Term(1.0, (Factor(each),)))) == (Term(1.0, (Factor(each),)),) for each in VARIABLES)


# The page, and which targets run what

PAGE = Path(__file__).parents[1] / "docs" / "learning.md"
TARGETS = ("clock", "event", "loihi1", "loihi2", "brainscales2")


def network(grid: bool) -> Graph:
    """8-6-3 neurons whose weights have both signs."""
    nodes: dict[str, Any] = {"in": ir.Input(shape=(8,))}
    edges, last = [], "in"
    for layer, (inputs, n) in enumerate(((8, 6), (6, 3))):
        weight = np.random.default_rng(layer).uniform(-0.5, 2.0, (n, inputs)) / inputs**0.5
        tau = np.full(n, 2e-3)
        nodes |= {f"fc{layer}": ir.Linear(weight=weight),
                  f"n{layer}": ir.CubaLIF(shape=(n,), tau_mem=tau, tau_syn=tau / 2, r=np.ones(n))}
        edges += [(last, f"fc{layer}"), (f"fc{layer}", f"n{layer}")]
        last = f"n{layer}"
    nodes["out"] = ir.Output(shape=(3,))
    return Graph(nodes, (*edges, (last, "out")), Discretization(dt=DT, integrator="decay") if grid else None)


@pytest.fixture(scope="module")
def accepting() -> dict[str, Callable[[LearningRule], object]]:
    """By target, what refuses a rule that it cannot run on a network of plain layers."""
    def on_chip(target: str) -> Callable[[LearningRule], object]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            quantised = spikec.compile(network(True), target).quantised
        return lambda rule: make_plastic(quantised, rule, ("fc0", "fc1"), "n1")

    return {"clock": lambda rule: learning_layout(network(True), rule),
            "event": lambda rule: ExactLearning(network(False), rule),
            "loihi1": on_chip("loihi1"), "loihi2": on_chip("loihi2"),
            "brainscales2": lambda rule: spikec.compile(network(False), "brainscales2", full_scale=1e3).learner(rule)}


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", library.RULES)
def test_the_table_says_which_targets_run_a_rule(name: str, target: str, accepting: Any) -> None:
    rule = library.rule_named(name, target)
    assert check_rule(rule) == []
    if target in library.RULES[name].targets:
        accepting[target](rule)
        return
    with pytest.raises(UnsupportedError) as caught:
        accepting[target](rule)
    assert {each.code for each in caught.value.diagnostics} <= {"SC515", "SC516", "SC336", "SC360", "SC361"}


@pytest.mark.parametrize("target", ["loihi1", "loihi2"])
@pytest.mark.parametrize("spread", [0.15, 0.3, 0.6, 1.2])
def test_the_baselines_fit_a_chip_whatever_the_usual_scale_of_the_weights(spread: float, target: str) -> None:
    net = spikec.Builder()
    source = net.input("x", 20)
    hidden, out = (net.lif(name, n, tau=3e-3, r=3e-3) for name, n in (("hidden", 16), ("n", 3)))
    source.connect(hidden, weight=spikec.normal(0, spread, seed=1))
    hidden.connect(out, weight=spikec.normal(0, spread, seed=2))
    net.output("out", out)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = spikec.compile(net.build(Discretization(dt=1e-3)), target=target)
        for name in ("hebb", "oja"):
            learner = program.learner(name)
            assert learner.rule == library.rule_named(name, target)


def table() -> str:
    """The library as the page shows it."""
    lines = ["| rule | what it does | paper | factors | " + " | ".join(TARGETS) + " |",
             "| --- | --- | --- | --- | " + " | ".join("---" for _ in TARGETS) + " |"]
    for name, entry in library.RULES.items():
        runs = ["yes" if target in entry.targets else "–" for target in TARGETS]
        read_by = ", ".join(f"`{each}`" for each in factors(entry.make()))
        lines.append(f"| `{name}` | {entry.line} | {entry.paper} | {read_by} | {' | '.join(runs)} |")
    return "\n".join(lines)


def test_the_page_has_the_table_of_the_library(update_golden: bool) -> None:
    before, _, rest = PAGE.read_text().partition("<!-- library -->\n")
    _, _, after = rest.partition("<!-- end -->")
    wanted = f"{before}<!-- library -->\n{table()}\n<!-- end -->{after}"
    if update_golden:
        PAGE.write_text(wanted)
    assert PAGE.read_text() == wanted, "`pytest tests/test_learning_rules.py --update-golden` writes it anew"


def test_the_programs_of_the_page_do_what_it_says(capsys: pytest.CaptureFixture[str]) -> None:
    first, second = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    exec(first, {})
    assert capsys.readouterr().out.strip() == re.findall(r"```text\n(.*?)\n```", PAGE.read_text(), re.DOTALL)[0]
    found: dict[str, Any] = {}
    exec(second, found)
    assert check_rule(found["rule"]) == []
