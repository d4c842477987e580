"""A learning rule as continuous time reads it: what acts at instants, and what goes on between them.

A term of a `step` update with x0 or y0 in it acts at spikes, as one of `pre` or `post` does; every other one is
integrated over time. (v + a) is multiplied out, so what is left are products of plain variables and signs. What has no
closed form between instants is refused, all at once, each at its term.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Literal

from ..diagnostics import Diagnostics
from .rule import Factor, Gate, LearningRule, Phase, Term, Trace, Update
from .terms import term_text

__all__ = ["MOST_REWARDS", "Act", "Continuous", "Flow", "Product", "continuous_rule", "phases_of"]

Moment = Literal["pre", "post", "pair", "error", "sample"]
MOST_REWARDS = 100
"""In the running mean of the reward."""
REMEDY = "Use the target clock."


@dataclass(frozen=True, slots=True)
class Product:
    """`coefficient` times `variables` times the signs of `signs`; x0 and y0 are in neither."""

    coefficient: float
    variables: tuple[str, ...] = ()
    signs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Act:
    """At a moment of a phase, `variable` takes a product. `pair`: where source and target spike at one instant."""

    when: Moment
    variable: Literal["w", "t", "d"]
    product: Product
    phases: frozenset[str]


@dataclass(frozen=True, slots=True)
class Flow:
    """d variable / dt = product / interval."""

    variable: Literal["w", "t", "d"]
    product: Product
    phases: frozenset[str]


@dataclass(frozen=True, slots=True)
class Continuous:
    """`leaks`: by tag and phase, what it loses of itself a second."""

    rule: LearningRule
    acts: tuple[Act, ...]
    flows: tuple[Flow, ...]
    leaks: dict[tuple[str, str], float]
    traces: dict[str, Trace]
    gates: dict[str, Gate]

    def writes(self, name: str) -> bool:
        """Whether anything changes a tag, or the weight."""
        return any(name == act.variable for act in self.acts) or any(name == flow.variable for flow in self.flows)


def phases_of(rule: LearningRule, sleeping: bool) -> tuple[Phase, ...]:
    """Those with noise, or those without."""
    return tuple(phase for phase in rule.phases if (phase.noise is not None) == sleeping)


def continuous_rule(rule: LearningRule, faults: Diagnostics, node: str | None = None) -> Continuous:
    """What there is to do, and when. What cannot be done is added to `faults` (SC516). `node`: the projection."""
    traces = {each.name: each for each in rule.variables if isinstance(each, Trace)}
    gates = {each.name: each for each in rule.variables if isinstance(each, Gate)}
    awake = frozenset(phase.name for phase in phases_of(rule, False))
    _check_settings(rule, gates, faults, node)
    acts: list[Act] = []
    flows: list[Flow] = []
    leaks: dict[tuple[str, str], float] = {}
    for update in rule.updates:
        phases = frozenset(update.phases) & awake if update.phases else awake
        if update.every:
            faults.add("SC516", "a step of every so many columns has no meaning in continuous time", node=node,
                       value=f"every={update.every}", remedy=REMEDY)
        for term in update.terms:
            refuse = _refusal(faults, term, node)
            for when, found in _read(update, term):
                if when == "flow" and found == Product(found.coefficient, (update.variable,)):
                    if update.variable == "w":
                        refuse("a weight that changes itself between instants")
                    for phase in phases:
                        before = leaks.get((update.variable, phase), 0.0)
                        leaks[update.variable, phase] = before - found.coefficient / rule.interval
                elif when == "flow":
                    _check_flow(rule, gates, update, found, refuse)
                    flows.append(Flow(update.variable, found, phases))
                else:
                    _check_act(rule, when, found, refuse)
                    acts.append(Act(when, update.variable, found, phases))
    if any(leak < 0 for leak in leaks.values()):
        faults.add("SC516", "a tag that grows by itself", node=node, remedy="Give its own term a negative sign.")
    if rule.error is not None and rule.error.code == "local":
        faults.add("SC516", "continuous time has no error of each layer by itself", node=node, value="code local",
                   limit="softmax, count, spike, trace, reward", remedy=REMEDY)
    _check_order(flows, faults, node)
    return Continuous(rule, tuple(acts), tuple(flows), leaks, traces, gates)


def _check_settings(rule: LearningRule, gates: dict[str, Gate], faults: Diagnostics, node: str | None) -> None:
    """What of a rule, apart from its products, continuous time has no way for."""
    def no(what: str, value: str, remedy: str = REMEDY) -> None:
        faults.add("SC516", what, node=node, value=value, remedy=remedy)

    error, feedback = rule.error, rule.feedback
    if rule.units != "model":
        no("the event engine learns in the model's units", f"units='{rule.units}'",
           "Compile for a target with whole numbers.")
    if rule.bias:
        no("biases do not learn in continuous time", "bias=True")
    if not phases_of(rule, False):
        no("a rule without a phase does not say how long a sample lasts", rule.name, "Give it a phase with a duration.")
    for phase in phases_of(rule, False):
        if phase.every != 1:
            no("phases without noise are part of every sample", f"{phase.name}: every={phase.every}", "Let it be 1.")
    for phase in phases_of(rule, True):
        if phase.noise is not None and phase.noise.held:
            no("noise is spikes at random times", f"{phase.name}: held noise", "Let it be drawn anew.")
    sleeping = {phase.name for phase in phases_of(rule, True)}
    for update in rule.updates:
        if sleeping & set(update.phases):
            no("forward weights stay as they are in noise", f"{update.variable} in {', '.join(update.phases)}")
    if error is not None:
        impulses = error.spikes or error.code == "spike"
        if error.slope != 1.0:
            no("the softmax is that of counts as they are", f"slope={error.slope!r}", "Let it be 1.")
        if error.code in ("trace", "local"):
            no("an error that changes between spikes has no closed form", f"error '{error.code}'")
        if any(phase.inject for phase in rule.phases) and (
                error.dendrite_tau not in (None, 0.0) or (not impulses and error.dendrite_tau is None)):
            no("a current that changes between instants has no closed form", "inject", f"Let dendrites hold. {REMEDY}")
    if feedback is not None:
        if feedback.traces:
            no("feedback learns from counts in continuous time", "traces of feedback")
        for update in feedback.updates:
            asleep = bool(update.phases) and set(update.phases) <= sleeping
            if update.when != "sample" or update.variable != "w" or not asleep:
                no("feedback learns at the end of noise", f"{update.variable}, when '{update.when}'")
            elif any(factor.variable not in ("x1", "y1", "w") for term in update.terms for factor in term.factors):
                no("in noise there are x1, y1 and w", ", ".join(map(term_text, update.terms)))
        if feedback.path == "layered" and gates and next(iter(gates.values())).shape != "box":
            no("a layered error is masked by a box", next(iter(gates.values())).shape)


def _read(update: Update, term: Term) -> Iterator[tuple[Literal["flow"] | Moment, Product]]:
    """A term as products, and when each acts."""
    for chosen in product(*(_expanded(factor) for factor in term.factors)):
        coefficient = term.coefficient
        variables: list[str] = []
        signs: list[str] = []
        for number, variable, sign in chosen:
            coefficient *= number
            if variable:
                (signs if sign else variables).append(variable)
        if coefficient == 0.0:
            continue
        spikes = {name for name in (*variables, *signs) if name in ("x0", "y0")}
        if update.when in ("pre", "post"):
            spikes.add("x0" if update.when == "pre" else "y0")
        found = Product(coefficient, tuple(sorted(each for each in variables if each not in ("x0", "y0"))),
                        tuple(sorted(each for each in signs if each not in ("x0", "y0"))))
        if update.when in ("error", "sample"):
            yield update.when, Product(coefficient, (*sorted(spikes), *found.variables), found.signs)
        elif not spikes:
            yield "flow", found
        else:
            yield "pair" if len(spikes) == 2 else "pre" if "x0" in spikes else "post", found


def _expanded(factor: Factor) -> list[tuple[float, str, bool]]:
    if factor.sign or not factor.offset:
        return [(1.0, factor.variable, factor.sign)]
    return [(1.0, factor.variable, False), (factor.offset, "", False)]


class _refusal:
    """Adds a fault of one term, each but once."""

    def __init__(self, faults: Diagnostics, term: Term, node: str | None) -> None:
        self.faults, self.term, self.node = faults, term, node
        self.told: set[str] = set()

    def __call__(self, what: str, remedy: str = REMEDY) -> None:
        if what not in self.told:
            self.told.add(what)
            self.faults.add("SC516", f"continuous time has no closed form for {what}", node=self.node,
                            value=term_text(self.term), remedy=remedy)


def _check_flow(rule: LearningRule, gates: dict[str, Gate], update: Update, found: Product, refuse: _refusal) -> None:
    for name in (*found.variables, *found.signs):
        if name in gates and gates[name].shape != "box":
            refuse(f"the integral over a gate of shape {gates[name].shape}",
                   f"Take a box, or apply it at spikes. {REMEDY}")
    if "w" in found.variables or "w" in found.signs:
        refuse("a weight that changes with itself between instants", f"Apply it at spikes or at the end. {REMEDY}")
    if "r" in found.variables or "r" in found.signs:
        refuse("a reward before the end of the sample", "Apply it at the end of the sample.")
    tags = [name for name in found.variables if name in ("t", "d")]
    if len(tags) > 1 or update.variable in tags:
        refuse("products of tags between instants")
    if any(name != "e" for name in found.signs):
        refuse("the sign of what changes between instants")
    if "e" in found.variables or "e" in found.signs:
        error = rule.error
        if error is None:
            return
        impulses = error.spikes or error.code == "spike"
        if impulses and error.dendrite_tau == 0.0:
            refuse("a dendrite that holds impulses for no time", f"Let the update be one of `error`. {REMEDY}")
        if not impulses and error.dendrite_tau is None:
            refuse("a dendrite that sums an error without spikes", f"Let errors be spikes. {REMEDY}")
        if "e" in found.signs and error.dendrite_tau not in (None, 0.0):
            refuse("the sign of a dendrite that decays")


def _check_act(rule: LearningRule, when: str, found: Product, refuse: _refusal) -> None:
    error = rule.error
    if when == "error" and error is not None and not (error.spikes or error.code == "spike"):
        refuse("updates at an error that comes without spikes", f"Let errors be spikes. {REMEDY}")
    if when != "sample" and "r" in (*found.variables, *found.signs):
        refuse("a reward before the end of the sample", "Apply it at the end of the sample.")
    if "x0" in found.variables or "y0" in found.variables:
        refuse(f"a spike at the very instant of an `{when}` update", "Use a trace.")


def _check_order(flows: list[Flow], faults: Diagnostics, node: str | None) -> None:
    """Of two tags that flow into each other."""
    if any(each.variable == "t" and "d" in each.product.variables for each in flows) and any(
            each.variable == "d" and "t" in each.product.variables for each in flows):
        faults.add("SC516", "tags that flow into each other between instants", node=node, value="t, d", remedy=REMEDY)
