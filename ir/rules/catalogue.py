"""The table of the library, and how a name becomes a rule."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from ..diagnostics import BadInputError, Diagnostic, Diagnostics
from ..learning.rule import LearningRule, Update
from .biograd import biograd
from .decolle import decolle
from .e_prop import e_prop
from .emstdp import emstdp
from .hebb import hebb
from .oja import oja
from .reward_stdp import reward_stdp
from .soel import soel
from .stdp_pair import stdp_pair
from .stdp_triplet import stdp_triplet
from .superspike import superspike

__all__ = ["RULES", "LibraryRule", "factors", "rule_named"]

CHIPS = ("loihi1", "loihi2")
ALL = ("clock", "event", *CHIPS)
PPU = "brainscales2"


@dataclass(frozen=True, slots=True)
class LibraryRule:
    """`make(**hyper)` gives the rule; `paper`; `line`: what it does; `targets`: those that run it as `rule_named` gives
    it; `defaults`: by target, hyper-parameters that are others there."""

    make: Callable[..., LearningRule]
    paper: str
    line: str
    targets: tuple[str, ...]
    defaults: Mapping[str, Mapping[str, Any]]


def _entry(make: Callable[..., LearningRule], line: str, targets: tuple[str, ...],
           on_ppu: Mapping[str, Any] | None = None, **on_chip: Any) -> LibraryRule:
    defaults = dict.fromkeys(CHIPS, on_chip) if on_chip else {}
    return LibraryRule(make, make().source, line, targets, {**defaults, **({PPU: on_ppu} if on_ppu else {})})


RULES: dict[str, LibraryRule] = {
    "biograd": _entry(biograd, "Summed error times summed eligibility, at the end of a sample; feedback learned in "
                      "sleep.", (*ALL, PPU), {"feedback": "transposed"}, error="spike", spikes=False,
                      eligibility="spike", rate=3e-4, start=0.004, sleep_rate=1.6e-4,
                      sleep_decay=2.5e-4, sleep_duration=0.032, sleep_every=1, sleep_samples=1),
    "stdp_pair": _entry(stdp_pair, "Grows where the source fires before the target, falls where it fires after it.",
                        (*ALL, PPU)),
    "stdp_triplet": _entry(stdp_triplet, "STDP that depends on how much the target has fired before.",
                           ALL),
    "reward_stdp": _entry(reward_stdp, "STDP writes a tag, and the reward at the end turns it into weight.",
                          (*ALL, PPU), tau_tag=0.128, bounds=None),
    "e_prop": _entry(e_prop, "Filtered eligibility times the error of the moment, in every step.", ("clock",)),
    "superspike": _entry(superspike, "Doubly filtered eligibility times a van Rossum error, in every step.",
                         ("clock",)),
    "soel": _entry(soel, "The last layer learns, at error spikes only.", ALL, tau_syn=None, rate=0.01),
    "decolle": _entry(decolle, "Each layer learns from an error of its own.", ("clock",)),
    "emstdp": _entry(emstdp, "The difference of the target's counts with and without correction, times the source's.",
                     ("clock", "event")),
    "hebb": _entry(hebb, "Grows where source and target fire together; a baseline.", (*ALL, PPU), rate=0.01),
    "oja": _entry(oja, "Hebb's rule with a decay that keeps weights finite; a baseline.", ALL, rate=0.01),
}


def rule_named(name: str, target: str | None = None, **hyper: Any) -> LearningRule:
    """The library's rule of a name, with its hyper-parameters. `target`: the one that is to run it, whose defaults may
    differ; whether it can run the rule is for its `learner` to say, at each term.

    Raises:
        BadInputError: there is no such rule, or hyper-parameter (SC514), or one of these is wrong (SC111, SC150 to
            SC153).
    """
    if not isinstance(name, str) or name not in RULES:
        near = get_close_matches(name, RULES, 1) if isinstance(name, str) else []
        running = [each for each, entry in RULES.items() if target is None or target in entry.targets]
        raise BadInputError(Diagnostic("SC514", "there is no such learning rule", value=repr(name)[:80],
                                       limit=", ".join(running or RULES),
                                       remedy=f"Is '{near[0]}' meant?" if near else None))
    known = inspect.signature(RULES[name].make).parameters
    faults = Diagnostics()
    for each in hyper:
        if each not in known:
            near = get_close_matches(each, known, 1)
            faults.add("SC514", f"'{name}' has no such hyper-parameter", value=each[:80], limit=", ".join(known),
                       remedy=f"Is '{near[0]}' meant?" if near else None)
    faults.raise_if_errors(BadInputError)
    return RULES[name].make(**{**RULES[name].defaults.get(str(target), {}), **hyper})


def factors(rule: LearningRule) -> tuple[str, ...]:
    """The variables that a rule's weights and tags read, in order of their names."""
    updates: tuple[Update, ...] = rule.updates
    return tuple(sorted({factor.variable for update in updates for term in update.terms for factor in term.factors}))
